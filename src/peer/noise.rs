//! The Noise protocol between two peers: each is known by its key, and nobody between them can
//! read, change, repeat or leave out anything.
//!
//! It is `Noise_XX_25519_ChaChaPoly_SHA256`. Each message has its length before it:
//!
//! ```text
//! <length: 2 bytes><message>
//!
//! caller                             called
//!    e                   ──────────►            32 bytes, so it begins with 0x00 0x20
//!                        ◄──────────  e, ee, s, es
//!    s, se, payload      ──────────►
//!    sealed messages     ◄─────────►  sealed messages
//! ```
//!
//! Not here: who is welcome ([`super::membership`]), and what is said inside.

pub mod sealed;

use std::io::{self, Read, Write};
use std::sync::Arc;

use snow::{Builder, HandshakeState, StatelessTransportState};
use zeroize::Zeroizing;

use crate::control::key::PeerKey;
use crate::control::ticket::MAX_TICKET;

use sealed::{SealedReader, SealedWriter};

/// The first byte that a caller sends: the high one of its first message's length.
pub const FIRST_BYTE: u8 = 0;

const PROTOCOL: &str = "Noise_XX_25519_ChaChaPoly_SHA256";
/// The longest message, in bytes.
const MAX_MESSAGE: usize = 65_535;
/// How much longer a message is than what is sealed in it, in bytes.
const TAG: usize = 16;
/// The lengths of the handshake's messages, in bytes: a key, a sealed key, what is sealed with it.
const KEY: usize = 32;
const FIRST: usize = KEY;
const SECOND: usize = KEY + (KEY + TAG) + TAG;
const THIRD: usize = (KEY + TAG) + TAG;
/// The longest payload of the third message, in bytes.
const MAX_PAYLOAD: usize = MAX_TICKET;

/// Our own key. The private half never leaves it.
pub struct KeyPair {
    private: Zeroizing<[u8; KEY]>,
    pub public: PeerKey,
}

#[derive(Debug, thiserror::Error)]
pub enum NoiseError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("a message of {got} bytes, {want} are right")]
    Length { want: usize, got: usize },
    #[error("the Noise protocol: {0}")]
    Noise(#[from] snow::Error),
}

/// What both sides have agreed on.
pub struct Agreed {
    /// Who is at the other end.
    pub peer: PeerKey,
    transport: Arc<StatelessTransportState>,
}

impl KeyPair {
    pub fn generate() -> Result<KeyPair, NoiseError> {
        let pair = builder()?.generate_keypair()?;
        let mut private = Zeroizing::new([0; KEY]);
        private.copy_from_slice(&Zeroizing::new(pair.private));
        let mut public = [0; KEY];
        public.copy_from_slice(&pair.public);
        Ok(KeyPair {
            private,
            public: PeerKey(public),
        })
    }
}

/// The caller's half of the handshake. `payload` is sealed, and sent once the other side has
/// shown that its key is its own.
pub fn call(
    stream: &mut (impl Read + Write),
    ours: &KeyPair,
    payload: &[u8],
) -> Result<Agreed, NoiseError> {
    let keyed = builder()?.local_private_key(&*ours.private)?;
    let mut noise = keyed.build_initiator()?;
    send(stream, &mut noise, &[])?;
    receive(stream, &mut noise, SECOND, 0)?;
    send(stream, &mut noise, payload)?;
    agreed(noise)
}

/// The other half. Returns also the caller's payload.
pub fn answer(
    stream: &mut (impl Read + Write),
    ours: &KeyPair,
) -> Result<(Agreed, Vec<u8>), NoiseError> {
    let keyed = builder()?.local_private_key(&*ours.private)?;
    let mut noise = keyed.build_responder()?;
    receive(stream, &mut noise, FIRST, 0)?;
    send(stream, &mut noise, &[])?;
    let payload = receive(stream, &mut noise, THIRD, MAX_PAYLOAD)?;
    Ok((agreed(noise)?, payload))
}

impl Agreed {
    /// The two ends for everything that follows. There is one of each: a message is known by its
    /// number, and no number is used twice.
    pub fn split<R: Read, W: Write>(
        self,
        input: R,
        output: W,
    ) -> (SealedReader<R>, SealedWriter<W>) {
        let reader = self.reader(input);
        (reader, SealedWriter::new(output, self.transport))
    }

    /// The reading end alone, at the first message.
    pub fn reader<R: Read>(&self, input: R) -> SealedReader<R> {
        SealedReader::new(input, self.transport.clone())
    }
}

fn builder<'a>() -> Result<Builder<'a>, snow::Error> {
    Ok(Builder::new(PROTOCOL.parse()?))
}

fn agreed(noise: HandshakeState) -> Result<Agreed, NoiseError> {
    let transport = noise.into_stateless_transport_mode()?;
    let key = transport.get_remote_static().unwrap_or_default();
    let got = key.len();
    let peer = key
        .try_into()
        .map_err(|_| NoiseError::Length { want: KEY, got })?;
    Ok(Agreed {
        peer: PeerKey(peer),
        transport: Arc::new(transport),
    })
}

fn send(
    stream: &mut impl Write,
    noise: &mut HandshakeState,
    payload: &[u8],
) -> Result<(), NoiseError> {
    let mut frame = vec![0; 2 + SECOND.max(THIRD) + payload.len()];
    let length = noise.write_message(payload, &mut frame[2..])?;
    // No handshake message is as long as that.
    let prefix = u16::try_from(length).unwrap_or(u16::MAX);
    frame[..2].copy_from_slice(&prefix.to_be_bytes());
    Ok(stream.write_all(&frame[..2 + length])?)
}

/// The payload of the next message, which has `least` bytes without it.
fn receive(
    stream: &mut impl Read,
    noise: &mut HandshakeState,
    least: usize,
    max_payload: usize,
) -> Result<Vec<u8>, NoiseError> {
    let mut prefix = [0; 2];
    stream.read_exact(&mut prefix)?;
    let got = usize::from(u16::from_be_bytes(prefix));
    if got < least || got > least + max_payload {
        return Err(NoiseError::Length { want: least, got });
    }
    let mut message = vec![0; got];
    stream.read_exact(&mut message)?;
    let mut payload = vec![0; got];
    let length = noise.read_message(&message, &mut payload)?;
    payload.truncate(length);
    Ok(payload)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    /// Both ends of a connection on which nothing was said.
    pub fn sockets() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    /// What the caller and what the called one have agreed on.
    pub fn agreed_pair() -> (Agreed, Agreed) {
        let (mut near, mut far) = sockets();
        let ours = KeyPair::generate().unwrap();
        let theirs = KeyPair::generate().unwrap();
        std::thread::scope(|scope| {
            let called = scope.spawn(|| answer(&mut far, &theirs).unwrap());
            let caller = call(&mut near, &ours, b"hello").unwrap();
            let (called, payload) = called.join().unwrap();
            assert_eq!(payload, b"hello");
            assert_eq!((caller.peer, called.peer), (theirs.public, ours.public));
            (caller, called)
        })
    }

    /// A stream whose input is known beforehand.
    struct Recorded<'a>(&'a [u8], Vec<u8>);

    impl Read for Recorded<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Recorded<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn both_sides_know_each_other() {
        agreed_pair();
    }

    /// A stream that keeps what was written to it.
    struct Overheard(TcpStream, Vec<u8>);

    impl Read for Overheard {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Overheard {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.extend_from_slice(bytes);
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_overheard_opens_nothing_another_time() {
        let (near, mut far) = sockets();
        let (ours, theirs) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut overheard = Overheard(near, Vec::new());
        std::thread::scope(|scope| {
            scope.spawn(|| answer(&mut far, &theirs).unwrap());
            call(&mut overheard, &ours, b"ticket").unwrap();
        });
        let said = overheard.1;
        assert_eq!(said[..2], [FIRST_BYTE, 32]);
        for cut in 0..=said.len() {
            let mut again = Recorded(&said[..cut], Vec::new());
            assert!(answer(&mut again, &theirs).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn wrong_lengths_are_refused_before_anything_is_read() {
        let keys = KeyPair::generate().unwrap();
        for length in [0, 1, 31, 33, 65_535] {
            let bytes = [&u16::to_be_bytes(length)[..], &[9; 100]].concat();
            let refused = answer(&mut Recorded(&bytes, Vec::new()), &keys).err();
            let is_length = matches!(refused, Some(NoiseError::Length { want: 32, .. }));
            assert!(is_length, "{length}");
        }
    }
}
