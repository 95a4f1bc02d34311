//! The one table of commands: what can be typed where, by whom, and what it does.
//!
//! Prompts, the parser of control lines, help, completion and docs/PROTOCOL.md are made from it.
//! Not here: what a command does.

use std::fmt;

use crate::announce::request::Event;
use crate::torrent::id::{FileHash, InfoHash, PeerId};

use super::key::PeerKey;
use super::knock::Outcome;
use super::muster::Step;
use super::names::{FileName, GroupName, UserName};
use super::password::Password;
use super::stamp::Stamp;

/// In place of a peer's address: everybody.
pub const ALL: &str = "all";

/// Where a command is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The prompt of `peer`.
    PeerPrompt,
    /// A line that a peer sends to a tracker.
    Control,
    /// The prompt of `tracker`.
    TrackerPrompt,
}

/// Who may use a command. In the group `public` everybody is a member, and nobody an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    Anyone,
    /// Who is logged in.
    User,
    /// A member of the group that the argument `group` names.
    Member,
    /// Its owner: the member of longest standing.
    Owner,
}

/// What an argument is: decides how it is checked and completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file or folder on this machine.
    Path,
    /// A file or folder on this machine, or a group: in either order.
    PathOrGroup,
    /// A `.torrent` file on this machine.
    TorrentFile,
    /// Where a peer listens, such as `192.168.1.7:7600`.
    PeerAddress,
    /// The same, or [`ALL`].
    PeerAddressOrAll,
    /// Where on this machine a download goes: a folder, or a path.
    Destination,
    /// The name of a file of the group.
    File,
    Group,
    User,
    /// Who has asked to join the group.
    Applicant,
    /// Shown nowhere, kept in no history.
    Password,
    PeerKey,
    Stamp,
    /// A word that only its maker understands.
    Token,
    /// Bytes a second, such as `500K`, `2M`, or `off`.
    Rate,
    Number,
    Port,
    Url,
    InfoHash,
    /// The SHA-256 of a whole file.
    FileHash,
    PeerId,
    /// The name of a command.
    Command,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Needed,
    Optional,
    /// The value of an option: `--name value`, anywhere after the command.
    Option(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arg {
    pub name: &'static str,
    pub kind: Kind,
    pub presence: Presence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    None,
    /// ` +N` and N bytes, which are this.
    Needed(&'static str),
}

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    pub place: Place,
    pub name: &'static str,
    pub args: &'static [Arg],
    pub body: Body,
    pub permission: Permission,
    /// One line, for people.
    pub help: &'static str,
}

const fn need(name: &'static str, kind: Kind) -> Arg {
    Arg {
        name,
        kind,
        presence: Presence::Needed,
    }
}

const fn maybe(name: &'static str, kind: Kind) -> Arg {
    Arg {
        name,
        kind,
        presence: Presence::Optional,
    }
}

const fn option(flag: &'static str, name: &'static str, kind: Kind) -> Arg {
    Arg {
        name,
        kind,
        presence: Presence::Option(flag),
    }
}

const fn row(
    place: Place,
    name: &'static str,
    args: &'static [Arg],
    help: &'static str,
) -> Command {
    Command {
        place,
        name,
        args,
        body: Body::None,
        permission: Permission::Anyone,
        help,
    }
}

/// The same for those who are logged in.
const fn user(command: Command) -> Command {
    Command {
        permission: Permission::User,
        ..command
    }
}

const fn member(command: Command) -> Command {
    Command {
        permission: Permission::Member,
        ..command
    }
}

const fn owner(command: Command) -> Command {
    Command {
        permission: Permission::Owner,
        ..command
    }
}

const fn peer(name: &'static str, args: &'static [Arg], help: &'static str) -> Command {
    row(Place::PeerPrompt, name, args, help)
}

const fn control(name: &'static str, args: &'static [Arg], help: &'static str) -> Command {
    row(Place::Control, name, args, help)
}

const fn tracker(name: &'static str, args: &'static [Arg], help: &'static str) -> Command {
    row(Place::TrackerPrompt, name, args, help)
}

/// Every command there is, in the order in which help shows them.
#[rustfmt::skip] // a table is read by its columns
pub const COMMANDS: &[Command] = &[
    peer("create_user", &[need("user", Kind::User), maybe("password", Kind::Password)],
         "Open an account; without a password on the line you are asked for it"),
    peer("login", &[need("user", Kind::User), maybe("password", Kind::Password)],
         "Log in: your groups' files are shared again, downloads go on"),
    user(peer("logout", &[], "Log out: nothing of your groups is shared until you log in again")),
    user(peer("passwd", &[maybe("old", Kind::Password), maybe("new", Kind::Password)],
              "Choose another password; you are asked for what is not on the line")),
    user(peer("whoami", &[], "Who is logged in here")),
    user(peer("create_group", &[need("group", Kind::Group)], "Make a group; you are its owner")),
    user(peer("join_group", &[need("group", Kind::Group)], "Ask to join a group")),
    member(peer("leave_group", &[need("group", Kind::Group)],
                "Leave a group; the next member in join order owns it, the last one ends it")),
    owner(peer("list_requests", &[need("group", Kind::Group)], "Who asks to join your group")),
    owner(peer("accept_request", &[need("group", Kind::Group), need("user", Kind::Applicant)],
               "Let somebody in who asks to join")),
    owner(peer("reject_request", &[need("group", Kind::Group), need("user", Kind::Applicant)],
               "Turn somebody down who asks to join")),
    user(peer("list_groups", &[], "Every group, its owner, and what you are in it")),
    member(peer("list_members", &[need("group", Kind::Group)], "The members of a group in join order")),
    member(peer("list_files", &[maybe("group", Kind::Group)], "The files that a group shares; without a group, those for everybody")),
    member(peer("upload_file", &[need("path", Kind::PathOrGroup), maybe("group", Kind::PathOrGroup)],
                "Share a file or a folder with a group, or with everybody")),
    peer("download_file", &[need("file", Kind::File)], "Fetch a file that is shared with everybody, into the download folder"),
    member(peer("download_file", &[need("group", Kind::Group), need("file", Kind::File), maybe("destination", Kind::Destination)],
                "Fetch a file of a group (or of `public`), into the download folder unless you say where")),
    peer("ask", &[need("file", Kind::File)],
         "Ask every peer who has a file of that name, shared or not; then type a number of the list to fetch it. The line `<host> <port> <file>` asks at that tracker, and fetches at once"),
    peer("show_downloads", &[], "Downloads [D], complete [C], paused [P], stopped [E], and how far they are"),
    peer("progress", &[], "Live bars; any key comes back to the prompt"),
    peer("show_peers", &[maybe("file", Kind::File)], "Who you are connected to, and at what rates"),
    peer("connect", &[need("address", Kind::PeerAddress)], "Call a peer now, and take its calls again"),
    peer("disconnect", &[need("address|all", Kind::PeerAddressOrAll)],
         "Part from a peer and leave it alone until you connect to it again"),
    peer("wait", &[], "Come back when every download is done"),
    peer("pause", &[need("file", Kind::File)], "Stop fetching and serving a file for now"),
    peer("resume", &[need("file", Kind::File)], "Go on with a paused file"),
    peer("recheck", &[need("file", Kind::File)], "Hash again what is on the disk"),
    peer("remove", &[need("file", Kind::File)], "Forget a download; what is complete stays on the disk"),
    peer("stop_share", &[need("file", Kind::File)], "Share a file no longer"),
    member(peer("stop_share", &[need("group", Kind::Group), need("file", Kind::File)], "Share a file of a group no longer")),
    peer("watch", &[maybe("what", Kind::OneOf(&["off", "files", "folders"]))],
         "Share all files of the upload folder with everybody, and follow its changes; its folders as well; or end that"),
    peer("make_torrent", &[need("path", Kind::Path), option("--announce", "URL", Kind::Url),
                           option("--piece-length", "N", Kind::Number)],
         "Write a .torrent file for a file or a folder"),
    peer("add", &[need("file.torrent", Kind::TorrentFile)], "Fetch or share what a .torrent file describes"),
    peer("limit", &[need("direction", Kind::OneOf(&["up", "down"])), need("rate", Kind::Rate)],
         "Limit the rate, such as 500K or 2M a second; off for none"),
    peer("torrent_info", &[need("file.torrent", Kind::TorrentFile)], "What a .torrent file says"),
    peer("trackers", &[], "Every tracker: its state, how far behind it is, facts, digest"),
    peer("check_network", &[],
         "Which side blocks, if transfers do not work: this machine, the tracker's or a peer's, and what to do"),
    peer("host_tracker", &[maybe("number", Kind::Number)], "Run a tracker of tracker_info.txt in this program, until you quit"),
    peer("reload", &[], "Read tracker_info.txt again"),
    peer("menu", &[], "Seed and download by answering questions; Ctrl-C comes back here"),
    peer("info", &[], "Your address, folders, tracker, limits and totals"),
    peer("help", &[maybe("command", Kind::Command)], "This list, or one command's use"),
    peer("quit", &[], "Leave; downloads go on at the next start"),
    peer("exit", &[], "The same as quit"),

    control("ping", &[], "Answers `OK pong`"),
    control("create_user", &[need("user", Kind::User), need("password", Kind::Password)], "Opens an account"),
    control("login", &[need("user", Kind::User), need("password", Kind::Password), maybe("peer_key", Kind::PeerKey)],
            "Logs this connection in. Answers the user's name, a token, the tracker's key and its time; tickets are for the peer with that key only"),
    control("resume", &[need("token", Kind::Token)], "Logs this connection in as `login` did that one; answers the same, with a fresh token"),
    user(control("logout", &[], "Logs this connection out")),
    user(control("passwd", &[need("old", Kind::Password), need("new", Kind::Password)],
                 "Changes the password; every token that was given before ends. Answers as `login` does")),
    user(control("whoami", &[], "Answers the user's name")),
    user(control("create_group", &[need("group", Kind::Group)], "Makes a group, which the sender owns")),
    user(control("join_group", &[need("group", Kind::Group)], "Asks to join")),
    member(control("leave_group", &[need("group", Kind::Group)], "Leaves; the last to leave ends the group")),
    owner(control("list_requests", &[need("group", Kind::Group)], "Who asks to join, one a line")),
    owner(control("accept_request", &[need("group", Kind::Group), need("user", Kind::Applicant)], "Lets somebody in")),
    owner(control("reject_request", &[need("group", Kind::Group), need("user", Kind::Applicant)], "Turns somebody down")),
    user(control("list_groups", &[], "Every group, one a line: name, owner, members, and the sender's standing: none, requested, member, owner")),
    member(control("list_members", &[need("group", Kind::Group)], "The members in join order, one a line; the first is the owner")),
    member(control("ticket", &[need("group", Kind::Group)],
                   "Answers the tracker's time in seconds since 1970, and as body a signed ticket for the peer that logged in")),
    control("subscribe", &[maybe("since", Kind::Stamp)],
            "Turns the connection into a stream: `NEWS` lines for who is logged in, those after `since` first, `WHO` and `KNOCK` lines, and a `PING` now and then"),
    member(control("list_files", &[need("group", Kind::Group)], "The files of a group, one a line: name, size, info hash, seeders, leechers")),
    member(Command {
        body: Body::Needed("the info dictionary, or the whole .torrent file"),
        ..control("upload_file", &[need("group", Kind::Group), need("name", Kind::File),
                                   need("size", Kind::Number), need("info_hash", Kind::InfoHash),
                                   need("peer_id", Kind::PeerId), need("port", Kind::Port),
                                   maybe("sha256", Kind::FileHash)],
                  "Shares a torrent under a name; the sender becomes a holder. With the SHA-256 of the whole file: in `public` only")
    }),
    member(control("download_file", &[need("group", Kind::Group), need("name", Kind::File)],
                   "Answers info hash, size, the SHA-256 of the whole file if who shares it has told it, and the info dictionary as body")),
    member(control("list_peers", &[need("group", Kind::Group), need("name", Kind::File)],
                   "Who is in the swarm of a file, one a line: ip:port, and `seeder` or `leecher`")),
    member(control("stop_share", &[need("group", Kind::Group), need("name", Kind::File),
                            need("info_hash", Kind::InfoHash), need("peer_id", Kind::PeerId),
                            need("port", Kind::Port)],
            "The sender holds it no longer; with its last complete holder the share goes")),
    control("announce", &[need("info_hash", Kind::InfoHash), need("peer_id", Kind::PeerId),
                          need("port", Kind::Port), need("uploaded", Kind::Number),
                          need("downloaded", Kind::Number), need("left", Kind::Number),
                          need("event", Kind::OneOf(Event::NAMES)), maybe("numwant", Kind::Number),
                          maybe("group", Kind::Group)],
            "Answers seconds to the next announce, seeders, leechers, and as body one ip:port a line. With a group: for members"),
    control("ask", &[need("file", Kind::File), maybe("peer_id", Kind::PeerId)],
            "Asks every peer that has subscribed whether it has a file of that name; the one with that id does not count. Answers how many were asked, how many have answered, and as body one content a line: info hash or `hashing`, size, one ip:port for each that has it"),
    Command {
        body: Body::Needed("the info dictionary"),
        ..control("have", &[need("question", Kind::Token), need("size", Kind::Number),
                            need("info_hash", Kind::InfoHash), need("peer_id", Kind::PeerId),
                            need("port", Kind::Port)],
                  "Answers `WHO`: the sender has it, for everybody")
    },
    control("hashing", &[need("question", Kind::Token), need("size", Kind::Number),
                         need("peer_id", Kind::PeerId), need("port", Kind::Port)],
            "Answers `WHO`: the sender has it, and cannot serve it yet"),
    control("have_not", &[need("question", Kind::Token), need("peer_id", Kind::PeerId)], "Answers `WHO`: the sender does not have it"),
    control("metainfo", &[need("info_hash", Kind::InfoHash)],
            "Answers as `download_file` does, for what everybody shares or `ask` has found lately"),
    control("knock", &[need("port", Kind::Port), need("info_hash", Kind::InfoHash)],
            "Knocks at this port of the sender, and asks some peers to do so: connects, says the handshake for that info hash, hangs up. Answers the address, what came of it, how many peers were asked, and as body a line for each that has knocked: what came of it, and `near` if its address is the sender's, or `far`"),
    control("knocked", &[need("question", Kind::Token), need("outcome", Kind::OneOf(Outcome::NAMES))],
            "Answers `KNOCK`: what came of it"),
    control("not_knocked", &[need("question", Kind::Token)], "Answers `KNOCK`: the sender does not"),
    control("batch_join", &[need("rank", Kind::Number), need("job", Kind::Token)],
            "Only in a batch run: this connection is the client with that rank. When it ends before the run, the run ends"),
    control("batch_offer", &[need("name", Kind::File), need("info_hash", Kind::InfoHash)],
            "Only in a batch run: the client owns this content"),
    control("batch_wait", &[need("step", Kind::OneOf(Step::NAMES))],
            "Only in a batch run: answers when all clients have come so far; after `offered` with what each name stands for, one a line: info hash, rank of whose content it is, name"),
    control("trackers", &[], "Every tracker of tracker_info.txt as this one sees it, one a line: number, address, state, lag in milliseconds, facts, digest"),
    control("stats", &[], "What the tracker counts, one `name value` a line"),
    control("help", &[], "This list"),
    control("quit", &[], "Ends the connection"),

    tracker("status", &[], "Connections, swarms, peers, announces"),
    tracker("swarms", &[], "Every swarm: name, info hash, seeders, leechers"),
    tracker("peers", &[need("file", Kind::File)], "Who is in the swarm of a file (or of an info hash)"),
    tracker("trackers", &[], "Every tracker: its state, how far behind it is, facts, digest"),
    tracker("reload", &[], "Read tracker_info.txt again"),
    tracker("help", &[maybe("command", Kind::Command)], "This list, or one command's use"),
    tracker("quit", &[], "Stop the tracker"),
    tracker("exit", &[], "The same as quit"),
];

/// Why words are not a command. The message says what to type instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("unknown command `{word}`{}", did_you_mean(.near))]
    Unknown {
        word: String,
        near: Option<&'static str>,
    },
    #[error("`{argument}` is missing: {usage}")]
    Missing {
        argument: &'static str,
        usage: String,
    },
    #[error("`{word}` is one word too many (put quotes around a name with spaces): {usage}")]
    TooMany { word: String, usage: String },
    #[error("`{option}` is unknown: {usage}")]
    UnknownOption { option: String, usage: String },
    #[error("`{argument}` {reason}: {usage}")]
    Wrong {
        argument: &'static str,
        reason: String,
        usage: String,
    },
}

fn did_you_mean(near: &Option<&'static str>) -> String {
    match near {
        Some(near) => format!(", did you mean `{near}`?"),
        None => "; `help` lists them".into(),
    }
}

/// The words after a command, each with the argument it is. Right in number and in kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments<'a> {
    values: Vec<(&'static str, &'a str)>,
}

impl<'a> Arguments<'a> {
    /// The value of an argument or an option (the first, if it was given several times).
    pub fn one(&self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    pub fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.values
            .iter()
            .filter(move |(argument, _)| *argument == name)
            .map(|(_, value)| *value)
    }
}

/// The commands of one place.
pub fn commands(place: Place) -> impl Iterator<Item = &'static Command> {
    COMMANDS
        .iter()
        .filter(move |command| command.place == place)
}

/// The commands called `name` in `place`, at least one: a name may stand for several, with
/// different numbers of arguments.
pub fn find(place: Place, name: &str) -> Result<Vec<&'static Command>, CommandError> {
    let named: Vec<_> = commands(place)
        .filter(|command| command.name == name)
        .collect();
    if named.is_empty() {
        return Err(CommandError::Unknown {
            word: shorten(name),
            near: nearest(place, name),
        });
    }
    Ok(named)
}

/// The command that `words` are, and its arguments. Of several with one name, the first that
/// fits; if none does, the last says why.
pub fn parse(
    place: Place,
    words: &[String],
) -> Result<(&'static Command, Arguments<'_>), CommandError> {
    let (name, rest) = match words {
        [] => ("", words),
        [name, rest @ ..] => (name.as_str(), rest),
    };
    let mut result = Err(CommandError::Unknown {
        word: shorten(name),
        near: None,
    });
    for command in find(place, name)? {
        result = command
            .arguments(rest)
            .map(|arguments| (command, arguments));
        if result.is_ok() {
            break;
        }
    }
    result
}

/// What of a line may be kept: the words before the first password. A mistyped command counts as
/// the one that was probably meant.
pub fn without_secrets(place: Place, words: &[String]) -> &[String] {
    let Some(typed) = words.first() else {
        return words;
    };
    let name = nearest(place, typed).unwrap_or(typed);
    let secret = |command: &Command| {
        let positional = command.args.iter().filter(|arg| arg.flag().is_none());
        positional
            .map(|arg| arg.kind)
            .position(|kind| kind == Kind::Password)
    };
    let named = commands(place).filter(|command| command.name == name);
    match named.filter_map(secret).min() {
        Some(place) => &words[..words.len().min(place + 1)],
        None => words,
    }
}

impl Command {
    /// Gives each word its argument and checks number and kinds.
    pub fn arguments<'a>(&self, words: &'a [String]) -> Result<Arguments<'a>, CommandError> {
        let mut values = Vec::with_capacity(words.len());
        let mut positional = self.args.iter().filter(|arg| arg.flag().is_none());
        let has_options = self.args.iter().any(|arg| arg.flag().is_some());
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (arg, value) = if has_options && word.starts_with("--") {
                let arg = self.option(word)?;
                let value = words.next().ok_or_else(|| self.missing(arg))?;
                (arg, value)
            } else {
                let arg = positional.next().ok_or_else(|| CommandError::TooMany {
                    word: self.repeatable(word),
                    usage: usage(self),
                })?;
                (arg, word)
            };
            if let Err(reason) = arg.kind.check(value) {
                return Err(self.wrong(arg.name, reason));
            }
            values.push((arg.name, value.as_str()));
        }
        match positional.find(|arg| arg.presence == Presence::Needed) {
            Some(arg) => Err(self.missing(arg)),
            None => Ok(Arguments { values }),
        }
    }

    /// A word as a message repeats it. It may be half of a password with a space in it.
    fn repeatable(&self, word: &str) -> String {
        match self.args.iter().any(|arg| arg.kind == Kind::Password) {
            true => "…".into(),
            false => shorten(word),
        }
    }

    /// An argument that is well formed and wrong all the same.
    pub fn wrong(&self, argument: &'static str, reason: impl fmt::Display) -> CommandError {
        CommandError::Wrong {
            argument,
            reason: reason.to_string(),
            usage: usage(self),
        }
    }

    fn missing(&self, arg: &Arg) -> CommandError {
        CommandError::Missing {
            argument: arg.name,
            usage: usage(self),
        }
    }

    fn option(&self, word: &str) -> Result<&'static Arg, CommandError> {
        self.args
            .iter()
            .find(|arg| arg.flag() == Some(word))
            .ok_or_else(|| CommandError::UnknownOption {
                option: shorten(word),
                usage: usage(self),
            })
    }
}

impl Arg {
    /// The flag of an option.
    pub fn flag(&self) -> Option<&'static str> {
        match self.presence {
            Presence::Option(flag) => Some(flag),
            Presence::Needed | Presence::Optional => None,
        }
    }
}

impl Kind {
    /// Whether a word can be an argument of this kind. The error goes on after its name.
    fn check(self, word: &str) -> Result<(), String> {
        fn parses<T: std::str::FromStr<Err: fmt::Display>>(word: &str) -> Result<(), String> {
            word.parse::<T>()
                .map(drop)
                .map_err(|error| error.to_string())
        }
        match self {
            Kind::Number => word
                .parse::<u64>()
                .map(drop)
                .map_err(|_| "is not a number".into()),
            Kind::Port => match word.parse::<u16>() {
                Ok(1..) => Ok(()),
                _ => Err("is not a port (1 to 65535)".into()),
            },
            Kind::PeerAddressOrAll if word == ALL => Ok(()),
            Kind::PeerAddress | Kind::PeerAddressOrAll => match word.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && matches!(port.parse(), Ok(1u16..)) => {
                    Ok(())
                }
                _ => Err("is not an address with a port, such as 192.168.1.7:7600".into()),
            },
            Kind::Group => parses::<GroupName>(word),
            Kind::User | Kind::Applicant => parses::<UserName>(word),
            Kind::Password => parses::<Password>(word),
            Kind::PeerKey => parses::<PeerKey>(word),
            Kind::Stamp => parses::<Stamp>(word),
            Kind::InfoHash => {
                parses::<InfoHash>(word).map_err(|error| format!("is not right: {error}"))
            }
            Kind::FileHash => {
                parses::<FileHash>(word).map_err(|error| format!("is not right: {error}"))
            }
            Kind::PeerId => {
                parses::<PeerId>(word).map_err(|error| format!("is not right: {error}"))
            }
            Kind::OneOf(words) if words.contains(&word) => Ok(()),
            Kind::OneOf(words) => Err(format!("is one of {}", words.join(", "))),
            Kind::File => parses::<FileName>(word),
            Kind::Path
            | Kind::PathOrGroup
            | Kind::TorrentFile
            | Kind::Destination
            | Kind::Url
            | Kind::Token
                if word.is_empty() =>
            {
                Err("is empty".into())
            }
            Kind::Path
            | Kind::PathOrGroup
            | Kind::Token
            | Kind::TorrentFile
            | Kind::Destination
            | Kind::Url
            | Kind::Rate
            | Kind::Command => Ok(()),
        }
    }
}

/// How a command is typed, such as `download_file <file> [destination]`.
pub fn usage(command: &Command) -> String {
    let mut text = command.name.to_string();
    for arg in command.args {
        let name = match arg.kind {
            Kind::OneOf(words) => words.join("|"),
            _ => format!("<{}>", arg.name),
        };
        text += &match arg.presence {
            Presence::Needed => format!(" {name}"),
            Presence::Optional => format!(" [{}]", arg.name),
            Presence::Option(flag) => format!(" [{flag} {name}]"),
        };
    }
    if command.body != Body::None {
        text += " +N";
    }
    text
}

/// What can be typed in a place: a command a line, its use and what it does.
pub fn help(place: Place) -> String {
    let rows: Vec<_> = commands(place)
        .map(|command| (usage(command), command.help))
        .collect();
    // A use that is longer than this gets a line of its own, so that the others stay together.
    let column = rows
        .iter()
        .map(|(usage, _)| usage.len())
        .filter(|&l| l <= 40);
    let column = column.max().unwrap_or(0);
    rows.iter()
        .map(|(usage, help)| {
            if usage.len() > column {
                format!("{usage}\n{:column$}  {help}\n", "")
            } else {
                format!("{usage:column$}  {help}\n")
            }
        })
        .collect()
}

/// The tables for docs/PROTOCOL.md.
pub fn markdown() -> String {
    let mut text = String::new();
    for (place, title) in [
        (Place::PeerPrompt, "At the peer's prompt"),
        (Place::TrackerPrompt, "At the tracker's prompt"),
        (Place::Control, "Control lines, from a peer to a tracker"),
    ] {
        text += &format!("### {title}\n\n| command | who | what it does |\n|---|---|---|\n");
        for command in commands(place) {
            // A `|` would end the cell.
            let usage = usage(command).replace('|', "\\|");
            let body = match command.body {
                Body::None => String::new(),
                Body::Needed(what) => format!(". Body: {what}"),
            };
            let who = command.permission;
            text += &format!("| `{usage}` | {who} | {}{body} |\n", command.help);
        }
        text.push('\n');
    }
    text
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Permission::Anyone => "anyone",
            Permission::User => "users",
            Permission::Member => "members",
            Permission::Owner => "the owner",
        })
    }
}

/// The command that `word` was probably meant to be.
fn nearest(place: Place, word: &str) -> Option<&'static str> {
    // Longer words are no typing errors, and comparing costs the product of the lengths.
    if word.len() > 40 {
        return None;
    }
    commands(place)
        .map(|command| (strsim::damerau_levenshtein(command.name, word), command))
        .filter(|(distance, command)| *distance <= command.name.len() / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, command)| command.name)
}

/// A word as it is repeated in a message: its beginning is enough.
fn shorten(word: &str) -> String {
    let mut short: String = word.chars().take(40).collect();
    if short.len() < word.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::frame::split_words;

    fn check(place: Place, line: &str, expect: &str) {
        let words = split_words(line).unwrap();
        let got = match parse(place, &words) {
            Ok((command, arguments)) => {
                let values = arguments.values.iter();
                let values: Vec<_> = values.map(|(name, v)| format!("{name}={v}")).collect();
                format!("{} {}", command.name, values.join(" "))
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(got.trim(), expect, "for {line}");
    }

    #[test]
    fn arguments_are_told_apart_and_checked() {
        let peer = |line, expect| check(Place::PeerPrompt, line, expect);
        peer("wait", "wait");
        peer("download_file \"a b\"", "download_file file=a b");
        peer(
            "download_file public a /tmp",
            "download_file group=public file=a destination=/tmp",
        );
        peer(
            "make_torrent --announce http://a x --announce http://b",
            "make_torrent URL=http://a path=x URL=http://b",
        );
        peer(
            "download_file",
            "`group` is missing: download_file <group> <file> [destination]",
        );
        peer(
            "upload_file my file name",
            "`name` is one word too many (put quotes around a name with spaces): upload_file <path> [group]",
        );
        peer(
            "make_torrent x --speed 3",
            "`--speed` is unknown: make_torrent <path> [--announce <URL>] [--piece-length <N>]",
        );
        peer(
            "make_torrent x --piece-length many",
            "`N` is not a number: make_torrent <path> [--announce <URL>] [--piece-length <N>]",
        );
        peer(
            "limit sideways 3",
            "`direction` is one of up, down: limit up|down <rate>",
        );
    }

    #[test]
    fn typing_errors_get_a_hint() {
        let peer = |line, expect| check(Place::PeerPrompt, line, expect);
        peer(
            "dowload_file x",
            "unknown command `dowload_file`, did you mean `download_file`?",
        );
        peer("qiut", "unknown command `qiut`, did you mean `quit`?");
        peer("xyzzy", "unknown command `xyzzy`; `help` lists them");
        check(
            Place::Control,
            "swarms",
            "unknown command `swarms`; `help` lists them",
        );
    }

    #[test]
    fn passwords_are_not_kept() {
        let kept = |line: &str| {
            let words = split_words(line).unwrap();
            without_secrets(Place::PeerPrompt, &words).join(" ")
        };
        assert_eq!(kept("login bob secret"), "login bob");
        assert_eq!(kept("lgoin bob secret extra"), "lgoin bob");
        assert_eq!(kept("create_user bob secret"), "create_user bob");
        assert_eq!(kept("login"), "login");
        assert_eq!(kept("join_group cs101"), "join_group cs101");
    }

    #[test]
    fn the_table_is_sound() {
        for (i, command) in COMMANDS.iter().enumerate() {
            let twin = COMMANDS[..i]
                .iter()
                .find(|c| (c.place, c.name) == (command.place, command.name));
            let needed = |command: &Command| {
                command
                    .args
                    .iter()
                    .filter(|arg| arg.presence == Presence::Needed)
                    .count()
            };
            let differs = |twin: &Command| needed(twin) < needed(command);
            assert!(
                twin.is_none_or(differs),
                "{} twice in one place",
                command.name
            );
            assert!(!command.help.is_empty() && !command.help.ends_with('.'));
            let positional = command.args.iter().filter(|arg| arg.flag().is_none());
            let optional = positional.map(|arg| arg.presence == Presence::Optional);
            assert!(
                optional.is_sorted(),
                "{}: optional comes last",
                command.name
            );
            let mut names: Vec<_> = command.args.iter().map(|arg| arg.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), command.args.len(), "{}", command.name);
        }
    }

    #[test]
    fn help_and_documents_name_every_command() {
        for place in [Place::PeerPrompt, Place::Control, Place::TrackerPrompt] {
            let help = help(place);
            for command in commands(place) {
                assert!(help.contains(&usage(command)), "{}", command.name);
                let cell = usage(command).replace('|', "\\|");
                assert!(markdown().contains(&format!("| `{cell}` |")), "{cell}");
            }
        }
    }
}
