//! Choice of the broker: trading rule 34.
//!
//! Every broker of the account is compared on the whole slice; the best one that reaches a venue gets what goes there.

use fillstream_domain::{
    AssetClass, Money, NumberError, OrdType, Quantity, Ratio, Rounding, RoutingStrategy, mul_div_i128,
};
use fillstream_schemas::execution::BrokerChoice;
use fillstream_schemas::reference::{Broker, Instrument};

use crate::candidates::{Found, Job, half_spread};
use crate::commission::{applies, commission};
use crate::config::Config;
use crate::reason::RouteReason;
use crate::score::{Candidate, weighted};

/// Whether a list of order types, empty for all of them, names one.
pub(crate) fn takes_type(types: &[String], ord_type: OrdType) -> bool {
    types.is_empty() || types.iter().any(|t| t == ord_type.as_str())
}

/// Why a broker cannot take the slice at all.
pub(crate) fn unable(broker: &Broker, job: &Job<'_>) -> Option<RouteReason> {
    if !broker.is_active {
        return Some(RouteReason::BrokerInactive);
    }
    if !applies(&broker.asset_classes, job.instrument.asset_class) {
        return Some(RouteReason::BrokerAssetClass);
    }
    if !takes_type(&broker.order_types, job.ord_type()) {
        return Some(RouteReason::BrokerOrderType);
    }
    let parts = is_part_of_a_share(job.instrument, job.slice.quantity);
    (parts && !broker.fractional_units).then_some(RouteReason::BrokerFractional)
}

fn is_part_of_a_share(instrument: &Instrument, quantity: Quantity) -> bool {
    let shares = matches!(instrument.asset_class, AssetClass::Equity | AssetClass::Etf);
    shares && !quantity.is_whole_lots(Quantity::ONE)
}

// The words by which brokers say that an asset class is their specialty, beside its symbol.
fn specialties(class: AssetClass) -> &'static [&'static str] {
    match class {
        AssetClass::Equity => &["us_equities", "equities"],
        AssetClass::Etf => &["etfs"],
        AssetClass::Fx => &["forex"],
        AssetClass::Crypto => &["crypto"],
        AssetClass::Future => &["futures"],
        AssetClass::Option => &["options"],
        AssetClass::Bond => &["bonds"],
    }
}

// The mean over what the order needs: 1 where it is a specialty, otherwise what general capability counts.
fn capability(broker: &Broker, job: &Job<'_>) -> Result<Ratio, NumberError> {
    let class = job.instrument.asset_class;
    let names = |word: &str| broker.specialties.iter().any(|s| s == word);
    let mut needs = vec![names(class.as_str()) || specialties(class).iter().any(|word| names(word))];
    if is_part_of_a_share(job.instrument, job.slice.quantity) {
        needs.push(names("fractional_shares"));
    }
    let met = Ratio::sum(needs.iter().map(|met| if *met { Ratio::ONE } else { job.config.general_capability }))?;
    let count = i128::try_from(needs.len()).map_err(|_| NumberError::Overflow)?;
    mul_div_i128(met.unscaled(), 1, count, Rounding::HalfEven).and_then(Ratio::from_unscaled)
}

/// Compares the brokers of the account, best first, and takes the pairs out that a better rule excludes: those of brokers
/// that are not preferred where one is, and, for a small slice under SMART, those of brokers that take a commission where a
/// capable one takes none.
pub(crate) fn choose(found: &mut Found, job: &Job<'_>) -> Result<Vec<BrokerChoice>, NumberError> {
    let preferred = &job.slice.preferred_brokers;
    exclude_others(found, RouteReason::BrokerNotPreferred, |c| preferred.contains(&c.broker));
    let mut choices = Vec::new();
    if let Some(account) = job.reference.account(&job.slice.account_id) {
        for id in &account.brokers {
            choices.push(match job.reference.broker(id) {
                Some(broker) => figures(broker, found, job)?,
                None => unknown(id),
            });
        }
    }
    if job.strategy == RoutingStrategy::Smart && job.valuation.value < job.config.commission_free_below {
        exclude_others(found, RouteReason::BrokerNotFree, |c| c.detail.commission.is_zero());
    }
    for choice in &mut choices {
        choice.eligible = found.eligible.iter().any(|c| c.broker == choice.broker);
        if !choice.eligible && choice.exclusion_code.is_none() {
            let reason = found.excluded.iter().rev().find(|(c, _)| c.broker == choice.broker).map(|(_, r)| *r);
            choice.exclusion_code = Some(reason.unwrap_or(RouteReason::NoVenue).as_str().to_owned());
        }
    }
    choices.sort_by(|a, b| order(a, b, job));
    if let Some(best) = choices.first().map(|c| c.total_cost) {
        let of_unknown = Some(RouteReason::BrokerUnknown.as_str());
        for choice in choices.iter_mut().filter(|c| c.exclusion_code.as_deref() != of_unknown) {
            choice.saving = choice.total_cost.checked_sub(best)?;
        }
    }
    Ok(choices)
}

// Excludes all pairs but the wanted ones, where there is a wanted one.
fn exclude_others(found: &mut Found, reason: RouteReason, wanted: impl Fn(&Candidate) -> bool) {
    if !found.eligible.iter().any(&wanted) {
        return;
    }
    let (kept, others) = std::mem::take(&mut found.eligible).into_iter().partition(wanted);
    found.eligible = kept;
    found.excluded.extend(others.into_iter().map(|c: Candidate| (c, reason)));
}

// What comes first: eligible brokers, then preferred ones in their order, then what the strategy aims at.
fn order(a: &BrokerChoice, b: &BrokerChoice, job: &Job<'_>) -> std::cmp::Ordering {
    let place = |c: &BrokerChoice| {
        let at = job.slice.preferred_brokers.iter().position(|p| *p == c.broker).unwrap_or(usize::MAX);
        (!c.eligible, at)
    };
    let aim = |c: &BrokerChoice| match job.strategy {
        RoutingStrategy::Smart => -c.score.unscaled(),
        RoutingStrategy::LowestCost => c.total_cost.unscaled(),
        RoutingStrategy::FastestExecution => i128::from(c.latency_us),
        RoutingStrategy::HighestFillProbability => -c.quality.unscaled(),
        RoutingStrategy::MinimalMarketImpact => c.quality_cost.unscaled(),
    };
    (place(a), aim(a), &a.broker).cmp(&(place(b), aim(b), &b.broker))
}

// A broker without a record has no figures.
fn unknown(id: &str) -> BrokerChoice {
    let code = RouteReason::BrokerUnknown.as_str().to_owned();
    BrokerChoice { broker: id.to_owned(), exclusion_code: Some(code), ..BrokerChoice::default() }
}

fn figures(broker: &Broker, found: &Found, job: &Job<'_>) -> Result<BrokerChoice, NumberError> {
    let commission = commission(broker, job.instrument.asset_class, job.slice.quantity, job.valuation.value)?;
    let pairs = || found.eligible.iter().filter(|c| c.broker == broker.broker_id);
    let quality = pairs().map(|c| c.quality).max().unwrap_or(broker.quality);
    let latency_us = pairs().map(|c| c.detail.latency_us).min().unwrap_or(broker.latency_us);
    let capability = capability(broker, job)?;
    let impact_cost = impact_cost(job)?;
    let quality_cost = impact_cost.share(Ratio::ONE.checked_sub(quality)?, Rounding::HalfEven)?;
    Ok(BrokerChoice {
        broker: broker.broker_id.clone(),
        eligible: false,
        exclusion_code: None,
        commission_free: commission.is_zero(),
        commission,
        impact_cost,
        quality_cost,
        total_cost: Money::sum([commission, impact_cost, quality_cost])?,
        quality,
        capability,
        latency_us,
        score: score(job.valuation.in_dollars(commission)?, quality, capability, job.config)?,
        saving: Money::ZERO,
    })
}

/// 0.4 / (cost + 1) + 0.35 quality + 0.25 capability, the cost in US dollars an order.
fn score(cost: Money, quality: Ratio, capability: Ratio, config: &Config) -> Result<Ratio, NumberError> {
    let one = Money::ONE.unscaled();
    let divisor = one + cost.max(Money::ZERO).unscaled();
    let cheap = mul_div_i128(config.broker_cost_weight.unscaled(), one, divisor, Rounding::HalfEven)?;
    Ratio::sum([
        Ratio::from_unscaled(cheap)?,
        weighted(quality, config.broker_quality_weight)?,
        weighted(capability, config.broker_capability_weight)?,
    ])
}

/// Half the spread of the reference quote and, where the instrument's figures are known, Y sigma sqrt(quantity / ADV), of
/// the value of the slice.
fn impact_cost(job: &Job<'_>) -> Result<Money, NumberError> {
    let half = half_spread(job.quote.bid, job.quote.ask)?;
    let spread = job.valuation.value.times_bps(half.max(fillstream_domain::Bps::ZERO), Rounding::HalfEven)?;
    let known = job.instrument.adv.filter(|adv| adv.is_positive()).zip(job.instrument.daily_sigma);
    let Some((adv, sigma)) = known else { return Ok(spread) };
    let share = job.slice.quantity.ratio_of(adv, Rounding::HalfEven)?;
    let root = Ratio::from_unscaled((share.unscaled() * Ratio::ONE.unscaled()).isqrt())?;
    let impact = weighted(weighted(root, sigma)?, job.config.impact_coefficient)?;
    spread.checked_add(job.valuation.value.share(impact, Rounding::HalfEven)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trading rule 34 with the figures of the specification: 100 shares cost 1.00 at the first, nothing at the others.
    #[test]
    fn rule_34_composite_score() {
        let of = |cost: &str, quality: &str, capability: &str| {
            let (quality, capability) = (quality.parse().unwrap(), capability.parse().unwrap());
            score(cost.parse().unwrap(), quality, capability, &Config::default()).unwrap().to_string()
        };
        assert_eq!(of("1", "0.92", "0.5"), "0.647");
        assert_eq!(of("0", "0.85", "1"), "0.9475");
        assert_eq!(of("0", "0.88", "1"), "0.958");
        // 1 / (3 + 1), not more than 9 digits.
        assert_eq!(of("3", "0", "0"), "0.1");
        assert_eq!(of("-1", "0", "0"), "0.4");
    }
}
