//! Lost offsets, taken from the journal.
//!
//! The journal names every input record that was applied, so it knows the next offset of each input better than anybody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fillstream_core::group::Group;
use fillstream_schemas::AvroRecord;
use fillstream_schemas::engine::JournalRecord;

use super::error::DriverError;
use super::metadata::OffsetMetadata;
use crate::client::{
    ClientError, GroupConsumer, KafkaClient, OffsetEntry, PartitionReader, ReaderEvent, Received, TopicPartition,
    TransactionalProducer,
};
use crate::registry::{Frame, Framing};
use crate::topics::{consumer_group, journal_topic};

const LIMIT: Duration = Duration::from_secs(300);
const STEP: Duration = Duration::from_millis(20);

/// The offsets that a group's journal stands for, one for each input of each partition that has ever run a batch.
///
/// # Errors
/// [`DriverError::NoOffset`] when part of a journal has passed its retention and an input is not named in the rest;
/// [`DriverError::AnotherTopic`] when an input has fewer records than its group has read: the journal tells no topic by its id;
/// [`DriverError::Unreadable`], [`DriverError::Client`].
pub fn offsets_from_journal<C: KafkaClient>(
    client: &C,
    framing: &mut Framing,
    group: &Group,
) -> Result<Vec<OffsetEntry>, DriverError> {
    let journal = journal_topic(group.name());
    let inputs: Vec<&'static str> = group.subscriptions().iter().map(|s| s.input.topic).collect();
    let names: Vec<&str> = inputs.iter().copied().chain([journal.as_str()]).collect();
    let infos = client.describe(&names)?;
    let missing = |name: &str| DriverError::Topics(format!("{name} does not exist"));
    let partitions = infos.get(&journal).ok_or_else(|| missing(&journal))?.partitions;
    let mut reader = client.reader()?;
    let mut out = Vec::new();
    for partition in 0..partitions {
        let tp = TopicPartition::new(journal.as_str(), partition);
        let (low, end) = reader.bounds(&tp)?;
        let mut next: BTreeMap<String, i64> = BTreeMap::new();
        let mut sequence = 0;
        read(&mut reader, &tp, low, end, |r| {
            let record = journal_record(framing, r)?;
            sequence = record.sequence;
            for run in record.units.iter().filter_map(|u| u.run.as_ref()) {
                let at = next.entry(run.topic.clone()).or_insert(0);
                *at = (*at).max(run.last_offset.saturating_add(1));
            }
            Ok(())
        })?;
        if sequence == 0 {
            continue;
        }
        for topic in &inputs {
            let info = infos.get(*topic).ok_or_else(|| missing(topic))?;
            let tp = TopicPartition::new(*topic, partition);
            let offset = match next.get(*topic) {
                Some(offset) if *offset > reader.bounds(&tp)?.1 => {
                    return Err(DriverError::AnotherTopic {
                        topic: (*topic).to_owned(),
                        group: consumer_group(group.name()),
                        now: info.uuid.clone(),
                        then: format!("one with {offset} records in partition {partition}"),
                    });
                }
                Some(offset) => *offset,
                None if low > 0 => {
                    let (group, topic) = (consumer_group(group.name()), (*topic).to_owned());
                    return Err(DriverError::NoOffset { group, partition, topic });
                }
                // Never read: from its start.
                None => reader.bounds(&tp)?.0,
            };
            let metadata = OffsetMetadata { sequence, topic_uuid: info.uuid.clone() }.to_string();
            out.push(OffsetEntry { tp, offset, metadata });
        }
    }
    Ok(out)
}

/// Commits offsets for a group that has no member. The cluster refuses while it has one.
///
/// # Errors
/// [`DriverError::Client`].
pub fn commit_offsets<C: KafkaClient>(client: &C, group: &Group, offsets: &[OffsetEntry]) -> Result<(), DriverError> {
    let name = consumer_group(group.name());
    let consumer = client.consumer(&name, "recover", &[])?;
    let mut producer = client.producer(&format!("{name}.recover"))?;
    producer.init()?;
    producer.begin()?;
    let done = producer.send_offsets(offsets, &consumer.group_metadata()?).and_then(|()| producer.commit());
    if let Err(ClientError::Abort { .. }) = &done {
        producer.abort()?;
    }
    Ok(done?)
}

fn read<R: PartitionReader>(
    reader: &mut R,
    tp: &TopicPartition,
    low: i64,
    end: i64,
    mut take: impl FnMut(&Received) -> Result<(), DriverError>,
) -> Result<(), DriverError> {
    let deadline = Instant::now() + LIMIT;
    let mut at = low;
    if low < end {
        reader.start(&[(tp.clone(), low)])?;
    }
    while at < end {
        match reader.next(STEP) {
            Ok(Some(ReaderEvent::Record(r))) => {
                take(&r)?;
                at = r.offset.saturating_add(1);
            }
            Ok(Some(ReaderEvent::End { offset, .. })) => at = offset,
            Ok(None) | Err(ClientError::Retry { .. }) => {}
            Err(e) => return Err(e.into()),
        }
        if Instant::now() >= deadline {
            let limit_ms = u64::try_from(LIMIT.as_millis()).unwrap_or(u64::MAX);
            return Err(DriverError::Timeout { what: format!("reading {tp}"), limit_ms });
        }
    }
    Ok(())
}

fn journal_record(framing: &mut Framing, r: &Received) -> Result<JournalRecord, DriverError> {
    let unreadable = |text: String| DriverError::Unreadable {
        topic: Arc::clone(&r.topic).to_string(),
        partition: r.partition,
        offset: r.offset,
        text,
    };
    let decoded = match framing.read(JournalRecord::FULL_NAME, r.value.as_deref().unwrap_or_default())? {
        Frame::Ours(value) => JournalRecord::decode(value),
        Frame::Resolved(value) => JournalRecord::decode(&value),
        Frame::Unreadable(u) => return Err(unreadable(format!("{}: {}", u.code, u.text))),
    };
    decoded.map_err(|e| unreadable(e.to_string()))
}
