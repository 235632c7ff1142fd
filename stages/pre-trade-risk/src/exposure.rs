//! What a portfolio could come to hold: positions and open orders, worst case both ways.

use std::collections::BTreeMap;

use fillstream_domain::{
    Bps, Money, NumberError, Price, Quantity, Ratio, Rounding, Side, SignedQuantity, mul_div_i128,
};
use fillstream_schemas::state::{RiskBook, RiskPortfolio, RiskPosition, RiskReservation};

use crate::value::{value, value_rounded};

/// Position and open orders of one instrument. Buys and sells are kept apart: they never net.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    /// Units held, negative when short.
    pub position: SignedQuantity,
    /// Proceeds of the short part, account currency.
    pub short_proceeds: Money,
    /// Units that open buys may still add.
    pub buy_qty: Quantity,
    /// What they may cost with fees, account currency.
    pub buy_cost: Money,
    /// Units that open sells may still take away.
    pub sell_qty: Quantity,
    /// The highest price at which one of them is held, quote currency.
    pub sell_price: Price,
}

/// An open order, or one that asks to be, as its book sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// Side.
    pub side: Side,
    /// Units that may still be filled.
    pub quantity: Quantity,
    /// Price at which they are held, quote currency.
    pub price: Price,
    /// Units of base a quantity of 1 stands for.
    pub multiplier: Quantity,
    /// Account currency for one unit of quote currency.
    pub account_rate: Price,
    /// Held on top for fees.
    pub fee_reserve: Bps,
}

/// What a unit of an instrument is worth now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Price, quote currency.
    pub price: Price,
    /// Units of base a quantity of 1 stands for.
    pub multiplier: Quantity,
    /// Account currency for one unit of quote currency.
    pub account_rate: Price,
    /// Reporting currency for one unit of quote currency.
    pub reporting_rate: Price,
}

/// What an order holds of its book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub open: Open,
    /// Quantity and price that it may have instead, while a replace is under way: the larger of both is held.
    pub or: Option<(Quantity, Price)>,
}

impl From<&RiskReservation> for Claim {
    fn from(held: &RiskReservation) -> Self {
        let open = Open {
            side: held.side,
            quantity: held.open_qty,
            price: held_price(held),
            multiplier: held.multiplier,
            account_rate: held.account_rate,
            fee_reserve: held.fee_reserve,
        };
        Self { open, or: held.replace.as_ref().map(|replace| (replace.open_qty, replace.reserved_price)) }
    }
}

/// The price at which an order is held, under terms in force or former ones that a child may still have.
pub(crate) fn held_price(held: &RiskReservation) -> Price {
    held.former_price.map_or(held.reserved_price, |former| former.max(held.reserved_price))
}

impl Claim {
    /// What it may cost with fees, account currency.
    fn cost(&self) -> Result<Money, NumberError> {
        let of = |(quantity, price)| {
            let cost = value(price, quantity, self.open.multiplier, self.open.account_rate)?;
            cost.checked_add(cost.times_bps(self.open.fee_reserve, Rounding::Ceiling)?)
        };
        let cost = of((self.open.quantity, self.open.price))?;
        self.or.map_or(Ok(cost), |or| Ok(cost.max(of(or)?)))
    }

    /// The largest quantity that it may have.
    pub(crate) fn most_quantity(&self) -> Quantity {
        self.or.map_or(self.open.quantity, |(quantity, _)| self.open.quantity.max(quantity))
    }

    /// The highest price that it may have.
    pub(crate) fn highest_price(&self) -> Price {
        self.or.map_or(self.open.price, |(_, price)| self.open.price.max(price))
    }
}

impl Default for Book {
    fn default() -> Self {
        Self {
            position: SignedQuantity::ZERO,
            short_proceeds: Money::ZERO,
            buy_qty: Quantity::ZERO,
            buy_cost: Money::ZERO,
            sell_qty: Quantity::ZERO,
            sell_price: Price::ZERO,
        }
    }
}

impl From<&RiskPosition> for Book {
    fn from(position: &RiskPosition) -> Self {
        Self { position: position.quantity, short_proceeds: position.short_proceeds, ..Self::default() }
    }
}

impl From<&RiskBook> for Book {
    fn from(open: &RiskBook) -> Self {
        Self {
            buy_qty: open.buy_qty,
            buy_cost: open.buy_cost,
            sell_qty: open.sell_qty,
            sell_price: open.sell_price,
            ..Self::default()
        }
    }
}

impl Book {
    /// The book with one more open order.
    ///
    /// # Errors
    /// Out of range.
    pub fn with(&self, open: &Open) -> Result<Self, NumberError> {
        self.with_claim(&Claim { open: *open, or: None })
    }

    /// The book with what one more order holds.
    ///
    /// # Errors
    /// Out of range.
    pub(crate) fn with_claim(&self, claim: &Claim) -> Result<Self, NumberError> {
        let mut book = self.clone();
        let quantity = claim.most_quantity();
        if claim.open.side.is_buy() {
            book.buy_qty = self.buy_qty.checked_add(quantity)?;
            book.buy_cost = self.buy_cost.checked_add(claim.cost()?)?;
        } else if quantity.is_positive() {
            book.sell_qty = self.sell_qty.checked_add(quantity)?;
            book.sell_price = self.sell_price.max(claim.highest_price());
        }
        Ok(book)
    }

    /// The book without what an order in it holds; the highest price of sells stays.
    ///
    /// # Errors
    /// It is not in it.
    pub(crate) fn without_claim(&self, claim: &Claim) -> Result<Self, NumberError> {
        let mut book = self.clone();
        if claim.open.side.is_buy() {
            book.buy_qty = self.buy_qty.checked_sub(claim.most_quantity())?;
            book.buy_cost = self.buy_cost.checked_sub(claim.cost()?)?;
        } else {
            book.sell_qty = self.sell_qty.checked_sub(claim.most_quantity())?;
        }
        Ok(book)
    }

    /// The position if every open buy fills and no sell does.
    ///
    /// # Errors
    /// Out of range.
    pub fn most(&self) -> Result<SignedQuantity, NumberError> {
        self.position.checked_add(self.buy_qty.into())
    }

    /// The position if every open sell fills and no buy does.
    ///
    /// # Errors
    /// Out of range.
    pub fn least(&self) -> Result<SignedQuantity, NumberError> {
        self.position.checked_sub(self.sell_qty.into())
    }

    /// The larger of both without its direction.
    ///
    /// # Errors
    /// Out of range.
    pub fn worst(&self) -> Result<Quantity, NumberError> {
        Ok(self.most()?.magnitude().max(self.least()?.magnitude()))
    }

    /// Whether there is neither position nor open order.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.position.is_zero() && self.buy_qty.is_zero() && self.sell_qty.is_zero()
    }

    /// Worst-case value, reporting currency.
    ///
    /// # Errors
    /// Out of range.
    pub fn worst_value(&self, mark: &Mark) -> Result<Money, NumberError> {
        value(mark.price, self.worst()?, mark.multiplier, mark.reporting_rate)
    }

    /// Value if every open buy fills and no sell does, below zero when that is short; reporting currency.
    ///
    /// # Errors
    /// Out of range.
    pub fn most_value(&self, mark: &Mark) -> Result<Money, NumberError> {
        signed(mark, self.most()?, true)
    }

    /// Value if every open sell fills and no buy does, below zero when that is short; reporting currency.
    ///
    /// # Errors
    /// Out of range.
    pub fn least_value(&self, mark: &Mark) -> Result<Money, NumberError> {
        signed(mark, self.least()?, false)
    }

    /// Cash that the book ties up, account currency: margin of what is short and of what open sells could add to it, and
    /// the cost of open buys less the collateral that a cover of the short sets free. Sells of what is held tie up none.
    ///
    /// # Errors
    /// Out of range.
    pub fn tied_up(&self, mark: &Mark, initial_margin: Ratio) -> Result<Money, NumberError> {
        let worth = |price: Price, quantity| value(price, quantity, mark.multiplier, mark.account_rate);
        let margin = |amount: Money| amount.share(initial_margin, Rounding::AwayFromZero);
        let (long, short) = if self.position.is_negative() {
            (Quantity::ZERO, self.position.magnitude())
        } else {
            (self.position.magnitude(), Quantity::ZERO)
        };
        let uncovered = self.sell_qty.less_at_most(long);
        let short_margin = margin(worth(mark.price, short)?)?;
        let sell_margin = margin(worth(self.sell_price.max(mark.price), uncovered)?)?;
        let collateral = self.short_proceeds.checked_add(short_margin)?;
        let freed = part(collateral, self.buy_qty.min(short), short, Rounding::Floor)?;
        let buys = self.buy_cost.checked_sub(freed)?.max(Money::ZERO);
        Money::sum([short_margin, sell_margin, buys])
    }
}

// The value of a position with its sign, rounded up or down.
fn signed(mark: &Mark, position: SignedQuantity, up: bool) -> Result<Money, NumberError> {
    let short = position.is_negative();
    let rounding = if up == short { Rounding::TowardsZero } else { Rounding::AwayFromZero };
    let worth = value_rounded(mark.price, position.magnitude(), mark.multiplier, mark.reporting_rate, rounding)?;
    Ok(if short { -worth } else { worth })
}

/// `amount x of / whole`, zero where the whole is.
pub(crate) fn part(amount: Money, of: Quantity, whole: Quantity, rounding: Rounding) -> Result<Money, NumberError> {
    if whole.is_zero() {
        return Ok(Money::ZERO);
    }
    mul_div_i128(amount.unscaled(), of.unscaled(), whole.unscaled(), rounding).and_then(Money::from_unscaled)
}

/// Every book of a portfolio, by instrument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposure<'a> {
    books: BTreeMap<&'a str, Book>,
}

impl<'a> Exposure<'a> {
    /// Positions with open orders, one by one.
    ///
    /// # Errors
    /// Out of range.
    pub fn of(
        portfolio: &'a RiskPortfolio,
        open: impl Iterator<Item = &'a RiskReservation>,
    ) -> Result<Self, NumberError> {
        let mut exposure = Self::held(portfolio);
        for held in open {
            let book = exposure.books.entry(&held.instrument_id).or_default();
            *book = book.with_claim(&Claim::from(held))?;
        }
        Ok(exposure)
    }

    /// Positions with open orders that are summed up.
    pub fn summed(portfolio: &'a RiskPortfolio, open: impl Iterator<Item = &'a RiskBook>) -> Self {
        let mut exposure = Self::held(portfolio);
        for summed in open {
            let book = exposure.books.entry(&summed.instrument_id).or_default();
            let Book { position, short_proceeds, .. } = *book;
            *book = Book { position, short_proceeds, ..Book::from(summed) };
        }
        exposure
    }

    fn held(portfolio: &'a RiskPortfolio) -> Self {
        Self { books: portfolio.positions.iter().map(|(id, position)| (id.as_str(), Book::from(position))).collect() }
    }

    /// The book of an instrument.
    #[must_use]
    pub fn book(&self, instrument: &str) -> Book {
        self.books.get(instrument).cloned().unwrap_or_default()
    }

    /// Every book.
    pub fn all(&self) -> impl Iterator<Item = (&'a str, &Book)> {
        self.books.iter().map(|(id, book)| (*id, book)).filter(|(_, book)| !book.is_empty())
    }

    /// Every book but that of `instrument`.
    pub fn others(&self, instrument: &str) -> impl Iterator<Item = (&'a str, &Book)> {
        self.all().filter(move |(id, _)| *id != instrument)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    fn mark(price: &str) -> Mark {
        let one = Price::ONE;
        Mark { price: price.parse().unwrap(), multiplier: Quantity::ONE, account_rate: one, reporting_rate: one }
    }

    fn book(position: &str, proceeds: &str) -> Book {
        Book { position: position.parse().unwrap(), short_proceeds: money(proceeds), ..Book::default() }
    }

    fn open(side: Side, quantity: &str, price: &str) -> Open {
        Open {
            side,
            quantity: quantity.parse().unwrap(),
            price: price.parse().unwrap(),
            multiplier: Quantity::ONE,
            account_rate: Price::ONE,
            fee_reserve: Bps::ZERO,
        }
    }

    fn tied(book: &Book, price: &str) -> Money {
        book.tied_up(&mark(price), "1.5".parse().unwrap()).unwrap()
    }

    #[test]
    fn rule_15_buys_and_sells_never_net() {
        let book =
            book("10", "0").with(&open(Side::Buy, "5", "1")).unwrap().with(&open(Side::Sell, "40", "1")).unwrap();
        assert_eq!(book.most(), "15".parse());
        assert_eq!(book.least(), "-30".parse());
        assert_eq!(book.worst(), "30".parse());
        assert_eq!(book.worst_value(&mark("2")), "60".parse());
    }

    #[test]
    fn rule_15_closing_sells_tie_up_nothing_and_shorts_their_margin() {
        let sell = |quantity| book("10", "0").with(&open(Side::Sell, quantity, "100")).unwrap();
        assert_eq!(tied(&sell("10"), "100"), Money::ZERO);
        assert_eq!(tied(&sell("12"), "100"), money("300"));
        assert_eq!(tied(&book("-2", "200"), "100"), money("300"), "an open short stays margined");
    }

    #[test]
    fn a_cover_uses_the_shorts_own_collateral_first() {
        // 2 short at 100: 300 margin held, 200 proceeds. Buying 1 back at 110 frees 100 + 150.
        let short = book("-2", "200");
        assert_eq!(tied(&short.with(&open(Side::BuyToCover, "1", "110")).unwrap(), "100"), money("300"));
        // Buying 4 at 110 costs 440 and frees all 500 of the two covered.
        assert_eq!(tied(&short.with(&open(Side::Buy, "4", "110")).unwrap(), "100"), money("300"));
        assert_eq!(tied(&short.with(&open(Side::Buy, "10", "110")).unwrap(), "100"), money("900"));
    }

    #[test]
    fn rule_16_a_replace_under_way_holds_the_larger_of_both() {
        let or = |quantity: &str, price: &str| Some((quantity.parse().unwrap(), price.parse().unwrap()));
        // 100 at 10 or 200 at 4: no more than 200 units and no more than 1,000.
        let buy = Claim { or: or("200", "4"), open: open(Side::Buy, "100", "10") };
        let book = Book::default().with_claim(&buy).unwrap();
        assert_eq!((book.buy_qty, book.buy_cost), ("200".parse().unwrap(), money("1000")));
        let sell = Claim { or: or("7", "12"), open: open(Side::Sell, "10", "11") };
        let book = Book::default().with_claim(&sell).unwrap();
        assert_eq!((book.sell_qty, book.sell_price), ("10".parse().unwrap(), "12".parse().unwrap()));
    }

    #[test]
    fn signed_values_are_rounded_towards_what_is_worse() {
        let mark = Mark { price: "0.00000001".parse().unwrap(), ..mark("1") };
        let book = |position: &str| book(position, "0");
        assert_eq!(book("0.5").most_value(&mark).unwrap().unscaled(), 1);
        assert_eq!(book("0.5").least_value(&mark).unwrap().unscaled(), 0);
        assert_eq!(book("-0.5").most_value(&mark).unwrap().unscaled(), 0);
        assert_eq!(book("-0.5").least_value(&mark).unwrap().unscaled(), -1);
    }

    #[test]
    fn buys_hold_their_cost_with_fees() {
        let buy = Open { fee_reserve: "30".parse().unwrap(), ..open(Side::Buy, "10", "100") };
        assert_eq!(tied(&Book::default().with(&buy).unwrap(), "90"), money("1003"));
    }
}
