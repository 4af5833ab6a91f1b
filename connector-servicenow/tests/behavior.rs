//! What an instance of ServiceNow does that a reader must not get wrong.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use connector_core::{
    Availability, Column, Connector, DatasetExt, Error, ErrorKind, Row, Secret, Value,
};
use connector_servicenow::{
    Authentication, Override, ServiceNow, ServiceNowConfig, TableConfig,
    connector_http::ClientCertificate,
};
use connector_testkit::{
    Authority,
    graph::Times,
    http::{HttpRequest, Scripted, ServerTls},
    read_by_key,
    servicenow::{
        ServiceNow as Instance, ServiceNowApp, ServiceNowFault as Failure, ServiceNowTable,
    },
};
use serde_json::{Value as Json, json};

const TABLE: &str = "x_acme_device";

fn id(number: u32) -> String {
    format!(
        "{:032x}",
        u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    )
}

fn device(number: u32) -> Json {
    json!({"sys_id": id(number), "name": format!("PC-{number}"), "cpus": "4"})
}

/// An instance with companies, and devices that refer to them.
fn instance() -> Instance {
    let instance = Instance::new();
    instance.table(ServiceNowTable::new("core_company").field("name", "string"));
    instance.table(
        ServiceNowTable::new("x_acme_thing")
            .field("sys_updated_by", "string")
            .field("name", "string")
            .field("api_key", "password2")
            .reference("company", "core_company"),
    );
    instance.table(
        ServiceNowTable::new(TABLE)
            .extends("x_acme_thing")
            .field("cpus", "integer")
            .field("seen", "glide_date_time"),
    );
    instance.load(TABLE, (0..25).map(device));
    instance
}

fn basic() -> Authentication {
    Authentication::Basic {
        user: ServiceNowApp::default().user,
        password: Secret::new("s3cret"),
    }
}

fn config(instance: &Instance, set: impl FnOnce(&mut TableConfig)) -> ServiceNowConfig {
    let mut config = ServiceNowConfig::new(instance.url().parse().unwrap(), basic());
    let mut table = TableConfig::new("devices", TABLE);
    set(&mut table);
    config.datasets = vec![table];
    config.categories = vec!["General".to_owned()];
    config.page = 10;
    config.http.retry.attempts = 3;
    config
}

fn over(instance: &Instance, config: &ServiceNowConfig) -> (ServiceNow, Arc<Scripted>) {
    let transport = instance.transport();
    let client = Arc::clone(&transport) as Arc<_>;
    let connector = ServiceNow::over("cmdb", config, client, instance.clock());
    (connector.unwrap(), transport)
}

async fn read(instance: &Instance, set: impl FnOnce(&mut TableConfig)) -> Result<Vec<Row>, Error> {
    let (connector, _) = over(instance, &config(instance, set));
    read_by_key(&connector, "devices").await
}

async fn refused(instance: &Instance, set: impl FnOnce(&mut TableConfig)) -> (ErrorKind, String) {
    let error = read(instance, set).await.unwrap_err();
    (error.kind(), format!("{error:#}"))
}

fn ids(rows: &[Row]) -> Vec<String> {
    let ids = rows
        .iter()
        .map(|row| row.values().next().unwrap().to_string());
    ids.collect()
}

fn sorted(ids: impl IntoIterator<Item = u32>) -> Vec<String> {
    let mut ids: Vec<_> = ids.into_iter().map(id).collect();
    ids.sort();
    ids
}

fn show(rows: &[Row]) -> Vec<String> {
    let rows = rows.iter().map(|row| {
        let cells = row.schema().columns().iter().zip(row.values());
        let cells = cells.map(|(column, value)| match value {
            Value::Null => format!("{}=null", column.name()),
            value => format!("{}={value}", column.name()),
        });
        cells.collect::<Vec<_>>().join(" ")
    });
    rows.collect()
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_short_or_empty_is_not_the_last() {
    let instance = instance();
    let all = sorted(0..25);
    // All of the second page, some of the first and of the last.
    let hidden: Vec<_> = (3..22)
        .chain([24])
        .map(|place: usize| all[place].as_str())
        .collect();
    instance.hide(TABLE, hidden.iter().copied());
    let rows = read(&instance, |_| {}).await.unwrap();
    let seen: Vec<_> = all
        .iter()
        .filter(|id| !hidden.contains(&id.as_str()))
        .cloned()
        .collect();
    assert_eq!(ids(&rows), seen);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_changes_between_pages_loses_and_repeats_nothing() {
    for nth in 1..8 {
        let instance = instance();
        let all = sorted(0..25);
        let (gone, first) = (all[2].clone(), all[12].clone());
        let asked = AtomicUsize::new(0);
        let changing = instance.clone();
        let transport = Scripted::new(move |request: &HttpRequest| {
            if request.path().ends_with(TABLE) && asked.fetch_add(1, Relaxed) == nth {
                let kept = (0..40).map(device);
                let kept = kept.filter(|row| row["sys_id"] != *gone && row["sys_id"] != *first);
                changing.load(TABLE, kept);
            }
            changing.answer(request)
        });
        let config = config(&instance, |_| {});
        let connector = ServiceNow::over("cmdb", &config, transport, instance.clock()).unwrap();
        let rows = read_by_key(&connector, "devices").await.unwrap();
        let read = ids(&rows);
        let mut once = read.clone();
        once.dedup();
        assert_eq!(once, read, "a row comes twice");
        let stayed = all.iter().filter(|id| **id != all[2] && **id != all[12]);
        for id in stayed {
            assert!(read.contains(id), "a row is lost");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn values_are_typed_by_the_dictionary() {
    let instance = instance();
    instance.load(
        TABLE,
        [
            json!({"sys_id": "global", "name": "", "cpus": "", "company": "", "seen": ""}),
            json!({"sys_id": id(1), "name": "PC-1", "cpus": "4", "seen": "2026-11-21 03:04:05",
                "company": {"value": "c1", "display_value": "ACME Inc."}, "api_key": "canary",
                "sys_mod_count": "3"}),
        ],
    );
    let rows = read(&instance, |table| {
        table.columns = ["name", "cpus", "seen", "company"]
            .map(str::to_owned)
            .into();
    });
    let empty = "sys_id=global name=null cpus=null seen=null company=null";
    let full = format!(
        "sys_id={} name=PC-1 cpus=4 seen=2026-11-21T03:04:05Z company=c1",
        id(1)
    );
    assert_eq!(show(&rows.await.unwrap()), [full.as_str(), empty]);
    // With what a reference displays as, and what it leads to.
    instance.load(
        "core_company",
        [json!({"sys_id": "c1", "name": "ACME Inc."})],
    );
    let rows = read(&instance, |table| {
        table.columns = ["company", "cpus"].map(str::to_owned).into();
        table.display = ["company".to_owned()].into();
    });
    let empty = "sys_id=global company=null dv_company=null cpus=null";
    let full = format!("sys_id={} company=c1 dv_company=ACME Inc. cpus=4", id(1));
    assert_eq!(show(&rows.await.unwrap()), [full.as_str(), empty]);
    // All of them, but for secrets.
    let (connector, transport) = over(&instance, &config(&instance, |_| {}));
    let rows = read_by_key(&connector, "devices").await.unwrap();
    let names: Vec<_> = rows[0]
        .schema()
        .columns()
        .iter()
        .map(Column::name)
        .collect();
    let expected = [
        "sys_id",
        "company",
        "cpus",
        "name",
        "seen",
        "sys_created_on",
        "sys_mod_count",
        "sys_updated_by",
        "sys_updated_on",
    ];
    assert_eq!(names, expected);
    let volatile = rows[0]
        .schema()
        .columns()
        .iter()
        .filter(|c| c.is_volatile());
    assert_eq!(volatile.count(), 3);
    let secret = transport.requests();
    assert!(
        secret
            .iter()
            .all(|request| !request.target.contains("api_key"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_field_that_there_is_not_is_an_error_and_not_a_whole_table() {
    let instance = instance();
    let columns = |name: &str| {
        let columns = vec![name.to_owned()];
        move |table: &mut TableConfig| table.columns = columns
    };
    let (kind, message) = refused(&instance, columns("cpu_cuont")).await;
    assert_eq!(kind, ErrorKind::Config);
    assert!(
        message.starts_with(
            "`columns` names the field cpu_cuont, which is no field of the table x_acme_device \
             (table: x_acme_device, data set: devices)"
        ),
        "{message}"
    );
    let (kind, message) = refused(&instance, columns("api_key")).await;
    assert_eq!(kind, ErrorKind::Config);
    assert!(message.contains("holds a secret"), "{message}");
    let (_, message) = refused(&instance, columns("company.nmae")).await;
    assert!(
        message.contains("no field of the table core_company"),
        "{message}"
    );
    let (_, message) = refused(&instance, columns("cpus.name")).await;
    assert!(message.contains("refers to no table"), "{message}");
    let filtered = |text: &str| {
        let text = text.to_owned();
        move |table: &mut TableConfig| table.filter = Some(text)
    };
    for filter in ["actve=true", "cpus=4^ORcompny.name=x", "company.nmae=x"] {
        let (kind, message) = refused(&instance, filtered(filter)).await;
        assert_eq!(kind, ErrorKind::Config);
        assert!(message.starts_with("`filter` names the field"), "{message}");
    }
    let other = |set: fn(&mut TableConfig)| set;
    for (set, setting) in [
        (other(|t| t.without = vec!["cpu".to_owned()]), "`without`"),
        (other(|t| t.display = vec!["cpu".to_owned()]), "`display`"),
        (other(|t| t.volatile = vec!["cpu".to_owned()]), "`volatile`"),
    ] {
        let (kind, message) = refused(&instance, set).await;
        assert_eq!(kind, ErrorKind::Config);
        assert!(message.starts_with(setting), "{message}");
    }
    let (kind, message) = refused(&instance, |table| {
        "x_acme_devise".clone_into(&mut table.table);
    })
    .await;
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(message.contains("table: x_acme_devise"), "{message}");
    // And a right one is one.
    let rows = read(&instance, filtered("name=PC-7^ORname=PC-8"))
        .await
        .unwrap();
    assert_eq!(ids(&rows), sorted([7, 8]));
}

#[tokio::test(start_paused = true)]
async fn a_query_that_is_ignored_is_found_out() {
    let instance = instance();
    // As an instance does that leaves out the condition on ids.
    let ignoring = instance.clone();
    let transport = Scripted::new(move |request: &HttpRequest| {
        let mut request = request.clone();
        request.target = request.target.replace("sys_id%3E", "nothing%3E");
        ignoring.answer(&request)
    });
    let config = config(&instance, |_| {});
    let connector = ServiceNow::over("cmdb", &config, transport, instance.clock()).unwrap();
    let error = read_by_key(&connector, "devices").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Source);
    assert!(error.to_string().contains("not asked for"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn rights_that_are_missing_are_named() {
    let instance = instance();
    let all = instance.ids(TABLE);
    instance.hide(TABLE, all.iter().map(String::as_str));
    let (kind, message) = refused(&instance, |_| {}).await;
    assert_eq!(kind, ErrorKind::Permission);
    assert!(message.contains("none of the table's rows"), "{message}");
    let (connector, _) = over(&instance, &config(&instance, |_| {}));
    let report = connector.check().await.unwrap();
    let availability = report.availability("devices").unwrap();
    assert!(matches!(
        availability,
        Availability::MissingPermission { .. }
    ));
    instance.hide(TABLE, []);

    instance.hide_fields(TABLE, ["cpus", "seen"]);
    let (kind, message) = refused(&instance, |_| {}).await;
    assert_eq!(kind, ErrorKind::Permission);
    assert!(message.contains("fields: cpus, seen"), "{message}");
    let without =
        |table: &mut TableConfig| table.without = ["cpus", "seen"].map(str::to_owned).into();
    assert_eq!(read(&instance, without).await.unwrap().len(), 25);
    instance.hide_fields(TABLE, []);

    for dictionary in ["sys_db_object", "sys_dictionary"] {
        let denied = |message: &str| {
            let names = message.contains("`sys_dictionary` and `sys_db_object`");
            assert!(names && message.contains(dictionary), "{message}");
        };
        // Refused; without rows; without some rows.
        instance.fault(dictionary, Failure::Denied, Times::ALWAYS);
        let (kind, message) = refused(&instance, |_| {}).await;
        assert_eq!(kind, ErrorKind::Permission);
        denied(&message);
        instance.heal(dictionary);
        let all = instance.ids(dictionary);
        instance.hide(dictionary, all.iter().map(String::as_str));
        let (kind, message) = refused(&instance, |_| {}).await;
        assert_eq!(kind, ErrorKind::Permission);
        denied(&message);
        instance.hide(dictionary, []);
    }
    let one = instance.ids("sys_dictionary");
    for id in &one {
        instance.hide("sys_dictionary", [id.as_str()]);
        match read(&instance, |_| {}).await {
            // One of another table's.
            Ok(rows) => assert_eq!(rows[0].schema().columns().len(), 9),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Permission),
        }
    }
    instance.hide("sys_dictionary", []);

    instance.fault(TABLE, Failure::Denied, Times::ALWAYS);
    let (kind, message) = refused(&instance, |_| {}).await;
    assert_eq!(kind, ErrorKind::Permission);
    assert!(
        message.contains("the user may not read the table `x_acme_device`"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_busy_instance_is_waited_for() {
    let instance = instance();
    instance.fault(TABLE, Failure::limited("30"), Times::at(2));
    instance.fault(TABLE, Failure::Busy, Times::at(4));
    let (connector, transport) = over(&instance, &config(&instance, |_| {}));
    let rows = read_by_key(&connector, "devices").await.unwrap();
    assert_eq!(rows.len(), 25);
    let (times, requests) = (transport.times(), transport.requests());
    let of_table = requests
        .iter()
        .zip(&times)
        .filter(|(r, _)| r.path().ends_with(TABLE));
    let times: Vec<_> = of_table.map(|(_, at)| at.as_secs()).collect();
    assert!(times[2] - times[1] >= 30, "{times:?}");
    // What the administrators look for.
    instance.fault(TABLE, Failure::limited("30"), Times::ALWAYS);
    let (kind, message) = refused(&instance, |_| {}).await;
    assert_eq!(kind, ErrorKind::RateLimited);
    assert!(message.contains("x-ratelimit-rule: a9e4f1b2"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_comes_damaged_is_asked_for_with_fewer_rows() {
    for failure in [
        Failure::Reply(200, "Transaction cancelled".to_owned()),
        Failure::CutJsonAbove(30),
        Failure::TrailingError,
        Failure::CutJson,
    ] {
        let instance = instance();
        instance.load(TABLE, (0..200).map(device));
        let times = match failure {
            Failure::CutJsonAbove(_) => Times::ALWAYS,
            _ => Times::ONCE,
        };
        instance.fault(TABLE, failure, times);
        let mut config = config(&instance, |_| {});
        config.page = 1000;
        let (connector, transport) = over(&instance, &config);
        let rows = read_by_key(&connector, "devices").await.unwrap();
        assert_eq!(ids(&rows), sorted(0..200));
        let smaller = transport.requests();
        assert!(
            smaller
                .iter()
                .any(|r| r.target.contains("sysparm_limit=250"))
        );
    }
    let instance = instance();
    instance.fault(TABLE, Failure::CutJson, Times::ALWAYS);
    let (kind, _) = refused(&instance, |_| {}).await;
    assert_eq!(kind, ErrorKind::Incomplete);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_not_there_says_so() {
    let instance = instance();
    for place in [TABLE, "sys_db_object"] {
        instance.fault(place, Failure::Hibernating, Times::ALWAYS);
        let (kind, message) = refused(&instance, |_| {}).await;
        assert_eq!(kind, ErrorKind::Unavailable);
        assert!(message.contains("hibernates"), "{message}");
        instance.heal(place);
    }
    let elsewhere = "https://signon.service-now.com/";
    instance.fault(TABLE, Failure::Moved(elsewhere.to_owned()), Times::ALWAYS);
    let (kind, message) = refused(&instance, |_| {}).await;
    assert_eq!(kind, ErrorKind::Source);
    assert!(message.contains("signon.service-now.com"), "{message}");
    instance.heal(TABLE);
    instance.fault(TABLE, Failure::NoCount, Times::ALWAYS);
    let (_, message) = refused(&instance, |_| {}).await;
    assert!(message.contains("X-Total-Count"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn each_way_to_sign_in_works_and_goes_on_when_a_token_ends() {
    let app = ServiceNowApp {
        password: Some("right".to_owned()),
        client_secret: Some("known".to_owned()),
        ..ServiceNowApp::default()
    };
    let secret = Secret::new;
    let ways = |password: &'static str, client_secret: &'static str| {
        [
            Authentication::Basic {
                user: app.user.clone(),
                password: secret(password),
            },
            Authentication::Password {
                client_id: app.client_id.clone(),
                client_secret: secret(client_secret),
                user: app.user.clone(),
                password: secret(password),
            },
            Authentication::ClientCredentials {
                client_id: app.client_id.clone(),
                client_secret: secret(client_secret),
                scope: None,
            },
        ]
    };
    for auth in ways("right", "known") {
        let instance = instance();
        instance.app(app.clone());
        let mut config = config(&instance, |_| {});
        config.auth = auth;
        let is_basic = matches!(config.auth, Authentication::Basic { .. });
        let (connector, transport) = over(&instance, &config);
        let read = || read_by_key(&connector, "devices");
        assert_eq!(read().await.unwrap().len(), 25);
        // In the middle of a walk.
        if !is_basic {
            instance.fault(TABLE, Failure::Unauthorized, Times::at(2));
        }
        assert_eq!(read().await.unwrap().len(), 25);
        // A refresh token that is refused leads back to the password.
        instance.revoke_refresh_tokens();
        instance.revoke_tokens();
        assert_eq!(read().await.unwrap().len(), 25);
        let requests = transport.requests();
        let grants = requests
            .iter()
            .filter(|r| r.path().ends_with("oauth_token.do"));
        let grants: Vec<_> = grants
            .map(|r| r.text().split('&').next().unwrap().to_owned())
            .collect();
        let expected: &[&str] = match &config.auth {
            Authentication::Password { .. } => {
                &["password", "refresh_token", "refresh_token", "password"]
            }
            Authentication::ClientCredentials { .. } => &["client_credentials"; 3],
            _ => &[],
        };
        let expected: Vec<_> = expected.iter().map(|g| format!("grant_type={g}")).collect();
        assert_eq!(grants, expected);
        assert_eq!(is_basic, grants.is_empty());
    }
    for auth in ways("wrong", "unknown") {
        let instance = instance();
        instance.app(app.clone());
        let mut config = config(&instance, |_| {});
        config.auth = auth;
        let (connector, _) = over(&instance, &config);
        let error = connector.check().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth, "{error:#}");
    }
}

#[tokio::test(start_paused = true)]
async fn tables_of_a_scope_are_named_without_it() {
    let instance = instance();
    for (scope, own, table) in [
        ("x_acme", None, "device"),
        ("x_acme", None, "x_acme_device"),
        ("x_other", Some("x_acme"), "device"),
        ("x_other", Some(""), "x_acme_device"),
    ] {
        let mut config = config(&instance, |own_table| {
            table.clone_into(&mut own_table.table);
            own_table.scope = own.map(str::to_owned);
        });
        scope.clone_into(&mut config.scope);
        let (connector, _) = over(&instance, &config);
        let rows = read_by_key(&connector, "devices").await.unwrap();
        assert_eq!(rows.len(), 25, "{scope} {own:?} {table}");
    }
}

#[test]
fn wrong_settings_are_named() {
    let instance = instance();
    let refused = |set: &dyn Fn(&mut ServiceNowConfig)| {
        let mut config = config(&instance, |_| {});
        set(&mut config);
        let made = ServiceNow::new("cmdb", &config);
        let error = made.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    };
    let url = |text: &str| {
        let url = text.parse().unwrap();
        refused(&|config| config.url.clone_from(&url))
    };
    assert!(url("ftp://acme.service-now.com").contains("`url` begins"));
    assert!(url("https://acme.service-now.com/now/nav").contains("nothing behind"));
    assert!(url("https://u:canary@acme.service-now.com").contains("no user"));
    assert!(refused(&|c| c.page = 9).contains("`page`"));
    assert!(refused(&|c| c.auth = Authentication::Certificate).contains("client_certificate"));
    assert!(refused(&|c| c.skip = vec!["computer".to_owned()]).contains("computers, "));
    assert!(refused(&|c| c.categories = vec!["Assetts".to_owned()]).contains("Assets, "));
    let twice = refused(&|c| "Computers".clone_into(&mut c.datasets[0].name));
    assert!(twice.contains("another data set"), "{twice}");
    let table = refused(&|c| "a^b".clone_into(&mut c.datasets[0].table));
    assert!(table.contains("`table`"), "{table}");
    let key = refused(&|c| c.datasets[0].volatile = vec!["sys_id".to_owned()]);
    assert!(
        key.contains("`volatile` names sys_id, which is the key"),
        "{key}"
    );
    let twice = refused(&|c| c.datasets[0].columns = ["a", "b", "a"].map(str::to_owned).into());
    assert!(twice.contains("`columns` names a twice"), "{twice}");
    let own = refused(&|c| {
        let own = Override {
            filter: Some("a=1^ORDERBYname".to_owned()),
            ..Override::default()
        };
        c.overrides.insert("computers".to_owned(), own);
    });
    assert!(own.contains("`filter` has no `ORDERBY`"), "{own}");
    assert!(own.contains("computers"), "{own}");
    let unknown = refused(&|c| {
        c.overrides
            .insert("computer".to_owned(), Override::default());
    });
    assert!(
        unknown.contains("`override` names the data set computer"),
        "{unknown}"
    );
}

#[tokio::test(start_paused = true)]
async fn small_tables_take_one_request() {
    let instance = instance();
    instance.load(TABLE, (0..5).map(device));
    let (connector, transport) = over(&instance, &config(&instance, |_| {}));
    let datasets = connector.datasets().await.unwrap();
    assert_eq!(datasets[0].collect().await.unwrap().len(), 5);
    let requests = transport.requests();
    let of_table = requests.iter().filter(|r| r.path().ends_with(TABLE));
    assert_eq!(of_table.count(), 1);
}

#[tokio::test]
async fn a_certificate_of_its_own_signs_in() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let instance = instance();
    let tls = ServerTls::new(authority.issue(&["localhost"])).clients_of(&authority.pem());
    let server = instance.serve_tls(&tls).await;
    let mut config = config(&instance, |_| {});
    config.url = server.url("/").parse().unwrap();
    config.auth = Authentication::Certificate;
    let written = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let own = authority.issue_client("datasync");
    config.http.ca_file = Some(written("authority.pem", &authority.pem()));
    config.http.client_certificate = Some(ClientCertificate {
        certificate: written("own.pem", own.pem()),
        key: Secret::new(own.key_pem()),
    });
    let connector = ServiceNow::new("cmdb", &config).unwrap();
    let rows = read_by_key(&connector, "devices").await.unwrap();
    assert_eq!(rows.len(), 25);
    let asked = server.requests();
    assert!(
        asked
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
}
