//! Servers that others wrote, installed and run by the tests.

mod debian;
mod install;
mod nats;
mod node;
mod postgres;
mod prism;
mod process;
mod python;
mod pyvmomi;
mod sqlserver;
mod systemd;
mod tables;
mod vcenter;

pub use nats::{NatsCluster, NatsServer};
pub use postgres::{PostgresDatabase, PostgresPeer};
pub use prism::{GRAPH_CONTRACT, Prism, SERVICENOW_CONTRACT};
pub use python::PythonPackages;
pub use pyvmomi::SeenRows;
pub use sqlserver::{SqlServerPeer, SqlTable};
pub use systemd::systemd_analyze;
pub use tables::SqlSubjects;
pub use vcenter::VcenterPeer;
