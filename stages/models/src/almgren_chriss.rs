//! Optimal execution after Almgren and Chriss, "Optimal Execution of Portfolio Transactions", 2000.
//!
//! An order of X units is worked in N intervals of length tau (days). Of x_k units left after interval k, with n_k = x_(k-1) - x_k:
//! expected cost E = gamma X^2 / 2 + eps sum |n_k| + (eta~ / tau) sum n_k^2, variance V = sigma^2 tau sum x_k^2, where
//! eta~ = eta - gamma tau / 2. The trajectory that makes E + lambda V least (their section 2) is
//! x_k = X sinh(kappa (T - t_k)) / sinh(kappa T) with cosh(kappa tau) = 1 + lambda sigma^2 tau^2 / (2 eta~).
//!
//! Where nothing better was measured, the parameters come from their section 3.4: a fixed cost of half the spread, a temporary impact of
//! one spread for each 1 % of the daily volume traded in a day, a permanent impact of one spread for each 10 %.

use fillstream_domain::{Bps, NumberError, Price, Quantity, Ratio};

use crate::exact::{Figure, bps, figure, ratio};

/// Share of the daily volume whose trading moves the price by a spread for a moment.
const TEMPORARY_SHARE: f64 = 0.01;
/// Share of the daily volume whose trading moves the price by a spread for good.
const PERMANENT_SHARE: f64 = 0.1;

/// What is known of an instrument's market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// Mid price, quote currency a unit.
    pub price: Price,
    /// Ask less bid, quote currency a unit.
    pub spread: Price,
    /// Average daily volume, units.
    pub adv: Quantity,
    /// Volatility of a day's return, as a fraction.
    pub daily_sigma: Ratio,
    /// Length of a trading day, microseconds.
    pub day_us: i64,
}

/// Why the model has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// A figure that must be above zero is not.
    #[error("{name} is not above zero")]
    NotPositive {
        /// Which.
        name: &'static str,
    },
    /// The intervals are so long that eta - gamma tau / 2 is not above zero.
    #[error("the intervals are too long for the temporary impact")]
    TooCoarse,
    /// The result does not fit its type.
    #[error("model figure: {0}")]
    Number(#[from] NumberError),
}

/// Cost of a trajectory, basis points of quantity x price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Expected cost.
    pub expected: Bps,
    /// Standard deviation of the cost.
    pub risk: Bps,
    /// Part of the expected cost that impact makes, without the spread.
    pub impact: Bps,
}

/// The model of one instrument.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    price: f64,
    sigma: f64,
    eps: f64,
    gamma: f64,
    eta: f64,
    day_us: f64,
}

impl Model {
    /// The model from the published rules of thumb.
    ///
    /// # Errors
    /// A price, volume, volatility or day that is not above zero, or a spread below zero.
    pub fn new(c: &Calibration) -> Result<Self, ModelError> {
        let price = positive("price", c.price)?;
        let adv = positive("adv", c.adv)?;
        let sigma = positive("daily_sigma", c.daily_sigma)? * price;
        let spread = figure(c.spread);
        if spread < 0.0 {
            return Err(ModelError::NotPositive { name: "spread" });
        }
        if c.day_us <= 0 {
            return Err(ModelError::NotPositive { name: "day_us" });
        }
        Ok(Self {
            price,
            sigma,
            eps: spread / 2.0,
            gamma: spread / (PERMANENT_SHARE * adv),
            eta: spread / (TEMPORARY_SHARE * adv),
            day_us: c.day_us as f64,
        })
    }

    /// The share of an order that is traded after each of `slots` intervals of equal length; the last is exactly 1.
    ///
    /// `risk_aversion` is lambda, one over a unit of the quote currency. Zero gives equal slices.
    ///
    /// # Errors
    /// A horizon or number of slots that is not above zero, or [`ModelError::TooCoarse`].
    pub fn trajectory(&self, horizon_us: i64, slots: i32, risk_aversion: Ratio) -> Result<Vec<Ratio>, ModelError> {
        let tau = self.tau(horizon_us, slots)?;
        let kappa_tau = self.kappa_tau(tau, figure(risk_aversion))?;
        let mut traded = Vec::with_capacity(usize::try_from(slots).unwrap_or_default());
        for k in 1..slots {
            traded.push(ratio(1.0 - left(kappa_tau, k, slots))?);
        }
        traded.push(Ratio::ONE);
        Ok(traded)
    }

    /// Expected cost and risk of an order that is traded by these shares, each after an interval of equal length.
    ///
    /// # Errors
    /// A quantity or horizon that is not above zero, no shares, or [`ModelError::TooCoarse`].
    pub fn cost(&self, quantity: Quantity, horizon_us: i64, traded: &[Ratio]) -> Result<Cost, ModelError> {
        let x = positive("quantity", quantity)?;
        let slots = i32::try_from(traded.len()).map_err(|_| ModelError::NotPositive { name: "slots" })?;
        let tau = self.tau(horizon_us, slots)?;
        let (expected, variance) = self.moments(x, tau, traded.iter().map(|share| x * (1.0 - figure(*share))))?;
        let value = x * self.price;
        let in_bps = |money: f64| bps(money / value * 10_000.0).map_err(ModelError::from);
        Ok(Cost {
            expected: in_bps(expected)?,
            risk: in_bps(libm::sqrt(variance))?,
            impact: in_bps(expected - self.eps * x)?,
        })
    }

    /// Length of an interval, days.
    fn tau(&self, horizon_us: i64, slots: i32) -> Result<f64, ModelError> {
        if horizon_us <= 0 {
            return Err(ModelError::NotPositive { name: "horizon" });
        }
        if slots <= 0 {
            return Err(ModelError::NotPositive { name: "slots" });
        }
        Ok(horizon_us as f64 / self.day_us / f64::from(slots))
    }

    fn eta_tilde(&self, tau: f64) -> f64 {
        self.eta - self.gamma * tau / 2.0
    }

    fn kappa_tau(&self, tau: f64, lambda: f64) -> Result<f64, ModelError> {
        if lambda <= 0.0 || self.eta == 0.0 {
            return Ok(0.0);
        }
        let eta_tilde = self.eta_tilde(tau);
        if eta_tilde <= 0.0 {
            return Err(ModelError::TooCoarse);
        }
        // acosh(1 + c) = 2 asinh(sqrt(c / 2)): no digits are lost where c is small.
        let c = lambda * self.sigma * self.sigma * tau * tau / (2.0 * eta_tilde);
        Ok(2.0 * libm::asinh(libm::sqrt(c / 2.0)))
    }

    /// Expected cost and variance, quote currency and its square.
    fn moments(&self, x: f64, tau: f64, left: impl Iterator<Item = f64>) -> Result<(f64, f64), ModelError> {
        let eta_tilde = self.eta_tilde(tau);
        if eta_tilde < 0.0 {
            return Err(ModelError::TooCoarse);
        }
        let (mut before, mut traded, mut squares, mut held) = (x, 0.0, 0.0, 0.0);
        for after in left {
            let n = before - after;
            traded += libm::fabs(n);
            squares += n * n;
            held += after * after;
            before = after;
        }
        let expected = self.gamma * x * x / 2.0 + self.eps * traded + eta_tilde / tau * squares;
        Ok((expected, self.sigma * self.sigma * tau * held))
    }
}

/// Share that is left after `k` of `slots` intervals: sinh(kappa (T - t_k)) / sinh(kappa T), without its overflow.
fn left(kappa_tau: f64, k: i32, slots: i32) -> f64 {
    let rest = f64::from(slots - k);
    if kappa_tau <= 1e-9 {
        return rest / f64::from(slots);
    }
    let (a, b) = (kappa_tau * rest, kappa_tau * f64::from(slots));
    libm::exp(a - b) * libm::expm1(-2.0 * a) / libm::expm1(-2.0 * b)
}

fn positive<T: Figure>(name: &'static str, value: T) -> Result<f64, ModelError> {
    let value = figure(value);
    if value > 0.0 { Ok(value) } else { Err(ModelError::NotPositive { name }) }
}

/// Probability that a driftless Brownian mid reaches a price `distance` away (basis points) within a time: the reflection
/// principle, 2 (1 - Phi(d / (sigma sqrt T))).
///
/// # Errors
/// A volatility, day or horizon that is not above zero.
pub fn reach_probability(distance: Bps, daily_sigma: Ratio, horizon_us: i64, day_us: i64) -> Result<Ratio, ModelError> {
    let sigma = positive("daily_sigma", daily_sigma)?;
    if horizon_us <= 0 || day_us <= 0 {
        return Err(ModelError::NotPositive { name: "horizon" });
    }
    let days = horizon_us as f64 / day_us as f64;
    let away = (figure(distance) / 10_000.0).max(0.0) / (sigma * libm::sqrt(days));
    Ok(ratio(libm::erfc(away / core::f64::consts::SQRT_2))?)
}

/// Standard deviation of the mid's move over a time, basis points.
///
/// # Errors
/// A volatility, day or horizon that is not above zero.
pub fn move_risk(daily_sigma: Ratio, horizon_us: i64, day_us: i64) -> Result<Bps, ModelError> {
    let sigma = positive("daily_sigma", daily_sigma)?;
    if horizon_us <= 0 || day_us <= 0 {
        return Err(ModelError::NotPositive { name: "horizon" });
    }
    Ok(bps(sigma * libm::sqrt(horizon_us as f64 / day_us as f64) * 10_000.0)?)
}

#[cfg(test)]
mod tests {
    use fillstream_domain::Quantity;
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400_000_000;

    /// Their section 3.4: price 50, spread 1/8, 5 million shares a day, sigma 0.95 a day.
    fn published() -> Model {
        Model::new(&Calibration {
            price: "50".parse().unwrap(),
            spread: "0.125".parse().unwrap(),
            adv: Quantity::from_int(5_000_000).unwrap(),
            daily_sigma: "0.019".parse().unwrap(),
            day_us: DAY,
        })
        .unwrap()
    }

    fn close(actual: f64, expected: f64, digits: f64) {
        assert!((actual - expected).abs() <= digits, "{actual} is not {expected}");
    }

    #[test]
    fn the_published_calibration() {
        let m = published();
        close(m.eps, 0.0625, 1e-15);
        close(m.gamma, 2.5e-7, 1e-20);
        close(m.eta, 2.5e-6, 1e-19);
        close(m.sigma, 0.95, 1e-15);
    }

    #[test]
    fn the_published_example_without_risk_aversion() {
        let m = published();
        let shares = m.trajectory(5 * DAY, 5, Ratio::ZERO).unwrap();
        assert_eq!(shares, ["0.2", "0.4", "0.6", "0.8", "1"].map(|s| s.parse().unwrap()));
        let (e, v) = m.moments(1e6, 1.0, [8e5, 6e5, 4e5, 2e5, 0.0].into_iter()).unwrap();
        close(e, 662_500.0, 1e-6);
        close(v, 1.083e12, 1.0);
        let cost = m.cost(Quantity::from_int(1_000_000).unwrap(), 5 * DAY, &shares).unwrap();
        // 662,500 and 1,040,673 (the root of 1.083e12) of 50,000,000.
        assert_eq!(cost.expected, "132.5".parse().unwrap());
        assert_eq!(cost.risk, "208.134572".parse().unwrap());
        assert_eq!(cost.impact, "120".parse().unwrap());
    }

    #[test]
    fn the_published_example_with_risk_aversion() {
        let m = published();
        let kappa_tau = m.kappa_tau(1.0, 1e-6).unwrap();
        let x: Vec<f64> = (1..=5).map(|k| 1e6 * left(kappa_tau, k, 5)).collect();
        for (x, expected) in x.iter().zip([541_955.55, 289_854.22, 147_897.49, 62_141.80, 0.0]) {
            close(*x, expected, 0.005);
        }
        let (e, v) = m.moments(1e6, 1.0, x.into_iter()).unwrap();
        close(e, 911_226.99, 0.005);
        close(v / 1e11, 3.641_286, 0.000_000_5);
        let shares = m.trajectory(5 * DAY, 5, "0.000001".parse().unwrap()).unwrap();
        assert_eq!(shares.first().unwrap().to_string(), "0.458044446");
    }

    #[test]
    fn what_the_model_cannot_tell_is_an_error() {
        let c = Calibration {
            price: Price::ONE,
            spread: Price::ZERO,
            adv: Quantity::ZERO,
            daily_sigma: Ratio::ONE,
            day_us: DAY,
        };
        assert_eq!(Model::new(&c).unwrap_err(), ModelError::NotPositive { name: "adv" });
        let m = published();
        assert_eq!(m.trajectory(0, 5, Ratio::ONE).unwrap_err(), ModelError::NotPositive { name: "horizon" });
        assert_eq!(m.trajectory(DAY, 0, Ratio::ONE).unwrap_err(), ModelError::NotPositive { name: "slots" });
        assert_eq!(m.trajectory(25 * DAY, 1, Ratio::ONE).unwrap_err(), ModelError::TooCoarse);
        let none = m.cost(Quantity::ONE, DAY, &[]).unwrap_err();
        assert_eq!(none, ModelError::NotPositive { name: "slots" });
    }

    #[test]
    fn a_price_is_reached_as_the_reflection_principle_says() {
        let sigma = "0.01".parse().unwrap();
        let p = |bps: &str, days| reach_probability(bps.parse().unwrap(), sigma, days * DAY, DAY).unwrap();
        assert_eq!(p("0", 1), Ratio::ONE);
        // One standard deviation: 2 (1 - Phi(1)) = 0.3173105.
        assert_eq!(p("100", 1), "0.317310508".parse().unwrap());
        assert_eq!(p("200", 4), "0.317310508".parse().unwrap());
        assert_eq!(move_risk(sigma, 4 * DAY, DAY).unwrap(), "200".parse().unwrap());
    }

    proptest! {
        /// Shares rise to exactly 1, the more averse to risk the sooner, and cost more and risk less.
        #[test]
        fn trajectories_rise_and_trade_cost_for_risk(slots in 1_i32..60, micro in 0_i64..50, more in 1_i64..50, minutes in 1_i64..600) {
            let m = published();
            let lambda = |n: i64| Ratio::from_unscaled(i128::from(n) * 1_000).unwrap();
            let at = |n| m.trajectory(minutes * 60_000_000, slots, lambda(n)).unwrap();
            let (patient, hasty) = (at(micro), at(micro + more));
            prop_assert_eq!(patient.last().copied(), Some(Ratio::ONE));
            prop_assert!(patient.windows(2).all(|w| w[0] <= w[1]));
            prop_assert!(patient.iter().zip(&hasty).all(|(p, h)| p <= h));
            let q = Quantity::from_int(100_000).unwrap();
            let cost = |shares: &[Ratio]| m.cost(q, minutes * 60_000_000, shares).unwrap();
            let (p, h) = (cost(&patient), cost(&hasty));
            prop_assert!(p.expected <= h.expected && p.risk >= h.risk);
        }
    }
}
