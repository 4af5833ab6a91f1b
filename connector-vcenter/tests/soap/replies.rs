//! What the connector makes of each kind of answer.

use std::{sync::Arc, time::Duration};

use connector_core::{
    Availability, Connector, Dataset, DatasetExt, Error, ErrorKind, Retry, Row, Secret, Value,
};
use connector_testkit::{http::HttpReply, read_by_key};
use connector_vcenter::{Vcenter, VcenterConfig};

use super::{Fake, INSTANCE, Object, USER, fault, reply};

const PASSWORD: &str = "p<w&d \"1\"";

fn config() -> VcenterConfig {
    let url = "https://vcenter.test".parse().unwrap();
    let mut config = VcenterConfig::new(url, USER, Secret::new(PASSWORD));
    config.http.retry.attempts = 2;
    config
}

fn connect(fake: &Fake, config: &VcenterConfig) -> Vcenter {
    Vcenter::over("vc", config, fake.transport()).unwrap()
}

fn machines(count: usize) -> impl Iterator<Item = Object> {
    (0..count).map(|n| Object::new(&format!("vm-{n}")).with("name", &format!("app{n}")))
}

async fn read(vcenter: &Vcenter, name: &str) -> Result<Vec<Row>, Error> {
    read_by_key(vcenter, name).await
}

/// The texts of columns; null as such.
fn texts(rows: &[Row], columns: &[&str]) -> Vec<Vec<String>> {
    let shown = |value: Value<'_>| match value {
        Value::Null => "null".to_owned(),
        other => other.to_string(),
    };
    let of = |row: &Row| {
        let values = columns.iter().map(|column| row.value(column).unwrap());
        values.map(shown).collect()
    };
    rows.iter().map(of).collect()
}

fn count(fake: &Fake, method: &str) -> usize {
    fake.state()
        .calls
        .iter()
        .filter(|call| *call == method)
        .count()
}

#[tokio::test]
async fn chunks_are_put_together_and_everything_is_closed() {
    for (objects, chunks) in [(0, 1), (1, 1), (2, 1), (3, 2), (6, 3)] {
        let fake = Fake::new(PASSWORD);
        fake.load("VirtualMachine", machines(objects));
        let mut config = config();
        config.page = 2;
        let vcenter = connect(&fake, &config);
        let rows = read(&vcenter, "virtual_machines").await.unwrap();
        assert_eq!(rows.len(), objects);
        for row in &rows {
            assert_eq!(row.at(0), Value::Uuid(INSTANCE.parse().unwrap()));
        }
        assert_eq!(count(&fake, "ContinueRetrievePropertiesEx"), chunks - 1);
        assert!(fake.state().views.is_empty() && fake.state().tokens.is_empty());
        assert_eq!(fake.state().sessions.len(), 1);
        let calls = fake.state().calls.len();
        drop(vcenter);
        while !fake.state().sessions.is_empty() {
            tokio::task::yield_now().await;
        }
        // In one call: a program that ends leaves no time for more.
        assert_eq!(fake.state().calls[calls..], ["Logout"]);
    }
}

#[tokio::test]
async fn a_read_that_ends_early_closes_what_it_opened() {
    let fake = Fake::new(PASSWORD);
    fake.load("VirtualMachine", machines(9));
    let mut config = config();
    config.page = 2;
    let vcenter = connect(&fake, &config);
    // A check reads one object.
    vcenter.check().await.unwrap();
    assert!(fake.state().views.is_empty() && fake.state().tokens.is_empty());
    assert!(count(&fake, "CancelRetrievePropertiesEx") > 0);

    fake.instead(|method, _| method.starts_with("Continue").then(HttpReply::never));
    let datasets = vcenter.datasets().await.unwrap();
    let read = tokio::time::timeout(Duration::from_millis(50), datasets[0].collect());
    assert!(read.await.is_err());
    while !fake.state().views.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_session_that_ended_is_opened_again() {
    let fake = Fake::new(PASSWORD);
    fake.load("VirtualMachine", machines(5));
    let mut config = config();
    config.page = 2;
    let vcenter = connect(&fake, &config);
    for logins in 1..3 {
        assert_eq!(read(&vcenter, "virtual_machines").await.unwrap().len(), 5);
        assert_eq!(count(&fake, "Login"), logins);
        fake.state().sessions.clear();
    }
    // With a session go its views and tokens, so the read starts again.
    let mut ended = false;
    fake.instead(move |method, state| {
        if method.starts_with("Continue") && !ended {
            ended = true;
            state.sessions.clear();
            state.views.clear();
            state.tokens.clear();
        }
        None
    });
    let error = read(&vcenter, "virtual_machines").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Incomplete, Retry::Restart)
    );
    assert_eq!(read(&vcenter, "virtual_machines").await.unwrap().len(), 5);
}

#[tokio::test]
async fn managers_are_asked_within_a_session() {
    let fake = Fake::new(PASSWORD);
    let field = "<CustomFieldDef><key>1</key><name>owner</name></CustomFieldDef>";
    let field = format!(
        "<propSet><name>field</name><val xsi:type=\"ArrayOfCustomFieldDef\">{field}</val></propSet>"
    );
    let manager = Object::new("CustomFieldsManager").xml(&field);
    fake.load("CustomFieldsManager", [manager]);
    let vcenter = connect(&fake, &config());
    for logins in 1..3 {
        assert_eq!(read(&vcenter, "custom_fields").await.unwrap().len(), 1);
        assert_eq!(count(&fake, "Login"), logins);
        fake.state().sessions.clear();
    }
}

#[tokio::test]
async fn a_check_says_what_it_saw_nothing_of() {
    let fake = Fake::new(PASSWORD);
    fake.load("VirtualMachine", machines(1));
    let report = connect(&fake, &config()).check().await.unwrap();
    let nothing = report.fact("nothing seen in").unwrap();
    assert!(nothing.contains("hosts, "), "{nothing}");
    assert!(!nothing.contains("virtual_machines"), "{nothing}");
}

#[tokio::test]
async fn a_wrong_password_is_tried_once() {
    let fake = Fake::new("another");
    let vcenter = connect(&fake, &config());
    for _ in 0..3 {
        let error = read(&vcenter, "virtual_machines").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth);
        assert!(!format!("{error:#}").contains("p<w"), "{error:#}");
        assert_eq!(vcenter.check().await.unwrap_err().kind(), ErrorKind::Auth);
    }
    assert_eq!(count(&fake, "Login"), 1);
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let fake = Fake::new(PASSWORD);
    let vcenter = connect(&fake, &config());
    fake.instead(|method, _| {
        let detail = "<object type=\"Folder\">group-d1</object>\
                      <privilegeId>System.View</privilegeId>";
        (method == "CreateContainerView").then(|| fault("NoPermission", detail))
    });
    let error = read(&vcenter, "hosts").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission);
    let text = format!("{error:#}");
    assert!(
        text.contains("System.View is missing on a Folder"),
        "{text}"
    );
    let report = vcenter.check().await.unwrap();
    assert!(matches!(
        report.availability("hosts"),
        Some(Availability::MissingPermission { reason }) if reason.contains("System.View")
    ));
    assert_eq!(report.fact("version of the API"), Some("8.0.3.0"));
}

#[tokio::test]
async fn what_is_missing_is_told_from_what_has_no_value() {
    let fake = Fake::new(PASSWORD);
    let vcenter = connect(&fake, &config());
    fake.load(
        "VirtualMachine",
        [
            // Not accessible: it has no `config` at all.
            Object::new("vm-1").with("name", "a"),
            // Destroyed while it was read.
            Object::new("vm-2").misses("name", "ManagedObjectNotFound"),
            // The server is older than the property.
            Object::new("vm-3").misses("config.createDate", "InvalidProperty"),
        ],
    );
    let rows = read(&vcenter, "virtual_machines").await.unwrap();
    assert_eq!(
        texts(&rows, &["vm", "name", "annotation", "created_at"]),
        [
            ["vm-1", "a", "null", "null"],
            ["vm-3", "null", "null", "null"]
        ]
    );
    for (fault, path, kind, says) in [
        (
            "NoPermission",
            "config.annotation",
            ErrorKind::Permission,
            "System.Read",
        ),
        (
            "InvalidProperty",
            "config.annotation",
            ErrorKind::Source,
            "api_version",
        ),
        (
            "HostCommunication",
            "guest.hostName",
            ErrorKind::Source,
            "HostCommunication",
        ),
    ] {
        fake.load("VirtualMachine", [Object::new("vm-1").misses(path, fault)]);
        let error = read(&vcenter, "virtual_machines").await.unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), kind, "{text}");
        assert!(text.contains(path) && text.contains(says), "{text}");
        assert!(text.contains("data set: virtual_machines"), "{text}");
    }
    let host = Object::new("host-1").misses("summary.managementServerIp", "NoPermission");
    fake.load("HostSystem", [host]);
    let rows = read(&vcenter, "hosts").await.unwrap();
    assert_eq!(texts(&rows, &["management_server_ip"]), [["null"]]);
}

#[tokio::test]
async fn what_is_cut_or_passes_is_asked_for_again_where_that_helps() {
    let fake = Fake::new(PASSWORD);
    fake.load("VirtualMachine", machines(5));
    let mut config = config();
    config.page = 2;
    config.http.retry.pause = Duration::from_millis(1);
    let vcenter = connect(&fake, &config);
    for spoil in ["cut", "busy"] {
        let mut first = true;
        fake.instead(move |method, _| {
            let spoilt = method.starts_with("Retrieve") && std::mem::take(&mut first);
            spoilt.then(|| match spoil {
                "cut" => HttpReply::status(200).chunk("<soapenv:Envelope").cut(),
                _ => fault("HostCommunication", ""),
            })
        });
        assert_eq!(read(&vcenter, "virtual_machines").await.unwrap().len(), 5);
    }
    // A token is good for one reply.
    fake.instead(|method, _| {
        let cut = || HttpReply::status(200).chunk("<soapenv:Envelope").cut();
        method.starts_with("Continue").then(cut)
    });
    let before = count(&fake, "ContinueRetrievePropertiesEx");
    let error = read(&vcenter, "virtual_machines").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Incomplete, Retry::Restart)
    );
    assert_eq!(count(&fake, "ContinueRetrievePropertiesEx"), before + 1);
}

#[tokio::test]
async fn whole_replies_of_something_else_are_errors() {
    let fake = Fake::new(PASSWORD);
    let vcenter = connect(&fake, &config());
    for (body, kind) in [
        (
            "<html><body>Please sign in</body></html>",
            ErrorKind::Source,
        ),
        (
            "<a:Envelope xmlns:a='x'><a:Body><r/>",
            ErrorKind::Incomplete,
        ),
        ("", ErrorKind::Source),
    ] {
        fake.instead(move |method, _| {
            let page = || HttpReply::status(200).chunk(body);
            (method == "RetrievePropertiesEx").then(page)
        });
        let error = read(&vcenter, "virtual_machines").await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:#}");
    }
    fake.instead(|method, _| {
        let more = "<returnval><token>1</token></returnval>";
        (method == "RetrievePropertiesEx").then(|| reply(method, more))
    });
    let error = read(&vcenter, "virtual_machines").await.unwrap_err();
    assert!(error.message().contains("sends nothing"), "{error}");
}

#[tokio::test]
async fn lists_become_rows() {
    let fake = Fake::new(PASSWORD);
    let vcenter = connect(&fake, &config());
    let list = |path: &str, items: &str| {
        format!("<propSet><name>{path}</name><val xsi:type=\"ArrayOf\">{items}</val></propSet>")
    };
    let tag = "<HostSystemIdentificationInfo><identifierValue>7XK4</identifierValue>\
               <identifierType><label>Service tag</label><key>ServiceTag</key></identifierType>\
               </HostSystemIdentificationInfo>";
    let vms = "<ManagedObjectReference type=\"VirtualMachine\">vm-1</ManagedObjectReference>\
               <ManagedObjectReference type=\"VirtualMachine\">vm-2</ManagedObjectReference>";
    let host = Object::new("host-1")
        .refers("parent", "ClusterComputeResource", "domain-c1")
        .xml(&list("hardware.systemInfo.otherIdentifyingInfo", tag))
        .xml(&list("vm", vms));
    fake.load("HostSystem", [host, Object::new("host-2")]);
    let rows = read(&vcenter, "host_identifiers").await.unwrap();
    assert_eq!(
        texts(&rows, &["host", "kind", "value"]),
        [["host-1", "ServiceTag", "7XK4"]]
    );
    let rows = read(&vcenter, "host_vms").await.unwrap();
    assert_eq!(
        texts(&rows, &["host", "vm"]),
        [["host-1", "vm-1"], ["host-1", "vm-2"]]
    );
    let rows = read(&vcenter, "hosts").await.unwrap();
    assert_eq!(
        texts(&rows, &["parent", "parent_type"]),
        [["domain-c1", "ClusterComputeResource"], ["null", "null"]]
    );

    let nics = "<GuestNicInfo><network>LAN</network><ipAddress>10.0.0.1</ipAddress>\
                <ipAddress>fe80::1</ipAddress><macAddress>00:50:56:00:00:01</macAddress>\
                <connected>true</connected><deviceConfigId>4000</deviceConfigId>\
                <ipConfig><ipAddress><ipAddress>10.0.0.1</ipAddress></ipAddress></ipConfig>\
                </GuestNicInfo><GuestNicInfo><connected>false</connected>\
                <deviceConfigId>-1</deviceConfigId></GuestNicInfo>";
    fake.load(
        "VirtualMachine",
        [Object::new("vm-1").xml(&list("guest.net", nics))],
    );
    let rows = read(&vcenter, "vm_adapters").await.unwrap();
    assert_eq!(
        texts(&rows, &["device", "mac_address", "ip_addresses"]),
        [
            ["-1", "", "null"],
            ["4000", "00:50:56:00:00:01", "10.0.0.1; fe80::1"]
        ]
    );

    let licence = "<LicenseManagerLicenseInfo><licenseKey>AAAAA-1</licenseKey>\
                   <editionKey>esx.ent</editionKey><name>vSphere 8</name><total>16</total>\
                   <used>4</used><costUnit>cpuPackage</costUnit><properties><key>x</key>\
                   <value xsi:type=\"xsd:string\">y</value></properties></LicenseManagerLicenseInfo>";
    let manager = Object::new("LicenseManager")
        .xml(&list("licenses", licence))
        .refers(
            "licenseAssignmentManager",
            "LicenseAssignmentManager",
            "lam",
        );
    fake.load("LicenseManager", [manager]);
    let rows = read(&vcenter, "licences").await.unwrap();
    assert_eq!(
        texts(&rows, &["licence_key", "total", "used"]),
        [["AAAAA-1", "16", "4"]]
    );
    fake.instead(|method, _| {
        let assigned = "<returnval><entityId>host-1</entityId><scope>x</scope>\
            <entityDisplayName>esx1</entityDisplayName><assignedLicense>\
            <licenseKey>AAAAA-1</licenseKey><editionKey>e</editionKey><name>vSphere 8</name>\
            </assignedLicense></returnval><returnval><entityId>host-2</entityId><assignedLicense>\
            <licenseKey>AAAAA-1</licenseKey></assignedLicense></returnval>";
        (method == "QueryAssignedLicenses").then(|| reply(method, assigned))
    });
    let rows = read(&vcenter, "licence_assignments").await.unwrap();
    assert_eq!(
        texts(&rows, &["entity", "licence_key", "entity_name"]),
        [["host-1", "AAAAA-1", "esx1"], ["host-2", "AAAAA-1", "null"]]
    );
}

#[tokio::test]
async fn folders_have_a_path() {
    let fake = Fake::new(PASSWORD);
    let vcenter = connect(&fake, &config());
    let folder = |id: &str, name: &str, kind: &str, parent: &str| {
        Object::new(id)
            .with("name", name)
            .refers("parent", kind, parent)
    };
    fake.load("Datacenter", [folder("dc-1", "Berlin", "Folder", "f-1")]);
    fake.load(
        "Folder",
        [
            folder("f-1", "Europe", "Folder", "group-d1"),
            folder("f-2", "vm", "Datacenter", "dc-1"),
            folder("f-3", "SAP", "Folder", "f-2"),
            // Moved while it was read, so that it seems to be below itself.
            folder("f-4", "loop", "Folder", "f-4"),
        ],
    );
    let rows = read(&vcenter, "folders").await.unwrap();
    let seen = texts(&rows, &["folder", "path", "datacenter"]);
    assert_eq!(
        seen[..3],
        [
            ["f-1", "/Europe", "null"],
            ["f-2", "/Europe/Berlin/vm", "dc-1"],
            ["f-3", "/Europe/Berlin/vm/SAP", "dc-1"],
        ]
    );
    assert_eq!(seen.len(), 4);
}

#[tokio::test]
async fn two_reads_share_a_session() {
    let fake = Fake::new(PASSWORD);
    fake.load("VirtualMachine", machines(3));
    let vcenter = connect(&fake, &config());
    let datasets = vcenter.datasets().await.unwrap();
    let reads = datasets
        .iter()
        .take(5)
        .map(|dataset: &Arc<dyn Dataset>| dataset.collect());
    for rows in futures::future::join_all(reads).await {
        rows.unwrap();
    }
    assert_eq!(count(&fake, "Login"), 1);
}
