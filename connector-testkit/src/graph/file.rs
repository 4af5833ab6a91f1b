//! Files of reports and exports: CSV, and CSV in a zip archive.

use std::io::Write;

use flate2::{Compression, Crc, write::DeflateEncoder};
use serde_json::Value as Json;

/// Writes a file: with a byte-order mark, each line ended by CR and LF, quotes where a cell needs
/// them.
pub(super) fn csv<'a>(
    headers: impl IntoIterator<Item = &'a str>,
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Vec<u8> {
    let mut file = "\u{feff}".to_owned();
    line(&mut file, headers);
    for row in rows {
        line(&mut file, row.iter().map(String::as_str));
    }
    file.into_bytes()
}

fn line<'a>(file: &mut String, cells: impl IntoIterator<Item = &'a str>) {
    for (place, cell) in cells.into_iter().enumerate() {
        if place > 0 {
            file.push(',');
        }
        if cell.contains([',', '"', '\r', '\n']) {
            file.push('"');
            file.push_str(&cell.replace('"', "\"\""));
            file.push('"');
        } else {
            file.push_str(cell);
        }
    }
    file.push_str("\r\n");
}

/// Returns what a cell of a file says of a value: nothing for null.
pub(super) fn text(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Packs one file into an archive. APPNOTE.TXT of PKWARE, 4.3.
pub(super) fn zip(name: &str, file: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(file);
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
    let packed = deflate.write_all(file).and_then(|()| deflate.finish());
    let packed = packed.expect("memory takes all that is written");
    let size = |bytes: usize| u32::try_from(bytes).expect("a test's file is under 4 GiB");
    // What both headers say of the entry: version, flags, deflate, time, date, check, sizes, name.
    let mut entry = Vec::new();
    for short in [20_u16, 0, 8, 0, 0x5D75] {
        entry.extend_from_slice(&short.to_le_bytes());
    }
    for long in [crc.sum(), size(packed.len()), size(file.len())] {
        entry.extend_from_slice(&long.to_le_bytes());
    }
    let name_len = u16::try_from(name.len()).expect("a name is short");
    entry.extend_from_slice(&name_len.to_le_bytes());
    entry.extend_from_slice(&[0, 0]);
    let mut archive = b"PK\x03\x04".to_vec();
    archive.extend_from_slice(&entry);
    archive.extend_from_slice(name.as_bytes());
    archive.extend_from_slice(&packed);
    let directory = archive.len();
    archive.extend_from_slice(b"PK\x01\x02\x14\x00");
    archive.extend_from_slice(&entry);
    // Comment, disk, attributes inside and outside, and where the entry is.
    archive.extend_from_slice(&[0; 14]);
    archive.extend_from_slice(name.as_bytes());
    let length = archive.len() - directory;
    archive.extend_from_slice(b"PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00");
    archive.extend_from_slice(&size(length).to_le_bytes());
    archive.extend_from_slice(&size(directory).to_le_bytes());
    archive.extend_from_slice(&[0, 0]);
    archive
}
