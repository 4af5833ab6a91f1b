//! What the fuzzers in `fuzz/` run, and what the tests replay over their kept inputs.

use connector_core::ChangeEvent;

use crate::upload::{BatchWriter, read_batch};

/// No input of a fuzzer is larger, decompressed.
const MOST: u64 = 1 << 20;

/// Reads a batch, once from bytes as they arrive and once from what they would be decompressed to:
/// what is taken is written and read again as it was.
///
/// # Panics
///
/// When that does not hold.
pub fn batch(data: &[u8]) {
    let _ = read(data);
    let Ok(compressed) = zstd::encode_all(data, 1) else {
        return;
    };
    let Some(events) = read(&compressed) else {
        return;
    };
    let mut again = Vec::new();
    let mut rest = &events[..];
    while let Some(first) = rest.first() {
        let mut batch = BatchWriter::new(first);
        let taken = rest
            .iter()
            .take_while(|event| batch.push(event, usize::MAX));
        rest = &rest[taken.count()..];
        let written = batch.finish().expect("memory takes everything");
        again.extend(read(&written).expect("what was written is read"));
    }
    assert_eq!(again, events, "a second form of the same events");
}

fn read(batch: &[u8]) -> Option<Vec<ChangeEvent>> {
    let mut events = Vec::new();
    read_batch(batch, MOST, |event| events.push(event)).ok()?;
    Some(events)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    #[test]
    fn what_fuzzing_found_of_batches() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/batch");
        let mut count = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // A find names its file.
            println!("{}", path.display());
            super::batch(&fs::read(path).unwrap());
            count += 1;
        }
        assert!(count > 5, "{count} inputs are kept");
    }
}
