//! The receiver as a server.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Extension, Router};
use connector_core::{Clock, Error, ErrorKind, FileStorage, Result, Storage};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use super::{
    auth::{Authority, Registry},
    limit::RateLimit,
    routes::routes,
    settings::ReceiveSettings,
    tenant::Tenant,
    tls,
};
use crate::{sink::blocking::blocking, stop::Stop, upload::jwt::thumbprint};

/// How many connections are open at once; further ones wait. Each may hold a batch in memory.
const CONNECTIONS: usize = 64;

/// For how long a connection may say nothing before TLS stands, or before a request's headers are
/// here.
const PATIENCE: Duration = Duration::from_secs(30);

/// For how long requests on their way may go on after somebody asked to stop.
const LAST: Duration = Duration::from_secs(20);

/// How many requests a second the auth service answers, of all clients together.
const AUTH_RATE: u32 = 20;

/// Everything that is open while batches are received.
pub(super) struct Receiver {
    pub(super) settings: ReceiveSettings,
    pub(super) authority: Authority,
    pub(super) registry: Mutex<Registry>,
    pub(super) auth_limit: RateLimit,
    tenants: BTreeMap<String, Arc<Tenant>>,
    /// Keeps other processes out of the state folder.
    _lock: Box<dyn Send + Sync>,
}

/// The certificate that a connection's client presented, as DER; it is one of an authority's that
/// the receiver knows.
#[derive(Debug, Clone)]
pub(super) struct Peer(pub(super) Option<Arc<[u8]>>);

/// A receiver that listens.
pub(crate) struct Server {
    receiver: Arc<Receiver>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Receiver {
    async fn open(settings: ReceiveSettings, clock: Arc<dyn Clock>) -> Result<Self> {
        let state = settings.state.clone();
        let (storage, lock, authority, registry) = blocking(move || {
            let storage: Arc<dyn Storage> = Arc::new(FileStorage::new(&state));
            let holder = format!("datasync receive, process {}", std::process::id());
            let lock = storage.lock(&holder).map_err(|error| {
                Error::new(
                    ErrorKind::Storage,
                    "the receiver's state folder can't be used",
                )
                .with("path", state.display())
                .with_source(error)
            })?;
            let auth = state.join("auth");
            let authority = Authority::open(&auth, clock)?;
            Ok((storage, lock, authority, Registry::open(&auth)?))
        })
        .await?;
        let limits = (settings.spool, settings.largest_batch, settings.rate);
        let (mut tenants, mut places) = (BTreeMap::new(), BTreeMap::new());
        for tenant in &settings.tenants {
            let opened = Tenant::open(tenant.clone(), &storage, limits).await;
            let opened = opened.map_err(|error| error.with("tenant", &tenant.name))?;
            if let Some(other) = places.insert(opened.repository().await, &tenant.name) {
                // However the settings spell it.
                let message = "receive.tenant.sink: another tenant's records are there";
                return Err(Error::new(ErrorKind::Config, message)
                    .with("tenant", &tenant.name)
                    .with("other tenant", other));
            }
            tenants.insert(tenant.name.clone(), Arc::new(opened));
        }
        Ok(Self {
            settings,
            authority,
            registry: Mutex::new(registry),
            auth_limit: RateLimit::new(AUTH_RATE),
            tenants,
            _lock: lock,
        })
    }

    /// Finds a tenant by its name.
    pub(super) fn tenant(&self, name: &str) -> Option<&Arc<Tenant>> {
        self.tenants.get(name)
    }

    /// Finds the tenant and the syncs that a client's certificate stands for: one that was issued
    /// here, or one whose name the configuration has.
    pub(super) fn client_of(&self, certificate: &[u8]) -> Option<(String, BTreeSet<String>)> {
        let now = self.authority.now();
        {
            let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
            let own = registry.by_certificate(&thumbprint(certificate), now);
            if let Some(client) = own {
                return Some((client.tenant.clone(), client.syncs.clone()));
            }
        }
        // One of this authority's that is not in the registry is nobody's, whatever its name.
        if tls::is_issued_by(certificate, self.authority.certificate()) {
            return None;
        }
        let names = tls::names(certificate);
        self.tenants.values().find_map(|tenant| {
            let mut clients = tenant.settings.clients.iter();
            let (_, syncs) =
                clients.find(|(name, _)| names.iter().any(|own| own.eq_ignore_ascii_case(name)))?;
            Some((tenant.settings.name.clone(), syncs.clone()))
        })
    }
}

impl Server {
    /// Opens state, repositories and port.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when certificates can't be used; [`ErrorKind::Storage`] when another
    /// process has the state folder; [`ErrorKind::Sink`] of a repository;
    /// [`ErrorKind::Unavailable`] when the port is taken.
    pub(crate) async fn open(settings: ReceiveSettings, clock: Arc<dyn Clock>) -> Result<Self> {
        let receiver = Receiver::open(settings, clock).await?;
        let tls = match &receiver.settings.tls {
            None => None,
            Some(own) => {
                let (own, ca) = (own.clone(), receiver.settings.client_ca.clone());
                let authority = receiver.authority.certificate().to_vec();
                let config = blocking(move || tls::config(&own, ca.as_deref(), authority)).await?;
                Some(TlsAcceptor::from(config))
            }
        };
        let address = receiver.settings.listen;
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "can't listen: is the port taken?")
                .with("receive.listen", address)
                .with_source(error)
        })?;
        Ok(Self {
            receiver: Arc::new(receiver),
            listener,
            tls,
        })
    }

    /// Returns where it listens.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unexpected`] when the system does not say.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(|error| {
            Error::new(ErrorKind::Unexpected, "a port without an address").with_source(error)
        })
    }

    /// Serves until somebody asks to stop; requests and cycles on their way are finished then.
    pub(crate) async fn run(self, stop: &Stop) {
        let Self {
            receiver,
            listener,
            tls,
        } = self;
        if tls.is_none() && receiver.settings.clear_text {
            warn!(
                "Serving other machines in clear text: tokens and records can be read on the way \
                 unless a proxy in front has TLS"
            );
        }
        let router = routes(Arc::clone(&receiver));
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let (stopping, stopped) = watch::channel(());
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.asked() => break,
                accepted = accept(&listener, &room) => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let (stream, from, place) = accepted;
            let (router, tls, stopped) = (router.clone(), tls.clone(), stopped.clone());
            connections.spawn(async move {
                if let Err(error) = converse(stream, tls, router, stopped).await {
                    debug!("A connection of {from} ended: {error}");
                }
                drop(place);
            });
        }
        drop(listener);
        drop(stopping);
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST, ended).await.is_err() {
            connections.abort_all();
        }
        for tenant in receiver.tenants.values() {
            tenant.finish().await;
        }
        info!("Stopped");
    }
}

/// Takes the next connection, when there is room for one.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    loop {
        // Nobody closes the semaphore.
        let place = Arc::clone(room).acquire_owned().await.ok();
        match listener.accept().await {
            Ok((stream, from)) => return (stream, from, place),
            Err(error) => {
                // One that was gone already, or no files left: that passes.
                warn!("A connection was not taken: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    stopped: watch::Receiver<()>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(tls) = tls else {
        return serve(stream, Peer(None), router, stopped).await;
    };
    let shaken = tokio::time::timeout(PATIENCE, tls.accept(stream)).await;
    let stream = shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let certificates = stream.get_ref().1.peer_certificates();
    let own = certificates.and_then(|chain| chain.first());
    let peer = Peer(own.map(|certificate| Arc::from(certificate.as_ref())));
    serve(stream, peer, router, stopped).await
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: Peer,
    router: Router,
    mut stopped: watch::Receiver<()>,
) -> io::Result<()> {
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = &mut connection => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended.map_err(io::Error::other)
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("tenants", &self.receiver.tenants)
            .finish_non_exhaustive()
    }
}
