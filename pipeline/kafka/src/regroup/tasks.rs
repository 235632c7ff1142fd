//! The tasks of the old groups, and what stands in the changelogs of the new ones.

use std::collections::BTreeMap;

use fillstream_core::group::Group;
use fillstream_schemas::AvroRecord;
use fillstream_schemas::engine::JournalRecord;

use super::error::RegroupError;
use crate::client::{GroupConsumer, KafkaClient, TopicInfo, TopicPartition};
use crate::driver::{OffsetMetadata, SEQUENCE_HEADER, big_endian};
use crate::registry::{Frame, Framing};
use crate::replay::Tapes;
use crate::topics::{changelog_topic, journal_topic};

/// Keys and values of a changelog as they stand there.
pub(super) type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// A task as its last batch left it.
pub(super) struct OldTask {
    pub(super) record: JournalRecord,
    pub(super) state: State,
    pub(super) offsets: BTreeMap<String, i64>,
}

/// The task of a partition; `None` where it never ran.
pub(super) fn old_task<C: KafkaClient>(
    tapes: &mut Tapes<C>,
    framing: &mut Framing,
    consumer: &C::Consumer,
    group: &Group,
    partition: i32,
    infos: &BTreeMap<String, TopicInfo>,
) -> Result<Option<OldTask>, RegroupError> {
    let wrong = |text: String| RegroupError::Task { group: group.name().to_owned(), partition, text };
    let tps: Vec<TopicPartition> =
        group.subscriptions().iter().map(|s| TopicPartition::new(s.input.topic, partition)).collect();
    let (mut sequence, mut offsets) = (None, BTreeMap::new());
    for entry in consumer.committed(&tps)?.into_iter().filter(|e| e.offset >= 0) {
        let topic = entry.tp.topic.to_string();
        let metadata = OffsetMetadata::parse(&entry.metadata)
            .ok_or_else(|| wrong(format!("its offset of {topic} says {:?}", entry.metadata)))?;
        if infos.get(&topic).is_none_or(|i| i.uuid != metadata.topic_uuid) {
            return Err(wrong(format!("{topic} is another topic than its offset counts in")));
        }
        sequence = sequence.max(Some(metadata.sequence));
        offsets.insert(topic, entry.offset);
    }
    let (state, changelog) = read_state(tapes, framing, group.name(), partition)?;
    let record = last_record(tapes, framing, group.name(), partition)?;
    let journal = record.as_ref().map_or(0, |r| r.sequence);
    let Some(sequence) = sequence else {
        return if changelog == 0 && journal == 0 {
            Ok(None)
        } else {
            Err(wrong("it has state but no offsets".into()))
        };
    };
    if offsets.len() != tps.len() || journal != sequence || changelog > sequence {
        let read = offsets.len();
        return Err(wrong(format!(
            "offsets of {read} of {} inputs at batch {sequence}, journal at {journal}, changelog at {changelog}",
            tps.len()
        )));
    }
    Ok(record.map(|record| OldTask { record, state, offsets }))
}

/// What a changelog holds, and the last batch that wrote to it or to its journal.
pub(super) fn read_state<C: KafkaClient>(
    tapes: &mut Tapes<C>,
    framing: &mut Framing,
    group: &str,
    partition: i32,
) -> Result<(State, i64), RegroupError> {
    let tp = TopicPartition::new(changelog_topic(group), partition);
    let (mut at, _) = tapes.bounds(&tp)?;
    let (mut state, mut last) = (State::new(), 0);
    while let Some(r) = tapes.first(&tp, at)?.cloned() {
        at = r.offset.saturating_add(1);
        last = last.max(r.header(SEQUENCE_HEADER).and_then(big_endian).unwrap_or(0));
        let key = r.key.unwrap_or_default();
        match r.value {
            Some(value) => state.insert(key, value),
            None => state.remove(&key),
        };
    }
    let journal = last_record(tapes, framing, group, partition)?.map_or(0, |r| r.sequence);
    Ok((state, last.max(journal)))
}

fn last_record<C: KafkaClient>(
    tapes: &mut Tapes<C>,
    framing: &mut Framing,
    group: &str,
    partition: i32,
) -> Result<Option<JournalRecord>, RegroupError> {
    let tp = TopicPartition::new(journal_topic(group), partition);
    let (low, end) = tapes.bounds(&tp)?;
    let (mut last, mut back) = (None, 64);
    while last.is_none() && low < end {
        let mut at = end.saturating_sub(back).max(low);
        let from = at;
        while let Some(r) = tapes.first(&tp, at)?.cloned() {
            at = r.offset.saturating_add(1);
            last = Some(r);
        }
        if from == low {
            break;
        }
        back = back.saturating_mul(8);
    }
    let Some(r) = last else { return Ok(None) };
    let value = match framing.read(JournalRecord::FULL_NAME, r.value.as_deref().unwrap_or_default())? {
        Frame::Ours(value) => value.to_vec(),
        Frame::Resolved(value) => value,
        Frame::Unreadable(u) => {
            return Err(crate::driver::engine_unreadable(&r, format!("{}: {}", u.code, u.text)).into());
        }
    };
    let record = JournalRecord::decode(&value).map_err(|e| crate::driver::engine_unreadable(&r, e.to_string()))?;
    Ok(Some(record))
}
