#![doc = include_str!("../README.md")]

mod config;
mod connector;
mod datasets;

pub use config::Office365Config;
pub use connector::Office365;
/// So that a program that embeds this connector needs no other dependency.
pub use connector_core;
pub use connector_graph;
pub use datasets::DATASETS;
