//! SNIPER: waits until spread, size and price are good, then takes what is there; at its deadline it takes anyway.

use fillstream_domain::{NumberError, Price, Quantity, Rounding, Side};
use fillstream_reference::Quote;

use crate::config::Algorithms;
use crate::view::within;

/// What it takes now, and at which price at worst; `None`: it waits.
///
/// A size that is not known is not zero: spread and price decide then.
///
/// # Errors
/// A price that is not positive, or out of range.
pub(crate) fn shot(
    quote: &Quote,
    side: Side,
    left: Quantity,
    limit: Option<Price>,
    config: &Algorithms,
) -> Result<Option<(Quantity, Price)>, NumberError> {
    let touch = quote.opposite_touch(side);
    let spread = quote.ask.bps_from(quote.bid, Rounding::Ceiling)?;
    if spread > config.sniper_max_spread_bps || !within(side, touch, limit) {
        return Ok(None);
    }
    let least = left.share(config.sniper_min_size, Rounding::Ceiling)?;
    match quote.opposite_size(side) {
        Some(size) if size < least || size.is_zero() => Ok(None),
        Some(size) => Ok(Some((size.min(left), touch))),
        None => Ok(Some((left, touch))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_for_spread_size_and_price() {
        let config = Algorithms::default();
        let q = |n: i64| Quantity::from_int(n).unwrap();
        let px = |text: &str| text.parse::<Price>().unwrap();
        let quote = |ask: &str, size: Option<i64>| Quote {
            venue: "V".into(),
            event_time: fillstream_domain::TimestampMicros::from_micros(0),
            seq: 0,
            bid: px("100"),
            ask: px(ask),
            bid_size: None,
            ask_size: size.map(q),
        };
        let shot = |ask, size, limit: Option<&str>| {
            shot(&quote(ask, size), Side::Buy, q(100), limit.map(px), &config).unwrap()
        };
        assert_eq!(shot("100.1", Some(50), None), Some((q(50), px("100.1"))));
        assert_eq!(shot("100.1", Some(500), None), Some((q(100), px("100.1"))));
        assert_eq!(shot("100.1", None, None), Some((q(100), px("100.1"))), "unknown is not zero");
        assert_eq!(shot("100.11", Some(500), None), None, "the spread is too wide");
        assert_eq!(shot("100.1", Some(49), None), None, "too little is there");
        assert_eq!(shot("100.1", Some(500), Some("100.05")), None, "too dear");
    }
}
