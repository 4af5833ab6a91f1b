//! What a person sets about an upload.

use std::path::{Path, PathBuf};

use connector_core::{Result, Secret};
use connector_http::{ClientCertificate, HttpConfig};
use serde::Deserialize;
use url::Url;

use crate::config::Section;

/// A table `[sink.NAME]` of the kind `upload`, with absolute paths.
#[derive(Debug, Clone)]
pub(crate) struct UploadSettings {
    pub(crate) service: Url,
    pub(crate) proof: Proof,
    pub(crate) http: HttpConfig,
    /// Where key and certificate are kept.
    pub(crate) identity: PathBuf,
}

/// How the sender proves who it is.
#[derive(Debug, Clone)]
pub(crate) enum Proof {
    /// By the certificate that the auth service gave it for the setup token.
    Enrolled { auth: Url, token: Option<Secret> },
    /// By a certificate of its own, to TLS.
    Certificate,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    data_sync_api_url: Url,
    auth_service_url: Option<Url>,
    client_cert_token: Option<Secret>,
    client_cert: Option<PathBuf>,
    client_key: Option<Secret>,
    #[serde(default)]
    http: HttpConfig,
}

impl UploadSettings {
    /// Reads the table; relative paths begin at `folder`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](connector_core::ErrorKind::Config) naming the setting.
    pub(crate) fn read(section: Section, folder: &Path) -> Result<Self> {
        let whole = section.clone();
        let form: Form = section.read()?;
        for (name, url) in [
            ("data_sync_api_url", Some(&form.data_sync_api_url)),
            ("auth_service_url", form.auth_service_url.as_ref()),
        ] {
            let fits = |url: &Url| matches!(url.scheme(), "https" | "http") && url.has_host();
            if !url.is_none_or(fits) {
                return Err(whole.wrong(name, "not an address that begins with `https://`"));
            }
        }
        let mut http = form.http;
        http.relative_to(folder);
        let proof = match (form.auth_service_url, form.client_cert, form.client_key) {
            (Some(auth), None, None) => Proof::Enrolled {
                auth,
                token: form.client_cert_token,
            },
            (None, Some(certificate), Some(key)) if form.client_cert_token.is_none() => {
                http.client_certificate = Some(ClientCertificate {
                    certificate: folder.join(certificate),
                    key,
                });
                Proof::Certificate
            }
            (None, None, None) if http.client_certificate.is_some() => Proof::Certificate,
            _ => {
                return Err(whole.wrong(
                    "auth_service_url",
                    "a sender proves itself either by `auth_service_url` and \
                     `client_cert_token`, or by `client_cert` and `client_key`",
                ));
            }
        };
        Ok(Self {
            service: form.data_sync_api_url,
            proof,
            http,
            identity: folder.join("identity"),
        })
    }
}
