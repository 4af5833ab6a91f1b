//! A sink that fails on command.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use connector_core::{ChangeEvent, Copies, CycleId, Error, ErrorKind, Result, Sink};

/// Where a [`FaultySink`] fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkFault {
    /// A write is refused; the sink saw nothing of it.
    BeforeWrite,
    /// A write is done, and the answer is lost.
    AfterWrite,
    /// A commit is refused.
    BeforeCommit,
    /// A commit is done, and the answer is lost: the case that people forget.
    AfterCommit,
}

impl SinkFault {
    /// Every fault, for tests that try them all.
    pub const ALL: [Self; 4] = [
        Self::BeforeWrite,
        Self::AfterWrite,
        Self::BeforeCommit,
        Self::AfterCommit,
    ];
}

/// Wraps a sink, remembers what it was sent and fails when told to. All clones are the same sink.
pub struct FaultySink<S> {
    inner: S,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Default)]
struct Plan {
    /// The fault, and how many calls of its kind pass before it.
    fault: Option<(SinkFault, u32)>,
    seen: Vec<ChangeEvent>,
}

impl<S> FaultySink<S> {
    /// Wraps a sink.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            plan: Arc::default(),
        }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails one time, after `passes` more calls of that kind. Replaces a fault that was set
    /// before and did not happen yet.
    pub fn fail(&self, fault: SinkFault, passes: u32) {
        self.plan().fault = Some((fault, passes));
    }

    /// Tells whether a fault was set and did not happen yet.
    pub fn is_armed(&self) -> bool {
        self.plan().fault.is_some()
    }

    /// Returns every event that reached the wrapped sink since the last call, repeats included.
    pub fn take_seen(&self) -> Vec<ChangeEvent> {
        std::mem::take(&mut self.plan().seen)
    }

    /// Takes the wrapped sink out.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Returns the wrapped sink.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Fails if it is this fault's turn.
    fn trip(&self, fault: SinkFault) -> Result<()> {
        let mut plan = self.plan();
        match &mut plan.fault {
            Some((planned, 0)) if *planned == fault => {
                plan.fault = None;
                Err(Error::new(
                    ErrorKind::Sink,
                    "the sink failed as it was told to",
                ))
            }
            Some((planned, passes)) if *planned == fault => {
                *passes -= 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl<S: Sink + Sync> Sink for FaultySink<S> {
    async fn write(&mut self, events: &[ChangeEvent]) -> Result<()> {
        self.trip(SinkFault::BeforeWrite)?;
        self.plan().seen.extend_from_slice(events);
        self.inner.write(events).await?;
        self.trip(SinkFault::AfterWrite)
    }

    async fn commit(&mut self, cycle: &CycleId) -> Result<()> {
        self.trip(SinkFault::BeforeCommit)?;
        self.inner.commit(cycle).await?;
        self.trip(SinkFault::AfterCommit)
    }

    fn copies(&mut self) -> Option<&mut dyn Copies> {
        self.inner.copies()
    }
}

impl<S: Clone> Clone for FaultySink<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            plan: Arc::clone(&self.plan),
        }
    }
}

impl<S> fmt::Debug for FaultySink<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultySink({:?})", self.plan().fault)
    }
}

#[cfg(test)]
mod tests {
    use connector_core::{
        Change, DatasetId, Digest, Schema, Timestamp,
        memory::MemorySink,
        schema::{Declared, int},
    };

    use super::*;

    fn empty_cycle() -> Vec<ChangeEvent> {
        const SCHEMA: Declared = Declared::new(&[int("id").key()]);
        let schema = Arc::new(Schema::from(SCHEMA));
        let digest = Digest::default();
        let changes = [
            Change::Truncate { schema },
            Change::SnapshotComplete { rows: 0, digest },
        ];
        let event = |(seq, change)| ChangeEvent {
            dataset: DatasetId::new("lab", "disks"),
            cycle: CycleId::new(1, Timestamp::MIN, true),
            seq,
            change,
        };
        (1..).zip(changes).map(event).collect()
    }

    #[tokio::test]
    async fn fails_once_before_or_after_doing_the_work() {
        let events = empty_cycle();
        let (id, cycle) = (&events[0].dataset, &events[0].cycle);
        for (fault, seen, committed) in [
            (SinkFault::BeforeWrite, 0, false),
            (SinkFault::AfterWrite, 2, false),
            (SinkFault::BeforeCommit, 2, false),
            (SinkFault::AfterCommit, 2, true),
        ] {
            let mut sink = FaultySink::new(MemorySink::default());
            sink.fail(fault, 0);
            let failed = match sink.write(&events).await {
                Ok(()) => sink.commit(cycle).await,
                failed => failed,
            };
            assert_eq!(failed.unwrap_err().kind(), ErrorKind::Sink);
            assert!(!sink.is_armed());
            assert_eq!(sink.take_seen().len(), seen, "{fault:?}");
            assert_eq!(sink.inner().cycle(id).is_some(), committed, "{fault:?}");
            sink.write(&events).await.unwrap();
            sink.commit(cycle).await.unwrap();
            assert_eq!(sink.inner().cycle(id), Some(*cycle));
        }
    }

    #[tokio::test]
    async fn lets_calls_of_its_kind_pass_first() {
        let events = empty_cycle();
        let mut sink = FaultySink::new(MemorySink::default());
        sink.fail(SinkFault::BeforeCommit, 1);
        for passes in [true, false, true] {
            sink.write(&events).await.unwrap();
            assert_eq!(sink.commit(&events[0].cycle).await.is_ok(), passes);
        }
    }
}
