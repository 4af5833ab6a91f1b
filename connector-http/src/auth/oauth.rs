//! OAuth 2.0 (RFC 6749): client credentials by secret or certificate, and the password grant.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use connector_core::{Error, ErrorKind, Result, Retry, Secret};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use super::{Assertion, SignIn, Token};
use crate::{
    error::Refusal,
    transport::{Request, Response, Transport},
};

/// The largest answer of a token endpoint that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// How a client proves that it is the one.
#[derive(Debug)]
pub enum Proof {
    /// By a secret that both know.
    Secret(Secret),
    /// By a certificate that the service knows.
    Certificate(Box<Assertion>),
}

/// Signs in as an application: `grant_type=client_credentials`.
#[derive(Debug)]
pub struct ClientCredentials {
    endpoint: Url,
    client_id: String,
    proof: Proof,
    scope: Option<String>,
    claims: bool,
}

impl ClientCredentials {
    /// Takes the token endpoint, the client's id and its proof.
    pub fn new(endpoint: Url, client_id: impl Into<String>, proof: Proof) -> Self {
        Self {
            endpoint,
            client_id: client_id.into(),
            proof,
            scope: None,
            claims: false,
        }
    }

    /// Sets what is asked for: `https://graph.microsoft.com/.default`. Default: nothing.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Declares to understand claims challenges (`xms_cc` with `cp1`): tokens then live for up to a
    /// day, and the source may ask for a new one at any moment. For Microsoft Entra ID only.
    #[must_use]
    pub fn claims_challenges(mut self) -> Self {
        self.claims = true;
        self
    }
}

#[async_trait]
impl SignIn for ClientCredentials {
    async fn sign_in(&self, transport: &dyn Transport, claims: Option<&str>) -> Result<Token> {
        let mut form = Form::new("client_credentials");
        form.add("client_id", &self.client_id);
        if let Some(scope) = &self.scope {
            form.add("scope", scope);
        }
        match &self.proof {
            Proof::Secret(secret) => form.hide("client_secret", secret.clone()),
            Proof::Certificate(assertion) => {
                form.add(
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                );
                let signed = assertion.sign(&self.client_id, self.endpoint.as_str())?;
                form.hide("client_assertion", signed);
            }
        }
        if self.claims {
            form.add("claims", &with_declaration(claims));
        }
        let answer = form.ask(transport, &self.endpoint).await?;
        Ok(answer.token())
    }
}

/// Puts the declaration that challenges are understood into the claims that are asked for.
fn with_declaration(claims: Option<&str>) -> String {
    let mut claims = claims
        .and_then(|claims| serde_json::from_str(claims).ok())
        .filter(Value::is_object)
        .unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    if !claims["access_token"].is_object() {
        claims["access_token"] = Value::Object(serde_json::Map::new());
    }
    claims["access_token"]["xms_cc"] = serde_json::json!({ "values": ["cp1"] });
    claims.to_string()
}

/// Signs in as a user: `grant_type=password`, then with the refresh token for as long as that is
/// accepted.
pub struct PasswordGrant {
    endpoint: Url,
    client: Option<(String, Option<Secret>)>,
    user: String,
    password: Secret,
    scope: Option<String>,
    refresh: Mutex<Option<Secret>>,
}

impl PasswordGrant {
    /// Takes the token endpoint, the user and the password.
    pub fn new(endpoint: Url, user: impl Into<String>, password: Secret) -> Self {
        Self {
            endpoint,
            client: None,
            user: user.into(),
            password,
            scope: None,
            refresh: Mutex::default(),
        }
    }

    /// Sets the client through which the user signs in. Default: none.
    #[must_use]
    pub fn client(mut self, id: impl Into<String>, secret: Option<Secret>) -> Self {
        self.client = Some((id.into(), secret));
        self
    }

    /// Sets what is asked for. Default: nothing.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    fn form(&self, grant: &'static str) -> Form {
        let mut form = Form::new(grant);
        if let Some((id, secret)) = &self.client {
            form.add("client_id", id);
            if let Some(secret) = secret {
                form.hide("client_secret", secret.clone());
            }
        }
        if let Some(scope) = &self.scope {
            form.add("scope", scope);
        }
        form
    }
}

#[async_trait]
impl SignIn for PasswordGrant {
    async fn sign_in(&self, transport: &dyn Transport, _: Option<&str>) -> Result<Token> {
        // Taken out, so that one that is refused is tried once.
        let refresh = self.refresh.lock().await.take();
        let mut answer = None;
        if let Some(refresh) = refresh {
            let mut form = self.form("refresh_token");
            form.hide("refresh_token", refresh.clone());
            match form.ask(transport, &self.endpoint).await {
                Ok(mut got) => {
                    // A source that gives no new one goes on with the old one: RFC 6749, 6.
                    got.refresh_token.get_or_insert(refresh);
                    answer = Some(got);
                }
                Err(error) if error.kind() == ErrorKind::Auth => {}
                Err(error) => {
                    *self.refresh.lock().await = Some(refresh);
                    return Err(error);
                }
            }
        }
        let mut answer = if let Some(answer) = answer {
            answer
        } else {
            let mut form = self.form("password");
            form.add("username", &self.user);
            form.hide("password", self.password.clone());
            form.ask(transport, &self.endpoint).await?
        };
        *self.refresh.lock().await = answer.refresh_token.take();
        Ok(answer.token())
    }
}

impl fmt::Debug for PasswordGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordGrant")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// What is sent to a token endpoint.
struct Form {
    fields: Vec<(&'static str, Secret)>,
    /// Which of them is none of a message's business.
    hidden: Vec<Secret>,
}

impl Form {
    fn new(grant: &'static str) -> Self {
        Self {
            fields: vec![("grant_type", Secret::new(grant))],
            hidden: Vec::new(),
        }
    }

    fn add(&mut self, name: &'static str, value: &str) {
        self.fields.push((name, Secret::new(value)));
    }

    fn hide(&mut self, name: &'static str, value: Secret) {
        // As it stands in the body too, should that come back.
        let encoded = url::form_urlencoded::byte_serialize(value.expose().as_bytes());
        self.hidden.push(Secret::new(encoded.collect::<String>()));
        self.hidden.push(value.clone());
        self.fields.push((name, value));
    }

    async fn ask(self, transport: &dyn Transport, endpoint: &Url) -> Result<Answer> {
        let fields = self
            .fields
            .iter()
            .map(|(name, value)| (*name, value.expose()));
        // To ask for two tokens does no more than to ask for one.
        let mut request = Request::form(endpoint.clone(), fields)
            .without_credential()
            .idempotent()
            .header("accept", "application/json")?;
        for secret in self.hidden {
            request = request.hide(secret);
        }
        let reply = transport.send(request).await.map_err(explain)?;
        read_token(reply).await
    }
}

/// A token, as an endpoint gives it.
#[derive(Deserialize)]
pub(super) struct Answer {
    #[serde(deserialize_with = "text")]
    pub(super) access_token: Secret,
    /// Seconds from now on; some send the number as text.
    #[serde(default, deserialize_with = "number")]
    pub(super) expires_in: Option<u64>,
    /// Seconds since 1970.
    #[serde(default, deserialize_with = "number")]
    pub(super) expires_on: Option<u64>,
    #[serde(default)]
    refresh_token: Option<Secret>,
}

impl Answer {
    fn token(&self) -> Token {
        let token = Token::bearer(&self.access_token);
        match self.expires_in {
            Some(seconds) => token.lives(Duration::from_secs(seconds)),
            None => token,
        }
    }
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Err(de::Error::custom("no token"));
    }
    Ok(Secret::new(text))
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

pub(super) async fn read_token(reply: Response) -> Result<Answer> {
    let body = reply.bytes(LARGEST).await?;
    // The parser's error might show the token.
    serde_json::from_slice(&body).map_err(|_| {
        Error::new(
            ErrorKind::Auth,
            "what answers sign-ins gave no token: is its address right?",
        )
    })
}

/// Says what a refusal by a token endpoint means.
///
/// <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>, RFC 6749, 5.2.
fn explain(error: Error) -> Error {
    use ErrorKind::{Auth, Config, Permission};
    let Some(refusal) = Refusal::of(&error) else {
        return error;
    };
    if matches!(error.retry(), Retry::Backoff | Retry::After(_)) {
        return error;
    }
    let message = refusal.message.as_deref().unwrap_or_default();
    let (kind, advice) = match (entra_code(message), refusal.code.as_deref()) {
        (Some(7_000_215), _) => (
            Auth,
            "the client secret is wrong: set the secret's value, not its id",
        ),
        (Some(7_000_222), _) => (
            Auth,
            "the client secret has expired: make a new one in the app registration",
        ),
        (Some(700_016), _) => (
            Config,
            "the tenant has no such application: check client id, tenant and cloud",
        ),
        (Some(90_002 | 90_013 | 50_059), _) => (
            Config,
            "there is no such tenant in this cloud: check the tenant's id and the cloud",
        ),
        (Some(700_024), _) => (
            Auth,
            "the signed assertion is not valid now: this machine's clock is wrong",
        ),
        (Some(700_027 | 700_030 | 5_000_611), _) => (
            Auth,
            "the app registration does not know the certificate, or its key is another one: \
             upload the certificate there",
        ),
        (Some(7_000_112 | 7_000_113), _) => (Auth, "the application is switched off in the tenant"),
        (Some(70_011 | 1_002_012 | 500_011 | 500_021), _) => {
            (Config, "the scope or the resource is not one of this cloud")
        }
        (Some(65_001 | 90_094 | 90_095), _) => (
            Permission,
            "nobody has consented to the application's permissions: an administrator does that at \
             the address `adminconsent` of the tenant",
        ),
        (Some(53_000..=53_004), _) => (Permission, "Conditional Access keeps the application out"),
        (Some(50_126), _) => (Auth, "user or password is wrong"),
        (Some(50_053 | 50_057), _) => (Auth, "the account is locked or switched off"),
        (Some(50_055), _) => (Auth, "the password has expired"),
        (Some(50_076 | 50_079 | 50_158), _) => (
            Auth,
            "the account asks for a second factor, which nobody is there to give: use an \
             application instead",
        ),
        (_, Some("invalid_client")) => (Auth, "client id or secret is wrong"),
        (_, Some("invalid_grant")) => (Auth, "user or password is wrong, or has expired"),
        (_, Some("access_denied")) => (Auth, "user, password or client is refused"),
        (_, Some("unauthorized_client")) => (
            Config,
            "the client may not sign in this way: allow this grant type for it",
        ),
        (_, Some("unsupported_grant_type")) => (
            Config,
            "the source does not offer this way to sign in, or has it switched off",
        ),
        (_, Some("invalid_scope")) => (Config, "there is no such scope"),
        _ => match refusal.status.as_u16() {
            404 | 405 => (Config, "this is not where to sign in: check the address"),
            300..=399 => (Config, "where to sign in has moved: check the address"),
            _ => (Auth, "the sign-in was refused"),
        },
    };
    Error::new(kind, advice).with_source(error)
}

/// Reads the number of `AADSTS7000215: …`.
fn entra_code(message: &str) -> Option<u32> {
    let digits = message.split_once("AADSTS")?.1;
    let end = digits.find(|c: char| !c.is_ascii_digit());
    digits[..end.unwrap_or(digits.len())].parse().ok()
}
