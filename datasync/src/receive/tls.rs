//! TLS of the receiver, and what certificates of clients say.

use std::{path::Path, sync::Arc};

use connector_core::{Error, ErrorKind, Result};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    prelude::{FromDer, X509Certificate},
};

use super::settings::TlsSettings;

/// Makes what a server needs. A client need not have a certificate; one that it has is of the own
/// authority or of one in the file. Blocks.
///
/// # Errors
///
/// [`ErrorKind::Config`] naming the setting.
pub(super) fn config(
    own: &TlsSettings,
    client_ca: Option<&Path>,
    authority: Vec<u8>,
) -> Result<Arc<ServerConfig>> {
    let mut roots = RootCertStore::empty();
    let unusable = |setting: &'static str, error: rustls::Error| {
        let message = format!("{setting}: the certificate or its key can't be used");
        Error::new(ErrorKind::Config, message).with_source(error)
    };
    let add = |roots: &mut RootCertStore, certificate| {
        let added = roots.add(certificate);
        added.map_err(|error| unusable("receive.client_ca", error))
    };
    add(&mut roots, CertificateDer::from(authority))?;
    if let Some(path) = client_ca {
        for certificate in certificates("receive.client_ca", path)? {
            add(&mut roots, certificate)?;
        }
    }
    let provider = Arc::new(ring::default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Config, "receive.client_ca: can't be used").with_source(error)
            })?;
    let chain = certificates("receive.tls.certificate", &own.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(own.key.expose().as_bytes()).map_err(|_| {
        // The parser's error would show what stands there.
        let message = "receive.tls.key: not a private key in PEM form without a password";
        Error::new(ErrorKind::Config, message)
    })?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("receive.tls", error))?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(|error| unusable("receive.tls", error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let wrong = |what: &str| {
        Error::new(ErrorKind::Config, format!("{setting}: {what}")).with("file", path.display())
    };
    let bytes =
        std::fs::read(path).map_err(|error| wrong("the file can't be read").with_source(error))?;
    // The parser's error would show what stands there, which may be a private key.
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match read {
        Ok(read) if !read.is_empty() => Ok(read),
        _ => Err(wrong("the file holds no certificate in PEM form")),
    }
}

/// Returns the names of a client's certificate: those of hosts among its alternative names, or
/// where it has none, the subject's common name.
pub(super) fn names(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let mut names = Vec::new();
    for extension in certificate.extensions() {
        if let ParsedExtension::SubjectAlternativeName(alternative) = extension.parsed_extension() {
            names.extend(
                alternative
                    .general_names
                    .iter()
                    .filter_map(|name| match name {
                        GeneralName::DNSName(name) => Some((*name).to_owned()),
                        _ => None,
                    }),
            );
        }
    }
    if names.is_empty() {
        let common = certificate.subject().iter_common_name();
        names.extend(common.filter_map(|name| name.as_str().ok().map(str::to_owned)));
    }
    names
}

/// Tells whether a certificate names an authority as its issuer.
pub(super) fn is_issued_by(certificate: &[u8], authority: &[u8]) -> bool {
    let (Ok((_, certificate)), Ok((_, authority))) = (
        X509Certificate::from_der(certificate),
        X509Certificate::from_der(authority),
    ) else {
        return false;
    };
    certificate.issuer() == authority.subject()
}
