//! Accounts and groups: what is only between the user and the tracker.

use std::time::{Duration, Instant};

use crate::control::command::Arguments;
use crate::control::names::{GroupName, UserName};
use crate::control::password::Password;
use crate::control::reply::{
    Code, GroupEntry, IssuedTicket, Reply, ReplyError, Standing, users_from_reply,
};
use crate::control::request::Request;
use crate::control::ticket::Ticket;
use crate::peer::tracker_link::{LinkError, TrackerLink};

use super::peer_shell::{PeerShell, ShellError};
use super::screen::say;
use super::secret;
use super::table::{Align, table};

/// How long a busy tracker is asked again, and with which pauses.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(700);

pub fn create_user(shell: &mut PeerShell, args: &Arguments) -> Result<String, ShellError> {
    let user: UserName = value(args, "user")?;
    let password = match args.one("password") {
        Some(typed) => parse_password(typed)?,
        None => choose_password(shell, "Password", "create_user <user> <password>")?,
    };
    let request = Request::CreateUser {
        user: user.clone(),
        password,
    };
    let answered = patiently(shell, |link| Ok(link.request(&request)?.into_ok()?))?;
    Ok(format!(
        "{} Log in with: login {user}",
        answered.0.join(" ")
    ))
}

pub fn login(shell: &mut PeerShell, args: &Arguments) -> Result<String, ShellError> {
    let user: UserName = value(args, "user")?;
    if let Some(there) = shell.peer.account.user() {
        return Err(ShellError::Other(format!(
            "You are already logged in, as {there}! Log out first with: logout"
        )));
    }
    let password = match args.one("password") {
        Some(typed) => parse_password(typed)?,
        None => ask(shell, "Password", "login <user> <password>")?,
    };
    let answer = patiently(shell, |link| link.log_in(user.clone(), password.clone()))?;
    shell.peer.log_in(&answer)?;
    let theirs = |torrent: &&crate::peer::view::TorrentView| {
        let share = torrent.share.as_ref();
        share.is_some_and(|share| share.users.contains(&answer.user))
    };
    let torrents = shell.peer.torrents()?;
    let count = torrents.iter().filter(theirs).count();
    let files = match count {
        0 => String::new(),
        1 => " A file of your groups is shared or fetched again: show_downloads".into(),
        _ => format!(" {count} files of your groups are shared or fetched again: show_downloads"),
    };
    Ok(format!("Logged in successfully as {}.{files}", answer.user))
}

/// Nothing of the user's groups is shared from now on. The tracker need not be asked.
pub fn logout(shell: &mut PeerShell) -> Result<String, ShellError> {
    needs_login(shell)?;
    // A login is a connection's: with the next request those that are open end.
    shell.peer.log_out()?;
    Ok("Logged out successfully".into())
}

pub fn passwd(shell: &mut PeerShell, args: &Arguments) -> Result<String, ShellError> {
    needs_login(shell)?;
    let how = "passwd <old> <new>";
    let old = match args.one("old") {
        Some(typed) => parse_password(typed)?,
        None => ask(shell, "Old password", how)?,
    };
    let new = match args.one("new") {
        Some(typed) => parse_password(typed)?,
        None => choose_password(shell, "New password", how)?,
    };
    let answer = patiently(shell, |link| link.change_password(old.clone(), new.clone()))?;
    shell.peer.log_in(&answer)?;
    Ok("Password changed. Whoever was logged in with the old one is logged out.".into())
}

pub fn whoami(shell: &PeerShell) -> Result<String, ShellError> {
    Ok(needs_login(shell)?.to_string())
}

/// A command that names a group and is answered with a sentence.
pub fn change(
    shell: &mut PeerShell,
    args: &Arguments,
    request: impl FnOnce(GroupName) -> Request,
) -> Result<String, ShellError> {
    needs_login(shell)?;
    sentence(shell.link.request(&request(value(args, "group")?))?)
}

/// From now on nothing of the group is shared from here.
pub fn leave(shell: &mut PeerShell, args: &Arguments) -> Result<String, ShellError> {
    let said = change(shell, args, |group| Request::LeaveGroup { group })?;
    shell.peer.leave_group(value(args, "group")?)?;
    Ok(said)
}

/// A command that names a group and a user who asks to join it.
pub fn decide(
    shell: &mut PeerShell,
    args: &Arguments,
    request: impl FnOnce(GroupName, UserName) -> Request,
) -> Result<String, ShellError> {
    let user = value(args, "user")?;
    change(shell, args, |group| request(group, user))
}

pub fn list_requests(shell: &mut PeerShell, args: &Arguments) -> Result<String, ShellError> {
    needs_login(shell)?;
    let group: GroupName = value(args, "group")?;
    let users = requests(&mut shell.link, &group)?;
    if users.is_empty() {
        return Ok("No join requests at this time".into());
    }
    let rows: Vec<Vec<String>> = users
        .iter()
        .map(|user| vec![user.to_string(), format!("accept_request {group} {user}")])
        .collect();
    Ok(table(&[("user", Align::Left), ("", Align::Left)], &rows))
}

pub fn list_groups(shell: &mut PeerShell) -> Result<String, ShellError> {
    needs_login(shell)?;
    let groups = groups(&mut shell.link)?;
    if groups.is_empty() {
        return Ok("No groups at this time. Make one with: create_group <group>".into());
    }
    let rows: Vec<Vec<String>> = groups
        .iter()
        .map(|entry| {
            let you = match entry.standing {
                Standing::None => "",
                Standing::Requested => "asked to join",
                Standing::Member => "member",
                Standing::Owner => "owner",
            };
            vec![
                entry.name.to_string(),
                entry.owner.to_string(),
                entry.members.to_string(),
                you.into(),
            ]
        })
        .collect();
    let left = Align::Left;
    let head = [
        ("group", left),
        ("owner", left),
        ("members", Align::Right),
        ("you", left),
    ];
    Ok(table(&head, &rows))
}

pub fn list_members(shell: &mut PeerShell, args: &Arguments) -> Result<String, ShellError> {
    needs_login(shell)?;
    let group = value(args, "group")?;
    let users = members(&mut shell.link, &group)?;
    let rows: Vec<Vec<String>> = users
        .iter()
        .enumerate()
        .map(|(place, user)| {
            let role = if place == 0 { "owner" } else { "" };
            vec![user.to_string(), role.into()]
        })
        .collect();
    Ok(table(&[("member", Align::Left), ("", Align::Left)], &rows))
}

/// Every group, with what the user is in it.
pub fn groups(link: &mut TrackerLink) -> Result<Vec<GroupEntry>, LinkError> {
    Ok(GroupEntry::list_from_reply(
        link.request(&Request::ListGroups)?,
    )?)
}

pub fn members(link: &mut TrackerLink, group: &GroupName) -> Result<Vec<UserName>, LinkError> {
    let group = group.clone();
    Ok(users_from_reply(
        link.request(&Request::ListMembers { group })?,
    )?)
}

/// Who asks to join a group.
pub fn requests(link: &mut TrackerLink, group: &GroupName) -> Result<Vec<UserName>, LinkError> {
    let group = group.clone();
    Ok(users_from_reply(
        link.request(&Request::ListRequests { group })?,
    )?)
}

/// The tracker's word that we are a member of a group, which also says the group's id.
pub fn ticket(shell: &mut PeerShell, group: &GroupName) -> Result<Ticket, ShellError> {
    let group = group.clone();
    let reply = shell.link.request(&Request::Ticket { group })?;
    let issued = IssuedTicket::from_reply(reply)?;
    // What is shared or fetched with it is open at once.
    let kept = shell.peer.membership.take(Instant::now(), &issued);
    kept.map_err(|error| ShellError::Other(error.to_string()))?;
    Ok(issued.ticket.ticket)
}

/// Who is logged in here. Without that the tracker need not be asked.
pub fn needs_login(shell: &PeerShell) -> Result<UserName, ShellError> {
    let user = shell.peer.account.user();
    user.ok_or_else(|| ShellError::Other("Please log in first: login <user>".into()))
}

/// Every group that can be named in a command here.
pub fn group_names(link: &mut TrackerLink) -> Result<Vec<GroupName>, LinkError> {
    let names = groups(link)?.into_iter().map(|entry| entry.name);
    Ok(std::iter::once(GroupName::public()).chain(names).collect())
}

/// An argument that the table says is there and right.
fn value<T: std::str::FromStr<Err: std::fmt::Display>>(
    args: &Arguments,
    name: &str,
) -> Result<T, ShellError> {
    let word = args.one(name).unwrap_or_default();
    word.parse()
        .map_err(|error| ShellError::Other(format!("`{name}` {error}")))
}

/// The sentence that a tracker answers with.
pub fn sentence(reply: Reply) -> Result<String, ShellError> {
    let (words, _) = reply.into_ok()?;
    Ok(words.join(" "))
}

fn parse_password(typed: &str) -> Result<Password, ShellError> {
    typed
        .parse()
        .map_err(|error| ShellError::Other(format!("The password {error}")))
}

fn ask(shell: &PeerShell, question: &str, otherwise: &str) -> Result<Password, ShellError> {
    if !shell.terminal {
        return Err(ShellError::Other(format!(
            "Nobody can be asked for the password here: {otherwise}"
        )));
    }
    secret::ask(question, &shell.interrupt)
}

/// Asks twice: what nobody sees is easily mistyped.
fn choose_password(
    shell: &PeerShell,
    question: &str,
    otherwise: &str,
) -> Result<Password, ShellError> {
    loop {
        let password = ask(shell, question, otherwise)?;
        if ask(shell, "The same again", otherwise)? == password {
            return Ok(password);
        }
        say!("These were two different passwords; once more.");
    }
}

/// Asks again while the tracker says that it is busy.
fn patiently<T>(
    shell: &mut PeerShell,
    mut ask: impl FnMut(&mut TrackerLink) -> Result<T, LinkError>,
) -> Result<T, ShellError> {
    let since = Instant::now();
    loop {
        match ask(&mut shell.link) {
            Err(LinkError::Refused(ReplyError::Refused {
                code: Code::Busy,
                sentence,
            })) if since.elapsed() < PATIENCE => {
                say!("{sentence} (trying again)");
                if shell.interrupt.wait(PAUSE) {
                    return Err(ShellError::Interrupted);
                }
            }
            result => return Ok(result?),
        }
    }
}
