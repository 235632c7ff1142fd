//! What a decision is made from: looked up once, each miss a failed check with its code.

use fillstream_domain::{ControlScope, DurationMicros, Money, Price, Side, TimestampMicros};
use fillstream_reference::{
    AccountMiss, Controls, FxRate, MarketTable, Pin, Quote, ReferenceData, TradingStatus, fx_rate,
};
use fillstream_schemas::execution::{OrderEvent, OrderTerms};
use fillstream_schemas::reference::{Account, Instrument, RiskLimit};

use crate::checks::{Checks, Held};
use crate::reason::Reason;
use crate::value::reserve_price;

/// The tables of a decision and its moment.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    pub market: &'a MarketTable,
    pub data: &'a ReferenceData,
    pub controls: &'a Controls,
    pub now: TimestampMicros,
}

/// An order that asks to be approved.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub event: &'a OrderEvent,
    pub terms: &'a OrderTerms,
}

/// Everything that sized checks need.
pub(crate) struct Facts<'a> {
    pub instrument: &'a Instrument,
    pub account: &'a Account,
    pub limit: &'a RiskLimit,
    pub pin: Pin,
    /// Price at which exposure is held.
    pub price: Price,
    /// Limit currency for one unit of quote currency.
    pub reporting: FxRate,
    /// Account currency for one unit of quote currency.
    pub account_rate: FxRate,
}

/// What was found; a figure that is `None` has a failed check.
pub(crate) struct Found<'a> {
    pub instrument: Option<&'a Instrument>,
    pub account: Option<&'a Account>,
    pub quote: Option<Quote>,
    pub facts: Option<Facts<'a>>,
}

fn at_least(found: bool, checks: &mut Checks, name: &str, reason: Reason) -> bool {
    checks.that(name, reason.as_str(), found)
}

impl<'a> World<'a> {
    /// Looks everything up, in check order.
    pub(crate) fn look(&self, asked: &Asked<'_>, require_adv: bool, checks: &mut Checks) -> Found<'a> {
        let event = asked.event;
        let limit = self.data.limit(&event.portfolio_id);
        checks.set_version(limit.map_or(0, |limit| limit.version));
        let account = self.account(&event.portfolio_id, checks);
        self.check_kill(asked, account, checks);
        let instrument = self.instrument(&event.instrument_id, require_adv, checks);
        at_least(limit.is_some(), checks, "limit_record", Reason::NoLimit);
        if let Some(limit) = limit {
            let free = !limit.restricted.contains(&event.instrument_id);
            at_least(free, checks, "restricted_list", Reason::RestrictedInstrument);
        }
        let quote = instrument.and_then(|instrument| self.quote(instrument, limit, checks));
        let facts = match (instrument, account, limit, quote.as_ref()) {
            (Some(instrument), Some(account), Some(limit), Some(quote)) => {
                self.facts(asked, instrument, account, limit, quote, checks)
            }
            _ => None,
        };
        Found { instrument, account, quote, facts }
    }

    fn account(&self, portfolio: &str, checks: &mut Checks) -> Option<&'a Account> {
        match self.data.account_of(portfolio) {
            Ok(account) => {
                at_least(true, checks, "account", Reason::NoAccount);
                at_least(account.is_active, checks, "account_active", Reason::AccountInactive);
                Some(account)
            }
            Err(miss) => {
                let reason = match miss {
                    AccountMiss::None => Reason::NoAccount,
                    AccountMiss::Several { .. } => Reason::SeveralAccounts,
                };
                at_least(false, checks, "account", reason);
                None
            }
        }
    }

    fn check_kill(&self, asked: &Asked<'_>, account: Option<&Account>, checks: &mut Checks) {
        let mut scopes = vec![
            (ControlScope::Portfolio, asked.event.portfolio_id.as_str()),
            (ControlScope::Instrument, asked.event.instrument_id.as_str()),
        ];
        scopes.extend(account.map(|account| (ControlScope::Account, account.account_id.as_str())));
        scopes.extend(asked.terms.strategy_id.as_deref().map(|id| (ControlScope::Strategy, id)));
        scopes.extend(asked.terms.trader_id.as_deref().map(|id| (ControlScope::Trader, id)));
        at_least(self.controls.killed(&scopes, self.now).is_none(), checks, "kill", Reason::Killed);
    }

    fn instrument(&self, id: &str, require_adv: bool, checks: &mut Checks) -> Option<&'a Instrument> {
        let instrument = self.data.instrument(id);
        at_least(instrument.is_some(), checks, "instrument", Reason::UnknownInstrument);
        let instrument = instrument?;
        let supported = at_least(!instrument.inverse, checks, "instrument_kind", Reason::InstrumentUnsupported);
        at_least(self.data.session_end(id, self.now).is_ok(), checks, "calendar", Reason::NoCalendar);
        if require_adv {
            at_least(instrument.adv.is_some(), checks, "average_daily_volume", Reason::AdvMissing);
        }
        supported.then_some(instrument)
    }

    fn quote(&self, instrument: &Instrument, limit: Option<&RiskLimit>, checks: &mut Checks) -> Option<Quote> {
        let (id, venue) = (instrument.instrument_id.as_str(), instrument.reference_venue.as_str());
        let trading = match self.market.status_at(id, venue, self.now) {
            Some(TradingStatus::Halted | TradingStatus::Closed) => false,
            Some(TradingStatus::Open) | None => true,
        };
        at_least(trading, checks, "halt", Reason::Halted);
        let quote = self.market.quote_at(id, venue, self.now).ok();
        at_least(quote.is_some(), checks, "quote", Reason::NoQuote);
        let quote = quote?;
        if let Some(limit) = limit {
            let age = quote.age_at(self.now).map_or(i64::MAX, |age| age.micros() / 1_000);
            let held = Held { figure: milliseconds(age), limit: milliseconds(limit.max_quote_age_ms) };
            checks.at_most("quote_age", Reason::StaleQuote.as_str(), held, "ms");
        }
        let positive = quote.bid.is_positive() && quote.ask.is_positive();
        let positive = positive || instrument.negative_price_allowed;
        at_least(positive, checks, "quote_price", Reason::PriceNotPositive);
        Some(quote)
    }

    fn facts(
        &self,
        asked: &Asked<'_>,
        instrument: &'a Instrument,
        account: &'a Account,
        limit: &'a RiskLimit,
        quote: &Quote,
        checks: &mut Checks,
    ) -> Option<Facts<'a>> {
        let price = reserve_price(asked.event.side, asked.terms.limit_price, quote, limit.price_collar);
        at_least(price.is_ok(), checks, "reserved_price_range", Reason::FigureOutOfRange);
        let price = price.ok()?;
        let positive = price.is_positive() || instrument.negative_price_allowed;
        at_least(positive, checks, "reserved_price", Reason::PriceNotPositive);
        let rate = |to: &str| self.rate(&instrument.quote_currency, to, limit).ok();
        let (reporting, account_rate) = (rate(&limit.currency), rate(&account.currency));
        at_least(reporting.is_some() && account_rate.is_some(), checks, "fx_rate", Reason::NoFxRate);
        let (reporting, account_rate) = (reporting?, account_rate?);
        for fx in [&reporting, &account_rate] {
            if let (Some(instrument), Ok(rate)) = (&fx.instrument, Money::from_unscaled(fx.rate.unscaled())) {
                checks.note(&format!("fx_rate {instrument}"), rate, "");
            }
        }
        let (id, venue) = (instrument.instrument_id.as_str(), instrument.reference_venue.as_str());
        let pin = self.market.pin_at(id, venue, self.now);
        at_least(pin.is_ok(), checks, "arrival", Reason::FigureOutOfRange);
        Some(Facts { instrument, account, limit, pin: pin.ok()?, price, reporting, account_rate })
    }

    pub(crate) fn rate(&self, from: &str, to: &str, limit: &RiskLimit) -> Result<FxRate, fillstream_reference::FxMiss> {
        let age = max_age(limit);
        fx_rate(self.market, self.data, from, to, self.now, age)
    }
}

pub(crate) fn max_age(limit: &RiskLimit) -> DurationMicros {
    DurationMicros::from_micros(limit.max_quote_age_ms.saturating_mul(1_000)).unwrap_or(DurationMicros::ZERO)
}

/// Milliseconds as a figure of a check.
fn milliseconds(ms: i64) -> Money {
    Money::from_int(ms).unwrap_or(Money::MAX)
}

/// Whether a side takes from the position.
pub(crate) fn sells(side: Side) -> bool {
    !side.is_buy()
}
