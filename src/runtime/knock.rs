//! Connecting to an address only to see whether that can be done.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::stop::Stop;
use super::stream::{POLL, Stream};

/// How long the connection may take: long enough to ask twice for it. Nobody can end this wait, so
/// it bounds the end of a program, too. Windows asks again after a refusal, for about two seconds.
const CONNECT: Duration = Duration::from_millis(if cfg!(windows) { 2500 } else { 1500 });
/// How long whoever is there may take to hang up: then it has heard what was said.
const HANG_UP: Duration = Duration::from_secs(1);

/// Connects, says `hello`, and hangs up when the other side does. Takes at most
/// `CONNECT` and `HANG_UP`; a stop is seen before and after the connecting.
///
/// # Errors
/// Why there was no connection. What comes after that is nobody's business.
pub fn knock(address: SocketAddr, hello: &[u8], stop: &Stop) -> io::Result<()> {
    if stop.is_requested() {
        return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "stopped"));
    }
    let socket = TcpStream::connect_timeout(&address, CONNECT)?;
    let said = || {
        let mut stream = Stream::new(socket, stop.child(), POLL, HANG_UP)?;
        stream.set_deadline(Some(Instant::now() + HANG_UP));
        stream.write_all(hello)?;
        stream.read(&mut [0])
    };
    if let Err(error) = said() {
        log::debug!(target: "knock", "{address} is there, and then: {error}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn says_what_it_is_told_and_waits_until_it_was_heard() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heard = std::thread::spawn(move || {
            let mut said = [0; 5];
            let (mut socket, _) = listener.accept().unwrap();
            socket.read_exact(&mut said).map(|()| said)
        });
        knock(address, b"hello", &Stop::new()).unwrap();
        assert_eq!(heard.join().unwrap().unwrap(), *b"hello");
        let stop = Stop::new();
        let refused = knock(address, b"hello", &stop).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        stop.request();
        let stopped = knock(address, b"hello", &stop).unwrap_err();
        assert_eq!(stopped.kind(), io::ErrorKind::ConnectionAborted);
    }
}
