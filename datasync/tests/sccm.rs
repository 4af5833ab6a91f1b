//! Configuration Manager from end to end: a site of 2,000 devices with all 36 data sets, served by
//! a SQL Server that we did not write, synced, edited and synced again.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

#[expect(dead_code, reason = "values are compared by the connector's own tests")]
#[path = "../../connector-sccm/tests/site/mod.rs"]
mod site;

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use connector_sccm::{SccmSettings, connector_mssql::SqlDataset, datasets};
use connector_testkit::peer::SqlServerPeer;
use serde_json::{Value as Json, json};
use site::Site;

const PASSWORD: &str = "Correct-Horse-1";
const DEVICES: usize = 2000;

/// Several rows a device where there are many, and few of what there is one of a site.
fn rows(object: &str) -> usize {
    match object {
        "v_GS_SERVICE"
        | "v_GS_ADD_REMOVE_PROGRAMS"
        | "v_GS_ADD_REMOVE_PROGRAMS_64"
        | "v_GS_CCM_RECENTLY_USED_APPS"
        | "v_RA_System_SystemOUName"
        | "v_UpdateComplianceStatus"
        | "v_FullCollectionMembership" => 2 * DEVICES,
        "v_Identification" | "Sites" | "v_Site" => 1,
        "v_R_System" => DEVICES,
        name if name.starts_with("v_GS_") => DEVICES,
        _ => 100,
    }
}

/// How many rows a data set brings.
fn of(dataset: &SqlDataset) -> usize {
    let own = dataset.from.split_once(' ').unwrap().0;
    match dataset.name {
        // Two devices have one board.
        "Duplicates" => 2,
        "v_Add_Remove_Programs" | "v_GS_VIRTUAL_MACHINE" => 2 * rows(own),
        _ => rows(own),
    }
}

/// What a run of the program wrote.
struct Ran {
    succeeded: bool,
    log: String,
}

impl Ran {
    /// What the log says that was sent, by data set.
    fn sent(&self) -> BTreeMap<String, String> {
        let lines = self.log.lines();
        lines
            .filter_map(|line| {
                let (_, rest) = line.split_once("Done syncing data set ")?;
                let (name, rest) = rest.split_once(" in ")?;
                let (_, counts) = rest.split_once(": ")?;
                Some((name.to_owned(), counts.to_owned()))
            })
            .collect()
    }
}

fn sync(folder: &Path) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_datasync"))
        .args(["sync", "--config"])
        .arg(folder.join("datasync.toml"))
        .env("CM_PASSWORD", PASSWORD)
        .output()
        .unwrap();
    Ran {
        succeeded: output.status.success(),
        log: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A few true changes among many that are none.
fn edit(site: &mut Site) -> Vec<(&'static str, &'static str)> {
    site.table("v_R_System").set(5, "Name0", json!("renamed"));
    let services = site.table("v_GS_SERVICE");
    services.set(20, "State0", json!("Stopped"));
    services.rows.remove(10);
    let software = site.table("v_GS_ADD_REMOVE_PROGRAMS_64");
    let mut installed = software.rows[7].clone();
    installed[software.place("GroupID")] = json!(99);
    software.rows.push(installed);
    // Every device sent its inventory again, and memory is never the same.
    let systems = site.table("v_GS_OPERATING_SYSTEM");
    for row in 0..systems.rows.len() {
        systems.set(row, "FreePhysicalMemory0", json!(row * 7));
        systems.set(row, "TimeStamp", json!("2026-03-04T05:06:00"));
        systems.set(row, "RevisionID", json!(9));
    }
    let members = site.table("v_FullCollectionMembership");
    let mut member = members.rows.remove(3);
    member[members.place("CollectionID")] = json!("P0100042");
    members.rows.push(member);
    // Being deleted.
    site.table("SMSPackages").set(3, "Action", json!(3));
    site.table("v_UpdateComplianceStatus")
        .set(8, "Status", json!(3));
    vec![
        ("v_R_System", "Updates: 1, SnapshotCompletes: 1"),
        ("v_GS_SERVICE", "Deletes: 1, SnapshotCompletes: 1"),
        ("v_Add_Remove_Programs", "Inserts: 1, SnapshotCompletes: 1"),
        (
            "CollectionMembers",
            "Inserts: 1, Deletes: 1, SnapshotCompletes: 1",
        ),
        ("SMSPackages", "Deletes: 1, SnapshotCompletes: 1"),
        ("Patchs", "Updates: 1, SnapshotCompletes: 1"),
    ]
}

#[test]
fn a_site_is_synced_in_full_then_exactly_what_changed_and_a_broken_view_stops_nobody_else() {
    let declared = datasets(&SccmSettings::default());
    let mut site = Site::new(&declared, DEVICES, rows);
    let peer = SqlServerPeer::start("reader", PASSWORD);
    peer.serve(&site.tables());
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("authority.pem"), peer.authority_pem()).unwrap();
    let config = format!(
        r#"
        state = "state"

        [sink.repository]
        kind = "sqlite"
        path = "repository.db"

        [sink.events]
        kind = "ndjson"
        path = "events.ndjson"

        [connector.cm]
        kind = "sccm"
        sources = "CMSync|localhost,{}|CM_P01"
        auth = {{ method = "sql", user = "reader", password = {{ env = "CM_PASSWORD" }} }}
        ca_file = "authority.pem"
        "#,
        peer.port()
    );
    fs::write(folder.join("datasync.toml"), config).unwrap();

    let first = sync(folder);
    assert!(first.succeeded, "{}", first.log);
    let sent = first.sent();
    assert_eq!(sent.len(), 36);
    for dataset in &declared {
        let full = format!(
            "Truncates: 1, Inserts: {}, SnapshotCompletes: 1",
            of(dataset)
        );
        assert_eq!(sent[dataset.name], full, "{}", dataset.name);
    }
    let before = fs::read_to_string(folder.join("events.ndjson")).unwrap();

    let changed: BTreeMap<_, _> = edit(&mut site).into_iter().collect();
    peer.serve(&site.tables());
    let second = sync(folder);
    assert!(second.succeeded, "{}", second.log);
    for (name, counts) in second.sent() {
        let expected = changed.get(name.as_str()).copied();
        assert_eq!(counts, expected.unwrap_or("No events sent"), "{name}");
    }
    let after = fs::read_to_string(folder.join("events.ndjson")).unwrap();
    let events: Vec<Json> = after[before.len()..]
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let renamed = events
        .iter()
        .find(|event| event.to_string().contains("\"renamed\""));
    let renamed = renamed.unwrap();
    assert_eq!(renamed["before"]["Name0"], json!("Name0 5"), "{renamed}");
    assert_eq!(
        renamed["after"]["ResourceID"],
        json!(site::FIRST_DEVICE + 5)
    );

    // Somebody took a right away.
    site.table("v_Collection")
        .set(1, "Name", json!("another name"));
    site.0.remove("v_GS_PROCESSOR");
    peer.deny(&site.tables(), ["v_GS_PROCESSOR"]);
    let third = sync(folder);
    assert!(!third.succeeded);
    let failed: Vec<_> = third
        .log
        .lines()
        .filter(|line| line.contains("Failed data set "))
        .collect();
    let [failed] = failed[..] else {
        panic!("{}", third.log);
    };
    for told in ["v_GS_PROCESSOR", "GRANT SELECT", "query: SELECT"] {
        assert!(failed.contains(told), "{failed}");
    }
    let sent = third.sent();
    assert_eq!(sent.len(), 35);
    for (name, counts) in sent {
        let expected = match name.as_str() {
            "Collections" => "Updates: 1, SnapshotCompletes: 1",
            _ => "No events sent",
        };
        assert_eq!(counts, expected, "{name}");
    }

    // And gave it back: nothing was lost.
    peer.serve(&Site::new(&declared, DEVICES, rows).tables());
    let processors = sync(folder).sent()["v_GS_PROCESSOR"].clone();
    assert_eq!(processors, "No events sent");
}
