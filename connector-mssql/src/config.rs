//! What a person sets.

use std::{collections::BTreeMap, fmt, marker::PhantomData, path::PathBuf, time::Duration};

use connector_core::{
    Duplicates, Error, ErrorKind, Gone, Result, Secret, Settings, Type, unknown_setting,
};
use serde::{Deserialize, Deserializer, de};

use crate::server::{ServerName, Sources};

/// Says which SQL Server database to read, as whom and how.
///
/// `S` are the settings of a product whose connector is built on this one; see
/// [`settings!`](crate::settings). Every setting has the field's name in configuration files, but
/// for `product`, whose settings stand beside the others.
///
/// ```
/// use connector_core::Secret;
/// use connector_mssql::{Authentication, SqlServerConfig};
///
/// let mut config = SqlServerConfig::<()>::new("ACME-SQL01.acme.local\\INV".parse()?, "Inventory");
/// config.auth = Authentication::Sql {
///     user: "datasync".to_owned(),
///     password: Secret::new("s3cret"),
/// };
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone)]
pub struct SqlServerConfig<S = ()> {
    /// The server. Required, unless `sources` names it.
    pub server: ServerName,

    /// The database. Required, unless `sources` names it.
    pub database: String,

    /// As whom to sign in. Default: [`Authentication::Windows`].
    pub auth: Authentication,

    /// How the connection is encrypted. Default: [`Encryption::Required`].
    pub encrypt: Encryption,

    /// A file of certificates (PEM) that are trusted besides those of the system: that of a private
    /// authority, or the server's own one. Default: none.
    pub ca_file: Option<PathBuf>,

    /// The name that the server's certificate has, where that is not the name in `server`: an
    /// alias, a short name, a listener. Default: the name in `server`.
    pub host_name_in_certificate: Option<String>,

    /// Takes any certificate, whoever made it. Somebody between here and the server can then read
    /// everything, the password too; it is logged at each start. Default: false.
    pub trust_any_certificate_even_a_forged_one: bool,

    /// Asks an availability group's listener for a readable secondary (`ApplicationIntent=ReadOnly`).
    /// What is read there may be older than at the primary: don't switch between the two, or what
    /// is older looks like changes. Default: false.
    pub read_only_intent: bool,

    /// What a database administrator sees as the program's name. Default: `datasync`.
    pub application_name: String,

    /// The size of network packets in bytes, 512 to 16383. Default: 16383, the most that goes with
    /// TLS.
    pub packet_size: u32,

    /// How long to wait. Default: [`Timeouts::default`].
    pub timeouts: Timeouts,

    /// How long a statement waits for a lock that somebody else holds. Default: `30s`.
    pub lock_timeout: Duration,

    /// How many processors one statement may take at the server, 0 for as many as it likes.
    /// Default: 2.
    pub max_dop: u16,

    /// How the rows of one read belong together. Default: [`Isolation::Best`].
    pub isolation: Isolation,

    /// Reads U+FFFD where a text holds half of a surrogate pair, which is no character; what cuts
    /// names to a length leaves some. Default: false, and such a text is an error.
    pub replace_half_surrogates: bool,

    /// How many connections read one large data set at once. Default: 2.
    pub connections: usize,

    /// From how many rows on a data set is large, and is read in ranges. Default: 1,000,000.
    pub large: u64,

    /// The categories to sync. Default: empty, for all.
    pub categories: Vec<String>,

    /// Data sets not to sync, by name. Default: none.
    pub skip: Vec<String>,

    /// What differs for data sets that are declared, by name. In configuration files
    /// `[connector.NAME.override.DATASET]`. Default: nothing.
    pub overrides: BTreeMap<String, Override>,

    /// Further data sets. In configuration files each is an entry `[[connector.NAME.dataset]]`.
    /// Default: none.
    pub datasets: Vec<DatasetConfig>,

    /// The settings of the product whose connector this is.
    pub product: S,
}

impl<S: Default> SqlServerConfig<S> {
    /// Takes server and database; every other setting has its default.
    pub fn new(server: ServerName, database: impl Into<String>) -> Self {
        Self {
            server,
            database: database.into(),
            auth: Authentication::Windows,
            encrypt: Encryption::default(),
            ca_file: None,
            host_name_in_certificate: None,
            trust_any_certificate_even_a_forged_one: false,
            read_only_intent: false,
            application_name: "datasync".to_owned(),
            packet_size: MOST_PACKET,
            timeouts: Timeouts::default(),
            lock_timeout: Duration::from_secs(30),
            max_dop: 2,
            isolation: Isolation::default(),
            replace_half_surrogates: false,
            connections: 2,
            large: 1_000_000,
            categories: Vec::new(),
            skip: Vec::new(),
            overrides: BTreeMap::new(),
            datasets: Vec::new(),
            product: S::default(),
        }
    }
}

impl<S> SqlServerConfig<S> {
    /// Takes the product's settings out.
    pub fn split(self) -> (SqlServerConfig, S) {
        let Self {
            server,
            database,
            auth,
            encrypt,
            ca_file,
            host_name_in_certificate,
            trust_any_certificate_even_a_forged_one,
            read_only_intent,
            application_name,
            packet_size,
            timeouts,
            lock_timeout,
            max_dop,
            isolation,
            replace_half_surrogates,
            connections,
            large,
            categories,
            skip,
            overrides,
            datasets,
            product,
        } = self;
        let config = SqlServerConfig {
            server,
            database,
            auth,
            encrypt,
            ca_file,
            host_name_in_certificate,
            trust_any_certificate_even_a_forged_one,
            read_only_intent,
            application_name,
            packet_size,
            timeouts,
            lock_timeout,
            max_dop,
            isolation,
            replace_half_surrogates,
            connections,
            large,
            categories,
            skip,
            overrides,
            datasets,
            product: (),
        };
        (config, product)
    }

    /// Finds what is wrong whatever the server holds.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |message: &str| Err(Error::new(ErrorKind::Config, message));
        if self.database.is_empty() {
            return wrong("`database` is empty");
        }
        if !(LEAST_PACKET..=MOST_PACKET).contains(&self.packet_size) {
            return wrong("`packet_size` is a number from 512 to 16383");
        }
        if !(1..=MOST_CONNECTIONS).contains(&self.connections) {
            return wrong("`connections` is a number from 1 to 16");
        }
        if self.max_dop > MOST_DOP {
            return wrong("`max_dop` is a number from 0 to 64");
        }
        if self.host_name_in_certificate.is_some() && self.trust_any_certificate_even_a_forged_one {
            return wrong(
                "`host_name_in_certificate` means nothing where any certificate is trusted",
            );
        }
        Ok(())
    }
}

const LEAST_PACKET: u32 = 512;
const MOST_PACKET: u32 = 16_383;
const MOST_CONNECTIONS: usize = 16;
const MOST_DOP: u16 = 64;

const NAMES: &[&str] = &[
    "server",
    "database",
    "sources",
    "sync",
    "auth",
    "encrypt",
    "ca_file",
    "host_name_in_certificate",
    "trust_any_certificate_even_a_forged_one",
    "read_only_intent",
    "application_name",
    "packet_size",
    "timeouts",
    "lock_timeout",
    "max_dop",
    "isolation",
    "replace_half_surrogates",
    "connections",
    "large",
    "categories",
    "skip",
    "override",
    "dataset",
];

impl<'de, S: Settings> Deserialize<'de> for SqlServerConfig<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Visitor(PhantomData))
    }
}

struct Visitor<S>(PhantomData<S>);

impl<'de, S: Settings> de::Visitor<'de> for Visitor<S> {
    type Value = SqlServerConfig<S>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings of a SQL Server")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let nowhere = "localhost".parse().map_err(de::Error::custom)?;
        let mut config = SqlServerConfig::<S>::new(nowhere, "");
        let (mut server, mut database) = (None, None);
        let (mut sources, mut sync) = (None::<Sources>, None::<String>);
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "server" => server = Some(map.next_value()?),
                "database" => database = Some(map.next_value()?),
                "sources" => sources = Some(map.next_value()?),
                "sync" => sync = Some(map.next_value()?),
                "auth" => config.auth = map.next_value()?,
                "encrypt" => config.encrypt = map.next_value()?,
                "ca_file" => config.ca_file = Some(map.next_value()?),
                "host_name_in_certificate" => {
                    config.host_name_in_certificate = Some(map.next_value()?);
                }
                "trust_any_certificate_even_a_forged_one" => {
                    config.trust_any_certificate_even_a_forged_one = map.next_value()?;
                }
                "read_only_intent" => config.read_only_intent = map.next_value()?,
                "application_name" => config.application_name = map.next_value()?,
                "packet_size" => config.packet_size = map.next_value()?,
                "timeouts" => config.timeouts = map.next_value()?,
                "lock_timeout" => config.lock_timeout = map.next_value::<Span>()?.0,
                "max_dop" => config.max_dop = map.next_value()?,
                "isolation" => config.isolation = map.next_value()?,
                "replace_half_surrogates" => config.replace_half_surrogates = map.next_value()?,
                "connections" => config.connections = map.next_value()?,
                "large" => config.large = map.next_value()?,
                "categories" => config.categories = map.next_value()?,
                "skip" => config.skip = map.next_value()?,
                "override" => config.overrides = map.next_value()?,
                "dataset" => config.datasets = map.next_value()?,
                other => {
                    if !config.product.take(other, &mut map)? {
                        return Err(unknown_setting(other, S::NAMES, NAMES));
                    }
                }
            }
        }
        match (sources, server, database) {
            (Some(sources), None, None) => {
                let source = sources.find(sync.as_deref()).map_err(de::Error::custom)?;
                config.server = source.server.clone();
                config.database.clone_from(&source.database);
            }
            (Some(_), _, _) => {
                return Err(de::Error::custom(
                    "`sources` names server and database: leave `server` and `database` out",
                ));
            }
            (None, _, _) if sync.is_some() => {
                return Err(de::Error::custom("`sync` means nothing without `sources`"));
            }
            (None, server, database) => {
                config.server = server.ok_or_else(|| de::Error::missing_field("server"))?;
                config.database = database.ok_or_else(|| de::Error::missing_field("database"))?;
            }
        }
        Ok(config)
    }
}

/// As whom to sign in. In configuration files a table with `method` and what belongs to it.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case", deny_unknown_fields)]
pub enum Authentication {
    /// `sql`: a login of SQL Server itself. Often switched off.
    Sql {
        /// The login's name.
        user: String,
        /// Its password.
        password: Secret,
    },
    /// `windows`: the account that this program runs as. On Windows always; elsewhere it means
    /// Kerberos with the ticket of `kinit` or of a keytab, and needs the feature `kerberos`.
    Windows,
    /// `ntlm`: a Windows account by name and password. On Windows always; elsewhere it needs the
    /// feature `ntlm`.
    Ntlm {
        /// The account: `user`, `DOMAIN\user` or `user@domain`.
        user: String,
        /// Its password.
        password: Secret,
    },
    /// `entra`: a token of Microsoft Entra ID for `https://database.windows.net`, for Azure SQL
    /// and SQL Server 2022.
    Entra {
        /// The token. It is read when a connection is made and lives for about an hour.
        token: Secret,
    },
}

/// How the connection is encrypted, as other clients of SQL Server call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// `strict`: TLS comes first, then TDS 8.0. SQL Server 2022 and later, and Azure SQL.
    #[serde(alias = "Strict")]
    Strict,
    /// `required`, also spelled `mandatory`, `true` or `yes`: everything is encrypted.
    #[default]
    #[serde(
        alias = "mandatory",
        alias = "true",
        alias = "yes",
        alias = "Mandatory"
    )]
    Required,
    /// `login_only`, also spelled `optional`, `false` or `no`: only the login is encrypted, unless
    /// the server wants more. Rows travel in clear text.
    #[serde(alias = "optional", alias = "false", alias = "no", alias = "Optional")]
    LoginOnly,
}

/// How the rows of one read belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// `best`: one moment for all rows where the database allows snapshots, else what the
    /// database gives without them. What that is, is logged.
    #[default]
    Best,
    /// `read_uncommitted`: takes no locks at all. Rows can be missing, there twice, or never
    /// committed; only for a database whose owner insists, and never with a loose delete guard.
    ReadUncommitted,
}

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// For a connection, with TLS and login. Default: `15s`.
    #[serde(deserialize_with = "span")]
    pub connect: Duration,
    /// For the first row of a statement, while the server works. Default: `2m`.
    #[serde(deserialize_with = "span")]
    pub first_row: Duration,
    /// For each row after that. Default: `1m`.
    #[serde(deserialize_with = "span")]
    pub between_rows: Duration,
    /// For the whole statement. Default: `2h`.
    #[serde(deserialize_with = "span")]
    pub statement: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            first_row: Duration::from_mins(2),
            between_rows: Duration::from_mins(1),
            statement: Duration::from_hours(2),
        }
    }
}

struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match humantime::parse_duration(&text) {
            Ok(span) if !span.is_zero() => Ok(Self(span)),
            Ok(_) => Err(de::Error::custom("more than no time is needed")),
            Err(_) => Err(de::Error::custom(
                "not a duration such as \"30s\" or \"1h 30m\"",
            )),
        }
    }
}

fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Span::deserialize(deserializer).map(|span| span.0)
}

fn maybe_span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Span::deserialize(deserializer).map(|span| Some(span.0))
}

/// What differs for one data set that is declared. A setting left out is as declared.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Override {
    /// The object to read instead: `v_UpdateInfo` or `dbo.v_UpdateInfo`. Of a data set that is put
    /// together from several objects, it is then the only one.
    pub from: Option<String>,
    /// Of a data set that is put together from several objects: those that are not read.
    pub without: Vec<String>,
    /// Further columns of the object, by name, whose types the catalogue tells.
    pub columns: Vec<String>,
    /// The types of further columns by name, where those that the catalogue tells are not meant.
    pub types: BTreeMap<String, Type>,
    /// Columns that move when nothing else did, besides those that are declared so.
    pub volatile: Vec<String>,
    /// What declared columns are read by instead, by name: a column that is called otherwise, or any
    /// expression. The object has the declared alias.
    pub expressions: BTreeMap<String, String>,
    /// A condition that rows fulfil besides the declared one. The object has the declared alias.
    pub filter: Option<String>,
    /// How long the server may take until the first row.
    #[serde(deserialize_with = "maybe_span")]
    pub first_row: Option<Duration>,
    /// What happens with differing rows under one key.
    pub duplicates: Option<Duplicates>,
    /// What happens with a row that the object no longer has: `delete`, or `keep` for one that drops
    /// its oldest rows and deletes no others.
    pub gone: Option<Gone>,
}

/// Declares one further data set: a table, a view, or a query.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetConfig {
    /// The name, unique within the connector; letters in either case are the same.
    pub name: String,

    /// The category. Default: `General`.
    #[serde(default = "general")]
    pub category: String,

    /// The table or view: `dbo.Assets`. Either this or `query`.
    #[serde(default)]
    pub from: Option<String>,

    /// The statement whose rows are the data set. Either this or `from`.
    #[serde(default)]
    pub query: Option<String>,

    /// The columns that are the key.
    pub key: Vec<String>,

    /// The columns to read. Default: all, but for those of a type that can't be carried.
    #[serde(default)]
    pub columns: Vec<String>,

    /// The types of columns by name, where those that the catalogue tells are not meant:
    /// `{ seen = "timestamp" }` for a `datetime` in UTC, `{ document = "json" }`.
    #[serde(default)]
    pub types: BTreeMap<String, Type>,

    /// The columns that move when nothing else did. Default: none.
    #[serde(default)]
    pub volatile: Vec<String>,

    /// A condition that rows fulfil; with `from` only. Default: all rows.
    #[serde(default)]
    pub filter: Option<String>,

    /// An integer column by whose ranges a large table is read; with `from` only. Its values never
    /// change for a row, and an index leads with it. Default: read in one piece.
    #[serde(default)]
    pub range: Option<String>,

    /// Whether the server need not have the object. Default: false.
    #[serde(default)]
    pub optional: bool,

    /// How long the server may take until the first row. Default: that of `timeouts`.
    #[serde(default, deserialize_with = "maybe_span")]
    pub first_row: Option<Duration>,

    /// What happens with differing rows under one key. Default: [`Duplicates::Fail`].
    #[serde(default)]
    pub duplicates: Duplicates,

    /// What happens with a row that the object no longer has: `delete`, or `keep` for one that drops
    /// its oldest rows and deletes no others. Default: [`Gone::Delete`].
    #[serde(default)]
    pub gone: Gone,
}

fn general() -> String {
    "General".to_owned()
}

impl DatasetConfig {
    /// Takes name, table or view, and key; every other setting has its default.
    pub fn new(
        name: impl Into<String>,
        from: impl Into<String>,
        key: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            name: name.into(),
            category: general(),
            from: Some(from.into()),
            query: None,
            key: key.into_iter().map(Into::into).collect(),
            columns: Vec::new(),
            types: BTreeMap::new(),
            volatile: Vec::new(),
            filter: None,
            range: None,
            optional: false,
            first_row: None,
            duplicates: Duplicates::default(),
            gone: Gone::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SqlServerConfig, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn reads_every_setting() {
        let config = parse(
            r#"
            server = "ACME-CM01.acme.local\\INV,51433"
            database = "CM_CAS"
            auth = { method = "sql", user = "datasync", password = "x" }
            encrypt = "strict"
            ca_file = "acme.pem"
            host_name_in_certificate = "cm01.acme.local"
            trust_any_certificate_even_a_forged_one = false
            read_only_intent = true
            application_name = "inventory"
            packet_size = 4096
            timeouts = { first_row = "20m" }
            lock_timeout = "5s"
            max_dop = 1
            isolation = "read_uncommitted"
            replace_half_surrogates = true
            connections = 4
            large = 500000
            categories = ["Devices"]
            skip = ["v_UpdateCIs"]

            [override.Patchs]
            from = "v_UpdateInfo"
            without = ["v_Other"]
            columns = ["Title"]
            volatile = ["Title"]
            first_row = "30m"
            expressions = { ArticleID = "u.Article" }
            gone = "keep"

            [[dataset]]
            name = "assets"
            from = "dbo.Assets"
            key = ["AssetId"]
            types = { Seen = "timestamp" }
            range = "AssetId"
            gone = "keep"

            [[dataset]]
            name = "costs"
            query = "SELECT a.Id, SUM(a.Cost) AS Cost FROM dbo.Costs AS a GROUP BY a.Id"
            key = ["Id"]
            "#,
        )
        .unwrap();
        config.check().unwrap();
        assert_eq!(config.server.port(), Some(51433));
        assert_eq!(config.encrypt, Encryption::Strict);
        assert_eq!(config.timeouts.first_row, Duration::from_mins(20));
        assert_eq!(config.timeouts.connect, Timeouts::default().connect);
        assert_eq!(config.lock_timeout, Duration::from_secs(5));
        assert!(config.replace_half_surrogates);
        assert_eq!(
            config.overrides["Patchs"].first_row,
            Some(Duration::from_mins(30))
        );
        assert_eq!(config.overrides["Patchs"].gone, Some(Gone::Keep));
        assert_eq!(config.datasets[0].gone, Gone::Keep);
        assert_eq!(config.datasets.len(), 2);
        assert!(matches!(config.auth, Authentication::Sql { .. }));
    }

    #[test]
    fn encryption_is_spelled_as_elsewhere() {
        for (text, encryption) in [
            ("strict", Encryption::Strict),
            ("mandatory", Encryption::Required),
            ("yes", Encryption::Required),
            ("optional", Encryption::LoginOnly),
        ] {
            let config = parse(&format!("server='a'\ndatabase='b'\nencrypt='{text}'")).unwrap();
            assert_eq!(config.encrypt, encryption);
        }
    }

    #[test]
    fn takes_the_agents_own_syntax() {
        let config = parse("sources = 'CMSync|ACME-CM01.acme.local|CM_CAS'").unwrap();
        assert_eq!(config.server.host(), "ACME-CM01.acme.local");
        assert_eq!(config.database, "CM_CAS");
        let config = parse("sources = 'A|a|x;B|b|y'\nsync = 'B'").unwrap();
        assert_eq!(config.database, "y");
    }

    #[test]
    fn refuses_wrong_settings() {
        for (toml, reason) in [
            (
                "server='a'\ndatabase='b'\ncolour=1",
                "unknown field `colour`",
            ),
            ("database='b'", "missing field `server`"),
            ("server='a'", "missing field `database`"),
            ("server='np:a'\ndatabase='b'", "named pipes"),
            ("sources='A|a|x'\nserver='a'", "leave `server`"),
            ("sources='A|a|x;B|b|y'", "say which with `sync`"),
            ("server='a'\ndatabase='b'\nsync='A'", "without `sources`"),
            (
                "server='a'\ndatabase='b'\nauth={method='sql',user='u',pasword='p'}",
                "unknown field `pasword`",
            ),
            (
                "server='a'\ndatabase='b'\ntimeouts={first_row='0s'}",
                "more than no time",
            ),
            (
                "server='a'\ndatabase='b'\n[override.X]\nfilters='1'",
                "unknown field `filters`",
            ),
        ] {
            let error = parse(toml).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        for toml in ["packet_size=100", "connections=0", "max_dop=65"] {
            let config = parse(&format!("server='a'\ndatabase='b'\n{toml}")).unwrap();
            let name = toml.split('=').next().unwrap();
            let error = config.check().unwrap_err();
            assert!(error.message().contains(name), "{error}");
        }
    }

    #[test]
    fn no_secret_is_printed() {
        let config =
            parse("server='a'\ndatabase='b'\nauth={method='sql',user='u',password='canary'}")
                .unwrap();
        assert!(!format!("{config:?}").contains("canary"));
    }
}
