//! Every message that two peers exchange after the handshake.
//!
//! Numbers are as they came: whether a piece exists is for the session to say.

/// A part of a piece as a message names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockRequest {
    pub index: u32,
    pub begin: u32,
    pub length: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// `<len=0000>` Nothing to say, still there.
    KeepAlive,
    /// `<len=0001><id=0>` I serve you no longer.
    Choke,
    /// `<len=0001><id=1>` Ask, I shall serve.
    Unchoke,
    /// `<len=0001><id=2>` You have something that I want.
    Interested,
    /// `<len=0001><id=3>`
    NotInterested,
    /// `<len=0005><id=4><index>` I have this piece now.
    Have(u32),
    /// `<len=0001+X><id=5><bits>` What I have; only as the first message.
    Bitfield(Vec<u8>),
    /// `<len=0013><id=6><index><begin><length>`
    Request(BlockRequest),
    /// `<len=0009+X><id=7><index><begin><block>`
    Piece {
        index: u32,
        begin: u32,
        block: Vec<u8>,
    },
    /// `<len=0013><id=8><index><begin><length>` I do not need this any more.
    Cancel(BlockRequest),
    /// `<len=0003><id=9><port>` My DHT node listens there (BEP 5).
    Port(u16),
    /// `<len=0005><id=13><index>` You might fetch this piece from me (BEP 6).
    SuggestPiece(u32),
    /// `<len=0001><id=14>` In place of a bitfield (BEP 6).
    HaveAll,
    /// `<len=0001><id=15>` In place of a bitfield (BEP 6).
    HaveNone,
    /// `<len=0013><id=16><index><begin><length>` This request will not be served (BEP 6).
    RejectRequest(BlockRequest),
    /// `<len=0005><id=17><index>` You may ask for this piece even while choked (BEP 6).
    AllowedFast(u32),
    /// `<len=0002+X><id=20><extension><payload>` (BEP 10)
    Extended { extension: u8, payload: Vec<u8> },
    /// Any other id: to be ignored.
    Unknown(u8),
}
