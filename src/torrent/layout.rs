//! How a torrent's bytes are cut: files one behind the other, cut into pieces, cut into blocks.

/// The unit of a request on the wire, in bytes: 16 KiB, which every client asks for (BEP 3).
pub const BLOCK: u32 = 16 * 1024;

/// The smallest piece that [`piece_length_for`] chooses: 512 KiB.
pub const DEFAULT_PIECE_LENGTH: u32 = 512 * 1024;
/// Pieces are doubled while there would be more than this many of them.
pub const COMFORTABLE_PIECES: u64 = 8192;
/// The largest piece that we make: 16 MiB.
pub const MAX_MADE_PIECE_LENGTH: u32 = 16 * 1024 * 1024;
/// The largest piece that we accept from others: 64 MiB. A piece must fit into memory.
pub const MAX_PIECE_LENGTH: u32 = 64 * 1024 * 1024;
/// The most pieces that a torrent may have: 1 TiB in pieces of 1 MiB. Their hashes are 20 MiB.
pub const MAX_PIECES: u32 = 1024 * 1024;

/// The number of a piece that exists in the layout that made it: nobody else can make one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PieceIndex(u32);

impl PieceIndex {
    pub fn as_u32(self) -> u32 {
        self.0
    }

    pub fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl std::fmt::Debug for PieceIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl std::fmt::Display for PieceIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A part of a piece that exists in the layout that made it, at most [`BLOCK`] long when we ask
/// for it and at most [`MAX_REQUEST`] when others do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Block {
    pub piece: PieceIndex,
    /// Offset in the piece, in bytes.
    pub begin: u32,
    /// In bytes, never 0.
    pub length: u32,
}

/// The longest block that others may ask us for, in bytes: some old clients ask for more than
/// [`BLOCK`], none for more than 128 KiB.
pub const MAX_REQUEST: u32 = 128 * 1024;

/// One file of the torrent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// The names below the torrent's folder; for a torrent of one file the file's own name.
    pub path: Vec<String>,
    /// In bytes.
    pub length: u64,
    /// Where its first byte stands in the torrent.
    pub offset: u64,
}

/// A part of one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Which of [`Layout::files`].
    pub file: usize,
    pub offset: u64,
    pub length: u64,
}

/// Why a torrent cannot be cut this way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    #[error("a piece length of {0} bytes: 1 to {MAX_PIECE_LENGTH} is possible")]
    PieceLength(u64),
    #[error("the files are together longer than 2^63 bytes")]
    TooLong,
    #[error("{0} pieces: at most {MAX_PIECES} are possible, choose longer pieces")]
    TooManyPieces(u64),
}

/// The cut of one torrent.
///
/// Invariant: the files are in the order of their offsets, without gaps; `pieces` pieces of
/// `piece_length` bytes (the last may be shorter, never empty) cover exactly `total` bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    name: String,
    files: Vec<File>,
    /// A torrent of one file: no folder around it.
    single: bool,
    piece_length: u32,
    total: u64,
    pieces: u32,
}

/// The piece length that we choose for content of `total` bytes: the same file always gives the
/// same torrent.
pub fn piece_length_for(total: u64) -> u32 {
    let mut length = DEFAULT_PIECE_LENGTH;
    while length < MAX_MADE_PIECE_LENGTH && total.div_ceil(length.into()) > COMFORTABLE_PIECES {
        length *= 2;
    }
    length
}

impl Layout {
    /// A torrent of one file.
    pub fn single(name: String, length: u64, piece_length: u32) -> Result<Layout, LayoutError> {
        let files = vec![(vec![name.clone()], length)];
        Layout::new(name, files, true, piece_length)
    }

    /// A torrent of a folder: paths below it and lengths, in their order in the torrent.
    pub fn folder(
        name: String,
        files: Vec<(Vec<String>, u64)>,
        piece_length: u32,
    ) -> Result<Layout, LayoutError> {
        Layout::new(name, files, false, piece_length)
    }

    fn new(
        name: String,
        files: Vec<(Vec<String>, u64)>,
        single: bool,
        piece_length: u32,
    ) -> Result<Layout, LayoutError> {
        if !(1..=MAX_PIECE_LENGTH).contains(&piece_length) {
            return Err(LayoutError::PieceLength(piece_length.into()));
        }
        let mut total: u64 = 0;
        let mut placed = Vec::with_capacity(files.len());
        for (path, length) in files {
            placed.push(File {
                path,
                length,
                offset: total,
            });
            total = total.checked_add(length).ok_or(LayoutError::TooLong)?;
        }
        if total > i64::MAX as u64 {
            return Err(LayoutError::TooLong);
        }
        let pieces = total.div_ceil(piece_length.into());
        match u32::try_from(pieces) {
            Ok(pieces) if pieces <= MAX_PIECES => Ok(Layout {
                name,
                files: placed,
                single,
                piece_length,
                total,
                pieces,
            }),
            _ => Err(LayoutError::TooManyPieces(pieces)),
        }
    }

    /// The torrent's name: the file's, or the folder's around all files.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn files(&self) -> &[File] {
        &self.files
    }

    pub fn is_single(&self) -> bool {
        self.single
    }

    /// In bytes; the last piece may be shorter.
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// All files together, in bytes.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many pieces there are.
    pub fn pieces(&self) -> u32 {
        self.pieces
    }

    /// The piece with this number, if there is one.
    pub fn piece(&self, index: u32) -> Option<PieceIndex> {
        (index < self.pieces).then_some(PieceIndex(index))
    }

    pub fn all_pieces(&self) -> impl Iterator<Item = PieceIndex> + Clone + use<> {
        (0..self.pieces).map(PieceIndex)
    }

    /// The size of the longest piece that there is, in bytes.
    pub fn longest_piece(&self) -> u32 {
        self.total.min(self.piece_length.into()) as u32
    }

    /// In bytes.
    pub fn piece_size(&self, piece: PieceIndex) -> u32 {
        let rest = self.total - self.piece_offset(piece);
        rest.min(self.piece_length.into()) as u32
    }

    /// Where the piece begins in the torrent, in bytes.
    pub fn piece_offset(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * u64::from(self.piece_length)
    }

    /// The block that somebody names, if it lies inside a piece and is not absurdly long.
    pub fn block(&self, index: u32, begin: u32, length: u32) -> Option<Block> {
        let piece = self.piece(index)?;
        let fits = begin.checked_add(length)? <= self.piece_size(piece);
        (fits && (1..=MAX_REQUEST).contains(&length)).then_some(Block {
            piece,
            begin,
            length,
        })
    }

    /// The parts of files that hold `length` bytes from `offset` in the torrent on.
    pub fn spans(&self, offset: u64, length: u64) -> impl Iterator<Item = Span> + '_ {
        let end = offset.saturating_add(length).min(self.total);
        let first = self
            .files
            .partition_point(|file| file.offset + file.length <= offset);
        self.files[first..]
            .iter()
            .enumerate()
            .take_while(move |(_, file)| file.offset < end)
            .filter(|(_, file)| file.length > 0)
            .map(move |(i, file)| {
                let start = offset.max(file.offset);
                let stop = end.min(file.offset + file.length);
                Span {
                    file: first + i,
                    offset: start - file.offset,
                    length: stop - start,
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_with_the_content() {
        const MIB: u64 = 1024 * 1024;
        for (total, expect_kib) in [
            (0, 512),
            (1, 512),
            (4096 * MIB, 512),
            (4096 * MIB + 1, 1024),
            (100_000 * MIB, 16 * 1024),
            (1 << 50, 16 * 1024),
        ] {
            assert_eq!(piece_length_for(total), expect_kib * 1024, "{total} bytes");
        }
    }

    #[test]
    fn the_last_piece_and_block_are_short() {
        let layout = Layout::single("a".into(), 100_000, 40_000).unwrap();
        assert_eq!(layout.pieces(), 3);
        let last = layout.piece(2).unwrap();
        assert_eq!(layout.piece_size(last), 20_000);
        assert!(layout.block(2, 16384, 3616).is_some());
        assert_eq!(layout.piece(3), None);
        for (index, begin, length) in [(2, 16384, 3617), (3, 0, 1), (0, 0, 0), (0, u32::MAX, 2)] {
            assert_eq!(
                layout.block(index, begin, length),
                None,
                "{index} {begin} {length}"
            );
        }
    }

    #[test]
    fn an_empty_file_has_no_pieces() {
        let layout = Layout::single("a".into(), 0, 16384).unwrap();
        assert_eq!((layout.pieces(), layout.total()), (0, 0));
        assert_eq!(layout.spans(0, 1).count(), 0);
    }

    #[test]
    fn spans_cross_files_and_skip_empty_ones() {
        let file = |name: &str, length| (vec![name.to_string()], length);
        let files = vec![file("a", 5), file("b", 0), file("c", 3), file("d", 10)];
        let layout = Layout::folder("x".into(), files, 4).unwrap();
        let spans = |offset, length| {
            let show = |s: Span| format!("{}:{}+{}", s.file, s.offset, s.length);
            layout
                .spans(offset, length)
                .map(show)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(spans(0, 4), "0:0+4");
        assert_eq!(spans(4, 4), "0:4+1 2:0+3");
        assert_eq!(spans(4, 100), "0:4+1 2:0+3 3:0+10");
        assert_eq!(spans(8, 1), "3:0+1");
        assert_eq!(spans(18, 5), "");
    }

    #[test]
    fn impossible_layouts_are_refused() {
        let single = |length, piece_length| Layout::single("a".into(), length, piece_length);
        assert_eq!(single(1, 0), Err(LayoutError::PieceLength(0)));
        assert_eq!(single(u64::MAX, 16384), Err(LayoutError::TooLong));
        assert_eq!(single(1 << 40, 1), Err(LayoutError::TooManyPieces(1 << 40)));
        let two = vec![(vec!["a".into()], u64::MAX), (vec!["b".into()], 2)];
        assert_eq!(
            Layout::folder("x".into(), two, 16384),
            Err(LayoutError::TooLong)
        );
    }
}
