//! The process dies, or its disk fails it, at every single storage call of a run over several
//! cycles. Whatever is left is one whole committed state, and goes on to what the source holds.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]
#![expect(clippy::print_stdout, reason = "how much was tried, for `--nocapture`")]

mod crash;
mod fault;
#[path = "../lab/mod.rs"]
mod lab;
mod script;
