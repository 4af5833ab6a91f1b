//! A server of SQL Server's protocol that answers as it is told, byte by byte if need be.
//!
//! For what the real peer can't do: every type, errors by number, answers that break off or never
//! come, cancelling. [`Script`] starts one; it follows the published [MS-TDS].

mod collation;
mod connection;
mod reply;
mod request;
mod server;
mod stream;
mod token;
mod types;

pub use collation::Collation;
pub use reply::{Gate, Reply};
pub use request::{Login, Request};
pub use server::{Encryption, Script, TdsServer};
pub use token::{Column, ServerError};
pub use types::{Cell, SqlType, Variant};
