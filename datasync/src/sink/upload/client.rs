//! The requests of the protocol.

use std::{sync::Arc, time::Duration};

use connector_core::{
    Clock, CycleId, DatasetId, Error, ErrorKind, JsonCells, KeyRange, RangeDigest, Result, Row,
    Schema,
};
use connector_http::{Refusal, Request, Response, Service, Stack, Transport};
use serde::de::DeserializeOwned;
use url::Url;

use super::{
    Proof, UploadSettings,
    sign_in::{Enrolment, address},
};
use crate::upload::{
    Commit, Committed, ENCODING, NDJSON, Position, Ranges, RangesCounted, RowsFound, Taken, code,
    dataset_path,
};

const SERVICE: Service = Service::new("the DataSync service");

/// The largest answer that is read, in bytes: the digests of as many rows as are ever compared.
const LARGEST: u64 = 256 << 20;

/// How soon a commit is asked for again, when the receiver does not say.
const AGAIN: Duration = Duration::from_secs(1);

/// The longest pause between two such questions.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The receiver, as the sender sees it.
#[derive(Debug)]
pub(super) struct Client {
    transport: Arc<dyn Transport>,
    service: Url,
}

impl Client {
    /// Makes one. Reads files of certificates, so it blocks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] naming the setting that is wrong.
    pub(super) fn new(settings: UploadSettings, clock: Arc<dyn Clock>) -> Result<Self> {
        let mut http = settings.http;
        http.largest_page = http.largest_page.max(bytesize::ByteSize(LARGEST));
        let mut stack = Stack::new(SERVICE, http).clock(Arc::clone(&clock));
        if let Proof::Enrolled { auth, token } = settings.proof {
            let enrolment = Enrolment::new(auth, token, settings.identity, clock);
            stack = stack.sign_in(&settings.service, Arc::new(enrolment));
        }
        Ok(Self {
            transport: stack.build()?,
            service: settings.service,
        })
    }

    fn address(&self, id: &DatasetId, rest: &str) -> Result<Url> {
        address(&self.service, &format!("{}{rest}", dataset_path(id)))
    }

    async fn send(&self, request: Request) -> Result<Response> {
        self.transport.send(request).await.map_err(explain)
    }

    /// Asks how far the receiver is.
    pub(super) async fn position(&self, id: &DatasetId) -> Result<Position> {
        let request = Request::get(self.address(id, "")?);
        read(self.send(request).await?).await
    }

    /// Sends a batch, and returns the place of the event that the receiver wants next.
    pub(super) async fn batch(
        &self,
        id: &DatasetId,
        cycle: CycleId,
        seq: u64,
        batch: Vec<u8>,
    ) -> Result<u64> {
        let mut url = self.address(id, &format!("/cycles/{cycle}/events"))?;
        url.set_query(Some(&format!("seq={seq}")));
        let request = Request::post(url, NDJSON, batch)?
            .header("content-encoding", ENCODING)?
            .idempotent();
        let Taken { next_seq } = read(self.send(request).await?).await?;
        Ok(next_seq)
    }

    /// Has the receiver commit a cycle, and waits until it has.
    pub(super) async fn commit(
        &self,
        id: &DatasetId,
        cycle: CycleId,
        commit: Commit,
    ) -> Result<Committed> {
        let url = self.address(id, &format!("/cycles/{cycle}/commit"))?;
        let body = json(&commit)?;
        loop {
            let request =
                Request::post(url.clone(), "application/json", body.clone())?.idempotent();
            let response = self.send(request).await?;
            if response.status != 202 {
                return read(response).await;
            }
            let asked = response.header("retry-after").and_then(|s| s.parse().ok());
            let pause = asked.map_or(AGAIN, Duration::from_secs);
            tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
        }
    }

    /// Asks for digests of what the receiver holds.
    pub(super) async fn digests(
        &self,
        id: &DatasetId,
        schema: &Arc<Schema>,
        ranges: &[KeyRange],
    ) -> Result<Option<Vec<RangeDigest>>> {
        let response = self.ask(id, "/digests", schema, ranges).await?;
        let RangesCounted { digests } = read(response).await?;
        Ok(digests)
    }

    /// Asks for the digests of single rows.
    pub(super) async fn rows(
        &self,
        id: &DatasetId,
        schema: &Arc<Schema>,
        ranges: &[KeyRange],
    ) -> Result<Vec<Row>> {
        let response = self.ask(id, "/rows", schema, ranges).await?;
        let body = response.bytes(LARGEST).await?;
        let found: RowsFound<'_> = serde_json::from_slice(&body).map_err(|_| senseless())?;
        let cells = JsonCells::new(schema);
        let rows = found.rows.iter().map(|row| cells.read_digest(row.get()));
        rows.collect()
    }

    async fn ask(
        &self,
        id: &DatasetId,
        what: &str,
        schema: &Arc<Schema>,
        ranges: &[KeyRange],
    ) -> Result<Response> {
        let question = Ranges {
            schema: Arc::clone(schema),
            ranges: ranges.to_vec(),
        };
        let url = self.address(id, what)?;
        let request = Request::post(url, "application/json", json(&question)?)?.idempotent();
        self.send(request).await
    }
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| {
        Error::new(ErrorKind::Unexpected, "a request that is no JSON").with_source(error)
    })
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T> {
    let body = response.bytes(LARGEST).await?;
    serde_json::from_slice(&body).map_err(|_| senseless())
}

fn senseless() -> Error {
    Error::new(
        ErrorKind::Sink,
        "the answer is none of a DataSync service: is `data_sync_api_url` right?",
    )
}

/// Says what a refusal means to whoever delivers.
fn explain(error: Error) -> Error {
    let Some(refusal) = Refusal::of(&error) else {
        return error;
    };
    let (kind, what) = match refusal.code.as_deref() {
        Some(code::INCOMPLETE) => (
            ErrorKind::Incomplete,
            "the receiver lacks rows that the cycle builds on",
        ),
        Some(code::GAP) => (
            ErrorKind::Sink,
            "the receiver has lost events that it had; the cycle is sent again",
        ),
        Some(code::SYNC_NOT_ALLOWED) => (
            ErrorKind::Permission,
            "the receiver does not take this connector from this sender: is the connector named \
             like the sync, and the setup token for it?",
        ),
        Some(code::TOO_LARGE) => (
            ErrorKind::Sink,
            "the receiver does not take as much at once: see its `largest_batch` and `spool`",
        ),
        Some(code::NOT_FOUND) => (
            ErrorKind::Config,
            "there is no DataSync service: is `data_sync_api_url` right?",
        ),
        _ => return error,
    };
    Error::new(kind, what)
        .with_retry(error.retry())
        .with_source(error)
}
