//! Every data set over a server that speaks SQL Server's protocol and that we did not write, with
//! tables made from the declarations.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::net::TcpListener;

use connector_core::{Column, Connector, ErrorKind, Schema, Secret, Type, Value};
use connector_testkit::{
    Fault, Subject,
    generate::numbered_rows,
    peer::{SqlSubjects, SqlTable},
    read_by_key,
};
use connector_wsus::{
    Wsus, WsusConfig, WsusSettings,
    connector_mssql::{Authentication, Override, SqlDataset},
    datasets,
};

const USER: &str = "reader";
const PASSWORD: &str = "Correct-Horse-1";
const DATABASE: &str = "SUSDB";

fn declared() -> Vec<SqlDataset> {
    datasets(&WsusSettings::default())
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

fn config(source: &SqlSubjects) -> WsusConfig {
    let mut config = WsusConfig::new(source.server().parse().unwrap(), DATABASE);
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
    let connector = Wsus::new("lab", config(&source)).unwrap();
    for subject in subjects() {
        let mut values = numbered_rows(&subject.schema, 40);
        if let Some(state) = subject.schema.position("State") {
            values.retain(|row| row[state] != Value::Int(1));
        }
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
    let error = Wsus::new("lab", config).unwrap().check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "{error:#}");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let source = source();
    let mut config = config(&source);
    config.ca_file = None;
    let error = Wsus::new("lab", config).unwrap().check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:#}");
    assert!(format!("{error:#}").contains("certificate"), "{error:#}");
}

#[tokio::test]
async fn the_check_tells_what_can_be_read() {
    let source = source();
    let connector = Wsus::new("lab", config(&source)).unwrap();
    let report = connector.check().await.unwrap();
    assert!(report.is_ok(), "{report:?}");
    let told = report.fact("computers").unwrap();
    assert!(
        told.starts_with("0: nobody reports to this server"),
        "{told}"
    );

    let computers = subject("vComputerTarget");
    source.load(&computers, &numbered_rows(&computers.schema, 5));
    source.fault(&subject("vUpdate"), &Fault::Deny);
    source.fault(&subject("vCategory"), &Fault::Vanish);
    source.fault(&subject("vComputerInventory"), &Fault::Vanish);
    let report = connector.check().await.unwrap();
    assert_eq!(report.fact("computers"), Some("5"));
    let told = report.fact("computers of downstream servers").unwrap();
    assert!(told.contains("rolled up"), "{told}");
    assert!(report.fact("newest report").is_some());
    for (name, told) in [
        ("vUpdate", "GRANT SELECT ON [PUBLIC_VIEWS].[vUpdate]"),
        (
            "vCategory",
            "failed: the database has no [PUBLIC_VIEWS].[vCategory]",
        ),
        ("vComputerInventory", "not collected: "),
        ("vClassification", "available"),
    ] {
        let found = report.availability(name).unwrap().to_string();
        assert!(found.contains(told), "{name}: {found}");
    }
}

#[tokio::test]
async fn what_the_server_has_otherwise_is_said() {
    let source = source();
    let connector = Wsus::new("lab", config(&source)).unwrap();

    source.fault(&subject("vCategory"), &Fault::Vanish);
    let error = read_by_key(&connector, "vCategory").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:#}");
    source.fault(&subject("vComputerInventory"), &Fault::Vanish);
    let error = read_by_key(&connector, "vComputerInventory")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotCollected, "{error:#}");
    source.fault(&subject("vUpdate"), &Fault::Deny);
    let error = read_by_key(&connector, "vUpdate").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission, "{error:#}");

    // A column that need not be there, one that must, and one of another type.
    let own = subject("vComputerTarget");
    let without = |name: &str| -> Vec<Column> {
        let columns = own.schema.columns().iter().filter(|c| c.name() != name);
        columns.cloned().collect()
    };
    source.serve_as(&own.name, &without("BiosName"));
    assert_eq!(read_by_key(&connector, &own.name).await.unwrap(), []);
    for name in ["ComputerTargetId", "Name"] {
        source.serve_as(&own.name, &without(name));
        let error = read_by_key(&connector, &own.name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains(name), "{error:#}");
        let report = connector.check().await.unwrap();
        let told = report.availability(&own.name).unwrap().to_string();
        assert!(told.contains(&format!("missing columns: {name}")), "{told}");
    }
    let mut retyped = without("LastSyncResult");
    retyped.push(Column::new("LastSyncResult", Type::Text));
    source.serve_as(&own.name, &retyped);
    let error = read_by_key(&connector, &own.name).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    let text = error.to_string();
    assert!(
        text.contains("LastSyncResult") && text.contains("nvarchar"),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_inferred_can_be_told() {
    let source = source();
    let mut config = config(&source);
    let urls = "expressions = { Url = 'l.Address' }";
    let urls: Override = toml::from_str(urls).unwrap();
    config
        .overrides
        .insert("vUpdateAdditionalInfoUrl".into(), urls);
    let groups: Override = toml::from_str("from = 'PUBLIC_VIEWS.vUpdate'").unwrap();
    let own = subject("vUpdateAdditionalInfoUrl");
    let columns = [
        Column::new("UpdateId", Type::Uuid),
        Column::new("Address", Type::Text),
    ];
    let values = numbered_rows(&own.schema, 3);
    source
        .peer()
        .serve(&[SqlTable::of(&own.name, &columns, &values)]);
    let connector = Wsus::new("lab", config.clone()).unwrap();
    let found = read_by_key(&connector, &own.name).await.unwrap();
    assert_eq!(found, own.rows(&values));

    // The name that only some texts have.
    let own = subject("vComputerGroupMembership");
    let values = numbered_rows(&own.schema, 3);
    let other = SqlTable::of(
        "vComputerTargetGroupMembership",
        own.schema.columns(),
        &values,
    );
    source.peer().serve(&[other]);
    assert_eq!(
        read_by_key(&connector, &own.name).await.unwrap(),
        own.rows(&values)
    );

    config.overrides.insert("vUpdates".into(), groups);
    let error = Wsus::new("lab", config).unwrap_err();
    assert!(
        error.to_string().contains("vUpdates, which is none"),
        "{error}"
    );
}

#[tokio::test]
async fn further_columns_of_approvals_are_read() {
    let source = source();
    let own = subject("vUpdateApproval");
    let mut columns = own.schema.columns().to_vec();
    columns.push(Column::new("AdministratorName", Type::Text).null());
    let wider = Subject::new("vUpdateApproval", Schema::new(columns).unwrap());
    let values = numbered_rows(&wider.schema, 3);
    source
        .peer()
        .serve(&[SqlTable::of(&own.name, wider.schema.columns(), &values)]);
    let connector = Wsus::new("lab", config(&source)).unwrap();
    assert_eq!(
        read_by_key(&connector, &own.name).await.unwrap(),
        wider.rows(&values)
    );
}

/// More than one range's worth of computers, some of whose states have no computer any more.
#[tokio::test]
async fn installation_states_are_read_in_ranges_of_computers() {
    let source = source();
    let computers = subject("vComputerTarget");
    let id = computers.schema.position("ComputerTargetId").unwrap();
    let mut listed = numbered_rows(&computers.schema, 120);
    let states = subject("vUpdateInstallationInfoBasic");
    let mut values = Vec::new();
    for (number, row) in numbered_rows(&states.schema, 400).into_iter().enumerate() {
        let computer = listed[number % 120][id].clone();
        let state = i64::try_from(number % 7).unwrap();
        values.push(vec![row[0].clone(), computer, Value::Int(state)]);
    }
    listed.remove(0);
    listed.remove(77);
    source.load(&computers, &listed);
    source.load(&states, &values);

    let connector = Wsus::new("lab", config(&source)).unwrap();
    let applicable: Vec<_> = values
        .iter()
        .filter(|row| row[2] != Value::Int(1))
        .cloned()
        .collect();
    let found = read_by_key(&connector, &states.name).await.unwrap();
    assert_eq!(found, states.rows(&applicable));

    let mut config = config(&source);
    config.product.not_applicable = true;
    let connector = Wsus::new("lab", config).unwrap();
    let found = read_by_key(&connector, &states.name).await.unwrap();
    assert_eq!(found, states.rows(&values));
}

#[test]
fn what_is_large_is_never_read_in_one_statement() {
    for name in [
        "vUpdateInstallationInfoBasic",
        "vUpdateEffectiveApprovalPerComputer",
        "vComputerInventory",
    ] {
        let dataset = declared().into_iter().find(|d| d.name == name).unwrap();
        let range = format!("{:?}", dataset.range.unwrap());
        assert!(range.contains("always: true"), "{range}");
        assert!(
            range.contains("vComputerTarget.ComputerTargetId"),
            "{range}"
        );
    }
    let whole = declared()
        .into_iter()
        .find(|d| d.name == "vUpdateInstallationInfo");
    assert!(whole.is_none());
}

#[tokio::test]
async fn the_windows_internal_database_is_explained() {
    let mut config = WsusConfig::new("WSUS01\\MICROSOFT##WID".parse().unwrap(), DATABASE);
    config.auth = Authentication::Sql {
        user: USER.to_owned(),
        password: Secret::new(PASSWORD),
    };
    let connector = Wsus::new("lab", config.clone()).unwrap();
    let error = connector.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(text.contains("only on the WSUS server itself"), "{text}");
    assert!(text.contains("move SUSDB to a SQL Server"), "{text}");

    // Nobody answers on a port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    config.server = format!("127.0.0.1,{}", free.port()).parse().unwrap();
    let error = Wsus::new("lab", config).unwrap().check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:#}");
    let text = format!("{error:#}");
    assert!(text.contains("MICROSOFT##WID"), "{text}");

    let pipe = r"server = '\\.\pipe\MICROSOFT##WID\tsql\query'";
    let error = toml::from_str::<WsusConfig>(&format!("{pipe}\ndatabase = 'SUSDB'")).unwrap_err();
    assert!(
        error.to_string().contains("Windows Internal Database"),
        "{error}"
    );
}

/// Rows that a test makes have the same value in columns of one type, so a column that is read as
/// another shows here. The one whose name is not documented is an
/// expression.
#[test]
fn every_column_is_called_as_in_its_table() {
    for dataset in declared() {
        let (_, alias) = dataset.from.split_once(' ').unwrap();
        for column in dataset.columns {
            let own = format!("{alias}.{}", column.name());
            let is_own = column.expression() == own || column.name() == "Url";
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
    let table = table();
    assert!(
        readme.contains(&table),
        "the table in README.md has to be\n\n{table}"
    );
}
