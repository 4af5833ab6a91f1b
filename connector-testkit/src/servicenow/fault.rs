//! What goes wrong, and replies that say so.

use serde_json::json;

use crate::http::HttpReply;

/// What a [`ServiceNow`](super::ServiceNow) does instead of answering as documented for the good
/// case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceNowFault {
    /// 429 by a rule for the user and hour, which asks for that much patience in seconds.
    /// <https://www.servicenow.com/docs/r/api-reference/rest-api-explorer/inbound-REST-API-rate-limiting.html>
    Limited(String),
    /// 429 because the queues of the instance are full, without any header.
    /// <https://support.servicenow.com/kb?id=kb_article_view&sysparm_article=KB3046852>
    Busy,
    /// 403: an access control.
    /// <https://github.com/ServiceNow/ServiceNowDocs> (`r_RESTAPIHTTPResponseCodes`)
    Denied,
    /// 401: the session or the token has ended. Tokens issued so far are good for nothing.
    Unauthorized,
    /// 400: no such table.
    Missing,
    /// 200 with a page for people, as an instance that hibernates answers.
    Hibernating,
    /// 302 to that address.
    Moved(String),
    /// A query that took too long, as users report it: 200, the whole body there, and its JSON ends in
    /// a row's middle.
    CutJson,
    /// The same with JSON that is whole, and with an error behind the rows.
    TrailingError,
    /// The same for as long as more than so many rows are asked for.
    CutJsonAbove(u64),
    /// A reply without `X-Total-Count`, as a proxy may leave it.
    NoCount,
    /// A reply that ends in its middle.
    Cut,
    /// A reply that stays away from its middle on.
    Hang,
    /// This status with this body, of JSON.
    Reply(u16, String),
}

impl ServiceNowFault {
    /// Makes a 429 that asks for that much patience, in seconds.
    pub fn limited(retry_after: &str) -> Self {
        Self::Limited(retry_after.to_owned())
    }
}

/// Makes an error as the API has it.
pub(super) fn refused(status: u16, message: &str, detail: &str) -> HttpReply {
    let body = json!({
        "error": { "message": message, "detail": detail },
        "status": "failure",
    });
    HttpReply::json(body.to_string()).with_status(status)
}

pub(super) fn unauthorized() -> HttpReply {
    refused(
        401,
        "User Not Authenticated",
        "Required to provide Auth information",
    )
    .header("www-authenticate", "Basic realm=\"Service-now\"")
}

/// Answers for a fault that is the whole answer; others change one.
pub(super) fn instead(fault: &ServiceNowFault) -> Option<HttpReply> {
    Some(match fault {
        ServiceNowFault::Limited(after) => refused(429, "Rate limit exceeded", "")
            .header("retry-after", after)
            .header("x-ratelimit-limit", "1000")
            .header("x-ratelimit-reset", "1795219200")
            .header("x-ratelimit-rule", "a9e4f1b2c3d4e5f60718293a4b5c6d7e"),
        ServiceNowFault::Busy => refused(429, "Transaction rejected", "semaphore queue is full"),
        ServiceNowFault::Denied => refused(
            403,
            "User Not Authorized",
            "Failed API level ACL Validation",
        ),
        ServiceNowFault::Unauthorized => unauthorized(),
        ServiceNowFault::Missing => refused(400, "Invalid table", ""),
        ServiceNowFault::Hibernating => HttpReply::status(200)
            .header("content-type", "text/html; charset=UTF-8")
            .chunk("<html><head><title>Instance Hibernating page</title></head></html>"),
        ServiceNowFault::Moved(to) => HttpReply::redirect(to),
        ServiceNowFault::Reply(status, body) => HttpReply::json(body.clone()).with_status(*status),
        _ => return None,
    })
}

/// Changes a page by a fault of which it is a part.
pub(super) fn changed(fault: &ServiceNowFault, page: &str, limit: u64) -> Option<HttpReply> {
    let middle = page.floor_char_boundary(page.len() / 2);
    let half = &page[..middle];
    Some(match fault {
        ServiceNowFault::CutJson => HttpReply::json(half),
        ServiceNowFault::CutJsonAbove(most) if limit > *most => HttpReply::json(half),
        ServiceNowFault::TrailingError => {
            let error = json!({
                "message": "Transaction cancelled: maximum execution time exceeded",
                "detail": "Transaction cancelled: maximum execution time exceeded",
            });
            let whole = page.trim_end().strip_suffix('}')?;
            HttpReply::json(format!(
                "{whole},\"error\":{error},\"status\":\"failure\"}}"
            ))
        }
        ServiceNowFault::Cut => HttpReply::json(half).cut(),
        ServiceNowFault::Hang => HttpReply::json(half).hang(),
        _ => return None,
    })
}
