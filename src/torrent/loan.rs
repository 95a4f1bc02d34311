//! Memory for one piece on its way.

use std::sync::Arc;

/// Who lends memory for pieces.
pub trait Lender: Send + Sync {
    /// A buffer of `size` bytes, with anything in it: a loan's, from now on.
    fn buffer(&self, size: u32) -> Vec<u8>;
    /// A loan of `size` bytes has ended. Its buffer is empty if it was never used.
    fn take_back(&self, size: u32, buffer: Vec<u8>);
}

/// Room for one piece in the budget. It goes back when this is dropped, wherever that happens: the
/// piece is on disk, or cancelled, or its connection has ended.
///
/// Invariant: `buffer` has `size` bytes, or none as long as nobody has used it: a piece job in
/// reserve has its room, and takes no memory yet.
pub struct Loan {
    size: u32,
    buffer: Vec<u8>,
    lender: Arc<dyn Lender>,
}

impl Loan {
    /// Of `size` bytes, which the lender has counted.
    pub fn new(size: u32, lender: Arc<dyn Lender>) -> Loan {
        Loan {
            size,
            buffer: Vec::new(),
            lender,
        }
    }

    /// Of which nobody keeps count.
    pub fn uncounted(size: u32) -> Loan {
        Loan::new(size, Arc::new(Uncounted))
    }

    /// In bytes.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// The bytes as far as there are any yet.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// All of the bytes, for writing.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        if self.buffer.is_empty() {
            self.buffer = self.lender.buffer(self.size);
        }
        &mut self.buffer
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.lender
            .take_back(self.size, std::mem::take(&mut self.buffer));
    }
}

/// Takes and gives as the system does.
struct Uncounted;

impl Lender for Uncounted {
    fn buffer(&self, size: u32) -> Vec<u8> {
        vec![0; size as usize]
    }

    fn take_back(&self, _: u32, _: Vec<u8>) {}
}
