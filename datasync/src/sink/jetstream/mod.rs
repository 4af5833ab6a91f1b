//! Change events in a stream of NATS JetStream.

mod config;
mod link;
mod subject;
#[cfg(test)]
mod tests;
mod window;

use std::fmt::{self, Write as _};

use async_trait::async_trait;
use bytes::Bytes;
use connector_core::{
    Change, ChangeEvent, CycleId, DatasetId, Error, ErrorKind, Result, Schema, Sink,
};

pub use self::config::JetStreamConfig;
use self::{link::Link, window::Window};
use super::ndjson::Lines;

/// Publishes change events to a stream of NATS JetStream, each a line of JSON as
/// [`EventLine`](crate::EventLine) has it.
///
/// An event has the subject of its data set, and an id by which the server drops what is sent again
/// within the stream's window for duplicates. A cycle's first event is in the stream before any
/// other of the cycle is sent, and its last is sent when all others are there. `docs/jetstream.md`
/// says what that means for consumers.
///
/// What the stream holds is read from its last event of the data set: a cycle that it holds whole is
/// not sent again, and without the cycle before it asks for the whole data set.
pub struct JetStreamSink {
    config: JetStreamConfig,
    link: Option<Link>,
    delivery: Option<Delivery>,
}

impl JetStreamSink {
    /// Checks the settings. It connects when it has something to send.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] naming the setting.
    pub fn new(config: JetStreamConfig) -> Result<Self> {
        config.check().map_err(|(setting, message)| {
            Error::new(ErrorKind::Config, format!("`{setting}`: {message}"))
        })?;
        Ok(Self {
            config,
            link: None,
            delivery: None,
        })
    }

    /// Goes through the events of a cycle, or the next of them.
    async fn take(
        &mut self,
        delivery: &mut Option<Delivery>,
        events: &[ChangeEvent],
    ) -> Result<()> {
        for event in events {
            if event.seq == 1 {
                *delivery = Some(self.begin(event).await?);
            }
            let (Some(delivery), Some(link)) = (delivery.as_mut(), &self.link) else {
                return Err(refused("an event without a beginning"));
            };
            let sent = delivery.take(link, event).await;
            sent.map_err(|error| error.with("seq", event.seq))?;
        }
        Ok(())
    }

    async fn begin(&mut self, event: &ChangeEvent) -> Result<Delivery> {
        // One that is not up now is made anew, which tells why it can't be.
        let link = match self.link.take().filter(Link::is_up) {
            Some(link) => link,
            None => Link::open(&self.config).await?,
        };
        let (dataset, cycle) = (&event.dataset, event.cycle);
        let subject = subject::subject(&self.config.subject, dataset);
        link.stream(&self.config, &subject).await?;
        let last = link.last(&subject).await?;
        let highest = last.as_ref().map_or(0, |last| last.place);
        let held = last.and_then(|last| last.event);
        let repeat = held
            .as_ref()
            .is_some_and(|held| held.cycle == cycle && held.completes());
        let continues = held
            .is_some_and(|held| held.cycle == cycle || held.cycle.number() + 1 == cycle.number());
        if !cycle.is_full() && !continues {
            let message = "the stream does not hold the cycle before";
            return Err(Error::new(ErrorKind::Incomplete, message).with("subject", subject));
        }
        let target = (self.config.stream.as_str(), subject);
        let window = Window::new(&link, target, self.config.max_pending, cycle, highest);
        self.link = Some(link);
        Ok(Delivery {
            dataset: dataset.clone(),
            cycle,
            next_seq: 1,
            repeat,
            complete: false,
            lines: Lines::new(event),
            window,
        })
    }
}

#[async_trait]
impl Sink for JetStreamSink {
    async fn write(&mut self, events: &[ChangeEvent]) -> Result<()> {
        let Some(first) = events.first() else {
            return Ok(());
        };
        // It goes on only when this ends well: not when it fails, nor when it is dropped.
        let mut delivery = self.delivery.take();
        let taken = self.take(&mut delivery, events).await;
        taken.map_err(|error| error.with("data set", &first.dataset))?;
        self.delivery = delivery;
        Ok(())
    }

    async fn commit(&mut self, cycle: &CycleId) -> Result<()> {
        let delivery = self.delivery.take();
        let Some(mut delivery) = delivery.filter(|d| d.complete && d.cycle == *cycle) else {
            return Err(refused("a commit of a cycle that is not complete"));
        };
        let Some(link) = &self.link else {
            return Err(refused("a commit without a connection"));
        };
        let settled = delivery.window.settle_all(link).await;
        settled.map_err(|error| error.with("data set", &delivery.dataset))
    }
}

impl fmt::Debug for JetStreamSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamSink").finish_non_exhaustive()
    }
}

struct Delivery {
    dataset: DatasetId,
    cycle: CycleId,
    next_seq: u64,
    repeat: bool,
    complete: bool,
    lines: Lines,
    window: Window,
}

impl Delivery {
    async fn take(&mut self, link: &Link, event: &ChangeEvent) -> Result<()> {
        if event.seq != self.next_seq
            || event.cycle != self.cycle
            || event.dataset != self.dataset
            || self.complete
        {
            return Err(refused("an event out of order"));
        }
        self.next_seq += 1;
        self.complete = matches!(event.change, Change::SnapshotComplete { .. });
        if self.repeat {
            return Ok(());
        }
        self.lines.push(event);
        let payload = Bytes::copy_from_slice(self.lines.text.trim_ascii_end());
        self.lines.text.clear();
        // Events that were lost on their way and sent again stand behind later ones. So the first
        // and the last of a cycle are alone; the others change each another record.
        if event.seq == 1 {
            let schema = schema(event).map(text);
            self.window.send_first(link, payload, schema).await?;
            return self.window.settle_all(link).await;
        }
        if self.complete {
            self.window.settle_all(link).await?;
        }
        self.window.send(link, event.seq, payload).await
    }
}

/// The columns of an event's record.
fn schema(event: &ChangeEvent) -> Option<&Schema> {
    match &event.change {
        Change::Truncate { schema } => Some(schema),
        Change::Insert { after: row } | Change::Update { after: row, .. } => {
            Some(row.record_schema())
        }
        Change::Delete { before } => Some(before.record_schema()),
        Change::SnapshotComplete { .. } => None,
    }
}

/// Renders columns as JSON in ASCII: what else may stand in a header is up to each client.
fn text(schema: &Schema) -> String {
    let mut ascii = String::new();
    for c in serde_json::to_string(schema).unwrap_or_default().chars() {
        if c.is_ascii() {
            ascii.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(ascii, "\\u{unit:04x}");
        }
    }
    ascii
}

fn refused(message: &str) -> Error {
    Error::new(ErrorKind::Sink, message)
}
