//! Certificates made for one test: right and wrong names, expired, self-signed, name in CN only.

use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};

/// A certificate and its private key, as a server of a test presents them.
///
/// ```
/// use connector_testkit::{Authority, Certificate};
///
/// let authority = Authority::new();
/// let right = authority.issue(&["localhost", "127.0.0.1"]);
/// let wrong_name = authority.issue(&["other.example"]);
/// let own = Certificate::self_signed(&["localhost"]);
/// assert!(right.pem().starts_with("-----BEGIN CERTIFICATE-----"));
/// # drop((wrong_name, own));
/// ```
#[derive(Clone)]
pub struct Certificate {
    pem: String,
    der: Vec<u8>,
    key_pem: String,
    key_der: Vec<u8>,
}

impl Certificate {
    /// Makes a certificate that no authority has signed, as SQL Server makes one at each start
    /// when it was given none.
    ///
    /// # Panics
    ///
    /// When a name is not ASCII.
    pub fn self_signed(names: &[&str]) -> Self {
        let key = new_key();
        let signed = server_params(names).self_signed(&key);
        Self::of(&signed.expect("names of a test are valid"), &key)
    }

    /// Returns the certificate as PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Returns the certificate as DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the private key as PEM, for a client that presents the certificate.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    pub(crate) fn key_der(&self) -> &[u8] {
        &self.key_der
    }

    fn of(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        Self {
            pem: certificate.pem(),
            der: certificate.der().to_vec(),
            key_pem: key.serialize_pem(),
            key_der: key.serialize_der(),
        }
    }
}

/// Without the key.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("pem", &self.pem)
            .finish_non_exhaustive()
    }
}

/// A certificate authority that lives as long as a test.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// Makes an authority with a key of its own.
    ///
    /// # Panics
    ///
    /// When the system has no random numbers.
    #[expect(clippy::new_without_default, reason = "no two are the same")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = named("An authority of a test");
        let issuer = CertifiedIssuer::self_signed(params, new_key());
        Self(issuer.expect("parameters without names are valid"))
    }

    /// Returns the authority's certificate as PEM: what a client is told to trust.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate for host names and addresses.
    pub fn issue(&self, names: &[&str]) -> Certificate {
        self.sign(&server_params(names))
    }

    /// Issues a certificate that was valid in 2019.
    pub fn issue_expired(&self, names: &[&str]) -> Certificate {
        let mut params = server_params(names);
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2019, 12, 31);
        self.sign(&params)
    }

    /// Issues a certificate that a client presents.
    pub fn issue_client(&self, name: &str) -> Certificate {
        let mut params = server_params(&[name]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    /// Issues a certificate whose name stands in the subject's common name alone, as many that
    /// were made for SQL Server do; `rustls` accepts none of them.
    pub fn issue_common_name_only(&self, name: &str) -> Certificate {
        let mut params = server_params(&[]);
        params.distinguished_name = named(name);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Certificate {
        let key = new_key();
        let signed = params.signed_by(&key, &self.0);
        Certificate::of(&signed.expect("names of a test are valid"), &key)
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("the system has random numbers")
}

fn server_params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names of a test are valid");
    params.distinguished_name = named("A server of a test");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}
