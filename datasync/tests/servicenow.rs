//! ServiceNow from end to end: an instance of 100,000 configuration items, synced into the
//! repository, edited and synced again.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{collections::BTreeMap, fs, path::Path};

use connector_testkit::{
    graph::Times,
    servicenow::{ServiceNow, ServiceNowApp, ServiceNowFault, ServiceNowTable},
};
use serde_json::{Value as Json, json};
use tokio::process::Command;

const SECRET: &str = "Correct-Horse-1";
const COMPUTERS: u32 = 90_000;
/// Among the items, in a table of their own.
const SERVERS: u32 = 10_000;
const RELATIONS: u32 = 20_000;

fn id(kind: u32, number: u32) -> String {
    // In no order of numbers, as ids are.
    let mixed = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!("{mixed:016x}{kind:04x}{number:012x}")
}

fn computer(number: u32) -> Json {
    json!({
        "sys_id": id(1, number),
        "sys_class_name": if number < COMPUTERS { "cmdb_ci_computer" } else { "cmdb_ci_server" },
        "name": format!("PC-{number:06}"),
        "serial_number": format!("SN{number:08}"),
        "manufacturer": id(3, number % 50),
        "cpu_count": "1",
        "ram": "16384",
        "disk_space": "476.5",
        "virtual": if number.is_multiple_of(2) { "true" } else { "false" },
        "first_discovered": "2026-01-02 03:04:05",
        "last_discovered": "2026-11-20 03:04:05",
        "sys_created_on": "2026-01-02 03:04:05",
        "sys_updated_on": "2026-11-20 03:04:05",
        "sys_mod_count": "17",
    })
}

fn relation(number: u32) -> Json {
    json!({
        "sys_id": id(2, number),
        "parent": id(1, number),
        "child": if number.is_multiple_of(100) { String::new() } else { id(1, number + 1) },
        "type": id(4, number % 7),
    })
}

fn usage(number: u32) -> Json {
    json!({ "sys_id": id(5, number), "device": id(1, number), "minutes": number.to_string() })
}

/// What the instance holds, and is edited.
struct Holds {
    items: Vec<Json>,
    relations: Vec<Json>,
    usage: Vec<Json>,
}

impl Holds {
    fn load(&self, instance: &ServiceNow) {
        let is_server = |item: &&Json| item["sys_class_name"] == "cmdb_ci_server";
        let (servers, computers): (Vec<_>, Vec<_>) = self.items.iter().partition(is_server);
        instance.load("cmdb_ci_computer", computers.into_iter().cloned());
        instance.load("cmdb_ci_server", servers.into_iter().cloned());
        instance.load("cmdb_rel_ci", self.relations.clone());
        instance.load("x_acme_inv_usage", self.usage.clone());
    }

    /// A few true changes; returns what each data set is to send.
    fn edit(&mut self) -> BTreeMap<&'static str, &'static str> {
        // Each one was seen again, which is no news of any.
        for item in &mut self.items {
            item["last_discovered"] = json!("2026-11-21 03:04:05");
            item["sys_updated_on"] = json!("2026-11-21 03:04:05");
            item["sys_mod_count"] = json!("18");
        }
        self.items[5]["name"] = json!("renamed");
        self.items[6]["ram"] = json!("");
        // One becomes a server, under the same id.
        self.items[7]["sys_class_name"] = json!("cmdb_ci_server");
        self.items.remove(9);
        self.items.remove(50_000);
        self.items.push(computer(COMPUTERS + SERVERS));
        self.relations.truncate(19_990);
        self.relations[3]["child"] = json!("");
        BTreeMap::from([
            (
                "computers",
                "Inserts: 1, Updates: 3, Deletes: 2, SnapshotCompletes: 1",
            ),
            (
                "ci_relations",
                "Updates: 1, Deletes: 10, SnapshotCompletes: 1",
            ),
        ])
    }
}

fn instance() -> ServiceNow {
    let instance = ServiceNow::new();
    instance.app(ServiceNowApp {
        client_secret: Some(SECRET.to_owned()),
        ..ServiceNowApp::default()
    });
    instance.table(
        ServiceNowTable::new("cmdb_ci")
            .field("sys_class_name", "sys_class_name")
            .field("name", "string")
            .field("serial_number", "string")
            .reference("manufacturer", "core_company")
            .field("first_discovered", "glide_date_time")
            .field("last_discovered", "glide_date_time"),
    );
    instance.table(
        ServiceNowTable::new("cmdb_ci_computer")
            .extends("cmdb_ci")
            .field("cpu_count", "integer")
            .field("ram", "integer")
            .field("disk_space", "decimal")
            .field("virtual", "boolean"),
    );
    instance.table(ServiceNowTable::new("cmdb_ci_server").extends("cmdb_ci_computer"));
    instance.table(
        ServiceNowTable::new("cmdb_rel_ci")
            .reference("parent", "cmdb_ci")
            .reference("child", "cmdb_ci")
            .reference("type", "cmdb_rel_type"),
    );
    instance.table(
        ServiceNowTable::new("x_acme_inv_usage")
            .reference("device", "cmdb_ci_computer")
            .field("minutes", "integer"),
    );
    instance
}

fn configure(folder: &Path, url: &str) {
    let app = ServiceNowApp::default();
    let config = format!(
        r#"
        state = "state"

        [sink.repository]
        kind = "sqlite"
        path = "repository.db"

        [connector.cmdb]
        kind = "servicenow"
        url = "{url}"
        auth = {{ method = "client_credentials", client_id = "{}", client_secret = {{ env = "SERVICENOW" }} }}
        categories = ["Computers", "Relations", "Usage"]
        skip = ["servers", "ci_relation_types"]
        scope = "x_acme_inv"

        [[connector.cmdb.dataset]]
        name = "usage"
        category = "Usage"
        table = "usage"
        "#,
        app.client_id
    );
    fs::write(folder.join("datasync.toml"), config).unwrap();
}

/// Runs the program; returns what its log says that was sent, by data set.
async fn sync(folder: &Path) -> BTreeMap<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_datasync"))
        .args(["sync", "--config"])
        .arg(folder.join("datasync.toml"))
        .env("SERVICENOW", SECRET)
        .output();
    let output = output.await.unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    assert!(!log.contains(SECRET));
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

fn count(folder: &Path, sql: &str) -> i64 {
    let repository = rusqlite::Connection::open(folder.join("repository.db")).unwrap();
    repository.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_items_and_then_exactly_the_edits() {
    let instance = instance();
    let mut holds = Holds {
        items: (0..COMPUTERS + SERVERS).map(computer).collect(),
        relations: (0..RELATIONS).map(relation).collect(),
        usage: (0..500).map(usage).collect(),
    };
    holds.load(&instance);
    // One relation is none of the user's business.
    let hidden = id(2, 4_711);
    instance.hide("cmdb_rel_ci", [hidden.as_str()]);
    let server = instance.serve().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    configure(folder, &server.url("/"));

    let first = sync(folder).await;
    let full = |rows| format!("Truncates: 1, Inserts: {rows}, SnapshotCompletes: 1");
    let expected = BTreeMap::from([
        ("computers".to_owned(), full(100_000)),
        ("ci_relations".to_owned(), full(19_999)),
        ("usage".to_owned(), full(500)),
    ]);
    assert_eq!(first, expected);
    let virtual_ones = r#"SELECT count(*) FROM "computers" WHERE "virtual" AND "ram" = 16384"#;
    assert_eq!(count(folder, virtual_ones), 50_000);
    let childless = r#"SELECT count(*) FROM "ci_relations" WHERE "child" IS NULL"#;
    assert_eq!(count(folder, childless), 200);
    let minutes = r#"SELECT sum("minutes") FROM "usage""#;
    assert_eq!(count(folder, minutes), 124_750);

    let changed = holds.edit();
    holds.load(&instance);
    // It asks for patience once, ends a session and sends half of a page.
    let table = "cmdb_ci_computer";
    instance.fault(table, ServiceNowFault::limited("1"), Times::at(3));
    instance.fault(table, ServiceNowFault::Unauthorized, Times::at(9));
    instance.fault(table, ServiceNowFault::CutJson, Times::at(20));
    let second = sync(folder).await;
    assert_eq!(second.len(), 3);
    for (name, counts) in second {
        let expected = changed.get(&*name).copied();
        assert_eq!(counts, expected.unwrap_or("No events sent"), "{name}");
    }
    let items = r#"SELECT count(*) FROM "computers""#;
    assert_eq!(count(folder, items), 99_999);
}
