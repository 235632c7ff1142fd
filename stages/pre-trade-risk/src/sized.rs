//! The checks that depend on quantity and price, and what would pass them.

use fillstream_domain::{
    Bps, Money, NumberError, Price, Quantity, Ratio, Rounding, Side, SignedQuantity, mul_div_i128,
};
use fillstream_schemas::state::{RiskEntered, RiskReservation};

use crate::checks::{Checks, Held, signed_units, units};
use crate::entered;
use crate::exposure::{Book, Claim, Mark, Open, held_price};
use crate::facts::{Facts, sells};
use crate::others::Others;
use crate::reason::Reason;
use crate::value::value;

/// One check of a quantity at a price.
struct Sized<'a> {
    name: &'static str,
    reason: Reason,
    held: Held,
    unit: &'a str,
    passed: bool,
    /// Whether its share of the limit counts in the risk score.
    scored: bool,
    /// What the limit applies to, where it is less than the portfolio: its kind and name.
    about: Option<(&'static str, &'a str)>,
}

/// A figure before and after, held against a limit: what adds nothing passes.
struct Change {
    before: Money,
    after: Money,
    limit: Money,
}

/// An order with everything that its size is held against.
pub(crate) struct Question<'a> {
    pub facts: &'a Facts<'a>,
    pub side: Side,
    /// The order's instrument without the order.
    pub book: Book,
    pub others: Others,
    pub cash: Money,
    pub fee_reserve: Bps,
    /// What the order holds already, where it asks for other terms.
    pub replaces: Option<&'a RiskReservation>,
    /// Units of it that are filled.
    pub filled: Quantity,
    /// What was entered lately, where that is limited.
    pub entered: Option<RiskEntered>,
}

/// What the checks of a size say.
pub(crate) struct Answer {
    /// Value held, reporting currency.
    pub reserved_value: Money,
    /// Value that counts as entered, reporting currency: for a replace what it adds.
    pub entered_value: Money,
    /// 0 to 100: the largest share of a limit used, in per cent.
    pub score: Ratio,
    /// Codes of what fails.
    pub failed: Vec<Reason>,
}

/// The order's instrument before and after, each with its mark.
struct Books {
    before: Book,
    after: Book,
    old_mark: Mark,
    mark: Mark,
}

impl<'a> Question<'a> {
    /// Runs the checks of a size and reports them.
    pub(crate) fn ask(&self, quantity: Quantity, checks: &mut Checks) -> Result<Answer, NumberError> {
        let price = self.facts.price;
        let mut score = Ratio::ZERO;
        let mut failed = Vec::new();
        for row in self.rows(quantity, price)? {
            checks.about(row.about.map(|(kind, id)| format!("{kind}/{id}")));
            checks.held(row.name, row.reason.as_str(), row.passed, row.held, row.unit);
            if row.scored {
                score = score.max(utilisation(row.held)?);
            }
            if !row.passed {
                failed.push(row.reason);
            }
        }
        checks.about(None);
        let reserved_value = self.worth(self.open(quantity), price)?.max(self.old_worth()?);
        Ok(Answer { reserved_value, entered_value: self.adds(quantity, price)?, score, failed })
    }

    /// Whether a size at a price passes every check.
    pub(crate) fn passes(&self, quantity: Quantity, price: Price) -> Result<bool, NumberError> {
        Ok(self.rows(quantity, price)?.iter().all(|row| row.passed))
    }

    /// The largest whole number of lots below `quantity` that passes; `None` if it would be below the instrument's
    /// smallest order. Every check is monotone in the quantity, so halving finds it.
    pub(crate) fn largest(&self, quantity: Quantity) -> Result<Option<Quantity>, NumberError> {
        let instrument = self.facts.instrument;
        let lot = instrument.lot_size;
        if !lot.is_positive() {
            return Ok(None);
        }
        let (mut passes, mut fails) = (0, quantity.unscaled() / lot.unscaled() + 1);
        while fails - passes > 1 {
            let middle = passes + (fails - passes) / 2;
            if self.passes(Quantity::from_unscaled(middle * lot.unscaled())?, self.facts.price)? {
                passes = middle;
            } else {
                fails = middle;
            }
        }
        let found = Quantity::from_unscaled(passes * lot.unscaled())?;
        Ok((found.is_positive() && found >= instrument.min_quantity).then_some(found))
    }

    /// Worst-case value of the order's instrument before and after, at the rate of `mark`.
    pub(crate) fn worst_values(&self, quantity: Quantity, mark: &Mark) -> Result<(Money, Money), NumberError> {
        let books = self.books(quantity, self.facts.price)?;
        let old_mark = Mark { price: books.old_mark.price, ..*mark };
        Ok((books.before.worst_value(&old_mark)?, books.after.worst_value(mark)?))
    }

    fn open(&self, quantity: Quantity) -> Quantity {
        quantity.less_at_most(self.filled)
    }

    fn worth(&self, quantity: Quantity, price: Price) -> Result<Money, NumberError> {
        value(price, quantity, self.facts.instrument.multiplier, self.facts.reporting.rate)
    }

    fn old_worth(&self) -> Result<Money, NumberError> {
        self.replaces.map_or(Ok(Money::ZERO), |old| self.worth(old.open_qty, held_price(old)))
    }

    // Value that the order adds to what it was.
    fn adds(&self, quantity: Quantity, price: Price) -> Result<Money, NumberError> {
        Ok(self.worth(self.open(quantity), price)?.checked_sub(self.old_worth()?)?.max(Money::ZERO))
    }

    fn rows(&self, quantity: Quantity, price: Price) -> Result<Vec<Sized<'a>>, NumberError> {
        let books = self.books(quantity, price)?;
        let mut rows = Vec::with_capacity(16);
        self.order_rows(quantity, price, &mut rows)?;
        if sells(self.side) {
            self.short_rows(&books, &mut rows)?;
        }
        self.position_rows(&books, &mut rows)?;
        self.portfolio_rows(&books, &mut rows)?;
        rows.push(self.buying_power(&books)?);
        self.liquidity_rows(quantity, &mut rows)?;
        self.entered_rows(quantity, price, &mut rows)?;
        Ok(rows)
    }

    fn books(&self, quantity: Quantity, price: Price) -> Result<Books, NumberError> {
        let instrument = self.facts.instrument;
        let mark = |price| Mark {
            price,
            multiplier: instrument.multiplier,
            account_rate: self.facts.account_rate.rate,
            reporting_rate: self.facts.reporting.rate,
        };
        let open = Open {
            side: self.side,
            quantity: self.open(quantity),
            price,
            multiplier: instrument.multiplier,
            account_rate: self.facts.account_rate.rate,
            fee_reserve: self.fee_reserve,
        };
        let claim = Claim { open, or: self.replaces.map(|old| (old.open_qty, held_price(old))) };
        let before = match self.replaces {
            Some(old) => self.book.with_claim(&Claim::from(old))?,
            None => self.book.clone(),
        };
        let old_mark = mark(self.replaces.map_or(price, held_price));
        Ok(Books { before, after: self.book.with_claim(&claim)?, old_mark, mark: mark(price) })
    }

    fn order_rows(&self, quantity: Quantity, price: Price, rows: &mut Vec<Sized<'a>>) -> Result<(), NumberError> {
        let limit = self.facts.limit;
        let old = |of: fn(&RiskReservation) -> Quantity| self.replaces.map_or(Quantity::ZERO, of);
        let size = Change {
            before: units(old(|held| held.ord_qty))?,
            after: units(quantity)?,
            limit: units(limit.max_order_quantity)?,
        };
        rows.push(row("order_quantity", Reason::MaxOrderQuantity, size, "units"));
        let before = match self.replaces {
            Some(old) => self.worth(old.ord_qty, held_price(old))?,
            None => Money::ZERO,
        };
        let worth = Change { before, after: self.worth(quantity, price)?, limit: limit.max_order_value };
        rows.push(row("order_value", Reason::MaxOrderValue, worth, &limit.currency));
        Ok(())
    }

    fn short_rows(&self, books: &Books, rows: &mut Vec<Sized<'a>>) -> Result<(), NumberError> {
        let (limit, id) = (self.facts.limit, self.facts.instrument.instrument_id.as_str());
        let (before, after) = (books.before.least()?, books.after.least()?);
        rows.push(Sized {
            name: "short",
            reason: Reason::ShortNotAllowed,
            held: Held { figure: signed_units(after)?, limit: Money::ZERO },
            unit: "units",
            passed: limit.allow_short || !after.is_negative() || after >= before,
            scored: false,
            about: Some(("instrument", id)),
        });
        if limit.require_locate {
            let short =
                |least: SignedQuantity| units(if least.is_negative() { least.magnitude() } else { Quantity::ZERO });
            let located = limit.locates.get(id).copied().unwrap_or(Quantity::ZERO);
            let change = Change { before: short(before)?, after: short(after)?, limit: units(located)? };
            let row = row("located", Reason::LocateMissing, change, "units");
            rows.push(Sized { scored: false, about: Some(("instrument", id)), ..row });
        }
        Ok(())
    }

    // Only the direction in which the order goes: one that reduces a position over its limit passes.
    fn position_rows(&self, books: &Books, rows: &mut Vec<Sized<'a>>) -> Result<(), NumberError> {
        let (limit, id) = (self.facts.limit, self.facts.instrument.instrument_id.as_str());
        let about = Some(("instrument", id));
        let held = |book: &Book| {
            let worst = if sells(self.side) { -book.least()? } else { book.most()? };
            Ok::<_, NumberError>(if worst.is_negative() { Quantity::ZERO } else { worst.magnitude() })
        };
        let (before, after) = (held(&books.before)?, held(&books.after)?);
        let worth = Change {
            before: self.worth(before, books.old_mark.price)?,
            after: self.worth(after, books.mark.price)?,
            limit: limit.max_position_value,
        };
        rows.push(Sized { about, ..row("position_value", Reason::MaxPositionValue, worth, &limit.currency) });
        if let Some(max) = limit.max_position_quantity.get(id) {
            let size = Change { before: units(before)?, after: units(after)?, limit: units(*max)? };
            rows.push(Sized { about, ..row("position_quantity", Reason::MaxPositionQuantity, size, "units") });
        }
        Ok(())
    }

    fn portfolio_rows(&self, books: &Books, rows: &mut Vec<Sized<'a>>) -> Result<(), NumberError> {
        let (limit, instrument) = (self.facts.limit, self.facts.instrument);
        let (before, after) = (books.before.worst_value(&books.old_mark)?, books.after.worst_value(&books.mark)?);
        let over = |others: Money, limit: Money| {
            Ok::<_, NumberError>(Change {
                before: others.checked_add(before)?,
                after: others.checked_add(after)?,
                limit,
            })
        };
        let currency = limit.currency.as_str();
        let gross = over(self.others.gross, limit.max_gross_value)?;
        rows.push(row("gross_value", Reason::MaxGrossValue, gross, currency));
        if let Some(max) = limit.max_net_value {
            let net = Change {
                before: self.net(&books.before, &books.old_mark)?,
                after: self.net(&books.after, &books.mark)?,
                limit: max,
            };
            rows.push(row("net_value", Reason::MaxNetValue, net, currency));
        }
        if let Some((sector, max)) = instrument.sector.as_ref().and_then(|s| limit.max_sector_value.get_key_value(s)) {
            let row = row("sector_value", Reason::MaxSectorValue, over(self.others.sector, *max)?, currency);
            rows.push(Sized { about: Some(("sector", sector)), ..row });
        }
        let class = instrument.asset_class.as_str();
        if let Some(max) = limit.max_asset_class_value.get(class) {
            let change = over(self.others.asset_class, *max)?;
            let row = row("asset_class_value", Reason::MaxAssetClassValue, change, currency);
            rows.push(Sized { about: Some(("asset_class", class)), ..row });
        }
        Ok(())
    }

    // The sum of signed values in the direction in which the order goes, worst case; below zero it is no risk there.
    fn net(&self, book: &Book, mark: &Mark) -> Result<Money, NumberError> {
        let net = if sells(self.side) {
            -self.others.least.checked_add(book.least_value(mark)?)?
        } else {
            self.others.most.checked_add(book.most_value(mark)?)?
        };
        Ok(net.max(Money::ZERO))
    }

    // What ties up nothing more needs no cash.
    fn buying_power(&self, books: &Books) -> Result<Sized<'a>, NumberError> {
        let margin = self.facts.margin(self.facts.instrument.asset_class);
        let tied = |book: &Book, mark: &Mark| self.others.tied_up.checked_add(book.tied_up(mark, margin)?);
        let change = Change {
            before: tied(&books.before, &books.old_mark)?,
            after: tied(&books.after, &books.mark)?,
            limit: self.cash,
        };
        Ok(row("buying_power", Reason::InsufficientBuyingPower, change, self.facts.account_currency))
    }

    fn liquidity_rows(&self, quantity: Quantity, rows: &mut Vec<Sized<'a>>) -> Result<(), NumberError> {
        let (limit, id) = (self.facts.limit, self.facts.instrument.instrument_id.as_str());
        let before = self.replaces.map_or(Quantity::ZERO, |old| old.open_qty);
        let mut held_against = |name, reason, most: Quantity| {
            let change = Change { before: units(before)?, after: units(self.open(quantity))?, limit: units(most)? };
            rows.push(Sized { about: Some(("instrument", id)), ..row(name, reason, change, "units") });
            Ok::<_, NumberError>(())
        };
        if let Some((depth, multiple)) = self.facts.depth.zip(limit.max_depth_multiple) {
            held_against("depth", Reason::DepthExceeded, depth.share(multiple, Rounding::Floor)?)?;
        }
        if let Some((adv, share)) = self.facts.instrument.adv.zip(limit.max_adv_participation) {
            held_against("adv_participation", Reason::AdvParticipation, adv.share(share, Rounding::Floor)?)?;
        }
        Ok(())
    }

    fn entered_rows(&self, quantity: Quantity, price: Price, rows: &mut Vec<Sized<'a>>) -> Result<(), NumberError> {
        let limit = self.facts.limit;
        let Some(counted) = &self.entered else { return Ok(()) };
        let more = self.adds(quantity, price)?;
        let mut at_most = |name, reason, before: Money, max| {
            let change = Change { before, after: before.checked_add(more)?, limit: max };
            rows.push(row(name, reason, change, &limit.currency));
            Ok::<_, NumberError>(())
        };
        if let Some(max) = limit.max_entered_value_per_minute {
            at_most("entered_value_minute", Reason::EnteredValueMinute, entered::value(counted)?, max)?;
        }
        if let Some(max) = limit.max_entered_value_per_day {
            at_most("entered_value_day", Reason::EnteredValueDay, counted.day_value, max)?;
        }
        Ok(())
    }
}

fn row<'a>(name: &'static str, reason: Reason, change: Change, unit: &'a str) -> Sized<'a> {
    let Change { before, after, limit } = change;
    let passed = after <= limit || after <= before;
    Sized { name, reason, held: Held { figure: after, limit }, unit, passed, scored: true, about: None }
}

// Figure over limit in per cent, 0 to 100; all of a limit that is not above zero.
fn utilisation(held: Held) -> Result<Ratio, NumberError> {
    let full = Ratio::from_int(100)?;
    if held.figure <= Money::ZERO {
        return Ok(Ratio::ZERO);
    }
    if held.figure >= held.limit {
        return Ok(full);
    }
    mul_div_i128(held.figure.unscaled(), full.unscaled(), held.limit.unscaled(), Rounding::HalfEven)
        .and_then(Ratio::from_unscaled)
}
