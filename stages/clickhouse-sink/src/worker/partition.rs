//! One partition that a worker owns.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fillstream_kafka::client::{Received, TopicPartition};
use fillstream_kafka::registry::{Framing, RegistryError};
use fillstream_schemas::Contract;

use crate::config::SinkConfig;
use crate::plan::{Bounds, Found, Limits, Plan, RowMeta, plan_next, plan_recovery};
use crate::row::{Row, row_of};

/// Records that came within this time count as one burst.
const BURST: Duration = Duration::from_millis(50);

/// An insert, ready to be sent as often as needed.
pub(super) struct Insert {
    pub(super) sql: String,
    pub(super) token: String,
    pub(super) file: Vec<u8>,
}

/// Where the partition stands between Kafka and ClickHouse.
pub(super) enum Phase {
    /// It has no committed offset: ClickHouse is asked whether it has rows all the same.
    Probing {
        /// Not before; `None` while the question is on its way.
        ask_at: Option<Instant>,
    },
    /// Every bounded batch is in ClickHouse.
    Open,
    /// An insert is on its way.
    Inserting { bounds: Bounds, insert: Arc<Insert>, tries: u32 },
    /// An insert failed; it may have landed.
    Retrying { bounds: Bounds, insert: Arc<Insert>, tries: u32, at: Instant },
    /// ClickHouse must say what it has of the bounds.
    Asking {
        bounds: Bounds,
        /// Not before; `None` while the question is on its way.
        ask_at: Option<Instant>,
        tries: u32,
    },
    /// ClickHouse has said.
    Told { bounds: Bounds, found: Found },
}

pub(super) struct Partition {
    pub(super) tp: TopicPartition,
    pub(super) contract: &'static Contract,
    pub(super) uuid: String,
    pub(super) phase: Phase,
    /// Offset in Kafka; -1 for none.
    pub(super) committed: i64,
    /// Everything below has landed.
    pub(super) landed: i64,
    /// Since when more has landed than is committed.
    pub(super) unacknowledged_since: Option<Instant>,
    /// Next offset to read.
    pub(super) position: i64,
    raw: VecDeque<Received>,
    rows: VecDeque<Row>,
    bytes: usize,
    /// When records came: first offset and time of each burst that still has rows here.
    bursts: VecDeque<(i64, Instant)>,
    pub(super) paused: bool,
    pub(super) trouble: Option<String>,
    logged: Option<Instant>,
}

impl Partition {
    pub(super) fn new(tp: TopicPartition, contract: &'static Contract, uuid: String, start: i64, phase: Phase) -> Self {
        Self {
            tp,
            contract,
            uuid,
            phase,
            committed: start,
            landed: start,
            unacknowledged_since: None,
            position: start,
            raw: VecDeque::new(),
            rows: VecDeque::new(),
            bytes: 0,
            bursts: VecDeque::new(),
            paused: false,
            trouble: None,
            logged: None,
        }
    }

    /// Takes a record in; one that is already here, or behind, is dropped.
    pub(super) fn take(&mut self, record: Received) {
        if record.offset < self.position {
            return;
        }
        self.position = record.offset.saturating_add(1);
        self.bytes = self.bytes.saturating_add(record.size());
        if self.bursts.back().is_none_or(|(_, at)| at.elapsed() >= BURST) {
            self.bursts.push_back((record.offset, Instant::now()));
        }
        self.raw.push_back(record);
    }

    /// Makes rows of the records, as far as the registry answers.
    pub(super) fn prepare(&mut self, framing: &mut Framing) -> Result<(), RegistryError> {
        while let Some(record) = self.raw.front_mut() {
            let size = record.size();
            let row = row_of(record, self.contract, framing)?;
            self.bytes = self.bytes.saturating_sub(size).saturating_add(row.meta.size);
            self.raw.pop_front();
            self.rows.push_back(row);
        }
        Ok(())
    }

    pub(super) fn has_raw(&self) -> bool {
        !self.raw.is_empty()
    }

    /// Bytes held in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first rows, up to `last`.
    pub(super) fn rows_to(&self, last: i64) -> impl Iterator<Item = &Row> + Clone {
        self.rows.iter().take_while(move |r| r.meta.offset <= last)
    }

    /// Bytes of the first rows, up to `last`.
    pub(super) fn size_to(&self, last: i64) -> usize {
        self.rows_to(last).map(|r| r.meta.size).sum()
    }

    /// Bytes of the insert that is on its way or about to be sent again.
    pub(super) fn in_flight(&self) -> usize {
        match &self.phase {
            Phase::Inserting { insert, .. } | Phase::Retrying { insert, .. } => insert.file.len(),
            Phase::Probing { .. } | Phase::Open | Phase::Asking { .. } | Phase::Told { .. } => 0,
        }
    }

    /// The first `count` rows, for bounds.
    pub(super) fn metas(&self, count: usize) -> Vec<RowMeta> {
        self.rows.iter().take(count).map(|r| r.meta).collect()
    }

    /// When the oldest record came that waits to be cut.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.bursts.front().filter(|_| matches!(self.phase, Phase::Open)).map(|(_, at)| *at)
    }

    /// What to do next; `lingered`: what waits is cut whatever its size.
    pub(super) fn plan(&self, config: &SinkConfig, lingered: bool) -> Plan {
        match &self.phase {
            Phase::Open => {
                let waits = self.rows.len() < config.batch_rows && self.bytes < config.batch_bytes;
                if self.rows.is_empty() || (waits && !lingered) {
                    return Plan::Idle;
                }
                let limits = Limits { rows: config.batch_rows, bytes: config.batch_bytes };
                plan_next(&self.metas(config.batch_rows.saturating_add(1)), limits, lingered)
            }
            Phase::Told { bounds, found } => {
                let metas: Vec<RowMeta> = self.rows_to(bounds.last).map(|r| r.meta).collect();
                // Records that are not made into rows yet are not read yet.
                let read_to = self.raw.front().map_or(self.position, |r| r.offset);
                plan_recovery(bounds, &metas, read_to, found)
            }
            Phase::Probing { .. } | Phase::Inserting { .. } | Phase::Retrying { .. } | Phase::Asking { .. } => {
                Plan::Idle
            }
        }
    }

    /// Everything up to `last` has landed.
    pub(super) fn land(&mut self, last: i64) {
        while let Some(row) = self.rows.front().filter(|r| r.meta.offset <= last) {
            self.bytes = self.bytes.saturating_sub(row.meta.size);
            self.rows.pop_front();
        }
        while let Some(record) = self.raw.front().filter(|r| r.offset <= last) {
            self.bytes = self.bytes.saturating_sub(record.size());
            self.raw.pop_front();
        }
        // Found complete before it was read again: what of it still comes is dropped.
        self.position = self.position.max(last.saturating_add(1));
        self.phase = Phase::Open;
        let left = self.rows.front().map(|r| r.meta.offset).or(self.raw.front().map(|r| r.offset));
        match left {
            // The last burst that began at or before what is left is the one it came with.
            Some(first) => {
                while self.bursts.get(1).is_some_and(|(from, _)| *from <= first) {
                    self.bursts.pop_front();
                }
            }
            None => self.bursts.clear(),
        }
        self.landed = self.landed.max(last.saturating_add(1));
        self.trouble = None;
        self.settle();
    }

    /// Moves `landed` over what is never delivered.
    pub(super) fn settle(&mut self) {
        if matches!(self.phase, Phase::Open) {
            let next = self.rows.front().map(|r| r.meta.offset).or(self.raw.front().map(|r| r.offset));
            self.landed = self.landed.max(next.unwrap_or(self.position));
        }
        if self.landed > self.committed {
            self.unacknowledged_since.get_or_insert_with(Instant::now);
        } else {
            self.unacknowledged_since = None;
        }
    }

    /// Whether trouble should be logged now: at once, then every 10 s.
    pub(super) fn may_log(&mut self) -> bool {
        let due = self.logged.is_none_or(|t| t.elapsed() >= Duration::from_secs(10));
        if due {
            self.logged = Some(Instant::now());
        }
        due
    }
}
