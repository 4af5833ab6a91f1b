//! Uploading to a DataSync service, as `docs/upload-protocol.md` says.

mod client;
mod identity;
mod settings;
mod sign_in;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use connector_core::{
    Change, ChangeEvent, Clock, Copies, CycleId, DatasetId, Digest, Error, ErrorKind, KeyRange,
    RangeDigest, Result, Row, Schema, Sink,
};
use tokio::task::JoinHandle;

use self::client::Client;
pub(crate) use self::settings::{Proof, UploadSettings};
use super::blocking::blocking;
use crate::upload::{BatchWriter, Commit, Standing};

/// The size of a batch before it is compressed: large enough that the answers in between cost
/// nothing, and small enough that little is sent again after a cut.
const BATCH: usize = 1 << 20;

/// What a receiver must take beyond a batch's events: the header with its schema.
const HEADER: u64 = 32 << 10;

/// Sends change events to a DataSync service, which keeps them in a repository.
///
/// What has arrived is not sent again: a cycle that was cut goes on where the receiver is. One that
/// the receiver has committed already, whose confirmation was lost, is not sent at all.
pub(crate) struct UploadSink {
    client: Arc<Client>,
    delivery: Option<Delivery>,
}

/// A cycle on its way.
struct Delivery {
    dataset: DatasetId,
    cycle: CycleId,
    next_seq: u64,
    /// The first event that the receiver lacks.
    wanted: u64,
    /// What the cycle's last event says, once it has come.
    complete: Option<(u64, Digest)>,
    /// The most that a batch may have.
    largest: usize,
    batch: Option<BatchWriter>,
    /// The last batch, which is compressed and sent while the next one is filled.
    sending: Option<Sending>,
}

/// A batch on its way; given up when dropped.
struct Sending(JoinHandle<Result<()>>);

impl Sending {
    async fn done(mut self) -> Result<()> {
        match (&mut self.0).await {
            Ok(outcome) => outcome,
            Err(error) if error.is_cancelled() => {
                Err(Error::new(ErrorKind::Cancelled, "the program is stopping"))
            }
            Err(_) => Err(Error::new(
                ErrorKind::Unexpected,
                "sending panicked; the message is on standard error",
            )),
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl UploadSink {
    /// Makes one. Nothing is sent before the first event.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] naming the setting that is wrong.
    pub(crate) async fn open(settings: UploadSettings, clock: Arc<dyn Clock>) -> Result<Self> {
        let client = blocking(move || Client::new(settings, clock)).await?;
        Ok(Self {
            client: Arc::new(client),
            delivery: None,
        })
    }

    async fn begin(&self, event: &ChangeEvent) -> Result<Delivery> {
        let (dataset, cycle) = (&event.dataset, event.cycle);
        let position = self.client.position(dataset).await?;
        let wanted = match Standing::of(cycle, position.committed.as_ref()) {
            Standing::Repeat => u64::MAX,
            Standing::Incomplete => {
                return Err(Error::new(
                    ErrorKind::Incomplete,
                    "the receiver lacks the cycle before this one",
                )
                .with("data set", dataset)
                .with("cycle", cycle));
            }
            // What a repair says may differ from the last one of its name.
            Standing::Next => position
                .spooled
                .filter(|spooled| spooled.cycle == cycle && !cycle.is_repair())
                .map_or(1, |spooled| spooled.next_seq),
        };
        if wanted > 1 && wanted < u64::MAX {
            tracing::info!("Data set {dataset}: cycle {cycle} goes on at event {wanted}");
        }
        let largest = position.largest_batch.saturating_sub(HEADER);
        Ok(Delivery {
            dataset: dataset.clone(),
            cycle,
            next_seq: 1,
            wanted,
            complete: None,
            largest: usize::try_from(largest).map_or(BATCH, |largest| largest.min(BATCH)),
            batch: None,
            sending: None,
        })
    }
}

impl Delivery {
    async fn take(&mut self, client: &Arc<Client>, event: &ChangeEvent) -> Result<()> {
        if event.seq != self.next_seq
            || event.cycle != self.cycle
            || event.dataset != self.dataset
            || self.complete.is_some()
        {
            return Err(refused("an event out of order").with("seq", event.seq));
        }
        self.next_seq += 1;
        if let Change::SnapshotComplete { rows, digest } = event.change {
            self.complete = Some((rows, digest));
        }
        if event.seq < self.wanted {
            return Ok(());
        }
        let largest = self.largest;
        let taken = |batch: &mut BatchWriter| batch.push(event, largest);
        if !self.batch.as_mut().is_some_and(taken) {
            self.flush(client).await?;
            let mut batch = BatchWriter::new(event);
            batch.push(event, largest);
            self.batch = Some(batch);
        }
        if self.complete.is_some() {
            self.flush(client).await?;
        }
        Ok(())
    }

    /// Sends the batch, after the one before has arrived.
    async fn flush(&mut self, client: &Arc<Client>) -> Result<()> {
        let Some(batch) = self.batch.take() else {
            return Ok(());
        };
        self.sent().await?;
        let (client, dataset, cycle) = (Arc::clone(client), self.dataset.clone(), self.cycle);
        self.sending = Some(Sending(tokio::spawn(async move {
            let (first, next) = (batch.seq(), batch.next_seq());
            let body = blocking(move || {
                batch.finish().map_err(|error| {
                    Error::new(ErrorKind::Unexpected, "a batch can't be compressed")
                        .with_source(error)
                })
            })
            .await?;
            let wanted = client.batch(&dataset, cycle, first, body).await?;
            if wanted == next {
                Ok(())
            } else {
                Err(refused(
                    "the receiver wants another event next than it should",
                ))
            }
        })));
        Ok(())
    }

    async fn sent(&mut self) -> Result<()> {
        match self.sending.take() {
            Some(sending) => sending.done().await,
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Sink for UploadSink {
    async fn write(&mut self, events: &[ChangeEvent]) -> Result<()> {
        // It goes on only when this ends well: not when it fails, nor when it is dropped.
        let mut delivery = self.delivery.take();
        for event in events {
            if event.seq == 1 {
                // What is on its way of another one is given up first.
                drop(delivery.take());
                delivery = Some(self.begin(event).await?);
            }
            let Some(delivery) = &mut delivery else {
                return Err(refused("an event without a beginning"));
            };
            delivery.take(&self.client, event).await?;
        }
        self.delivery = delivery;
        Ok(())
    }

    async fn commit(&mut self, cycle: &CycleId) -> Result<()> {
        let delivery = self.delivery.take().filter(|d| d.cycle == *cycle);
        let Some((mut delivery, (rows, digest))) = delivery.and_then(|d| {
            let complete = d.complete?;
            Some((d, complete))
        }) else {
            return Err(refused("a commit of a cycle that is not complete"));
        };
        delivery.sent().await?;
        let commit = Commit {
            events: delivery.next_seq - 1,
            rows,
            digest,
        };
        let dataset = &delivery.dataset;
        let held = self.client.commit(dataset, *cycle, commit).await?;
        if (held.rows, held.digest) == (rows, digest) {
            Ok(())
        } else {
            Err(refused("the receiver has committed something else"))
        }
    }

    fn copies(&mut self) -> Option<&mut dyn Copies> {
        Some(self)
    }
}

#[async_trait]
impl Copies for UploadSink {
    async fn digests(
        &mut self,
        dataset: &DatasetId,
        schema: &Arc<Schema>,
        ranges: &[KeyRange],
    ) -> Result<Option<Vec<RangeDigest>>> {
        self.client.digests(dataset, schema, ranges).await
    }

    async fn rows(
        &mut self,
        dataset: &DatasetId,
        schema: &Arc<Schema>,
        ranges: &[KeyRange],
    ) -> Result<Vec<Row>> {
        self.client.rows(dataset, schema, ranges).await
    }
}

impl fmt::Debug for UploadSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadSink")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

fn refused(message: &str) -> Error {
    Error::new(ErrorKind::Sink, message)
}
