//! Telling what is sent, and what came of it.

use std::sync::Arc;

use async_trait::async_trait;
use connector_core::Result;
use tokio::time::Instant;
use tracing::Instrument;

use crate::transport::{Request, Response, Transport, shown};

/// A layer that traces each request, attempts and waits included: method, address without query,
/// outcome, time. Never headers or bodies.
#[derive(Debug)]
pub(crate) struct Traced(pub(crate) Arc<dyn Transport>);

#[async_trait]
impl Transport for Traced {
    async fn send(&self, request: Request) -> Result<Response> {
        let url = shown(&request.url);
        let span = tracing::debug_span!("request", method = %request.method, url);
        async {
            let start = Instant::now();
            let sent = self.0.send(request).await;
            let took = start.elapsed();
            match &sent {
                Ok(response) => {
                    tracing::debug!(status = response.status.as_u16(), ?took, "replied");
                }
                Err(error) => tracing::debug!(%error, ?took, "failed"),
            }
            sent
        }
        .instrument(span)
        .await
    }
}
