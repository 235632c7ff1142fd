//! The checks that depend on quantity and price, and what would pass them.

use std::collections::BTreeMap;

use fillstream_domain::{Bps, Money, NumberError, Price, Quantity, Ratio, Rounding, Side, mul_div_i128};

use crate::checks::{Checks, Held, signed_units, units};
use crate::exposure::{Book, Exposure, Mark, Open};
use crate::facts::{Facts, sells};
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
}

/// An order with everything that its size is held against.
pub(crate) struct Question<'a> {
    pub facts: &'a Facts<'a>,
    pub side: Side,
    pub exposure: &'a Exposure,
    /// Marks of every other instrument with exposure.
    pub marks: &'a BTreeMap<String, Mark>,
    pub cash: Money,
    pub fee_reserve: Bps,
}

/// What the checks of a size say.
pub(crate) struct Answer {
    /// Value held, reporting currency.
    pub reserved_value: Money,
    /// 0 to 100: the largest share of a limit used, in per cent.
    pub score: Ratio,
}

impl Question<'_> {
    /// Runs the checks of a size and reports them.
    pub(crate) fn ask(&self, quantity: Quantity, checks: &mut Checks) -> Result<Answer, NumberError> {
        let rows = self.rows(quantity, self.facts.price)?;
        let mut score = Ratio::ZERO;
        for row in &rows {
            checks.held(row.name, row.reason.as_str(), row.passed, row.held, row.unit);
            if row.scored {
                score = score.max(utilisation(row.held)?);
            }
        }
        let reserved_value = self.worth(quantity, self.facts.price)?;
        Ok(Answer { reserved_value, score })
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

    fn worth(&self, quantity: Quantity, price: Price) -> Result<Money, NumberError> {
        value(price, quantity, self.facts.instrument.multiplier, self.facts.reporting.rate)
    }

    fn rows(&self, quantity: Quantity, price: Price) -> Result<Vec<Sized<'_>>, NumberError> {
        let (limit, instrument) = (self.facts.limit, self.facts.instrument);
        let mark = Mark {
            price,
            multiplier: instrument.multiplier,
            account_rate: self.facts.account_rate.rate,
            reporting_rate: self.facts.reporting.rate,
        };
        let before = self.exposure.book(&instrument.instrument_id);
        let after = before.with(&self.open(quantity, price))?;
        let currency = limit.currency.as_str();
        let at_most = |name, reason, figure, limit, unit| Sized {
            name,
            reason,
            held: Held { figure, limit },
            unit,
            passed: figure <= limit,
            scored: true,
        };
        let mut rows = vec![
            at_most(
                "order_quantity",
                Reason::MaxOrderQuantity,
                units(quantity)?,
                units(limit.max_order_quantity)?,
                "units",
            ),
            at_most(
                "order_value",
                Reason::MaxOrderValue,
                self.worth(quantity, price)?,
                limit.max_order_value,
                currency,
            ),
        ];
        if sells(self.side) {
            let least = signed_units(after.least()?)?;
            let held = Held { figure: least, limit: Money::ZERO };
            let passed = limit.allow_short || !least.is_negative();
            rows.push(Sized {
                name: "short",
                reason: Reason::ShortNotAllowed,
                held,
                unit: "units",
                passed,
                scored: false,
            });
        }
        rows.push(at_most(
            "position_value",
            Reason::MaxPositionValue,
            self.position(&after, price)?,
            limit.max_position_value,
            currency,
        ));
        rows.push(self.gross(&before, &after, &mark)?);
        rows.push(self.buying_power(&before, &after, &mark)?);
        Ok(rows)
    }

    fn open(&self, quantity: Quantity, price: Price) -> Open {
        Open {
            side: self.side,
            quantity,
            price,
            multiplier: self.facts.instrument.multiplier,
            account_rate: self.facts.account_rate.rate,
            fee_reserve: self.fee_reserve,
        }
    }

    // Only the direction in which the order goes: one that reduces a position over its limit passes.
    fn position(&self, after: &Book, price: Price) -> Result<Money, NumberError> {
        let worst = if sells(self.side) { -after.least()? } else { after.most()? };
        if worst.is_negative() { Ok(Money::ZERO) } else { self.worth(worst.magnitude(), price) }
    }

    fn gross(&self, before: &Book, after: &Book, mark: &Mark) -> Result<Sized<'_>, NumberError> {
        let mut others = Money::ZERO;
        for (id, book) in self.exposure.others(&self.facts.instrument.instrument_id) {
            if let Some(mark) = self.marks.get(id) {
                others = others.checked_add(book.worst_value(mark)?)?;
            }
        }
        let figure = others.checked_add(after.worst_value(mark)?)?;
        let limit = self.facts.limit.max_gross_value;
        Ok(Sized {
            name: "gross_value",
            reason: Reason::MaxGrossValue,
            held: Held { figure, limit },
            unit: &self.facts.limit.currency,
            passed: figure <= limit || figure <= others.checked_add(before.worst_value(mark)?)?,
            scored: true,
        })
    }

    fn buying_power(&self, before: &Book, after: &Book, mark: &Mark) -> Result<Sized<'_>, NumberError> {
        let margin = self.facts.account.initial_margin;
        let mut others = Money::ZERO;
        for (id, book) in self.exposure.others(&self.facts.instrument.instrument_id) {
            if let Some(mark) = self.marks.get(id) {
                others = others.checked_add(book.tied_up(mark, margin)?)?;
            }
        }
        let figure = others.checked_add(after.tied_up(mark, margin)?)?;
        Ok(Sized {
            name: "buying_power",
            reason: Reason::InsufficientBuyingPower,
            held: Held { figure, limit: self.cash },
            unit: &self.facts.account.currency,
            // What ties up nothing more needs no cash.
            passed: figure <= self.cash || figure <= others.checked_add(before.tied_up(mark, margin)?)?,
            scored: true,
        })
    }
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
