//! Signing in, and attaching what that gave to each request.

mod assertion;
mod fixed;
mod managed_identity;
mod oauth;
mod token;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use connector_core::{Error, ErrorKind, Result};
use http::{HeaderMap, StatusCode, header};
use url::{Host, Origin, Url};

use self::token::Cache;
pub use self::{
    assertion::{Assertion, Signature},
    fixed::Fixed,
    managed_identity::ManagedIdentity,
    oauth::{ClientCredentials, PasswordGrant, Proof},
    token::Token,
};
use crate::transport::{Credential, Request, Response, Transport, shown};

/// Gets a token. The one thing in which sources differ when it comes to credentials.
///
/// A connector whose source has a session implements it itself: it posts user and password, and
/// makes a [`Token`] of the cookie or header that comes back.
#[async_trait]
pub trait SignIn: fmt::Debug + Send + Sync + 'static {
    /// Signs in anew, each time it is called; who calls it keeps the token for as long as it lives.
    ///
    /// `transport` attaches no credential, does not retry, and returns replies of status 2xx only,
    /// whole. `claims` is what a source asked for that did not accept the token before (a claims
    /// challenge of Microsoft Entra ID, as JSON); who has not declared to understand such never
    /// gets any.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Auth`] when the credential is refused, [`ErrorKind::Config`] when a setting is
    /// wrong: neither is tried again for some minutes, since that locks accounts. Others as they
    /// come.
    async fn sign_in(&self, transport: &dyn Transport, claims: Option<&str>) -> Result<Token>;
}

/// A layer that attaches the token to each request that asks for it, and signs in again once when
/// the source does not accept it.
pub(crate) struct Auth {
    inner: Arc<dyn Transport>,
    /// What the sign-in itself goes through.
    asked: Arc<dyn Transport>,
    sign_in: Arc<dyn SignIn>,
    /// Who gets the credential.
    origin: Origin,
    cache: Cache,
}

impl Auth {
    pub(crate) fn new(
        inner: Arc<dyn Transport>,
        asked: Arc<dyn Transport>,
        sign_in: Arc<dyn SignIn>,
        origin: Origin,
    ) -> Self {
        Self {
            inner,
            asked,
            sign_in,
            origin,
            cache: Cache::default(),
        }
    }

    fn allowed(&self, url: &Url) -> Result<()> {
        if url.origin() != self.origin {
            return Err(Error::new(
                ErrorKind::Config,
                "the credential is not for that host, and is not sent to it",
            )
            .with("url", shown(url))
            .with("credential of", self.origin.ascii_serialization()));
        }
        if url.scheme() != "https" && !is_this_machine(url) {
            return Err(Error::new(
                ErrorKind::Config,
                "the credential would be sent in clear text: use `https://`",
            )
            .with("url", shown(url)));
        }
        Ok(())
    }

    async fn send_with(&self, mut request: Request, token: &Token) -> Result<Response> {
        token.attach(&mut request.headers)?;
        let mut response = self.inner.send(request).await?;
        response.hidden.extend(token.hidden());
        Ok(response)
    }
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[async_trait]
impl Transport for Auth {
    async fn send(&self, request: Request) -> Result<Response> {
        if request.credential == Credential::None {
            return self.inner.send(request).await;
        }
        self.allowed(&request.url)?;
        let sign_in = async |claims: Option<&str>| self.sign_in.sign_in(&*self.asked, claims).await;
        let first = self.cache.token(None, || sign_in(None)).await?;
        let refused = self.send_with(request.clone(), &first.token).await?;
        if refused.status != StatusCode::UNAUTHORIZED {
            return Ok(refused);
        }
        let claims = challenge(&refused.headers);
        let second = self
            .cache
            .token(Some(&first), || sign_in(claims.as_deref()))
            .await?;
        // Nothing but a new token helps: a password that was refused once is refused twice, and
        // the account is locked sooner or later.
        if second.token.same(&first.token) {
            return Ok(refused);
        }
        drop(refused);
        self.send_with(request, &second.token).await
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("inner", &self.inner)
            .field("sign_in", &self.sign_in)
            .finish_non_exhaustive()
    }
}

/// Reads a claims challenge: RFC 6750 with `error="insufficient_claims"` and `claims`, JSON in
/// base64; one of several `WWW-Authenticate` values.
/// <https://learn.microsoft.com/entra/identity-platform/claims-challenge>
fn challenge(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .filter(|value| parameter(value, "error") == Some("insufficient_claims"))
        .find_map(|value| {
            let claims = parameter(value, "claims")?;
            let json = BASE64_STANDARD.decode(claims).ok()?;
            String::from_utf8(json).ok()
        })
}

/// Returns a quoted parameter of a challenge.
fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    challenge
        .split([',', ' '])
        .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
        .map(|value| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_found_among_others() {
        let mut headers = HeaderMap::new();
        let mut add = |value: &'static str| {
            headers.append(header::WWW_AUTHENTICATE, value.parse().unwrap());
        };
        add("Basic realm=\"\"");
        add(
            "Bearer realm=\"\", authorization_uri=\"https://login.test/authorize\", \
             error=\"insufficient_claims\", claims=\"eyJhY2Nlc3NfdG9rZW4iOnt9fQ==\"",
        );
        assert_eq!(challenge(&headers).unwrap(), r#"{"access_token":{}}"#);
        assert_eq!(parameter("Bearer error=\"invalid_token\"", "claims"), None);
    }
}
