#![doc = include_str!("../README.md")]

mod api;
mod client;
mod config;
mod connector;
mod dataset;
mod datasets;
mod declare;
mod decode;
mod fault;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod walk;
mod xml;

pub use api::ApiVersion;
pub use config::VcenterConfig;
pub use connector::Vcenter;
/// So that a program that embeds this connector needs no other dependency.
pub use connector_core;
pub use connector_http;
pub use datasets::datasets;
pub use declare::{Origin, Property, Take, VcenterDataset};
