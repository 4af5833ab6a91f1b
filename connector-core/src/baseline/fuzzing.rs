//! The files of the store with any content at all: see [`crate::fuzzing`].

use std::{io, sync::Arc};

use super::{
    block::{HEADER, checksum},
    manifest::Manifest,
    segment::{PREFIX, Record, Segment, SegmentKind, SegmentRef, TRAILER, VERSION},
    storage::{ReadFile, Storage, WriteFile},
    store::DatasetStatus,
};
use crate::fuzzing::touch;

/// A block that would unpack to more is left without its checksum: a fuzzer has little memory.
const UNPACKED: u32 = 1 << 20;

/// Opens a segment and reads all that it holds, as it is and under checksums that are right.
///
/// # Panics
///
/// When a record that is read one after the other is another one when it is fetched by its place.
pub fn segment(data: &[u8]) {
    let mut sealed = data.to_vec();
    seal(&mut sealed);
    for bytes in [data.to_vec(), sealed] {
        read_segment(bytes);
    }
}

/// Reads a manifest, as it is and as the body of one whose checksum is right.
///
/// # Panics
///
/// When a manifest that can be read is not written and read again as it was.
pub fn manifest(data: &[u8]) {
    let mut whole =
        format!("datasync-manifest 1 {}\n", super::manifest::checksum(data)).into_bytes();
    whole.extend_from_slice(data);
    for text in [data, &whole] {
        let Ok(manifest) = Manifest::parse(text, "fuzzed") else {
            continue;
        };
        let rendered = manifest.render().expect("what was read can be written");
        let again = Manifest::parse(rendered.as_bytes(), "fuzzed").ok();
        assert_eq!(again.as_ref(), Some(&manifest));
        let _ = (manifest.files().count(), manifest.live_changes().len());
        let _ = DatasetStatus::from(manifest);
    }
}

fn read_segment(bytes: Vec<u8>) -> Option<()> {
    let named = named(&bytes)?;
    let segment = Segment::open(&OneFile(Arc::new(bytes)), "", &named).ok()?;
    let segment = Arc::new(segment);
    let _ = segment.dead();
    let (mut by_place, mut index) = (segment.fetcher(), segment.index());
    while let Ok(Some(entry)) = index.next() {
        let _ = by_place.row(entry.place);
    }
    let mut records = segment.records();
    loop {
        let (place, rows) = match segment.kind() {
            SegmentKind::Base | SegmentKind::Digests => {
                let (place, row) = records.next_row().ok()??;
                (place, [Some(row), None])
            }
            SegmentKind::Changes => {
                let (place, record) = records.next_record().ok()??;
                let rows = match record {
                    Record::Insert { after } => [Some(after), None],
                    Record::Update { after, before } => [Some(after), Some(before)],
                    Record::Delete { before } => [Some(before), None],
                };
                (place, rows)
            }
        };
        let fetched = by_place.row(place).ok();
        let first = rows[0].as_ref().map(crate::row::Row::bytes);
        assert_eq!(fetched.as_deref(), first, "another row at {place:?}");
        rows.iter().flatten().for_each(touch);
    }
}

/// How a manifest would name the file.
fn named(bytes: &[u8]) -> Option<SegmentRef> {
    let sum = bytes.get(bytes.len().checked_sub(TRAILER)? + 4..)?;
    let sum = u64::from_le_bytes(*sum.first_chunk()?);
    let named = serde_json::json!({
        "file": "0000000001.base",
        "bytes": bytes.len(),
        "checksum": format!("{sum:016x}"),
    });
    serde_json::from_value(named).ok()
}

/// Puts the right checksum on everything that has one, so that a fuzzer gets past it.
fn seal(bytes: &mut [u8]) -> Option<()> {
    let word = |bytes: &[u8], at: usize| -> Option<u32> {
        bytes
            .get(at..)?
            .first_chunk()
            .copied()
            .map(u32::from_le_bytes)
    };
    let put = |bytes: &mut [u8], at: usize, sum: u64| -> Option<()> {
        bytes
            .get_mut(at..at + 8)?
            .copy_from_slice(&sum.to_le_bytes());
        Some(())
    };
    let header = word(bytes, 12)?;
    let start = PREFIX + header as usize;
    let sum = checksum(u64::from(VERSION), header, 0, bytes.get(PREFIX..start)?);
    put(bytes, 16, sum)?;

    let trailer = bytes.len().checked_sub(TRAILER)?;
    let footer = word(bytes, trailer)?;
    let end = trailer.checked_sub(footer as usize)?;
    let sum = checksum(end as u64, footer, 0, bytes.get(end..trailer)?);
    put(bytes, trailer + 4, sum)?;

    let mut at = start;
    while at < end {
        let (stored, raw) = (word(bytes, at)?, word(bytes, at + 4)?);
        let content = at + HEADER..at + HEADER + stored as usize;
        if raw <= UNPACKED {
            let sum = checksum(at as u64, stored, raw, bytes.get(content.clone())?);
            put(bytes, at + 8, sum)?;
        }
        at = content.end;
    }
    Some(())
}

/// A storage with one file, whatever it is called.
#[derive(Debug)]
struct OneFile(Arc<Vec<u8>>);

impl ReadFile for Arc<Vec<u8>> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.get(start..).unwrap_or_default();
        let wanted = rest.get(..buffer.len());
        buffer.copy_from_slice(wanted.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Storage for OneFile {
    fn open(&self, _path: &str) -> io::Result<Box<dyn ReadFile>> {
        Ok(Box::new(Arc::clone(&self.0)))
    }

    fn create(&self, _path: &str) -> io::Result<Box<dyn WriteFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, _path: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn list(&self, _folder: &str) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_folder(&self, _folder: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn lock(&self, _holder: &str) -> io::Result<Box<dyn Send + Sync>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn locate(&self, path: &str) -> String {
        path.to_owned()
    }
}
