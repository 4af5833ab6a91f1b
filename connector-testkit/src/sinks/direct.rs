//! Checks that hand events to the sink themselves, as no engine would.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::sync::Arc;

use connector_core::{
    ChangeEvent, CycleId, DatasetId, ErrorKind, RangeDigest, Result, Schema, Sink,
    memory::MemorySink,
};

use super::{
    SinkHarness,
    rig::{LAB, Rig, devices, numbered, whole},
};
use crate::{ManualClock, MemoryStorage};

/// The events of three cycles, a full one and two of changes, and what the source held after each.
struct Cycles {
    events: Vec<Vec<ChangeEvent>>,
    schema: Arc<Schema>,
    states: Vec<RangeDigest>,
}

impl Cycles {
    async fn new() -> Self {
        let (source, sink) = (devices(), MemorySink::default());
        let clock = Arc::new(ManualClock::default());
        let store = connector_core::Store::open(Arc::new(MemoryStorage::default()), clock).await;
        let store = store.unwrap();
        let cycle = connector_core::Cycle::new(&store)
            .sink(connector_core::NamedSink::new("memory", sink.clone()));
        let (mut events, mut states) = (Vec::new(), Vec::new());
        for rows in [numbered(0..6), numbered(2..8), numbered(4..9)] {
            source.set(rows);
            let report = cycle.run_dataset(LAB, &source).await;
            assert!(report.is_ok(), "{report:?}");
            events.push(sink.take_events());
            states.push(whole(&source).await.1);
        }
        let schema = connector_core::Dataset::schema(&source, None)
            .await
            .unwrap();
        Self {
            events,
            schema,
            states,
        }
    }

    async fn assert_held<H: SinkHarness>(&self, harness: &H, cycle: usize) {
        let id = DatasetId::new(LAB, "devices");
        let held = harness.held(&id, &self.schema).await;
        assert_eq!(held, Some(self.states[cycle]), "after cycle {}", cycle + 1);
    }
}

async fn deliver(sink: &mut impl Sink, events: &[ChangeEvent]) -> Result<()> {
    for piece in events.chunks(3) {
        sink.write(piece).await?;
    }
    sink.commit(&events[0].cycle).await
}

fn numbered_anew(mut events: Vec<ChangeEvent>) -> Vec<ChangeEvent> {
    for (seq, event) in (1..).zip(&mut events) {
        event.seq = seq;
    }
    events
}

pub(super) async fn order<H: SinkHarness>() {
    let cycles = Cycles::new().await;
    let harness = H::start().await;
    let mut sink = harness.open().await.unwrap();
    for (number, good) in cycles.events.iter().enumerate() {
        let last = good.len() - 1;
        let other = CycleId::new(99, good[0].cycle.at(), false);
        let mut wrong: Vec<(&str, Vec<ChangeEvent>)> = Vec::new();
        let mut change = |what, change: &dyn Fn(&mut Vec<ChangeEvent>)| {
            let mut events = good.clone();
            change(&mut events);
            wrong.push((what, events));
        };
        change("lost", &|events| drop(events.remove(1)));
        change("swapped", &|events| events.swap(1, 2));
        change("twice", &|events| events.insert(2, events[1].clone()));
        change("without its beginning", &|events| drop(events.remove(0)));
        change("of another cycle", &|events| events[last].cycle = other);
        change("of another data set", &|events| {
            events[last].dataset = DatasetId::new(LAB, "others");
        });
        change("without its end", &|events| drop(events.pop()));
        for (what, events) in wrong {
            let outcome = deliver(&mut sink, &events).await;
            assert!(
                outcome.is_err(),
                "cycle {}, events {what}: taken",
                number + 1
            );
            if number > 0 {
                cycles.assert_held(&harness, number - 1).await;
            }
        }
        deliver(&mut sink, good).await.unwrap();
        cycles.assert_held(&harness, number).await;
    }
    let mut sink = harness.open().await.unwrap();
    let commit = sink.commit(&cycles.events[0][0].cycle).await;
    assert!(commit.is_err(), "a commit of nothing is taken");
}

/// Of what is missing, a sink that keeps records must know.
pub(super) async fn missing<H: SinkHarness>() {
    let cycles = Cycles::new().await;
    let rig = Rig::<H>::new().await;
    let mut sink = rig.harness.open().await.unwrap();
    let nothing = deliver(&mut sink, &cycles.events[1]).await.unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::Incomplete, "{nothing:#}");
    deliver(&mut sink, &cycles.events[0]).await.unwrap();
    let gap = deliver(&mut sink, &cycles.events[2]).await.unwrap_err();
    assert_eq!(gap.kind(), ErrorKind::Incomplete, "{gap:#}");
    cycles.assert_held(&rig.harness, 0).await;

    // A change that lost an event on its way: the digest says so.
    let mut lossy = cycles.events[1].clone();
    lossy.remove(0);
    let error = deliver(&mut sink, &numbered_anew(lossy)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete, "{error:#}");
    cycles.assert_held(&rig.harness, 0).await;
    // A full load that did is refused.
    let mut lossy = cycles.events[0].clone();
    lossy.remove(1);
    for event in &mut lossy {
        event.cycle = later(event.cycle);
    }
    let error = deliver(&mut sink, &numbered_anew(lossy)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Sink, "{error:#}");
    cycles.assert_held(&rig.harness, 0).await;

    for events in &cycles.events[1..] {
        deliver(&mut sink, events).await.unwrap();
    }
    cycles.assert_held(&rig.harness, 2).await;
}

/// The same full cycle under a number of its own, so that it is no repeat.
fn later(cycle: CycleId) -> CycleId {
    CycleId::new(cycle.number() + 40, cycle.at(), true)
}
