//! Implementation shortfall (Perold 1988), split so that the parts add up to the last digit.
//!
//! With side = +1 for buys and -1 for sells, Q ordered, q filled at P̄ on average, Pd the decision price, Pa the mid at
//! arrival, B the market's price over the execution interval, Pc the close:
//!
//! ```text
//! delay       = side (Pa - Pd) q
//! timing      = side (B  - Pa) q     \ trading = side (P̄ - Pa) q, where there is no B
//! impact      = side (P̄  - B ) q     /
//! opportunity = side (Pc - Pd) (Q - q)
//! total       = side (P̄ - Pd) q + opportunity + fees        what a paper portfolio at Pd would not have paid
//! ```
//!
//! Wagner's split (delay on all of Q, opportunity from Pa) has the same total. An overfill (q > Q) needs no rule of its
//! own: the excess was bought at P̄ and is worth Pc, which a negative Q - q says.
//!
//! **Rounding.** P̄ q is the exact sum of price x quantity, so every line is an exact integer of 10^-20 money units. The
//! total, delay, timing and opportunity are each rounded once, half-even, to the 8 digits of money; trading is what the
//! total leaves after delay, opportunity and fees, impact what trading leaves after timing. So both sums hold exactly,
//! the total is Perold's, and trading and impact are at most 2 units of 10^-8 from their own formulas. With nothing
//! filled every filled part is exactly zero.

use fillstream_domain::{AvgPrice, Bps, Money, NumberError, PriceQuantitySum, Quantity, Rounding, Side, mul_div_i128};
use fillstream_schemas::execution::CostBreakdown;

/// Units of 10^-20 (12 digits of price, 8 of quantity, or 16 of their product and 4) in one unit of a product sum.
const EXACT_PER_PRODUCT: i128 = 10_000;
/// Units of 10^-20, times units of a multiplier (10^-8), in one unit of money (10^-8).
const EXACT_PER_MONEY: i128 = 100_000_000_000_000_000_000;
/// Units of [`Bps`] in a whole: 10^4 basis points of 10^6 units.
const BPS_PER_WHOLE: i128 = 10_000_000_000;

/// What an order was to do and what became of it. Prices in quote currency a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Side.
    pub side: Side,
    /// Q, units.
    pub ordered: Quantity,
    /// All fills, an overfill included: q, and the exact P̄ q.
    pub filled: PriceQuantitySum,
    /// Units of base a quantity of 1 stands for: amounts are price x quantity x multiplier.
    pub multiplier: Quantity,
    /// Pd.
    pub decision: AvgPrice,
    /// Pa.
    pub arrival: AvgPrice,
    /// B; `None`: timing and impact cannot be told apart.
    pub benchmark: Option<AvgPrice>,
    /// Pc.
    pub close: AvgPrice,
    /// Fees, quote currency, signed: positive is a cost.
    pub fees: Money,
}

/// An amount of money in units of 10^-20, exact, before the multiplier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exact(i128);

impl Exact {
    fn product(px: i128, qty: i128) -> Result<Self, NumberError> {
        px.checked_mul(qty).map(Self).ok_or(NumberError::Overflow)
    }

    fn filled(filled: &PriceQuantitySum) -> Result<Self, NumberError> {
        filled.product_e16().checked_mul(EXACT_PER_PRODUCT).map(Self).ok_or(NumberError::Overflow)
    }

    fn plus(self, other: Self) -> Result<Self, NumberError> {
        self.0.checked_add(other.0).map(Self).ok_or(NumberError::Overflow)
    }

    fn minus(self, other: Self) -> Result<Self, NumberError> {
        self.0.checked_sub(other.0).map(Self).ok_or(NumberError::Overflow)
    }

    fn signed(self, side: Side) -> Self {
        if side.is_buy() { self } else { Self(-self.0) }
    }

    fn money(self, multiplier: Quantity) -> Result<Money, NumberError> {
        mul_div_i128(self.0, multiplier.unscaled(), EXACT_PER_MONEY, Rounding::HalfEven).and_then(Money::from_unscaled)
    }
}

impl Execution {
    /// q, units.
    #[must_use]
    pub fn filled_qty(&self) -> Quantity {
        self.filled.quantity()
    }

    /// side (to - from) x quantity, exact.
    fn move_cost(&self, from: AvgPrice, to: AvgPrice, qty: i128) -> Result<Exact, NumberError> {
        Exact::product(to.unscaled() - from.unscaled(), qty).map(|cost| cost.signed(self.side))
    }

    /// side (P̄ - from) q, exact.
    fn fill_cost(&self, from: AvgPrice) -> Result<Exact, NumberError> {
        let at = Exact::product(from.unscaled(), self.filled_qty().unscaled())?;
        Ok(Exact::filled(&self.filled)?.minus(at)?.signed(self.side))
    }

    /// Q - q, below zero after an overfill.
    fn unfilled(&self) -> i128 {
        self.ordered.unscaled() - self.filled_qty().unscaled()
    }

    /// The components; see the module.
    ///
    /// # Errors
    /// An amount out of range.
    pub fn costs(&self) -> Result<CostBreakdown, NumberError> {
        let money = |exact: Exact| exact.money(self.multiplier);
        let q = self.filled_qty().unscaled();
        let missed = self.move_cost(self.decision, self.close, self.unfilled())?;
        let total_cost = money(self.fill_cost(self.decision)?.plus(missed)?)?.checked_add(self.fees)?;
        let delay_cost = money(self.move_cost(self.decision, self.arrival, q)?)?;
        let opportunity_cost = money(missed)?;
        let trading_cost = total_cost.checked_sub(delay_cost)?.checked_sub(opportunity_cost)?.checked_sub(self.fees)?;
        let (timing_cost, market_impact) = match self.benchmark {
            _ if q == 0 => (Some(Money::ZERO), Some(Money::ZERO)),
            Some(benchmark) => {
                let timing = money(self.move_cost(self.arrival, benchmark, q)?)?;
                (Some(timing), Some(trading_cost.checked_sub(timing)?))
            }
            None => (None, None),
        };
        let costs = CostBreakdown {
            delay_cost,
            timing_cost,
            market_impact,
            trading_cost,
            opportunity_cost,
            fees: self.fees,
            total_cost,
        };
        debug_assert!(components_add_up(&costs), "{costs:?}");
        Ok(costs)
    }

    /// Pd x Q: what costs are basis points of. The amount without its sign, where prices may be negative.
    ///
    /// # Errors
    /// Out of range.
    pub fn decided_value(&self) -> Result<Money, NumberError> {
        Exact::product(self.decision.unscaled(), self.ordered.unscaled())?.money(self.multiplier).map(Money::abs)
    }

    /// P̄ x q without its sign: what fees are judged by.
    ///
    /// # Errors
    /// Out of range.
    pub fn filled_value(&self) -> Result<Money, NumberError> {
        Exact::filled(&self.filled)?.money(self.multiplier).map(Money::abs)
    }

    /// side (mid - Pa) q: what starting late had cost; in no sum.
    ///
    /// # Errors
    /// Out of range.
    pub fn start_cost(&self, first_child_mid: AvgPrice) -> Result<Money, NumberError> {
        self.move_cost(self.arrival, first_child_mid, self.filled_qty().unscaled())?.money(self.multiplier)
    }

    /// side (Pc - P̄) q: where the price went afterwards; in no sum.
    ///
    /// # Errors
    /// Out of range.
    pub fn post_trade_drift(&self) -> Result<Money, NumberError> {
        self.fill_cost(self.close).map(|cost| Exact(-cost.0))?.money(self.multiplier)
    }

    /// side x (P̄ / benchmark - 1) in basis points, from the exact P̄; `None` when nothing was filled or the benchmark
    /// is not above zero.
    ///
    /// # Errors
    /// Out of range.
    pub fn difference_bps(&self, benchmark: AvgPrice) -> Result<Option<Bps>, NumberError> {
        if self.filled_qty().is_zero() || !benchmark.is_positive() {
            return Ok(None);
        }
        let base = Exact::product(benchmark.unscaled(), self.filled_qty().unscaled())?;
        let cost = self.fill_cost(benchmark)?;
        mul_div_i128(cost.0, BPS_PER_WHOLE, base.0, Rounding::HalfEven).and_then(Bps::from_unscaled).map(Some)
    }

    /// The opportunity cost at the horizon's end, side (horizon - Pd)(Q - q), as (limit_away, not_reached): what arose
    /// while the price was beyond the limit, where nothing could fill, and what arose where it could have.
    ///
    /// A price costs what it costs up to the limit, plus what it is beyond it; each part is the difference of the two
    /// prices' parts, so they add up exactly wherever the decision price stands.
    ///
    /// # Errors
    /// Out of range.
    pub fn split_by_limit(&self, limit: AvgPrice, horizon: AvgPrice) -> Result<(Money, Money), NumberError> {
        let signed = |px: AvgPrice| if self.side.is_buy() { px.unscaled() } else { -px.unscaled() };
        let beyond = |px: AvgPrice| (signed(px) - signed(limit)).max(0);
        let left = self.unfilled().max(0);
        let away = Exact::product(beyond(horizon) - beyond(self.decision), left)?.money(self.multiplier)?;
        let whole = self.move_cost(self.decision, horizon, left)?.money(self.multiplier)?;
        Ok((away, whole.checked_sub(away)?))
    }
}

/// Invariant: delay + trading + opportunity + fees = total, and timing + impact = trading where they are told apart.
#[must_use]
pub fn components_add_up(costs: &CostBreakdown) -> bool {
    let whole = Money::sum([costs.delay_cost, costs.trading_cost, costs.opportunity_cost, costs.fees]);
    let parts = match (costs.timing_cost, costs.market_impact) {
        (Some(timing), Some(impact)) => timing.checked_add(impact) == Ok(costs.trading_cost),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    whole == Ok(costs.total_cost) && parts
}
