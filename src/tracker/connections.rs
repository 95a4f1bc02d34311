//! Who is connected: counted against the limits, and shown out when the tracker stops.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::runtime::stream::Stream;

/// Every open connection.
pub struct Connections {
    limit: usize,
    limit_per_address: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    streams: HashMap<u64, Stream>,
    per_address: HashMap<IpAddr, usize>,
    /// Those who are being told that there is no room.
    refusals: usize,
}

/// A place among the connections, free again when dropped.
pub struct Place {
    connections: Arc<Connections>,
    kind: Kind,
}

enum Kind {
    Client { number: u64, address: IpAddr },
    Refusal,
}

/// Why there is no place. For the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    #[error("this tracker has as many connections as it can serve ({0}); try again later")]
    Total(usize),
    #[error("your address has {0} connections to this tracker, which is the limit")]
    Address(usize),
}

/// How many clients at once are told why they are refused, each by a thread. Others are only
/// disconnected.
const MAX_REFUSALS: usize = 64;

impl Connections {
    pub fn new(limit: usize, limit_per_address: usize) -> Arc<Connections> {
        Arc::new(Connections {
            limit,
            limit_per_address,
            open: Mutex::default(),
        })
    }

    pub fn enter(self: &Arc<Self>, address: IpAddr, stream: &Stream) -> Result<Place, Full> {
        let mut open = self.open.lock();
        if open.streams.len() >= self.limit {
            return Err(Full::Total(self.limit));
        }
        let from_there = open.per_address.entry(address).or_default();
        if *from_there >= self.limit_per_address {
            return Err(Full::Address(self.limit_per_address));
        }
        *from_there += 1;
        let number = open.next;
        open.next += 1;
        open.streams.insert(number, stream.clone());
        Ok(Place {
            connections: self.clone(),
            kind: Kind::Client { number, address },
        })
    }

    /// A place to be refused in, if there are not too many of that already.
    pub fn enter_refusal(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.open.lock();
        if open.refusals >= MAX_REFUSALS {
            return None;
        }
        open.refusals += 1;
        Some(Place {
            connections: self.clone(),
            kind: Kind::Refusal,
        })
    }

    pub fn count(&self) -> usize {
        self.open.lock().streams.len()
    }

    /// Ends every connection. Closing is not waiting: it may happen under the lock.
    pub fn close_all(&self) {
        for stream in self.open.lock().streams.values() {
            stream.close();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock();
        match self.kind {
            Kind::Refusal => open.refusals -= 1,
            Kind::Client { number, address } => {
                open.streams.remove(&number);
                if let Some(count) = open.per_address.get_mut(&address) {
                    *count -= 1;
                    if *count == 0 {
                        open.per_address.remove(&address);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;
    use crate::runtime::stop::Stop;

    #[test]
    fn places_are_limited_and_come_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let second = Duration::from_secs(1);
        let stream = Stream::new(socket, Stop::new(), second, second).unwrap();
        let connections = Connections::new(3, 2);
        let (a, b) = (IpAddr::from([1, 1, 1, 1]), IpAddr::from([2, 2, 2, 2]));
        let first = connections.enter(a, &stream).unwrap();
        let _second = connections.enter(a, &stream).unwrap();
        assert_eq!(connections.enter(a, &stream).err(), Some(Full::Address(2)));
        let _third = connections.enter(b, &stream).unwrap();
        assert_eq!(connections.enter(b, &stream).err(), Some(Full::Total(3)));
        drop(first);
        assert_eq!(connections.count(), 2);
        assert!(connections.enter(a, &stream).is_ok());
        let refusals: Vec<_> = (0..MAX_REFUSALS + 1)
            .map(|_| connections.enter_refusal())
            .collect();
        assert!(refusals[MAX_REFUSALS].is_none());
    }
}
