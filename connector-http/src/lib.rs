#![doc = include_str!("../README.md")]

/// So that a program that embeds this connector needs no other dependency.
pub use connector_core;

pub mod decode;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
