#![doc = include_str!("../README.md")]

mod claims;
mod cloud;
mod collection;
mod config;
mod connector;
mod dataset;
mod definition;
mod export;
pub mod group;
mod link;
mod report;

pub use cloud::Cloud;
pub use config::{Authentication, ExportConfig, GraphConfig, Hosts, Override};
pub use connector::Graph;
/// So that a program that embeds this connector needs no other dependency.
pub use connector_core;
pub use connector_core::{Settings, settings};
pub use connector_http;
pub use connector_http::decode;
pub use dataset::{
    Call, Collection, Each, Export, FILE, GraphDataset, LIST, OBJECT, Report, Version,
};
