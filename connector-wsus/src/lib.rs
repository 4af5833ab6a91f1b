#![doc = include_str!("../README.md")]

mod config;
mod connector;
mod datasets;

pub use config::{WsusConfig, WsusSettings};
pub use connector::Wsus;
/// So that a program that embeds this connector needs no other dependency.
pub use connector_core;
pub use connector_mssql;
pub use datasets::datasets;
