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

/// The six brokers of the specification with its commissions, as far as the venue has a session for them; all reach
/// every venue.
///
/// # Errors
/// None in practice: the figures are constants.
pub fn brokers(engine: &EngineConfig) -> anyhow::Result<Vec<Broker>> {
    // Name, quality, latency in milliseconds, what it is good at.
    let all: [(&str, &str, i64, &[&str]); 6] = [
        ("interactive_brokers", "0.92", 20, &["international", "options", "futures"]),
        ("alpaca", "0.85", 25, &["us_equities", "fractional_shares"]),
        ("schwab", "0.88", 40, &["us_equities", "etfs"]),
        ("fidelity", "0.87", 45, &["us_equities"]),
        ("etrade", "0.84", 50, &["us_equities", "options"]),
        ("thinkorswim", "0.9", 30, &["options"]),
    ];
    let venues: Vec<String> = engine.venues.iter().map(|v| v.venue_id.clone()).collect();
    let held = all.into_iter().filter(|(id, ..)| engine.sessions.iter().any(|session| session == id));
    held.map(|(id, quality, latency_ms, specialties)| {
        Ok(Broker {
            broker_id: id.to_owned(),
            session_id: id.to_owned(),
            venues: venues.clone(),
            quality: quality.parse()?,
            specialties: specialties.iter().map(|s| (*s).to_owned()).collect(),
            cl_ord_id_unique: true,
            version: 1,
            latency_us: latency_ms * 1_000,
            commissions: commissions(id)?,
            ..Broker::default()
        })
    })
    .collect()
}

// What each takes, by asset class; a broker without a schedule is free.
fn commissions(broker: &str) -> anyhow::Result<Vec<CommissionSchedule>> {
    let by_unit = |per_unit: &str, least: &str| -> anyhow::Result<CommissionSchedule> {
        Ok(CommissionSchedule {
            per_unit: per_unit.parse()?,
            min_commission: least.parse()?,
            max_ratio: Some("0.01".parse()?),
            ..CommissionSchedule::default()
        })
    };
    let shares_free =
        || CommissionSchedule { asset_classes: vec!["EQUITY".into(), "ETF".into()], ..CommissionSchedule::default() };
    // Per contract of an option; of what is neither share nor option, per unit.
    let contract = |per_unit: &str| -> anyhow::Result<CommissionSchedule> {
        Ok(CommissionSchedule { per_unit: per_unit.parse()?, ..CommissionSchedule::default() })
    };
    Ok(match broker {
        "interactive_brokers" => vec![by_unit("0.005", "1")?],
        "thinkorswim" => vec![by_unit("0.006", "1")?],
        "schwab" | "fidelity" => vec![shares_free(), contract("0.65")?],
        "etrade" => vec![shares_free(), contract("0.5")?],
        _ => Vec::new(),
    })
}
