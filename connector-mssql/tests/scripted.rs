//! What the real peer can't do, over a scripted server that follows the protocol document.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::time::Duration;

use connector_core::{Connector, DatasetExt, ErrorKind, Result, Retry, Row, Secret};
use connector_mssql::{Authentication, DatasetConfig, SqlServer, SqlServerConfig};
use connector_testkit::{
    cells,
    tds::{Collation, Column, Encryption, Reply, Script, ServerError, SqlType, TdsServer},
};

const FROM: &str = "FROM [dbo].[t] AS";

/// Name, type, length, precision, scale and collation of a column.
type Described = (&'static str, i64, i64, i64, i64, Option<&'static str>);

/// The catalogue's answer.
fn catalogue(columns: &[Described]) -> Reply {
    let text = || SqlType::NVarChar(128);
    let mut reply = Reply::columns([
        Column::new("name", text()),
        Column::new("system_type_id", SqlType::Int),
        Column::new("max_length", SqlType::Int),
        Column::new("precision", SqlType::Int),
        Column::new("scale", SqlType::Int),
        Column::new("is_nullable", SqlType::Bit),
        Column::new("collation_name", text()),
    ]);
    for (name, system, length, precision, scale, collation) in columns {
        let mut row = cells![*name, *system, *length, *precision, *scale, true].to_vec();
        row.extend(match collation {
            Some(name) => cells![*name],
            None => cells![()],
        });
        reply = reply.row(row);
    }
    reply
}

fn script(columns: &[Described]) -> Script {
    let database = Reply::columns([
        Column::new("a", SqlType::TinyInt),
        Column::new("b", SqlType::Bit),
        Column::new("c", SqlType::NVarChar(128)),
    ])
    .row(cells![1, true, "SQL_Latin1_General_CP1_CI_AS"]);
    Script::new()
        .login("reader", "Passw0rd!")
        .on("sys.databases", database)
        .on("OBJECT_ID(N'[dbo].[t]')", catalogue(columns))
}

const ID: Described = ("id", 56, 4, 10, 0, None);

fn ids(count: u64) -> Reply {
    Reply::columns([Column::new("id", SqlType::Int).not_null()]).rows(count, |number| {
        cells![i64::try_from(number).unwrap()].to_vec()
    })
}

fn connector(server: &TdsServer, password: &str) -> SqlServer {
    let name = format!("localhost,{}", server.port());
    let mut config = SqlServerConfig::<()>::new(name.parse().unwrap(), "db");
    config.auth = Authentication::Sql {
        user: "reader".to_owned(),
        password: Secret::new(password),
    };
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(authority.path(), server.authority_pem()).unwrap();
    config.ca_file = Some(authority.path().to_owned());
    config.datasets = vec![DatasetConfig::new("t", "t", ["id"])];
    SqlServer::new("mssql", "lab", config, &[]).unwrap()
}

async fn read(server: &TdsServer) -> Result<Vec<Row>> {
    let datasets = connector(server, "Passw0rd!").datasets().await?;
    datasets[0].collect().await
}

#[tokio::test]
async fn money_and_code_pages_are_cast() {
    let server = script(&[
        ID,
        ("cost", 60, 8, 19, 4, None),
        ("greek", 167, 20, 0, 0, Some("Greek_CI_AS")),
        ("code", 175, 5, 0, 0, Some("Latin1_General_CI_AS")),
        ("exact", 106, 17, 38, 10, None),
    ])
    .on(
        FROM,
        Reply::columns([
            Column::new("id", SqlType::Int).not_null(),
            Column::new("cost", SqlType::Decimal(19, 4)),
            Column::new("greek", SqlType::NVarChar(20)),
            Column::new("code", SqlType::Char(5, Collation::LATIN1)),
            Column::new("exact", SqlType::Decimal(38, 10)),
        ])
        .row(cells![
            1,
            "922337203685477.5807",
            "αβγ",
            "P01  ",
            "-1234567890123456789012345678.0123456789"
        ]),
    )
    .start()
    .await;
    let rows = read(&server).await.unwrap();
    let values: Vec<_> = rows[0].values().map(|value| value.to_string()).collect();
    assert_eq!(
        values,
        [
            "1",
            "922337203685477.5807",
            "αβγ",
            "P01",
            "-1234567890123456789012345678.0123456789"
        ]
    );
    let asked = format!("{:?}", server.requests());
    assert!(asked.contains("CAST([t].[cost] AS decimal(19,4)) AS [cost]"));
    assert!(asked.contains("CAST([t].[greek] AS nvarchar(20)) AS [greek]"));
    assert!(asked.contains("SNAPSHOT"), "the database allows snapshots");
}

#[tokio::test]
async fn a_reply_that_breaks_off_is_never_complete() {
    for reply in [
        ids(10).then_cut(),
        ids(10).then_reset(),
        ids(10).then_end_without_done(),
        ids(10).then_error(ServerError::new(50_000, 16, 1, "No.")),
    ] {
        let server = script(&[ID]).on(FROM, reply).start().await;
        let error = tokio::time::timeout(Duration::from_mins(1), read(&server))
            .await
            .unwrap()
            .unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Incomplete | ErrorKind::Source),
            "{error:?}"
        );
        let text = error.to_string();
        assert!(
            text.contains(FROM) && text.contains("data set: t"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_deadlock_is_tried_again_and_loses_and_repeats_nothing() {
    let deadlock = || ids(10).then_error(ServerError::new(1205, 13, 51, "Deadlock."));
    let server = script(&[ID])
        .on(FROM, ids(20))
        .once(FROM, deadlock())
        .start()
        .await;
    assert_eq!(read(&server).await.unwrap().len(), 20);

    let server = script(&[ID]).on(FROM, deadlock()).start().await;
    let error = read(&server).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Source, Retry::Exhausted)
    );
}

#[tokio::test]
async fn a_refused_login_is_not_repeated() {
    let server = script(&[ID]).start().await;
    let datasets = connector(&server, "wrong").datasets().await.unwrap();
    let error = datasets[0].collect().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Auth, Retry::Never)
    );
    assert_eq!(server.logins().len(), 1);
}

#[tokio::test]
async fn nothing_goes_in_clear_text() {
    let server = script(&[ID])
        .encryption(Encryption::NotSupported)
        .start()
        .await;
    let error = read(&server).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(server.logins().is_empty());
}

#[tokio::test]
async fn a_dropped_read_closes_its_connections() {
    let server = script(&[ID]).on(FROM, ids(5).then_hang()).start().await;
    let datasets = connector(&server, "Passw0rd!").datasets().await.unwrap();
    {
        let mut read = Box::pin(datasets[0].collect());
        tokio::select! {
            _ = &mut read => panic!("read whole"),
            () = server.requested(FROM, 1) => {}
        }
    }
    server.all_closed().await;
}
