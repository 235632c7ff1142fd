//! A bounded sequence in order of event time, cheap to clone.

use std::collections::VecDeque;
use std::sync::Arc;

use fillstream_domain::TimestampMicros;

/// Rows of a chunk. A clone of the ring shares all chunks; the first write after it copies only the last one.
const CHUNK: usize = 256;

/// Something that happened at a time.
pub(crate) trait Stamped: Clone {
    fn time(&self) -> TimestampMicros;
}

/// The last rows in order of event time. The newest row that was dropped is kept: it still prevails until the oldest one
/// held, and its cumulated figures are those of everything dropped.
#[derive(Clone, Debug)]
pub(crate) struct Ring<T> {
    chunks: VecDeque<Arc<Vec<T>>>,
    len: usize,
    capacity: usize,
    dropped: Option<T>,
}

impl<T: Stamped> Ring<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { chunks: VecDeque::new(), len: 0, capacity, dropped: None }
    }

    /// Appends a row that is not earlier than the last one.
    pub(crate) fn push(&mut self, row: T) {
        match self.chunks.back_mut() {
            Some(chunk) if chunk.len() < CHUNK => Arc::make_mut(chunk).push(row),
            Some(_) | None => self.chunks.push_back(Arc::new(vec![row])),
        }
        self.len += 1;
        self.shrink();
    }

    /// Takes out the rows later than `time`, in order, so that a late row can go before them.
    pub(crate) fn split_after(&mut self, time: TimestampMicros) -> Vec<T> {
        let mut later = Vec::new();
        while let Some(chunk) = self.chunks.back_mut() {
            let keep = chunk.partition_point(|row| row.time() <= time);
            if keep == chunk.len() {
                break;
            }
            let mut tail = Arc::make_mut(chunk).split_off(keep);
            self.len -= tail.len();
            tail.append(&mut later);
            later = tail;
            if keep > 0 {
                break;
            }
            self.chunks.pop_back();
        }
        later
    }

    /// The last row, the newest dropped one if none is held.
    pub(crate) fn last(&self) -> Option<&T> {
        self.chunks.back().and_then(|chunk| chunk.last()).or(self.dropped.as_ref())
    }

    /// The newest row that was dropped: nothing before it is known.
    pub(crate) fn dropped(&self) -> Option<&T> {
        self.dropped.as_ref()
    }

    /// The last row for which `earlier` holds; it must hold for a prefix. `None` when all rows held are later.
    pub(crate) fn last_where(&self, earlier: impl Fn(&T) -> bool) -> Option<&T> {
        let chunks = self.chunks.partition_point(|chunk| chunk.first().is_some_and(&earlier));
        let chunk = self.chunks.get(chunks.checked_sub(1)?)?;
        chunk.get(chunk.partition_point(&earlier).checked_sub(1)?)
    }

    /// The rows after the prefix for which `earlier` holds, oldest first.
    pub(crate) fn rows_after(&self, earlier: impl Fn(&T) -> bool) -> impl Iterator<Item = &T> {
        let whole = self.chunks.partition_point(|chunk| chunk.last().is_some_and(&earlier));
        self.chunks.iter().skip(whole).flat_map(|chunk| chunk.iter()).skip_while(move |row| earlier(row))
    }

    fn shrink(&mut self) {
        while let Some(first) = self.chunks.front()
            && self.len > self.capacity
            && self.len - first.len() > 0
        {
            self.len -= first.len();
            self.dropped = first.last().cloned();
            self.chunks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Stamped for i64 {
        fn time(&self) -> TimestampMicros {
            TimestampMicros::from_micros(*self)
        }
    }

    fn ring(capacity: usize, rows: impl IntoIterator<Item = i64>) -> Ring<i64> {
        let mut ring = Ring::new(capacity);
        rows.into_iter().for_each(|row| ring.push(row));
        ring
    }

    #[test]
    fn a_clone_does_not_see_later_rows() {
        let mut first = ring(1_000, 0..300);
        let second = first.clone();
        first.push(300);
        assert_eq!((first.last(), second.last()), (Some(&300), Some(&299)));
        assert!(Arc::ptr_eq(&first.chunks[0], &second.chunks[0]), "a full chunk is shared");
    }

    #[test]
    fn the_oldest_chunks_go_and_the_newest_dropped_row_stays_known() {
        let ring = ring(300, 0..1_000);
        assert_eq!((ring.len, ring.dropped()), (232, Some(&767)));
        assert_eq!(ring.last_where(|row| *row < 768), None);
        assert_eq!(ring.last_where(|row| *row <= 768), Some(&768));
    }

    proptest! {
        #[test]
        fn finds_the_last_row_of_the_prefix(mut rows in prop::collection::vec(0_i64..2_000, 0..1_500), bound in 0_i64..2_000) {
            rows.sort_unstable();
            let ring = ring(10_000, rows.iter().copied());
            prop_assert_eq!(ring.last_where(|row| *row <= bound), rows.iter().rfind(|row| **row <= bound));
        }

        #[test]
        fn the_rows_after_a_prefix_are_all_the_others(mut rows in prop::collection::vec(0_i64..2_000, 0..1_500), bound in 0_i64..2_000) {
            rows.sort_unstable();
            let ring = ring(10_000, rows.iter().copied());
            let after: Vec<i64> = ring.rows_after(|row| *row <= bound).copied().collect();
            prop_assert_eq!(after, rows.iter().copied().filter(|row| *row > bound).collect::<Vec<_>>());
        }

        #[test]
        fn splitting_takes_exactly_the_later_rows(mut rows in prop::collection::vec(0_i64..2_000, 0..1_500), at in 0_i64..2_000) {
            rows.sort_unstable();
            let mut ring = ring(10_000, rows.iter().copied());
            let later = ring.split_after(TimestampMicros::from_micros(at));
            let kept: Vec<i64> = ring.chunks.iter().flat_map(|chunk| chunk.iter().copied()).collect();
            prop_assert_eq!(ring.len, kept.len());
            prop_assert_eq!([kept, later].concat(), rows.clone());
            prop_assert_eq!(ring.last(), rows.iter().rfind(|row| **row <= at));
        }
    }
}
