//! A connector crate that does not call the kit fails here.

use std::{fs, io, path::Path};

use connector_testkit::workspace::connectors_without_conformance;

#[test]
fn every_connector_calls_conformance() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let without = connectors_without_conformance(root).unwrap();
    assert!(
        without.is_empty(),
        "call connector_testkit::conformance! in tests/conformance.rs of {without:?}"
    );
}

#[test]
fn a_connector_without_the_call_is_named() {
    let root = tempfile::tempdir().unwrap();
    let connector = |name: &str, test: Option<&str>| {
        let tests = root.path().join(name).join("tests");
        fs::create_dir_all(&tests).unwrap();
        fs::write(root.path().join(name).join("Cargo.toml"), "").unwrap();
        if let Some(test) = test {
            fs::write(tests.join("conformance.rs"), test).unwrap();
        }
    };
    connector("connector-core", None);
    let wrong = connectors_without_conformance(root.path()).unwrap_err();
    assert_eq!(wrong.kind(), io::ErrorKind::NotFound, "no connector at all");

    connector(
        "connector-good",
        Some("connector_testkit::conformance!(Good);\n"),
    );
    connector("datasync", None);
    assert!(
        connectors_without_conformance(root.path())
            .unwrap()
            .is_empty()
    );

    connector("connector-none", None);
    connector("connector-empty", Some(""));
    connector(
        "connector-commented",
        Some("// connector_testkit::conformance!(X);"),
    );
    assert_eq!(
        connectors_without_conformance(root.path()).unwrap(),
        ["connector-commented", "connector-empty", "connector-none"]
    );
}
