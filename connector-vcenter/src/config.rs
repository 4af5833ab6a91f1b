//! What a person sets.

use std::path::Path;

use connector_core::{Error, ErrorKind, Result, Secret};
use connector_http::HttpConfig;
use serde::Deserialize;
use url::Url;

use crate::{api::ApiVersion, datasets::datasets};

/// Says which vCenter to read, as whom and how.
///
/// ```
/// use connector_vcenter::VcenterConfig;
///
/// let config: VcenterConfig = toml::from_str(
///     r#"
///     url = "https://vcenter.acme.local"
///     user = "datasync@vsphere.local"
///     password = "s3cret"
///     skip = ["licences"]
///     http = { ca_file = "vmca.pem" }
///     "#,
/// )?;
/// assert_eq!(config.page, 500);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct VcenterConfig {
    /// The address of the server: `https://vcenter.acme.local`. Without a path, that of the API
    /// (`/sdk`) is taken.
    pub url: Url,

    /// The user, with its domain: `datasync@vsphere.local`.
    pub user: String,

    /// The user's password.
    pub password: Secret,

    /// Data sets that are left out, by name. Default: none.
    #[serde(default)]
    pub skip: Vec<String>,

    /// How many objects a reply has at most. Default: 500.
    #[serde(default = "page")]
    pub page: u32,

    /// The version of the API that is spoken, such as `"6.7.3"`. Default: the newest that the server
    /// offers, up to 8.
    #[serde(default)]
    pub api_version: Option<ApiVersion>,

    /// How the server is reached. Default: [`HttpConfig::default`].
    #[serde(default)]
    pub http: HttpConfig,
}

fn page() -> u32 {
    500
}

impl VcenterConfig {
    /// Takes what has no default.
    pub fn new(url: Url, user: impl Into<String>, password: Secret) -> Self {
        Self {
            url,
            user: user.into(),
            password,
            skip: Vec::new(),
            page: page(),
            api_version: None,
            http: HttpConfig::default(),
        }
    }

    /// Makes paths that are relative begin at a folder.
    pub fn relative_to(&mut self, folder: &Path) {
        self.http.relative_to(folder);
    }

    /// Returns the address of the API.
    pub(crate) fn sdk(&self) -> Result<Url> {
        let wrong = |message: &str| Err(Error::new(ErrorKind::Config, message));
        if !matches!(self.url.scheme(), "http" | "https") || !self.url.has_host() {
            return wrong("`url` begins with `https://`");
        }
        if !self.url.username().is_empty() || self.url.password().is_some() {
            return wrong("`url` holds no user and password: they are settings of their own");
        }
        let mut sdk = self.url.clone();
        sdk.set_query(None);
        sdk.set_fragment(None);
        if matches!(sdk.path(), "" | "/") {
            sdk.set_path("/sdk");
        }
        Ok(sdk)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Config, message));
        if self.page == 0 {
            return wrong("`page` is 1 at least".to_owned());
        }
        for name in &self.skip {
            if !datasets().iter().any(|dataset| dataset.name == name) {
                let known: Vec<_> = datasets().iter().map(|dataset| dataset.name).collect();
                let known = known.join(", ");
                return wrong(format!(
                    "`skip` names no data set `{name}`; there are: {known}"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> VcenterConfig {
        VcenterConfig::new(url.parse().unwrap(), "u", Secret::new("canary"))
    }

    #[test]
    fn the_address_of_the_api_is_found() {
        for (url, sdk) in [
            ("https://vc.acme.local", "https://vc.acme.local/sdk"),
            (
                "https://vc.acme.local:8443/?a#b",
                "https://vc.acme.local:8443/sdk",
            ),
            ("https://proxy/vc1/sdk", "https://proxy/vc1/sdk"),
        ] {
            assert_eq!(config(url).sdk().unwrap().as_str(), sdk);
        }
        for url in ["ftp://vc", "https://u:canary@vc"] {
            let error = config(url).sdk().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(!error.to_string().contains("canary"));
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        let mut wrong = config("https://vc");
        wrong.skip = vec!["hosts".to_owned(), "vms".to_owned()];
        let error = wrong.check().unwrap_err().to_string();
        assert!(
            error.contains("`vms`; there are: virtual_machines"),
            "{error}"
        );
        let mut wrong = config("https://vc");
        wrong.page = 0;
        assert!(wrong.check().unwrap_err().message().contains("`page`"));
    }
}
