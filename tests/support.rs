//! What the tests share.

pub mod asking;
#[cfg(target_os = "linux")]
pub mod clients;
#[cfg(target_os = "linux")]
pub mod descriptors;
pub mod groups;
pub mod homework;
pub mod net;
pub mod one_line;
pub mod peers;
pub mod player;
pub mod seats;
