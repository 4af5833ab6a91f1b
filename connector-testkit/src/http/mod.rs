//! A server that speaks HTTP/1.1 on a port of 127.0.0.1, and answers as a function says: status,
//! headers and chunks, cut in the middle, or never.

mod connection;
mod reply;
mod request;
#[cfg(feature = "http")]
mod scripted;
mod server;

pub use reply::HttpReply;
pub use request::HttpRequest;
#[cfg(feature = "http")]
pub use scripted::{Scripted, TokioClock};
pub use server::{HttpServer, ServerTls};
