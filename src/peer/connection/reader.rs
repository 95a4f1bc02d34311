//! The reading half: what the peer says, and the whole way of a piece from socket to disk.

use std::io::{self, Read};
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::peer::channel::Source;
use crate::storage::StorageError;
use crate::torrent::Event;
use crate::torrent::bitfield::Bitfield;
use crate::torrent::fetch::Fetch;
use crate::torrent::layout::Block;
use crate::torrent::session::{Arriving, Rejected, Violation};
use crate::wire::codec::{self, PIECE_HEADER, PIECE_ID};
use crate::wire::extension::{self, ExtendedHandshake};
use crate::wire::message::{BlockRequest, Message};

use super::orders::{Orders, TooSlow};
use super::{Link, Order, Reason, Report};

struct Reader<'a> {
    link: &'a Link,
    orders: &'a Orders,
    input: Source,
    /// The peer has said that it has everything, or nothing.
    has_all: bool,
    has_none: bool,
}

/// Reads until the connection ends.
pub fn run(link: &Link, input: Source, orders: &Orders) -> Reason {
    let mut reader = Reader {
        link,
        orders,
        input,
        has_all: false,
        has_none: false,
    };
    loop {
        if let Err(reason) = reader.read_message() {
            return reason;
        }
    }
}

impl From<io::Error> for Reason {
    fn from(error: io::Error) -> Reason {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Reason::ClosedByPeer,
            io::ErrorKind::TimedOut => Reason::Silent,
            io::ErrorKind::ConnectionAborted => Reason::ClosedByUs,
            io::ErrorKind::InvalidData => Reason::Forged,
            _ => Reason::Io(error),
        }
    }
}

impl Reader<'_> {
    fn read_message(&mut self) -> Result<(), Reason> {
        let mut length = [0; 4];
        self.input.read_exact(&mut length)?;
        let length = codec::frame_length(length)?;
        if length == 0 {
            return Ok(());
        }
        let mut header = [0; PIECE_HEADER];
        self.input.read_exact(&mut header[..1])?;
        if header[0] == PIECE_ID && length > PIECE_HEADER {
            self.input.read_exact(&mut header[1..])?;
            return self.read_block(codec::piece_header(&header, length));
        }
        let mut frame = vec![header[0]; length];
        self.input.read_exact(&mut frame[1..])?;
        let message = codec::decode(&frame)?;
        self.understand(message)
    }

    /// A block goes from the socket straight to its place in the piece.
    fn read_block(&mut self, (index, begin, length): (u32, u32, u32)) -> Result<(), Reason> {
        self.link
            .shared
            .limits
            .down
            .take(length, self.link.stream.stop());
        let arriving = self.link.session.lock().arriving(index, begin, length)?;
        let complete = match arriving {
            Arriving::Unwanted => {
                io::copy(
                    &mut self.input.by_ref().take(length.into()),
                    &mut io::sink(),
                )?;
                None
            }
            Arriving::Wanted { block, mut place } => {
                let range = block.begin as usize..(block.begin + block.length) as usize;
                self.input.read_exact(&mut place.bytes_mut()[range])?;
                log::trace!(target: "hop", "piece {index}: block {begin} came");
                self.link
                    .session
                    .lock()
                    .arrived(Instant::now(), block, place)
            }
        };
        self.link
            .counters
            .downloaded
            .fetch_add(length.into(), Ordering::Relaxed);
        // The next requests first: they travel while we hash and write.
        self.send_requests()?;
        if let Some(fetch) = complete {
            self.piece_complete(fetch);
        }
        Ok(())
    }

    /// All blocks of a piece have come: hash, write, report, in this order.
    fn piece_complete(&mut self, fetch: Fetch) {
        let shared = &self.link.shared;
        let (conn, piece) = (self.link.conn, fetch.piece());
        let (place, hash) = fetch.finish();
        if hash != shared.metainfo.piece_hash(piece) {
            log::trace!(target: "hop", "piece {piece}: wrong hash");
            self.link
                .report(Report::Event(Event::PieceBad { conn, piece }));
            return;
        }
        log::trace!(target: "hop", "piece {piece}: the hash is right");
        let offset = shared.metainfo.layout.piece_offset(piece);
        let written = shared.storage.write(offset, place.bytes());
        // Its room is free before the engine hears of the piece, and gives the next job.
        drop(place);
        match written {
            Ok(()) => {
                log::trace!(target: "hop", "piece {piece}: on disk");
                self.link
                    .report(Report::Event(Event::PieceSaved { conn, piece }));
            }
            Err(error) => {
                self.link
                    .report(Report::Event(Event::PieceUnsaved { conn, piece }));
                // A second copy that came after the torrent was finished is no failure.
                if !matches!(error, StorageError::ReadOnly { .. }) {
                    self.link.report(Report::StorageFailed(error));
                }
            }
        }
    }

    fn send_requests(&self) -> Result<(), Reason> {
        let blocks = self.link.session.lock().requests();
        if blocks.is_empty() {
            Ok(())
        } else {
            self.order(Order::Request(blocks))
        }
    }

    /// Hands an order to our writer. If that has too many, the peer keeps asking and does not read.
    fn order(&self, order: Order) -> Result<(), Reason> {
        self.orders.send(order).map_err(|TooSlow| Reason::Flood)
    }

    fn understand(&mut self, message: Message) -> Result<(), Reason> {
        let conn = self.link.conn;
        let event = match message {
            Message::Choke => {
                self.link.session.lock().choked();
                Event::Choked { conn }
            }
            Message::Unchoke => {
                self.link.session.lock().unchoked();
                self.send_requests()?;
                Event::Unchoked { conn }
            }
            Message::Interested => Event::Interested { conn },
            Message::NotInterested => Event::NotInterested { conn },
            Message::Have(index) => {
                let piece = self.link.session.lock().piece(index)?;
                Event::Have { conn, piece }
            }
            // They should come first (BEP 3), but aria2 sends one instead of many `have` in the
            // middle, too.
            Message::Bitfield(bits) => {
                let pieces = Bitfield::from_bytes(&bits, self.pieces())?;
                Event::Bitfield { conn, pieces }
            }
            // Said again it is no news, and five bytes must not cost a walk over all pieces.
            Message::HaveNone if std::mem::replace(&mut self.has_none, true) => return Ok(()),
            Message::HaveAll if std::mem::replace(&mut self.has_all, true) => return Ok(()),
            Message::HaveAll => {
                let pieces = Bitfield::all(self.pieces());
                Event::Bitfield { conn, pieces }
            }
            Message::HaveNone => {
                let pieces = Bitfield::none(self.pieces());
                Event::Bitfield { conn, pieces }
            }
            Message::SuggestPiece(index) => {
                let piece = self.link.session.lock().piece(index)?;
                Event::Suggested { conn, piece }
            }
            Message::Request(request) => return self.order(Order::Serve(self.block(request)?)),
            Message::Cancel(request) => return self.order(Order::Unserve(self.block(request)?)),
            Message::RejectRequest(BlockRequest {
                index,
                begin,
                length,
            }) => {
                let rejected = self.link.session.lock().rejected(index, begin, length)?;
                match rejected {
                    Rejected::Piece(piece) => Event::PieceRefused { conn, piece },
                    Rejected::Nothing => return Ok(()),
                }
            }
            Message::Extended {
                extension: extension::HANDSHAKE,
                payload,
            } => {
                let theirs = ExtendedHandshake::decode(&payload)?;
                if let Some(reqq) = theirs.reqq {
                    self.link.session.lock().set_request_limit(reqq);
                }
                self.link.report(Report::Introduced(theirs));
                return Ok(());
            }
            Message::Extended {
                extension: extension::TICKET,
                payload,
            } => {
                if let Some(peer) = self.link.member {
                    let membership = &self.link.shared.membership;
                    let (pass, _) = membership.admit(Instant::now(), &payload, peer)?;
                    self.link.report(Report::Renewed(pass));
                }
                return Ok(());
            }
            // A block too short to be one; keep-alives; what later extensions may bring.
            Message::Piece {
                index,
                begin,
                block,
            } => {
                let length = block.len() as u32;
                return Err(Violation::NoSuchBlock {
                    index,
                    begin,
                    length,
                }
                .into());
            }
            Message::KeepAlive
            | Message::Port(_)
            | Message::AllowedFast(_)
            | Message::Extended { .. }
            | Message::Unknown(_) => return Ok(()),
        };
        self.link.report(Report::Event(event));
        Ok(())
    }

    fn pieces(&self) -> u32 {
        self.link.shared.metainfo.layout.pieces()
    }

    fn block(&self, request: BlockRequest) -> Result<Block, Violation> {
        let BlockRequest {
            index,
            begin,
            length,
        } = request;
        self.link.session.lock().block(index, begin, length)
    }
}
