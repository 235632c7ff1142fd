//! Durable timers: keyed state like any other, with an index by due time.

use std::collections::BTreeSet;
use std::sync::Arc;

use fillstream_schemas::engine::TimerEntry;

use crate::store::{AnyStore, Change, Store};

/// The timers of one stage in one task.
#[derive(Default)]
pub(crate) struct Timers {
    store: Store<TimerEntry>,
    by_due: BTreeSet<(i64, Arc<str>)>,
}

impl Timers {
    pub(crate) const STORE: &'static str = "timers";

    pub(crate) fn put(&mut self, key: &str, entry: TimerEntry) {
        self.unindex(key);
        self.by_due.insert((entry.due.micros(), key.into()));
        self.store.put(key, entry);
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.unindex(key);
        self.store.remove(key);
    }

    pub(crate) fn get(&self, key: &str) -> Option<&TimerEntry> {
        self.store.get(key)
    }

    /// Due at `now` and set in an earlier instant, in order of (due, key).
    pub(crate) fn due(&self, now: i64) -> impl Iterator<Item = &TimerEntry> {
        self.by_due
            .iter()
            .take_while(move |(due, _)| *due <= now)
            .filter_map(|(_, key)| self.store.get(key))
            .filter(move |entry| entry.set_at.micros() < now)
    }

    pub(crate) fn next_due(&self) -> Option<i64> {
        self.by_due.first().map(|(due, _)| *due)
    }

    pub(crate) fn len(&self) -> usize {
        self.store.len()
    }

    pub(crate) fn keep_record(&mut self) {
        self.store.keep_record();
    }

    pub(crate) fn keep_batch(&mut self) {
        self.store.keep_batch();
    }

    pub(crate) fn undo_batch(&mut self) {
        self.store.undo_batch();
        self.reindex();
    }

    pub(crate) fn changes(&self) -> Vec<Change> {
        self.store.changes()
    }

    pub(crate) fn restore(
        &mut self,
        key: &str,
        value: Option<&[u8]>,
    ) -> Result<(), fillstream_schemas::codec::CodecError> {
        self.unindex(key);
        self.store.restore(key, value)?;
        if let Some(entry) = self.store.get(key) {
            self.by_due.insert((entry.due.micros(), key.into()));
        }
        Ok(())
    }

    pub(crate) fn store(&self) -> &dyn AnyStore {
        &self.store
    }

    pub(crate) fn dump(&self) -> Vec<(Arc<str>, Vec<u8>)> {
        self.store.dump()
    }

    fn unindex(&mut self, key: &str) {
        if let Some(old) = self.store.get(key) {
            self.by_due.remove(&(old.due.micros(), Arc::from(key)));
        }
    }

    // Undoing is rare: a full rebuild keeps the index simple.
    fn reindex(&mut self) {
        self.by_due = self.store.iter().map(|(key, entry)| (entry.due.micros(), Arc::from(key))).collect();
    }
}
