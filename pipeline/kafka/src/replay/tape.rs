//! Topics as tapes: committed records by offset, read ahead in pieces, by one reader.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::error::ReplayError;
use crate::client::{ClientError, KafkaClient, PartitionReader, ReaderEvent, Received, TopicPartition};

/// Records read ahead of one partition.
const PIECE: usize = 2_000;
const STEP: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(120);

/// What is held of a partition.
struct Tape {
    low: i64,
    /// What came later than the replay began is not looked at.
    end: i64,
    /// Offset from which `ahead` holds every committed record.
    from: i64,
    /// Offset up to which it does.
    until: i64,
    ahead: VecDeque<Received>,
}

/// Partitions, read by offset.
pub(crate) struct Tapes<C: KafkaClient> {
    reader: C::Reader,
    tapes: BTreeMap<TopicPartition, Tape>,
}

impl<C: KafkaClient> Tapes<C> {
    pub(crate) fn new(client: &C) -> Result<Self, ReplayError> {
        Ok(Self { reader: client.reader()?, tapes: BTreeMap::new() })
    }

    /// First offset kept, and the end below which everything is decided, as it was when first asked for.
    pub(crate) fn bounds(&mut self, tp: &TopicPartition) -> Result<(i64, i64), ReplayError> {
        if let Some(tape) = self.tapes.get(tp) {
            return Ok((tape.low, tape.end));
        }
        let deadline = Instant::now() + LIMIT;
        loop {
            match self.reader.stable_bounds(tp) {
                Ok((low, end)) => {
                    let tape = Tape { low, end, from: low, until: low, ahead: VecDeque::new() };
                    self.tapes.insert(tp.clone(), tape);
                    return Ok((low, end));
                }
                Err(ClientError::Retry { .. }) => in_time(deadline, tp)?,
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// The first committed record at or after an offset.
    pub(crate) fn first(&mut self, tp: &TopicPartition, offset: i64) -> Result<Option<&Received>, ReplayError> {
        self.first_of(tp, offset, PIECE)
    }

    fn first_of(&mut self, tp: &TopicPartition, offset: i64, piece: usize) -> Result<Option<&Received>, ReplayError> {
        let (low, end) = self.bounds(tp)?;
        let offset = offset.max(low);
        let Self { reader, tapes } = self;
        let Some(tape) = tapes.get_mut(tp) else { return Ok(None) };
        if offset < tape.from || offset > tape.until {
            tape.ahead.clear();
            (tape.from, tape.until) = (offset, offset);
        }
        while tape.ahead.front().is_some_and(|r| r.offset < offset) {
            tape.ahead.pop_front();
        }
        tape.from = offset;
        while tape.ahead.is_empty() && tape.until < end {
            read_ahead(reader, tp, tape, piece)?;
        }
        Ok(tape.ahead.front())
    }

    /// The committed records of `[first, last]`.
    pub(crate) fn range(&mut self, tp: &TopicPartition, first: i64, last: i64) -> Result<Vec<Received>, ReplayError> {
        let (low, _) = self.bounds(tp)?;
        if first < low {
            let (topic, partition) = (tp.topic.to_string(), tp.partition);
            return Err(ReplayError::Gone { topic, partition, wanted: first, low });
        }
        let (mut at, mut records) = (first, Vec::new());
        while let Some(record) = self.first(tp, at)?.filter(|r| r.offset <= last) {
            at = record.offset.saturating_add(1);
            records.push(record.clone());
        }
        Ok(records)
    }

    /// Offset of the first record of which `reached` holds; it must hold of all that follow. The end where there is none.
    pub(crate) fn seek(
        &mut self,
        tp: &TopicPartition,
        mut reached: impl FnMut(&Received) -> Result<bool, ReplayError>,
    ) -> Result<i64, ReplayError> {
        let (mut low, mut high) = self.bounds(tp)?;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.first_of(tp, middle, 1)? {
                Some(record) if record.offset < high => {
                    let offset = record.offset;
                    if reached(record)? { high = middle } else { low = offset + 1 }
                }
                Some(_) | None => high = middle,
            }
        }
        Ok(low)
    }
}

fn read_ahead<R: PartitionReader>(
    reader: &mut R,
    tp: &TopicPartition,
    tape: &mut Tape,
    piece: usize,
) -> Result<(), ReplayError> {
    let deadline = Instant::now() + LIMIT;
    reader.start(&[(tp.clone(), tape.until)])?;
    while tape.until < tape.end && tape.ahead.len() < piece {
        match reader.next(STEP) {
            Ok(Some(ReaderEvent::Record(r))) if *r.topic == *tp.topic && r.partition == tp.partition => {
                if r.offset >= tape.end {
                    tape.until = tape.end;
                } else if r.offset >= tape.until {
                    tape.until = r.offset.saturating_add(1);
                    tape.ahead.push_back(r);
                }
            }
            Ok(Some(ReaderEvent::End { tp: of, offset })) if of == *tp => {
                tape.until = tape.until.max(offset.min(tape.end))
            }
            Ok(Some(ReaderEvent::Record(_) | ReaderEvent::End { .. }) | None) | Err(ClientError::Retry { .. }) => {}
            Err(e) => return Err(e.into()),
        }
        in_time(deadline, tp)?;
    }
    Ok(reader.start(&[])?)
}

fn in_time(deadline: Instant, tp: &TopicPartition) -> Result<(), ReplayError> {
    if Instant::now() < deadline {
        return Ok(());
    }
    let limit_ms = u64::try_from(LIMIT.as_millis()).unwrap_or(u64::MAX);
    Err(ReplayError::Timeout { what: tp.to_string(), limit_ms })
}
