//! Counters over windows of the clock: message rates, order rates, repeated executions.
//!
//! A window is cut into ten parts. What is counted is every part that is not wholly older than the window, so that never
//! more than the limit fall into any window, wherever it begins; a burst may wait a tenth of the window longer than it
//! had to. The parts are state: a restart forgets nothing.

use fillstream_domain::{ControlScope, Money, NumberError, TimestampMicros};
use fillstream_pre_trade_risk::checks::{Checks, Held};
use fillstream_schemas::execution::RoutingPlan;
use fillstream_schemas::reference::RiskLimit;
use fillstream_schemas::state::{ChildRiskBucket, ChildRiskRate};

use crate::State;
use crate::reason::Reason;

/// Parts of a window.
const PARTS: i64 = 10;

/// A limit over a window.
#[derive(Clone, Debug)]
pub(crate) struct Counter {
    /// Key of what is counted.
    key: String,
    name: &'static str,
    reason: Reason,
    /// What the limit applies to, as in a check.
    scope: String,
    window_us: i64,
    max: Most,
}

#[derive(Clone, Debug)]
enum Most {
    Count(i32),
    Value(Money, String),
}

/// The limits on messages, cancels included.
pub(crate) fn messages(limit: &RiskLimit, account: &str, session: &str) -> Vec<Counter> {
    let of = |kind: &str, id: &str, name, reason, max: Option<i32>| {
        let key = format!("{kind}/{id}");
        let scope = key.clone();
        max.map(|max| Counter {
            key,
            name,
            reason,
            scope,
            window_us: micros(limit.message_window_ms),
            max: Most::Count(max),
        })
    };
    let account = of("account", account, "account_messages", Reason::AccountMessageRate, limit.message_max_per_account);
    let session = of("session", session, "session_messages", Reason::SessionMessageRate, limit.message_max_per_session);
    account.into_iter().chain(session).collect()
}

/// The limits on new children.
pub(crate) fn children(limit: &RiskLimit, plan: &RoutingPlan) -> Vec<Counter> {
    let scope = format!("portfolio/{}", plan.portfolio_id);
    let of = |kind: &str, name, reason, window_ms, max: Option<Most>| {
        let key = format!("{kind}/{}", plan.portfolio_id);
        max.map(|max| Counter { key, name, reason, scope: scope.clone(), window_us: micros(window_ms), max })
    };
    let window = limit.child_order_window_ms;
    let count = limit.child_max_orders.map(Most::Count);
    let value = limit.child_max_orders_value.map(|most| Most::Value(most, limit.currency.clone()));
    let repeats = limit.child_max_repeats.map(|max| {
        let (kind, id) = subject(plan);
        Counter {
            key: format!("{}{}/{}", repeats_prefix(plan), plan.instrument_id, plan.side),
            name: REPEATS,
            reason: Reason::RepeatedExecution,
            scope: format!("{}/{id}", kind.as_str().to_ascii_lowercase()),
            window_us: micros(limit.child_repeat_window_ms),
            max: Most::Count(max),
        }
    });
    let count = of("orders", "child_orders", Reason::OrderRate, window, count);
    let value = of("orders_value", "child_orders_value", Reason::OrderRateValue, window, value);
    count.into_iter().chain(value).chain(repeats).collect()
}

/// Name of the check of repeated executions.
pub(crate) const REPEATS: &str = "repeated_executions";

/// What a repeated execution disables: the strategy; the trader where there is none; without either the portfolio.
pub(crate) fn subject(plan: &RoutingPlan) -> (ControlScope, &str) {
    match (plan.strategy_id.as_deref(), plan.trader_id.as_deref()) {
        (Some(strategy), _) => (ControlScope::Strategy, strategy),
        (None, Some(trader)) => (ControlScope::Trader, trader),
        (None, None) => (ControlScope::Portfolio, plan.portfolio_id.as_str()),
    }
}

/// Prefix of the counters of repeated executions of a plan's strategy.
pub(crate) fn repeats_prefix(plan: &RoutingPlan) -> String {
    let (kind, id) = subject(plan);
    format!("repeat/{}/{kind}/{id}/", plan.portfolio_id)
}

/// Holds one more child, worth `value`, against each limit; `None`: what it is worth is not known.
pub(crate) fn check(
    counters: &[Counter],
    value: Option<Money>,
    now: TimestampMicros,
    state: &State,
    checks: &mut Checks,
) {
    for counter in counters {
        checks.set_scope(&counter.scope);
        let code = counter.reason.as_str();
        match counter.with_one_more(value, now, state) {
            Ok(Some((held, unit))) => checks.at_most(counter.name, code, held, unit),
            // Without a value its own check has failed already.
            Ok(None) => true,
            Err(_) => checks.that(counter.name, Reason::FigureOutOfRange.as_str(), false),
        };
    }
}

/// Counts one more.
pub(crate) fn note(counters: &[Counter], value: Money, now: TimestampMicros, state: &mut State) {
    for counter in counters {
        let rate = counter.noted(state.rates.get(&counter.key), value, now);
        state.rates.put(&counter.key, rate);
    }
}

impl Counter {
    fn with_one_more(
        &self,
        value: Option<Money>,
        now: TimestampMicros,
        state: &State,
    ) -> Result<Option<(Held, &str)>, NumberError> {
        let counted = state.rates.get(&self.key).map(|rate| self.counted(rate, now));
        let counted = counted.unwrap_or_default();
        match &self.max {
            Most::Count(max) => {
                let figure = counted.iter().map(|part| i64::from(part.count)).sum::<i64>().saturating_add(1);
                Ok(Some((Held { figure: Money::from_int(figure)?, limit: Money::from_int(i64::from(*max))? }, "")))
            }
            Most::Value(limit, currency) => {
                let Some(value) = value else { return Ok(None) };
                let figure = Money::sum(counted.iter().map(|part| part.value))?.checked_add(value)?;
                Ok(Some((Held { figure, limit: *limit }, currency)))
            }
        }
    }

    // The parts that reach into the window that ends now.
    fn counted(&self, rate: &ChildRiskRate, now: TimestampMicros) -> Vec<ChildRiskBucket> {
        let since = now.micros().saturating_sub(self.window_us);
        rate.buckets.iter().filter(|part| part.until.micros() > since).cloned().collect()
    }

    fn noted(&self, rate: Option<&ChildRiskRate>, value: Money, now: TimestampMicros) -> ChildRiskRate {
        let part = (self.window_us / PARTS).max(1);
        let until = now.micros().div_euclid(part).saturating_add(1).saturating_mul(part);
        let until = TimestampMicros::from_micros(until);
        let mut buckets = rate.map(|rate| self.counted(rate, now)).unwrap_or_default();
        match buckets.iter_mut().find(|part| part.until == until) {
            Some(part) => {
                part.count = part.count.saturating_add(1);
                // What is more than any amount is over every limit.
                part.value = part.value.checked_add(value).unwrap_or(Money::MAX);
            }
            None => buckets.push(ChildRiskBucket { until, count: 1, value }),
        }
        ChildRiskRate { buckets }
    }
}

fn micros(ms: i64) -> i64 {
    ms.saturating_mul(1_000).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counter(window_ms: i64, max: Most) -> Counter {
        let scope = "account/A1".to_owned();
        let (name, reason) = ("account_messages", Reason::AccountMessageRate);
        Counter { key: scope.clone(), name, reason, scope, window_us: micros(window_ms), max }
    }

    fn passes(counter: &Counter, value: &str, now: i64, state: &State) -> bool {
        let mut checks = Checks::new(String::new());
        let value = Some(value.parse().unwrap());
        check(std::slice::from_ref(counter), value, TimestampMicros::from_micros(now), state, &mut checks);
        checks.passed()
    }

    proptest! {
        /// Trading rule 20: no window, wherever it begins, holds more than the limit; and what is long over is forgotten.
        #[test]
        fn rule_20_no_window_holds_more_than_the_limit(
            gaps in prop::collection::vec(0_i64..400_000, 1..120),
            max in 1_i32..8,
            window_ms in 1_i64..1_500,
        ) {
            let counter = counter(window_ms, Most::Count(max));
            let (mut state, mut now, mut sent) = (State::default(), 0, Vec::<i64>::new());
            for gap in gaps {
                now += gap;
                if passes(&counter, "0", now, &state) {
                    note(std::slice::from_ref(&counter), Money::ZERO, TimestampMicros::from_micros(now), &mut state);
                    sent.push(now);
                } else {
                    let longer = counter.window_us + counter.window_us / PARTS + 1;
                    let recent = sent.iter().filter(|at| **at > now - longer).count();
                    prop_assert!(recent >= usize::try_from(max).unwrap(), "refused without cause");
                }
                let inside = sent.iter().filter(|at| **at > now - counter.window_us).count();
                prop_assert!(inside <= usize::try_from(max).unwrap());
                let parts = state.rates.get("account/A1").map_or(0, |rate| rate.buckets.len());
                prop_assert!(parts <= usize::try_from(PARTS + 1).unwrap() + 1);
            }
        }
    }

    #[test]
    fn values_are_summed_over_the_window() {
        let counter = counter(1_000, Most::Value("100".parse().unwrap(), "USD".to_owned()));
        let mut state = State::default();
        note(std::slice::from_ref(&counter), "60".parse().unwrap(), TimestampMicros::from_micros(0), &mut state);
        assert!(passes(&counter, "40", 10, &state));
        assert!(!passes(&counter, "40.00000001", 10, &state));
        assert!(passes(&counter, "100", 1_100_000, &state));
    }
}
