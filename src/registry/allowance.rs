//! How often an address may have something done: so many times in a window of time.

use std::collections::HashMap;
use std::net::IpAddr;

use super::Seconds;
use super::attempts::network;

/// Addresses that are counted at once; further ones are refused.
const MAX_ADDRESSES: usize = 10_000;

/// Each address may take `MOST` in `WINDOW` seconds.
#[derive(Debug, Default)]
pub struct Allowance<const MOST: u32, const WINDOW: u32> {
    taken: HashMap<IpAddr, Taken>,
}

/// Why an address may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// It has done so too often.
    UsedUp,
    /// Too many others have of late.
    NoRoom,
}

/// What one address has taken since a moment.
#[derive(Debug)]
struct Taken {
    since: Seconds,
    count: u32,
}

impl<const MOST: u32, const WINDOW: u32> Allowance<MOST, WINDOW> {
    pub fn take(&mut self, now: Seconds, from: IpAddr) -> Result<(), Exhausted> {
        let from = network(from);
        if self.taken.len() >= MAX_ADDRESSES {
            self.taken
                .retain(|_, taken| now.since(taken.since) < WINDOW);
        }
        if self.taken.len() >= MAX_ADDRESSES {
            return Err(Exhausted::NoRoom);
        }
        let new = || Taken {
            since: now,
            count: 0,
        };
        let taken = self.taken.entry(from).or_insert_with(new);
        if now.since(taken.since) >= WINDOW {
            *taken = new();
        }
        if taken.count >= MOST {
            return Err(Exhausted::UsedUp);
        }
        taken.count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(i: u32) -> IpAddr {
        IpAddr::from(i.to_be_bytes())
    }

    #[test]
    fn an_address_may_again_in_the_next_window() {
        let mut allowance = Allowance::<2, 60>::default();
        let mut take = |now, i| allowance.take(Seconds(now), address(i));
        assert_eq!([take(5, 1), take(9, 1)], [Ok(()); 2]);
        assert_eq!(take(64, 1), Err(Exhausted::UsedUp));
        assert_eq!(take(64, 2), Ok(()), "another address");
        assert_eq!(take(65, 1), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let mut allowance = Allowance::<1, 60>::default();
        for i in 0..MAX_ADDRESSES as u32 {
            assert_eq!(allowance.take(Seconds(0), address(i)), Ok(()));
        }
        let mut take = |now| allowance.take(Seconds(now), address(u32::MAX));
        assert_eq!(take(59), Err(Exhausted::NoRoom));
        assert_eq!(take(60), Ok(()));
    }
}
