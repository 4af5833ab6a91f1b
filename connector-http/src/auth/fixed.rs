//! Credentials that need no sign-in.

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use connector_core::{Result, Secret};

use super::{SignIn, Token};
use crate::transport::Transport;

/// A credential that goes along as it is: user and password, or a token that somebody made.
#[derive(Debug, Clone)]
pub struct Fixed(Token);

impl Fixed {
    /// Takes user and password for `Authorization: Basic` (RFC 7617, in UTF-8).
    pub fn basic(user: &str, password: &Secret) -> Self {
        let pair = Secret::new(format!("{user}:{}", password.expose()));
        let value = format!("Basic {}", BASE64_STANDARD.encode(pair.expose()));
        Self(Token::new("authorization", Secret::new(value)))
    }

    /// Takes a token for `Authorization: Bearer`.
    pub fn bearer(token: &Secret) -> Self {
        Self(Token::bearer(token))
    }

    /// Takes a token for a header of the source's own, in lower case: `x-api-key`.
    ///
    /// # Panics
    ///
    /// When the name is none of a header.
    pub fn header(header: &'static str, token: Secret) -> Self {
        Self(Token::new(header, token))
    }
}

#[async_trait]
impl SignIn for Fixed {
    async fn sign_in(&self, _: &dyn Transport, _: Option<&str>) -> Result<Token> {
        Ok(self.0.clone())
    }
}
