//! Position: where a unit of work stands in the order of its instant.
//!
//! In paced mode the outputs must not depend on how work was cut into batches or stages into groups. So every unit of
//! work carries a position, compared byte by byte: a root (a timer or an input record) has one made from market time and
//! the writer's own order; whatever a stage emits while handling it extends that position. A stage meets its inputs in
//! the order of their positions, whether it received them in memory or from a topic, in one batch or in ten.
//!
//! Encodings made from time are prefix-free, so all that such a root causes stands before the next one, and a batch may be cut
//! between any two. But where a path is split, a group reads a record and, from another group, what that group wrote while
//! it handled the same record: its position extends the record's, and stands in the middle of what the record causes here. Such
//! roots are worked together ([`Position::extends`]), in the order of positions like everything else, and never cut apart.

/// A byte string whose lexicographic order is the order of processing within one instant of one task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(Vec<u8>);

const TIMER: u8 = 0;
const RECORD: u8 = 1;
const WRITTEN: u8 = 0;
const FOREIGN: u8 = 1;

impl Position {
    /// Position of a timer in paced mode.
    #[must_use]
    pub fn timer(due_us: i64, stage: &str, key: &str) -> Self {
        let mut p = Self::starting(due_us, TIMER);
        p.text(stage);
        p.text(key);
        p
    }

    /// Position of an input record in paced mode. `order` is the writer's own order where it states one
    /// ([`WriterOrder`]), otherwise the record's lineage decides.
    #[must_use]
    pub fn record(event_time_us: i64, topic: &str, order: Option<&[u8]>, lineage: &[u8; 16]) -> Self {
        let mut p = Self::starting(event_time_us, RECORD);
        p.text(topic);
        match order {
            Some(order) => {
                p.0.push(WRITTEN);
                p.0.extend_from_slice(order);
            }
            None => p.0.push(FOREIGN),
        }
        p.0.extend_from_slice(lineage);
        p
    }

    /// Position of the `index`-th root of a live batch: there the order of arrival decides.
    #[must_use]
    pub fn live(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX).to_be_bytes().to_vec())
    }

    /// Position of the `n`-th output of the stage with `ordinal` in its path.
    #[must_use]
    pub fn child(&self, ordinal: u8, n: u32) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len() + 5);
        bytes.extend_from_slice(&self.0);
        bytes.push(ordinal);
        bytes.extend_from_slice(&n.to_be_bytes());
        Self(bytes)
    }

    /// Whether it is caused by what has the other position, or is that.
    #[must_use]
    pub fn extends(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The bytes, for the record header.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// From a record header.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    fn starting(time_us: i64, class: u8) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&sortable(time_us));
        bytes.push(class);
        Self(bytes)
    }

    // Kafka topic names and timer keys hold no zero byte; one that does only loses its place among equals.
    fn text(&mut self, s: &str) {
        self.0.extend(s.bytes().filter(|b| *b != 0));
        self.0.push(0);
    }
}

/// Order among the records of one writer, stated in the `fs-order` header: (writer, sequence, n).
///
/// The writer is a task's partition or a broker session's number: not the process, so that it survives a restart. Only
/// the order within a writer means anything; between writers it only has to be the same in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriterOrder {
    /// Partition of the writing task, or number of the broker session.
    pub writer: u16,
    /// Batch sequence of the writer, or sequence number of its source.
    pub sequence: u64,
    /// Number within the sequence.
    pub n: u32,
}

impl WriterOrder {
    /// 14 bytes, big-endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 14] {
        let mut out = [0u8; 14];
        let parts =
            self.writer.to_be_bytes().into_iter().chain(self.sequence.to_be_bytes()).chain(self.n.to_be_bytes());
        for (to, from) in out.iter_mut().zip(parts) {
            *to = from;
        }
        out
    }
}

// Flipping the sign bit makes the big-endian bytes of an i64 sort like the number.
fn sortable(v: i64) -> [u8; 8] {
    (v ^ i64::MIN).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(t: i64, seq: u64) -> Position {
        let order = WriterOrder { writer: 3, sequence: seq, n: 0 }.to_bytes();
        Position::record(t, "topic", Some(&order), &[7; 16])
    }

    #[test]
    fn what_is_caused_extends_its_cause_and_stands_before_the_next() {
        let (cause, next) = (record(1, 1), record(1, 2));
        let caused = cause.child(0, 7).child(3, 0);
        assert!(caused.extends(&cause) && !cause.extends(&caused) && !next.extends(&cause));
        assert!(cause < caused && caused < cause.child(3, 0) && cause.child(3, 0) < next);
    }

    #[test]
    fn time_decides_first_and_negative_times_sort() {
        assert!(record(-5, 9) < record(1, 1));
        assert!(record(1, 9) < record(2, 1));
        assert!(Position::timer(1, "s", "k") < record(1, 0));
    }

    #[test]
    fn the_writers_order_decides_within_one_time() {
        assert!(record(1, 1) < record(1, 2));
        assert!(record(1, 255) < record(1, 256));
    }

    #[test]
    fn everything_a_root_causes_comes_before_the_next_root() {
        let (a, b) = (record(1, 1), record(1, 2));
        let deep = a.child(200, u32::MAX).child(255, u32::MAX);
        assert!(a < deep && deep < b);
    }

    #[test]
    fn a_cause_comes_before_its_effect_and_siblings_keep_their_order() {
        let a = record(1, 1);
        let (first, second) = (a.child(0, 0), a.child(0, 1));
        let effect = first.child(1, 0);
        assert!(first < effect && effect < second);
    }

    #[test]
    fn live_roots_keep_arrival_order() {
        assert!(Position::live(1).child(9, 9) < Position::live(2));
    }
}
