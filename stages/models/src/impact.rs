//! Market impact after Almgren, Thum, Hauptmann and Li, "Direct Estimation of Equity Market Impact", 2005, and the square-root law.
//!
//! [`almgren_2005`] is for equities: permanent impact `I = gamma sigma (X/V) (Theta/V)^(1/4)`, temporary impact
//! `K = eta sigma (X/(V T))^(3/5)`, expected cost `J = I/2 + K`, with `gamma = 0.314`, `eta = 0.142` (the paper's section 4).
//! It was fitted on orders of up to some 10 % of the daily volume; beyond that it extrapolates.
//!
//! [`square_root`] is `Y sigma sqrt(Q/V)` with `Y` about 1, for everything else (Toth, Lemperiere, Deremble, de Lataillade,
//! Kockelkoren and Bouchaud, "Anomalous Price Impact and the Critical Nature of Liquidity in Financial Markets", 2011).

use fillstream_domain::{Bps, NumberError, Quantity, Ratio};

/// Coefficient of permanent impact.
const GAMMA: f64 = 0.314;
/// Coefficient of temporary impact.
const ETA: f64 = 0.142;
/// Exponent of temporary impact.
const BETA: f64 = 0.6;
/// Exponent of the inverse turnover in permanent impact.
const DELTA: f64 = 0.25;

/// An order and the market that it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    /// Quantity of the order, units.
    pub quantity: Quantity,
    /// Average daily volume, units.
    pub adv: Quantity,
    /// Daily volatility of returns, as a fraction.
    pub daily_sigma: Ratio,
}

/// What an order is expected to do to the price, in basis points of it; above zero is a cost, whatever the side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Impact {
    /// What remains after the order.
    pub permanent: Bps,
    /// What is paid beyond it and does not remain.
    pub temporary: Bps,
    /// Expected cost of the order: half of the permanent impact and the temporary one.
    pub cost: Bps,
}

/// Why there is no estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImpactError {
    /// An input must be above zero.
    #[error("{name} is not above zero")]
    NotPositive {
        /// Which.
        name: &'static str,
    },
    /// The estimate is beyond what basis points hold.
    #[error("impact: {0}")]
    Number(#[from] NumberError),
}

/// The impact of an equity order worked evenly over `days` trading days.
///
/// # Errors
/// An input is not above zero; the estimate is out of range.
pub fn almgren_2005(trade: &Trade, shares_outstanding: Quantity, days: Ratio) -> Result<Impact, ImpactError> {
    let (participation, adv) = trade.participation()?;
    let sigma = positive("daily_sigma", ratio(trade.daily_sigma))?;
    let shares = positive("shares_outstanding", units(shares_outstanding))?;
    let days = positive("days", ratio(days))?;
    let permanent = GAMMA * sigma * participation * libm::pow(shares / adv, DELTA);
    let temporary = ETA * sigma * libm::pow(participation / days, BETA);
    Ok(Impact { permanent: bps(permanent)?, temporary: bps(temporary)?, cost: bps(permanent / 2.0 + temporary)? })
}

/// The impact of any order: `y` times the volatility times the square root of its share of the daily volume.
///
/// # Errors
/// An input is not above zero; the estimate is out of range.
pub fn square_root(trade: &Trade, y: Ratio) -> Result<Bps, ImpactError> {
    let (participation, _) = trade.participation()?;
    let sigma = positive("daily_sigma", ratio(trade.daily_sigma))?;
    let y = positive("y", ratio(y))?;
    bps(y * sigma * libm::sqrt(participation))
}

impl Trade {
    // Share of the daily volume, and the volume.
    fn participation(&self) -> Result<(f64, f64), ImpactError> {
        let quantity = positive("quantity", units(self.quantity))?;
        let adv = positive("adv", units(self.adv))?;
        Ok((quantity / adv, adv))
    }
}

fn positive(name: &'static str, value: f64) -> Result<f64, ImpactError> {
    if value > 0.0 { Ok(value) } else { Err(ImpactError::NotPositive { name }) }
}

// Up to 28 digits in 53 bits: rounded once, to the nearest.
fn units(quantity: Quantity) -> f64 {
    quantity.unscaled() as f64 / Quantity::ONE.unscaled() as f64
}

fn ratio(ratio: Ratio) -> f64 {
    ratio.unscaled() as f64 / Ratio::ONE.unscaled() as f64
}

// A fraction as basis points of 6 digits. What is no number, or beyond 128 bits, becomes a value out of range.
fn bps(fraction: f64) -> Result<Bps, ImpactError> {
    let steps = libm::round(fraction * 10_000.0 * Bps::ONE.unscaled() as f64);
    if steps.is_finite() {
        return Ok(Bps::from_unscaled(steps as i128)?);
    }
    Err(ImpactError::Number(NumberError::OutOfRange { name: "Bps" }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn num<T: std::str::FromStr>(text: &str) -> T
    where
        T::Err: std::fmt::Debug,
    {
        text.parse().unwrap()
    }

    /// IBM in the paper's table 3: 10 % of the daily volume.
    fn ibm() -> Trade {
        Trade { quantity: num("656100"), adv: num("6561000"), daily_sigma: num("0.0157") }
    }

    fn shares() -> Quantity {
        num("1728000000")
    }

    #[test]
    fn rule_17_the_published_ibm_numbers_are_reproduced() {
        for (days, temporary, cost) in [("0.1", 22, 32), ("0.2", 15, 25), ("0.5", 8, 18)] {
            let impact = almgren_2005(&ibm(), shares(), num(days)).unwrap();
            let whole = |bps: Bps| libm::round(bps.unscaled() as f64 / Bps::ONE.unscaled() as f64) as i64;
            assert_eq!((whole(impact.temporary), whole(impact.cost)), (temporary, cost), "T = {days}");
            // The paper prints 19.86 basis points as 20.
            assert!((num::<Bps>("19.855")..num::<Bps>("19.865")).contains(&impact.permanent), "{}", impact.permanent);
        }
    }

    #[test]
    fn rule_17_the_square_root_law_is_volatility_times_the_root_of_the_share() {
        assert_eq!(square_root(&ibm(), Ratio::ONE).unwrap(), num("49.647759"));
        let one = Trade { quantity: num("6561000"), ..ibm() };
        assert_eq!(square_root(&one, num("0.5")).unwrap(), num("78.5"), "the whole day's volume costs Y sigma");
    }

    #[test]
    fn what_is_missing_is_refused_by_name_and_never_zero() {
        let refused = |trade: Trade, shares: Quantity, days: Ratio| almgren_2005(&trade, shares, days).unwrap_err();
        let not = |name| ImpactError::NotPositive { name };
        let day = Ratio::ONE;
        assert_eq!(refused(Trade { quantity: Quantity::ZERO, ..ibm() }, shares(), day), not("quantity"));
        assert_eq!(refused(Trade { adv: Quantity::ZERO, ..ibm() }, shares(), day), not("adv"));
        assert_eq!(refused(Trade { daily_sigma: Ratio::ZERO, ..ibm() }, shares(), day), not("daily_sigma"));
        assert_eq!(refused(ibm(), Quantity::ZERO, day), not("shares_outstanding"));
        assert_eq!(refused(ibm(), shares(), -day), not("days"));
        assert_eq!(square_root(&ibm(), Ratio::ZERO), Err(not("y")));
        let huge = Trade { quantity: Quantity::MAX, adv: Quantity::SMALLEST_STEP, ..ibm() };
        assert!(matches!(almgren_2005(&huge, shares(), day), Err(ImpactError::Number(_))));
    }

    proptest! {
        #[test]
        fn more_costs_more_and_more_time_costs_less(quantity in 1_i64..1_000_000, more in 1_i64..1_000_000, days in 1_i128..10) {
            let day = |n: i128| Ratio::from_unscaled(n * 100_000_000).unwrap();
            let of = |quantity: i64, days| {
                let trade = Trade { quantity: Quantity::from_int(quantity).unwrap(), ..ibm() };
                almgren_2005(&trade, shares(), day(days)).unwrap()
            };
            let (small, large, slow) = (of(quantity, days), of(quantity + more, days), of(quantity, days + 1));
            prop_assert!(small.cost <= large.cost && small.permanent <= large.permanent);
            prop_assert!(slow.temporary <= small.temporary && slow.permanent == small.permanent);
        }
    }
}
