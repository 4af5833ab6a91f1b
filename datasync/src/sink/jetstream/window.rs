//! What is on its way: sent, and not acknowledged.

use std::{collections::VecDeque, error, fmt, io};

use async_nats::{
    HeaderMap,
    header::{NATS_EXPECTED_STREAM, NATS_MESSAGE_ID},
    jetstream::{
        self, ErrorCode,
        context::{PublishAckFuture, PublishError, PublishErrorKind},
        message::PublishMessage,
        publish::PublishAck,
    },
};
use bytes::Bytes;
use connector_core::{CycleId, Error, ErrorKind, Result};
use tokio::time::{Instant, sleep};

use super::link::{Link, PAUSE, passes};

/// The header of the first event of a cycle that tells the columns.
pub(super) const SCHEMA: &str = "Inventory-Schema";

/// So many bytes may be on their way; one event may be, however large.
const MOST_BYTES: usize = 16 << 20;

/// The events of one cycle that the stream has not acknowledged, in their order. They are sent
/// again until it has.
pub(super) struct Window {
    subject: String,
    stream: String,
    cycle: CycleId,
    /// The columns, as the first event tells them.
    schema: Option<String>,
    /// How many may be on their way.
    most: usize,
    sent: VecDeque<Sent>,
    bytes: usize,
    /// The place in the stream of the last event that is known to be there.
    highest: u64,
    /// How often the link was connected when all this was sent.
    connections: u64,
    /// How often the account had lacked a right before the first event.
    refusals: u64,
    /// Since when nothing was acknowledged though it was sent again.
    failing: Option<Instant>,
}

struct Sent {
    seq: u64,
    payload: Bytes,
    /// None when it could not even be sent.
    ack: Option<PublishAckFuture>,
}

impl Window {
    pub(super) fn new(
        link: &Link,
        (stream, subject): (&str, String),
        most: usize,
        cycle: CycleId,
        highest: u64,
    ) -> Self {
        Self {
            subject,
            stream: stream.to_owned(),
            cycle,
            schema: None,
            most,
            sent: VecDeque::new(),
            bytes: 0,
            highest,
            connections: link.connections(),
            refusals: link.refusals(),
            failing: None,
        }
    }

    /// Sends the first event, with the columns of the data set, where it tells any.
    pub(super) async fn send_first(
        &mut self,
        link: &Link,
        payload: Bytes,
        schema: Option<String>,
    ) -> Result<()> {
        self.schema = schema;
        self.send(link, 1, payload).await
    }

    /// Sends an event, as soon as there is room.
    pub(super) async fn send(&mut self, link: &Link, seq: u64, payload: Bytes) -> Result<()> {
        // While one could not even be sent, the next can't either.
        while self.sent.len() >= self.most
            || (self.bytes + payload.len() > MOST_BYTES && !self.sent.is_empty())
            || self.sent.back().is_some_and(|last| last.ack.is_none())
        {
            self.settle(link).await?;
        }
        let ack = self.publish(link, seq, &payload).await?;
        self.bytes += payload.len();
        self.sent.push_back(Sent { seq, payload, ack });
        Ok(())
    }

    /// Waits until everything that was sent is in the stream.
    pub(super) async fn settle_all(&mut self, link: &Link) -> Result<()> {
        while !self.sent.is_empty() {
            self.settle(link).await?;
        }
        Ok(())
    }

    /// Waits for the first acknowledgement, or sends everything again.
    async fn settle(&mut self, link: &Link) -> Result<()> {
        let Some(first) = self.sent.front_mut() else {
            return Ok(());
        };
        let Some(ack) = first.ack.take() else {
            return self.again(link, &"it could not be sent").await;
        };
        let outcome = tokio::select! {
            biased;
            outcome = ack.into_future() => outcome,
            error = link.refused_after(self.refusals) => return Err(error),
            () = link.connected_after(self.connections) => {
                return self.again(link, &"the connection was cut").await;
            }
        };
        match outcome {
            Ok(ack) => self.acknowledged(&ack),
            Err(error) if is_passing(&error) => self.again(link, &error).await,
            Err(error) => Err(self.refused(error)),
        }
    }

    fn acknowledged(&mut self, ack: &PublishAck) -> Result<()> {
        let Some(first) = self.sent.pop_front() else {
            return Ok(());
        };
        self.bytes -= first.payload.len();
        self.failing = None;
        if ack.stream != self.stream {
            let message = "another stream has taken the event: streams must not share subjects";
            return Err(Error::new(ErrorKind::Sink, message).with("other stream", &ack.stream));
        }
        if !ack.duplicate {
            if ack.sequence <= self.highest {
                let message = "the NATS server has lost events that it had acknowledged; the cycle \
                               is sent again";
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
            self.highest = ack.sequence;
        }
        Ok(())
    }

    /// Sends everything again that is on its way: what the stream has, it drops.
    async fn again(&mut self, link: &Link, why: &(dyn fmt::Display + Sync)) -> Result<()> {
        match self.failing {
            None => self.failing = Some(Instant::now()),
            Some(since) if since.elapsed() < link.patience() => sleep(PAUSE).await,
            Some(_) => {
                let message = "the NATS server does not acknowledge events within `timeout`";
                return Err(Error::new(ErrorKind::Unavailable, message)
                    .with_source(io::Error::other(why.to_string())));
            }
        }
        tracing::debug!("{} events are sent again: {why}", self.sent.len());
        self.connections = link.connections();
        let mut sent = std::mem::take(&mut self.sent);
        for event in &mut sent {
            event.ack = None;
        }
        for event in &mut sent {
            event.ack = self.publish(link, event.seq, &event.payload).await?;
            if event.ack.is_none() {
                break;
            }
        }
        self.sent = sent;
        Ok(())
    }

    async fn publish(
        &self,
        link: &Link,
        seq: u64,
        payload: &Bytes,
    ) -> Result<Option<PublishAckFuture>> {
        match link
            .publish(&self.subject, self.message(seq, payload))
            .await
        {
            Ok(ack) => Ok(Some(ack)),
            Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => Err(too_large(
                payload.len(),
                "larger than the NATS server takes: raise its `max_payload`",
            )
            .with("max_payload", link.max_payload())),
            Err(error) if is_passing(&error) => Ok(None),
            Err(error) => Err(self.refused(error)),
        }
    }

    fn message(&self, seq: u64, payload: &Bytes) -> PublishMessage {
        let mut headers = HeaderMap::new();
        // Only characters of subjects and of ids of cycles.
        let id = format!("{}.{}.{seq}", self.subject, self.cycle);
        headers.insert(NATS_MESSAGE_ID, id);
        headers.insert(NATS_EXPECTED_STREAM, self.stream.as_str());
        if seq == 1
            && let Some(schema) = &self.schema
        {
            headers.insert(SCHEMA, schema.as_str());
        }
        PublishMessage::build()
            .headers(headers)
            .payload(payload.clone())
    }

    fn refused(&self, error: PublishError) -> Error {
        let too_long = jetstream_error(&error)
            .is_some_and(|e| e.error_code() == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM);
        if too_long {
            let size = self.sent.front().map_or(0, |event| event.payload.len());
            return too_large(
                size,
                "larger than the stream takes: raise its `max_msg_size`",
            );
        }
        Error::new(ErrorKind::Sink, "the stream refuses an event").with_source(error)
    }
}

fn too_large(bytes: usize, message: &str) -> Error {
    Error::new(ErrorKind::Sink, format!("an event is {message}")).with("bytes", bytes)
}

/// Tells whether an event may get through later: nobody leads the stream, or the way there was cut.
fn is_passing(error: &PublishError) -> bool {
    match error.kind() {
        PublishErrorKind::StreamNotFound
        | PublishErrorKind::TimedOut
        | PublishErrorKind::BrokenPipe => true,
        _ => jetstream_error(error).is_some_and(passes),
    }
}

fn jetstream_error(error: &PublishError) -> Option<&jetstream::Error> {
    error::Error::source(error)?.downcast_ref()
}
