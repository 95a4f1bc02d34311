//! The control dialect: requests from our own peers, and from people with `nc`.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::time::Instant;

use crate::control::command::{Place, help};
use crate::control::frame::{Frame, FrameError, read_body, read_line};
use crate::control::reply::{Code, Download, FileEntry, Reply, announce_to_reply};
use crate::control::request::Request;
use crate::runtime::channel::Channel;

use super::client::{encode, say_goodbye};
use super::state::{Refused, State};

/// Bytes that are read at once: more than any request without a body, and little for ten
/// thousand idle clients.
const READ_BUFFER: usize = 1024;

/// What to do after an answer.
enum Next {
    Continue(Reply),
    Close(Reply),
}

/// Answers requests until the client has enough, is silent for too long, or gets out of step.
pub fn serve(state: &State, channel: Channel, from: SocketAddr) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(READ_BUFFER, channel);
    loop {
        reader.get_mut().set_deadline(None);
        reader.get_mut().set_patience(state.config.idle);
        if reader.fill_buf()?.is_empty() {
            return Ok(());
        }
        let stream = reader.get_mut();
        stream.set_patience(state.config.request);
        stream.set_deadline(Some(Instant::now() + state.config.request));
        let next = match read_request(state, &mut reader) {
            Ok(Read::End) => return Ok(()),
            Ok(Read::Frame(frame)) => answer(state, from, &frame),
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
            Next::Continue(reply) => stream.write_all(&encode(&reply))?,
            Next::Close(reply) => return say_goodbye(reader.into_inner(), &encode(&reply)),
        }
    }
}

/// What came from the client.
enum Read {
    Frame(Frame),
    /// Too many bodies are being read just now: this one is left unread.
    NoRoom,
    End,
}

/// A frame whose body has its place in the memory for bodies.
fn read_request(state: &State, reader: &mut BufReader<Channel>) -> Result<Read, FrameError> {
    let Some(line) = read_line(reader)? else {
        return Ok(Read::End);
    };
    let words = line.words;
    let body = match line.body_len {
        0 => Vec::new(),
        length => {
            let Some(_room) = state.bodies.take(length) else {
                return Ok(Read::NoRoom);
            };
            read_body(reader, length)?
        }
    };
    Ok(Read::Frame(Frame { words, body }))
}

fn answer(state: &State, from: SocketAddr, frame: &Frame) -> Next {
    // A person with `nc` has pressed Enter.
    if frame.words.is_empty() && frame.body.is_empty() {
        return Next::Continue(Reply::err(
            Code::BadRequest,
            "type a command; `help` lists them",
        ));
    }
    let request = match Request::parse(frame) {
        Ok(request) => request,
        Err(error) => return Next::Continue(Reply::err(Code::BadRequest, error)),
    };
    state.counters.request();
    let ip = from.ip();
    Next::Continue(match request {
        Request::Ping => Reply::ok(["pong"]),
        Request::ListFiles { group } => match state.list_files(&group) {
            Ok(entries) => FileEntry::list_to_reply(&entries),
            Err(refused) => refuse(refused),
        },
        Request::UploadFile(upload) => match state.upload(ip, &upload) {
            Ok(uploaded) => uploaded.to_reply(),
            Err(refused) => refuse(refused),
        },
        Request::DownloadFile { group, name } => match state.download(&group, &name) {
            Ok(share) => Download {
                info_hash: share.info_hash,
                size: share.size,
                info: share.info.to_vec(),
            }
            .into_reply(),
            Err(refused) => refuse(refused),
        },
        Request::StopShare {
            group,
            name,
            info_hash,
            holder,
        } => {
            let address = SocketAddr::new(ip, holder.port);
            match state.stop_share(&group, &name, info_hash, address) {
                Ok(()) => Reply::ok([""; 0]),
                Err(refused) => refuse(refused),
            }
        }
        Request::Announce { announce, .. } => match state.announce(ip, &announce) {
            Ok(response) => announce_to_reply(&response),
            Err(full) => Reply::err(Code::Busy, full),
        },
        Request::Stats => state.stats().to_reply(),
        Request::Help => Reply::Ok {
            words: Vec::new(),
            body: help(Place::Control).into_bytes(),
        },
        Request::Quit => return Next::Close(Reply::ok(["bye"])),
        _ => Reply::err(Code::Internal, "this cannot be done yet"),
    })
}

fn refuse(refused: Refused) -> Reply {
    let code = match refused {
        Refused::NoGroup(_) | Refused::NoFile { .. } => Code::NotFound,
        Refused::Conflict(_) => Code::Conflict,
        Refused::Full(_) => Code::Busy,
    };
    Reply::err(code, refused)
}
