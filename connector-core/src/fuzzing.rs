//! What the fuzzers in `fuzz/` run, and what the tests replay over their kept inputs.

use std::sync::Arc;

use bytes::Bytes;

pub use crate::baseline::fuzzing::{manifest, segment};
use crate::{
    row::Row,
    schema::{Column, Schema, Type},
    value::Value,
};

/// The shapes that rows are decoded in; the input's first byte chooses one.
fn shapes() -> [Vec<Column>; 4] {
    let types = [
        Type::Bool,
        Type::Int,
        Type::Float,
        Type::Decimal { scale: 3 },
        Type::Text,
        Type::Bytes,
        Type::Timestamp,
        Type::LocalTimestamp,
        Type::Date,
        Type::Uuid,
        Type::Json,
    ];
    let mut all = vec![Column::new("id", Type::Int).key()];
    all.extend(types.map(|ty| Column::new(format!("{ty} or not"), ty).null()));
    all.extend(types.map(|ty| Column::new(format!("{ty}"), ty)));
    all.extend(types.map(|ty| {
        Column::new(format!("{ty} that moves"), ty)
            .null()
            .volatile()
    }));
    let mut keys = vec![Column::new("value", Type::Text).null()];
    keys.extend(types.map(|ty| Column::new(format!("{ty}"), ty).key()));
    [
        vec![Column::new("name", Type::Text).key()],
        vec![
            Column::new("name", Type::Text).key(),
            Column::new("cores", Type::Int).null(),
            Column::new("facts", Type::Json).null(),
            Column::new("free", Type::Float).null().volatile(),
        ],
        keys,
        all,
    ]
}

/// Decodes a row: what is taken has the one form of its values, and no input does harm.
///
/// # Panics
///
/// When that does not hold.
pub fn row(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let shapes = shapes();
    let columns = shapes[usize::from(*choice) % shapes.len()].clone();
    let schema = Arc::new(Schema::new(columns).expect("the shapes above are schemas"));
    touch(&Row::new(
        Arc::clone(&schema),
        Bytes::copy_from_slice(bytes),
    ));
    let Ok(row) = Row::decode(Arc::clone(&schema), Bytes::copy_from_slice(bytes)) else {
        return;
    };
    let values: Vec<Value<'_>> = row.values().collect();
    let again = Row::from_values(&schema, &values).expect("its own values fit");
    assert_eq!(again.bytes(), bytes, "a second form of the same values");
    assert_eq!(again.key(), row.key());
    assert_eq!(row.as_ref().measure(), bytes.len());
    assert!(again.changed(&row).is_empty());
}

/// Calls everything that is ever called on rows that only a checksum vouches for.
pub(crate) fn touch(row: &Row) {
    let view = row.as_ref();
    // More columns than a schema of a damaged file may have are no find, only slow.
    if row.schema().columns().len() > 200 {
        return;
    }
    for value in view.values() {
        let _ = value.to_string();
    }
    let _ = (view.compared(), view.measure(), row.key().hash());
    let _ = serde_json::to_string(row);
    let _ = row.changed(row);
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// Runs a fuzzer's function over every input that is kept for it.
    fn replay(target: &str, run: fn(&[u8])) {
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
    fn what_fuzzing_found_of_rows() {
        replay("row", super::row);
    }

    #[test]
    fn what_fuzzing_found_of_segments() {
        replay("segment", super::segment);
    }

    #[test]
    fn what_fuzzing_found_of_manifests() {
        replay("manifest", super::manifest);
    }
}
