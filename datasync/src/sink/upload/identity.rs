//! Who this sender is: its key and its certificate, on disk.

use std::{io, path::PathBuf};

use connector_core::{Error, ErrorKind, Result, Secret};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use serde_json::json;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::upload::{
    jwt::{Header, Signer, new_id, thumbprint},
    private,
};

/// For how long an assertion is valid, in seconds.
const ASSERTION_LIFE: i64 = 300;

/// How far the clocks of both sides may differ, in seconds.
const SKEW: i64 = 60;

/// The folder of one sender. All methods block.
///
/// A key is on disk before anybody is asked for its certificate, and a certificate is in use only
/// together with its key, in one file: whatever a crash leaves, either the same request is made
/// again, which is answered the same, or it is not needed any more.
#[derive(Debug, Clone)]
pub(super) struct Identities {
    folder: PathBuf,
}

/// What the file in use says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// The setup token that it came from.
    jti: String,
    audience: String,
    /// PEM.
    key: String,
    certificate: String,
}

/// A key and the certificate of it.
pub(super) struct Identity {
    pub(super) jti: String,
    audience: String,
    client: String,
    thumbprint: String,
    signer: Signer,
    /// Seconds since 1970.
    not_before: i64,
    not_after: i64,
}

/// A key whose certificate is asked for.
pub(super) struct Candidate {
    key: String,
    /// PEM.
    pub(super) csr: String,
}

impl Identities {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn failed(&self, name: &str, error: io::Error) -> Error {
        Error::new(
            ErrorKind::Storage,
            "the sender's key and certificate can't be kept",
        )
        .with("file", self.folder.join(name).display())
        .with_source(error)
    }

    /// Returns the identity in use, if there is one.
    pub(super) fn load(&self) -> Result<Option<Identity>> {
        let read = private::read(&self.folder.join(IN_USE));
        let Some(bytes) = read.map_err(|error| self.failed(IN_USE, error))? else {
            return Ok(None);
        };
        // The parser's words may show the key.
        let kept: Option<Kept> = serde_json::from_slice(&bytes).ok();
        let identity = kept.and_then(|kept| Identity::of(&kept));
        identity.map(Some).ok_or_else(|| {
            let what = io::Error::other("it is damaged; remove it and set a new client_cert_token");
            self.failed(IN_USE, what)
        })
    }

    /// Returns the key that waits for its certificate, or makes one.
    pub(super) fn candidate(&self) -> Result<Candidate> {
        let path = self.folder.join(CANDIDATE);
        let read = private::read(&path).map_err(|error| self.failed(CANDIDATE, error))?;
        let known = read
            .and_then(|pem| String::from_utf8(pem).ok())
            .and_then(|pem| Candidate::of(pem).ok());
        if let Some(known) = known {
            return Ok(known);
        }
        let key = KeyPair::generate().map_err(unexpected)?.serialize_pem();
        private::replace(&path, key.as_bytes()).map_err(|error| self.failed(CANDIDATE, error))?;
        Candidate::of(key).map_err(unexpected)
    }

    /// Takes the certificate of a candidate into use.
    pub(super) fn adopt(
        &self,
        candidate: Candidate,
        jti: &str,
        certificate: String,
        audience: String,
    ) -> Result<Identity> {
        let kept = Kept {
            jti: jti.to_owned(),
            audience,
            key: candidate.key,
            certificate,
        };
        let identity = Identity::of(&kept).ok_or_else(|| {
            Error::new(
                ErrorKind::Auth,
                "what the auth service gave is no certificate of this sender's key: is \
                 `auth_service_url` right?",
            )
        })?;
        let json = serde_json::to_vec(&kept).map_err(unexpected)?;
        private::replace(&self.folder.join(IN_USE), &json)
            .map_err(|error| self.failed(IN_USE, error))?;
        private::remove(&self.folder.join(CANDIDATE))
            .map_err(|error| self.failed(CANDIDATE, error))?;
        Ok(identity)
    }
}

const IN_USE: &str = "identity.json";
const CANDIDATE: &str = "candidate.pem";

impl Candidate {
    fn of(key: String) -> Result<Self, rcgen::Error> {
        let pair = KeyPair::from_pem(&key)?;
        let csr = CertificateParams::default()
            .serialize_request(&pair)?
            .pem()?;
        Ok(Self { key, csr })
    }
}

impl Identity {
    fn of(kept: &Kept) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(kept.certificate.as_bytes()).ok()?;
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        let client = certificate.subject().iter_common_name().next()?;
        let signer = Signer::new(&KeyPair::from_pem(&kept.key).ok()?.serialize_der()).ok()?;
        let own = certificate.public_key().subject_public_key.data.as_ref() == signer.public_key();
        own.then_some(())?;
        Some(Self {
            jti: kept.jti.clone(),
            audience: kept.audience.clone(),
            client: client.as_str().ok()?.to_owned(),
            thumbprint: thumbprint(&der),
            signer,
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
        })
    }

    pub(super) fn has_expired(&self, now: i64) -> bool {
        self.not_after <= now
    }

    /// In the last third of its life it is renewed.
    pub(super) fn is_due(&self, now: i64) -> bool {
        let life = self.not_after.saturating_sub(self.not_before);
        now >= self.not_after - life / 3
    }

    /// Makes a statement that this is the client, which nobody else can.
    pub(super) fn assertion(&self, now: i64) -> Result<Secret> {
        let claims = json!({
            "iss": self.client,
            "sub": self.client,
            "aud": self.audience,
            "jti": new_id()?,
            "iat": now,
            "nbf": now - SKEW,
            "exp": now + ASSERTION_LIFE,
        });
        let header = Header::of_certificate(&self.thumbprint);
        self.signer.sign(&header, &claims)
    }
}

fn unexpected(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unexpected, "a key can't be made").with_source(error)
}
