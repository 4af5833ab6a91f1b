//! What all data sets of one instance share.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use connector_core::{Clock, Error, ErrorKind, Result, Retry, SystemClock, Timestamp};
use connector_http::{Request, Response, Service, Stack, Transport};
use url::Url;

use crate::config::ServiceNowConfig;

/// Its limits are those of its administrators: rules for each user and hour, of which a reply tells.
const SERVICE: Service = Service::new("ServiceNow").reply_ids(&[
    "x-ratelimit-limit",
    "x-ratelimit-reset",
    "x-ratelimit-rule",
    "date",
]);

pub(crate) struct Link {
    transport: Arc<dyn Transport>,
    url: Url,
    page: u64,
    full_every: u32,
    clock: Arc<dyn Clock>,
    /// What was said of a data set already: it is said once, and again when it changes.
    told: Mutex<BTreeMap<String, String>>,
}

/// What is asked of a table, whichever rows.
#[derive(Debug, Clone)]
pub(crate) struct Ask<'a> {
    pub(crate) table: &'a str,
    pub(crate) filter: &'a str,
    pub(crate) fields: Vec<&'a str>,
    /// Whether each value comes with what it displays as.
    pub(crate) display: bool,
}

impl Link {
    /// Makes the stack over a client, or over its own one.
    pub(crate) fn new(
        config: &ServiceNowConfig,
        over: Option<(Arc<dyn Transport>, Arc<dyn Clock>)>,
    ) -> Result<Self> {
        config.check()?;
        let (client, clock) = match over {
            Some((client, clock)) => (Some(client), clock),
            None => (None, Arc::new(SystemClock::default()) as Arc<dyn Clock>),
        };
        let mut stack = Stack::new(SERVICE, config.http.clone())
            .clock(Arc::clone(&clock))
            .over_client(|client| Arc::new(NoPages(client)));
        if let Some(sign_in) = config.sign_in()? {
            stack = stack.sign_in(&config.url, sign_in);
        }
        Ok(Self {
            transport: match client {
                Some(client) => stack.over(client)?,
                None => stack.build()?,
            },
            url: config.url.clone(),
            page: config.page.into(),
            full_every: config.full_every.get(),
            clock,
            told: Mutex::default(),
        })
    }

    pub(crate) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// How many rows a reply has at most.
    pub(crate) fn page(&self) -> u64 {
        self.page
    }

    /// How many reads there are for each that is of everything, with it.
    pub(crate) fn full_every(&self) -> u32 {
        self.full_every
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Asks for rows of a table. Version 2 of the API is named, since version 1 answers 404 where
    /// there are none.
    pub(crate) async fn get(
        &self,
        ask: &Ask<'_>,
        query: &str,
        limit: u64,
        counted: bool,
    ) -> Result<Response> {
        let mut url = self.url.clone();
        url.set_path(&format!("/api/now/v2/table/{}", ask.table));
        let fields = ask.fields.join(",");
        let limit = limit.to_string();
        let options = [
            ("sysparm_query", query),
            ("sysparm_fields", &fields),
            ("sysparm_limit", &limit),
            (
                "sysparm_display_value",
                if ask.display { "all" } else { "false" },
            ),
            ("sysparm_exclude_reference_link", "true"),
            ("sysparm_suppress_pagination_header", "true"),
            ("sysparm_no_count", if counted { "false" } else { "true" }),
        ];
        let encoded = options.map(|(name, value)| {
            let value = url::form_urlencoded::byte_serialize(value.as_bytes());
            let value = value.collect::<String>();
            format!("{name}={}", value.replace('+', "%20").replace("%2C", ","))
        });
        url.set_query(Some(&encoded.join("&")));
        let request = Request::get(url).header("accept", "application/json")?;
        self.transport.send(request).await
    }

    /// Tells whether that was not yet said of the data set.
    pub(crate) fn is_new(&self, name: &str, what: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(name.to_owned(), what.to_owned()).as_deref() != Some(what)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("transport", &self.transport)
            .field("host", &self.host())
            .finish_non_exhaustive()
    }
}

/// A layer that takes a page for people for what it is: an instance that hibernates, or is being
/// upgraded, answers so with status 200.
struct NoPages(Arc<dyn Transport>);

#[async_trait]
impl Transport for NoPages {
    async fn send(&self, request: Request) -> Result<Response> {
        let reply = self.0.send(request).await?;
        let is_page = reply.header("content-type").is_some_and(|content| {
            let kind = content.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("text/html")
        });
        if reply.status.is_success() && is_page {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the instance answers with a page for people and not with data: it hibernates, is \
                 being upgraded, or `url` is not the address of an instance",
            )
            .with_retry(Retry::Never)
            .with("host", reply.url.host_str().unwrap_or_default()));
        }
        Ok(reply)
    }
}

impl fmt::Debug for NoPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NoPages").field(&self.0).finish()
    }
}
