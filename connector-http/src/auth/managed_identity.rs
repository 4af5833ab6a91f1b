//! The identity that Azure gives a machine, without a secret of ours.
//!
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use connector_core::{Clock, Error, ErrorKind, Result, Retry, Secret};
use url::Url;

use super::{SignIn, Token, oauth::read_token};
use crate::{
    error::Refusal,
    transport::{Request, Transport},
};

/// Where a virtual machine asks (IMDS): a link-local address, never behind a proxy.
const MACHINE: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

/// Signs in as the managed identity of the Azure machine or App Service that this program runs on.
#[derive(Debug, Clone)]
pub struct ManagedIdentity {
    endpoint: Url,
    /// What App Service wants to see; a virtual machine has none.
    secret: Option<Secret>,
    resource: String,
    client_id: Option<String>,
    clock: Arc<dyn Clock>,
}

impl ManagedIdentity {
    /// Takes a resource (`https://graph.microsoft.com/`, not a scope), and the client id of one of
    /// several identities that a machine was given by hand.
    ///
    /// Reads the environment variables `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`, by which App
    /// Service, Functions and Container Apps tell where to ask.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when `IDENTITY_ENDPOINT` is no address.
    pub fn new(
        resource: impl Into<String>,
        client_id: Option<String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let app_service =
            from_environment("IDENTITY_ENDPOINT").zip(from_environment("IDENTITY_HEADER"));
        let (endpoint, secret) = match &app_service {
            Some((endpoint, secret)) => (endpoint.as_str(), Some(Secret::new(secret.as_str()))),
            None => (MACHINE, None),
        };
        let endpoint = endpoint.parse().map_err(|error: url::ParseError| {
            Error::new(
                ErrorKind::Config,
                "the environment variable IDENTITY_ENDPOINT is no address",
            )
            .with_source(error)
        })?;
        Ok(Self {
            endpoint,
            secret,
            resource: resource.into(),
            client_id,
            clock,
        })
    }

    fn request(&self) -> Result<Request> {
        let mut url = self.endpoint.clone();
        let version = match self.secret {
            Some(_) => "2019-08-01",
            None => "2018-02-01",
        };
        url.query_pairs_mut()
            .append_pair("api-version", version)
            .append_pair("resource", &self.resource)
            .extend_pairs(self.client_id.iter().map(|id| ("client_id", id)));
        let request = Request::get(url).without_credential();
        match &self.secret {
            Some(secret) => Ok(request
                .header("x-identity-header", secret.expose())?
                .hide(secret.clone())),
            None => request.header("metadata", "true"),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "Azure tells by environment variables where to ask"
)]
fn from_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

#[async_trait]
impl SignIn for ManagedIdentity {
    async fn sign_in(&self, transport: &dyn Transport, _: Option<&str>) -> Result<Token> {
        let reply = transport.send(self.request()?).await.map_err(|error| {
            match Refusal::of(&error).map(|refusal| refusal.status.as_u16()) {
                None if error.kind() == ErrorKind::Unavailable => Error::new(
                    ErrorKind::Unavailable,
                    "nobody answers who gives managed identities: this is no machine of Azure, or \
                     its network keeps 169.254.169.254 away",
                )
                .with_retry(Retry::Never)
                .with_source(error),
                // While the service starts (404) or is updated (410).
                Some(404 | 410) => Error::new(
                    ErrorKind::Unavailable,
                    "the service that gives managed identities is not ready",
                )
                .with_source(error),
                Some(400 | 403) => Error::new(
                    ErrorKind::Auth,
                    "there is no managed identity: assign one to this machine, and say with its \
                     client id which one if there are several",
                )
                .with_source(error),
                _ => error,
            }
        })?;
        let answer = read_token(reply).await?;
        let lives = answer.expires_in.or_else(|| {
            let now = self.clock.now().ticks().div_euclid(10_000_000);
            let ends = i64::try_from(answer.expires_on?).ok()?;
            u64::try_from(ends.saturating_sub(now)).ok()
        });
        let token = Token::bearer(&answer.access_token);
        Ok(match lives {
            Some(seconds) => token.lives(Duration::from_secs(seconds)),
            None => token,
        })
    }
}
