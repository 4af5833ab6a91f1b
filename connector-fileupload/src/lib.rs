#![doc = include_str!("../README.md")]

mod bad;
mod columns;
mod config;
mod connector;
mod datasets;
mod file;
mod folder;
mod format;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod key;
mod lines;
mod quarantine;
mod record;
mod records;
mod rows;
mod stop;
mod table;
mod text;

pub use config::{BadRows, DatasetConfig, Delimiter, Empty, Encoding, FileUploadConfig, Quoting};
pub use connector::FileUpload;
/// So that a program that embeds this connector needs no other dependency.
pub use connector_core;
