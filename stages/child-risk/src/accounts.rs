//! A child against its account: position and buying power, worst case of the account's open children included.

use std::collections::BTreeMap;

use fillstream_domain::{Bps, Money, NumberError, OrdType, Price, Quantity, TimeInForce};
use fillstream_pre_trade_risk::checks::{Checks, Held, signed_units};
use fillstream_pre_trade_risk::exposure::{Book, Mark, Open};
use fillstream_pre_trade_risk::value::{reserve_price, value};
use fillstream_reference::{Quote, fx_rate};
use fillstream_schemas::execution::{RouteLeg, RoutingPlan};
use fillstream_schemas::reference::{Account, Instrument, RiskLimit};
use fillstream_schemas::state::{ChildRiskHold, RiskPortfolio};

use crate::reason::Reason;
use crate::rules::{World, max_age};

/// A child that asks for room in its account.
pub(crate) struct Room<'a> {
    pub world: World<'a>,
    pub plan: &'a RoutingPlan,
    pub leg: &'a RouteLeg,
    pub account: &'a Account,
    pub instrument: &'a Instrument,
    pub limit: &'a RiskLimit,
    pub quote: &'a Quote,
    pub fee_reserve: Bps,
}

/// The instrument's book before and after the child, and how it is valued.
struct Sides {
    before: Book,
    after: Book,
    mark: Mark,
}

impl Room<'_> {
    /// Checks the child against the account as booked with what its open children hold, and gives what the child would
    /// hold; `None`: a check has failed for want of a figure.
    pub(crate) fn check<'h>(
        &self,
        booked: &RiskPortfolio,
        holds: impl Iterator<Item = &'h ChildRiskHold>,
        checks: &mut Checks,
    ) -> Option<ChildRiskHold> {
        checks.set_scope(&format!("account/{}", self.account.account_id));
        checks.set_version(self.account.version);
        let same = booked.currency == self.account.currency && booked.portfolio_id == self.account.portfolio_id;
        checks.that("account_booked", Reason::AccountChanged.as_str(), same);
        let (quote_currency, age) = (&self.instrument.quote_currency, max_age(self.limit));
        let rate = |to: &str| fx_rate(self.world.market, self.world.data, quote_currency, to, self.world.now, age).ok();
        let rates = rate(&self.account.currency).zip(rate(&self.limit.currency));
        checks.that("account_rate", Reason::NoFxRate.as_str(), rates.is_some());
        let (account_rate, reporting) = rates?;
        if let (Some(of), Ok(rate)) = (&account_rate.instrument, Money::from_unscaled(account_rate.rate.unscaled())) {
            checks.note(&format!("account_rate {of}"), rate, "");
        }
        let price = reserve_price(self.plan.side, self.plan.limit_price, self.quote, self.limit.price_collar);
        let mark = price.map(|price| Mark {
            price,
            multiplier: self.instrument.multiplier,
            account_rate: account_rate.rate,
            reporting_rate: reporting.rate,
        });
        let answer = mark.and_then(|mark| self.ask(booked, holds, mark, checks));
        checks.that("account_figures", Reason::FigureOutOfRange.as_str(), answer.is_ok());
        answer.ok()
    }

    fn ask<'h>(
        &self,
        booked: &RiskPortfolio,
        holds: impl Iterator<Item = &'h ChildRiskHold>,
        mark: Mark,
        checks: &mut Checks,
    ) -> Result<ChildRiskHold, NumberError> {
        // What is long and has no open child ties up nothing: an account may hold many instruments.
        let of = |id: &str| booked.positions.get(id).map(Book::from).unwrap_or_default();
        let shorts = booked.positions.iter().filter(|(_, position)| position.quantity.is_negative());
        let mut books: BTreeMap<&str, Book> = shorts.map(|(id, short)| (id.as_str(), Book::from(short))).collect();
        for hold in holds {
            let book = books.entry(&hold.instrument_id).or_insert_with(|| of(&hold.instrument_id));
            *book = book.with(&open(hold))?;
        }
        let hold = self.hold(&mark);
        let id = self.instrument.instrument_id.as_str();
        let before = books.remove(id).unwrap_or_else(|| of(id));
        let after = before.with(&open(&hold))?;
        let sides = Sides { before, after, mark };
        self.check_position(&sides, checks)?;
        let others = self.others(&books, checks)?;
        self.check_buying_power(&sides, others, booked.cash, checks)?;
        Ok(hold)
    }

    fn hold(&self, mark: &Mark) -> ChildRiskHold {
        let rests = match self.plan.time_in_force {
            TimeInForce::Ioc | TimeInForce::Fok => false,
            TimeInForce::Day | TimeInForce::Gtc | TimeInForce::Gtd => self.plan.ord_type == OrdType::Limit,
        };
        ChildRiskHold {
            order_id: self.plan.order_id.clone(),
            cl_ord_id: self.leg.cl_ord_id.clone(),
            portfolio_id: self.plan.portfolio_id.clone(),
            account_id: self.plan.account_id.clone(),
            instrument_id: self.plan.instrument_id.clone(),
            venue: self.leg.venue.clone(),
            side: self.plan.side,
            rests_at: self.plan.limit_price.filter(|_| rests),
            open_qty: self.leg.quantity,
            multiplier: mark.multiplier,
            reserved_price: mark.price,
            account_rate: mark.account_rate,
            fee_reserve: self.fee_reserve,
        }
    }

    // Only the direction in which the child goes: one that reduces a position over its limit passes.
    fn check_position(&self, sides: &Sides, checks: &mut Checks) -> Result<(), NumberError> {
        let least = sides.after.least()?;
        let sells = !self.plan.side.is_buy();
        if sells {
            let held = Held { figure: signed_units(least)?, limit: Money::ZERO };
            let passed = self.limit.allow_short || !least.is_negative();
            checks.held("account_short", Reason::ShortNotAllowed.as_str(), passed, held, "units");
        }
        if let Some(most) = self.limit.account_max_position_value {
            let worst = if sells { -least } else { sides.after.most()? };
            let worst = if worst.is_negative() { Quantity::ZERO } else { worst.magnitude() };
            let mark = &sides.mark;
            let figure = value(mark.price, worst, mark.multiplier, mark.reporting_rate)?;
            let held = Held { figure, limit: most };
            checks.at_most("account_position_value", Reason::MaxAccountPosition.as_str(), held, &self.limit.currency);
        }
        Ok(())
    }

    // Cash that the other instruments tie up.
    fn others(&self, books: &BTreeMap<&str, Book>, checks: &mut Checks) -> Result<Money, NumberError> {
        let mut sum = Money::ZERO;
        for (id, book) in books {
            let mark = if is_priced(book) { self.mark(id) } else { Some(unpriced()) };
            if !checks_mark(mark.is_some(), checks) {
                continue;
            }
            if let Some(mark) = mark {
                sum = sum.checked_add(book.tied_up(&mark, self.account.initial_margin)?)?;
            }
        }
        Ok(sum)
    }

    // A short of another instrument at what it would cost to cover it now.
    fn mark(&self, id: &str) -> Option<Mark> {
        let (world, age) = (&self.world, max_age(self.limit));
        let instrument = world.data.instrument(id)?;
        let quote = world.market.quote_at(id, &instrument.reference_venue, world.now).ok()?;
        let fresh = quote.age_at(world.now).is_some_and(|is| is <= age);
        let to = &self.account.currency;
        let rate = fx_rate(world.market, world.data, &instrument.quote_currency, to, world.now, age).ok()?.rate;
        let multiplier = instrument.multiplier;
        fresh.then_some(Mark { price: quote.ask, multiplier, account_rate: rate, reporting_rate: rate })
    }

    fn check_buying_power(
        &self,
        sides: &Sides,
        others: Money,
        cash: Money,
        checks: &mut Checks,
    ) -> Result<(), NumberError> {
        let margin = self.account.initial_margin;
        let figure = others.checked_add(sides.after.tied_up(&sides.mark, margin)?)?;
        let before = others.checked_add(sides.before.tied_up(&sides.mark, margin)?)?;
        // What ties up nothing more needs no cash.
        let passed = figure <= cash || figure <= before;
        let held = Held { figure, limit: cash };
        let code = Reason::InsufficientBuyingPower.as_str();
        checks.held("account_buying_power", code, passed, held, &self.account.currency);
        Ok(())
    }
}

fn open(hold: &ChildRiskHold) -> Open {
    Open {
        side: hold.side,
        quantity: hold.open_qty,
        price: hold.reserved_price,
        multiplier: hold.multiplier,
        account_rate: hold.account_rate,
        fee_reserve: hold.fee_reserve,
    }
}

fn checks_mark(found: bool, checks: &mut Checks) -> bool {
    // Silent where there is one: an account may hold many instruments.
    found || checks.that("mark_price", Reason::NoMarkPrice.as_str(), false)
}

// Whether the cash that a book ties up depends on the price of now: only what is short, or could become so.
fn is_priced(book: &Book) -> bool {
    book.position.is_negative() || book.sell_qty > book.position.magnitude()
}

fn unpriced() -> Mark {
    let none = Price::ZERO;
    Mark { price: none, multiplier: Quantity::ONE, account_rate: none, reporting_rate: none }
}

/// The resting child of the other side that a child could trade with: the best-priced one at its venue.
pub(crate) fn crossed<'h>(
    plan: &RoutingPlan,
    leg: &RouteLeg,
    holds: impl Iterator<Item = &'h ChildRiskHold>,
) -> Option<Price> {
    let buys = plan.side.is_buy();
    let others = holds.filter(|hold| {
        hold.instrument_id == plan.instrument_id && hold.venue == leg.venue && hold.side.is_buy() != buys
    });
    let resting = others.filter_map(|hold| hold.rests_at);
    let best = if buys { resting.min() } else { resting.max() }?;
    let crosses = plan.limit_price.is_none_or(|limit| if buys { limit >= best } else { limit <= best });
    crosses.then_some(best)
}

/// Reports whether a child could trade with one of the portfolio's own.
pub(crate) fn check_cross(plan: &RoutingPlan, crossed: Option<Price>, currency: &str, checks: &mut Checks) {
    let figure = |price: Price| Money::from_unscaled(price.unscaled()).unwrap_or(Money::MAX);
    let code = Reason::SelfCross.as_str();
    match (crossed, plan.limit_price) {
        (Some(resting), Some(limit)) => {
            let held = Held { figure: figure(limit), limit: figure(resting) };
            checks.held("self_cross", code, false, held, currency)
        }
        (Some(_), None) => checks.that("self_cross", code, false),
        (None, _) => checks.that("self_cross", code, true),
    };
}
