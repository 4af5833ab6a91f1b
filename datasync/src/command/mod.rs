//! What the commands do: a file for those that look, one for those that run cycles.

mod cycles;
mod init;
mod install;
mod look;
mod receive;
mod verify;

pub(crate) use cycles::{approve, forget, reject, run, sync};
pub(crate) use init::init;
pub(crate) use install::install;
pub(crate) use look::{changes, check, datasets, show, status};
pub(crate) use receive::{receive, token};
pub(crate) use verify::verify;
