//! Orders as the topics told of them since this process began: the last event of each, and the last strategy of each part.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use fillstream_schemas::AvroRecord as _;
use fillstream_schemas::execution::{ExecutionStrategySelected, OrderEvent, OrderEventType};
use serde_json::{Map, Value};

/// How long an order is kept after its end: longer than it takes to land in ClickHouse, an outage of that included.
const KEPT_AFTER_END: Duration = Duration::from_secs(1_800);
/// Answers to commands that are kept for whoever asks again.
const KEPT_ANSWERS: usize = 10_000;

/// Fields of an order's status, as its event has them.
pub(crate) const STATUS_FIELDS: [&str; 17] = [
    "order_id",
    "portfolio_id",
    "instrument_id",
    "side",
    "status",
    "is_terminal",
    "is_suspended",
    "reason_code",
    "reason_text",
    "ord_qty",
    "cum_qty",
    "leaves_qty",
    "working_qty",
    "cancelled_qty",
    "avg_px",
    "revision",
    "timestamp",
];

#[derive(Debug, Default)]
struct Known {
    event: Option<OrderEvent>,
    strategies: BTreeMap<String, ExecutionStrategySelected>,
}

/// What is known of orders.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    known: BTreeMap<String, Known>,
    ended: VecDeque<(Instant, String)>,
    answers: BTreeMap<String, OrderEvent>,
    answered: VecDeque<String>,
}

impl Orders {
    /// Takes an event. Whether it answers a command.
    pub(crate) fn take_event(&mut self, event: &OrderEvent, now: Instant) -> bool {
        let known = self.known.entry(event.order_id.clone()).or_default();
        if known.event.as_ref().is_none_or(|last| last.revision < event.revision) {
            known.event = Some(event.clone());
        }
        if event.is_terminal {
            self.ended.push_back((now, event.order_id.clone()));
        }
        self.forget(now);
        // A request is no answer yet.
        let Some(id) = event.command_id.as_ref().filter(|_| event.event_type != OrderEventType::ReplaceRequested)
        else {
            return false;
        };
        if self.answers.insert(id.clone(), event.clone()).is_none() {
            self.answered.push_back(id.clone());
        }
        while self.answered.len() > KEPT_ANSWERS {
            if let Some(oldest) = self.answered.pop_front() {
                self.answers.remove(&oldest);
            }
        }
        true
    }

    pub(crate) fn take_strategy(&mut self, strategy: &ExecutionStrategySelected) {
        let known = self.known.entry(strategy.order_id.clone()).or_default();
        let account = strategy.account_id.clone().unwrap_or_default();
        if known.strategies.get(&account).is_none_or(|last| last.revision <= strategy.revision) {
            known.strategies.insert(account, strategy.clone());
        }
    }

    fn forget(&mut self, now: Instant) {
        while self.ended.front().is_some_and(|(at, _)| now.duration_since(*at) >= KEPT_AFTER_END) {
            if let Some((_, order_id)) = self.ended.pop_front() {
                self.known.remove(&order_id);
            }
        }
    }

    /// Portfolio of an order.
    pub(crate) fn portfolio(&self, order_id: &str) -> Option<String> {
        self.known.get(order_id)?.event.as_ref().map(|event| event.portfolio_id.clone())
    }

    /// The event that answered a command.
    pub(crate) fn answer(&self, command_id: &str) -> Option<OrderEvent> {
        self.answers.get(command_id).cloned()
    }

    /// Status of an order: the fields of its last event.
    pub(crate) fn status(&self, order_id: &str) -> Option<Map<String, Value>> {
        self.known.get(order_id)?.event.as_ref().map(status_of)
    }

    /// The strategies of an order's parts.
    pub(crate) fn strategies(&self, order_id: &str) -> Vec<Value> {
        let known = self.known.get(order_id);
        known.into_iter().flat_map(|known| known.strategies.values()).map(strategy_of).collect()
    }
}

pub(crate) fn status_of(event: &OrderEvent) -> Map<String, Value> {
    let json = event.to_json();
    STATUS_FIELDS.iter().map(|name| ((*name).to_owned(), json.get(*name).cloned().unwrap_or_default())).collect()
}

/// A part's strategy as the status tells it; `analytics` selects the same columns.
fn strategy_of(s: &ExecutionStrategySelected) -> Value {
    let json = s.to_json();
    let of = |name: &str| json.get(name).cloned().unwrap_or_default();
    serde_json::json!({
        "account_id": of("account_id"),
        "strategy_name": s.recommended_strategy.strategy_name,
        "algorithm": of("used"),
        "rule": of("rule"),
        "revision": of("revision"),
        "market_condition": of("market_condition"),
        "objective": of("objective"),
        "starts_at": of("starts_at"),
        "ends_at": of("ends_at"),
        "selected_at": of("timestamp"),
        "strategy_rationale": of("strategy_rationale"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(order_id: &str, revision: i32, is_terminal: bool) -> OrderEvent {
        OrderEvent { order_id: order_id.into(), portfolio_id: "P".into(), revision, is_terminal, ..Default::default() }
    }

    #[test]
    fn the_last_event_and_strategy_count_and_ended_orders_go() {
        let (mut orders, start) = (Orders::default(), Instant::now());
        orders.take_event(&event("o", 2, false), start);
        orders.take_event(&event("o", 1, false), start);
        assert_eq!(orders.status("o").unwrap()["revision"], 2);
        for revision in [1, 3, 2] {
            let account_id = Some("A".into());
            orders.take_strategy(&ExecutionStrategySelected {
                order_id: "o".into(),
                account_id,
                revision,
                ..Default::default()
            });
        }
        assert_eq!(orders.strategies("o").len(), 1);
        assert_eq!(orders.strategies("o")[0]["revision"], 3);
        orders.take_event(&event("o", 4, true), start);
        assert_eq!(orders.portfolio("o").as_deref(), Some("P"));
        orders.take_event(&event("p", 1, false), start + KEPT_AFTER_END);
        assert_eq!((orders.portfolio("o"), orders.portfolio("p").is_some()), (None, true));
    }

    #[test]
    fn a_request_is_no_answer_and_answers_are_bounded() {
        let (mut orders, now) = (Orders::default(), Instant::now());
        let about =
            |id: &str, event_type| OrderEvent { command_id: Some(id.to_owned()), event_type, ..event("o", 1, false) };
        assert!(!orders.take_event(&about("c0", OrderEventType::ReplaceRequested), now));
        assert!(orders.answer("c0").is_none());
        for n in 0..=KEPT_ANSWERS {
            assert!(orders.take_event(&about(&format!("c{n}"), OrderEventType::Replaced), now));
        }
        assert!(orders.answer("c0").is_none() && orders.answer("c1").is_some());
        assert_eq!(orders.answers.len(), KEPT_ANSWERS);
    }
}
