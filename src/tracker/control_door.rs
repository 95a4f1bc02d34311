//! The control dialect: requests from our own peers, and from people with `nc`.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use zeroize::Zeroize;

use crate::announce::request::Event;
use crate::control::classic::{self, Letters, Malformed};
use crate::control::command::{self, Permission, Place, help};
use crate::control::frame::{Frame, FrameError, Line, read_body, read_text};
use crate::control::muster::Step;
use crate::control::names::GroupName;
use crate::control::reply::{
    CATCHING_UP, Code, Download, FileEntry, PeerEntry, Reply, TrackerEntry, announce_to_reply,
};
use crate::control::request::Request;
use crate::control::request_id::RequestId;
use crate::control::stamp::Stamp;
use crate::control::sync::Hello;
use crate::registry::access;
use crate::registry::change::{Change, Done};
use crate::registry::refused::Refused;
use crate::runtime::channel::Channel;

use super::client::{encode, say_goodbye};
use super::session::{Asker, Session};
use super::state::{Lent, State};
use super::{
    account_door, ask_door, batch_door, classic_door, group_door, knock_door, news_door, sync_door,
};

/// Bytes that are read at once: more than any request without a body, and little for ten
/// thousand idle clients.
const READ_BUFFER: usize = 1024;

/// What to do after an answer.
enum Next {
    Continue(Reply),
    /// The answer to a one-line request.
    Say(String),
    Close(Reply),
    /// The answer comes when all clients of a batch run have come so far.
    Wait(Step),
    /// From now on only the tracker speaks.
    Listen(Box<news_door::Stream>),
}

/// Answers requests until the client has enough, is silent for too long, or gets out of step.
pub fn serve(state: &State, channel: Channel, from: SocketAddr) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(READ_BUFFER, channel);
    let mut session = Session::default();
    loop {
        reader.get_mut().set_deadline(None);
        reader.get_mut().set_patience(state.config.idle);
        if reader.fill_buf()?.is_empty() {
            return reader.get_mut().say_end();
        }
        let stream = reader.get_mut();
        stream.set_patience(state.config.request);
        stream.set_deadline(Some(Instant::now() + state.config.request));
        let next = match read_request(state, &mut reader) {
            Ok(Read::End) => return Ok(()),
            Ok(Read::OneLine(asked)) => Next::Say(classic_door::answer(
                state,
                from.ip(),
                Letters::Small,
                asked,
            )),
            Ok(Read::Frame(frame, _)) if Hello::is_one(&frame.words) => {
                return sync_door::serve(state, reader, from, &frame);
            }
            Ok(Read::Frame(mut frame, _room)) => {
                let next = answer(state, &mut session, from, &mut frame);
                // There may have been a password in it.
                frame.words.zeroize();
                next
            }
            Ok(Read::NoRoom) => {
                let why = "this tracker is reading as many torrents as it can; try again";
                Next::Close(Reply::err(Code::Busy, why))
            }
            Err(FrameError::Io(error)) => return Err(error),
            Err(error) if error.is_in_step() => Next::Continue(Reply::err(Code::BadRequest, error)),
            Err(error) => Next::Close(Reply::err(Code::BadRequest, error)),
        };
        // The answer has its own time, whatever reading took.
        let stream = reader.get_mut();
        stream.set_deadline(Some(Instant::now() + state.config.request));
        match next {
            Next::Say(text) => stream.write_all(text.as_bytes())?,
            Next::Continue(reply) => stream.write_all(&encode(&reply))?,
            Next::Close(reply) => return say_goodbye(reader.into_inner(), &encode(&reply)),
            Next::Listen(stream) => return news_door::serve(state, reader.into_inner(), *stream),
            Next::Wait(step) => {
                let reply = batch_door::wait(&session, stream.stream(), step);
                stream.set_deadline(Some(Instant::now() + state.config.request));
                stream.write_all(&encode(&reply))?;
            }
        }
    }
}

/// What came from the client.
enum Read<'a> {
    /// With the memory that its body takes until it is answered.
    Frame(Frame, Option<Lent<'a>>),
    /// A request for a file by its name alone.
    OneLine(Result<classic::Request, Malformed>),
    /// Too many bodies are being read just now: this one is left unread.
    NoRoom,
    End,
}

/// A frame whose body has its place in the memory for bodies.
fn read_request<'a>(
    state: &'a State,
    reader: &mut BufReader<Channel>,
) -> Result<Read<'a>, FrameError> {
    let Some(text) = read_text(reader)? else {
        return Ok(Read::End);
    };
    if let Some(asked) = classic::Request::parse(Letters::Small, &text) {
        return Ok(Read::OneLine(asked));
    }
    let line = Line::parse(&text)?;
    let words = line.words;
    let (body, room) = match line.body_len {
        0 => (Vec::new(), None),
        length => {
            let Some(room) = state.bodies.take(length) else {
                return Ok(Read::NoRoom);
            };
            (read_body(reader, length)?, Some(room))
        }
    };
    Ok(Read::Frame(Frame { words, body }, room))
}

fn answer(state: &State, session: &mut Session, from: SocketAddr, frame: &mut Frame) -> Next {
    // A person with `nc` has pressed Enter.
    if frame.words.is_empty() && frame.body.is_empty() {
        let hint = "type a command; `help` lists them";
        return Next::Continue(Reply::err(Code::BadRequest, hint));
    }
    session.request = match RequestId::take(&mut frame.words) {
        Ok(id) => id,
        Err(error) => {
            let sentence = format!("the first word {error}");
            return Next::Continue(Reply::err(Code::BadRequest, sentence));
        }
    };
    let request = match Request::parse(frame) {
        Ok(request) => request,
        Err(error) => return Next::Continue(Reply::err(Code::BadRequest, error)),
    };
    state.counters.request();
    if needs_facts(&request) && !state.neighbours.becomes_current() {
        let sentence = format!(
            "{CATCHING_UP}: this tracker was away and is being told what it has missed; ask \
             another one, or again in a few seconds"
        );
        return Next::Continue(Reply::err(Code::Busy, sentence));
    }
    if let Some(answered) = answered(state, session) {
        let reply = answered.unwrap_or_else(|refused| Reply::err(refused.code(), refused));
        return Next::Continue(reply);
    }
    let permitted = permit(state, session, frame, &request);
    let next = permitted.and_then(|()| obey(state, session, from.ip(), request));
    next.unwrap_or_else(|refused| Next::Continue(Reply::err(refused.code(), refused)))
}

/// What is everybody's is answered also by a tracker that does not know who is who.
fn needs_facts(request: &Request) -> bool {
    match request {
        Request::Ping
        | Request::Trackers
        | Request::Stats
        | Request::Help
        | Request::Quit
        | Request::Ask { .. }
        | Request::Have(_)
        | Request::Hashing { .. }
        | Request::HaveNot { .. }
        | Request::Metainfo { .. }
        | Request::Knock { .. }
        | Request::Knocked { .. }
        | Request::NotKnocked { .. }
        | Request::BatchJoin { .. }
        | Request::BatchOffer { .. }
        | Request::BatchWait { .. }
        | Request::Logout => false,
        Request::Announce { group: None, .. } => false,
        request => !request.group().is_some_and(GroupName::is_public),
    }
}

/// The answer to a request that was answered before, here or by another tracker: the same, though
/// it could not be done a second time. What can be goes its usual way, and nothing is changed.
fn answered(state: &State, session: &Session) -> Option<Result<Reply, Refused>> {
    let done = state.known.answer(&session.request?)?;
    let reply = match done {
        Done::Offered(_) | Done::Completed => return None,
        // The new password must be shown once more: we do not know who asks.
        Done::PasswordSet(_) => match session.login() {
            Some(_) => account_door::welcome(state, session),
            None => Err(Refused::LoginEnded),
        },
        done => Ok(Reply::said(done)),
    };
    // Whoever hears it may ask another tracker next.
    state.neighbours.wait_until_all_have();
    Some(reply)
}

/// Compares what the table asks for with who speaks.
fn permit(
    state: &State,
    session: &mut Session,
    frame: &Frame,
    request: &Request,
) -> Result<(), Refused> {
    let name = frame.words.first().map_or("", String::as_str);
    let commands = command::find(Place::Control, name).unwrap_or_default();
    let permission = commands.first().map_or(Permission::Owner, |c| c.permission);
    let group = request.group();
    let permission = match permission {
        // An announce: anybody's, unless it is in a group. But to leave a swarm is everybody's: who
        // has logged out, or left the group, could not say so otherwise.
        Permission::Anyone if group.is_some() && !is_goodbye(request) => Permission::Member,
        permission => permission,
    };
    let permitted = state.known.look(|facts| {
        session.look(facts);
        access::permit(facts, session.user(), permission, group)
    });
    match permitted {
        Err(Refused::NotLoggedIn) => Err(session.ended.clone().unwrap_or(Refused::NotLoggedIn)),
        permitted => permitted,
    }
}

fn is_goodbye(request: &Request) -> bool {
    matches!(request, Request::Announce { announce, .. } if announce.event == Event::Stopped)
}

/// Does what is asked by somebody who may.
fn obey(
    state: &State,
    session: &mut Session,
    ip: IpAddr,
    request: Request,
) -> Result<Next, Refused> {
    let by = session.asker();
    let reply = match request {
        Request::Ping => Reply::ok(["pong"]),
        Request::Subscribe { since } => return listen(state, session, ip, since),
        Request::BatchWait { step } => return Ok(Next::Wait(step)),
        Request::Quit => return Ok(Next::Close(Reply::ok(["bye"]))),
        Request::CreateUser { .. }
        | Request::Login { .. }
        | Request::Resume { .. }
        | Request::Logout
        | Request::Passwd { .. }
        | Request::Whoami
        | Request::Ticket { .. } => account(state, session, ip, request)?,
        Request::CreateGroup { .. }
        | Request::JoinGroup { .. }
        | Request::LeaveGroup { .. }
        | Request::AcceptRequest { .. }
        | Request::RejectRequest { .. }
        | Request::ListGroups
        | Request::ListMembers { .. }
        | Request::ListRequests { .. } => group(state, by, request)?,
        Request::ListFiles { .. }
        | Request::UploadFile(_)
        | Request::DownloadFile { .. }
        | Request::ListPeers { .. }
        | Request::StopShare { .. }
        | Request::Announce { .. } => share(state, by, ip, request)?,
        Request::Ask { .. }
        | Request::Have(_)
        | Request::Hashing { .. }
        | Request::HaveNot { .. }
        | Request::Metainfo { .. } => question(state, ip, request)?,
        Request::Knock { .. } | Request::Knocked { .. } | Request::NotKnocked { .. } => {
            knock(state, ip, &request)?
        }
        Request::BatchJoin { .. } | Request::BatchOffer { .. } => batch(state, session, request)?,
        Request::Trackers | Request::Stats | Request::Help => about(state, &request),
    };
    Ok(Next::Continue(reply))
}

/// Turns the connection into a stream.
fn listen(
    state: &State,
    session: &Session,
    ip: IpAddr,
    since: Option<Stamp>,
) -> Result<Next, Refused> {
    let stream = news_door::subscribe(state, session.login(), ip, since)?;
    Ok(Next::Listen(Box::new(stream)))
}

/// What concerns who speaks. Functions of their own, this and the next: an idle client keeps the
/// stack that its last request needed.
fn account(
    state: &State,
    session: &mut Session,
    ip: IpAddr,
    request: Request,
) -> Result<Reply, Refused> {
    match request {
        Request::CreateUser { user, password } => {
            let id = session.asker().request;
            account_door::create_user(state, id, user, &password)
        }
        Request::Login {
            user,
            password,
            peer_key,
        } => account_door::log_in(state, session, ip, &user, &password, peer_key),
        Request::Resume { token } => account_door::resume(state, session, &token),
        Request::Logout => Ok(account_door::log_out(session)),
        Request::Passwd { old, new } => account_door::passwd(state, session, ip, &old, &new),
        Request::Whoami => account_door::whoami(state, session),
        Request::Ticket { group } => account_door::ticket(state, session, &group),
        _ => Ok(Reply::err(Code::Internal, "this is not about accounts")),
    }
}

/// What concerns who is in a group.
fn group(state: &State, by: Asker, request: Request) -> Result<Reply, Refused> {
    let change = |change| group_door::change(state, by, change);
    match request {
        Request::CreateGroup { group } => change(Change::CreateGroup { group }),
        Request::JoinGroup { group } => change(Change::Join { group }),
        Request::LeaveGroup { group } => change(Change::Leave { group }),
        Request::AcceptRequest { group, user } => change(Change::Accept { group, user }),
        Request::RejectRequest { group, user } => change(Change::Reject { group, user }),
        Request::ListGroups => {
            let user = by.user.ok_or(Refused::NotLoggedIn)?;
            Ok(group_door::list_groups(state, user))
        }
        Request::ListMembers { group } if group.is_public() => Err(Refused::PublicMembers),
        Request::ListMembers { group } => Ok(group_door::list_members(state, &group)),
        Request::ListRequests { group } => Ok(group_door::list_requests(state, &group)),
        _ => Ok(Reply::err(Code::Internal, "this is not about groups")),
    }
}

fn batch(state: &State, session: &mut Session, request: Request) -> Result<Reply, Refused> {
    match request {
        Request::BatchJoin { rank, job } => batch_door::join(state, session, rank, &job),
        Request::BatchOffer { name, info_hash } => batch_door::offer(session, name, info_hash),
        _ => Ok(Reply::err(Code::Internal, "this is not about a batch run")),
    }
}

/// What the tracker says of itself.
fn about(state: &State, request: &Request) -> Reply {
    match request {
        Request::Trackers => TrackerEntry::list_to_reply(&state.trackers()),
        Request::Stats => state.stats().to_reply(),
        _ => Reply::Ok {
            words: Vec::new(),
            body: help(Place::Control).into_bytes(),
        },
    }
}

/// What concerns files: those of everybody, or of a group.
fn share(state: &State, by: Asker, ip: IpAddr, request: Request) -> Result<Reply, Refused> {
    Ok(match request {
        Request::ListFiles { group } if group.is_public() => {
            FileEntry::list_to_reply(&state.list_files())
        }
        Request::ListFiles { group } => group_door::list_files(state, &group),
        Request::UploadFile(upload) if upload.group.is_public() => {
            state.upload(ip, &upload)?.to_reply()
        }
        Request::UploadFile(upload) => group_door::upload(state, by, ip, *upload)?,
        Request::DownloadFile { group, name } if group.is_public() => {
            let share = state.download(&name)?;
            Download {
                info_hash: share.info_hash,
                size: share.size,
                info: share.info.to_vec(),
                sha256: share.sha256,
            }
            .into_reply()
        }
        Request::DownloadFile { group, name } => group_door::download(state, &group, &name)?,
        Request::ListPeers { group, name } if group.is_public() => {
            PeerEntry::list_to_reply(&state.list_peers(&name)?)
        }
        Request::ListPeers { group, name } => group_door::list_peers(state, &group, &name)?,
        Request::StopShare {
            group,
            name,
            info_hash,
            holder,
        } if group.is_public() => {
            let address = SocketAddr::new(ip, holder.port);
            state.stop_share(&name, info_hash, address)?;
            Reply::ok([""; 0])
        }
        Request::StopShare {
            group,
            name,
            info_hash,
            holder,
        } => group_door::stop_share(state, by, ip, (group, name, info_hash), holder)?,
        Request::Announce {
            announce,
            group: Some(group),
        } if !group.is_public() && announce.event == Event::Stopped => {
            group_door::goodbye(state, ip, &announce)
        }
        Request::Announce {
            announce,
            group: Some(group),
        } if !group.is_public() => group_door::announce(state, by, ip, group, &announce)?,
        Request::Announce { announce, .. } => {
            let answer = state.announce(ip, &announce);
            announce_to_reply(&answer.map_err(|full| Refused::Full(full.to_string()))?)
        }
        _ => Reply::err(Code::Internal, "this is not about files"),
    })
}

/// What the peers are asked, and answer.
fn question(state: &State, ip: IpAddr, request: Request) -> Result<Reply, Refused> {
    match request {
        Request::Ask { file, peer_id } => ask_door::ask(state, ip, &file, peer_id),
        Request::Have(have) => ask_door::have(state, ip, &have),
        Request::Hashing {
            question,
            size,
            holder,
        } => ask_door::hashing(state, ip, question, size, holder),
        Request::HaveNot { question, peer_id } => ask_door::have_not(state, question, peer_id),
        Request::Metainfo { info_hash } => ask_door::metainfo(state, info_hash),
        _ => Ok(Reply::err(Code::Internal, "this is no question")),
    }
}

/// Who can be connected to.
fn knock(state: &State, ip: IpAddr, request: &Request) -> Result<Reply, Refused> {
    match *request {
        Request::Knock { port, info_hash } => knock_door::knock(state, ip, port, info_hash),
        Request::Knocked { question, outcome } => knock_door::knocked(state, question, outcome),
        Request::NotKnocked { question } => knock_door::not_knocked(state, question),
        _ => Ok(Reply::err(Code::Internal, "this is no knock")),
    }
}
