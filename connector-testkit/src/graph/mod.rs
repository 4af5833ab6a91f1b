//! A Microsoft Graph that answers as scripted: collections in pages, single objects, export jobs,
//! usage reports, and the token endpoint before them.
//!
//! Each behaviour follows a document of the product, named where it is.
//!
//! ```
//! use connector_testkit::graph::{Graph, GraphCollection, GraphFault, Times};
//! use serde_json::json;
//!
//! let graph = Graph::new();
//! graph.collection(GraphCollection::new("users").largest(2).select_of(["id", "mail"]));
//! graph.load("users", [json!({"id": "1", "mail": "a@acme.example"}), json!({"id": "2"})]);
//! graph.fault("users", GraphFault::throttled("2.128"), Times::ONCE);
//! let transport = graph.transport(); // for a stack of layers, on tokio's clock
//! # drop(transport);
//! ```

mod cloud;
mod collection;
mod export;
mod fault;
mod file;
mod record;
mod refusal;
mod report;
mod schema;
mod source;
mod token;

pub(crate) use fault::Scheduled;

pub use cloud::{GraphCloud, GraphHosts};
pub use collection::GraphCollection;
pub use export::GraphExport;
pub use fault::{GraphFault, Times};
pub use record::{cells, record};
pub use report::GraphReport;
pub use schema::GraphSchema;
pub use source::{Graph, GraphServer};
pub use token::GraphApp;
