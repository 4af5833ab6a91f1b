//! A sink that fails on command.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use connector_core::{ChangeEvent, CycleId, Error, ErrorKind, Result, Sink};

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
