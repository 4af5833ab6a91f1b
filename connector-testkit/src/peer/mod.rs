//! Servers that others wrote, installed and run by the tests.

mod debian;
mod install;
mod node;
mod prism;
mod process;
mod python;
mod sqlserver;
mod tables;
mod vcenter;

pub use prism::{GRAPH_CONTRACT, Prism, SERVICENOW_CONTRACT};
pub use python::PythonPackages;
pub use sqlserver::{SqlServerPeer, SqlTable};
pub use tables::SqlSubjects;
pub use vcenter::VcenterPeer;
