//! Positions and buying power at every approval, recomputed from the orders entered.
//!
//! Every figure is rounded in the order's favour and nothing is set aside for fees, so that what is over a limit here is
//! over it however the pipeline rounds; cash, which the pipeline books in minor units, may differ by half of one a booking.

use std::collections::{BTreeMap, BTreeSet};

use fillstream_schemas::execution::{Arrival, OrderEvent, OrderEventType, ValidatedOrder};
use fillstream_schemas::reference::{Account, RiskLimit};
use fillstream_schemas::types::Side;

use super::bookings::{Held, Portfolio, half_minor_unit};
use super::leases::{claims, covers};
use super::verdicts::limit_version;
use crate::facts::Facts;
use crate::num::{E4, ONE, Round, mul_div, plain, text};
use crate::report::{Check, Exam};

/// Basis points of 6 digits in a whole.
const WHOLE_BPS: i128 = 10_000_000_000;
/// A ratio of 9 digits of 1.
const WHOLE_RATIO: i128 = 1_000_000_000;

/// What the approvals of a run are held against.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Positions,
    BuyingPower,
    Headroom,
}

/// At every approval: the order's quantity and value, the worst-case position with every open order of its direction,
/// and the worst-case gross value are within the portfolio's limits, unless the order does not raise them; the price it is
/// held at is its limit, or the opposite touch plus the collar.
pub(crate) fn positions_within_limits(facts: &Facts) -> Check {
    replay(facts, "positions_within_limits", What::Positions)
}

/// At every approval: margin of shorts and cost of open buys are within the cash, unless the order ties up nothing more.
pub(crate) fn buying_power(facts: &Facts) -> Check {
    replay(facts, "buying_power", What::BuyingPower)
}

/// At every approval: what its portfolio uses of each limit over several portfolios that the verdict names, valued anew from
/// positions and open orders, is not more than what the verdict says was leased to it, unless the order adds nothing.
pub(crate) fn leases_cover_what_is_used(facts: &Facts) -> Check {
    replay(facts, "leases_cover_what_is_used", What::Headroom)
}

/// Orders whose verdict waited for headroom: one asked for it, or a later order of the portfolio was judged before.
fn waited(facts: &Facts) -> BTreeSet<&str> {
    let asked = facts.requests.iter().map(|rec| &rec.value.content).filter(|request| request.wanted.is_positive());
    let mut waited: BTreeSet<&str> = asked.filter_map(|request| request.order_id.as_deref()).collect();
    let created = facts.orders.iter().filter(|rec| rec.value.event_type == OrderEventType::Created);
    let places: BTreeMap<&str, i64> = created.map(|rec| (rec.value.order_id.as_str(), rec.offset)).collect();
    let mut verdicts: Vec<_> = facts.verdicts.iter().filter(|rec| rec.value.revision == 0).collect();
    verdicts.sort_by_key(|rec| (rec.partition, rec.offset));
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for verdict in verdicts.into_iter().map(|rec| &rec.value) {
        let Some(place) = places.get(verdict.order_id.as_str()) else { continue };
        let before = last.entry(&verdict.portfolio_id).or_insert(*place);
        if place < before {
            waited.insert(&verdict.order_id);
        }
        *before = *place.max(before);
    }
    waited
}

fn replay(facts: &Facts, name: &str, what: What) -> Check {
    let mut exam = Exam::new(name);
    let verdicts: BTreeMap<&str, &ValidatedOrder> = facts
        .verdicts
        .iter()
        .map(|rec| &rec.value)
        .filter(|v| v.revision == 0)
        .map(|v| (v.order_id.as_str(), v))
        .collect();
    let mut portfolios: BTreeMap<&str, Portfolio> = BTreeMap::new();
    // Risk meets the events of a partition in this order; a portfolio is in one partition. It judges an order when it meets
    // it, or, where that waits for headroom, at a later time, of which the verdict tells.
    let mut events: Vec<_> = facts.orders.iter().collect();
    events.sort_by_key(|rec| (rec.partition, rec.offset));
    let waited = waited(facts);
    // Created and not judged yet, by the times of their verdicts.
    let mut waiting: Vec<(&OrderEvent, &ValidatedOrder)> = Vec::new();
    for event in events.into_iter().map(|rec| &rec.value) {
        let is_over = |(asked, verdict): &mut (&OrderEvent, &ValidatedOrder)| {
            event.portfolio_id == asked.portfolio_id
                && (verdict.timestamp <= event.timestamp || event.order_id == asked.order_id)
        };
        for (asked, verdict) in waiting.extract_if(.., is_over) {
            approve(facts, asked, verdict, (&mut portfolios, what), &mut exam);
        }
        if event.event_type == OrderEventType::Created {
            let verdict = verdicts.get(event.order_id.as_str()).filter(|verdict| verdict.is_approved);
            match verdict {
                Some(verdict) if waited.contains(event.order_id.as_str()) => {
                    let place = waiting.partition_point(|(_, other)| other.timestamp <= verdict.timestamp);
                    waiting.insert(place, (event, verdict));
                }
                Some(verdict) => approve(facts, event, verdict, (&mut portfolios, what), &mut exam),
                None => {}
            }
        } else if let Some(portfolio) = portfolios.get_mut(event.portfolio_id.as_str()) {
            let currency = event.fee_currency.as_deref().unwrap_or(&portfolio.currency);
            let rate = facts.rate(currency, &portfolio.currency, event.timestamp.micros());
            let booked = portfolio.take(event, rate);
            exam.require(booked.is_some(), || format!("order {}: figures beyond 128 bits", event.order_id));
        }
    }
    for (asked, verdict) in waiting {
        approve(facts, asked, verdict, (&mut portfolios, what), &mut exam);
    }
    exam.done()
}

/// An order about to be held, and what it is held against.
struct Case<'a> {
    facts: &'a Facts,
    verdict: &'a ValidatedOrder,
    limit: &'a RiskLimit,
    account: Account,
    at: i64,
    order: Held,
    /// Reporting currency for one unit of quote currency.
    reporting: i128,
}

fn approve<'a>(
    facts: &'a Facts,
    event: &'a OrderEvent,
    verdict: &'a ValidatedOrder,
    (portfolios, what): (&mut BTreeMap<&'a str, Portfolio>, What),
    exam: &mut Exam,
) {
    let id = event.order_id.as_str();
    exam.saw();
    let Some(account) = facts.opening(&event.portfolio_id) else {
        return exam.fault(|| format!("order {id} is approved without account"));
    };
    let portfolio = portfolios.entry(&event.portfolio_id).or_insert_with(|| Portfolio::open(&account));
    let Some(case) = Case::new(facts, event, verdict, account) else {
        return exam.fault(|| format!("order {id} is approved without limits, instrument, arrival or rate"));
    };
    let held = match what {
        What::Positions => case.positions(portfolio, exam),
        What::BuyingPower => case.buying_power(portfolio, exam),
        What::Headroom => case.headroom(portfolio, exam),
    };
    exam.require(held.is_some(), || format!("order {id}: figures beyond 128 bits, or another position has no price"));
    portfolio.held.insert(id.to_owned(), case.order);
}

/// The price at which an order is held, 8 digits: its limit (a seller's at least the bid), or the opposite touch, or the stop that
/// it waits for where that is higher, plus the collar.
fn reserve_price(
    side: Side,
    (limit, stop): (Option<i128>, Option<i128>),
    arrival: &Arrival,
    collar: i128,
) -> Option<i128> {
    let (bid, ask) = (arrival.bid.unscaled(), arrival.ask.unscaled());
    match (limit, side.is_buy()) {
        (Some(limit), true) => Some(limit),
        (Some(limit), false) => Some(limit.max(bid)),
        (None, buys) => {
            let touch = if buys { ask } else { bid };
            mul_div(stop.map_or(touch, |stop| stop.max(touch)), WHOLE_BPS + collar, WHOLE_BPS, Round::Ceil)
        }
    }
}

/// |price| x quantity x multiplier x rate, 8 digits, rounded down.
fn value(price: i128, quantity: i128, multiplier: i128, rate: i128) -> Option<i128> {
    let notional = mul_div(price.checked_abs()?, quantity, ONE, Round::Floor)?;
    mul_div(mul_div(notional, multiplier, ONE, Round::Floor)?, rate, ONE, Round::Floor)
}

impl<'a> Case<'a> {
    fn new(facts: &'a Facts, event: &OrderEvent, verdict: &'a ValidatedOrder, account: Account) -> Option<Self> {
        let limit = facts.limit(&event.portfolio_id, limit_version(verdict))?;
        let instrument = facts.instrument(&event.instrument_id)?;
        let at = verdict.timestamp.micros();
        let terms = &verdict.terms;
        let of_terms = (terms.limit_price.map(|px| px.unscaled()), terms.stop_price.map(|px| px.unscaled()));
        let price = reserve_price(event.side, of_terms, verdict.arrival.as_ref()?, limit.price_collar.unscaled())?;
        let rate = facts.rate(&instrument.quote_currency, &account.currency, at)?;
        let reporting = facts.rate(&instrument.quote_currency, &limit.currency, at)?;
        let per = (instrument.multiplier.unscaled(), rate);
        let order = Held::new(&event.instrument_id, event.side, event.ord_qty.unscaled(), price, per);
        Some(Self { facts, verdict, limit, account, at, order, reporting })
    }

    fn at_most(&self, exam: &mut Exam, what: &str, figure: i128, limit: i128, unless: bool) {
        exam.require(figure <= limit || unless, || {
            let id = &self.verdict.order_id;
            format!("order {id}: {what} {} over the limit {}", text(figure), text(limit))
        });
    }

    fn positions(&self, portfolio: &Portfolio, exam: &mut Exam) -> Option<()> {
        let order = &self.order;
        let stated = self.verdict.reserved_price.map(|price| price.unscaled());
        exam.require(stated == Some(order.price), || {
            format!("order {} is held at {stated:?}, not at {}", self.verdict.order_id, text(order.price))
        });
        self.at_most(exam, "quantity", order.open, self.limit.max_order_quantity.unscaled(), false);
        let worth = |quantity: i128| value(order.price, quantity, order.multiplier, self.reporting);
        self.at_most(exam, "value", worth(order.open)?, self.limit.max_order_value.unscaled(), false);
        let before = Book::of(portfolio, &order.instrument, None);
        let after = Book::of(portfolio, &order.instrument, Some(order));
        let way = if order.side.is_buy() { after.most() } else { -after.least() };
        self.at_most(exam, "position value", worth(way.max(0))?, self.limit.max_position_value.unscaled(), false);
        let short = !order.side.is_buy() && after.least() < 0 && !self.limit.allow_short;
        exam.require(!short, || format!("order {} may sell short {}", self.verdict.order_id, text(after.least())));
        let mut gross = worth(after.worst())?;
        for (instrument, book) in others(portfolio, &order.instrument) {
            let (price, multiplier, _, reporting) = self.mark(instrument)?;
            gross = gross.checked_add(value(price, book.worst(), multiplier, reporting)?)?;
        }
        let unless = after.worst() <= before.worst();
        self.at_most(exam, "gross value", gross, self.limit.max_gross_value.unscaled(), unless);
        Some(())
    }

    fn buying_power(&self, portfolio: &Portfolio, exam: &mut Exam) -> Option<()> {
        let order = &self.order;
        let own = (order.price, order.multiplier, order.rate);
        let margin = self.account.initial_margin.unscaled();
        let before = Book::of(portfolio, &order.instrument, None).tied_up(own, margin)?;
        let after = Book::of(portfolio, &order.instrument, Some(order)).tied_up(own, margin)?;
        let mut tied = after;
        for (instrument, book) in others(portfolio, &order.instrument) {
            let (price, multiplier, rate, _) = self.mark(instrument)?;
            tied = tied.checked_add(book.tied_up((price, multiplier, rate), margin)?)?;
        }
        let slack = half_minor_unit(&portfolio.currency).checked_mul(portfolio.bookings)?;
        let cash = portfolio.cash.checked_add(slack)?;
        exam.require(tied.checked_mul(E4)? <= cash || after <= before, || {
            let (id, cash) = (&self.verdict.order_id, plain(portfolio.cash, 12));
            format!("order {id}: {} tied up of {cash} {} in cash", text(tied), portfolio.currency)
        });
        Some(())
    }

    fn headroom(&self, portfolio: &Portfolio, exam: &mut Exam) -> Option<()> {
        let order = &self.order;
        let before = Book::of(portfolio, &order.instrument, None).worst();
        let after = Book::of(portfolio, &order.instrument, Some(order)).worst();
        for (id, claim) in claims(self.verdict) {
            exam.saw();
            let mut records = self.facts.wide_limits.iter().map(|rec| &rec.value).filter(|limit| limit.limit_id == id);
            let found = records.clone().rfind(|limit| limit.version == claim.version).or_else(|| records.next_back());
            let limit =
                found.filter(|limit| self.facts.instrument(&order.instrument).is_some_and(|i| covers(limit, i)));
            let Some(limit) = limit else {
                exam.fault(|| format!("order {}: limit {id} is none that covers it", self.verdict.order_id));
                continue;
            };
            let rate = |instrument: &str| {
                let quoted = &self.facts.instrument(instrument)?.quote_currency;
                self.facts.rate(quoted, &limit.currency, self.at)
            };
            let mut used = value(order.price, after, order.multiplier, rate(&order.instrument)?)?;
            for (other, book) in others(portfolio, &order.instrument) {
                if self.facts.instrument(other).is_some_and(|instrument| covers(limit, instrument)) {
                    let (price, multiplier, ..) = self.mark(other)?;
                    used = used.checked_add(value(price, book.worst(), multiplier, rate(other)?)?)?;
                }
            }
            let usable = claim.limit.map_or(0, |usable| usable.unscaled());
            self.at_most(exam, &format!("use of {id}"), used, usable, after <= before);
        }
        Some(())
    }

    /// Least mid, multiplier, and rates to account and reporting currency of another instrument.
    fn mark(&self, instrument: &str) -> Option<(i128, i128, i128, i128)> {
        let found = self.facts.instrument(instrument)?;
        let twice = self.facts.twice_mids(instrument, self.at).into_iter().map(i128::abs).min()?;
        let rate = |to: &str| self.facts.rate(&found.quote_currency, to, self.at);
        let price = twice / 2;
        Some((price, found.multiplier.unscaled(), rate(&self.account.currency)?, rate(&self.limit.currency)?))
    }
}

/// Position and open orders of one instrument: buys and sells never net.
#[derive(Default)]
struct Book {
    quantity: i128,
    /// Rounded up: collateral that a cover sets free counts in the order's favour.
    proceeds: i128,
    buys: i128,
    buy_cost: i128,
    sells: i128,
    sell_price: i128,
}

impl Book {
    fn of(portfolio: &Portfolio, instrument: &str, and: Option<&Held>) -> Self {
        let position = portfolio.positions.get(instrument).copied().unwrap_or_default();
        let proceeds = crate::num::divide(position.proceeds, E4, Round::Ceil).unwrap_or(position.proceeds);
        let mut book = Self { quantity: position.quantity, proceeds, ..Self::default() };
        let open = portfolio.held.values().filter(|held| held.instrument == instrument && held.open > 0);
        for held in open.chain(and) {
            if held.side.is_buy() {
                book.buys += held.open;
                let cost = value(held.price, held.open, held.multiplier, held.rate);
                book.buy_cost = book.buy_cost.saturating_add(cost.unwrap_or(i128::MAX));
            } else {
                book.sells += held.open;
                book.sell_price = book.sell_price.max(held.price);
            }
        }
        book
    }

    const fn most(&self) -> i128 {
        self.quantity + self.buys
    }

    const fn least(&self) -> i128 {
        self.quantity - self.sells
    }

    fn worst(&self) -> i128 {
        self.most().abs().max(self.least().abs())
    }

    fn tied_up(&self, (price, multiplier, rate): (i128, i128, i128), margin: i128) -> Option<i128> {
        let held_back = |price: i128, quantity: i128| {
            mul_div(value(price, quantity, multiplier, rate)?, margin, WHOLE_RATIO, Round::Floor)
        };
        let (long, short) = (self.quantity.max(0), (-self.quantity).max(0));
        let uncovered = (self.sells - long).max(0);
        let of_short = held_back(price, short)?;
        let of_sells = held_back(self.sell_price.max(price), uncovered)?;
        let freed = if short > 0 {
            mul_div(self.proceeds.checked_add(of_short)?, self.buys.min(short), short, Round::Ceil)?
        } else {
            0
        };
        let buys = (self.buy_cost.checked_sub(freed)?).max(0);
        of_short.checked_add(of_sells)?.checked_add(buys)
    }
}

/// Books of every other instrument with a position or an open order.
fn others<'a>(portfolio: &'a Portfolio, own: &'a str) -> impl Iterator<Item = (&'a str, Book)> {
    let mut names: Vec<&str> = portfolio.positions.keys().map(String::as_str).collect();
    names.extend(portfolio.held.values().filter(|held| held.open > 0).map(|held| held.instrument.as_str()));
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter(move |name| *name != own)
        .map(|name| (name, Book::of(portfolio, name, None)))
        .filter(|(_, book)| book.quantity != 0 || book.buys != 0 || book.sells != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::clean;
    use fillstream_schemas::reference::WideScope;

    fn found(check: fn(&Facts) -> Check, change: impl FnOnce(&mut Facts)) -> u64 {
        let mut facts = clean();
        change(&mut facts);
        check(&facts).violations
    }

    #[test]
    fn an_approval_over_any_limit_is_found() {
        let of = |change: fn(&mut RiskLimit)| found(positions_within_limits, |f| change(&mut f.limits[0].value));
        // 100 at (101 + 1 %) = 10,201.
        assert_eq!(of(|_| {}), 0);
        assert_eq!(of(|l| l.max_order_quantity = "99".parse().unwrap()), 1);
        assert_eq!(of(|l| l.max_order_value = "10201".parse().unwrap()), 0);
        assert_eq!(of(|l| l.max_order_value = "10200.99".parse().unwrap()), 1);
        assert_eq!(of(|l| l.max_position_value = "10200.99".parse().unwrap()), 1);
        assert_eq!(of(|l| l.max_gross_value = "10200.99".parse().unwrap()), 1);
        assert_eq!(of(|l| l.price_collar = "99".parse().unwrap()), 1, "held at another price");
    }

    #[test]
    fn positions_of_the_start_and_other_instruments_count() {
        let hold = |instrument: &'static str, limit: &'static str| {
            found(positions_within_limits, move |f| {
                f.accounts[0].value.positions.insert(instrument.into(), "10".parse().unwrap());
                f.limits[0].value.max_gross_value = limit.parse().unwrap();
            })
        };
        // 110 at 102.01; or 100 at 102.01 and 10 at 50.
        assert_eq!((hold("ACME", "11221.1"), hold("ACME", "11221")), (0, 1));
        assert_eq!((hold("OTHER", "10701"), hold("OTHER", "10700.99")), (0, 1));
        assert_eq!(hold("UNPRICED", "1000000"), 1);
    }

    fn hold(facts: &mut Facts, instrument: &str, quantity: &str) {
        facts.accounts[0].value.positions.insert(instrument.into(), quantity.parse().unwrap());
    }

    #[test]
    fn a_use_beyond_the_lease_is_found() {
        let leased = |usable: &'static str, change: fn(&mut Facts)| {
            found(leases_cover_what_is_used, move |f| {
                f.verdicts[0].value.validation_results.last_mut().unwrap().limit = Some(usable.parse().unwrap());
                change(f);
            })
        };
        assert_eq!((leased("10201", |_| {}), leased("10200.99", |_| {})), (0, 1));
        // Another instrument counts where the limit covers it; 100 that cover 200 sold short add nothing.
        assert_eq!((leased("10701", |f| hold(f, "OTHER", "10")), leased("10700", |f| hold(f, "OTHER", "10"))), (0, 1));
        let of_acme = |f: &mut Facts| {
            (f.wide_limits[0].value.scope, f.wide_limits[0].value.scope_id) = (WideScope::Instrument, "ACME".into());
            hold(f, "OTHER", "10");
        };
        assert_eq!(leased("10201", of_acme), 0);
        assert_eq!(leased("0", |f| hold(f, "ACME", "-200")), 0);
        assert_eq!(leased("10201", |f| f.wide_limits.clear()), 1);
    }

    #[test]
    fn what_waited_is_held_from_its_verdict_on() {
        // A second order of 100, created after O1 and judged before or after it.
        let second = |judged_first: bool, limit: &'static str| {
            found(positions_within_limits, move |f| {
                let created = f.orders.iter().position(|r| r.value.event_type == OrderEventType::Created).unwrap();
                let (mut event, mut verdict) = (f.orders[created].clone(), f.verdicts[0].clone());
                (event.value.order_id, verdict.value.order_id) = ("SECOND".into(), "SECOND".into());
                f.orders[created].offset -= 1;
                f.orders.insert(created + 1, event);
                let place = if judged_first { -1 } else { 1 };
                f.verdicts[0].value.timestamp = crate::sample::at(verdict.value.timestamp.micros() - place);
                (verdict.offset, verdict.value.terms.limit_price) = (place, Some("150".parse().unwrap()));
                verdict.value.reserved_price = Some("150".parse().unwrap());
                f.verdicts.push(verdict);
                f.limits[0].value.max_position_value = limit.parse().unwrap();
            })
        };
        // Whoever is judged last is held at its own price: 200 at 150, or at 102.01.
        assert_eq!((second(false, "30000"), second(false, "29999")), (0, 1));
        assert_eq!((second(true, "20402"), second(true, "20401")), (0, 1));
    }

    #[test]
    fn short_cash_is_found() {
        let cash = |cash: &'static str| found(buying_power, move |f| f.accounts[0].value.cash = cash.parse().unwrap());
        assert_eq!((cash("10201"), cash("10200.99")), (0, 1));
        assert_eq!(found(buying_power, |f| f.accounts.clear()), 1);
    }

    #[test]
    fn an_earlier_order_holds_its_exposure_until_it_ends_and_then_its_fills_stay() {
        // The same order again, approved before the first one ended, and after.
        let again = |at_end: bool| {
            move |f: &mut Facts| {
                let created = f.orders.iter().position(|r| r.value.event_type == OrderEventType::Created).unwrap();
                let mut second = f.orders[created].clone();
                let mut verdict = f.verdicts.iter().find(|r| r.value.is_approved).unwrap().clone();
                second.value.order_id = "SECOND".into();
                verdict.value.order_id = "SECOND".into();
                let last = f.orders.iter().map(|r| r.offset).max().unwrap();
                second.offset = if at_end { last + 1 } else { f.orders[created].offset };
                f.orders.insert(created + 1, second);
                f.verdicts.push(verdict);
            }
        };
        let limited = |limit: &'static str, at_end: bool| {
            found(positions_within_limits, move |f| {
                again(at_end)(f);
                f.limits[0].value.max_position_value = limit.parse().unwrap();
            })
        };
        // 200 at 102.01 while open; 70 filled and 100 new after the end.
        assert_eq!((limited("20402", false), limited("20401.99", false)), (0, 1));
        assert_eq!((limited("17341.7", true), limited("17341.69", true)), (0, 1));
    }

    #[test]
    fn margin_of_shorts_and_covers() {
        let book = Book { quantity: -2 * ONE, proceeds: 200 * ONE, ..Book::default() };
        let own = (100 * ONE, ONE, ONE);
        let margin = WHOLE_RATIO + WHOLE_RATIO / 2;
        assert_eq!(book.tied_up(own, margin), Some(300 * ONE));
        let covering = Book { buys: 4 * ONE, buy_cost: 440 * ONE, ..book };
        assert_eq!(covering.tied_up(own, margin), Some(300 * ONE), "the collateral pays");
        let closing = Book { quantity: 10 * ONE, sells: 12 * ONE, sell_price: 100 * ONE, ..Book::default() };
        assert_eq!(closing.tied_up(own, margin), Some(300 * ONE), "only what is not held needs margin");
    }
}
