//! What the venue is made of.

use crate::VenueError;
use fillstream_domain::{Bps, Quantity, Ratio};
use fillstream_schemas::reference;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The venue process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VenueConfig {
    /// Whose clock it follows.
    pub mode: Mode,
    /// The journal's file; its folder must exist.
    pub journal: PathBuf,
    /// What decides the reports.
    #[serde(default)]
    pub engine: EngineConfig,
}

/// Whose clock the venue follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Market time, moved by `POST /v1/clock`.
    Paced,
    /// The clock of the operating system.
    Live,
}

impl Mode {
    /// The name in configuration and protocol.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paced => "paced",
            Self::Live => "live",
        }
    }
}

/// What decides the reports, together with the market and the requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineConfig {
    /// Seed of the misbehaviour and of the hidden size.
    pub seed: u64,
    /// Broker sessions.
    pub sessions: Vec<String>,
    /// The venues.
    pub venues: Vec<MarketCenter>,
    /// Shortest latency that a venue may have in paced mode, microseconds: a step of the pacer's grid.
    pub grid_us: i64,
    /// Size that was taken comes back after this time without a take, microseconds, if the quote has not changed.
    pub refresh_us: i64,
    /// How far ahead of the clock the market is searched for the next event, microseconds.
    pub look_ahead_us: i64,
    /// What goes wrong on purpose.
    pub misbehaviour: Misbehaviour,
}

impl Default for EngineConfig {
    /// Three venues with different fees, latencies and sizes for one session, `SIM`.
    fn default() -> Self {
        Self {
            seed: 1,
            sessions: vec!["SIM".to_owned()],
            venues: MarketCenter::defaults(),
            grid_us: 100_000,
            refresh_us: 1_000_000,
            look_ahead_us: 30_000_000,
            misbehaviour: Misbehaviour::default(),
        }
    }
}

/// A venue: its book is derived from the quotes of one venue of the market source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarketCenter {
    /// Id (MIC).
    pub venue_id: String,
    /// Display name.
    pub name: String,
    /// Fee of liquidity taken, basis points of notional; negative: rebate.
    pub taker_fee: Bps,
    /// Fee of liquidity provided, basis points of notional; negative: rebate.
    pub maker_fee: Bps,
    /// Time from a client's sending to the arrival of the order, and again from an event to its report, microseconds.
    pub latency_us: i64,
    /// Share of the quoted size that is displayed here.
    pub size_share: Ratio,
    /// Mean hidden size, as a share of the quoted size.
    pub hidden_share: Ratio,
    /// Prior execution quality, 0 to 1, for the reference data.
    pub quality: Ratio,
    /// Displayed size where the quote has none, units; none: nothing is filled there.
    #[serde(default)]
    pub assumed_clip: Option<Quantity>,
    /// Instruments traded; empty: all.
    #[serde(default)]
    pub instruments: Vec<String>,
    /// Venue of the market source whose quotes make the book; none: the instrument's reference venue.
    #[serde(default)]
    pub quotes_of: Option<String>,
    /// A dark pool: it shows nothing and executes at the middle of the quote.
    #[serde(default)]
    pub dark: bool,
}

/// Shares of what goes wrong, decided by a hash of seed and id: the same order meets the same fate in every run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Misbehaviour {
    /// Share of orders rejected.
    pub reject_share: Ratio,
    /// Share of fills reported late.
    pub late_share: Ratio,
    /// Shortest lateness, microseconds.
    pub late_min_us: i64,
    /// Longest lateness, microseconds.
    pub late_max_us: i64,
    /// Share of reports sent twice.
    pub repeat_share: Ratio,
    /// The second one comes this much later, microseconds.
    pub repeat_after_us: i64,
    /// Share of orders that are swallowed: taken in, and never heard of again.
    pub silence_share: Ratio,
}

impl Default for Misbehaviour {
    fn default() -> Self {
        Self {
            reject_share: hundredths(6),
            late_share: hundredths(5),
            late_min_us: 300_000,
            late_max_us: 3_000_000,
            repeat_share: hundredths(3),
            repeat_after_us: 250_000,
            silence_share: Ratio::ZERO,
        }
    }
}

impl Misbehaviour {
    /// Nothing goes wrong.
    #[must_use]
    pub fn none() -> Self {
        Self { reject_share: Ratio::ZERO, late_share: Ratio::ZERO, repeat_share: Ratio::ZERO, ..Self::default() }
    }
}

/// So many hundredths.
pub(crate) fn hundredths(n: i128) -> Ratio {
    Ratio::from_unscaled(n * Ratio::ONE.unscaled() / 100).unwrap_or(Ratio::ZERO)
}

impl MarketCenter {
    /// The venues of the default configuration. The clip is for quotes without sizes (a currency pair), in its units.
    fn defaults() -> Vec<Self> {
        // taker and maker fee in hundredths of a basis point, latency, share and hidden share in hundredths, quality.
        let center = |venue_id: &str, name: &str, [taker, maker, latency_ms, share, hidden, quality]: [i128; 6]| {
            let bps = |n: i128| Bps::from_unscaled(n * Bps::ONE.unscaled() / 100).unwrap_or(Bps::ZERO);
            Self {
                venue_id: venue_id.to_owned(),
                name: name.to_owned(),
                taker_fee: bps(taker),
                maker_fee: bps(maker),
                latency_us: i64::try_from(latency_ms * 1_000).unwrap_or(i64::MAX),
                size_share: hundredths(share),
                hidden_share: hundredths(hidden),
                quality: hundredths(quality),
                assumed_clip: Quantity::from_int(250_000).ok(),
                instruments: Vec::new(),
                quotes_of: None,
                dark: false,
            }
        };
        vec![
            center("XALP", "Alpha Exchange", [30, -20, 100, 45, 10, 85]),
            center("XBET", "Beta Markets", [20, 5, 120, 35, 15, 80]),
            center("XGAM", "Gamma Crossing", [10, 10, 200, 20, 40, 70]),
        ]
    }

    /// Reference data of the venue. Its latency is the time from order entry to acknowledgement: there and back.
    #[must_use]
    pub fn reference(&self) -> reference::Venue {
        reference::Venue {
            venue_id: self.venue_id.clone(),
            name: self.name.clone(),
            taker_fee: self.taker_fee,
            maker_fee: self.maker_fee,
            latency_us: self.latency_us.saturating_mul(2),
            size_share: self.size_share,
            quality: self.quality,
            assumed_clip: self.assumed_clip,
            instruments: self.instruments.clone(),
            is_open: true,
            version: 1,
            kind: if self.dark { reference::VenueKind::Dark } else { reference::VenueKind::Lit },
            ..reference::Venue::default()
        }
    }

    /// Whether the venue trades an instrument.
    #[must_use]
    pub fn trades(&self, instrument_id: &str) -> bool {
        self.instruments.is_empty() || self.instruments.iter().any(|id| id == instrument_id)
    }
}

impl EngineConfig {
    /// Checks what the engine relies on.
    ///
    /// # Errors
    /// [`VenueError::Config`] names every fault.
    pub fn validate(&self) -> Result<(), VenueError> {
        let mut faults = Vec::new();
        for (name, us) in [("grid_us", self.grid_us), ("refresh_us", self.refresh_us)] {
            if us < 1 {
                faults.push(format!("{name} is not positive"));
            }
        }
        if self.look_ahead_us < self.grid_us {
            faults.push("look_ahead_us is below grid_us".to_owned());
        }
        faults.extend(unique("sessions", self.sessions.iter()));
        faults.extend(unique("venues", self.venues.iter().map(|venue| &venue.venue_id)));
        for venue in &self.venues {
            if venue.latency_us < self.grid_us {
                faults.push(format!("venue {}: latency_us is below grid_us", venue.venue_id));
            }
            for (name, share) in [("size_share", venue.size_share), ("hidden_share", venue.hidden_share)] {
                if !is_share(share) {
                    faults.push(format!("venue {}: {name} is not within 0 and 1", venue.venue_id));
                }
            }
        }
        faults.extend(self.misbehaviour.faults());
        if faults.is_empty() { Ok(()) } else { Err(VenueError::Config(faults.join("; "))) }
    }
}

impl Misbehaviour {
    fn faults(&self) -> Vec<String> {
        let shares = [
            ("reject_share", self.reject_share),
            ("late_share", self.late_share),
            ("repeat_share", self.repeat_share),
            ("silence_share", self.silence_share),
        ];
        let outside = shares.iter().filter(|(_, share)| !is_share(*share));
        let mut faults: Vec<_> =
            outside.map(|(name, _)| format!("misbehaviour: {name} is not within 0 and 1")).collect();
        if self.late_min_us < 0 || self.late_max_us < self.late_min_us {
            faults.push("misbehaviour: late_min_us and late_max_us are no range".to_owned());
        }
        if self.repeat_after_us < 1 {
            faults.push("misbehaviour: repeat_after_us is not positive".to_owned());
        }
        faults
    }
}

fn is_share(share: Ratio) -> bool {
    (Ratio::ZERO..=Ratio::ONE).contains(&share)
}

fn unique<'a>(name: &str, ids: impl Iterator<Item = &'a String>) -> Vec<String> {
    let (mut seen, mut faults) = (BTreeSet::new(), Vec::new());
    for id in ids {
        if id.is_empty() {
            faults.push(format!("{name}: an empty id"));
        }
        if !seen.insert(id) {
            faults.push(format!("{name}: {id} stands twice"));
        }
    }
    if seen.is_empty() {
        faults.push(format!("{name}: there are none"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::{EngineConfig, hundredths};
    use fillstream_domain::Ratio;

    #[test]
    fn the_default_is_valid_and_has_three_venues() {
        let config = EngineConfig::default();
        config.validate().unwrap();
        assert_eq!(config.venues.len(), 3);
        assert_eq!(Ratio::sum(config.venues.iter().map(|v| v.size_share)).unwrap(), Ratio::ONE);
        assert_eq!(config.venues[1].reference().latency_us, 240_000);
        let dark = super::MarketCenter { dark: true, ..config.venues[0].clone() };
        let kinds = [&dark, &config.venues[0]].map(|venue| venue.reference().kind.as_str());
        assert_eq!(kinds, ["DARK", "LIT"]);
    }

    #[test]
    fn every_fault_is_named() {
        let mut config = EngineConfig { sessions: vec![], ..EngineConfig::default() };
        config.venues[1].venue_id = "XALP".to_owned();
        config.venues[0].latency_us = 1;
        config.venues[2].size_share = hundredths(101);
        config.misbehaviour.late_max_us = 0;
        let text = config.validate().unwrap_err().to_string();
        for part in ["sessions: there are none", "XALP stands twice", "latency_us is below", "size_share", "no range"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn the_default_survives_json() {
        let text = serde_json::to_string(&EngineConfig::default()).unwrap();
        assert_eq!(serde_json::from_str::<EngineConfig>(&text).unwrap(), EngineConfig::default());
        assert_eq!(serde_json::from_str::<EngineConfig>("{}").unwrap(), EngineConfig::default());
        assert!(serde_json::from_str::<EngineConfig>("{\"sed\":1}").is_err());
    }
}
