//! CSV files and archives of them, in chunks of any size.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use connector_http::{
    connector_core::{
        Batch, Dataset, DatasetExt, DatasetInfo, Error, ErrorKind, Result, Row, Schema,
        SnapshotWriter, Type, Value,
    },
    decode::{CsvDecoder, CsvFacts, Download, Reply, bool, date, given, int, text, time},
};

const INSTALLS: Reply = Reply {
    name: "installs",
    columns: &[
        int("id", "Id").key(),
        text("name", "Name").null(),
        text("report", "Report").optional(),
    ],
    ..Reply::NEW
}
.checked();

#[derive(Debug)]
struct Exported {
    chunks: Vec<Result<Vec<u8>, ErrorKind>>,
    download: Download,
}

static INFO: DatasetInfo = DatasetInfo::new("installs", "Software");

#[async_trait]
impl Dataset for Exported {
    fn info(&self) -> &DatasetInfo {
        &INFO
    }

    async fn schema(&self, _known: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        INSTALLS.schema().map(Arc::new)
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        let chunks = self.chunks.clone().into_iter();
        let chunks = chunks.map(|chunk| chunk.map_err(|kind| Error::new(kind, "cut")));
        let facts = self
            .download
            .read(
                futures::stream::iter(chunks),
                CsvDecoder::new(&INSTALLS)?,
                out,
            )
            .await?;
        assert_eq!(facts.missing, ["report"]);
        Ok(())
    }
}

fn archive(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/zip");
    std::fs::read(folder.join(format!("{name}.zip"))).unwrap()
}

async fn unpack(bytes: &[u8], chunk: usize) -> Result<Vec<Row>> {
    let chunks = bytes
        .chunks(chunk)
        .map(|chunk| Ok(chunk.to_vec()))
        .collect();
    let download = Download::zip();
    Exported { chunks, download }.collect().await
}

#[tokio::test]
async fn archives_of_every_kind_are_rows_in_chunks_of_any_size() {
    for (name, count) in [
        ("deflated", 2000),
        ("streamed", 2000),
        ("streamed-zip64", 2000),
        ("zip64", 2000),
        ("stored", 81),
    ] {
        let bytes = archive(name);
        for chunk in [1, 7, 30, 31, 100, 1 << 20] {
            let rows = unpack(&bytes, chunk).await.unwrap();
            assert_eq!(rows.len(), count, "{name}");
            let last = rows.last().unwrap();
            let name = format!("Name, {}", count - 1);
            assert_eq!(last.at(1), Value::Text(name.into()));
        }
    }
}

#[tokio::test]
async fn an_archive_that_is_cut_is_incomplete_wherever_it_is_cut() {
    for name in ["deflated", "streamed", "streamed-zip64", "zip64", "stored"] {
        let bytes = archive(name);
        let places = (0..bytes.len().min(80)).chain(bytes.len().saturating_sub(300)..bytes.len());
        for cut in places {
            let error = unpack(&bytes[..cut], 1 << 20).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Incomplete, "{name} {cut}: {error}");
        }
    }
}

#[tokio::test]
async fn damage_is_found_wherever_it_is() {
    for name in ["deflated", "streamed", "streamed-zip64", "stored"] {
        let bytes = archive(name);
        let head = 30
            + u16::from_le_bytes([bytes[26], bytes[27]])
            + u16::from_le_bytes([bytes[28], bytes[29]]);
        for place in (usize::from(head)..bytes.len() - 200).step_by(37) {
            let mut bytes = bytes.clone();
            bytes[place] ^= 0x10;
            assert!(unpack(&bytes, 1000).await.is_err(), "{name} {place}");
        }
    }
}

#[tokio::test]
async fn what_an_archive_says_of_its_file_must_be_so() {
    let place = |bytes: &[u8], mark: &[u8]| bytes.windows(4).position(|at| at == mark).unwrap();
    for (name, mark, offset) in [
        // Checksum and both sizes before the file, behind it, and in the directory.
        ("deflated", b"PK\x03\x04", 14),
        ("deflated", b"PK\x03\x04", 18),
        ("deflated", b"PK\x03\x04", 22),
        ("streamed", b"PK\x07\x08", 4),
        ("streamed", b"PK\x07\x08", 8),
        ("streamed", b"PK\x07\x08", 12),
        ("deflated", b"PK\x01\x02", 16),
    ] {
        let mut bytes = archive(name);
        let at = place(&bytes, mark) + offset;
        bytes[at] = bytes[at].wrapping_sub(1);
        let error = unpack(&bytes, 1 << 20).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{name} {offset}: {error}");
    }
}

#[tokio::test]
async fn what_can_not_be_unpacked_is_named() {
    for (name, message) in [
        (
            "two-files",
            "the archive holds more than one file (data set: installs)",
        ),
        (
            "streamed-two-files",
            "the archive holds more than one file (data set: installs)",
        ),
        (
            "lzma",
            "the archive is packed in a way that can't be unpacked (method: 14, data set: installs)",
        ),
        (
            "stored-streamed",
            "the archive does not say where its file ends (data set: installs)",
        ),
    ] {
        let error = unpack(&archive(name), 100).await.unwrap_err();
        assert_eq!(
            (error.kind(), &*error.to_string()),
            (ErrorKind::Data, message)
        );
    }
    let error = unpack(b"<html>", 100).await.unwrap_err();
    assert_eq!(
        error.message(),
        "the reply is no zip archive with a file in it"
    );
    let mut encrypted = archive("deflated");
    encrypted[6] |= 1;
    let error = unpack(&encrypted, 100).await.unwrap_err();
    assert_eq!(error.message(), "the archive is encrypted");
}

#[tokio::test]
async fn a_file_larger_than_allowed_is_refused() {
    let bytes = archive("deflated");
    for (download, limit) in [
        (
            Download::zip(),
            "the archive's file is larger than is allowed (bytes: 20000, data set: installs)",
        ),
        (
            Download::plain(),
            "the file is larger than is allowed (data set: installs, bytes: 20000)",
        ),
    ] {
        let bytes = if limit.contains("archive") {
            bytes.clone()
        } else {
            b"Id,Name\n".repeat(3000)
        };
        let chunks = if limit.contains("archive") {
            vec![Ok(bytes)]
        } else {
            vec![
                Ok(b"Id,Name\n".to_vec()),
                Ok((0..4000)
                    .flat_map(|id| format!("{id},\n").into_bytes())
                    .collect()),
            ]
        };
        let download = download.max_bytes(20_000);
        let error = Exported { chunks, download }.collect().await.unwrap_err();
        assert_eq!(
            (error.kind(), &*error.to_string()),
            (ErrorKind::Data, limit)
        );
    }
}

#[tokio::test]
async fn a_chunk_that_fails_fails_the_read() {
    let chunks = vec![Ok(b"Id,Name\n1,a\n2,".to_vec()), Err(ErrorKind::Incomplete)];
    let download = Download::plain();
    let error = Exported { chunks, download }.collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete);
}

/// Of the reports' headers that the documentation shows.
const ACTIVE: Reply = Reply {
    name: "active_users",
    columns: &[
        text("principal_name", "User Principal Name").key(),
        date("refreshed_on", "Report Refresh Date"),
        bool("is_deleted", "Is Deleted").null(),
        bool("exchange", "Has Exchange License").null(),
        text("products", "Assigned Products").empty_is_null(),
        date("teams_on", "Teams Last Activity Date").null(),
    ],
    ..Reply::NEW
}
.checked();

const MAILBOXES: Reply = Reply {
    name: "mailboxes",
    columns: &[
        given("cloud", Type::Text).key(),
        text("principal_name", "User Principal Name").key(),
        int("quota", "Prohibit Send/Receive Quota (Byte)").null(),
        bool("archive", "Has Archive").optional(),
        int("used", "Used (Byte)")
            .or("Storage Used (Byte)")
            .zero_is_null(),
        time("synced_at", "Synced")
            .utc()
            .year_one_is_null()
            .optional(),
    ],
    ..Reply::NEW
}
.checked();

fn header(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/{name}.json"));
    let sample: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    sample["text"].as_str().unwrap().to_owned()
}

fn csv(reply: &'static Reply<'static>, chunks: &[&[u8]]) -> Result<(CsvFacts, Vec<String>)> {
    let mut decoder = CsvDecoder::new(reply)?;
    if reply.columns[0].is_given() {
        decoder.give("cloud", Value::Text("global".into()))?;
    }
    let mut rows = Batch::new(Arc::clone(decoder.schema()));
    for chunk in chunks {
        decoder.push(chunk, &mut rows)?;
    }
    let facts = decoder.finish(&mut rows)?;
    let width = rows.schema().columns().len();
    let line = |row: connector_http::connector_core::RowRef<'_>| {
        let cells = (0..width).map(|place| match row.at(place) {
            Value::Null => "-".to_owned(),
            value => value.to_string(),
        });
        cells.collect::<Vec<_>>().join("|")
    };
    Ok((facts, rows.rows().map(line).collect()))
}

#[test]
fn documented_headers_are_found_whatever_else_is_there() {
    let file = format!(
        "\u{feff}{}\r\n2020-06-30,\"a@x.com\",A,False,,Yes,No,No,No,No,No,,,,,,2020-06-29,,,,,,,\"E5+\"\"F3\"\"\"\r\n",
        header("beta-reportroot-getoffice365activeuserdetail-2")
    );
    let (facts, rows) = csv(&ACTIVE, &[file.as_bytes()]).unwrap();
    assert_eq!(rows, ["a@x.com|2020-06-30|false|true|E5+\"F3\"|2020-06-29"]);
    assert_eq!((facts.rows, facts.ignored.len()), (1, 18));
    let file = format!(
        "{}\n2020-06-30,a,A,False,,2016-03-30,,1,0,2,3,10737418240,1,1,7",
        header("beta-reportroot-getmailboxusagedetail-2")
    );
    let (facts, rows) = csv(&MAILBOXES, &[file.as_bytes()]).unwrap();
    assert_eq!(rows, ["global|a|10737418240|-|-|-"]);
    assert_eq!(facts.missing, ["archive", "synced_at"]);
    for name in [
        "beta-reportroot-getm365appuserdetail-2",
        "beta-reportroot-getoffice365activationsuserdetail-2",
        "beta-reportroot-getteamsuseractivityuserdetail-2",
    ] {
        const REPORT: Reply = Reply {
            name: "report",
            columns: &[text("principal_name", "User Principal Name").key()],
            ..Reply::NEW
        }
        .checked();
        let width = header(name).split(',').count();
        let file = format!("{}\n2020-06-30,a{}\n", header(name), ",".repeat(width - 2));
        assert_eq!(csv(&REPORT, &[file.as_bytes()]).unwrap().1, ["a"]);
    }
}

#[test]
fn what_is_wrong_is_named_and_never_shown() {
    let header =
        b"User Principal Name,Storage Used (Byte),Prohibit Send/Receive Quota (Byte),Synced\n";
    let after = |rest: &[u8]| {
        csv(
            &MAILBOXES,
            &[header, b"a,1,2,2026-01-01 00:00:00.0000000\n", rest],
        )
    };
    assert_eq!(
        after(b"b,,,0001-01-01 00:00:00\n").unwrap().1,
        ["global|a|2|-|1|2026-01-01T00:00:00Z", "global|b|-|-|-|-"]
    );
    for (rest, message) in [
        (
            &b"b,s3cr3t,,\n"[..],
            "the column is int, the value is not a whole number of 64 bits (data set: mailboxes, column: used, row: 2, byte: 116)",
        ),
        (
            b"b,,,s3cr3t\n",
            "the column is timestamp, the value is not a time with an offset such as 2024-05-31T17:30:00Z (data set: mailboxes, column: synced_at, row: 2, byte: 116)",
        ),
        (
            b"b,1,2,,s3cr3t\n",
            "the record has 5 cells, the header 4 (data set: mailboxes, row: 2, byte: 116)",
        ),
        (
            b"b,s3cr3t\n",
            "the record has 2 cells, the header 4 (data set: mailboxes, row: 2, byte: 116)",
        ),
        (
            b"\xff,,,\n",
            "the column is part of the key, the value is not UTF-8 (data set: mailboxes, column: principal_name, row: 2, byte: 116)",
        ),
        (
            b"b,\"s3cr3t",
            "the file was cut short: a quote is left open (data set: mailboxes, row: 1, byte: 116)",
        ),
    ] {
        let error = after(rest).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    for (file, message) in [
        (&b""[..], "the file has no header (data set: mailboxes)"),
        (
            b"<html>\n",
            "the file lacks headers that are needed (data set: mailboxes, headers: User Principal Name, Prohibit Send/Receive Quota (Byte), Used (Byte))",
        ),
        (
            b"User Principal Name,User Principal Name\n",
            "the file has a header twice (data set: mailboxes, header: User Principal Name)",
        ),
    ] {
        assert_eq!(csv(&MAILBOXES, &[file]).unwrap_err().to_string(), message);
    }
    let huge = vec![b'x'; (16 << 20) + 9];
    let error = csv(&MAILBOXES, &[header, b"\"", &huge]).unwrap_err();
    assert!(
        error.to_string().starts_with("a record is over 16 MiB"),
        "{error}"
    );
}

#[test]
fn characters_that_are_damaged_do_not_cost_the_file() {
    let (facts, rows) = csv(
        &INSTALLS,
        &[b"Id,Name,Report\n1,\"a\xff\",\n2,b\xc3,\"\"\"\xe9\"\n"],
    )
    .unwrap();
    assert_eq!(rows, ["1|a\u{fffd}|-", "2|b\u{fffd}|\"\u{fffd}"]);
    assert_eq!(facts.replaced, 3);
}
