//! Acknowledgements of a control: asked of every partition, and by every broker session unasked.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fillstream_domain::TimestampMicros;
use fillstream_kafka::client::{KafkaClient as _, PartitionReader as _, RdKafka, ReaderEvent, TopicPartition};
use fillstream_kafka::registry::{Frame, Framing};
use fillstream_schemas::AvroRecord as _;
use fillstream_schemas::execution::{Control, ControlAck, ControlProbe};

use crate::bus::{Cluster, now_us};

const PROBES: &str = "execution.control-probes.v1";
const ACKS: &str = "execution.controls-acks.v1";
/// Keys that are tried for one of a partition.
const TRIED: u32 = 100_000;

/// Asks the task of every partition to acknowledge a control.
///
/// # Errors
/// The topic is missing, or the cluster does not answer.
pub(super) fn ask(cluster: &Cluster, control: &Control) -> anyhow::Result<()> {
    let mut writer = cluster.writer()?;
    let requested_at = TimestampMicros::from_micros(now_us());
    for partition in 0..cluster.partitions(PROBES)? {
        let partition_key = key_of(cluster, partition)?;
        let probe = ControlProbe {
            event_id: format!("{}/{}@{}/{}/{partition}", control.scope, control.scope_id, control.version, now_us()),
            partition_key,
            partition,
            scope: control.scope,
            scope_id: control.scope_id.clone(),
            version: control.version,
            requested_at,
        };
        writer.send(PROBES, &probe)?;
    }
    writer.flush()
}

// A task takes only records whose key belongs to its partition.
fn key_of(cluster: &Cluster, partition: i32) -> anyhow::Result<String> {
    for n in 0..TRIED {
        let key = format!("partition-{partition}-{n}");
        if cluster.router.partition(PROBES, &key)? == partition {
            return Ok(key);
        }
    }
    anyhow::bail!("no key was found that belongs to partition {partition} of {PROBES}")
}

/// Who has acknowledged which version of which control, as far as it was read.
pub(super) struct Acks {
    reader: <RdKafka as fillstream_kafka::client::KafkaClient>::Reader,
    framing: Framing,
    /// Partitions that must acknowledge.
    partitions: i32,
    next: i64,
    end: i64,
    by_partition: BTreeMap<(String, i32), ControlAck>,
    by_session: BTreeMap<(String, String), ControlAck>,
}

impl Acks {
    /// From now on.
    ///
    /// # Errors
    /// The topic is missing, or the cluster does not answer.
    pub(super) fn follow(cluster: &Cluster) -> anyhow::Result<Self> {
        Self::start(cluster, true)
    }

    /// From the first that is kept on.
    ///
    /// # Errors
    /// The topic is missing, or the cluster does not answer.
    pub(super) fn all(cluster: &Cluster) -> anyhow::Result<Self> {
        Self::start(cluster, false)
    }

    fn start(cluster: &Cluster, from_end: bool) -> anyhow::Result<Self> {
        let tp = TopicPartition::new(ACKS, 0);
        let mut reader = cluster.kafka.reader()?;
        let (first, end) = reader.stable_bounds(&tp).context("execution.controls-acks.v1")?;
        let next = if from_end { end } else { first };
        reader.start(&[(tp, next)])?;
        let (framing, partitions) = (cluster.framing(), cluster.partitions(PROBES)?);
        Ok(Self { reader, framing, partitions, next, end, by_partition: BTreeMap::new(), by_session: BTreeMap::new() })
    }

    /// Reads what was there at the start.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub(super) fn catch_up(&mut self) -> anyhow::Result<()> {
        while self.next < self.end {
            match self.reader.next(Duration::from_secs(10))?.context("execution.controls-acks.v1 does not answer")? {
                ReaderEvent::End { .. } => break,
                ReaderEvent::Record(record) => self.take(record.offset, record.value.as_deref())?,
            }
        }
        Ok(())
    }

    /// Reads until every partition and session has acknowledged the control, or the time is over.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub(super) fn wait(&mut self, control: &Control, sessions: &[String], within: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        while started.elapsed() < within && !self.is_complete(control, sessions) {
            if let Some(ReaderEvent::Record(record)) = self.reader.next(Duration::from_millis(20))? {
                self.take(record.offset, record.value.as_deref())?;
            }
        }
        Ok(())
    }

    fn is_complete(&self, control: &Control, sessions: &[String]) -> bool {
        (0..self.partitions).all(|p| holds(self.by_partition.get(&(name(control), p)), control))
            && sessions.iter().all(|s| holds(self.by_session.get(&(name(control), s.clone())), control))
    }

    fn take(&mut self, offset: i64, value: Option<&[u8]>) -> anyhow::Result<()> {
        self.next = offset + 1;
        let ack = match value.map(|value| self.framing.read(ControlAck::FULL_NAME, value)).transpose()? {
            Some(Frame::Ours(bytes)) => ControlAck::decode(bytes)?,
            Some(Frame::Resolved(bytes)) => ControlAck::decode(&bytes)?,
            Some(Frame::Unreadable(u)) => anyhow::bail!("record {offset} of {ACKS}: {}", u.text),
            None => return Ok(()),
        };
        match (ack.partition, ack.session.clone()) {
            (Some(partition), _) => drop(self.by_partition.insert((ack.control.clone(), partition), ack)),
            (None, Some(session)) => drop(self.by_session.insert((ack.control.clone(), session), ack)),
            (None, None) => {}
        }
        Ok(())
    }

    /// Prints who has acknowledged a control and after how long, and gives whether all have.
    pub(super) fn print(&self, control: &Control, sessions: &[String]) -> bool {
        let missing = ControlAck::default();
        let of_partition = |p: i32| self.by_partition.get(&(name(control), p)).unwrap_or(&missing);
        let partitions: Vec<(String, &ControlAck)> =
            (0..self.partitions).map(|p| (p.to_string(), of_partition(p))).collect();
        let sessions: Vec<(String, &ControlAck)> = sessions
            .iter()
            .map(|s| (s.clone(), self.by_session.get(&(name(control), s.clone())).unwrap_or(&missing)))
            .collect();
        let open: i32 = partitions.iter().filter_map(|(_, ack)| ack.open_children).sum();
        let first = line("child-risk, partitions", &partitions, control);
        let second = line("broker-gateway, sessions", &sessions, control);
        println!("  open children in its scope when it was acknowledged: {open}");
        match (first, second) {
            (Some(a), Some(b)) => println!("  complete after {} ms", a.max(b)),
            (None, _) | (_, None) => println!("  NOT COMPLETE: what is missing may still act on the old state"),
        }
        first.is_some() && second.is_some()
    }
}

fn name(control: &Control) -> String {
    format!("{}/{}", control.scope, control.scope_id)
}

fn holds(ack: Option<&ControlAck>, control: &Control) -> bool {
    ack.is_some_and(|ack| ack.version >= control.version)
}

// Prints how many have acknowledged, who has not, and gives after how many milliseconds the last did; `None`: not all.
fn line(what: &str, acks: &[(String, &ControlAck)], control: &Control) -> Option<i64> {
    let missing: Vec<&str> =
        acks.iter().filter(|(_, ack)| !holds(Some(ack), control)).map(|(of, _)| of.as_str()).collect();
    let after = |ack: &ControlAck| (ack.acknowledged_at.micros() - control.set_at.micros()).max(0) / 1_000;
    let slowest = acks.iter().map(|(_, ack)| after(ack)).max().unwrap_or(0);
    let (count, all) = (acks.len() - missing.len(), acks.len());
    if missing.is_empty() {
        println!("  {what}: {count} of {all}, the last after {slowest} ms");
        return Some(slowest);
    }
    println!("  {what}: {count} of {all}, missing: {}", missing.join(", "));
    None
}
