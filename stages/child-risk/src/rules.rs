//! The checks of one leg at its own moment.

use fillstream_domain::{
    Bps, ControlScope, DurationMicros, Money, OrdType, Price, Quantity, Rounding, TimestampMicros, mul_div_i128,
};
use fillstream_pre_trade_risk::checks::{Checks, Held, units};
use fillstream_pre_trade_risk::value::value;
use fillstream_reference::{
    CalendarMiss, Controls, MarketMiss, MarketTable, Quote, ReferenceData, TradingStatus, fx_rate,
};
use fillstream_schemas::execution::{OrderEvent, OrderEventType, ParentStatus, RouteLeg, RoutingPlan};
use fillstream_schemas::reference::{Account, Instrument, RiskLimit, Venue};
use fillstream_schemas::state::ChildRiskOrder;

use crate::config::Gate;
use crate::reason::Reason;

/// The tables of a check and its moment.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    pub market: &'a MarketTable,
    pub data: &'a ReferenceData,
    pub controls: &'a Controls,
    pub now: TimestampMicros,
}

/// What the parent and its children say about a leg.
#[derive(Clone, Copy)]
pub(crate) struct Parent<'a> {
    /// `None`: unknown.
    pub order: Option<&'a ChildRiskOrder>,
    /// Units that open children hold.
    pub held: Quantity,
    /// Children so far, ended ones included.
    pub children: usize,
    /// Most children.
    pub max_children: usize,
    /// Whether the leg's ClOrdID was used.
    pub is_used: bool,
}

fn that(checks: &mut Checks, name: &str, reason: Reason, passed: bool) -> bool {
    checks.that(name, reason.as_str(), passed)
}

/// Whether a parent takes new children.
pub(crate) fn is_open(order: &ChildRiskOrder) -> bool {
    !order.is_cancelling && !order.is_suspended && !has_ended(order.status)
}

/// Whether a parent has ended.
pub(crate) fn has_ended(status: ParentStatus) -> bool {
    match status {
        ParentStatus::Filled | ParentStatus::Cancelled | ParentStatus::Rejected | ParentStatus::Expired => true,
        ParentStatus::PendingRisk
        | ParentStatus::Working
        | ParentStatus::PartiallyFilled
        | ParentStatus::CancelPending => false,
    }
}

/// The revision of the terms in force after an event.
pub(crate) fn terms_revision(before: &ChildRiskOrder, event: &OrderEvent) -> i32 {
    let replaced = event.event_type == OrderEventType::Replaced;
    if replaced { before.terms_revision.max(event.revision) } else { before.terms_revision }
}

/// Checks of the leg against its parent.
pub(crate) fn check_parent(plan: &RoutingPlan, leg: &RouteLeg, parent: &Parent<'_>, checks: &mut Checks) {
    if that(checks, "parent", Reason::UnknownParent, parent.order.is_some())
        && let Some(order) = parent.order
    {
        that(checks, "parent_open", Reason::ParentNotOpen, is_open(order));
        let same = order.portfolio_id == plan.portfolio_id
            && order.instrument_id == plan.instrument_id
            && order.side == plan.side;
        that(checks, "parent_terms", Reason::ParentMismatch, same);
        that(checks, "terms_in_force", Reason::StaleTerms, plan.terms_revision >= order.terms_revision);
        let figures = parent
            .held
            .checked_add(leg.quantity)
            .and_then(units)
            .and_then(|figure| units(order.leaves_qty).map(|limit| Held { figure, limit }));
        match figures {
            Ok(held) => checks.at_most("leaves", Reason::ExceedsLeaves.as_str(), held, "units"),
            Err(_) => that(checks, "leaves", Reason::FigureOutOfRange, false),
        };
    }
    that(checks, "cl_ord_id", Reason::DuplicateClOrdId, !parent.is_used);
    that(checks, "children", Reason::TooManyChildren, parent.children < parent.max_children);
}

/// What was found on the way; what is `None` has a failed check.
pub(crate) struct Found<'a> {
    pub instrument: Option<&'a Instrument>,
    pub account: Option<&'a Account>,
    pub limit: Option<&'a RiskLimit>,
    /// Quote used.
    pub quote: Option<Quote>,
    /// What the child is worth, reporting currency.
    pub value: Option<Money>,
}

impl<'a> World<'a> {
    /// Checks of the leg against controls, reference data, market and limits.
    pub(crate) fn check(&self, plan: &RoutingPlan, leg: &RouteLeg, gate: &Gate, checks: &mut Checks) -> Found<'a> {
        let limit = self.data.limit(&plan.portfolio_id);
        checks.set_version(limit.map_or(0, |limit| limit.version));
        self.check_kill(plan, leg, checks);
        let account = self.check_account(plan, checks);
        let instrument = self.data.instrument(&plan.instrument_id);
        that(checks, "instrument", Reason::UnknownInstrument, instrument.is_some());
        self.check_route(plan, leg, account, checks);
        that(checks, "limit_record", Reason::NoLimit, limit.is_some());
        that(checks, "expiry", Reason::Expired, plan.expire_at > self.now);
        that(checks, "quantity", Reason::QuantityNotPositive, leg.quantity.is_positive());
        check_terms(plan, checks);
        if let Some(limit) = limit {
            let free = !limit.restricted.contains(&plan.instrument_id);
            that(checks, "restricted_list", Reason::RestrictedInstrument, free);
            let permitted =
                limit.child_permitted_venues.is_empty() || limit.child_permitted_venues.contains(&leg.venue);
            that(checks, "venue_permitted", Reason::VenueNotPermitted, permitted);
        }
        let quote = instrument.and_then(|instrument| {
            self.check_session(instrument, &leg.venue, checks);
            self.quote(instrument, &leg.venue, checks)
        });
        let value = match (instrument, limit, &quote) {
            (Some(instrument), Some(limit), Some(quote)) => {
                self.check_size(plan, leg, instrument, limit, quote, checks)
            }
            _ => None,
        };
        let found = Found { instrument, account, limit, quote, value };
        if gate.enabled {
            self.check_gate(&found, gate, checks);
        }
        found
    }

    /// Start of day: what the checks rest on is of the day.
    fn check_gate(&self, found: &Found<'_>, gate: &Gate, checks: &mut Checks) {
        let ms = |at: Option<TimestampMicros>| {
            let age = at.and_then(|at| self.now.since(at));
            age.map_or(Money::MAX, |age| whole(age.micros() / 1_000))
        };
        let holds = whole(i64::from(gate.confirmation_holds_hours) * 3_600_000);
        let market = found.instrument.and_then(|i| self.market.watermark(&i.instrument_id, &i.reference_venue));
        // A market that is ahead of this moment is not silent.
        let market = market.map(|at| at.min(self.now));
        let limits = found.limit.and_then(|limit| limit.child_confirmed_at);
        let account = found.account.and_then(|account| account.reconciled_at);
        for (name, reason, at, limit) in [
            ("gate_limits", Reason::LimitsNotConfirmed, limits, holds),
            ("gate_account", Reason::NotReconciled, account, holds),
            ("gate_market", Reason::MarketNotFresh, market, whole(gate.max_market_silence_ms)),
        ] {
            checks.at_most(name, reason.as_str(), Held { figure: ms(at), limit }, "ms");
        }
    }

    fn check_kill(&self, plan: &RoutingPlan, leg: &RouteLeg, checks: &mut Checks) {
        let mut scopes = vec![
            (ControlScope::Portfolio, plan.portfolio_id.as_str()),
            (ControlScope::Account, plan.account_id.as_str()),
            (ControlScope::Broker, leg.broker.as_str()),
            (ControlScope::Venue, leg.venue.as_str()),
            (ControlScope::Instrument, plan.instrument_id.as_str()),
        ];
        scopes.extend(plan.strategy_id.as_deref().map(|id| (ControlScope::Strategy, id)));
        scopes.extend(plan.trader_id.as_deref().map(|id| (ControlScope::Trader, id)));
        that(checks, "kill", Reason::Killed, self.controls.killed(&scopes, self.now).is_none());
        that(checks, "pause", Reason::Paused, self.controls.paused(&scopes, self.now).is_none());
    }

    fn check_account(&self, plan: &RoutingPlan, checks: &mut Checks) -> Option<&'a Account> {
        let account = self.data.account(&plan.account_id).filter(|account| account.portfolio_id == plan.portfolio_id);
        that(checks, "account", Reason::UnknownAccount, account.is_some());
        let account = account?;
        that(checks, "account_active", Reason::AccountInactive, account.is_active);
        Some(account)
    }

    fn check_route(&self, plan: &RoutingPlan, leg: &RouteLeg, account: Option<&Account>, checks: &mut Checks) {
        let venue = self.data.venue(&leg.venue);
        if that(checks, "venue", Reason::UnknownVenue, venue.is_some())
            && let Some(venue) = venue
        {
            that(checks, "venue_open", Reason::VenueClosed, venue.is_open);
            that(checks, "venue_instrument", Reason::VenueNotForInstrument, trades(venue, &plan.instrument_id));
        }
        let broker = self.data.broker(&leg.broker);
        if that(checks, "broker", Reason::UnknownBroker, broker.is_some())
            && let Some(broker) = broker
        {
            that(checks, "broker_venue", Reason::BrokerNotAtVenue, broker.venues.contains(&leg.venue));
            that(checks, "broker_session", Reason::SessionMismatch, broker.session_id == leg.session);
        }
        if let Some(account) = account {
            that(checks, "broker_account", Reason::BrokerNotForAccount, account.brokers.contains(&leg.broker));
        }
    }

    fn check_session(&self, instrument: &Instrument, venue: &str, checks: &mut Checks) {
        let id = instrument.instrument_id.as_str();
        match self.data.is_open(id, self.now) {
            Ok(open) => that(checks, "session", Reason::MarketClosed, open),
            Err(CalendarMiss::NoInstrument | CalendarMiss::NoCalendar | CalendarMiss::Calendar(_)) => {
                that(checks, "session", Reason::NoCalendar, false)
            }
        };
        let trades = |venue: &str| match self.market.status_at(id, venue, self.now) {
            Some(TradingStatus::Halted | TradingStatus::Closed) => false,
            Some(TradingStatus::Open) | None => true,
        };
        that(checks, "halt", Reason::Halted, trades(venue) && trades(&instrument.reference_venue));
    }

    // The venue's own quote; the reference venue's where the venue publishes none.
    fn quote(&self, instrument: &Instrument, venue: &str, checks: &mut Checks) -> Option<Quote> {
        let id = instrument.instrument_id.as_str();
        let quote = match self.market.quote_at(id, venue, self.now) {
            Err(MarketMiss::NoMarket) => self.market.quote_at(id, &instrument.reference_venue, self.now),
            Ok(quote) => Ok(quote),
            Err(miss) => Err(miss),
        };
        that(checks, "quote", Reason::NoQuote, quote.is_ok());
        quote.ok()
    }

    fn check_size(
        &self,
        plan: &RoutingPlan,
        leg: &RouteLeg,
        instrument: &Instrument,
        limit: &RiskLimit,
        quote: &Quote,
        checks: &mut Checks,
    ) -> Option<Money> {
        let age = quote.age_at(self.now).map_or(i64::MAX, |age| age.micros() / 1_000);
        let held = Held { figure: whole(age), limit: whole(limit.max_quote_age_ms) };
        checks.at_most("quote_age", Reason::StaleQuote.as_str(), held, "ms");
        let touch = quote.opposite_touch(plan.side);
        let price = plan.limit_price.unwrap_or(touch);
        let positive = (price.is_positive() && touch.is_positive()) || instrument.negative_price_allowed;
        that(checks, "price", Reason::PriceNotPositive, positive);
        if let Some(through) = through(plan, touch, price) {
            let held = through.and_then(|figure| Some(Held { figure, limit: bps(limit.price_collar)? }));
            match held {
                Some(held) => checks.at_most("collar", Reason::PriceCollar.as_str(), held, "bps"),
                None => that(checks, "collar", Reason::FigureOutOfRange, false),
            };
        }
        match units(leg.quantity).and_then(|figure| units(limit.max_child_quantity).map(|limit| Held { figure, limit }))
        {
            Ok(held) => checks.at_most("child_quantity", Reason::MaxChildQuantity.as_str(), held, "units"),
            Err(_) => that(checks, "child_quantity", Reason::FigureOutOfRange, false),
        };
        self.check_value(price, leg, instrument, limit, checks)
    }

    fn check_value(
        &self,
        price: Price,
        leg: &RouteLeg,
        instrument: &Instrument,
        limit: &RiskLimit,
        checks: &mut Checks,
    ) -> Option<Money> {
        let age = max_age(limit);
        let fx = fx_rate(self.market, self.data, &instrument.quote_currency, &limit.currency, self.now, age);
        that(checks, "fx_rate", Reason::NoFxRate, fx.is_ok());
        let figure = value(price, leg.quantity, instrument.multiplier, fx.ok()?.rate).ok();
        match figure {
            Some(figure) => {
                let held = Held { figure, limit: limit.max_child_value };
                checks.at_most("child_value", Reason::MaxChildValue.as_str(), held, &limit.currency)
            }
            None => that(checks, "child_value", Reason::FigureOutOfRange, false),
        };
        figure
    }
}

/// The oldest quote and rate that a limit record allows.
pub(crate) fn max_age(limit: &RiskLimit) -> DurationMicros {
    DurationMicros::from_micros(limit.max_quote_age_ms.saturating_mul(1_000)).unwrap_or(DurationMicros::ZERO)
}

// A whole number as a figure of a check.
fn whole(n: i64) -> Money {
    Money::from_int(n).unwrap_or(Money::MAX)
}

fn trades(venue: &Venue, instrument: &str) -> bool {
    venue.instruments.is_empty() || venue.instruments.iter().any(|id| id == instrument)
}

fn check_terms(plan: &RoutingPlan, checks: &mut Checks) {
    let (supported, limited) = match plan.ord_type {
        OrdType::Market => (true, plan.limit_price.is_none()),
        OrdType::Limit => (true, plan.limit_price.is_some()),
        OrdType::Stop | OrdType::StopLimit => (false, true),
    };
    that(checks, "order_type", Reason::OrdTypeUnsupported, supported);
    that(checks, "limit_price", Reason::LimitPriceInvalid, limited);
}

// How far, in basis points of the touch, the price goes through the opposite touch: above zero is worse for us than the
// touch. A price that rests in the book is below zero and passes every collar. `None`: no touch to compare with.
fn through(plan: &RoutingPlan, touch: Price, price: Price) -> Option<Option<Money>> {
    if touch.is_zero() {
        return None;
    }
    let distance = price.unscaled() - touch.unscaled();
    let worse = if plan.side.is_buy() { distance } else { -distance };
    let units = 10_000 * Money::ONE.unscaled();
    let figure = mul_div_i128(worse, units, touch.unscaled().abs(), Rounding::Ceiling).ok();
    Some(figure.and_then(|figure| Money::from_unscaled(figure).ok()))
}

fn bps(collar: Bps) -> Option<Money> {
    // 10^-6 against 10^-8.
    collar.unscaled().checked_mul(100).and_then(|units| Money::from_unscaled(units).ok())
}
