//! What the tables say of an order's times, by event time, and what was kept of it.
//!
//! A figure is asked for anew for each row, so that late rows of the market count; where the history held has moved on,
//! what an earlier row used for the very same time stands. So a FINAL row hours later has its benchmark, and a restart
//! changes nothing: all of it is state.

use std::collections::BTreeMap;

use fillstream_domain::{AvgPrice, Money, NumberError, Price, Rounding, TimestampMicros};
use fillstream_reference::{MarketMiss, MarketTable, ReferenceData, fx_rate};
use fillstream_schemas::execution::Arrival;
use fillstream_schemas::state::{TcaChild, TcaInterval, TcaMid, TcaOrder, TcaReference};

use crate::benchmark::weighted_mid;
use crate::child;
use crate::config::millis;
use crate::reason::{FILL_TIMES, Finding, NO_TABLE};

/// The tables of a batch.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    pub(crate) market: Option<&'a MarketTable>,
    pub(crate) data: Option<&'a ReferenceData>,
}

/// The reference market of an order.
#[derive(Clone, Copy)]
pub(crate) struct Reference<'a> {
    world: World<'a>,
    instrument: &'a str,
    venue: &'a str,
}

impl<'a> Reference<'a> {
    pub(crate) fn of(world: World<'a>, instrument: &'a str, reference: &'a TcaReference) -> Self {
        Self { world, instrument, venue: &reference.venue }
    }

    /// The mid that prevails at a time.
    pub(crate) fn mid_at(&self, at: TimestampMicros) -> Result<TcaMid, &'static str> {
        let market = self.world.market.ok_or(NO_TABLE)?;
        let quote = market.quote_at(self.instrument, self.venue, at).map_err(|miss| miss.code())?;
        let mid = quote.mid().avg_price().map_err(|e| MarketMiss::Number(e).code())?;
        Ok(TcaMid { at, mid, quote_at: quote.event_time })
    }

    /// What happened from the arrival up to, not including, `end`.
    pub(crate) fn interval(&self, pin: &Arrival, end: TimestampMicros) -> Result<TcaInterval, &'static str> {
        let market = self.world.market.ok_or(NO_TABLE)?;
        let seen = market.interval(self.instrument, self.venue, pin, end).map_err(|miss| miss.code())?;
        Ok(TcaInterval { end, vwap: seen.vwap, volume: seen.volume, prints: seen.prints, twap_mid: seen.twap_mid })
    }

    /// Mean of the mids at the fills, weighted by quantity.
    pub(crate) fn mid_at_fills(&self, children: &[TcaChild]) -> Result<AvgPrice, &'static str> {
        if !children.iter().all(child::all_held) {
            return Err(FILL_TIMES);
        }
        let mut mids = Vec::new();
        for fill in children.iter().flat_map(|child| &child.fills) {
            mids.push((self.mid_at(fill.at)?.mid, fill.qty));
        }
        match weighted_mid(&mids) {
            Ok(Some(mid)) => Ok(mid),
            Ok(None) => Err(FILL_TIMES),
            Err(e) => Err(MarketMiss::Number(e).code()),
        }
    }

    /// Whether the market has told everything up to `needed`.
    pub(crate) fn behind(&self, needed: TimestampMicros) -> Option<Finding> {
        let watermark = self.world.market.and_then(|market| market.watermark(self.instrument, self.venue));
        let reached = watermark.is_some_and(|watermark| watermark >= needed);
        (!reached).then_some(Finding::MarketBehind { watermark, needed })
    }

    /// The mid of the instrument as the price of one unit of its base currency.
    fn own_rate(&self, at: TimestampMicros) -> Option<Price> {
        let mid = self.mid_at(at).ok()?.mid.to_price(Rounding::HalfEven).ok()?;
        mid.is_positive().then_some(mid)
    }
}

/// The mid as of `at`, from the market or as it was kept for the same time. Keeps what it finds.
pub(crate) fn mid(
    market: &Reference<'_>,
    kept: &mut Option<TcaMid>,
    at: TimestampMicros,
) -> Result<AvgPrice, &'static str> {
    match market.mid_at(at) {
        Ok(found) => {
            let mid = found.mid;
            *kept = Some(found);
            Ok(mid)
        }
        Err(cause) => kept.as_ref().filter(|kept| kept.at == at).map(|kept| kept.mid).ok_or(cause),
    }
}

/// The interval up to `end`, from the market or as it was kept for the same end. Keeps what it finds.
pub(crate) fn interval(
    market: &Reference<'_>,
    kept: &mut Option<TcaInterval>,
    pin: &Arrival,
    end: TimestampMicros,
) -> Result<TcaInterval, &'static str> {
    match market.interval(pin, end) {
        Ok(found) => {
            *kept = Some(found.clone());
            Ok(found)
        }
        Err(cause) => kept.clone().filter(|kept| kept.end == end).ok_or(cause),
    }
}

/// Pc: the last mid as of `at`. Without one the latest known stands for it, at worst the one of the arrival, and the
/// finding says so.
pub(crate) fn close(
    market: &Reference<'_>,
    kept: &mut Option<TcaMid>,
    pin: &Arrival,
    at: TimestampMicros,
) -> (TcaMid, Option<Finding>) {
    let cause = mid(market, kept, at).err();
    let arrival = || TcaMid { at: pin.arrived_at, mid: pin.mid, quote_at: pin.quote_time };
    let close = kept.clone().unwrap_or_else(arrival);
    (close, cause.map(|cause| Finding::CloseMissing { cause }))
}

/// The rates that turn an order's fees into its quote currency, as of `at`. Keeps what it finds; a currency without a
/// rate is not in it.
pub(crate) fn rates(
    market: &Reference<'_>,
    order: &mut TcaOrder,
    at: TimestampMicros,
    max_age_ms: i64,
) -> BTreeMap<String, Price> {
    let quote = order.terms.quote_currency.clone();
    let base = order.reference.as_ref().map(|reference| reference.base_currency.clone()).unwrap_or_default();
    for currency in order.fees.keys() {
        let found = if *currency == quote {
            Some(Price::ONE)
        } else if *currency == base {
            market.own_rate(at)
        } else {
            let tables = market.world.market.zip(market.world.data);
            tables.and_then(|(m, d)| fx_rate(m, d, currency, &quote, at, millis(max_age_ms)).ok()).map(|fx| fx.rate)
        };
        if let Some(rate) = found {
            order.fee_rates.insert(currency.clone(), rate);
        }
    }
    order.fee_rates.clone()
}

/// Fees by currency in the quote currency, each rounded once, half-even; those without a rate are left out.
pub(crate) fn converted(fees: &BTreeMap<String, Money>, rates: &BTreeMap<String, Price>) -> Result<Money, NumberError> {
    let mut sum = Money::ZERO;
    for (currency, amount) in fees {
        if let Some(rate) = rates.get(currency) {
            sum = sum.checked_add(amount.converted(*rate, Rounding::HalfEven)?)?;
        }
    }
    Ok(sum)
}

/// What is to say about the fees of other currencies.
pub(crate) fn fee_findings(order: &TcaOrder) -> Vec<Finding> {
    let foreign = order.fees.iter().filter(|(c, amount)| **c != order.terms.quote_currency && !amount.is_zero());
    foreign
        .map(|(currency, amount)| {
            let (currency, amount) = (currency.clone(), *amount);
            match order.fee_rates.get(&currency) {
                Some(rate) => Finding::FeesConverted { currency, amount, rate: *rate },
                None => Finding::FeesNotConverted { currency, amount },
            }
        })
        .collect()
}
