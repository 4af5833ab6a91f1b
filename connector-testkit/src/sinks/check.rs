//! What the checks do: a source that changes, an engine that delivers, a sink that fails.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{collections::BTreeMap, io::Write};

use connector_core::{
    Column, DatasetId, Type, Value,
    schema::{int, text},
};
use proptest::{
    prelude::Rng,
    test_runner::{RngAlgorithm, TestRng},
};

use super::{
    SinkCheck, SinkHarness, direct, memory,
    rig::{LAB, Rig, device, devices, numbered, schema},
};
use crate::{SinkFault, generate};

/// More rows than the engine hands over at once, so that a cycle has pieces.
const PIECES: u32 = 5_000;

pub(super) async fn run<H: SinkHarness>(check: SinkCheck) {
    match check {
        SinkCheck::EveryValue => every_value::<H>().await,
        SinkCheck::Repeat => faults::<H>(&[(SinkFault::AfterCommit, 0)], false).await,
        SinkCheck::CrashBeforeCommit => faults::<H>(&[(SinkFault::BeforeCommit, 0)], true).await,
        SinkCheck::CrashAfterCommit => faults::<H>(&[(SinkFault::AfterCommit, 0)], true).await,
        SinkCheck::CrashWhileWriting => {
            let pieces = 0..2;
            let faults = pieces.flat_map(|passes| {
                [SinkFault::BeforeWrite, SinkFault::AfterWrite].map(|fault| (fault, passes))
            });
            faults_each::<H>(&faults.collect::<Vec<_>>()).await;
        }
        SinkCheck::Order => direct::order::<H>().await,
        SinkCheck::Missing => direct::missing::<H>().await,
        SinkCheck::Columns => columns::<H>().await,
        SinkCheck::Clean => clean::<H>().await,
        SinkCheck::TwoConnectors => two_connectors::<H>().await,
        SinkCheck::Repair => repair::<H>().await,
        SinkCheck::Chance => chance::<H>().await,
        SinkCheck::Memory => memory::million::<H>().await,
    }
}

async fn every_value<H: SinkHarness>() {
    let mut rig = Rig::<H>::new().await;
    let types = [
        Type::Bool,
        Type::Int,
        Type::Float,
        Type::Decimal { scale: 4 },
        Type::Text,
        Type::Bytes,
        Type::Timestamp,
        Type::LocalTimestamp,
        Type::Date,
        Type::Uuid,
        Type::Json,
    ];
    let key = std::iter::once(Column::new("n", Type::Int).key());
    let values = types.map(|ty| Column::new(format!("{ty}"), ty).null());
    let columns: Vec<Column> = key.chain(values).collect();
    let source = connector_core::memory::MemoryDataset::new("values", schema(columns.clone()));
    // Each row has one value, and all others null.
    let mut rows = Vec::new();
    for (place, column) in columns.iter().enumerate().skip(1) {
        for (name, value) in generate::edges(column.ty()) {
            let left_out = H::unsupported_values()
                .iter()
                .find(|(what, _)| *what == name);
            if let Some((_, reason)) = left_out {
                let _ = writeln!(std::io::stderr(), "{name}: left out: {reason}");
                continue;
            }
            let mut row = vec![Value::Null; columns.len()];
            row[0] = Value::Int(i64::try_from(rows.len()).unwrap());
            row[place] = value;
            rows.push(row);
        }
    }
    source.set(rows.clone());
    rig.synced(LAB, &source).await;
    rig.assert_held(LAB, &source).await;
    // The same values as changes: each takes the place of its neighbour.
    let keys: Vec<_> = rows.iter().map(|row| row[0].clone()).collect();
    rows.rotate_left(1);
    for (row, key) in rows.iter_mut().zip(keys) {
        row[0] = key;
    }
    source.set(rows);
    rig.synced(LAB, &source).await;
    rig.assert_held(LAB, &source).await;

    // Every type as a key.
    let keys = types.map(|ty| Column::new(format!("k {ty}"), ty).key());
    let keys: Vec<Column> = keys
        .into_iter()
        .chain([Column::new("n", Type::Int)])
        .collect();
    let shape = schema(keys);
    let keyed = connector_core::memory::MemoryDataset::new("keyed", shape.clone());
    keyed.set(generate::numbered_rows(&shape, 20));
    rig.synced(LAB, &keyed).await;
    let mut rows = generate::numbered_rows(&shape, 19);
    *rows[3].last_mut().unwrap() = Value::Int(-1);
    keyed.set(rows);
    rig.synced(LAB, &keyed).await;
    rig.assert_held(LAB, &keyed).await;
}

async fn faults<H: SinkHarness>(faults: &[(SinkFault, u32)], crash: bool) {
    let mut rig = Rig::<H>::new().await;
    let source = devices();
    // A full load, then changes, then another full load.
    for step in 0..3 {
        for (fault, passes) in faults {
            rig.options.clean = step == 2;
            let rows = step..PIECES + step * 2;
            source.set(rows.map(|number| device(number, step.into())).collect());
            rig.fail(*fault, *passes).await;
            rig.refused(LAB, &source).await;
            if crash {
                rig.crash().await;
            }
            rig.options.clean = false;
            rig.synced(LAB, &source).await;
            rig.assert_held(LAB, &source).await;
        }
    }
}

async fn faults_each<H: SinkHarness>(faults: &[(SinkFault, u32)]) {
    for fault in faults {
        self::faults::<H>(&[*fault], true).await;
    }
}

async fn columns<H: SinkHarness>() {
    let mut rig = Rig::<H>::new().await;
    let source = devices();
    source.set(numbered(0..20));
    rig.synced(LAB, &source).await;

    let mut wide = vec![
        text("site").null(),
        text("name").key(),
        int("cores").null(),
        text("owner").null(),
    ];
    let widen = |number: u32, site: Value<'static>| {
        let mut row = device(number, 8);
        row.insert(0, site);
        row
    };
    source.set_schema(schema(wide.clone()));
    let rows = |site: fn(u32) -> Value<'static>| (0..20).map(|n| widen(n, site(n))).collect();
    source.set(rows(|n| {
        if n == 3 {
            Value::Text("Köln".into())
        } else {
            Value::Null
        }
    }));
    rig.synced(LAB, &source).await;
    rig.assert_held(LAB, &source).await;
    source.set(rows(|n| {
        if n == 4 {
            Value::Text("Bonn".into())
        } else {
            Value::Null
        }
    }));
    rig.synced(LAB, &source).await;
    rig.assert_held(LAB, &source).await;

    // Another type: a full load.
    wide[0] = int("site").null();
    source.set_schema(schema(wide));
    source.set(rows(|n| Value::Int(n.into())));
    let sent = rig.synced(LAB, &source).await;
    assert!(sent.starts_with("Truncates: 1"), "{sent}");
    rig.assert_held(LAB, &source).await;
    rig.crash().await;
    source.set((0..19).map(|n| widen(n, Value::Int(1))).collect());
    rig.synced(LAB, &source).await;
    rig.assert_held(LAB, &source).await;
}

async fn clean<H: SinkHarness>() {
    let mut rig = Rig::<H>::new().await;
    let (source, other) = (devices(), devices());
    source.set(numbered(0..20));
    other.set(numbered(0..5));
    rig.synced(LAB, &source).await;
    rig.synced("hr", &other).await;
    let id = DatasetId::new(LAB, "devices");
    rig.harness.remove(&id, "PC-000003").await;
    rig.options.clean = true;
    source.set(numbered(10..40));
    let sent = rig.synced(LAB, &source).await;
    assert!(sent.starts_with("Truncates: 1"), "{sent}");
    rig.assert_held(LAB, &source).await;
    rig.assert_held("hr", &other).await;
}

async fn two_connectors<H: SinkHarness>() {
    let mut rig = Rig::<H>::new().await;
    let sources = [("hr", devices()), (LAB, devices())];
    for (from, (connector, source)) in (0..).zip(&sources) {
        source.set(numbered(from..from + 20));
        rig.synced(connector, source).await;
    }
    sources[0].1.set(Vec::new());
    rig.synced("hr", &sources[0].1).await;
    for (connector, source) in &sources {
        rig.assert_held(connector, source).await;
    }
    rig.crash().await;
    sources[1].1.set(numbered(3..25));
    rig.synced(LAB, &sources[1].1).await;
    for (connector, source) in &sources {
        rig.assert_held(connector, source).await;
    }
}

async fn repair<H: SinkHarness>() {
    let mut rig = Rig::<H>::new().await;
    let source = devices();
    let id = DatasetId::new(LAB, "devices");
    let mut rows = numbered(0..3_000);
    source.set(rows.clone());
    rig.synced(LAB, &source).await;
    for (cores, lost) in [(9, 7), (10, 2_999)] {
        let name = rows[lost][0].to_string();
        let removed = rig.harness.remove(&id, &name).await;
        assert!(
            removed,
            "the harness removed no row, and does not say that it can't"
        );
        // A change of the row that is gone: then every sink finds out.
        rows[lost][1] = Value::Int(cores);
        source.set(rows.clone());
        let sent = rig.synced(LAB, &source).await;
        assert_eq!(sent, "Inserts: 1, SnapshotCompletes: 1");
        rig.assert_held(LAB, &source).await;
        rig.crash().await;
    }
    rows.truncate(2_990);
    source.set(rows);
    rig.synced(LAB, &source).await;
    rig.assert_held(LAB, &source).await;
}

async fn chance<H: SinkHarness>() {
    let mut rig = Rig::<H>::new().await;
    let mut chance = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut below = |limit: u32| chance.next_u32() % limit;
    let sources = [("hr", devices()), (LAB, devices())];
    // Cores by the number of a device.
    let mut held = [const { BTreeMap::new() }; 2];
    for _ in 0..40 {
        let which = usize::from(below(2) == 0);
        let rows = &mut held[which];
        for _ in 0..below(60) {
            rows.insert(below(4_000), below(64));
            rows.remove(&below(4_000));
        }
        if below(8) == 0 {
            rows.extend((0..PIECES).map(|number| (number, below(3))));
        }
        let (connector, source) = &sources[which];
        let rows = rows
            .iter()
            .map(|(number, cores)| device(*number, (*cores).into()));
        source.set(rows.collect());
        rig.options.clean = below(12) == 0;
        if below(2) == 0 {
            let faults = SinkFault::ALL;
            rig.fail(faults[below(4) as usize], below(2)).await;
        }
        // It may fail or not; what counts is how it ends.
        rig.sync(connector, source).await;
        if below(4) == 0 {
            rig.crash().await;
        }
    }
    rig.crash().await;
    rig.options.clean = false;
    for (connector, source) in &sources {
        rig.synced(connector, source).await;
        rig.assert_held(connector, source).await;
    }
}
