//! What a person sets.

use connector_graph::GraphConfig;

/// Says which tenant to read, as whom and how: the settings of every connector of Microsoft Graph.
///
/// ```
/// use connector_office365::Office365Config;
///
/// let config: Office365Config = toml::from_str(
///     r#"
///     tenant = "acme.example"
///     auth = { method = "secret", client_id = "11111111-2222-3333-4444-555555555555", client_secret = "s3cret" }
///     skip = ["signInActivity"]
///     override.mailboxUsage = { period = "D30" }
///     "#,
/// )?;
/// assert_eq!(config.overrides["mailboxUsage"].period.as_deref(), Some("D30"));
/// # Ok::<(), toml::de::Error>(())
/// ```
pub type Office365Config = GraphConfig;
