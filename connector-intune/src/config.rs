//! What a person sets.

use connector_graph::{GraphConfig, settings};

/// Says which tenant's Intune to read, as whom and how: the settings of Graph, and
/// [`IntuneSettings`] beside them.
///
/// ```
/// use connector_intune::IntuneConfig;
///
/// let config: Result<IntuneConfig, _> = toml::from_str(
///     r#"
///     tenant = "acme.example"
///     auth = { method = "secret", client_id = "11111111-…", client_secret = { env = "INTUNE" } }
///     skip = ["users"]
///     device_details = true
///     "#,
/// );
/// # let _ = config;
/// ```
pub type IntuneConfig = GraphConfig<IntuneSettings>;

settings! {
    /// What a person sets for Intune, besides the tenant.
    pub struct IntuneSettings {
        /// Whether `managedDeviceDetails` and, where `beta` is set, `managedDeviceHardware` are
        /// read. Each takes a call for each device: 100,000 devices are 100,000 calls, which takes
        /// a quarter of an hour at best and slows other programs of the tenant down. Default:
        /// false.
        pub device_details: bool = false,
    }
}
