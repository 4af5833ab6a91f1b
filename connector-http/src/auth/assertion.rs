//! Proof by certificate: a signed statement instead of a secret.
//!
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>

use std::{fmt, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64_URL};
use connector_core::{Clock, Error, ErrorKind, Result, Secret};
use ring::{
    digest,
    rand::{SecureRandom, SystemRandom},
    signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair},
};
use rustls::pki_types::PrivateKeyDer;
use serde::Deserialize;

use crate::config::ClientCertificate;

/// How an assertion is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Signature {
    /// RSA-PSS with SHA-256: what the documentation asks for now.
    #[default]
    #[serde(rename = "PS256")]
    Ps256,
    /// RSA with PKCS #1 padding and SHA-256: what older services know.
    #[serde(rename = "RS256")]
    Rs256,
}

/// Makes the signed statements (JSON Web Tokens) by which a client proves that it has the private
/// key of a certificate.
pub struct Assertion {
    key: RsaKeyPair,
    header: String,
    signature: Signature,
    clock: Arc<dyn Clock>,
}

/// How long before now a statement is valid already, for the clocks of both sides to differ.
const BEFORE: i64 = 60;

/// How long a statement is valid: the documentation says five to ten minutes.
const VALID: i64 = 600;

impl Assertion {
    /// Takes the certificate that the service knows, and its key. Reads files, so it blocks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when a file can't be read, or the key is not one of RSA with 2048 to
    /// 4096 bits.
    pub fn new(
        certificate: &ClientCertificate,
        signature: Signature,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let chain = certificate.chain()?;
        let own = &chain[0];
        let key = match certificate.key()? {
            PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
            _ => return Err(Error::new(ErrorKind::Config, NOT_RSA)),
        };
        let key =
            key.map_err(|error| Error::new(ErrorKind::Config, NOT_RSA).with("reason", error))?;
        let hash = |algorithm| BASE64_URL.encode(digest::digest(algorithm, own));
        let header = serde_json::json!({
            "alg": match signature {
                Signature::Ps256 => "PS256",
                Signature::Rs256 => "RS256",
            },
            "typ": "JWT",
            "x5t#S256": hash(&digest::SHA256),
            // Not for safety: the older name of the same certificate.
            "x5t": hash(&digest::SHA1_FOR_LEGACY_USE_ONLY),
        });
        Ok(Self {
            key,
            header: BASE64_URL.encode(header.to_string()),
            signature,
            clock,
        })
    }

    /// Makes a statement of this client for this endpoint. No two are the same.
    pub(super) fn sign(&self, client: &str, endpoint: &str) -> Result<Secret> {
        let random = SystemRandom::new();
        let mut id = [0; 16];
        let no_random = |_| Error::new(ErrorKind::Unexpected, "the system has no random numbers");
        random.fill(&mut id).map_err(no_random)?;
        let now = self.clock.now().ticks().div_euclid(10_000_000);
        let claims = serde_json::json!({
            "aud": endpoint,
            "iss": client,
            "sub": client,
            "jti": uuid::Builder::from_random_bytes(id).into_uuid().to_string(),
            "nbf": now - BEFORE,
            "iat": now,
            "exp": now - BEFORE + VALID,
        });
        let statement = format!("{}.{}", self.header, BASE64_URL.encode(claims.to_string()));
        let padding: &'static dyn RsaEncoding = match self.signature {
            Signature::Ps256 => &RSA_PSS_SHA256,
            Signature::Rs256 => &RSA_PKCS1_SHA256,
        };
        let mut signed = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(padding, &random, statement.as_bytes(), &mut signed)
            .map_err(no_random)?;
        Ok(Secret::new(format!(
            "{statement}.{}",
            BASE64_URL.encode(signed)
        )))
    }
}

const NOT_RSA: &str = "the private key of the certificate is not one of RSA with 2048 to 4096 bits";

/// Without the key.
impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertion")
            .field("signature", &self.signature)
            .finish_non_exhaustive()
    }
}
