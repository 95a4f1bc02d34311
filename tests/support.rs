//! What the tests share.

pub mod asking;
pub mod clients;
pub mod groups;
pub mod homework;
pub mod one_line;
pub mod peers;
pub mod player;
pub mod seats;
