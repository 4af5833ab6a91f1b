//! What the data sets make of what the service does, on a clock that stands still.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod lab;

use std::{sync::Arc, time::Duration};

use connector_core::{
    Availability, Connector, Cycle, DatasetExt, ErrorKind, NamedSink, Outcome, Result, Row, Secret,
    Store, Value, memory::MemorySink,
};
use connector_graph::{Cloud, GraphDataset};
use connector_office365::{DATASETS, Office365Config};
use connector_testkit::{
    ManualClock, MemoryStorage,
    graph::{Graph, GraphCloud, GraphFault, Times},
    read_by_key,
};
use serde_json::{Value as Json, json};

use crate::lab::{Lab, declared, is_report};

fn lab() -> Lab {
    with(Graph::new(), |_| {})
}

fn with(graph: Graph, set: impl FnOnce(&mut Office365Config)) -> Lab {
    let transport = graph.transport();
    Lab::start(graph, transport, &Secret::new("s3cret"), set)
}

/// Settings for this data set alone.
fn only(name: &'static str) -> impl FnOnce(&mut Office365Config) {
    move |config| {
        let others = DATASETS.iter().map(GraphDataset::name);
        let others = others.filter(|other| *other != name);
        config.skip = others.map(str::to_owned).collect();
    }
}

/// The values of some columns of each row.
fn values(rows: &[Row], columns: &[&str]) -> Vec<Vec<String>> {
    let of_row = |row: &Row| {
        let value = |name: &&str| row.value(name).unwrap().to_string();
        columns.iter().map(value).collect()
    };
    rows.iter().map(of_row).collect()
}

async fn store() -> Store {
    let clock = Arc::new(ManualClock::default());
    let store = Store::open(Arc::new(MemoryStorage::default()), clock);
    store.await.unwrap()
}

/// Runs a cycle of one data set; returns how many rows were sent.
async fn synced(cycle: &Cycle, lab: &Lab, name: &str) -> Result<u64> {
    let datasets = lab.connector.datasets().await?;
    let dataset = datasets.iter().find(|dataset| dataset.name() == name);
    let report = cycle.run_dataset("m365", &**dataset.unwrap()).await;
    match report.outcome {
        Outcome::Synced(counts) => Ok(counts.inserts + counts.updates + counts.deletes),
        Outcome::Failed(error) => Err(error),
        other => panic!("{other:?}"),
    }
}

fn user(n: usize) -> Json {
    json!({"id": format!("{n:04}"), "userPrincipalName": format!("u{n}@acme.example")})
}

#[tokio::test(start_paused = true)]
async fn a_license_by_a_group_and_directly_is_two_assignments() {
    let lab = lab();
    let sku = "6fd2c87f-b296-42f0-b197-1e91e994b900";
    lab.graph.load(
        "users",
        [json!({
            "id": "u",
            "assignedLicenses": [{"skuId": sku, "disabledPlans": []}],
            "licenseAssignmentStates": [
                {"skuId": sku, "assignedByGroup": null, "state": "Active", "error": "None"},
                {"skuId": sku, "assignedByGroup": "g", "state": "Error", "error": "CountViolation"},
            ],
            "assignedPlans": [
                {"servicePlanId": sku, "capabilityStatus": "Deleted", "service": "exchange"},
                {"servicePlanId": sku, "capabilityStatus": "Enabled", "service": "exchange"},
            ],
        })],
    );
    let assignments = read_by_key(&*lab.connector, "licenseAssignments").await;
    assert_eq!(
        values(&assignments.unwrap(), &["assignedByGroup", "error"]),
        [["", "None"], ["g", "CountViolation"]]
    );
    let licenses = read_by_key(&*lab.connector, "userLicenses").await.unwrap();
    assert_eq!(values(&licenses, &["userId", "skuId"]), [["u", sku]]);
    let plans = read_by_key(&*lab.connector, "userPlans").await.unwrap();
    assert_eq!(
        values(&plans, &["capabilityStatus"]),
        [["Deleted"], ["Enabled"]]
    );
}

#[tokio::test(start_paused = true)]
async fn sign_ins_are_a_slow_pass_of_their_own() {
    let graph = Graph::new();
    let script = graph.transport();
    let lab = Lab::start(graph, script.clone(), &Secret::new("s3cret"), |_| {});
    let users = (0..70).map(|n| {
        let mut user = user(n);
        if n > 0 {
            user["signInActivity"] = json!({
                "lastSignInDateTime": "2026-11-20T08:00:00Z",
                "lastNonInteractiveSignInDateTime": "0001-01-01T00:00:00Z",
            });
        }
        user
    });
    lab.graph.load("users", users);
    let rows = read_by_key(&*lab.connector, "signInActivity").await;
    let rows = rows.unwrap();
    assert_eq!(rows.len(), 70);
    let times = ["lastSignInDateTime", "lastNonInteractiveSignInDateTime"];
    assert!(rows[0].value(times[0]).unwrap().is_null(), "never");
    assert!(!rows[1].value(times[0]).unwrap().is_null());
    assert!(rows[1].value(times[1]).unwrap().is_null(), "year one");
    // Five requests in ten seconds: of ten pages, the last comes after five waits of two seconds.
    let pages = script.requests();
    let pages = pages.iter().filter(|asked| asked.target.contains("/users"));
    assert_eq!(pages.count(), 10);
    let last = script.times().last().copied().unwrap();
    assert!(last >= Duration::from_secs(10), "{last:?}");
    let asked = script.requests();
    let first = asked.iter().find(|asked| asked.target.contains("/users"));
    assert!(first.unwrap().query().contains("$top=120"));
}

#[tokio::test(start_paused = true)]
async fn a_report_that_is_only_newer_is_no_change() {
    let lab = with(Graph::new(), only("mailboxUsage"));
    let mailbox = |refreshed: &str, items: u64| {
        json!({
            "Report Refresh Date": refreshed, "User Principal Name": "a@acme.example",
            "Is Deleted": "False", "Item Count": items, "Report Period": 180,
        })
    };
    let store = store().await;
    let cycles = Cycle::new(&store).sink(NamedSink::new("copy", MemorySink::default()));
    lab.graph
        .load("getMailboxUsageDetail", [mailbox("2026-11-18", 5)]);
    assert_eq!(synced(&cycles, &lab, "mailboxUsage").await.unwrap(), 1);
    lab.graph
        .load("getMailboxUsageDetail", [mailbox("2026-11-19", 5)]);
    assert_eq!(synced(&cycles, &lab, "mailboxUsage").await.unwrap(), 0);
    lab.graph
        .load("getMailboxUsageDetail", [mailbox("2026-11-20", 6)]);
    assert_eq!(synced(&cycles, &lab, "mailboxUsage").await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_user_who_was_made_again_is_listed_twice() {
    let lab = lab();
    let row = |deleted: &str| {
        json!({
            "User Principal Name": "a@acme.example", "Is Deleted": deleted,
            "Exchange Last Activity Date": "2026-11-01", "Has Teams License": "True",
            "Assigned Products": "OFFICE 365 E3+POWER BI",
        })
    };
    lab.graph.load(
        "getOffice365ActiveUserDetail",
        [row("False"), row("True"), row("True")],
    );
    let store = store().await;
    let cycles = Cycle::new(&store).sink(NamedSink::new("copy", MemorySink::default()));
    assert_eq!(synced(&cycles, &lab, "activeUsers").await.unwrap(), 2);
    let rows = read_by_key(&*lab.connector, "activeUsers").await.unwrap();
    assert_eq!(
        values(
            &rows[..1],
            &["isDeleted", "hasTeamsLicense", "assignedProducts"]
        ),
        [["false", "true", "OFFICE 365 E3+POWER BI"]]
    );
}

#[tokio::test(start_paused = true)]
async fn concealed_names_are_kept_as_they_come_and_said() {
    let lab = with(Graph::new(), only("activeUsers"));
    let row = json!({"User Principal Name": "(Unknown)", "Is Deleted": "False"});
    lab.graph.load("getOffice365ActiveUserDetail", [row]);
    lab.graph.single(
        "admin/reportSettings",
        json!({"id": "", "displayConcealedNames": true}),
    );
    let rows = read_by_key(&*lab.connector, "activeUsers").await.unwrap();
    assert_eq!(values(&rows, &["userPrincipalName"]), [["(Unknown)"]]);
    let fact = |name: &'static str| {
        let connector = lab.connector.clone();
        async move {
            let facts = connector.check().await.unwrap().facts;
            facts.into_iter().find(|(fact, _)| fact == name).unwrap().1
        }
    };
    let said = fact("names in reports").await;
    assert!(said.contains("concealed"), "{said}");
    // A right that is missing there is no failure.
    lab.graph
        .fault("admin/reportSettings", GraphFault::Denied, Times::ALWAYS);
    let said = fact("names in reports").await;
    assert!(said.contains("ReportSettings.Read.All"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_site_is_known_by_its_id_and_by_its_address_before() {
    let lab = lab();
    lab.graph.load(
        "getOneDriveUsageAccountDetail",
        [json!({"Site Id": "s", "Owner Principal Name": "a@acme.example", "File Count": 3})],
    );
    let rows = read_by_key(&*lab.connector, "oneDriveUsage").await.unwrap();
    assert_eq!(
        values(&rows, &["siteId", "fileCount", "siteUrl"]),
        [["s", "3", ""]]
    );
}

#[tokio::test(start_paused = true)]
async fn clouds_without_reports_have_everything_else() {
    for (cloud, told) in [
        (GraphCloud::UsGovernment, Cloud::UsGovernment),
        (GraphCloud::UsGovernmentDod, Cloud::UsGovernmentDod),
        (GraphCloud::China, Cloud::China),
    ] {
        let lab = with(Graph::in_cloud(cloud), |config| config.cloud = told);
        lab.graph.load("users", [user(1)]);
        let report = lab.connector.check().await.unwrap();
        assert_eq!(report.datasets.len(), DATASETS.len());
        for dataset in report.datasets {
            let is_absent = matches!(dataset.availability, Availability::NotCollected { .. });
            assert_eq!(
                is_absent,
                is_report(declared(&dataset.name)),
                "{told:?}: {}: {}",
                dataset.name,
                dataset.availability
            );
        }
        let usage = read_by_key(&*lab.connector, "activeUsers").await;
        assert_eq!(usage.unwrap_err().kind(), ErrorKind::NotCollected);
        assert_eq!(
            read_by_key(&*lab.connector, "users").await.unwrap().len(),
            1
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_walk_is_read_again_and_deletes_nothing() {
    let lab = with(Graph::new(), only("users"));
    let store = store().await;
    let cycles = Cycle::new(&store).sink(NamedSink::new("copy", MemorySink::default()));
    lab.graph.load("users", (0..30).map(user));
    assert_eq!(synced(&cycles, &lab, "users").await.unwrap(), 30);
    lab.graph
        .fault("users", GraphFault::ExpiredPageToken, Times::at(3));
    assert_eq!(
        synced(&cycles, &lab, "users").await.unwrap(),
        0,
        "read again at once"
    );
    lab.graph.heal("users");
    lab.graph
        .fault("users", GraphFault::ExpiredPageToken, Times::from(3));
    // Beyond the attempts, the data set fails, and its rows stay.
    let error = synced(&cycles, &lab, "users").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete);
    lab.graph.heal("users");
    assert_eq!(synced(&cycles, &lab, "users").await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn all_that_can_go_wrong_on_the_way_ends_in_the_same_rows() {
    for fault in [
        GraphFault::EmptyPage,
        GraphFault::Repeated,
        GraphFault::throttled("7"),
        GraphFault::throttled("0.249"),
        GraphFault::Throttled(None),
        GraphFault::Html(503),
        GraphFault::Nested(504),
        GraphFault::Cut,
        GraphFault::TokenExpired,
    ] {
        let lab = lab();
        lab.graph.load("users", (0..30).map(user));
        lab.graph.fault("users", fault.clone(), Times::at(3));
        let rows = read_by_key(&*lab.connector, "users").await.unwrap();
        let mut ids: Vec<_> = values(&rows, &["id"]).concat();
        ids.dedup();
        let all: Vec<_> = (0..30).map(|n| format!("{n:04}")).collect();
        assert_eq!(ids, all, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_said_and_never_deletes() {
    for (fault, kind) in [
        (GraphFault::EndlessLink, ErrorKind::Source),
        (
            GraphFault::ForeignLink("https://graph.example".to_owned()),
            ErrorKind::Source,
        ),
        (GraphFault::Denied, ErrorKind::Permission),
        (GraphFault::Missing, ErrorKind::NotFound),
    ] {
        let lab = lab();
        lab.graph.load("users", (0..30).map(user));
        lab.graph.fault("users", fault.clone(), Times::from(2));
        let error = read_by_key(&*lab.connector, "users").await.unwrap_err();
        assert_eq!(error.kind(), kind, "{fault:?}: {error:#}");
        assert!(format!("{error:#}").contains("users"), "{error:#}");
    }
    let lab = lab();
    lab.graph
        .fault("token", GraphFault::throttled("1"), Times::ONCE);
    lab.graph.load("users", [user(1)]);
    assert_eq!(
        read_by_key(&*lab.connector, "users").await.unwrap().len(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_file_that_has_expired_or_is_cut_is_an_error_and_no_row_less() {
    let lab = lab();
    let row = json!({"User Principal Name": "a", "Product Type": "P", "Windows": 2});
    let place = "getOffice365ActivationsUserDetail";
    lab.graph.load(place, [row]);
    for fault in [GraphFault::ExpiredFile, GraphFault::Cut] {
        let file = format!("{place}/file");
        lab.graph.fault(&file, fault.clone(), Times::ALWAYS);
        let read = read_by_key(&*lab.connector, "activations").await;
        assert!(read.is_err(), "{fault:?}");
        lab.graph.heal(place);
    }
    let rows = read_by_key(&*lab.connector, "activations").await.unwrap();
    assert_eq!(values(&rows, &["windows", "mac"]), [["2", ""]]);
    assert_eq!(rows[0].value("windows").unwrap(), Value::Int(2));
}
