//! One number for a whole registry: the same wherever the same facts are.
//!
//! The exclusive or of the SHA-256 of each fact that counts. So the order does not matter, and a
//! fact is taken out as it was put in. It compares trackers that trust each other; it is no proof
//! against one that lies.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::fact::Entry;

#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Puts a fact in, or takes it out again.
    pub(super) fn toggle(&mut self, entry: &Entry) {
        let hash = Sha256::digest(entry.encode());
        for (own, other) in self.0.iter_mut().zip(hash) {
            *own ^= other;
        }
    }
}

/// The beginning is enough to tell registries apart: 16 hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
