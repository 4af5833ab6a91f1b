//! A vCenter as a client sees it that others wrote.

use std::{collections::BTreeMap, io, process::Command};

use serde_json::json;

use super::{process::Process, python::PythonPackages, vcenter::VcenterPeer};

const PACKAGES: PythonPackages = PythonPackages {
    name: "pyvmomi",
    requirements: include_str!("../../peers/pyvmomi.txt"),
};
const SCRIPT: &str = include_str!("../../peers/pyvmomi.py");

/// By data set its rows, of each row by column a text or nothing.
pub type SeenRows = BTreeMap<String, Vec<BTreeMap<String, Option<String>>>>;

impl VcenterPeer {
    /// Returns what `pyvmomi` 9.1.1.0, the client that others wrote, sees of it as that account: rows
    /// as the data sets of the connector to vCenter are to have them. The first test that asks
    /// installs the client.
    ///
    /// Times are in UTC, with microseconds at most; a reference is the id of its object.
    ///
    /// # Panics
    ///
    /// When it can't be installed or does not get through: with what it says.
    pub fn seen_by_pyvmomi(&self, user: &str, password: &str) -> SeenRows {
        match self.try_see(user, password) {
            Ok(rows) => rows,
            Err(error) => panic!("pyvmomi sees nothing: {error}"),
        }
    }

    fn try_see(&self, user: &str, password: &str) -> io::Result<SeenRows> {
        let mut python = Command::new(PACKAGES.python()?);
        let mut process = Process::start(python.args(["-c", SCRIPT]))?;
        let account = json!({ "port": self.port(), "user": user, "password": password });
        let mut answer = process.ask(&account)?;
        match answer.get_mut("ok") {
            Some(rows) => Ok(serde_json::from_value(rows.take())?),
            None => Err(io::Error::other(format!("it fails: {answer}"))),
        }
    }
}
