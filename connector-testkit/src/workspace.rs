//! Sees that no connector goes without the kit.

use std::{fs, io, path::Path};

/// Crates whose names begin as connectors' do and that are none.
const SHARED: [&str; 5] = [
    "connector-core",
    "connector-graph",
    "connector-http",
    "connector-mssql",
    "connector-testkit",
];

/// Returns the connector crates of a workspace whose `tests/conformance.rs` does not call
/// [`conformance!`](crate::conformance), in order.
///
/// # Errors
///
/// Those of the file system; [`io::ErrorKind::NotFound`] when the folder has no connector crate at
/// all, since then it is the wrong folder.
pub fn connectors_without_conformance(root: &Path) -> io::Result<Vec<String>> {
    let (mut connectors, mut without) = (0, Vec::new());
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_connector = name.starts_with("connector-")
            && !SHARED.contains(&&*name)
            && entry.path().join("Cargo.toml").exists();
        if !is_connector {
            continue;
        }
        connectors += 1;
        match fs::read_to_string(entry.path().join("tests").join("conformance.rs")) {
            Ok(text) if calls_conformance(&text) => {}
            Ok(_) => without.push(name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => without.push(name),
            Err(error) => return Err(error),
        }
    }
    if connectors == 0 {
        let message = format!("no connector crate in {}", root.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    without.sort_unstable();
    Ok(without)
}

/// A call in a comment is none.
fn calls_conformance(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        line.starts_with("connector_testkit::conformance!(") || line.starts_with("conformance!(")
    })
}
