//! An archive of a million rows goes through little memory.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{io::Write, sync::Arc};

use connector_http::{
    connector_core::Batch,
    decode::{CsvDecoder, Reply, Unzip, int, text},
};
use flate2::{Compression, Crc, write::DeflateEncoder};

const INSTALLS: Reply = Reply {
    name: "installs",
    columns: &[int("device", "Device").key(), text("name", "Name").null()],
    ..Reply::NEW
}
.checked();

const ROWS: u64 = 1_000_000;

/// What was resident at most, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_million_rows_go_through_little_memory() {
    let before = peak();
    let mut zip = Unzip::new(1 << 30);
    let mut decoder = CsvDecoder::new(&INSTALLS).unwrap();
    let mut rows = Batch::new(Arc::clone(decoder.schema()));
    let mut unpacked = vec![0; 64 << 10];
    let mut count = 0;
    let mut take = |mut packed: &[u8]| {
        loop {
            let len = zip.read(&mut packed, &mut unpacked).unwrap();
            if len == 0 {
                break;
            }
            decoder.push(&unpacked[..len], &mut rows).unwrap();
            if rows.byte_len() > 256 << 10 {
                count += rows.len() as u64;
                rows = Batch::new(Arc::clone(decoder.schema()));
            }
        }
    };
    // Packed while it is read: sizes and checksum come behind the file.
    take(b"PK\x03\x04\x14\0\x08\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0a");
    let (mut deflate, mut sum) = (
        DeflateEncoder::new(Vec::new(), Compression::fast()),
        Crc::new(),
    );
    let (mut packed, mut bytes) = (0, 0);
    let mut add = |deflate: &mut DeflateEncoder<Vec<u8>>, line: &[u8]| {
        deflate.write_all(line).unwrap();
        sum.update(line);
        bytes += line.len() as u64;
    };
    add(&mut deflate, b"Device,Name\r\n");
    for row in 0..ROWS {
        let name = row.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        add(
            &mut deflate,
            format!("{row},\"Product, {name:x}\"\r\n").as_bytes(),
        );
        if deflate.get_ref().len() > 64 << 10 {
            let chunk = std::mem::take(deflate.get_mut());
            packed += chunk.len() as u64;
            take(&chunk);
        }
    }
    let rest = deflate.finish().unwrap();
    packed += rest.len() as u64;
    take(&rest);
    let (packed, bytes) = (
        u32::try_from(packed).unwrap(),
        u32::try_from(bytes).unwrap(),
    );
    let facts = [sum.sum(), packed, bytes].map(u32::to_le_bytes).concat();
    take(&[b"PK\x07\x08", &*facts].concat());
    take(b"PK\x01\x02\x14\0\x14\0\x08\0\x08\0\0\0\0\0");
    take(&facts);
    take(b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0a");
    take(b"PK\x05\x06\0\0\0\0\x01\0\x01\0\x2f\0\0\0\0\0\0\0\0\0");
    zip.finish().unwrap();
    count += rows.len() as u64;
    let facts = decoder.finish(&mut rows).unwrap();
    assert_eq!((facts.rows, count), (ROWS, ROWS));
    let grown = peak() - before;
    assert!(grown < 8 << 10, "{grown} KiB");
}
