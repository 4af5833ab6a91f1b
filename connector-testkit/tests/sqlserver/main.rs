//! The kit's SQL Servers, real and scripted, with tiberius as their client.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod browser;
mod bytes;
mod client;
mod peer;
mod prelogin;
mod proxy;
mod scripted;
