//! What tokens say.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::upload::SETUP_LIFE;

/// What a bearer token is for.
pub(in crate::receive) const SERVICE: &str = "datasync-service";

/// What a setup token is for.
const APP: &str = "datasync";

/// How far the clocks of both sides may differ, in seconds.
const SKEW: i64 = 60;

/// No assertion is taken that is valid for longer, in seconds.
const LONGEST_ASSERTION: i64 = 3600;

/// The claims of a setup token: those of the DataSync Agent's, and the syncs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::receive) struct Setup {
    pub(in crate::receive) ver: String,
    /// Names this token: it is used once.
    pub(in crate::receive) jti: String,
    /// Seconds since 1970, as in all of these.
    pub(in crate::receive) iat: i64,
    pub(in crate::receive) exp: i64,
    pub(in crate::receive) app_id: String,
    /// Names the client whose certificate it is exchanged for.
    pub(in crate::receive) cert_id: String,
    pub(in crate::receive) tenant_id: String,
    pub(in crate::receive) syncs: BTreeSet<String>,
}

impl Setup {
    pub(super) fn new(
        (jti, cert_id): (String, String),
        tenant: &str,
        syncs: BTreeSet<String>,
        now: i64,
    ) -> Self {
        Self {
            ver: "1".to_owned(),
            jti,
            iat: now,
            exp: now.saturating_add_unsigned(SETUP_LIFE.as_secs()),
            app_id: APP.to_owned(),
            cert_id,
            tenant_id: tenant.to_owned(),
            syncs,
        }
    }

    /// Whatever it says itself, it ends six days after it was made.
    pub(in crate::receive) fn is_valid(&self, now: i64) -> bool {
        let ends = self.iat.saturating_add_unsigned(SETUP_LIFE.as_secs());
        self.ver == "1" && self.app_id == APP && self.iat <= now + SKEW && now < self.exp.min(ends)
    }
}

/// The claims of a client's assertion: RFC 7523, 3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::receive) struct Assertion {
    pub(in crate::receive) iss: String,
    pub(in crate::receive) sub: String,
    pub(in crate::receive) aud: String,
    pub(in crate::receive) jti: String,
    pub(in crate::receive) exp: i64,
    #[serde(default)]
    pub(in crate::receive) nbf: Option<i64>,
}

impl Assertion {
    pub(super) fn is_valid(&self, client: &str, audience: &str, now: i64) -> bool {
        self.iss == client
            && self.sub == client
            && self.aud == audience
            && !self.jti.is_empty()
            && self.jti.len() <= 128
            && now - SKEW < self.exp
            && self.exp <= now + LONGEST_ASSERTION
            && self.nbf.is_none_or(|start| start <= now + SKEW)
    }

    /// When nobody would take it any more, so that its id may be forgotten.
    pub(super) fn forgotten(&self) -> i64 {
        self.exp + SKEW
    }
}

/// The claims of a bearer token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::receive) struct Access {
    pub(in crate::receive) iss: String,
    pub(in crate::receive) aud: String,
    pub(in crate::receive) sub: String,
    pub(in crate::receive) iat: i64,
    pub(in crate::receive) exp: i64,
    pub(in crate::receive) tenant_id: String,
    pub(in crate::receive) syncs: BTreeSet<String>,
}

impl Access {
    pub(super) fn is_valid(&self, audience: &str, now: i64) -> bool {
        self.iss == audience && self.aud == SERVICE && self.iat <= now + SKEW && now < self.exp
    }
}
