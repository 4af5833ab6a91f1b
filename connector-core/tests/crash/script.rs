//! The two runs that crashes and faults are tried on. Each step is begun by a process of its own.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use connector_core::{
    ChangeEvent, CycleId, DatasetId, DatasetReport, Digest, Duplicates, ErrorKind, Outcome, Retain,
    Row, Schema, Sink, Value,
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

/// The steps of the runs, by what happens in them.
pub(crate) const STEPS: [&str; 14] = [
    "a full load",
    "changes and duplicates; the second sink fails after its work",
    "a read that is cut, and then a whole one; the second sink fails before its work",
    "more changes, enough for a fold",
    "a new column",
    "nothing is left: held and rejected, held and approved",
    "a clean load",
    "history is let go",
    "digests: a full load",
    "digests: changes; the second sink fails after its work",
    "digests: more changes, enough for a fold",
    "digests: a sink that is new",
    "digests: rows again",
    "digests: no rows any more",
];

/// The run in which the store keeps rows.
pub(crate) const ROWS: Range<usize> = 0..8;

/// The run in which it keeps digests, but for a while.
pub(crate) const DIGESTS: Range<usize> = 8..14;

/// The run that a step belongs to.
pub(crate) fn run_of(step: usize) -> Range<usize> {
    if ROWS.contains(&step) { ROWS } else { DIGESTS }
}

/// Text that does not pack, so that a few rows are enough for a fold.
fn facts(n: u32, version: u32, length: u32) -> String {
    let mut state = u64::from(n) << 32 | u64::from(version) | 1;
    let letters = (0..length).map(|_| {
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
        7 => (1..280).map(changed(22, 6)).collect(),
        8 => (0..97).map(changed(0, 1)).collect(),
        9 => (2..98).map(changed(10, 2)).collect(),
        10 => (3..100).map(changed(97, 3)).collect(),
        11 => (4..100).map(changed(100, 3)).collect(),
        12 => (4..101).map(changed(20, 4)).collect(),
        _ => (5..101).map(changed(30, 5)).collect(),
    }
}

fn row(step: usize, (n, version): (u32, u32)) -> Vec<Value<'static>> {
    // The second run has fewer records, and longer ones.
    let length = if DIGESTS.contains(&step) { 720 } else { 240 };
    let mut row = vec![
        Value::Text(format!("PC-{n:05}").into()),
        Value::Int(version.into()),
        Value::Text(facts(n, version, length).into()),
        // Moves in every step, and is no change.
        Value::Int(i64::try_from(step).unwrap()),
    ];
    if (4..8).contains(&step) {
        row.push(match n {
            100 => Value::Text("Ann".into()),
            _ => Value::Null,
        });
    }
    row
}

/// What the store keeps after a step.
fn retain(step: usize) -> Retain {
    if DIGESTS.contains(&step) && step != 12 {
        Retain::Digests
    } else {
        Retain::Rows
    }
}

fn schema(step: usize) -> Schema {
    let columns = if (4..8).contains(&step) { WIDE } else { NARROW };
    Schema::from(columns).with_duplicates(Duplicates::KeepGreatest)
}

/// What the source returns in a step: its records in some order, some of them more than once.
fn source(step: usize) -> Vec<Vec<Value<'static>>> {
    let mut rows: Vec<_> = records(step).into_iter().map(|r| row(step, r)).collect();
    match step {
        // In no order.
        0 | 11 => rows.sort_by_key(|row| row[2].to_string()),
        1 | 10 => rows.reverse(),
        _ => {}
    }
    if [1, 6, 9].contains(&step) {
        // A twin far away, and one that differs and loses, on either side of the row.
        let (twin, mut first, mut last) = (
            rows[7].clone(),
            rows[5].clone(),
            rows[rows.len() / 3 * 2].clone(),
        );
        for differs in [&mut first, &mut last] {
            let facts = differs[2].to_string();
            let other = |n| Value::Text(format!("{facts} {n}").into());
            *differs = lab::loser(&schema(step), differs, other, 2);
        }
        rows.insert(0, first);
        rows.insert(rows.len() / 2, twin);
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

/// How many records there are after a step, and their digest.
fn summary(step: usize) -> (u64, Digest) {
    let (schema, records, mut digest) = (Arc::new(schema(step)), records(step), Digest::default());
    for record in &records {
        digest.add(&Row::from_values(&schema, &row(step, *record)).unwrap());
    }
    (records.len() as u64, digest)
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
        self.lab.options.memory = match step {
            3 => 256 << 20,
            // Two or three runs of rows, and not one a row.
            10 | 13 => 64 << 10,
            _ => 0,
        };
        self.lab.options.retain = retain(step);
        if DIGESTS.contains(&step) && step >= 11 && self.lab.sinks.len() == 2 {
            self.add_sink();
        }
        self.lab.options.history = if step == 7 { 0 } else { 2 };
        self.other.set(lab::devices(0..3, i64::from(step >= 3)));
    }

    /// Runs a step; returns what became of the first data set, and of the second.
    pub(crate) async fn step(&mut self, step: usize) -> (Vec<DatasetReport>, Vec<DatasetReport>) {
        self.arrange(step);
        let (mut reports, mut others) = (Vec::new(), Vec::new());
        match step {
            1 | 9 => self.lab.sinks[1].1.fail(SinkFault::AfterCommit, 0),
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
        if [0, 3, 8].contains(&step) {
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
            return step == run_of(step).start;
        };
        let whole = match store.rows(&Lab::id()).await {
            Ok(_) => true,
            // Digests can't be read from outside.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let files = self.lab.files();
                self.lab.named().iter().all(|file| files.contains(file))
            }
            Err(_) => false,
        };
        whole && store.changes(&Lab::id()).await.is_ok()
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
            assert_eq!(step, run_of(step).start, "{place}: nothing is left");
            return;
        };
        let Some(rows) = self.rows().await else {
            let state = (status.rows, status.digest);
            assert!(
                state == summary(step) || (step > DIGESTS.start && state == summary(step - 1)),
                "{place}: a state in between of {} digests",
                status.rows
            );
            return;
        };
        let mut digest = Digest::default();
        for row in &rows {
            digest.add(row);
        }
        assert_eq!(rows.len() as u64, status.rows, "{place}");
        assert_eq!(digest, status.digest, "{place}");
        let rows = shown(&rows);
        let first = step == run_of(step).start;
        assert!(
            rows == expected(step) || (!first && rows == expected(step - 1)),
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

    /// The store and all sinks hold what the source does; the store no rows where it keeps digests.
    pub(crate) async fn check_copies(&mut self, step: usize, place: &str) {
        let expected = expected(step);
        let rows = self.rows().await;
        match retain(step) {
            Retain::Rows => assert!(rows.is_some_and(|rows| shown(&rows) == expected), "{place}"),
            Retain::Digests => assert!(rows.is_none(), "{place}: the store has rows"),
        }
        for sink in 0..self.lab.sinks.len() {
            assert!(shown(&self.lab.copy(sink)) == expected, "{place}, {sink}");
        }
    }

    /// The rows of the store, unless it has digests only.
    async fn rows(&mut self) -> Option<Vec<Row>> {
        let store = self.lab.store().await;
        match store.rows(&Lab::id()).await {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            _ => Some(self.lab.baseline().await),
        }
    }

    /// A third sink, which has nothing yet.
    fn add_sink(&mut self) {
        let sink = lab::Sink::new(MemorySink::default());
        self.lab.sinks.push(("three", sink));
        self.received.push(Vec::new());
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
        if self.events.len() > world.lab.sinks.len() {
            world.add_sink();
        }
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

/// What there is before a step, and the calls that it makes.
pub(crate) struct Rehearsed {
    pub(crate) step: usize,
    pub(crate) before: Checkpoint,
    pub(crate) calls: Vec<String>,
}

/// Runs the steps without a fault.
pub(crate) async fn rehearse(steps: Range<usize>) -> Vec<Rehearsed> {
    let mut run = Vec::new();
    let mut checkpoint = Checkpoint::take(&mut World::new(), steps.start);
    for step in steps.clone() {
        let what = STEPS[step];
        let mut world = checkpoint.world().await;
        world.step(step).await;
        let storage = world.lab.storage.clone();
        let calls = (1..=storage.calls()).filter_map(|call| storage.call(call));
        let calls: Vec<String> = calls.collect();
        let report = world.settle(step).await;
        assert!(
            matches!(report.outcome, Outcome::Synced(_)) && report.is_ok(),
            "{what}: {report:?}"
        );
        world.check_end(step, what).await;
        world.lab.stop();
        let next = Checkpoint::take(&mut world, step + 1);
        let before = std::mem::replace(&mut checkpoint, next);
        run.push(Rehearsed {
            step,
            before,
            calls,
        });
    }
    let made = |end: &str, steps: &[usize]| {
        let done = run.iter().filter(|done| steps.contains(&done.step));
        let mut calls = done.flat_map(|done| &done.calls);
        calls.any(|call| call.starts_with("create lab/devices/") && call.contains(end))
    };
    if steps == ROWS {
        assert!(made(".base", &[3]), "no fold");
        assert!(made(".spool", &[1, 2]), "no row was spilled");
        assert!(made(".entries-0", &[1, 2]), "no entry was spilled");
    } else {
        assert!(!made(".base", &[9]), "changes that are no changes");
        assert!(made(".changes", &[10]), "changes that are a full load");
        assert!(made(".base", &[10]), "no fold");
        assert!(made(".base", &[11]), "no full load");
        assert!(made(".changes", &[13]), "a full load for digests");
    }
    run
}
