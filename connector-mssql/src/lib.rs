#![doc = include_str!("../README.md")]

mod browser;
mod catalogue;
mod config;
mod connector;
pub mod dataset;
mod definition;
mod driver;
mod error;
mod link;
mod meet;
mod name;
mod objects;
mod read;
mod server;
mod settings;
mod statement;
mod types;

pub use config::{
    Authentication, DatasetConfig, Encryption, Isolation, Override, SqlServerConfig, Timeouts,
};
pub use connector::SqlServer;
/// So that a program that embeds this connector needs no other dependency.
pub use connector_core;
pub use dataset::SqlDataset;
pub use objects::ReadObject;
/// For [`settings!`].
#[doc(hidden)]
pub use serde;
pub use server::{ServerName, Source, Sources};
pub use settings::Settings;
