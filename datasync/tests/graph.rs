//! Intune and Microsoft 365 from end to end: a tenant of 20,000 devices, 300 programs and 400,000
//! installs, synced into the repository, edited and synced again.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{collections::BTreeMap, fs, path::Path};

use connector_core::Connector;
use connector_testkit::graph::{
    Graph, GraphApp, GraphCollection, GraphExport, GraphFault, GraphReport, Times,
};
use serde_json::{Value as Json, json};
use tokio::process::Command;

const SECRET: &str = "Correct-Horse-1";
const DEVICES: u64 = 20_000;
const PROGRAMS: u64 = 300;
/// How many programs a device has.
const INSTALLED: u64 = 20;
const SKU: &str = "6fd2c87f-b296-42f0-b197-1e91e994b900";

const INTUNE: [&str; 3] = ["managedDevices", "detectedApps", "AppInvRawData"];
const OFFICE: [&str; 4] = ["users", "userLicenses", "subscribedSkus", "mailboxUsage"];

fn id(kind: u64, number: u64) -> String {
    format!("{number:08x}-{kind:04x}-4000-8000-{number:012x}")
}

fn device(number: u64) -> Json {
    json!({
        "id": id(1, number),
        "deviceName": format!("DESKTOP-{number:05}"),
        "userId": id(2, number),
        "azureADDeviceId": id(3, number),
        "enrolledDateTime": "2026-01-02T03:04:05.6789Z",
        "lastSyncDateTime": "2026-11-20T01:02:03Z",
        "complianceGracePeriodExpirationDateTime": "0001-01-01T00:00:00Z",
        "operatingSystem": "Windows",
        "serialNumber": format!("SN{number:06}"),
        // A member that no schema knows.
        "managementAgent": "intuneAosp",
        "totalStorageSpaceInBytes": 512_110_190_592_u64 + number,
        "freeStorageSpaceInBytes": 0,
    })
}

fn program(number: u64) -> Json {
    json!({
        "id": format!("{number:064x}"),
        "displayName": format!("Product {number}, \"Müller\" edition"),
        "version": "1.2.3",
        "sizeInByte": 0,
        "deviceCount": DEVICES * INSTALLED / PROGRAMS,
    })
}

fn install(device: u64, place: u64) -> Json {
    let program = (device * 7 + place) % PROGRAMS;
    json!({
        "ApplicationKey": format!("{program:064x}"),
        "DeviceId": id(1, device),
        "ApplicationName": format!("Product {program}, \"Müller\" edition"),
    })
}

fn user(number: u64) -> Json {
    json!({
        "id": id(2, number),
        "userPrincipalName": format!("user.{number}@acme.example"),
        "accountEnabled": true,
        "assignedLicenses": [{ "skuId": SKU, "disabledPlans": [] }],
    })
}

fn mailbox(number: u64) -> Json {
    json!({
        "Report Refresh Date": "2026-11-19",
        "User Principal Name": format!("user.{number}@acme.example"),
        "Is Deleted": "False",
        "Item Count": number,
        "Storage Used (Byte)": number * 1000,
        "Report Period": "7",
    })
}

/// What the tenant holds, and is edited.
struct Tenant {
    devices: Vec<Json>,
    programs: Vec<Json>,
    installs: Vec<Json>,
    users: Vec<Json>,
    mailboxes: Vec<Json>,
}

impl Tenant {
    fn new() -> Self {
        let installs = (0..DEVICES).flat_map(|n| (0..INSTALLED).map(move |m| install(n, m)));
        Self {
            devices: (0..DEVICES).map(device).collect(),
            programs: (0..PROGRAMS).map(program).collect(),
            installs: installs.collect(),
            users: (0..DEVICES).map(user).collect(),
            mailboxes: (0..1000).map(mailbox).collect(),
        }
    }

    fn load(&self, graph: &Graph) {
        graph.load("deviceManagement/managedDevices", self.devices.clone());
        graph.load("deviceManagement/detectedApps", self.programs.clone());
        graph.load("AppInvRawData", self.installs.clone());
        graph.load("users", self.users.clone());
        graph.load("getMailboxUsageDetail", self.mailboxes.clone());
    }

    /// A few true changes; returns what each data set is to send.
    fn edit(&mut self) -> BTreeMap<String, &'static str> {
        self.devices[5]["deviceName"] = json!("renamed");
        // One is gone, with its programs.
        self.devices.remove(9);
        let gone = id(1, 9);
        self.installs.retain(|row| row["DeviceId"] != gone.as_str());
        self.installs.push(json!({
            "ApplicationKey": format!("{:064x}", 1),
            "DeviceId": id(1, 77_777),
        }));
        // The same one, once more: pairs repeat in this report.
        self.installs.push(self.installs[3].clone());
        self.users[3]["assignedLicenses"] = json!([]);
        // Each day has a date of its own, which is no news of anybody.
        for mailbox in &mut self.mailboxes {
            mailbox["Report Refresh Date"] = json!("2026-11-20");
        }
        self.mailboxes[4]["Item Count"] = json!(1_000_000);
        BTreeMap::from([
            (
                "managedDevices".to_owned(),
                "Updates: 1, Deletes: 1, SnapshotCompletes: 1",
            ),
            (
                "AppInvRawData".to_owned(),
                "Inserts: 1, Deletes: 20, SnapshotCompletes: 1",
            ),
            (
                "userLicenses".to_owned(),
                "Deletes: 1, SnapshotCompletes: 1",
            ),
            (
                "mailboxUsage".to_owned(),
                "Updates: 1, SnapshotCompletes: 1",
            ),
        ])
    }
}

fn graph() -> Graph {
    let graph = Graph::new();
    graph.app(GraphApp {
        secret: Some(SECRET.to_owned()),
        ..GraphApp::default()
    });
    for (path, largest) in [
        ("deviceManagement/managedDevices", 1000),
        ("deviceManagement/detectedApps", 1000),
        ("users", 999),
        ("subscribedSkus", 1000),
    ] {
        graph.collection(GraphCollection::new(path).largest(largest));
    }
    let columns = [
        "ApplicationKey",
        "DeviceId",
        "ApplicationName",
        "ApplicationPublisher",
        "ApplicationShortVersion",
        "ApplicationVersion",
        "Platform",
        "UserId",
    ];
    graph.export(GraphExport::new("AppInvRawData", columns).polls(1));
    let headers = [
        "Report Refresh Date",
        "User Principal Name",
        "Display Name",
        "Is Deleted",
        "Deleted Date",
        "Created Date",
        "Last Activity Date",
        "Item Count",
        "Storage Used (Byte)",
        "Issue Warning Quota (Byte)",
        "Prohibit Send Quota (Byte)",
        "Prohibit Send/Receive Quota (Byte)",
        "Deleted Item Count",
        "Deleted Item Size (Byte)",
        "Report Period",
    ];
    graph.report(GraphReport::new("getMailboxUsageDetail", headers));
    let sku = json!({
        "id": format!("{}_{SKU}", id(0, 0)),
        "skuId": SKU,
        "skuPartNumber": "ENTERPRISEPACK",
        "capabilityStatus": "Enabled",
        "consumedUnits": DEVICES,
        "prepaidUnits": { "enabled": 25_000, "warning": 0, "suspended": 0, "lockedOut": 0 },
    });
    graph.load("subscribedSkus", [sku]);
    graph
}

/// The names of all data sets but those.
async fn others(connector: &dyn Connector, but: &[&str]) -> Vec<String> {
    let datasets = connector.datasets().await.unwrap();
    let names = datasets
        .iter()
        .map(|dataset| dataset.info().name.to_string());
    names.filter(|name| !but.contains(&name.as_str())).collect()
}

async fn configure(folder: &Path, graph: &Graph) {
    let app = GraphApp::default();
    let auth = || connector_intune::connector_graph::Authentication::Secret {
        client_id: app.client_id.clone(),
        client_secret: connector_core::Secret::new(SECRET),
    };
    let intune = connector_intune::IntuneConfig::new(&app.tenant, auth());
    let intune = connector_intune::Intune::new("intune", intune).unwrap();
    let office = connector_office365::Office365Config::new(&app.tenant, auth());
    let office = connector_office365::Office365::new("office", office).unwrap();
    let hosts = graph.hosts();
    let mut config = String::from(
        r#"
        state = "state"

        [sink.repository]
        kind = "sqlite"
        path = "repository.db"
        "#,
    );
    for (name, kind, skip) in [
        ("intune", "intune", others(&intune, &INTUNE).await),
        ("office", "office365", others(&office, &OFFICE).await),
    ] {
        let connector = format!(
            r#"
            [connector.{name}]
            kind = "{kind}"
            tenant = "{}"
            auth = {{ method = "secret", client_id = "{}", client_secret = {{ env = "GRAPH_SECRET" }} }}
            hosts = {{ login = "{}", graph = "{}" }}
            skip = {skip:?}
            "#,
            app.tenant, app.client_id, hosts.login, hosts.graph
        );
        config.push_str(&connector);
    }
    fs::write(folder.join("datasync.toml"), config).unwrap();
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

async fn sync(folder: &Path) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_datasync"))
        .args(["sync", "--config"])
        .arg(folder.join("datasync.toml"))
        .env("GRAPH_SECRET", SECRET)
        .output();
    let output = output.await.unwrap();
    Ran {
        succeeded: output.status.success(),
        log: String::from_utf8(output.stderr).unwrap(),
    }
}

fn count(folder: &Path, sql: &str) -> i64 {
    let repository = rusqlite::Connection::open(folder.join("repository.db")).unwrap();
    repository.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_synced_in_full_then_exactly_what_changed() {
    let graph = graph();
    let mut tenant = Tenant::new();
    tenant.load(&graph);
    let _server = graph.serve().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    configure(folder, &graph).await;

    let first = sync(folder).await;
    assert!(first.succeeded, "{}", first.log);
    let full = |rows| format!("Truncates: 1, Inserts: {rows}, SnapshotCompletes: 1");
    let expected = BTreeMap::from([
        ("managedDevices".to_owned(), full(DEVICES)),
        ("detectedApps".to_owned(), full(PROGRAMS)),
        ("AppInvRawData".to_owned(), full(DEVICES * INSTALLED)),
        ("users".to_owned(), full(DEVICES)),
        ("userLicenses".to_owned(), full(DEVICES)),
        ("subscribedSkus".to_owned(), full(1)),
        ("mailboxUsage".to_owned(), full(1000)),
    ]);
    assert_eq!(first.sent(), expected, "{}", first.log);
    assert!(!first.log.contains(SECRET));
    let installs = r#"SELECT count(*) FROM "AppInvRawData""#;
    assert_eq!(count(folder, installs), 400_000);
    // What is unknown is null and no number.
    let unknown = r#"SELECT count(*) FROM "managedDevices"
        WHERE "freeStorageSpaceInBytes" IS NULL AND "managementAgent" = 'intuneAosp'"#;
    assert_eq!(count(folder, unknown), 20_000);

    let changed = tenant.edit();
    tenant.load(&graph);
    // The service forgets the walk once, and asks for patience once.
    let devices = "deviceManagement/managedDevices";
    graph.fault(devices, GraphFault::ExpiredPageToken, Times::at(3));
    graph.fault("users", GraphFault::throttled("0.2"), Times::ONCE);
    let second = sync(folder).await;
    assert!(second.succeeded, "{}", second.log);
    for (name, counts) in second.sent() {
        let expected = changed.get(&name).copied();
        assert_eq!(counts, expected.unwrap_or("No events sent"), "{name}");
    }
    assert!(second.log.contains("is read again"), "{}", second.log);
    assert_eq!(count(folder, installs), 399_981);
}
