//! Connector for folders of TSV and CSV inventory files.
//!
//! [`FileUpload`] reads what [`FileUploadConfig`] says: each file, or each pattern of files, is a
//! data set. The crate's README tells how files become rows.

mod bad;
mod columns;
mod config;
mod connector;
mod datasets;
mod file;
mod folder;
mod format;
mod key;
mod lines;
mod quarantine;
mod rows;
mod stop;
mod table;
mod text;

pub use config::{BadRows, DatasetConfig, Delimiter, Empty, Encoding, FileUploadConfig, Quoting};
pub use connector::FileUpload;
