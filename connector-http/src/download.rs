//! Following a redirect, on purpose.

use connector_core::{Error, ErrorKind, Result};
use http::{Method, header};

use crate::{
    error::Refusal,
    transport::{Credential, Request, Response, Transport, shown},
};

/// How many redirects are followed.
const HOPS: u32 = 5;

/// Gets what may be kept elsewhere, as Graph does with reports and exports, and streams it.
///
/// Redirects are followed here and nowhere else. Another host, scheme or port gets neither the
/// credential nor any header of the request: its address is the permission.
///
/// # Errors
///
/// As [`Transport::send`]; [`ErrorKind::Source`] when there are more than five redirects, or one
/// leads from TLS to clear text.
pub async fn download(transport: &dyn Transport, request: Request) -> Result<Response> {
    let mut request = request.streamed();
    for _ in 0..=HOPS {
        let error = match transport.send(request.clone()).await {
            Err(error) => error,
            done => return done,
        };
        let to = Refusal::of(&error)
            .filter(|refusal| matches!(refusal.status.as_u16(), 301 | 302 | 303 | 307 | 308))
            .and_then(|refusal| refusal.location.clone());
        let Some(to) = to.filter(|_| request.method == Method::GET) else {
            return Err(error);
        };
        let secure = |url: &url::Url| url.scheme() == "https";
        if secure(&request.url) && !secure(&to) {
            return Err(Error::new(
                ErrorKind::Source,
                "the source sends from TLS to clear text, which is not followed",
            )
            .with("url", shown(&request.url))
            .with("to", shown(&to)));
        }
        if to.origin() != request.url.origin() {
            request.headers.clear();
            request
                .headers
                .insert(header::ACCEPT, header::HeaderValue::from_static("*/*"));
            request.credential = Credential::None;
        }
        request.url = to;
    }
    Err(Error::new(
        ErrorKind::Source,
        "the source sends from one address to the next, without an end",
    )
    .with("url", shown(&request.url)))
}
