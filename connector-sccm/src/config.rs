//! What a person sets.

use connector_mssql::{SqlServerConfig, settings};
use serde::Deserialize;

/// Says which site database to read, as whom and how: the settings of any SQL Server, and
/// [`SccmSettings`] beside them.
///
/// ```
/// use connector_sccm::{DuplicatesBy, SccmConfig};
///
/// let config: SccmConfig = toml::from_str(
///     r#"
///     sources = "CMSync|ACME-CM01.acme.local|CM_CAS"
///     categories = ["CMSync"]
///     duplicates_by = "hardware_id"
///     "#,
/// )?;
/// assert_eq!(config.database, "CM_CAS");
/// assert_eq!(config.product.duplicates_by, DuplicatesBy::HardwareId);
/// # Ok::<(), toml::de::Error>(())
/// ```
pub type SccmConfig = SqlServerConfig<SccmSettings>;

settings! {
    /// Which object stands behind a data set whose source no document names.
    ///
    /// Each has a default that is the most plausible one. An object that is not among the choices
    /// goes into the data set's [`Override`](connector_mssql::Override).
    pub struct SccmSettings {
        /// What `Patchs` is. Default: [`Patchs::States`].
        pub patchs: Patchs = Patchs::default(),

        /// What `Settings` is. Default: [`SettingsFrom::Identity`].
        pub settings_from: SettingsFrom = SettingsFrom::default(),

        /// Where the content of applications hangs, for `ApplicationPackages`. Default:
        /// [`Applications::Direct`].
        pub applications: Applications = Applications::default(),

        /// Whose content `Contents` is. Default: [`Contents::Items`].
        pub contents: Contents = Contents::default(),

        /// What the devices in `Duplicates` share. Default: [`DuplicatesBy::SmbiosGuid`].
        pub duplicates_by: DuplicatesBy = DuplicatesBy::default(),
    }
}

/// What the data set `Patchs` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Patchs {
    /// `states`: which update is required or installed on which device, from
    /// `v_UpdateComplianceStatus`; large.
    #[default]
    States,
    /// `updates`: the list of updates with their titles, from `v_UpdateInfo`.
    Updates,
}

/// What the data set `Settings` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingsFrom {
    /// `identity`: which site the database is of, from `v_Identification` or `SMSData`.
    #[default]
    Identity,
    /// `components`: what the site's components are set to, from `vSMS_SC_Component_Property`;
    /// names of accounts can be among the values.
    Components,
}

/// Where the content of applications hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Applications {
    /// `direct`: packages belong to the application.
    #[default]
    Direct,
    /// `deployment_types`: packages belong to its deployment types, for versions of the product
    /// where the other finds nothing.
    DeploymentTypes,
}

/// Whose content the data set `Contents` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contents {
    /// `items`: that of applications and updates, from `v_CIToContent`.
    #[default]
    Items,
    /// `packages`: that of packages, from `v_Content`.
    Packages,
}

/// What the devices in the data set `Duplicates` share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DuplicatesBy {
    /// `smbios_guid`: the id of the board, where it is a real one.
    #[default]
    SmbiosGuid,
    /// `hardware_id`: the site's own id of the hardware.
    HardwareId,
    /// `name`: the name.
    Name,
}
