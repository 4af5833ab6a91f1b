//! The layers over a transport that answers as scripted.

use std::sync::Arc;

use connector_http::{HttpConfig, Request, Response, Service, SignIn, Stack, Transport};
use connector_testkit::http::{Scripted, TokioClock};
use url::Url;

pub(crate) const SERVICE: Service = Service::new("The source").reply_ids(&["request-id"]);

pub(crate) fn url(text: &str) -> Url {
    text.parse().unwrap()
}

pub(crate) fn get(path: &str) -> Request {
    Request::get(url(&format!("https://source.test{path}")))
}

/// The stack as connectors have it, over a script.
pub(crate) fn stack(script: &Arc<Scripted>) -> Arc<dyn Transport> {
    layers(SERVICE, HttpConfig::default())
        .over(script.clone())
        .unwrap()
}

pub(crate) fn layers(service: Service, config: HttpConfig) -> Stack {
    Stack::new(service, config)
        .clock(Arc::new(TokioClock::new()))
        .seed(7)
}

pub(crate) fn signed_in(script: &Arc<Scripted>, sign_in: impl SignIn) -> Arc<dyn Transport> {
    layers(SERVICE, HttpConfig::default())
        .sign_in(&url("https://source.test"), Arc::new(sign_in))
        .over(script.clone())
        .unwrap()
}

pub(crate) async fn text(response: Response) -> String {
    let bytes = response.bytes(1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}
