//! Servers that others wrote, installed and run by the tests.

mod install;
mod node;
mod prism;
mod process;
mod python;
mod sqlserver;
mod tables;

pub use prism::{GRAPH_CONTRACT, Prism};
pub use python::PythonPackages;
pub use sqlserver::{SqlServerPeer, SqlTable};
pub use tables::SqlSubjects;
