//! Which files make which data set.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use connector_core::{
    Availability, Dataset, DatasetInfo, Duplicates, Error, ErrorKind, Result, Schema,
    SnapshotWriter, Type,
};
use globset::{GlobBuilder, GlobMatcher};
use tracing::Span;

use crate::{
    columns,
    config::{BadRows, DatasetConfig, Empty, FileUploadConfig},
    file::{SourceFile, failed},
    folder::{self, Listing},
    format::Format,
    rows,
    stop::{self, Stop},
};

/// The extensions by which files are found.
const EXTENSIONS: [&str; 2] = ["tsv", "csv"];

/// How the files of a data set become rows: its own settings before those of the folder.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) format: Format,
    pub(crate) key: Vec<String>,
    pub(crate) types: BTreeMap<String, Type>,
    pub(crate) volatile: Vec<String>,
    pub(crate) empty: Empty,
    pub(crate) null: Option<String>,
    pub(crate) bad_rows: BadRows,
    pub(crate) duplicates: Duplicates,
}

/// The files of a data set and how to read them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    /// The data set's name.
    pub(crate) name: String,
    /// The connector's folder.
    pub(crate) folder: PathBuf,
    pub(crate) list: Vec<SourceFile>,
    pub(crate) settings: Settings,
}

/// What keeps a data set from being read, found before any file is opened.
#[derive(Debug)]
enum Problem {
    NoFiles { pattern: String },
    SameName { files: Vec<String> },
    Unreadable { folder: String, kind: io::ErrorKind },
}

/// A data set that is declared or was found.
#[derive(Debug)]
pub(crate) struct FileDataset {
    info: DatasetInfo,
    files: Arc<Files>,
    problem: Option<Problem>,
}

/// A declared data set whose pattern was understood.
#[derive(Debug)]
pub(crate) struct Declared {
    config: DatasetConfig,
    pattern: GlobMatcher,
}

impl Declared {
    /// # Errors
    ///
    /// [`ErrorKind::Config`] naming the data set when something in the entry is wrong.
    pub(crate) fn new(config: DatasetConfig) -> Result<Self> {
        config.check()?;
        let pattern = GlobBuilder::new(&config.files)
            .literal_separator(true)
            .case_insensitive(true)
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Config, "the pattern in `files` is wrong")
                    .with("data set", &config.name)
                    .with("files", &config.files)
                    .with_source(error)
            })?;
        Ok(Self {
            pattern: pattern.compile_matcher(),
            config,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.config.name
    }

    /// Tells whether a file that is missed in that folder could have been one of these.
    fn reaches_into_folders(&self) -> bool {
        self.config.files.contains('/') || self.config.files.contains("**")
    }

    fn settings(&self, folder: &FileUploadConfig) -> Settings {
        let own = &self.config;
        Settings {
            format: Format {
                encoding: own.encoding.unwrap_or(folder.encoding),
                delimiter: own.delimiter.or(folder.delimiter),
                quoting: own.quoting.unwrap_or(folder.quoting),
                columns: own.columns.clone(),
            },
            key: own.key.clone(),
            types: own.types.clone(),
            volatile: own.volatile.clone(),
            empty: own.empty.unwrap_or(folder.empty),
            null: own.null.clone().or_else(|| folder.null.clone()),
            bad_rows: own.bad_rows.unwrap_or(folder.bad_rows),
            duplicates: own.duplicates.unwrap_or(folder.duplicates),
        }
    }
}

fn settings(folder: &FileUploadConfig) -> Settings {
    Settings {
        format: Format {
            encoding: folder.encoding,
            delimiter: folder.delimiter,
            quoting: folder.quoting,
            columns: Vec::new(),
        },
        empty: folder.empty,
        null: folder.null.clone(),
        bad_rows: folder.bad_rows,
        duplicates: folder.duplicates,
        ..Settings::default()
    }
}

/// What the folder offers now.
pub(crate) struct Offer {
    pub(crate) datasets: Vec<FileDataset>,
    /// How many files belong to them.
    pub(crate) files: usize,
}

/// Lists the folder and sorts its files into data sets: the declared ones, then those found.
///
/// # Errors
///
/// When the folder can't be read.
pub(crate) fn discover(config: &FileUploadConfig, declared: &[Declared]) -> Result<Offer> {
    let listing = folder::list(&config.folder)?;
    for (folder, error) in &listing.unreadable {
        tracing::warn!(folder, %error, "a folder can't be read");
    }
    let mut taken = vec![false; listing.files.len()];
    let mut datasets: Vec<FileDataset> = declared
        .iter()
        .map(|declared| from_declared(config, declared, &listing, &mut taken))
        .collect();
    let mut files = taken.iter().filter(|taken| **taken).count();
    let mut names: BTreeMap<String, usize> = datasets
        .iter()
        .enumerate()
        .map(|(place, dataset)| (dataset.info.name.to_lowercase(), place))
        .collect();
    for (file, taken) in listing.files.iter().zip(taken) {
        let extension = file.extension().unwrap_or_default();
        if taken || !EXTENSIONS.contains(&extension.as_str()) {
            continue;
        }
        files += 1;
        // Without the dot and the extension, whose lower-case form may be longer.
        let name = file
            .name
            .rsplit_once('.')
            .map_or(&*file.name, |(name, _)| name);
        match names.get(&name.to_lowercase()) {
            None => {
                names.insert(name.to_lowercase(), datasets.len());
                datasets.push(found(config, name, file));
            }
            Some(place) => datasets[*place].share_name_with(file),
        }
    }
    Ok(Offer { datasets, files })
}

fn from_declared(
    config: &FileUploadConfig,
    declared: &Declared,
    listing: &Listing,
    taken: &mut [bool],
) -> FileDataset {
    let mut list = Vec::new();
    for (file, taken) in listing.files.iter().zip(taken) {
        if declared.pattern.is_match(Path::new(&file.name)) {
            *taken = true;
            list.push(file.clone());
        }
    }
    let problem = match listing.unreadable.first() {
        // Its files there would pass for deleted.
        Some((folder, error)) if declared.reaches_into_folders() => Some(Problem::Unreadable {
            folder: folder.clone(),
            kind: error.kind(),
        }),
        _ if list.is_empty() => Some(Problem::NoFiles {
            pattern: declared.config.files.clone(),
        }),
        _ => None,
    };
    let category = declared
        .config
        .category
        .as_ref()
        .unwrap_or(&config.category);
    FileDataset {
        info: DatasetInfo::named(declared.name(), category),
        files: Arc::new(Files {
            name: declared.name().to_owned(),
            folder: config.folder.clone(),
            list,
            settings: declared.settings(config),
        }),
        problem,
    }
}

fn found(config: &FileUploadConfig, name: &str, file: &SourceFile) -> FileDataset {
    FileDataset {
        info: DatasetInfo::named(name, &config.category),
        files: Arc::new(Files {
            name: name.to_owned(),
            folder: config.folder.clone(),
            list: vec![file.clone()],
            settings: settings(config),
        }),
        problem: None,
    }
}

impl FileDataset {
    /// Two data sets of one name would be one to the store, so neither is read.
    fn share_name_with(&mut self, file: &SourceFile) {
        match &mut self.problem {
            Some(Problem::SameName { files }) => files.push(file.name.clone()),
            problem => {
                let own = self.files.list.iter().map(|file| file.name.clone());
                *problem = Some(Problem::SameName {
                    files: own.chain([file.name.clone()]).collect(),
                });
            }
        }
    }

    /// Returns the files, unless something keeps them from being read.
    fn files(&self) -> Result<Arc<Files>> {
        let error = match &self.problem {
            None => return Ok(Arc::clone(&self.files)),
            Some(Problem::NoFiles { pattern }) => Error::new(
                ErrorKind::NotFound,
                "no file matches; put one into the folder, or correct the pattern in `files`, \
                 which is relative to the folder",
            )
            .with("files", pattern)
            .with("folder", self.files.folder.display()),
            Some(Problem::SameName { files }) => Error::new(
                ErrorKind::Data,
                "files share the data set's name; rename one, or declare a data set for it",
            )
            .with("files", files.join(", ")),
            Some(Problem::Unreadable { folder, kind }) => failed(
                "a folder that may hold files of the data set can't be read",
                (*kind).into(),
            )
            .with("folder", folder),
        };
        Err(self.located(error))
    }

    fn located(&self, error: Error) -> Error {
        error.with("data set", &self.info.name)
    }

    /// Reads the headers, which is cheap.
    pub(crate) async fn check(&self) -> Availability {
        let outcome = async {
            let files = self.files()?;
            stop::blocking(move |_| {
                let headers = columns::headers(&files)?;
                Ok(columns::missing_key(&files, &headers))
            })
            .await
            .map_err(|error| self.located(error))
        };
        match outcome.await {
            Ok(missing) if !missing.is_empty() => Availability::MissingColumns { columns: missing },
            outcome => Availability::from_outcome(outcome.map(drop)),
        }
    }
}

#[async_trait]
impl Dataset for FileDataset {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    async fn schema(&self, known: Option<&Arc<Schema>>) -> Result<Arc<Schema>> {
        let files = self.files()?;
        let known = known.cloned();
        stop::blocking(move |stop| columns::schema(&files, known.as_deref(), stop))
            .await
            .map_err(|error| self.located(error))
    }

    async fn read(&self, out: &mut SnapshotWriter) -> Result<()> {
        let files = self.files()?;
        let stop = Stop::default();
        let _guard = stop.on_drop();
        let span = Span::current();
        out.blocking(move |out| span.in_scope(|| rows::read(&files, out, &stop)))
            .await
            .map_err(|error| self.located(error))
    }
}
