//! The configuration file.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use bytesize::ByteSize;
use connector_core::{CycleOptions, DeleteGuard, Error, ErrorKind, Result, Retain};
use serde::{Deserialize, Deserializer, de};

use crate::{receive::ReceiveSettings, sink::SinkSettings};

/// A commented example, which `init` writes.
pub(crate) const EXAMPLE: &str = include_str!("example.toml");

/// Sorting with less would go to disk for every data set.
const LEAST_MEMORY: ByteSize = ByteSize::mib(1);

/// What a configuration file says, with absolute paths. The connectors' own settings are read by
/// the connectors; see [`crate::connectors`].
#[derive(Debug)]
pub(crate) struct Config {
    /// The file itself, for messages.
    pub(crate) path: PathBuf,
    /// Where the file is: what paths in it are relative to.
    pub(crate) folder: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) memory: u64,
    /// Where the log goes besides standard error.
    pub(crate) log: Option<LogFiles>,
    /// Where `run` answers who asks how it is.
    pub(crate) health: Option<SocketAddr>,
    pub(crate) sinks: BTreeMap<String, SinkSettings>,
    pub(crate) connectors: Vec<ConnectorSettings>,
    pub(crate) receive: Option<ReceiveSettings>,
}

/// A folder with a log file a day.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogFiles {
    pub(crate) folder: PathBuf,
    /// How many files are kept.
    #[serde(default = "default_keep")]
    pub(crate) keep: NonZeroUsize,
}

fn default_keep() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(13)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Health {
    listen: SocketAddr,
}

/// What the host needs to know of a connector.
#[derive(Debug, Clone)]
pub(crate) struct ConnectorSettings {
    pub(crate) name: String,
    pub(crate) kind: String,
    /// The names of its sinks.
    pub(crate) sinks: Vec<String>,
    pub(crate) every: Duration,
    pub(crate) guard: DeleteGuard,
    pub(crate) history: u32,
    pub(crate) retain: Retained,
    /// How many of its data sets are synced at once.
    pub(crate) concurrency: usize,
    /// The connector's own settings.
    pub(crate) own: Section,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "default_state")]
    state: PathBuf,
    #[serde(default)]
    memory: Memory,
    log: Option<LogFiles>,
    health: Option<Health>,
    #[serde(default)]
    sink: BTreeMap<String, toml::Table>,
    #[serde(default)]
    connector: BTreeMap<String, toml::Table>,
    receive: Option<toml::Table>,
}

fn default_state() -> PathBuf {
    "state".into()
}

struct Memory(ByteSize);

impl Default for Memory {
    fn default() -> Self {
        Self(ByteSize::mib(256))
    }
}

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse::<ByteSize>() {
            Ok(size) if size >= LEAST_MEMORY => Ok(Self(size)),
            Ok(_) => Err(de::Error::custom(format!(
                "at least {LEAST_MEMORY} is needed"
            ))),
            Err(_) => Err(de::Error::custom("not a size such as \"256 MiB\"")),
        }
    }
}

struct Every(Duration);

impl<'de> Deserialize<'de> for Every {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match humantime::parse_duration(&text) {
            Ok(every) if every >= Duration::from_secs(1) => Ok(Self(every)),
            Ok(_) => Err(de::Error::custom("at least \"1s\" is needed")),
            Err(_) => Err(de::Error::custom(
                "not a duration such as \"30m\" or \"1h 30m\"",
            )),
        }
    }
}

/// [`DeleteGuard`] as it is written.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Guard {
    rows: u64,
    share: Share,
    empty: bool,
}

impl Default for Guard {
    fn default() -> Self {
        let DeleteGuard { rows, share, empty } = DeleteGuard::default();
        Self {
            rows,
            share: Share(share),
            empty,
        }
    }
}

/// What the store keeps of rows: one choice for all data sets, or one for each by name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(
    untagged,
    expecting = "neither \"rows\" nor \"digests\", nor a table of data sets with one of them"
)]
pub(crate) enum Retained {
    All(Retain),
    Each(BTreeMap<String, Retain>),
}

impl Retained {
    /// Returns what is kept of a data set; letters in either case are the same.
    pub(crate) fn of(&self, dataset: &str) -> Retain {
        match self {
            Self::All(retain) => *retain,
            Self::Each(named) => named
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(dataset))
                .map_or(Retain::default(), |(_, retain)| *retain),
        }
    }
}

struct Share(f64);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match f64::deserialize(deserializer)? {
            share if (0.0..=1.0).contains(&share) => Ok(Self(share)),
            _ => Err(de::Error::custom("not a share from 0.0 to 1.0")),
        }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] naming the file and the setting.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let failed = |error: std::io::Error| {
            let message = if error.kind() == std::io::ErrorKind::NotFound {
                "there is no configuration file; `datasync init` writes an example"
            } else {
                "can't read the configuration file"
            };
            Error::new(ErrorKind::Config, message)
                .with("file", path.display())
                .with_source(error)
        };
        let path = std::path::absolute(path).map_err(failed)?;
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        let folder = path.parent().unwrap_or(&path);
        let mut config =
            Self::parse(&text, folder).map_err(|error| error.with("file", path.display()))?;
        config.path = path;
        Ok(config)
    }

    /// Reads the text of a file that is in `folder`.
    pub(crate) fn parse(text: &str, folder: &Path) -> Result<Self> {
        let table: toml::Table = toml::from_str(text).map_err(|error| syntax(&error, text))?;
        let file: File = Section::new(String::new(), table).read()?;
        let sinks = file
            .sink
            .into_iter()
            .map(|(name, table)| {
                check_name("sink", &name)?;
                let section = Section::new(format!("sink.{name}"), table);
                let mut settings = SinkSettings::read(section, folder)?;
                // No connector's folder begins with a point.
                settings.keep_in(folder.join(&file.state).join(".upload").join(&name));
                Ok((name, settings))
            })
            .collect::<Result<BTreeMap<_, _>>>()?;
        check_places(&sinks)?;
        let connectors = file
            .connector
            .into_iter()
            .map(|(name, table)| {
                check_name("connector", &name)?;
                ConnectorSettings::read(name, table, &sinks)
            })
            .collect::<Result<Vec<_>>>()?;
        check_cases(&connectors)?;
        let receive = file
            .receive
            .map(|table| ReceiveSettings::read(Section::new("receive".to_owned(), table), folder));
        Ok(Self {
            path: folder.join("datasync.toml"),
            state: folder.join(file.state),
            folder: folder.to_owned(),
            memory: file.memory.0.as_u64(),
            log: file.log.map(|log| LogFiles {
                folder: folder.join(log.folder),
                ..log
            }),
            health: file.health.map(|health| health.listen),
            sinks,
            connectors,
            receive: receive.transpose()?,
        })
    }
}

impl ConnectorSettings {
    fn read(
        name: String,
        table: toml::Table,
        sinks: &BTreeMap<String, SinkSettings>,
    ) -> Result<Self> {
        let mut own = Section::new(format!("connector.{name}"), table);
        let Some(kind) = own.take("kind")? else {
            return Err(own.wrong("kind", "the setting is missing"));
        };
        let chosen = match own.take::<Vec<String>>("sinks")? {
            None => sinks.keys().cloned().collect(),
            Some(chosen) => chosen,
        };
        let mut seen = HashSet::new();
        for sink in &chosen {
            if !sinks.contains_key(sink) {
                let message = format!("there is no [sink.{sink}]; {}", known(sinks.keys()));
                return Err(own.wrong("sinks", &message));
            }
            if !seen.insert(sink) {
                return Err(own.wrong("sinks", &format!("`{sink}` is repeated")));
            }
        }
        let every = own
            .take("every")?
            .map_or(DEFAULT_EVERY, |Every(every)| every);
        let Guard {
            rows,
            share: Share(share),
            empty,
        } = own.take("delete_guard")?.unwrap_or_default();
        let history = own.take("history")?.unwrap_or(DEFAULT_HISTORY);
        let retain = own.take("retain")?;
        let concurrency = own.take("concurrency")?;
        if concurrency == Some(0) {
            return Err(own.wrong("concurrency", "at least 1 is needed"));
        }
        Ok(Self {
            name,
            kind,
            sinks: chosen,
            every,
            guard: DeleteGuard { rows, share, empty },
            history,
            retain: retain.unwrap_or(Retained::All(Retain::default())),
            concurrency: concurrency.unwrap_or(CycleOptions::default().concurrency),
            own,
        })
    }
}

const DEFAULT_EVERY: Duration = Duration::from_hours(1);
const DEFAULT_HISTORY: u32 = 30;

/// A table of the file, and where in the file it is, for messages.
#[derive(Clone)]
pub(crate) struct Section {
    path: String,
    table: toml::Table,
}

/// Without the settings: there may be a secret among them.
impl std::fmt::Debug for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Section({})", self.path)
    }
}

impl Section {
    pub(crate) fn new(path: String, table: toml::Table) -> Self {
        Self { path, table }
    }

    /// Reads one setting and takes it out.
    pub(crate) fn take<T: de::DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>> {
        let value = self.table.remove(name);
        value
            .map(|value| read(&format!("{}.{name}", self.path), value))
            .transpose()
    }

    /// Reads all settings that are left.
    pub(crate) fn read<T: de::DeserializeOwned>(self) -> Result<T> {
        read(&self.path, toml::Value::Table(self.table))
    }

    /// Says what is wrong with a setting.
    pub(crate) fn wrong(&self, name: &str, message: &str) -> Error {
        Error::new(
            ErrorKind::Config,
            format!("{}.{name}: {message}", self.path),
        )
    }
}

fn read<T: de::DeserializeOwned>(path: &str, value: toml::Value) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let inner = error.path().to_string();
        let path = match (path, inner.as_str()) {
            ("", inner) => inner.to_owned(),
            (path, ".") => path.to_owned(),
            (path, inner) => format!("{path}.{inner}"),
        };
        let message = format!("{path}: {}", error.inner().message());
        Error::new(ErrorKind::Config, message)
    })
}

/// Without the line itself, which toml would show: a secret may stand there.
fn syntax(error: &toml::de::Error, text: &str) -> Error {
    let wrong = Error::new(ErrorKind::Config, error.message());
    match error.span() {
        None => wrong,
        Some(span) => {
            let before = text.get(..span.start).unwrap_or(text);
            wrong.with("line", before.matches('\n').count() + 1)
        }
    }
}

fn known<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(String::as_str).collect();
    if names.is_empty() {
        "none is configured".to_owned()
    } else {
        format!("known: {}", names.join(", "))
    }
}

/// Names become parts of file names and table names.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(fits) {
        return Ok(());
    }
    let message = format!(
        "{what}.{name}: a name is made of ASCII letters, digits, `_` and `-`, a letter or digit first"
    );
    Err(Error::new(ErrorKind::Config, message))
}

/// Folders are named after connectors, and some file systems hold letters in either case for one.
fn check_cases(connectors: &[ConnectorSettings]) -> Result<()> {
    let mut seen = HashSet::new();
    for ConnectorSettings { name, .. } in connectors {
        if !seen.insert(name.to_ascii_lowercase()) {
            let message =
                format!("connector.{name}: another connector's name differs in case only");
            return Err(Error::new(ErrorKind::Config, message));
        }
    }
    Ok(())
}

/// Two sinks that write to one file would destroy it.
fn check_places(sinks: &BTreeMap<String, SinkSettings>) -> Result<()> {
    let mut seen = HashMap::new();
    for (name, sink) in sinks.iter().filter(|(_, sink)| sink.is_alone()) {
        let (setting, target) = sink.target();
        if let Some(other) = seen.insert((sink.place(), target), name) {
            let message = format!("sink.{name}.{setting}: the same as that of sink.{other}");
            return Err(Error::new(ErrorKind::Config, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config> {
        Config::parse(text, Path::new("/etc/datasync"))
    }

    fn error(text: &str) -> String {
        let error = parse(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    }

    const SINKS: &str = "[sink.repository]\nkind = \"sqlite\"\npath = \"repository.db\"\n";

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = parse(SINKS).unwrap();
        assert_eq!(config.state, Path::new("/etc/datasync/state"));
        assert_eq!(config.memory, 256 << 20);
        let place = Path::new("/etc/datasync/repository.db");
        assert_eq!(config.sinks["repository"].place(), Some(place));
        let config = parse("state = \"/var/lib/datasync\"").unwrap();
        assert_eq!(config.state, Path::new("/var/lib/datasync"));
    }

    #[test]
    fn a_connector_has_defaults() {
        let config = parse(&format!("{SINKS}[connector.hr]\nkind = \"x\"\nown = 1")).unwrap();
        let hr = &config.connectors[0];
        assert_eq!(hr.sinks, ["repository"]);
        assert_eq!(hr.every, DEFAULT_EVERY);
        assert_eq!(hr.guard, DeleteGuard::default());
        let default = CycleOptions::default();
        assert_eq!(
            (hr.history, hr.concurrency),
            (default.history, default.concurrency)
        );
        assert_eq!(hr.retain.of("devices"), Retain::Rows);
        assert_eq!(hr.own.table.len(), 1, "only what is the connector's own");
    }

    #[test]
    fn a_connector_takes_the_hosts_settings() {
        let config = parse(
            "[connector.hr]\nkind = \"x\"\nevery = \"1h 30m\"\nhistory = 3\nconcurrency = 4\n\
             retain = { Installs = \"digests\" }\n\
             delete_guard = { rows = 10, share = 0.5 }",
        )
        .unwrap();
        let hr = &config.connectors[0];
        assert_eq!(hr.every, Duration::from_mins(90));
        assert_eq!(
            hr.guard,
            DeleteGuard {
                rows: 10,
                share: 0.5,
                empty: true
            }
        );
        assert_eq!((hr.history, hr.concurrency), (3, 4));
        assert_eq!(hr.retain.of("installs"), Retain::Digests);
        assert_eq!(hr.retain.of("devices"), Retain::Rows);
    }

    #[test]
    fn errors_name_the_setting() {
        for (text, expected) in [
            (
                "memory = \"many\"",
                "memory: not a size such as \"256 MiB\"",
            ),
            ("memory = \"1 KiB\"", "memory: at least 1.0 MiB is needed"),
            (
                "[connector.hr]\nkind = \"x\"\nevery = \"soon\"",
                "connector.hr.every: not a duration such as \"30m\" or \"1h 30m\"",
            ),
            (
                "[connector.hr]\nkind = \"x\"\nevery = \"0s\"",
                "connector.hr.every: at least \"1s\" is needed",
            ),
            (
                "[connector.hr]\nkind = \"x\"\nretain = \"hashes\"",
                "connector.hr.retain: neither \"rows\" nor \"digests\", nor a table of data sets \
                 with one of them",
            ),
            (
                "[connector.hr]\nkind = \"x\"\nconcurrency = 0",
                "connector.hr.concurrency: at least 1 is needed",
            ),
            (
                "[connector.hr]\nkind = \"x\"\ndelete_guard = { share = 2.0 }",
                "connector.hr.delete_guard.share: not a share from 0.0 to 1.0",
            ),
            (
                "[connector.hr]\nkind = \"x\"\nsinks = [\"events\"]",
                "connector.hr.sinks: there is no [sink.events]; none is configured",
            ),
            (
                "[connector.hr]",
                "connector.hr.kind: the setting is missing",
            ),
            (
                "[connector._hr]\nkind = \"x\"",
                "connector._hr: a name is made of ASCII letters, digits, `_` and `-`, a letter or \
                 digit first",
            ),
            (
                "[connector.hr]\nkind = \"x\"\n[connector.HR]\nkind = \"x\"",
                "connector.hr: another connector's name differs in case only",
            ),
            (
                "[sink.a]\nkind = \"ndjson\"\npath = \"x\"\n[sink.b]\nkind = \"sqlite\"\npath = \"x\"",
                "sink.b.path: the same as that of sink.a",
            ),
            (
                "[sink.a]\nkind = \"jetstream\"\nservers = \"nats://a\"\nreplicas = 9",
                "sink.a.replicas: a stream has 1 to 5",
            ),
            (
                "[sink.a]\nkind = \"jetstream\"\nservers = \"nats://a\"\n\
                 [sink.b]\nkind = \"jetstream\"\nservers = \"nats://a\"",
                "sink.b.subject: the same as that of sink.a",
            ),
            (
                "[sink.a]\nkind = \"oracle\"",
                "sink.a.kind: unknown kind `oracle`; known: sqlite, postgres, ndjson, jetstream, upload",
            ),
        ] {
            assert_eq!(error(text), expected);
        }
    }

    #[test]
    fn unknown_settings_are_refused() {
        for text in [
            "stat = \"x\"",
            "[sink.a]\nkind = \"sqlite\"\npath = \"x\"\nsize = 1",
            "[connector.hr]\nkind = \"x\"\ndelete_guard = { row = 1 }",
        ] {
            assert!(error(text).contains("unknown field"), "{}", error(text));
        }
    }

    #[test]
    fn a_syntax_error_names_the_line_and_does_not_show_it() {
        let error = error("state = \"x\"\npassword = \"hunter2\n");
        assert!(error.contains("line: 2"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_example_is_good() {
        let config = parse(EXAMPLE).unwrap();
        assert_eq!(config.connectors[0].name, "hr");
        assert_eq!(config.sinks.len(), 2);
    }
}
