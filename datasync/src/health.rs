//! Answers who asks how the host is: `/healthz` for people and supervisors, `/metrics` for
//! Prometheus.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use connector_core::{Error, ErrorKind, Result};
use tokio::net::TcpListener;
use tracing::{error, info};

use crate::{metrics::Metrics, stop::Stop};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Listens, and answers until a stop is asked for.
///
/// # Errors
///
/// [`ErrorKind::Config`] when the address can't be listened on.
pub(crate) async fn start(address: SocketAddr, metrics: Arc<Metrics>, stop: Stop) -> Result<()> {
    let failed = |error| {
        Error::new(
            ErrorKind::Config,
            "health.listen: can't listen there; is the address another program's?",
        )
        .with("address", address)
        .with_source(error)
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    info!("Health at http://{address}/healthz, metrics at http://{address}/metrics");
    let router = router(metrics);
    tokio::spawn(async move {
        let server = axum::serve(listener, router);
        if let Err(error) = server
            .with_graceful_shutdown(async move { stop.asked().await })
            .await
        {
            error!("Health is no longer answered: {error}");
        }
    });
    Ok(())
}

fn router(metrics: Arc<Metrics>) -> Router {
    let health = Arc::clone(&metrics);
    Router::new()
        .route(
            "/healthz",
            get(move || async move { Json(health.health()) }),
        )
        .route(
            "/metrics",
            get(move || async move {
                match metrics.text() {
                    Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
                    Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                }
            }),
        )
}
