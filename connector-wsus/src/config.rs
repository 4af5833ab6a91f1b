//! What a person sets.

use connector_mssql::{SqlServerConfig, settings};

/// Says which WSUS database to read, as whom and how: the settings of any SQL Server, and
/// [`WsusSettings`] beside them. The database is mostly called `SUSDB`.
///
/// ```
/// use connector_wsus::WsusConfig;
///
/// let config: WsusConfig = toml::from_str(
///     r#"
///     server = "wsus-sql.acme.local"
///     database = "SUSDB"
///     skip = ["vComputerInventory", "vUpdateEffectiveApprovalPerComputer"]
///     "#,
/// )?;
/// assert!(!config.product.not_applicable);
/// # Ok::<(), toml::de::Error>(())
/// ```
pub type WsusConfig = SqlServerConfig<WsusSettings>;

settings! {
    /// What a person sets for WSUS, besides the server.
    pub struct WsusSettings {
        /// Whether `vUpdateInstallationInfoBasic` has a row, too, for each computer that an update
        /// does not apply to: mostly more than half of the rows, and little to know. Default: false.
        pub not_applicable: bool = false,
    }
}
