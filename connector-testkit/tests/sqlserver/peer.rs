//! The SQL Server peer, seen by tiberius.

use connector_testkit::peer::{SqlServerPeer, SqlTable};
use serde_json::json;

use crate::client::{Connection, Target, code};

const PASSWORD: &str = "Passw0rd!";

async fn connect(peer: &SqlServerPeer) -> Connection {
    let target = Target::new(peer.port(), &peer.authority_pem());
    target.connect().await.unwrap()
}

async fn names(connection: &mut Connection) -> Vec<String> {
    let query = "SELECT Name FROM dbo.v_Device ORDER BY ResourceID";
    let rows = connection.simple_query(query).await.unwrap();
    let rows = rows.into_first_result().await.unwrap();
    rows.iter()
        .map(|row| row.get::<&str, _>(0).unwrap_or("null").to_owned())
        .collect()
}

async fn error_number(connection: &mut Connection, query: &str) -> Option<u32> {
    let result = match connection.simple_query(query).await {
        Ok(stream) => stream.into_results().await.map(drop),
        Err(error) => Err(error),
    };
    result.err().and_then(|error| error.code())
}

fn devices(names: &[&str]) -> SqlTable {
    let rows = names.iter().enumerate();
    SqlTable::new("v_Device")
        .column("ResourceID", "int")
        .column("Name", "nvarchar(256)")
        .rows(rows.map(|(id, name)| vec![json!(id), json!(name)]))
}

#[tokio::test]
async fn what_it_serves_changes_under_open_connections() {
    let peer = SqlServerPeer::start("reader", PASSWORD);
    peer.serve([&devices(&["PC-1", "PC-2"])]);
    let mut one = connect(&peer).await;
    let mut two = connect(&peer).await;
    assert_eq!(names(&mut one).await, ["PC-1", "PC-2"]);

    peer.serve([&devices(&["PC-3"])]);
    assert_eq!(names(&mut one).await, ["PC-3"]);
    assert_eq!(names(&mut two).await, ["PC-3"]);
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let peer = SqlServerPeer::start("reader", PASSWORD);
    let mut target = Target::new(peer.port(), &peer.authority_pem());
    target.password = "wrong";
    assert_eq!(code(target.connect().await), Some(18456));
}

#[tokio::test]
async fn errors_have_their_numbers() {
    let peer = SqlServerPeer::start("reader", PASSWORD);
    peer.deny([&devices(&["PC-1"])], ["v_Secret"]);
    let mut connection = connect(&peer).await;
    for (query, number) in [
        ("SELECT Name FROM dbo.v_Missing", 208),
        ("SELECT Missing FROM dbo.v_Device", 207),
        ("SELECT Name FROM dbo.v_Secret", 229),
        ("COMMIT TRAN", 3902),
    ] {
        assert_eq!(
            error_number(&mut connection, query).await,
            Some(number),
            "{query}"
        );
    }
    assert_eq!(names(&mut connection).await, ["PC-1"]);
}

#[tokio::test]
async fn parameters_arrive() {
    let peer = SqlServerPeer::start("reader", PASSWORD);
    peer.serve([&devices(&["PC-1", "PC-2", "PC-3"])]);
    let mut connection = connect(&peer).await;
    let query = "SELECT Name FROM dbo.v_Device WHERE ResourceID >= @P1 AND ResourceID < @P2";
    let rows = connection.query(query, &[&1_i32, &2_i32]).await.unwrap();
    let rows = rows.into_first_result().await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<&str, _>(0), Some("PC-2"));
}

#[tokio::test]
async fn every_declared_type_is_kept() {
    let peer = SqlServerPeer::start("reader", PASSWORD);
    let types = [
        ("bit", json!(true), "Bitn"),
        ("tinyint", json!(255), "Int1"),
        ("smallint", json!(-3), "Int2"),
        ("int", json!(-4), "Int4"),
        ("bigint", json!(i64::MAX), "Int8"),
        ("real", json!(0.5), "Float4"),
        ("float", json!(0.25), "Float8"),
        ("datetime", json!("2026-01-02T03:04:05.123"), "Datetimen"),
        (
            "uniqueidentifier",
            json!("6f9619ff-8b86-d011-b42d-00c04fc964ff"),
            "Guid",
        ),
        ("nvarchar(20)", json!("ä\u{1F600}"), "NVarchar"),
        ("nvarchar(max)", json!("x".repeat(9000)), "NVarchar"),
        ("varbinary(8)", json!("0102"), "BigVarBin"),
        ("binary(4)", json!("01020304"), "BigBinary"),
    ];
    let mut table = SqlTable::new("v_All");
    for (number, (sql_type, _, _)) in types.iter().enumerate() {
        table = table.column(&format!("c{number}"), sql_type);
    }
    let values: Vec<_> = types.iter().map(|(_, value, _)| value.clone()).collect();
    let nulls = vec![json!(null); types.len()];
    peer.serve([&table.rows([values, nulls])]);

    let mut connection = connect(&peer).await;
    let rows = connection
        .simple_query("SELECT * FROM dbo.v_All")
        .await
        .unwrap();
    let rows = rows.into_first_result().await.unwrap();
    assert_eq!(rows.len(), 2);
    let wire: Vec<_> = rows[0]
        .columns()
        .iter()
        .map(|c| format!("{:?}", c.column_type()))
        .collect();
    assert_eq!(wire, types.each_ref().map(|(_, _, wire)| *wire));
    assert_eq!(rows[0].get::<u8, _>(1), Some(255));
    assert_eq!(rows[0].get::<i64, _>(4), Some(i64::MAX));
    assert_eq!(rows[0].get::<&str, _>(9), Some("ä\u{1F600}"));
    assert_eq!(rows[0].get::<&str, _>(10).map(str::len), Some(9000));
    assert_eq!(rows[0].get::<&[u8], _>(12), Some(&[1_u8, 2, 3, 4][..]));

    let described = "SELECT c.name, t.name, c.max_length FROM sys.columns AS c \
        JOIN sys.types AS t ON t.user_type_id = c.user_type_id \
        WHERE c.object_id = OBJECT_ID(N'dbo.v_All') ORDER BY c.column_id";
    let columns = connection.simple_query(described).await.unwrap();
    let columns = columns.into_first_result().await.unwrap();
    // Without `binary`, as the documentation says.
    assert_eq!(columns.len(), types.len() - 1);
}

#[test]
#[should_panic(expected = "no column can be of type 'decimal(9,2)' here")]
fn a_type_that_it_does_not_have_is_refused_by_name() {
    let peer = SqlServerPeer::start("reader", PASSWORD);
    peer.serve([&SqlTable::new("v_Cost").column("Amount", "decimal(9,2)")]);
}
