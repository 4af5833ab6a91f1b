#![doc = include_str!("../README.md")]

mod config;
mod connector;
mod datasets;

pub use config::{
    Applications, Contents, DuplicatesBy, Patchs, SccmConfig, SccmSettings, SettingsFrom,
};
pub use connector::Sccm;
/// So that a program that embeds this connector needs no other dependency.
pub use connector_core;
pub use connector_mssql;
pub use datasets::datasets;
