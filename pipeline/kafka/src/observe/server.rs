//! `/health/live`, `/health/ready` and `/metrics` over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::health::Health;
use super::metrics::Metrics;

#[derive(Clone)]
struct Parts {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

/// A running server; it stops when dropped.
pub struct ObserveServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    runtime: Option<Runtime>,
}

impl ObserveServer {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ObserveServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves on `address`, on a thread of its own.
///
/// # Errors
/// When the address cannot be listened on.
pub fn serve(address: SocketAddr, health: Arc<Health>, metrics: Arc<Metrics>) -> std::io::Result<ObserveServer> {
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("observe").enable_all().build()?;
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics_text))
        .with_state(Parts { health, metrics });
    let (stop, stopped) = oneshot::channel();
    let listener = {
        let _inside = runtime.enter();
        TcpListener::from_std(listener)?
    };
    runtime.spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(async move {
            let _ = stopped.await;
        });
        if let Err(error) = served.await {
            tracing::error!(%error, "health and metrics are not served any more");
        }
    });
    Ok(ObserveServer { address, stop: Some(stop), runtime: Some(runtime) })
}

async fn live(State(parts): State<Parts>) -> impl IntoResponse {
    (status(parts.health.is_live()), parts.health.print())
}

async fn ready(State(parts): State<Parts>) -> impl IntoResponse {
    (status(parts.health.is_ready()), parts.health.print())
}

async fn metrics_text(State(parts): State<Parts>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], parts.metrics.print())
}

fn status(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::super::{Metric, Readiness};
    use super::*;

    fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn answers_follow_the_state() {
        let (health, metrics) = (Health::new(), Metrics::new());
        let server = serve("127.0.0.1:0".parse().unwrap(), Arc::clone(&health), Arc::clone(&metrics)).unwrap();
        assert!(ask(server.address(), "/health/ready").starts_with("HTTP/1.1 503"));
        assert!(ask(server.address(), "/health/live").starts_with("HTTP/1.1 200"));
        health.set("worker", Readiness::Ready);
        metrics.counter(Metric::Records, &[]).add(1);
        assert!(ask(server.address(), "/health/ready").starts_with("HTTP/1.1 200"));
        assert!(ask(server.address(), "/metrics").contains("fillstream_records_total 1"));
        health.set("worker", Readiness::Stopped("fenced".into()));
        let live = ask(server.address(), "/health/live");
        assert!(live.starts_with("HTTP/1.1 503") && live.contains("worker: stopped: fenced"), "{live}");
    }
}
