//! Proves that members of a group share with each other by a real tracker, whatever becomes of
//! their tickets meanwhile, and that who leaves the group is out.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use mini_bittorrent::control::names::{GroupName, UserName};
use mini_bittorrent::control::reply::{Download, IssuedTicket, Uploaded};
use mini_bittorrent::control::request::{Holder, Request, Upload};
use mini_bittorrent::control::tracker_info::TrackerAddress;
use mini_bittorrent::peer::hashing::make::{Wish, make_torrent};
use mini_bittorrent::peer::tracker_link::TrackerLink;
use mini_bittorrent::peer::view::Status;
use mini_bittorrent::peer::{self, Peer};
use mini_bittorrent::runtime::stop::Stop;
use mini_bittorrent::storage::resume::{Share, Sources};
use mini_bittorrent::torrent::metainfo::Metainfo;
use mini_bittorrent::tracker::{self, Tracker};

use crate::support::peers::{PATIENCE, any_port, make_file, named, sha256, wait_until, watchdog};

fn start_tracker(ticket_life: u32) -> (Tracker, TrackerAddress) {
    let tracker = Tracker::start(tracker::Config {
        ticket_life,
        ..tracker::Config::new(any_port())
    });
    let tracker = tracker.unwrap();
    let line = named(tracker.local_addr());
    (tracker, line)
}

fn group() -> GroupName {
    "cs101".parse().unwrap()
}

/// A user at their peer.
struct User {
    peer: Peer,
    link: TrackerLink,
    name: UserName,
}

impl User {
    fn start(tracker: &TrackerAddress, name: &str, temp: &Path) -> User {
        let trackers = vec![tracker.clone()];
        let config = peer::Config::new(any_port(), trackers, &temp.join(name));
        let peer = Peer::start(config).unwrap().0;
        let link = peer.link(Stop::new());
        let name = name.parse().unwrap();
        User { peer, link, name }
    }

    fn create(&mut self) {
        let (user, password) = (self.name.clone(), "secret-1".parse().unwrap());
        self.ask(Request::CreateUser { user, password });
        self.log_in();
    }

    fn log_in(&mut self) {
        let password = "secret-1".parse().unwrap();
        let answer = self.link.log_in(self.name.clone(), password).unwrap();
        self.peer.log_in(&answer).unwrap();
    }

    fn log_out(&mut self) {
        self.ask(Request::Logout);
        self.peer.log_out().unwrap();
    }

    fn ask(&mut self, request: Request) {
        self.link.request(&request).unwrap().into_ok().unwrap();
    }

    fn share_of(&self, name: &str) -> Option<Share> {
        Some(Share {
            group: group(),
            name: name.parse().unwrap(),
            users: vec![self.name.clone()],
            sha256: None,
            listed: true,
        })
    }

    fn upload(&mut self, file: &Path) -> Arc<Metainfo> {
        let reply = self.link.request(&Request::Ticket { group: group() });
        let issued = IssuedTicket::from_reply(reply.unwrap()).unwrap();
        let id = self.peer.membership.take(Instant::now(), &issued).unwrap();
        let wish = Wish {
            group: Some(id),
            ..Wish::default()
        };
        let (done, made) = mpsc::channel();
        let on_done = move |result| drop(done.send(result));
        let open = self.peer.open_files.clone();
        make_torrent(&self.peer.pool, open, file, wish, on_done).unwrap();
        let made = made.recv_timeout(PATIENCE).unwrap().unwrap();
        let upload = Upload {
            group: group(),
            name: made.metainfo.name().parse().unwrap(),
            metainfo: made.metainfo.clone(),
            holder: Holder {
                peer_id: self.peer.peer_id(),
                port: self.peer.local_addr().port(),
            },
            sha256: None,
        };
        let reply = self.link.request(&Request::UploadFile(Box::new(upload)));
        assert_eq!(Uploaded::from_reply(reply.unwrap()), Ok(Uploaded::Shared));
        let metainfo = Arc::new(made.metainfo);
        let share = self.share_of(metainfo.name());
        self.peer
            .seed(metainfo.clone(), made.storage, share, Some(any_port()))
            .unwrap();
        metainfo
    }

    fn download(&mut self, name: &str) -> PathBuf {
        let request = Request::DownloadFile {
            group: group(),
            name: name.parse().unwrap(),
        };
        let reply = self.link.request(&request).unwrap();
        let metainfo = Arc::new(Download::from_reply(reply).unwrap().0);
        let target = self.peer.folder().join(name);
        let share = self.share_of(name);
        self.peer
            .download(metainfo, &target, share, Sources::Anyone, &|| false)
            .unwrap();
        target
    }

    fn status(&self, metainfo: &Metainfo) -> Status {
        let torrent = self.peer.torrent(metainfo.info_hash).unwrap();
        torrent.unwrap().status
    }

    fn percent(&self, metainfo: &Metainfo) -> u64 {
        let torrent = self.peer.torrent(metainfo.info_hash).unwrap();
        torrent.unwrap().percent()
    }
}

#[test]
fn members_share_over_many_tickets_a_logout_and_a_leave() {
    let _dog = watchdog(Duration::from_secs(180), "members");
    let temp = tempfile::tempdir().unwrap();
    let (_tracker, line) = start_tracker(3);
    let [mut alice, mut bob] = ["alice", "bob"].map(|name| User::start(&line, name, temp.path()));
    alice.create();
    alice.ask(Request::CreateGroup { group: group() });
    bob.create();
    bob.ask(Request::JoinGroup { group: group() });
    alice.ask(Request::AcceptRequest {
        group: group(),
        user: bob.name.clone(),
    });
    alice.peer.limits.up.set(Some(1 << 20));
    let file = make_file(temp.path(), "lecture.bin", 10 << 20);
    let torrent = alice.upload(&file);
    let target = bob.download("lecture.bin");
    wait_until("some of it is here", || bob.percent(&torrent) >= 40);
    alice.log_out();
    let waits = "waits for the login of alice";
    assert!(matches!(alice.status(&torrent), Status::Locked { reason, .. } if reason == waits));
    wait_until("bob hears of it", || {
        bob.peer.torrent(torrent.info_hash).unwrap().unwrap().peers == 0
    });
    alice.log_in();
    wait_until("it is complete", || bob.status(&torrent) == Status::Seeding);
    assert_eq!(sha256(&file), sha256(&target));
    // Bob leaves, and is told when his ticket ends; what he has is locked.
    bob.ask(Request::LeaveGroup { group: group() });
    wait_until("bob is out", || {
        matches!(bob.status(&torrent), Status::Locked { reason, .. }
            if reason == "you are not a member of cs101 any more")
    });
    assert_eq!(alice.status(&torrent), Status::Seeding);
}
