//! VWAP: slots in proportion to the volume expected in them.
//!
//! The curve is learned from earlier sessions where the market table still holds them with enough prints: their volume in the order's
//! hours, slot by slot. Otherwise a shipped one: flat for crypto and FX, a U for the others. The U is the parabola over the session
//! whose density is 1 + 2a at both ends and 1 - a in the middle: the well-known shape of intraday volume (Jain and Joh, "The
//! Dependence between Hourly Prices and Trading Volume", 1988), with its depth a in the configuration.

use fillstream_domain::{AssetClass, NumberError, Quantity, Ratio, Rounding, TimestampMicros, mul_div_i128};

use crate::config::Algorithms;
use crate::view::View;

const DAY_US: i64 = 86_400_000_000;

/// Where a volume curve comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    /// Equal slots.
    Flat,
    /// The shipped U.
    UShape,
    /// Earlier sessions.
    Learned,
}

impl Curve {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Flat => "FLAT",
            Self::UShape => "U_SHAPE",
            Self::Learned => "LEARNED",
        }
    }
}

/// When the slots of an order lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slots {
    pub starts_at: TimestampMicros,
    pub count: i32,
    pub interval_us: i64,
}

impl Slots {
    // The end of slot `k`; 0 is the start.
    fn end(&self, k: i32) -> i64 {
        self.starts_at.micros().saturating_add(self.interval_us.saturating_mul(i64::from(k)))
    }
}

/// Share of the order released by each slot, and where the curve comes from. Empty: equal slots.
///
/// # Errors
/// Out of range.
pub(crate) fn targets(view: &View<'_>, slots: &Slots, config: &Algorithms) -> Result<(Vec<Ratio>, Curve), NumberError> {
    if let Some(volumes) = learned(view, slots, config)? {
        return Ok((shares(&volumes)?, Curve::Learned));
    }
    let session = view.data.and_then(|data| data.sessions(view.instrument_id).ok());
    let session = session.and_then(|sessions| sessions.session_at_or_after(slots.starts_at).ok());
    let class = view.instrument().map_or(AssetClass::Crypto, |i| i.asset_class);
    let (Some(session), true) = (session, is_u(class)) else { return Ok((Vec::new(), Curve::Flat)) };
    let (open, close) = (session.open.micros(), session.close.micros());
    let cumulated: Result<Vec<i128>, NumberError> = (0..=slots.count)
        .map(|k| u_curve(slots.end(k).clamp(open, close), (open, close), config.vwap_u_depth))
        .collect();
    let cumulated = cumulated?;
    let first = cumulated.first().copied().unwrap_or_default();
    let volumes: Vec<i128> = cumulated.iter().skip(1).map(|c| c.saturating_sub(first)).collect();
    Ok((shares(&volumes)?, Curve::UShape))
}

const fn is_u(class: AssetClass) -> bool {
    match class {
        AssetClass::Crypto | AssetClass::Fx => false,
        AssetClass::Equity | AssetClass::Etf | AssetClass::Future | AssetClass::Option | AssetClass::Bond => true,
    }
}

/// Share of a session's volume before a moment, in billionths: with u the share of time, u + a (((2u - 1)^3 + 1) / 2 - u).
fn u_curve(at: i64, (open, close): (i64, i64), depth: Ratio) -> Result<i128, NumberError> {
    let one = Ratio::ONE.unscaled();
    let length = i128::from(close.saturating_sub(open).max(1));
    let u = mul_div_i128(i128::from(at.saturating_sub(open)), one, length, Rounding::HalfEven)?;
    let centred = u.saturating_mul(2).saturating_sub(one);
    let square = mul_div_i128(centred, centred, one, Rounding::HalfEven)?;
    let cube = mul_div_i128(square, centred, one, Rounding::HalfEven)?;
    let bend = cube.saturating_add(one) / 2 - u;
    Ok(u.saturating_add(mul_div_i128(depth.unscaled(), bend, one, Rounding::HalfEven)?))
}

/// Volume up to the end of each slot, summed over the earlier sessions that are held with enough prints.
fn learned(view: &View<'_>, slots: &Slots, config: &Algorithms) -> Result<Option<Vec<i128>>, NumberError> {
    let Some(market) = view.market else { return Ok(None) };
    let mut sums: Option<Vec<i128>> = None;
    for day in 1..=config.vwap_history_days {
        let back = |micros: i64| TimestampMicros::from_micros(micros.saturating_sub(day.saturating_mul(DAY_US)));
        let start = back(slots.end(0));
        let in_slot = |k| market.between(view.instrument_id, view.venue, start, back(slots.end(k)));
        let Ok(whole) = in_slot(slots.count) else { continue };
        if whole.prints < config.vwap_min_prints {
            continue;
        }
        let volumes: Option<Vec<Quantity>> = (1..=slots.count).map(|k| in_slot(k).ok().map(|i| i.volume)).collect();
        let Some(volumes) = volumes else { continue };
        let sums = sums.get_or_insert_with(|| vec![0; volumes.len()]);
        for (sum, volume) in sums.iter_mut().zip(&volumes) {
            *sum = sum.checked_add(volume.unscaled()).ok_or(NumberError::Overflow)?;
        }
    }
    Ok(sums)
}

/// Cumulated volumes as shares of the last; empty where there is none.
fn shares(cumulated: &[i128]) -> Result<Vec<Ratio>, NumberError> {
    let Some(whole) = cumulated.last().copied().filter(|whole| *whole > 0) else { return Ok(Vec::new()) };
    let one = Ratio::ONE.unscaled();
    cumulated.iter().map(|c| mul_div_i128(*c, one, whole, Rounding::Floor).and_then(Ratio::from_unscaled)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_u_is_whole_symmetric_and_heavy_at_both_ends() {
        let at = |u: i64| u_curve(u, (0, 100), "0.6".parse().unwrap()).unwrap();
        assert_eq!((at(0), at(50), at(100)), (0, 500_000_000, 1_000_000_000));
        // 0.1 + 0.6 x ((1 - 0.512) / 2 - 0.1) = 0.1864 of the volume in the first tenth.
        assert_eq!(at(10), 186_400_000);
        assert_eq!(at(10) + at(90), 1_000_000_000);
        assert_eq!(u_curve(30, (0, 100), Ratio::ZERO).unwrap(), 300_000_000, "without depth it is flat");
    }

    #[test]
    fn shares_are_of_the_whole() {
        assert_eq!(shares(&[1, 3, 4]).unwrap(), ["0.25", "0.75", "1"].map(|s| s.parse().unwrap()));
        assert!(shares(&[0, 0]).unwrap().is_empty());
    }

    proptest! {
        /// More time is never less volume, at any depth.
        #[test]
        fn the_u_rises(a in 0_i64..=10_000, b in 0_i64..=10_000, depth in 0_i128..=1_000_000_000) {
            let depth = Ratio::from_unscaled(depth).unwrap();
            let at = |u| u_curve(u, (0, 10_000), depth).unwrap();
            // Each rounding is half a billionth.
            prop_assert!(at(a.min(b)) <= at(a.max(b)) + 4);
        }
    }
}
