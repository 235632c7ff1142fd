//! What the market is doing (trading rule 31): estimators, thresholds, precedence.
//!
//! From mids on a grid of equal steps up to now, r_i being their returns:
//! - realised volatility: the root of the mean r^2, times the root of steps a day; its ratio to the instrument's daily sigma;
//! - variance ratio of five steps (Lo and MacKinlay, "Stock Market Prices Do Not Follow Random Walks", 1988): the mean square of
//!   five-step returns over five times that of one-step returns. Above 1 moves go on, below 1 they come back;
//! - jump statistic (Lee and Mykland, "Jumps in Financial Markets", 2008): |last r| over the root of bipower variation, pi/2 times the mean
//!   |r_i||r_(i-1)| of the returns before it;
//! - volume ratio: prints of the last minute against those of the window, a minute.
//!
//! Precedence: NEWS_DRIVEN, HIGH_VOLATILITY, LOW_LIQUIDITY, TRENDING, MEAN_REVERTING, NORMAL. A condition that an order has is kept until its
//! figure is beyond `exit_share` of its threshold (hysteresis).

use fillstream_domain::{Bps, MarketCondition, MidPrice, NumberError, Ratio, Rounding, TimestampMicros, mul_div_i128};
use fillstream_schemas::execution::MarketFigures;

use crate::config::Conditions;
use crate::view::View;

const ONE: i128 = Ratio::ONE.unscaled();
/// Steps of the long returns of the variance ratio.
const LONG_STEPS: usize = 5;
/// pi / 2 in billionths.
const HALF_PI: i128 = 1_570_796_327;
const MINUTE_US: i64 = 60_000_000;

/// Mids of a window, oldest first, in half units of a price's last digit.
fn mids(view: &View<'_>, config: &Conditions) -> Vec<i128> {
    let Some(market) = view.market else { return Vec::new() };
    let step_us = config.sample_interval_ms.saturating_mul(1_000);
    let mid = |back: i64| {
        let at = TimestampMicros::from_micros(view.now.micros().saturating_sub(step_us.saturating_mul(back)));
        market.quote_at(view.instrument_id, view.venue, at).ok().map(|q| MidPrice::of(q.bid, q.ask).twice_unscaled())
    };
    // From now back to where the history begins.
    let mut mids: Vec<i128> = (0..=config.samples).map_while(mid).filter(|mid| *mid > 0).collect();
    mids.reverse();
    mids
}

/// Returns between mids so many steps apart, in billionths.
fn returns(mids: &[i128], steps: usize) -> Result<Vec<i128>, NumberError> {
    let pairs = mids.iter().zip(mids.iter().skip(steps));
    pairs.map(|(from, to)| mul_div_i128(to.saturating_sub(*from), ONE, *from, Rounding::HalfEven)).collect()
}

/// Mean of squares, in billionths of billionths.
fn mean_square(returns: &[i128]) -> Option<i128> {
    let count = i128::try_from(returns.len()).ok().filter(|n| *n > 0)?;
    returns.iter().try_fold(0_i128, |sum, r| sum.checked_add(r.checked_mul(*r)?)).map(|sum| sum / count)
}

fn root(square: i128) -> Result<Ratio, NumberError> {
    let root = u128::try_from(square).map_err(|_| NumberError::Negative { name: "square" })?.isqrt();
    i128::try_from(root).map_err(|_| NumberError::Overflow).and_then(Ratio::from_unscaled)
}

fn ratio(part: i128, whole: i128) -> Option<Ratio> {
    if whole == 0 {
        return None;
    }
    mul_div_i128(part, ONE, whole, Rounding::HalfEven).and_then(Ratio::from_unscaled).ok()
}

/// Volatility of a day from returns of one step.
fn realised(returns: &[i128], view: &View<'_>, config: &Conditions) -> Result<Option<Ratio>, NumberError> {
    if returns.len() < config.min_samples {
        return Ok(None);
    }
    let Some(mean) = mean_square(returns) else { return Ok(None) };
    let step_us = i128::from(config.sample_interval_ms.saturating_mul(1_000));
    root(mul_div_i128(mean, i128::from(view.day_us()), step_us, Rounding::HalfEven)?).map(Some)
}

/// Realised over usual volatility; `None`: one of them is not known.
pub(crate) fn volatility_ratio(view: &View<'_>, config: &Conditions) -> Result<Option<Ratio>, NumberError> {
    let Some(usual) = view.instrument().and_then(|i| i.daily_sigma) else { return Ok(None) };
    let now = realised(&returns(&mids(view, config), 1)?, view, config)?;
    Ok(now.and_then(|now| ratio(now.unscaled(), usual.unscaled())))
}

/// Every figure of the market now.
pub(crate) fn figures(
    view: &View<'_>,
    liquidity_score: Ratio,
    news_impact_score: Option<Ratio>,
    config: &Conditions,
) -> Result<MarketFigures, NumberError> {
    let mids = mids(view, config);
    let one = returns(&mids, 1)?;
    let realised_volatility = realised(&one, view, config)?;
    let usual = view.instrument().and_then(|i| i.daily_sigma);
    let enough = one.len() >= config.min_samples;
    let variance_ratio = match (mean_square(&returns(&mids, LONG_STEPS)?), mean_square(&one)) {
        (Some(long), Some(short)) if enough => ratio(long, short.saturating_mul(5)),
        (_, Some(_) | None) => None,
    };
    let net = mids.first().zip(mids.last()).filter(|_| enough);
    let net_move_bps = net.map(|(from, to)| {
        mul_div_i128(to.saturating_sub(*from), 10_000 * Bps::ONE.unscaled(), *from, Rounding::HalfEven)
            .and_then(Bps::from_unscaled)
    });
    Ok(MarketFigures {
        samples: i32::try_from(one.len()).unwrap_or(i32::MAX),
        interval_us: config.sample_interval_ms.saturating_mul(1_000),
        realised_volatility,
        volatility_ratio: realised_volatility
            .zip(usual)
            .and_then(|(now, usual)| ratio(now.unscaled(), usual.unscaled())),
        liquidity_score: Some(liquidity_score),
        variance_ratio,
        net_move_bps: net_move_bps.transpose()?,
        jump_statistic: if enough { jump(&one)? } else { None },
        volume_ratio: volume_ratio(view, config),
        news_impact_score,
    })
}

fn jump(returns: &[i128]) -> Result<Option<Ratio>, NumberError> {
    let Some((last, before)) = returns.split_last() else { return Ok(None) };
    let products: Vec<i128> =
        before.iter().zip(before.iter().skip(1)).map(|(a, b)| a.abs().saturating_mul(b.abs())).collect();
    let Some(count) = i128::try_from(products.len()).ok().filter(|n| *n > 0) else { return Ok(None) };
    let mean = products.iter().fold(0_i128, |sum, p| sum.saturating_add(*p)) / count;
    let local = root(mul_div_i128(mean, HALF_PI, ONE, Rounding::HalfEven)?)?;
    Ok(ratio(last.abs(), local.unscaled()))
}

fn volume_ratio(view: &View<'_>, config: &Conditions) -> Option<Ratio> {
    let market = view.market?;
    let window_us = config.sample_interval_ms.saturating_mul(1_000).saturating_mul(config.samples);
    let printed = |back: i64| {
        let start = TimestampMicros::from_micros(view.now.micros().saturating_sub(back));
        market.between(view.instrument_id, view.venue, start, view.now).ok().map(|i| i.volume.unscaled())
    };
    let (last, whole) = (printed(MINUTE_US)?, printed(window_us)?);
    let usual = mul_div_i128(whole, i128::from(MINUTE_US), i128::from(window_us.max(1)), Rounding::HalfEven).ok()?;
    ratio(last, usual)
}

/// The condition that these figures tell, of an order that was in another one.
pub(crate) fn classify(f: &MarketFigures, before: MarketCondition, config: &Conditions) -> MarketCondition {
    let precedence = [
        MarketCondition::NewsDriven,
        MarketCondition::HighVolatility,
        MarketCondition::LowLiquidity,
        MarketCondition::Trending,
        MarketCondition::MeanReverting,
    ];
    precedence.into_iter().find(|c| holds(*c, f, *c == before, config)).unwrap_or(MarketCondition::Normal)
}

fn holds(condition: MarketCondition, f: &MarketFigures, was: bool, config: &Conditions) -> bool {
    // Above a threshold, or above its exit share where the condition held before; below one likewise.
    let scaled = |threshold: Ratio| {
        let exit = mul_div_i128(threshold.unscaled(), config.exit_share.unscaled(), ONE, Rounding::HalfEven);
        if was { exit.and_then(Ratio::from_unscaled).unwrap_or(threshold) } else { threshold }
    };
    let widened = |threshold: Ratio| {
        let exit = mul_div_i128(threshold.unscaled(), ONE, config.exit_share.unscaled().max(1), Rounding::HalfEven);
        if was { exit.and_then(Ratio::from_unscaled).unwrap_or(threshold) } else { threshold }
    };
    let above = |figure: Option<Ratio>, threshold: Ratio| figure.is_some_and(|f| f >= scaled(threshold));
    let below = |figure: Option<Ratio>, threshold: Ratio| figure.is_some_and(|f| f <= widened(threshold));
    match condition {
        MarketCondition::NewsDriven => {
            above(f.news_impact_score, config.news_score)
                || above(f.jump_statistic, config.jump_statistic) && above(f.volume_ratio, config.jump_volume_ratio)
        }
        MarketCondition::HighVolatility => above(f.volatility_ratio, config.high_volatility_ratio),
        MarketCondition::LowLiquidity => below(f.liquidity_score, config.low_liquidity_score),
        MarketCondition::Trending => above(f.variance_ratio, config.trending_variance_ratio),
        MarketCondition::MeanReverting => below(f.variance_ratio, config.reverting_variance_ratio),
        MarketCondition::Normal => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r(text: &str) -> Option<Ratio> {
        Some(text.parse().unwrap())
    }

    /// Trading rule 31: stated precedence, thresholds, hysteresis; each condition can be reached.
    #[test]
    fn rule_31_conditions_by_precedence_with_hysteresis() {
        let config = Conditions::default();
        let calm = MarketFigures { liquidity_score: r("0.9"), variance_ratio: r("1"), ..MarketFigures::default() };
        let told = |f: &MarketFigures| classify(f, MarketCondition::Normal, &config);
        assert_eq!(told(&calm), MarketCondition::Normal);
        let mut f = MarketFigures { variance_ratio: r("0.4"), ..calm };
        assert_eq!(told(&f), MarketCondition::MeanReverting);
        f.variance_ratio = r("1.7");
        assert_eq!(told(&f), MarketCondition::Trending);
        f.liquidity_score = r("0.2");
        assert_eq!(told(&f), MarketCondition::LowLiquidity);
        f.volatility_ratio = r("2");
        assert_eq!(told(&f), MarketCondition::HighVolatility);
        (f.jump_statistic, f.volume_ratio) = (r("5"), r("3.5"));
        assert_eq!(told(&f), MarketCondition::NewsDriven);
        f.volume_ratio = r("1");
        assert_eq!(told(&f), MarketCondition::HighVolatility, "a jump without volume is no news");
        f.news_impact_score = r("0.9");
        assert_eq!(told(&f), MarketCondition::NewsDriven);
        // 1.6 is no high volatility, but still one.
        let between = MarketFigures {
            volatility_ratio: r("1.6"),
            ..MarketFigures { variance_ratio: r("1"), ..MarketFigures::default() }
        };
        assert_eq!(classify(&between, MarketCondition::Normal, &config), MarketCondition::Normal);
        assert_eq!(classify(&between, MarketCondition::HighVolatility, &config), MarketCondition::HighVolatility);
    }

    #[test]
    fn a_trend_has_a_high_variance_ratio_and_a_bounce_a_low_one() {
        let vr = |mids: &[i128]| {
            let (long, short) = (returns(mids, LONG_STEPS).unwrap(), returns(mids, 1).unwrap());
            ratio(mean_square(&long).unwrap(), mean_square(&short).unwrap() * 5).unwrap()
        };
        let trend: Vec<i128> = (0..60).map(|i| 1_000_000 + i * 100).collect();
        assert!(vr(&trend) > "4.9".parse().unwrap());
        let bounce: Vec<i128> = (0..60).map(|i| 1_000_000 + (i % 2) * 100).collect();
        assert!(vr(&bounce) < "0.21".parse().unwrap());
    }

    #[test]
    fn a_jump_stands_out_of_what_was_usual() {
        let calm = [100_000_i128; 20];
        assert_eq!(jump(&calm).unwrap().unwrap().to_string().get(..5), Some("0.797"), "1 over the root of pi / 2");
        let mut jumped = calm.to_vec();
        jumped.push(1_000_000);
        assert!(jump(&jumped).unwrap().unwrap() > "7.9".parse().unwrap());
        assert_eq!(jump(&[0, 0, 0, 5]).unwrap(), None, "nothing has moved before");
    }
}
