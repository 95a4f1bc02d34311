//! Messages to bytes and back. A frame is a length of four bytes and as many bytes of message.

use super::message::{BlockRequest, Message};
use crate::torrent::layout::{MAX_PIECES, MAX_REQUEST};

/// The longest bitfield, in bytes.
const MAX_BITFIELD: usize = MAX_PIECES as usize / 8;
/// The header of a piece message after the frame's length: id, index, begin.
pub const PIECE_HEADER: usize = 9;
/// The longest message of the extension protocol that we read, in bytes.
const MAX_EXTENDED: usize = 64 * 1024;
/// The longest frame, in bytes without its length: the longest of its kinds.
pub const MAX_FRAME: usize = longest(PIECE_HEADER + MAX_REQUEST as usize, 2 + MAX_EXTENDED);

const fn longest(a: usize, b: usize) -> usize {
    let c = 1 + MAX_BITFIELD;
    let ab = if a > b { a } else { b };
    if ab > c { ab } else { c }
}

/// How a peer's bytes break the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("a frame of {got} bytes, at most {MAX_FRAME} are allowed")]
    FrameTooLong { got: usize },
    #[error("message {id} of {got} bytes, {want} are right")]
    WrongLength { id: u8, want: usize, got: usize },
    #[error("message {id} of {got} bytes, at most {max} are allowed")]
    TooLong { id: u8, max: usize, got: usize },
}

/// The number of a message that carries a block: its payload is read straight into place.
pub const PIECE_ID: u8 = 7;

/// What the first four bytes of a frame say, checked.
pub fn frame_length(bytes: [u8; 4]) -> Result<usize, WireError> {
    let got = u32::from_be_bytes(bytes) as usize;
    if got > MAX_FRAME {
        Err(WireError::FrameTooLong { got })
    } else {
        Ok(got)
    }
}

/// Index and begin of a piece message, from its header (id included), and its block's length.
pub fn piece_header(header: &[u8; PIECE_HEADER], frame_length: usize) -> (u32, u32, u32) {
    let index = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
    let begin = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
    (
        index,
        begin,
        frame_length.saturating_sub(PIECE_HEADER) as u32,
    )
}

/// The message that a frame (without its length) holds.
pub fn decode(frame: &[u8]) -> Result<Message, WireError> {
    if frame.len() > MAX_FRAME {
        return Err(WireError::FrameTooLong { got: frame.len() });
    }
    let Some((&id, body)) = frame.split_first() else {
        return Ok(Message::KeepAlive);
    };
    let exact = |want: usize, message: Message| match body.len() {
        got if got == want => Ok(message),
        got => Err(WireError::WrongLength {
            id,
            want: want + 1,
            got: got + 1,
        }),
    };
    let at_least = |want: usize| match body.len() {
        got if got < want => Err(WireError::WrongLength {
            id,
            want: want + 1,
            got: got + 1,
        }),
        _ => Ok(()),
    };
    let at_most = |max: usize| match body.len() {
        got if got > max => Err(WireError::TooLong {
            id,
            max: max + 1,
            got: got + 1,
        }),
        _ => Ok(()),
    };
    // Zero where the body is too short: the length is then refused.
    let byte = |at: usize| body.get(at).copied().unwrap_or(0);
    let number = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|i| byte(at + i)));
    let block = || BlockRequest {
        index: number(0),
        begin: number(4),
        length: number(8),
    };
    match id {
        0 => exact(0, Message::Choke),
        1 => exact(0, Message::Unchoke),
        2 => exact(0, Message::Interested),
        3 => exact(0, Message::NotInterested),
        4 => exact(4, Message::Have(number(0))),
        5 => {
            at_most(MAX_BITFIELD)?;
            Ok(Message::Bitfield(body.to_vec()))
        }
        6 => exact(12, Message::Request(block())),
        PIECE_ID => {
            at_least(PIECE_HEADER - 1)?;
            let block = body[PIECE_HEADER - 1..].to_vec();
            Ok(Message::Piece {
                index: number(0),
                begin: number(4),
                block,
            })
        }
        8 => exact(12, Message::Cancel(block())),
        9 => exact(2, Message::Port(u16::from_be_bytes([byte(0), byte(1)]))),
        13 => exact(4, Message::SuggestPiece(number(0))),
        14 => exact(0, Message::HaveAll),
        15 => exact(0, Message::HaveNone),
        16 => exact(12, Message::RejectRequest(block())),
        17 => exact(4, Message::AllowedFast(number(0))),
        20 => {
            at_least(1)?;
            at_most(1 + MAX_EXTENDED)?;
            Ok(Message::Extended {
                extension: body[0],
                payload: body[1..].to_vec(),
            })
        }
        _ => Ok(Message::Unknown(id)),
    }
}

/// Appends the message as a whole frame.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut put = |id: u8, numbers: &[u32], rest: &[u8]| {
        out.push(id);
        numbers
            .iter()
            .for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
        out.extend_from_slice(rest);
    };
    match message {
        Message::KeepAlive => {}
        Message::Choke => put(0, &[], &[]),
        Message::Unchoke => put(1, &[], &[]),
        Message::Interested => put(2, &[], &[]),
        Message::NotInterested => put(3, &[], &[]),
        Message::Have(index) => put(4, &[*index], &[]),
        Message::Bitfield(bits) => put(5, &[], bits),
        Message::Request(block) => put(6, &block.numbers(), &[]),
        Message::Piece {
            index,
            begin,
            block,
        } => put(PIECE_ID, &[*index, *begin], block),
        Message::Cancel(block) => put(8, &block.numbers(), &[]),
        Message::Port(port) => put(9, &[], &port.to_be_bytes()),
        Message::SuggestPiece(index) => put(13, &[*index], &[]),
        Message::HaveAll => put(14, &[], &[]),
        Message::HaveNone => put(15, &[], &[]),
        Message::RejectRequest(block) => put(16, &block.numbers(), &[]),
        Message::AllowedFast(index) => put(17, &[*index], &[]),
        Message::Extended { extension, payload } => {
            put(20, &[], &[*extension]);
            out.extend_from_slice(payload);
        }
        Message::Unknown(id) => put(*id, &[], &[]),
    }
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// The frame of a piece message up to its block, which is `length` bytes long.
pub fn encode_piece_header(request: BlockRequest) -> [u8; 4 + PIECE_HEADER] {
    let mut header = [0; 4 + PIECE_HEADER];
    let frame = PIECE_HEADER as u32 + request.length;
    header[..4].copy_from_slice(&frame.to_be_bytes());
    header[4] = PIECE_ID;
    header[5..9].copy_from_slice(&request.index.to_be_bytes());
    header[9..13].copy_from_slice(&request.begin.to_be_bytes());
    header
}

impl BlockRequest {
    fn numbers(&self) -> [u32; 3] {
        [self.index, self.begin, self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of_each() -> Vec<Message> {
        let block = BlockRequest {
            index: 1,
            begin: 16384,
            length: 0x0102_0304,
        };
        vec![
            Message::KeepAlive,
            Message::Choke,
            Message::Unchoke,
            Message::Interested,
            Message::NotInterested,
            Message::Have(70_000),
            Message::Bitfield(vec![0xff, 0x80]),
            Message::Request(block),
            Message::Piece {
                index: 3,
                begin: 16384,
                block: vec![1, 2, 3],
            },
            Message::Cancel(block),
            Message::Port(6881),
            Message::SuggestPiece(9),
            Message::HaveAll,
            Message::HaveNone,
            Message::RejectRequest(block),
            Message::AllowedFast(2),
            Message::Extended {
                extension: 0,
                payload: b"de".to_vec(),
            },
            Message::Unknown(99),
        ]
    }

    fn encoded(message: &Message) -> Vec<u8> {
        let mut out = Vec::new();
        encode(message, &mut out);
        out
    }

    #[test]
    fn reads_what_it_writes() {
        for message in one_of_each() {
            let bytes = encoded(&message);
            let length = frame_length(*bytes.first_chunk().unwrap()).unwrap();
            assert_eq!(length, bytes.len() - 4, "{message:?}");
            assert_eq!(decode(&bytes[4..]), Ok(message));
        }
    }

    #[test]
    fn every_truncation_is_an_error_or_shorter() {
        for message in one_of_each() {
            let bytes = encoded(&message);
            for cut in 5..bytes.len() {
                match decode(&bytes[4..cut]) {
                    Ok(Message::Bitfield(_) | Message::Piece { .. } | Message::Extended { .. }) => {
                    }
                    Ok(other) => panic!("{message:?} cut at {cut} became {other:?}"),
                    Err(_) => {}
                }
            }
        }
    }

    #[test]
    fn too_long_is_refused() {
        assert!(frame_length(((MAX_FRAME + 1) as u32).to_be_bytes()).is_err());
        assert!(frame_length([0xff; 4]).is_err());
        assert!(frame_length((MAX_FRAME as u32).to_be_bytes()).is_ok());
        for message in one_of_each() {
            let mut bytes = encoded(&message);
            bytes.extend_from_slice(&[0; 200_000]);
            let free = matches!(message, Message::KeepAlive);
            assert!(free || decode(&bytes[4..]).is_err(), "{message:?}");
        }
    }

    #[test]
    fn the_piece_header_is_that_of_a_piece_message() {
        let piece = encoded(&Message::Piece {
            index: 5,
            begin: 32768,
            block: vec![9; 100],
        });
        let header = encode_piece_header(BlockRequest {
            index: 5,
            begin: 32768,
            length: 100,
        });
        assert_eq!(piece[..13], header);
        let after_length = header.last_chunk::<PIECE_HEADER>().unwrap();
        assert_eq!(piece_header(after_length, piece.len() - 4), (5, 32768, 100));
    }
}
