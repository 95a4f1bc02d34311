//! The writing half: carries out orders, and serves blocks between them.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::peer::channel::Sink;
use crate::storage::StorageError;
use crate::torrent::layout::Block;
use crate::wire::codec::{encode, encode_piece_header};
use crate::wire::extension::OUR_REQQ;
use crate::wire::message::{BlockRequest, Message};

use super::{Link, Order, Report};

/// After this long without a message we say that we are still there (BEP 3: two minutes).
const KEEP_ALIVE: Duration = Duration::from_secs(100);

/// Bytes of blocks that go out in one write. More would delay orders, less costs system calls.
const BATCH: usize = 128 * 1024;

struct Writer<'a> {
    link: &'a Link,
    sink: Sink,
    choking: bool,
    /// What the peer has asked for and not got, in its order.
    uploads: VecDeque<Block>,
    /// Bytes to be written next.
    out: Vec<u8>,
    /// How long the rate limit wants the next block to wait. Orders do not wait for it.
    pause: Duration,
}

/// Writes until the connection ends or nobody is left to give orders.
pub fn run(link: &Link, sink: Sink, hello: &[u8], inbox: &Receiver<Order>) -> io::Result<()> {
    let mut writer = Writer {
        link,
        sink,
        choking: true,
        uploads: VecDeque::new(),
        out: hello.to_vec(),
        pause: Duration::ZERO,
    };
    loop {
        writer.flush()?;
        let idle = writer.uploads.is_empty();
        let wait = if idle { KEEP_ALIVE } else { writer.pause };
        if !wait.is_zero() {
            match inbox.recv_timeout(wait) {
                Ok(order) => writer.carry_out(order),
                Err(RecvTimeoutError::Timeout) if idle => {
                    encode(&Message::KeepAlive, &mut writer.out);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
        inbox.try_iter().for_each(|order| writer.carry_out(order));
        if let Err(error) = writer.serve() {
            link.report(Report::StorageFailed(error));
            return Ok(());
        }
    }
}

impl Writer<'_> {
    fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.sink.write_all(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Fetch(piece, loan) => {
                let blocks = {
                    let mut session = self.link.session.lock();
                    session.take_job(piece, loan);
                    session.requests()
                };
                self.request(&blocks);
            }
            Order::Request(blocks) => self.request(&blocks),
            Order::Forget(piece) => {
                let blocks = self.link.session.lock().cancel(piece);
                for block in blocks {
                    encode(&Message::Cancel(named(block)), &mut self.out);
                }
            }
            Order::Serve(block) => self.accept(block),
            Order::Unserve(block) => {
                let before = self.uploads.len();
                self.uploads.retain(|upload| *upload != block);
                if self.uploads.len() < before {
                    self.reject(block);
                }
            }
            Order::Unchoke => {
                self.choking = false;
                encode(&Message::Unchoke, &mut self.out);
            }
            Order::Choke => {
                self.choking = true;
                encode(&Message::Choke, &mut self.out);
                for block in std::mem::take(&mut self.uploads) {
                    self.reject(block);
                }
            }
            Order::Send(message) => encode(&message, &mut self.out),
        }
    }

    fn request(&mut self, blocks: &[Block]) {
        for &block in blocks {
            log::trace!(target: "hop", "piece {}: asking for block {}", block.piece, block.begin);
            encode(&Message::Request(named(block)), &mut self.out);
        }
    }

    /// Queues a block that the peer asks for, unless it must not have it.
    fn accept(&mut self, block: Block) {
        let full = self.uploads.len() >= OUR_REQQ as usize;
        if self.choking || full || !self.link.shared.have.read().has(block.piece) {
            self.reject(block);
        } else if !self.uploads.contains(&block) {
            self.uploads.push_back(block);
        }
    }

    /// With the fast extension every request is answered; without it silence is the answer.
    fn reject(&mut self, block: Block) {
        if self.link.fast {
            encode(&Message::RejectRequest(named(block)), &mut self.out);
        }
    }

    /// Adds the next blocks to what is written next.
    fn serve(&mut self) -> Result<(), StorageError> {
        let shared = &self.link.shared;
        // Under a limit the blocks go out one by one, not in bursts.
        let batch = if shared.limits.up.limit().is_some() {
            1
        } else {
            BATCH
        };
        let mut served = 0;
        self.pause = Duration::ZERO;
        while served < batch
            && let Some(&block) = self.uploads.front()
        {
            self.pause = shared.limits.up.try_take(block.length);
            if !self.pause.is_zero() {
                break;
            }
            self.uploads.pop_front();
            self.out
                .extend_from_slice(&encode_piece_header(named(block)));
            let start = self.out.len();
            self.out.resize(start + block.length as usize, 0);
            let offset = shared.metainfo.layout.piece_offset(block.piece) + u64::from(block.begin);
            shared.storage.read(offset, &mut self.out[start..])?;
            served += block.length as usize;
            self.link
                .counters
                .uploaded
                .fetch_add(block.length.into(), Ordering::Relaxed);
        }
        Ok(())
    }
}

fn named(block: Block) -> BlockRequest {
    BlockRequest {
        index: block.piece.as_u32(),
        begin: block.begin,
        length: block.length,
    }
}
