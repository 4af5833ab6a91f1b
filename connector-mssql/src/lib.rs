#![doc = include_str!("../README.md")]

pub mod dataset;

/// So that a program that embeds this connector needs no other dependency.
pub use connector_core;
pub use dataset::SqlDataset;
