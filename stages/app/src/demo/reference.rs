//! Publishes the scenario's reference data.

use fillstream_domain::Money;
use fillstream_schemas::reference::{Broker, Instrument};
use fillstream_venue::EngineConfig;

use super::SESSIONS;
use super::market::calendars;
use super::scenario::Scenario;
use crate::bus::Cluster;

/// Writes instruments, accounts, limits, venues, brokers and calendars.
///
/// # Errors
/// The cluster or the registry does not answer.
pub fn publish(
    cluster: &Cluster,
    scenario: &Scenario,
    instruments: &[Instrument],
    engine: &EngineConfig,
) -> anyhow::Result<()> {
    let mut writer = cluster.writer()?;
    for i in instruments {
        writer.put("reference.instruments.v1", &i.instrument_id, i)?;
    }
    for a in &scenario.accounts {
        writer.put("reference.accounts.v1", &a.account_id, a)?;
    }
    for l in &scenario.limits {
        writer.put("reference.limits.v1", &l.portfolio_id, l)?;
    }
    for v in &engine.venues {
        writer.put("reference.venues.v1", &v.venue_id, &v.reference())?;
    }
    for b in brokers(engine)? {
        writer.put("reference.brokers.v1", &b.broker_id, &b)?;
    }
    for c in calendars() {
        writer.put("reference.calendars.v1", &c.calendar_id, &c)?;
    }
    writer.flush()
}

// Two of the six brokers of the specification, with its commissions; both reach the simulated venues.
fn brokers(engine: &EngineConfig) -> anyhow::Result<Vec<Broker>> {
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
        })
    };
    let [first, second] = SESSIONS;
    Ok(vec![
        broker(first, "1", "0.005", "0.92", &["international", "options", "futures"])?,
        broker(second, "0", "0", "0.85", &["us_equities", "fractional_shares"])?,
    ])
}
