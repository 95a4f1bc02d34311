//! Announces and scrapes that the thread `accept` answers itself, because it need not wait.
//!
//! Most clients of a tracker connect, send one request, and go. When such a client is accepted, its
//! request is there already: to answer it takes less time than to wake another thread up. Whoever has
//! not yet said all, says something else, or wants to stay, gets a thread.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::http_door;
use super::state::State;

/// The longest request that is looked at, in bytes: an announce has about 400.
const MAX_REQUEST: usize = 2048;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// The client has its answer, and the connection has ended.
    Now,
    /// It needs a thread: nothing was read from it.
    NotYet,
}

/// Answers a client if that needs no waiting.
///
/// # Errors
/// The socket's: the client has gone.
pub fn answer(state: &State, mut socket: &TcpStream, from: SocketAddr) -> io::Result<Answered> {
    let mut bytes = [0; MAX_REQUEST];
    socket.set_nonblocking(true)?;
    let request = match socket.peek(&mut bytes) {
        Ok(got) => &mut bytes[..got],
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Answered::NotYet),
        Err(error) => return Err(error),
    };
    let Some(answer) = http_door::answer_at_once(state, from, request) else {
        return Ok(Answered::NotYet);
    };
    // Closing a socket with unread bytes would take the answer back.
    socket.read_exact(request)?;
    hold_back(socket)?;
    // A new socket has room for it.
    socket.write_all(&answer)?;
    socket.shutdown(Shutdown::Both)?;
    Ok(Answered::Now)
}

/// What is written leaves with the connection's end: the client wakes up once for both.
#[cfg(target_os = "linux")]
fn hold_back(socket: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(socket).set_tcp_cork(true)
}

/// Other systems have no word for this.
#[cfg(not(target_os = "linux"))]
fn hold_back(_: &TcpStream) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::runtime::stop::Stop;
    use crate::tracker::Config;

    const ANNOUNCE: &str = "GET /announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb\
                            &port=6881&left=5&compact=1 HTTP/1.";

    /// What becomes of a client that has said `words`, what it hears, and what the tracker can still
    /// read of it.
    fn check(state: &State, words: &str) -> (Answered, String, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(words.as_bytes()).unwrap();
        let (socket, from) = listener.accept().unwrap();
        let mut bytes = [0; 2 * MAX_REQUEST];
        while socket.peek(&mut bytes).unwrap() < words.len() {}
        let answered = answer(state, &socket, from).unwrap();
        let left = match answered {
            Answered::Now => 0,
            Answered::NotYet => socket.peek(&mut bytes).unwrap(),
        };
        drop(socket);
        let mut heard = String::new();
        // A connection that was closed with unread bytes ends in an error.
        let _ = client.read_to_string(&mut heard);
        (answered, heard, left)
    }

    #[test]
    fn who_has_said_all_and_goes_is_answered_at_once() {
        let config = Config::new("127.0.0.1:0".parse().unwrap());
        let state = State::new(config, Stop::new()).unwrap();
        let scrape = "GET /scrape?info_hash=aaaaaaaaaaaaaaaaaaaa HTTP/1.";
        for request in [ANNOUNCE, scrape] {
            for end in ["0\r\n\r\n", "1\r\nConnection: close\r\n\r\n"] {
                let (answered, heard, _) = check(&state, &format!("{request}{end}"));
                assert_eq!(answered, Answered::Now, "{request}");
                let whole = heard.starts_with("HTTP/1.1 200 OK\r\n") && heard.ends_with('e');
                assert!(whole, "{heard}");
            }
        }
        state.store.stop();
    }

    #[test]
    fn everybody_else_gets_a_thread_and_nothing_is_lost() {
        let config = Config::new("127.0.0.1:0".parse().unwrap());
        let state = State::new(config, Stop::new()).unwrap();
        let others = [
            format!("{ANNOUNCE}0\r\n"),
            format!("{ANNOUNCE}1\r\n\r\n"),
            format!("{ANNOUNCE}0\r\n\r\nGET"),
            format!("{ANNOUNCE}0\r\n\r\n").replace("compact", "c"),
            format!("{ANNOUNCE}0\r\n\r\n").replace("GET", "POST"),
            format!("{ANNOUNCE}0\r\na: {}\r\n\r\n", "b".repeat(MAX_REQUEST)),
            "GET /stats HTTP/1.0\r\n\r\n".into(),
            "REGISTER file 1\n".into(),
            "ping\n".into(),
            "\u{16}\u{3}\u{1}".into(),
        ];
        for words in others {
            let expect = (Answered::NotYet, String::new(), words.len());
            assert_eq!(check(&state, &words), expect);
        }
        assert!(state.stats().0.contains(&("announces".into(), 0)));
        state.store.stop();
    }
}
