//! Wrappers around data sets: limits and traces that every source needs.
//!
//! Each is a data set itself, so they nest. From the inside out: [`Timeout`], which measures the
//! read alone; [`Concurrency`], whose waiting must not count as the read's time; [`Traced`], whose
//! span covers both.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use connector_core::{
//!     Dataset,
//!     layer::{Concurrency, Timeout, Traced},
//! };
//! use tokio::sync::Semaphore;
//!
//! fn limited(dataset: Arc<dyn Dataset>, reads: &Arc<Semaphore>) -> Arc<dyn Dataset> {
//!     let dataset = Timeout::new(dataset)
//!         .idle(Duration::from_secs(60))
//!         .whole(Duration::from_secs(3600));
//!     let dataset = Concurrency::new(Arc::new(dataset), Arc::clone(reads));
//!     Arc::new(Traced::new(Arc::new(dataset)))
//! }
//! ```

mod concurrency;
mod timeout;
mod traced;

pub use concurrency::Concurrency;
pub use timeout::Timeout;
pub use traced::Traced;
