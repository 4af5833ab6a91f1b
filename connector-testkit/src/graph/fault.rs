//! What goes wrong, and when.

/// What a [`Graph`](super::Graph) does instead of answering as documented for the good case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GraphFault {
    /// 429 with this `Retry-After`: an integer, a decimal (2.128), or an HTTP date; Intune often
    /// sends none. <https://learn.microsoft.com/graph/throttling>
    Throttled(Option<String>),
    /// A status with HTML for a body, as the gateways before Graph write it for 502, 503 and 504.
    /// <https://learn.microsoft.com/graph/errors>
    Html(u16),
    /// A status with code `UnknownError` and a document of JSON as text in the message, as Intune
    /// has it: <https://github.com/microsoftgraph/powershell-intune-samples/issues/194>
    Nested(u16),
    /// 403 `Authorization_RequestDenied`: nobody consented to the permission.
    /// <https://learn.microsoft.com/graph/errors>
    Denied,
    /// 404: gone meanwhile, or a feature that is not provisioned.
    /// <https://learn.microsoft.com/graph/errors>
    Missing,
    /// 401, and the token is good for nothing from now on: it has expired, in the middle of a walk
    /// too. <https://learn.microsoft.com/entra/identity-platform/access-tokens>
    TokenExpired,
    /// 401 with a claims challenge, until a token comes that was asked for with these claims.
    /// <https://learn.microsoft.com/entra/identity-platform/claims-challenge>
    ClaimsChallenge,
    /// 400 `Directory_ExpiredPageToken`: the walk was too long for the service. A first page has no
    /// token, and comes.
    /// <https://github.com/microsoftgraph/msgraph-sdk-python/issues/176>
    ExpiredPageToken,
    /// A page without objects, and a link to the page that should have been here.
    /// <https://learn.microsoft.com/graph/paging>
    EmptyPage,
    /// A page that begins with the last object of the one before: objects move while others are
    /// added. <https://learn.microsoft.com/graph/delta-query-overview>, where it is documented.
    Repeated,
    /// A link to the next page at that scheme and host.
    ForeignLink(String),
    /// A link that leads to this page again, as Autopilot identities had it:
    /// <https://github.com/microsoftgraph/powershell-intune-samples/issues/87>
    EndlessLink,
    /// A reply that ends in its middle.
    Cut,
    /// A reply that stays away from its middle on.
    Hang,
    /// No reply: the connection is closed.
    Closed,
    /// A single object wrapped in `value`, as samples of the documentation have it.
    /// <https://learn.microsoft.com/graph/api/intune-reporting-devicemanagementexportjob-get>
    Wrapped,
    /// A job that stays `inProgress`.
    /// <https://learn.microsoft.com/graph/api/resources/intune-reporting-devicemanagementexportjob>
    StuckJob,
    /// A job that becomes `failed`, which has no reason.
    /// <https://learn.microsoft.com/graph/api/resources/intune-reporting-devicemanagementexportjob>
    FailedJob,
    /// A report that comes at once, with status 200, and not by a redirect.
    Direct,
    /// A file whose address has expired: 403 in XML, as the storage behind it says it.
    /// <https://learn.microsoft.com/rest/api/storageservices/status-and-error-codes2>
    ExpiredFile,
    /// The token endpoint's clock is ahead by an hour, so a signed assertion is out of its time:
    /// `AADSTS700024`.
    /// <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>
    ClockSkew,
    /// This status with this body, of JSON.
    Reply(u16, String),
}

impl GraphFault {
    /// Makes a 429 that asks for that much patience.
    pub fn throttled(retry_after: &str) -> Self {
        Self::Throttled(Some(retry_after.to_owned()))
    }
}

/// To which requests of a place a fault comes, counted from 1 since it was set. A request that is
/// repeated counts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    from: u64,
    count: u64,
}

impl Times {
    /// To each one.
    pub const ALWAYS: Self = Self::first(u64::MAX);

    /// To the next one.
    pub const ONCE: Self = Self::first(1);

    /// To so many.
    pub const fn first(count: u64) -> Self {
        Self { from: 1, count }
    }

    /// To this one alone.
    pub const fn at(request: u64) -> Self {
        Self {
            from: request,
            count: 1,
        }
    }

    /// To this one and all behind it.
    pub const fn from(request: u64) -> Self {
        Self {
            from: request,
            count: u64::MAX,
        }
    }

    fn holds(self, request: u64) -> bool {
        request >= self.from && request - self.from < self.count
    }
}

/// A fault, and how many requests it has seen.
#[derive(Debug)]
pub(crate) struct Scheduled<F> {
    pub(crate) fault: F,
    pub(crate) times: Times,
    seen: u64,
}

impl<F: Clone> Scheduled<F> {
    pub(crate) fn new(fault: F, times: Times) -> Self {
        Self {
            fault,
            times,
            seen: 0,
        }
    }

    /// Counts a request; returns the fault if it comes to that one.
    pub(crate) fn next(&mut self) -> Option<F> {
        self.seen += 1;
        self.times.holds(self.seen).then(|| self.fault.clone())
    }
}
