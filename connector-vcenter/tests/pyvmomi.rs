//! Rows cell by cell as a client that others wrote sees the same server.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::collections::BTreeSet;

use connector_core::{Secret, Value};
use connector_testkit::{
    peer::{SeenRows, VcenterPeer},
    read_by_key,
};
use connector_vcenter::{Vcenter, VcenterConfig, datasets};

const USER: &str = "reader@vsphere.local";
const PASSWORD: &str = "S3cret&<more>";

/// A cell as both are compared.
fn shown(value: Value<'_>) -> Option<String> {
    match value {
        Value::Null => None,
        // The other client keeps no more than microseconds.
        Value::Timestamp(time) => Some(format!("{} µs", time.ticks().div_euclid(10))),
        other => Some(other.to_string()),
    }
}

/// What the other client sees of a data set, in the order of columns and rows of ours.
fn theirs(seen: &SeenRows, dataset: &'static str) -> Vec<Vec<Option<String>>> {
    let declared = datasets().iter().find(|known| known.name == dataset);
    let schema = declared.unwrap().schema().unwrap();
    let rows = seen[dataset].iter().map(|row| {
        assert_eq!(row.len(), schema.columns().len(), "{dataset}");
        let cells = schema.columns().iter().map(|column| {
            let text = row[column.name()].as_deref()?;
            shown(column.ty().parse(text).unwrap())
        });
        cells.collect()
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn rows_are_what_another_client_sees() {
    let peer = VcenterPeer::start(USER, PASSWORD, 2);
    peer.power_off("/DC0/vm/DC0_H0_VM1");
    peer.reconfigure(
        "/DC0/vm/DC0_C0_RP0_VM0",
        "Zoë's <test> & \"more\"\n2nd line",
        64,
    );
    peer.name_guest("/DC0/vm/DC0_C0_RP0_VM1", "pc-ä.acme.local");
    peer.own("/DC0/vm/DC0_C0_RP0_VM1", "Zoë");
    let url = peer.url().parse().unwrap();
    let config = VcenterConfig::new(url, USER, Secret::new(PASSWORD));
    let vcenter = Vcenter::new("vc", &config).unwrap();
    let seen = peer.seen_by_pyvmomi(USER, PASSWORD);
    assert_eq!(seen.len(), datasets().len());
    let mut differ = BTreeSet::new();
    for dataset in datasets() {
        let rows = read_by_key(&vcenter, dataset.name).await.unwrap();
        let rows = rows.iter().map(|row| row.values().map(shown).collect());
        let mut ours: Vec<Vec<_>> = rows.collect();
        ours.sort();
        let theirs = theirs(&seen, dataset.name);
        assert_eq!(ours.len(), theirs.len(), "{}", dataset.name);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let cells = ours.iter().zip(theirs).zip(dataset.columns);
            for ((ours, theirs), column) in cells.filter(|((ours, theirs), _)| ours != theirs) {
                differ.insert(format!(
                    "{}.{}: {ours:?} {theirs:?}",
                    dataset.name,
                    column.name()
                ));
            }
        }
    }
    // Required by the schema and left out by the simulator: the other client makes them up.
    let left_out = [
        "networks.ip_pool: None Some(\"\")",
        "virtual_machines.change_version: None Some(\"\")",
    ];
    assert_eq!(differ, left_out.map(str::to_owned).into());
}
