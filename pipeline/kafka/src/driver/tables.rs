//! Tables: one reader a process keeps them up to date and publishes versions.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fillstream_core::TimestampMicros;
use fillstream_core::group::Group;
use fillstream_core::record::header;
use fillstream_core::table::{AnyTable, TableDecl, TableRow, Tables};
use tracing::{error, warn};

use super::envelope::big_endian;
use super::error::DriverError;
use crate::client::{ClientError, KafkaClient, PartitionReader, ReaderEvent, Received, TopicPartition};
use crate::observe::{Counter, Gauge, Metric, Metrics};
use crate::registry::{Frame, Framing, RegistryError};

/// Rows taken in before a version is published although more are waiting.
const PUBLISH_ROWS: usize = 512;
const STEP: Duration = Duration::from_millis(20);

/// The tables of a process.
pub(super) struct TableHub {
    current: RwLock<Tables>,
    // Next offset of each partition, markers counted; the version in `current` has at least these.
    reached: Mutex<BTreeMap<TopicPartition, i64>>,
    moved: Condvar,
    partitions: Vec<TopicPartition>,
    stop: AtomicBool,
    failed: Mutex<Option<String>>,
}

/// A reader on a thread of its own.
pub(super) struct TableReader {
    hub: Arc<TableHub>,
    thread: Option<JoinHandle<()>>,
}

impl TableHub {
    /// The version of now.
    pub(super) fn pin(&self) -> Tables {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Partitions that the tables are made of.
    pub(super) fn partitions(&self) -> &[TopicPartition] {
        &self.partitions
    }

    /// Whether every position is reached.
    pub(super) fn has_reached(&self, wanted: &[(TopicPartition, i64)]) -> bool {
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.iter().all(|(tp, offset)| reached.get(tp).is_some_and(|at| at >= offset))
    }

    /// Waits a short while for the tables to move.
    pub(super) fn wait(&self, at_most: Duration) {
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.moved.wait_timeout(reached, at_most));
    }

    /// Why the reader ended, if it did.
    pub(super) fn failure(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl TableReader {
    pub(super) fn hub(&self) -> &Arc<TableHub> {
        &self.hub
    }
}

impl Drop for TableReader {
    fn drop(&mut self) {
        self.hub.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts reading the tables that the stages of `groups` declare.
///
/// # Errors
/// [`DriverError::Topics`] when one of their topics does not exist; [`DriverError::Client`].
pub(super) fn start<C: KafkaClient>(
    client: &C,
    framing: Framing,
    groups: &[Arc<Group>],
    metrics: &Metrics,
) -> Result<TableReader, DriverError> {
    let mut declared: BTreeMap<TypeId, TableDecl> = BTreeMap::new();
    for stage in groups.iter().flat_map(|g| g.stages()) {
        declared.extend(stage.spec().tables.iter().map(|t| ((t.type_id)(), *t)));
    }
    let tables: Vec<Box<dyn AnyTable>> = declared.values().map(|t| (t.new)()).collect();
    let topics: BTreeSet<&'static str> = tables.iter().flat_map(|t| t.topics()).map(|(topic, _)| *topic).collect();
    let names: Vec<&str> = topics.iter().copied().collect();
    let found = client.describe(&names)?;
    let mut partitions = Vec::new();
    for topic in topics {
        let info =
            found.get(topic).ok_or_else(|| DriverError::Topics(format!("table topic {topic} does not exist")))?;
        let name: Arc<str> = topic.into();
        partitions.extend((0..info.partitions).map(|p| TopicPartition::new(Arc::clone(&name), p)));
    }
    let mut current = Tables::default();
    tables.iter().for_each(|t| t.publish(&mut current));
    let hub = Arc::new(TableHub {
        current: RwLock::new(current),
        reached: Mutex::default(),
        moved: Condvar::new(),
        partitions,
        stop: AtomicBool::new(false),
        failed: Mutex::default(),
    });
    if hub.partitions.is_empty() {
        return Ok(TableReader { hub, thread: None });
    }
    let reader = client.follower()?;
    let mut feed = Feed::new(Arc::clone(&hub), tables, framing, metrics);
    let thread = std::thread::Builder::new()
        .name("tables".into())
        .spawn(move || feed.run(reader))
        .map_err(|e| DriverError::Config(format!("cannot start the thread of the tables: {e}")))?;
    Ok(TableReader { hub, thread: Some(thread) })
}

/// What the thread works with.
struct Feed {
    hub: Arc<TableHub>,
    tables: Vec<Box<dyn AnyTable>>,
    framing: Framing,
    starts: BTreeMap<TopicPartition, i64>,
    positions: BTreeMap<TopicPartition, i64>,
    unpublished: usize,
    rows: Counter,
    bad_rows: Counter,
    lag: Gauge,
}

impl Feed {
    fn new(hub: Arc<TableHub>, tables: Vec<Box<dyn AnyTable>>, framing: Framing, metrics: &Metrics) -> Self {
        Self {
            hub,
            tables,
            framing,
            starts: BTreeMap::new(),
            positions: BTreeMap::new(),
            unpublished: 0,
            rows: metrics.counter(Metric::TableRows, &[]),
            bad_rows: metrics.counter(Metric::TableRowErrors, &[]),
            lag: metrics.gauge(Metric::TableLag, &[]),
        }
    }

    fn run<R: PartitionReader>(&mut self, mut reader: R) {
        if let Err(e) = self.read(&mut reader) {
            error!(error = %e, "the tables are not read any more");
            *self.hub.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(e.to_string());
            self.hub.moved.notify_all();
        }
    }

    fn read<R: PartitionReader>(&mut self, reader: &mut R) -> Result<(), DriverError> {
        let starts = self.starts(reader)?;
        reader.start(&starts)?;
        self.starts = starts.iter().cloned().collect();
        self.positions.extend(starts);
        let mut measured = Instant::now();
        while !self.hub.stop.load(Ordering::Relaxed) {
            let wait = if self.unpublished > 0 { Duration::ZERO } else { STEP };
            match reader.next(wait) {
                Ok(Some(ReaderEvent::Record(record))) => self.take(&record)?,
                Ok(Some(ReaderEvent::End { tp, offset })) => {
                    self.positions.insert(tp, offset);
                    self.unpublished += 1;
                }
                Ok(None) => self.publish(),
                Err(ClientError::Retry { text, .. }) => warn!(%text, "reading tables"),
                Err(e) => return Err(e.into()),
            }
            if self.unpublished >= PUBLISH_ROWS {
                self.publish();
            }
            if measured.elapsed() >= Duration::from_secs(1) {
                measured = Instant::now();
                self.measure(reader);
            }
        }
        Ok(())
    }

    fn starts<R: PartitionReader>(&self, reader: &R) -> Result<Vec<(TopicPartition, i64)>, DriverError> {
        let mut out = Vec::new();
        for tp in &self.hub.partitions {
            let low = loop {
                match reader.bounds(tp) {
                    Ok((low, _)) => break low,
                    Err(ClientError::Retry { text, .. }) if !self.hub.stop.load(Ordering::Relaxed) => {
                        warn!(%text, partition = %tp, "reading tables");
                    }
                    Err(e) => return Err(e.into()),
                }
            };
            out.push((tp.clone(), low));
        }
        Ok(out)
    }

    fn take(&mut self, r: &Received) -> Result<(), DriverError> {
        let key = String::from_utf8_lossy(r.key.as_deref().unwrap_or_default()).into_owned();
        let event_time = r.header(header::TIME).and_then(big_endian).map(TimestampMicros::from_micros);
        for table in &mut self.tables {
            let Some((_, schema)) = table.topics().iter().find(|(topic, _)| **topic == *r.topic) else { continue };
            let value = match &r.value {
                None => None,
                Some(bytes) => match ask(&mut self.framing, schema, bytes, &self.hub.stop)? {
                    Frame::Ours(bytes) => Some(bytes.to_vec()),
                    Frame::Resolved(bytes) => Some(bytes),
                    Frame::Unreadable(u) => {
                        self.bad_rows.add(1);
                        warn!(topic = %r.topic, partition = r.partition, offset = r.offset, code = u.code, text = %u.text, "row skipped");
                        continue;
                    }
                },
            };
            let row = TableRow {
                topic: &r.topic,
                partition: r.partition,
                offset: r.offset,
                key: &key,
                value: value.as_deref(),
                event_time,
            };
            if let Err(e) = table.apply(&row) {
                self.bad_rows.add(1);
                warn!(topic = %r.topic, partition = r.partition, offset = r.offset, error = %e, "row skipped");
            }
        }
        self.rows.add(1);
        self.positions.insert(TopicPartition::new(Arc::clone(&r.topic), r.partition), r.offset.saturating_add(1));
        self.unpublished += 1;
        Ok(())
    }

    fn publish(&mut self) {
        if self.unpublished == 0 {
            return;
        }
        let mut version = self.hub.pin();
        self.tables.iter().for_each(|t| t.publish(&mut version));
        let read = |(tp, next): (&TopicPartition, &i64)| {
            let first = self.starts.get(tp).copied().unwrap_or(0);
            ((tp.topic.to_string(), tp.partition), (first, *next))
        };
        version.set_positions(self.positions.iter().map(read).collect());
        *self.hub.current.write().unwrap_or_else(PoisonError::into_inner) = version;
        // After the version: who sees a position may rely on it.
        self.hub.reached.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&self.positions);
        self.hub.moved.notify_all();
        self.unpublished = 0;
    }

    fn measure<R: PartitionReader>(&self, reader: &R) {
        if let Ok(ends) = reader.ends(&self.hub.partitions) {
            let lag =
                ends.iter().map(|(tp, end)| end.saturating_sub(self.positions.get(tp).copied().unwrap_or(0)).max(0));
            self.lag.set(lag.sum());
        }
    }
}

/// A table must not skip a row because the registry is away: it waits.
fn ask<'a>(
    framing: &mut Framing,
    schema: &'static str,
    bytes: &'a [u8],
    stop: &AtomicBool,
) -> Result<Frame<'a>, RegistryError> {
    loop {
        match framing.read(schema, bytes) {
            Err(RegistryError::Unreachable(text)) if !stop.load(Ordering::Relaxed) => {
                warn!(%text, "tables wait for the schema registry");
                std::thread::park_timeout(Duration::from_millis(200));
            }
            answer => return answer,
        }
    }
}
