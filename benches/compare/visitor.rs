//! A peer at the other end, as simple as can be: it says what it is told to, and waits for answers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use mini_bittorrent::torrent::id::{InfoHash, PeerId};
use mini_bittorrent::wire::codec::{self, PIECE_ID};
use mini_bittorrent::wire::handshake::{HANDSHAKE_LENGTH, Handshake};
use mini_bittorrent::wire::message::{BlockRequest, Message};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Visitor {
    stream: TcpStream,
}

impl Visitor {
    /// Calls, and waits for the handshake of the other side. `number` makes it another peer.
    pub fn call(address: SocketAddr, info_hash: InfoHash, number: u8) -> io::Result<Visitor> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut peer_id = *b"-XX0001-visitor00000";
        peer_id[19] = number;
        let ours = Handshake {
            fast: true,
            ..Handshake::bare(info_hash, PeerId(peer_id))
        };
        stream.write_all(&ours.encode())?;
        let mut theirs = [0; HANDSHAKE_LENGTH];
        stream.read_exact(&mut theirs)?;
        Handshake::decode(&theirs).map_err(io::Error::other)?;
        Ok(Visitor { stream })
    }

    pub fn say(&mut self, message: &Message) -> io::Result<()> {
        let mut bytes = Vec::new();
        codec::encode(message, &mut bytes);
        self.stream.write_all(&bytes)
    }

    /// Waits for a message of this kind. Others are passed over.
    pub fn wait_for(&mut self, id: u8) -> io::Result<()> {
        loop {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length)?;
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            self.stream.read_exact(&mut frame)?;
            if frame.first() == Some(&id) {
                return Ok(());
            }
        }
    }

    /// Asks for the first block, as soon as it may, and waits until it is here.
    pub fn fetch_a_block(&mut self) -> io::Result<()> {
        const UNCHOKE: u8 = 1;
        self.say(&Message::HaveNone)?;
        self.say(&Message::Interested)?;
        self.wait_for(UNCHOKE)?;
        self.say(&Message::Request(BlockRequest {
            index: 0,
            begin: 0,
            length: 1 << 14,
        }))?;
        self.wait_for(PIECE_ID)
    }
}
