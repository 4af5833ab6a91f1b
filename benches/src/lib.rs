//! Measures whole programs: what a person waits and pays for, as ratios within one run.
//!
//! A [`Work`] is done in a process of its own, whose processor seconds, peak memory and time a
//! [`Usage`] holds. Runs that are compared take turns, see [`interleaved`], and a [`Figure`] sets
//! their medians against each other and against a bar.

mod child;
mod computers;
mod counted;
mod data;
mod figure;
mod idle;
mod inventory;
mod postgres;
mod replies;
mod rounds;
mod sqlserver;
mod vcenter;
mod walk;
mod work;

pub use child::{Report, Usage, usage_of};
pub use data::Data;
pub use figure::{Bar, Bars, Figure, print_table};
pub use idle::idle;
pub use inventory::{COLUMNS, Edit, Edits, Inventory, KEY_COLUMNS, Order};
pub use replies::{PAGE, Source};
pub use rounds::{Run, interleaved};
pub use sqlserver::Server;
pub use work::Work;

/// What can go wrong in a measurement ends it.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
