//! A task's state at a batch boundary, written down bit by bit.
//!
//! A changelog only has the last state of a key, so a replay needs the whole state at some batch. Writing it in one
//! transaction would hold everything up; a second reader would cost as much memory as the state. So the batches that follow
//! carry it along, a bounded part each: a sweep goes through the keys in order, and a key that changes ahead of the sweep is
//! written first, as it was. What comes together is the state at the boundary, however long the sweep takes.

use std::collections::BTreeSet;
use std::sync::Arc;

use fillstream_domain::TimestampMicros;
use fillstream_schemas::codec::AvroRecord;
use fillstream_schemas::engine::TimerEntry;

use crate::record::ChangelogEntry;
use crate::store::AnyStore;
use crate::task::Slot;
use crate::timer::Timers;

/// Part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPart {
    /// Batch after which the state was so.
    pub sequence: i64,
    /// Its now.
    pub now: TimestampMicros,
    /// Keys with their state then; none is deleted.
    pub entries: Vec<ChangelogEntry>,
    /// Entries of the whole snapshot, with its last part.
    pub total: Option<usize>,
}

/// Place of a key: slot, store in the slot (timers first), key.
type Place = (usize, usize, Arc<str>);

/// A snapshot on its way.
pub(crate) struct Sweep {
    sequence: i64,
    now: TimestampMicros,
    part_bytes: usize,
    swept: Option<Place>,
    /// Keys ahead of the sweep that have changed since the boundary: written already, or not there then.
    ahead: BTreeSet<Place>,
    written: usize,
}

/// How far the sweep is once the batch is committed.
#[derive(Default)]
pub(crate) struct Progress {
    swept: Option<Place>,
    ahead: Vec<Place>,
    written: usize,
    done: bool,
}

impl Sweep {
    pub(crate) fn begin(sequence: i64, now: TimestampMicros, part_bytes: usize) -> Self {
        Self { sequence, now, part_bytes, swept: None, ahead: BTreeSet::new(), written: 0 }
    }

    /// The next part. Writes of the batch in hand are in the stores, but not kept yet.
    pub(crate) fn part(&self, slots: &mut [Slot]) -> (SnapshotPart, Progress) {
        let (mut entries, mut progress) = (Vec::new(), Progress { swept: self.swept.clone(), ..Progress::default() });
        each_store(slots, |slot, store, name, schema, s| {
            for (key, before) in s.before() {
                let place = (slot, store, Arc::clone(&key));
                if self.swept.as_ref().is_some_and(|swept| place <= *swept) || self.ahead.contains(&place) {
                    continue;
                }
                progress.ahead.push(place);
                entries.extend(before.map(|value| entry(name, &key, value, schema)));
            }
        });
        let (mut bytes, mut full) = (0, false);
        let skip: BTreeSet<Place> = progress.ahead.iter().cloned().collect();
        each_store(slots, |slot, store, name, schema, s| {
            let after = self.swept.as_ref().map(|(a, b, key)| ((*a, *b), key));
            if full || after.is_some_and(|(at, _)| at > (slot, store)) {
                return;
            }
            let after = after.filter(|(at, _)| *at == (slot, store)).map(|(_, key)| key.clone());
            s.after(after.as_deref(), &mut |key, value| {
                let place = (slot, store, Arc::clone(key));
                if !self.ahead.contains(&place) && !skip.contains(&place) {
                    bytes += key.len() + value.len();
                    entries.push(entry(name, key, value, schema));
                }
                progress.swept = Some(place);
                full = bytes >= self.part_bytes;
                !full
            });
        });
        progress.done = !full;
        progress.written = self.written + entries.len();
        let total = progress.done.then_some(progress.written);
        (SnapshotPart { sequence: self.sequence, now: self.now, entries, total }, progress)
    }

    /// The part is committed; tells whether it was the last.
    pub(crate) fn keep(&mut self, progress: &Progress) -> bool {
        self.swept.clone_from(&progress.swept);
        self.ahead.extend(progress.ahead.iter().cloned());
        self.ahead.retain(|place| progress.swept.as_ref().is_none_or(|swept| place > swept));
        self.written = progress.written;
        progress.done
    }
}

fn entry(store: &str, key: &str, value: Vec<u8>, schema: &'static str) -> ChangelogEntry {
    ChangelogEntry { store: store.to_owned(), key: key.to_owned(), value: Some(value), schema }
}

fn each_store(slots: &mut [Slot], mut f: impl FnMut(usize, usize, &str, &'static str, &dyn AnyStore)) {
    for (at, slot) in slots.iter_mut().enumerate() {
        let stage = slot.instance.name();
        f(at, 0, &format!("{stage}/{}", Timers::STORE), TimerEntry::FULL_NAME, slot.timers.store());
        let mut store = 0;
        slot.instance.stores(&mut |name, s| {
            store += 1;
            f(at, store, &format!("{stage}/{name}"), s.schema(), s);
        });
    }
}
