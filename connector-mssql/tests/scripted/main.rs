//! What the real peer can't do, over a scripted server that follows the protocol document.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod broken;
mod certificates;
mod encryption;
mod errors;
mod isolation;
mod lab;
mod login;
mod parts;
mod patience;
mod ranges;
mod types;
