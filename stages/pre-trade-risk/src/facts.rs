//! What a decision is made from: looked up once, each miss a failed check with its code.

use fillstream_domain::{
    AssetClass, Bps, ControlScope, DurationMicros, Money, NumberError, Price, Quantity, Ratio, Rounding,
    SessionCalendar, Side, TimestampMicros,
};
use fillstream_reference::{
    Controls, FxMiss, FxRate, Listing, MarketTable, Pin, Quote, ReferenceData, TradingStatus, WideLimits, fx_rate,
};
use fillstream_schemas::execution::{OrderEvent, OrderTerms};
use fillstream_schemas::reference::{Account, Instrument, RiskLimit};
use fillstream_schemas::state::RiskReservation;

use crate::checks::{Checks, Held};
use crate::reason::{Note, Reason};
use crate::standing::Standing;
use crate::value::reserve_price;

/// The tables of a decision and its moment.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// Quotes.
    pub market: &'a MarketTable,
    /// Instruments, accounts, limits, venues, calendars.
    pub data: &'a ReferenceData,
    /// Kills.
    pub controls: &'a Controls,
    /// Limits over several portfolios.
    pub wide: &'a WideLimits,
    /// Now.
    pub now: TimestampMicros,
}

/// An order that asks to be approved.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub event: &'a OrderEvent,
    pub terms: &'a OrderTerms,
    /// Quantity asked for, units; of a replace what is filled included.
    pub quantity: Quantity,
    /// Whether it is approved already and asks for other terms.
    pub is_replace: bool,
    /// What it holds then.
    pub replaces: Option<&'a RiskReservation>,
}

/// The accounts of a portfolio, as one.
pub(crate) struct Owned<'a> {
    /// At least one, in order of their ids.
    pub accounts: Vec<&'a Account>,
    /// Currency of the cash of all.
    pub currency: &'a str,
    /// The highest of theirs: which of them will sell short is not known yet.
    pub initial_margin: Ratio,
}

/// Everything that sized checks need.
pub(crate) struct Facts<'a> {
    pub instrument: &'a Instrument,
    pub limit: &'a RiskLimit,
    pub account_currency: &'a str,
    /// Of the accounts; see [`Facts::margin`].
    pub initial_margin: Ratio,
    pub pin: Pin,
    /// Price at which exposure is held.
    pub price: Price,
    /// Limit currency for one unit of quote currency.
    pub reporting: FxRate,
    /// Account currency for one unit of quote currency.
    pub account_rate: FxRate,
    /// Units displayed or assumed at the opposite touch, where depth is limited.
    pub depth: Option<Quantity>,
}

impl Facts<'_> {
    /// Share of the value of what is short in an asset class that is held as margin.
    pub(crate) fn margin(&self, class: AssetClass) -> Ratio {
        self.limit.initial_margin.get(class.as_str()).copied().unwrap_or(self.initial_margin)
    }
}

/// What was found; a figure that is `None` has a failed check.
#[derive(Default)]
pub(crate) struct Found<'a> {
    pub instrument: Option<&'a Instrument>,
    pub sessions: Option<&'a SessionCalendar>,
    pub limit: Option<&'a RiskLimit>,
    pub owned: Option<Owned<'a>>,
    pub quote: Option<Quote>,
    pub facts: Option<Facts<'a>>,
    pub notes: Vec<Note>,
}

fn at_least(found: bool, checks: &mut Checks, name: &str, reason: Reason) -> bool {
    checks.that(name, reason.as_str(), found)
}

impl<'a> World<'a> {
    /// Looks everything up, in check order.
    pub(crate) fn look(
        &self,
        asked: &Asked<'_>,
        standing: &Standing<'_>,
        require_adv: bool,
        checks: &mut Checks,
    ) -> Found<'a> {
        let event = asked.event;
        let limit = self.data.limit(&event.portfolio_id);
        checks.set_version(limit.map_or(0, |limit| limit.version));
        let owned = self.owned(&event.portfolio_id, checks);
        self.check_kill(asked, owned.as_ref(), checks);
        let instrument = self.instrument(&event.instrument_id, checks);
        let sessions = instrument.and_then(|instrument| self.sessions(instrument, require_adv, checks));
        let instrument = instrument.filter(|instrument| !instrument.inverse);
        at_least(limit.is_some(), checks, "limit_record", Reason::NoLimit);
        let mut notes = Vec::new();
        if let Some(limit) = limit {
            self.comply(asked, limit, (instrument, sessions), standing, checks, &mut notes);
        }
        let quoted = instrument.and_then(|instrument| self.quote(instrument, limit, checks));
        let facts = match (instrument, owned.as_ref(), limit, quoted.as_ref()) {
            (Some(instrument), Some(owned), Some(limit), Some(quoted)) => {
                let depth = self.liquid(asked, limit, instrument, &quoted.0, checks, &mut notes);
                self.facts(asked, instrument, (owned, limit), quoted, checks).map(|facts| Facts { depth, ..facts })
            }
            _ => None,
        };
        let quote = quoted.map(|(quote, _)| quote);
        Found { instrument, sessions, limit, owned, quote, facts, notes }
    }

    fn owned(&self, portfolio: &str, checks: &mut Checks) -> Option<Owned<'a>> {
        // A block account holds nothing of its own.
        let accounts: Vec<&Account> =
            self.data.accounts_of(portfolio).into_iter().filter(|account| !account.is_block).collect();
        at_least(!accounts.is_empty(), checks, "account", Reason::NoAccount);
        let currency = accounts.first()?.currency.as_str();
        let one = accounts.iter().all(|account| account.currency == currency);
        at_least(one, checks, "account_currency", Reason::AccountCurrencies);
        let active = accounts.iter().any(|account| account.is_active);
        at_least(active, checks, "account_active", Reason::AccountInactive);
        let initial_margin = accounts.iter().map(|account| account.initial_margin).max().unwrap_or(Ratio::ZERO);
        one.then_some(Owned { accounts, currency, initial_margin })
    }

    // A kill or pause of an account leaves the order to the others; of the last active one nothing is left.
    fn check_kill(&self, asked: &Asked<'_>, owned: Option<&Owned<'_>>, checks: &mut Checks) {
        let mut scopes = vec![
            (ControlScope::Portfolio, asked.event.portfolio_id.as_str()),
            (ControlScope::Instrument, asked.event.instrument_id.as_str()),
        ];
        scopes.extend(asked.terms.strategy_id.as_deref().map(|id| (ControlScope::Strategy, id)));
        scopes.extend(asked.terms.trader_id.as_deref().map(|id| (ControlScope::Trader, id)));
        let accounts = owned.map(|owned| owned.accounts.as_slice()).unwrap_or_default();
        let killed = |account: &&Account| {
            self.controls.killed(&[(ControlScope::Account, account.account_id.as_str())], self.now).is_some()
        };
        let paused = |account: &&Account| {
            self.controls.paused(&[(ControlScope::Account, account.account_id.as_str())], self.now).is_some()
        };
        let active: Vec<&Account> = accounts.iter().copied().filter(|account| account.is_active).collect();
        let all_killed = !active.is_empty() && active.iter().all(killed);
        let free = self.controls.killed(&scopes, self.now).is_none() && !all_killed;
        at_least(free, checks, "kill", Reason::Killed);
        let all_stopped = !active.is_empty() && active.iter().all(|account| killed(account) || paused(account));
        let runs = self.controls.paused(&scopes, self.now).is_none() && (all_killed || !all_stopped);
        at_least(runs, checks, "pause", Reason::Paused);
    }

    fn instrument(&self, id: &str, checks: &mut Checks) -> Option<&'a Instrument> {
        let instrument = self.data.instrument(id);
        at_least(instrument.is_some(), checks, "instrument", Reason::UnknownInstrument);
        let instrument = instrument?;
        at_least(!instrument.inverse, checks, "instrument_kind", Reason::InstrumentUnsupported);
        Some(instrument)
    }

    fn sessions(&self, instrument: &Instrument, require_adv: bool, checks: &mut Checks) -> Option<&'a SessionCalendar> {
        let sessions = self.data.sessions_of(instrument).ok();
        let sessions = sessions.filter(|sessions| sessions.session_end(self.now).is_ok());
        at_least(sessions.is_some(), checks, "calendar", Reason::NoCalendar);
        if require_adv {
            at_least(instrument.adv.is_some(), checks, "average_daily_volume", Reason::AdvMissing);
        }
        sessions
    }

    fn quote(
        &self,
        instrument: &Instrument,
        limit: Option<&RiskLimit>,
        checks: &mut Checks,
    ) -> Option<(Quote, Listing<'a>)> {
        let listing = self.market.listing(&instrument.instrument_id, &instrument.reference_venue).ok();
        let trading = match listing.and_then(|listing| listing.status_at(self.now)) {
            Some(TradingStatus::Halted | TradingStatus::Closed) => false,
            Some(TradingStatus::Open) | None => true,
        };
        at_least(trading, checks, "halt", Reason::Halted);
        let quoted = listing.and_then(|listing| Some((listing.quote_at(self.now).ok()?, listing)));
        at_least(quoted.is_some(), checks, "quote", Reason::NoQuote);
        let (quote, listing) = quoted?;
        if let Some(limit) = limit {
            let age = quote.age_at(self.now).map_or(i64::MAX, |age| age.micros() / 1_000);
            let held = Held { figure: whole(age), limit: whole(limit.max_quote_age_ms) };
            checks.at_most("quote_age", Reason::StaleQuote.as_str(), held, "ms");
        }
        let positive = quote.bid.is_positive() && quote.ask.is_positive();
        let positive = positive || instrument.negative_price_allowed;
        at_least(positive, checks, "quote_price", Reason::PriceNotPositive);
        Some((quote, listing))
    }

    fn facts(
        &self,
        asked: &Asked<'_>,
        instrument: &'a Instrument,
        (owned, limit): (&Owned<'a>, &'a RiskLimit),
        (quote, listing): &(Quote, Listing<'a>),
        checks: &mut Checks,
    ) -> Option<Facts<'a>> {
        let price = reserve_price(asked.event.side, asked.terms.limit_price, quote, limit.price_collar)
            .and_then(|price| stopped_price(asked, price, limit.price_collar));
        at_least(price.is_ok(), checks, "reserved_price_range", Reason::FigureOutOfRange);
        let price = price.ok()?;
        let positive = price.is_positive() || instrument.negative_price_allowed;
        at_least(positive, checks, "reserved_price", Reason::PriceNotPositive);
        let rate = |to: &str| self.rate(&instrument.quote_currency, to, limit).ok();
        let (reporting, account_rate) = (rate(&limit.currency), rate(owned.currency));
        at_least(reporting.is_some() && account_rate.is_some(), checks, "fx_rate", Reason::NoFxRate);
        let (reporting, account_rate) = (reporting?, account_rate?);
        for fx in [&reporting, &account_rate] {
            if let (Some(instrument), Ok(rate)) = (&fx.instrument, Money::from_unscaled(fx.rate.unscaled())) {
                checks.note(&format!("fx_rate {instrument}"), rate, "");
            }
        }
        let pin = listing.pin_at(self.now);
        at_least(pin.is_ok(), checks, "arrival", Reason::FigureOutOfRange);
        Some(Facts {
            instrument,
            limit,
            account_currency: owned.currency,
            initial_margin: owned.initial_margin,
            pin: pin.ok()?,
            price,
            reporting,
            account_rate,
            depth: None,
        })
    }

    pub(crate) fn rate(&self, from: &str, to: &str, limit: &RiskLimit) -> Result<FxRate, FxMiss> {
        let age = max_age(limit);
        fx_rate(self.market, self.data, from, to, self.now, age)
    }
}

/// A buy that waits for its stop is filled there or higher, wherever the market is now (trading rule 15).
fn stopped_price(asked: &Asked<'_>, price: Price, collar: Bps) -> Result<Price, NumberError> {
    match (asked.terms.stop_price, asked.terms.limit_price) {
        (Some(stop), None) => Ok(price.max(stop.shifted_by(collar, Rounding::Ceiling)?)),
        (Some(_), Some(_)) | (None, _) => Ok(price),
    }
}

pub(crate) fn max_age(limit: &RiskLimit) -> DurationMicros {
    DurationMicros::from_micros(limit.max_quote_age_ms.saturating_mul(1_000)).unwrap_or(DurationMicros::ZERO)
}

/// A whole number as a figure of a check.
pub(crate) fn whole(number: i64) -> Money {
    Money::from_int(number).unwrap_or(Money::MAX)
}

/// Whether a side takes from the position.
pub(crate) fn sells(side: Side) -> bool {
    !side.is_buy()
}
