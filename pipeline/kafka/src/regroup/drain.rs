//! Runs the later groups of a path alone until nothing waits between them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fillstream_core::group::Group;

use super::error::RegroupError;
use crate::client::{GroupConsumer, KafkaClient, TopicPartition};
use crate::driver::{Driver, DriverError, GroupRun};
use crate::replay::Tapes;
use crate::topics::{consumer_group, journal_topic};

const LOOK: Duration = Duration::from_millis(100);

/// Runs each of `groups`, in path order, until it has read everything that the groups before it wrote. No other instance of
/// them may run; what they write meanwhile to groups before them stays there as input.
///
/// # Errors
/// [`RegroupError::Timeout`] when a group is not done within `limit`; what stopped it.
pub fn drain<C: KafkaClient>(
    client: &C,
    driver: impl Fn() -> Driver<C>,
    groups: &[Arc<Group>],
    limit: Duration,
) -> Result<(), RegroupError> {
    for group in groups.iter().filter(|g| g.level() > 0) {
        if is_drained(client, group)? {
            continue;
        }
        let deadline = Instant::now() + limit;
        let running = driver().start(&[GroupRun { group: Arc::clone(group), workers: 1 }])?;
        let mut drained = Ok(false);
        while matches!(drained, Ok(false)) && !running.is_finished() && Instant::now() < deadline {
            std::thread::park_timeout(LOOK);
            drained = is_drained(client, group);
        }
        running.stop();
        running.join()?;
        if !drained? {
            let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            return Err(RegroupError::Timeout { group: group.name().to_owned(), limit_ms });
        }
    }
    Ok(())
}

fn is_drained<C: KafkaClient>(client: &C, group: &Group) -> Result<bool, RegroupError> {
    let between: Vec<&str> = group.subscriptions().iter().filter(|s| s.same_instant).map(|s| s.input.topic).collect();
    let journal = journal_topic(group.name());
    let found = client.describe(&[journal.as_str()])?;
    let partitions =
        found.get(&journal).ok_or_else(|| DriverError::Topics(format!("{journal} does not exist")))?.partitions;
    let tps: Vec<TopicPartition> =
        (0..partitions).flat_map(|p| between.iter().map(move |t| TopicPartition::new(*t, p))).collect();
    let consumer = client.consumer(&consumer_group(group.name()), "drain", &[])?;
    // Ends are taken anew each time.
    let mut tapes = Tapes::new(client)?;
    for entry in consumer.committed(&tps)? {
        if tapes.first(&entry.tp, entry.offset.max(0))?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}
