//! Transaction cost analysis.

use std::collections::BTreeMap;

use fillstream_schemas::execution::{ExecutionQuality, OrderEvent, OrderEventType, QualityStage};

use super::fills::{Executed, Reports, executed, fill_reports};
use crate::facts::{Facts, Rec};
use crate::num::{E4, ONE, Round, mul_div, text};
use crate::report::{Check, Exam};

/// A row comes within this time of the order's end, microseconds.
const WITHIN_US: i64 = 5_000_000;
/// 10^-20 (price of 12 digits x quantity of 8) x multiplier of 8 digits, in units of money of 8.
const EXACT_PER_MONEY: i128 = 100_000_000_000_000_000_000;
/// Basis points of 6 digits in a whole.
const WHOLE_BPS: i128 = 10_000_000_000;

fn what(row: &ExecutionQuality) -> String {
    format!("order {} row {} ({})", row.order_id, row.revision, row.stage.as_str())
}

/// Every row: its components add up to the total exactly; the total is Perold's, recomputed from the fills, Pd and Pc;
/// delay and opportunity are recomputed, too; Pd, Pa and fees are those of the order's own events and reports; Pc is a mid
/// that the market showed.
pub(crate) fn costs_add_up(facts: &Facts) -> Check {
    let mut exam = Exam::new("costs_add_up");
    let (events, reports) = (facts.events(), fill_reports(facts));
    for row in facts.quality.iter().map(|rec| &rec.value) {
        exam.saw();
        components(row, &mut exam);
        let of_order = events.get(row.order_id.as_str()).map(Vec::as_slice).unwrap_or_default();
        pins(row, of_order, &mut exam);
        close(facts, row, of_order, &mut exam);
        match state_of(row, of_order, &reports) {
            Some(executed) => {
                let right = recomputed(facts, row, &executed);
                exam.require(right.is_some(), || format!("{}: figures beyond 128 bits", what(row)));
                for fault in right.into_iter().flatten() {
                    exam.fault(|| format!("{}: {fault}", what(row)));
                }
            }
            None => exam.fault(|| format!("{}: filled {}, which the order never was", what(row), row.filled_qty)),
        }
    }
    exam.done()
}

fn components(row: &ExecutionQuality, exam: &mut Exam) {
    let costs = &row.costs;
    let sum: i128 =
        [costs.delay_cost, costs.trading_cost, costs.opportunity_cost, costs.fees].iter().map(|m| m.unscaled()).sum();
    exam.require(sum == costs.total_cost.unscaled(), || {
        format!("{}: components sum to {}, the total is {}", what(row), text(sum), costs.total_cost)
    });
    let parts = match (costs.timing_cost, costs.market_impact) {
        (Some(timing), Some(impact)) => timing.unscaled() + impact.unscaled() == costs.trading_cost.unscaled(),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    exam.require(parts, || format!("{}: timing and impact are not the trading cost", what(row)));
    exam.require(row.implementation_shortfall_bps == row.total_cost_bps, || {
        format!("{}: {} bps of shortfall, {} of cost", what(row), row.implementation_shortfall_bps, row.total_cost_bps)
    });
}

fn pins(row: &ExecutionQuality, events: &[&Rec<OrderEvent>], exam: &mut Exam) {
    let arrival = events.iter().find_map(|rec| rec.value.arrival.as_ref());
    let pinned = arrival.is_some_and(|pin| (pin.mid, pin.arrived_at) == (row.arrival_mid, row.arrived_at));
    exam.require(pinned, || format!("{}: not the arrival that the order was released with", what(row)));
    let created = events.iter().find(|rec| rec.value.event_type == OrderEventType::Created).map(|rec| &rec.value);
    // Quantity that an amendment added has a decision price of its own.
    let amended = created.is_none_or(|created| created.ord_qty != row.ord_qty);
    let decided = created.and_then(|created| created.terms.as_ref()).map(|terms| terms.decision_price);
    exam.require(amended || decided == Some(row.decision_price), || {
        format!("{}: decision price {}, the order's is {decided:?}", what(row), row.decision_price)
    });
}

fn close(facts: &Facts, row: &ExecutionQuality, events: &[&Rec<OrderEvent>], exam: &mut Exam) {
    let (Some(price), Some(at)) = (row.close_price, row.close_at) else {
        return exam.fault(|| format!("{}: no close", what(row)));
    };
    let venue = facts.instrument(&row.instrument_id).map(|found| found.reference_venue.as_str()).unwrap_or_default();
    let twice = price.unscaled().checked_mul(2);
    let shown = facts
        .market
        .quotes_at(&row.instrument_id, venue, at.micros())
        .iter()
        .any(|quote| quote.bid.zip(quote.ask).and_then(|(bid, ask)| (bid + ask).checked_mul(E4)) == twice);
    let arrival = events.iter().find_map(|rec| rec.value.arrival.as_ref());
    let is_arrival = arrival.is_some_and(|pin| (pin.mid, pin.quote_time) == (price, at));
    exam.require(shown || is_arrival, || format!("{}: close {price}, which the market never showed", what(row)));
}

/// What was executed when the order stood as the row says: the last such moment up to the row's time.
fn state_of(row: &ExecutionQuality, events: &[&Rec<OrderEvent>], reports: &Reports<'_>) -> Option<Executed> {
    let filled = |event: &OrderEvent| event.cum_qty.unscaled() + event.overfill_qty.unscaled();
    let is_state = |rec: &&Rec<OrderEvent>| {
        rec.value.timestamp <= row.timestamp && filled(&rec.value) == row.filled_qty.unscaled()
    };
    let last = events.iter().rposition(is_state)?;
    let upto = events.get(..=last)?;
    executed(upto.iter().map(|rec| &rec.value), reports)
}

/// Faults in words; `None`: a figure beyond 128 bits.
fn recomputed(facts: &Facts, row: &ExecutionQuality, executed: &Executed) -> Option<Vec<String>> {
    let multiplier = facts.instrument(&row.instrument_id).map_or(ONE, |found| found.multiplier.unscaled());
    let buys = row.side.is_buy();
    let money = |exact: i128| {
        mul_div(if buys { exact } else { exact.checked_neg()? }, multiplier, EXACT_PER_MONEY, Round::HalfEven)
    };
    let (decision, arrival) = (row.decision_price.unscaled().checked_mul(E4)?, row.arrival_mid.unscaled());
    let close = row.close_price.map_or(decision, |price| price.unscaled());
    let (ordered, filled) = (row.ord_qty.unscaled(), executed.quantity);
    let paid = executed.product.checked_mul(E4)?.checked_sub(decision.checked_mul(filled)?)?;
    let missed = (close - decision).checked_mul(ordered - filled)?;
    let fees = row.costs.fees.unscaled();
    let expected = [
        ("total", money(paid.checked_add(missed)?)? + fees, row.costs.total_cost.unscaled()),
        ("delay", money((arrival - decision).checked_mul(filled)?)?, row.costs.delay_cost.unscaled()),
        ("opportunity", money(missed)?, row.costs.opportunity_cost.unscaled()),
    ];
    let mut faults: Vec<String> = expected
        .iter()
        .filter(|(_, right, stated)| right != stated)
        .map(|(name, right, stated)| format!("{name} cost {}, recomputed {}", text(*stated), text(*right)))
        .collect();
    // Fees of other currencies are converted at rates that the row does not carry.
    if executed.fees.keys().all(|currency| *currency == row.currency) {
        let right: i128 = executed.fees.values().sum();
        if right != fees {
            faults.push(format!("fees {}, the reports say {}", row.costs.fees, text(right)));
        }
    }
    let decided =
        mul_div(decision.checked_mul(ordered)?, multiplier, EXACT_PER_MONEY, Round::HalfEven)?.checked_abs()?;
    let bps = if decided == 0 {
        Some(0)
    } else {
        mul_div(row.costs.total_cost.unscaled(), WHOLE_BPS, decided, Round::HalfEven)
    };
    if bps != Some(row.total_cost_bps.unscaled()) {
        faults.push(format!("{} bps, recomputed {bps:?} millionths", row.total_cost_bps));
    }
    Some(faults)
}

/// Every released order that ended has a row within five seconds (and an outage) of its end, unless the run was over before; rows count
/// from 1 without gaps, nothing but a restatement makes a second one of a stage, and orders that were never released or
/// have not ended have none. The last row says what the order came to.
pub(crate) fn costs_due(facts: &Facts) -> Check {
    let mut exam = Exam::new("costs_due");
    let mut rows: BTreeMap<&str, Vec<&Rec<ExecutionQuality>>> = BTreeMap::new();
    for rec in &facts.quality {
        rows.entry(&rec.value.order_id).or_default().push(rec);
    }
    let end_at = facts.end_at();
    for (order_id, events) in facts.events() {
        let mut found = rows.remove(order_id).unwrap_or_default();
        found.sort_by_key(|rec| (rec.partition, rec.offset));
        let end = events.iter().find(|rec| rec.value.is_terminal).map(|rec| &rec.value);
        let released = events.iter().any(|rec| rec.value.arrival.is_some());
        let Some(end) = end.filter(|_| released) else {
            exam.require(found.is_empty(), || {
                format!("order {order_id} has a row, but was not released or has not ended")
            });
            continue;
        };
        exam.saw();
        due(facts, end, &found, end_at, &mut exam);
        restatements(&events, &found, &mut exam);
        if !facts.under_way {
            last(&events, &found, end_at, &mut exam);
        }
    }
    for order_id in rows.into_keys() {
        exam.fault(|| format!("a row of order {order_id}, which does not exist"));
    }
    exam.done()
}

fn due(facts: &Facts, end: &OrderEvent, rows: &[&Rec<ExecutionQuality>], end_at: i64, exam: &mut Exam) {
    let latest = end.timestamp.micros().saturating_add(WITHIN_US).saturating_add(facts.outage_us);
    match rows.first().map(|rec| &rec.value) {
        Some(row) => exam.require(row.timestamp >= end.timestamp && row.timestamp.micros() <= latest, || {
            format!("{} is of {}, the order ended at {}", what(row), row.timestamp, end.timestamp)
        }),
        None => exam.require(latest > end_at || facts.under_way, || {
            format!("order {} ended at {} and has no row", end.order_id, end.timestamp)
        }),
    }
}

fn restatements(events: &[&Rec<OrderEvent>], rows: &[&Rec<ExecutionQuality>], exam: &mut Exam) {
    for (revision, rec) in (1..).zip(rows) {
        let row = &rec.value;
        exam.require(row.revision == revision, || format!("{} stands at place {revision}", what(row)));
    }
    let amendments = events.iter().filter(|rec| rec.value.event_type == OrderEventType::Amended).count();
    for stage in [QualityStage::Preliminary, QualityStage::Final] {
        let count = rows.iter().filter(|rec| rec.value.stage == stage).count();
        exam.require(count <= 1 + amendments, || {
            let id = rows.first().map(|rec| rec.value.order_id.as_str()).unwrap_or_default();
            format!("order {id} has {count} {} rows and {amendments} amendments", stage.as_str())
        });
    }
}

fn last(events: &[&Rec<OrderEvent>], rows: &[&Rec<ExecutionQuality>], end_at: i64, exam: &mut Exam) {
    let (Some(event), Some(row)) = (events.last(), rows.last().map(|rec| &rec.value)) else { return };
    let event = &event.value;
    let filled = event.cum_qty.unscaled() + event.overfill_qty.unscaled();
    let still_due = event.timestamp.micros().saturating_add(WITHIN_US) > end_at;
    exam.require(row.filled_qty.unscaled() == filled || still_due, || {
        format!("{}: filled {}, the order came to {}", what(row), row.filled_qty, text(filled))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{at, clean};

    fn found(check: fn(&Facts) -> Check, change: impl FnOnce(&mut Facts)) -> u64 {
        let mut facts = clean();
        change(&mut facts);
        check(&facts).violations
    }

    fn row(change: fn(&mut ExecutionQuality)) -> u64 {
        found(costs_add_up, |f| change(&mut f.quality[0].value))
    }

    #[test]
    fn costs_that_do_not_add_up_or_are_not_perolds_are_found() {
        assert_eq!(row(|_| {}), 0);
        assert!(row(|r| r.costs.total_cost = "180.70000001".parse().unwrap()) >= 2);
        // Shifted between components: the sum holds, the delay does not.
        let shifted = |r: &mut ExecutionQuality| {
            r.costs.delay_cost = "36".parse().unwrap();
            r.costs.trading_cost = "69".parse().unwrap();
            r.costs.timing_cost = "34".parse().ok();
        };
        assert_eq!(row(shifted), 1);
        assert_eq!(row(|r| r.costs.timing_cost = None), 1);
        assert_eq!(row(|r| r.arrival_mid = "100.5".parse().unwrap()), 2, "not the pin, and so another delay");
        assert!(row(|r| r.decision_price = "99".parse().unwrap()) >= 2);
        assert!(row(|r| r.close_price = "102.5".parse().ok()) >= 2);
        assert_eq!(row(|r| r.filled_qty = "65".parse().unwrap()), 1, "a state the order never had");
        assert_eq!(row(|r| r.total_cost_bps = "1".parse().unwrap()), 2);
    }

    #[test]
    fn fees_are_those_of_the_reports() {
        let fees = |f: &mut Facts| {
            let costs = &mut f.quality[0].value.costs;
            costs.fees = "0.6".parse().unwrap();
            costs.total_cost = "180.6".parse().unwrap();
        };
        assert_eq!(found(costs_add_up, fees), 2, "and the basis points");
    }

    #[test]
    fn rows_that_are_missing_late_or_too_many_are_found() {
        assert_eq!(found(costs_due, |_| {}), 0);
        assert_eq!(found(costs_due, |f| f.quality.clear()), 1);
        let over = |f: &mut Facts| {
            f.quality.clear();
            f.last_tick = Some(15_999_999);
        };
        assert_eq!(found(costs_due, over), 0, "the run was over a moment before it was due");
        let late = |f: &mut Facts| f.quality[0].value.timestamp = at(16_000_001);
        assert_eq!(found(costs_due, late), 1);
        let after_an_outage = |f: &mut Facts| {
            late(f);
            f.outage_us = 1;
        };
        assert_eq!(found(costs_due, after_an_outage), 0);
        assert_eq!(found(costs_due, |f| f.quality[0].value.revision = 2), 1);
        assert_eq!(found(costs_due, |f| f.quality.push(f.quality[0].clone())), 2, "a revision and a stage twice");
        assert_eq!(found(costs_due, |f| f.quality[0].value.order_id = "O3".into()), 2, "a refused order's, and none");
        assert_eq!(found(costs_due, |f| f.quality[0].value.filled_qty = "60".parse().unwrap()), 1);
    }
}
