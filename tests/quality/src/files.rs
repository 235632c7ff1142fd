//! Paths cut from market files: windows that do not overlap, each instrument at its reference venue.
//!
//! A file is one stretch of time in one market, so its windows are few: the tables say how many. Instruments of a file are recorded at the
//! same time, so even those windows are not independent of each other.

use std::path::Path;

use fillstream_domain::TimestampMicros;
use fillstream_market::{FileSource, MarketSource as _};

use crate::error::QualityError;
use crate::path::{MarketPath, Said, Tick};

/// How a file is cut.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// What its name begins with.
    pub name: &'static str,
    /// Time before the first order, and of history that each order has, seconds.
    pub warm_s: i64,
    /// Time from an order to the next.
    pub horizon_s: i64,
}

/// The files of the data set, by what their names begin with.
pub const CUTS: [Cut; 3] = [
    Cut { name: "crypto_tick", warm_s: 100, horizon_s: 60 },
    Cut { name: "fx_tick", warm_s: 300, horizon_s: 600 },
    Cut { name: "crypto_1m", warm_s: 300, horizon_s: 1_200 },
];

/// All windows of a file of a folder whose name begins as the cut says; none if there is no such file.
///
/// # Errors
/// The folder or the file cannot be read.
pub fn windows(folder: &Path, cut: &Cut) -> Result<Vec<MarketPath>, QualityError> {
    let failed = |source| QualityError::Folder { folder: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().starts_with(cut.name) {
            files.push(entry.path());
        }
    }
    files.sort();
    let Some(file) = files.first() else { return Ok(Vec::new()) };
    let mut source = FileSource::open(file)?;
    let (instruments, session) = (source.instruments().to_vec(), source.session());
    let mut ticks: Vec<Vec<Tick>> = vec![Vec::new(); instruments.len()];
    while let Some(row) = source.next_row()? {
        let of =
            instruments.iter().position(|i| i.instrument_id == row.instrument_id && i.reference_venue == row.venue);
        if let Some((series, tick)) = of.and_then(|n| ticks.get_mut(n)).zip(Tick::of(&row)) {
            series.push(tick);
        }
    }
    let mut paths = Vec::new();
    for (instrument, ticks) in instruments.iter().zip(&ticks) {
        let mut arrival = session.start.micros() + cut.warm_s * 1_000_000;
        while arrival + cut.horizon_s * 1_000_000 < session.end.micros() {
            let (from, to) = (arrival - cut.warm_s * 1_000_000, arrival + cut.horizon_s * 1_000_000);
            let begins = ticks.partition_point(|t| t.at.micros() < from);
            let ends = ticks.partition_point(|t| t.at.micros() <= to);
            let rows = ticks.get(begins..ends).unwrap_or_default().to_vec();
            if is_quoted(&rows, arrival) {
                let n = paths.len();
                paths.push(MarketPath {
                    name: format!("{}/{}/{n}", cut.name, instrument.instrument_id),
                    market: cut.name.to_owned(),
                    instrument: instrument.clone(),
                    ticks: rows,
                    arrives_at: TimestampMicros::from_micros(arrival),
                    is_buy: n % 2 == 0,
                    moves: false,
                    is_news: false,
                });
            }
            arrival = to;
        }
    }
    Ok(paths)
}

/// Whether a two-sided quote stands at the arrival that is neither locked nor crossed.
fn is_quoted(rows: &[Tick], arrival: i64) -> bool {
    let before = rows.iter().rev().filter(|t| t.at.micros() <= arrival);
    let mut quotes = before.filter_map(|t| if let Said::Quote(top) = t.said { Some(top) } else { None });
    quotes.next().flatten().is_some_and(|top| top.bid < top.ask)
}
