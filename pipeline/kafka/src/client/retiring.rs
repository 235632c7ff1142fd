//! Clients whose end nobody waits for.

use std::ops::Deref;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tracing::warn;

/// How long an end may take before somebody should hear of it.
const LONG: Duration = Duration::from_secs(10);

/// A client that is dropped on a thread of its own. To close a consumer and to destroy a client, librdkafka waits for its own
/// threads without a limit, and these for brokers that may be gone: whoever replaces a broken client must not wait with them.
pub(super) struct Retiring<T: Send + Sync + 'static>(Arc<T>);

impl<T: Send + Sync + 'static> Retiring<T> {
    pub(super) fn new(client: T) -> Self {
        Self(Arc::new(client))
    }
}

impl<T: Send + Sync + 'static> Deref for Retiring<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Send + Sync + 'static> Drop for Retiring<T> {
    fn drop(&mut self) {
        let last = Arc::clone(&self.0);
        let end = move || {
            let began = Instant::now();
            // Ours is the last one only when the drop that made this thread is over.
            while Arc::strong_count(&last) > 1 {
                thread::yield_now();
            }
            drop(last);
            if began.elapsed() > LONG {
                warn!(seconds = began.elapsed().as_secs(), "the end of a Kafka client took long");
            }
        };
        // Without a thread to be had it ends here, when the caller's own reference goes.
        let _ = thread::Builder::new().name("kafka-client-end".to_owned()).spawn(end);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;

    struct Slow(Mutex<mpsc::Receiver<()>>, mpsc::Sender<()>);

    impl Drop for Slow {
        fn drop(&mut self) {
            let _ = self.0.lock().unwrap().recv();
            let _ = self.1.send(());
        }
    }

    #[test]
    fn an_end_that_takes_its_time_holds_up_nobody() {
        let (go, wait) = mpsc::channel();
        let (ended, end) = mpsc::channel();
        drop(Retiring::new(Slow(Mutex::new(wait), ended)));
        // Were it waited for, this would never be reached.
        go.send(()).unwrap();
        end.recv_timeout(Duration::from_secs(10)).unwrap();
    }
}
