//! A stream that is plain or inside TLS: who reads and writes need not know which.
//!
//! Deadlines, patience and the stop flag are the [`Stream`]'s, in both cases. A channel inside TLS
//! cannot be shared by two threads, because reading and writing change one state.

use std::io::{self, BufRead, Read, Write};
use std::time::{Duration, Instant};

use rustls::{ClientConnection, ServerConnection, StreamOwned};

use super::stream::Stream;
use super::tls::{Key, shown_key};

/// One end of a connection.
pub enum Channel {
    Plain(Stream),
    /// The side that has the key. Boxed: most channels of a tracker are idle.
    Server(Box<StreamOwned<ServerConnection, Stream>>),
    /// The side that knows the key.
    Client(Box<StreamOwned<ClientConnection, Stream>>),
}

impl From<Stream> for Channel {
    fn from(stream: Stream) -> Channel {
        Channel::Plain(stream)
    }
}

impl Channel {
    /// What the bytes go through in the end. A copy of it ends the connection from another thread.
    pub fn stream(&self) -> &Stream {
        match self {
            Channel::Plain(stream) => stream,
            Channel::Server(tls) => &tls.sock,
            Channel::Client(tls) => &tls.sock,
        }
    }

    fn stream_mut(&mut self) -> &mut Stream {
        match self {
            Channel::Plain(stream) => stream,
            Channel::Server(tls) => &mut tls.sock,
            Channel::Client(tls) => &mut tls.sock,
        }
    }

    pub fn is_tls(&self) -> bool {
        !matches!(self, Channel::Plain(_))
    }

    /// The key that the client has shown, and proved to have.
    pub fn client_key(&self) -> Option<Key> {
        match self {
            Channel::Plain(_) | Channel::Client(_) => None,
            Channel::Server(tls) => {
                let certificate = tls.conn.peer_certificates()?.first()?;
                shown_key(certificate).ok().flatten()
            }
        }
    }

    /// See [`Stream::set_patience`].
    pub fn set_patience(&mut self, patience: Duration) {
        self.stream_mut().set_patience(patience);
    }

    /// See [`Stream::set_deadline`].
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.stream_mut().set_deadline(deadline);
    }

    /// Waits for the first byte and leaves it there. `None` at the end of the connection.
    pub fn first_byte(&mut self) -> io::Result<Option<u8>> {
        Ok(match self {
            Channel::Plain(stream) => {
                let mut first = [0];
                (stream.peek(&mut first)? > 0).then_some(first[0])
            }
            Channel::Server(tls) => tls.fill_buf()?.first().copied(),
            Channel::Client(tls) => tls.fill_buf()?.first().copied(),
        })
    }

    /// Says that we shall write no more. The other side can finish reading.
    pub fn finish_writing(&mut self) {
        // Fails only if the other side has gone.
        let _ = self.say_end();
        self.stream().finish_writing();
    }

    /// Says inside TLS that nothing was cut off; a plain connection's end says no such thing.
    pub fn say_end(&mut self) -> io::Result<()> {
        match self {
            Channel::Plain(_) => return Ok(()),
            Channel::Server(tls) => tls.conn.send_close_notify(),
            Channel::Client(tls) => tls.conn.send_close_notify(),
        }
        self.flush()
    }
}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Channel::Plain(stream) => stream.read(buffer),
            Channel::Server(tls) => tls.read(buffer),
            Channel::Client(tls) => tls.read(buffer),
        }
    }
}

impl Write for Channel {
    /// What is written is on its way: inside TLS, too, nothing waits for a flush.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self {
            Channel::Plain(stream) => return stream.write(bytes),
            Channel::Server(tls) => tls.write(bytes),
            Channel::Client(tls) => tls.write(bytes),
        }?;
        // Writing keeps an error of the socket for later; flushing tells it.
        self.flush()?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Channel::Plain(stream) => stream.flush(),
            Channel::Server(tls) => tls.flush(),
            Channel::Client(tls) => tls.flush(),
        }
    }
}
