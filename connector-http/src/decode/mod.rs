//! Replies into rows, by declaration.
//!
//! A [`Reply`] says as data what the rows of a data set look like and where in a reply they stand.
//! [`PageDecoder`] makes rows of pages of JSON, [`Download`] and [`CsvDecoder`] of CSV files, out
//! of zip archives too, while they arrive.

mod cell;
mod csv;
mod download;
mod page;
mod reply;
mod scan;
mod tree;
mod zip;

pub use csv::{CsvDecoder, CsvFacts};
pub use download::Download;
pub use page::{PageDecoder, PageFacts};
pub use reply::{
    Reply, ReplyColumn, bool, bytes, date, decimal, float, given, int, json, text, time, uuid,
};
pub use zip::Unzip;
