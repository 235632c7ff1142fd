//! Limits over several portfolios: what an order needs of them, and what waits for it.
//!
//! An order that passes everything else and lacks headroom waits for a grant, at the longest `headroom_wait_ms`. Who comes
//! later and needs headroom too does not go before one that waits, as long as both may wait. Each look is a whole decision,
//! of then, and happens where the order's own trace is: at its own timer, or at the answer to its own question.

use fillstream_core::error::Poison;
use fillstream_domain::{DurationMicros, Money, NumberError, Rounding, TimestampMicros};
use fillstream_reference::covers;
use fillstream_schemas::execution::{LimitGrant, LimitRequest, OrderEvent, OrderEventType};
use fillstream_schemas::reference::{Instrument, RiskLimit, WideLimit};
use fillstream_schemas::state::{RiskLease, RiskPurge, RiskWaiting, RiskWaitingOrder};

use crate::exposure::{Book, Exposure, Mark};
use crate::facts::{Facts, World};
use crate::{Fx, PreTradeRisk, State, books, has_ended, lease, number, prefix, replace, world};

/// What an order needs of one limit.
#[derive(Clone, Debug)]
pub(crate) struct Need {
    pub limit_id: String,
    pub version: i32,
    pub currency: String,
    /// Worst-case value that the limit covers in the portfolio, without the order and with it.
    pub before: Money,
    pub after: Money,
}

/// Whether an order may wait for headroom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing waits before it.
    Next,
    /// Something does: it takes no headroom now.
    Behind,
    /// It may not wait any more.
    Last,
}

impl World<'_> {
    /// What an order needs of each limit that covers its instrument; `None`: something has no rate.
    ///
    /// # Errors
    /// Out of range.
    pub(crate) fn needs(
        &self,
        facts: &Facts<'_>,
        exposure: &Exposure<'_>,
        worst: impl Fn(&Mark) -> Result<(Money, Money), NumberError>,
    ) -> Result<Option<Vec<Need>>, NumberError> {
        let mut needs = Vec::new();
        for limit in self.wide.covering(facts.instrument) {
            let Ok(rate) = self.rate(&facts.instrument.quote_currency, &limit.currency, facts.limit) else {
                return Ok(None);
            };
            let mark = Mark {
                price: facts.price,
                multiplier: facts.instrument.multiplier,
                account_rate: facts.account_rate.rate,
                reporting_rate: rate.rate,
            };
            let others = exposure.others(&facts.instrument.instrument_id);
            let Some(others) = self.covered(limit, facts, others)? else { return Ok(None) };
            let (before, after) = worst(&mark)?;
            needs.push(Need {
                limit_id: limit.limit_id.clone(),
                version: limit.version,
                currency: limit.currency.clone(),
                before: others.checked_add(before)?,
                after: others.checked_add(after)?,
            });
        }
        Ok(Some(needs))
    }

    // Worst-case value of the books that a limit covers, at the mids; `None`: one cannot be valued.
    fn covered<'b>(
        &self,
        limit: &WideLimit,
        facts: &Facts<'_>,
        books: impl Iterator<Item = (&'b str, &'b Book)>,
    ) -> Result<Option<Money>, NumberError> {
        let mut sum = Money::ZERO;
        for (id, book) in books {
            let Some(instrument) = self.data.instrument(id) else { return Ok(None) };
            if !covers(limit, instrument) {
                continue;
            }
            let Some(worth) = self.worth(limit, facts.limit, instrument, book)? else { return Ok(None) };
            sum = sum.checked_add(worth)?;
        }
        Ok(Some(sum))
    }

    fn worth(
        &self,
        limit: &WideLimit,
        rates: &RiskLimit,
        instrument: &Instrument,
        book: &Book,
    ) -> Result<Option<Money>, NumberError> {
        let quote = self.market.quote_at(&instrument.instrument_id, &instrument.reference_venue, self.now);
        let rate = self.rate(&instrument.quote_currency, &limit.currency, rates);
        let (Ok(quote), Ok(rate)) = (quote, rate) else { return Ok(None) };
        let Ok(price) = quote.mid().price(Rounding::Ceiling) else { return Ok(None) };
        let (multiplier, rate) = (instrument.multiplier, rate.rate);
        let mark = Mark { price, multiplier, account_rate: rate, reporting_rate: rate };
        book.worst_value(&mark).map(Some)
    }

    // What a portfolio uses of a limit now; `None`: it cannot be told, so nothing of it is given back.
    fn used(&self, portfolio: &str, limit_id: &str, state: &State) -> Result<Option<Money>, NumberError> {
        let Some(limit) = self.wide.limit(limit_id) else { return Ok(Some(Money::ZERO)) };
        let Some(booked) = state.portfolios.get(portfolio) else { return Ok(Some(Money::ZERO)) };
        let Some(rates) = self.data.limit(portfolio) else { return Ok(None) };
        let prefix = prefix(portfolio);
        let exposure = Exposure::summed(booked, books::of(state, &prefix, portfolio));
        let mut sum = Money::ZERO;
        for (id, book) in exposure.all() {
            let Some(instrument) = self.data.instrument(id) else { return Ok(None) };
            if covers(limit, instrument) {
                let Some(worth) = self.worth(limit, rates, instrument, book)? else { return Ok(None) };
                sum = sum.checked_add(worth)?;
            }
        }
        Ok(Some(sum))
    }
}

impl PreTradeRisk {
    /// Decides on what asks, or lets it wait.
    pub(crate) fn ask(&self, event: &OrderEvent, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let mut waiting = state.waiting.get(&event.portfolio_id).cloned().unwrap_or_default();
        let is_first = waiting.orders.is_empty();
        if waiting.orders.iter().any(|order| is_same(&order.event, event)) {
            return Ok(());
        }
        let turn = if is_first { Turn::Next } else { Turn::Behind };
        let Some(lacking) = self.decide_on(event, turn, state, fx)? else { return Ok(()) };
        let until = later(fx.now(), self.config.headroom_wait_ms)?;
        event.portfolio_id.clone_into(&mut waiting.portfolio_id);
        waiting.orders.push(RiskWaitingOrder { event: event.clone(), until });
        state.waiting.put(&event.portfolio_id, waiting);
        if is_first {
            self.request(event, &lacking, state, fx)?;
        }
        self.look_again(event, until, fx)
    }

    /// Takes a grant in.
    pub(crate) fn granted(&self, grant: &LimitGrant, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let key = lease_key(&grant.portfolio_id, &grant.limit_id);
        let mut lease = state.leases.get(&key).cloned().unwrap_or_else(|| blank(&grant.portfolio_id, &grant.limit_id));
        let is_more = lease::on_grant(&mut lease, grant);
        if let Some(due) = lease.expires_at {
            let payload = RiskPurge {
                portfolio_id: grant.portfolio_id.clone(),
                lease_of: Some(grant.limit_id.clone()),
                ..RiskPurge::default()
            };
            fx.schedule_apart(format!("lease/{key}"), due, &payload);
        }
        state.leases.put(&key, lease);
        let waiting = state.waiting.get(&grant.portfolio_id).and_then(|waiting| waiting.orders.first()).cloned();
        let first = waiting.filter(|first| is_more && grant.order_id.as_ref() == Some(&first.event.order_id));
        let Some(first) = first else { return Ok(()) };
        // What it lacks of other limits was asked for, too.
        self.settle(&first, Turn::Next, state, fx).map(|_| ())
    }

    /// What an order event means for what waits, and for headroom that is free again.
    pub(crate) fn follow_headroom(&self, event: &OrderEvent, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let portfolio = event.portfolio_id.as_str();
        if let Some(waiting) = state.waiting.get(portfolio) {
            let is_over = |asked: &OrderEvent| {
                asked.order_id == event.order_id
                    && (has_ended(event.status)
                        || (asked.event_type == OrderEventType::ReplaceRequested && replace::is_given_up(event)))
            };
            let mut left = waiting.clone();
            left.orders.retain(|order| !is_over(&order.event));
            if left.orders.len() != waiting.orders.len() {
                keep(portfolio, left, state);
            }
        }
        self.give_back(portfolio, false, state, fx)
    }

    /// Looks at an order that waits: its portfolio, id and revision.
    pub(crate) fn look(
        &self,
        (portfolio, order, revision): (&str, &str, i32),
        state: &mut State,
        fx: &mut Fx<'_>,
    ) -> Result<(), Poison> {
        let orders = state.waiting.get(portfolio).map(|waiting| waiting.orders.clone()).unwrap_or_default();
        let place = orders.iter().position(|o| o.event.order_id == order && o.event.revision == revision);
        let Some((place, asked)) = place.and_then(|place| Some((place, orders.get(place)?))) else { return Ok(()) };
        let is_late = asked.until <= fx.now();
        if place > 0 && !is_late {
            return self.look_again(&asked.event, asked.until, fx);
        }
        let turn = if is_late { Turn::Last } else { Turn::Next };
        if let Some(lacking) = self.settle(asked, turn, state, fx)? {
            self.request(&asked.event, &lacking, state, fx)?;
            return self.look_again(&asked.event, asked.until, fx);
        }
        // Nobody waits any more: what was granted for one that was refused helps others.
        if is_late && state.waiting.get(portfolio).is_none() {
            return self.give_back(portfolio, true, state, fx);
        }
        Ok(())
    }

    // Decides on what waits; what it lacks still, if it goes on waiting.
    fn settle(
        &self,
        asked: &RiskWaitingOrder,
        turn: Turn,
        state: &mut State,
        fx: &mut Fx<'_>,
    ) -> Result<Option<Vec<Need>>, Poison> {
        let lacking = self.decide_on(&asked.event, turn, state, fx)?;
        if lacking.is_none() {
            let portfolio = asked.event.portfolio_id.as_str();
            let mut waiting = state.waiting.get(portfolio).cloned().unwrap_or_default();
            waiting.orders.retain(|order| !is_same(&order.event, &asked.event));
            keep(portfolio, waiting, state);
        }
        Ok(lacking)
    }

    /// Returns what is not used of leases that are over, or of all.
    pub(crate) fn give_back(
        &self,
        portfolio: &str,
        of_all: bool,
        state: &mut State,
        fx: &mut Fx<'_>,
    ) -> Result<(), Poison> {
        let leases: Vec<RiskLease> = state
            .leases
            .with_prefix(&prefix(portfolio))
            .map(|(_, lease)| lease)
            .filter(|lease| lease.portfolio_id == portfolio && (of_all || lease::is_over(lease, fx.now())))
            .cloned()
            .collect();
        for mut lease in leases {
            if !lease::held(&lease).map_err(number)?.is_positive() {
                continue;
            }
            let used = match world(fx) {
                Some(world) => world.used(portfolio, &lease.limit_id, state).map_err(number)?,
                None => None,
            };
            if let Some(used) = used
                && lease::give_back(&mut lease, used).map_err(number)?
            {
                say(&lease, Money::ZERO, None, fx);
                state.leases.put(&lease_key(portfolio, &lease.limit_id), lease);
            }
        }
        Ok(())
    }

    // Asks for what is lacking; of a lease that is over, what is unused returns first.
    fn request(&self, event: &OrderEvent, lacking: &[Need], state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        for need in lacking {
            let key = lease_key(&event.portfolio_id, &need.limit_id);
            let lease = state.leases.get(&key).cloned();
            let mut lease = lease.unwrap_or_else(|| blank(&event.portfolio_id, &need.limit_id));
            if lease::is_over(&lease, fx.now()) {
                lease::give_back(&mut lease, need.before).map_err(number)?;
            }
            let held = lease::held(&lease).map_err(number)?;
            let wanted = need.after.checked_sub(held).map_err(number)?;
            if wanted.is_positive() {
                say(&lease, wanted, Some(&event.order_id), fx);
            }
            state.leases.put(&key, lease);
        }
        Ok(())
    }

    fn look_again(&self, event: &OrderEvent, until: TimestampMicros, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let due = until.min(later(fx.now(), self.config.headroom_retry_ms)?);
        let payload = RiskPurge {
            portfolio_id: event.portfolio_id.clone(),
            waiting_order: Some(event.order_id.clone()),
            revision: event.revision,
            ..RiskPurge::default()
        };
        fx.schedule(format!("wait/{}/{}/{}", event.portfolio_id, event.order_id, event.revision), due, &payload);
        Ok(())
    }
}

fn say(lease: &RiskLease, wanted: Money, order_id: Option<&str>, fx: &mut Fx<'_>) {
    let request = LimitRequest {
        event_id: fx.next_id(),
        timestamp: fx.now(),
        limit_id: lease.limit_id.clone(),
        portfolio_id: lease.portfolio_id.clone(),
        returned: lease.returned,
        granted_seen: lease.granted,
        wanted,
        order_id: order_id.map(str::to_owned),
    };
    fx.emit(request);
}

fn keep(portfolio: &str, waiting: RiskWaiting, state: &mut State) {
    if waiting.orders.is_empty() {
        state.waiting.remove(portfolio);
    } else {
        state.waiting.put(portfolio, waiting);
    }
}

fn blank(portfolio: &str, limit: &str) -> RiskLease {
    RiskLease { portfolio_id: portfolio.to_owned(), limit_id: limit.to_owned(), ..RiskLease::default() }
}

fn is_same(waiting: &OrderEvent, event: &OrderEvent) -> bool {
    waiting.order_id == event.order_id && waiting.event_type == event.event_type && waiting.revision == event.revision
}

fn lease_key(portfolio: &str, limit: &str) -> String {
    format!("{}{limit}", prefix(portfolio))
}

fn later(now: TimestampMicros, ms: u32) -> Result<TimestampMicros, Poison> {
    let later = DurationMicros::from_micros(i64::from(ms) * 1_000).ok().and_then(|ms| now.checked_add(ms).ok());
    later.ok_or_else(|| Poison::new("TIME", "time out of range"))
}
