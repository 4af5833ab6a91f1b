//! The seam to the driver: everything else in this crate knows only the types of this module.

mod cell;
mod channel;
mod session;
mod shape;
mod text;
mod tls;
mod token;
mod wire;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use connector_core::{Error, ErrorKind, Result};
use futures::future::select_ok;
use rustls::pki_types::ServerName as TlsName;
use tiberius::{AuthMethod, Client};
use tokio::net::{TcpStream, lookup_host};
use tracing::{Dispatch, instrument::WithSubscriber};

pub(crate) use cell::Reading;
pub(crate) use session::{Record, ResultColumn, Rows, Session};
pub(crate) use token::Done;
pub(crate) use wire::OpenError;

use crate::{
    browser::{self, BrowserError},
    config::{Authentication, SqlServerConfig},
    server::DEFAULT_PORT,
};
use channel::Channel;

/// What goes wrong below SQL.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriverError {
    #[error("{0}")]
    Server(ServerError),
    #[error("the name of the server is not known")]
    Resolve(#[source] io::Error),
    #[error("no connection to the server")]
    Connect(#[source] io::Error),
    #[error("no port for the instance")]
    Browser(#[from] BrowserError),
    #[error("no connection to SQL Server")]
    Open(#[from] OpenError),
    #[error("the connection ended")]
    Ended(String),
    #[error("the bytes are not what the protocol says: {0}")]
    Protocol(String),
    #[error("the way to sign in failed: {0}")]
    SignIn(String),
    #[error("the server sends everybody to another one, which does the same")]
    Redirected,
}

/// An error that the server itself reported.
#[derive(Debug)]
pub(crate) struct ServerError {
    pub(crate) number: u32,
    pub(crate) class: u8,
    pub(crate) state: u8,
    pub(crate) message: String,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            state,
            message,
            ..
        } = self;
        write!(f, "error {number}, state {state}: {message}")
    }
}

impl From<tiberius::error::Error> for DriverError {
    fn from(error: tiberius::error::Error) -> Self {
        use tiberius::error::Error as E;
        match error {
            E::Server(error) => Self::Server(ServerError {
                number: error.code(),
                class: error.class(),
                state: error.state(),
                message: error.message().to_owned(),
            }),
            E::Io { message, .. } => Self::Ended(message),
            E::Protocol(message) => Self::Protocol(message.into_owned()),
            other => Self::SignIn(other.to_string()),
        }
    }
}

/// A server and how to get into it.
pub(crate) struct Target {
    config: SqlServerConfig,
    tls: Arc<rustls::ClientConfig>,
    name: TlsName<'static>,
    browser_port: u16,
    no_snapshots: AtomicBool,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.config.server)
    }
}

impl Target {
    /// Prepares everything that does not need the server. Reads the files of certificates.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`].
    pub(crate) fn new(config: SqlServerConfig) -> Result<Self> {
        config.check()?;
        method(&config.auth)?;
        let name = config.host_name_in_certificate.as_deref();
        let name = name.unwrap_or(config.server.host());
        let name = TlsName::try_from(name.to_owned()).map_err(|error| {
            Error::new(
                ErrorKind::Config,
                "the server's name can't be that of a certificate: set `host_name_in_certificate`",
            )
            .with("server", &config.server)
            .with_source(error)
        })?;
        if config.trust_any_certificate_even_a_forged_one {
            tracing::warn!(
                "{}: any certificate is trusted, even a forged one; somebody in between can read \
                 everything",
                config.server
            );
        }
        Ok(Self {
            tls: tls::client(&config)?,
            name,
            config,
            browser_port: browser::PORT,
            no_snapshots: AtomicBool::new(false),
        })
    }

    pub(crate) fn config(&self) -> &SqlServerConfig {
        &self.config
    }

    /// Notes that the server refused a snapshot that its catalogue had promised.
    pub(crate) fn refuse_snapshots(&self) {
        if !self.no_snapshots.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "{}: the server refuses snapshots, which its catalogue allows (error 3952): from \
                 now on it is read without",
                self.config.server
            );
        }
    }

    pub(crate) fn refuses_snapshots(&self) -> bool {
        self.no_snapshots.load(Ordering::Relaxed)
    }

    /// Finds the host's addresses and the port.
    async fn addresses(&self) -> Result<(Vec<SocketAddr>, u16), DriverError> {
        let server = &self.config.server;
        let port = server.port().unwrap_or(DEFAULT_PORT);
        let resolve = async |port| -> Result<Vec<SocketAddr>, DriverError> {
            let found = lookup_host((server.host(), port)).await;
            Ok(found.map_err(DriverError::Resolve)?.collect())
        };
        let Some(instance) = server.unknown_port() else {
            return Ok((resolve(port).await?, port));
        };
        let addresses = resolve(self.browser_port).await?;
        let port = browser::lookup(&addresses, instance).await?;
        let addresses = addresses.into_iter();
        Ok((
            addresses
                .map(|address| SocketAddr::new(address.ip(), port))
                .collect(),
            port,
        ))
    }

    /// Connects and signs in.
    pub(crate) async fn connect(&self) -> Result<Session, DriverError> {
        let (addresses, port) = self.addresses().await?;
        match self
            .login(&addresses, self.config.server.host(), port)
            .await?
        {
            Login::Done(session) => Ok(*session),
            // Azure SQL names another host once; whose certificate it has stays the same.
            Login::Redirected { host, port } => {
                let found = lookup_host((host.as_str(), port)).await;
                let addresses: Vec<_> = found.map_err(DriverError::Resolve)?.collect();
                match self.login(&addresses, &host, port).await? {
                    Login::Done(session) => Ok(*session),
                    Login::Redirected { .. } => Err(DriverError::Redirected),
                }
            }
        }
    }

    async fn login(
        &self,
        addresses: &[SocketAddr],
        host: &str,
        port: u16,
    ) -> Result<Login, DriverError> {
        // A listener over several subnets has addresses of which one answers.
        let tries = addresses
            .iter()
            .map(|address| Box::pin(TcpStream::connect(*address)));
        let tries: Vec<_> = tries.collect();
        if tries.is_empty() {
            let nowhere = io::Error::from(io::ErrorKind::NotFound);
            return Err(DriverError::Resolve(nowhere));
        }
        let (tcp, _) = select_ok(tries).await.map_err(DriverError::Connect)?;
        tcp.set_nodelay(true).map_err(DriverError::Connect)?;
        let config = &self.config;
        let fed_auth = matches!(config.auth, Authentication::Entra { .. });
        let (tls, name) = (Arc::clone(&self.tls), self.name.clone());
        let wire = wire::open(tcp, config.encrypt, fed_auth, tls, name).await?;
        let mut login = tiberius::Config::new();
        login.host(host);
        login.port(port);
        login.database(&config.database);
        login.application_name(&config.application_name);
        login.packet_size(config.packet_size);
        login.readonly(config.read_only_intent);
        login.encryption(tiberius::EncryptionLevel::NotSupported);
        // Time is measured by those who call.
        login.handshake_timeout(None);
        login.command_timeout(None);
        let method =
            method(&config.auth).map_err(|error| DriverError::SignIn(error.to_string()))?;
        login.authentication(method);
        // Signing in takes far more room than anything after it.
        match Box::pin(unheard(Client::connect(login, wire.clone()))).await {
            Ok(_) => {
                let (transport, reply) = wire.take();
                let channel = Channel::new(transport, &reply);
                let session = Session::new(channel, config.replace_half_surrogates);
                Ok(Login::Done(Box::new(session)))
            }
            Err(tiberius::error::Error::Routing { host, port }) => {
                Ok(Login::Redirected { host, port })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Keeps to itself what the driver logs: errors that are expected here, and that nothing is
/// encrypted, of which it knows nothing.
fn unheard<F: Future>(driver: F) -> impl Future<Output = F::Output> {
    driver.with_subscriber(Dispatch::none())
}

/// What was wrong with TLS, where it was TLS and not the network.
pub(crate) fn tls_explained(cause: &io::Error) -> Option<String> {
    let inner = cause.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(tls::Explained(inner).to_string())
}

enum Login {
    Done(Box<Session>),
    Redirected { host: String, port: u16 },
}

/// Turns what is configured into the driver's way to sign in, if this build has it.
fn method(auth: &Authentication) -> Result<AuthMethod> {
    #[cfg(not(all(any(windows, feature = "kerberos"), any(windows, feature = "ntlm"))))]
    let lacking = |method: &str, feature: &str| {
        Err(Error::new(
            ErrorKind::Config,
            format!(
                "`auth.method = \"{method}\"` needs this program to be built with the feature \
                 `{feature}`, or to run on Windows; `sql` and `entra` always work"
            ),
        ))
    };
    match auth {
        Authentication::Sql { user, password } => {
            Ok(AuthMethod::sql_server(user, password.expose()))
        }
        Authentication::Entra { token } => Ok(AuthMethod::aad_token(token.expose())),
        #[cfg(any(windows, feature = "kerberos"))]
        Authentication::Windows => Ok(AuthMethod::Integrated),
        #[cfg(not(any(windows, feature = "kerberos")))]
        Authentication::Windows => lacking("windows", "kerberos"),
        #[cfg(any(windows, feature = "ntlm"))]
        Authentication::Ntlm { user, password } => Ok(AuthMethod::windows(user, password.expose())),
        #[cfg(not(any(windows, feature = "ntlm")))]
        Authentication::Ntlm { .. } => lacking("ntlm", "ntlm"),
    }
}

#[cfg(test)]
mod tests;
