//! The data sets, declared as data.
//!
//! Names, columns and types are those of the report views that Microsoft documents in "SQL Server
//! views in Configuration Manager"; a comment says where no document tells and a choice was made.
//! Which setting takes another choice is in [`crate::SccmSettings`] and in the crate's README.

#[macro_use]
mod columns;
mod cmsync;
mod mecm;

use connector_mssql::SqlDataset;

use crate::config::SccmSettings;

/// Returns the data sets that these settings choose: 27 of the site's inventory, and nine of its
/// content distribution.
pub fn datasets(settings: &SccmSettings) -> Vec<SqlDataset> {
    let mut datasets = mecm::datasets(settings);
    datasets.extend(cmsync::datasets(settings));
    datasets
}
