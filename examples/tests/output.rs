//! Runs every example and compares what it prints with `expected/`.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{fs, path::Path, process::Command};

fn prints(example: &str, program: &str) {
    let output = Command::new(program).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{example}: {}\n{errors}",
        output.status
    );
    let printed = String::from_utf8(output.stdout).unwrap();
    let expected = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("expected")
        .join(format!("{example}.txt"));
    let expected = fs::read_to_string(expected).unwrap();
    assert_eq!(printed, expected.replace("\r\n", "\n"), "{example}");
}

#[test]
fn embed() {
    prints("embed", env!("CARGO_BIN_EXE_embed"));
}

#[test]
fn custom_sink() {
    prints("custom_sink", env!("CARGO_BIN_EXE_custom_sink"));
}

#[test]
fn custom_connector() {
    prints("custom_connector", env!("CARGO_BIN_EXE_custom_connector"));
}

#[test]
fn typed_changes() {
    prints("typed_changes", env!("CARGO_BIN_EXE_typed_changes"));
}
