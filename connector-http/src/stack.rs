//! Putting the layers together.

use std::{fmt, sync::Arc};

use connector_core::{Clock, Error, ErrorKind, Result, SystemClock};
use ring::rand::{SecureRandom, SystemRandom};
use url::Url;

use crate::{
    auth::{Auth, SignIn},
    checked::Checked,
    client::Client,
    config::HttpConfig,
    limit::{Quota, RateLimit},
    retry::Retrying,
    trace::Traced,
    transport::Transport,
};

/// What is known of a source beforehand: data that a connector declares.
///
/// ```
/// use std::time::Duration;
/// use connector_http::{Quota, Service};
///
/// const GRAPH: Service = Service::new("Microsoft Graph")
///     .request_id("client-request-id")
///     .reply_ids(&["request-id", "client-request-id", "x-ms-ags-diagnostic", "date"])
///     .quotas(&[("exportJobs", Quota::new(48, Duration::from_mins(1)))]);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Service {
    pub(crate) name: &'static str,
    pub(crate) request_id: Option<&'static str>,
    pub(crate) reply_ids: &'static [&'static str],
    pub(crate) quotas: &'static [(&'static str, Quota)],
}

impl Service {
    /// Takes the name that people call it by.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            request_id: None,
            reply_ids: &[],
            quotas: &[],
        }
    }

    /// Sets the header that carries a new id with each request, in lower case. Default: none.
    #[must_use]
    pub const fn request_id(mut self, header: &'static str) -> Self {
        self.request_id = Some(header);
        self
    }

    /// Sets the headers of a reply that whoever runs the source asks for when something failed, in
    /// lower case. They are in every error. Default: none.
    #[must_use]
    pub const fn reply_ids(mut self, headers: &'static [&'static str]) -> Self {
        self.reply_ids = headers;
        self
    }

    /// Sets what it allows, by limit group ([`Request::group`](crate::Request::group)). Default:
    /// as much as it will.
    #[must_use]
    pub const fn quotas(mut self, quotas: &'static [(&'static str, Quota)]) -> Self {
        self.quotas = quotas;
        self
    }
}

/// Puts the layers together that every request goes through, in this order: trace, retry, errors
/// from statuses, limits, credential, the client.
///
/// The order matters. Retry stands above the limits, so that a second attempt is counted too, and
/// above the credential, so that it has a token that is still valid. Make one for a connector, and
/// give it to all its data sets: tokens, limits and connections are shared that way.
///
/// ```
/// use std::sync::Arc;
/// use connector_core::Secret;
/// use connector_http::{Fixed, HttpConfig, Service, Stack};
///
/// let transport = Stack::new(Service::new("ServiceNow"), HttpConfig::default())
///     .sign_in(
///         &"https://acme.service-now.com".parse()?,
///         Arc::new(Fixed::basic("datasync", &Secret::new("s3cret"))),
///     )
///     .build()?;
/// # drop(transport);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct Stack {
    service: Service,
    config: HttpConfig,
    sign_in: Option<(url::Origin, Arc<dyn SignIn>)>,
    over_client: Option<Wrap>,
    clock: Arc<dyn Clock>,
    seed: Option<u64>,
}

type Wrap = Box<dyn FnOnce(Arc<dyn Transport>) -> Arc<dyn Transport> + Send>;

impl Stack {
    /// Takes what is known of the source, and what a person has set.
    pub fn new(service: Service, config: HttpConfig) -> Self {
        Self {
            service,
            config,
            sign_in: None,
            over_client: None,
            clock: Arc::new(SystemClock::default()),
            seed: None,
        }
    }

    /// Sets how to sign in, and the address whose scheme, host and port alone get the credential.
    pub fn sign_in(mut self, base: &Url, sign_in: Arc<dyn SignIn>) -> Self {
        self.sign_in = Some((base.origin(), sign_in));
        self
    }

    /// Puts a layer of the connector's own right over the client, below all others: for a source
    /// that tells by other means than the status what went wrong. What it returns is judged like a
    /// reply of the source. Default: none.
    pub fn over_client(
        mut self,
        wrap: impl FnOnce(Arc<dyn Transport>) -> Arc<dyn Transport> + Send + 'static,
    ) -> Self {
        self.over_client = Some(Box::new(wrap));
        self
    }

    /// Sets the clock that dates of the source are compared with. Waits are those of tokio.
    /// Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets what the random parts of waits and the ids of requests come from. Default: the
    /// system's random numbers.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Puts the layers over a client of its own. Reads files of certificates, so it blocks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] naming the setting that is wrong.
    pub fn build(mut self) -> Result<Arc<dyn Transport>> {
        let seed = self.random()?;
        let client = Client::new(&self.config, self.service.request_id, seed)?;
        self.over(Arc::new(client))
    }

    /// Puts the layers over another transport, which returns every reply as `Ok`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] naming the setting that is wrong.
    pub fn over(mut self, client: Arc<dyn Transport>) -> Result<Arc<dyn Transport>> {
        self.config.check()?;
        let seed = self.random()?;
        let client = match self.over_client {
            Some(wrap) => wrap(client),
            None => client,
        };
        let config = self.config;
        let largest = (
            config.largest_page.as_u64(),
            config.largest_download.as_u64(),
        );
        let checked = |inner| {
            let clock = Arc::clone(&self.clock);
            Arc::new(Checked::new(inner, self.service, largest, clock)) as Arc<dyn Transport>
        };
        let auth = match self.sign_in {
            Some((origin, sign_in)) => {
                let asked = checked(Arc::clone(&client));
                Arc::new(Auth::new(client, asked, sign_in, origin)) as Arc<dyn Transport>
            }
            None => client,
        };
        let limit = RateLimit::new(
            auth,
            self.service.quotas,
            config.retry.elapsed,
            Arc::clone(&self.clock),
        );
        let retry = Retrying::new(checked(Arc::new(limit)), config.retry, seed);
        Ok(Arc::new(Traced(Arc::new(retry))))
    }

    fn random(&mut self) -> Result<u64> {
        if let Some(seed) = self.seed {
            return Ok(seed);
        }
        let mut bytes = [0; 8];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| Error::new(ErrorKind::Unexpected, "the system has no random numbers"))?;
        let seed = u64::from_le_bytes(bytes);
        self.seed = Some(seed);
        Ok(seed)
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("service", &self.service)
            .field("config", &self.config)
            .field("sign_in", &self.sign_in)
            .finish_non_exhaustive()
    }
}
