//! What the fuzzers in `fuzz/` run, and what the tests replay over their kept inputs.

use std::{fs, path::Path};

use connector_core::ErrorKind;
use csv::{ByteRecord, ReaderBuilder};

use crate::{
    config::{Delimiter, Encoding, Quoting},
    file::SourceFile,
    format::Format,
    table::Table,
};

/// Finds a delimiter in any text at all. The first byte chooses whether quotes mean anything.
///
/// # Panics
///
/// When what is found is not one of those that are looked for.
pub fn sniff(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else {
        return;
    };
    let format = Format {
        quoting: quoting(*choice),
        ..Format::default()
    };
    let found = format.sniff(text).expect("memory can be read").byte();
    assert!(b",\t;|".contains(&found), "{found}");
}

/// Reads a file of any content at all, put into the folder. The first byte chooses the settings.
///
/// # Panics
///
/// When the records are not those that the `csv` crate alone makes of a plain file, when lines do
/// not grow from record to record, or when an error calls itself a defect.
pub fn parse(folder: &Path, data: &[u8]) {
    let Some((choice, content)) = data.split_first() else {
        return;
    };
    let path = folder.join("fuzzed.csv");
    fs::write(&path, content).expect("the folder can be written");
    let file = SourceFile::new(folder, path);
    let named = choice & 2 != 0;
    let format = Format {
        quoting: quoting(*choice),
        columns: if named {
            vec!["a".into(), "b".into()]
        } else {
            Vec::new()
        },
        delimiter: match choice >> 2 & 3 {
            0 => None,
            1 => Some(Delimiter::COMMA),
            2 => Some(Delimiter::TAB),
            _ => Some(Delimiter::SEMICOLON),
        },
        encoding: match choice >> 4 & 3 {
            0 => Encoding::Utf8,
            1 => Encoding::Windows1252,
            2 => Encoding::Utf16Le,
            _ => Encoding::Utf16Be,
        },
    };
    let Ok(mut table) = Table::open(&file, &format) else {
        return;
    };
    let (mut records, mut last) = (Vec::new(), 0);
    let ended = loop {
        match table.advance() {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(error) => break Err(error.kind()),
        }
        let line = table.line().expect("the file is still there");
        assert!(line > last, "line {line} after {last}");
        last = line;
        records.push(table.record().iter().collect::<ByteRecord>());
    };
    assert_ne!(ended, Err(ErrorKind::Unexpected));

    let plain = table.encoding() == Encoding::Utf8
        && format.quoting == Quoting::Rfc4180
        && format.delimiter == Some(Delimiter::COMMA);
    if !plain {
        return;
    }
    let content = content.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(content);
    let mut expected: Vec<ByteRecord> = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(content)
        .byte_records()
        .map(|record| record.expect("bytes of any kind are records"))
        .collect();
    if !named {
        expected.remove(0);
    }
    // The crate takes the end of the file for the end of quotes, too.
    if ended.is_err() {
        expected.pop();
    }
    assert_eq!(records, expected);
}

fn quoting(choice: u8) -> Quoting {
    if choice & 1 == 0 {
        Quoting::Rfc4180
    } else {
        Quoting::Raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a fuzzer's function over every input that is kept for it.
    fn replay(target: &str, run: impl Fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../fuzz/corpus")
            .join(target);
        let mut count = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // A find names its file.
            println!("{}", path.display());
            run(&fs::read(path).unwrap());
            count += 1;
        }
        assert!(count > 5, "{count} inputs are kept for {target}");
    }

    #[test]
    fn what_fuzzing_found_of_sniffing() {
        replay("sniff", sniff);
    }

    #[test]
    fn what_fuzzing_found_of_files() {
        let folder = tempfile::tempdir().unwrap();
        replay("parse", |data| parse(folder.path(), data));
    }
}
