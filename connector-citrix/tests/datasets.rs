//! Every data set over a server that speaks SQL Server's protocol and that we did not write, with
//! tables made from the declarations.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::sync::Arc;

use connector_citrix::{
    Citrix, CitrixConfig, CitrixSettings,
    connector_mssql::{Authentication, Override, SqlDataset},
    datasets,
};
use connector_core::{
    Column, Connector, Cycle, DatasetExt, DatasetId, ErrorKind, Gone, NamedSink, Outcome, Secret,
    Store, Type, memory::MemorySink,
};
use connector_testkit::{
    Fault, ManualClock, MemoryStorage, Subject, generate::numbered_rows, peer::SqlSubjects,
    read_by_key,
};

const USER: &str = "reader";
const PASSWORD: &str = "Correct-Horse-1";
const DATABASE: &str = "CitrixLabMonitoring";

fn declared() -> Vec<SqlDataset> {
    datasets(&CitrixSettings::default())
}

fn subjects() -> Vec<Subject> {
    let declared = declared();
    let subjects = declared.iter();
    subjects
        .map(|dataset| Subject::new(dataset.name, dataset.schema().unwrap()))
        .collect()
}

fn source() -> SqlSubjects {
    SqlSubjects::start(USER, PASSWORD, subjects())
}

fn config(source: &SqlSubjects) -> CitrixConfig {
    let mut config = CitrixConfig::new(source.server().parse().unwrap(), DATABASE);
    config.auth = Authentication::Sql {
        user: USER.to_owned(),
        password: Secret::new(PASSWORD),
    };
    config.ca_file = Some(source.ca_file().to_owned());
    config
}

fn subject(name: &str) -> Subject {
    let mut subjects = subjects().into_iter();
    subjects.find(|subject| subject.name == name).unwrap()
}

#[tokio::test]
async fn every_data_set_is_read_as_it_is_declared() {
    let source = source();
    let connector = Citrix::new("lab", config(&source)).unwrap();
    for subject in subjects() {
        let values = numbered_rows(&subject.schema, 40);
        source.load(&subject, &values);
        let found = read_by_key(&connector, &subject.name).await;
        let found = found.unwrap_or_else(|error| panic!("{}: {error:#}", subject.name));
        assert_eq!(found, subject.rows(&values), "{}", subject.name);
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let source = source();
    let mut config = config(&source);
    config.auth = Authentication::Sql {
        user: USER.to_owned(),
        password: Secret::new("wrong"),
    };
    let error = Citrix::new("lab", config)
        .unwrap()
        .check()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "{error:#}");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let source = source();
    let mut config = config(&source);
    config.ca_file = None;
    let error = Citrix::new("lab", config)
        .unwrap()
        .check()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:#}");
    assert!(format!("{error:#}").contains("certificate"), "{error:#}");
}

#[tokio::test]
async fn the_check_tells_what_can_be_read() {
    let source = source();
    let connector = Citrix::new("lab", config(&source)).unwrap();
    let report = connector.check().await.unwrap();
    assert!(report.is_ok(), "{report:?}");
    assert_eq!(report.fact("oldest connection"), None);
    assert_eq!(
        report.fact("groomed records"),
        Some("kept as they were last read")
    );

    let connections = subject("Connection");
    source.load(&connections, &numbered_rows(&connections.schema, 5));
    source.fault(&subject("User"), &Fault::Deny);
    source.fault(&subject("Machine"), &Fault::Vanish);
    source.fault(&subject("SessionMetrics"), &Fault::Vanish);
    let report = connector.check().await.unwrap();
    let oldest = report.fact("oldest connection").unwrap();
    let newest = report.fact("newest connection").unwrap();
    assert!(oldest <= newest, "{oldest} {newest}");
    for (name, told) in [
        ("User", "GRANT SELECT ON [MonitorData].[User]"),
        (
            "Machine",
            "failed: the database has no [MonitorData].[Machine]",
        ),
        ("SessionMetrics", "not collected: "),
        ("Session", "available"),
    ] {
        let found = report.availability(name).unwrap().to_string();
        assert!(found.contains(told), "{name}: {found}");
    }
}

#[tokio::test]
async fn what_the_server_has_otherwise_is_said() {
    let source = source();
    let connector = Citrix::new("lab", config(&source)).unwrap();

    source.fault(&subject("Machine"), &Fault::Vanish);
    let error = read_by_key(&connector, "Machine").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:#}");
    source.fault(&subject("SessionMetrics"), &Fault::Vanish);
    let error = read_by_key(&connector, "SessionMetrics").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotCollected, "{error:#}");
    source.fault(&subject("User"), &Fault::Deny);
    let error = read_by_key(&connector, "User").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission, "{error:#}");

    // A column that need not be there, one that must, and one of another type.
    let own = subject("Session");
    let without = |name: &str| -> Vec<Column> {
        let columns = own.schema.columns().iter().filter(|c| c.name() != name);
        columns.cloned().collect()
    };
    source.serve_as(&own.name, &without("PublishedDesktopId"));
    assert_eq!(read_by_key(&connector, &own.name).await.unwrap(), []);
    for name in ["SessionKey", "UserId"] {
        source.serve_as(&own.name, &without(name));
        let error = read_by_key(&connector, &own.name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains(name), "{error:#}");
        let report = connector.check().await.unwrap();
        let told = report.availability(&own.name).unwrap().to_string();
        assert!(told.contains(&format!("missing columns: {name}")), "{told}");
    }
    let mut retyped = without("ConnectionState");
    retyped.push(Column::new("ConnectionState", Type::Text));
    source.serve_as(&own.name, &retyped);
    let error = read_by_key(&connector, &own.name).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    let text = error.to_string();
    assert!(
        text.contains("ConnectionState") && text.contains("nvarchar"),
        "{text}"
    );

    // Types that are inferred and turn out otherwise without loss.
    let mut retyped = without("PublishedDesktopId");
    retyped.push(Column::new("PublishedDesktopId", Type::Uuid));
    source.serve_as(&own.name, &retyped);
    assert_eq!(read_by_key(&connector, &own.name).await.unwrap(), []);
}

/// More rows than one range has.
#[tokio::test]
async fn metrics_are_read_in_ranges() {
    let source = source();
    let own = subject("SessionMetrics");
    let values = numbered_rows(&own.schema, 60_000);
    source.load(&own, &values);
    let connector = Citrix::new("lab", config(&source)).unwrap();
    let found = read_by_key(&connector, &own.name).await.unwrap();
    assert!(found == own.rows(&values));
}

/// Syncs the sessions of two reads, of which the second lacks what was groomed away; returns what
/// the second sent, and how many records the receiver then has.
async fn groomed(change: impl Fn(&mut CitrixConfig)) -> (String, usize) {
    let source = source();
    let mut config = config(&source);
    change(&mut config);
    let connector = Citrix::new("lab", config).unwrap();
    let datasets = connector.datasets().await.unwrap();
    let sessions = datasets.iter().find(|d| d.name() == "Session").unwrap();
    let store = Store::open(
        Arc::new(MemoryStorage::default()),
        Arc::new(ManualClock::default()),
    );
    let store = store.await.unwrap();
    let sink = MemorySink::default();
    let cycle = Cycle::new(&store).sink(NamedSink::new("copy", sink.clone()));

    let own = subject("Session");
    let values = numbered_rows(&own.schema, 40);
    let mut sent = String::new();
    for read in [&values[..30], &values[20..]] {
        source.load(&own, read);
        let report = cycle.run_dataset("lab", &**sessions).await;
        let Outcome::Synced(counts) = report.outcome else {
            panic!("{report:?}");
        };
        sent = counts.to_string();
    }
    (sent, sink.rows(&DatasetId::new("lab", "Session")).len())
}

#[tokio::test]
async fn grooming_is_not_deletion() {
    let kept = ("Inserts: 10, SnapshotCompletes: 1".to_owned(), 40);
    let deleted = (
        "Inserts: 10, Deletes: 20, SnapshotCompletes: 1".to_owned(),
        20,
    );
    assert_eq!(groomed(|_| ()).await, kept);
    assert_eq!(
        groomed(|config| config.product.keep_groomed = false).await,
        deleted
    );
    // For one data set.
    let own = |gone| Override {
        gone: Some(gone),
        ..Override::default()
    };
    let overridden = groomed(|config| {
        config
            .overrides
            .insert("Session".to_owned(), own(Gone::Delete));
    });
    assert_eq!(overridden.await, deleted);
}

#[test]
fn the_nine_have_their_exact_names() {
    let names: Vec<_> = declared().iter().map(|dataset| dataset.name).collect();
    assert_eq!(
        names,
        [
            "Application",
            "ApplicationInstance",
            "Connection",
            "DesktopGroup",
            "Machine",
            "Session",
            "SessionMetrics",
            "SessionAutoReconnect",
            "User"
        ]
    );
}

/// Rows that a test makes have the same value in columns of one type, so a column that is read as
/// another shows here.
#[test]
fn every_column_is_called_as_in_its_table() {
    for dataset in declared() {
        let (_, alias) = dataset.from.split_once(' ').unwrap();
        for column in dataset.columns {
            let own = format!("{alias}.{}", column.name());
            let is_own = column.expression() == own;
            assert!(is_own, "{}: {}", dataset.name, column.expression());
        }
    }
}

/// The table of the README, made from the declarations.
fn table() -> String {
    use std::fmt::Write;
    let mut table = String::from(
        "| data set | category | read from | key | other columns |\n| --- | --- | --- | --- | --- |\n",
    );
    for dataset in declared() {
        let names = |key: bool| {
            let columns = dataset.columns.iter();
            let names: Vec<_> = columns
                .filter(|column| column.is_key() == key)
                .map(|column| {
                    if column.is_volatile() {
                        format!("*`{}`*", column.name())
                    } else {
                        format!("`{}`", column.name())
                    }
                })
                .collect();
            names.join(", ")
        };
        let (from, _) = dataset.from.split_once(' ').unwrap();
        let _ = writeln!(
            table,
            "| `{}` | {} | `{from}` | {} | {} |",
            dataset.name,
            dataset.category,
            names(true),
            names(false)
        );
    }
    table
}

#[test]
fn the_readme_tells_every_data_set() {
    let readme = include_str!("../README.md");
    for dataset in declared() {
        let grant = format!("GRANT SELECT ON MonitorData.[{}] TO", dataset.name);
        assert!(readme.contains(&grant), "{grant}");
    }
    let table = table();
    assert!(
        readme.contains(&table),
        "the table in README.md has to be\n\n{table}"
    );
}
