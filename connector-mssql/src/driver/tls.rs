//! TLS with rustls and its `ring` provider.
//!
//! The driver's own TLS is bound to another provider of cryptography, so it is not compiled in; see
//! [`super::wire`] for how its place is taken.

use std::{fmt, sync::Arc};

use connector_core::{Error, ErrorKind, Result};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use crate::config::{Encryption, SqlServerConfig};

/// What TDS 8.0 is called where protocols are negotiated.
const TDS8: &[u8] = b"tds/8.0";

/// Makes the configuration of TLS that a server's settings ask for. Reads files, so it blocks.
///
/// # Errors
///
/// [`ErrorKind::Config`] when the file of certificates can't be read or holds none.
pub(crate) fn client(config: &SqlServerConfig) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = if config.trust_any_certificate_even_a_forged_one {
        Arc::new(Anything(Arc::clone(&provider)))
    } else {
        trusted(config, &provider)?
    };
    let unusable = |error: rustls::Error| {
        Error::new(ErrorKind::Unexpected, "TLS can't be set up").with_source(error)
    };
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = if config.encrypt == Encryption::LoginOnly {
        // Where TLS ends after the login, nothing may be left in it: TLS 1.3 sends tickets later.
        builder.with_protocol_versions(&[&rustls::version::TLS12])
    } else {
        builder.with_safe_default_protocol_versions()
    };
    let mut client = builder
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    if config.encrypt == Encryption::Strict {
        client.alpn_protocols = vec![TDS8.to_vec()];
    }
    Ok(Arc::new(client))
}

fn trusted(
    config: &SqlServerConfig,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>> {
    let mut roots = RootCertStore::empty();
    // A store without a single certificate is no error: a file may be all that is needed.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let mut pinned = Vec::new();
    if let Some(path) = &config.ca_file {
        let wrong = |message: &str| {
            Error::new(ErrorKind::Config, message.to_owned()).with("ca_file", path.display())
        };
        let read = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| wrong("the file of certificates can't be read").with_source(error))?;
        if read.is_empty() {
            return Err(wrong("the file holds no certificate in PEM form"));
        }
        roots.add_parsable_certificates(read.iter().cloned());
        pinned = read;
    }
    let chain = if roots.is_empty() {
        None
    } else {
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build()
                .map_err(|error| {
                    Error::new(ErrorKind::Config, "no certificate is trusted").with_source(error)
                })?;
        Some(verifier)
    };
    Ok(Arc::new(Trusted {
        chain,
        pinned,
        provider: Arc::clone(provider),
    }))
}

/// Takes a certificate that a trusted one vouches for, or one that is itself in the file: a server
/// that made its own certificate, or whose certificate has no alternative name, can be pinned.
#[derive(Debug)]
struct Trusted {
    chain: Option<Arc<WebPkiServerVerifier>>,
    pinned: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pinned.iter().any(|pinned| pinned == certificate) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.chain {
            Some(chain) => chain.verify_server_cert(certificate, others, name, ocsp, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Takes any certificate whose owner can show to have its key.
#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Says what is wrong with a server's TLS, and what to set.
pub(crate) struct Explained<'a>(pub(crate) &'a rustls::Error);

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            rustls::Error::InvalidCertificate(error) => certificate(error, f),
            rustls::Error::PeerIncompatible(_) | rustls::Error::AlertReceived(_) => f.write_str(
                "the server and this program have no version of TLS in common: a server older than \
                 2016 without its updates knows only TLS 1.0, which is no longer safe: update it",
            ),
            rustls::Error::InvalidMessage(_) => f.write_str(
                "what answered does not speak TLS here: the port may be another service's, or \
                 `encrypt = \"strict\"` is set and the server is older than 2022",
            ),
            _ => f.write_str("TLS could not be set up"),
        }
    }
}

fn certificate(error: &CertificateError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            write!(
                f,
                "the server's certificate is not for {}",
                expected.to_str()
            )?;
            if presented.is_empty() {
                return f.write_str(
                    " and has no alternative name at all: have it made anew with the server's \
                     name as one, or put the certificate itself into `ca_file`",
                );
            }
            write!(
                f,
                " but for {}: use one of these names in `server`, or set \
                 `host_name_in_certificate`",
                presented.join(", ")
            )
        }
        CertificateError::UnknownIssuer => f.write_str(
            "nobody who is trusted vouches for the server's certificate: put the certificate of \
             the authority that made it, or the server's own, into `ca_file`",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            f.write_str("the server's certificate has expired")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            f.write_str("the server's certificate is not valid yet; is the clock here right?")
        }
        _ => f.write_str(
            "the server's certificate can't be used: have it made anew, or put the certificate \
             itself into `ca_file`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explain(error: CertificateError) -> String {
        Explained(&rustls::Error::InvalidCertificate(error)).to_string()
    }

    #[test]
    fn a_wrong_name_is_told_with_the_right_ones() {
        let expected = ServerName::try_from("cm01").unwrap();
        let wrong = |presented: &[&str]| CertificateError::NotValidForNameContext {
            expected: expected.clone(),
            presented: presented.iter().map(|&name| name.to_owned()).collect(),
        };
        let text = explain(wrong(&["cm01.acme.local", "*.acme.local"]));
        assert!(text.contains("not for cm01 but for cm01.acme.local, *.acme.local"));
        assert!(text.contains("host_name_in_certificate"));
        assert!(explain(wrong(&[])).contains("no alternative name"));
        assert!(explain(CertificateError::UnknownIssuer).contains("ca_file"));
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let mut config = SqlServerConfig::<()>::new("a".parse().unwrap(), "b");
        config.ca_file = Some(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into());
        let error = client(&config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("Cargo.toml"), "{error}");
        config.ca_file = Some("/nowhere.pem".into());
        assert!(client(&config).unwrap_err().to_string().contains("nowhere"));
    }
}
