//! Whether every node of a cluster knows a topic: each is asked itself, because a client that asks any of them may be told by
//! one that has heard of it, and then be sent to one that has not.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::metadata::Metadata;

use super::config::ConnectionConfig;
use super::error::ClientError;

const CALL: &str = "waiting for every node to know the topics";
/// Longest wait for the answer of one node, before the others are asked again.
const ANSWER: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// A node's answer: whether it is that node's, and the topics (name, partitions) that it does not know yet.
fn missing<'t>(metadata: &Metadata, topics: &[(&'t str, i32)]) -> Vec<&'t str> {
    let knows = |name: &str, partitions: i32| {
        metadata.topics().iter().any(|t| {
            let ready = t.partitions().iter().filter(|p| p.error().is_none() && p.leader() >= 0).count();
            t.name() == name && t.error().is_none() && i32::try_from(ready).is_ok_and(|n| n >= partitions)
        })
    };
    topics.iter().filter(|(name, partitions)| !knows(name, *partitions)).map(|(name, _)| *name).collect()
}

/// Returns once each node that the cluster lists knows every topic with at least its partitions, and a leader for each.
pub(super) fn await_everywhere(
    config: &ConnectionConfig,
    any: &AdminClient<DefaultClientContext>,
    topics: &[(&str, i32)],
    timeout: Duration,
) -> Result<(), ClientError> {
    let deadline = Instant::now() + timeout;
    let mut confirmed = BTreeSet::new();
    loop {
        let mut waits = None;
        let cluster = any.inner().fetch_metadata(None, ANSWER);
        match &cluster {
            Err(e) => waits = Some(format!("no node answers: {e}")),
            Ok(cluster) => {
                for broker in cluster.brokers() {
                    if confirmed.contains(&broker.id()) {
                        continue;
                    }
                    match ask(config, broker.id(), &format!("{}:{}", broker.host(), broker.port()), topics) {
                        Ok(()) => {
                            confirmed.insert(broker.id());
                        }
                        Err(text) => waits = Some(format!("node {}: {text}", broker.id())),
                    }
                }
            }
        }
        let Some(text) = waits else { return Ok(()) };
        if Instant::now() >= deadline {
            return Err(ClientError::retry(CALL, text));
        }
        std::thread::park_timeout(PAUSE);
    }
}

/// Asks one node, by a client that knows no other.
fn ask(config: &ConnectionConfig, id: i32, address: &str, topics: &[(&str, i32)]) -> Result<(), String> {
    let mut alone = config.administrative();
    alone.set("bootstrap.servers", address);
    let client: AdminClient<DefaultClientContext> = alone.create().map_err(|e| e.to_string())?;
    let deadline = Instant::now() + ANSWER;
    loop {
        let metadata = client.inner().fetch_metadata(None, ANSWER).map_err(|e| e.to_string())?;
        if metadata.orig_broker_id() != id {
            return Err(format!("node {} answered in its place", metadata.orig_broker_id()));
        }
        let missing = missing(&metadata, topics);
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(format!("does not know {}", missing.join(", ")));
        }
        std::thread::park_timeout(PAUSE);
    }
}
