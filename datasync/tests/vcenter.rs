//! A vCenter of 3,000 machines from end to end: one that others wrote, synced into the repository,
//! changed as administrators do it and synced again.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use connector_testkit::peer::VcenterPeer;

const PASSWORD: &str = "Correct-Horse-1";

/// In each of two resource pools.
const MACHINES: u32 = 1_500;

/// Runs the program; returns what its log says that was sent, by data set.
fn sync(folder: &Path) -> BTreeMap<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_datasync"))
        .args(["sync", "--config"])
        .arg(folder.join("datasync.toml"))
        .env("VCENTER_PASSWORD", PASSWORD)
        .output()
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    assert!(!log.contains(PASSWORD));
    let lines = log.lines();
    lines
        .filter_map(|line| {
            let (_, rest) = line.split_once("Done syncing data set ")?;
            let (name, rest) = rest.split_once(" in ")?;
            let (_, counts) = rest.split_once(": ")?;
            Some((name.to_owned(), counts.to_owned()))
        })
        .collect()
}

#[test]
fn three_thousand_machines_and_then_exactly_the_edits() {
    let peer = VcenterPeer::start("reader@vsphere.local", PASSWORD, MACHINES);
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        r#"
        [connector.vc]
        kind = "vcenter"
        url = "{}"
        user = "reader@vsphere.local"
        password = {{ env = "VCENTER_PASSWORD" }}

        [sink.repository]
        kind = "sqlite"
        path = "repository.db"
        "#,
        peer.url()
    );
    fs::write(folder.path().join("datasync.toml"), config).unwrap();

    let first = sync(folder.path());
    let machines = "Truncates: 1, Inserts: 3000, SnapshotCompletes: 1";
    for name in ["virtual_machines", "vm_adapters", "host_vms"] {
        assert_eq!(first[name], machines, "{name}");
    }
    assert_eq!(first.len(), 19);
    assert_eq!(peer.sessions(), 0, "sessions are closed");
    let none = "No events sent";
    for (name, sent) in sync(folder.path()) {
        assert_eq!(sent, none, "{name}");
    }

    peer.power_off("/DC0/vm/DC0_H0_VM7");
    peer.power_off("/DC0/vm/DC0_H0_VM8");
    peer.destroy("/DC0/vm/DC0_H0_VM8");
    peer.reconfigure("/DC0/vm/DC0_C0_RP0_VM1499", "Payroll", 64);
    peer.name_guest("/DC0/vm/DC0_C0_RP0_VM3", "pc-3.acme.local");
    peer.own("/DC0/vm/DC0_C0_RP0_VM4", "Zoë");
    let deleted = "Deletes: 1, SnapshotCompletes: 1";
    let inserted = "Inserts: 1, SnapshotCompletes: 1";
    let edits = BTreeMap::from([
        (
            "virtual_machines",
            "Updates: 3, Deletes: 1, SnapshotCompletes: 1",
        ),
        ("vm_adapters", deleted),
        ("vm_datastores", deleted),
        ("vm_networks", deleted),
        ("host_vms", deleted),
        ("custom_fields", inserted),
        ("vm_custom_values", inserted),
    ]);
    for (name, sent) in sync(folder.path()) {
        let expected = edits.get(name.as_str()).copied().unwrap_or(none);
        assert_eq!(sent, expected, "{name}");
    }
}
