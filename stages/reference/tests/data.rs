//! Reference data: lookups, deletions, the account of a portfolio, sessions, rates.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use fillstream_core::table::{Table, TableRow};
use fillstream_domain::{DurationMicros, TimestampMicros};
use fillstream_reference::{AccountMiss, CalendarMiss, FxMiss, MarketTable, ReferenceData, fx_rate};
use fillstream_schemas::codec::AvroRecord;
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::{Account, Broker, Calendar, Instrument, RiskLimit, Venue};

fn apply(data: &mut ReferenceData, topic: &str, key: &str, value: Option<Vec<u8>>) -> Result<(), String> {
    let row = TableRow { topic, partition: 0, offset: 0, key, value: value.as_deref(), event_time: None };
    Table::apply(data, &row).map_err(|e| e.to_string())
}

fn account(id: &str, portfolio: &str) -> Option<Vec<u8>> {
    let account = Account { account_id: id.to_owned(), portfolio_id: portfolio.to_owned(), ..Account::default() };
    Some(account.to_bytes())
}

fn instrument(id: &str) -> Option<Vec<u8>> {
    let instrument = Instrument {
        instrument_id: id.to_owned(),
        reference_venue: "XA".to_owned(),
        calendar_id: "DAY".to_owned(),
        ..Instrument::default()
    };
    Some(instrument.to_bytes())
}

fn time(text: &str) -> TimestampMicros {
    text.parse().unwrap()
}

#[test]
fn a_portfolio_has_the_one_account_that_names_it() {
    let mut data = ReferenceData::default();
    let topic = "reference.accounts.v1";
    assert_eq!(data.account_of("P1").err(), Some(AccountMiss::None));
    apply(&mut data, topic, "A1", account("A1", "P1")).unwrap();
    assert_eq!(data.account_of("P1").unwrap().account_id, "A1");
    apply(&mut data, topic, "A2", account("A2", "P1")).unwrap();
    assert_eq!(data.account_of("P1").err(), Some(AccountMiss::Several { count: 2 }));
    let ids = |data: &ReferenceData, p| data.accounts_of(p).iter().map(|a| a.account_id.clone()).collect::<Vec<_>>();
    assert_eq!((ids(&data, "P1"), ids(&data, "P2")), (vec!["A1".to_owned(), "A2".to_owned()], vec![]));
    apply(&mut data, topic, "A2", account("A2", "P2")).unwrap();
    assert_eq!((ids(&data, "P1"), ids(&data, "P2")), (vec!["A1".to_owned()], vec!["A2".to_owned()]));
    assert_eq!(data.account_of("P1").unwrap().account_id, "A1");
    assert_eq!(data.account_of("P2").unwrap().account_id, "A2");
    apply(&mut data, topic, "A1", None).unwrap();
    assert_eq!(data.account_of("P1").err(), Some(AccountMiss::None));
    assert!(data.account("A1").is_none());
}

#[test]
fn a_record_under_another_key_is_refused() {
    let mut data = ReferenceData::default();
    let error = apply(&mut data, "reference.accounts.v1", "A9", account("A1", "P1")).unwrap_err();
    assert!(error.contains("A1") && error.contains("A9"), "{error}");
    assert!(data.account("A1").is_none() && data.account("A9").is_none());
}

#[test]
fn deletions_take_limits_venues_and_brokers_away() {
    let mut data = ReferenceData::default();
    let limit = RiskLimit { portfolio_id: "P1".to_owned(), ..RiskLimit::default() };
    apply(&mut data, "reference.limits.v1", "P1", Some(limit.to_bytes())).unwrap();
    let venue = Venue { venue_id: "XA".to_owned(), ..Venue::default() };
    apply(&mut data, "reference.venues.v1", "XA", Some(venue.to_bytes())).unwrap();
    let broker = Broker { broker_id: "B1".to_owned(), ..Broker::default() };
    apply(&mut data, "reference.brokers.v1", "B1", Some(broker.to_bytes())).unwrap();
    assert!(data.limit("P1").is_some() && data.broker("B1").is_some() && data.venue("XA").is_some());
    apply(&mut data, "reference.limits.v1", "P1", None).unwrap();
    apply(&mut data, "reference.venues.v1", "XA", None).unwrap();
    apply(&mut data, "reference.brokers.v1", "B1", None).unwrap();
    assert!(data.limit("P1").is_none() && data.broker("B1").is_none() && data.venue("XA").is_none());
}

#[test]
fn sessions_come_from_the_instruments_calendar() {
    let mut data = ReferenceData::default();
    let now = time("2026-11-20T10:00:00Z");
    assert_eq!(data.session_end("ACME", now), Err(CalendarMiss::NoInstrument));
    apply(&mut data, "reference.instruments.v1", "ACME", instrument("ACME")).unwrap();
    assert_eq!(data.session_end("ACME", now), Err(CalendarMiss::NoCalendar));
    let calendar = Calendar {
        calendar_id: "DAY".to_owned(),
        opens_at_us: 8 * 3_600_000_000,
        closes_at_us: 16 * 3_600_000_000,
        open_weekends: false,
        holidays: vec!["2026-11-23".to_owned()],
        version: 1,
        ..Calendar::default()
    };
    apply(&mut data, "reference.calendars.v1", "DAY", Some(calendar.to_bytes())).unwrap();
    assert_eq!(data.session_end("ACME", now), Ok(time("2026-11-20T16:00:00Z")));
    // Friday evening: the weekend and the holiday are skipped.
    assert_eq!(data.session_end("ACME", time("2026-11-20T16:00:00Z")), Ok(time("2026-11-24T16:00:00Z")));
    assert_eq!(data.is_open("ACME", time("2026-11-20T16:00:00Z")), Ok(false));
    let faults = [
        ("time_zone", Calendar { time_zone: "MARS".to_owned(), ..calendar.clone() }),
        ("early_closes", Calendar { early_closes: [("2026-11-24".to_owned(), 1)].into(), ..calendar.clone() }),
        ("early_closes", Calendar { early_closes: [("soon".to_owned(), 1)].into(), ..calendar.clone() }),
        ("opens_at_us", Calendar { opens_day_before: true, ..calendar.clone() }),
    ];
    for (field, bad) in faults {
        assert!(apply(&mut data, "reference.calendars.v1", "DAY", Some(bad.to_bytes())).unwrap_err().contains(field));
    }
    let half = Calendar {
        time_zone: "AMERICA_NEW_YORK".to_owned(),
        early_closes: [("2026-11-24".to_owned(), 13 * 3_600_000_000)].into(),
        ..calendar.clone()
    };
    apply(&mut data, "reference.calendars.v1", "DAY", Some(half.to_bytes())).unwrap();
    assert_eq!(data.session_end("ACME", time("2026-11-24T16:00:00Z")), Ok(time("2026-11-24T18:00:00Z")));
    let bad = Calendar { holidays: vec!["tomorrow".to_owned()], ..calendar };
    assert!(apply(&mut data, "reference.calendars.v1", "DAY", Some(bad.to_bytes())).unwrap_err().contains("holidays"));
    assert!(data.calendar("DAY").is_some(), "the record before stays");
}

#[test]
fn a_rate_is_the_mid_of_the_pair_either_way_and_never_stale() {
    let (mut data, mut market) = (ReferenceData::default(), MarketTable::default());
    apply(&mut data, "reference.instruments.v1", "EURUSD", instrument("EURUSD")).unwrap();
    let quote = NormalizedMarketData {
        instrument_id: "EURUSD".to_owned(),
        venue: "XA".to_owned(),
        kind: MarketDataKind::Quote,
        event_time: TimestampMicros::from_micros(1_000),
        seq: 1,
        bid: Some("1.2499".parse().unwrap()),
        ask: Some("1.2501".parse().unwrap()),
        ..NormalizedMarketData::default()
    };
    market.take(&quote).unwrap();
    let age = DurationMicros::from_micros(500).unwrap();
    let rate = |from, to, at| fx_rate(&market, &data, from, to, TimestampMicros::from_micros(at), age);
    assert_eq!(rate("EUR", "USD", 1_500).unwrap().rate, "1.25".parse().unwrap());
    assert_eq!(rate("USD", "EUR", 1_500).unwrap().rate, "0.8".parse().unwrap());
    assert_eq!(rate("USD", "EUR", 1_500).unwrap().instrument.as_deref(), Some("EURUSD"));
    assert_eq!(rate("EUR", "USD", 1_501), Err(FxMiss::NoRate));
    assert_eq!(rate("EUR", "USD", 999), Err(FxMiss::NoRate));
    assert_eq!(rate("EUR", "GBP", 1_500), Err(FxMiss::NoRate));
    let same = rate("GBP", "GBP", 0).unwrap();
    assert_eq!((same.rate, same.instrument), ("1".parse().unwrap(), None));
}
