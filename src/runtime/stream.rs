//! A TCP stream on which nothing waits for ever.
//!
//! The system's own deadline is short: it is how often a blocked thread looks at the stop flag
//! (Windows does not promise that closing a socket wakes its reader). A read or write that runs
//! into it goes on; nothing that has arrived is lost, because a call returns either bytes or the
//! end of the connection, never "try again".

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::stop::Stop;

/// How often a blocked read or write looks at its stop flag.
pub const POLL: Duration = Duration::from_millis(250);

/// Dropping it ends the connection, whoever else has the socket: on Windows, each process that we
/// start is given the sockets that were accepted before.
struct Socket(TcpStream);

impl Drop for Socket {
    fn drop(&mut self) {
        // Fails only if the other side was faster.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// One end of a connection. Copies share the socket; each has its own patience.
#[derive(Clone)]
pub struct Stream {
    socket: Arc<Socket>,
    stop: Stop,
    patience: Duration,
    deadline: Option<Instant>,
}

impl Stream {
    /// Takes over a connected socket. `poll` is how often a blocked call looks at `stop`
    /// ([`POLL`] unless there are thousands of idle streams), `patience` how long a read or
    /// write may make no progress.
    pub fn new(
        socket: TcpStream,
        stop: Stop,
        poll: Duration,
        patience: Duration,
    ) -> io::Result<Stream> {
        // Accepted sockets inherit this on Windows.
        socket.set_nonblocking(false)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(poll))?;
        socket.set_write_timeout(Some(poll))?;
        Ok(Stream {
            socket: Arc::new(Socket(socket)),
            stop,
            patience,
            deadline: None,
        })
    }

    /// The same connection with another patience.
    pub fn with_patience(&self, patience: Duration) -> Stream {
        Stream {
            patience,
            ..self.clone()
        }
    }

    /// From now on, this copy waits so long for progress.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// From now on, this copy neither reads nor writes after `deadline`, however well it goes:
    /// against those who send a byte now and then.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Waits for bytes and looks at them without taking them. 0 at the end of the connection.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.patiently(|socket| socket.peek(buffer))
    }

    /// Whether an idle connection is over: the other side has gone, or says what nobody asked for.
    /// Does not wait. Nobody else may be using the connection just now.
    pub fn is_over(&self) -> bool {
        let look = || {
            self.socket.0.set_nonblocking(true)?;
            let peeked = self.socket.0.peek(&mut [0]);
            self.socket.0.set_nonblocking(false)?;
            peeked
        };
        !look().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.0.peer_addr()
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.0.local_addr()
    }

    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Ends the connection for all copies, in both directions.
    pub fn close(&self) {
        self.stop.request();
        // Fails only when the other side was faster.
        let _ = self.socket.0.shutdown(Shutdown::Both);
    }

    /// Says that we shall write no more. The other side can finish reading.
    pub fn finish_writing(&self) {
        let _ = self.socket.0.shutdown(Shutdown::Write);
    }

    fn patiently(
        &self,
        mut call: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut since = None;
        loop {
            if self.stop.is_requested() {
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "stopped"));
            }
            if self
                .deadline
                .is_some_and(|deadline| Instant::now() >= deadline)
            {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match call(&self.socket.0) {
                Err(error) if is_timeout(&error) => {
                    // The clock is looked at only when something waits.
                    let since = *since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= self.patience {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.patiently(|mut socket| socket.read(buffer))
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.patiently(|mut socket| socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair(patience: Duration) -> (Stream, TcpStream, Stop) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stop = Stop::new();
        let near = listener.accept().unwrap().0;
        let poll = Duration::from_millis(10);
        (
            Stream::new(near, stop.clone(), poll, patience).unwrap(),
            far,
            stop,
        )
    }

    #[test]
    fn patience_ends_a_silent_read() {
        let (mut near, _far, _stop) = pair(Duration::from_millis(30));
        let error = near.read(&mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_deadline_ends_a_read_that_trickles() {
        let (mut near, mut far, _stop) = pair(Duration::from_secs(3600));
        near.set_deadline(Some(Instant::now() + Duration::from_millis(50)));
        far.write_all(b"a").unwrap();
        assert_eq!(near.peek(&mut [0; 4]).unwrap(), 1);
        let error = near.read_exact(&mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn an_idle_stream_shows_that_the_other_side_has_gone() {
        let (mut near, far, _stop) = pair(Duration::from_secs(60));
        assert!(!near.is_over());
        drop(far);
        assert_eq!(near.read(&mut [0]).unwrap(), 0);
        assert!(near.is_over());
    }

    /// Run by the test itself once more, with its input open.
    #[test]
    fn a_process_that_was_started_meanwhile_keeps_no_connection_open() {
        const CHILD: &str = "MINI_STREAM_TEST_CHILD";
        if std::env::var_os(CHILD).is_some() {
            io::stdin().read_to_end(&mut Vec::new()).unwrap();
            return;
        }
        let (near, mut far, _stop) = pair(Duration::from_secs(60));
        let name = std::thread::current().name().unwrap().to_string();
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name])
            .env(CHILD, "1")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(near);
        far.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let end = far.read(&mut [0]);
        let said = child.wait_with_output().unwrap().stdout;
        assert!(String::from_utf8_lossy(&said).contains("1 passed"));
        assert_eq!(end.unwrap(), 0);
    }

    #[test]
    fn a_stop_ends_a_blocked_read() {
        let (mut near, _far, stop) = pair(Duration::from_secs(3600));
        let reader = std::thread::spawn(move || near.read(&mut [0; 4]).unwrap_err().kind());
        stop.request();
        assert_eq!(reader.join().unwrap(), io::ErrorKind::ConnectionAborted);
    }

    #[test]
    fn a_deadline_in_the_middle_of_a_frame_loses_nothing() {
        let (mut near, mut far, _stop) = pair(Duration::from_secs(60));
        let reader = std::thread::spawn(move || {
            let mut frame = [0; 4];
            near.read_exact(&mut frame).map(|()| frame)
        });
        far.write_all(b"ab").unwrap();
        std::thread::sleep(Duration::from_millis(50)); // several deadlines long
        far.write_all(b"cd").unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), *b"abcd");
    }
}
