//! The market impact of an order: the tier that approval and selection go by, a published model beside it.

use fillstream_domain::{AssetClass, Quantity, Ratio, Rounding, SessionCalendar, TimestampMicros, mul_div_i128};
use fillstream_models::impact::{Trade, almgren_2005, square_root};
use fillstream_schemas::execution::{ImpactEstimate, ImpactModel};
use fillstream_schemas::reference::Instrument;

use crate::config::Config;
use crate::value;

/// Tier and model of an order of this quantity and horizon; without an instrument nothing can be estimated.
#[must_use]
pub fn estimate(
    (quantity, horizon_us): (Quantity, i64),
    instrument: Option<&Instrument>,
    sessions: Option<&SessionCalendar>,
    now: TimestampMicros,
    config: &Config,
) -> ImpactEstimate {
    let Some(instrument) = instrument else { return value::impact(quantity, None) };
    let tier = value::impact(quantity, instrument.adv);
    let (Some(adv), Some(daily_sigma)) = (instrument.adv, instrument.daily_sigma) else {
        let missing = [("adv", instrument.adv.is_none()), ("daily_sigma", instrument.daily_sigma.is_none())];
        let missing = missing.into_iter().filter(|(_, is_missing)| *is_missing).map(|(name, _)| name.to_owned());
        return ImpactEstimate { is_high: true, missing: missing.collect(), ..tier };
    };
    let trade = Trade { quantity, adv, daily_sigma };
    let estimate = match (instrument.asset_class, instrument.shares_outstanding) {
        (AssetClass::Equity, Some(shares)) => {
            let days = sessions.and_then(|sessions| duration(horizon_us, sessions, now, config));
            let impact = days.and_then(|days| almgren_2005(&trade, shares, days).ok());
            impact.map(|impact| ImpactEstimate {
                model: ImpactModel::Almgren2005,
                model_impact: Some(impact.cost),
                permanent: Some(impact.permanent),
                temporary: Some(impact.temporary),
                shares_outstanding: Some(shares),
                duration_days: days,
                ..tier.clone()
            })
        }
        (
            AssetClass::Equity
            | AssetClass::Etf
            | AssetClass::Fx
            | AssetClass::Crypto
            | AssetClass::Future
            | AssetClass::Option
            | AssetClass::Bond,
            _,
        ) => square_root(&trade, config.square_root_y).ok().map(|impact| ImpactEstimate {
            model: ImpactModel::SquareRoot,
            model_impact: Some(impact),
            ..tier.clone()
        }),
    };
    let is_high = tier.is_high || estimate.is_none();
    ImpactEstimate { daily_sigma: Some(daily_sigma), is_high, ..estimate.unwrap_or(tier) }
}

// Time of execution in sessions of the instrument's calendar.
fn duration(horizon_us: i64, sessions: &SessionCalendar, now: TimestampMicros, config: &Config) -> Option<Ratio> {
    let session = sessions.session_at_or_after(now).ok()?;
    let day_us = session.close.micros().checked_sub(session.open.micros())?;
    let shortest_us = i64::from(config.impact_shortest_s) * 1_000_000;
    let horizon_us = horizon_us.max(shortest_us);
    let days = mul_div_i128(i128::from(horizon_us), Ratio::ONE.unscaled(), i128::from(day_us), Rounding::HalfEven);
    days.and_then(Ratio::from_unscaled).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fillstream_schemas::execution::ImpactTier;

    /// The paper's order in IBM over half of a session of 6.5 hours.
    fn ibm() -> Instrument {
        Instrument {
            instrument_id: "IBM".to_owned(),
            asset_class: AssetClass::Equity,
            adv: "6561000".parse().ok(),
            daily_sigma: "0.0157".parse().ok(),
            shares_outstanding: "1728000000".parse().ok(),
            ..Instrument::default()
        }
    }

    fn of(instrument: &Instrument, horizon_us: i64) -> ImpactEstimate {
        let sessions = SessionCalendar::new(52_200_000_000, 75_600_000_000, true, []).unwrap();
        let now = TimestampMicros::from_micros(60_000_000_000);
        estimate(("656100".parse().unwrap(), horizon_us), Some(instrument), Some(&sessions), now, &Config::default())
    }

    #[test]
    fn rule_17_equities_have_the_published_model_with_its_inputs_beside_the_tier() {
        let estimate = of(&ibm(), 11_700_000_000);
        assert_eq!((estimate.model, estimate.duration_days), (ImpactModel::Almgren2005, "0.5".parse().ok()));
        let whole = |bps: Option<fillstream_domain::Bps>| bps.unwrap().unscaled() / 1_000_000;
        assert_eq!((whole(estimate.temporary), whole(estimate.model_impact), whole(estimate.permanent)), (8, 18, 19));
        assert_eq!(estimate.shares_outstanding, "1728000000".parse().ok());
        assert_eq!((estimate.adv, estimate.daily_sigma), ("6561000".parse().ok(), "0.0157".parse().ok()));
        // 10 % of the daily volume at 25 basis points a per cent.
        assert_eq!((estimate.tier, estimate.impact), (ImpactTier::High, "250".parse().ok()));
        // An order at once is taken to last a minute of the 390.
        assert_eq!(of(&ibm(), 0).duration_days, "0.002564103".parse().ok());
    }

    #[test]
    fn rule_17_elsewhere_the_square_root_law_stands() {
        for instrument in
            [Instrument { shares_outstanding: None, ..ibm() }, Instrument { asset_class: AssetClass::Crypto, ..ibm() }]
        {
            let estimate = of(&instrument, 0);
            assert_eq!((estimate.model, estimate.model_impact), (ImpactModel::SquareRoot, "49.647759".parse().ok()));
            assert_eq!((estimate.permanent, estimate.duration_days), (None, None));
        }
    }

    #[test]
    fn rule_17_a_missing_input_is_not_estimated_and_high_and_never_zero() {
        let no_sigma = of(&Instrument { daily_sigma: None, adv: "656100000".parse().ok(), ..ibm() }, 0);
        assert_eq!((no_sigma.model, no_sigma.model_impact), (ImpactModel::NotEstimated, None));
        assert_eq!((no_sigma.tier, no_sigma.is_high), (ImpactTier::Low, true));
        assert_eq!(no_sigma.missing, ["daily_sigma"]);
        let nothing = of(&Instrument { daily_sigma: None, adv: None, ..ibm() }, 0);
        assert_eq!((nothing.tier, nothing.is_high, nothing.impact), (ImpactTier::NotEstimated, true, None));
        assert_eq!(nothing.missing, ["adv", "daily_sigma"]);
        let now = TimestampMicros::from_micros(0);
        let no_calendar = estimate((Quantity::ONE, 0), Some(&ibm()), None, now, &Config::default());
        assert_eq!((no_calendar.model, no_calendar.is_high), (ImpactModel::NotEstimated, true));
    }
}
