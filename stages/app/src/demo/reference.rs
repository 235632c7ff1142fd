//! Publishes reference data.

use fillstream_domain::Money;
use fillstream_schemas::reference::{Account, Broker, Calendar, Instrument, RiskLimit};
use fillstream_venue::EngineConfig;

use super::SESSIONS;
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

/// Two of the six brokers of the specification, with its commissions; both reach the simulated venues.
///
/// # Errors
/// None in practice: the figures are constants.
pub fn brokers(engine: &EngineConfig) -> anyhow::Result<Vec<Broker>> {
    let venues: Vec<String> = engine.venues.iter().map(|v| v.venue_id.clone()).collect();
    let broker = |id: &str, min: &str, per_unit: &str, quality: &str, specialties: &[&str]| -> anyhow::Result<Broker> {
        Ok(Broker {
            broker_id: id.to_owned(),
            session_id: id.to_owned(),
            venues: venues.clone(),
            min_commission: min.parse::<Money>()?,
            per_unit: per_unit.parse()?,
            quality: quality.parse()?,
            specialties: specialties.iter().map(|s| (*s).to_owned()).collect(),
            cl_ord_id_unique: true,
            version: 1,
            ..Broker::default()
        })
    };
    let [first, second] = SESSIONS;
    Ok(vec![
        broker(first, "1", "0.005", "0.92", &["international", "options", "futures"])?,
        broker(second, "0", "0", "0.85", &["us_equities", "fractional_shares"])?,
    ])
}
