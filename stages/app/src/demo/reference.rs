//! Publishes reference data.

use fillstream_schemas::reference::{Account, Broker, Calendar, CommissionSchedule, Instrument, RiskLimit};
use fillstream_venue::EngineConfig;

use crate::bus::Cluster;

/// The reference data of a run.
#[derive(Clone, Copy, Debug)]
pub struct Reference<'a> {
    /// Instruments.
    pub instruments: &'a [Instrument],
    /// Accounts.
    pub accounts: &'a [Account],
    /// Limits of portfolios.
    pub limits: &'a [RiskLimit],
    /// Calendars that the instruments name.
    pub calendars: &'a [Calendar],
    /// The venues; all brokers reach all of them.
    pub engine: &'a EngineConfig,
}

impl Reference<'_> {
    /// Writes instruments, accounts, limits, venues, brokers and calendars.
    ///
    /// # Errors
    /// The cluster or the registry does not answer.
    pub fn publish(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let mut writer = cluster.writer()?;
        for i in self.instruments {
            writer.put("reference.instruments.v1", &i.instrument_id, i)?;
        }
        for a in self.accounts {
            writer.put("reference.accounts.v1", &a.account_id, a)?;
        }
        for l in self.limits {
            writer.put("reference.limits.v1", &l.portfolio_id, l)?;
        }
        for v in &self.engine.venues {
            writer.put("reference.venues.v1", &v.venue_id, &v.reference())?;
        }
        for b in brokers(self.engine)? {
            writer.put("reference.brokers.v1", &b.broker_id, &b)?;
        }
        for c in self.calendars {
            writer.put("reference.calendars.v1", &c.calendar_id, c)?;
        }
        writer.flush()
    }
}

type Names = &'static [&'static str];

/// The six brokers of the specification with its commissions, as far as the venue has a session for them; all reach
/// every venue.
///
/// # Errors
/// None in practice: the figures are constants.
pub fn brokers(engine: &EngineConfig) -> anyhow::Result<Vec<Broker>> {
    // Name, quality, latency in milliseconds, asset classes if not all, what it is good at.
    let all: [(&str, &str, i64, Names, Names); 6] = [
        ("interactive_brokers", "0.92", 20, &[], &["international", "options", "futures"]),
        ("alpaca", "0.85", 25, &[], &["us_equities", "fractional_shares"]),
        ("schwab", "0.88", 40, &SECURITIES, &["us_equities", "etfs"]),
        ("fidelity", "0.87", 45, &SECURITIES, &["us_equities"]),
        ("etrade", "0.84", 50, &SECURITIES, &["us_equities", "options"]),
        ("thinkorswim", "0.9", 30, &[], &["options"]),
    ];
    let venues: Vec<String> = engine.venues.iter().map(|v| v.venue_id.clone()).collect();
    let held = all.into_iter().filter(|(id, ..)| engine.sessions.iter().any(|session| session == id));
    held.map(|(id, quality, latency_ms, asset_classes, specialties)| {
        Ok(Broker {
            broker_id: id.to_owned(),
            session_id: id.to_owned(),
            venues: venues.clone(),
            quality: quality.parse()?,
            specialties: specialties.iter().map(|s| (*s).to_owned()).collect(),
            cl_ord_id_unique: true,
            version: 1,
            latency_us: latency_ms * 1_000,
            asset_classes: asset_classes.iter().map(|s| (*s).to_owned()).collect(),
            commissions: commissions(id)?,
            ..Broker::default()
        })
    })
    .collect()
}

/// Asset classes whose commissions and brokers the specification names; of pairs and coins the figures are ours.
const SECURITIES: [&str; 3] = ["EQUITY", "ETF", "OPTION"];

// What each takes, the first schedule for an asset class counts; a broker without one is free.
fn commissions(broker: &str) -> anyhow::Result<Vec<CommissionSchedule>> {
    let schedule = |classes: &[&str], per_unit: &str, bps: &str, least: &str, most: Option<&str>| {
        anyhow::Ok(CommissionSchedule {
            asset_classes: classes.iter().map(|class| (*class).to_owned()).collect(),
            per_unit: per_unit.parse()?,
            rate: bps.parse()?,
            min_commission: least.parse()?,
            max_ratio: most.map(str::parse).transpose()?,
            ..CommissionSchedule::default()
        })
    };
    let by_value = |class: &str, bps: &str, least: &str| schedule(&[class], "0", bps, least, None);
    let by_unit = |per_unit: &str| schedule(&[], per_unit, "0", "1", Some("0.01"));
    let free = || schedule(&["EQUITY", "ETF"], "0", "0", "0", None);
    let by_contract = |per_unit: &str| schedule(&["OPTION"], per_unit, "0", "0", None);
    Ok(match broker {
        "interactive_brokers" => {
            vec![by_value("FX", "0.2", "2")?, by_value("CRYPTO", "18", "1.75")?, by_unit("0.005")?]
        }
        "alpaca" => vec![free()?, by_value("FX", "0.5", "0")?, by_value("CRYPTO", "15", "0")?],
        "thinkorswim" => vec![by_value("FX", "0.3", "1")?, by_value("CRYPTO", "20", "1")?, by_unit("0.006")?],
        "schwab" | "fidelity" => vec![free()?, by_contract("0.65")?],
        "etrade" => vec![free()?, by_contract("0.5")?],
        _ => Vec::new(),
    })
}
