//! What a reply that is no success means to a caller.

use std::{fmt, time::Duration};

use connector_core::{Error, ErrorKind, Retry, Secret};
use http::StatusCode;
use serde_json::Value;
use url::Url;

use crate::{
    stack::Service,
    transport::{Response, shown},
};

/// What is read of the body of an error: nested JSON can be long, pages of HTML are longer.
const READ: usize = 64 << 10;

/// What of a body is kept, in bytes.
const KEPT: usize = 1 << 10;

/// How deep messages are unwrapped that hold another error as text.
const DEPTH: usize = 4;

/// A reply whose status is not 2xx: the cause of the error that it became.
///
/// ```
/// use connector_http::Refusal;
///
/// fn gone(error: &connector_core::Error) -> bool {
///     Refusal::of(error).is_some_and(|refusal| refusal.status == 404)
/// }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// The source's own code, such as `Directory_ExpiredPageToken`; stable, so branch on it.
    pub code: Option<String>,
    /// What the source says to people. Never branch on it.
    pub message: Option<String>,
    /// Where the reply sends to. Its query may be a credential.
    pub(crate) location: Option<Url>,
}

impl Refusal {
    /// Finds the refusal that led to an error.
    pub fn of(error: &Error) -> Option<&Self> {
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            if let Some(refusal) = error.downcast_ref() {
                return Some(refusal);
            }
            cause = error.source();
        }
        None
    }

    /// Returns whether the source's own code is this one, whatever its case.
    pub fn has_code(&self, code: &str) -> bool {
        let same = |own: &str| own.eq_ignore_ascii_case(code);
        self.code.as_deref().is_some_and(same)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status.as_u16())?;
        if let Some(code) = &self.code {
            write!(f, ", {code}")?;
        }
        match &self.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

/// Without where it sends to.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Refusal({self})")
    }
}

impl std::error::Error for Refusal {}

/// Turns a reply that is no success into an error. `wait` is what the reply asks for.
pub(crate) async fn refused(
    mut response: Response,
    service: &Service,
    wait: Option<Duration>,
) -> Error {
    let body = start(&mut response).await;
    let location = response
        .header("location")
        .and_then(|to| response.url.join(to).ok());
    let (code, message) = said(&body);
    let shown_of = |text: String| -> Option<String> {
        let text = presentable(&text, &response.hidden);
        (!text.is_empty()).then_some(text)
    };
    let refusal = Refusal {
        status: response.status,
        code: code.and_then(shown_of),
        message: message.and_then(shown_of),
        location,
    };
    let (kind, what) = meaning(response.status);
    let mut error = Error::new(kind, format!("{} {what}", service.name));
    if let (Retry::Backoff, Some(wait)) = (error.retry(), wait) {
        error = error.with_retry(Retry::After(wait));
    }
    error = error.with("url", shown(&response.url));
    if let Some(host) = refusal.location.as_ref().and_then(Url::host_str) {
        error = error.with("to", host);
    }
    for name in service.reply_ids {
        if let Some(id) = response.header(name) {
            error = error.with(name, presentable(id, &response.hidden));
        }
    }
    error.with_source(refusal)
}

fn meaning(status: StatusCode) -> (ErrorKind, &'static str) {
    match status.as_u16() {
        300..=399 => (ErrorKind::Source, "sends to another address"),
        401 => (ErrorKind::Auth, "did not accept the credential"),
        402 => (
            ErrorKind::Permission,
            "asks for a licence that is not there",
        ),
        403 => (
            ErrorKind::Permission,
            "says that the credential lacks a right",
        ),
        404 => (ErrorKind::NotFound, "does not have what was asked for"),
        407 => (
            ErrorKind::Config,
            "is not reached: the proxy wants a user and a password, see `proxy`",
        ),
        408 | 500 | 502..=504 | 509 => (ErrorKind::Unavailable, "can't answer for now"),
        425 | 429 => (ErrorKind::RateLimited, "asks for patience"),
        _ => (ErrorKind::Source, "refused the request"),
    }
}

/// Reads the start of a body, of which a part is better than nothing.
async fn start(response: &mut Response) -> Vec<u8> {
    let mut read = Vec::new();
    while let Ok(Some(chunk)) = response.body.chunk().await {
        let room = READ - read.len();
        read.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            break;
        }
    }
    read
}

/// Finds code and message in the body of an error, whatever its form.
fn said(body: &[u8]) -> (Option<String>, Option<String>) {
    if let Ok(json) = serde_json::from_slice::<Value>(body) {
        let mut found = (None, None);
        in_json(&json, DEPTH, &mut found);
        if found != (None, None) {
            return found;
        }
    }
    (None, Some(without_tags(&String::from_utf8_lossy(body))))
}

/// Each product has its own names for the same two things:
/// `OData` `error.code` and `error.message`, which may be JSON as text with `Message` again; OAuth
/// `error` and `error_description`; ServiceNow `error.message` and `error.detail`; vCenter
/// `error_type` and `messages[].default_message`; RFC 9457 `detail` or `title`.
fn in_json(json: &Value, depth: usize, found: &mut (Option<String>, Option<String>)) {
    let Some(object) = json.as_object().filter(|_| depth > 0) else {
        return;
    };
    let field = |names: &[&str]| {
        let named = |(name, _): &(&String, _)| names.iter().any(|n| n.eq_ignore_ascii_case(name));
        object.iter().find(named).map(|(_, value)| value)
    };
    match field(&["error", "odata.error", "value"]) {
        Some(Value::String(code)) => found.0 = Some(code.clone()),
        Some(inner) => in_json(inner, depth - 1, found),
        None => {}
    }
    if let Some(code) = field(&["code", "errorcode", "error_type"]) {
        match code {
            Value::String(code) if !code.is_empty() => found.0 = Some(code.clone()),
            Value::Number(code) => found.0 = Some(code.to_string()),
            _ => {}
        }
    }
    let text = match field(&["message", "error_description", "messages"]) {
        Some(Value::String(text)) => Some(text.clone()),
        // RFC 9457.
        None => field(&["detail"])
            .or_else(|| field(&["title"]))
            .and_then(Value::as_str)
            .map(str::to_owned),
        // `{"lang":"en-US","value":"…"}` of older OData, and vCenter's list.
        Some(Value::Object(localized)) => localized
            .get("value")
            .and_then(Value::as_str)
            .map(str::to_owned),
        Some(Value::Array(list)) => Some(
            list.iter()
                .filter_map(|one| one.get("default_message")?.as_str())
                .collect::<Vec<_>>()
                .join("; "),
        ),
        _ => None,
    };
    if let Some(mut text) = text.filter(|text| !text.is_empty()) {
        if let Ok(nested @ Value::Object(_)) = serde_json::from_str(&text) {
            let before = found.1.take();
            in_json(&nested, depth - 1, found);
            if found.1.is_none() {
                found.1 = before.or(Some(text));
            }
        } else {
            let detail = field(&["detail"]).and_then(Value::as_str);
            if let Some(detail) = detail.filter(|detail| *detail != text) {
                text = format!("{text}: {detail}");
            }
            found.1 = Some(text);
        }
    }
}

/// Returns the text of a page that a gateway made for people.
fn without_tags(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        text.push_str(&rest[..start]);
        text.push(' ');
        let tag = &rest[start..];
        // What these hold is not for people either.
        let until = ["style", "script"].iter().find_map(|name| {
            let opens = tag.get(1..=name.len())?.eq_ignore_ascii_case(name);
            opens.then(|| tag.find("</").map(|end| start + end + 2))?
        });
        let from = until.unwrap_or(start);
        rest = rest[from..]
            .find('>')
            .map_or("", |end| &rest[from + end + 1..]);
    }
    text.push_str(rest);
    text
}

/// Makes a text of the source fit for a message: no secret, no query of an address, no control
/// characters, one line, not too long.
pub(crate) fn presentable(text: &str, hidden: &[Secret]) -> String {
    let mut text = text.to_owned();
    for secret in hidden.iter().filter(|secret| !secret.expose().is_empty()) {
        text = text.replace(secret.expose(), "***");
    }
    let mut shown = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !shown.is_empty() {
            shown.push(' ');
        }
        shown.push_str(&without_query(word));
        if shown.len() > KEPT {
            let end = shown.floor_char_boundary(KEPT);
            shown.truncate(end);
            shown.push('…');
            break;
        }
    }
    shown
}

/// Cuts the query off an address, as far as the address goes.
fn without_query(word: &str) -> String {
    let Some((start, query)) = word
        .find("://")
        .and_then(|scheme| Some(scheme + word[scheme..].find('?')?))
        .map(|at| word.split_at(at))
    else {
        return word.to_owned();
    };
    let ends = |c: char| matches!(c, '"' | '\'' | '<' | '>' | ')' | '}' | ']' | '\\');
    let rest = query.find(ends).map_or("", |end| &query[end..]);
    format!("{start}{}", without_query(rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const SERVICE: Service = Service::new("Graph").reply_ids(&["request-id", "date"]);

    async fn error(status: u16, body: &'static str) -> Error {
        let url = "https://graph.test/v1.0/users?$select=secret"
            .parse()
            .unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        let mut response = Response::new(status, url, body.into());
        response.hidden.push(Secret::new("t0ken"));
        let id = HeaderValue::from_static("4711");
        response.headers.insert("request-id", id);
        refused(response, &SERVICE, None).await
    }

    #[tokio::test]
    async fn a_status_has_a_kind() {
        use ErrorKind as K;
        for (status, kind) in [
            (302, K::Source),
            (400, K::Source),
            (401, K::Auth),
            (402, K::Permission),
            (403, K::Permission),
            (404, K::NotFound),
            (407, K::Config),
            (410, K::Source),
            (429, K::RateLimited),
            (500, K::Unavailable),
            (501, K::Source),
            (503, K::Unavailable),
            (507, K::Source),
        ] {
            let error = error(status, "").await;
            assert_eq!(error.kind(), kind, "{status}");
            let text = error.to_string();
            assert!(
                text.contains("url: https://graph.test/v1.0/users, request-id: 4711"),
                "{text}"
            );
            assert_eq!(Refusal::of(&error).unwrap().status.as_u16(), status);
        }
    }

    #[tokio::test]
    async fn code_and_message_are_found_in_every_form() {
        for (body, said) in [
            (
                r#"{"error":{"code":"Request_BadRequest","message":"No.","innerError":{"date":"2026-11-21T00:00:00"}}}"#,
                "status 400, Request_BadRequest: No.",
            ),
            // As Intune answers: JSON as text in the message, with a code that says nothing.
            (
                r#"{"error":{"code":"UnknownError","message":"{\"ErrorCode\":\"Forbidden\",\"Message\":\"{\\r\\n  \\\"_version\\\": 3,\\r\\n  \\\"Message\\\": \\\"An error - Url: https://fef.test/x?api-version=5&key=abc\\\",\\r\\n  \\\"CustomApiErrorPhrase\\\": \\\"\\\"}\",\"Target\":null}"}}"#,
                "status 400, Forbidden: An error - Url: https://fef.test/x",
            ),
            (
                r#"{"error":"invalid_client","error_description":"AADSTS7000215: wrong"}"#,
                "status 400, invalid_client: AADSTS7000215: wrong",
            ),
            (
                r#"{"error":{"message":"Invalid","detail":"negative"},"status":"failure"}"#,
                "status 400: Invalid: negative",
            ),
            (
                r#"{"error_type":"UNAUTHENTICATED","messages":[{"id":"a","default_message":"Log in."}]}"#,
                "status 400, UNAUTHENTICATED: Log in.",
            ),
            (
                r#"{"type":"about:blank","title":"Conflict","status":409,"code":"gap","detail":"No."}"#,
                "status 400, gap: No.",
            ),
            (
                r#"{"title":"Not Found","status":404}"#,
                "status 400: Not Found",
            ),
            (
                "<html><head><style>p { color: red }</style><title>504</title></head>\n<body><p class='x'>Gateway t0ken</p>",
                "status 400: 504 Gateway ***",
            ),
            ("plain\r\n\ttext", "status 400: plain text"),
            ("", "status 400"),
            ("<", "status 400"),
        ] {
            let error = error(400, body).await;
            let shown = Refusal::of(&error).unwrap().to_string();
            assert_eq!(shown, said, "{body}");
        }
    }

    #[tokio::test]
    async fn what_is_long_is_cut() {
        let long = "ü".repeat(200_000);
        let error = error(500, Box::leak(long.into_boxed_str())).await;
        let shown = Refusal::of(&error).unwrap().to_string();
        assert!(
            shown.len() < 1_100 && shown.ends_with('…'),
            "{}",
            shown.len()
        );
    }

    #[test]
    fn queries_are_cut_wherever_an_address_ends() {
        assert_eq!(
            without_query("(\"https://a/b?c=d\",'https://e?f')?g"),
            "(\"https://a/b\",'https://e')?g"
        );
        assert_eq!(without_query("why?"), "why?");
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(body in ".*") {
            let (_, message) = said(body.as_bytes());
            presentable(&message.unwrap_or_default(), &[]);
            without_tags(&format!("<style>{body}"));
        }
    }
}
