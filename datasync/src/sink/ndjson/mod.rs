//! Change events as lines of JSON.

mod line;
mod out;
#[cfg(test)]
mod tests;

use std::{fmt, io, mem, path::Path};

use async_trait::async_trait;
use connector_core::{Change, ChangeEvent, CycleId, DatasetId, Error, ErrorKind, Result, Sink};

pub(super) use self::line::Lines;
use self::out::{Appended, Known, Out};
use super::blocking::{Pending, Worker, blocking};
pub use line::{EVENT_SCHEMA, EventLine};

/// Appends change events to a file, or writes them to standard output, a line each.
///
/// Every cycle ends with a line of the kind `snapshot_complete`. When a file is opened, whatever
/// stands behind the last such line belongs to a cycle that was cut off, and is removed; the cycle
/// is delivered again. So a file holds every cycle once. A reader that follows the file while it
/// is written, and every reader of standard output, may see lines of a cycle twice, with the same
/// connector, dataset, cycle and seq.
pub struct NdjsonSink {
    out: Worker<Out>,
    /// The last cycle of each data set that is known to be written whole.
    committed: Known,
    delivery: Option<Delivery>,
}

impl NdjsonSink {
    /// Opens a file for appending, or makes it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sink`] naming the file.
    pub async fn open(path: &Path) -> Result<Self> {
        let path = path.to_owned();
        let (file, committed) = blocking(move || Appended::open(&path)).await?;
        Ok(Self {
            committed,
            ..Self::new(Out::File(file))
        })
    }

    /// Writes to standard output.
    pub fn stdout() -> Self {
        Self::new(Out::Stdout(io::stdout()))
    }

    fn new(out: Out) -> Self {
        Self {
            out: Worker::new(out),
            committed: Known::new(),
            delivery: None,
        }
    }

    async fn begin(&mut self, event: &ChangeEvent) -> Result<Delivery> {
        if let Some(known) = self.out.run(Out::rewind).await? {
            self.committed = known;
        }
        Ok(Delivery {
            dataset: event.dataset.clone(),
            cycle: event.cycle,
            next_seq: 1,
            repeat: self.committed.get(&event.dataset) == Some(&event.cycle),
            complete: false,
            lines: Lines::new(event),
            writing: None,
        })
    }
}

#[async_trait]
impl Sink for NdjsonSink {
    async fn write(&mut self, events: &[ChangeEvent]) -> Result<()> {
        // It goes on only when this ends well: not when it fails, nor when it is dropped.
        let mut delivery = self.delivery.take();
        for event in events {
            if event.seq == 1 {
                delivery = Some(self.begin(event).await?);
            }
            let Some(delivery) = &mut delivery else {
                return Err(refused("an event without a beginning"));
            };
            delivery.take(event)?;
        }
        if let Some(delivery) = &mut delivery {
            delivery.write(&mut self.out).await?;
        }
        self.delivery = delivery;
        Ok(())
    }

    async fn commit(&mut self, cycle: &CycleId) -> Result<()> {
        let delivery = self.delivery.take();
        let Some(mut delivery) = delivery.filter(|d| d.complete && d.cycle == *cycle) else {
            return Err(refused("a commit of a cycle that is not complete"));
        };
        delivery.written().await?;
        // A repeat too: that its lines can be read does not mean that they are durable.
        self.out.run(Out::commit).await?;
        self.committed.insert(delivery.dataset, *cycle);
        Ok(())
    }
}

impl fmt::Debug for NdjsonSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NdjsonSink").finish_non_exhaustive()
    }
}

struct Delivery {
    dataset: DatasetId,
    cycle: CycleId,
    next_seq: u64,
    repeat: bool,
    complete: bool,
    lines: Lines,
    /// The last piece, which is written while the next one is made.
    writing: Option<Pending<Vec<u8>>>,
}

impl Delivery {
    fn take(&mut self, event: &ChangeEvent) -> Result<()> {
        if event.seq != self.next_seq
            || event.cycle != self.cycle
            || event.dataset != self.dataset
            || self.complete
        {
            return Err(refused("an event out of order").with("seq", event.seq));
        }
        self.next_seq += 1;
        self.complete = matches!(event.change, Change::SnapshotComplete { .. });
        if !self.repeat {
            self.lines.push(event);
        }
        Ok(())
    }

    async fn write(&mut self, out: &mut Worker<Out>) -> Result<()> {
        let written = self.written().await?;
        let lines = mem::replace(&mut self.lines.text, written);
        if lines.is_empty() {
            return Ok(());
        }
        self.writing = Some(out.start(move |out| {
            out.write(&lines)?;
            Ok(lines)
        }));
        Ok(())
    }

    /// Waits for the piece on its way and returns its buffer, empty.
    async fn written(&mut self) -> Result<Vec<u8>> {
        let mut buffer = match self.writing.take() {
            Some(writing) => writing.done().await?,
            None => Vec::new(),
        };
        buffer.clear();
        Ok(buffer)
    }
}

fn refused(message: &str) -> Error {
    Error::new(ErrorKind::Sink, message)
}
