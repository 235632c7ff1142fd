//! Reference data for a person to read.

use fillstream_schemas::reference::Instrument;
use std::fmt::Write as _;

/// The reference data as a table of text, one instrument a line.
#[must_use]
pub fn reference_table(instruments: &[Instrument]) -> String {
    let unknown = || "unknown".to_owned();
    let mut out = format!(
        "{:<14} {:<6} {:<5} {:<5} {:>11} {:>11} {:<13} {:>12} {:>18}  {}\n",
        "instrument", "class", "base", "quote", "tick", "lot", "ref. venue", "sigma/day", "ADV", "ADV source"
    );
    for i in instruments {
        let _ = writeln!(
            out,
            "{:<14} {:<6} {:<5} {:<5} {:>11} {:>11} {:<13} {:>12} {:>18}  {}",
            i.instrument_id,
            i.asset_class.as_str(),
            i.base_currency,
            i.quote_currency,
            i.tick_size,
            i.lot_size,
            i.reference_venue,
            i.daily_sigma.map_or_else(unknown, |sigma| sigma.to_string()),
            i.adv.map_or_else(unknown, |adv| adv.to_string()),
            i.adv_source.as_deref().unwrap_or("no trades in the source"),
        );
    }
    out
}
