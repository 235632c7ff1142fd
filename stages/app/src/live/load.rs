//! Open-loop load: decisions go out at their intended times, whether or not earlier ones are answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use fillstream_domain::{SignedQuantity, TimestampMicros};
use fillstream_order_management::order_id;
use fillstream_schemas::AvroRecord as _;
use fillstream_schemas::coordination::{Action, CoordinatedTradingDecision, ExecutionPreference, TradeDecision};
use fillstream_schemas::execution::{ChildAction, ChildOrder, OrderEvent, OrderEventType};
use fillstream_schemas::wire;

use super::{Orderable, PORTFOLIOS, portfolio};
use crate::bus::{Cluster, Writer, now_us};
use crate::demo::watch::Watch;

/// How an order was answered first.
#[derive(Clone, Debug)]
pub enum Answer {
    /// With a child order; OS clock when a reader of committed records had it, microseconds.
    Child(i64),
    /// With a refusal and its reason.
    Refused(String),
}

/// First answers by order id, as they arrive.
#[derive(Clone, Debug, Default)]
pub struct Answers(Arc<Mutex<BTreeMap<String, Answer>>>);

impl Answers {
    /// Watches child orders and refusals from now on.
    ///
    /// # Errors
    /// As [`Watch::topic`].
    pub fn watch(watch: &mut Watch, cluster: &Cluster) -> anyhow::Result<Self> {
        let all = Self::default();
        let answers = all.clone();
        watch.topic(cluster, "execution.child-orders.v1", move |record| {
            let at = now_us();
            let child = ChildOrder::decode(wire::split(record.value.as_deref().context("no value")?)?.1)?;
            if child.action == ChildAction::New {
                answers.first(child.order_id, Answer::Child(at));
            }
            Ok(())
        })?;
        let answers = all.clone();
        watch.topic(cluster, "execution.orders.v1", move |record| {
            let event = OrderEvent::decode(wire::split(record.value.as_deref().context("no value")?)?.1)?;
            if event.is_terminal && event.event_type == OrderEventType::Rejected {
                answers.first(event.order_id, Answer::Refused(event.reason_code.unwrap_or_default()));
            }
            Ok(())
        })?;
        Ok(all)
    }

    fn first(&self, order: String, answer: Answer) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(order).or_insert(answer);
    }

    /// The answer to an order.
    #[must_use]
    pub fn of(&self, order: &str) -> Option<Answer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(order).cloned()
    }
}

/// A decision that went out.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its order.
    pub order_id: String,
    /// When it should have gone, OS clock, microseconds.
    pub intended_us: i64,
    /// When it went.
    pub sent_us: i64,
}

/// Sends `count` small market orders at `rate` a second from `start_us` on, over all portfolios and so all partitions.
///
/// # Errors
/// The cluster takes no more, or `check` says to stop.
pub fn send(
    writer: &mut Writer,
    orderables: &[Orderable],
    (start_us, rate, count): (i64, u32, u32),
    mut check: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Sent>> {
    let mut sent = Vec::with_capacity(usize::try_from(count)?);
    for n in 0..count {
        let intended_us = start_us + i64::from(n) * 1_000_000 / i64::from(rate);
        wait_until(intended_us);
        let n = usize::try_from(n)?;
        let orderable = orderables.get(n / PORTFOLIOS % orderables.len().max(1)).context("nothing can be ordered")?;
        let sent_us = now_us();
        let decision = decision(orderable, n, &format!("bench-{start_us}-{rate}-{n}"), sent_us);
        writer.send("coordination.decisions.v1", &decision)?;
        sent.push(Sent { order_id: order_id(&decision.portfolio_id, &decision.event_id), intended_us, sent_us });
        if n % usize::try_from(rate)? == 0 {
            check()?;
        }
    }
    writer.flush()?;
    Ok(sent)
}

fn wait_until(instant_us: i64) {
    loop {
        let left = instant_us.saturating_sub(now_us());
        match u64::try_from(left) {
            Ok(left) if left > 0 => std::thread::park_timeout(Duration::from_micros(left)),
            Ok(_) | Err(_) => return,
        }
    }
}

fn decision(orderable: &Orderable, n: usize, event_id: &str, at_us: i64) -> CoordinatedTradingDecision {
    CoordinatedTradingDecision {
        event_id: event_id.to_owned(),
        timestamp: TimestampMicros::from_micros(at_us),
        portfolio_id: portfolio(n % PORTFOLIOS),
        decision: TradeDecision {
            instrument_id: orderable.instrument_id.clone(),
            // Every portfolio buys and sells in turn: positions stay where they are.
            action: if (n / PORTFOLIOS + n).is_multiple_of(2) { Action::Buy } else { Action::Sell },
            share_quantity: Some(SignedQuantity::from(orderable.quantity)),
            priority: "NORMAL".to_owned(),
            ..TradeDecision::default()
        },
        execution_strategy: ExecutionPreference {
            order_type: "MARKET".to_owned(),
            execution_algorithm: "MARKET".to_owned(),
            urgency: "HIGH".to_owned(),
            time_in_force: "DAY".to_owned(),
            ..ExecutionPreference::default()
        },
        ..CoordinatedTradingDecision::default()
    }
}
