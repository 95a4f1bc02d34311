//! A tracker of groups for tests, which signs what it is told to, and peers that are logged in
//! with it. It knows one thing of a group: who is a member.

use std::collections::HashSet;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ed25519_dalek::SigningKey;

use mini_bittorrent::announce::request::Event;
use mini_bittorrent::announce::response::{AnnounceResponse, AnnouncedPeer};
use mini_bittorrent::control::frame::read_frame;
use mini_bittorrent::control::key::{PeerKey, TrackerKey};
use mini_bittorrent::control::names::{GroupName, UserName};
use mini_bittorrent::control::reply::{
    Code, IssuedTicket, LoggedIn, Reply, Uploaded, announce_to_reply,
};
use mini_bittorrent::control::request::Request;
use mini_bittorrent::control::request_id::RequestId;
use mini_bittorrent::control::stamp::{GroupId, Stamp};
use mini_bittorrent::control::ticket::{SignedTicket, Ticket};
use mini_bittorrent::control::tracker_info::TrackerAddress;
use mini_bittorrent::peer::hashing::make::{Wish, make_torrent};
use mini_bittorrent::peer::view::TorrentView;
use mini_bittorrent::peer::{self, Peer};
use mini_bittorrent::storage::resume::{Share, Sources};
use mini_bittorrent::torrent::id::{InfoHash, PeerId};
use mini_bittorrent::torrent::metainfo::Metainfo;

/// The id of a group, by its number.
pub fn id(number: u64) -> GroupId {
    GroupId(Stamp {
        time: number,
        tracker: 1,
    })
}

pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// The groups are `g1`, `g2`, … with the ids 1, 2, …
pub fn group(number: u64) -> GroupName {
    format!("g{number}").parse().unwrap()
}

struct Books {
    key: SigningKey,
    /// How long tickets live, in seconds.
    life: u64,
    members: HashSet<(UserName, GroupName)>,
    swarm: Vec<(InfoHash, PeerId, SocketAddr)>,
    /// How many tickets each user has got.
    issued: Vec<UserName>,
    offered: Vec<String>,
    /// The ports of peers that have announced that they begin, in order.
    started: Vec<u16>,
    /// It takes no connections, and answers nothing.
    away: bool,
    stop: bool,
    open: Vec<TcpStream>,
}

pub struct GroupTracker {
    pub address: SocketAddr,
    books: Arc<Mutex<Books>>,
    thread: Option<JoinHandle<()>>,
}

impl GroupTracker {
    pub fn start(life: u64) -> GroupTracker {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let books = Arc::new(Mutex::new(Books {
            key: SigningKey::from_bytes(&[7; 32]),
            life,
            members: HashSet::new(),
            swarm: Vec::new(),
            issued: Vec::new(),
            offered: Vec::new(),
            started: Vec::new(),
            away: false,
            stop: false,
            open: Vec::new(),
        }));
        let for_thread = books.clone();
        let thread = std::thread::spawn(move || accept(&listener, &for_thread));
        GroupTracker {
            address,
            books,
            thread: Some(thread),
        }
    }

    pub fn key(&self) -> SigningKey {
        self.books.lock().unwrap().key.clone()
    }

    pub fn add_member(&self, user: &str, number: u64) {
        let member = (user.parse().unwrap(), group(number));
        self.books.lock().unwrap().members.insert(member);
    }

    pub fn remove_member(&self, user: &str, number: u64) {
        let member = (user.parse().unwrap(), group(number));
        self.books.lock().unwrap().members.remove(&member);
    }

    pub fn issued_to(&self, user: &str) -> usize {
        let user: UserName = user.parse().unwrap();
        let books = self.books.lock().unwrap();
        books.issued.iter().filter(|got| **got == user).count()
    }

    pub fn offered(&self) -> Vec<String> {
        self.books.lock().unwrap().offered.clone()
    }

    /// How often this peer has announced that it begins.
    pub fn starts_of(&self, member: &Member) -> usize {
        let port = member.peer.local_addr().port();
        let books = self.books.lock().unwrap();
        books.started.iter().filter(|of| **of == port).count()
    }

    /// Closes every connection and takes no others.
    pub fn go_away(&self) {
        let mut books = self.books.lock().unwrap();
        books.away = true;
        for socket in books.open.drain(..) {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }

    /// What a login of this user at the peer with this key is answered.
    pub fn logged_in(&self, user: &str, peer: PeerKey) -> LoggedIn {
        LoggedIn {
            user: user.parse().unwrap(),
            token: format!("{user}:{peer}"),
            tracker_keys: vec![TrackerKey(self.key().verifying_key().to_bytes())],
            now: now(),
        }
    }

    /// A ticket such as it gives to members. It ends that many seconds from now.
    pub fn ticket(&self, user: &str, number: u64, peer_key: PeerKey, ends: i64) -> Ticket {
        Ticket {
            user: user.parse().unwrap(),
            group: group(number),
            group_id: id(number),
            peer_key,
            expires: now().saturating_add_signed(ends),
        }
    }

    pub fn signed(&self, user: &str, number: u64, peer_key: PeerKey, ends: i64) -> SignedTicket {
        self.ticket(user, number, peer_key, ends).sign(&self.key())
    }
}

impl Drop for GroupTracker {
    fn drop(&mut self) {
        self.go_away();
        self.books.lock().unwrap().stop = true;
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, books: &Arc<Mutex<Books>>) {
    let mut threads = Vec::new();
    for socket in listener.incoming() {
        let Ok(socket) = socket else { break };
        let (stop, away) = {
            let mut books = books.lock().unwrap();
            if let (false, Ok(copy)) = (books.away, socket.try_clone()) {
                books.open.push(copy);
            }
            (books.stop, books.away)
        };
        if stop {
            break;
        }
        if !away {
            let books = books.clone();
            threads.push(std::thread::spawn(move || serve(socket, &books)));
        }
    }
    threads.into_iter().for_each(|thread| {
        let _ = thread.join();
    });
}

fn serve(socket: TcpStream, books: &Mutex<Books>) {
    let mut out = socket.try_clone().unwrap();
    let mut input = BufReader::new(socket);
    let mut login = None;
    while let Ok(Some(mut frame)) = read_frame(&mut input) {
        let _ = RequestId::take(&mut frame.words);
        let reply = match Request::parse(&frame) {
            Ok(request) => answer(request, &mut login, &mut books.lock().unwrap()),
            Err(error) => Reply::err(Code::BadRequest, error),
        };
        if out.write_all(&reply.encode().unwrap()).is_err() {
            return;
        }
    }
}

fn answer(request: Request, login: &mut Option<(UserName, PeerKey)>, books: &mut Books) -> Reply {
    let denied = || Reply::err(Code::Denied, "you are not a member");
    let is_member = |books: &Books, group: &GroupName| {
        let user = login.as_ref().map(|(user, _)| user.clone());
        user.is_some_and(|user| books.members.contains(&(user, group.clone())))
    };
    match request {
        Request::Resume { token } => {
            let (user, key) = token.split_once(':').unwrap();
            let (user, key): (UserName, PeerKey) = (user.parse().unwrap(), key.parse().unwrap());
            *login = Some((user.clone(), key));
            let own = TrackerKey(books.key.verifying_key().to_bytes());
            LoggedIn {
                user,
                token,
                tracker_keys: vec![own],
                now: now(),
            }
            .to_reply()
        }
        Request::Ticket { group } if is_member(books, &group) => {
            let (user, peer_key) = login.clone().unwrap();
            books.issued.push(user.clone());
            let number: u64 = group.as_str()[1..].parse().unwrap();
            let ticket = Ticket {
                user,
                group,
                group_id: id(number),
                peer_key,
                expires: now() + books.life,
            };
            IssuedTicket {
                now: now(),
                ticket: ticket.sign(&books.key),
            }
            .to_reply()
        }
        Request::Announce {
            announce, group, ..
        } if group.as_ref().is_none_or(|group| is_member(books, group)) => {
            let here = SocketAddr::from(([127, 0, 0, 1], announce.port));
            let is = |known: &(InfoHash, PeerId, SocketAddr)| {
                known.0 == announce.info_hash && known.1 == announce.peer_id
            };
            books.swarm.retain(|known| !is(known));
            if announce.event == Event::Started {
                books.started.push(announce.port);
            }
            let others = books.swarm.iter().filter(|at| at.0 == announce.info_hash);
            let peers = others
                .map(|(_, id, address)| AnnouncedPeer {
                    id: Some(*id),
                    address: *address,
                })
                .collect();
            if announce.event != Event::Stopped {
                books
                    .swarm
                    .push((announce.info_hash, announce.peer_id, here));
            }
            announce_to_reply(&AnnounceResponse {
                interval: 600,
                peers,
                ..AnnounceResponse::default()
            })
        }
        Request::UploadFile(upload) if is_member(books, &upload.group) => {
            books.offered.push(upload.name.as_str().to_string());
            Uploaded::Shared.to_reply()
        }
        _ => denied(),
    }
}

/// A user's peer.
pub struct Member {
    pub peer: Peer,
    pub user: String,
    folder: PathBuf,
}

impl Member {
    /// Logged in. Its folder is `temp/user`.
    pub fn start(tracker: &GroupTracker, user: &str, temp: &Path, check_tickets: bool) -> Member {
        Member::start_in(&temp.join(user), tracker, user, check_tickets)
    }

    pub fn start_in(
        folder: &Path,
        tracker: &GroupTracker,
        user: &str,
        check_tickets: bool,
    ) -> Member {
        let folder = folder.to_path_buf();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let line = TrackerAddress {
            host: tracker.address.ip().to_string(),
            port: tracker.address.port(),
            key: None,
        };
        let config = peer::Config {
            check_tickets,
            ..peer::Config::new(listen, vec![line], &folder.join("download"))
        };
        let (peer, notices) = Peer::start(config).unwrap();
        assert!(notices.is_empty(), "{notices:?}");
        let member = Member {
            peer,
            user: user.into(),
            folder,
        };
        member.log_in(tracker);
        member
    }

    pub fn log_in(&self, tracker: &GroupTracker) {
        let key = self.peer.membership.keys.public;
        self.peer
            .log_in(&tracker.logged_in(&self.user, key))
            .unwrap();
    }

    /// Shares a file with a group, or with everybody for 0.
    pub fn share(&self, file: &Path, number: u64) -> Arc<Metainfo> {
        let wish = Wish {
            group: (number > 0).then(|| id(number)),
            ..Wish::default()
        };
        let (done, made) = mpsc::channel();
        let on_done = move |result| drop(done.send(result));
        let open = self.peer.open_files.clone();
        make_torrent(&self.peer.pool, open, file, wish, on_done).unwrap();
        let made = made
            .recv_timeout(Duration::from_secs(120))
            .unwrap()
            .unwrap();
        let metainfo = Arc::new(made.metainfo);
        let share = self.offer(&metainfo, number);
        let metainfo_of = metainfo.clone();
        self.peer
            .seed(
                metainfo_of,
                made.storage,
                share,
                Some(([127, 0, 0, 1], 1).into()),
            )
            .unwrap();
        metainfo
    }

    pub fn download(&self, metainfo: &Arc<Metainfo>, number: u64) -> PathBuf {
        let target = self.folder.join("download").join(metainfo.name());
        let share = self.offer(metainfo, number);
        self.peer
            .download(metainfo.clone(), &target, share, Sources::Anyone, &|| false)
            .unwrap();
        target
    }

    fn offer(&self, metainfo: &Metainfo, number: u64) -> Option<Share> {
        let share = Share {
            group: if number == 0 {
                GroupName::public()
            } else {
                group(number)
            },
            name: metainfo.name().parse().unwrap(),
            users: (number > 0)
                .then(|| self.user.parse().unwrap())
                .into_iter()
                .collect(),
            sha256: None,
            listed: true,
        };
        Some(share)
    }

    pub fn view(&self, metainfo: &Metainfo) -> TorrentView {
        self.peer.torrent(metainfo.info_hash).unwrap().unwrap()
    }
}
