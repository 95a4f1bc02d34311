//! What any BitTorrent client and any tracker say to each other, over HTTP.
//!
//! [`request`], [`response`] and [`scrape`] are values and their encodings, [`http`] is what
//! they travel in. Not here: sockets, and who is in a swarm.

pub mod http;
pub mod request;
pub mod response;
pub mod scrape;
