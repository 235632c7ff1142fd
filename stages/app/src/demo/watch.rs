//! Watches topics while the demo runs: journals for the pacer, outputs for progress and summary.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use fillstream_core::record::header;
use fillstream_kafka::client::{KafkaClient as _, PartitionReader as _, ReaderEvent, Received, TopicPartition};
use fillstream_schemas::codec::AvroRecord;
use fillstream_schemas::engine::JournalRecord;
use fillstream_schemas::execution::{
    AccountAllocation, ChildAction, ChildOrder, ExecutionQuality, ExecutionReport, ExecutionStrategySelected,
    OrderEvent, OrderEventType, RiskAlert, RoutingPlan, ValidatedOrder,
};
use fillstream_schemas::types::ExecType;
use fillstream_schemas::wire;

use super::desk::Desk;
use super::pacer::Journalled;
use crate::bus::{Cluster, now_us};

/// Threads that read topics until they are told to stop.
pub struct Watch {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Watch {
    /// Nothing watched yet.
    #[must_use]
    pub fn new() -> Self {
        Self { stop: Arc::new(AtomicBool::new(false)), threads: Vec::new() }
    }

    /// Calls `f` in a thread with each committed record of `topic` from now on.
    ///
    /// # Errors
    /// The topic is missing or the cluster does not answer.
    pub fn topic(
        &mut self,
        cluster: &Cluster,
        topic: &str,
        mut f: impl FnMut(Received) -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let mut reader = cluster.kafka.follower()?;
        let mut start = Vec::new();
        for partition in 0..cluster.partitions(topic)? {
            let tp = TopicPartition::new(topic, partition);
            let (_, end) = reader.stable_bounds(&tp)?;
            start.push((tp, end));
        }
        reader.start(&start)?;
        let stop = Arc::clone(&self.stop);
        let thread = std::thread::Builder::new().name(format!("watch {topic}")).spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if let Some(ReaderEvent::Record(record)) = reader.next(Duration::from_millis(200))? {
                    f(record)?;
                }
            }
            Ok(())
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Sends every journal record of the topics to a channel.
    ///
    /// # Errors
    /// As [`Watch::topic`].
    pub fn journals(&mut self, cluster: &Cluster, topics: &BTreeSet<String>) -> anyhow::Result<Receiver<Journalled>> {
        let (sender, receiver) = channel();
        for topic in topics {
            let sender: Sender<Journalled> = sender.clone();
            self.topic(cluster, topic, move |record| {
                let task = (record.topic.to_string(), record.partition);
                let journalled = Journalled { task, record: decode::<JournalRecord>(&record)? };
                // The pacer is done when nobody listens any more.
                let _ = sender.send(journalled);
                Ok(())
            })?;
        }
        Ok(receiver)
    }

    /// Stops the threads.
    ///
    /// # Errors
    /// What made one of them stop before.
    pub fn stop(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow::anyhow!("a watching thread panicked"))??;
        }
        Ok(())
    }
}

fn decode<R: AvroRecord>(record: &Received) -> anyhow::Result<R> {
    let value = record.value.as_deref().context("a record without a value")?;
    let (_, payload) = wire::split(value)?;
    R::decode(payload).with_context(|| format!("{}-{}@{}", record.topic, record.partition, record.offset))
}

/// What has been seen so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// Orders by the name of their terminal event.
    pub terminal: BTreeMap<&'static str, u64>,
    /// Refused orders by reason code.
    pub refusals: BTreeMap<String, u64>,
    /// Orders refused by risk.
    pub refused_by_risk: u64,
    /// Orders created or refused.
    pub orders: u64,
    /// Orders risk looked at.
    pub validated: u64,
    /// Child orders sent.
    pub children: u64,
    /// Partitions that orders used.
    pub partitions: BTreeSet<i32>,
    /// Children by how they ended.
    pub child_ends: BTreeMap<&'static str, u64>,
    /// Children with a partial fill at the end.
    pub partly_filled: u64,
    /// Routing plans with more than one leg.
    pub split_plans: u64,
    /// Fills by venue.
    pub fills: BTreeMap<String, u64>,
    /// TCA rows.
    pub tca: u64,
    /// The last TCA row of each order.
    pub quality: BTreeMap<String, ExecutionQuality>,
    /// Expected cost of each order when its strategy was selected, basis points; of the last account to be selected for.
    pub expected: BTreeMap<String, fillstream_domain::Bps>,
    /// Shares of accounts by the rule that measured them.
    pub shares: BTreeMap<&'static str, u64>,
    /// Orders that several accounts share.
    pub shared_orders: BTreeSet<String>,
    /// Commands by their answer.
    pub answers: BTreeMap<&'static str, u64>,
    /// Child orders by broker.
    pub brokers: BTreeMap<String, u64>,
    /// Plans that routed again what had come back.
    pub reroutes: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Largest utilisation of a limit by an approved order, percent.
    pub utilisation: fillstream_domain::Ratio,
    /// Time from a decision's entry to its first child order, microseconds of the OS clock.
    pub latency_us: Vec<u64>,
    /// What the tables are made of.
    pub desk: Desk,
    first_children: BTreeSet<String>,
    exec_ids: BTreeSet<(String, String)>,
}

impl Seen {
    /// Watches every output topic.
    ///
    /// # Errors
    /// As [`Watch::topic`].
    pub fn watch(
        watch: &mut Watch,
        cluster: &Cluster,
        dead_letter_topics: &[String],
    ) -> anyhow::Result<Arc<Mutex<Self>>> {
        let seen = Arc::new(Mutex::new(Self::default()));
        let on = |watch: &mut Watch, topic: &str, f: fn(&mut Self, &Received) -> anyhow::Result<()>| {
            let seen = Arc::clone(&seen);
            watch.topic(cluster, topic, move |record| {
                f(&mut seen.lock().unwrap_or_else(PoisonError::into_inner), &record)
            })
        };
        on(watch, "execution.orders.v1", |seen, r| {
            seen.order(&decode(r)?, r.partition);
            Ok(())
        })?;
        on(watch, "execution.validated-orders.v1", |seen, r| {
            seen.verdict(&decode(r)?);
            Ok(())
        })?;
        on(watch, "execution.risk-alerts.v1", |seen, r| {
            seen.desk.alert(&decode::<RiskAlert>(r)?);
            Ok(())
        })?;
        on(watch, "execution.routing-plans.v1", |seen, r| {
            let plan: RoutingPlan = decode(r)?;
            seen.split_plans += u64::from(plan.venue_allocations.len() > 1);
            seen.reroutes += u64::from(!plan.reroutes.is_empty());
            Ok(seen.desk.plan(&plan)?)
        })?;
        on(watch, "execution.allocations.v1", |seen, r| {
            seen.allocation(decode(r)?);
            Ok(())
        })?;
        on(watch, "execution.strategies.v1", |seen, r| {
            let selected: ExecutionStrategySelected = decode(r)?;
            if let Some(cost) = selected.expected_outcomes.estimated_cost {
                seen.expected.insert(selected.order_id, cost);
            }
            Ok(())
        })?;
        on(watch, "execution.child-orders.v1", |seen, r| {
            seen.child(&decode(r)?, r);
            Ok(())
        })?;
        on(watch, "execution.reports.v1", |seen, r| Ok(seen.report(&decode(r)?)?))?;
        on(watch, "execution.quality.v1", |seen, r| {
            let row: ExecutionQuality = decode(r)?;
            seen.tca += 1;
            seen.quality.insert(row.order_id.clone(), row);
            Ok(())
        })?;
        for topic in dead_letter_topics {
            on(watch, topic, |seen, _| {
                seen.dead_letters += 1;
                Ok(())
            })?;
        }
        Ok(seen)
    }

    fn order(&mut self, e: &OrderEvent, partition: i32) {
        self.desk.order(e);
        self.partitions.insert(partition);
        self.orders += u64::from(e.revision == 1);
        if matches!(
            e.event_type,
            OrderEventType::Suspended
                | OrderEventType::Resumed
                | OrderEventType::Replaced
                | OrderEventType::CommandRefused
        ) {
            *self.answers.entry(e.event_type.as_str()).or_default() += 1;
        }
        if e.is_terminal {
            *self.terminal.entry(e.event_type.as_str()).or_default() += 1;
            if e.event_type == OrderEventType::Rejected {
                *self.refusals.entry(e.reason_code.clone().unwrap_or_default()).or_default() += 1;
            }
        }
    }

    fn verdict(&mut self, v: &ValidatedOrder) {
        self.desk.verdict(v);
        self.validated += 1;
        if v.is_approved {
            self.utilisation = self.utilisation.max(v.risk_score);
        } else {
            self.refused_by_risk += 1;
        }
    }

    fn allocation(&mut self, a: AccountAllocation) {
        self.desk.allocation(&a);
        if a.account_id.is_some() {
            *self.shares.entry(a.rule.as_str()).or_default() += 1;
        }
        if a.account_count > 1 {
            self.shared_orders.insert(a.order_id);
        }
    }

    fn child(&mut self, c: &ChildOrder, record: &Received) {
        self.desk.child(c);
        if c.action != ChildAction::New {
            return;
        }
        self.children += 1;
        *self.brokers.entry(c.broker.clone()).or_default() += 1;
        let origin = record.header(header::ORIGIN).and_then(|b| b.try_into().ok()).map(i64::from_be_bytes);
        if let (true, Some(origin)) = (self.first_children.insert(c.order_id.clone()), origin) {
            self.latency_us.push(u64::try_from(now_us().saturating_sub(origin)).unwrap_or(0));
        }
    }

    fn report(&mut self, r: &ExecutionReport) -> Result<(), fillstream_domain::NumberError> {
        if !self.exec_ids.insert((r.broker.clone(), r.exec_id.clone())) {
            return Ok(());
        }
        let end = match r.exec_type {
            ExecType::Trade => {
                *self.fills.entry(r.venue.clone()).or_default() += 1;
                r.leaves_qty.is_zero().then_some("filled")
            }
            ExecType::Rejected => Some("rejected"),
            ExecType::Canceled | ExecType::Expired => Some("cancelled"),
            _ => None,
        };
        if let Some(end) = end {
            *self.child_ends.entry(end).or_default() += 1;
            self.partly_filled += u64::from(end == "cancelled" && r.cum_qty.is_positive());
        }
        self.desk.report(r)
    }
}
