//! What a person sets.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use connector_core::{Duplicates, Error, ErrorKind, Result, Type};
use serde::{Deserialize, Deserializer, de};

/// Says which folder to read and how.
///
/// Without a [`datasets`](Self::datasets) entry every file is a data set of its own, with text
/// columns and a key that is found. The settings here hold for all data sets; those of
/// [`DatasetConfig`] with the same name go before them.
///
/// ```
/// use connector_core::Connector;
/// use connector_fileupload::{FileUpload, FileUploadConfig};
///
/// let config = FileUploadConfig::new("inbox");
/// let connector = FileUpload::new("hr", config)?;
/// assert_eq!(connector.info().kind, "fileupload");
/// # Ok::<(), connector_core::Error>(())
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileUploadConfig {
    /// The folder. Files in folders below it count too; what begins with a dot does not.
    pub folder: PathBuf,

    /// The encoding of files without a byte order mark. Default: [`Encoding::Utf8`].
    #[serde(default)]
    pub encoding: Encoding,

    /// The delimiter. Default: tab for `.tsv`; for other files the one of comma, tab, semicolon
    /// and pipe that the first rows agree on.
    #[serde(default)]
    pub delimiter: Option<Delimiter>,

    /// Whether a quote means anything. Default: [`Quoting::Rfc4180`].
    #[serde(default)]
    pub quoting: Quoting,

    /// What an empty cell of a text or bytes column means. Default: [`Empty::Null`].
    #[serde(default)]
    pub empty: Empty,

    /// The text of a cell that means null, such as `NULL` or `\N`. Default: none.
    #[serde(default)]
    pub null: Option<String>,

    /// What happens with rows that can't be read. Default: [`BadRows::Fail`].
    #[serde(default)]
    pub bad_rows: BadRows,

    /// What happens with differing rows under one key. Default: [`Duplicates::Fail`].
    #[serde(default)]
    pub duplicates: Duplicates,

    /// The category of the data sets. Default: `General`.
    #[serde(default = "default_category")]
    pub category: String,

    /// The data sets that are declared. Files that none of them names are found by themselves.
    /// In configuration files each is an entry `[[dataset]]`.
    #[serde(default, rename = "dataset")]
    pub datasets: Vec<DatasetConfig>,
}

fn default_category() -> String {
    "General".to_owned()
}

impl FileUploadConfig {
    /// Takes the folder; every other setting has its default.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            encoding: Encoding::default(),
            delimiter: None,
            quoting: Quoting::default(),
            empty: Empty::default(),
            null: None,
            bad_rows: BadRows::default(),
            duplicates: Duplicates::default(),
            category: default_category(),
            datasets: Vec::new(),
        }
    }
}

/// Declares one data set. A setting left out is the folder's.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetConfig {
    /// The data set's name, unique within the folder; letters in either case are the same.
    pub name: String,

    /// Which files it is made of: a pattern for their paths relative to the folder, with `/`
    /// between the parts. `*` and `?` stay within one part, `**` does not, `{a,b}` is either;
    /// letters in either case are the same. Any extension will do. Several files make one data
    /// set; a column that only some of them have is null for the others.
    pub files: String,

    /// The columns that are the key. Default: the key is found on the first sync and then kept.
    #[serde(default)]
    pub key: Vec<String>,

    /// The types of columns by name. Default: text.
    #[serde(default)]
    pub types: BTreeMap<String, Type>,

    /// The columns that move when nothing else did: they travel with an event and never cause
    /// one. Default: none.
    #[serde(default)]
    pub volatile: Vec<String>,

    /// The names of the columns, for files without a header row. Default: the first row names
    /// the columns.
    #[serde(default)]
    pub columns: Vec<String>,

    /// Instead of [`FileUploadConfig::encoding`].
    #[serde(default)]
    pub encoding: Option<Encoding>,

    /// Instead of [`FileUploadConfig::delimiter`].
    #[serde(default)]
    pub delimiter: Option<Delimiter>,

    /// Instead of [`FileUploadConfig::quoting`].
    #[serde(default)]
    pub quoting: Option<Quoting>,

    /// Instead of [`FileUploadConfig::empty`].
    #[serde(default)]
    pub empty: Option<Empty>,

    /// Instead of [`FileUploadConfig::null`].
    #[serde(default)]
    pub null: Option<String>,

    /// Instead of [`FileUploadConfig::bad_rows`].
    #[serde(default)]
    pub bad_rows: Option<BadRows>,

    /// Instead of [`FileUploadConfig::duplicates`].
    #[serde(default)]
    pub duplicates: Option<Duplicates>,

    /// Instead of [`FileUploadConfig::category`].
    #[serde(default)]
    pub category: Option<String>,
}

impl DatasetConfig {
    /// Takes the name and the pattern of the files; every other setting has its default.
    pub fn new(name: impl Into<String>, files: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            files: files.into(),
            key: Vec::new(),
            types: BTreeMap::new(),
            volatile: Vec::new(),
            columns: Vec::new(),
            encoding: None,
            delimiter: None,
            quoting: None,
            empty: None,
            null: None,
            bad_rows: None,
            duplicates: None,
            category: None,
        }
    }

    /// Finds what is wrong with the entry whatever the files hold.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |message: String| {
            Err(Error::new(ErrorKind::Config, message).with("data set", &self.name))
        };
        if !is_name(&self.name) {
            return wrong(
                "a data set's name is not empty, holds none of \\ : * ? \" < > | and no control \
                 character, and no part of it between slashes is empty or begins with a dot"
                    .to_owned(),
            );
        }
        for (setting, names) in [
            ("columns", &self.columns),
            ("key", &self.key),
            ("volatile", &self.volatile),
        ] {
            if let Some(name) = repeated(names) {
                return wrong(format!("`{setting}` names the column {name} twice"));
            }
            if names.iter().any(String::is_empty) {
                return wrong(format!("`{setting}` holds an empty name"));
            }
        }
        if let Some(name) = self.key.iter().find(|name| self.volatile.contains(name)) {
            return wrong(format!(
                "the column {name} can't be in `key` and in `volatile`"
            ));
        }
        if !self.columns.is_empty() {
            let named = self
                .key
                .iter()
                .chain(self.types.keys())
                .chain(&self.volatile);
            for name in named {
                if !self.columns.contains(name) {
                    return wrong(format!("`columns` lacks the column {name}"));
                }
            }
        }
        Ok(())
    }
}

fn repeated(names: &[String]) -> Option<&String> {
    let mut seen = std::collections::HashSet::new();
    names.iter().find(|name| !seen.insert(*name))
}

/// Tells whether it can also be the path of a quarantine file, on every platform.
fn is_name(name: &str) -> bool {
    name.split('/')
        .all(|part| !part.is_empty() && !part.starts_with('.'))
        && !name
            .chars()
            .any(|c| c.is_control() || "\\:*?\"<>|".contains(c))
}

/// How characters are bytes, in a file without a byte order mark. The marks of UTF-8 and UTF-16
/// go before any setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
pub enum Encoding {
    /// `utf-8`
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// `utf-16le`: UTF-16, the low byte first, as Windows writes it.
    #[serde(rename = "utf-16le")]
    Utf16Le,
    /// `utf-16be`: UTF-16, the high byte first.
    #[serde(rename = "utf-16be")]
    Utf16Be,
    /// `windows-1252`: Western European Windows, often called ANSI.
    #[serde(rename = "windows-1252")]
    Windows1252,
}

/// As configuration spells it.
impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Utf8 => "utf-8",
            Self::Utf16Le => "utf-16le",
            Self::Utf16Be => "utf-16be",
            Self::Windows1252 => "windows-1252",
        })
    }
}

/// The one ASCII character between two cells.
///
/// ```
/// use connector_fileupload::Delimiter;
///
/// assert!(Delimiter::new(';').is_ok());
/// assert!(Delimiter::new('"').is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Delimiter(u8);

impl Delimiter {
    pub(crate) const COMMA: Self = Self(b',');
    pub(crate) const TAB: Self = Self(b'\t');
    pub(crate) const SEMICOLON: Self = Self(b';');
    pub(crate) const PIPE: Self = Self(b'|');

    /// Takes the character.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when it is not ASCII, or is a quote, a line end or NUL.
    pub fn new(character: char) -> Result<Self> {
        match u8::try_from(character) {
            Ok(byte) if byte.is_ascii() && !b"\"\r\n\0".contains(&byte) => Ok(Self(byte)),
            _ => Err(Error::new(
                ErrorKind::Config,
                "a delimiter is one ASCII character, and not a quote, a line end or NUL",
            )),
        }
    }

    pub(crate) fn byte(self) -> u8 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Delimiter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(char::deserialize(deserializer)?)
            .map_err(|error| de::Error::custom(error.message()))
    }
}

/// Whether a quote means anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quoting {
    /// `rfc4180`: a cell may stand between double quotes, and then hold delimiters, line breaks
    /// and, doubled, quotes.
    #[default]
    Rfc4180,
    /// `raw`: a quote is a character like any other, and no cell holds a delimiter or line break.
    Raw,
}

/// What an empty cell of a text or bytes column means. An empty cell of another type is null; in
/// a key column, which is never null, empty text is empty text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Empty {
    /// `null`: there is no value.
    #[default]
    Null,
    /// `text`: the value is empty.
    Text,
}

/// What happens with rows that can't be read: a wrong number of fields, a value that is none of
/// its column's type, bytes that are not of the file's encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BadRows {
    /// `fail`: the data set fails, naming the first ten and their number.
    #[default]
    Fail,
    /// `quarantine`: they are left out and kept in `.quarantine/DATASET.csv` below the folder,
    /// with reason, file and line; a record that is only in such a row counts as gone. A data set
    /// without a single good row still fails.
    Quarantine,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_setting() {
        let config: FileUploadConfig = toml::from_str(
            r#"
            folder = "inbox"
            encoding = "windows-1252"
            delimiter = ";"
            quoting = "raw"
            empty = "text"
            null = "NULL"
            bad_rows = "quarantine"
            duplicates = "keep_greatest"
            category = "HR"

            [[dataset]]
            name = "software"
            files = "software*.tsv"
            key = ["device", "product"]
            types = { installed_on = "date", cost = "decimal(4)" }
            volatile = ["seen"]
            encoding = "utf-16le"
            delimiter = "\t"
            quoting = "rfc4180"
            "#,
        )
        .unwrap();
        assert_eq!(config.encoding, Encoding::Windows1252);
        let software = &config.datasets[0];
        assert_eq!(software.types["cost"], Type::Decimal { scale: 4 });
        assert_eq!(software.delimiter, Some(Delimiter::TAB));
        software.check().unwrap();
    }

    #[test]
    fn refuses_wrong_settings() {
        for (toml, reason) in [
            ("folder = 'a'\ncolour = 1", "unknown field `colour`"),
            ("encoding = 'utf-8'", "missing field `folder`"),
            (
                "folder = 'a'\nencoding = 'latin'",
                "unknown variant `latin`",
            ),
            ("folder = 'a'\ndelimiter = '::'", "expected a character"),
            ("folder = 'a'\ndelimiter = 'é'", "one ASCII character"),
            (
                "folder = 'a'\n[[dataset]]\nname='a'\nfiles='*'\ntypes={a='string'}",
                "unknown type `string`",
            ),
        ] {
            let error = toml::from_str::<FileUploadConfig>(toml).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn refuses_entries_that_no_file_can_fit() {
        let entry = |change: fn(&mut DatasetConfig)| {
            let mut entry = DatasetConfig::new("d", "*");
            change(&mut entry);
            entry.check().unwrap_err().to_string()
        };
        for name in ["", "/a", "a//b", "../a", "a/.b", "a:b", "a\\b", "a\nb"] {
            let error = DatasetConfig::new(name, "*").check().unwrap_err();
            assert!(error.message().starts_with("a data set's name"), "{name}");
        }
        assert!(DatasetConfig::new("Größe/a b.c", "*").check().is_ok());
        for (error, reason) in [
            (
                entry(|d| d.key = vec!["a".into(), "a".into()]),
                "`key` names the column a twice (data set: d)",
            ),
            (
                entry(|d| {
                    d.key = vec!["a".into()];
                    d.volatile = vec!["a".into()];
                }),
                "the column a can't be in `key` and in `volatile` (data set: d)",
            ),
            (
                entry(|d| {
                    d.columns = vec!["a".into()];
                    d.types.insert("b".into(), Type::Int);
                }),
                "`columns` lacks the column b (data set: d)",
            ),
        ] {
            assert_eq!(error, reason);
        }
    }
}
