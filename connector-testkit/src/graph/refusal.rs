//! Replies that are errors, in the form that Graph and what stands around it have.
//! <https://learn.microsoft.com/graph/errors>

use serde_json::json;

use super::fault::GraphFault;
use crate::http::HttpReply;

/// Makes an error. The date of `innerError` has no time zone, as Graph writes it.
pub(super) fn refused(status: u16, code: &str, message: &str) -> HttpReply {
    let body = json!({ "error": {
        "code": code,
        "message": message,
        "innerError": {
            "date": "2026-11-21T00:00:00",
            "request-id": REQUEST,
            "client-request-id": REQUEST,
        },
    }});
    HttpReply::json(body.to_string()).with_status(status)
}

/// An id that an error of the connector has to name.
const REQUEST: &str = "94fb3b52-452a-4535-a601-69e0a90e3aa2";

/// Gives a reply the ids that each one of Graph has.
pub(super) fn with_ids(reply: HttpReply) -> HttpReply {
    reply
        .header("request-id", REQUEST)
        .header("client-request-id", REQUEST)
        .header(
            "x-ms-ags-diagnostic",
            r#"{"ServerInfo":{"DataCenter":"Test"}}"#,
        )
}

pub(super) fn bad_request(message: &str) -> HttpReply {
    refused(400, "BadRequest", message)
}

pub(super) fn no_segment(segment: &str) -> HttpReply {
    bad_request(&format!("Resource not found for the segment '{segment}'."))
}

pub(super) fn unauthorized(message: &str) -> HttpReply {
    let challenge = "Bearer realm=\"\", \
        authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\"";
    refused(401, "InvalidAuthenticationToken", message).header("www-authenticate", challenge)
}

/// Answers for a fault that is the whole answer; others change one, or are acted upon elsewhere.
pub(super) fn instead(fault: &GraphFault) -> Option<HttpReply> {
    Some(match fault {
        GraphFault::Throttled(after) => {
            let reply = refused(429, "TooManyRequests", "Please retry again later.");
            match after {
                Some(after) => reply.header("retry-after", after),
                None => reply,
            }
        }
        GraphFault::Html(status) => HttpReply::status(*status)
            .header("content-type", "text/html; charset=us-ascii")
            .chunk(format!(
                "<!DOCTYPE HTML><HTML><HEAD><TITLE>Service Unavailable</TITLE></HEAD>\r\n<BODY>\
                 <h2>Service Unavailable</h2><hr><p>HTTP Error {status}.</p></BODY></HTML>"
            )),
        GraphFault::Nested(status) => {
            let inner = json!({
                "_version": 3,
                "Message": "An internal server error has occurred - Operation ID (for customer \
                    support): 00000000-0000-0000-0000-000000000000",
                "CustomApiErrorPhrase": "",
                "RetryAfter": null,
                "ErrorSourceService": "",
                "HttpHeaders": "{}",
            });
            refused(*status, "UnknownError", &inner.to_string())
        }
        GraphFault::Denied => refused(
            403,
            "Authorization_RequestDenied",
            "Insufficient privileges to complete the operation.",
        ),
        GraphFault::Missing => refused(404, "ResourceNotFound", "Resource not found."),
        GraphFault::ExpiredPageToken => refused(
            400,
            "Directory_ExpiredPageToken",
            "The specified page token value has expired and can no longer be included in your \
             request.",
        ),
        GraphFault::Closed => HttpReply::closed(),
        GraphFault::ExpiredFile => storage_refused(
            403,
            "AuthenticationFailed",
            "Server failed to authenticate the request. Make sure the value of Authorization \
             header is formed correctly including the signature.",
        ),
        GraphFault::Reply(status, body) => HttpReply::json(body.as_str()).with_status(*status),
        _ => return None,
    })
}

/// Makes an error of the storage that files are in.
pub(super) fn storage_refused(status: u16, code: &str, message: &str) -> HttpReply {
    HttpReply::status(status)
        .header("content-type", "application/xml")
        .header("x-ms-error-code", code)
        .chunk(format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code>\
             <Message>{message}</Message></Error>"
        ))
}

/// Lets a reply end, or stay away, in its middle.
pub(super) fn half(reply: &HttpReply, hangs: bool) -> HttpReply {
    let body = reply.chunks().concat();
    let mut half = HttpReply::status(reply.code());
    for (name, value) in reply.headers() {
        half = half.header(name, value);
    }
    let half = half.chunk(&body[..body.len() / 2]);
    if hangs { half.hang() } else { half.cut() }
}
