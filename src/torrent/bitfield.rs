//! Which pieces somebody has: one bit a piece, the first piece in the highest bit (BEP 3).

use super::layout::PieceIndex;

/// A set of the pieces of one torrent.
///
/// Invariant: `bits` has exactly the bytes that `pieces` need, the spare bits of the last are
/// zero, and `count` is the number of ones.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitfield {
    bits: Vec<u8>,
    pieces: u32,
    count: u32,
}

/// Why bytes are not a bitfield of this torrent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BitfieldError {
    #[error("a bitfield of {got} bytes, {want} are right for this torrent")]
    WrongLength { want: usize, got: usize },
    #[error("a bitfield with spare bits set")]
    SpareBits,
}

impl Bitfield {
    pub fn none(pieces: u32) -> Bitfield {
        Bitfield {
            bits: vec![0; (pieces as usize).div_ceil(8)],
            pieces,
            count: 0,
        }
    }

    pub fn all(pieces: u32) -> Bitfield {
        let mut bits = vec![0xff; (pieces as usize).div_ceil(8)];
        if let Some(last) = bits.last_mut() {
            *last = 0xff << ((8 - pieces % 8) % 8);
        }
        Bitfield {
            bits,
            pieces,
            count: pieces,
        }
    }

    /// A bitfield as a peer sent it. Length and spare bits must be right (BEP 3).
    pub fn from_bytes(bytes: &[u8], pieces: u32) -> Result<Bitfield, BitfieldError> {
        let want = (pieces as usize).div_ceil(8);
        if bytes.len() != want {
            return Err(BitfieldError::WrongLength {
                want,
                got: bytes.len(),
            });
        }
        let spare = (8 - pieces % 8) % 8;
        if bytes
            .last()
            .is_some_and(|last| last & !(0xff << spare) != 0)
        {
            return Err(BitfieldError::SpareBits);
        }
        let count = bytes.iter().map(|byte| byte.count_ones()).sum();
        Ok(Bitfield {
            bits: bytes.to_vec(),
            pieces,
            count,
        })
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bits
    }

    pub fn has(&self, piece: PieceIndex) -> bool {
        let (byte, mask) = position(piece);
        self.bits.get(byte).is_some_and(|bits| bits & mask != 0)
    }

    /// Adds a piece; false if it was there.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        let (byte, mask) = position(piece);
        let new = !self.has(piece) && byte < self.bits.len();
        if new {
            self.bits[byte] |= mask;
            self.count += 1;
        }
        new
    }

    /// Takes a piece out; false if it was not there.
    pub fn remove(&mut self, piece: PieceIndex) -> bool {
        let (byte, mask) = position(piece);
        let had = self.has(piece);
        if had {
            self.bits[byte] &= !mask;
            self.count -= 1;
        }
        had
    }

    /// How many pieces are in the set.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many pieces the torrent has.
    pub fn pieces(&self) -> u32 {
        self.pieces
    }

    pub fn is_full(&self) -> bool {
        self.count == self.pieces
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

fn position(piece: PieceIndex) -> (usize, u8) {
    (piece.as_usize() / 8, 0x80 >> (piece.as_usize() % 8))
}

/// One character a piece: `#` there, `.` not.
impl std::fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (0..self.pieces as usize).try_for_each(|i| {
            let there = self.bits[i / 8] & (0x80 >> (i % 8)) != 0;
            f.write_str(if there { "#" } else { "." })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torrent::layout::Layout;

    #[test]
    fn bits_stand_where_bep_3_says() {
        let layout = Layout::single("x".into(), 10, 1).unwrap();
        let mut set = Bitfield::none(10);
        assert!(set.insert(layout.piece(0).unwrap()));
        assert!(set.insert(layout.piece(9).unwrap()));
        assert!(!set.insert(layout.piece(9).unwrap()));
        assert_eq!(set.as_bytes(), [0b1000_0000, 0b0100_0000]);
        assert_eq!(format!("{set:?}"), "#........#");
        assert_eq!(Bitfield::from_bytes(set.as_bytes(), 10), Ok(set.clone()));
        assert!(set.remove(layout.piece(0).unwrap()));
        assert_eq!(set.count(), 1);
    }

    #[test]
    fn all_has_no_spare_bits() {
        for pieces in 0..40 {
            let all = Bitfield::all(pieces);
            assert!(all.is_full());
            assert_eq!(Bitfield::from_bytes(all.as_bytes(), pieces), Ok(all));
        }
    }

    #[test]
    fn wrong_bitfields_are_refused() {
        assert_eq!(
            Bitfield::from_bytes(&[0], 9),
            Err(BitfieldError::WrongLength { want: 2, got: 1 })
        );
        assert_eq!(
            Bitfield::from_bytes(&[0, 0x40], 9),
            Err(BitfieldError::SpareBits)
        );
    }
}
