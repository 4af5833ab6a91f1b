//! A connection to the server, made anew when it was lost.

use std::{fmt, future::Future, time::Duration};

use connector_core::{Error, ErrorKind, Result, Retry};
use tokio::{runtime::Handle, time::timeout};
use tokio_postgres::{Client, NoTls, types::ToSql};

use super::{
    catalog,
    config::{Place, PostgresConfig, PostgresTls},
    error::failed,
    tls::Tls,
};
use crate::sink::repository::quote;

/// How long reaching the server and signing in may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// After so long without a sign the server is asked for one, three times.
const SILENCE: Duration = Duration::from_secs(30);
/// A transaction that is given no work for so long is ended by the server, with its locks.
const IDLE: Duration = Duration::from_mins(10);

/// The oldest version with all that is used.
const OLDEST: i32 = 130_000;

/// A connection, used where blocking is allowed.
pub(super) struct Session {
    runtime: Handle,
    place: Place,
    tls: Option<Tls>,
    settings: String,
    /// Not quoted.
    pub(super) schema: String,
    client: Client,
    pub(super) id: String,
}

impl Session {
    /// Reaches the server, and makes the schema and the repository's own tables if need be, or else
    /// returns none.
    pub(super) fn open(
        runtime: Handle,
        config: &PostgresConfig,
        make: bool,
    ) -> Result<Option<Self>> {
        let mut place = config.place()?;
        place
            .server
            .application_name("datasync")
            .connect_timeout(PATIENCE)
            .keepalives_idle(SILENCE)
            .keepalives_interval(SILENCE / 3)
            .keepalives_retries(3)
            .tcp_user_timeout(2 * SILENCE);
        let tls = match place.sslmode {
            PostgresTls::Disable => None,
            PostgresTls::VerifyFull if config.trust_any_certificate_even_a_forged_one => {
                tracing::warn!("Any certificate is taken for that of the repository at {place}");
                Some(Tls::unverified()?)
            }
            PostgresTls::VerifyFull => Some(Tls::verified(config.ca_file.as_deref())?),
        };
        let settings = format!(
            "SET lock_timeout = {}; SET statement_timeout = {};
             SET idle_in_transaction_session_timeout = {};
             -- What a client holds that is cut off is given up after a minute.
             SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10;
             SET tcp_keepalives_count = 3;
             SET client_min_messages = error; SET jit = off;
             -- What was committed is on disk, whatever the server does by default.
             SELECT set_config('synchronous_commit', 'on', false)
                 WHERE current_setting('synchronous_commit') = 'off'",
            config.lock_timeout.as_millis(),
            config.statement_timeout.as_millis(),
            IDLE.as_millis(),
        );
        let client = runtime.block_on(connect(&place, tls.as_ref(), &settings))?;
        let mut session = Self {
            runtime,
            place,
            tls,
            settings,
            schema: config.schema.clone(),
            client,
            id: String::new(),
        };
        Ok(catalog::open(&session, make)?.map(|id| {
            session.id = id;
            session
        }))
    }

    /// Sees to it that the server answers, and reaches it again if it does not.
    pub(super) fn ensure(&mut self) -> Result<()> {
        if self.wait(self.client.check_connection()).is_ok() {
            return Ok(());
        }
        tracing::info!("Connecting again to the repository at {}", self.place);
        let connecting = connect(&self.place, self.tls.as_ref(), &self.settings);
        self.client = self.runtime.block_on(connecting)?;
        if let Some(id) = catalog::open(self, true)? {
            self.id = id;
        }
        Ok(())
    }

    /// Waits for the server.
    pub(super) fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(answer)
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns a table of the schema as SQL names it.
    pub(super) fn table(&self, name: &str) -> String {
        format!("{}.{}", quote(&self.schema), quote(name))
    }

    /// Runs statements, of which nothing is returned.
    pub(super) fn run(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.wait(self.client.batch_execute(sql))
    }

    /// Runs one statement and returns how many rows it was about.
    pub(super) fn execute(
        &self,
        sql: &str,
        with: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, tokio_postgres::Error> {
        self.wait(self.client.execute(sql, with))
    }

    /// Returns the one row that a query finds, if it finds one.
    pub(super) fn row(
        &self,
        sql: &str,
        with: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<tokio_postgres::Row>, tokio_postgres::Error> {
        self.wait(self.client.query_opt(sql, with))
    }
}

/// Where it is, with the schema.
impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, schema {}", self.place, self.schema)
    }
}

async fn connect(place: &Place, tls: Option<&Tls>, settings: &str) -> Result<Client> {
    let connecting = async {
        let client = if let Some(tls) = tls {
            let (client, connection) = place.server.connect(tls.clone()).await?;
            tokio::spawn(serve(connection));
            client
        } else {
            let (client, connection) = place.server.connect(NoTls).await?;
            tokio::spawn(serve(connection));
            client
        };
        client.batch_execute(settings).await?;
        let server = "SELECT current_setting('server_version_num')::int4,
                      current_setting('server_encoding')";
        let server = client.query_one(server, &[]).await?;
        Ok((client, server.try_get(0)?, server.try_get(1)?))
    };
    let late = |_| {
        let message = "the server does not answer";
        Error::new(ErrorKind::Sink, message).with_retry(Retry::Backoff)
    };
    let connected: Result<(Client, i32, String), tokio_postgres::Error> =
        timeout(PATIENCE, connecting).await.map_err(late)?;
    let (client, version, encoding) = connected.map_err(unreachable)?;
    let refused = |message: &str| Err(Error::new(ErrorKind::Sink, message));
    if version < OLDEST {
        return refused("the server is older than PostgreSQL 13");
    }
    if encoding != "UTF8" {
        return refused(
            "the database can't hold every text: make one with `CREATE DATABASE … ENCODING 'UTF8' \
             TEMPLATE template0`",
        );
    }
    Ok(client)
}

/// Carries a connection until it ends. What ends it is said only here: who waits for an answer hears
/// that there is none.
async fn serve(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    if let Err(error) = connection.await {
        let error = failed(error, "The connection to a repository ended");
        tracing::info!("{error:#}");
    }
}

fn unreachable(error: tokio_postgres::Error) -> Error {
    // The parts of this library's errors can't be told apart but by their text.
    let mut said = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        said = format!("{said}{error};");
        cause = error.source();
    }
    if said.contains("does not support TLS") {
        return failed(
            error,
            "the server takes no encrypted connections: have it do so (`ssl = on`), or set \
             `sslmode = \"disable\"` where nobody else is on the network",
        );
    }
    if said.contains("certificate") {
        return failed(
            error,
            "the server's certificate is not trusted: name its authority in `ca_file`, and the \
             server as its certificate does",
        );
    }
    failed(error, "can't connect to the server")
}
