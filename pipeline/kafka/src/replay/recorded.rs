//! What was written at the time, by the batch that wrote it.

use std::collections::{BTreeMap, BTreeSet};

use fillstream_core::TimestampMicros;
use fillstream_core::group::Group;
use fillstream_core::record::header;
use fillstream_schemas::engine::DeadLetter;
use fillstream_schemas::{AvroRecord, wire};

use super::error::ReplayError;
use super::plan::TaskPlan;
use super::tape::Tapes;
use crate::client::{KafkaClient, Received, TopicPartition};
use crate::topics::dead_letter_topic;

/// How far the time stamps of two brokers' clients may be apart, milliseconds: more than the driver lets a clock be off.
const SKEW_MS: i64 = 60_000;

/// A record by its topic and lineage.
pub(super) type Named = (String, Vec<u8>);

/// What one batch wrote; a forward has the lineage of what it forwards, which may come twice.
pub(super) type Batch = BTreeMap<Named, Vec<Received>>;

/// What was written, by the partition of the task that wrote it and its batch: outputs name its sequence, dead letters its now.
#[derive(Default)]
pub(super) struct Recorded {
    pub(super) outputs: BTreeMap<(i32, i64), Batch>,
    pub(super) letters: BTreeMap<(i32, TimestampMicros), Batch>,
}

impl Recorded {
    /// Everything that the planned batches of the group wrote.
    pub(super) fn load<C: KafkaClient>(
        tapes: &mut Tapes<C>,
        partitions: &BTreeMap<String, i32>,
        group: &Group,
        plans: &[TaskPlan],
    ) -> Result<Self, ReplayError> {
        let times = || plans.iter().flat_map(|p| p.written_ms.iter().copied());
        let (Some(from), Some(to)) = (times().min(), times().max()) else { return Ok(Self::default()) };
        let (from, to) = (from.saturating_sub(SKEW_MS), to.saturating_add(SKEW_MS));
        let wanted: BTreeMap<i32, (i64, i64)> = plans
            .iter()
            .filter_map(|p| Some((p.partition, (p.batches.first()?.sequence, p.batches.last()?.sequence))))
            .collect();
        let mut recorded = Self::default();
        for topic in output_topics(group) {
            each(tapes, partitions, topic, (from, to), |r| {
                let Some((writer, sequence)) = writer_of(&r) else { return };
                if wanted.get(&writer).is_some_and(|(first, last)| (*first..=*last).contains(&sequence)) {
                    recorded.outputs.entry((writer, sequence)).or_default().entry(named(&r)).or_default().push(r);
                }
            })?;
        }
        for stage in group.stages() {
            each(tapes, partitions, &dead_letter_topic(stage.spec().name), (from, to), |r| {
                let letter = wire::split(r.value.as_deref().unwrap_or_default()).ok();
                let letter = letter.and_then(|(_, bytes)| DeadLetter::decode(bytes).ok());
                if let Some(letter) = letter {
                    let by = (letter.partition, letter.failed_at);
                    recorded.letters.entry(by).or_default().entry(named(&r)).or_default().push(r);
                }
            })?;
        }
        Ok(recorded)
    }
}

/// Topics that the stages write, forwards among them.
pub(super) fn output_topics(group: &Group) -> BTreeSet<&'static str> {
    let specs = || group.stages().iter().map(|s| s.spec());
    let forwards = specs().flat_map(|s| s.inputs).filter_map(|i| i.forward_to);
    specs().flat_map(|s| s.outputs).map(|o| o.topic).chain(forwards).collect()
}

fn each<C: KafkaClient>(
    tapes: &mut Tapes<C>,
    partitions: &BTreeMap<String, i32>,
    topic: &str,
    (from, to): (i64, i64),
    mut take: impl FnMut(Received),
) -> Result<(), ReplayError> {
    let count = partitions.get(topic).copied().ok_or_else(|| ReplayError::NoTopic(topic.to_owned()))?;
    for partition in 0..count {
        let tp = TopicPartition::new(topic, partition);
        let mut at = tapes.seek(&tp, |r| Ok(r.timestamp_ms >= from))?;
        while let Some(record) = tapes.first(&tp, at)?.filter(|r| r.timestamp_ms <= to) {
            at = record.offset.saturating_add(1);
            take(record.clone());
        }
    }
    Ok(())
}

fn named(r: &Received) -> Named {
    (r.topic.to_string(), r.header(header::LINEAGE).unwrap_or_default().to_vec())
}

// Task and batch that wrote a record.
fn writer_of(r: &Received) -> Option<(i32, i64)> {
    let order = r.header(header::ORDER)?;
    let writer = u16::from_be_bytes(order.get(..2)?.try_into().ok()?);
    let sequence = u64::from_be_bytes(order.get(2..10)?.try_into().ok()?);
    Some((i32::from(writer), i64::try_from(sequence).ok()?))
}
