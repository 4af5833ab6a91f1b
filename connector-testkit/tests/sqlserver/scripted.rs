//! The scripted server, seen by tiberius.

use connector_testkit::{
    Authority, Certificate, cells,
    tds::{
        Cell, Collation, Column, Encryption, Gate, Reply, Script, ServerError, SqlType, TdsServer,
        Variant,
    },
};
use futures::TryStreamExt;
use tiberius::{ColumnData, EncryptionLevel, QueryItem};

use crate::{
    client::{Connection, Target, code},
    proxy::Proxy,
};

const PASSWORD: &str = "Passw0rd!";

fn target(server: &TdsServer) -> Target {
    Target::new(server.port(), &server.authority_pem())
}

async fn connect(server: &TdsServer) -> Connection {
    target(server).connect().await.unwrap()
}

fn id() -> Column {
    Column::new("id", SqlType::Int).not_null()
}

async fn rows(connection: &mut Connection, query: &str) -> tiberius::Result<Vec<tiberius::Row>> {
    connection
        .simple_query(query)
        .await?
        .into_first_result()
        .await
}

async fn ids(connection: &mut Connection, query: &str) -> tiberius::Result<Vec<i32>> {
    let rows = rows(connection, query).await?;
    Ok(rows
        .iter()
        .map(|row| row.get::<i32, _>(0).unwrap())
        .collect())
}

/// Sends one value as a row and as a row with null bits, beside a null, and reads it back.
async fn round_trip(ty: SqlType, cell: Cell) -> ColumnData<'static> {
    let columns = [
        Column::new("value", ty.clone()),
        Column::new("null", ty.clone()),
    ];
    let reply = Reply::columns(columns)
        .row([cell.clone(), Cell::Null])
        .compressed_row([cell, Cell::Null]);
    let server = Script::new().on("select", reply).start().await;
    let mut connection = connect(&server).await;
    let rows = rows(&mut connection, "SELECT value").await.unwrap();
    let [plain, compressed] = <[_; 2]>::try_from(rows).unwrap();
    let read =
        |row: tiberius::Row| <[_; 2]>::try_from(row.into_iter().collect::<Vec<_>>()).unwrap();
    let [value, null] = read(plain);
    let [same, null_by_bit] = read(compressed);
    assert_eq!(value, same, "{ty:?}");
    // Nulls of one type may come as null of another, which is the driver's doing.
    for null in [null, null_by_bit] {
        assert!(format!("{null:?}").ends_with("(None)"), "{ty:?}: {null:?}");
    }
    value
}

async fn shown(ty: SqlType, cell: impl Into<Cell>) -> String {
    format!("{:?}", round_trip(ty, cell.into()).await)
}

#[tokio::test]
async fn numbers() {
    for (ty, cell, expected) in [
        (SqlType::TinyInt, Cell::from(255_u8), "U8(Some(255))"),
        (SqlType::SmallInt, (-2_i16).into(), "I16(Some(-2))"),
        (SqlType::Int, i32::MIN.into(), "I32(Some(-2147483648))"),
        (
            SqlType::BigInt,
            i64::MIN.into(),
            "I64(Some(-9223372036854775808))",
        ),
        (SqlType::Bit, true.into(), "Bit(Some(true))"),
        (SqlType::Real, 0.1_f32.into(), "F32(Some(0.1))"),
        (SqlType::Float, 0.1_f64.into(), "F64(Some(0.1))"),
    ] {
        assert_eq!(shown(ty, cell).await, expected);
    }
}

#[tokio::test]
async fn decimals_and_money() {
    for (ty, text) in [
        (SqlType::Decimal(9, 2), "-1234567.89"),
        (SqlType::Decimal(19, 1), "999999999999999999.9"),
        (SqlType::Numeric(28, 10), "-123456789012345678.0123456789"),
        (
            SqlType::Decimal(38, 4),
            "9999999999999999999999999999999999.9999",
        ),
        (SqlType::Decimal(9, 2), "0.05"),
    ] {
        let ColumnData::Numeric(Some(value)) = round_trip(ty, text.into()).await else {
            panic!("{text}");
        };
        assert_eq!(value.to_string(), text);
    }
    // tiberius reads money as a float.
    for (ty, text, expected) in [
        (SqlType::Money, "-922337.5808", -922_337.580_8),
        (SqlType::SmallMoney, "-214748.3648", -214_748.364_8),
    ] {
        assert_eq!(
            round_trip(ty, text.into()).await,
            ColumnData::F64(Some(expected))
        );
    }
}

#[tokio::test]
async fn dates_and_times() {
    for (ty, text, expected) in [
        (SqlType::Date, "2026-11-21", "Date(Some(Date(739940)))"),
        (SqlType::Date, "0001-01-01", "Date(Some(Date(0)))"),
        (
            SqlType::Time(7),
            "23:59:59.9999999",
            "Time(Some(Time { increments: 863999999999, scale: 7 }))",
        ),
        (
            SqlType::Time(0),
            "00:00:01",
            "Time(Some(Time { increments: 1, scale: 0 }))",
        ),
        (
            SqlType::DateTime,
            "2026-11-21 12:00:00.003",
            "DateTime(Some(DateTime { days: 46345, seconds_fragments: 12960001 }))",
        ),
        (
            SqlType::DateTime,
            "1753-01-01 00:00:00",
            "DateTime(Some(DateTime { days: -53690, seconds_fragments: 0 }))",
        ),
        (
            SqlType::SmallDateTime,
            "2079-06-06 23:59",
            "SmallDateTime(Some(SmallDateTime { days: 65535, seconds_fragments: 1439 }))",
        ),
        (
            SqlType::DateTime2(3),
            "0001-01-02 00:00:00.001",
            "DateTime2(Some(DateTime2 { date: Date(1), time: Time { increments: 1, scale: 3 } }))",
        ),
        (
            // Sent in UTC, the day before.
            SqlType::DateTimeOffset(7),
            "0001-01-03 01:00:00.0000001 +02:00",
            "DateTimeOffset(Some(DateTimeOffset { datetime2: DateTime2 { date: Date(1), \
             time: Time { increments: 828000000001, scale: 7 } }, offset: 120 }))",
        ),
    ] {
        assert_eq!(shown(ty, text).await, expected);
    }
}

#[tokio::test]
async fn texts() {
    let long = "ä\u{1F600}".repeat(5000);
    for (ty, text) in [
        (SqlType::NVarChar(20), "ä\u{1F600}"),
        (SqlType::NVarChar(20), ""),
        (SqlType::NChar(3), "ab "),
        (SqlType::NVarCharMax, &long),
        (SqlType::NVarCharMax, ""),
        (SqlType::NText, "ä"),
        (SqlType::VarChar(20, Collation::SQL_LATIN1_CP1), "ä€"),
        (SqlType::Char(2, Collation::LATIN1), "é "),
        (SqlType::VarCharMax(Collation::CYRILLIC), "привет"),
        (SqlType::VarChar(20, Collation::JAPANESE), "日本語"),
        (SqlType::VarChar(20, Collation::CHINESE), "中文"),
        (SqlType::VarChar(20, Collation::TURKISH), "ğİ"),
        (SqlType::Text(Collation::LATIN1), "ß"),
    ] {
        let value = round_trip(ty.clone(), text.into()).await;
        let ColumnData::String(Some(value)) = value else {
            panic!("{value:?} for {ty:?}");
        };
        assert_eq!(value, text, "{ty:?}");
    }
    let xml = shown(SqlType::Xml, "<a/>").await;
    assert!(xml.contains("<a/>"), "{xml}");
}

#[tokio::test]
async fn bytes_and_identifiers() {
    let long = vec![7; 20_000];
    for (ty, bytes) in [
        (SqlType::Binary(3), &[0_u8, 1, 2][..]),
        (SqlType::VarBinary(3), &[]),
        (SqlType::VarBinaryMax, &long),
        (SqlType::Image, &[9, 8]),
    ] {
        let value = round_trip(ty.clone(), bytes.into()).await;
        let ColumnData::Binary(Some(value)) = value else {
            panic!("{value:?} for {ty:?}");
        };
        assert_eq!(value, bytes, "{ty:?}");
    }
    let text = "6f9619ff-8b86-d011-b42d-00c04fc964ff";
    assert_eq!(
        shown(SqlType::UniqueIdentifier, text).await,
        format!("Guid(Some({text}))")
    );
}

#[tokio::test]
async fn variants_and_udts() {
    for (cell, expected) in [
        (Variant::cell(SqlType::Int, 5), "I32(Some(5))"),
        (
            Variant::cell(SqlType::NVarChar(4), "ä"),
            "String(Some(\"ä\"))",
        ),
        (
            Variant::cell(SqlType::Decimal(9, 2), "-1.50"),
            "Numeric(Some(-1.50))",
        ),
        (
            Variant::cell(SqlType::VarChar(4, Collation::LATIN1), "é"),
            "String(Some(\"é\"))",
        ),
    ] {
        assert_eq!(shown(SqlType::SqlVariant, cell).await, expected);
    }
    let udt = shown(SqlType::Udt("hierarchyid"), vec![0x58_u8]).await;
    assert!(udt.contains("88"), "{udt}");
}

#[tokio::test]
async fn columns_that_are_never_null_have_types_without_a_length() {
    let columns = [
        Column::new("a", SqlType::TinyInt).not_null(),
        Column::new("b", SqlType::BigInt).not_null(),
        Column::new("c", SqlType::Bit).not_null(),
        Column::new("d", SqlType::Float).not_null(),
        Column::new("e", SqlType::DateTime).not_null(),
        Column::new("f", SqlType::Money).not_null(),
        Column::new("g", SqlType::NVarChar(5)).not_null(),
    ];
    let reply = Reply::columns(columns).row(cells![
        1_u8,
        2_i64,
        true,
        0.5,
        "1900-01-02 00:00:00",
        "1.0000",
        "x"
    ]);
    let server = Script::new().on("select", reply).start().await;
    let rows = rows(&mut connect(&server).await, "SELECT all")
        .await
        .unwrap();
    assert_eq!(rows[0].get::<u8, _>(0), Some(1));
    assert_eq!(rows[0].get::<i64, _>(1), Some(2));
    assert_eq!(rows[0].get::<bool, _>(2), Some(true));
    assert_eq!(rows[0].get::<f64, _>(3), Some(0.5));
    assert_eq!(rows[0].get::<&str, _>(6), Some("x"));
}

#[tokio::test]
async fn errors_by_number_alone_and_after_rows() {
    let server = Script::new()
        .on(
            "v_Secret",
            Reply::error(ServerError::new(229, 14, 5, "Denied.").line(3)),
        )
        .on(
            "v_Locked",
            Reply::columns([id()])
                .row(cells![1])
                .then_error(ServerError::new(1205, 13, 51, "Deadlock.")),
        )
        .start()
        .await;
    let mut connection = connect(&server).await;
    let error = rows(&mut connection, "SELECT id FROM v_Secret")
        .await
        .unwrap_err();
    let tiberius::error::Error::Server(token) = error else {
        panic!("{error}");
    };
    assert_eq!(
        (token.code(), token.class(), token.state(), token.line()),
        (229, 14, 5, 3)
    );

    let mut stream = connection
        .simple_query("SELECT id FROM v_Locked")
        .await
        .unwrap();
    let mut seen = 0;
    let error = loop {
        match stream.try_next().await {
            Ok(Some(QueryItem::Row(_))) => seen += 1,
            Ok(Some(_)) => {}
            Ok(None) => panic!("the error is missing"),
            Err(error) => break error,
        }
    };
    assert_eq!((seen, error.code()), (1, Some(1205)));
}

#[tokio::test]
async fn several_results_with_and_without_counts() {
    let reply = Reply::columns([id()])
        .row(cells![1])
        .then_info(ServerError::new(0, 0, 1, "printed"))
        .then_columns([id()])
        .row(cells![2])
        .without_count();
    let server = Script::new().on("select", reply).start().await;
    let mut connection = connect(&server).await;
    let results = connection.simple_query("SELECT 1; SELECT 2").await.unwrap();
    let results = results.into_results().await.unwrap();
    assert_eq!(results.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
}

#[tokio::test]
async fn answers_that_break_off_are_errors() {
    let start = || Reply::columns([Column::new("name", SqlType::NVarChar(50))]).row(cells!["a"]);
    let server = Script::new()
        .once("cut", start().then_cut())
        .once(
            "in a row",
            start().then_cut_in_row(cells!["interrupted"], 7),
        )
        .once("reset", start().then_reset())
        .once("nothing", Reply::cut())
        .start()
        .await;
    for query in [
        "SELECT cut",
        "SELECT in a row",
        "SELECT reset",
        "SELECT nothing",
    ] {
        let mut connection = connect(&server).await;
        let result = rows(&mut connection, query).await;
        assert!(result.is_err(), "{query}: {result:?}");
    }
    server.all_closed().await;
}

#[tokio::test]
async fn a_message_may_end_without_done() {
    let reply = Reply::columns([id()])
        .row(cells![1])
        .then_end_without_done();
    let server = Script::new().on("select", reply).start().await;
    let mut connection = connect(&server).await;
    let mut stream = connection.simple_query("SELECT id").await.unwrap();
    let mut items = Vec::new();
    while let Ok(Some(item)) = stream.try_next().await {
        items.push(matches!(item, QueryItem::Row(_)));
    }
    // Columns and the row; what a driver makes of the missing end is the driver's.
    assert_eq!(items, [false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_hang_is_for_the_paused_clock() {
    let reply = Reply::columns([id()]).row(cells![1]).then_hang();
    let server = Script::new().on("select", reply).start().await;
    let mut connection = connect(&server).await;
    let hour = std::time::Duration::from_hours(1);
    let query = ids(&mut connection, "SELECT id");
    assert!(tokio::time::timeout(hour, query).await.is_err());
    drop(connection);
    server.all_closed().await;
}

#[tokio::test]
async fn rows_come_when_the_test_lets_them() {
    let gate = Gate::new();
    let reply = Reply::columns([id()])
        .row(cells![1])
        .wait(&gate)
        .row(cells![2]);
    let server = Script::new().on("select", reply).start().await;
    let mut connection = connect(&server).await;
    let mut stream = connection.simple_query("SELECT id").await.unwrap();
    assert!(matches!(
        stream.try_next().await,
        Ok(Some(QueryItem::Metadata(_)))
    ));
    assert!(matches!(
        stream.try_next().await,
        Ok(Some(QueryItem::Row(_)))
    ));
    gate.reached(1).await;
    gate.open();
    assert!(matches!(
        stream.try_next().await,
        Ok(Some(QueryItem::Row(_)))
    ));
}

#[tokio::test]
async fn many_rows_are_made_while_they_are_sent() {
    let reply = Reply::columns([id()]).rows(300_000, |number| {
        cells![i32::try_from(number).unwrap()].to_vec()
    });
    let server = Script::new().on("select", reply).start().await;
    let mut connection = connect(&server).await;
    let stream = connection.simple_query("SELECT id").await.unwrap();
    let mut rows = stream.into_row_stream();
    let mut expected = 0;
    while let Some(row) = rows.try_next().await.unwrap() {
        assert_eq!(row.get::<i32, _>(0), Some(expected));
        expected += 1;
    }
    assert_eq!(expected, 300_000);
}

#[tokio::test]
async fn what_arrives_is_seen() {
    let server = Script::new()
        .login("reader", PASSWORD)
        .database("CM_P01")
        .on("v_Device", Reply::columns([id()]).row(cells![7]))
        .start()
        .await;
    let mut target = target(&server);
    target.database = "CM_P01";
    let mut connection = target.connect().await.unwrap();
    let query = "SELECT id\n FROM dbo.V_DEVICE WHERE id >= @P1 AND name = @P2";
    let result = connection.query(query, &[&7_i32, &"a"]).await.unwrap();
    assert_eq!(result.into_first_result().await.unwrap().len(), 1);

    let [login] = <[_; 1]>::try_from(server.logins()).unwrap();
    assert_eq!((&*login.user, &*login.password), ("reader", PASSWORD));
    assert_eq!((&*login.database, &*login.app_name), ("CM_P01", "a test"));
    assert_eq!((login.read_only, login.packet_size), (true, 8192));
    assert!(!format!("{login:?}").contains(PASSWORD));
    let [request] = <[_; 1]>::try_from(server.requests()).unwrap();
    assert_eq!(request.text, query);
    assert_eq!(request.procedure.as_deref(), Some("sp_executesql"));
    let values: Vec<_> = request
        .parameters
        .iter()
        .map(|(_, value)| value.clone())
        .collect();
    assert_eq!(values, cells![7, "a"]);
}

#[tokio::test]
async fn logins_are_refused_by_password_and_by_database() {
    let server = Script::new()
        .login("reader", PASSWORD)
        .database("CM_P01")
        .start()
        .await;
    let mut wrong = target(&server);
    wrong.password = "wrong";
    assert_eq!(code(wrong.connect().await), Some(18456));
    let mut other = target(&server);
    other.database = "other";
    assert_eq!(code(other.connect().await), Some(4060));
}

#[tokio::test]
async fn a_gateway_sends_clients_elsewhere() {
    let server = Script::new().route("other.example", 11042).start().await;
    let error = target(&server).connect().await.err().unwrap();
    let tiberius::error::Error::Routing { host, port } = error else {
        panic!("{error}");
    };
    assert_eq!((&*host, port), ("other.example", 11042));
}

#[tokio::test]
async fn encryption_is_negotiated() {
    use EncryptionLevel as Level;
    for (offered, asked, connects) in [
        (Encryption::Offered, Level::Required, true),
        (Encryption::Offered, Level::On, true),
        (Encryption::Offered, Level::Off, true),
        (Encryption::Offered, Level::NotSupported, true),
        (Encryption::Offered, Level::Strict, false),
        (Encryption::Required, Level::Required, true),
        (Encryption::Required, Level::Off, true),
        (Encryption::Required, Level::NotSupported, false),
        (Encryption::NotSupported, Level::Required, false),
        (Encryption::NotSupported, Level::NotSupported, true),
        (Encryption::Strict, Level::Strict, true),
        (Encryption::Strict, Level::Required, false),
    ] {
        let reply = Reply::columns([id()]).row(cells![1]);
        let script = Script::new().encryption(offered).on("select", reply);
        let server = script.start().await;
        let mut target = target(&server);
        target.encryption = asked;
        let connection = target.connect().await;
        assert_eq!(
            connection.is_ok(),
            connects,
            "{offered:?} {asked:?}: {:?}",
            connection.err()
        );
        if let Ok(mut connection) = connection {
            assert_eq!(ids(&mut connection, "SELECT id").await.unwrap(), [1]);
        }
    }
}

#[tokio::test]
async fn certificates_right_and_wrong() {
    let authority = Authority::new();
    for (certificate, accepted) in [
        (authority.issue(&["localhost"]), true),
        (authority.issue(&["other.example"]), false),
        (authority.issue_expired(&["localhost"]), false),
        (authority.issue_common_name_only("localhost"), false),
        (Certificate::self_signed(&["localhost"]), false),
    ] {
        let server = Script::new().certificate(certificate).start().await;
        let connection = Target::new(server.port(), &authority.pem()).connect().await;
        assert_eq!(connection.is_ok(), accepted, "{:?}", connection.err());
    }
}

#[tokio::test]
async fn an_answer_may_depend_on_the_parameters() {
    let server = Script::new()
        .on_each("WHERE id >= @P1", |request| {
            let from = request.parameters[0].1.clone();
            Reply::columns([id()]).row([from])
        })
        .start()
        .await;
    let mut connection = connect(&server).await;
    for from in [5, 1000] {
        let query = "SELECT id FROM t WHERE id >= @P1";
        let rows = connection.query(query, &[&from]).await.unwrap();
        let rows = rows.into_first_result().await.unwrap();
        assert_eq!(rows[0].get::<i32, _>(0), Some(from));
    }
}

#[tokio::test]
async fn garbage_after_rows_is_an_error() {
    let reply = Reply::columns([id()]).row(cells![1]).then_raw([0x01, 0x02]);
    let server = Script::new().on("select", reply).start().await;
    let mut connection = connect(&server).await;
    assert!(ids(&mut connection, "SELECT id").await.is_err());
}

#[tokio::test]
async fn what_is_not_scripted_is_an_error_that_says_so() {
    let server = Script::new().start().await;
    let mut connection = connect(&server).await;
    let set = "SET NOCOUNT ON; SET LOCK_TIMEOUT 30000;";
    connection
        .simple_query(set)
        .await
        .unwrap()
        .into_results()
        .await
        .unwrap();
    let error = rows(&mut connection, "SELECT 1").await.unwrap_err();
    assert_eq!(error.code(), Some(50000));
    assert!(error.to_string().contains("select 1"), "{error}");
    server.on("select 1", Reply::columns([id()]).row(cells![1]));
    assert_eq!(ids(&mut connection, "SELECT  1").await.unwrap(), [1]);
}

/// The status of the DONE at the end of a message: [MS-TDS] 2.2.7.6.
fn last_status(messages: &[Vec<u8>]) -> u16 {
    let message = messages.last().unwrap();
    let done = &message[message.len() - 13..];
    assert_eq!(done[0], 0xFD);
    u16::from_le_bytes([done[1], done[2]])
}

#[tokio::test]
async fn cancelling_is_acknowledged_in_a_wait_and_in_the_middle_of_rows() {
    let gate = Gate::new();
    let start = || Reply::columns([id()]).row(cells![1]);
    let server = Script::new()
        .on("waits", start().wait(&gate))
        .on("hangs", start().then_hang())
        .on("goes on", start().rows(u64::MAX, |_| cells![2].to_vec()))
        .start()
        .await;
    for (number, query) in ["waits", "hangs", "goes on"].into_iter().enumerate() {
        let proxy = Proxy::start(server.port()).await;
        let mut target = Target::new(proxy.port, &server.authority_pem());
        target.encryption = EncryptionLevel::Off;
        let mut connection = target.connect().await.unwrap();
        let reading = ids(&mut connection, query);
        let cancelling = async {
            server.requested(query, 1).await;
            proxy.cancel();
        };
        let (read, ()) = tokio::join!(reading, cancelling);
        assert_eq!(read.unwrap()[0], 1, "{query}");
        assert_eq!(server.attentions(), number + 1);
        // DONE_ATTN.
        assert_eq!(last_status(&proxy.messages()), 0x20, "{query}");
    }
}

#[tokio::test]
async fn a_server_may_ignore_that_it_is_cancelled() {
    let gate = Gate::new();
    let reply = Reply::columns([id()]).row(cells![1]).wait(&gate);
    let server = Script::new()
        .ignore_attention()
        .on("select", reply)
        .start()
        .await;
    let proxy = Proxy::start(server.port()).await;
    let mut target = Target::new(proxy.port, &server.authority_pem());
    target.encryption = EncryptionLevel::Off;
    let mut connection = target.connect().await.unwrap();
    let reading = ids(&mut connection, "SELECT id");
    let cancelling = async {
        gate.reached(1).await;
        proxy.cancel();
        server.cancelled(1).await;
        gate.open();
    };
    let (read, ()) = tokio::join!(reading, cancelling);
    assert_eq!(read.unwrap(), [1]);
    // DONE_COUNT.
    assert_eq!(last_status(&proxy.messages()), 0x10);
}
