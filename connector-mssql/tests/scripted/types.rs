//! Every type of SQL Server at its edges, from the catalogue to the row.

use connector_core::{Availability, Connector, ErrorKind, Result, Row, Type};
use connector_mssql::DatasetConfig;
use connector_testkit::{
    cells,
    tds::{Cell, Collation, Column, Reply, SqlType, Variant},
};

use crate::lab::{Described, FROM, ID, Lab, script};

const LATIN1: Option<&str> = Some("SQL_Latin1_General_CP1_CI_AS");
const WINDOWS: Option<&str> = Some("Latin1_General_100_CI_AS");

/// What the catalogue says, what stands on the wire, and cells with what becomes of them.
type Case = (Described, SqlType, Vec<(Cell, &'static str)>);

fn case<const N: usize>(
    described: Described,
    ty: SqlType,
    cells: [(impl Into<Cell>, &'static str); N],
) -> Case {
    let cells = cells.into_iter().map(|(cell, text)| (cell.into(), text));
    (described, ty, cells.collect())
}

const GUID: &str = "6f9619ff-8b86-d011-b42d-00c04fc964ff";
const MOST_DECIMAL: &str = "99999999999999999999999999999999999999";
const LEAST_DECIMAL: &str = "-0.99999999999999999999999999999999999999";

fn numbers() -> Vec<Case> {
    use SqlType as T;
    vec![
        case(
            ("bit", 104, 1, 1, 0, None),
            T::Bit,
            [(false, "false"), (true, "true")],
        ),
        case(
            ("tiny", 48, 1, 3, 0, None),
            T::TinyInt,
            [(0, "0"), (255, "255")],
        ),
        case(
            ("small", 52, 2, 5, 0, None),
            T::SmallInt,
            [(-32768, "-32768"), (32767, "32767")],
        ),
        case(
            ("int", 56, 4, 10, 0, None),
            T::Int,
            [(i32::MIN, "-2147483648"), (i32::MAX, "2147483647")],
        ),
        case(
            ("big", 127, 8, 19, 0, None),
            T::BigInt,
            [
                (i64::MIN, "-9223372036854775808"),
                (i64::MAX, "9223372036854775807"),
            ],
        ),
        case(
            ("real", 59, 4, 24, 0, None),
            T::Real,
            [
                (f32::MIN_POSITIVE, "1.1754943508222875e-38"),
                (0.1_f32, "0.10000000149011612"),
            ],
        ),
        case(
            ("float", 62, 8, 53, 0, None),
            T::Float,
            [(-f64::MAX, "-1.7976931348623157e308"), (0.1, "0.1")],
        ),
        case(
            ("money", 60, 8, 19, 4, None),
            T::Money,
            [
                ("-922337203685477.5808", "-922337203685477.5808"),
                ("922337203685477.5807", "922337203685477.5807"),
            ],
        ),
        case(
            ("smallmoney", 122, 4, 10, 4, None),
            T::SmallMoney,
            [("-214748.3648", "-214748.3648"), ("0.0001", "0.0001")],
        ),
        case(
            ("whole", 106, 17, 38, 0, None),
            T::Decimal(38, 0),
            [(MOST_DECIMAL, MOST_DECIMAL), ("-1", "-1")],
        ),
        case(
            ("fraction", 108, 17, 38, 38, None),
            T::Numeric(38, 38),
            [
                (LEAST_DECIMAL, LEAST_DECIMAL),
                (
                    "0.00000000000000000000000000000000000001",
                    "0.00000000000000000000000000000000000001",
                ),
            ],
        ),
    ]
}

fn times() -> Vec<Case> {
    use SqlType as T;
    vec![
        case(
            ("date", 40, 3, 10, 0, None),
            T::Date,
            [("0001-01-01", "0001-01-01"), ("9999-12-31", "9999-12-31")],
        ),
        case(
            ("time", 41, 5, 16, 7, None),
            T::Time(7),
            [
                ("00:00:00", "00:00:00.0000000"),
                ("23:59:59.9999999", "23:59:59.9999999"),
            ],
        ),
        case(
            ("time0", 41, 3, 8, 0, None),
            T::Time(0),
            [("23:59:59", "23:59:59")],
        ),
        case(
            ("minute", 58, 4, 16, 0, None),
            T::SmallDateTime,
            [
                ("1900-01-01 00:00:00", "1900-01-01T00:00:00"),
                ("2079-06-06 23:59:00", "2079-06-06T23:59:00"),
            ],
        ),
        case(
            ("datetime", 61, 8, 23, 3, None),
            T::DateTime,
            [
                ("1753-01-01 00:00:00", "1753-01-01T00:00:00"),
                ("9999-12-31 23:59:59.997", "9999-12-31T23:59:59.9966667"),
            ],
        ),
        case(
            ("datetime2", 42, 8, 27, 7, None),
            T::DateTime2(7),
            [
                ("0001-01-01 00:00:00", "0001-01-01T00:00:00"),
                ("9999-12-31 23:59:59.9999999", "9999-12-31T23:59:59.9999999"),
            ],
        ),
        case(
            ("offset", 43, 10, 34, 7, None),
            T::DateTimeOffset(7),
            [
                ("0001-01-02 00:00:00 -14:00", "0001-01-02T00:00:00-14:00"),
                (
                    "9999-12-31 23:59:59.9999999 +14:00",
                    "9999-12-31T23:59:59.9999999+14:00",
                ),
            ],
        ),
    ]
}

fn texts_and_bytes() -> Vec<Case> {
    use SqlType as T;
    vec![
        case(
            ("guid", 36, 16, 0, 0, None),
            T::UniqueIdentifier,
            [(GUID, GUID)],
        ),
        // Filled up with spaces, which are no part of the value.
        case(
            ("char", 175, 6, 0, 0, LATIN1),
            T::Char(6, Collation::SQL_LATIN1_CP1),
            [("äö\u{20AC}   ", "äö\u{20AC}"), ("      ", "")],
        ),
        case(
            ("varchar", 167, 20, 0, 0, WINDOWS),
            T::VarChar(20, Collation::LATIN1),
            [
                (" a ", " a "),
                ("\u{20AC}\u{2122}\u{178}\0\t", "\u{20AC}\u{2122}\u{178}\0\t"),
            ],
        ),
        case(
            (
                "utf8",
                167,
                20,
                0,
                0,
                Some("Latin1_General_100_CI_AS_SC_UTF8"),
            ),
            T::VarChar(20, Collation::LATIN1_UTF8),
            [("é\u{1F600}", "é\u{1F600}")],
        ),
        case(
            ("varcharmax", 167, -1, 0, 0, LATIN1),
            T::VarCharMax(Collation::SQL_LATIN1_CP1),
            [("", ""), ("é", "é")],
        ),
        case(
            ("text", 35, 16, 0, 0, LATIN1),
            T::Text(Collation::SQL_LATIN1_CP1),
            [("", ""), ("naïve", "naïve")],
        ),
        case(
            ("nchar", 239, 8, 0, 0, LATIN1),
            T::NChar(4),
            [("Ω   ", "Ω")],
        ),
        case(
            ("nvarchar", 231, 40, 0, 0, LATIN1),
            T::NVarChar(20),
            [("", ""), ("\u{1F600}\u{FFFD}\0 ", "\u{1F600}\u{FFFD}\0 ")],
        ),
        case(
            ("nmax", 231, -1, 0, 0, LATIN1),
            T::NVarCharMax,
            [("", ""), ("x", "x")],
        ),
        case(
            ("ntext", 99, 16, 0, 0, LATIN1),
            T::NText,
            [("", ""), ("ß", "ß")],
        ),
        case(
            ("xml", 241, -1, 0, 0, None),
            T::NVarCharMax,
            [("<a b=\"1\">&amp;</a>", "<a b=\"1\">&amp;</a>")],
        ),
        case(
            ("binary", 173, 3, 0, 0, None),
            T::Binary(3),
            [(vec![0_u8, 1, 255], "AAH/")],
        ),
        case(
            ("varbinary", 165, 8, 0, 0, None),
            T::VarBinary(8),
            [(Vec::<u8>::new(), ""), (vec![9_u8], "CQ==")],
        ),
        case(
            ("binarymax", 165, -1, 0, 0, None),
            T::VarBinaryMax,
            [(vec![7_u8; 3], "BwcH")],
        ),
        case(
            ("image", 34, 16, 0, 0, None),
            T::Image,
            [(vec![1_u8, 2], "AQI=")],
        ),
        case(
            ("version", 189, 8, 0, 0, None),
            T::Binary(8),
            [(vec![0_u8, 0, 0, 0, 0, 0, 7, 209], "AAAAAAAAB9E=")],
        ),
    ]
}

#[tokio::test]
async fn every_type_at_its_edges() {
    let cases = [numbers(), times(), texts_and_bytes()].concat();
    let mut described = vec![ID];
    described.extend(cases.iter().map(|(described, _, _)| *described));
    let mut columns = vec![Column::new("id", SqlType::Int)];
    columns.extend(cases.iter().map(|(d, ty, _)| Column::new(d.0, ty.clone())));
    let mut reply = Reply::columns(columns);
    // Two rows of edges, and one of nulls.
    for number in 0..3 {
        let cells = cases.iter().map(|(_, _, edges)| match number {
            2 => Cell::Null,
            _ => edges[number.min(edges.len() - 1)].0.clone(),
        });
        let id = Cell::Int(i64::try_from(number).unwrap());
        reply = reply.row([id].into_iter().chain(cells));
    }
    let mut lab = Lab::start(script(&described).on(FROM, reply)).await;
    lab.config.datasets[0].columns = described.iter().map(|d| d.0.to_owned()).collect();
    let rows = lab.read().await.unwrap();
    for (number, row) in rows.iter().enumerate() {
        for (place, (described, _, edges)) in cases.iter().enumerate() {
            let value = row.at(place + 1);
            if number == 2 {
                assert!(value.is_null(), "{}: {value}", described.0);
            } else {
                let expected = edges[number.min(edges.len() - 1)].1;
                assert_eq!(value.to_string(), expected, "{}", described.0);
            }
        }
    }
    let asked = &lab.reads()[0];
    let cast = "CAST([t].[xml] AS nvarchar(max)) AS [xml]";
    assert!(asked.contains(cast), "{asked}");
}

#[tokio::test]
async fn other_code_pages_are_cast_by_the_server() {
    const PAGES: [(&str, &str); 6] = [
        ("Cyrillic_General_CI_AS", "Привет"),
        ("Greek_CI_AS", "αβγ"),
        ("Turkish_CI_AS", "İı"),
        ("Japanese_CI_AS", "日本"),
        ("Chinese_PRC_CI_AS", "中文"),
        ("SQL_Latin1_General_CP850_CI_AS", "│é"),
    ];
    let mut described = vec![ID];
    described.extend(PAGES.map(|(page, _)| (page, 167, 20, 0, 0, Some(page))));
    let mut columns = vec![Column::new("id", SqlType::Int)];
    columns.extend(PAGES.map(|(page, _)| Column::new(page, SqlType::NVarChar(20))));
    let cells = PAGES.map(|(_, text)| Cell::from(text));
    let reply = Reply::columns(columns).row([Cell::Int(1)].into_iter().chain(cells));
    let lab = Lab::start(script(&described).on(FROM, reply)).await;
    let rows = lab.read().await.unwrap();
    for (place, (page, text)) in PAGES.iter().enumerate() {
        assert_eq!(rows[0].at(place + 1).to_string(), *text);
        let cast = format!("CAST([t].[{page}] AS nvarchar(20)) AS [{page}]");
        assert!(lab.reads()[0].contains(&cast), "{}", lab.reads()[0]);
    }
}

/// A lab whose data set is a person's own statement with one more column.
async fn query(described: Option<Described>, ty: SqlType, cell: Cell) -> Lab {
    const QUERY: &str = "SELECT id, value FROM mine";
    let describe = match described {
        Some(column) => crate::lab::catalogue(&[ID, column]),
        // As for a statement that the server can't describe.
        None => crate::lab::catalogue(&[]),
    };
    let columns = [Column::new("id", SqlType::Int), Column::new("value", ty)];
    let reply = Reply::columns(columns).row([Cell::Int(1), cell]);
    let script = script(&[ID])
        .on("FROM mine", reply)
        .on("dm_exec_describe_first_result_set", describe);
    let mut lab = Lab::start(script).await;
    let mut config = DatasetConfig::new("mine", "", ["id"]);
    config.from = None;
    config.query = Some(QUERY.to_owned());
    lab.config.datasets = vec![config];
    lab
}

#[tokio::test]
async fn a_query_of_a_code_page_is_read_or_refused_and_never_guessed() {
    let cyrillic = SqlType::VarChar(9, Collation::CYRILLIC);
    let utf8 = SqlType::VarChar(9, Collation::LATIN1_UTF8);
    let named = |collation| Some(("value", 167, 9, 0, 0, Some(collation)));
    for (described, ty, text) in [
        (named("Cyrillic_General_CI_AS"), cyrillic.clone(), "Привет"),
        // What the server does not describe, the reply itself does.
        (None, cyrillic, "Привет"),
        (named("Latin1_General_100_CI_AS_SC_UTF8"), utf8.clone(), "é"),
        (None, utf8, "é"),
    ] {
        let lab = query(described, ty, text.into()).await;
        assert_eq!(lab.read().await.unwrap()[0].at(1).to_string(), text);
    }

    let old = SqlType::VarChar(9, Collation::SQL_LATIN1_CP850);
    let old_named = named("SQL_Latin1_General_CP850_CI_AS");
    let lab = query(old_named, old, vec![0xC4_u8].into()).await;
    let error = lab.read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    let text = error.to_string().to_lowercase();
    assert!(text.contains("cast") && text.contains("nvarchar"), "{text}");
}

#[tokio::test]
async fn half_a_surrogate_pair_is_an_error_unless_it_is_to_be_replaced() {
    // `a`, the upper half of a pair, `b`.
    let half = [0x61, 0, 0x3D, 0xD8, 0x62, 0];
    for (described, ty) in [
        (("value", 231, 40, 0, 0, LATIN1), SqlType::NVarChar(20)),
        (("value", 239, 6, 0, 0, LATIN1), SqlType::NChar(3)),
        (("value", 231, -1, 0, 0, LATIN1), SqlType::NVarCharMax),
        (("value", 99, 16, 0, 0, LATIN1), SqlType::NText),
    ] {
        let columns = [Column::new("id", SqlType::Int), Column::new("value", ty)];
        let reply = Reply::columns(columns).row(cells![1, &half[..]]);
        let mut lab = Lab::start(script(&[ID, described]).on(FROM, reply)).await;
        lab.config.datasets[0].columns = vec!["value".to_owned()];
        let error = lab.read().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        let text = error.to_string();
        assert!(text.contains("`replace_half_surrogates = true`"), "{text}");
        assert_eq!(lab.reads().len(), 1);

        lab.config.replace_half_surrogates = true;
        assert_eq!(lab.read().await.unwrap()[0].at(1).to_string(), "a\u{FFFD}b");
    }
}

async fn read_named(described: Described, ty: SqlType, cell: Cell) -> (Lab, Result<Vec<Row>>) {
    let columns = [Column::new("id", SqlType::Int), Column::new("value", ty)];
    let reply = Reply::columns(columns).row([Cell::Int(1), cell]);
    let mut lab = Lab::start(script(&[ID, described]).on(FROM, reply)).await;
    lab.config.datasets[0].columns = vec!["value".to_owned()];
    let read = lab.read().await;
    (lab, read)
}

#[tokio::test]
async fn variants_and_clr_types_are_refused_by_name() {
    for (described, name, ty, cell) in [
        (
            ("value", 98, 8016, 0, 0, None),
            "sql_variant",
            SqlType::SqlVariant,
            Variant::cell(SqlType::Int, 5),
        ),
        (
            ("value", 240, 892, 0, 0, None),
            "a CLR type",
            SqlType::Udt("hierarchyid"),
            vec![0x58_u8].into(),
        ),
    ] {
        let (lab, read) = read_named(described, ty.clone(), cell.clone()).await;
        let error = read.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        let text = error.to_string();
        assert!(
            text.contains(&format!("the column is {name} at the server"))
                && text.contains("column: value"),
            "{text}"
        );
        assert!(lab.reads().is_empty(), "before the first row");
        let report = lab.connector().check().await.unwrap();
        let availability = &report.datasets[0].availability;
        assert!(matches!(availability, Availability::Failed(_)));

        // Where nobody asked for it, it is left out.
        let mut others = lab;
        others.config.datasets[0].columns.clear();
        others.server.on(FROM, crate::lab::ids(1));
        let rows = others.read().await.unwrap();
        assert_eq!(rows[0].values().count(), 1);

        // And in a person's own statement it is refused too.
        let lab = query(Some(described), ty, cell).await;
        let text = lab.read().await.unwrap_err().to_string();
        assert!(text.contains(name), "{text}");
    }
}

#[tokio::test]
async fn a_type_that_changed_is_an_error_before_the_first_row() {
    let described = ("value", 62, 8, 53, 0, None);
    let columns = [
        Column::new("id", SqlType::Int),
        Column::new("value", SqlType::Float),
    ];
    let reply = Reply::columns(columns).row(cells![1, 0.5]);
    let mut lab = Lab::start(script(&[ID, described]).on(FROM, reply)).await;
    let types = &mut lab.config.datasets[0].types;
    types.insert("value".to_owned(), Type::Decimal { scale: 2 });
    let error = lab.read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    let text = error.to_string();
    assert!(
        text.contains("the column is float at the server") && text.contains("decimal(2)"),
        "{text}"
    );
    assert!(lab.reads().is_empty());
}
