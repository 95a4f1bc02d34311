//! What a peer asks of a tracker: one variant a control line.
//!
//! Not here: the answers ([`reply`](super::reply)), and who may ask.

use std::fmt;
use std::str::FromStr;

use crate::announce::request::AnnounceRequest;
use crate::torrent::bencode::Value;
use crate::torrent::id::{FileHash, InfoHash, PeerId};
use crate::torrent::metainfo::{Metainfo, MetainfoError};

use super::command::{self, Arguments, Body, Command, CommandError, Place};
use super::frame::{Frame, LineError};
use super::key::PeerKey;
use super::knock::Outcome;
use super::muster::Step;
use super::names::{FileName, GroupName, UserName};
use super::password::Password;
use super::question::QuestionNumber;
use super::stamp::Stamp;

/// How many peers a member asks for who does not say how many.
const NUMWANT: u32 = 50;

/// One control line. The layouts are those of the [table](command::COMMANDS).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `ping`
    Ping,
    /// `create_user <user> <password>`
    CreateUser { user: UserName, password: Password },
    /// `login <user> <password> [peer_key]`
    Login {
        user: UserName,
        password: Password,
        peer_key: Option<PeerKey>,
    },
    /// `resume <token>`
    Resume { token: String },
    /// `logout`
    Logout,
    /// `passwd <old> <new>`
    Passwd { old: Password, new: Password },
    /// `whoami`
    Whoami,
    /// `create_group <group>`
    CreateGroup { group: GroupName },
    /// `join_group <group>`
    JoinGroup { group: GroupName },
    /// `leave_group <group>`
    LeaveGroup { group: GroupName },
    /// `list_requests <group>`
    ListRequests { group: GroupName },
    /// `accept_request <group> <user>`
    AcceptRequest { group: GroupName, user: UserName },
    /// `reject_request <group> <user>`
    RejectRequest { group: GroupName, user: UserName },
    /// `list_groups`
    ListGroups,
    /// `list_members <group>`
    ListMembers { group: GroupName },
    /// `ticket <group>`
    Ticket { group: GroupName },
    /// `subscribe [since]`
    Subscribe { since: Option<Stamp> },
    /// `list_files <group>`
    ListFiles { group: GroupName },
    /// `upload_file <group> <name> <size> <info_hash> <peer_id> <port> [sha256] +N`, then N bytes:
    /// the info dictionary (or a torrent file, of which only the info dictionary is kept)
    UploadFile(Box<Upload>),
    /// `download_file <group> <name>`
    DownloadFile { group: GroupName, name: FileName },
    /// `list_peers <group> <name>`
    ListPeers { group: GroupName, name: FileName },
    /// `stop_share <group> <name> <info_hash> <peer_id> <port>`
    StopShare {
        group: GroupName,
        name: FileName,
        info_hash: InfoHash,
        holder: Holder,
    },
    /// `announce <info_hash> <peer_id> <port> <uploaded> <downloaded> <left> <event> [numwant]
    /// [group]`; without a group the torrent is for everybody
    Announce {
        announce: AnnounceRequest,
        group: Option<GroupName>,
    },
    /// `ask <file> [peer_id]`
    Ask {
        file: FileName,
        /// The asker's own: it is not to be told of itself.
        peer_id: Option<PeerId>,
    },
    /// `have <question> <size> <info_hash> <peer_id> <port> +N`, then the info dictionary
    Have(Box<Have>),
    /// `hashing <question> <size> <peer_id> <port>`
    Hashing {
        question: QuestionNumber,
        size: u64,
        holder: Holder,
    },
    /// `have_not <question> <peer_id>`
    HaveNot {
        question: QuestionNumber,
        peer_id: PeerId,
    },
    /// `metainfo <info_hash>`
    Metainfo { info_hash: InfoHash },
    /// `knock <port> <info_hash>`
    Knock {
        port: u16,
        /// Drawn for this knock: no torrent has it.
        info_hash: InfoHash,
    },
    /// `knocked <question> <outcome>`
    Knocked {
        question: QuestionNumber,
        outcome: Outcome,
    },
    /// `not_knocked <question>`
    NotKnocked { question: QuestionNumber },
    /// `batch_join <rank> <job>`
    BatchJoin { rank: u32, job: String },
    /// `batch_offer <name> <info_hash>`
    BatchOffer { name: FileName, info_hash: InfoHash },
    /// `batch_wait <step>`
    BatchWait { step: Step },
    /// `trackers`
    Trackers,
    /// `stats`
    Stats,
    /// `help`
    Help,
    /// `quit`
    Quit,
}

/// A torrent that is offered to a group. Size and info hash are those of the metainfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    pub group: GroupName,
    pub name: FileName,
    pub metainfo: Metainfo,
    pub holder: Holder,
    /// Of a single file in `public`, if the sender has computed it.
    pub sha256: Option<FileHash>,
}

/// A torrent of the name that a tracker has asked for. Size and info hash are those of the
/// metainfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Have {
    pub question: QuestionNumber,
    pub metainfo: Metainfo,
    pub holder: Holder,
}

/// Who holds a share: the id and the port of a peer whose address is the connection's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    pub peer_id: PeerId,
    pub port: u16,
}

/// Why a frame is not a request. The sentence is for the asker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("`{0}` has no body")]
    UnexpectedBody(&'static str),
    #[error("the body of `{command}` is missing: {what}")]
    NoBody {
        command: &'static str,
        what: &'static str,
    },
    #[error("the body is no torrent: {0}")]
    Torrent(#[from] MetainfoError),
    #[error("`{argument}` is {said}, but the torrent in the body has {is}")]
    Mismatch {
        argument: &'static str,
        said: String,
        is: String,
    },
}

impl Request {
    /// The group that it is about.
    pub fn group(&self) -> Option<&GroupName> {
        match self {
            Request::CreateGroup { group }
            | Request::JoinGroup { group }
            | Request::LeaveGroup { group }
            | Request::ListRequests { group }
            | Request::AcceptRequest { group, .. }
            | Request::RejectRequest { group, .. }
            | Request::ListMembers { group }
            | Request::Ticket { group }
            | Request::ListFiles { group }
            | Request::DownloadFile { group, .. }
            | Request::ListPeers { group, .. }
            | Request::StopShare { group, .. } => Some(group),
            Request::UploadFile(upload) => Some(&upload.group),
            Request::Announce { group, .. } => group.as_ref(),
            Request::Ping
            | Request::CreateUser { .. }
            | Request::Login { .. }
            | Request::Resume { .. }
            | Request::Logout
            | Request::Passwd { .. }
            | Request::Whoami
            | Request::ListGroups
            | Request::Subscribe { .. }
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
            | Request::Trackers
            | Request::Stats
            | Request::Help
            | Request::Quit => None,
        }
    }

    /// Whether it is not to be carried out twice, however often it is sent: it then has a number.
    pub fn is_change(&self) -> bool {
        matches!(
            self,
            Request::CreateUser { .. }
                | Request::Passwd { .. }
                | Request::CreateGroup { .. }
                | Request::JoinGroup { .. }
                | Request::LeaveGroup { .. }
                | Request::AcceptRequest { .. }
                | Request::RejectRequest { .. }
                | Request::UploadFile(_)
                | Request::StopShare { .. }
        )
    }

    pub fn parse(frame: &Frame) -> Result<Request, RequestError> {
        let (command, arguments) = command::parse(Place::Control, &frame.words)?;
        match command.body {
            Body::None if !frame.body.is_empty() => {
                return Err(RequestError::UnexpectedBody(command.name));
            }
            Body::Needed(what) if frame.body.is_empty() => {
                return Err(RequestError::NoBody {
                    command: command.name,
                    what,
                });
            }
            Body::None | Body::Needed(_) => {}
        }
        let args = Typed { command, arguments };
        // By subject: one function of all arms would need the stack of them all, for each of ten
        // thousand clients.
        let request = match command.name {
            "ping" => Some(Request::Ping),
            "trackers" => Some(Request::Trackers),
            "stats" => Some(Request::Stats),
            "help" => Some(Request::Help),
            "quit" => Some(Request::Quit),
            _ => None,
        };
        if let Some(request) = request {
            return Ok(request);
        }
        let of_account = parse_of_account(&args)?;
        let of_group = || parse_of_group(&args).transpose();
        let of_file = || parse_of_file(&args, &frame.body).transpose();
        let of_question = || parse_of_question(&args, &frame.body).transpose();
        let of_batch = || parse_of_batch(&args).transpose();
        let parsed = of_account.map(Ok).or_else(of_group).or_else(of_file);
        let parsed = parsed.or_else(of_question).or_else(of_batch);
        // Only a row of the table that has no arm here: a test looks for that.
        parsed.unwrap_or_else(|| Err(unknown(command.name).into()))
    }

    /// The request as a frame.
    pub fn to_frame(&self) -> Frame {
        match self {
            Request::Ping => Frame::new(["ping"]),
            Request::CreateUser { user, password } => {
                words(&[&"create_user", user, &password.reveal()])
            }
            Request::Login {
                user,
                password,
                peer_key,
            } => {
                let mut frame = words(&[&"login", user, &password.reveal()]);
                frame.words.extend(peer_key.map(|key| key.to_string()));
                frame
            }
            Request::Resume { token } => words(&[&"resume", token]),
            Request::Logout => Frame::new(["logout"]),
            Request::Passwd { old, new } => words(&[&"passwd", &old.reveal(), &new.reveal()]),
            Request::Whoami => Frame::new(["whoami"]),
            Request::CreateGroup { group } => words(&[&"create_group", group]),
            Request::JoinGroup { group } => words(&[&"join_group", group]),
            Request::LeaveGroup { group } => words(&[&"leave_group", group]),
            Request::ListRequests { group } => words(&[&"list_requests", group]),
            Request::AcceptRequest { group, user } => words(&[&"accept_request", group, user]),
            Request::RejectRequest { group, user } => words(&[&"reject_request", group, user]),
            Request::ListGroups => Frame::new(["list_groups"]),
            Request::ListMembers { group } => words(&[&"list_members", group]),
            Request::Ticket { group } => words(&[&"ticket", group]),
            Request::Subscribe { since } => {
                let mut frame = Frame::new(["subscribe"]);
                frame.words.extend(since.map(|since| since.to_string()));
                frame
            }
            Request::ListFiles { group } => words(&[&"list_files", group]),
            Request::UploadFile(upload) => {
                let Upload {
                    group,
                    name,
                    metainfo,
                    holder,
                    sha256,
                } = upload.as_ref();
                let mut frame = words(&[
                    &"upload_file",
                    group,
                    name,
                    &metainfo.layout.total(),
                    &metainfo.info_hash,
                    &holder.peer_id,
                    &holder.port,
                ]);
                frame.words.extend(sha256.map(|sha256| sha256.to_string()));
                frame.with_body(metainfo.info_bytes().to_vec())
            }
            Request::DownloadFile { group, name } => words(&[&"download_file", group, name]),
            Request::ListPeers { group, name } => words(&[&"list_peers", group, name]),
            Request::StopShare {
                group,
                name,
                info_hash,
                holder,
            } => words(&[
                &"stop_share",
                group,
                name,
                info_hash,
                &holder.peer_id,
                &holder.port,
            ]),
            Request::Announce { announce, group } => {
                let mut frame = words(&[
                    &"announce",
                    &announce.info_hash,
                    &announce.peer_id,
                    &announce.port,
                    &announce.uploaded,
                    &announce.downloaded,
                    &announce.left,
                    &announce.event,
                ]);
                // The group comes after the number, which must be there then.
                let numwant = announce.numwant.or(group.as_ref().map(|_| NUMWANT));
                frame
                    .words
                    .extend(numwant.map(|numwant| numwant.to_string()));
                frame.words.extend(group.as_ref().map(GroupName::to_string));
                frame
            }
            Request::Ask { file, peer_id } => {
                let mut frame = words(&[&"ask", file]);
                frame.words.extend(peer_id.map(|id| id.to_string()));
                frame
            }
            Request::Have(have) => {
                let Have {
                    question,
                    metainfo,
                    holder,
                } = have.as_ref();
                words(&[
                    &"have",
                    question,
                    &metainfo.layout.total(),
                    &metainfo.info_hash,
                    &holder.peer_id,
                    &holder.port,
                ])
                .with_body(metainfo.info_bytes().to_vec())
            }
            Request::Hashing {
                question,
                size,
                holder,
            } => words(&[&"hashing", question, size, &holder.peer_id, &holder.port]),
            Request::HaveNot { question, peer_id } => words(&[&"have_not", question, peer_id]),
            Request::Metainfo { info_hash } => words(&[&"metainfo", info_hash]),
            Request::Knock { port, info_hash } => words(&[&"knock", port, info_hash]),
            Request::Knocked { question, outcome } => words(&[&"knocked", question, outcome]),
            Request::NotKnocked { question } => words(&[&"not_knocked", question]),
            Request::BatchJoin { rank, job } => words(&[&"batch_join", rank, job]),
            Request::BatchOffer { name, info_hash } => words(&[&"batch_offer", name, info_hash]),
            Request::BatchWait { step } => words(&[&"batch_wait", step]),
            Request::Trackers => Frame::new(["trackers"]),
            Request::Stats => Frame::new(["stats"]),
            Request::Help => Frame::new(["help"]),
            Request::Quit => Frame::new(["quit"]),
        }
    }

    /// The bytes to send.
    ///
    /// # Errors
    /// When the info dictionary is larger than a body can be.
    pub fn encode(&self) -> Result<Vec<u8>, LineError> {
        self.to_frame().encode()
    }
}

fn words(parts: &[&dyn fmt::Display]) -> Frame {
    Frame::new(parts.iter().map(|part| part.to_string()))
}

fn unknown(word: &str) -> CommandError {
    CommandError::Unknown {
        word: word.to_string(),
        near: None,
    }
}

/// Who speaks.
fn parse_of_account(args: &Typed<'_>) -> Result<Option<Request>, RequestError> {
    Ok(Some(match args.command.name {
        "create_user" => Request::CreateUser {
            user: args.value("user")?,
            password: args.value("password")?,
        },
        "login" => Request::Login {
            user: args.value("user")?,
            password: args.value("password")?,
            peer_key: args.optional("peer_key")?,
        },
        "resume" => Request::Resume {
            token: args.value("token")?,
        },
        "logout" => Request::Logout,
        "passwd" => Request::Passwd {
            old: args.value("old")?,
            new: args.value("new")?,
        },
        "whoami" => Request::Whoami,
        "ticket" => Request::Ticket {
            group: args.value("group")?,
        },
        "subscribe" => Request::Subscribe {
            since: args.optional("since")?,
        },
        _ => return Ok(None),
    }))
}

/// Who is in a group.
fn parse_of_group(args: &Typed<'_>) -> Result<Option<Request>, RequestError> {
    Ok(Some(match args.command.name {
        "create_group" => Request::CreateGroup {
            group: args.value("group")?,
        },
        "join_group" => Request::JoinGroup {
            group: args.value("group")?,
        },
        "leave_group" => Request::LeaveGroup {
            group: args.value("group")?,
        },
        "list_requests" => Request::ListRequests {
            group: args.value("group")?,
        },
        "accept_request" => Request::AcceptRequest {
            group: args.value("group")?,
            user: args.value("user")?,
        },
        "reject_request" => Request::RejectRequest {
            group: args.value("group")?,
            user: args.value("user")?,
        },
        "list_groups" => Request::ListGroups,
        "list_members" => Request::ListMembers {
            group: args.value("group")?,
        },
        _ => return Ok(None),
    }))
}

/// What is shared.
fn parse_of_file(args: &Typed<'_>, body: &[u8]) -> Result<Option<Request>, RequestError> {
    Ok(Some(match args.command.name {
        "list_files" => Request::ListFiles {
            group: args.value("group")?,
        },
        "upload_file" => Request::UploadFile(Box::new(parse_upload(args, body)?)),
        "download_file" => Request::DownloadFile {
            group: args.value("group")?,
            name: args.value("name")?,
        },
        "list_peers" => Request::ListPeers {
            group: args.value("group")?,
            name: args.value("name")?,
        },
        "stop_share" => Request::StopShare {
            group: args.value("group")?,
            name: args.value("name")?,
            info_hash: args.value("info_hash")?,
            holder: args.holder()?,
        },
        "announce" => Request::Announce {
            announce: AnnounceRequest {
                info_hash: args.value("info_hash")?,
                peer_id: args.value("peer_id")?,
                port: args.value("port")?,
                uploaded: args.value("uploaded")?,
                downloaded: args.value("downloaded")?,
                left: args.value("left")?,
                event: args.value("event")?,
                numwant: args.optional("numwant")?,
            },
            group: args.optional("group")?,
        },
        _ => return Ok(None),
    }))
}

/// What a tracker asks a peer.
fn parse_of_question(args: &Typed<'_>, body: &[u8]) -> Result<Option<Request>, RequestError> {
    Ok(Some(match args.command.name {
        "ask" => Request::Ask {
            file: args.value("file")?,
            peer_id: args.optional("peer_id")?,
        },
        "have" => Request::Have(Box::new(Have {
            question: args.value("question")?,
            metainfo: parse_torrent(args, body)?,
            holder: args.holder()?,
        })),
        "hashing" => Request::Hashing {
            question: args.value("question")?,
            size: args.value("size")?,
            holder: args.holder()?,
        },
        "have_not" => Request::HaveNot {
            question: args.value("question")?,
            peer_id: args.value("peer_id")?,
        },
        "metainfo" => Request::Metainfo {
            info_hash: args.value("info_hash")?,
        },
        "knock" => Request::Knock {
            port: args.value("port")?,
            info_hash: args.value("info_hash")?,
        },
        "knocked" => Request::Knocked {
            question: args.value("question")?,
            outcome: args.value("outcome")?,
        },
        "not_knocked" => Request::NotKnocked {
            question: args.value("question")?,
        },
        _ => return Ok(None),
    }))
}

/// What the clients of a batch run say.
fn parse_of_batch(args: &Typed<'_>) -> Result<Option<Request>, RequestError> {
    Ok(Some(match args.command.name {
        "batch_join" => Request::BatchJoin {
            rank: args.value("rank")?,
            job: args.value("job")?,
        },
        "batch_offer" => Request::BatchOffer {
            name: args.value("name")?,
            info_hash: args.value("info_hash")?,
        },
        "batch_wait" => Request::BatchWait {
            step: args.value("step")?,
        },
        _ => return Ok(None),
    }))
}

fn parse_upload(args: &Typed<'_>, body: &[u8]) -> Result<Upload, RequestError> {
    let upload = Upload {
        group: args.value("group")?,
        name: args.value("name")?,
        metainfo: parse_torrent(args, body)?,
        holder: args.holder()?,
        sha256: args.optional("sha256")?,
    };
    let wrong = |why| Err(args.command.wrong("sha256", why).into());
    match upload.sha256 {
        Some(_) if !upload.group.is_public() => wrong("is kept of what is in public only"),
        Some(_) if !upload.metainfo.layout.is_single() => {
            wrong("is of one file, and the torrent in the body has several")
        }
        _ => Ok(upload),
    }
}

/// The torrent of a body, which is what the words say that it is.
fn parse_torrent(args: &Typed<'_>, body: &[u8]) -> Result<Metainfo, RequestError> {
    // A torrent file has the info dictionary inside; an info dictionary has no `info`.
    let (outer, _trailing) = Value::parse_prefix(body).map_err(MetainfoError::from)?;
    let info = outer.get("info").filter(|info| info.dict().is_some());
    let metainfo = Metainfo::parse_info(info.map_or(body, |info| info.raw()))?;
    let (size, info_hash): (u64, InfoHash) = (args.value("size")?, args.value("info_hash")?);
    if size != metainfo.layout.total() {
        return Err(RequestError::Mismatch {
            argument: "size",
            said: size.to_string(),
            is: metainfo.layout.total().to_string(),
        });
    }
    if info_hash != metainfo.info_hash {
        return Err(RequestError::Mismatch {
            argument: "info_hash",
            said: info_hash.to_string(),
            is: metainfo.info_hash.to_string(),
        });
    }
    Ok(metainfo)
}

/// Arguments that can be asked for as values.
struct Typed<'a> {
    command: &'static Command,
    arguments: Arguments<'a>,
}

impl Typed<'_> {
    fn value<T: FromStr<Err: fmt::Display>>(&self, name: &'static str) -> Result<T, CommandError> {
        self.optional(name)?
            .ok_or_else(|| self.command.wrong(name, "is missing"))
    }

    fn optional<T: FromStr<Err: fmt::Display>>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, CommandError> {
        let word = self.arguments.one(name);
        word.map(|word| word.parse())
            .transpose()
            .map_err(|error| self.command.wrong(name, error))
    }

    fn holder(&self) -> Result<Holder, CommandError> {
        Ok(Holder {
            peer_id: self.value("peer_id")?,
            port: self.value("port")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::announce::request::Event;
    use crate::control::frame::read_frame;
    use crate::torrent::id::PieceHash;
    use crate::torrent::layout::Layout;

    fn metainfo(name: &str, length: u64) -> Metainfo {
        let layout = Layout::single(name.into(), length, 1 << 14).unwrap();
        let hashes = layout.all_pieces().map(|_| PieceHash([7; 20])).collect();
        Metainfo::build(layout, hashes, false)
    }

    fn read(bytes: &[u8]) -> Request {
        let frame = read_frame(&mut &bytes[..]).unwrap().unwrap();
        Request::parse(&frame).unwrap()
    }

    fn refused(line: &str, body: &[u8]) -> String {
        let bytes = match body.len() {
            0 => format!("{line}\n").into_bytes(),
            n => [format!("{line} +{n}\n").as_bytes(), body].concat(),
        };
        let frame = read_frame(&mut &bytes[..]).unwrap().unwrap();
        Request::parse(&frame).unwrap_err().to_string()
    }

    /// One of each kind.
    fn samples() -> Vec<Request> {
        let holder = Holder {
            peer_id: PeerId(*b"-mb0100-\0 \xff\"%fghijkl"),
            port: 6881,
        };
        let name: FileName = "big \"file\".iso".parse().unwrap();
        let metainfo = metainfo("big file.iso", 20_000);
        let group: GroupName = "CS101".parse().unwrap();
        let user: UserName = "Bob".parse().unwrap();
        let password: Password = "with \"quotes\" and spaces".parse().unwrap();
        vec![
            Request::Ping,
            Request::CreateUser {
                user: user.clone(),
                password: password.clone(),
            },
            Request::Login {
                user: user.clone(),
                password: password.clone(),
                peer_key: Some(PeerKey([9; 32])),
            },
            Request::Resume {
                token: "a token".into(),
            },
            Request::Logout,
            Request::Passwd {
                old: password.clone(),
                new: "+5".parse().unwrap(),
            },
            Request::Whoami,
            Request::CreateGroup {
                group: group.clone(),
            },
            Request::JoinGroup {
                group: group.clone(),
            },
            Request::LeaveGroup {
                group: group.clone(),
            },
            Request::ListRequests {
                group: group.clone(),
            },
            Request::AcceptRequest {
                group: group.clone(),
                user: user.clone(),
            },
            Request::RejectRequest {
                group: group.clone(),
                user,
            },
            Request::ListGroups,
            Request::ListMembers {
                group: group.clone(),
            },
            Request::Ticket {
                group: group.clone(),
            },
            Request::Subscribe {
                since: Some(Stamp {
                    time: 7,
                    tracker: 1,
                }),
            },
            Request::Announce {
                announce: AnnounceRequest {
                    info_hash: metainfo.info_hash,
                    peer_id: holder.peer_id,
                    port: 1,
                    uploaded: 0,
                    downloaded: 0,
                    left: 0,
                    event: Event::None,
                    numwant: Some(9),
                },
                group: Some(group),
            },
            Request::ListFiles {
                group: GroupName::public(),
            },
            Request::DownloadFile {
                group: GroupName::public(),
                name: "+5".parse().unwrap(),
            },
            Request::ListPeers {
                group: GroupName::public(),
                name: name.clone(),
            },
            Request::StopShare {
                group: GroupName::public(),
                name: name.clone(),
                info_hash: metainfo.info_hash,
                holder,
            },
            Request::Announce {
                announce: AnnounceRequest {
                    info_hash: metainfo.info_hash,
                    peer_id: holder.peer_id,
                    port: 1,
                    uploaded: u64::MAX,
                    downloaded: 0,
                    left: 5,
                    event: Event::Started,
                    numwant: None,
                },
                group: None,
            },
            Request::Ask {
                file: name.clone(),
                peer_id: None,
            },
            Request::Ask {
                file: "a: b".parse().unwrap(),
                peer_id: Some(holder.peer_id),
            },
            Request::Have(Box::new(Have {
                question: QuestionNumber(3),
                metainfo: metainfo.clone(),
                holder,
            })),
            Request::Hashing {
                question: QuestionNumber(u64::MAX),
                size: 0,
                holder,
            },
            Request::HaveNot {
                question: QuestionNumber(0),
                peer_id: holder.peer_id,
            },
            Request::Metainfo {
                info_hash: metainfo.info_hash,
            },
            Request::Knock {
                port: u16::MAX,
                info_hash: metainfo.info_hash,
            },
            Request::Knocked {
                question: QuestionNumber(9),
                outcome: Outcome::Silent,
            },
            Request::NotKnocked {
                question: QuestionNumber(9),
            },
            Request::UploadFile(Box::new(Upload {
                group: "CS101".parse().unwrap(),
                name: name.clone(),
                metainfo: metainfo.clone(),
                holder,
                sha256: None,
            })),
            Request::UploadFile(Box::new(Upload {
                group: GroupName::public(),
                name,
                metainfo,
                holder,
                sha256: Some(FileHash([0x5a; 32])),
            })),
            Request::BatchJoin {
                rank: 7,
                job: "4711-1".into(),
            },
            Request::BatchOffer {
                name: "file1".parse().unwrap(),
                info_hash: InfoHash([9; 20]),
            },
            Request::BatchWait {
                step: Step::Finished,
            },
            Request::Trackers,
            Request::Stats,
            Request::Help,
            Request::Quit,
        ]
    }

    #[test]
    fn reads_what_it_writes_for_every_row_of_the_table() {
        let samples = samples();
        for request in &samples {
            assert_eq!(read(&request.encode().unwrap()), *request);
        }
        for command in command::commands(Place::Control) {
            let named = |request: &Request| request.to_frame().words[0] == command.name;
            assert!(samples.iter().any(named), "{} has no sample", command.name);
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        for request in samples() {
            let bytes = request.encode().unwrap();
            for cut in 1..bytes.len() {
                assert!(read_frame(&mut &bytes[..cut]).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_torrent_file_is_an_upload_too() {
        let metainfo = metainfo("x", 5);
        let mut torrent = metainfo.clone();
        torrent.trackers = vec![vec!["http://elsewhere/".into()]];
        let line = format!(
            "upload_file public x 5 {} -mb0100-abcdefghijkl 6881",
            metainfo.info_hash
        );
        let frame = Frame {
            words: line.split(' ').map(str::to_string).collect(),
            body: torrent.to_bytes(),
        };
        match Request::parse(&frame).unwrap() {
            Request::UploadFile(upload) => assert_eq!(upload.metainfo, metainfo),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        let check = |line: &str, body: &[u8], expect: &str| {
            assert_eq!(refused(line, body), expect, "{line}");
        };
        let torrent = metainfo("x", 5);
        let (hash, info) = (torrent.info_hash, torrent.info_bytes());
        let other = "0".repeat(40);
        let holder = "-mb0100-abcdefghijkl 6881";
        check("ping", b"x", "`ping` has no body");
        check(
            "ping me",
            b"",
            "`me` is one word too many (put quotes around a name with spaces): ping",
        );
        check(
            "list_files a/b",
            b"",
            "`group` may have letters, digits, `-`, `_` and `.` only: list_files <group>",
        );
        check(
            "download_file public ..",
            b"",
            "`name` is a file name: it has no `/`, no control characters, and is not `.` or `..`: download_file <group> <name>",
        );
        check(
            &format!("upload_file public x 5 {hash} {holder}"),
            b"",
            "the body of `upload_file` is missing: the info dictionary, or the whole .torrent file",
        );
        check(
            &format!("upload_file public x 6 {hash} {holder}"),
            info,
            "`size` is 6, but the torrent in the body has 5",
        );
        check(
            &format!("upload_file cs101 x 5 {hash} {holder} {}", "0".repeat(64)),
            info,
            "`sha256` is kept of what is in public only: upload_file <group> <name> <size> <info_hash> <peer_id> <port> [sha256] +N",
        );
        check(
            &format!("upload_file public x 5 {other} {holder}"),
            info,
            &format!("`info_hash` is {other}, but the torrent in the body has {hash}"),
        );
        check(
            &format!("upload_file public x 5 {hash} {holder}"),
            b"de",
            "the body is no torrent: `info.name` is missing",
        );
        let refusal = refused(&format!("announce {hash} short 1 0 0 0 none"), b"");
        assert!(
            refusal.starts_with("`peer_id` is not right: a peer id is 20 bytes"),
            "{refusal}"
        );
        let refusal = refused(&format!("announce {hash} {holder} 0 0 0 later"), b"");
        assert!(
            refusal.starts_with("`event` is one of started, completed, stopped, none:"),
            "{refusal}"
        );
        let refusal = refused(
            &format!("announce {hash} {holder} 0 0 0 none 9999999999"),
            b"",
        );
        assert!(
            refusal.starts_with("`numwant` number too large"),
            "{refusal}"
        );
        // A one-line request: who reads lines takes those first (`classic`).
        assert!(refused("announce x:7000", b"").starts_with("`info_hash`"));
    }

    proptest! {
        #[test]
        fn announces_survive_the_wire(
            hash: [u8; 20], id: [u8; 20], port in 1u16.., numbers: [u64; 3], numwant: Option<u32>,
        ) {
            let request = Request::Announce { announce: AnnounceRequest {
                info_hash: InfoHash(hash),
                peer_id: PeerId(id),
                port,
                uploaded: numbers[0],
                downloaded: numbers[1],
                left: numbers[2],
                event: Event::Completed,
                numwant,
            }, group: None };
            prop_assert_eq!(read(&request.encode().unwrap()), request);
        }

        #[test]
        fn names_survive_the_wire(name in "[^\\p{Cc}/]{1,60}") {
            prop_assume!(name != "." && name != "..");
            let Ok(name) = name.parse() else { return Ok(()) };
            let request = Request::DownloadFile { group: GroupName::public(), name };
            prop_assert_eq!(read(&request.encode().unwrap()), request);
        }
    }
}
