//! The HTTP server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::analytics::{Analytics, ClickHouseConfig};
use crate::api::{Service, router};
use crate::desk::Desk;

/// How it is served.
#[derive(Clone)]
pub struct ApiConfig {
    /// Address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How long a request waits for the stages' answer.
    pub answer_timeout: Duration,
    /// Where what is older than the process is.
    pub clickhouse: ClickHouseConfig,
}

/// A running server; it stops when dropped.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    runtime: Option<Runtime>,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves the desk, on threads of its own.
///
/// # Errors
/// The address cannot be listened on.
pub fn serve(config: ApiConfig, desk: Arc<Desk>) -> std::io::Result<Server> {
    let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("strategy-api").enable_all().build()?;
    let listener = std::net::TcpListener::bind(config.listen)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let analytics = Analytics::new(config.clickhouse).map_err(std::io::Error::other)?;
    let router = router(Service { desk, analytics, timeout: config.answer_timeout });
    let (stop, stopped) = oneshot::channel();
    let listener = {
        let _inside = runtime.enter();
        TcpListener::from_std(listener)?
    };
    runtime.spawn(async move {
        let served = axum::serve(
            axum::serve::ListenerExt::tap_io(listener, |stream| {
                // An answer is one small write: it must not wait for the acknowledgement of the one before.
                let _ = stream.set_nodelay(true);
            }),
            router,
        )
        .with_graceful_shutdown(async move {
            let _ = stopped.await;
        });
        if let Err(error) = served.await {
            tracing::error!(%error, "the strategy API is not served any more");
        }
    });
    Ok(Server { address, stop: Some(stop), runtime: Some(runtime) })
}
