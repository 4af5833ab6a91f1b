//! The run that crashes and faults are tried on. Each step is begun by a process of its own.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use connector_core::{
    ChangeEvent, CycleId, DatasetId, DatasetReport, Digest, Duplicates, Outcome, Row, Schema, Sink,
    Value,
    memory::{MemoryDataset, MemorySink},
    schema::{Declared, int, text},
};
use connector_testkit::{CrashStorage, SinkFault, Unsynced};

use super::lab::{self, Lab};

const NARROW: Declared = Declared::new(&[
    text("name").key(),
    int("cores").null(),
    text("facts").null(),
    int("free").null().volatile(),
]);

const WIDE: Declared = Declared::new(&[
    text("name").key(),
    int("cores").null(),
    text("facts").null(),
    int("free").null().volatile(),
    text("owner").null(),
]);

/// The steps of the run, by what happens in them.
pub(crate) const STEPS: [&str; 8] = [
    "a full load",
    "changes and duplicates; the second sink fails after its work",
    "a read that is cut, and then a whole one; the second sink fails before its work",
    "more changes, enough for a fold",
    "a new column",
    "nothing is left: held and rejected, held and approved",
    "a clean load",
    "history is let go",
];

/// Text that does not pack, so that a few rows are enough for a fold.
fn facts(n: u32, version: u32) -> String {
    let mut state = u64::from(n) << 32 | u64::from(version) | 1;
    let letters = (0..240).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b"0123456789abcdefghijklmnopqrstuv"[(state >> 59) as usize])
    });
    letters.collect()
}

/// The records after a step: number and version, in the order of keys.
fn records(step: usize) -> Vec<(u32, u32)> {
    let changed =
        |upto: u32, version: u32| move |n: u32| (n, if n % 300 < upto { version } else { 1 });
    match step {
        0 => (0..300).map(changed(0, 1)).collect(),
        1 => (10..310).map(changed(50, 2)).collect(),
        2 => (10..330).map(changed(60, 3)).collect(),
        3 | 4 => (20..330).map(changed(110, 4)).collect(),
        5 => Vec::new(),
        6 => (0..280).map(changed(20, 5)).collect(),
        _ => (1..280).map(changed(22, 6)).collect(),
    }
}

fn row(step: usize, (n, version): (u32, u32)) -> Vec<Value<'static>> {
    let mut row = vec![
        Value::Text(format!("PC-{n:05}").into()),
        Value::Int(version.into()),
        Value::Text(facts(n, version).into()),
        // Moves in every step, and is no change.
        Value::Int(i64::try_from(step).unwrap()),
    ];
    if step >= 4 {
        row.push(match n {
            100 => Value::Text("Ann".into()),
            _ => Value::Null,
        });
    }
    row
}

fn schema(step: usize) -> Schema {
    let columns = if step < 4 { NARROW } else { WIDE };
    Schema::from(columns).with_duplicates(Duplicates::KeepGreatest)
}

/// What the source returns in a step: its records in some order, some of them more than once.
fn source(step: usize) -> Vec<Vec<Value<'static>>> {
    let mut rows: Vec<_> = records(step).into_iter().map(|r| row(step, r)).collect();
    match step {
        // In no order.
        0 => rows.sort_by_key(|row| row[2].to_string()),
        1 => rows.reverse(),
        _ => {}
    }
    if step == 1 || step == 6 {
        // A twin far away, and one that differs and loses, on either side of the row.
        let (twin, mut first, mut last) = (rows[7].clone(), rows[5].clone(), rows[200].clone());
        for differs in [&mut first, &mut last] {
            let facts = differs[2].to_string();
            let other = |n| Value::Text(format!("{facts} {n}").into());
            *differs = lab::loser(&schema(step), differs, other, 2);
        }
        rows.insert(0, first);
        rows.insert(150, twin);
        rows.push(last);
    }
    rows
}

fn line(row: &[Value<'_>], owner: &Value<'_>) -> String {
    format!("{} {} {} {owner}", row[0], row[1], row[2])
}

/// The records after a step, as [`shown`] renders them.
pub(crate) fn expected(step: usize) -> Vec<String> {
    let rows = records(step).into_iter().map(|r| row(step, r));
    rows.map(|row| line(&row, row.get(4).unwrap_or(&Value::Null)))
        .collect()
}

/// Rows in the order of keys, without what is volatile.
pub(crate) fn shown(rows: &[Row]) -> Vec<String> {
    let show = |row: &Row| {
        let values: Vec<_> = row.values().collect();
        line(&values, &row.value("owner").unwrap_or(Value::Null))
    };
    rows.iter().map(show).collect()
}

/// The lab with a second data set beside the first.
pub(crate) struct World {
    pub(crate) lab: Lab,
    other: Arc<MemoryDataset>,
    /// What each sink has committed.
    received: Vec<Vec<ChangeEvent>>,
}

impl World {
    /// Before the first step.
    pub(crate) fn new() -> Self {
        let mut lab = Lab::new(&["one", "two"]);
        lab.options.history = 2;
        Self {
            lab,
            other: Arc::new(MemoryDataset::new("other", Arc::new(lab::DEVICES.into()))),
            received: vec![Vec::new(); 2],
        }
    }

    fn arrange(&mut self, step: usize) {
        self.lab.source.set_schema(Arc::new(schema(step)));
        self.lab.source.set(source(step));
        self.lab.source.set_failure(None);
        self.lab.options.clean = false;
        self.lab.options.memory = if step == 3 { 256 << 20 } else { 0 };
        self.lab.options.history = if step == 7 { 0 } else { 2 };
        self.other.set(lab::devices(0..3, i64::from(step >= 3)));
    }

    /// Runs a step; returns what became of the first data set, and of the second.
    pub(crate) async fn step(&mut self, step: usize) -> (Vec<DatasetReport>, Vec<DatasetReport>) {
        self.arrange(step);
        let (mut reports, mut others) = (Vec::new(), Vec::new());
        match step {
            1 => self.lab.sinks[1].1.fail(SinkFault::AfterCommit, 0),
            2 => {
                self.lab.source.set_failure(Some(200));
                reports.push(self.lab.sync().await);
                self.lab.source.set_failure(None);
                self.lab.sinks[1].1.fail(SinkFault::BeforeWrite, 0);
            }
            5 => {
                reports.push(self.lab.sync().await);
                let _ = self.lab.cycle().await.reject(&Lab::id()).await;
            }
            6 => self.lab.options.clean = true,
            _ => {}
        }
        reports.push(self.lab.sync().await);
        if step == 5 {
            reports.push(self.lab.cycle().await.approve(&Lab::id()).await);
        }
        if step == 0 || step == 3 {
            let cycle = self.lab.cycle().await;
            others.push(cycle.run_dataset("lab", &*self.other).await);
        }
        (reports, others)
    }

    /// Goes on with what the source holds after a step until nothing is left to do.
    pub(crate) async fn settle(&mut self, step: usize) -> DatasetReport {
        self.arrange(step);
        let mut report = self.lab.sync().await;
        for _ in 0..2 {
            if report.is_ok() {
                break;
            }
            report = self.lab.sync().await;
        }
        report
    }

    /// A clean sync of what the source holds after a step.
    pub(crate) async fn heal(&mut self, step: usize) -> DatasetReport {
        self.arrange(step);
        self.lab.options.clean = true;
        self.lab.sync().await
    }

    /// Tells whether everything that is committed can be read.
    pub(crate) async fn is_whole(&mut self, step: usize) -> bool {
        let store = self.lab.store().await;
        let Ok(Some(_)) = store.status(&Lab::id()).await else {
            return step == 0;
        };
        let (rows, changes) = (
            store.rows(&Lab::id()).await,
            store.changes(&Lab::id()).await,
        );
        rows.is_ok() && changes.is_ok()
    }

    /// The process is gone; the next one finds what the crash left.
    pub(crate) fn reopen(&mut self, unsynced: Unsynced) {
        self.lab.stop();
        self.lab.storage = self.lab.storage.reopen(unsynced);
        self.lab.clock.advance(Duration::from_mins(1));
    }

    /// C1: the committed state is the one before the step or the one after it, and its digest is
    /// that of its rows. C2: no sink is ahead of it.
    pub(crate) async fn check_state(&mut self, step: usize, place: &str) {
        let store = self.lab.store().await;
        let status = store.status(&Lab::id()).await;
        let status = status.unwrap_or_else(|e| panic!("{place}: {e:#}"));
        for (name, sink) in &self.lab.sinks {
            let received = sink.inner().cycle(&Lab::id()).map(CycleId::number);
            let stored = status.as_ref().map(|status| status.cycle.number());
            assert!(
                stored >= received,
                "{place}: {stored:?}, sink {name} {received:?}"
            );
        }
        let Some(status) = status else {
            assert_eq!(step, 0, "{place}: nothing is left");
            return;
        };
        let rows = self.lab.baseline().await;
        let mut digest = Digest::default();
        for row in &rows {
            digest.add(row);
        }
        assert_eq!(rows.len() as u64, status.rows, "{place}");
        assert_eq!(digest, status.digest, "{place}");
        let rows = shown(&rows);
        assert!(
            rows == expected(step) || (step > 0 && rows == expected(step - 1)),
            "{place}: a state in between of {} rows",
            rows.len()
        );
    }

    /// Everything holds what the source does, and nothing else lies in the folder.
    pub(crate) async fn check_end(&mut self, step: usize, place: &str) {
        self.check_copies(step, place).await;
        assert_eq!(
            self.lab.files(),
            self.lab.named(),
            "{place}: files of nobody"
        );
    }

    /// The store and both sinks hold what the source does.
    pub(crate) async fn check_copies(&mut self, step: usize, place: &str) {
        let expected = expected(step);
        assert!(shown(&self.lab.baseline().await) == expected, "{place}");
        assert!(shown(&self.lab.copy(0)) == expected, "{place}");
        assert!(shown(&self.lab.copy(1)) == expected, "{place}");
    }

    /// The files of one read's own.
    pub(crate) fn spilled(&self) -> Vec<String> {
        let stays = |file: &str| {
            let ends = [".base", ".changes", "/manifest", "/manifest.new"];
            ends.iter().any(|end| file.ends_with(end))
        };
        let mut files = self.lab.files();
        files.retain(|file| !stays(file));
        files
    }
}

/// What outlives a process: the disk, and what each sink has committed.
pub(crate) struct Checkpoint {
    storage: CrashStorage,
    events: Vec<Vec<ChangeEvent>>,
    age: u64,
}

impl Checkpoint {
    /// Takes what there is of a world that ends.
    pub(crate) fn take(world: &mut World, age: usize) -> Self {
        for ((_, sink), received) in world.lab.sinks.iter().zip(&mut world.received) {
            received.extend(sink.inner().take_events());
        }
        Self {
            storage: world.lab.storage.copy(),
            events: world.received.clone(),
            age: age as u64,
        }
    }

    /// Stands for everything that the next process goes on from.
    pub(crate) fn image(&self, unsynced: Unsynced) -> u64 {
        let (storage, mut sum) = (self.storage.reopen(unsynced), DefaultHasher::new());
        for file in storage.files() {
            (&file, lab::read(&storage, &file)).hash(&mut sum);
        }
        for events in &self.events {
            events.len().hash(&mut sum);
        }
        sum.finish()
    }

    /// A world of its own that goes on from here.
    pub(crate) async fn world(&self) -> World {
        let mut world = World::new();
        world.lab.storage = self.storage.copy();
        world.lab.clock.advance(Duration::from_mins(self.age));
        for ((_, sink), events) in world.lab.sinks.iter().zip(&self.events) {
            receive(sink.inner().clone(), events).await;
        }
        world
    }
}

/// Gives a new sink what another one had received.
async fn receive(mut sink: MemorySink, events: &[ChangeEvent]) {
    let cycle =
        |event: &ChangeEvent| -> (DatasetId, CycleId) { (event.dataset.clone(), event.cycle) };
    for events in events.chunk_by(|a, b| cycle(a) == cycle(b)) {
        sink.write(events).await.unwrap();
        sink.commit(&events[0].cycle).await.unwrap();
    }
}

/// Runs all steps without a fault; returns what there is before each of them, and their calls.
pub(crate) async fn rehearse() -> Vec<(Checkpoint, Vec<String>)> {
    let mut run = Vec::new();
    let mut checkpoint = Checkpoint::take(&mut World::new(), 0);
    for (number, what) in STEPS.iter().enumerate() {
        let mut world = checkpoint.world().await;
        world.step(number).await;
        let storage = world.lab.storage.clone();
        let calls = (1..=storage.calls()).filter_map(|call| storage.call(call));
        let calls: Vec<String> = calls.collect();
        let report = world.settle(number).await;
        assert!(
            matches!(report.outcome, Outcome::Synced(_)) && report.is_ok(),
            "{what}: {report:?}"
        );
        world.check_end(number, what).await;
        world.lab.stop();
        let next = Checkpoint::take(&mut world, number + 1);
        run.push((std::mem::replace(&mut checkpoint, next), calls));
    }
    let made = |end: &str, steps: &[usize]| {
        let mut calls = steps.iter().flat_map(|step| &run[*step].1);
        calls.any(|call| call.starts_with("create lab/devices/") && call.contains(end))
    };
    assert!(made(".base", &[3]), "no fold");
    assert!(made(".spool", &[1, 2]), "no row was spilled");
    assert!(made(".entries-0", &[1, 2]), "no entry was spilled");
    run
}
