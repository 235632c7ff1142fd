//! The venue's own journal, the witness of what was really sent and executed.

use serde::{Deserialize, Deserializer};

use crate::error::AuditError;
use crate::http;
use crate::num::parse;

/// Lines a request.
const PAGE: u64 = 10_000;

/// A decimal of at most eight digits after the point, as a count of units of 10^-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Dec(pub(crate) i128);

impl<'de> Deserialize<'de> for Dec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text, crate::num::SCALE)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no decimal of at most 8 places")))
    }
}

/// An order that the venue took in.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct VenueOrder {
    pub(crate) session: String,
    pub(crate) client_order_id: String,
    pub(crate) account_id: String,
    pub(crate) instrument_id: String,
    pub(crate) venue: String,
    pub(crate) side: String,
    pub(crate) ord_type: String,
    pub(crate) quantity: Dec,
    pub(crate) limit_price: Option<Dec>,
    pub(crate) time_in_force: String,
    pub(crate) sent_at: i64,
}

/// A cancel request that the venue took in.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct VenueCancel {
    pub(crate) session: String,
    pub(crate) client_order_id: String,
    pub(crate) orig_client_order_id: String,
    pub(crate) sent_at: i64,
}

/// A report that the venue made.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct VenueReport {
    pub(crate) session: String,
    pub(crate) seq: i64,
    pub(crate) emitted_at: i64,
    pub(crate) exec_id: String,
    pub(crate) cl_ord_id: String,
    pub(crate) instrument_id: String,
    pub(crate) venue: String,
    pub(crate) side: String,
    pub(crate) exec_type: String,
    pub(crate) last_qty: Option<Dec>,
    pub(crate) last_px: Option<Dec>,
    pub(crate) fee: Option<Dec>,
    pub(crate) fee_currency: Option<String>,
}

/// What the journal says.
#[derive(Clone, Debug, Default)]
pub(crate) struct VenueJournal {
    pub(crate) orders: Vec<VenueOrder>,
    pub(crate) cancels: Vec<VenueCancel>,
    pub(crate) reports: Vec<VenueReport>,
    /// Lines taken in.
    pub(crate) lines: u64,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Entry {
    Start {},
    Clock {},
    Order(VenueOrder),
    Cancel(VenueCancel),
    Report { report: Box<VenueReport> },
}

#[derive(Deserialize)]
struct Line {
    n: u64,
    #[serde(flatten)]
    entry: Entry,
}

impl VenueJournal {
    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Start {} | Entry::Clock {} => {}
            Entry::Order(order) => self.orders.push(order),
            Entry::Cancel(cancel) => self.cancels.push(cancel),
            Entry::Report { report } => self.reports.push(*report),
        }
    }

    /// Takes a line in, whose number must be the next.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), String> {
        let next = self.lines;
        let line: Line = serde_json::from_str(text).map_err(|e| format!("line {next}: {e}"))?;
        if line.n != next {
            return Err(format!("line {} where {next} should be", line.n));
        }
        self.lines += 1;
        self.take(line.entry);
        Ok(())
    }

    /// Takes a page in; gives the number of the next line.
    fn page(&mut self, text: &str) -> Result<u64, String> {
        text.lines().filter(|line| !line.is_empty()).try_for_each(|line| self.line(line))?;
        Ok(self.lines)
    }
}

/// Reads the journal to its end.
pub(crate) async fn read(client: &reqwest::Client, url: &str) -> Result<VenueJournal, AuditError> {
    let mut journal = VenueJournal::default();
    loop {
        let next = journal.lines;
        let url = format!("{}/v1/journal?from={next}&limit={PAGE}", url.trim_end_matches('/'));
        let text = http::text(&url, client.get(&url)).await?;
        let after = journal.page(&text).map_err(|problem| AuditError::Malformed { url, problem })?;
        if after == next {
            return Ok(journal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"n":0,"type":"start","version":1,"mode":"paced","session_start":1,"session_end":2,"config":{}}
{"n":1,"type":"order","at":5,"session":"S","client_order_id":"C","account_id":"A","instrument_id":"I","venue":"V","side":"BUY","ord_type":"LIMIT","quantity":"300","limit_price":"101.25","time_in_force":"DAY","expire_at":null,"sent_at":4,"arrives_at":9}
{"n":2,"type":"cancel","at":5,"session":"S","client_order_id":"C2","orig_client_order_id":"C","sent_at":4,"arrives_at":9}
{"n":3,"type":"clock","instant":9,"sequence":17}
{"n":4,"type":"report","report":{"session":"S","seq":12,"emitted_at":7,"exec_id":"E","cl_ord_id":"C","orig_cl_ord_id":null,"account_id":"A","instrument_id":"I","venue":"V","side":"BUY","exec_type":"TRADE","ord_status":"FILLED","ord_qty":"300","last_qty":"300","last_px":"101.25","cum_qty":"300","leaves_qty":"0","avg_px":"101.25","fee":"-0.3","fee_currency":"USD","liquidity":"TAKER","transact_at":6,"ref_exec_id":null,"reject_code":null,"text":null,"poss_dup":false}}
"#;

    #[test]
    fn the_journal_reads_as_its_protocol_says() {
        let mut journal = VenueJournal::default();
        assert_eq!(journal.page(LINES), Ok(5));
        assert_eq!(journal.page(""), Ok(5));
        let order = &journal.orders[0];
        assert_eq!((order.quantity, order.limit_price), (Dec(30_000_000_000), Some(Dec(10_125_000_000))));
        assert_eq!(journal.cancels[0].orig_client_order_id, "C");
        let report = &journal.reports[0];
        assert_eq!((report.seq, report.fee, report.exec_type.as_str()), (12, Some(Dec(-30_000_000)), "TRADE"));
    }

    #[test]
    fn a_missing_line_and_another_form_are_errors() {
        assert!(VenueJournal { lines: 1, ..VenueJournal::default() }.page(LINES).is_err());
        assert!(VenueJournal::default().page(r#"{"n":0,"type":"cancel","at":5}"#).is_err());
        assert!(VenueJournal::default().page(r#"{"n":0,"type":"other"}"#).is_err());
    }
}
