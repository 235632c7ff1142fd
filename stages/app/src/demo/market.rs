//! The market of a demo: a file, or a synthetic one; opened again by every process that needs it.

use std::path::PathBuf;

use fillstream_domain::TimestampMicros;
use fillstream_market::{
    Anchored, CALENDAR_CRYPTO, CALENDAR_EQUITY, CALENDAR_FX, FileSource, MarketSource, SyntheticConfig, SyntheticMarket,
};
use fillstream_schemas::reference::Calendar;
use fillstream_venue::VenueConfig;
use serde::{Deserialize, Serialize};

/// Which market.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarketChoice {
    /// A file in the columns of the market data set.
    File(PathBuf),
    /// A synthetic market.
    Synthetic(SyntheticConfig),
}

impl MarketChoice {
    /// The market from its first row.
    ///
    /// # Errors
    /// The file or the configuration is faulty.
    pub fn open(&self) -> anyhow::Result<Box<dyn MarketSource + Send>> {
        Ok(match self {
            Self::File(path) => Box::new(FileSource::open(path)?),
            Self::Synthetic(config) => Box::new(SyntheticMarket::new(config.clone())?),
        })
    }
}

/// What the venue process reads: itself and its market.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VenueFile {
    /// The venue.
    pub venue: VenueConfig,
    /// Its market.
    pub market: MarketChoice,
    /// When its session begins, instead of its own time; live only.
    #[serde(default)]
    pub anchor: Option<TimestampMicros>,
}

impl VenueFile {
    /// The market from its first row, at its anchor.
    ///
    /// # Errors
    /// As [`MarketChoice::open`].
    pub fn open_market(&self) -> anyhow::Result<Box<dyn MarketSource + Send>> {
        let market = self.market.open()?;
        Ok(match self.anchor {
            Some(start) => Box::new(Anchored::new(market, start)),
            None => market,
        })
    }
}

/// The calendars that the market sources name.
#[must_use]
pub fn calendars() -> Vec<Calendar> {
    const HOUR: i64 = 3_600_000_000;
    let calendar = |id: &str, opens, closes, open_weekends| Calendar {
        calendar_id: id.to_owned(),
        opens_at_us: opens,
        closes_at_us: closes,
        open_weekends,
        holidays: Vec::new(),
        version: 1,
        ..Calendar::default()
    };
    vec![
        // New York in winter; the change of clocks does not fit this record's version 1.
        calendar(CALENDAR_EQUITY, 14 * HOUR + HOUR / 2, 21 * HOUR, false),
        calendar(CALENDAR_CRYPTO, 0, 24 * HOUR, true),
        calendar(CALENDAR_FX, 0, 24 * HOUR, false),
    ]
}
