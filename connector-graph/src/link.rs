//! What all data sets of one tenant share.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use connector_core::{Clock, Error, ErrorKind, Result, Retry};
use connector_http::{Refusal, Request, Stack, Transport};
use tokio::sync::Semaphore;
use url::Url;

use crate::{
    claims::{Newest, Watched},
    config::{ExportConfig, GraphConfig},
    dataset::Version,
    definition::Definition,
    group::SERVICE,
};

/// How many exports run at once; the service says of none how many it likes.
const EXPORTS: usize = 2;

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) newest: Newest,
    pub(crate) export: ExportConfig,
    pub(crate) connections: usize,
    pub(crate) exports: Semaphore,
    /// What was said of a data set already: it is said once, and again when it changes.
    pub(crate) told: Mutex<BTreeMap<&'static str, String>>,
    graph: Url,
    admin_consent: String,
}

impl Link {
    /// Makes the stack over a client, or over its own one.
    pub(crate) fn new(
        config: &GraphConfig,
        client: Option<Arc<dyn Transport>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        config.check()?;
        let graph = config.graph()?;
        let newest = Newest::default();
        let sign_in = Watched {
            inner: config.sign_in(&clock)?,
            newest: newest.clone(),
        };
        let stack = Stack::new(SERVICE, config.http.clone())
            .clock(clock)
            .sign_in(&graph, Arc::new(sign_in));
        Ok(Self {
            transport: match client {
                Some(client) => stack.over(client)?,
                None => stack.build()?,
            },
            newest,
            export: config.export.clone(),
            connections: config.connections,
            exports: Semaphore::new(EXPORTS),
            told: Mutex::default(),
            graph,
            admin_consent: format!(
                "https://{}/{}/adminconsent",
                config.cloud.login_host(),
                config.tenant
            ),
        })
    }

    pub(crate) fn host(&self) -> &str {
        self.graph.host_str().unwrap_or_default()
    }

    /// Makes an address below a version. Names in `ids` take the places of `{id}`.
    pub(crate) fn url(&self, version: Version, path: &str, id: Option<&str>) -> Result<Url> {
        let mut url = self.graph.clone();
        let no_base = || Error::new(ErrorKind::Config, "`hosts.graph` is no address of a host");
        let mut segments = url.path_segments_mut().map_err(|()| no_base())?;
        segments.pop_if_empty().push(version.path());
        for part in path.split('/') {
            match id {
                Some(id) => segments.push(&part.replace("{id}", id)),
                None => segments.push(part),
            };
        }
        drop(segments);
        Ok(url)
    }

    /// Makes a GET with options of a query, which are encoded so that nothing stands for another
    /// thing: a plus is not a space in all of them.
    pub(crate) fn get(
        definition: &Definition,
        mut url: Url,
        options: &[(&str, String)],
    ) -> Request {
        if !options.is_empty() {
            let encoded = options.iter().map(|(name, value)| {
                let value = url::form_urlencoded::byte_serialize(value.as_bytes());
                let value = value.collect::<String>();
                // Names of properties stay as they are read.
                let value = value.replace('+', "%20").replace("%2C", ",");
                format!("{name}={value}")
            });
            url.set_query(Some(&encoded.collect::<Vec<_>>().join("&")));
        }
        Request::get(url).group(definition.declared.group)
    }

    /// Names the data set, and says what a person can do about a refusal.
    pub(crate) fn explain(&self, definition: &Definition, error: Error) -> Error {
        let name = definition.name();
        let is_last = error.retry() == Retry::Never;
        let status = Refusal::of(&error).map(|refusal| refusal.status.as_u16());
        let message = match (error.kind(), status) {
            (ErrorKind::Permission, Some(_)) => self.lacking(definition),
            (ErrorKind::Source, Some(400 | 501)) if is_last => format!(
                "Microsoft Graph refuses the query; columns that it does not know can be left out \
                 with `without` in `override.{name}`"
            ),
            (ErrorKind::NotFound, Some(404)) => {
                "Microsoft Graph does not have that: the feature may not be set up in the tenant"
                    .to_owned()
            }
            _ => return error.with("data set", name),
        };
        let explained = Error::new(error.kind(), message).with_retry(error.retry());
        explained.with("data set", name).with_source(error)
    }

    /// Says which permission is missing.
    fn lacking(&self, definition: &Definition) -> String {
        let needed = definition.declared.permissions;
        let roles = self.newest.claims().map(|claims| claims.roles);
        let missing: Vec<_> = match &roles {
            Some(roles) => needed
                .iter()
                .filter(|needed| !roles.iter().any(|role| role == *needed))
                .copied()
                .collect(),
            None => needed.to_vec(),
        };
        if missing.is_empty() {
            return format!(
                "Microsoft Graph refuses the app, which has the permission {}: a licence is \
                 missing in the tenant, or a policy of Conditional Access stands in the way",
                needed.join(" and ")
            );
        }
        format!(
            "the app lacks a permission: grant it the application permission {}, and consent at \
             {}",
            missing.join(" and "),
            self.admin_consent
        )
    }

    /// Tells whether that was not yet said of the data set.
    pub(crate) fn is_new(&self, name: &'static str, what: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(name, what.to_owned()).as_deref() != Some(what)
    }
}
