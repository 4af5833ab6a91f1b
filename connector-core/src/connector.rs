//! Configured access to one source system.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;

use crate::{
    dataset::Dataset,
    error::{Error, ErrorKind, Result},
};

/// Configured access to one source system: owns data sets.
#[async_trait]
pub trait Connector: Debug + Send + Sync + 'static {
    /// Returns what and who it is.
    fn info(&self) -> &ConnectorInfo;

    /// Returns the data sets that it offers now. May look at the source, for a source whose data
    /// sets are found and not declared.
    ///
    /// # Errors
    ///
    /// When the source as a whole can't be used. What is wrong with one data set is that data
    /// set's own error, from [`Dataset::schema`] or [`Dataset::read`], so that the others go on.
    async fn datasets(&self) -> Result<Vec<Arc<dyn Dataset>>>;

    /// Reaches the source, signs in and makes one cheap read for each data set.
    ///
    /// # Errors
    ///
    /// When the source as a whole can't be used.
    async fn check(&self) -> Result<CheckReport>;
}

/// What and who a connector is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorInfo {
    /// The kind, as configuration spells it: `sccm`, `fileupload`.
    pub kind: &'static str,
    /// The configured name of this instance.
    pub name: String,
    /// The connector's own version.
    pub version: &'static str,
}

/// What [`Connector::check`] found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// What is worth knowing of the source: product, version, site.
    pub facts: Vec<(String, String)>,
    /// What can be read, by data set.
    pub datasets: Vec<DatasetCheck>,
}

impl CheckReport {
    /// Tells whether no data set has a problem.
    pub fn is_ok(&self) -> bool {
        self.datasets
            .iter()
            .all(|dataset| dataset.availability.is_ok())
    }

    /// Returns what was found worth knowing under a name.
    pub fn fact(&self, name: &str) -> Option<&str> {
        let mut facts = self.facts.iter();
        let (_, fact) = facts.find(|(known, _)| known == name)?;
        Some(fact)
    }

    /// Returns whether the data set of that name can be read.
    pub fn availability(&self, name: &str) -> Option<&Availability> {
        let mut datasets = self.datasets.iter();
        let dataset = datasets.find(|dataset| dataset.name == name)?;
        Some(&dataset.availability)
    }
}

/// Whether one data set can be read.
#[derive(Debug)]
pub struct DatasetCheck {
    /// The data set's name.
    pub name: String,
    /// What the check found.
    pub availability: Availability,
}

/// Whether a data set can be read, and if not, why.
#[derive(Debug)]
#[non_exhaustive]
pub enum Availability {
    /// It can be read.
    Available,
    /// The source does not collect it, which is no mistake: an optional inventory class, say.
    NotCollected {
        /// Why, in words.
        reason: String,
    },
    /// A right is missing.
    MissingPermission {
        /// The right and how to grant it.
        reason: String,
    },
    /// Columns that it can't do without are missing.
    MissingColumns {
        /// Their names.
        columns: Vec<String>,
    },
    /// Something else is wrong.
    Failed(Error),
}

impl Availability {
    /// Sorts the outcome of a trial into its kind.
    pub fn from_outcome(outcome: Result<()>) -> Self {
        match outcome {
            Ok(()) => Self::Available,
            Err(error) if error.kind() == ErrorKind::Permission => Self::MissingPermission {
                reason: format!("{error:#}"),
            },
            Err(error) if error.kind() == ErrorKind::NotCollected => Self::NotCollected {
                reason: format!("{error:#}"),
            },
            Err(error) => Self::Failed(error),
        }
    }

    /// Tells whether nothing needs a person: available, or not collected.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Available | Self::NotCollected { .. })
    }
}

impl std::fmt::Display for Availability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Available => f.write_str("available"),
            Self::NotCollected { reason } => write!(f, "not collected: {reason}"),
            Self::MissingPermission { reason } => write!(f, "missing permission: {reason}"),
            Self::MissingColumns { columns } => {
                write!(f, "missing columns: {}", columns.join(", "))
            }
            Self::Failed(error) => write!(f, "failed: {error:#}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Connector;

    #[expect(
        dead_code,
        reason = "compiles only while the trait can be used as an object"
    )]
    fn is_object_safe(_: &dyn Connector) {}
}
