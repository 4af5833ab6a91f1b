//! The receiving end of uploads: `datasync receive`.

mod auth;
mod limit;
mod problem;
mod routes;
mod serve;
mod settings;
mod spool;
mod tenant;
#[cfg(test)]
mod tests;
mod tls;

pub(crate) use auth::Authority;
pub(crate) use serve::Server;
pub(crate) use settings::ReceiveSettings;
