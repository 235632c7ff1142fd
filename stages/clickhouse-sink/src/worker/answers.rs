//! What ClickHouse has answered.

use std::time::{Duration, Instant};

use fillstream_core::error::Reaction;
use fillstream_kafka::client::KafkaClient;
use tracing::debug;

use super::job::{Content, Inserted};
use super::partition::{Partition, Phase};
use super::{ServerClock, Session, trouble};
use crate::error::SinkError;
use crate::plan::{Attempt, Destination};
use crate::sink::Moment;

impl<C: KafkaClient> Session<'_, C> {
    /// Takes every answer that has come.
    pub(super) fn take_answers(&mut self) -> Result<(), SinkError> {
        while let Ok(answer) = self.answers.try_recv() {
            if let Content::Guarded(outcome) = answer.content {
                self.is_guarding = false;
                match outcome {
                    Err(e) if e.reaction() == Reaction::Stop => return Err(e),
                    Err(error) => debug!(%error, "asking for failed writes"),
                    Ok(()) => {}
                }
                continue;
            }
            if answer.epoch != self.epoch {
                continue;
            }
            if matches!(answer.content, Content::Insert(_)) {
                self.in_flight = self.in_flight.saturating_sub(1);
            }
            if let Some(mut p) = self.partitions.remove(&answer.tp) {
                let taken = self.take_answer(&mut p, answer.content);
                self.partitions.insert(answer.tp, p);
                taken?;
            }
        }
        Ok(())
    }

    fn take_answer(&mut self, p: &mut Partition, content: Content) -> Result<(), SinkError> {
        let config = &self.sink.config;
        let phase = std::mem::replace(&mut p.phase, Phase::Open);
        p.phase = match (phase, content) {
            (Phase::Inserting { bounds, insert, .. }, Content::Insert(Ok(Inserted { took, is_written }))) => {
                (self.sink.observer)(Moment::Inserted, &p.tp);
                self.is_brisk = took.saturating_mul(16) < Duration::from_millis(config.deadline_ms);
                if let Some(meters) = self.sink.status.of(&p.tp.topic) {
                    meters.batches(bounds.attempt).add(1);
                    meters.bytes.add(insert.file.len());
                    meters.insert_seconds.observe(took);
                    if bounds.attempt == Attempt::First {
                        meters.rows.add_u64(bounds.count);
                    }
                    if bounds.attempt == Attempt::First && bounds.destination == Destination::Unreadable {
                        meters.unreadable.add_u64(bounds.count);
                    }
                }
                if bounds.attempt == Attempt::First && is_written {
                    p.land(bounds.last);
                    return Ok(());
                }
                // What the server could not write has been set aside: the rows that are left are counted. The token may have been known from before, and what it brought then may be gone.
                Phase::Asking { bounds, ask_at: Some(Instant::now()), tries: 0 }
            }
            (_, Content::Insert(Err(e)) | Content::Found(Err(e))) if e.reaction() == Reaction::Stop => return Err(e),
            (Phase::Inserting { bounds, insert, tries }, Content::Insert(Err(e))) => {
                trouble(self.sink, p, &e);
                let pause = config.backoff(tries);
                let left = bounds.deadline_us.saturating_sub(self.clock.now_us());
                // Within its deadline the same token may be sent again; afterwards only ClickHouse knows what happened.
                if i128::from(left) > i128::try_from(pause.as_micros()).unwrap_or(i128::MAX) {
                    Phase::Retrying { bounds, insert, tries: tries.saturating_add(1), at: Instant::now() + pause }
                } else {
                    Phase::Asking { bounds, ask_at: Some(Instant::now() + pause), tries: 0 }
                }
            }
            (Phase::Asking { bounds, .. }, Content::Found(Ok((found, now_us)))) => {
                self.clock = ServerClock { us: now_us, at: Instant::now() };
                if let Some(meters) = self.sink.status.of(&p.tp.topic) {
                    meters.killed.add_u64(found.killed);
                }
                Phase::Told { bounds, found }
            }
            (Phase::Asking { bounds, tries, .. }, Content::Found(Err(e))) => {
                trouble(self.sink, p, &e);
                Phase::Asking {
                    bounds,
                    ask_at: Some(Instant::now() + config.backoff(tries)),
                    tries: tries.saturating_add(1),
                }
            }
            (Phase::Probing { .. }, Content::Highest(Ok(None))) => Phase::Open,
            (Phase::Probing { .. }, Content::Highest(Ok(Some(offset)))) => {
                return Err(SinkError::Position {
                    topic: p.tp.topic.to_string(),
                    partition: p.tp.partition,
                    text: format!(
                        "group {} has no committed offset, but ClickHouse has rows up to offset {offset}: the offsets were \
                         deleted or the group was renamed",
                        config.group
                    ),
                });
            }
            (Phase::Probing { .. }, Content::Highest(Err(e))) => {
                trouble(self.sink, p, &e);
                Phase::Probing { ask_at: Some(Instant::now() + config.backoff(5)) }
            }
            (phase, _) => phase,
        };
        Ok(())
    }
}
