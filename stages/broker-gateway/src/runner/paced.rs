//! Paced: market time, one tick of `execution.clock.v1` after the other.
//!
//! A tick is done when its journal record says `complete`: its reports are taken in, its child orders are committed as
//! intents, and the broker has answered every send. It takes one transaction where nothing is sent, otherwise two. After
//! a crash between them the tick is begun where the state says: the intents are there, with the tick's time stamp.

use std::collections::VecDeque;
use std::time::Duration;

use fillstream_core::record::header;
use fillstream_domain::TimestampMicros;
use fillstream_kafka::client::{KafkaClient, RdKafka, RdKafkaReader, Received, TopicPartition};
use fillstream_schemas::execution::ClockTick;
use tracing::{debug, error, info};

use super::actor::{Actor, Watch};
use super::controls::CONTROLS;
use super::live::Read;
use super::tail::Tail;
use super::wire;
use crate::adapter::{BrokerAdapter, BrokerReport};
use crate::error::GatewayError;

/// Topic of the ticks.
const CLOCK: &str = "execution.clock.v1";
const STEP: Duration = Duration::from_millis(50);

/// What came before its instant.
pub(crate) struct Ahead {
    clock: Tail<RdKafkaReader>,
    children: VecDeque<Received>,
    report: Option<BrokerReport>,
}

impl<A: BrokerAdapter> Actor<A> {
    /// Works tick by tick until asked to stop.
    pub(crate) fn paced(&mut self, kafka: &RdKafka) -> Result<(), GatewayError> {
        let partition = self.partition();
        let tp = TopicPartition::new(CLOCK, partition);
        let clock = Tail::new(kafka.follower()?, tp, self.session.head().clock_offset)?;
        let mut ahead = Ahead { clock, children: VecDeque::new(), report: None };
        while !self.stop.is_set() {
            let Some(record) = ahead.clock.poll(STEP)? else { continue };
            let next = record.offset.saturating_add(1);
            match wire::decode::<ClockTick>(self.writer.framing(), &record)? {
                // Other levels release other groups of a split path; the gateway belongs to the first.
                Ok(tick) if tick.level != 0 || self.is_done(&tick) => {}
                Ok(tick) => self.tick(&tick, next, &mut ahead)?,
                Err(unreadable) => {
                    let text = format!("tick at {}: {}: {}", record.offset, unreadable.code, unreadable.text);
                    return Err(GatewayError::State { session: self.session.name().to_owned(), text });
                }
            }
        }
        info!(session = self.session.name(), "session stopped");
        Ok(())
    }

    fn partition(&self) -> i32 {
        self.writer.partition()
    }

    fn is_done(&self, tick: &ClockTick) -> bool {
        let head = self.session.head();
        tick.sequence < head.instant || (tick.sequence == head.instant && head.complete)
    }

    fn tick(&mut self, tick: &ClockTick, next: i64, ahead: &mut Ahead) -> Result<(), GatewayError> {
        if !self.reach_controls(tick)? {
            return Ok(());
        }
        let begun = self.session.head().instant == tick.sequence;
        self.session.begin(tick.instant);
        if !begun {
            if !self.take_reports(tick, ahead)? || !self.take_children(tick.instant, ahead)? {
                return Ok(());
            }
            if !self.session.pending().is_empty() {
                // Until it is complete, a restart must meet this tick again.
                self.session.set_tick(tick.sequence, next.saturating_sub(1), false);
                self.commit()?;
                self.session.begin(tick.instant);
            }
        }
        self.deliver(begun)?;
        if !self.session.pending().is_empty() {
            return Ok(());
        }
        self.session.set_tick(tick.sequence, next, true);
        self.commit()?;
        debug!(session = self.session.name(), sequence = tick.sequence, instant = %tick.instant, "tick done");
        Ok(())
    }

    /// Reads the controls as far as the instant needs; false when asked to stop.
    fn reach_controls(&self, tick: &ClockTick) -> Result<bool, GatewayError> {
        let position = tick.tables.iter().find(|p| p.topic == CONTROLS && p.partition == 0).map(|p| p.offset);
        if let Watch::Paced(follower) = &self.watch {
            let mut follower = follower.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            // A tick that does not say is taken to mean everything that is there.
            let position = position.map_or_else(|| follower.end(), Ok)?;
            follower.reach(position, &self.stop)?;
        }
        Ok(!self.stop.is_set())
    }

    /// Takes the reports in that belong to the instant; false when asked to stop.
    fn take_reports(&mut self, tick: &ClockTick, ahead: &mut Ahead) -> Result<bool, GatewayError> {
        let last = tick.session_seqs.get(self.session.name()).copied().unwrap_or(0);
        while self.session.head().in_seq < last {
            if self.stop.is_set() {
                return Ok(false);
            }
            let report = match ahead.report.take() {
                Some(report) => Some(report),
                None => self.stream.wait(STEP)?,
            };
            match report {
                Some(report) if report.seq > last => {
                    let (expected, got) = (self.session.head().in_seq.saturating_add(1), report.seq);
                    return Err(GatewayError::Gap { session: self.session.name().to_owned(), expected, got });
                }
                Some(report) => self.session.take_report(report)?,
                None => {}
            }
        }
        Ok(true)
    }

    /// Takes the child orders in that were written before the instant; false when asked to stop.
    ///
    /// All of them are in the partition: the tick was released when their writers were done. But the markers of their
    /// transactions may still be on their way, so everything up to the partition's end is waited for.
    fn take_children(&mut self, instant: TimestampMicros, ahead: &mut Ahead) -> Result<bool, GatewayError> {
        let end = self.children.end()?;
        ahead.children.extend(self.children.read_to(end, &self.stop)?);
        if self.stop.is_set() {
            return Ok(false);
        }
        let due = |record: &Received| number_or_min(record, header::TIME) < instant.micros();
        let count = ahead.children.iter().take_while(|record| due(record)).count();
        if ahead.children.iter().skip(count).any(due) {
            error!(session = self.session.name(), %instant, "a child order of before the instant lies behind one of it");
        }
        let mut taken: Vec<Received> = ahead.children.drain(..count).collect();
        taken.sort_by(|a, b| order_of(a).cmp(&order_of(b)));
        for record in &taken {
            let read = self.read_child(record)?;
            if let Read::Letter(letter) = &read {
                debug!(offset = letter.offset, "an unreadable child order");
            }
            self.take(read);
        }
        Ok(true)
    }
}

// A record without a time was not written by a task: it is due at once.
fn number_or_min(record: &Received, name: &str) -> i64 {
    wire::number(record, name).unwrap_or(i64::MIN)
}

// Several tasks write a session's partition; how their records interleave there is chance.
fn order_of(record: &Received) -> (i64, Option<&[u8]>, Option<&[u8]>) {
    (number_or_min(record, header::TIME), record.header(header::ORDER), record.header(header::LINEAGE))
}
