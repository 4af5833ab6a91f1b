//! The server: how it listens, and what it saw.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{connection, reply::HttpReply, request::HttpRequest};
use crate::certificate::Certificate;

/// How a server speaks TLS.
#[derive(Debug, Clone)]
pub struct ServerTls {
    certificate: Certificate,
    clients: Option<String>,
}

impl ServerTls {
    /// Presents a certificate.
    pub fn new(certificate: Certificate) -> Self {
        Self {
            certificate,
            clients: None,
        }
    }

    /// Wants one of each client, from the authority with this certificate (PEM).
    #[must_use]
    pub fn clients_of(mut self, authority_pem: &str) -> Self {
        self.clients = Some(authority_pem.to_owned());
        self
    }

    fn acceptor(&self) -> TlsAcceptor {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("ring knows the versions of TLS");
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                let authority = CertificateDer::from_pem_slice(pem.as_bytes());
                roots
                    .add(authority.expect("the authority is PEM"))
                    .expect("the authority is one");
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                    .build()
                    .expect("there is an authority");
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivatePkcs8KeyDer::from(self.certificate.key_der().to_vec());
        let own = CertificateDer::from(self.certificate.der().to_vec());
        let config = builder
            .with_single_cert(vec![own], PrivateKeyDer::from(key))
            .expect("the key is the certificate's");
        TlsAcceptor::from(Arc::new(config))
    }
}

type Handler = dyn Fn(&HttpRequest) -> HttpReply + Send + Sync;

pub(super) struct Shared {
    handler: Box<Handler>,
    /// Where a proxy leads, whatever it is asked for.
    pub(super) tunnel: Option<SocketAddr>,
    seen: watch::Sender<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: Vec<HttpRequest>,
    connections: usize,
}

impl Shared {
    pub(super) fn answer(&self, request: &HttpRequest) -> HttpReply {
        // Recorded first: a reply may be what a test waits for.
        self.seen
            .send_modify(|seen| seen.requests.push(request.clone()));
        (self.handler)(request)
    }
}

/// A server that speaks HTTP/1.1 on a port of 127.0.0.1, and answers as a function says.
///
/// The server and its connections end when this is dropped.
///
/// ```no_run
/// # async fn test() {
/// use connector_testkit::http::{HttpReply, HttpServer};
///
/// let graph = HttpServer::start(|request| match request.path() {
///     "/v1.0/users" => HttpReply::json(r#"{"value":[]}"#),
///     _ => HttpReply::status(404),
/// })
/// .await;
/// let address = graph.url("/v1.0/users");
/// # drop(address);
/// # }
/// ```
pub struct HttpServer {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl HttpServer {
    /// Listens in clear text.
    ///
    /// # Panics
    ///
    /// When 127.0.0.1 has no free port.
    pub async fn start(
        handler: impl Fn(&HttpRequest) -> HttpReply + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Box::new(handler), None, None).await
    }

    /// Listens with TLS.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start), and when certificate and key are not a pair.
    pub async fn start_tls(
        tls: &ServerTls,
        handler: impl Fn(&HttpRequest) -> HttpReply + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Box::new(handler), Some(tls.acceptor()), None).await
    }

    /// Listens as a proxy that leads to one server, whatever host it is asked for. A request to join
    /// a host (`CONNECT`) is joined when the function answers it with status 200; any other is
    /// answered by the function.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub async fn start_proxy(
        to: &Self,
        handler: impl Fn(&HttpRequest) -> HttpReply + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Box::new(handler), None, Some(to.address)).await
    }

    async fn listen(
        handler: Box<Handler>,
        tls: Option<TlsAcceptor>,
        tunnel: Option<SocketAddr>,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("127.0.0.1 has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            handler,
            tunnel,
            seen: watch::Sender::new(Seen::default()),
        });
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, tls, Arc::clone(&shared)));
        Self {
            address,
            scheme,
            shared,
            _tasks: tasks,
        }
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the address of a path, at `localhost`.
    pub fn url(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.port())
    }

    /// Returns the requests that arrived, in order.
    pub fn requests(&self) -> Vec<HttpRequest> {
        self.shared.seen.borrow().requests.clone()
    }

    /// Returns how many connections were opened since the start.
    pub fn connections(&self) -> usize {
        self.shared.seen.borrow().connections
    }

    /// Returns once so many requests have arrived.
    pub async fn requested(&self, times: usize) {
        let mut seen = self.shared.seen.subscribe();
        // The sender lives as long as this server.
        let _ = seen.wait_for(|seen| seen.requests.len() >= times).await;
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // Connections end with the server.
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let mut number = 0;
        shared.seen.send_modify(|seen| {
            seen.connections += 1;
            number = seen.connections;
        });
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            // A client that leaves is the test's business.
            let _: io::Result<()> = serve(tcp, tls, number, &shared).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(
    tcp: TcpStream,
    tls: Option<TlsAcceptor>,
    number: usize,
    shared: &Shared,
) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let Some(tls) = tls else {
        return connection::serve(tcp, number, None, shared).await;
    };
    let stream = tls.accept(tcp).await?;
    let presented = stream.get_ref().1.peer_certificates();
    let client = presented.and_then(|chain| Some(chain.first()?.to_vec()));
    connection::serve(stream, number, client, shared).await
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpServer({}://{})", self.scheme, self.address)
    }
}
