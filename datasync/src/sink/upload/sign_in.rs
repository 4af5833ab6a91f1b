//! Signing in: the setup token once for a certificate, the certificate for bearer tokens.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use connector_core::{Clock, Error, ErrorKind, Result, Secret, Timestamp};
use connector_http::{Request, SignIn, Token, Transport};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use url::Url;

use super::identity::{Identities, Identity};
use crate::{
    sink::blocking::blocking,
    upload::{ASSERTION_TYPE, AccessToken, Enrol, Enrolled, Renew, SETUP_LIFE, jwt},
};

/// The largest answer of the auth service that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Signs in as the client that the auth service has given a certificate.
pub(super) struct Enrolment {
    auth: Url,
    token: Option<Secret>,
    identities: Identities,
    clock: Arc<dyn Clock>,
}

/// What a sender reads of its setup token.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    jti: Option<String>,
    #[serde(default)]
    iat: Option<i64>,
    #[serde(default)]
    exp: Option<i64>,
}

impl Enrolment {
    pub(super) fn new(
        auth: Url,
        token: Option<Secret>,
        folder: PathBuf,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            auth,
            token,
            identities: Identities::new(folder),
            clock,
        }
    }

    fn now(&self) -> i64 {
        self.clock.now().ticks().div_euclid(10_000_000)
    }

    /// Does something with the files, where that may block.
    async fn files<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Identities) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let identities = self.identities.clone();
        blocking(move || work(&identities)).await
    }

    /// Returns an identity whose certificate is valid.
    async fn identity(&self, transport: &dyn Transport) -> Result<Identity> {
        let now = self.now();
        let known = self.files(Identities::load).await?;
        let valid = known.filter(|known| !known.has_expired(now));
        let Some(known) = valid else {
            return self.enrol(transport).await;
        };
        let setup = self.token.as_ref();
        let setup = setup.and_then(|token| jwt::peek::<Claims>(token.expose()));
        // Somebody has set a new token: for other syncs, or another tenant.
        let other = setup.is_some_and(|setup| {
            setup.jti.as_ref().is_some_and(|jti| *jti != known.jti)
                && expired(&setup, now).is_none()
        });
        let newer = if other {
            self.enrol(transport).await
        } else if known.is_due(now) {
            self.renew(transport, &known).await
        } else {
            return Ok(known);
        };
        newer.or_else(|error| {
            tracing::warn!("The present certificate stays in use: {error:#}");
            Ok(known)
        })
    }

    /// Exchanges the setup token for a certificate.
    async fn enrol(&self, transport: &dyn Transport) -> Result<Identity> {
        let wrong = |kind, message: &str| Err(Error::new(kind, message));
        let Some(token) = &self.token else {
            return wrong(
                ErrorKind::Config,
                "this sender has no valid certificate: set `client_cert_token` to a setup token",
            );
        };
        let token = token.expose().trim().to_owned();
        let Some(claims) = jwt::peek::<Claims>(&token) else {
            return wrong(
                ErrorKind::Config,
                "`client_cert_token` is no setup token: three parts with points in between",
            );
        };
        if let Some(ended) = expired(&claims, self.now()) {
            return Err(Error::new(
                ErrorKind::Auth,
                "the setup token in `client_cert_token` has expired: ask for a new one",
            )
            .with("expired", ended));
        }
        let jti = claims.jti.unwrap_or_default();
        let candidate = self.files(Identities::candidate).await?;
        let request = Enrol {
            token: token.clone(),
            csr: candidate.csr.clone(),
        };
        let asked = self.post(transport, "v1/enrol", &request, &token).await;
        let Enrolled {
            certificate,
            audience,
        } = asked.map_err(|error| {
            let what = "this sender could not enrol";
            Error::new(error.kind(), what)
                .with_retry(error.retry())
                .with_source(error)
        })?;
        let identity = self
            .files(move |files| files.adopt(candidate, &jti, certificate, audience))
            .await?;
        tracing::info!("Enrolled; the setup token is used up and not needed any more");
        Ok(identity)
    }

    /// Exchanges the certificate for a newer one, of a new key.
    async fn renew(&self, transport: &dyn Transport, known: &Identity) -> Result<Identity> {
        let candidate = self.files(Identities::candidate).await?;
        let assertion = known.assertion(self.now())?;
        let request = Renew {
            client_assertion: assertion.expose().to_owned(),
            csr: candidate.csr.clone(),
        };
        let Enrolled {
            certificate,
            audience,
        } = self
            .post(transport, "v1/renew", &request, assertion.expose())
            .await?;
        let jti = known.jti.clone();
        let identity = self
            .files(move |files| files.adopt(candidate, &jti, certificate, audience))
            .await?;
        tracing::info!("The sender's certificate was renewed");
        Ok(identity)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        transport: &dyn Transport,
        path: &str,
        request: &impl Serialize,
        secret: &str,
    ) -> Result<T> {
        let body = serde_json::to_vec(request).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "a request that is no JSON").with_source(error)
        })?;
        let request = Request::post(address(&self.auth, path)?, "application/json", body)?
            .without_credential()
            .idempotent()
            .hide(Secret::new(secret));
        read(transport.send(request).await?).await
    }
}

async fn read<T: DeserializeOwned>(response: connector_http::Response) -> Result<T> {
    let body = response.bytes(LARGEST).await?;
    // The parser's error might show a token.
    serde_json::from_slice(&body).map_err(|_| {
        Error::new(
            ErrorKind::Auth,
            "the answer is none of an auth service: is `auth_service_url` right?",
        )
    })
}

/// Returns when a setup token has expired, if it has: whatever it says, after six days.
fn expired(claims: &Claims, now: i64) -> Option<String> {
    let six_days = claims
        .iat
        .map(|iat| iat.saturating_add_unsigned(SETUP_LIFE.as_secs()));
    let ends = claims.exp.into_iter().chain(six_days).min()?;
    (ends <= now).then(|| {
        let at = Timestamp::from_ticks(ends.saturating_mul(10_000_000));
        at.map_or_else(|_| "long ago".to_owned(), |at| at.to_string())
    })
}

/// Puts a path behind an address.
pub(super) fn address(base: &Url, path: &str) -> Result<Url> {
    let whole = format!("{}/{path}", base.as_str().trim_end_matches('/'));
    whole.parse().map_err(|_| {
        Error::new(
            ErrorKind::Config,
            "the address of the service has a query or a fragment",
        )
    })
}

#[async_trait]
impl SignIn for Enrolment {
    async fn sign_in(&self, transport: &dyn Transport, _: Option<&str>) -> Result<Token> {
        let identity = self.identity(transport).await?;
        let assertion = identity.assertion(self.now())?;
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion.expose()),
        ];
        // To ask for two tokens does no more than to ask for one; each time with an assertion of
        // its own, since this is called again.
        let request = Request::form(address(&self.auth, "v1/token")?, fields)
            .without_credential()
            .idempotent()
            .header("accept", "application/json")?
            .hide(assertion);
        let AccessToken {
            access_token,
            expires_in,
        } = read(transport.send(request).await?).await?;
        Ok(Token::bearer(&access_token).lives(Duration::from_secs(expires_in)))
    }
}

/// Without the setup token.
impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolment")
            .field("identities", &self.identities)
            .finish_non_exhaustive()
    }
}
