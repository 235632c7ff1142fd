//! The unit of work and what comes out of it.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use fillstream_domain::TimestampMicros;
use fillstream_schemas::engine::{InputRun, JournalRecord, JournalUnit, OutputRun, Refusal, TimerEntry, UnitKind};
use sha2::{Digest, Sha256};

use crate::error::Poison;
use crate::group::Subscription;
use crate::lineage::Lineage;
use crate::position::Position;
use crate::reads::Additions;
use crate::record::{ChangelogEntry, Envelope, OutRecord, Payload, header, trace_headers};
use crate::snapshot::{Progress, SnapshotPart};
use crate::table::Tables;
use crate::trace::{Span, TraceContext};

/// Bytes of a value that a dead letter keeps.
pub const DEAD_LETTER_BYTES: usize = 65_536;

/// One batch: one `now`, one version of every table.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// The one now. Live it must be later than the last batch's; in paced mode it is the instant.
    pub now: TimestampMicros,
    /// Sequence of the clock tick, in paced mode.
    pub instant: Option<i64>,
    /// Pinned tables.
    pub tables: &'a Tables,
    /// Most roots (records and timers) to take. A few more are taken where the offsets of an input would otherwise not be
    /// a prefix.
    pub max_units: usize,
}

/// What one transaction writes for a task.
pub struct BatchOutput {
    /// Records of the stages, in order; forwards among them.
    pub outputs: Vec<OutRecord>,
    /// Dead letters.
    pub dead_letters: Vec<OutDeadLetter>,
    /// Last state of each key touched.
    pub changelog: Vec<ChangelogEntry>,
    /// The journal record.
    pub record: JournalRecord,
    /// Part of the snapshot on its way.
    pub snapshot: Option<SnapshotPart>,
    /// Next offset of each input topic that was read from.
    pub offsets: BTreeMap<&'static str, i64>,
    /// Records and timers processed as roots.
    pub units: usize,
    /// Records sent on to the partition their value asks for.
    pub forwards: usize,
    /// Whether nothing due at now is left.
    pub complete: bool,
    /// What was done in the traces that are recorded.
    pub spans: Vec<Span>,
    pub(crate) journal: JournalRuns,
    pub(crate) emitted: u32,
    pub(crate) additions: Additions,
    pub(crate) progress: Option<Progress>,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutDeadLetter {
    /// Stage that refused the record; the topic is `<stage>.dlq`.
    pub stage: &'static str,
    /// Key of the record.
    pub key: Arc<str>,
    /// Lineage of the record.
    pub lineage: Lineage,
    /// now of the batch.
    pub event_time: TimestampMicros,
    /// Avro `fillstream.engine.DeadLetter`.
    pub payload: Arc<[u8]>,
    /// The span in which the stage refused it.
    pub trace: TraceContext,
}

impl OutDeadLetter {
    /// Its headers on the wire, in order.
    #[must_use]
    pub fn wire_headers(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut headers = vec![
            (header::LINEAGE, self.lineage.as_bytes().to_vec()),
            (header::TIME, self.event_time.micros().to_be_bytes().to_vec()),
        ];
        headers.extend(trace_headers(Some(&self.trace)));
        headers
    }
}

impl BatchOutput {
    pub(crate) fn new(sequence: i64, now: TimestampMicros) -> Self {
        Self {
            outputs: Vec::new(),
            dead_letters: Vec::new(),
            changelog: Vec::new(),
            record: JournalRecord { sequence, now, ..JournalRecord::default() },
            offsets: BTreeMap::new(),
            units: 0,
            forwards: 0,
            complete: true,
            spans: Vec::new(),
            journal: JournalRuns::default(),
            emitted: 0,
            additions: Additions::default(),
            snapshot: None,
            progress: None,
        }
    }
}

/// A unit of work that nothing in this batch caused.
pub(crate) struct Root<'g> {
    pub position: Position,
    pub work: RootWork<'g>,
}

pub(crate) enum RootWork<'g> {
    Timer { slot: usize, entry: TimerEntry },
    Record { subscription: &'g Subscription, waiting: Arc<Waiting> },
}

/// An input record that waits for its batch.
pub(crate) struct Waiting {
    /// Number among the records offered to the task.
    pub arrival: u64,
    pub envelope: Envelope,
    /// Paced mode: found out once, however many instants the record waits for its own.
    pub identity: OnceLock<Identity>,
}

/// What the place of a record in its instant depends on.
#[derive(Clone, Copy)]
pub(crate) struct Identity {
    pub lineage: Lineage,
    /// `None` where the value cannot be read.
    pub event_time: Option<TimestampMicros>,
}

/// What the first stage that reads a record finds in it. Not before its turn has come: what waits costs its bytes only.
pub(crate) struct Admitted {
    pub identity: Identity,
    /// Key that decides the partition.
    pub key: Result<Arc<str>, Poison>,
    /// The [`Record`](crate::record::Record) that it was decoded to, for the stage that decoded it.
    pub decoded: Option<Box<dyn Any + Send + Sync>>,
}

// Where to cut the sorted roots: at or after `max`, and only where the records taken of each topic are a prefix of its
// offsets, because a committed offset cannot say more, and not among roots one of which causes the others elsewhere.
pub(crate) fn cut(roots: &[Root<'_>], max: usize) -> usize {
    if roots.len() <= max {
        return roots.len();
    }
    let mut order: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for root in roots {
        if let RootWork::Record { subscription, waiting } = &root.work {
            order.entry(subscription.input.topic).or_default().push(waiting.envelope.offset.unwrap_or(-1));
        }
    }
    for offsets in order.values_mut() {
        offsets.sort_unstable();
    }
    let mut seen: BTreeMap<&str, (usize, i64)> = BTreeMap::new();
    let mut base: Option<&Position> = None;
    for (i, root) in roots.iter().enumerate() {
        base = base.filter(|base| root.position.extends(base)).or(Some(&root.position));
        let goes_on = roots.get(i + 1).zip(base).is_some_and(|(next, base)| next.position.extends(base));
        if let RootWork::Record { subscription, waiting } = &root.work {
            let (count, last) = seen.entry(subscription.input.topic).or_insert((0, i64::MIN));
            *count += 1;
            *last = (*last).max(waiting.envelope.offset.unwrap_or(-1));
        }
        let closed = || seen.iter().all(|(t, (count, last))| order.get(t).and_then(|o| o.get(count - 1)) == Some(last));
        if i + 1 >= max.max(1) && !goes_on && closed() {
            return i + 1;
        }
    }
    roots.len()
}

/// Collects the journal's units as run lengths.
#[derive(Default)]
pub(crate) struct JournalRuns {
    units: Vec<JournalUnit>,
}

impl JournalRuns {
    // `next`: the record was the next of its topic. Only then may it prolong a run, so that a run names exactly the
    // records of its range that no earlier unit names.
    pub(crate) fn push(&mut self, root: &Root<'_>, next: bool) {
        match &root.work {
            RootWork::Timer { entry, .. } => self.units.push(JournalUnit {
                kind: UnitKind::Timer,
                run: None,
                stage: Some(entry.stage.clone()),
                timer_key: Some(entry.key.clone()),
                due: Some(entry.due),
                refusal: None,
            }),
            RootWork::Record { subscription, waiting } => {
                let topic = subscription.input.topic;
                let offset = waiting.envelope.offset.unwrap_or(-1);
                let refusal = match &waiting.envelope.payload {
                    Payload::Avro(_) => None,
                    Payload::Unreadable { code, text, .. } => {
                        Some(Refusal { code: code.to_string(), text: text.clone() })
                    }
                };
                let last = self.units.last_mut().filter(|u| u.refusal.is_none() && refusal.is_none());
                if next
                    && let Some(run) = last.and_then(|u| u.run.as_mut())
                    && run.topic == topic
                    && run.last_offset < offset
                {
                    run.last_offset = offset;
                    run.count += 1;
                    return;
                }
                let run = InputRun { topic: topic.to_owned(), first_offset: offset, last_offset: offset, count: 1 };
                self.units.push(JournalUnit {
                    kind: UnitKind::Records,
                    run: Some(run),
                    refusal,
                    ..JournalUnit::default()
                });
            }
        }
    }

    pub(crate) fn into_units(self) -> Vec<JournalUnit> {
        self.units
    }
}

/// Where records go, as the journal says it.
#[must_use]
pub fn written(outputs: &[OutRecord], partition: impl Fn(&str, &str) -> i32) -> Vec<OutputRun> {
    let mut counts: BTreeMap<(&str, i32), i32> = BTreeMap::new();
    for out in outputs {
        *counts.entry((out.topic, partition(out.topic, &out.key))).or_default() += 1;
    }
    let run = |((topic, partition), count): ((&str, i32), i32)| OutputRun { topic: topic.to_owned(), partition, count };
    counts.into_iter().map(run).collect()
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_one_of_which_causes_the_others_are_never_cut_apart() {
        let timer =
            |position: Position| Root { position, work: RootWork::Timer { slot: 0, entry: TimerEntry::default() } };
        let first = Position::timer(1, "stage", "a");
        let positions = [
            first.clone(),
            first.child(0, 1),
            first.child(0, 1).child(3, 0),
            first.child(3, 0),
            Position::timer(1, "stage", "b"),
        ];
        let roots: Vec<Root<'_>> = positions.into_iter().map(timer).collect();
        let cuts: Vec<usize> = (1..=5).map(|max| cut(&roots, max)).collect();
        assert_eq!(cuts, [4, 4, 4, 4, 5]);
    }
}
