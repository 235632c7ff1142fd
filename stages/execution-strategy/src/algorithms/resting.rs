//! LIMIT and ICEBERG: at which price children rest, and when that price is left behind.

use fillstream_domain::{Algorithm, Price, Side};
use fillstream_reference::Quote;
use fillstream_schemas::state::StrategyOrder;

use crate::view::{near_touch, stricter};

/// Whether the price follows the book: not that of a LIMIT order with a price of its own, which rests at it.
pub(crate) fn is_pegged(order: &StrategyOrder) -> bool {
    order.algorithm != Algorithm::Limit || order.terms.limit_price.is_none()
}

/// Where children are to rest now: the near touch, never through the limit or bound; a LIMIT order's own price where it has one.
pub(crate) fn price(order: &StrategyOrder, quote: &Quote) -> Price {
    let touch = near_touch(quote, order.side);
    let limit = stricter(order.side, order.terms.limit_price, order.price_bound);
    match order.terms.limit_price {
        Some(own) if !is_pegged(order) => own,
        Some(_) | None => stricter(order.side, Some(touch), limit).unwrap_or(touch),
    }
}

/// Whether the book has moved away from where children rest: another price would be nearer to the market.
pub(crate) fn is_left_behind(side: Side, rests_at: Price, wanted: Price) -> bool {
    if side.is_buy() { wanted > rests_at } else { wanted < rests_at }
}

#[cfg(test)]
mod tests {
    use fillstream_schemas::execution::OrderTerms;

    use super::*;

    fn px(text: &str) -> Price {
        text.parse().unwrap()
    }

    fn quote(bid: &str, ask: &str) -> Quote {
        Quote {
            venue: "V".into(),
            event_time: fillstream_domain::TimestampMicros::from_micros(0),
            seq: 0,
            bid: px(bid),
            ask: px(ask),
            bid_size: None,
            ask_size: None,
        }
    }

    fn order(algorithm: Algorithm, side: Side, limit: Option<&str>, bound: Option<&str>) -> StrategyOrder {
        StrategyOrder {
            algorithm,
            side,
            price_bound: bound.map(px),
            terms: OrderTerms { limit_price: limit.map(px), ..OrderTerms::default() },
            ..StrategyOrder::default()
        }
    }

    #[test]
    fn children_rest_at_the_near_touch_and_never_through_the_limit() {
        let q = quote("100", "100.1");
        let at = |algorithm, side, limit, bound| price(&order(algorithm, side, limit, bound), &q);
        assert_eq!(at(Algorithm::Limit, Side::Buy, None, None), px("100"));
        assert_eq!(at(Algorithm::Limit, Side::Sell, None, None), px("100.1"));
        assert_eq!(at(Algorithm::Limit, Side::Buy, None, Some("99.5")), px("99.5"));
        assert_eq!(at(Algorithm::Limit, Side::Buy, Some("101"), None), px("101"), "its own price, though it takes");
        assert_eq!(at(Algorithm::Iceberg, Side::Buy, Some("101"), None), px("100"));
        assert_eq!(at(Algorithm::Iceberg, Side::Sell, Some("101"), None), px("101"));
    }

    #[test]
    fn only_a_book_that_went_away_leaves_a_price_behind() {
        assert!(is_left_behind(Side::Buy, px("100"), px("100.1")));
        assert!(!is_left_behind(Side::Buy, px("100"), px("99.9")));
        assert!(is_left_behind(Side::Sell, px("100"), px("99.9")));
        assert!(!is_left_behind(Side::Sell, px("100"), px("100")));
    }
}
