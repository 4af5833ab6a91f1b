#![doc = include_str!("../README.md")]

mod config;
mod connector;
mod dataset;
mod datasets;
mod declare;
mod definition;
mod dictionary;
mod link;
mod pass;
mod query;
mod walk;

pub use config::{Authentication, Override, ServiceNowConfig, TableConfig};
pub use connector::ServiceNow;
/// So that a program that embeds this connector needs no other dependency.
pub use connector_core;
pub use connector_http;
pub use datasets::datasets;
pub use declare::{Field, ServiceNowDataset, field};
