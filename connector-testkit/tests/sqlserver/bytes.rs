//! The scripted server's bytes beside those of the peer, for the same statements.

use connector_testkit::{
    cells,
    peer::{SqlServerPeer, SqlTable},
    tds::{Column, Reply, Script, ServerError, SqlType},
};
use serde_json::json;
use tiberius::EncryptionLevel;

use crate::{client::Target, prelogin::option, proxy::Proxy};

const QUERY: &str = "SELECT * FROM dbo.v_All";
const EMPTY: &str = "SELECT TOP (0) id FROM dbo.v_All";
const MISSING: &str = "SELECT * FROM dbo.v_Missing";
const SET: &str = "SET NOCOUNT ON";
const GUID: &str = "6f9619ff-8b86-d011-b42d-00c04fc964ff";
/// Beyond what one packet holds.
const LONG: usize = 9000;

/// What a server on that port answers in clear text to the prelogin, the login, and these
/// statements one by one.
async fn answers(port: u16, authority: &str) -> Vec<Vec<u8>> {
    let proxy = Proxy::start(port).await;
    let mut target = Target::new(proxy.port, authority);
    // Only the login is encrypted, so that the proxy can read the rest.
    target.encryption = EncryptionLevel::Off;
    // The one that the peer has, whatever is asked for.
    target.database = "pysqlbridge";
    let mut connection = target.connect().await.unwrap();
    for statement in [QUERY, EMPTY, MISSING, SET] {
        // Errors are answers too.
        if let Ok(results) = connection.simple_query(statement).await {
            let _ = results.into_results().await;
        }
    }
    proxy.messages()
}

fn table() -> SqlTable {
    SqlTable::new("v_All")
        .column("id", "int")
        .column("tiny", "tinyint")
        .column("small", "smallint")
        .column("big", "bigint")
        .column("bit", "bit")
        .column("real", "real")
        .column("float", "float")
        .column("datetime", "datetime")
        .column("guid", "uniqueidentifier")
        .column("text", "nvarchar(20)")
        .column("bytes", "varbinary(8)")
        .column("fixed", "binary(4)")
        .row([
            json!(1),
            json!(255),
            json!(-2),
            json!(i64::MIN),
            json!(true),
            json!(0.5),
            json!(0.1),
            json!("2026-11-21T12:00:00.003"),
            json!(GUID),
            json!("ä\u{1F600}"),
            json!("0102"),
            json!("01020304"),
        ])
        .rows([std::iter::once(json!(2))
            .chain((1..12).map(|_| json!(null)))
            .collect()])
}

fn scripted() -> Script {
    let column = |name: &str, ty| Column::new(name, ty).computed();
    let rows = Reply::columns([
        column("id", SqlType::Int),
        column("tiny", SqlType::TinyInt),
        column("small", SqlType::SmallInt),
        column("big", SqlType::BigInt),
        column("bit", SqlType::Bit),
        column("real", SqlType::Real),
        column("float", SqlType::Float),
        column("datetime", SqlType::DateTime),
        column("guid", SqlType::UniqueIdentifier),
        column("text", SqlType::NVarChar(20)),
        column("bytes", SqlType::VarBinary(8)),
        column("fixed", SqlType::Binary(4)),
    ])
    .row(cells![
        1,
        255,
        -2,
        i64::MIN,
        true,
        0.5_f32,
        0.1,
        "2026-11-21 12:00:00.003",
        GUID,
        "ä\u{1F600}",
        vec![1, 2],
        vec![1, 2, 3, 4],
    ])
    .row(cells![2, (), (), (), (), (), (), (), (), (), (), ()]);
    Script::new()
        .on(QUERY, rows)
        .on(EMPTY, Reply::columns([column("id", SqlType::Int)]))
        .on(
            MISSING,
            Reply::error(ServerError::new(208, 16, 1, MISSING_TEXT)),
        )
}

const MISSING_TEXT: &str = "invalid object name 'v_Missing'. This server has: v_All";

#[tokio::test]
async fn answers_are_the_same_bytes() {
    let peer = SqlServerPeer::start("reader", "Passw0rd!");
    peer.serve([&table()]);
    let theirs = answers(peer.port(), &peer.authority_pem()).await;
    let name = server_name(&theirs[4]);
    let server = scripted().server_name(&name).start().await;
    let ours = answers(server.port(), &server.authority_pem()).await;

    let [_, _, query, empty, missing, set] = &theirs[..] else {
        panic!("{} answers", theirs.len());
    };
    assert_eq!(ours.len(), theirs.len());
    assert_eq!(&ours[2], query, "a result");
    assert_eq!(&ours[3], empty, "a result without rows");
    assert_eq!(&ours[4], missing, "an error");
    assert_eq!(&ours[5], set, "no result");
}

#[tokio::test]
async fn values_of_the_max_type_are_the_same_bytes_in_other_pieces() {
    let peer = SqlServerPeer::start("reader", "Passw0rd!");
    let text = "x".repeat(LONG);
    let table = SqlTable::new("v_All").column("text", "nvarchar(max)");
    peer.serve([&table.row([json!(text)])]);
    let theirs = answers(peer.port(), &peer.authority_pem()).await;
    let column = Column::new("text", SqlType::NVarCharMax).computed();
    let reply = Reply::columns([column]).row(cells![text]);
    let server = Script::new().on(QUERY, reply).start().await;
    let ours = answers(server.port(), &server.authority_pem()).await;
    // The peer writes one piece, the scripted server several, with four bytes of length each.
    let one_piece = |message: &[u8]| {
        let value = message
            .windows(4)
            .position(|w| w == [b'x', 0, b'x', 0])
            .unwrap();
        // ROW and the whole length come before the length of the piece.
        message[..value - 4].to_vec()
    };
    assert_eq!(one_piece(&ours[2]), one_piece(&theirs[2]));
    let pieces = (2 * LONG).div_ceil(3000);
    assert_eq!(ours[2].len(), theirs[2].len() + 4 * (pieces - 1));
}

#[tokio::test]
async fn prelogin_and_login_are_the_same_bytes_but_for_version_and_names() {
    let peer = SqlServerPeer::start("reader", "Passw0rd!");
    peer.serve([&table()]);
    let theirs = answers(peer.port(), &peer.authority_pem()).await;
    let script = scripted().server_name(&server_name(&theirs[4]));
    let server = script.packet_size(4096).start().await;
    let ours = answers(server.port(), &server.authority_pem()).await;

    assert_eq!(option(&ours[0], 1), option(&theirs[0], 1), "encryption");
    assert_eq!(
        option(&ours[0], 0).map(<[u8]>::len),
        option(&theirs[0], 0).map(<[u8]>::len)
    );
    assert_eq!(
        option(&ours[0], 4),
        option(&theirs[0], 4),
        "several results at once"
    );
    assert_eq!(ours[1], theirs[1], "the login");
}

/// The server's name in an ERROR, behind number, state, class and text: [MS-TDS] 2.2.7.10.
fn server_name(message: &[u8]) -> String {
    let text = 2 * usize::from(u16::from_le_bytes([message[9], message[10]]));
    let name = &message[11 + text..];
    let units = name[1..].chunks_exact(2).take(name[0].into());
    String::from_utf16(
        &units
            .map(|u| u16::from_le_bytes([u[0], u[1]]))
            .collect::<Vec<_>>(),
    )
    .unwrap()
}
