//! Stop orders: what sets them off, and what comes before.

use std::collections::{BTreeMap, BTreeSet};

use fillstream_schemas::execution::{ExecutionStrategySelected, OrderEvent, StrategyChange, StrategyChangeKind};

use crate::facts::{Facts, Rec};
use crate::report::{Check, Exam};

/// A stop order, as its events tell of it.
struct Waiting<'f> {
    instrument: &'f str,
    is_buy: bool,
    created_at: i64,
    /// Stops that were in force at some time, 8 digits.
    stops: Vec<i128>,
}

/// Every account's part of a stop order is set off at most once, by a price at one of the order's stops or beyond it that its
/// instrument's reference venue printed, or quoted, since the order was created; and no slice of it has a quantity before. What no order
/// with a stop is, is never set off.
pub(crate) fn stops_set_off(facts: &Facts) -> Check {
    let mut exam = Exam::new("stops_set_off");
    let events = facts.events();
    let waiting: BTreeMap<&str, Waiting<'_>> =
        events.iter().filter_map(|(order, of)| Some((*order, waiting(of)?))).collect();
    let mut set_off: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut since: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for told in facts.strategies.iter().map(|rec| &rec.value) {
        exam.saw();
        let Some(change) = told.change.as_ref().filter(|change| change.kind == StrategyChangeKind::Triggered) else {
            continue;
        };
        let part = (told.order_id.as_str(), told.account_id.as_deref().unwrap_or_default());
        let name = format!("the stop of order {} for {}", part.0, part.1);
        exam.require(set_off.insert(part), || format!("{name} is set off twice"));
        since.insert(part, told.timestamp.micros());
        match waiting.get(part.0) {
            None => exam.fault(|| format!("{name} is set off, which is none")),
            Some(order) => judge(facts, order, (told, change), &name, &mut exam),
        }
    }
    for slice in facts.slices.iter().map(|rec| &rec.value).filter(|slice| slice.quantity.is_positive()) {
        let (order, account) = (slice.order_id.as_str(), slice.account_id.as_str());
        if waiting.contains_key(order) {
            exam.saw();
            let at = since.get(&(order, account));
            exam.require(at.is_some_and(|at| *at <= slice.timestamp.micros()), || {
                format!("slice {} of order {order} for {account} comes before its stop is set off", slice.slice_no)
            });
        }
    }
    exam.done()
}

fn waiting<'f>(of_order: &[&'f Rec<OrderEvent>]) -> Option<Waiting<'f>> {
    let terms = of_order.iter().filter_map(|rec| rec.value.terms.as_ref());
    let stops: Vec<i128> = terms.filter_map(|terms| terms.stop_price).map(|price| price.unscaled()).collect();
    let first = &of_order.first()?.value;
    (!stops.is_empty()).then(|| Waiting {
        instrument: &first.instrument_id,
        is_buy: first.side.is_buy(),
        created_at: first.timestamp.micros(),
        stops,
    })
}

fn judge(
    facts: &Facts,
    order: &Waiting<'_>,
    (told, change): (&ExecutionStrategySelected, &StrategyChange),
    name: &str,
    exam: &mut Exam,
) {
    let Some((price, time)) = change.trigger_price.zip(change.trigger_time) else {
        return exam.fault(|| format!("{name} is set off by nothing"));
    };
    let (px, at) = (price.unscaled(), time.micros());
    let beyond = order.stops.iter().any(|stop| if order.is_buy { px >= *stop } else { px <= *stop });
    exam.require(beyond, || format!("{name} is set off by {price}, which is not there yet"));
    let in_time = order.created_at.saturating_sub(facts.lateness_us()) <= at && at <= told.timestamp.micros();
    let is_quote = change.code == "STOP_QUOTE";
    exam.require(in_time || is_quote, || format!("{name} is set off by something of {time}, at {}", told.timestamp));
    let venue = facts.instrument(order.instrument).map(|found| found.reference_venue.as_str());
    let had = venue.is_some_and(|venue| facts.market.had(order.instrument, venue, at, px));
    exam.require(had, || format!("{name} is set off by {price} at {time}, which the market did not say"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{at, clean};

    fn found(change: impl FnOnce(&mut Facts)) -> u64 {
        let mut facts = clean();
        change(&mut facts);
        stops_set_off(&facts).violations
    }

    fn change(facts: &mut Facts) -> &mut StrategyChange {
        facts.strategies[0].value.change.as_mut().unwrap()
    }

    #[test]
    fn what_sets_a_stop_off_was_there_at_its_time_and_beyond_it() {
        assert_eq!(found(|_| {}), 0);
        assert_eq!(found(|f| change(f).trigger_price = None), 1);
        assert_eq!(found(|f| change(f).trigger_price = "100.4".parse().ok()), 2, "neither printed nor beyond");
        assert_eq!(found(|f| change(f).trigger_price = "100.6".parse().ok()), 1);
        assert_eq!(found(|f| change(f).trigger_time = Some(at(3_000_000))), 1, "before the order");
        assert_eq!(found(|f| f.strategies[0].value.timestamp = at(1)), 1, "by what was not printed yet");
    }

    #[test]
    fn a_stop_is_set_off_once_and_before_anything_is_released() {
        assert_eq!(found(|f| f.strategies.clear()), 1);
        assert_eq!(found(|f| f.strategies.push(f.strategies[0].clone())), 1);
        assert_eq!(found(|f| f.slices[0].value.timestamp = at(1)), 1);
        assert_eq!(found(|f| f.strategies[0].value.account_id = Some("A2".into())), 1);
        let none = |f: &mut Facts| {
            for event in &mut f.orders {
                event.value.terms.iter_mut().for_each(|terms| terms.stop_price = None);
            }
        };
        assert_eq!(found(none), 1);
    }
}
