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
mod statement;
mod types;

pub use config::{
    Authentication, DatasetConfig, Encryption, Isolation, Override, SqlServerConfig, Timeouts,
};
pub use connector::SqlServer;
/// So that a program that embeds this connector needs no other dependency.
pub use connector_core;
pub use connector_core::{Settings, settings};
pub use dataset::SqlDataset;
pub use objects::ReadObject;
pub use server::{ServerName, Source, Sources};
