//! Reading from a Graph that answers as scripted, on a clock that stands still.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{sync::Arc, time::Duration};

use connector_core::{
    Availability, Connector, Error, ErrorKind, Result, Retry, Row, Secret, Type, Value,
};
use connector_graph::{
    Authentication, Call, Cloud, Collection, Each, Export, FILE, Graph, GraphConfig, GraphDataset,
    LIST, OBJECT, Report, Version,
    decode::{Reply, bool, given, int, text, time},
    group,
};
use connector_testkit::{
    graph::{
        Graph as Source, GraphApp, GraphCloud, GraphCollection, GraphExport, GraphFault,
        GraphReport, Times,
    },
    http::Scripted,
    read_by_key,
};
use serde_json::{Value as Json, json};
use tokio::time::Instant;

const SECRET: &str = "s3cret-canary";

const USERS: GraphDataset = GraphDataset {
    category: "Users",
    about: "users",
    permissions: &["User.Read.All"],
    reply: Reply {
        name: "users",
        columns: &[
            text("id", "id").key(),
            text("mail", "mail").null(),
            time("created", "createdDateTime").year_one_is_null(),
            text("print", "print/printerId").null(),
        ],
        ..LIST
    },
    call: Call::Collection(Collection::new("users").top(2)),
    lacks: &[(Cloud::China, "print")],
    group: group::DIRECTORY,
    ..GraphDataset::NEW
}
.checked();

const SETTINGS: GraphDataset = GraphDataset {
    category: "Tenant",
    about: "settings",
    permissions: &["ReportSettings.Read.All"],
    reply: Reply {
        name: "reportSettings",
        columns: &[
            text("id", "id").key(),
            bool("concealed", "displayConcealedNames").null(),
        ],
        ..OBJECT
    },
    call: Call::Single("admin/reportSettings"),
    ..GraphDataset::NEW
}
.checked();

const DETAILS: GraphDataset = GraphDataset {
    category: "Devices",
    about: "details",
    permissions: &["DeviceManagementManagedDevices.Read.All"],
    reply: Reply {
        name: "details",
        columns: &[
            text("id", "id").key(),
            int("memory", "physicalMemoryInBytes").zero_is_null(),
        ],
        ..OBJECT
    },
    call: Call::Each(Each::new(
        Collection::new("deviceManagement/managedDevices").top(2),
        "deviceManagement/managedDevices/{id}",
    )),
    group: group::DEVICES,
    ..GraphDataset::NEW
}
.checked();

const ASSIGNMENTS: GraphDataset = GraphDataset {
    category: "Apps",
    about: "assignments",
    permissions: &["DeviceManagementApps.Read.All"],
    reply: Reply {
        name: "assignments",
        columns: &[
            given("app", Type::Text).key(),
            text("id", "id").key(),
            text("intent", "intent").null(),
        ],
        ..LIST
    },
    call: Call::Each(Each::new(
        Collection::new("deviceAppManagement/mobileApps"),
        "deviceAppManagement/mobileApps/{id}/assignments",
    )),
    ..GraphDataset::NEW
}
.checked();

const INSTALLS: GraphDataset = GraphDataset {
    category: "Software",
    about: "installs",
    permissions: &["DeviceManagementManagedDevices.Read.All"],
    reply: Reply {
        name: "installs",
        columns: &[
            text("app", "ApplicationKey").key(),
            text("device", "DeviceId").key().or("Device ID"),
            text("version", "ApplicationVersion").optional(),
        ],
        ..FILE
    },
    call: Call::Export(Export::new("AppInvRawData")),
    group: group::EXPORTS,
    ..GraphDataset::NEW
}
.checked();

const ACTIVE: GraphDataset = GraphDataset {
    category: "Usage",
    about: "active users",
    permissions: &["Reports.Read.All"],
    reply: Reply {
        name: "active",
        columns: &[
            text("user", "User Principal Name").key(),
            text("products", "Assigned Products").optional(),
        ],
        ..FILE
    },
    call: Call::Report(
        Report::new("getOffice365ActiveUserDetail")
            .period("D180")
            .user("user"),
    ),
    clouds: &[Cloud::Global],
    ..GraphDataset::NEW
}
.checked();

const EXTRAS: GraphDataset = GraphDataset {
    category: "Devices",
    about: "extras",
    permissions: &["DeviceManagementManagedDevices.Read.All"],
    reply: Reply {
        name: "extras",
        columns: &[text("id", "id").key()],
        ..LIST
    },
    call: Call::Collection(Collection::new("deviceManagement/managedDevices")),
    version: Version::Beta,
    ..GraphDataset::NEW
}
.checked();

const ALL: [&GraphDataset; 7] = [
    &USERS,
    &SETTINGS,
    &DETAILS,
    &ASSIGNMENTS,
    &INSTALLS,
    &ACTIVE,
    &EXTRAS,
];

fn config() -> GraphConfig {
    let app = GraphApp::default();
    let auth = Authentication::Secret {
        client_id: app.client_id,
        client_secret: Secret::new(SECRET),
    };
    let mut config = GraphConfig::new(app.tenant, auth);
    config.beta = true;
    config
}

/// A source that has something for each data set.
fn source(cloud: GraphCloud) -> Source {
    let graph = Source::in_cloud(cloud);
    graph.app(GraphApp {
        secret: Some(SECRET.to_owned()),
        roles: vec!["User.Read.All".to_owned()],
        ..GraphApp::default()
    });
    let users = ["id", "mail", "createdDateTime", "print"];
    let known = match cloud {
        GraphCloud::China => &users[..3],
        _ => &users[..],
    };
    graph.collection(GraphCollection::new("users").select_of(known.iter().copied()));
    graph.load("users", (1..=5).map(user));
    graph.single(
        "admin/reportSettings",
        json!({"id": "s", "displayConcealedNames": true}),
    );
    graph.collection(
        GraphCollection::new("deviceManagement/managedDevices")
            .by_id_only(["physicalMemoryInBytes"]),
    );
    graph.load(
        "deviceManagement/managedDevices",
        (1..=5).map(|n| json!({"id": n.to_string(), "physicalMemoryInBytes": n - 1})),
    );
    graph.collection(GraphCollection::new("deviceAppManagement/mobileApps"));
    graph.load(
        "deviceAppManagement/mobileApps",
        ["a", "b"].map(|id| json!({"id": id})),
    );
    for app in ["a", "b"] {
        let path = format!("deviceAppManagement/mobileApps/{app}/assignments");
        graph.collection(GraphCollection::new(&path));
        graph.load(&path, [json!({"id": "1", "intent": "required"})]);
    }
    graph.export(
        GraphExport::new(
            "AppInvRawData",
            ["ApplicationKey", "DeviceId", "ApplicationVersion"],
        )
        .header("DeviceId", "Device ID"),
    );
    graph.load("AppInvRawData", (1..=3).map(install));
    graph.report(GraphReport::new(
        "getOffice365ActiveUserDetail",
        ["User Principal Name", "Assigned Products"],
    ));
    graph.load(
        "getOffice365ActiveUserDetail",
        [json!({"User Principal Name": "ada@acme.example"})],
    );
    graph
}

fn user(n: i64) -> Json {
    json!({"id": n.to_string(), "mail": null, "createdDateTime": "0001-01-01T00:00:00Z"})
}

fn install(n: i64) -> Json {
    json!({"ApplicationKey": "k", "DeviceId": n.to_string(), "ApplicationVersion": "1,0\n\"b\""})
}

fn over(graph: &Source, config: &GraphConfig) -> (Graph, Arc<Scripted>) {
    let transport = graph.transport();
    let client = Arc::clone(&transport) as Arc<_>;
    let made = Graph::over("graph", "graph", config, ALL, client, graph.clock());
    (made.unwrap(), transport)
}

async fn read(graph: &Source, name: &str) -> Result<Vec<Row>> {
    read_by_key(&over(graph, &config()).0, name).await
}

fn keys(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| row.at(0).to_string()).collect()
}

fn queries(transport: &Scripted) -> Vec<String> {
    let requests = transport.requests();
    let targets = requests.iter().map(|request| request.target.clone());
    targets
        .filter(|target| !target.contains("oauth2"))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_collection_is_walked_with_what_is_declared() {
    let graph = source(GraphCloud::Global);
    let (connector, transport) = over(&graph, &config());
    let rows = read_by_key(&connector, "users").await.unwrap();
    assert_eq!(keys(&rows), ["1", "2", "3", "4", "5"]);
    assert_eq!(rows[0].at(2), Value::Null, "the year 1 is no date");
    assert_eq!(
        queries(&transport)[0],
        "https://graph.microsoft.com/v1.0/users?$select=id,mail,createdDateTime,print&$top=2"
    );
}

#[tokio::test(start_paused = true)]
async fn each_cloud_is_asked_at_its_hosts_for_what_it_knows() {
    for (cloud, of) in [
        (Cloud::Global, GraphCloud::Global),
        (Cloud::UsGovernment, GraphCloud::UsGovernment),
        (Cloud::UsGovernmentDod, GraphCloud::UsGovernmentDod),
        (Cloud::China, GraphCloud::China),
    ] {
        let graph = source(of);
        let mut config = config();
        config.cloud = cloud;
        let (connector, transport) = over(&graph, &config);
        let rows = read_by_key(&connector, "users").await.unwrap();
        assert_eq!(rows.len(), 5, "{cloud:?}");
        let start = format!("https://{}/v1.0/users?", cloud.graph_host());
        assert!(
            queries(&transport)
                .iter()
                .all(|query| query.starts_with(&start))
        );
        // What is not offered there is no failure.
        let read = read_by_key(&connector, "active").await;
        match cloud {
            Cloud::Global => assert_eq!(read.unwrap().len(), 1),
            _ => assert_eq!(read.unwrap_err().kind(), ErrorKind::NotCollected),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pages_that_are_empty_or_begin_again_change_nothing() {
    let graph = source(GraphCloud::Global);
    graph.fault("users", GraphFault::EmptyPage, Times::at(2));
    assert_eq!(read(&graph, "users").await.unwrap().len(), 5);
    graph.heal("users");
    graph.fault("users", GraphFault::Repeated, Times::at(2));
    let rows = read(&graph, "users").await.unwrap();
    // A cycle keeps one of them.
    assert_eq!(keys(&rows), ["1", "2", "2", "3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn a_walk_that_is_forgotten_starts_again_from_nothing() {
    let graph = source(GraphCloud::Global);
    graph.fault("users", GraphFault::ExpiredPageToken, Times::at(3));
    let error = read(&graph, "users").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Incomplete, Retry::Restart)
    );
    assert!(error.to_string().contains("data set: users"), "{error}");
    // The first page has no token to expire.
    graph.heal("users");
    let expired = r#"{"error":{"code":"Directory_ExpiredPageToken","message":""}}"#;
    let expired = GraphFault::Reply(400, expired.to_owned());
    graph.fault("users", expired, Times::ONCE);
    let error = read(&graph, "users").await.unwrap_err();
    assert_eq!(error.retry(), Retry::Never, "{error:#}");
}

#[tokio::test(start_paused = true)]
async fn links_are_not_followed_anywhere() {
    let graph = source(GraphCloud::Global);
    let elsewhere = GraphFault::ForeignLink("https://graph.example".to_owned());
    graph.fault("users", elsewhere, Times::ONCE);
    let error = read(&graph, "users").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Source, "{error:#}");
    graph.heal("users");
    graph.fault("users", GraphFault::EndlessLink, Times::ALWAYS);
    let error = read(&graph, "users").await.unwrap_err();
    assert!(error.message().contains("read before"), "{error:#}");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ends_in_the_middle_is_replaced() {
    let graph = source(GraphCloud::Global);
    graph.fault("users", GraphFault::TokenExpired, Times::at(2));
    assert_eq!(read(&graph, "users").await.unwrap().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn objects_are_read_as_they_are_and_as_samples_have_them() {
    let graph = source(GraphCloud::Global);
    for wrapped in [false, true] {
        if wrapped {
            graph.fault("admin/reportSettings", GraphFault::Wrapped, Times::ALWAYS);
        }
        let rows = read(&graph, "reportSettings").await.unwrap();
        assert_eq!(rows[0].at(1), Value::Bool(true));
    }
}

#[tokio::test(start_paused = true)]
async fn details_take_a_call_each_and_leave_out_what_is_gone() {
    let place = "deviceManagement/managedDevices";
    let graph = source(GraphCloud::Global);
    let (connector, transport) = over(&graph, &config());
    let rows = read_by_key(&connector, "details").await.unwrap();
    let memory: Vec<_> = rows.iter().map(|row| row.at(1).into_owned()).collect();
    assert_eq!(memory[0], Value::Null, "0 is not known");
    assert_eq!(memory[1..], [1, 2, 3, 4].map(Value::Int));
    let asked = queries(&transport);
    // Three pages of ids, and five devices.
    assert_eq!(asked.len(), 8, "{asked:#?}");
    assert!(asked[0].ends_with("managedDevices?$select=id&$top=2"));

    graph.fault(place, GraphFault::Missing, Times::at(5));
    assert_eq!(read(&graph, "details").await.unwrap().len(), 4);
    // All of them gone is a wrong path, and not an inventory of nothing.
    graph.heal(place);
    graph.fault(place, GraphFault::Missing, Times::from(4));
    let error = read(&graph, "details").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_collection_of_each_object_is_read_under_its_id() {
    let graph = source(GraphCloud::Global);
    let rows = read(&graph, "assignments").await.unwrap();
    let pairs: Vec<_> = rows.iter().map(|row| row.at(0).to_string()).collect();
    assert_eq!(pairs, ["a", "b"]);
    assert_eq!(rows[0].at(2), Value::Text("required".into()));
}

#[tokio::test(start_paused = true)]
async fn an_export_is_submitted_awaited_and_read() {
    let graph = source(GraphCloud::Global);
    let (connector, transport) = over(&graph, &config());
    let rows = read_by_key(&connector, "installs").await.unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0].at(1), Value::Text("1".into()), "the other header");
    assert_eq!(rows[0].at(2), Value::Text("1,0\n\"b\"".into()));
    let requests = transport.requests();
    let posted = requests.iter().find(|r| r.target.ends_with("exportJobs"));
    let body: Json = serde_json::from_slice(&posted.unwrap().body).unwrap();
    assert_eq!(
        body["select"],
        json!(["ApplicationKey", "DeviceId", "ApplicationVersion"])
    );
    // The storage got no credential: it would have refused it.
    let file = requests.last().unwrap();
    assert!(file.header("authorization").is_none());
}

#[tokio::test(start_paused = true)]
async fn an_export_that_is_lost_is_submitted_again() {
    for (place, fault) in [
        ("AppInvRawData", GraphFault::FailedJob),
        ("AppInvRawData", GraphFault::StuckJob),
    ] {
        let graph = source(GraphCloud::Global);
        graph.fault(place, fault.clone(), Times::ONCE);
        assert_eq!(
            read(&graph, "installs").await.unwrap().len(),
            3,
            "{fault:?}"
        );
        // Not for ever.
        let graph = source(GraphCloud::Global);
        graph.fault(place, fault.clone(), Times::ALWAYS);
        let start = Instant::now();
        let error = read(&graph, "installs").await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Unavailable, Retry::Exhausted),
            "{error:#}"
        );
        assert!(start.elapsed() < Duration::from_hours(2), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_expired_is_asked_for_again() {
    let graph = source(GraphCloud::Global);
    graph.fault("AppInvRawData/file", GraphFault::ExpiredFile, Times::ONCE);
    assert_eq!(read(&graph, "installs").await.unwrap().len(), 3);
    // Another job, if that does not help.
    graph.heal("AppInvRawData");
    graph.fault(
        "AppInvRawData/file",
        GraphFault::ExpiredFile,
        Times::first(2),
    );
    assert_eq!(read(&graph, "installs").await.unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_cut_is_read_again_from_its_start() {
    let graph = source(GraphCloud::Global);
    graph.fault("AppInvRawData/file", GraphFault::Cut, Times::ONCE);
    let error = read(&graph, "installs").await.unwrap_err();
    assert_eq!(error.retry(), Retry::Restart, "{error:#}");
}

#[tokio::test(start_paused = true)]
async fn exports_wait_where_the_service_asks_for_patience() {
    for fault in [GraphFault::throttled("2.128"), GraphFault::Throttled(None)] {
        let graph = source(GraphCloud::Global);
        graph.fault("AppInvRawData", fault, Times::first(3));
        assert_eq!(read(&graph, "installs").await.unwrap().len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_comes_by_a_redirect_or_at_once() {
    let graph = source(GraphCloud::Global);
    let (connector, transport) = over(&graph, &config());
    assert_eq!(read_by_key(&connector, "active").await.unwrap().len(), 1);
    let asked = queries(&transport);
    assert!(
        asked[0].ends_with("/v1.0/reports/getOffice365ActiveUserDetail(period='D180')"),
        "{asked:?}"
    );
    let file = transport.requests().pop().unwrap();
    assert!(file.header("authorization").is_none());
    let place = "getOffice365ActiveUserDetail";
    graph.fault(place, GraphFault::Direct, Times::ALWAYS);
    assert_eq!(read(&graph, "active").await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_permission_that_is_missing_is_named() {
    let graph = source(GraphCloud::Global);
    graph.fault("AppInvRawData", GraphFault::Denied, Times::ALWAYS);
    let error = read(&graph, "installs").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission);
    let text = format!("{error:#}");
    assert!(
        text.contains("the application permission DeviceManagementManagedDevices.Read.All")
            && text.contains("login.microsoftonline.com/acme.example/adminconsent")
            && text.contains("request-id"),
        "{text}"
    );
    // One that is there is not the reason.
    graph.fault("users", GraphFault::Denied, Times::ALWAYS);
    let text = format!("{:#}", read(&graph, "users").await.unwrap_err());
    assert!(text.contains("a licence is missing"), "{text}");
    assert!(!text.contains(SECRET), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_column_that_is_unknown_can_be_left_out() {
    let graph = source(GraphCloud::Global);
    graph.collection(GraphCollection::new("users").select_of(["id", "mail", "createdDateTime"]));
    graph.load("users", (1..=3).map(user));
    let error = read(&graph, "users").await.unwrap_err();
    assert!(error.message().contains("`override.users`"), "{error:#}");
    let mut config = config();
    let own = toml::from_str("users = { without = ['Print'] }").unwrap();
    config.overrides = own;
    let (connector, _) = over(&graph, &config);
    let rows = read_by_key(&connector, "users").await.unwrap();
    assert_eq!(rows[0].at(3), Value::Null);
}

fn refused(set: impl FnOnce(&mut GraphConfig)) -> Error {
    let mut config = config();
    set(&mut config);
    Graph::new("graph", "graph", &config, ALL).unwrap_err()
}

#[test]
fn wrong_names_are_refused_with_those_there_are() {
    let over = |text: &str| toml::from_str(text).unwrap();
    for (error, part) in [
        (
            refused(|c| c.skip = vec!["x".into()]),
            "`skip` names the data set x",
        ),
        (
            refused(|c| c.categories = vec!["x".into()]),
            "there are: Apps, Devices, Software, Tenant, Usage, Users",
        ),
        (
            refused(|c| c.overrides = over("x = {}")),
            "`override` names",
        ),
        (
            refused(|c| c.overrides = over("users = { without = ['id'] }")),
            "the column id, which is needed",
        ),
        (
            refused(|c| c.overrides = over("users = { period = 'D7' }")),
            "`period` is for usage reports",
        ),
        (
            refused(|c| c.overrides = over("active = { filter = 'a' }")),
            "`filter` is for collections",
        ),
    ] {
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(part), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn check_tells_what_can_be_read_and_by_whom() {
    let graph = source(GraphCloud::Global);
    graph.fault("AppInvRawData", GraphFault::Denied, Times::ALWAYS);
    graph.collection(GraphCollection::new("users").select_of(["id"]));
    let mut config = config();
    config.beta = false;
    let (connector, _) = over(&graph, &config);
    let report = connector.check().await.unwrap();
    assert_eq!(report.fact("graph"), Some("graph.microsoft.com"));
    assert_eq!(report.fact("permissions"), Some("User.Read.All"));
    let names = report.fact("names in reports").unwrap();
    assert!(names.contains("concealed"), "{names}");
    for (name, text) in [
        ("users", "failed: Microsoft Graph refuses the query"),
        ("reportSettings", "available"),
        ("details", "available"),
        ("assignments", "available"),
        ("installs", "missing permission: the app lacks a permission"),
        ("active", "available"),
        (
            "extras",
            "not collected: it is in Graph's version beta only",
        ),
    ] {
        let availability = report.availability(name).unwrap().to_string();
        assert!(availability.starts_with(text), "{name}: {availability}");
    }
    let missing = report.availability("installs").unwrap();
    assert!(matches!(missing, Availability::MissingPermission { .. }));
}

#[tokio::test(start_paused = true)]
async fn check_fails_where_signing_in_does() {
    let graph = source(GraphCloud::Global);
    graph.app(GraphApp {
        secret: Some("another".to_owned()),
        ..GraphApp::default()
    });
    let (connector, _) = over(&graph, &config());
    let error = connector.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(!format!("{error:#?}").contains(SECRET));
}
