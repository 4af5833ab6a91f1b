//! What a token says of the app that it was given to.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use connector_core::Result;
use connector_http::{SignIn, Token, Transport};
use serde::Deserialize;

/// The claims that are read. A token's form is no contract, so they are for messages only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Claims {
    /// The application permissions that somebody consented to.
    pub(crate) roles: Vec<String>,
    /// The tenant's id.
    #[serde(rename = "tid")]
    pub(crate) tenant: Option<String>,
    /// The app's name.
    #[serde(rename = "app_displayname")]
    pub(crate) app: Option<String>,
}

impl Claims {
    /// Reads them from a token, if it can be read.
    fn of(token: &str) -> Option<Self> {
        let payload = token.split('.').nth(1)?;
        let json = BASE64_URL_SAFE_NO_PAD
            .decode(payload.trim_end_matches('='))
            .ok()?;
        serde_json::from_slice(&json).ok()
    }
}

/// The claims of the newest token. None before the first, or when it can't be read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Newest(Arc<Mutex<Option<Claims>>>);

impl Newest {
    pub(crate) fn claims(&self) -> Option<Claims> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, claims: Option<Claims>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = claims;
    }
}

/// A sign-in that keeps what its tokens say.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) inner: Arc<dyn SignIn>,
    pub(crate) newest: Newest,
}

#[async_trait]
impl SignIn for Watched {
    async fn sign_in(&self, transport: &dyn Transport, claims: Option<&str>) -> Result<Token> {
        let token = self.inner.sign_in(transport, claims).await?;
        self.newest.set(Claims::of(token.value().expose()));
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_where_they_can_be() {
        let payload = BASE64_URL_SAFE_NO_PAD.encode(
            r#"{"tid":"t","app_displayname":"DataSync","roles":["User.Read.All"],"exp":1}"#,
        );
        let claims = Claims::of(&format!("Bearer e30.{payload}.sig")).unwrap();
        assert_eq!(claims.roles, ["User.Read.All"]);
        assert_eq!(claims.tenant.as_deref(), Some("t"));
        for opaque in ["", "Bearer opaque", "a.b.c", "a.e30x.c"] {
            assert_eq!(Claims::of(opaque), None, "{opaque}");
        }
        // Nobody has consented to anything.
        assert_eq!(Claims::of("a.e30.c"), Some(Claims::default()));
    }
}
