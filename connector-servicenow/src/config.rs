//! What a person sets.

use std::{collections::BTreeMap, num::NonZeroU32, path::Path, sync::Arc};

use connector_core::{Error, ErrorKind, Result, Secret};
use connector_http::{ClientCredentials, Fixed, HttpConfig, PasswordGrant, Proof, SignIn};
use serde::Deserialize;
use url::Url;

/// Says which instance to read, as whom and how.
///
/// ```
/// use connector_servicenow::ServiceNowConfig;
///
/// let config: ServiceNowConfig = toml::from_str(
///     r#"
///     url = "https://acme.service-now.com"
///     auth = { method = "basic", user = "datasync", password = "s3cret" }
///     skip = ["software_packages", "software_instances"]
///     scope = "x_acme_inv"
///     override.computers = { filter = "install_status=1", display = ["company"] }
///
///     [[dataset]]
///     name = "usage"
///     table = "usage"                        # x_acme_inv_usage
///     columns = ["device", "product", "minutes"]
///     "#,
/// )?;
/// assert_eq!(config.page, 1000);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ServiceNowConfig {
    /// The address of the instance: `https://acme.service-now.com`.
    pub url: Url,

    /// As whom to sign in.
    pub auth: Authentication,

    /// The categories to sync. Default: empty, for all.
    #[serde(default)]
    pub categories: Vec<String>,

    /// Data sets not to sync, by name. Default: none.
    #[serde(default)]
    pub skip: Vec<String>,

    /// What differs for data sets that are declared, by name. In configuration files
    /// `[connector.NAME.override.DATASET]`. Default: nothing.
    #[serde(default, rename = "override")]
    pub overrides: BTreeMap<String, Override>,

    /// The scope of the application whose tables the entries of `dataset` name: `x_acme_inv`.
    /// Default: none, and they name tables in full.
    #[serde(default)]
    pub scope: String,

    /// Further data sets. In configuration files each is an entry `[[connector.NAME.dataset]]`.
    /// Default: none.
    #[serde(default, rename = "dataset")]
    pub datasets: Vec<TableConfig>,

    /// How many rows a reply has at most (`sysparm_limit`), 10 to 10,000. Default: 1,000.
    #[serde(default = "page")]
    pub page: u32,

    /// Every so many cycles all rows of a table are read, and in those between only rows that changed
    /// since (`sys_updated_on`). What is deleted, falls out of `filter`, displays as something else, or
    /// was changed by a script that leaves `sys_updated_on` as it was, is then found by the next cycle
    /// that reads everything. Default: 1, for always.
    #[serde(default = "always")]
    pub full_every: NonZeroU32,

    /// How the instance is reached. In configuration files `[connector.NAME.http]`. Default:
    /// [`HttpConfig::default`].
    #[serde(default)]
    pub http: HttpConfig,
}

fn page() -> u32 {
    1000
}

fn always() -> NonZeroU32 {
    NonZeroU32::MIN
}

impl ServiceNowConfig {
    /// Takes the address and as whom to sign in; every other setting has its default.
    pub fn new(url: Url, auth: Authentication) -> Self {
        Self {
            url,
            auth,
            categories: Vec::new(),
            skip: Vec::new(),
            overrides: BTreeMap::new(),
            scope: String::new(),
            datasets: Vec::new(),
            page: page(),
            full_every: always(),
            http: HttpConfig::default(),
        }
    }

    /// Makes paths that are relative begin at a folder.
    pub fn relative_to(&mut self, folder: &Path) {
        self.http.relative_to(folder);
    }

    /// Finds what is wrong whatever the instance holds.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |message: &str| Err(Error::new(ErrorKind::Config, message));
        if !matches!(self.url.scheme(), "http" | "https") || !self.url.has_host() {
            return wrong("`url` begins with `https://`");
        }
        if !self.url.username().is_empty() || self.url.password().is_some() {
            return wrong("`url` holds no user and password: they belong into `auth`");
        }
        if !matches!(self.url.path(), "" | "/") || self.url.query().is_some() {
            return wrong(
                "`url` is the instance's address and nothing behind it: \
                 `https://acme.service-now.com`",
            );
        }
        if !(10..=10_000).contains(&self.page) {
            return wrong("`page` is a number from 10 to 10000");
        }
        if matches!(self.auth, Authentication::Certificate)
            && self.http.client_certificate.is_none()
        {
            return wrong(
                "the method `certificate` of `auth` needs `http.client_certificate`: the \
                 certificate that the instance maps to a user",
            );
        }
        Ok(())
    }

    /// Makes what signs in, unless the connection's certificate is all there is.
    pub(crate) fn sign_in(&self) -> Result<Option<Arc<dyn SignIn>>> {
        let endpoint = self.url.join("/oauth_token.do").map_err(|error| {
            Error::new(ErrorKind::Config, "`url` is no address of a host").with_source(error)
        })?;
        Ok(match &self.auth {
            Authentication::Basic { user, password } => {
                Some(Arc::new(Fixed::basic(user, password)))
            }
            Authentication::ClientCredentials {
                client_id,
                client_secret,
                scope,
            } => {
                let proof = Proof::Secret(client_secret.clone());
                let app = ClientCredentials::new(endpoint, client_id, proof);
                Some(Arc::new(match scope {
                    Some(scope) => app.scope(scope),
                    None => app,
                }))
            }
            Authentication::Password {
                client_id,
                client_secret,
                user,
                password,
            } => {
                let grant = PasswordGrant::new(endpoint, user, password.clone());
                Some(Arc::new(
                    grant.client(client_id, Some(client_secret.clone())),
                ))
            }
            Authentication::Certificate => None,
        })
    }
}

/// As whom to sign in. In configuration files a table with `method` and what belongs to it.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case", deny_unknown_fields)]
pub enum Authentication {
    /// `basic`: a user of the instance, by password with each request.
    Basic {
        /// The user's name.
        user: String,
        /// The user's password.
        password: Secret,
    },
    /// `client_credentials`: an application that the instance knows, which acts as the user that is
    /// set there. The instance's property
    /// `glide.oauth.inbound.client.credential.grant_type.enabled` must be true.
    ClientCredentials {
        /// The application's client id.
        client_id: String,
        /// The application's client secret.
        client_secret: Secret,
        /// What is asked for. Default: nothing.
        #[serde(default)]
        scope: Option<String>,
    },
    /// `password`: a user through an application that the instance knows; afterwards by refresh
    /// token, for as long as that is accepted.
    Password {
        /// The application's client id.
        client_id: String,
        /// The application's client secret.
        client_secret: Secret,
        /// The user's name.
        user: String,
        /// The user's password.
        password: Secret,
    },
    /// `certificate`: by `http.client_certificate` alone, which the instance maps to a user.
    Certificate,
}

/// What differs for one declared data set. A setting left out is as declared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Override {
    /// Another table, such as one that extends the declared one: `u_cmdb_ci_laptop`.
    pub table: Option<String>,

    /// Which rows are asked for, as an encoded query: `install_status=1^virtual=false`. Rows that
    /// fall out of it are deleted. Default: all.
    pub filter: Option<String>,

    /// Further fields, each a column. Default: none.
    pub columns: Vec<String>,

    /// Fields that are not asked for: the user may not read them. Default: none.
    pub without: Vec<String>,

    /// Fields whose display value is a column too, called `dv_` and the field's name. Every value
    /// then comes twice, and a display value changes when what is referred to is renamed. Default:
    /// none.
    pub display: Vec<String>,

    /// Further fields that move when nothing else did. Default: none.
    pub volatile: Vec<String>,
}

/// A data set that configuration alone declares. Its key is `sys_id`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableConfig {
    /// The name, unique within the connector; letters in either case are the same.
    pub name: String,

    /// The category. Default: `General`.
    #[serde(default = "general")]
    pub category: String,

    /// The table: with a scope, what follows the scope's name in the table's (`usage` for
    /// `x_acme_inv_usage`; the whole name is taken, too), and without one, its name.
    pub table: String,

    /// Another scope than the connector's; empty for none. Default: the connector's `scope`.
    #[serde(default)]
    pub scope: Option<String>,

    /// The fields that are columns besides `sys_id`. One of a record that is referred to is named by
    /// way of the reference: `device.name`. Default: all that the dictionary has, but for those of a
    /// secret's kind.
    #[serde(default)]
    pub columns: Vec<String>,

    /// As [`Override::filter`].
    #[serde(default)]
    pub filter: Option<String>,

    /// As [`Override::without`].
    #[serde(default)]
    pub without: Vec<String>,

    /// As [`Override::display`].
    #[serde(default)]
    pub display: Vec<String>,

    /// As [`Override::volatile`].
    #[serde(default)]
    pub volatile: Vec<String>,
}

fn general() -> String {
    "General".to_owned()
}

impl TableConfig {
    /// Takes name and table; every other setting has its default.
    pub fn new(name: impl Into<String>, table: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            category: general(),
            table: table.into(),
            scope: None,
            columns: Vec::new(),
            filter: None,
            without: Vec::new(),
            display: Vec::new(),
            volatile: Vec::new(),
        }
    }
}
