//! What a person sets.

use connector_mssql::{SqlServerConfig, settings};

/// Says which monitoring database to read, as whom and how: the settings of any SQL Server, and
/// [`CitrixSettings`] beside them. The database is mostly called `Citrix<Site>Monitoring`.
///
/// ```
/// use connector_citrix::CitrixConfig;
///
/// let config: CitrixConfig = toml::from_str(
///     r#"
///     server = "ctx-sql.acme.local"
///     database = "CitrixLondonMonitoring"
///     skip = ["SessionMetrics"]
///     "#,
/// )?;
/// assert!(config.product.keep_groomed);
/// # Ok::<(), toml::de::Error>(())
/// ```
pub type CitrixConfig = SqlServerConfig<CitrixSettings>;

settings! {
    /// What a person sets for the monitoring database, besides the server.
    pub struct CitrixSettings {
        /// Whether a row that the database groomed away stays as it was last read. Grooming deletes
        /// by age, after days or months by the licence; nothing else deletes there. Without it,
        /// groomed rows are deletions. For one data set: `gone` in its
        /// [`Override`](connector_mssql::Override). Default: true.
        pub keep_groomed: bool = true,
    }
}
