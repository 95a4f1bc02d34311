//! A value of which the latest counts.

use crate::control::stamp::Stamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest<T> {
    pub stamp: Stamp,
    pub value: T,
}

impl<T: Ord> Latest<T> {
    /// Takes over what is later. Of two values with one stamp, which no honest tracker makes, the
    /// greater: so the order in which they come never matters.
    pub fn merge(&mut self, other: Latest<T>) -> bool {
        let later = (other.stamp, &other.value) > (self.stamp, &self.value);
        if later {
            *self = other;
        }
        later
    }
}
