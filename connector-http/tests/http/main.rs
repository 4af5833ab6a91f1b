//! The transport and its layers: over a transport that answers as scripted, with time that stands
//! still, and over sockets where these matter.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod graph;
mod lab;
mod limits;
mod pages;
mod retries;
mod sign_in;
mod wire;
