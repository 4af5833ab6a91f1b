//! Making errors of replies that are no success.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use connector_core::{Clock, ErrorKind, Result, Retry};

use crate::{
    error::refused,
    retry::retry_after,
    stack::Service,
    transport::{Body, Receive, Request, Response, Transport},
};

/// A layer that returns replies of status 2xx, whole where that was asked for, and makes errors of
/// all others.
pub(crate) struct Checked {
    inner: Arc<dyn Transport>,
    service: Service,
    largest_page: u64,
    largest_download: u64,
    clock: Arc<dyn Clock>,
}

impl Checked {
    pub(crate) fn new(
        inner: Arc<dyn Transport>,
        service: Service,
        (largest_page, largest_download): (u64, u64),
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            inner,
            service,
            largest_page,
            largest_download,
            clock,
        }
    }
}

#[async_trait]
impl Transport for Checked {
    async fn send(&self, mut request: Request) -> Result<Response> {
        let (receive, may_repeat) = (request.receive, request.idempotent);
        let hidden = std::mem::take(&mut request.hidden);
        let mut response = self.inner.send(request).await?;
        response.hidden.extend(hidden);
        if !response.status.is_success() {
            let wait = retry_after(&response, &*self.clock);
            let error = refused(response, &self.service, wait).await;
            // What is told to come later was not done; about anything else nobody knows.
            return Err(if may_repeat || error.kind() == ErrorKind::RateLimited {
                error
            } else {
                error.with_retry(Retry::Never)
            });
        }
        response.body = match receive {
            Receive::Stream => response.body.capped(self.largest_download),
            Receive::Whole => {
                let whole = response.body.capped(self.largest_page).bytes().await;
                Body::from(whole.map_err(|error| {
                    if may_repeat {
                        error
                    } else {
                        error.with_retry(Retry::Never)
                    }
                })?)
            }
        };
        Ok(response)
    }
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Checked").field(&self.inner).finish()
    }
}
