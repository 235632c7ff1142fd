//! Looks at the cluster with a client of its own: committed offsets, leaders, coordinators, what is left to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::error::ChaosError;

const TIMEOUT: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(250);
/// A partition in which nothing was committed for so long is not waited for.
const ACTIVE: Duration = Duration::from_secs(45);

/// (topic, partition).
pub(crate) type Place = (String, i32);

fn client(bootstrap: &str, group: Option<&str>, isolation: &str) -> Result<BaseConsumer, ChaosError> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("client.id", "chaos")
        .set("isolation.level", isolation)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("socket.timeout.ms", "4000")
        .set("reconnect.backoff.max.ms", "500")
        .set("group.id", group.unwrap_or("chaos"));
    config.create().map_err(ChaosError::kafka("making a client"))
}

/// Questions to the cluster.
pub(crate) struct Cluster {
    bootstrap: String,
    asks: BaseConsumer,
}

impl Cluster {
    pub(crate) fn new(bootstrap: &str) -> Result<Self, ChaosError> {
        Ok(Self { bootstrap: bootstrap.to_owned(), asks: client(bootstrap, None, "read_uncommitted")? })
    }

    /// Partitions of every topic, those of Kafka itself too.
    pub(crate) fn topics(&self) -> Result<BTreeMap<String, i32>, ChaosError> {
        let metadata = self.asks.fetch_metadata(None, TIMEOUT).map_err(ChaosError::kafka("asking for topics"))?;
        let count = |t: &rdkafka::metadata::MetadataTopic| i32::try_from(t.partitions().len()).unwrap_or(0);
        Ok(metadata.topics().iter().map(|t| (t.name().to_owned(), count(t))).collect())
    }

    /// The leader of a partition.
    pub(crate) fn leader(&self, topic: &str, partition: i32) -> Result<u8, ChaosError> {
        let metadata =
            self.asks.fetch_metadata(Some(topic), TIMEOUT).map_err(ChaosError::kafka(format!("asking for {topic}")))?;
        let partitions = metadata.topics().iter().find(|t| t.name() == topic).map(|t| t.partitions());
        let leader = partitions.and_then(|all| all.iter().find(|p| p.id() == partition)).map(|p| p.leader());
        leader.and_then(|l| u8::try_from(l).ok()).ok_or_else(|| ChaosError::Answer {
            what: format!("{topic}-{partition}"),
            detail: "it has no leader".to_owned(),
        })
    }

    /// The coordinator of a consumer group.
    pub(crate) fn group_coordinator(&self, group: &str) -> Result<u8, ChaosError> {
        self.coordinator("__consumer_offsets", group)
    }

    /// The coordinator of a transactional id.
    pub(crate) fn transaction_coordinator(&self, id: &str) -> Result<u8, ChaosError> {
        self.coordinator("__transaction_state", id)
    }

    fn coordinator(&self, topic: &str, key: &str) -> Result<u8, ChaosError> {
        let count = self.topics()?.get(topic).copied().unwrap_or(1).max(1);
        self.leader(topic, (java_hash(key) & i32::MAX).checked_rem(count).unwrap_or(0))
    }

    /// Records that a group has not taken in and could: one of them in words.
    pub(crate) fn left_for(&self, group: &str) -> Result<Option<String>, ChaosError> {
        let committed = committed(&client(&self.bootstrap, Some(group), "read_committed")?, &self.topics()?)?;
        let reader = client(&self.bootstrap, None, "read_committed")?;
        let mut list = TopicPartitionList::new();
        for ((topic, partition), offset) in &committed {
            let added = list.add_partition_offset(topic, *partition, Offset::Offset(*offset));
            added.map_err(ChaosError::kafka("looking for what is left"))?;
        }
        let mut open: BTreeSet<Place> = committed.into_keys().collect();
        reader.assign(&list).map_err(ChaosError::kafka("looking for what is left"))?;
        let deadline = Instant::now() + Duration::from_secs(15);
        while !open.is_empty() && Instant::now() < deadline {
            match reader.poll(Duration::from_millis(200)) {
                None => {}
                Some(Ok(message)) => {
                    return Ok(Some(format!("{}-{} {}", message.topic(), message.partition(), message.offset())));
                }
                // Which topic it is of is not said: all partitions of that number are looked at until none is left.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    let at = open.iter().find(|(_, p)| *p == partition).cloned();
                    at.map(|place| open.remove(&place));
                }
                Some(Err(source)) => return Err(ChaosError::Kafka { action: "reading on".to_owned(), source }),
            }
        }
        Ok(open.first().map(|(topic, partition)| format!("{topic}-{partition} does not answer")))
    }

    /// A partition whose last stable offset is not its end: a transaction is open.
    pub(crate) fn open_transaction(&self, topics: &[String]) -> Result<(u64, Option<String>), ChaosError> {
        let stable = client(&self.bootstrap, None, "read_committed")?;
        let mut examined = 0;
        for (topic, partitions) in self.topics()?.into_iter().filter(|(t, _)| topics.contains(t)) {
            for partition in 0..partitions {
                let asked = |c: &BaseConsumer| c.fetch_watermarks(&topic, partition, TIMEOUT);
                let action = || format!("asking for the ends of {topic}");
                let (_, last_stable) = asked(&stable).map_err(ChaosError::kafka(action()))?;
                let (_, end) = asked(&self.asks).map_err(ChaosError::kafka(action()))?;
                examined += 1;
                if last_stable < end {
                    return Ok((examined, Some(format!("{topic}-{partition}: stable up to {last_stable} of {end}"))));
                }
            }
        }
        Ok((examined, None))
    }
}

fn committed(consumer: &BaseConsumer, topics: &BTreeMap<String, i32>) -> Result<BTreeMap<Place, i64>, ChaosError> {
    let mut list = TopicPartitionList::new();
    for (topic, partitions) in topics.iter().filter(|(topic, _)| !topic.starts_with("__")) {
        for partition in 0..*partitions {
            list.add_partition(topic, partition);
        }
    }
    let found = consumer.committed_offsets(list, TIMEOUT).map_err(ChaosError::kafka("asking for offsets"))?;
    let offset = |o: Offset| match o {
        Offset::Offset(offset) => Some(offset),
        Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => None,
    };
    let places = found.elements();
    Ok(places.iter().filter_map(|e| Some(((e.topic().to_owned(), e.partition()), offset(e.offset())?))).collect())
}

/// As Java hashes a string; Kafka places groups and transactional ids by it.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |h, c| h.wrapping_mul(31).wrapping_add(i32::from(c)))
}

/// What a group has committed, a partition number.
#[derive(Clone, Debug, Default)]
struct Standing {
    /// Sum of its offsets over all topics, and when it was last seen to move.
    partitions: BTreeMap<i32, (i64, Option<Instant>)>,
}

#[derive(Debug, Default)]
struct Board {
    groups: BTreeMap<String, Standing>,
    /// The longest that a partition stood still before it moved again, while there was work.
    longest: Duration,
}

/// Follows committed offsets in a thread.
#[derive(Debug)]
pub(crate) struct Progress {
    board: Arc<Mutex<Board>>,
    groups: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What has to move on after a fault.
#[derive(Debug)]
pub(crate) struct Pending {
    group: String,
    since: Instant,
    /// Sums at the heal of the partitions that were active.
    partitions: BTreeMap<i32, i64>,
}

impl Progress {
    pub(crate) fn follow(bootstrap: &str, groups: Vec<String>) -> Result<Self, ChaosError> {
        let (board, stop) = (Arc::new(Mutex::new(Board::default())), Arc::new(AtomicBool::new(false)));
        let groups = Arc::new(Mutex::new(groups));
        let (into, stopped, wanted, bootstrap) =
            (Arc::clone(&board), Arc::clone(&stop), Arc::clone(&groups), bootstrap.to_owned());
        let thread = std::thread::Builder::new().name("progress".into()).spawn(move || {
            let mut clients: BTreeMap<String, BaseConsumer> = BTreeMap::new();
            let mut topics = BTreeMap::new();
            while !stopped.load(Ordering::Relaxed) {
                let names = wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
                for group in names {
                    if !clients.contains_key(&group) {
                        let Ok(made) = client(&bootstrap, Some(&group), "read_committed") else { continue };
                        clients.insert(group.clone(), made);
                        topics = Cluster::new(&bootstrap).and_then(|c| c.topics()).unwrap_or(topics);
                    }
                    let Some(asked) = clients.get(&group).map(|c| committed(c, &topics)) else { continue };
                    if let Ok(offsets) = asked {
                        into.lock().unwrap_or_else(PoisonError::into_inner).take(&group, &offsets);
                    }
                }
                std::thread::park_timeout(LOOK);
            }
        });
        let thread = Some(thread.map_err(ChaosError::io("following progress"))?);
        Ok(Self { board, groups, stop, thread })
    }

    /// The groups to be followed from now on.
    pub(crate) fn set_groups(&self, groups: Vec<String>) {
        *self.groups.lock().unwrap_or_else(PoisonError::into_inner) = groups;
    }

    /// Begins to wait for a group: every partition that was at work must move on.
    pub(crate) fn expect(&self, group: &str) -> Pending {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = board.groups.get(group).cloned().unwrap_or_default();
        let active =
            standing.partitions.into_iter().filter(|(_, (_, moved))| moved.is_some_and(|at| at.elapsed() < ACTIVE));
        let partitions = active.map(|(partition, (sum, _))| (partition, sum)).collect();
        Pending { group: group.to_owned(), since: Instant::now(), partitions }
    }

    /// How long it took, once every partition has moved.
    pub(crate) fn recovered(&self, pending: &Pending) -> Option<Duration> {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = board.groups.get(&pending.group)?;
        for (partition, before) in &pending.partitions {
            let (sum, _) = standing.partitions.get(partition)?;
            if sum <= before {
                return None;
            }
        }
        Some(pending.since.elapsed())
    }

    /// When anything was last committed by anybody.
    pub(crate) fn last_move(&self) -> Option<Instant> {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        board.groups.values().flat_map(|g| g.partitions.values()).filter_map(|(_, moved)| *moved).max()
    }

    /// The longest that a partition of a group stood still before it moved again.
    pub(crate) fn longest_outage(&self) -> Duration {
        self.board.lock().unwrap_or_else(PoisonError::into_inner).longest
    }

    /// There was no work until now: that nothing moved was no outage.
    pub(crate) fn work_begins(&self) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let all = board.groups.values_mut().flat_map(|g| g.partitions.values_mut());
        all.filter_map(|(_, moved)| moved.as_mut()).for_each(|moved| *moved = now);
    }

    /// Whether a group has committed anything, ever.
    pub(crate) fn is_known(&self, group: &str) -> bool {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        board.groups.get(group).is_some_and(|g| !g.partitions.is_empty())
    }
}

impl Pending {
    pub(crate) fn group(&self) -> &str {
        &self.group
    }

    pub(crate) fn waits(&self) -> Duration {
        self.since.elapsed()
    }
}

impl Board {
    fn take(&mut self, group: &str, offsets: &BTreeMap<Place, i64>) {
        let mut sums: BTreeMap<i32, i64> = BTreeMap::new();
        for ((_, partition), offset) in offsets {
            *sums.entry(*partition).or_default() += offset;
        }
        let standing = self.groups.entry(group.to_owned()).or_default();
        let now = Instant::now();
        for (partition, sum) in sums {
            match standing.partitions.get_mut(&partition) {
                Some((before, moved)) if *before != sum => {
                    let stood = moved.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
                    self.longest = self.longest.max(stood);
                    (*before, *moved) = (sum, Some(now));
                }
                Some(_) => {}
                // Nobody has seen it move: its offset may be as old as the group.
                None => drop(standing.partitions.insert(partition, (sum, None))),
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_hashed_as_java_does() {
        // "fillstream.order-path".hashCode() and two of the specification of String.
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("hello"), 99_162_322);
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
    }

    #[test]
    fn an_outage_lasts_from_one_move_to_the_next_unless_there_was_no_work() {
        let long = Duration::from_secs(500);
        let longest = |begins_again: bool| {
            let progress =
                Progress { board: Arc::default(), groups: Arc::default(), stop: Arc::default(), thread: None };
            let take = |offset| {
                progress.board.lock().unwrap().take("g", &BTreeMap::from([(("t".to_owned(), 0), offset)]));
            };
            take(1);
            take(2);
            assert_eq!(progress.longest_outage(), Duration::ZERO, "nobody knows since when it stood");
            let before = Instant::now().checked_sub(long);
            progress.board.lock().unwrap().groups.get_mut("g").unwrap().partitions.get_mut(&0).unwrap().1 = before;
            if begins_again {
                progress.work_begins();
            }
            take(2);
            take(3);
            progress.longest_outage()
        };
        assert!(longest(false) >= long);
        assert!(longest(true) < long);
    }

    #[test]
    fn a_group_has_recovered_when_every_active_partition_moved() {
        let place = |partition| ("t".to_owned(), partition);
        let mut board = Board::default();
        board.take("g", &BTreeMap::from([(place(0), 5), (place(1), 7)]));
        let progress =
            Progress { board: Arc::new(Mutex::new(board)), groups: Arc::default(), stop: Arc::default(), thread: None };
        let take = |offsets: &[(i32, i64)]| {
            let offsets = offsets.iter().map(|(p, o)| (place(*p), *o)).collect();
            progress.board.lock().unwrap().take("g", &offsets);
        };
        assert!(progress.recovered(&progress.expect("g")).is_some(), "nothing was at work");
        take(&[(0, 5), (1, 6), (2, 1)]);
        take(&[(0, 5), (1, 7), (2, 1)]);
        take(&[(0, 5), (1, 7), (2, 1)]);
        let pending = progress.expect("g");
        assert_eq!(pending.partitions.keys().copied().collect::<Vec<_>>(), [1]);
        assert_eq!(progress.recovered(&pending), None);
        take(&[(0, 6), (1, 7), (2, 1)]);
        let pending = progress.expect("g");
        assert_eq!(progress.recovered(&pending), None);
        take(&[(0, 7), (1, 7)]);
        assert_eq!(progress.recovered(&pending), None, "partition 1 stands still");
        take(&[(0, 7), (1, 8)]);
        assert!(progress.recovered(&pending).is_some());
    }
}
