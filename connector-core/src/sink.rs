//! Receivers of change events.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    copies::Copies,
    error::Result,
    event::{ChangeEvent, CycleId},
};

/// Receives the change events of one data set's cycle at a time.
///
/// - Between two commits all events belong to one cycle of one data set; `seq` counts from 1
///   without gaps.
/// - An event with `seq` 1 begins a cycle anew: whatever was written since the last commit was cut
///   off by a failure or a crash, and the sink drops it or overwrites it.
/// - A cycle is delivered again, under the same ids, until `commit` has returned `Ok` and that has
///   been recorded. A sink that keeps the id of the last cycle it committed for each data set can
///   drop such a repeat, which makes delivery exactly once.
/// - A cycle that is not full continues the one with the number before it. A sink that knows that
///   it lacks that one returns [`ErrorKind::Incomplete`](crate::ErrorKind::Incomplete) from its
///   first `write`, and one that finds at the end of such a cycle that its rows are others than the
///   source's from its last; the store then sends what differs, if the sink has [`Copies`], or the
///   whole data set as a full cycle, without reading the source.
/// - Other data sets and cycles may follow a failed one.
#[async_trait]
pub trait Sink: Send {
    /// Takes the next events of a cycle. They need not be durable yet.
    ///
    /// # Errors
    ///
    /// The cycle is delivered again later, from its first event.
    async fn write(&mut self, events: &[ChangeEvent]) -> Result<()>;

    /// Makes the cycle durable with all its events: once this returns `Ok` they are not sent
    /// again.
    ///
    /// # Errors
    ///
    /// The cycle is delivered again later, from its first event.
    async fn commit(&mut self, cycle: &CycleId) -> Result<()>;

    /// Returns what tells of the rows that the sink holds, when it can be asked for them. Only a
    /// sink that has it is sent [repairs](CycleId::is_repair).
    fn copies(&mut self) -> Option<&mut dyn Copies> {
        None
    }
}

/// A sink under the name by which the store remembers what it has confirmed. Cheap to clone; all
/// clones are the one sink, used by one delivery at a time.
#[derive(Clone)]
pub struct NamedSink {
    name: Arc<str>,
    sink: Arc<Mutex<dyn Sink>>,
}

impl NamedSink {
    /// Names a sink. The name stays the same over the sink's life: under another name it is a new
    /// sink and is filled from the store.
    pub fn new(name: &str, sink: impl Sink + 'static) -> Self {
        Self {
            name: name.into(),
            sink: Arc::new(Mutex::new(sink)),
        }
    }

    /// Names a sink that the host goes on using itself.
    pub fn shared<S: Sink + 'static>(name: &str, sink: Arc<Mutex<S>>) -> Self {
        Self {
            name: name.into(),
            sink,
        }
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) async fn lock(&self) -> MutexGuard<'_, dyn Sink + 'static> {
        self.sink.lock().await
    }
}

impl fmt::Debug for NamedSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NamedSink({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::Sink;

    #[expect(
        dead_code,
        reason = "compiles only while the trait can be used as an object"
    )]
    fn is_object_safe(_: &mut dyn Sink) {}
}
