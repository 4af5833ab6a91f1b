//! The authority: signs tokens and certificates.

use std::{collections::BTreeSet, fmt, io, path::Path, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64_URL};
use connector_core::{Clock, Error, ErrorKind, Result, Secret};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData,
};
use serde::{Deserialize, Serialize};

use super::claims::{Access, SERVICE, Setup};
use crate::upload::{
    jwt::{Header, Signer, Unverified, new_id, thumbprint},
    private,
};

const FILE: &str = "authority.json";

/// A certificate is valid a little before it was made, for the clocks of both sides to differ.
const BEFORE: Duration = Duration::from_mins(5);

/// The authority's own certificate: it is trusted by this receiver alone, which has its key.
const OWN_LIFE: Duration = Duration::from_hours(24 * 365 * 20);

/// What is kept of the authority. Its file is readable by its owner only.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    id: String,
    /// PEM.
    key: String,
    certificate: String,
    token_key: String,
}

/// Signs setup tokens, certificates and bearer tokens.
pub(crate) struct Authority {
    /// What assertions are addressed to.
    audience: String,
    issuer: Issuer<'static, KeyPair>,
    certificate: Vec<u8>,
    tokens: Signer,
    clock: Arc<dyn Clock>,
}

/// A certificate for a client.
pub(crate) struct Issued {
    pub(crate) pem: String,
    /// Its SHA-256, as tokens have it.
    pub(crate) thumbprint: String,
    /// The client's public key, as base64 of a point of the curve P-256.
    pub(crate) public_key: String,
    /// Seconds since 1970.
    pub(crate) not_after: i64,
}

impl Authority {
    /// Reads the authority of a folder, or makes it. Blocks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`] when its file can't be read or made.
    pub(crate) fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let path = folder.join(FILE);
        let failed = |error: io::Error| {
            Error::new(ErrorKind::Storage, "the authority's file can't be used")
                .with("path", path.display())
                .with_source(error)
        };
        let kept = if let Some(bytes) = private::read(&path).map_err(failed)? {
            serde_json::from_slice(&bytes).map_err(|_| {
                // The parser's words may show a key.
                failed(io::Error::other("it is damaged"))
            })?
        } else {
            let kept = Kept::new(&*clock).map_err(unexpected)?;
            let bytes = serde_json::to_vec(&kept).map_err(unexpected)?;
            private::replace(&path, &bytes).map_err(failed)?;
            kept
        };
        Self::of(&kept, clock).map_err(|error| {
            Error::new(ErrorKind::Storage, "the authority's file is damaged")
                .with("path", path.display())
                .with_source(error)
        })
    }

    fn of(kept: &Kept, clock: Arc<dyn Clock>) -> Result<Self> {
        let key = KeyPair::from_pem(&kept.key).map_err(unexpected)?;
        let token_key = KeyPair::from_pem(&kept.token_key).map_err(unexpected)?;
        let certificate =
            <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(
                kept.certificate.as_bytes(),
            )
            .map_err(unexpected)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(unexpected)?;
        Ok(Self {
            audience: format!("urn:datasync:{}", kept.id),
            certificate: certificate.to_vec(),
            issuer,
            tokens: Signer::new(&token_key.serialize_der())?,
            clock,
        })
    }

    /// What assertions are addressed to.
    pub(crate) fn audience(&self) -> &str {
        &self.audience
    }

    /// The certificate by which those of clients are known, as DER.
    pub(crate) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        seconds(&*self.clock)
    }

    /// Makes a setup token for these syncs of a tenant.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unexpected`] when the system has no random numbers.
    pub(crate) fn setup_token(&self, tenant: &str, syncs: BTreeSet<String>) -> Result<Secret> {
        let ids = (new_id()?, new_id()?);
        let claims = Setup::new(ids, tenant, syncs, self.now());
        self.tokens.sign(&Header::of_key(&self.audience), &claims)
    }

    /// Returns what a setup token says, if it is one of this authority's and still valid.
    pub(in crate::receive) fn setup(&self, token: &str) -> Result<Setup, &'static str> {
        let setup: Option<Setup> =
            Unverified::parse(token).and_then(|token| token.verify(self.tokens.public_key()));
        match setup {
            None => Err("the setup token is none of this service's"),
            Some(setup) if setup.is_valid(self.now()) => Ok(setup),
            Some(_) => Err("the setup token has expired: ask for a new one"),
        }
    }

    /// Makes a bearer token for a client.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unexpected`] when the system has no random numbers.
    pub(in crate::receive) fn access_token(
        &self,
        client: &str,
        (tenant, syncs): (&str, &BTreeSet<String>),
        life: Duration,
    ) -> Result<Secret> {
        let now = self.now();
        let claims = Access {
            iss: self.audience.clone(),
            aud: SERVICE.to_owned(),
            sub: client.to_owned(),
            iat: now,
            exp: now.saturating_add_unsigned(life.as_secs()),
            tenant_id: tenant.to_owned(),
            syncs: syncs.clone(),
        };
        self.tokens.sign(&Header::of_key(&self.audience), &claims)
    }

    /// Returns what a bearer token says, if it is one of this authority's and still valid.
    pub(in crate::receive) fn access(&self, token: &str) -> Option<Access> {
        let access: Access = Unverified::parse(token)?.verify(self.tokens.public_key())?;
        access
            .is_valid(&self.audience, self.now())
            .then_some(access)
    }

    /// Signs a certificate for the key of a request. Of the request nothing but its key counts.
    ///
    /// # Errors
    ///
    /// What is wrong with the request.
    pub(in crate::receive) fn issue(
        &self,
        csr: &str,
        client: &str,
        tenant: &str,
        life: Duration,
    ) -> Result<Issued, &'static str> {
        const NO_REQUEST: &str = "the certificate request is none, or its signature is wrong";
        let request = CertificateSigningRequestParams::from_pem(csr).map_err(|_| NO_REQUEST)?;
        if *request.public_key.algorithm() != PKCS_ECDSA_P256_SHA256 {
            return Err("the certificate request is for a key of another curve than P-256");
        }
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        name.push(DnType::OrganizationName, tenant);
        name.push(DnType::CommonName, client);
        params.distinguished_name = name;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let not_after = valid(&mut params, self.now(), life);
        let signed = params
            .signed_by(&request.public_key, &self.issuer)
            .map_err(|_| NO_REQUEST)?;
        Ok(Issued {
            pem: signed.pem(),
            thumbprint: thumbprint(signed.der()),
            public_key: BASE64_URL.encode(request.public_key.der_bytes()),
            not_after,
        })
    }
}

impl Kept {
    fn new(clock: &dyn Clock) -> Result<Self> {
        let key = KeyPair::generate().map_err(unexpected)?;
        let token_key = KeyPair::generate().map_err(unexpected)?;
        let id = new_id()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, format!("DataSync {id}"));
        params.distinguished_name = name;
        valid(&mut params, seconds(clock), OWN_LIFE);
        let certificate = params.self_signed(&key).map_err(unexpected)?;
        Ok(Self {
            id,
            key: key.serialize_pem(),
            certificate: certificate.pem(),
            token_key: token_key.serialize_pem(),
        })
    }
}

/// Sets from when and until when a certificate is valid, and returns the latter.
fn valid(params: &mut CertificateParams, now: i64, life: Duration) -> i64 {
    let now = Duration::from_secs(now.max(0).unsigned_abs());
    let start = std::time::UNIX_EPOCH + now.saturating_sub(BEFORE);
    let end = std::time::UNIX_EPOCH + (now + life);
    params.not_before = start.into();
    params.not_after = end.into();
    params.not_after.unix_timestamp()
}

fn seconds(clock: &dyn Clock) -> i64 {
    clock.now().ticks().div_euclid(10_000_000)
}

fn unexpected(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unexpected, "keys and certificates can't be made").with_source(error)
}

/// Without the keys.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.audience)
    }
}
