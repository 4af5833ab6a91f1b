#![doc = include_str!("../README.md")]

mod browser;
mod config;
pub mod dataset;
mod server;
mod settings;

pub use config::{
    Authentication, DatasetConfig, Encryption, Isolation, Override, SqlServerConfig, Timeouts,
};
/// So that a program that embeds this connector needs no other dependency.
pub use connector_core;
pub use dataset::SqlDataset;
/// For [`settings!`].
#[doc(hidden)]
pub use serde;
pub use server::{ServerName, Source, Sources};
pub use settings::Settings;
