//! One line of a market file.

use fillstream_domain::{Price, Quantity, TimestampMicros};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use std::fmt::Display;
use std::str::FromStr;

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadColumn {
    pub(super) column: &'static str,
    pub(super) problem: String,
}

/// Reads a line; `previous` is the time of the line before. `seq` is left at 0.
pub(super) fn parse(line: &str, previous: Option<TimestampMicros>) -> Result<NormalizedMarketData, BadColumn> {
    let mut cells = Cells { cells: line.split(',') };
    let (ts_us, symbol, kind) = (cells.take("ts_us")?, cells.take("symbol")?, cells.take("kind")?);
    let (bid, ask) = (cells.take("bid")?, cells.take("ask")?);
    let (bid_size, ask_size) = (cells.take("bid_size")?, cells.take("ask_size")?);
    let (price, size, venue) = (cells.take("price")?, cells.take("size")?, cells.take("venue")?);
    if cells.cells.next().is_some() {
        return Err(bad("venue", "more cells follow"));
    }

    let event_time =
        ts_us.parse().map(TimestampMicros::from_micros).map_err(|_| bad("ts_us", "no whole number of microseconds"))?;
    if previous.is_some_and(|previous| event_time < previous) {
        return Err(bad("ts_us", "earlier than the line before"));
    }
    let row = NormalizedMarketData {
        instrument_id: name("symbol", symbol)?,
        venue: name("venue", venue)?,
        event_time,
        ..NormalizedMarketData::default()
    };
    match kind {
        "quote" => {
            empty("price", price)?;
            empty("size", size)?;
            if bid.is_empty() && ask.is_empty() {
                return Err(bad("bid", "a quote without bid and ask"));
            }
            Ok(NormalizedMarketData {
                kind: MarketDataKind::Quote,
                bid: number::<Price>("bid", bid)?,
                ask: number::<Price>("ask", ask)?,
                bid_size: number::<Quantity>("bid_size", bid_size)?,
                ask_size: number::<Quantity>("ask_size", ask_size)?,
                ..row
            })
        }
        "trade" => {
            for (column, cell) in [("bid", bid), ("ask", ask), ("bid_size", bid_size), ("ask_size", ask_size)] {
                empty(column, cell)?;
            }
            let price = number::<Price>("price", price)?;
            if price.is_none() {
                return Err(bad("price", "a trade without a price"));
            }
            Ok(NormalizedMarketData {
                kind: MarketDataKind::Trade,
                price,
                size: number::<Quantity>("size", size)?,
                ..row
            })
        }
        other => Err(bad("kind", format!("{:?} is neither quote nor trade", short(other)))),
    }
}

struct Cells<'a> {
    cells: std::str::Split<'a, char>,
}

impl<'a> Cells<'a> {
    fn take(&mut self, column: &'static str) -> Result<&'a str, BadColumn> {
        self.cells.next().ok_or_else(|| bad(column, "the line ends before it"))
    }
}

fn bad(column: &'static str, problem: impl Into<String>) -> BadColumn {
    BadColumn { column, problem: problem.into() }
}

/// What is quoted from the file in an error, kept short.
fn short(cell: &str) -> String {
    cell.chars().take(32).collect()
}

fn name(column: &'static str, cell: &str) -> Result<String, BadColumn> {
    if cell.is_empty() { Err(bad(column, "empty")) } else { Ok(cell.to_owned()) }
}

fn empty(column: &'static str, cell: &str) -> Result<(), BadColumn> {
    if cell.is_empty() { Ok(()) } else { Err(bad(column, "not empty, which does not fit the kind")) }
}

/// An empty cell is unknown.
fn number<T: FromStr<Err: Display>>(column: &'static str, cell: &str) -> Result<Option<T>, BadColumn> {
    if cell.is_empty() {
        return Ok(None);
    }
    cell.parse().map(Some).map_err(|problem| bad(column, format!("{:?}: {problem}", short(cell))))
}
