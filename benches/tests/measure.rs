//! Every work of `measure` runs, and gives figures that are numbers. What they are is not tested.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::process::{Command, Stdio};

fn measure(works: &[&str]) -> Vec<Vec<String>> {
    let output = Command::new(env!("CARGO_BIN_EXE_measure"))
        .args(works)
        .args(["--rows", "1000", "--rounds", "1"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", output.status);
    let table = String::from_utf8(output.stdout).unwrap();
    let rows = table.lines().skip(2).map(|row| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    });
    rows.collect()
}

/// The number that a cell begins with.
fn number(cell: &str) -> f64 {
    let number = cell.split([' ', ';']).next().unwrap();
    number.parse().unwrap()
}

#[test]
fn every_work_has_figures() {
    let rows = measure(&[]);
    for row in &rows {
        let [work, _, cpu, peak, wall, written] = &**row else {
            panic!("{row:?}");
        };
        for cell in [cpu, peak, wall] {
            let number = number(cell);
            assert!(number.is_finite() && number > 0.0, "{work}: {cell}");
        }
        let writes = work.contains("cycle") || work.contains("changed") || work.contains("load");
        assert!(!writes || number(written) > 0.0, "{work}: {written}");
    }
    let works: Vec<_> = rows.iter().map(|row| &*row[0]).collect();
    for work in [
        "parse again",
        "steady cycle, no order",
        "steady cycle, key order",
        "nothing changed, no order",
        "nothing changed, key order",
        "no order, 64 MiB",
        "first load into ndjson",
        "first load into SQLite",
        "idle host; start to ready",
        "first load of devices",
        "no device changed",
        "first load of a vCenter",
        "no vCenter object changed",
        "JSON pages into rows",
        "ServiceNow's pages into rows",
        "first load of computers",
        "no computer changed",
        "installs into rows",
        "packed installs into rows",
        "ten times the rows, no order",
        "ten times the rows, key order",
        "large, no order, 64 MiB",
        "the same, digests",
    ] {
        assert!(works.contains(&work), "{work} is not among {works:?}");
    }
}

#[test]
fn one_work_can_be_measured_alone() {
    let rows = measure(&["ordered", "--columns", "5"]);
    let works: Vec<_> = rows.iter().map(|row| &*row[0]).collect();
    assert_eq!(works, ["parse again", "steady cycle, key order"]);
}
