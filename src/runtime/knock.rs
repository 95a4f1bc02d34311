//! Connecting to an address only to see whether that can be done.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::stop::Stop;
use super::stream::{POLL, Stream};

/// How long whoever is there may take to hang up: then it has heard what was said.
const HANG_UP: Duration = Duration::from_secs(1);

/// Connects, says `hello`, and hangs up when the other side does. Takes at most `patience` and
/// `HANG_UP`; a stop is seen once there is a connection.
///
/// # Errors
/// Why there was no connection. What comes after that is nobody's business.
pub fn knock(address: SocketAddr, hello: &[u8], patience: Duration, stop: &Stop) -> io::Result<()> {
    let socket = TcpStream::connect_timeout(&address, patience)?;
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
        let second = Duration::from_secs(1);
        knock(address, b"hello", second, &Stop::new()).unwrap();
        assert!(heard.is_finished() || heard.join().unwrap().unwrap() == *b"hello");
        let refused = knock(address, b"hello", 5 * second, &Stop::new());
        assert_eq!(
            refused.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
    }
}
