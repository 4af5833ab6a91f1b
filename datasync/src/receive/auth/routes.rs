//! The auth service: `/auth/v1/…`.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use connector_core::Error;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Issued, registry::Refused};
use crate::{
    receive::{problem::Problem, serve::Receiver},
    sink::blocking::blocking,
    upload::{ASSERTION_TYPE, Enrol, Enrolled, Renew, code},
};

pub(in crate::receive) fn routes() -> Router<Arc<Receiver>> {
    Router::new()
        .route("/auth/v1/enrol", post(enrol))
        .route("/auth/v1/renew", post(renew))
        .route("/auth/v1/token", post(token))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // The parser's words may show a token.
    serde_json::from_slice(body)
        .map_err(|_| Problem::malformed("the request is not the JSON that it should be"))
}

async fn enrol(State(receiver): State<Arc<Receiver>>, body: Bytes) -> Result<Response, Problem> {
    receiver.auth_limit.pass()?;
    let Enrol { token, csr } = parse(&body)?;
    let setup = receiver
        .authority
        .setup(&token)
        .map_err(Problem::unauthorized)?;
    let allowed = receiver.tenant(&setup.tenant_id);
    if !allowed.is_some_and(|tenant| setup.syncs.is_subset(&tenant.settings.syncs)) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            code::SYNC_NOT_ALLOWED,
            "the setup token's tenant or syncs are no longer served here: ask for a new one",
        ));
    }
    let pem = work(&receiver, move |receiver| {
        let issued = issue(receiver, &csr, &setup.cert_id, &setup.tenant_id)?;
        let mut registry = receiver
            .registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        registry.enrol(setup, issued).map_err(refused)
    })
    .await?;
    Ok(enrolled(&receiver, pem))
}

async fn renew(State(receiver): State<Arc<Receiver>>, body: Bytes) -> Result<Response, Problem> {
    receiver.auth_limit.pass()?;
    let Renew {
        client_assertion,
        csr,
    } = parse(&body)?;
    let pem = work(&receiver, move |receiver| {
        let mut registry = receiver
            .registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let client = registry
            .by_assertion(&receiver.authority, &client_assertion)
            .map_err(Problem::unauthorized)?;
        let issued = issue(receiver, &csr, &client.id, &client.tenant)?;
        let now = receiver.authority.now();
        registry.renew(&client.id, issued, now).map_err(refused)
    })
    .await?;
    Ok(enrolled(&receiver, pem))
}

/// RFC 6749, 4.4 with RFC 7523, 2.2.
async fn token(State(receiver): State<Arc<Receiver>>, body: Bytes) -> Response {
    if let Err(problem) = receiver.auth_limit.pass() {
        return problem.into_response();
    }
    let form: HashMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    let field = |name: &str| form.get(name).map(String::as_str);
    if field("grant_type") != Some("client_credentials") {
        let what = "the only grant type is client_credentials";
        return oauth(StatusCode::BAD_REQUEST, "unsupported_grant_type", what);
    }
    let (Some(ASSERTION_TYPE), Some(assertion)) =
        (field("client_assertion_type"), field("client_assertion"))
    else {
        let what = "a client proves itself by an assertion that its certificate's key has signed";
        return oauth(StatusCode::BAD_REQUEST, "invalid_request", what);
    };
    let found = {
        let mut registry = receiver
            .registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        registry.by_assertion(&receiver.authority, assertion)
    };
    let client = match found {
        Ok(client) => client,
        Err(what) => return oauth(StatusCode::UNAUTHORIZED, "invalid_client", what),
    };
    let life = receiver.settings.token_life;
    let made = receiver
        .authority
        .access_token(&client.id, (&client.tenant, &client.syncs), life);
    match made {
        Ok(token) => {
            let answer = json!({
                "access_token": token.expose(),
                "token_type": "Bearer",
                "expires_in": life.as_secs(),
            });
            ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response()
        }
        Err(error) => log(&error).into_response(),
    }
}

fn oauth(status: StatusCode, error: &str, what: &str) -> Response {
    let answer = json!({ "error": error, "error_description": what });
    (status, [(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response()
}

fn enrolled(receiver: &Receiver, certificate: String) -> Response {
    Json(Enrolled {
        certificate,
        audience: receiver.authority.audience().to_owned(),
    })
    .into_response()
}

fn issue(receiver: &Receiver, csr: &str, client: &str, tenant: &str) -> Result<Issued, Problem> {
    let life = receiver.settings.certificate_life;
    receiver
        .authority
        .issue(csr, client, tenant, life)
        .map_err(Problem::malformed)
}

fn refused(refused: Refused) -> Problem {
    match refused {
        Refused::Client(what) => Problem::unauthorized(what),
        Refused::Storage(error) => log(&error),
    }
}

fn log(error: &Error) -> Problem {
    tracing::error!("{error:#}");
    Problem::unexpected()
}

/// Does what blocks, to its end even when nobody waits for it any more.
async fn work<T: Send + 'static>(
    receiver: &Arc<Receiver>,
    work: impl FnOnce(&Receiver) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let receiver = Arc::clone(receiver);
    match blocking(move || Ok(work(&receiver))).await {
        Ok(outcome) => outcome,
        Err(error) => Err(log(&error)),
    }
}
