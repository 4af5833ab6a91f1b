//! The kinds of sinks, as configuration names them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use connector_core::{Error, ErrorKind, NamedSink, Result, SystemClock};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{
    JetStreamConfig, JetStreamSink, NdjsonSink, PostgresConfig, Repository,
    upload::{UploadSettings, UploadSink},
};
use crate::config::Section;

/// Which sink, and where.
#[derive(Debug, Clone)]
pub(crate) enum SinkSettings {
    Sqlite {
        path: PathBuf,
    },
    Postgres(Box<PostgresConfig>),
    /// Without a path: standard output.
    Ndjson {
        path: Option<PathBuf>,
    },
    JetStream(Box<JetStreamConfig>),
    Upload(Box<UploadSettings>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    path: PathBuf,
}

impl SinkSettings {
    pub(crate) fn read(mut section: Section, folder: &Path) -> Result<Self> {
        let kind: Option<String> = section.take("kind")?;
        match kind.as_deref() {
            Some("sqlite") => {
                let Place { path } = section.read()?;
                let path = folder.join(path);
                Ok(Self::Sqlite { path })
            }
            Some("postgres") => {
                let mut config: PostgresConfig = section.clone().read()?;
                if let Err((setting, message)) = config.check() {
                    return Err(section.wrong(setting, message));
                }
                config.ca_file = config.ca_file.map(|file| folder.join(file));
                Ok(Self::Postgres(Box::new(config)))
            }
            Some("ndjson") => {
                let Place { path } = section.read()?;
                let path = (path != Path::new("-")).then(|| folder.join(path));
                Ok(Self::Ndjson { path })
            }
            Some("jetstream") => {
                let mut config: JetStreamConfig = section.clone().read()?;
                config.relative_to(folder);
                config
                    .check()
                    .map_err(|(setting, message)| section.wrong(setting, &message))?;
                Ok(Self::JetStream(Box::new(config)))
            }
            Some("upload") => {
                let settings = UploadSettings::read(section, folder)?;
                Ok(Self::Upload(Box::new(settings)))
            }
            Some(kind) => {
                let message = format!(
                    "unknown kind `{kind}`; known: sqlite, postgres, ndjson, jetstream, upload"
                );
                Err(section.wrong("kind", &message))
            }
            None => Err(section.wrong("kind", "the setting is missing")),
        }
    }

    /// Gives it a folder of its own for what it must know in the next run too.
    pub(crate) fn keep_in(&mut self, folder: PathBuf) {
        if let Self::Upload(settings) = self {
            settings.identity = folder;
        }
    }

    /// The file that it writes to or the folder that it keeps, or standard output.
    pub(crate) fn place(&self) -> Option<&Path> {
        match self {
            Self::Sqlite { path } => Some(path),
            Self::Ndjson { path } => path.as_deref(),
            Self::JetStream(_) | Self::Postgres(_) => None,
            Self::Upload(settings) => Some(&settings.identity),
        }
    }

    /// The setting that says where it writes to, and where that is on the network.
    pub(crate) fn target(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Sqlite { .. } | Self::Ndjson { .. } => ("path", None),
            Self::Postgres(_) => ("url", None),
            Self::Upload(_) => ("identity", None),
            Self::JetStream(config) => ("subject", Some(config.place())),
        }
    }

    /// Tells whether it must be the only one at its place.
    pub(crate) fn is_alone(&self) -> bool {
        !matches!(self, Self::Postgres(_))
    }

    /// Tells whether it is a repository.
    pub(crate) fn is_repository(&self) -> bool {
        matches!(self, Self::Sqlite { .. } | Self::Postgres(_))
    }

    /// Opens it as a receiver's repository.
    pub(crate) async fn open_repository(&self, name: &str) -> Result<Arc<Mutex<Repository>>> {
        match self.open(name).await?.repository {
            Some(repository) => Ok(repository),
            None => Err(Error::new(ErrorKind::Config, "the sink is no repository")),
        }
    }

    /// Opens a repository that exists; none when this is no repository, or there is none yet.
    pub(crate) async fn open_existing_repository(&self, name: &str) -> Option<Result<OpenSink>> {
        match self {
            Self::Sqlite { path } if path.exists() => Some(self.open(name).await),
            Self::Postgres(config) => {
                let opened = Repository::existing_postgres((**config).clone()).await;
                let opened = opened.transpose()?;
                Some(opened.map(|repository| OpenSink::repository(name, repository)))
            }
            _ => None,
        }
    }

    pub(crate) async fn open(&self, name: &str) -> Result<OpenSink> {
        let opened = match self {
            Self::Sqlite { path } => OpenSink::repository(name, Repository::sqlite(path).await?),
            Self::Postgres(config) => {
                let repository = Repository::postgres((**config).clone()).await?;
                OpenSink::repository(name, repository)
            }
            Self::Ndjson { path } => {
                let sink = match path {
                    Some(path) => NdjsonSink::open(path).await?,
                    None => NdjsonSink::stdout(),
                };
                OpenSink {
                    named: NamedSink::new(name, sink),
                    repository: None,
                }
            }
            Self::JetStream(config) => OpenSink {
                named: NamedSink::new(name, JetStreamSink::new((**config).clone())?),
                repository: None,
            },
            Self::Upload(settings) => {
                let clock = Arc::new(SystemClock::default());
                let sink = UploadSink::open((**settings).clone(), clock).await?;
                OpenSink {
                    named: NamedSink::new(name, sink),
                    repository: None,
                }
            }
        };
        Ok(opened)
    }
}

/// Stands between a repository's configured name and its id in the name that the store keeps.
/// Configured names can't contain it.
const ID_MARK: char = '#';

/// Returns the configured name of a sink from the one that the store keeps.
pub(crate) fn configured_name(stored: &str) -> &str {
    stored.split(ID_MARK).next().unwrap_or(stored)
}

/// A sink ready for use.
#[derive(Debug, Clone)]
pub(crate) struct OpenSink {
    pub(crate) named: NamedSink,
    /// The same sink, when it is a repository that keeps logs. Locked for a whole delivery by
    /// whoever delivers.
    pub(crate) repository: Option<Arc<Mutex<Repository>>>,
}

impl OpenSink {
    /// A repository that was deleted and made anew is a new sink for the store, which then fills it.
    fn repository(name: &str, repository: Repository) -> Self {
        let named = format!("{name}{ID_MARK}{}", repository.id());
        let repository = Arc::new(Mutex::new(repository));
        Self {
            named: NamedSink::shared(&named, Arc::clone(&repository)),
            repository: Some(repository),
        }
    }
}
