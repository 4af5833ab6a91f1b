//! The connector, and its data sets.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use connector_core::{
    Availability, CheckReport, Connector, ConnectorInfo, Dataset, DatasetCheck, DatasetInfo, Error,
    ErrorKind, Result, Schema, SnapshotWriter,
};
use tracing::{info, warn};

use crate::{
    catalogue::{self, Database},
    config::{Isolation, SqlServerConfig},
    dataset::SqlDataset,
    definition::Definition,
    driver::Target,
    link::{Asked, Link},
    meet::{Met, Unmet, meet},
    read,
    statement::statements,
};

/// A SQL Server database as a connector.
///
/// Connectors for products wrap it: they give it the data sets that they declare, and forward
/// [`Connector`] to it.
///
/// ```
/// use connector_core::{Connector, Secret};
/// use connector_mssql::{Authentication, DatasetConfig, SqlServer, SqlServerConfig};
///
/// let mut config = SqlServerConfig::<()>::new("sql01.acme.local".parse()?, "Assets");
/// config.auth = Authentication::Sql {
///     user: "datasync".to_owned(),
///     password: Secret::new("s3cret"),
/// };
/// config.datasets.push(DatasetConfig::new("assets", "dbo.Assets", ["AssetId"]));
/// let connector = SqlServer::new("mssql", "assets", config, &[])?;
/// assert_eq!(connector.info().name, "assets");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SqlServer {
    info: ConnectorInfo,
    target: Arc<Target>,
    definitions: Vec<Arc<Definition>>,
    told: Arc<Told>,
}

/// What was reported already: it is said once, and again when it changes.
#[derive(Debug, Default)]
struct Told {
    missing: Mutex<HashMap<String, Vec<String>>>,
    isolation: Mutex<Option<&'static str>>,
}

impl SqlServer {
    /// Takes the connector's kind, its configured name and the data sets that are declared in
    /// code. The server need not be there yet; files of certificates are read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] naming the setting or the data set whose entry is wrong.
    pub fn new(
        kind: &'static str,
        name: &str,
        config: SqlServerConfig,
        declared: &[SqlDataset],
    ) -> Result<Self> {
        let mut definitions = Vec::new();
        for dataset in declared {
            let own = config
                .overrides
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(dataset.name));
            definitions.push(Definition::declared(dataset, own.map(|(_, own)| own))?);
        }
        let known = |name: &str, definitions: &[Definition]| {
            definitions
                .iter()
                .any(|definition| definition.info.name.eq_ignore_ascii_case(name))
        };
        if let Some(name) = config
            .overrides
            .keys()
            .find(|name| !known(name, &definitions))
        {
            return Err(unknown("override", "data set", name, &definitions, |d| {
                d.info.name.to_string()
            }));
        }
        for dataset in &config.datasets {
            if known(&dataset.name, &definitions) {
                return Err(Error::new(
                    ErrorKind::Config,
                    "another data set has this name; letters in either case are the same",
                )
                .with("data set", &dataset.name));
            }
            definitions.push(Definition::configured(dataset)?);
        }
        if let Some(name) = config.skip.iter().find(|name| !known(name, &definitions)) {
            return Err(unknown("skip", "data set", name, &definitions, |d| {
                d.info.name.to_string()
            }));
        }
        for category in &config.categories {
            let any = definitions
                .iter()
                .any(|definition| definition.info.category.eq_ignore_ascii_case(category));
            if !any {
                return Err(unknown(
                    "categories",
                    "category",
                    category,
                    &definitions,
                    |d| d.info.category.to_string(),
                ));
            }
        }
        definitions.retain(|definition| {
            let is_in = |names: &[String], text: &str| {
                names.iter().any(|name| name.eq_ignore_ascii_case(text))
            };
            let chosen = config.categories.is_empty()
                || is_in(&config.categories, &definition.info.category);
            chosen && !is_in(&config.skip, &definition.info.name)
        });
        Ok(Self {
            info: ConnectorInfo {
                kind,
                name: name.to_owned(),
                version: env!("CARGO_PKG_VERSION"),
            },
            target: Arc::new(Target::new(config)?),
            definitions: definitions.into_iter().map(Arc::new).collect(),
            told: Arc::default(),
        })
    }

    /// Asks the server small questions of a product's own, for [`CheckReport::facts`]: the first
    /// column of the first row of each statement as text. What can't be asked has no answer.
    ///
    /// # Errors
    ///
    /// When the server can't be used.
    pub async fn facts(&self, questions: &[(&str, &str)]) -> Result<Vec<(String, String)>> {
        let mut link = Link::open(&self.target).await?;
        let mut facts = Vec::new();
        for (name, sql) in questions {
            if let Some(answer) = ask(&mut link, sql).await? {
                facts.push(((*name).to_owned(), answer));
            }
        }
        Ok(facts)
    }
}

fn unknown(
    setting: &str,
    what: &str,
    name: &str,
    definitions: &[Definition],
    called: impl Fn(&Definition) -> String,
) -> Error {
    let mut names: Vec<_> = definitions.iter().map(called).collect();
    names.sort();
    names.dedup();
    Error::new(
        ErrorKind::Config,
        format!(
            "`{setting}` names the {what} {name}, which is none; there are: {}",
            names.join(", ")
        ),
    )
}

/// The first cell of a reply as text, or nothing when the question was refused.
async fn ask(link: &mut Link, sql: &str) -> Result<Option<String>> {
    match link.all(sql.into()).await {
        Ok((_, rows)) => Ok(rows.first().and_then(|row| {
            row.text(0)
                .or_else(|| row.int(0).map(|number| number.to_string()))
        })),
        Err(error) if still_there(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the connection is of use after the error: the server answered.
fn still_there(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Source | ErrorKind::NotFound | ErrorKind::Permission
    )
}

#[async_trait]
impl Connector for SqlServer {
    fn info(&self) -> &ConnectorInfo {
        &self.info
    }

    async fn datasets(&self) -> Result<Vec<Arc<dyn Dataset>>> {
        let datasets = self.definitions.iter().map(|definition| {
            Arc::new(Table {
                definition: Arc::clone(definition),
                target: Arc::clone(&self.target),
                told: Arc::clone(&self.told),
                kept: Mutex::default(),
            }) as Arc<dyn Dataset>
        });
        Ok(datasets.collect())
    }

    /// Connects, looks up each data set in the catalogue and asks for none of its rows.
    ///
    /// # Errors
    ///
    /// When the server can't be used.
    async fn check(&self) -> Result<CheckReport> {
        let mut link = Link::open(&self.target).await?;
        let database = catalogue::database(&mut link).await?;
        let config = self.target.config();
        let mut report = CheckReport::default();
        let mut fact = |name: &str, text: String| report.facts.push((name.to_owned(), text));
        fact("server", config.server.to_string());
        fact("database", config.database.clone());
        for (name, sql) in [
            (
                "version",
                "SELECT CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)) AS answer",
            ),
            (
                "edition",
                "SELECT CAST(SERVERPROPERTY('Edition') AS nvarchar(128)) AS answer",
            ),
            (
                "login",
                "SELECT CAST(SUSER_SNAME() AS nvarchar(256)) AS answer",
            ),
        ] {
            if let Some(answer) = ask(&mut link, sql).await? {
                fact(name, answer);
            }
        }
        fact("isolation", isolation(&database, &self.target).to_owned());
        if let Some(more) = more_than_reading(&mut link).await? {
            fact("rights", more);
        }
        for definition in &self.definitions {
            let availability = match availability(&mut link, definition, &database).await {
                Err(error) if still_there(&error) => Availability::from_outcome(Err(error)),
                // The connection may be gone, and the data set may have been the reason.
                Err(error) => {
                    link.reopen().await?;
                    Availability::from_outcome(Err(error))
                }
                Ok(availability) => availability,
            };
            report.datasets.push(DatasetCheck {
                name: definition.info.name.to_string(),
                availability,
            });
        }
        Ok(report)
    }
}

/// Says what the login could do besides reading, where the server tells.
async fn more_than_reading(link: &mut Link) -> Result<Option<String>> {
    for (right, sql) in [
        (
            "the whole server (sysadmin)",
            "SELECT CAST(IS_SRVROLEMEMBER('sysadmin') AS int) AS answer",
        ),
        (
            "the whole database (db_owner)",
            "SELECT CAST(IS_ROLEMEMBER('db_owner') AS int) AS answer",
        ),
        (
            "changing rows (db_datawriter)",
            "SELECT CAST(IS_ROLEMEMBER('db_datawriter') AS int) AS answer",
        ),
    ] {
        if ask(link, sql).await?.as_deref() == Some("1") {
            return Ok(Some(format!(
                "more than reading: {right}; db_datareader is all that is needed"
            )));
        }
    }
    Ok(None)
}

async fn availability(
    link: &mut Link,
    definition: &Definition,
    database: &Database,
) -> Result<Availability> {
    let found = catalogue::find(link, definition, database).await?;
    let met = match meet(definition, &found, None) {
        Ok(met) => met,
        Err(Unmet::Columns(columns)) => return Ok(Availability::MissingColumns { columns }),
        Err(unmet) => {
            let error = unmet.into_error(definition.optional);
            return Ok(Availability::from_outcome(Err(error)));
        }
    };
    for statement in statements(&met, definition.query.as_deref(), &met.schema)? {
        if let Some(sql) = statement.trial() {
            let asked = Asked {
                sql: &sql,
                object: statement.object.as_deref(),
            };
            let (columns, _) = link.all(asked).await?;
            statement.readings(&columns)?;
        }
    }
    Ok(Availability::Available)
}

/// What the rows of one read have to do with each other.
fn isolation(database: &Database, target: &Target) -> &'static str {
    let snapshots = database.snapshots && !target.refuses_snapshots();
    match (target.config().isolation, database) {
        (Isolation::ReadUncommitted, _) => {
            "read uncommitted, as configured: rows can be missing, there twice or never committed"
        }
        (Isolation::Best, _) if snapshots => {
            "snapshot: all rows of a statement are of one moment, and those of a data set that is \
             not split; ranges of a split one are minutes apart"
        }
        (
            Isolation::Best,
            Database {
                row_versions: true, ..
            },
        ) => "read committed with row versions: all rows of a statement are of one moment",
        _ => {
            "read committed with locks: a row that moves during the read can be missed or seen \
             twice, until the next read; the database's owner can allow snapshots"
        }
    }
}

/// One data set.
#[derive(Debug)]
struct Table {
    definition: Arc<Definition>,
    target: Arc<Target>,
    told: Arc<Told>,
    /// The connection that asked for the columns, for the read that follows.
    kept: Mutex<Option<Link>>,
}

impl Table {
    fn kept(&self) -> Option<Link> {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn named(&self, error: Error) -> Error {
        error.with("data set", &self.definition.info.name)
    }

    async fn meet(&self, link: &mut Link, known: Option<&Schema>) -> Result<(Met, Database)> {
        let database = catalogue::database(link).await?;
        let found = catalogue::find(link, &self.definition, &database).await?;
        let met = meet(&self.definition, &found, known).map_err(|unmet| {
            let gone = matches!(unmet, Unmet::NoObject { .. }) && known.is_some();
            let error = unmet.into_error(self.definition.optional);
            if gone && self.definition.optional {
                Error::new(
                    ErrorKind::NotCollected,
                    format!(
                        "{}, which was there in the last cycle; if it is gone for good, forget the \
                         data set",
                        error.message()
                    ),
                )
            } else {
                error
            }
        })?;
        Ok((met, database))
    }

    fn tell(&self, met: &Met, database: &Database) {
        let name = &self.definition.info.name;
        let mut told = self
            .told
            .missing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = told.insert(name.to_string(), met.missing.clone());
        drop(told);
        if !met.missing.is_empty() && before.as_ref() != Some(&met.missing) {
            warn!(
                "data set {name}: the server lacks {}; null is read instead, or nothing",
                met.missing.join(", ")
            );
        }
        let isolation = isolation(database, &self.target);
        let mut told = self
            .told
            .isolation
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if told.replace(isolation) != Some(isolation) {
            info!("{}: {isolation}", self.target.config().server);
        }
    }
}

#[async_trait]
impl Dataset for Table {
    fn info(&self) -> &DatasetInfo {
        &self.definition.info
    }

    /// Meets the declaration with the catalogue.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotCollected`] when the object is missing and need not be there;
    /// [`ErrorKind::NotFound`] when it must; [`ErrorKind::Data`] naming columns that are missing or
    /// of another type.
    async fn schema(&self, known: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        let mut link = Link::open(&self.target)
            .await
            .map_err(|error| self.named(error))?;
        let known = known.map(|known| &**known);
        let (met, _) = self
            .meet(&mut link, known)
            .await
            .map_err(|error| self.named(error))?;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
        Ok(Arc::new(met.schema))
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        let read = async {
            let target = Arc::clone(out.schema());
            let kept = self.kept();
            let fresh = kept.is_none();
            let mut link = match kept {
                Some(link) => link,
                None => Link::open(&self.target).await?,
            };
            let (met, database) = match self.meet(&mut link, Some(&target)).await {
                // It may have been closed while it lay there.
                Err(error) if !fresh && error.kind() == ErrorKind::Incomplete => {
                    link.reopen().await?;
                    self.meet(&mut link, Some(&target)).await?
                }
                met => met?,
            };
            self.tell(&met, &database);
            let statements = statements(&met, self.definition.query.as_deref(), &target)?;
            read::read(link, &self.definition, statements, &database, out).await
        };
        read.await.map_err(|error| self.named(error))
    }
}
