//! The token endpoint: client credentials, by secret or by signed assertion.
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64_URL};
use serde_json::{Value as Json, json};

use crate::http::{HttpReply, HttpRequest};

/// The app registration that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphApp {
    /// The tenant, as it stands in the path of the token endpoint.
    pub tenant: String,
    /// The application (client) id.
    pub client_id: String,
    /// The secret. None: any is right.
    pub secret: Option<String>,
    /// The certificate, by `x5t#S256`: base64url of the SHA-256 over it. None: any is right.
    pub certificate: Option<String>,
    /// The application permissions that somebody consented to: claim `roles` of the tokens.
    pub roles: Vec<String>,
    /// How long a token lives. The service says between 60 and 90 minutes.
    pub lives: Duration,
}

impl Default for GraphApp {
    fn default() -> Self {
        Self {
            tenant: "acme.example".to_owned(),
            client_id: "5f3a0c2e-3f0b-4d5c-9d0e-7a1b2c3d4e5f".to_owned(),
            secret: None,
            certificate: None,
            roles: Vec::new(),
            lives: Duration::from_secs(3599),
        }
    }
}

/// A token that was issued.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) text: String,
    ends: Duration,
    /// Asked for with the claims of a challenge.
    pub(super) has_claims: bool,
    pub(super) is_revoked: bool,
}

impl Issued {
    pub(super) fn is_good(&self, now: Duration) -> bool {
        !self.is_revoked && now < self.ends
    }
}

/// When a request came: since the start, and in seconds since 1970 by the endpoint's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) elapsed: Duration,
    pub(super) seconds: i64,
}

/// Answers a request for a token, and says which was issued.
pub(super) fn answer(
    app: &GraphApp,
    scope: &str,
    endpoint: &str,
    number: u64,
    now: Moment,
    request: &HttpRequest,
) -> Result<(HttpReply, Issued), HttpReply> {
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(&request.body)
        .into_owned()
        .collect();
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    if request.method != "POST" || field("grant_type") != "client_credentials" {
        return Err(refused(
            400,
            "unsupported_grant_type",
            "AADSTS70003: The app requested an unsupported grant type.",
        ));
    }
    if field("client_id") != app.client_id {
        return Err(refused(
            400,
            "unauthorized_client",
            "AADSTS700016: Application was not found in the directory.",
        ));
    }
    if field("scope") != scope {
        return Err(refused(
            400,
            "invalid_scope",
            "AADSTS1002012: The provided value for scope is not valid. Client credential flows \
             must have a scope value with /.default suffixed to the resource identifier.",
        ));
    }
    let assertion = field("client_assertion");
    if assertion.is_empty() {
        let right = app
            .secret
            .as_ref()
            .is_none_or(|s| s == field("client_secret"));
        if !right || field("client_secret").is_empty() {
            return Err(refused(
                401,
                "invalid_client",
                "AADSTS7000215: Invalid client secret provided.",
            ));
        }
    } else {
        proved(
            app,
            endpoint,
            now.seconds,
            field("client_assertion_type"),
            assertion,
        )?;
    }
    let claims = field("claims");
    let has_claims = claims.contains("nbf");
    let part = |json: Json| BASE64_URL.encode(json.to_string());
    let text = format!(
        "{}.{}.signature-{number}",
        part(json!({"typ": "JWT", "alg": "RS256"})),
        part(json!({
            "aud": "https://graph.microsoft.com",
            "tid": app.tenant,
            "appid": app.client_id,
            "roles": app.roles,
        })),
    );
    let body = json!({
        "token_type": "Bearer",
        "expires_in": app.lives.as_secs(),
        "ext_expires_in": app.lives.as_secs(),
        "access_token": text,
    });
    let issued = Issued {
        text,
        ends: now.elapsed + app.lives,
        has_claims,
        is_revoked: false,
    };
    Ok((HttpReply::json(body.to_string()), issued))
}

/// Checks what a signed assertion says. The signature itself is not looked at.
/// <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>
fn proved(
    app: &GraphApp,
    endpoint: &str,
    now: i64,
    kind: &str,
    assertion: &str,
) -> Result<(), HttpReply> {
    let wrong = |code: u32, what: &str| {
        Err(refused(
            401,
            "invalid_client",
            &format!("AADSTS{code}: {what}"),
        ))
    };
    let mut parts = assertion.split('.').map(|part| {
        let bytes = BASE64_URL.decode(part).ok()?;
        serde_json::from_slice::<Json>(&bytes).ok()
    });
    let (Some(Some(header)), Some(Some(claims)), Some(_)) =
        (parts.next(), parts.next(), parts.next())
    else {
        return wrong(50027, "JWT token is invalid or malformed.");
    };
    if kind != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
        return wrong(
            900_144,
            "The request body must contain the parameter: 'client_assertion_type'.",
        );
    }
    let known = app.certificate.as_deref();
    let is_known = known.is_none_or(|known| header["x5t#S256"] == known);
    if !is_known
        || !header["x5t#S256"].is_string()
        || !matches!(header["alg"].as_str(), Some("PS256" | "RS256"))
    {
        return wrong(
            700_027,
            "The certificate with identifier used to sign the client assertion is not registered \
             on application.",
        );
    }
    let id = app.client_id.as_str();
    if claims["iss"] != id || claims["sub"] != id || !claims["jti"].is_string() {
        return wrong(
            700_021,
            "Client assertion application identifier doesn't match 'client_id' parameter.",
        );
    }
    if claims["aud"] != endpoint {
        return wrong(
            700_023,
            "Client assertion audience claim does not match Realm issuer.",
        );
    }
    let seconds = |name: &str| claims[name].as_i64().unwrap_or_default();
    if seconds("nbf") > now || seconds("exp") <= now {
        return wrong(
            700_024,
            "Client assertion is not within its valid time range.",
        );
    }
    Ok(())
}

/// Makes a refusal as the endpoint has it: RFC 6749, 5.2, and the number in the text.
pub(super) fn refused(status: u16, error: &str, description: &str) -> HttpReply {
    let body = json!({
        "error": error,
        "error_description": description,
        "timestamp": "2026-11-21 00:00:00Z",
        "trace_id": "0000aaaa-11bb-cccc-dd22-eeeeee333333",
        "correlation_id": "aaaa0000-bb11-2222-33cc-444444dddddd",
    });
    HttpReply::json(body.to_string()).with_status(status)
}
