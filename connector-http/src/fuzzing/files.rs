//! Exported files: CSV, and the archives that they come in.

use std::sync::Arc;

use connector_core::{Batch, Error, ErrorKind, Result, Value};

use crate::decode::{CsvDecoder, CsvFacts, Reply, Unzip, bool, int, text, time};

const FILE: Reply = Reply {
    name: "fuzzed",
    columns: &[
        text("id", "id").key(),
        text("name", "name").null(),
        int("bytes", "bytes").null(),
        bool("on", "on").null(),
        time("seen", "seen").optional(),
    ],
    ..Reply::NEW
}
.checked();

/// What archives may unpack to.
const MOST: u64 = 1 << 16;

/// Reads any bytes at all as a CSV file, in chunks of several sizes.
///
/// # Panics
///
/// When the size of the chunks makes a difference; when the cells are not those that one look at
/// each byte finds; when an error calls itself a defect.
pub fn csv(data: &[u8]) {
    let whole = rows_of(data, data.len());
    for size in [1, 5, 64] {
        let parts = rows_of(data, size);
        match (&whole, &parts) {
            (Ok(whole), Ok(parts)) => assert_eq!(whole, parts, "chunks of {size}"),
            (Err(whole), Err(parts)) => assert_eq!(whole.to_string(), parts.to_string()),
            (whole, parts) => panic!("chunks of {size}: {whole:?} {parts:?}"),
        }
    }
    match whole {
        Err(error) => assert_ne!(error.kind(), ErrorKind::Unexpected, "{error:?}"),
        Ok((rows, facts)) => {
            let records = records(data.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(data));
            let header = records[0]
                .iter()
                .map(|cell| cell.trim())
                .collect::<Vec<_>>();
            assert_eq!(
                (rows.len() as u64, rows.len()),
                (facts.rows, records.len() - 1)
            );
            let place = header.iter().position(|name| *name == "name");
            let place = place.expect("the file has the header");
            for (row, record) in rows.iter().zip(&records[1..]) {
                let expected = match record[place].as_str() {
                    "" => Value::Null,
                    text => Value::Text(text.into()),
                };
                assert_eq!(row[1], expected);
            }
        }
    }
}

type Rows = Vec<Vec<Value<'static>>>;

fn rows_of(data: &[u8], size: usize) -> Result<(Rows, CsvFacts)> {
    let mut decoder = CsvDecoder::new(&FILE)?;
    let mut rows = Batch::new(Arc::clone(decoder.schema()));
    for chunk in data.chunks(size.max(1)) {
        decoder.push(chunk, &mut rows)?;
    }
    let facts = decoder.finish(&mut rows)?;
    let cells = |row: connector_core::RowRef<'_>| {
        let columns = 0..FILE.columns.len();
        columns.map(|place| row.at(place).into_owned()).collect()
    };
    Ok((rows.rows().map(cells).collect(), facts))
}

/// The cells of a file by RFC 4180, a byte at a time; a quote within a cell is a character.
fn records(data: &[u8]) -> Vec<Vec<String>> {
    let (mut records, mut record, mut cell) = (Vec::new(), Vec::new(), Vec::new());
    let (mut is_quoted, mut was_quoted) = (false, false);
    let text = |cell: &mut Vec<u8>| String::from_utf8_lossy(&std::mem::take(cell)).into_owned();
    let mut bytes = data.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if is_quoted && bytes.peek() == Some(&b'"') => {
                bytes.next();
                cell.push(b'"');
            }
            b'"' if is_quoted => is_quoted = false,
            _ if is_quoted => cell.push(byte),
            b'"' if cell.is_empty() && !was_quoted => (is_quoted, was_quoted) = (true, true),
            b',' => {
                record.push(text(&mut cell));
                was_quoted = false;
            }
            b'\r' | b'\n' => {
                if !record.is_empty() || !cell.is_empty() || was_quoted {
                    record.push(text(&mut cell));
                    records.push(std::mem::take(&mut record));
                }
                was_quoted = false;
            }
            _ => cell.push(byte),
        }
    }
    if !record.is_empty() || !cell.is_empty() || was_quoted {
        record.push(text(&mut cell));
        records.push(record);
    }
    records
}

/// Unpacks any bytes at all as an archive, at once and in small steps.
///
/// # Panics
///
/// When the steps make a difference, or more is unpacked than is allowed; when an error calls itself
/// a defect; when it does not come to an end.
pub fn zip(data: &[u8]) {
    let (whole, parts) = (unpack(data, data.len(), 1 << 12), unpack(data, 3, 7));
    match (whole, parts) {
        (Ok(whole), Ok(parts)) => {
            assert!(whole == parts && whole.len() as u64 <= MOST);
            // What is cut off by a byte is not whole, unless that byte stood behind the archive.
            if let Some((_, cut)) = data.split_last() {
                let cut = unpack(cut, cut.len(), 1 << 12);
                assert!(cut.is_err() || cut.is_ok_and(|cut| cut == whole));
            }
        }
        (Err(whole), Err(parts)) => {
            for error in [&whole, &parts] {
                assert_ne!(error.kind(), ErrorKind::Unexpected, "{error:?}");
            }
        }
        (whole, parts) => panic!("steps make a difference: {whole:?} {parts:?}"),
    }
}

fn unpack(data: &[u8], size: usize, room: usize) -> std::result::Result<Vec<u8>, Error> {
    let mut zip = Unzip::new(MOST);
    let (mut unpacked, mut buffer) = (Vec::new(), vec![0; room]);
    for chunk in data.chunks(size.max(1)) {
        let mut rest = chunk;
        loop {
            let len = zip.read(&mut rest, &mut buffer)?;
            if len == 0 {
                break;
            }
            unpacked.extend_from_slice(&buffer[..len]);
        }
        assert!(rest.is_empty(), "input is left over");
    }
    zip.finish()?;
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::prelude::*;

    use super::*;

    /// Runs a fuzzer's function over every input that is kept for it.
    fn replay(target: &str, run: fn(&[u8])) -> usize {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
        let inputs = fs::read_dir(corpus.join(target)).unwrap();
        let inputs = inputs.map(|entry| {
            let path = entry.unwrap().path();
            // A find names its file.
            println!("{}", path.display());
            run(&fs::read(path).unwrap());
        });
        inputs.count()
    }

    #[test]
    fn what_fuzzing_found_of_csv() {
        assert!(replay("csv", csv) > 5);
    }

    #[test]
    fn what_fuzzing_found_of_archives() {
        assert!(replay("zip", zip) > 5);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn chunks_make_no_difference(
            text in "(name,id,bytes,on\r\n)?((\"?[a-z\",\r\n]{0,3}\"?,?){1,4}\r?\n?){0,4}",
        ) {
            csv(text.as_bytes());
        }
    }
}
