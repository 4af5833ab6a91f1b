//! Servers that others wrote, installed and run by the tests.

mod install;
mod process;
mod python;
mod sqlserver;
mod tables;

pub use python::PythonPackages;
pub use sqlserver::{SqlServerPeer, SqlTable};
pub use tables::SqlSubjects;
