//! Paths of the project's own generator, under scenarios.
//!
//! The generator is a random walk, which trends or reverts by chance only. A scenario lays a movement over its prices, the same on
//! bid, ask and prints, in whole ticks:
//! - `STEADY`: nothing;
//! - `WILD`: daily volatility 2.5 times what reference data say;
//! - `TREND`: a drift that is an Ornstein-Uhlenbeck process: standard deviation 2 basis points in 5 s, half-life 20 s;
//! - `REVERT`: a deviation that is one: 2.6 basis points, half-life 1 s; and 0.7 times the volatility;
//! - `WIDE`: 20 ticks more between bid and ask, 0.3 times the sizes;
//! - `NEWS`: as `WILD`, with a jump of 25 basis points 20 s before the arrival, and upstream says news.
//!
//! Which condition an order meets is what the stage tells of the path, not its scenario.

use fillstream_domain::{AssetClass, NumberError, Price, Quantity, Ratio, Rounding, TimestampMicros};
use fillstream_market::{
    DEFAULT_START, MarketSource as _, Prng, SyntheticConfig, SyntheticInstrument, SyntheticMarket,
};

use crate::error::QualityError;
use crate::path::{MarketPath, Said, Tick, Top};

/// Time before an order arrives, microseconds: the stage looks back 5 minutes.
const WARM_US: i64 = 310_000_000;
/// Time after the longest order.
const SLACK_US: i64 = 5_000_000;
/// A basis point of the open price of 100.00, in ticks of 0.01.
const TICKS_A_BP: f64 = 1.0;
/// How far a wide book's bid and ask are moved apart, each.
const WIDER_TICKS: i128 = 10;

/// What is laid over the generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Nothing.
    Steady,
    /// More volatility.
    Wild,
    /// A drift that lasts.
    Trend,
    /// A deviation that comes back.
    Revert,
    /// A wide and thin book.
    Wide,
    /// A jump, and volatility after it.
    News,
}

impl Scenario {
    /// All.
    pub const ALL: [Self; 6] = [Self::Steady, Self::Wild, Self::Trend, Self::Revert, Self::Wide, Self::News];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "STEADY",
            Self::Wild => "WILD",
            Self::Trend => "TREND",
            Self::Revert => "REVERT",
            Self::Wide => "WIDE",
            Self::News => "NEWS",
        }
    }
}

/// How liquid the generated share is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liquidity {
    /// 260 million a day, 60,000 at the touch.
    Liquid,
    /// 29 million a day, 6,000 at the touch.
    Thin,
}

impl Liquidity {
    /// Its instrument.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Liquid => "LIQUID",
            Self::Thin => "THIN",
        }
    }

    /// The instrument: a share at 100.00 with a tick of 0.01, which is a basis point.
    ///
    /// # Errors
    /// None in practice: the figures are constants.
    fn instrument(self) -> Result<SyntheticInstrument, QualityError> {
        let (sigma, spread_ticks, touch, trade) = match self {
            Self::Liquid => ("0.018", 1, 600, 220),
            Self::Thin => ("0.02", 3, 60, 25),
        };
        Ok(SyntheticInstrument {
            instrument_id: self.as_str().to_owned(),
            asset_class: AssetClass::Equity,
            base_currency: self.as_str().to_owned(),
            quote_currency: "USD".to_owned(),
            tick_size: "0.01".parse()?,
            lot_size: Quantity::ONE,
            open_price: Price::from_int(100)?,
            daily_sigma: sigma.parse()?,
            spread_ticks,
            touch_size: Some(Quantity::from_int(touch)?),
            trade_size: Some(Quantity::from_int(trade)?),
            shares_outstanding: Some(Quantity::from_int(100_000_000)?),
            sector: None,
            venue: "TAPE".to_owned(),
        })
    }
}

/// Path number `n` of a share under a scenario, long enough for orders of `horizon_s`.
///
/// # Errors
/// The generator refuses.
pub fn path(
    liquidity: Liquidity,
    scenario: Scenario,
    (seed, n): (u64, u64),
    horizon_s: i64,
) -> Result<MarketPath, QualityError> {
    let spec = liquidity.instrument()?;
    let sigma = spec.daily_sigma;
    let tenths = match scenario {
        Scenario::Wild | Scenario::News => 25,
        Scenario::Revert => 7,
        Scenario::Steady | Scenario::Trend | Scenario::Wide => 10,
    };
    let daily_sigma = Ratio::from_unscaled(sigma.unscaled() * tenths / 10)?;
    let name = format!("{}/{}/{n}", liquidity.as_str(), scenario.as_str());
    let mut prng = Prng::new(seed, &name);
    let length_us = WARM_US + horizon_s * 1_000_000 + SLACK_US;
    let config = SyntheticConfig {
        seed: prng.next_u64(),
        length_us,
        instruments: vec![SyntheticInstrument { daily_sigma, ..spec }],
        ..SyntheticConfig::default()
    };
    let mut market = SyntheticMarket::new(config)?;
    let mut instrument = market.instruments().first().cloned().unwrap_or_default();
    instrument.daily_sigma = Some(sigma);
    let arrives_at = TimestampMicros::from_micros(DEFAULT_START.micros() + WARM_US);
    let is_buy = prng.below(2) == 0;
    let mut overlay = Overlay::new(scenario, arrives_at, prng);
    let mut ticks = Vec::new();
    while let Some(row) = market.next_row()? {
        if let Some(tick) = Tick::of(&row) {
            ticks.push(overlay.over(tick, instrument.tick_size)?);
        }
    }
    Ok(MarketPath {
        name,
        market: format!("generator {}", liquidity.as_str()),
        instrument,
        ticks,
        arrives_at,
        is_buy,
        moves: true,
        is_news: scenario == Scenario::News,
    })
}

/// What a scenario does to rows.
struct Overlay {
    scenario: Scenario,
    prng: Prng,
    last: Option<TimestampMicros>,
    jumps_at: TimestampMicros,
    jump: f64,
    /// Drift, ticks a second; deviation, ticks.
    process: f64,
    moved: f64,
    /// The ask of the generator's last quote: prints from there up bought.
    ask: Option<Price>,
}

impl Overlay {
    fn new(scenario: Scenario, arrives_at: TimestampMicros, mut prng: Prng) -> Self {
        let jumps_at = TimestampMicros::from_micros(arrives_at.micros() - 20_000_000);
        let jump = if prng.below(2) == 0 { 25.0 } else { -25.0 } * TICKS_A_BP;
        Self { scenario, prng, last: None, jumps_at, jump, process: 0.0, moved: 0.0, ask: None }
    }

    /// Standard deviation in the long run, and half-life in seconds, of the process of a scenario.
    const fn process_of(scenario: Scenario) -> Option<(f64, f64)> {
        match scenario {
            Scenario::Trend => Some((2.0 / 5.0 * TICKS_A_BP, 20.0)),
            Scenario::Revert => Some((2.6 * TICKS_A_BP, 1.0)),
            Scenario::Steady | Scenario::Wild | Scenario::Wide | Scenario::News => None,
        }
    }

    /// Ticks that prices are away from the generator's.
    fn ticks_at(&mut self, at: TimestampMicros) -> i128 {
        let seconds = self.last.map_or(0.0, |last| (at.micros() - last.micros()) as f64 / 1e6);
        let is_first = self.last.is_none();
        self.last = Some(at);
        if let Some((deviation, half_life)) = Self::process_of(self.scenario) {
            // The exact step of an Ornstein-Uhlenbeck process.
            let kept = if is_first { 0.0 } else { libm::exp2(-seconds / half_life) };
            let normal = self.prng.normal() as f64 / 65_536.0;
            self.process = self.process * kept + deviation * libm::sqrt(1.0 - kept * kept) * normal;
        }
        let moved = match self.scenario {
            Scenario::Trend => {
                self.moved += self.process * seconds;
                self.moved
            }
            Scenario::Revert => self.process,
            Scenario::News if at >= self.jumps_at => self.jump,
            Scenario::News | Scenario::Steady | Scenario::Wild | Scenario::Wide => 0.0,
        };
        libm::round(moved) as i128
    }

    fn over(&mut self, tick: Tick, step: Price) -> Result<Tick, QualityError> {
        let moved = self.ticks_at(tick.at);
        let price = |px: Price, ticks: i128| Price::from_unscaled(px.unscaled() + ticks * step.unscaled());
        let is_wide = self.scenario == Scenario::Wide;
        let wider = if is_wide { WIDER_TICKS } else { 0 };
        let size = |size: Quantity| if is_wide { thinned(size) } else { Ok(size) };
        let said = match tick.said {
            Said::Quote(Some(top)) => {
                self.ask = Some(top.ask);
                Said::Quote(Some(Top {
                    bid: price(top.bid, moved - wider)?,
                    ask: price(top.ask, moved + wider)?,
                    bid_size: top.bid_size.map(size).transpose()?,
                    ask_size: top.ask_size.map(size).transpose()?,
                }))
            }
            Said::Quote(None) => Said::Quote(None),
            Said::Print(px, qty) => {
                let bought = self.ask.is_none_or(|ask| px >= ask);
                Said::Print(price(px, if bought { moved + wider } else { moved - wider })?, size(qty)?)
            }
        };
        Ok(Tick { said, ..tick })
    }
}

/// Three tenths of a size, at least a lot.
fn thinned(size: Quantity) -> Result<Quantity, NumberError> {
    let share = Ratio::from_unscaled(Ratio::ONE.unscaled() * 3 / 10)?;
    Ok(size.share(share, Rounding::Floor)?.floor_to_lot(Quantity::ONE)?.max(Quantity::ONE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_fixed_by_its_seed_and_number() {
        let of = |seed, n| path(Liquidity::Thin, Scenario::Trend, (seed, n), 30).unwrap().ticks;
        assert_eq!(of(1, 1), of(1, 1));
        assert_ne!(of(1, 1), of(1, 2));
        assert_ne!(of(1, 1), of(2, 1));
    }

    #[test]
    fn a_scenario_moves_bid_and_ask_alike_and_a_wide_book_is_wide() {
        for scenario in Scenario::ALL {
            let path = path(Liquidity::Liquid, scenario, (5, 1), 30).unwrap();
            let tops = path.ticks.iter().filter_map(|t| if let Said::Quote(top) = t.said { top } else { None });
            let spread = |top: Top| (top.ask.unscaled() - top.bid.unscaled()) / 1_000_000;
            let least = if scenario == Scenario::Wide { 21 } else { 1 };
            assert!(tops.clone().all(|top| (least..least + 9).contains(&spread(top))), "{scenario:?}");
            assert!(tops.count() > 400);
        }
    }
}
