//! Rules of the limit record about the quote: its spread, its depth, and how far a limit price is from it.

use fillstream_domain::{Bps, Money, NumberError, Price, Quantity, Rounding};
use fillstream_reference::Quote;
use fillstream_schemas::reference::{Instrument, RiskLimit};

use crate::checks::{Checks, Held};
use crate::facts::{Asked, World};
use crate::reason::{Note, Reason};

impl World<'_> {
    /// Runs them all; gives the units that the order's depth is measured by, where it is limited.
    pub(crate) fn liquid(
        &self,
        asked: &Asked<'_>,
        limit: &RiskLimit,
        instrument: &Instrument,
        quote: &Quote,
        checks: &mut Checks,
        notes: &mut Vec<Note>,
    ) -> Option<Quantity> {
        if let Some(max) = limit.max_spread {
            checks.that("quote_crossed", Reason::QuoteCrossed.as_str(), !quote.is_crossed());
            distance(quote.bid, quote.ask, quote)
                .and_then(|spread| bps_held(spread, max))
                .map(|held| checks.at_most("spread", Reason::WideSpread.as_str(), held, "bps"))
                .unwrap_or_else(|_| checks.that("spread", Reason::FigureOutOfRange.as_str(), false));
        }
        if let (Some(max), Some(price)) = (limit.max_price_deviation, asked.terms.limit_price) {
            // A limit that comes into force at a stop is held against that.
            asked
                .terms
                .stop_price
                .map_or_else(|| deviation(price, quote), |stop| apart(stop, price))
                .and_then(|distance| bps_held(distance, max))
                .map(|held| checks.at_most("price_deviation", Reason::PriceDeviation.as_str(), held, "bps"))
                .unwrap_or_else(|_| checks.that("price_deviation", Reason::FigureOutOfRange.as_str(), false));
        }
        let displayed = quote.opposite_size(asked.event.side);
        if displayed.is_none() {
            notes.push(Note::DepthUnknown);
        }
        limit.max_depth_multiple?;
        let depth = displayed.or_else(|| self.data.venue(&instrument.reference_venue)?.assumed_clip);
        checks.that("depth_known", Reason::DepthUnknown.as_str(), depth.is_some());
        depth
    }
}

// `to - from` in basis points of the mid.
fn distance(from: Price, to: Price, quote: &Quote) -> Result<Bps, NumberError> {
    let mid = quote.mid().price(Rounding::HalfEven)?.abs();
    let shifted = mid.checked_add(to)?.checked_sub(from)?;
    shifted.bps_from(mid, Rounding::AwayFromZero)
}

fn deviation(price: Price, quote: &Quote) -> Result<Bps, NumberError> {
    let mid = quote.mid().price(Rounding::HalfEven)?;
    Ok(distance(mid, price, quote)?.abs())
}

// How far two prices are from each other, in basis points of the first.
fn apart(from: Price, to: Price) -> Result<Bps, NumberError> {
    let base = from.abs();
    Ok(base.checked_add(to)?.checked_sub(from)?.bps_from(base, Rounding::AwayFromZero)?.abs())
}

fn bps_held(figure: Bps, limit: Bps) -> Result<Held, NumberError> {
    // 10^-6 against 10^-8.
    let money = |bps: Bps| Money::from_unscaled(bps.unscaled() * 100);
    Ok(Held { figure: money(figure)?, limit: money(limit)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fillstream_domain::TimestampMicros;

    fn quote(bid: &str, ask: &str) -> Quote {
        Quote {
            venue: "XA".into(),
            event_time: TimestampMicros::from_micros(0),
            seq: 1,
            bid: bid.parse().unwrap(),
            ask: ask.parse().unwrap(),
            bid_size: None,
            ask_size: None,
        }
    }

    #[test]
    fn distances_are_in_basis_points_of_the_mid_either_way() {
        let book = quote("99", "101");
        assert_eq!(distance(book.bid, book.ask, &book), "200".parse());
        assert_eq!(deviation("103".parse().unwrap(), &book), "300".parse());
        assert_eq!(deviation("98.5".parse().unwrap(), &book), "150".parse());
        assert_eq!(apart("110".parse().unwrap(), "112.2".parse().unwrap()), "200".parse());
        assert_eq!(apart("-10".parse().unwrap(), "-9".parse().unwrap()), "1000".parse());
        // Prices below zero: the mid is -10.
        let below = quote("-11", "-9");
        assert_eq!(distance(below.bid, below.ask, &below), "2000".parse());
        assert_eq!(deviation("-12".parse().unwrap(), &below), "2000".parse());
        assert_eq!(deviation("1".parse().unwrap(), &quote("-1", "1")), Err(NumberError::DivisionByZero));
    }
}
