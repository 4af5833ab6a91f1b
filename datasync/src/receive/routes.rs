//! The service: `/v1/datasets/…`.

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{FromRequestParts, Path, Query, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use connector_core::{CycleId, DatasetId};
use serde::Deserialize;

use super::{
    auth,
    problem::Problem,
    serve::{Peer, Receiver},
    tenant::{Outcome, Tenant},
};
use crate::upload::{
    Commit, ENCODING, NDJSON, Position, Ranges, RangesCounted, Taken, code, is_reserved,
};

/// For how long a request's body may be on its way.
const BODY_TIME: Duration = Duration::from_mins(2);

/// No request but a batch is larger, in bytes.
const SMALL: usize = 64 << 10;

pub(super) fn routes(receiver: Arc<Receiver>) -> Router {
    Router::new()
        .route("/v1/datasets/{connector}/{dataset}", get(position))
        .route(
            "/v1/datasets/{connector}/{dataset}/cycles/{cycle}/events",
            post(events),
        )
        .route(
            "/v1/datasets/{connector}/{dataset}/cycles/{cycle}/commit",
            post(commit),
        )
        .route("/v1/datasets/{connector}/{dataset}/digests", post(digests))
        .route("/v1/datasets/{connector}/{dataset}/rows", post(rows))
        .merge(auth::routes())
        .fallback(async || Problem::not_found("there is nothing at this address"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                code::METHOD_NOT_ALLOWED,
                "another method is meant at this address",
            )
        })
        .layer(axum::extract::DefaultBodyLimit::max(SMALL))
        .with_state(receiver)
}

/// A request of a known client about a data set that it may send.
struct Call {
    tenant: Arc<Tenant>,
    id: DatasetId,
    /// The cycle in the address, if there is one.
    cycle: Option<String>,
}

/// Who a client is, and what it may send.
struct Caller {
    tenant: Arc<Tenant>,
    syncs: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Address {
    connector: String,
    dataset: String,
    cycle: Option<String>,
}

impl Call {
    fn cycle(&self) -> Result<CycleId, Problem> {
        let cycle = self.cycle.as_deref().and_then(|text| text.parse().ok());
        cycle.ok_or_else(|| Problem::malformed("the address names no cycle"))
    }
}

impl FromRequestParts<Arc<Receiver>> for Call {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        receiver: &Arc<Receiver>,
    ) -> Result<Self, Problem> {
        let caller = caller(parts, receiver)?;
        caller.tenant.limit.pass()?;
        let address = Path::<Address>::from_request_parts(parts, receiver).await;
        let Ok(Path(address)) = address else {
            return Err(Problem::malformed("the address is not UTF-8"));
        };
        if !caller.syncs.contains(&address.connector) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                code::SYNC_NOT_ALLOWED,
                "the client's token or certificate is not for a sync of this name",
            ));
        }
        Ok(Self {
            tenant: caller.tenant,
            id: DatasetId::new(&address.connector, &address.dataset),
            cycle: address.cycle,
        })
    }
}

/// Finds who sends a request: by its bearer token, or by the certificate of its connection.
fn caller(parts: &Parts, receiver: &Receiver) -> Result<Caller, Problem> {
    if let Some(authorization) = parts.headers.get(header::AUTHORIZATION) {
        let token = authorization.to_str().ok().and_then(bearer);
        let access = token.and_then(|token| receiver.authority.access(token));
        let Some(access) = access else {
            return Err(Problem::unauthorized(
                "the bearer token is none of this service's, or has expired",
            ));
        };
        return allowed(receiver, &access.tenant_id, &access.syncs);
    }
    match parts.extensions.get::<Peer>() {
        Some(Peer(Some(certificate))) => {
            let (tenant, syncs) = receiver.client_of(certificate).ok_or_else(|| {
                Problem::unauthorized("the client's certificate belongs to no client of a tenant")
            })?;
            allowed(receiver, &tenant, &syncs)
        }
        _ => Err(Problem::unauthorized(
            "a bearer token or a client certificate is needed",
        )),
    }
}

/// What was granted once counts only as far as the configuration still has it.
fn allowed(receiver: &Receiver, tenant: &str, syncs: &BTreeSet<String>) -> Result<Caller, Problem> {
    let Some(tenant) = receiver.tenant(tenant) else {
        return Err(Problem::unauthorized(
            "the client's tenant is not served here",
        ));
    };
    Ok(Caller {
        syncs: syncs
            .intersection(&tenant.settings.syncs)
            .cloned()
            .collect(),
        tenant: Arc::clone(tenant),
    })
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

async fn position(call: Call) -> Result<Json<Position>, Problem> {
    to_end(async move { call.tenant.position(&call.id).await })
        .await
        .map(Json)
}

#[derive(Deserialize)]
struct Place {
    seq: u64,
}

async fn events(
    State(receiver): State<Arc<Receiver>>,
    call: Call,
    place: Result<Query<Place>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Taken>, Problem> {
    let cycle = call.cycle()?;
    let Ok(Query(Place { seq })) = place else {
        return Err(Problem::malformed("the address lacks `seq`, a number"));
    };
    let says = |name, value: &str| {
        let header = headers.get(name);
        header.is_some_and(|header| header.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
    };
    if !says(header::CONTENT_TYPE, NDJSON) || !says(header::CONTENT_ENCODING, ENCODING) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            code::UNSUPPORTED,
            format!("a batch is {NDJSON}, compressed with {ENCODING}"),
        ));
    }
    let most = receiver.settings.largest_batch;
    let batch = whole(body, usize::try_from(most).unwrap_or(usize::MAX)).await?;
    to_end(async move { call.tenant.take(&call.id, cycle, seq, batch).await })
        .await
        .map(Json)
}

async fn commit(call: Call, body: Body) -> Result<Response, Problem> {
    let cycle = call.cycle()?;
    let body = whole(body, SMALL).await?;
    let commit: Commit = serde_json::from_slice(&body).map_err(|error| {
        // Counts and digests are no values of rows.
        Problem::malformed(format!("not a commit: {error}"))
    })?;
    let outcome = to_end(async move { call.tenant.commit(&call.id, cycle, commit).await });
    Ok(match outcome.await? {
        Outcome::Done(committed) => Json(committed).into_response(),
        Outcome::Working(seconds) => (
            StatusCode::ACCEPTED,
            [(header::RETRY_AFTER, seconds.to_string())],
        )
            .into_response(),
    })
}

async fn digests(
    State(receiver): State<Arc<Receiver>>,
    call: Call,
    body: Body,
) -> Result<Json<RangesCounted>, Problem> {
    let Ranges { schema, ranges } = ranges(&receiver, body).await?;
    to_end(async move { call.tenant.digests(&call.id, &schema, &ranges).await })
        .await
        .map(|digests| Json(RangesCounted { digests }))
}

async fn rows(
    State(receiver): State<Arc<Receiver>>,
    call: Call,
    body: Body,
) -> Result<Response, Problem> {
    let Ranges { schema, ranges } = ranges(&receiver, body).await?;
    let rows = to_end(async move { call.tenant.rows(&call.id, &schema, &ranges).await }).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], rows).into_response())
}

async fn ranges(receiver: &Receiver, body: Body) -> Result<Ranges, Problem> {
    let most = receiver.settings.largest_batch;
    let body = whole(body, usize::try_from(most).unwrap_or(usize::MAX)).await?;
    // Columns and hashes are no values of rows.
    let ranges: Ranges = serde_json::from_slice(&body)
        .map_err(|error| Problem::malformed(format!("no ranges of a schema: {error}")))?;
    if is_reserved(&ranges.schema) {
        return Err(Problem::malformed("a column's name begins with a zero"));
    }
    Ok(ranges)
}

/// Reads a body whole.
async fn whole(body: Body, most: usize) -> Result<Bytes, Problem> {
    let read = tokio::time::timeout(BODY_TIME, to_bytes(body, most)).await;
    let Ok(read) = read else {
        return Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            code::BUSY,
            "the request took too long to arrive",
        ));
    };
    read.map_err(|error| {
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            if error.is::<http_body_util::LengthLimitError>() {
                return Problem::too_large(format!("the request has more than {most} bytes"));
            }
            cause = error.source();
        }
        Problem::malformed("the request was cut")
    })
}

/// Does work to its end, whether or not the client waits for it: half of it would have to be looked
/// for again.
async fn to_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::spawn(work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Problem::unexpected()),
    }
}
