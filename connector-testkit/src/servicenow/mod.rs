//! A ServiceNow instance that answers as scripted: its Table API, with the dictionary that belongs to
//! it, and its token endpoint.
//!
//! Each behaviour follows a document, named where it is. The page of the Table API itself is
//! <https://www.servicenow.com/docs/r/api-reference/rest-apis/c_TableAPI.html>.
//!
//! ```
//! use connector_testkit::{
//!     graph::Times,
//!     servicenow::{ServiceNow, ServiceNowFault, ServiceNowTable},
//! };
//! use serde_json::json;
//!
//! let instance = ServiceNow::new();
//! instance.table(ServiceNowTable::new("cmdb_ci").field("name", "string"));
//! instance.table(ServiceNowTable::new("cmdb_ci_computer").extends("cmdb_ci").field("ram", "integer"));
//! instance.load("cmdb_ci_computer", [json!({"sys_id": "1", "name": "PC-1", "ram": "8192"})]);
//! instance.fault("cmdb_ci_computer", ServiceNowFault::limited("30"), Times::ONCE);
//! let transport = instance.transport(); // for a stack of layers, on tokio's clock
//! # drop(transport);
//! ```

mod fault;
mod query;
mod sign_in;
mod source;
mod table;

pub use fault::ServiceNowFault;
pub use sign_in::ServiceNowApp;
pub use source::ServiceNow;
pub use table::ServiceNowTable;
