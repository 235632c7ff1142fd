//! What a batch reads of its tables.
//!
//! A replay needs the rows a batch decided from, and a row of a compacted topic does not stay. So every read is noted:
//! [`Rows`](crate::table::Rows) and [`LogRows`](crate::table::LogRows) let nobody at a row without noting it. A task runs a
//! batch in one thread from its start to its end, so the notes are kept by thread; outside a batch nothing is noted.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fillstream_schemas::engine::{LogRead, RowRead};
use sha2::{Digest, Sha256};

use crate::mutant;
use crate::table::{ReadRange, Tables};

/// Offset that stands for a row that is not there.
pub(crate) const ABSENT: i64 = -1;

/// Where a row of a table came from, with its value as read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RowSource {
    pub topic: &'static str,
    pub partition: i32,
    pub key: Arc<str>,
    pub offset: i64,
    pub value: Arc<[u8]>,
}

/// Every row and partition that a batch read.
#[derive(Default)]
pub(crate) struct Reads {
    rows: Vec<Arc<RowSource>>,
    missing: BTreeMap<&'static str, BTreeSet<Arc<str>>>,
    // `None`: a key that no partition has.
    logs: BTreeSet<(&'static str, Option<i32>)>,
}

thread_local! {
    static NOTES: RefCell<Option<Reads>> = const { RefCell::new(None) };
}

/// Runs `batch` and gives what it read besides.
pub(crate) fn noting<T>(batch: impl FnOnce() -> T) -> (T, Reads) {
    // Also when the batch panics nothing stays behind.
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            NOTES.set(None);
        }
    }
    NOTES.set(Some(Reads::default()));
    let reset = Reset;
    let done = batch();
    let reads = NOTES.take().unwrap_or_default();
    drop(reset);
    (done, reads)
}

fn note(f: impl FnOnce(&mut Reads)) {
    NOTES.with_borrow_mut(|notes| {
        if let Some(reads) = notes {
            f(reads);
        }
    });
}

pub(crate) fn note_row(row: &Arc<RowSource>) {
    note(|reads| {
        // Stages of a group ask for the same row one after the other.
        if !reads.rows.iter().rev().take(8).any(|seen| Arc::ptr_eq(seen, row)) {
            reads.rows.push(Arc::clone(row));
        }
    });
}

pub(crate) fn note_missing(topic: &'static str, key: &str) {
    note(|reads| {
        let keys = reads.missing.entry(topic).or_default();
        if !keys.contains(key) {
            keys.insert(key.into());
        }
    });
}

pub(crate) fn note_log(topic: &'static str, partition: Option<i32>) {
    note(|reads| {
        reads.logs.insert((topic, partition));
    });
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    partition: i32,
    offset: i64,
    hash: [u8; 32],
}

/// What a task's journal holds since its segment began: enough to know what it need not say again.
#[derive(Debug)]
pub(crate) struct Journalled {
    begun: bool,
    // Several rows of a key where a table holds a history; none where the key was told to be absent.
    rows: BTreeMap<&'static str, BTreeMap<Arc<str>, Vec<Known>>>,
    logs: BTreeMap<(&'static str, i32), ReadRange>,
}

/// What a batch adds to it, once it is committed.
#[derive(Default)]
pub(crate) struct Additions {
    absent: Vec<(&'static str, Arc<str>)>,
    rows: Vec<(&'static str, Arc<str>, Known)>,
    logs: BTreeMap<(&'static str, i32), ReadRange>,
}

/// The part of a journal record that names rows read.
#[derive(Default)]
pub(crate) struct Told {
    pub segment: bool,
    pub rows: Vec<RowRead>,
    pub logs: Vec<LogRead>,
}

impl Default for Journalled {
    fn default() -> Self {
        Self { begun: true, rows: BTreeMap::new(), logs: BTreeMap::new() }
    }
}

impl Journalled {
    /// From here on the journal says everything again.
    pub(crate) fn begin(&mut self) {
        *self = Self::default();
    }

    /// What of `reads` the journal does not hold yet.
    pub(crate) fn tell(&self, reads: Reads, tables: &Tables) -> (Told, Additions) {
        let (mut told, mut additions) = (Told { segment: self.begun, ..Told::default() }, Additions::default());
        for (topic, keys) in reads.missing {
            for key in keys {
                if self.known(topic, &key).is_some_and(<[Known]>::is_empty) {
                    continue;
                }
                told.rows.push(RowRead {
                    topic: topic.to_owned(),
                    partition: -1,
                    key: key.to_string(),
                    offset: ABSENT,
                    ..RowRead::default()
                });
                additions.absent.push((topic, key));
            }
        }
        let rows: BTreeMap<_, _> =
            reads.rows.into_iter().map(|r| ((r.topic, Arc::clone(&r.key), r.offset), r)).collect();
        for ((topic, key, offset), row) in rows {
            let known = self.known(topic, &key).unwrap_or_default();
            if known.iter().rev().any(|k| (k.partition, k.offset) == (row.partition, offset)) {
                continue;
            }
            let hash: [u8; 32] = Sha256::digest(&row.value).into();
            let value = (!known.iter().any(|k| k.hash == hash)).then(|| row.value.to_vec());
            let (topic_name, key_text) = (topic.to_owned(), key.to_string());
            let (partition, hash_bytes) = (row.partition, hash.to_vec());
            told.rows.push(RowRead { topic: topic_name, partition, key: key_text, offset, hash: hash_bytes, value });
            additions.rows.push((topic, key, Known { partition, offset, hash }));
        }
        let mut logs: BTreeMap<(&'static str, i32), ReadRange> = BTreeMap::new();
        for (topic, partition) in reads.logs {
            logs.extend(tables.read_of(topic, partition).map(|(partition, range)| ((topic, partition), range)));
        }
        logs.retain(|at, range| self.logs.get(at) != Some(range));
        for ((topic, partition), (first_offset, next_offset)) in &logs {
            let (partition, first_offset, next_offset) = (*partition, *first_offset, *next_offset);
            told.logs.push(LogRead { topic: (*topic).to_owned(), partition, first_offset, next_offset });
        }
        additions.logs = logs;
        if mutant::is("journal without table rows") {
            told.rows.clear();
        }
        (told, additions)
    }

    /// The batch that told these is committed.
    pub(crate) fn keep(&mut self, additions: &Additions) {
        self.begun = false;
        for (topic, key) in &additions.absent {
            self.rows.entry(topic).or_default().insert(Arc::clone(key), Vec::new());
        }
        for (topic, key, known) in &additions.rows {
            self.rows.entry(topic).or_default().entry(Arc::clone(key)).or_default().push(known.clone());
        }
        self.logs.extend(additions.logs.iter().map(|(at, range)| (*at, *range)));
    }

    fn known(&self, topic: &str, key: &str) -> Option<&[Known]> {
        self.rows.get(topic).and_then(|rows| rows.get(key)).map(Vec::as_slice)
    }
}
