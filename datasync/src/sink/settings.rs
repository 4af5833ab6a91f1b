//! The kinds of sinks, as configuration names them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use connector_core::{NamedSink, Result};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{JetStreamConfig, JetStreamSink, NdjsonSink, Repository};
use crate::config::Section;

/// Which sink, and where.
#[derive(Debug, Clone)]
pub(crate) enum SinkSettings {
    Sqlite {
        path: PathBuf,
    },
    /// Without a path: standard output.
    Ndjson {
        path: Option<PathBuf>,
    },
    JetStream(Box<JetStreamConfig>),
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
            Some(kind) => {
                let message = format!("unknown kind `{kind}`; known: sqlite, ndjson, jetstream");
                Err(section.wrong("kind", &message))
            }
            None => Err(section.wrong("kind", "the setting is missing")),
        }
    }

    /// The file that it writes to.
    pub(crate) fn place(&self) -> Option<&Path> {
        match self {
            Self::Sqlite { path } => Some(path),
            Self::Ndjson { path } => path.as_deref(),
            Self::JetStream(_) => None,
        }
    }

    /// The setting that says where it writes to, and where that is on the network.
    pub(crate) fn target(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Sqlite { .. } | Self::Ndjson { .. } => ("path", None),
            Self::JetStream(config) => ("subject", Some(config.place())),
        }
    }

    /// Opens a repository that exists; none when this is no repository, or there is none yet.
    pub(crate) async fn open_existing_repository(&self, name: &str) -> Option<Result<OpenSink>> {
        match self {
            Self::Sqlite { path } if path.exists() => Some(self.open(name).await),
            _ => None,
        }
    }

    pub(crate) async fn open(&self, name: &str) -> Result<OpenSink> {
        let opened = match self {
            Self::Sqlite { path } => {
                let sink = Repository::sqlite(path).await?;
                // A repository that was deleted and made anew is a new sink for the store, which
                // then fills it.
                let named = format!("{name}{ID_MARK}{}", sink.id());
                let repository = Arc::new(Mutex::new(sink));
                OpenSink {
                    named: NamedSink::shared(&named, Arc::clone(&repository)),
                    repository: Some(repository),
                }
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
