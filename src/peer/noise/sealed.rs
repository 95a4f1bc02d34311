//! The two ends of a Noise connection after its handshake: what is written comes out at the other
//! side as it was, or the connection ends.
//!
//! A message is sealed with its number, which is not sent: one that is changed, repeated, left
//! out or moved does not open. Both ends work in buffers that are taken once.

use std::io::{self, Read, Write};
use std::sync::Arc;

use snow::StatelessTransportState;

use super::{MAX_MESSAGE, TAG};

/// The most that is sealed in one message, in bytes.
pub const MAX_PLAIN: usize = MAX_MESSAGE - TAG;
/// The length before each message, in bytes.
const PREFIX: usize = 2;
/// How much is read at once, in bytes: room for several messages, so that what is left over of
/// one is seldom moved.
const READ_BUFFER: usize = 4 * (PREFIX + MAX_MESSAGE);

/// Why what came is no message. The connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("a sealed message of {0} bytes")]
    Length(usize),
    #[error("a message that was not sealed by the other side, or not now")]
    Forged,
}

/// As kind, [`io::ErrorKind::InvalidData`], which no socket has.
impl From<SealError> for io::Error {
    fn from(error: SealError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

pub struct SealedReader<R> {
    input: R,
    transport: Arc<StatelessTransportState>,
    /// Of the next message.
    number: u64,
    /// What has come and is not opened yet lies in `sealed[from..to]`.
    sealed: Vec<u8>,
    from: usize,
    to: usize,
    /// What is opened and not taken yet lies in `plain[taken..opened]`.
    plain: Vec<u8>,
    taken: usize,
    opened: usize,
}

pub struct SealedWriter<W> {
    output: W,
    transport: Arc<StatelessTransportState>,
    number: u64,
    /// What is sealed and not written yet lies at the beginning.
    sealed: Vec<u8>,
}

impl<R: Read> SealedReader<R> {
    pub(super) fn new(input: R, transport: Arc<StatelessTransportState>) -> SealedReader<R> {
        SealedReader {
            input,
            transport,
            number: 0,
            sealed: vec![0; READ_BUFFER],
            from: 0,
            to: 0,
            // The library opens in place, its tag included.
            plain: vec![0; MAX_MESSAGE],
            taken: 0,
            opened: 0,
        }
    }

    pub fn input_mut(&mut self) -> &mut R {
        &mut self.input
    }

    /// Opens the next message. False at the end of the connection.
    ///
    /// After an error of the input, such as a deadline, what has come of a message is still here.
    fn open_next(&mut self) -> io::Result<bool> {
        while !self.open_whole()? {
            if self.from == self.to || self.sealed.len() - self.from < PREFIX + MAX_MESSAGE {
                self.sealed.copy_within(self.from..self.to, 0);
                (self.from, self.to) = (0, self.to - self.from);
            }
            match self.input.read(&mut self.sealed[self.to..])? {
                0 if self.from == self.to => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                got => self.to += got,
            }
        }
        Ok(true)
    }

    /// Opens the message at `from` if all of it is here.
    fn open_whole(&mut self) -> io::Result<bool> {
        let come = &self.sealed[self.from..self.to];
        let Some((prefix, rest)) = come.split_first_chunk::<PREFIX>() else {
            return Ok(false);
        };
        let length = usize::from(u16::from_be_bytes(*prefix));
        // One with nothing in it would be no harm, but work for nothing.
        if length <= TAG {
            return Err(SealError::Length(length).into());
        }
        let Some(message) = rest.get(..length) else {
            return Ok(false);
        };
        let opened = self
            .transport
            .read_message(self.number, message, &mut self.plain);
        self.opened = opened.map_err(|_| SealError::Forged)?;
        self.taken = 0;
        self.number += 1;
        self.from += PREFIX + length;
        Ok(true)
    }
}

impl<R: Read> Read for SealedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || (self.taken == self.opened && !self.open_next()?) {
            return Ok(0);
        }
        let count = buffer.len().min(self.opened - self.taken);
        buffer[..count].copy_from_slice(&self.plain[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

impl<W: Write> SealedWriter<W> {
    pub(super) fn new(output: W, transport: Arc<StatelessTransportState>) -> SealedWriter<W> {
        SealedWriter {
            output,
            transport,
            number: 0,
            sealed: Vec::new(),
        }
    }

    pub fn output_mut(&mut self) -> &mut W {
        &mut self.output
    }

    /// Seals one message behind `start` bytes that are sealed already. Returns where it ends.
    fn seal(&mut self, plain: &[u8], start: usize) -> Result<usize, SealError> {
        let length = plain.len() + TAG;
        let end = start + PREFIX + length;
        if self.sealed.len() < end {
            self.sealed.resize(end, 0);
        }
        let prefix = u16::try_from(length).map_err(|_| SealError::Length(length))?;
        let (before, message) = self.sealed[start..end].split_at_mut(PREFIX);
        before.copy_from_slice(&prefix.to_be_bytes());
        self.transport
            .write_message(self.number, plain, message)
            .map_err(|_| SealError::Length(length))?;
        self.number += 1;
        Ok(end)
    }
}

/// After an error the connection is of no use: part of a message may be on its way.
impl<W: Write> Write for SealedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut end = 0;
        for plain in bytes.chunks(MAX_PLAIN) {
            end = self.seal(plain, end)?;
        }
        self.output.write_all(&self.sealed[..end])?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::noise::tests::agreed_pair;
    use rand::rngs::StdRng;
    use rand::{Rng, RngExt, SeedableRng};

    /// Hands out its bytes in odd portions, with a deadline now and then.
    struct Slow<'a> {
        bytes: &'a [u8],
        rng: StdRng,
    }

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.rng.random_ratio(1, 5) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let most = buffer.len().min(self.rng.random_range(1..100_000));
            self.bytes.read(&mut buffer[..most])
        }
    }

    /// What was said, as it goes over the wire, and a reader for it.
    fn said(parts: &[&[u8]]) -> (Vec<u8>, SealedReader<io::Empty>) {
        let (caller, called) = agreed_pair();
        let (_, mut writer) = caller.split(io::empty(), Vec::new());
        for part in parts {
            writer.write_all(part).unwrap();
        }
        (writer.output, called.split(io::empty(), io::sink()).0)
    }

    /// Another reader at the beginning of the same connection.
    fn hears<'a>(reader: &SealedReader<io::Empty>, bytes: &'a [u8]) -> SealedReader<&'a [u8]> {
        SealedReader::new(bytes, reader.transport.clone())
    }

    #[test]
    fn what_is_said_is_heard_in_portions_of_any_size() {
        let mut rng = StdRng::seed_from_u64(3);
        let parts: Vec<Vec<u8>> = (0..60)
            .map(|_| {
                let mut part = vec![0; rng.random_range(1..200_000)];
                rng.fill_bytes(&mut part);
                part
            })
            .collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let (wire, reader) = said(&parts);
        let slow = Slow {
            bytes: &wire,
            rng: StdRng::seed_from_u64(4),
        };
        let mut reader = SealedReader::new(slow, reader.transport);
        let mut heard = Vec::new();
        let mut buffer = vec![0; 100_000];
        loop {
            let most = rng.random_range(1..buffer.len());
            match reader.read(&mut buffer[..most]) {
                Ok(0) => break,
                Ok(count) => heard.extend_from_slice(&buffer[..count]),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
            }
        }
        assert!(heard == parts.concat());
    }

    #[test]
    fn every_cut_ends_it_before_anything_wrong_is_heard() {
        let (wire, reader) = said(&[b"one", b"two and three"]);
        let first = PREFIX + 3 + TAG;
        for cut in 0..wire.len() {
            let mut heard = Vec::new();
            let end = hears(&reader, &wire[..cut]).read_to_end(&mut heard);
            let whole: &[u8] = if cut >= first { b"one" } else { b"" };
            assert_eq!(heard, whole, "cut at {cut}");
            // Between two messages it looks like an end.
            assert_eq!(end.is_ok(), cut == 0 || cut == first, "cut at {cut}");
        }
    }

    #[test]
    fn every_changed_byte_ends_it() {
        let (wire, reader) = said(&[b"one", b"two and three"]);
        for at in 0..wire.len() {
            for bit in 0..8 {
                let mut changed = wire.clone();
                changed[at] ^= 1 << bit;
                let mut heard = Vec::new();
                assert!(hears(&reader, &changed).read_to_end(&mut heard).is_err());
                assert!(heard.is_empty() || heard == b"one", "byte {at}");
            }
        }
    }

    #[test]
    fn repeated_and_moved_messages_end_it() {
        let (wire, reader) = said(&[b"one", b"two"]);
        let (one, two) = wire.split_at(wire.len() / 2);
        for (order, heard_first) in [
            ([one, one].concat(), &b"one"[..]),
            ([two, one].concat(), b""),
            ([one, two, one].concat(), b"onetwo"),
        ] {
            let mut heard = Vec::new();
            let end = hears(&reader, &order).read_to_end(&mut heard).unwrap_err();
            assert_eq!(end.kind(), io::ErrorKind::InvalidData);
            assert_eq!(heard, heard_first);
        }
        // Nor is what we say ourselves heard by us.
        let (caller, _) = agreed_pair();
        let (mut itself, mut writer) = caller.split(io::empty(), Vec::new());
        writer.write_all(b"one").unwrap();
        itself.sealed[..writer.output.len()].copy_from_slice(&writer.output);
        itself.to = writer.output.len();
        assert!(itself.read(&mut [0; 9]).is_err());
    }

    #[test]
    fn lengths_that_cannot_be_are_refused_at_once() {
        let (_, reader) = said(&[]);
        for length in [0, 1, TAG as u16] {
            let bytes = length.to_be_bytes();
            let error = hears(&reader, &bytes).read(&mut [0; 1]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{length}");
        }
    }
}
