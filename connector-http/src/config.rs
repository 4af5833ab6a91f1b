//! What a person sets about the way to a source.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use bytesize::ByteSize;
use connector_core::{Error, ErrorKind, Result, Secret};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use serde::{Deserialize, Deserializer, de};
use url::Url;

use crate::{client, thumbprint::Thumbprint};

/// Says how a source is reached over HTTP. In configuration files the table `http` of a connector,
/// `[connector.NAME.http]`.
///
/// ```
/// use connector_http::HttpConfig;
///
/// let mut config = HttpConfig::default();
/// config.ca_file = Some("acme-authority.pem".into());
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HttpConfig {
    /// Whether a proxy is used, and which. Default: [`Proxy::Direct`].
    pub proxy: Proxy,

    /// A file of certificates (PEM) that are trusted besides those of the system: that of a private
    /// authority, of a proxy that opens TLS, or a server's own one. Default: none.
    pub ca_file: Option<PathBuf>,

    /// The SHA-256 thumbprint of the host's certificate, as its administrators see it:
    /// `"5A:0D:…"`. The host is then known by that certificate and by nothing else: neither
    /// authority, name nor dates are looked at. Default: none.
    pub thumbprint: Option<Thumbprint>,

    /// The certificate that the source knows this program by, for mutual TLS. Default: none.
    pub client_certificate: Option<ClientCertificate>,

    /// How long to wait. Default: [`HttpTimeouts::default`].
    pub timeouts: HttpTimeouts,

    /// How often and how long to try. Default: [`RetryConfig::default`].
    pub retry: RetryConfig,

    /// How large a page may be, decompressed. Default: `64 MiB`.
    pub largest_page: ByteSize,

    /// How large a download may be, as it is sent. Default: `16 GiB`.
    pub largest_download: ByteSize,
}

impl HttpConfig {
    /// Makes paths that are relative begin at a folder.
    pub fn relative_to(&mut self, folder: &Path) {
        if let Some(file) = &mut self.ca_file {
            *file = folder.join(&file);
        }
        if let Some(own) = &mut self.client_certificate {
            own.certificate = folder.join(&own.certificate);
        }
    }

    /// Makes the configuration of TLS that `ca_file`, `thumbprint` and `client_certificate` ask for,
    /// for whoever speaks something else than HTTP over it. Reads files: it blocks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when a file can't be read, or does not hold what it should.
    pub fn tls(&self) -> Result<rustls::ClientConfig> {
        client::tls(self)
    }

    /// Finds what is wrong whatever the source is.
    pub(crate) fn check(&self) -> Result<()> {
        if self.thumbprint.is_some() && self.ca_file.is_some() {
            let message =
                "a host is known either by its `thumbprint` or by an authority in `ca_file`";
            return Err(Error::new(ErrorKind::Config, message));
        }
        if self.retry.attempts == 0 {
            let message = "`retry.attempts` is 1 at least: the first try counts";
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(())
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            proxy: Proxy::default(),
            ca_file: None,
            thumbprint: None,
            client_certificate: None,
            timeouts: HttpTimeouts::default(),
            retry: RetryConfig::default(),
            largest_page: ByteSize::mib(64),
            largest_download: ByteSize::gib(16),
        }
    }
}

/// Whether a proxy is used, and which.
///
/// This machine itself and `169.254.0.0/16`, where a virtual machine asks for its identity, are
/// always reached directly.
#[derive(Debug, Clone, Default)]
pub enum Proxy {
    /// `"direct"`: none.
    #[default]
    Direct,
    /// `"environment"`: that of the environment variable `HTTPS_PROXY` (for `http:`, of
    /// `HTTP_PROXY`), but not for the hosts in `NO_PROXY`. Names in lower case are read too.
    Environment,
    /// This one: its address, or a table.
    Server(ProxyServer),
}

/// A proxy.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyServer {
    /// Its address: `http://proxy.acme.local:8080`.
    pub url: Url,
    /// The user, where it wants one. Default: none.
    #[serde(default)]
    pub user: Option<String>,
    /// The user's password. Default: none.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Hosts that are reached directly, with those below them: `acme.local`, `10.0.0.0/8`.
    /// Default: none.
    #[serde(default)]
    pub except: Vec<String>,
}

impl<'de> Deserialize<'de> for Proxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Proxy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"direct\", \"environment\", the address of a proxy, or a table")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Proxy, E> {
                match text {
                    "direct" => Ok(Proxy::Direct),
                    "environment" => Ok(Proxy::Environment),
                    // An address may hold a password, so it is not repeated.
                    _ => ProxyServer::at(text).map(Proxy::Server).map_err(E::custom),
                }
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Proxy, A::Error> {
                let server = ProxyServer::deserialize(de::value::MapAccessDeserializer::new(map))?;
                server
                    .checked()
                    .map(Proxy::Server)
                    .map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl ProxyServer {
    /// Reads the address of a proxy, with `http:` in front or without.
    pub(crate) fn at(text: &str) -> Result<Self, &'static str> {
        let full = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let url = Url::parse(&full).map_err(|_| "the address of the proxy is none")?;
        let server = Self {
            url,
            user: None,
            password: None,
            except: Vec::new(),
        };
        server.checked()
    }

    fn checked(self) -> Result<Self, &'static str> {
        if !matches!(self.url.scheme(), "http" | "https") || !self.url.has_host() {
            return Err("the address of a proxy begins with `http://` or `https://`");
        }
        if !self.url.username().is_empty() || self.url.password().is_some() {
            return Err("a proxy's user and password are the settings `user` and `password`");
        }
        if self.user.is_some() != self.password.is_some() {
            return Err("a proxy's `user` and `password` belong together");
        }
        Ok(self)
    }
}

/// A certificate with its private key, both as PEM.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificate {
    /// The file of the certificate, followed by those that lead to its authority, if any.
    pub certificate: PathBuf,
    /// The private key without a password, PKCS #8 or PKCS #1: best as `{ file = "key.pem" }`.
    pub key: Secret,
}

impl ClientCertificate {
    /// Reads the certificates, the own one first.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when the file can't be read or holds none.
    pub(crate) fn chain(&self) -> Result<Vec<CertificateDer<'static>>> {
        certificates("certificate", &self.certificate)
    }

    /// Reads the private key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when there is none, or it has a password.
    pub(crate) fn key(&self) -> Result<PrivateKeyDer<'static>> {
        let pem = self.key.expose();
        let wrong = |message: &str| Err(Error::new(ErrorKind::Config, message));
        if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
            return wrong(
                "the private key in `key` has a password, which is not asked for: write it \
                 without one (openssl pkcs8 -in key.pem -topk8 -nocrypt), readable by nobody else",
            );
        }
        // The parser's error would show the line that it does not understand.
        PrivateKeyDer::from_pem_slice(pem.as_bytes()).or_else(|_| {
            wrong("`key` is not a private key in PEM form (-----BEGIN PRIVATE KEY-----)")
        })
    }
}

/// Reads the certificates of a file that a setting names.
pub(crate) fn certificates(
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>> {
    let wrong =
        |message: &str| Error::new(ErrorKind::Config, message).with(setting, path.display());
    let read = match CertificateDer::pem_file_iter(path) {
        Ok(read) => read.collect::<Result<Vec<_>, _>>(),
        Err(error) => Err(error),
    };
    match read {
        Ok(read) if !read.is_empty() => Ok(read),
        Ok(_) => Err(wrong("the file holds no certificate in PEM form")),
        Err(pem::Error::Io(error)) => {
            Err(wrong("the file of certificates can't be read").with_source(error))
        }
        // The parser's error would show what stands there, which may be a private key.
        Err(_) => Err(wrong("the file of certificates is not in PEM form")),
    }
}

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpTimeouts {
    /// For a connection, with TLS. Default: `15s`.
    #[serde(deserialize_with = "span")]
    pub connect: Duration,
    /// For the next byte: of the reply's start, and of everything after it. Default: `2m`.
    #[serde(deserialize_with = "span")]
    pub idle: Duration,
    /// For a request with its whole reply; downloads take as long as they take. Default: `10m`.
    #[serde(deserialize_with = "span")]
    pub request: Duration,
}

impl Default for HttpTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            idle: Duration::from_mins(2),
            request: Duration::from_mins(10),
        }
    }
}

/// How often and how long to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// How often a request is sent at most, the first time included. Default: 20.
    pub attempts: u32,
    /// How long all of that may take, waits included. A source that asks for a longer wait is not
    /// asked again. Default: `15m`.
    #[serde(deserialize_with = "span")]
    pub elapsed: Duration,
    /// The longest pause before the second attempt where the source names none; it doubles with
    /// each attempt, up to `3m`, and a random part of it is waited. Default: `3s`.
    #[serde(deserialize_with = "span")]
    pub pause: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            attempts: 20,
            elapsed: Duration::from_mins(15),
            pause: Duration::from_secs(3),
        }
    }
}

fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    match humantime::parse_duration(&text) {
        Ok(span) if !span.is_zero() => Ok(span),
        Ok(_) => Err(de::Error::custom("more than no time is needed")),
        Err(_) => Err(de::Error::custom(
            "not a duration such as \"30s\" or \"1h 30m\"",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<HttpConfig, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn reads_every_setting() {
        let config = parse(
            r#"
            proxy = { url = "http://proxy:8080", user = "u", password = "canary", except = ["acme.local"] }
            ca_file = "ca.pem"
            client_certificate = { certificate = "own.pem", key = "canary" }
            timeouts = { connect = "5s", idle = "1m", request = "3m" }
            retry = { attempts = 3, elapsed = "1h", pause = "1s" }
            largest_page = "8 MiB"
            largest_download = "2 GiB"
            "#,
        );
        let mut config = config.unwrap();
        config.check().unwrap();
        assert_eq!(config.largest_page, ByteSize::mib(8));
        assert_eq!(config.timeouts.request, Duration::from_mins(3));
        assert_eq!(config.retry.attempts, 3);
        config.relative_to(Path::new("/etc"));
        assert_eq!(config.ca_file.as_deref(), Some(Path::new("/etc/ca.pem")));
        assert!(!format!("{config:?}").contains("canary"));
    }

    #[test]
    fn a_proxy_has_four_forms() {
        let proxy = |text: &str| parse(&format!("proxy = {text}")).map(|config| config.proxy);
        assert!(matches!(proxy("'direct'"), Ok(Proxy::Direct)));
        assert!(matches!(proxy("'environment'"), Ok(Proxy::Environment)));
        assert!(matches!(
            proxy("'proxy.acme.local:8080'"),
            Ok(Proxy::Server(_))
        ));
        assert!(matches!(
            proxy("{ url = 'https://proxy' }"),
            Ok(Proxy::Server(_))
        ));
        for (wrong, reason) in [
            ("'http://u:canary@proxy'", "settings `user` and `password`"),
            ("'socks5://proxy'", "begins with `http://`"),
            ("'canary proxy'", "address of the proxy"),
            ("{ url = 'http://proxy', user = 'u' }", "belong together"),
            ("{ url = 'http://proxy', port = 1 }", "unknown field `port`"),
        ] {
            let error = proxy(wrong).unwrap_err();
            // What follows the first line is the file's own text.
            let message = error.message();
            assert!(
                message.contains(reason) && !message.contains("canary"),
                "{message}"
            );
        }
    }

    #[test]
    fn refuses_wrong_settings() {
        for (text, reason) in [
            ("colour = 1", "unknown field `colour`"),
            ("retry = { pause = '0s' }", "more than no time"),
            ("timeouts = { idle = 'soon' }", "not a duration"),
            ("thumbprint = 'AB:CD'", "SHA-256"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let config = parse("retry = { attempts = 0 }").unwrap();
        assert!(config.check().unwrap_err().message().contains("attempts"));
        let both = format!("ca_file = 'ca.pem'\nthumbprint = '{}'", "0f".repeat(32));
        let error = parse(&both).unwrap().check().unwrap_err();
        assert!(
            error.message().contains("either by its `thumbprint`"),
            "{error}"
        );
    }

    #[test]
    fn what_a_file_of_keys_holds_is_not_shown() {
        let wrong = ClientCertificate {
            certificate: concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into(),
            key: Secret::new("-----BEGIN PRIVATE KEY-----\ncanary!\n-----END PRIVATE KEY-----"),
        };
        let error = wrong.key().unwrap_err();
        assert!(!format!("{error:#}").contains("canary"), "{error:#}");
        assert!(
            wrong
                .chain()
                .unwrap_err()
                .to_string()
                .contains("Cargo.toml")
        );
        let locked = ClientCertificate {
            key: Secret::new("-----BEGIN ENCRYPTED PRIVATE KEY-----"),
            ..wrong
        };
        assert!(locked.key().unwrap_err().message().contains("-nocrypt"));
    }
}
