//! Who may send: setup tokens, certificates, assertions and bearer tokens; for development and for
//! whoever has no service of their own for that.

mod authority;
mod claims;
mod registry;
mod routes;

pub(crate) use authority::{Authority, Issued};
use claims::{Assertion, Setup};
pub(super) use registry::Registry;
pub(super) use routes::routes;
