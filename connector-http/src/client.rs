//! The transport that has a network under it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use connector_core::{Error, ErrorKind, Result, Retry, Secret};
use futures::stream;
use http::{HeaderName, HeaderValue};
use rustls::{CertificateError, ClientConfig, RootCertStore, crypto::ring};
use url::Url;
use uuid::Uuid;

use crate::{
    config::{HttpConfig, HttpTimeouts, Proxy, ProxyServer, certificates},
    thumbprint::Pinned,
    transport::{Body, Receive, Request, Response, Transport, shown},
};

/// What is never reached through a proxy: this machine, and where a virtual machine asks for its
/// identity.
const ALWAYS_DIRECT: &str = "localhost,127.0.0.0/8,::1,169.254.0.0/16";

/// Sends requests over HTTP/1.1, with TLS where the address says so.
///
/// It follows no redirect and keeps no cookie: what happens is what was asked for.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    timeouts: HttpTimeouts,
    request_id: Option<HeaderName>,
    random: Mutex<fastrand::Rng>,
}

impl Client {
    /// Reads files, so it blocks.
    pub(crate) fn new(
        config: &HttpConfig,
        request_id: Option<&'static str>,
        seed: u64,
    ) -> Result<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the client that others use"
        )]
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(config)?)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(concat!("DataSync/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(config.timeouts.connect)
            .read_timeout(config.timeouts.idle)
            // Shorter than what servers and firewalls in between close silently.
            .pool_idle_timeout(Duration::from_secs(50))
            // Without this, reqwest reads the environment.
            .no_proxy();
        for proxy in proxies(&config.proxy)? {
            builder = builder.proxy(proxy);
        }
        let http = builder.build().map_err(|error| {
            Error::new(ErrorKind::Config, "HTTP can't be set up").with_source(error)
        })?;
        Ok(Self {
            http,
            timeouts: config.timeouts,
            request_id: request_id.map(HeaderName::from_static),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
        })
    }

    fn new_id(&self) -> Uuid {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        uuid::Builder::from_random_bytes(random.u128(..).to_le_bytes()).into_uuid()
    }
}

#[async_trait]
impl Transport for Client {
    async fn send(&self, request: Request) -> Result<Response> {
        let url = shown(&request.url);
        let may_repeat = request.idempotent;
        let mut builder = self
            .http
            .request(request.method, request.url)
            .headers(request.headers);
        if let Some(name) = &self.request_id
            && let Ok(id) = HeaderValue::try_from(self.new_id().to_string())
        {
            builder = builder.header(name, id);
        }
        if !request.body.is_empty() {
            builder = builder.body(request.body);
        }
        if request.receive == Receive::Whole {
            builder = builder.timeout(self.timeouts.request);
        }
        let reply = builder.send().await.map_err(|error| {
            let sent = !error.is_connect() && !error.is_builder();
            let explained = explain(error, &self.timeouts).with("url", &url);
            if sent && !may_repeat {
                explained.with_retry(Retry::Never)
            } else {
                explained
            }
        })?;
        let mut response = Response::new(reply.status(), reply.url().clone(), Body::from(""));
        response.headers.clone_from(reply.headers());
        let timeouts = self.timeouts;
        response.body = Body::new(stream::try_unfold(reply, move |mut reply| {
            let url = url.clone();
            async move {
                match reply.chunk().await {
                    Ok(chunk) => Ok(chunk.map(|chunk| (chunk, reply))),
                    Err(error) => Err(cut(error, &timeouts).with("url", url)),
                }
            }
        }));
        Ok(response)
    }
}

fn proxies(proxy: &Proxy) -> Result<Vec<reqwest::Proxy>> {
    match proxy {
        Proxy::Direct => Ok(Vec::new()),
        Proxy::Server(server) => Ok(vec![leading_to(reqwest::Proxy::all, server)?]),
        Proxy::Environment => {
            let except = from_environment("NO_PROXY");
            let mut proxies = Vec::new();
            for (name, of) in [
                ("HTTPS_PROXY", reqwest::Proxy::https as fn(Url) -> _),
                ("HTTP_PROXY", reqwest::Proxy::http),
            ] {
                let Some(address) = from_environment(name) else {
                    continue;
                };
                let mut server = environment_proxy(&address).map_err(|message| {
                    Error::new(ErrorKind::Config, message).with("environment", name)
                })?;
                server.except.extend(except.clone());
                proxies.push(leading_to(of, &server)?);
            }
            Ok(proxies)
        }
    }
}

fn leading_to(
    of: fn(Url) -> reqwest::Result<reqwest::Proxy>,
    server: &ProxyServer,
) -> Result<reqwest::Proxy> {
    let mut proxy = of(server.url.clone()).map_err(|error| {
        let error = error.without_url();
        Error::new(ErrorKind::Config, "the proxy can't be used").with_source(error)
    })?;
    if let (Some(user), Some(password)) = (&server.user, &server.password) {
        proxy = proxy.basic_auth(user, password.expose());
    }
    let except = server.except.iter().map(String::as_str);
    let except = except.chain([ALWAYS_DIRECT]).collect::<Vec<_>>().join(",");
    Ok(proxy.no_proxy(reqwest::NoProxy::from_string(&except)))
}

/// Splits `http://user:password@proxy:8080`, which is how the environment has it.
fn environment_proxy(address: &str) -> Result<ProxyServer, &'static str> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
    let Some((user, host)) = rest.rsplit_once('@') else {
        return ProxyServer::at(address);
    };
    let decoded = |text: &str| {
        // A form's rules but for these, which stand for themselves here.
        let text = text
            .replace('+', "%2B")
            .replace('=', "%3D")
            .replace('&', "%26");
        url::form_urlencoded::parse(text.as_bytes())
            .next()
            .map_or_else(String::new, |(name, _)| name.into_owned())
    };
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let mut server = ProxyServer::at(&format!("{scheme}://{host}"))?;
    server.user = Some(decoded(user));
    server.password = Some(Secret::new(decoded(password)));
    Ok(server)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the setting `proxy` says to read the environment"
)]
fn from_environment(name: &str) -> Option<String> {
    let either = std::env::var(name).or_else(|_| std::env::var(name.to_lowercase()));
    either.ok().filter(|text| !text.is_empty())
}

/// Makes the configuration of TLS that the settings ask for.
pub(crate) fn tls(config: &HttpConfig) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    // A system without certificates is no error: a file may be all that is needed.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = &config.ca_file {
        for certificate in certificates("ca_file", path)? {
            roots.add(certificate).map_err(|error| {
                Error::new(ErrorKind::Config, "a certificate of the file can't be used")
                    .with("ca_file", path.display())
                    .with_source(error)
            })?;
        }
    }
    let unusable = |error: rustls::Error| {
        Error::new(ErrorKind::Unexpected, "TLS can't be set up").with_source(error)
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match &config.thumbprint {
        None => builder.with_root_certificates(roots),
        Some(thumbprint) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned::new(*thumbprint, provider))),
    };
    match &config.client_certificate {
        None => Ok(builder.with_no_client_auth()),
        Some(own) => builder
            .with_client_auth_cert(own.chain()?, own.key()?)
            .map_err(|error| {
                Error::new(
                    ErrorKind::Config,
                    "the private key and the certificate in `client_certificate` do not belong \
                     together, or their kind is not known",
                )
                .with("certificate", own.certificate.display())
                .with_source(error)
            }),
    }
}

fn cause<T: std::error::Error + 'static>(error: &reqwest::Error) -> Option<&T> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        // An error of TLS travels inside one of input and output, which does not count it as its
        // cause.
        if let Some(inner) = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
        {
            if let Some(found) = inner.downcast_ref::<T>() {
                return Some(found);
            }
            cause = Some(inner);
            continue;
        }
        cause = error.source();
    }
    None
}

/// Says why a request got no reply.
fn explain(error: reqwest::Error, timeouts: &HttpTimeouts) -> Error {
    let error = error.without_url();
    let (kind, why) = if let Some(tls) = cause::<rustls::Error>(&error) {
        explain_tls(tls)
    } else if error.is_connect() && error.is_timeout() {
        let message = format!("no connection within {:?}", timeouts.connect);
        (ErrorKind::Unavailable, message)
    } else if error.is_timeout() {
        let message = format!(
            "no reply in time: {:?} for the next byte, {:?} for everything (`http.timeouts`)",
            timeouts.idle, timeouts.request
        );
        (ErrorKind::Unavailable, message)
    } else if error.is_builder() {
        (ErrorKind::Config, "the address can't be asked".to_owned())
    } else if error.is_dns() {
        let message = "the name of the host is not known; is the address right, and does DNS know \
                       it? Or set `http.proxy`";
        (ErrorKind::Unavailable, message.to_owned())
    } else if error.is_connect() {
        let message = "no connection: the host may be down, a firewall in between, or a proxy \
                       needed (`http.proxy`)";
        (ErrorKind::Unavailable, message.to_owned())
    } else {
        (
            ErrorKind::Unavailable,
            "the connection ended before the reply".to_owned(),
        )
    };
    Error::new(kind, why).with_source(error)
}

/// Says why a body ended too early.
fn cut(error: reqwest::Error, timeouts: &HttpTimeouts) -> Error {
    let error = error.without_url();
    let why = if error.is_timeout() {
        format!(
            "the reply was cut: nothing more came within {:?}, or not everything within {:?}",
            timeouts.idle, timeouts.request
        )
    } else if error.is_decode() {
        "the reply was cut, or its compression is damaged".to_owned()
    } else {
        "the reply was cut: the connection ended".to_owned()
    };
    Error::new(ErrorKind::Incomplete, why)
        .with_retry(Retry::Backoff)
        .with_source(error)
}

fn explain_tls(error: &rustls::Error) -> (ErrorKind, String) {
    use CertificateError as C;
    let why = match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            C::UnknownIssuer => {
                "the host's certificate comes from an authority that is not trusted: put that \
                 authority's certificate into a file and set `http.ca_file`. It may be that of a \
                 proxy that opens TLS"
            }
            C::NotValidForName | C::NotValidForNameContext { .. } => {
                "the host's certificate is for another name: use the name that it has, or have one \
                 made for this name"
            }
            C::Expired | C::ExpiredContext { .. } => {
                "the host's certificate has expired; or this machine's clock is wrong"
            }
            C::NotValidYet | C::NotValidYetContext { .. } => {
                "the host's certificate is not valid yet; is this machine's clock right?"
            }
            C::Revoked => "the host's certificate was revoked",
            C::ApplicationVerificationFailure => {
                "the host's certificate is not the one of `http.thumbprint`: if it was renewed, ask \
                 who runs the host for the new thumbprint; if not, something else answers in its place"
            }
            _ => "the host's certificate can't be accepted",
        },
        rustls::Error::AlertReceived(alert) => {
            return (
                ErrorKind::Config,
                format!(
                    "the host broke TLS off ({alert:?}): it may want a certificate \
                     (`http.client_certificate`), or another one than it got"
                ),
            );
        }
        rustls::Error::PeerIncompatible(_) => {
            "the host and this program have no version of TLS in common: it needs TLS 1.2 at least"
        }
        rustls::Error::InvalidMessage(_) => {
            "what answered does not speak TLS: is the port right, and `https:` meant?"
        }
        _ => "TLS could not be set up",
    };
    (ErrorKind::Config, why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_of_the_environment_may_have_a_password() {
        let server = environment_proxy("http://u%40acme:p%3A+w=&@proxy:8080").unwrap();
        assert_eq!(server.url.as_str(), "http://proxy:8080/");
        assert_eq!(server.user.as_deref(), Some("u@acme"));
        assert_eq!(server.password.unwrap().expose(), "p:+w=&");
        let server = environment_proxy("proxy:3128").unwrap();
        assert_eq!((server.url.port(), server.user), (Some(3128), None));
    }
}
