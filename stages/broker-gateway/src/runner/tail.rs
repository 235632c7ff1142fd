//! Reads one partition from its present end on, and knows how far it got.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fillstream_kafka::client::{ClientError, PartitionReader, ReaderEvent, Received, TopicPartition};

/// Longest wait of one poll while something is awaited.
const STEP: Duration = Duration::from_millis(20);

/// A request to stop, shared by all threads of a gateway.
#[derive(Clone, Debug)]
pub(crate) struct Stop(pub(crate) Arc<AtomicBool>);

impl Stop {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Waits; false when asked to stop meanwhile.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let until = crate::BootInstant::now().plus(time);
        while !self.is_set() {
            let left = until.left();
            if left.is_zero() {
                return true;
            }
            std::thread::park_timeout(left.min(STEP));
        }
        false
    }
}

/// A partition read in order.
pub(crate) struct Tail<R> {
    reader: R,
    tp: TopicPartition,
    next: i64,
}

impl<R: PartitionReader> Tail<R> {
    /// Reads `tp` from `from` on; from its first record where that is later.
    pub(crate) fn new(mut reader: R, tp: TopicPartition, from: i64) -> Result<Self, ClientError> {
        let first = reader.bounds(&tp)?.0;
        let next = from.max(first);
        reader.start(&[(tp.clone(), next)])?;
        Ok(Self { reader, tp, next })
    }

    /// Everything below has been read.
    pub(crate) fn position(&self) -> i64 {
        self.next
    }

    /// The next record; `None` when there is none for now.
    pub(crate) fn poll(&mut self, timeout: Duration) -> Result<Option<Received>, ClientError> {
        match self.reader.next(timeout) {
            Ok(Some(ReaderEvent::Record(record))) => {
                self.next = record.offset.saturating_add(1);
                Ok(Some(record))
            }
            Ok(Some(ReaderEvent::End { offset, .. })) => {
                self.next = self.next.max(offset);
                Ok(None)
            }
            Ok(None) | Err(ClientError::Retry { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// End of the partition, open transactions counted.
    pub(crate) fn end(&self) -> Result<i64, ClientError> {
        Ok(self.reader.bounds(&self.tp)?.1)
    }

    /// Reads until everything below `to` is read, open transactions below it included: they are waited for.
    ///
    /// Gives up when asked to stop, with what there is.
    pub(crate) fn read_to(&mut self, to: i64, stop: &Stop) -> Result<Vec<Received>, ClientError> {
        let mut records = Vec::new();
        while self.next < to && !stop.is_set() {
            records.extend(self.poll(STEP)?);
        }
        Ok(records)
    }
}
