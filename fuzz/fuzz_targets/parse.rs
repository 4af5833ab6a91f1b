#![no_main]

use std::sync::LazyLock;

use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("there is a place for temporary files"));

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    connector_fileupload::fuzzing::parse(FOLDER.path(), data);
});
