//! How bytes go to a peer and come from it: as they are, or sealed.

use std::io::{self, BufReader, Read, Write};

use crate::runtime::stream::Stream;

use super::noise::Agreed;
use super::noise::sealed::{SealedReader, SealedWriter};

/// Bytes read at once, unless a block's place is larger.
const READ_BUFFER: usize = 32 * 1024;

/// For the thread that reads.
pub enum Source {
    Plain(BufReader<Stream>),
    Sealed(SealedReader<Stream>),
}

/// For the thread that writes.
pub enum Sink {
    Plain(Stream),
    Sealed(SealedWriter<Stream>),
}

pub fn plain(stream: &Stream) -> (Source, Sink) {
    let input = BufReader::with_capacity(READ_BUFFER, stream.clone());
    (Source::Plain(input), Sink::Plain(stream.clone()))
}

pub fn sealed(stream: &Stream, agreed: Agreed) -> (Source, Sink) {
    let (reader, writer) = agreed.split(stream.clone(), stream.clone());
    (Source::Sealed(reader), Sink::Sealed(writer))
}

impl Source {
    /// The stream below, for its deadlines.
    pub fn stream_mut(&mut self) -> &mut Stream {
        match self {
            Source::Plain(input) => input.get_mut(),
            Source::Sealed(input) => input.input_mut(),
        }
    }
}

impl Sink {
    /// The stream below, for its deadlines.
    pub fn stream_mut(&mut self) -> &mut Stream {
        match self {
            Sink::Plain(output) => output,
            Sink::Sealed(output) => output.output_mut(),
        }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Plain(input) => input.read(buffer),
            Source::Sealed(input) => input.read(buffer),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Plain(output) => output.write(bytes),
            Sink::Sealed(output) => output.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
