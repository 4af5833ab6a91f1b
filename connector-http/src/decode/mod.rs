//! Replies into rows, by declaration.

mod cell;
mod page;
mod reply;
mod scan;
mod tree;

pub use page::{PageDecoder, PageFacts};
pub use reply::{
    Reply, ReplyColumn, bool, bytes, date, decimal, float, given, int, json, text, time, uuid,
};
