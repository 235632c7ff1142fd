//! Market data by event time.

use std::collections::BTreeMap;

use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};

use crate::num::{E4, Round, divide};

/// A quote row; prices with eight digits after the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QuoteRow {
    pub(crate) time: i64,
    seq: i64,
    pub(crate) bid: Option<i128>,
    pub(crate) ask: Option<i128>,
}

#[derive(Clone, Copy, Debug)]
struct Print {
    time: i64,
    seq: i64,
    price: i128,
    size: i128,
}

/// Sums over prints: volume (8 digits), notional (12 digits, each product rounded half to even), count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) volume: i128,
    pub(crate) notional: i128,
    pub(crate) prints: i64,
}

#[derive(Clone, Debug, Default)]
struct Series {
    quotes: Vec<QuoteRow>,
    prints: Vec<Print>,
    /// Sums before each print.
    sums: Vec<Sums>,
    first: Option<i64>,
}

/// Rows of every instrument at every venue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Market {
    series: BTreeMap<String, BTreeMap<String, Series>>,
}

impl Market {
    /// Takes a row in; [`Market::settle`] must follow before anything is asked.
    pub(crate) fn take(&mut self, row: &NormalizedMarketData) {
        let (time, seq) = (row.event_time.micros(), row.seq);
        // No allocation for a known instrument and venue.
        if !self.series.contains_key(&row.instrument_id) {
            self.series.insert(row.instrument_id.clone(), BTreeMap::new());
        }
        let Some(venues) = self.series.get_mut(&row.instrument_id) else { return };
        if !venues.contains_key(&row.venue) {
            venues.insert(row.venue.clone(), Series::default());
        }
        let Some(series) = venues.get_mut(&row.venue) else { return };
        series.first.get_or_insert(time);
        match row.kind {
            MarketDataKind::Quote => {
                let (bid, ask) = (row.bid.map(|px| px.unscaled()), row.ask.map(|px| px.unscaled()));
                series.quotes.push(QuoteRow { time, seq, bid, ask });
            }
            MarketDataKind::Trade => {
                if let Some((price, size)) = row.price.zip(row.size) {
                    series.prints.push(Print { time, seq, price: price.unscaled(), size: size.unscaled() });
                }
            }
            MarketDataKind::Status => {}
        }
    }

    /// Puts the rows in order of event time, rows of one time as they came, and drops repeated ones.
    pub(crate) fn settle(&mut self) {
        for series in self.series.values_mut().flat_map(BTreeMap::values_mut) {
            series.quotes.sort_by_key(|row| row.time);
            drop_repeated(&mut series.quotes, |row| (row.time, row.seq));
            series.prints.sort_by_key(|row| row.time);
            drop_repeated(&mut series.prints, |row| (row.time, row.seq));
            let mut sums = Sums::default();
            series.sums = Vec::with_capacity(series.prints.len() + 1);
            series.sums.push(sums);
            for print in &series.prints {
                let product = print.price.checked_mul(print.size).and_then(|e16| divide(e16, E4, Round::HalfEven));
                sums.volume = sums.volume.saturating_add(print.size);
                sums.notional = sums.notional.saturating_add(product.unwrap_or(i128::MAX));
                sums.prints += 1;
                series.sums.push(sums);
            }
        }
    }

    fn series(&self, instrument: &str, venue: &str) -> Option<&Series> {
        self.series.get(instrument)?.get(venue)
    }

    /// The quotes that prevailed at some moment of `[at - lateness, at]`, the one at `at` last. Of rows of one time the
    /// later wins. A row without both sides prevails too: it leaves no quote.
    pub(crate) fn prevailing(&self, instrument: &str, venue: &str, at: i64, lateness: i64) -> &[QuoteRow] {
        let Some(series) = self.series(instrument, venue) else { return &[] };
        let end = series.quotes.partition_point(|row| row.time <= at);
        let start = series.quotes.partition_point(|row| row.time <= at.saturating_sub(lateness));
        // Live, a later row of one time may have been unknown, too.
        let start = if lateness > 0 {
            start
                .checked_sub(1)
                .and_then(|i| series.quotes.get(i))
                .map_or(0, |held| series.quotes.partition_point(|row| row.time < held.time))
        } else {
            end.saturating_sub(1)
        };
        series.quotes.get(start..end).unwrap_or_default()
    }

    /// The quotes of exactly this time.
    pub(crate) fn quotes_at(&self, instrument: &str, venue: &str, time: i64) -> &[QuoteRow] {
        let Some(series) = self.series(instrument, venue) else { return &[] };
        let start = series.quotes.partition_point(|row| row.time < time);
        let end = series.quotes.partition_point(|row| row.time <= time);
        series.quotes.get(start..end).unwrap_or_default()
    }

    /// Whether this was printed, or quoted on either side, at exactly this time.
    pub(crate) fn had(&self, instrument: &str, venue: &str, time: i64, price: i128) -> bool {
        let Some(series) = self.series(instrument, venue) else { return false };
        let start = series.prints.partition_point(|row| row.time < time);
        let mut prints = series.prints.iter().skip(start).take_while(|row| row.time == time);
        let quoted = |row: &QuoteRow| row.bid == Some(price) || row.ask == Some(price);
        prints.any(|row| row.price == price) || self.quotes_at(instrument, venue, time).iter().any(quoted)
    }

    /// Sums of the prints before `end`.
    pub(crate) fn printed(&self, instrument: &str, venue: &str, end: i64) -> Option<Sums> {
        let series = self.series(instrument, venue)?;
        series.sums.get(series.prints.partition_point(|row| row.time < end)).copied()
    }

    /// Event time of the first row.
    pub(crate) fn first(&self, instrument: &str, venue: &str) -> Option<i64> {
        self.series(instrument, venue)?.first
    }
}

// A row said twice has the same time and sequence; it may stand anywhere among the rows of its time.
fn drop_repeated<T>(rows: &mut Vec<T>, id: impl Fn(&T) -> (i64, i64)) {
    let mut seen: Vec<i64> = Vec::new();
    let mut time = None;
    rows.retain(|row| {
        let (at, seq) = id(row);
        if time != Some(at) {
            (time, seen) = (Some(at), Vec::new());
        }
        let new = !seen.contains(&seq);
        seen.push(seq);
        new
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use fillstream_schemas::TimestampMicros;

    fn row(time: i64, seq: i64, kind: MarketDataKind) -> NormalizedMarketData {
        NormalizedMarketData {
            instrument_id: "I".into(),
            venue: "V".into(),
            kind,
            event_time: TimestampMicros::from_micros(time),
            seq,
            ..NormalizedMarketData::default()
        }
    }

    fn quote(time: i64, seq: i64, bid: &str) -> NormalizedMarketData {
        let bid = bid.parse().ok();
        NormalizedMarketData { bid, ask: "9".parse().ok(), ..row(time, seq, MarketDataKind::Quote) }
    }

    fn bids(rows: &[QuoteRow]) -> Vec<Option<i128>> {
        rows.iter().map(|row| row.bid.map(|bid| bid / 100_000_000)).collect()
    }

    #[test]
    fn the_prevailing_quote_is_the_later_row_of_the_last_time() {
        let mut market = Market::default();
        for row in [quote(10, 1, "1"), quote(20, 2, "2"), quote(20, 3, "3"), quote(30, 4, ""), quote(25, 5, "5")] {
            market.take(&row);
        }
        market.take(&quote(20, 2, "2"));
        market.settle();
        let at = |t| bids(market.prevailing("I", "V", t, 0));
        assert_eq!(at(9), []);
        assert_eq!(at(10), [Some(1)]);
        assert_eq!(at(20), [Some(3)], "a repeated row is not a later one");
        assert_eq!(at(29), [Some(5)], "a late row goes to its place");
        assert_eq!(at(30), [None]);
        assert_eq!(bids(market.prevailing("I", "V", 26, 8)), [Some(1), Some(2), Some(3), Some(5)]);
        assert_eq!(bids(market.prevailing("I", "V", 26, 2)), [Some(2), Some(3), Some(5)]);
    }

    #[test]
    fn sums_are_of_the_prints_before_a_time() {
        let mut market = Market::default();
        for (time, seq, price, size) in [(10, 1, "2", "3"), (20, 2, "0.00000001", "0.00005"), (20, 3, "1", "1")] {
            let (price, size) = (price.parse().ok(), size.parse().ok());
            market.take(&NormalizedMarketData { price, size, ..row(time, seq, MarketDataKind::Trade) });
        }
        market.settle();
        assert_eq!(market.printed("I", "V", 10), Some(Sums::default()));
        let one = Sums { volume: 300_000_000, notional: 6_000_000_000_000, prints: 1 };
        assert_eq!(market.printed("I", "V", 20), Some(one));
        assert_eq!(market.printed("I", "V", 21).map(|s| s.notional), Some(7_000_000_000_000));
        assert_eq!(market.first("I", "V"), Some(10));
        let had = |time, price| market.had("I", "V", time, price);
        assert!(had(20, 1) && had(20, 100_000_000) && had(10, 200_000_000));
        assert!(!had(20, 2) && !had(15, 200_000_000) && !market.had("I", "W", 10, 200_000_000));
    }
}
