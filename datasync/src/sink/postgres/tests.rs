use connector_core::{
    Column, ErrorKind, Secret, Sink as _, Type, Value,
    schema::{date, int, text, time},
};
use connector_testkit::peer::{PostgresDatabase, PostgresPeer};
use proptest::prelude::*;

use super::*;
use crate::sink::testing::{Source, all_types, deliver, values};

fn database() -> PostgresDatabase<'static> {
    PostgresPeer::shared().database()
}

fn config(database: &PostgresDatabase<'_>) -> PostgresConfig {
    let mut config = PostgresConfig::new(database.url());
    config.sslmode = Some(PostgresTls::Disable);
    config
}

async fn open(database: &PostgresDatabase<'_>) -> Repository {
    Repository::postgres(config(database)).await.unwrap()
}

/// What opening with other settings fails with.
async fn refusal(config: PostgresConfig) -> String {
    let error = Repository::postgres(config).await.unwrap_err();
    let shown = format!("{error:#} {error:?}");
    assert!(!shown.contains(PostgresPeer::PASSWORD), "{shown}");
    shown
}

const DEVICES: &str = "SELECT name, cores FROM devices ORDER BY name";

#[tokio::test]
async fn a_person_finds_tables_and_columns_without_quotes() {
    let database = database();
    let mut sink = open(&database).await;
    let columns = || {
        vec![
            text("Name0").key(),
            text("Größe").null(),
            int("XMIN").null(),
        ]
    };
    for connector in ["hr", "lab"] {
        let mut source = Source::new(connector, "v_R_System", columns());
        let name = |text: &'static str| Value::Text(text.into());
        let row = source.row(&[name("PC"), name("12"), Value::Int(4)]);
        deliver(&mut sink, &source.full(vec![row])).await.unwrap();
    }
    let found = database.query("SELECT Name0, \"größe\", xmin_2, _connector FROM V_R_SYSTEM");
    assert_eq!(found, ["PC|12|4|hr"]);
    let other = database.query("SELECT name0, _connector FROM lab_v_r_system");
    assert_eq!(other, ["PC|lab"]);

    let mut source = Source::new(
        "lab",
        &"pg_long".repeat(20),
        vec![
            text(Box::leak("a".repeat(80).into_boxed_str())).key(),
            text(Box::leak("a".repeat(81).into_boxed_str())),
            time("seen").null(),
            text("seen_100ns").null(),
        ],
    );
    deliver(&mut sink, &source.full(vec![])).await.unwrap();
    deliver(&mut sink, &source.full(vec![])).await.unwrap();
    let names = "SELECT attname FROM pg_attribute WHERE attnum > 0
                 AND attrelid = (SELECT oid FROM pg_class WHERE relname LIKE 'lab_pg_long%' AND relkind = 'r')";
    let expected = [
        "a".repeat(57),
        format!("{}_2", "a".repeat(55)),
        "seen".into(),
        "seen_100ns".into(),
        "seen_100ns_2".into(),
        "_connector".into(),
    ];
    assert_eq!(database.query(names), expected);
}

#[tokio::test]
async fn values_are_what_a_person_expects() {
    let database = database();
    let mut sink = open(&database).await;
    let columns: Vec<Column> = all_types()
        .into_iter()
        .filter(Column::is_nullable)
        .collect();
    let columns = [vec![Column::new("n", Type::Int).key()], columns].concat();
    let texts = [
        "1",
        "true",
        "-7",
        "1.5",
        "-0.0700",
        "a\0␀",
        "AQI=",
        "2026-11-21T03:08:00.1234567Z",
        "2026-11-21T03:08:00.0000009",
        "0001-01-01",
        "00000000-0000-0000-0000-00000000002a",
        r#"{"a":"\u0000"}"#,
    ];
    let mut source = Source::new("hr", "all", columns.clone());
    let parsed = columns
        .iter()
        .zip(texts)
        .map(|(column, text)| match column.ty() {
            Type::Text => Value::Text(text.into()),
            ty => ty.parse(text).unwrap(),
        });
    let row = source.row(&parsed.collect::<Vec<_>>());
    deliver(&mut sink, &source.full(vec![row])).await.unwrap();
    let found = database.query("SET timezone = 'UTC'; SELECT * FROM \"all\"");
    assert_eq!(
        found,
        [
            "1|t|-7|1.5|-0.0700|a␀␛␀|\\x0102|2026-11-21 03:08:00.123456+00|7|\
         2026-11-21 03:08:00|9|0001-01-01|00000000-0000-0000-0000-00000000002a|{\"a\":\"\\u0000\"}|hr"
        ]
    );
}

#[tokio::test]
async fn what_the_owner_made_outlives_a_full_load() {
    let database = database();
    let mut sink = open(&database).await;
    let mut source = Source::devices("hr");
    let device = |source: &Source, n: i64, cores| source.device(&format!("PC-{n}"), cores);
    let rows = (0..5).map(|n| device(&source, n, 4)).collect();
    deliver(&mut sink, &source.full(rows)).await.unwrap();
    database.query(
        "CREATE VIEW big AS SELECT name FROM devices WHERE cores > 4;
         CREATE INDEX by_cores ON devices (cores);
         CREATE ROLE reader; GRANT SELECT ON devices TO reader;
         CREATE TABLE seen (name text REFERENCES devices DEFERRABLE INITIALLY DEFERRED);
         INSERT INTO seen VALUES ('PC-1');
         CREATE TABLE mine (x text); INSERT INTO mine VALUES ('y')",
    );
    let untouched = "SELECT xmin FROM devices WHERE name = 'PC-1'";
    let before = database.query(untouched);
    let rows = (1..7)
        .map(|n| device(&source, n, if n > 3 { 8 } else { 4 }))
        .collect();
    deliver(&mut sink, &source.full(rows)).await.unwrap();
    assert_eq!(
        database.query("SELECT * FROM big ORDER BY name"),
        ["PC-4", "PC-5", "PC-6"]
    );
    assert_eq!(
        database.query(untouched),
        before,
        "a row that stays is not written"
    );
    let facts = "SELECT has_table_privilege('reader', 'devices', 'SELECT'),
                 (SELECT count(*) FROM pg_indexes WHERE tablename = 'devices'), (SELECT x FROM mine)";
    assert_eq!(database.query(facts), ["t|2|y"]);
    let held = sink
        .verify(&source.id, &source.schema)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((held.rows, held.digest), (6, source.digest()));
}

#[tokio::test]
async fn other_columns_are_changed_in_place() {
    let database = database();
    let mut sink = open(&database).await;
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4)];
    deliver(&mut sink, &source.full(rows)).await.unwrap();
    database.query(
        "CREATE VIEW names AS SELECT name FROM devices;
                    CREATE VIEW big AS SELECT name FROM devices WHERE cores > 4",
    );
    // Another type, and a column more.
    let columns = vec![
        text("cores").null(),
        text("name").key(),
        date("bought").null(),
    ];
    source.schema = Arc::new(Schema::new(columns).unwrap());
    let row = source.row(&[
        Value::Text("four".into()),
        Value::Text("PC-1".into()),
        Value::Null,
    ]);
    let full = source.full(vec![row]);
    let error = deliver(&mut sink, &full).await.unwrap_err();
    let said = format!("{error:#}");
    assert!(said.contains("view big depends on column cores"), "{said}");
    assert_eq!(database.query(DEVICES), ["PC-1|4"]);
    database.query("DROP VIEW big");
    deliver(&mut sink, &full).await.unwrap();
    assert_eq!(database.query(DEVICES), ["PC-1|four"]);
    assert_eq!(database.query("SELECT * FROM names"), ["PC-1"]);

    // Another key.
    let columns = vec![text("cores").key(), text("name").key()];
    source.schema = Arc::new(Schema::new(columns).unwrap());
    let row =
        |cores: &'static str| source.row(&[Value::Text(cores.into()), Value::Text("PC".into())]);
    let rows = vec![row("1"), row("2")];
    deliver(&mut sink, &source.full(rows)).await.unwrap();
    assert_eq!(
        database.query("SELECT cores, name FROM devices ORDER BY 1"),
        ["1|PC", "2|PC"]
    );
    assert_eq!(database.query("SELECT * FROM names"), ["PC", "PC"]);
    let held = sink
        .verify(&source.id, &source.schema)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(held.digest, source.digest());
}

#[tokio::test]
async fn a_table_of_the_owners_is_not_touched() {
    let database = database();
    let mut sink = open(&database).await;
    database.query(
        "CREATE TABLE devices (mine text); INSERT INTO devices VALUES ('x');
                    CREATE TYPE hr_devices AS ENUM ('a')",
    );
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4)];
    deliver(&mut sink, &source.full(rows)).await.unwrap();
    assert_eq!(database.query("SELECT * FROM devices"), ["x"]);
    assert_eq!(
        database.query("SELECT name FROM data2_hr_devices"),
        ["PC-1"]
    );
}

#[tokio::test]
async fn rows_that_were_changed_by_hand_are_replaced() {
    let database = database();
    let mut sink = open(&database).await;
    let mut source = Source::devices("hr");
    let rows = || {
        ["a", "b", "c"]
            .map(|name| Source::devices("hr").device(name, 4))
            .to_vec()
    };
    deliver(&mut sink, &source.full(rows())).await.unwrap();
    database.query("ALTER TABLE devices DROP CONSTRAINT _devices_key;
                    INSERT INTO devices VALUES ('a', 9), ('d', 1); DELETE FROM devices WHERE name = 'c'");
    let changed = vec![source.device("a", 4), source.device("c", 5)];
    let error = deliver(&mut sink, &source.change(changed))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete, "{error:#}");
    deliver(&mut sink, &source.full(rows())).await.unwrap();
    assert_eq!(database.query(DEVICES), ["a|4", "b|4", "c|4"]);
    assert_eq!(
        database.query("SELECT count(*) FROM pg_constraint WHERE conname = '_devices_key'"),
        ["1"]
    );
}

#[tokio::test]
async fn two_programs_with_one_connector_are_told_apart() {
    let database = database();
    let mut impatient = config(&database);
    impatient.lock_timeout = std::time::Duration::from_millis(50);
    let (mut one, mut other) = (
        open(&database).await,
        Repository::postgres(impatient).await.unwrap(),
    );
    assert_eq!(one.id(), other.id());
    let (mut source, mut free) = (Source::devices("hr"), Source::devices("lab"));
    let rows = vec![source.device("PC-1", 4)];
    let full = source.full(rows);
    one.write(&full.1).await.unwrap();
    let error = deliver(&mut other, &full).await.unwrap_err();
    let said = format!("{error:#}");
    assert!(
        said.contains("another program") && said.contains("hr/devices"),
        "{said}"
    );
    assert!(error.retry() != connector_core::Retry::Never);
    one.commit(&full.0).await.unwrap();
    deliver(&mut other, &full).await.unwrap();
    // Another connector's data sets are free.
    let more = source.change(vec![]);
    one.write(&more.1).await.unwrap();
    deliver(&mut other, &free.full(vec![])).await.unwrap();
    one.commit(&more.0).await.unwrap();
    assert!(database.query(DEVICES).is_empty());
}

#[tokio::test]
async fn a_connection_that_is_lost_is_made_again() {
    let database = database();
    let mut sink = open(&database).await;
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4)];
    let full = source.full(rows);
    let lose = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE application_name = 'datasync' AND datname = current_database()";
    // In the middle of a load, and of changes, and between two cycles.
    sink.write(&full.1[..2]).await.unwrap();
    assert_eq!(database.query(lose), ["1"]);
    let error = match sink.write(&full.1[2..]).await {
        Ok(()) => sink.commit(&full.0).await.unwrap_err(),
        Err(error) => error,
    };
    let said = format!("{error:#}");
    assert!(
        said.contains("postgresql://127.0.0.1") && !said.contains("Pa55"),
        "{said}"
    );
    deliver(&mut sink, &full).await.unwrap();
    let rows = vec![source.device("PC-2", 8)];
    let change = source.change(rows);
    sink.write(&change.1).await.unwrap();
    assert_eq!(database.query(DEVICES), ["PC-1|4"], "not committed");
    database.query(lose);
    assert!(sink.commit(&change.0).await.is_err());
    deliver(&mut sink, &change).await.unwrap();
    assert_eq!(database.query(DEVICES), ["PC-2|8"]);
    database.query(lose);
    deliver(&mut sink, &source.change(vec![])).await.unwrap();
    assert!(database.query(DEVICES).is_empty());
}

#[tokio::test]
async fn a_server_that_is_killed_keeps_what_was_committed_and_nothing_else() {
    let peer = PostgresPeer::start();
    let database = peer.database();
    let mut sink = open(&database).await;
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4)];
    deliver(&mut sink, &source.full(rows)).await.unwrap();
    peer.kill();
    let rows = (0..2000)
        .map(|n| source.device(&format!("PC-{n:04}"), n))
        .collect();
    let change = source.change(rows);
    assert!(deliver(&mut sink, &change).await.is_err());
    peer.restart();
    assert_eq!(database.query(DEVICES), ["PC-1|4"]);

    // In the middle of a transaction, with everything but the commit sent.
    sink.write(&change.1).await.unwrap();
    peer.kill();
    assert!(sink.commit(&change.0).await.is_err());
    peer.restart();
    assert_eq!(database.query(DEVICES), ["PC-1|4"]);
    deliver(&mut sink, &change).await.unwrap();
    peer.kill();
    peer.restart();
    let held = sink
        .verify(&source.id, &source.schema)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (held.rows, held.digest, held.cycle),
        (2000, source.digest(), change.0)
    );

    // In the middle of a load of a table that nobody sees yet.
    let mut other = Source::devices("lab");
    let rows: Vec<_> = source.rows.values().cloned().collect();
    let full = other.full(rows.clone());
    sink.write(&full.1[..1500]).await.unwrap();
    peer.kill();
    let rest = sink.write(&full.1[1500..]).await;
    assert!(rest.is_err() || sink.commit(&full.0).await.is_err());
    peer.restart();
    deliver(&mut sink, &full).await.unwrap();
    assert_eq!(database.query("SELECT count(*) FROM lab_devices"), ["2000"]);
    // Nothing of what was cut off is left.
    let tables =
        "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '(devices|staging)'";
    assert_eq!(database.query(tables), ["2"]);
}

#[tokio::test]
async fn encryption_is_checked() {
    let database = database();
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(authority.path(), PostgresPeer::shared().authority_pem()).unwrap();
    let mut right = PostgresConfig::new(database.url());
    right.ca_file = Some(authority.path().to_owned());
    let mut sink = Repository::postgres(right.clone()).await.unwrap();
    let mut source = Source::devices("hr");
    deliver(&mut sink, &source.full(vec![])).await.unwrap();
    let used = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                WHERE ssl AND application_name = 'datasync' AND datname = current_database()";
    assert_eq!(database.query(used), ["1"]);

    let unknown = refusal(PostgresConfig::new(database.url())).await;
    assert!(unknown.contains("ca_file"), "{unknown}");
    let mut anything = PostgresConfig::new(database.url());
    anything.trust_any_certificate_even_a_forged_one = true;
    Repository::postgres(anything).await.unwrap();
    right.password = Some(Secret::new("wrong"));
    let denied = refusal(right).await;
    assert!(
        denied.contains("password authentication failed"),
        "{denied}"
    );
}

#[tokio::test]
async fn a_schema_is_made_and_one_of_others_is_left_alone() {
    let database = database();
    let mut config = config(&database);
    config.schema = "In \"ventory".to_owned();
    let mut sink = Repository::postgres(config.clone()).await.unwrap();
    let mut source = Source::devices("hr");
    deliver(&mut sink, &source.full(vec![])).await.unwrap();
    assert!(
        database
            .query("SELECT * FROM \"In \"\"ventory\".devices")
            .is_empty()
    );
    let id = sink.id().to_owned();
    assert_eq!(Repository::postgres(config.clone()).await.unwrap().id(), id);

    database.query("UPDATE \"In \"\"ventory\"._repository SET format = 2");
    let newer = refusal(config.clone()).await;
    assert!(newer.contains("newer version"), "{newer}");
    for table in ["_repository", "_sync_log"] {
        database.query(&format!(
            "CREATE SCHEMA x{table}; CREATE TABLE x{table}.{table} (a int)"
        ));
        config.schema = format!("x{table}");
        let foreign = refusal(config.clone()).await;
        assert!(foreign.contains("another program"), "{foreign}");
        let tables = format!("SELECT count(*) FROM pg_tables WHERE schemaname = 'x{table}'");
        assert_eq!(database.query(&tables), ["1"]);
    }
}

#[tokio::test]
async fn a_role_without_rights_and_a_database_of_few_letters_are_refused() {
    let database = database();
    database.query(
        "CREATE ROLE poor LOGIN PASSWORD 'poor'; REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    );
    let port = PostgresPeer::shared().port();
    let mut config = PostgresConfig {
        sslmode: Some(PostgresTls::Disable),
        host: Some("127.0.0.1".to_owned()),
        port: Some(port),
        database: Some(database.name().to_owned()),
        user: Some("poor".to_owned()),
        password: Some(Secret::new("poor")),
        ..PostgresConfig::default()
    };
    let denied = refusal(config.clone()).await;
    assert!(
        denied.contains("permission denied for schema public"),
        "{denied}"
    );
    config.schema = "own".to_owned();
    let denied = refusal(config.clone()).await;
    assert!(denied.contains("can't make the schema"), "{denied}");

    let latin = format!("{}_latin", database.name());
    database.query(&format!(
        "CREATE DATABASE {latin} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    ));
    config.database = Some(latin);
    let few = refusal(config.clone()).await;
    assert!(few.contains("UTF8"), "{few}");
    config.port = Some(1);
    let nobody = refusal(config).await;
    assert!(nobody.contains("can't connect"), "{nobody}");
}

#[tokio::test]
async fn errors_have_no_values() {
    let database = database();
    let mut sink = open(&database).await;
    let mut source = Source::devices("hr");
    deliver(&mut sink, &source.full(vec![])).await.unwrap();
    database.query("ALTER TABLE devices ADD CHECK (cores < 5)");
    let rows = vec![source.device("S3CRET", 77_777)];
    let error = deliver(&mut sink, &source.change(rows)).await.unwrap_err();
    let said = format!("{error:#} {error:?}");
    assert!(
        said.contains("check constraint") && !said.contains("S3CRET"),
        "{said}"
    );
    assert!(!said.contains("77777"), "{said}");
}

#[tokio::test]
async fn logs_are_tables() {
    let database = database();
    let mut sink = open(&database).await;
    let at: connector_core::Timestamp = "2026-11-21T03:08:00.1234567Z".parse().unwrap();
    sink.log_process(ProcessEntry {
        at,
        action: "start",
        connector: None,
        message: Some("a\0b".into()),
    })
    .await
    .unwrap();
    let counts = connector_core::Counts {
        inserts: 5,
        ..Default::default()
    };
    sink.log_sync(SyncEntry {
        dataset: DatasetId::new("hr", "devices"),
        cycle: Some(connector_core::CycleId::new(3, at, false)),
        started: at,
        finished: at,
        counts,
        outcome: "synced",
        error: None,
    })
    .await
    .unwrap();
    let log =
        "SET timezone = 'UTC'; SELECT id, started, dataset, inserts, outcome, error FROM _sync_log";
    assert_eq!(
        database.query(log),
        ["1|2026-11-21 03:08:00.123456+00|devices|5|synced|NULL"]
    );
    let log = "SELECT action, connector, message FROM _process_log";
    assert_eq!(database.query(log), ["start|NULL|a␀b"]);
}

#[tokio::test]
async fn an_abandoned_write_leaves_nothing() {
    let database = database();
    let mut sink = open(&database).await;
    let mut source = Source::devices("hr");
    let rows = vec![source.device("PC-1", 4)];
    let full = source.full(rows);
    {
        let write = sink.write(&full.1[..2]);
        futures::pin_mut!(write);
        let _ = futures::poll!(write);
    }
    deliver(&mut sink, &full).await.unwrap();
    assert_eq!(database.query(DEVICES), ["PC-1|4"]);
}

#[test]
fn tables_hold_exactly_the_sources_rows() {
    let database = database();
    let number = std::cell::Cell::new(0);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(24));
    let row = || values(&all_types());
    let cycles = prop::collection::vec((any::<bool>(), prop::collection::vec(row(), 0..6)), 1..5);
    let outcome = runner.run(&(cycles, any::<prop::sample::Index>()), |(cycles, keep)| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut sink = open(&database).await;
            number.set(number.get() + 1);
            let connector = format!("hr{}", number.get());
            let mut source = Source::new(&connector, "all", all_types());
            for (place, (full, rows)) in cycles.into_iter().enumerate() {
                let mut next: Vec<_> = rows.iter().map(|values| source.row(values)).collect();
                // Some keys stay, with the other columns of another row.
                let old: Vec<_> = source.rows.values().cloned().collect();
                for (old, new) in old.iter().take(keep.index(6)).zip(&next.clone()) {
                    let half = all_types().len() / 2;
                    let values: Vec<_> = old
                        .values()
                        .take(half)
                        .chain(new.values().skip(half))
                        .collect();
                    next.push(source.row(&values));
                }
                let cycle = if full || place == 0 {
                    source.full(next)
                } else {
                    source.change(next)
                };
                deliver(&mut sink, &cycle).await.unwrap();
                let state = sink
                    .verify(&source.id, &source.schema)
                    .await
                    .unwrap()
                    .unwrap();
                prop_assert_eq!(state.rows, source.rows.len() as u64);
                prop_assert_eq!(state.digest, source.digest());
            }
            Ok(())
        })
    });
    outcome.unwrap();
}
