//! The way of orders to a writer: only so many may wait.

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::Order;

/// Copies lead to the same writer.
///
/// The channel itself has no bound, its length is looked at: a bounded one would take memory for
/// all its places from the start, half a megabyte on each connection. Two who send at the same time
/// may go one beyond.
#[derive(Clone)]
pub struct Orders {
    channel: Sender<Order>,
    most: usize,
}

/// A writer that has too much to do already.
pub struct TooSlow;

impl Orders {
    /// `most` may wait.
    pub fn new(most: usize) -> (Orders, Receiver<Order>) {
        let (channel, inbox) = unbounded();
        (Orders { channel, most }, inbox)
    }

    /// Hands over an order without waiting. One for a writer that has ended is dropped: its
    /// connection ends by itself.
    pub fn send(&self, order: Order) -> Result<(), TooSlow> {
        if self.channel.len() >= self.most {
            return Err(TooSlow);
        }
        let _ = self.channel.send(order);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_does_not_keep_up_is_too_slow() {
        let (orders, inbox) = Orders::new(2);
        assert!(orders.send(Order::Choke).is_ok() && orders.send(Order::Choke).is_ok());
        assert!(orders.send(Order::Choke).is_err());
        assert!(inbox.try_recv().is_ok());
        assert!(orders.send(Order::Choke).is_ok());
        drop(inbox);
        assert!(
            orders.send(Order::Choke).is_ok(),
            "it has ended, and is not slow"
        );
    }
}
