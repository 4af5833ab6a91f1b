//! The seam to the driver: everything else in this crate knows only the types of this module.

mod cell;
mod tls;
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
use futures::{StreamExt, future::select_ok};
use rustls::pki_types::ServerName as TlsName;
use tiberius::{AuthMethod, Client, ColumnData, ColumnType, QueryItem, QueryStream};
use tokio::net::{TcpStream, lookup_host};
use tracing::{Dispatch, instrument::WithSubscriber};

pub(crate) use cell::Reading;
pub(crate) use wire::{Done, OpenError};

use crate::{
    browser::{self, BrowserError},
    config::{Authentication, SqlServerConfig},
    server::DEFAULT_PORT,
    types::SqlType,
};
use wire::{Ends, Wire};

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
    #[error("text is in a code page that the driver can't read")]
    Encoding,
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
            E::Encoding(_) | E::Utf8 | E::Utf16 => Self::Encoding,
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
        self.no_snapshots.store(true, Ordering::Relaxed);
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
        let (wire, ends) = wire::open(tcp, config.encrypt, fed_auth, tls, name).await?;
        let mut login = tiberius::Config::new();
        login.host(host);
        login.port(port);
        login.database(&config.database);
        login.application_name(&config.application_name);
        login.packet_size(config.packet_size);
        login.readonly(config.read_only_intent);
        // Old inventory holds half surrogate pairs; each becomes U+FFFD, always the same.
        login.lossy_utf16_decoding(true);
        login.encryption(tiberius::EncryptionLevel::NotSupported);
        // Time is measured by those who call.
        login.handshake_timeout(None);
        login.command_timeout(None);
        let method =
            method(&config.auth).map_err(|error| DriverError::SignIn(error.to_string()))?;
        login.authentication(method);
        match unheard(Client::connect(login, wire)).await {
            Ok(client) => Ok(Login::Done(Box::new(Session { client, ends }))),
            Err(tiberius::error::Error::Routing { host, port }) => {
                Ok(Login::Redirected { host, port })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Keeps to itself what the driver logs: values of rows, errors that are expected here, and that
/// nothing is encrypted, of which it knows nothing.
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

/// One connection. Dropping it closes it, and so stops whatever the server is doing for it.
pub(crate) struct Session {
    client: Client<Wire>,
    ends: Arc<Ends>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

impl Session {
    /// Sends statements; the reply is read from what comes back.
    pub(crate) async fn start(&mut self, sql: &str) -> Result<Rows<'_>, DriverError> {
        let mut stream = unheard(self.client.simple_query(sql.to_owned())).await?;
        let columns = unheard(stream.columns()).await?.unwrap_or_default();
        let columns = columns
            .iter()
            .map(|column| ResultColumn {
                name: column.name().to_owned(),
                ty: sql_type(column.column_type()),
            })
            .collect();
        Ok(Rows {
            stream,
            ends: Arc::clone(&self.ends),
            columns,
        })
    }
}

/// A column of a result, as far as the driver tells: without length, precision and scale.
#[derive(Debug, Clone)]
pub(crate) struct ResultColumn {
    pub(crate) name: String,
    pub(crate) ty: SqlType,
}

/// The reply to statements.
pub(crate) struct Rows<'a> {
    stream: QueryStream<'a>,
    ends: Arc<Ends>,
    columns: Vec<ResultColumn>,
}

impl Rows<'_> {
    pub(crate) fn columns(&self) -> &[ResultColumn] {
        &self.columns
    }

    /// Returns the next row, or none when the reply is over, however it ended.
    pub(crate) async fn next(&mut self) -> Result<Option<Record>, DriverError> {
        while let Some(item) = unheard(self.stream.next()).await {
            if let QueryItem::Row(row) = item? {
                return Ok(Some(Record(row)));
            }
        }
        Ok(None)
    }

    /// After the last row: how the reply ended, if it did and without an error.
    pub(crate) fn done(&self) -> Option<Done> {
        self.ends.done()
    }
}

/// One row of a reply.
pub(crate) struct Record(tiberius::Row);

impl Record {
    pub(crate) fn int(&self, place: usize) -> Option<i64> {
        match self.0.get_column_data(place).ok()? {
            ColumnData::Bit(v) => v.map(i64::from),
            ColumnData::U8(v) => v.map(i64::from),
            ColumnData::I16(v) => v.map(i64::from),
            ColumnData::I32(v) => v.map(i64::from),
            ColumnData::I64(v) => *v,
            ColumnData::Numeric(v) => v
                .filter(|v| v.scale() == 0)
                .and_then(|v| v.value().try_into().ok()),
            _ => None,
        }
    }

    pub(crate) fn text(&self, place: usize) -> Option<&str> {
        match self.0.get_column_data(place).ok()? {
            ColumnData::String(v) => v.as_deref(),
            _ => None,
        }
    }

    /// The cell as a literal of the server's language, for bounds of ranges.
    pub(crate) fn literal(&self, place: usize) -> Option<String> {
        match self.0.get_column_data(place).ok()? {
            ColumnData::String(v) => v.as_deref().map(crate::name::text_literal),
            ColumnData::Guid(v) => v.map(|v| format!("'{v}'")),
            _ => self.int(place).map(|v| v.to_string()),
        }
    }
}

/// What the driver tells of a type.
fn sql_type(ty: ColumnType) -> SqlType {
    match ty {
        ColumnType::Bit | ColumnType::Bitn => SqlType::Bit,
        // `Null` is a null that nobody gave a type, which the server sends as an integer.
        ColumnType::Null | ColumnType::Int1 | ColumnType::Int2 | ColumnType::Int4 => {
            SqlType::Int { bits: 32 }
        }
        ColumnType::Int8 | ColumnType::Intn => SqlType::Int { bits: 64 },
        ColumnType::Float4 | ColumnType::Float8 | ColumnType::Floatn => SqlType::Float,
        ColumnType::Money | ColumnType::Money4 => SqlType::Money,
        ColumnType::Decimaln | ColumnType::Numericn => SqlType::Decimal { digits: None },
        ColumnType::Datetime
        | ColumnType::Datetime4
        | ColumnType::Datetimen
        | ColumnType::Datetime2 => SqlType::DateTime,
        ColumnType::Daten => SqlType::Date,
        ColumnType::Timen => SqlType::Time,
        ColumnType::DatetimeOffsetn => SqlType::DateTimeOffset,
        ColumnType::Guid => SqlType::Uuid,
        ColumnType::BigVarBin | ColumnType::BigBinary | ColumnType::Image => {
            SqlType::Binary { length: None }
        }
        ColumnType::BigChar | ColumnType::BigVarChar | ColumnType::Text => SqlType::Text {
            wide: false,
            padded: ty == ColumnType::BigChar,
            length: None,
        },
        ColumnType::NVarchar | ColumnType::NChar | ColumnType::NText => SqlType::Text {
            wide: true,
            padded: ty == ColumnType::NChar,
            length: None,
        },
        ColumnType::Xml => SqlType::Xml,
        ColumnType::Udt => SqlType::Other("a CLR type"),
        ColumnType::SSVariant => SqlType::Other("sql_variant"),
    }
}
