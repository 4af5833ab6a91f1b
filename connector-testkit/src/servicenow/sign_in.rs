//! Who may ask, and the token endpoint.
//! <https://github.com/ServiceNow/ServiceNowDocs> (`r_OAuthAPIRequestParameters`,
//! `client-credentials-grant-workflow`, `resource-owner-password-credential-workflow`)

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use crate::http::{HttpReply, HttpRequest};

/// The user and the application that are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceNowApp {
    /// The user's name.
    pub user: String,
    /// The user's password. None: any is right.
    pub password: Option<String>,
    /// The application's client id.
    pub client_id: String,
    /// The application's client secret. None: any is right.
    pub client_secret: Option<String>,
    /// How long an access token lives. The default of the product: half an hour.
    pub lives: Duration,
}

impl Default for ServiceNowApp {
    fn default() -> Self {
        Self {
            user: "datasync".to_owned(),
            password: None,
            client_id: "2c0d5f1e8a7b4c3d9e0f1a2b3c4d5e6f".to_owned(),
            client_secret: None,
            lives: Duration::from_mins(30),
        }
    }
}

/// What was issued and is good.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    access: Vec<(String, Duration)>,
    refresh: Vec<String>,
    last: u64,
}

impl Tokens {
    /// Makes all access tokens useless.
    pub(super) fn revoke(&mut self) {
        self.access.clear();
    }

    /// Makes all refresh tokens useless.
    pub(super) fn revoke_refresh(&mut self) {
        self.refresh.clear();
    }

    /// Tells whether a request comes from somebody who is known.
    pub(super) fn allow(&self, app: &ServiceNowApp, now: Duration, request: &HttpRequest) -> bool {
        let Some(header) = request.header("authorization") else {
            // The connection's own certificate is mapped to a user.
            return request.client_certificate.is_some();
        };
        if let Some(token) = header.strip_prefix("Bearer ") {
            return self
                .access
                .iter()
                .any(|(known, ends)| known == token && now < *ends);
        }
        let pair = header
            .strip_prefix("Basic ")
            .and_then(|pair| BASE64_STANDARD.decode(pair).ok())
            .and_then(|pair| String::from_utf8(pair).ok());
        let Some((user, password)) = pair.as_deref().and_then(|pair| pair.split_once(':')) else {
            return false;
        };
        user == app.user && app.password.as_deref().is_none_or(|own| own == password)
    }

    /// Answers at `/oauth_token.do`.
    pub(super) fn answer(
        &mut self,
        app: &ServiceNowApp,
        now: Duration,
        request: &HttpRequest,
    ) -> HttpReply {
        let is_form = request
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if request.method != "POST" || !is_form {
            return refused("invalid_request");
        }
        let form: BTreeMap<String, String> = url::form_urlencoded::parse(&request.body)
            .into_owned()
            .collect();
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        let is = |own: &Option<String>, name: &str| {
            own.as_deref().is_none_or(|own| own == field(name)) && !field(name).is_empty()
        };
        if field("client_id") != app.client_id || !is(&app.client_secret, "client_secret") {
            return refused("invalid_client");
        }
        let with_refresh = match field("grant_type") {
            // Never one to refresh it with.
            "client_credentials" => false,
            "password" if field("username") == app.user && is(&app.password, "password") => true,
            "password" => return refused("access_denied"),
            "refresh_token" => {
                let known = self.refresh.iter().any(|own| own == field("refresh_token"));
                if !known {
                    return refused("access_denied");
                }
                false
            }
            _ => return refused("unsupported_grant_type"),
        };
        // While one lives, the same one is given.
        let living = self.access.iter().find(|(_, ends)| now < *ends).cloned();
        let (token, ends) = living.unwrap_or_else(|| {
            self.last += 1;
            let issued = (format!("access-{}", self.last), now + app.lives);
            self.access.push(issued.clone());
            issued
        });
        let mut body = json!({
            "access_token": token,
            "scope": "useraccount",
            "token_type": "Bearer",
            "expires_in": ends.saturating_sub(now).as_secs(),
        });
        if with_refresh {
            self.last += 1;
            let refresh = format!("refresh-{}", self.last);
            body["refresh_token"] = refresh.as_str().into();
            self.refresh.push(refresh);
        }
        HttpReply::json(body.to_string())
    }
}

fn refused(error: &str) -> HttpReply {
    let body = json!({ "error_description": error, "error": "server_error" });
    HttpReply::json(body.to_string()).with_status(401)
}
