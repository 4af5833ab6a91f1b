#![doc = include_str!("../README.md")]

mod auth;
mod checked;
mod client;
mod config;
pub mod decode;
mod download;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod limit;
mod page;
mod retry;
mod stack;
mod thumbprint;
mod trace;
mod transport;

/// So that a program that embeds this connector needs no other dependency.
pub use connector_core;

pub use auth::{
    Assertion, ClientCredentials, Fixed, ManagedIdentity, PasswordGrant, Proof, SignIn, Signature,
    Token,
};
pub use config::{ClientCertificate, HttpConfig, HttpTimeouts, Proxy, ProxyServer, RetryConfig};
pub use download::download;
pub use error::Refusal;
pub use limit::Quota;
pub use page::{Most, Page, Pages, Seen};
pub use stack::{Service, Stack};
pub use thumbprint::Thumbprint;
pub use transport::{Body, Credential, Receive, Request, Response, Transport};
