//! What a person sets about the receiver.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bytesize::ByteSize;
use connector_core::{Result, Secret};
use serde::{Deserialize, Deserializer, de};

use crate::{config::Section, sink::SinkSettings, upload::LEAST_BATCH};

/// The table `[receive]`, with absolute paths.
#[derive(Debug, Clone)]
pub(crate) struct ReceiveSettings {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Option<TlsSettings>,
    /// The authorities, besides its own, whose certificates it knows clients by.
    pub(crate) client_ca: Option<PathBuf>,
    pub(crate) state: PathBuf,
    pub(crate) largest_batch: u64,
    pub(crate) spool: u64,
    pub(crate) rate: u32,
    pub(crate) certificate_life: Duration,
    pub(crate) token_life: Duration,
    pub(crate) clear_text: bool,
    pub(crate) tenants: Vec<TenantSettings>,
}

/// The receiver's certificate and key, PEM.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsSettings {
    pub(crate) certificate: PathBuf,
    pub(crate) key: Secret,
}

/// A table `[[receive.tenant]]`.
#[derive(Debug, Clone)]
pub(crate) struct TenantSettings {
    pub(crate) name: String,
    pub(crate) syncs: BTreeSet<String>,
    /// Names in certificates of clients, and the syncs of each.
    pub(crate) clients: BTreeMap<String, BTreeSet<String>>,
    pub(crate) sink: SinkSettings,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default = "default_listen")]
    listen: SocketAddr,
    tls: Option<TlsSettings>,
    client_ca: Option<PathBuf>,
    #[serde(default = "default_state")]
    state: PathBuf,
    #[serde(default = "default_batch")]
    largest_batch: ByteSize,
    #[serde(default = "default_spool")]
    spool: ByteSize,
    #[serde(default = "default_rate")]
    rate: u32,
    #[serde(default = "default_certificate", deserialize_with = "span")]
    certificate_life: Duration,
    #[serde(default = "default_token", deserialize_with = "span")]
    token_life: Duration,
    #[serde(default)]
    allow_clear_text_from_other_machines: bool,
    #[serde(default)]
    tenant: Vec<toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantForm {
    name: String,
    syncs: BTreeSet<String>,
    #[serde(default)]
    clients: BTreeMap<String, BTreeSet<String>>,
    sink: toml::Table,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8443))
}

fn default_state() -> PathBuf {
    "receive".into()
}

fn default_batch() -> ByteSize {
    ByteSize::mib(16)
}

fn default_spool() -> ByteSize {
    ByteSize::gib(10)
}

fn default_rate() -> u32 {
    50
}

fn default_certificate() -> Duration {
    Duration::from_hours(24 * 90)
}

fn default_token() -> Duration {
    Duration::from_mins(15)
}

fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    match humantime::parse_duration(&text) {
        Ok(span) if span >= Duration::from_secs(1) => Ok(span),
        Ok(_) => Err(de::Error::custom("at least \"1s\" is needed")),
        Err(_) => Err(de::Error::custom(
            "not a duration such as \"15m\" or \"90d\"",
        )),
    }
}

impl ReceiveSettings {
    /// Reads the table; relative paths begin at `folder`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](connector_core::ErrorKind::Config) naming the setting.
    pub(crate) fn read(section: Section, folder: &Path) -> Result<Self> {
        let whole = section.clone();
        let form: Form = section.read()?;
        let wrong = |name: &str, message: &str| Err(whole.wrong(name, message));
        if form.largest_batch.as_u64() < LEAST_BATCH {
            return wrong("largest_batch", "at least \"64 KiB\" is needed");
        }
        if form.rate == 0 {
            return wrong("rate", "at least 1 is needed");
        }
        let local = form.listen.ip().is_loopback();
        if form.tls.is_none() && !local && !form.allow_clear_text_from_other_machines {
            return wrong(
                "tls",
                "the setting is missing: only this machine itself is served in clear text. \
                 Behind a proxy that has TLS, set `allow_clear_text_from_other_machines = true`",
            );
        }
        if form.tenant.is_empty() {
            return wrong(
                "tenant",
                "there is no [[receive.tenant]], so nobody can send",
            );
        }
        let (mut names, mut places, mut clients) = (HashSet::new(), HashSet::new(), HashSet::new());
        let mut tenants = Vec::new();
        for (number, table) in form.tenant.into_iter().enumerate() {
            let path = format!("receive.tenant[{number}]");
            let section = Section::new(path.clone(), table);
            let tenant = section.clone().read::<TenantForm>()?;
            crate::config::check_name("tenant", &tenant.name)?;
            if !names.insert(tenant.name.to_lowercase()) {
                return Err(section.wrong("name", "another tenant has this name"));
            }
            let sink = Section::new(format!("{path}.sink"), tenant.sink);
            let sink = SinkSettings::read(sink, folder)?;
            if !sink.is_repository() {
                return Err(
                    section.wrong("sink", "a tenant's sink is a repository, such as sqlite")
                );
            }
            if let Some(place) = sink.place()
                && !places.insert(place.to_owned())
            {
                return Err(section.wrong("sink", "another tenant's records are there"));
            }
            for (client, syncs) in &tenant.clients {
                if !clients.insert(client.to_lowercase()) {
                    return Err(section.wrong("clients", &format!("`{client}` is repeated")));
                }
                if let Some(sync) = syncs.difference(&tenant.syncs).next() {
                    let message = format!("`{sync}` is none of the tenant's `syncs`");
                    return Err(section.wrong("clients", &message));
                }
            }
            tenants.push(TenantSettings {
                name: tenant.name,
                syncs: tenant.syncs,
                clients: tenant.clients,
                sink,
            });
        }
        Ok(Self {
            listen: form.listen,
            tls: form.tls.map(|tls| TlsSettings {
                certificate: folder.join(tls.certificate),
                ..tls
            }),
            client_ca: form.client_ca.map(|file| folder.join(file)),
            state: folder.join(form.state),
            largest_batch: form.largest_batch.as_u64(),
            spool: form.spool.as_u64(),
            rate: form.rate,
            certificate_life: form.certificate_life,
            token_life: form.token_life,
            clear_text: form.allow_clear_text_from_other_machines,
            tenants,
        })
    }
}
