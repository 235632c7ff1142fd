//! The book that an order meets: the source's touch, a ladder behind it, and what the order itself has done to it.
//!
//! **Ladder.** Behind the touch levels of equal size stand at equal distances. A marketable order walks it: each level gives what
//! [`Touch::split`] of the simulated venue gives. (That venue itself gives an IOC the touch only, which would flatter MARKET.)
//!
//! **Own impact**, on generated paths only: the block-shaped book of Obizhaeva and Wang, "Optimal trading strategy and supply/demand
//! dynamics" (2013). What is taken moves bid and ask by taken / (size of a level) levels. A share of that remains
//! ([`PERMANENT`]), the rest decays with a half-life ([`HALF_LIFE_US`]). Resting orders that are filled move nothing.
//!
//! **In a file** the rows are what they were (trading rule 42): what was taken from a side is gone until that side changes its price or
//! size, and that is all. So nobody reacts, and strategies that come back to the same book are flattered.

use fillstream_domain::{NumberError, Price, Quantity, TimestampMicros};
use fillstream_venue::matching::Touch;

use crate::path::Top;

/// Share of the impact that remains. With [`HALF_LIFE_US`] it brings an order of 1 % of the daily volume over half an hour near the
/// cost that Almgren et al. (2005) measured (see the test).
pub const PERMANENT: f64 = 0.05;
/// Time in which the rest of the impact halves, microseconds.
pub const HALF_LIFE_US: i64 = 200_000_000;
/// Levels that an order walks at most: more is a fault of the path.
const MAX_LEVELS: usize = 1_000_000;

/// An execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Price.
    pub px: Price,
    /// Units.
    pub qty: Quantity,
}

/// A book.
#[derive(Clone, Debug)]
pub struct Book {
    tick: Price,
    depth: Quantity,
    step: Price,
    moves: bool,
    source: Option<Top>,
    /// Units taken from bid and ask since they changed last; files only.
    taken: [Quantity; 2],
    /// Ticks that remain, and ticks that decay, as of a time.
    moved: (f64, f64, TimestampMicros),
}

impl Book {
    /// An empty book with `depth` units a level, levels `step` apart.
    #[must_use]
    pub fn new(tick: Price, (depth, step): (Quantity, Price), moves: bool) -> Self {
        let moved = (0.0, 0.0, TimestampMicros::from_micros(0));
        Self { tick, depth, step, moves, source: None, taken: [Quantity::ZERO; 2], moved }
    }

    /// Takes a quote of the source.
    pub fn update(&mut self, top: Option<Top>) {
        let sides = |top: Option<Top>| top.map(|t| ((t.bid, t.bid_size), (t.ask, t.ask_size))).unzip();
        let ((bid, ask), (new_bid, new_ask)) = (sides(self.source), sides(top));
        let [taken_bid, taken_ask] = &mut self.taken;
        if bid != new_bid {
            *taken_bid = Quantity::ZERO;
        }
        if ask != new_ask {
            *taken_ask = Quantity::ZERO;
        }
        self.source = top;
    }

    /// A price of the source as it is after the order's own impact.
    ///
    /// # Errors
    /// Out of range.
    pub fn moved(&self, px: Price, now: TimestampMicros) -> Result<Price, NumberError> {
        let ticks = libm::round(self.moved.0 + self.decayed(now)) as i128;
        Price::from_unscaled(px.unscaled() + ticks * self.tick.unscaled())
    }

    fn decayed(&self, now: TimestampMicros) -> f64 {
        let us = now.micros().saturating_sub(self.moved.2.micros()).max(0);
        self.moved.1 * libm::exp2(-(us as f64) / HALF_LIFE_US as f64)
    }

    /// The top of the book now.
    ///
    /// # Errors
    /// Out of range.
    pub fn top(&self, now: TimestampMicros) -> Result<Option<Top>, NumberError> {
        let Some(top) = self.source else { return Ok(None) };
        Ok(Some(Top { bid: self.moved(top.bid, now)?, ask: self.moved(top.ask, now)?, ..top }))
    }

    /// Units displayed on a side.
    #[must_use]
    pub fn displayed(&self, is_bid: bool) -> Quantity {
        let size = self.source.and_then(|top| if is_bid { top.bid_size } else { top.ask_size });
        size.unwrap_or(self.depth)
    }

    /// Takes up to `qty` within `limit` from the side opposite to the order's. A locked or crossed book gives nothing.
    ///
    /// # Errors
    /// Out of range.
    pub fn take(
        &mut self,
        is_buy: bool,
        qty: Quantity,
        limit: Option<Price>,
        now: TimestampMicros,
    ) -> Result<Vec<Fill>, NumberError> {
        let Some(top) = self.top(now)?.filter(|top| top.bid < top.ask) else { return Ok(Vec::new()) };
        let [taken_bid, taken_ask] = self.taken;
        let mut gone = if is_buy { taken_ask } else { taken_bid };
        let (mut px, mut size) = (if is_buy { top.ask } else { top.bid }, self.displayed(!is_buy));
        let step = if is_buy { self.step.unscaled() } else { -self.step.unscaled() };
        let (mut left, mut fills) = (qty, Vec::new());
        for _ in 0..MAX_LEVELS {
            let within = limit.is_none_or(|limit| if is_buy { px <= limit } else { px >= limit });
            if !within || !px.is_positive() {
                break;
            }
            let [got, _] = Touch { price: px, displayed: size.less_at_most(gone), hidden: Quantity::ZERO }.split(left);
            if got.is_positive() {
                fills.push(Fill { px, qty: got });
                left = left.less_at_most(got);
            }
            if left.is_zero() {
                break;
            }
            gone = gone.less_at_most(size);
            (px, size) = (Price::from_unscaled(px.unscaled() + step)?, self.depth);
        }
        self.took(is_buy, qty.less_at_most(left), now)?;
        Ok(fills)
    }

    fn took(&mut self, is_buy: bool, qty: Quantity, now: TimestampMicros) -> Result<(), NumberError> {
        if !self.moves {
            let [bid, ask] = &mut self.taken;
            let side = if is_buy { ask } else { bid };
            *side = side.checked_add(qty)?;
            return Ok(());
        }
        let levels = qty.unscaled() as f64 / self.depth.unscaled().max(1) as f64;
        let ticks = levels * self.step.unscaled() as f64 / self.tick.unscaled().max(1) as f64;
        let signed = if is_buy { ticks } else { -ticks };
        self.moved = (self.moved.0 + signed * PERMANENT, self.decayed(now) + signed * (1.0 - PERMANENT), now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn q(n: i64) -> Quantity {
        Quantity::from_int(n).unwrap()
    }

    fn px(text: &str) -> Price {
        text.parse().unwrap()
    }

    fn at(seconds: i64) -> TimestampMicros {
        TimestampMicros::from_micros(seconds * 1_000_000)
    }

    fn book(moves: bool) -> Book {
        let mut book = Book::new(px("0.01"), (q(100), px("0.01")), moves);
        book.update(Some(Top { bid: px("10"), ask: px("10.01"), bid_size: Some(q(50)), ask_size: Some(q(60)) }));
        book
    }

    fn fills(book: &mut Book, is_buy: bool, qty: i64, limit: Option<&str>) -> Vec<(String, i64)> {
        let fills = book.take(is_buy, q(qty), limit.map(px), at(1)).unwrap();
        fills.iter().map(|f| (f.px.to_string(), f.qty.to_string().parse().unwrap())).collect()
    }

    fn told(expected: &[(&str, i64)]) -> Vec<(String, i64)> {
        expected.iter().map(|(px, qty)| ((*px).to_owned(), *qty)).collect()
    }

    #[test]
    fn a_marketable_order_walks_the_ladder_within_its_limit() {
        assert_eq!(fills(&mut book(false), true, 200, None), told(&[("10.01", 60), ("10.02", 100), ("10.03", 40)]));
        assert_eq!(fills(&mut book(false), false, 100, None), told(&[("10", 50), ("9.99", 50)]));
        assert_eq!(fills(&mut book(false), true, 200, Some("10.02")), told(&[("10.01", 60), ("10.02", 100)]));
        assert_eq!(fills(&mut book(false), true, 200, Some("10")), []);
    }

    #[test]
    fn in_a_file_what_was_taken_is_gone_until_the_side_changes() {
        let mut book = book(false);
        fills(&mut book, true, 70, None);
        assert_eq!(fills(&mut book, true, 100, None), told(&[("10.02", 90), ("10.03", 10)]));
        let top = Top { bid: px("9.99"), ask: px("10.01"), bid_size: Some(q(50)), ask_size: Some(q(60)) };
        book.update(Some(top));
        assert_eq!(fills(&mut book, true, 10, None), told(&[("10.03", 10)]), "only the bid has changed");
        book.update(Some(Top { ask_size: Some(q(61)), ..top }));
        assert_eq!(fills(&mut book, true, 10, None), told(&[("10.01", 10)]));
        assert_eq!(book.top(at(1)).unwrap().unwrap().ask, px("10.01"), "the quotes stay what they were");
    }

    #[test]
    fn on_a_generated_path_own_fills_move_the_book_and_most_of_it_comes_back() {
        let mut book = book(true);
        fills(&mut book, true, 1_000, None);
        let ask = |book: &Book, seconds| book.top(at(seconds)).unwrap().unwrap().ask;
        assert_eq!(ask(&book, 1), px("10.11"), "ten levels");
        // Half a tick remains; 9.5 decay, to 4.75 after a half-life.
        assert_eq!(ask(&book, 201), px("10.06"));
        assert_eq!(ask(&book, 100_000), px("10.02"), "the half tick that remains is rounded away from zero");
        fills(&mut book, false, 2_000, None);
        assert!(ask(&book, 1) < px("10.01"), "a sale moves it the other way");
    }

    /// 1 % of the daily volume over half an hour, a slice each 20 s, on the thin share of the generator: half the spread apart, the
    /// book charges what Almgren et al. measured, within a third.
    #[test]
    fn the_impact_is_near_the_published_one() {
        use fillstream_models::impact::{Trade, almgren_2005};
        let mut book = Book::new(px("0.01"), (q(60), px("0.01")), true);
        book.update(Some(Top { bid: px("100"), ask: px("100.01"), bid_size: Some(q(60)), ask_size: Some(q(60)) }));
        let (mut paid, slices, slice) = (0_i128, 90, 33);
        for n in 0..slices {
            let fills = book.take(true, q(slice), None, at(20 * n)).unwrap();
            paid += fills.iter().map(|f| (f.px.unscaled() - px("100.01").unscaled()) * f.qty.unscaled()).sum::<i128>();
        }
        let bought = q(slices * slice);
        let charged = 1e4 * paid as f64 / (px("100.01").unscaled() as f64 * bought.unscaled() as f64);
        let trade = Trade { quantity: bought, adv: q(292_500), daily_sigma: "0.02".parse().unwrap() };
        let published = almgren_2005(&trade, q(100_000_000), "0.076923".parse().unwrap()).unwrap().cost;
        let published = published.unscaled() as f64 / fillstream_domain::Bps::ONE.unscaled() as f64;
        assert!((charged / published - 1.0).abs() < 1.0 / 3.0, "{charged} against {published}");
    }

    #[test]
    fn a_locked_book_gives_nothing() {
        let mut book = book(false);
        book.update(Some(Top { bid: px("10"), ask: px("10"), bid_size: None, ask_size: None }));
        assert_eq!(fills(&mut book, true, 10, None), []);
    }
}
