//! The pure core against small hand-written markets.

use super::{Event, Venue};
use crate::config::{EngineConfig, Misbehaviour, hundredths};
use crate::report::{RejectCode, Report};
use crate::request::{CancelRequest, OrderRequest, RefusalCode};
use fillstream_domain::{LiquidityFlag, OrdStatus, OrdType, Price, Quantity, Side, TimeInForce, TimestampMicros};
use fillstream_market::{FileSource, MarketSource};
use std::collections::BTreeMap;

const HEADER: &str = "ts_us,symbol,kind,bid,ask,bid_size,ask_size,price,size,venue";

/// A market of shares of AAA, one lot 1, tick 0.01, from lines `second quote bid ask bid_size ask_size` and
/// `second trade price size`; it ends at 1,000 s.
fn market(lines: &[&str]) -> Box<dyn MarketSource> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.csv");
    let mut text = format!("{HEADER}\n");
    for line in lines.iter().chain(&["999.999999 quote 1.01 99.01 1 1"]) {
        let cells: Vec<_> = line.split(' ').map(|cell| if cell == "-" { "" } else { cell }).collect();
        let us = (cells[0].parse::<f64>().unwrap() * 1e6).round();
        let row = match cells[1] {
            "quote" => format!("{us},AAA,quote,{},{},{},{},,,X", cells[2], cells[3], cells[4], cells[5]),
            _ => format!("{us},AAA,trade,,,,,{},{},X", cells[2], cells[3]),
        };
        text.push_str(&row);
        text.push('\n');
    }
    std::fs::write(&path, text).unwrap();
    let source = FileSource::open(&path).unwrap();
    Box::new(Kept { source, _dir: dir })
}

/// Keeps the folder of a file source.
struct Kept {
    source: FileSource,
    _dir: tempfile::TempDir,
}

impl MarketSource for Kept {
    fn next_row(
        &mut self,
    ) -> Result<Option<fillstream_schemas::market::NormalizedMarketData>, fillstream_market::MarketError> {
        self.source.next_row()
    }
    fn peek_time(&mut self) -> Result<Option<TimestampMicros>, fillstream_market::MarketError> {
        self.source.peek_time()
    }
    fn instruments(&self) -> &[fillstream_schemas::reference::Instrument] {
        self.source.instruments()
    }
    fn session(&self) -> fillstream_market::Session {
        self.source.session()
    }
}

/// One venue, all of the quoted size, nothing hidden, no misbehaviour, latency 0.1 s.
fn simple() -> EngineConfig {
    let mut config = EngineConfig { misbehaviour: Misbehaviour::none(), ..EngineConfig::default() };
    config.venues.truncate(1);
    config.venues[0].size_share = hundredths(100);
    config.venues[0].hidden_share = hundredths(0);
    config
}

fn at(second: f64) -> TimestampMicros {
    TimestampMicros::from_micros(format!("{:.0}", second * 1e6).parse().unwrap())
}

fn order(id: &str, side: Side, quantity: &str, limit: &str, time_in_force: TimeInForce, sent: f64) -> OrderRequest {
    let limit_price: Option<Price> = (!limit.is_empty()).then(|| limit.parse().unwrap());
    OrderRequest {
        client_order_id: id.to_owned(),
        account_id: "ACC".to_owned(),
        instrument_id: "AAA".to_owned(),
        venue: "XALP".to_owned(),
        side,
        ord_type: if limit_price.is_some() { OrdType::Limit } else { OrdType::Market },
        quantity: quantity.parse().unwrap(),
        limit_price,
        time_in_force,
        expire_at: None,
        sent_at: at(sent),
    }
}

fn buy(id: &str, quantity: &str, limit: &str, time_in_force: TimeInForce) -> OrderRequest {
    order(id, Side::Buy, quantity, limit, time_in_force, 1.0)
}

fn place(venue: &mut Venue, request: OrderRequest) {
    let accepted = venue.accept_order("SIM", request, None).unwrap().unwrap();
    venue.apply(Event::Order(accepted)).unwrap();
}

fn cancel(venue: &mut Venue, order: &str, id: &str, sent: f64) {
    let request = CancelRequest { client_order_id: id.to_owned(), sent_at: at(sent) };
    let accepted = venue.accept_cancel("SIM", order, request, None).unwrap().unwrap();
    venue.apply(Event::Cancel(accepted)).unwrap();
}

fn all(venue: &mut Venue) -> Vec<Report> {
    venue.apply(Event::Advance(at(2_000.0))).unwrap()
}

/// `exec_type ord_status last@px cum leaves` of each report.
fn shown(reports: &[Report]) -> Vec<String> {
    let show = |r: &Report| {
        let last = r.last_qty.zip(r.last_px).map(|(qty, px)| format!(" {qty}@{px}")).unwrap_or_default();
        let code = r.reject_code.map(|code| format!(" {code}")).unwrap_or_default();
        format!("{} {}{last} {} {}{code}", r.exec_type, r.ord_status, r.cum_qty, r.leaves_qty)
    };
    reports.iter().map(show).collect()
}

const QUOTE: &str = "0 quote 10.00 10.02 50 80";

#[test]
fn an_ioc_takes_the_touch_and_the_rest_is_cancelled() {
    let mut venue = Venue::new(simple(), market(&[QUOTE])).unwrap();
    place(&mut venue, buy("A", "100", "10.05", TimeInForce::Ioc));
    let reports = all(&mut venue);
    assert_eq!(
        shown(&reports),
        ["NEW NEW 0 100", "TRADE PARTIALLY_FILLED 80@10.02 80 20", "CANCELED CANCELED 80 0 IOC_REMAINDER"]
    );
    let trade = &reports[1];
    assert_eq!((trade.seq, trade.transact_at, trade.emitted_at), (2, at(1.1), at(1.2)));
    assert_eq!((trade.exec_id.as_str(), trade.liquidity), ("SIM:A:2", LiquidityFlag::Taker));
    // 0.3 bps of 801.60, to the cent.
    assert_eq!((trade.fee.unwrap().to_string(), trade.fee_currency.as_deref()), ("0.02".into(), Some("USD")));
    assert_eq!(trade.avg_px.unwrap().to_string(), "10.02");
}

#[test]
fn hidden_size_follows_the_displayed() {
    let mut config = simple();
    config.venues[0].hidden_share = hundredths(100);
    let mut venue = Venue::new(config, market(&[QUOTE])).unwrap();
    place(&mut venue, buy("A", "10000", "10.02", TimeInForce::Ioc));
    let reports = all(&mut venue);
    let fills: Vec<_> = reports.iter().filter_map(|r| r.last_qty).collect();
    assert_eq!(fills.len(), 2, "{:?}", shown(&reports));
    assert_eq!(fills[0].to_string(), "80");
    assert!(fills[1] <= "160".parse().unwrap());
}

#[test]
fn fok_is_all_or_nothing() {
    let mut venue = Venue::new(simple(), market(&[QUOTE])).unwrap();
    place(&mut venue, buy("A", "81", "10.02", TimeInForce::Fok));
    place(&mut venue, buy("B", "80", "10.02", TimeInForce::Fok));
    assert_eq!(
        shown(&all(&mut venue)),
        ["NEW NEW 0 81", "CANCELED CANCELED 0 0 FOK_NOT_FILLABLE", "NEW NEW 0 80", "TRADE FILLED 80@10.02 80 0"]
    );
}

#[test]
fn taken_size_is_gone_until_the_quote_changes_or_refreshes() {
    let quotes = [QUOTE, "1.3 quote 10.00 10.02 60 80", "1.5 quote 10.00 10.02 60 30"];
    let mut venue = Venue::new(simple(), market(&quotes)).unwrap();
    place(&mut venue, buy("A", "80", "10.02", TimeInForce::Ioc));
    place(&mut venue, order("B", Side::Buy, "5", "10.02", TimeInForce::Ioc, 1.3)); // the ask did not change
    place(&mut venue, order("C", Side::Buy, "40", "10.02", TimeInForce::Day, 1.6)); // 30 now, 10 after a second
    let reports = all(&mut venue);
    let fills: Vec<_> =
        reports.iter().filter(|r| r.last_qty.is_some()).map(|r| (r.cl_ord_id.as_str(), r.transact_at)).collect();
    assert_eq!(fills, [("A", at(1.1)), ("C", at(1.7)), ("C", at(2.7))], "{:?}", shown(&reports));
    assert_eq!(reports.last().unwrap().ord_status, OrdStatus::Filled);
}

#[test]
fn a_resting_order_waits_for_its_queue_and_fills_from_prints_at_its_limit() {
    let lines =
        [QUOTE, "2 trade 10.00 30", "3 trade 10.01 500", "4 trade 10.00 35", "5 trade 9.99 10", "6 trade 10.00 99"];
    let mut venue = Venue::new(simple(), market(&lines)).unwrap();
    place(&mut venue, buy("A", "60", "10.00", TimeInForce::Gtc));
    let reports = all(&mut venue);
    // 50 stand before it: 30, then 20 of 35; the print through it and the last are its own.
    assert_eq!(
        shown(&reports),
        [
            "NEW NEW 0 60",
            "TRADE PARTIALLY_FILLED 15@10 15 45",
            "TRADE PARTIALLY_FILLED 10@10 25 35",
            "TRADE FILLED 35@10 60 0"
        ]
    );
    assert!(reports[1..].iter().all(|r| r.liquidity == LiquidityFlag::Maker));
    assert_eq!(reports[1].fee.unwrap().to_string(), "0"); // 0.2 bps rebate of 150 is below a cent
}

#[test]
fn a_print_goes_to_the_better_price_and_then_to_the_earlier_order() {
    let mut venue = Venue::new(simple(), market(&[QUOTE, "3 trade 9.99 25", "4 trade 9.99 25"])).unwrap();
    place(&mut venue, order("LOW", Side::Buy, "10", "10.00", TimeInForce::Gtc, 1.0));
    place(&mut venue, order("LATE", Side::Buy, "10", "10.01", TimeInForce::Gtc, 1.5));
    place(&mut venue, order("BEST", Side::Buy, "20", "10.01", TimeInForce::Gtc, 1.2));
    let fills: Vec<_> = all(&mut venue)
        .into_iter()
        .filter_map(|r| Some((r.cl_ord_id, r.last_qty?.to_string(), r.transact_at)))
        .map(|(id, qty, time)| format!("{id} {qty} {}", time.micros() / 1_000_000))
        .collect();
    assert_eq!(fills, ["BEST 20 3", "LATE 5 3", "LATE 5 4", "LOW 10 4"]);
}

#[test]
fn an_order_meets_the_quote_of_its_instant() {
    let mut venue = Venue::new(simple(), market(&[QUOTE, "1.1 quote 10.00 10.03 50 80"])).unwrap();
    place(&mut venue, buy("A", "10", "", TimeInForce::Ioc));
    assert_eq!(shown(&all(&mut venue))[1], "TRADE FILLED 10@10.03 10 0");
}

#[test]
fn a_quote_through_a_resting_limit_fills_it_at_its_limit() {
    let mut venue = Venue::new(simple(), market(&[QUOTE, "5 quote 9.97 9.98 50 40"])).unwrap();
    place(&mut venue, buy("A", "60", "10.00", TimeInForce::Gtc));
    assert_eq!(shown(&all(&mut venue))[1], "TRADE PARTIALLY_FILLED 40@10 40 20");
}

#[test]
fn locked_and_crossed_quotes_never_trade() {
    let lines = ["0 quote 10.02 10.02 50 80", "3 quote 10.03 10.01 50 80", "5 quote 10.00 10.03 50 70"];
    let mut venue = Venue::new(simple(), market(&lines)).unwrap();
    place(&mut venue, buy("A", "10", "10.05", TimeInForce::Ioc));
    place(&mut venue, buy("B", "10", "10.05", TimeInForce::Day));
    place(&mut venue, order("C", Side::Sell, "10", "", TimeInForce::Day, 1.0));
    let reports = all(&mut venue);
    let fills: Vec<_> = reports.iter().filter(|r| r.last_qty.is_some()).collect();
    let seen: Vec<_> =
        fills.iter().map(|r| (r.cl_ord_id.as_str(), r.last_px.unwrap().to_string(), r.transact_at)).collect();
    assert_eq!(seen, [("B", "10.03".to_owned(), at(5.0)), ("C", "10".to_owned(), at(5.0))]);
    assert!(reports.iter().any(|r| r.cl_ord_id == "A" && r.reject_code == Some(RejectCode::IocRemainder)));
}

fn dark() -> EngineConfig {
    let mut config = simple();
    config.venues[0].dark = true;
    config.venues[0].hidden_share = hundredths(100);
    config
}

/// Its hidden size is drawn anew with each change of the ask; a print passes it by.
#[test]
fn rule_42_a_dark_pool_executes_at_the_middle_as_its_hidden_size_comes_and_shows_nothing() {
    let lines = [
        QUOTE,
        "2 trade 10.00 500",
        "3 quote 10.00 10.03 50 81",
        "4 quote 10.01 10.02 50 82",
        "5 quote 10.00 10.02 50 83",
        "6 quote 10.00 10.02 50 84",
    ];
    let mut venue = Venue::new(dark(), market(&lines)).unwrap();
    place(&mut venue, buy("A", "100000", "10.01", TimeInForce::Day));
    let reports = all(&mut venue);
    let fills: Vec<_> = reports.iter().filter(|r| r.last_qty.is_some_and(|q| q.is_positive())).collect();
    assert!(!fills.is_empty(), "{:?}", shown(&reports));
    for fill in &fills {
        assert_eq!((fill.last_px.unwrap().to_string(), fill.liquidity), ("10.01".to_owned(), LiquidityFlag::Taker));
        // Not at 10.015, the middle of the seconds 3 and 4, and not by the print of second 2.
        let time = fill.transact_at;
        assert!(!(at(3.0)..at(5.0)).contains(&time) && time != at(2.0), "{time}");
        assert!(fill.last_qty.unwrap() <= "168".parse().unwrap(), "twice the quoted size at most");
    }
    let mut venue = Venue::new(dark(), market(&lines)).unwrap();
    place(&mut venue, order("B", Side::Sell, "100000", "10.02", TimeInForce::Day, 1.0));
    // Nor before the market's last row, far from all others, is the middle at the limit of the sell.
    assert!(all(&mut venue).iter().all(|r| r.last_qty.is_none() || r.transact_at > at(999.0)));
}

#[test]
fn a_dark_pool_without_a_middle_fills_nothing() {
    for quote in ["0 quote - 10.02 - 80", "0 quote 10.02 10.02 50 80"] {
        let mut venue = Venue::new(dark(), market(&[quote])).unwrap();
        place(&mut venue, buy("A", "10", "", TimeInForce::Ioc));
        let reports = all(&mut venue);
        assert_eq!(shown(&reports)[1..], ["CANCELED CANCELED 0 0 IOC_REMAINDER"]);
    }
}

#[test]
fn an_unknown_size_is_the_assumed_clip() {
    let mut config = simple();
    config.venues[0].assumed_clip = Some("25".parse().unwrap());
    let mut venue = Venue::new(config, market(&["0 quote 10.00 10.02 - -"])).unwrap();
    place(&mut venue, buy("A", "100", "", TimeInForce::Ioc));
    assert_eq!(shown(&all(&mut venue))[1], "TRADE PARTIALLY_FILLED 25@10.02 25 75");
}

#[test]
fn cancels_are_answered_and_come_after_their_order() {
    let mut venue = Venue::new(simple(), market(&[QUOTE])).unwrap();
    place(&mut venue, buy("A", "60", "9.90", TimeInForce::Gtc));
    cancel(&mut venue, "A", "A-X", 0.5); // sent by a clock that is behind
    cancel(&mut venue, "A", "A-Y", 4.0);
    let reports = all(&mut venue);
    assert_eq!(
        shown(&reports),
        ["NEW NEW 0 60", "CANCELED CANCELED 0 0", "ORDER_STATUS CANCELED 0 0 TOO_LATE_TO_CANCEL"]
    );
    assert_eq!((reports[1].cl_ord_id.as_str(), reports[1].orig_cl_ord_id.as_deref()), ("A-X", Some("A")));
    assert_eq!((reports[2].cl_ord_id.as_str(), reports[2].orig_cl_ord_id.as_deref()), ("A-Y", Some("A")));
}

#[test]
fn orders_end_with_their_time() {
    let mut venue = Venue::new(simple(), market(&[QUOTE])).unwrap();
    place(&mut venue, buy("DAY", "1", "9.90", TimeInForce::Day));
    place(&mut venue, buy("GTC", "1", "9.90", TimeInForce::Gtc));
    place(&mut venue, OrderRequest { expire_at: Some(at(7.0)), ..buy("GTD", "1", "9.90", TimeInForce::Gtd) });
    place(&mut venue, OrderRequest { expire_at: Some(at(1.0)), ..buy("OLD", "1", "9.90", TimeInForce::Gtd) });
    let reports = all(&mut venue);
    let ends: Vec<_> = reports
        .iter()
        .filter(|r| r.leaves_qty.is_zero())
        .map(|r| (r.cl_ord_id.as_str(), r.ord_status, r.transact_at))
        .collect();
    assert_eq!(
        ends,
        [
            ("OLD", OrdStatus::Rejected, at(1.1)),
            ("GTD", OrdStatus::Expired, at(7.0)),
            ("DAY", OrdStatus::Expired, at(1_000.0))
        ]
    );
    assert_eq!(venue.next_event_at().unwrap(), None, "a GTC order in an ended market waits for ever");
}

#[test]
fn orders_that_the_venue_cannot_take_are_rejected_with_their_reason() {
    let mut config = simple();
    config.venues.push(crate::config::MarketCenter {
        venue_id: "XOTH".to_owned(),
        instruments: vec!["BBB".to_owned()],
        ..config.venues[0].clone()
    });
    config.venues.push(crate::config::MarketCenter {
        venue_id: "XNOQ".to_owned(),
        quotes_of: Some("Y".to_owned()),
        ..config.venues[0].clone()
    });
    let mut venue = Venue::new(config, market(&[QUOTE])).unwrap();
    let at_venue = |id: &str, venue: &str| OrderRequest {
        venue: venue.to_owned(),
        ..order(id, Side::Buy, "1", "9", TimeInForce::Day, 3.0)
    };
    place(&mut venue, at_venue("DARK", "XNOQ"));
    place(&mut venue, at_venue("AWAY", "XOTH"));
    place(&mut venue, order("TICK", Side::Buy, "1", "9.005", TimeInForce::Day, 3.0));
    place(&mut venue, order("LOT", Side::Buy, "1.5", "9", TimeInForce::Day, 3.0));
    place(&mut venue, order("LATE", Side::Buy, "1", "9", TimeInForce::Day, 1_000.0));
    let reports = all(&mut venue);
    let codes: BTreeMap<_, _> = reports.iter().map(|r| (r.cl_ord_id.as_str(), r.reject_code.unwrap())).collect();
    assert_eq!(reports.len(), 5, "{:?}", shown(&reports));
    assert_eq!(codes["DARK"], RejectCode::NoMarket);
    assert_eq!(codes["TICK"], RejectCode::InvalidTick);
    assert_eq!(codes["LOT"], RejectCode::InvalidLot);
    assert_eq!(codes["AWAY"], RejectCode::NotTradedHere);
    assert_eq!(codes["LATE"], RejectCode::MarketClosed);
}

#[test]
fn requests_are_refused_by_name() {
    let venue = Venue::new(simple(), market(&[QUOTE])).unwrap();
    let code =
        |session: &str, request: OrderRequest| venue.accept_order(session, request, None).unwrap().unwrap_err().code;
    let base = || buy("A", "1", "10", TimeInForce::Day);
    assert_eq!(code("NOBODY", base()), RefusalCode::UnknownSession);
    assert_eq!(code("SIM", OrderRequest { venue: "X".into(), ..base() }), RefusalCode::UnknownVenue);
    assert_eq!(code("SIM", OrderRequest { instrument_id: "X".into(), ..base() }), RefusalCode::UnknownInstrument);
    assert_eq!(code("SIM", OrderRequest { quantity: Quantity::ZERO, ..base() }), RefusalCode::BadQuantity);
    assert_eq!(code("SIM", OrderRequest { limit_price: None, ..base() }), RefusalCode::LimitPriceRequired);
    assert_eq!(code("SIM", OrderRequest { ord_type: OrdType::Market, ..base() }), RefusalCode::LimitPriceNotAllowed);
    assert_eq!(code("SIM", OrderRequest { ord_type: OrdType::Stop, ..base() }), RefusalCode::UnsupportedOrdType);
    assert_eq!(code("SIM", OrderRequest { time_in_force: TimeInForce::Gtd, ..base() }), RefusalCode::ExpireAtRequired);
    let ioc = OrderRequest { time_in_force: TimeInForce::Ioc, expire_at: Some(at(9.0)), ..base() };
    assert_eq!(code("SIM", ioc), RefusalCode::ExpireAtNotAllowed);
}

#[test]
fn a_used_id_is_never_used_again() {
    let mut venue = Venue::new(simple(), market(&[QUOTE])).unwrap();
    place(&mut venue, buy("A", "10", "10.02", TimeInForce::Ioc));
    cancel(&mut venue, "A", "A-X", 2.0);
    for round in 0..2 {
        for id in ["A", "A-X"] {
            let refusal = venue.accept_order("SIM", buy(id, "99", "", TimeInForce::Day), None).unwrap().unwrap_err();
            assert_eq!(refusal.code, RefusalCode::DuplicateClordid);
            let existing = serde_json::to_value(refusal.existing.unwrap()).unwrap();
            assert_eq!(existing["kind"], if id == "A" { "ORDER" } else { "CANCEL" });
            if id == "A" {
                assert_eq!(existing["ord_status"], if round == 0 { "PENDING_NEW" } else { "FILLED" });
                assert_eq!(existing["quantity"], "10");
            }
        }
        all(&mut venue);
    }
}

#[test]
fn a_late_fill_keeps_the_figures_consistent_and_repeats_are_marked() {
    let mut config = simple();
    config.misbehaviour.late_share = hundredths(100);
    config.misbehaviour.repeat_share = hundredths(100);
    let mut venue = Venue::new(config, market(&[QUOTE])).unwrap();
    place(&mut venue, buy("A", "100", "10.02", TimeInForce::Ioc));
    let reports = all(&mut venue);
    let first: Vec<_> = reports.iter().filter(|r| !r.poss_dup).cloned().collect();
    assert_eq!(shown(&first), ["NEW NEW 0 100", "CANCELED CANCELED 0 0 IOC_REMAINDER", "TRADE CANCELED 80@10.02 80 0"]);
    assert!(first[2].emitted_at >= at(1.5) && first[2].transact_at == at(1.1));
    assert_eq!(reports.len(), 6);
    for again in reports.iter().filter(|r| r.poss_dup) {
        let original = first.iter().find(|r| r.exec_id == again.exec_id).unwrap();
        assert!(again.seq > original.seq && again.emitted_at > original.emitted_at);
        let (seq, emitted_at) = (original.seq, original.emitted_at);
        assert_eq!(&Report { seq, emitted_at, poss_dup: false, ..again.clone() }, original);
    }
}

#[test]
fn a_swallowed_order_is_unknown_for_ever() {
    let mut config = simple();
    config.misbehaviour.silence_share = hundredths(100);
    let mut venue = Venue::new(config, market(&[QUOTE])).unwrap();
    place(&mut venue, buy("A", "10", "", TimeInForce::Ioc));
    cancel(&mut venue, "A", "A-X", 2.0);
    assert_eq!(all(&mut venue), []);
    let status = serde_json::to_value(venue.status("SIM", "A").unwrap()).unwrap();
    assert_eq!((&status["ord_status"], &status["last_seq"]), (&"UNKNOWN".into(), &0.into()));
}
