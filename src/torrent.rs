//! What is shared, and the rules of sharing it. Pure: values in, values out.

pub mod bencode;
pub mod bitfield;
pub mod id;
pub mod layout;
pub mod metainfo;
