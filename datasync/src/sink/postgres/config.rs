//! How a PostgreSQL repository is reached.

use std::{fmt, path::PathBuf, time::Duration};

use connector_core::{Error, ErrorKind, Result, Secret};
use serde::{Deserialize, Deserializer, de};
use tokio_postgres::config::{Host, SslMode};

/// How a repository in a PostgreSQL database is reached, as `[sink.NAME]` says it with
/// `kind = "postgres"`.
///
/// Either `url`, or `host`, `database` and `user`; the password may stand by itself in both cases.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PostgresConfig {
    /// `postgresql://user:password@host:port/database`, or `host=… user=…`. It may hold a password,
    /// so it is a secret. Several hosts are tried in order. Default: none.
    pub url: Option<Secret>,
    /// The server's name or address, or the folder of its Unix socket. Default: none.
    pub host: Option<String>,
    /// Where it listens. Default: 5432.
    pub port: Option<u16>,
    /// The database, which exists. Default: none.
    pub database: Option<String>,
    /// The role that signs in. Default: none.
    pub user: Option<String>,
    /// Its password. Default: that of `url`; none where the server asks for none.
    pub password: Option<Secret>,
    /// The schema that the tables are in. It is made when it is missing, if the role may. Default:
    /// `public`.
    pub schema: String,
    /// Whether the connection is encrypted. Default: [`PostgresTls::VerifyFull`], unless the URL says
    /// `sslmode=disable` or the host is a Unix socket.
    pub sslmode: Option<PostgresTls>,
    /// A file of certificates (PEM) that are trusted besides those of the system: that of a private
    /// authority. Default: none.
    pub ca_file: Option<PathBuf>,
    /// Encrypts, and takes any certificate: whoever is in between can pretend to be the server.
    /// Default: false.
    pub trust_any_certificate_even_a_forged_one: bool,
    /// How long to wait for somebody else's lock. Default: `30s`.
    #[serde(deserialize_with = "duration")]
    pub lock_timeout: Duration,
    /// How long one statement may take. A full load is one, so this also bounds its size. Default:
    /// `6h`.
    #[serde(deserialize_with = "duration")]
    pub statement_timeout: Duration,
}

/// Whether a connection is encrypted, in the words of PostgreSQL's own clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PostgresTls {
    /// `disable`: everything is sent in clear text, the data too.
    Disable,
    /// `verify-full`, also spelled `require`: encrypted, and the server's certificate must be
    /// trusted and be of its name. PostgreSQL's own clients check nothing with `require`.
    #[serde(alias = "require")]
    VerifyFull,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            url: None,
            host: None,
            port: None,
            database: None,
            user: None,
            password: None,
            schema: "public".to_owned(),
            sslmode: None,
            ca_file: None,
            trust_any_certificate_even_a_forged_one: false,
            lock_timeout: Duration::from_secs(30),
            statement_timeout: Duration::from_hours(6),
        }
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = || de::Error::custom("not a time such as `30s` or `2h`");
    let parsed = humantime::parse_duration(&text).map_err(|_| wrong())?;
    // The server takes milliseconds, and zero for no limit.
    let fits = (1..i32::MAX.unsigned_abs().into()).contains(&parsed.as_millis());
    if fits { Ok(parsed) } else { Err(wrong()) }
}

/// Settings that were understood.
pub(super) struct Place {
    pub(super) server: tokio_postgres::Config,
    pub(super) sslmode: PostgresTls,
}

/// Without user and password.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match self.server.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(Host::Unix(folder)) => folder.display().to_string(),
            None => "localhost".to_owned(),
        };
        let port = self.server.get_ports().first().copied().unwrap_or(5432);
        let database = self.server.get_dbname().unwrap_or_default();
        write!(f, "postgresql://{host}:{port}/{database}")
    }
}

impl PostgresConfig {
    /// Takes the URL of a database; see [`PostgresConfig::url`].
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: Some(Secret::new(url)),
            ..Self::default()
        }
    }

    /// Says which setting is wrong, and how.
    pub(crate) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        self.understand().map(drop)
    }

    /// Understands the settings, or says which one is wrong.
    pub(super) fn place(&self) -> Result<Place> {
        self.understand().map_err(|(setting, message)| {
            Error::new(ErrorKind::Config, format!("{setting}: {message}"))
        })
    }

    fn understand(&self) -> Result<Place, (&'static str, &'static str)> {
        let mut server = match &self.url {
            // What the parser says could have a part of the password in it.
            Some(url) => url.expose().parse().map_err(|_| {
                (
                    "url",
                    "not of the form postgresql://user:password@host:port/database; characters \
                     such as `@`, `/` and `%` in a password are written as %40, %2F and %25, and \
                     `sslmode` may be `disable` or `require` there",
                )
            })?,
            None => tokio_postgres::Config::new(),
        };
        let parts = [
            ("host", self.host.is_some()),
            ("port", self.port.is_some()),
            ("database", self.database.is_some()),
            ("user", self.user.is_some()),
        ];
        for (name, _) in parts.into_iter().filter(|(_, set)| *set) {
            if self.url.is_some() {
                return Err((name, "`url` says it already; give one of them"));
            }
        }
        if let Some(host) = &self.host {
            server.host(host);
        }
        if let Some(port) = self.port {
            server.port(port);
        }
        if let Some(database) = &self.database {
            server.dbname(database);
        }
        if let Some(user) = &self.user {
            server.user(user);
        }
        if let Some(password) = &self.password {
            server.password(password.expose());
        }
        if server.get_hosts().is_empty() {
            return Err(("host", "the setting is missing; or give `url`"));
        }
        if server.get_dbname().is_none() {
            return Err(("database", "the setting is missing, or part of `url`"));
        }
        if server.get_user().is_none() {
            return Err(("user", "the setting is missing, or part of `url`"));
        }
        let schema = &self.schema;
        if schema.is_empty() || schema.len() > 63 || schema.contains('\0') || reserved(schema) {
            return Err(("schema", "no name that a schema can have"));
        }
        let sslmode = self.sslmode.unwrap_or_else(|| {
            let remote = |host: &Host| matches!(host, Host::Tcp(_));
            let local = !server.get_hosts().iter().any(remote);
            if local || server.get_ssl_mode() == SslMode::Disable {
                PostgresTls::Disable
            } else {
                PostgresTls::VerifyFull
            }
        });
        if sslmode == PostgresTls::Disable
            && (self.ca_file.is_some() || self.trust_any_certificate_even_a_forged_one)
        {
            return Err(("sslmode", "no certificate is looked at with `disable`"));
        }
        server.ssl_mode(match sslmode {
            PostgresTls::Disable => SslMode::Disable,
            PostgresTls::VerifyFull => SslMode::Require,
        });
        Ok(Place { server, sslmode })
    }
}

fn reserved(schema: &str) -> bool {
    schema.starts_with("pg_") || schema == "information_schema"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Place> {
        let config: PostgresConfig = toml::from_str(text)
            .map_err(|error| Error::new(ErrorKind::Config, error.message().to_owned()))?;
        config.place()
    }

    #[test]
    fn a_server_is_named_in_one_way_or_the_other() {
        for text in [
            "url = 'postgresql://me:pa%40ss@db.example:5433/inventory'",
            "host = 'db.example'\nport = 5433\ndatabase = 'inventory'\nuser = 'me'\npassword = 'pa@ss'",
            "url = 'postgresql://me@db.example:5433/inventory'\npassword = 'pa@ss'",
        ] {
            let place = read(text).unwrap();
            assert_eq!(place.to_string(), "postgresql://db.example:5433/inventory");
            assert_eq!(place.server.get_password(), Some(&b"pa@ss"[..]));
            assert_eq!(place.sslmode, PostgresTls::VerifyFull);
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_not_shown() {
        let url = "url = 'postgresql://me:S3CRET@db/x'";
        for (text, setting) in [
            ("", "host"),
            ("host = 'db'\nuser = 'me'", "database"),
            ("host = 'db'\ndatabase = 'x'", "user"),
            ("url = 'postgresql://me:S3CRET@db:x/x'", "url"),
            ("url = 'mysql://me:S3CRET@db/x'", "url"),
            ("url = 'postgresql://me:S3CRET@db/x?sslmode=S3CRET'", "url"),
            (&format!("{url}\nhost = 'db'"), "host"),
            (&format!("{url}\nschema = 'pg_x'"), "schema"),
            (
                &format!("{url}\nsslmode = 'disable'\nca_file = 'a'"),
                "sslmode",
            ),
            (&format!("{url}\nlock_timeout = '0s'"), "30s"),
        ] {
            let error = read(text).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Config);
            let shown = format!("{error:#} {error:?}");
            assert!(
                shown.contains(setting) && !shown.contains("S3CRET"),
                "{shown}"
            );
        }
        let config: PostgresConfig = toml::from_str(url).unwrap();
        assert!(!format!("{config:?}").contains("S3CRET"));
    }

    #[test]
    fn encryption_is_verified_unless_somebody_says_no() {
        let url = |end: &str| format!("url = 'postgresql://me@db/x{end}'");
        for (text, sslmode) in [
            (url(""), PostgresTls::VerifyFull),
            (url("?sslmode=require"), PostgresTls::VerifyFull),
            (url("").replace("@db", "@db1,db2"), PostgresTls::VerifyFull),
            (url("?sslmode=disable"), PostgresTls::Disable),
            (url("") + "\nsslmode = 'require'", PostgresTls::VerifyFull),
            (url("") + "\nsslmode = 'disable'", PostgresTls::Disable),
        ] {
            assert_eq!(read(&text).unwrap().sslmode, sslmode, "{text}");
        }
        #[cfg(unix)]
        {
            let socket = "host = '/run/postgresql'\ndatabase = 'x'\nuser = 'me'";
            assert_eq!(read(socket).unwrap().sslmode, PostgresTls::Disable);
        }
    }
}
