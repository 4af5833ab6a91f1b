//! What a person sets.

use std::{
    collections::BTreeMap,
    fmt,
    marker::PhantomData,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use connector_core::{Clock, Error, ErrorKind, Result, Secret, Settings, unknown_setting};
use connector_http::{
    Assertion, ClientCertificate, ClientCredentials, HttpConfig, ManagedIdentity, Proof, SignIn,
    Signature,
};
use serde::{Deserialize, Deserializer, de};
use url::Url;

use crate::cloud::Cloud;

/// Says which tenant to read, as whom and how.
///
/// `P` are the settings of a product whose connector is built on this one; see
/// [`settings!`](crate::settings). Every setting has the field's name in configuration files, but
/// for `product`, whose settings stand beside the others.
///
/// ```
/// use connector_core::Secret;
/// use connector_graph::{Authentication, GraphConfig};
///
/// let config = GraphConfig::<()>::new(
///     "acme.example",
///     Authentication::Secret {
///         client_id: "11111111-2222-3333-4444-555555555555".to_owned(),
///         client_secret: Secret::new("s3cret"),
///     },
/// );
/// assert_eq!(config.connections, 4);
/// ```
#[derive(Debug, Clone)]
pub struct GraphConfig<P = ()> {
    /// The cloud that the tenant is in. Default: [`Cloud::Global`].
    pub cloud: Cloud,

    /// Other hosts than the cloud's: a gateway, a test. Default: none.
    pub hosts: Option<Hosts>,

    /// The tenant: its id, or a domain of it that is verified. Required, but for a managed identity.
    pub tenant: String,

    /// As whom to sign in. Required.
    pub auth: Authentication,

    /// Whether data sets are read that Graph has in its version `beta` only, which may change.
    /// Default: false.
    pub beta: bool,

    /// The categories to sync. Default: empty, for all.
    pub categories: Vec<String>,

    /// Data sets not to sync, by name. Default: none.
    pub skip: Vec<String>,

    /// What differs for data sets, by name. In configuration files
    /// `[connector.NAME.override.DATASET]`. Default: nothing.
    pub overrides: BTreeMap<String, Override>,

    /// How long Intune's exports may take. Default: [`ExportConfig::default`].
    pub export: ExportConfig,

    /// How many objects are asked for at once where each takes a request, 1 to 16. Default: 4.
    pub connections: usize,

    /// The way to Graph. In configuration files `[connector.NAME.http]`. Default:
    /// [`HttpConfig::default`].
    pub http: HttpConfig,

    /// The settings of the product whose connector this is.
    pub product: P,
}

impl<P: Default> GraphConfig<P> {
    /// Takes the tenant and as whom to sign in; every other setting has its default.
    pub fn new(tenant: impl Into<String>, auth: Authentication) -> Self {
        Self {
            cloud: Cloud::default(),
            hosts: None,
            tenant: tenant.into(),
            auth,
            beta: false,
            categories: Vec::new(),
            skip: Vec::new(),
            overrides: BTreeMap::new(),
            export: ExportConfig::default(),
            connections: 4,
            http: HttpConfig::default(),
            product: P::default(),
        }
    }
}

impl<P> GraphConfig<P> {
    /// Takes the product's settings out.
    pub fn split(self) -> (GraphConfig, P) {
        let Self {
            cloud,
            hosts,
            tenant,
            auth,
            beta,
            categories,
            skip,
            overrides,
            export,
            connections,
            http,
            product,
        } = self;
        let config = GraphConfig {
            cloud,
            hosts,
            tenant,
            auth,
            beta,
            categories,
            skip,
            overrides,
            export,
            connections,
            http,
            product: (),
        };
        (config, product)
    }

    /// Makes paths that are relative begin at a folder.
    pub fn relative_to(&mut self, folder: &Path) {
        self.http.relative_to(folder);
        if let Authentication::Certificate { certificate, .. } = &mut self.auth {
            *certificate = folder.join(&certificate);
        }
    }

    /// Finds what is wrong whatever the data sets are.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |message: &str| Err(Error::new(ErrorKind::Config, message));
        let is_person = !matches!(self.auth, Authentication::ManagedIdentity { .. });
        if is_person && self.tenant.is_empty() {
            return wrong("`tenant` is empty: give the tenant's id, or a verified domain of it");
        }
        let is_any = |tenant: &str| ["common", "organizations", "consumers"].contains(&tenant);
        if is_any(&self.tenant.to_ascii_lowercase()) {
            return wrong("`tenant` names one tenant, by its id or a verified domain of it");
        }
        if self.tenant.contains(['/', '?', '#', '%']) {
            return wrong("`tenant` is neither an id nor a domain");
        }
        if !(1..=16).contains(&self.connections) {
            return wrong("`connections` is a number from 1 to 16");
        }
        if self.export.submissions == 0 {
            return wrong("`export.submissions` is 1 at least: the first one counts");
        }
        Ok(())
    }

    /// Returns the address of Graph, without a version.
    pub(crate) fn graph(&self) -> Result<Url> {
        self.host(self.cloud.graph_host(), |hosts| &hosts.graph)
    }

    fn host(&self, host: &str, own: fn(&Hosts) -> &Url) -> Result<Url> {
        match &self.hosts {
            Some(hosts) => Ok(own(hosts).clone()),
            None => format!("https://{host}/").parse().map_err(|error| {
                Error::new(ErrorKind::Unexpected, "not an address").with_source(error)
            }),
        }
    }

    /// Makes what signs in. Reads files of certificates, so it blocks.
    pub(crate) fn sign_in(&self, clock: &Arc<dyn Clock>) -> Result<Arc<dyn SignIn>> {
        let resource = format!("https://{}", self.cloud.graph_host());
        let (client_id, proof) = match &self.auth {
            Authentication::Secret {
                client_id,
                client_secret,
            } => (client_id, Proof::Secret(client_secret.clone())),
            Authentication::Certificate {
                client_id,
                certificate,
                key,
                signature,
            } => {
                let own = ClientCertificate {
                    certificate: certificate.clone(),
                    key: key.clone(),
                };
                let assertion = Assertion::new(&own, *signature, Arc::clone(clock))?;
                (client_id, Proof::Certificate(Box::new(assertion)))
            }
            Authentication::ManagedIdentity { client_id } => {
                let identity = ManagedIdentity::new(
                    format!("{resource}/"),
                    client_id.clone(),
                    Arc::clone(clock),
                )?;
                return Ok(Arc::new(identity));
            }
        };
        let mut token = self.host(self.cloud.login_host(), |hosts| &hosts.login)?;
        token.set_path(&format!("{}/oauth2/v2.0/token", self.tenant));
        let app = ClientCredentials::new(token, client_id.as_str(), proof);
        Ok(Arc::new(app.scope(format!("{resource}/.default"))))
    }
}

/// Hosts in place of a cloud's own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hosts {
    /// Who gives tokens: `https://login.acme.local/`.
    pub login: Url,
    /// Who answers for Graph.
    pub graph: Url,
}

/// As whom to sign in. In configuration files a table with `method` and what belongs to it.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case", deny_unknown_fields)]
pub enum Authentication {
    /// `secret`: an app registration by a secret of it.
    Secret {
        /// The application (client) id.
        client_id: String,
        /// The secret's value, not its id.
        client_secret: Secret,
    },
    /// `certificate`: an app registration by a certificate of it.
    Certificate {
        /// The application (client) id.
        client_id: String,
        /// The certificate's file (PEM).
        certificate: PathBuf,
        /// Its private key (PEM), mostly `{ file = "…" }`.
        key: Secret,
        /// How statements are signed. Default: `PS256`.
        #[serde(default)]
        signature: Signature,
    },
    /// `managed_identity`: the identity of the Azure machine that this program runs on.
    ManagedIdentity {
        /// Which one, where the machine has several. Default: none.
        #[serde(default)]
        client_id: Option<String>,
    },
}

/// How long Intune's exports may take.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ExportConfig {
    /// How long one job may take, after which it counts as stuck. Minutes are normal in a large
    /// tenant. Default: `30m`.
    #[serde(deserialize_with = "span")]
    pub deadline: Duration,

    /// How many jobs are submitted for one read, should they get stuck or fail. Default: 3.
    pub submissions: u32,

    /// How long it takes until a job is first asked after; then half as long again each time, up to
    /// half a minute. Each time counts against the quota. Default: `5s`.
    #[serde(deserialize_with = "span")]
    pub pause: Duration,
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self {
            deadline: Duration::from_mins(30),
            submissions: 3,
            pause: Duration::from_secs(5),
        }
    }
}

/// What differs for one data set. A setting left out is as declared.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Override {
    /// Another path of a collection or object, name of a report to export, or name of a usage
    /// report's function: names change over the years.
    pub path: Option<String>,

    /// Which objects or rows are asked for. Rows that fall out of it are deleted.
    pub filter: Option<String>,

    /// The time that a usage report is about: `D7`, `D30`, `D90`, `D180`.
    pub period: Option<String>,

    /// Columns that are not asked for, by name, because the service does not know them; they are
    /// null in every row.
    pub without: Vec<String>,
}

fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    match humantime::parse_duration(&text) {
        Ok(span) if !span.is_zero() => Ok(span),
        Ok(_) => Err(de::Error::custom("more than no time is needed")),
        Err(_) => Err(de::Error::custom(
            "not a duration such as \"30s\" or \"1h 30m\"",
        )),
    }
}

const NAMES: &[&str] = &[
    "cloud",
    "hosts",
    "tenant",
    "auth",
    "beta",
    "categories",
    "skip",
    "override",
    "export",
    "connections",
    "http",
];

impl<'de, P: Settings> Deserialize<'de> for GraphConfig<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Visitor(PhantomData))
    }
}

struct Visitor<P>(PhantomData<P>);

impl<'de, P: Settings> de::Visitor<'de> for Visitor<P> {
    type Value = GraphConfig<P>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings of a tenant of Microsoft Graph")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let nobody = Authentication::ManagedIdentity { client_id: None };
        let mut config = GraphConfig::<P>::new("", nobody);
        let (mut tenant, mut auth) = (None, None);
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "cloud" => config.cloud = map.next_value()?,
                "hosts" => config.hosts = Some(map.next_value()?),
                "tenant" => tenant = Some(map.next_value()?),
                "auth" => auth = Some(map.next_value()?),
                "beta" => config.beta = map.next_value()?,
                "categories" => config.categories = map.next_value()?,
                "skip" => config.skip = map.next_value()?,
                "override" => config.overrides = map.next_value()?,
                "export" => config.export = map.next_value()?,
                "connections" => config.connections = map.next_value()?,
                "http" => config.http = map.next_value()?,
                other => {
                    if !config.product.take(other, &mut map)? {
                        return Err(unknown_setting(other, P::NAMES, NAMES));
                    }
                }
            }
        }
        config.auth = auth.ok_or_else(|| de::Error::missing_field("auth"))?;
        config.tenant = match (tenant, &config.auth) {
            (Some(tenant), _) => tenant,
            (None, Authentication::ManagedIdentity { .. }) => String::new(),
            (None, _) => return Err(de::Error::missing_field("tenant")),
        };
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<GraphConfig, toml::de::Error> {
        toml::from_str(text)
    }

    const AUTH: &str = "auth = { method = 'secret', client_id = 'a', client_secret = 'canary' }";

    #[test]
    fn reads_every_setting() {
        let config = parse(
            r#"
            cloud = "us_government_dod"
            hosts = { login = "http://localhost:1/", graph = "http://localhost:2/" }
            tenant = "acme.example"
            auth = { method = "certificate", client_id = "a", certificate = "own.pem", key = "canary", signature = "RS256" }
            beta = true
            categories = ["Devices"]
            skip = ["users"]
            override.users = { path = "users/delta", filter = "a eq 1", period = "D7", without = ["mail"] }
            export = { deadline = "2h", submissions = 1, pause = "1s" }
            connections = 8
            http = { largest_page = "8 MiB" }
            "#,
        );
        let mut config = config.unwrap();
        config.check().unwrap();
        config.relative_to(Path::new("/etc"));
        let Authentication::Certificate { certificate, .. } = &config.auth else {
            panic!("another method");
        };
        assert_eq!(certificate, Path::new("/etc/own.pem"));
        assert_eq!(config.export.deadline, Duration::from_hours(2));
        assert_eq!(config.overrides["users"].without, ["mail"]);
        assert_eq!(config.graph().unwrap().port(), Some(2));
        assert!(!format!("{config:?}").contains("canary"));
    }

    #[test]
    fn a_managed_identity_needs_no_tenant() {
        let config = parse("auth = { method = 'managed_identity' }").unwrap();
        config.check().unwrap();
        assert_eq!(config.cloud, Cloud::Global);
    }

    #[test]
    fn each_cloud_has_its_name() {
        for cloud in Cloud::ALL {
            let config = parse(&format!("cloud = '{}'\ntenant = 't'\n{AUTH}", cloud.name()));
            let config = config.unwrap();
            assert_eq!(config.cloud, *cloud);
            assert_eq!(config.graph().unwrap().host_str(), Some(cloud.graph_host()));
        }
    }

    #[test]
    fn refuses_wrong_settings() {
        for (text, reason) in [
            ("colour = 1", "unknown field `colour`"),
            ("cloud = 'germany'", "unknown variant `germany`"),
            ("export = { deadline = 'soon' }", "not a duration"),
            (
                "auth = { method = 'secret', client_id = 'a' }",
                "client_secret",
            ),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let error = parse(AUTH).unwrap_err().to_string();
        assert!(error.contains("missing field `tenant`"), "{error}");
        for (text, reason) in [
            ("tenant = ''", "`tenant` is empty"),
            ("tenant = 'Common'", "names one tenant"),
            ("tenant = 'a/b'", "neither an id"),
            ("tenant = 'a'\nconnections = 0", "`connections`"),
            ("tenant = 'a'\nexport = { submissions = 0 }", "submissions"),
        ] {
            let config = parse(&format!("{text}\n{AUTH}")).unwrap();
            let error = config.check().unwrap_err();
            assert!(error.message().contains(reason), "{error}");
        }
    }
}
