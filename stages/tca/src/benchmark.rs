//! The market's price over the execution interval: trading rule 38.

use fillstream_domain::{AvgPrice, NumberError, Quantity, Rounding, mul_div_i128};
use fillstream_schemas::execution::BenchmarkBasis;
use fillstream_schemas::state::TcaInterval;

use crate::reason::Finding;

/// B, what it is made of, and what there is to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Benchmark {
    /// B; `None` with [`BenchmarkBasis::None`].
    pub price: Option<AvgPrice>,
    /// What it is made of.
    pub basis: BenchmarkBasis,
    /// Why not of something better.
    pub findings: Vec<Finding>,
}

/// The best basis there is: VWAP of at least `min_prints` prints, else the time-weighted mid, else the mid at the
/// fills, else none.
///
/// An interval that the market table refuses is none at once: what the better bases would have been is not known, and a
/// benchmark must not depend on how much a process remembers. `mid_at_fills` is asked only when it is needed; its error
/// is the cause.
pub fn choose(
    interval: Result<&TcaInterval, &'static str>,
    min_prints: i64,
    mid_at_fills: impl FnOnce() -> Result<AvgPrice, &'static str>,
) -> Benchmark {
    let none = |cause, mut findings: Vec<Finding>| {
        findings.push(Finding::BenchmarkMissing { cause });
        Benchmark { price: None, basis: BenchmarkBasis::None, findings }
    };
    let interval = match interval {
        Ok(interval) => interval,
        Err(cause) => return none(cause, Vec::new()),
    };
    let mut findings = Vec::new();
    if let Some(vwap) = interval.vwap {
        if interval.prints >= min_prints {
            return Benchmark { price: Some(vwap), basis: BenchmarkBasis::IntervalVwap, findings };
        }
        findings.push(Finding::FewPrints { prints: interval.prints, minimum: min_prints });
    }
    if let Some(twap) = interval.twap_mid {
        return Benchmark { price: Some(twap), basis: BenchmarkBasis::IntervalTwapMid, findings };
    }
    match mid_at_fills() {
        Ok(mid) => Benchmark { price: Some(mid), basis: BenchmarkBasis::MidAtFills, findings },
        Err(cause) => none(cause, findings),
    }
}

/// Mean of mids weighted by quantity, 12 digits half-even; `None` without quantity.
///
/// # Errors
/// Out of range.
pub fn weighted_mid(mids: &[(AvgPrice, Quantity)]) -> Result<Option<AvgPrice>, NumberError> {
    let (mut sum, mut weight) = (0_i128, 0_i128);
    for (mid, qty) in mids {
        let product = mid.unscaled().checked_mul(qty.unscaled()).ok_or(NumberError::Overflow)?;
        sum = sum.checked_add(product).ok_or(NumberError::Overflow)?;
        weight = weight.checked_add(qty.unscaled()).ok_or(NumberError::Overflow)?;
    }
    if weight == 0 {
        return Ok(None);
    }
    mul_div_i128(sum, 1, weight, Rounding::HalfEven).and_then(AvgPrice::from_unscaled).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(vwap: Option<&str>, prints: i64, twap: Option<&str>) -> TcaInterval {
        let px = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        TcaInterval { vwap: px(vwap), prints, twap_mid: px(twap), ..TcaInterval::default() }
    }

    /// Trading rule 38: VWAP of at least n prints, else time-weighted mid, else mid at the fills, else none.
    #[test]
    fn rule_38_each_basis_in_its_turn() {
        let at_fills = || Ok("9".parse().unwrap());
        let no_fills = || Err("NO_QUOTE");
        let cases = [
            (interval(Some("7"), 5, Some("8")), "7", BenchmarkBasis::IntervalVwap, ""),
            (interval(Some("7"), 4, Some("8")), "8", BenchmarkBasis::IntervalTwapMid, "FEW_PRINTS prints=4 minimum=5"),
            (interval(None, 0, Some("8")), "8", BenchmarkBasis::IntervalTwapMid, ""),
            // Many prints without volume make no VWAP.
            (interval(None, 9, Some("8")), "8", BenchmarkBasis::IntervalTwapMid, ""),
            (interval(Some("7"), 4, None), "9", BenchmarkBasis::MidAtFills, "FEW_PRINTS prints=4 minimum=5"),
        ];
        for (interval, price, basis, said) in cases {
            let chosen = choose(Ok(&interval), 5, at_fills);
            let findings: Vec<String> = chosen.findings.iter().map(ToString::to_string).collect();
            assert_eq!((chosen.price, chosen.basis), (price.parse().ok(), basis));
            assert_eq!(findings.join(";"), said);
        }
        let none = choose(Ok(&interval(None, 0, None)), 5, no_fills);
        assert_eq!((none.price, none.basis), (None, BenchmarkBasis::None));
        assert_eq!(none.findings, [Finding::BenchmarkMissing { cause: "NO_QUOTE" }]);
    }

    #[test]
    fn a_refused_interval_is_none_and_asks_nothing_weaker() {
        let refused =
            choose(Err("OUTSIDE_RING"), 5, || unreachable!("the basis must not depend on what is remembered"));
        assert_eq!((refused.price, refused.basis), (None, BenchmarkBasis::None));
        assert_eq!(refused.findings, [Finding::BenchmarkMissing { cause: "OUTSIDE_RING" }]);
    }

    #[test]
    fn mids_weigh_by_quantity() {
        let mids = [("10", "1"), ("10.5", "3")].map(|(mid, qty)| (mid.parse().unwrap(), qty.parse().unwrap()));
        assert_eq!(weighted_mid(&mids).unwrap(), Some("10.375".parse().unwrap()));
        assert_eq!(weighted_mid(&[]).unwrap(), None);
    }
}
