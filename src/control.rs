//! What our peer and our tracker say to each other: a text protocol that a person can type
//! with `nc`.
//!
//! A [`frame`] is a line of words and perhaps some bytes. The words of a request are checked
//! against the one table of [`command`]s. Beside that there are the one-line requests of
//! [`classic`] clients. Not here: sockets, and what a tracker answers.

pub mod classic;
pub mod command;
pub mod frame;
pub mod key;
pub mod knock;
pub mod muster;
pub mod names;
pub mod news;
pub mod password;
pub mod question;
pub mod reply;
pub mod request;
pub mod request_id;
pub mod signed;
pub mod stamp;
pub mod sync;
pub mod text;
pub mod ticket;
pub mod tracker_info;
