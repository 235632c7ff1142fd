//! The market at arrival.

use fillstream_schemas::execution::{Arrival, ValidatedOrder};

use crate::facts::Facts;
use crate::num::{E4, Round, divide};
use crate::report::{Check, Exam};

/// Every approved order's arrival: the mid is (bid + ask) / 2 exactly, and bid and ask are those of the quote that
/// prevailed at the instrument's reference venue at `arrived_at` (of rows of one time the later). In paced mode the sums
/// over the prints before it are recomputed, too.
pub(crate) fn arrival_pins(facts: &Facts) -> Check {
    let mut exam = Exam::new("arrival_pins");
    for verdict in facts.verdicts.iter().map(|rec| &rec.value).filter(|verdict| verdict.is_approved) {
        exam.saw();
        let Some(arrival) = &verdict.arrival else {
            exam.fault(|| format!("order {} has no arrival", verdict.order_id));
            continue;
        };
        exam.require(arrival.arrived_at == verdict.timestamp, || {
            format!("order {} arrived at another time than it was approved", verdict.order_id)
        });
        let sum = arrival.bid.unscaled() + arrival.ask.unscaled();
        let mid = sum.checked_mul(E4).and_then(|sum| (sum % 2 == 0).then_some(sum / 2));
        exam.require(mid == Some(arrival.mid.unscaled()), || {
            format!("order {}: mid {} of {} and {}", verdict.order_id, arrival.mid, arrival.bid, arrival.ask)
        });
        prevailing(facts, verdict, arrival, &mut exam);
    }
    exam.done()
}

fn prevailing(facts: &Facts, verdict: &ValidatedOrder, arrival: &Arrival, exam: &mut Exam) {
    let (id, name) = (verdict.order_id.as_str(), verdict.instrument_id.as_str());
    let Some(instrument) = facts.instrument(name) else {
        return exam.fault(|| format!("order {id}: {name} has no reference data"));
    };
    let venue = instrument.reference_venue.as_str();
    let at = arrival.arrived_at.micros();
    let quotes = facts.market.prevailing(name, venue, at, facts.lateness_us());
    let is_pinned = quotes.iter().any(|quote| {
        quote.time == arrival.quote_time.micros()
            && quote.bid == Some(arrival.bid.unscaled())
            && quote.ask == Some(arrival.ask.unscaled())
    });
    exam.require(is_pinned, || {
        let seen: Vec<_> = quotes.iter().map(|q| (q.time, q.bid, q.ask)).collect();
        format!("order {id}: pinned {} / {} at {at}, the market says {seen:?}", arrival.bid, arrival.ask)
    });
    // Live, later rows may belong to earlier times.
    if facts.last_tick.is_none() || arrival.counted_from.map(|t| t.micros()) != facts.market.first(name, venue) {
        return;
    }
    let Some(sums) = facts.market.printed(name, venue, at) else { return };
    let stated = (arrival.cum_volume.unscaled(), arrival.cum_notional.unscaled(), arrival.cum_prints);
    exam.require(stated == (sums.volume, sums.notional, sums.prints), || {
        let notional = divide(sums.notional, E4, Round::HalfEven).unwrap_or_default();
        let (volume, notional) = (crate::num::text(sums.volume), crate::num::text(notional));
        format!("order {id}: sums at arrival are not {volume} for {notional} in {} prints", sums.prints)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{at, clean, quote};

    fn found(change: impl FnOnce(&mut Facts)) -> u64 {
        let mut facts = clean();
        change(&mut facts);
        facts.market.settle();
        arrival_pins(&facts).violations
    }

    fn pin(facts: &mut Facts) -> &mut Arrival {
        facts.verdicts.iter_mut().find_map(|rec| rec.value.arrival.as_mut()).unwrap()
    }

    #[test]
    fn a_wrong_mid_another_quote_and_other_sums_are_found() {
        assert_eq!(found(|_| {}), 0);
        assert_eq!(found(|f| pin(f).mid = "100.000000000001".parse().unwrap()), 1);
        let moved = |f: &mut Facts| {
            let pin = pin(f);
            pin.bid = "98".parse().unwrap();
            pin.ask = "102".parse().unwrap();
        };
        assert_eq!(found(moved), 1, "the mid is right, the quote is not");
        assert_eq!(found(|f| pin(f).cum_prints += 1), 1);
        assert_eq!(found(|f| pin(f).arrived_at = at(1)), 3, "another time, no quote, no prints");
        assert_eq!(found(|f| f.instruments.clear()), 1);
    }

    #[test]
    fn a_later_row_of_the_same_time_wins_when_paced_and_may_be_unknown_live() {
        let arrived = pin(&mut clean()).arrived_at.micros();
        assert_eq!(found(|f| f.market.take(&quote("ACME", arrived, 900, "50", "51"))), 1);
        let live = |f: &mut Facts| {
            f.market.take(&quote("ACME", arrived, 900, "50", "51"));
            f.last_tick = None;
        };
        assert_eq!(found(live), 0);
    }
}
