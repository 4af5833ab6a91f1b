//! A vCenter that others wrote: what it holds is read, and what changes there is what is sent.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{collections::BTreeSet, sync::Arc};

use connector_core::{
    Availability, Change, Connector, Cycle, ErrorKind, NamedSink, Outcome, Row, Secret, Store,
    memory::MemorySink,
};
use connector_testkit::{ManualClock, MemoryStorage, peer::VcenterPeer, read_by_key};
use connector_vcenter::{Vcenter, VcenterConfig, datasets};

const USER: &str = "reader@vsphere.local";
const PASSWORD: &str = "S3cret&<more>";

fn connect(peer: &VcenterPeer, password: &str) -> Vcenter {
    let url = peer.url().parse().unwrap();
    let mut config = VcenterConfig::new(url, USER, Secret::new(password));
    config.http.retry.attempts = 1;
    Vcenter::new("vc", &config).unwrap()
}

fn text(row: &Row, column: &str) -> String {
    row.value(column).unwrap().to_string()
}

#[tokio::test]
async fn every_data_set_is_read() {
    let peer = VcenterPeer::start(USER, PASSWORD, 2);
    let vcenter = connect(&peer, PASSWORD);
    let report = vcenter.check().await.unwrap();
    assert_eq!(report.fact("version of the API"), Some("6.5"));
    assert_eq!(report.fact("instance uuid"), Some(peer.instance()));
    assert_eq!(report.datasets.len(), datasets().len());
    for dataset in &report.datasets {
        let availability = &dataset.availability;
        assert!(
            matches!(availability, Availability::Available),
            "{}: {availability}",
            dataset.name
        );
    }
    for (name, rows) in [
        ("virtual_machines", 4),
        ("vm_adapters", 4),
        ("vm_datastores", 4),
        ("vm_networks", 4),
        ("vm_custom_values", 0),
        ("hosts", 4),
        ("host_vms", 4),
        ("clusters", 1),
        ("resource_pools", 2),
        ("datacenters", 1),
        ("folders", 4),
        ("datastores", 1),
        ("datastore_hosts", 1),
        ("custom_fields", 0),
        ("licences", 1),
        ("licence_assignments", 1),
    ] {
        let read = read_by_key(&vcenter, name).await.unwrap();
        assert_eq!(read.len(), rows, "{name}: {read:?}");
        for row in &read {
            assert_eq!(text(row, "vcenter"), peer.instance());
        }
    }
    let machines = read_by_key(&vcenter, "virtual_machines").await.unwrap();
    let machine = machines
        .iter()
        .find(|row| text(row, "name") == "DC0_H0_VM0")
        .unwrap();
    assert_eq!(text(machine, "cpus"), "1");
    assert_eq!(text(machine, "memory_mb"), "32");
    assert_eq!(text(machine, "power_state"), "poweredOn");
    assert_eq!(text(machine, "is_template"), "false");
    let hosts = read_by_key(&vcenter, "hosts").await.unwrap();
    let host = hosts
        .iter()
        .find(|row| text(row, "host") == text(machine, "host"))
        .unwrap();
    assert_eq!(text(host, "cpu_packages"), "2");
    assert_eq!(text(host, "cpu_cores"), "8");
    assert_eq!(text(host, "cpu_threads"), "16");
    assert_eq!(text(host, "vendor"), "VMware, Inc.");
    assert!(host.value("serial_number").unwrap().is_null());
    let folders = read_by_key(&vcenter, "folders").await.unwrap();
    let paths: BTreeSet<_> = folders.iter().map(|row| text(row, "path")).collect();
    let expected = ["/DC0/datastore", "/DC0/host", "/DC0/network", "/DC0/vm"];
    assert_eq!(paths, expected.map(str::to_owned).into());
}

#[tokio::test]
async fn a_wrong_password_is_told() {
    let peer = VcenterPeer::start(USER, PASSWORD, 1);
    let error = connect(&peer, "wrong").check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(format!("{error:#}").contains("InvalidLogin"), "{error:#}");
}

#[tokio::test]
async fn what_administrators_do_is_what_is_sent() {
    let peer = VcenterPeer::start(USER, PASSWORD, 2);
    let vcenter = connect(&peer, PASSWORD);
    let clock = ManualClock::default();
    let store = Store::open(Arc::new(MemoryStorage::default()), Arc::new(clock));
    let store = store.await.unwrap();
    let sink = MemorySink::default();
    // Each change as data set, kind, object and changed columns.
    let cycle = async || {
        let cycle = Cycle::new(&store).sink(NamedSink::new("copy", sink.clone()));
        for report in cycle.run(&vcenter).await.unwrap() {
            assert!(matches!(report.outcome, Outcome::Synced(_)), "{report:?}");
        }
        let events = sink.take_events();
        let told = events.iter().filter_map(|event| {
            let name = |row: &Row| text(row, row.schema().columns()[1].name());
            let change = match &event.change {
                Change::Insert { after } => format!("insert {}", name(after)),
                Change::Delete { before } => format!("delete {}", name(before)),
                Change::Update { before, after } => {
                    let changed = after.changed(before).into_iter();
                    let columns: Vec<_> = changed
                        .map(|column| after.schema().columns()[column].name())
                        .collect();
                    format!("update {} {}", name(after), columns.join(" "))
                }
                _ => return None,
            };
            Some(format!("{} {change}", event.dataset.dataset()))
        });
        told.collect::<BTreeSet<_>>()
    };
    assert!(cycle().await.len() > 30);
    assert_eq!(cycle().await, BTreeSet::new());

    let machines = read_by_key(&vcenter, "virtual_machines").await.unwrap();
    let id = |name: &str| {
        let machine = machines
            .iter()
            .find(|row| text(row, "name") == name)
            .unwrap();
        (text(machine, "vm"), text(machine, "host"))
    };
    let (off, gone) = (id("DC0_H0_VM0"), id("DC0_H0_VM1"));
    let (larger, named) = (id("DC0_C0_RP0_VM0"), id("DC0_C0_RP0_VM1"));
    peer.power_off("/DC0/vm/DC0_H0_VM0");
    peer.power_off("/DC0/vm/DC0_H0_VM1");
    peer.destroy("/DC0/vm/DC0_H0_VM1");
    peer.reconfigure("/DC0/vm/DC0_C0_RP0_VM0", "Payroll <test> & \"more\"", 64);
    peer.name_guest("/DC0/vm/DC0_C0_RP0_VM1", "pc-ä.acme.local");
    peer.own("/DC0/vm/DC0_C0_RP0_VM1", "Zoë");
    let expected = [
        format!("virtual_machines update {} power_state", off.0),
        format!("virtual_machines delete {}", gone.0),
        format!("vm_adapters delete {}", gone.0),
        format!("vm_datastores delete {}", gone.0),
        format!("vm_networks delete {}", gone.0),
        format!("host_vms delete {}", gone.1),
        format!("virtual_machines update {} annotation memory_mb", larger.0),
        format!("virtual_machines update {} guest_host_name", named.0),
        format!("vm_custom_values insert {}", named.0),
        "custom_fields insert 0".to_owned(),
    ];
    assert_eq!(cycle().await, expected.into());
    assert_eq!(cycle().await, BTreeSet::new());
    let machines = read_by_key(&vcenter, "virtual_machines").await.unwrap();
    let annotations: BTreeSet<_> = machines.iter().map(|row| text(row, "annotation")).collect();
    assert!(
        annotations.contains("Payroll <test> & \"more\""),
        "{annotations:?}"
    );
    let values = read_by_key(&vcenter, "vm_custom_values").await.unwrap();
    assert_eq!(text(&values[0], "value"), "Zoë");
}
