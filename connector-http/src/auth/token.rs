//! Tokens, and keeping one for as long as it lives.

use std::{fmt, time::Duration};

use connector_core::{Error, ErrorKind, Result, Retry, Secret};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::{sync::Mutex, time::Instant};

use crate::transport::Response;

/// How long before its end a token is renewed: long enough for the clocks of both sides to differ.
const EARLY: Duration = Duration::from_mins(5);

/// No token is taken to live longer: beyond that, clocks overflow.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// For how long a sign-in that was refused is not tried again.
const REFUSED: Duration = Duration::from_mins(5);

/// How soon the next attempt comes when a token that still lives could not be renewed.
const AGAIN: Duration = Duration::from_secs(30);

/// What a sign-in gives: a header that says who sends a request.
#[derive(Clone)]
pub struct Token {
    pub(super) header: HeaderName,
    pub(super) value: Secret,
    pub(super) lives: Option<Duration>,
}

impl Token {
    /// Makes a token that goes into a header as it is, in lower case: `vmware-api-session-id`. It
    /// lives until the source refuses it.
    ///
    /// # Panics
    ///
    /// When the name is none of a header.
    pub fn new(header: &'static str, value: Secret) -> Self {
        Self {
            header: HeaderName::from_static(header),
            value,
            lives: None,
        }
    }

    /// Makes one for `Authorization: Bearer`.
    pub fn bearer(token: &Secret) -> Self {
        let value = Secret::new(format!("Bearer {}", token.expose()));
        Self::new("authorization", value)
    }

    /// Takes the session cookie of this name from the reply to a login.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Auth`] when the reply sets none.
    pub fn cookie(reply: &Response, name: &str) -> Result<Self> {
        let set = reply.headers.get_all(header::SET_COOKIE);
        let pair = set
            .iter()
            .filter_map(|value| value.to_str().ok()?.split(';').next())
            .find(|pair| pair.split('=').next().map(str::trim) == Some(name));
        let pair = pair.ok_or_else(|| {
            Error::new(ErrorKind::Auth, "the login gave no session").with("cookie", name)
        })?;
        Ok(Self::new("cookie", Secret::new(pair.trim())))
    }

    /// Sets how long it lives from now on.
    #[must_use]
    pub fn lives(mut self, lives: Duration) -> Self {
        self.lives = Some(lives);
        self
    }

    /// Returns what is sent, with what stands before the token (`Bearer `).
    pub fn value(&self) -> &Secret {
        &self.value
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        self.value.expose() == other.value.expose()
    }

    /// Returns what no message shows: the value, and the token itself without what stands before
    /// it (`Bearer `, `session=`).
    pub(super) fn hidden(&self) -> impl Iterator<Item = Secret> {
        let own = self.value.expose().split_once([' ', '=']);
        let own = own.map(|(_, own)| own).filter(|own| own.len() > 3);
        [self.value.clone()].into_iter().chain(own.map(Secret::new))
    }

    pub(super) fn attach(&self, headers: &mut HeaderMap) -> Result<()> {
        // The cause would not show the value, and is of no help.
        let mut value = HeaderValue::from_str(self.value.expose()).map_err(|_| {
            Error::new(
                ErrorKind::Auth,
                "the credential has characters that can't be sent",
            )
        })?;
        value.set_sensitive(true);
        headers.insert(self.header.clone(), value);
        Ok(())
    }
}

/// Without the value.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, {:?})", self.header, self.lives)
    }
}

/// A token in use.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) token: Token,
    /// Which sign-in it came from.
    number: u64,
    renew: Option<Instant>,
    ends: Option<Instant>,
}

/// Keeps one token. It is asked for each request: a walk through many pages outlives a token.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    live: Option<Live>,
    sign_ins: u64,
    /// What the last sign-in was refused with, and until when that is the answer.
    refused: Option<(ErrorKind, String, Instant)>,
}

impl Cache {
    /// Returns the token, or signs in when there is none that lives long enough, or it is the one
    /// that was just refused. Of several that ask at once, one signs in and the others wait for it;
    /// if that one is dropped, the next does.
    pub(super) async fn token(
        &self,
        refused: Option<&Live>,
        sign_in: impl AsyncFnOnce() -> Result<Token>,
    ) -> Result<Live> {
        let mut state = self.0.lock().await;
        let now = Instant::now();
        if let Some(live) = &state.live
            && refused.is_none_or(|refused| refused.number != live.number)
            && live.renew.is_none_or(|renew| now < renew)
        {
            return Ok(live.clone());
        }
        if let Some((kind, message, until)) = &state.refused
            && now < *until
        {
            return Err(Error::new(*kind, message.clone()));
        }
        match sign_in().await {
            Ok(token) => {
                state.sign_ins += 1;
                state.refused = None;
                let now = Instant::now();
                let lives = token.lives.map(|lives| lives.min(LONGEST));
                let live = Live {
                    number: state.sign_ins,
                    renew: lives.map(|lives| now + lives.saturating_sub(EARLY.min(lives / 4))),
                    ends: lives.map(|lives| now + lives),
                    token,
                };
                state.live = Some(live.clone());
                Ok(live)
            }
            Err(error) => {
                if let Some(live) = &mut state.live
                    && refused.is_none()
                    && live.ends.is_some_and(|ends| now < ends)
                    && matches!(error.retry(), Retry::Backoff | Retry::After(_))
                {
                    tracing::warn!(%error, "the token was not renewed, and lives a little longer");
                    live.renew = Some(now + AGAIN);
                    return Ok(live.clone());
                }
                if matches!(error.kind(), ErrorKind::Auth | ErrorKind::Config)
                    && error.retry() == Retry::Never
                {
                    let until = Instant::now() + REFUSED;
                    state.refused = Some((error.kind(), format!("{error:#}"), until));
                }
                Err(error)
            }
        }
    }
}
