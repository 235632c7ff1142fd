//! Every reason code, reached by an order.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::{NOON, ORDERS, World, account, at, created, instrument, limited, num, quote, replacing, verdict};
use fillstream_domain::{ControlScope, Quantity, Side};
use fillstream_pre_trade_risk::Reason;
use fillstream_schemas::execution::{OrderEvent, OrderEventType, ValidatedOrder};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::{Account, WideLimit, WideScope};
use fillstream_schemas::state::RiskReservation;

type Case = (Reason, fn(&mut World) -> OrderEvent);

/// An order that was approved before the one that is refused.
type Second = (Reason, fn(&mut World) -> (OrderEvent, OrderEvent));

fn buy() -> OrderEvent {
    created("O1", "ACME", Side::Buy, "10")
}

/// One world for each code in which an order is refused for it.
const CASES: &[Case] = &[
    (Reason::TableUnavailable, |w| {
        w.tables = false;
        buy()
    }),
    (Reason::Killed, |w| {
        w.kill(ControlScope::Portfolio, "P1");
        buy()
    }),
    (Reason::Paused, |w| {
        w.pause(ControlScope::Portfolio, "P1");
        buy()
    }),
    (Reason::UnknownInstrument, |_| created("O1", "NOPE", Side::Buy, "10")),
    (Reason::InstrumentUnsupported, |w| {
        w.instruments[0].inverse = true;
        buy()
    }),
    (Reason::NoAccount, |w| {
        w.accounts.clear();
        buy()
    }),
    (Reason::AccountCurrencies, |w| {
        w.accounts.push(Account { currency: "EUR".to_owned(), ..account("A2", "P1") });
        buy()
    }),
    (Reason::AccountInactive, |w| {
        w.accounts[0].is_active = false;
        buy()
    }),
    (Reason::NoLimit, |w| {
        w.limits.clear();
        buy()
    }),
    (Reason::RestrictedInstrument, |w| {
        w.limits[0].restricted.push("ACME".to_owned());
        buy()
    }),
    (Reason::InstrumentNotPermitted, |w| {
        w.limits[0].permitted_instruments.push("BETA".to_owned());
        buy()
    }),
    (Reason::AssetClassNotPermitted, |w| {
        w.limits[0].permitted_asset_classes.push("FX".to_owned());
        buy()
    }),
    (Reason::NoPermittedVenue, |w| {
        w.limits[0].permitted_venues.push("XB".to_owned());
        buy()
    }),
    (Reason::TraderNotAuthorised, |w| {
        w.limits[0].authorised_traders.push("T2".to_owned());
        buy()
    }),
    (Reason::SectorUnknown, |w| {
        w.limits[0].max_sector_value.insert("TECH".to_owned(), num("1"));
        buy()
    }),
    (Reason::MarketClosed, |w| {
        w.limits[0].refuse_outside_session = true;
        w.calendars[0].opens_at_us = 43_200_000_001;
        buy()
    }),
    (Reason::NoCalendar, |w| {
        w.calendars.clear();
        buy()
    }),
    (Reason::Halted, |w| {
        let status = NormalizedMarketData {
            kind: MarketDataKind::Status,
            trading_status: Some("HALTED".to_owned()),
            bid: None,
            ask: None,
            ..quote("ACME", NOON - 500, "1", "1")
        };
        w.rows.push(status);
        buy()
    }),
    (Reason::NoQuote, |w| {
        w.rows.clear();
        buy()
    }),
    (Reason::StaleQuote, |w| {
        w.limits[0].max_quote_age_ms = 999;
        buy()
    }),
    (Reason::PriceNotPositive, |_| limited("O1", Side::Buy, "10", "0")),
    (Reason::PriceDeviation, |w| {
        w.limits[0].max_price_deviation = Some(num("49.74"));
        limited("O1", Side::Buy, "10", "99.995")
    }),
    (Reason::QuoteCrossed, |w| {
        w.limits[0].max_spread = Some(num("1000"));
        w.rows.push(quote("ACME", NOON - 500, "100", "99"));
        buy()
    }),
    // 1 of 99.5.
    (Reason::WideSpread, |w| {
        w.limits[0].max_spread = Some(num("100.5"));
        buy()
    }),
    (Reason::DepthUnknown, |w| {
        w.limits[0].max_depth_multiple = Some(num("1"));
        buy()
    }),
    (Reason::NoFxRate, |w| {
        w.limits[0].currency = "EUR".to_owned();
        buy()
    }),
    (Reason::NoMarkPrice, |w| {
        w.accounts[0].positions.insert("GONE".to_owned(), num("1"));
        buy()
    }),
    (Reason::AdvMissing, |w| {
        w.config.require_adv = true;
        w.instruments[0].adv = None;
        buy()
    }),
    (Reason::AdvMissing, |w| {
        w.limits[0].max_adv_participation = Some(num("1"));
        w.instruments[0].adv = None;
        buy()
    }),
    (Reason::OrderRate, |w| {
        w.limits[0].max_orders_per_minute = Some(0);
        buy()
    }),
    (Reason::OrderNotOpen, |_| replacing(&buy(), 2, "20", None)),
    (Reason::MaxOrderQuantity, |w| {
        w.limits[0].max_order_quantity = num("9");
        buy()
    }),
    // 10 at 100 plus the collar of 1 %.
    (Reason::MaxOrderValue, |w| {
        w.limits[0].max_order_value = num("1009.99");
        buy()
    }),
    (Reason::ShortNotAllowed, |w| {
        w.accounts[0].positions.insert("ACME".to_owned(), num("9"));
        created("O1", "ACME", Side::Sell, "10")
    }),
    (Reason::LocateMissing, |w| {
        w.limits[0].allow_short = true;
        w.limits[0].require_locate = true;
        w.limits[0].locates.insert("ACME".to_owned(), num("9"));
        created("O1", "ACME", Side::SellShort, "10")
    }),
    (Reason::MaxPositionQuantity, |w| {
        w.limits[0].max_position_quantity.insert("ACME".to_owned(), num("9"));
        buy()
    }),
    (Reason::MaxNetValue, |w| {
        w.limits[0].max_net_value = Some(num("1009.99"));
        buy()
    }),
    // An equity of unknown sector could be of this one: 49.5 x 100.
    (Reason::MaxSectorValue, |w| {
        w.instruments[0].sector = Some("TECH".to_owned());
        w.accounts[0].positions.insert("BETA".to_owned(), num("100"));
        w.limits[0].max_sector_value.insert("TECH".to_owned(), num("5959.99"));
        buy()
    }),
    (Reason::MaxAssetClassValue, |w| {
        w.accounts[0].positions.insert("BETA".to_owned(), num("100"));
        w.limits[0].max_asset_class_value.insert("EQUITY".to_owned(), num("5959.99"));
        buy()
    }),
    (Reason::DepthExceeded, |w| {
        w.limits[0].max_depth_multiple = Some(num("1.5"));
        w.rows.push(NormalizedMarketData { ask_size: Some(num("6")), ..quote("ACME", NOON - 500, "99", "100") });
        buy()
    }),
    (Reason::AdvParticipation, |w| {
        w.limits[0].max_adv_participation = Some(num("0.00009"));
        buy()
    }),
    (Reason::EnteredValueMinute, |w| {
        w.limits[0].max_entered_value_per_minute = Some(num("1009.99"));
        buy()
    }),
    (Reason::EnteredValueDay, |w| {
        w.limits[0].max_entered_value_per_day = Some(num("1009.99"));
        buy()
    }),
    (Reason::MaxPositionValue, |w| {
        w.limits[0].max_position_value = num("1009.99");
        buy()
    }),
    (Reason::MaxGrossValue, |w| {
        // BETA is worth 49.5 x 100 beside it.
        w.accounts[0].positions.insert("BETA".to_owned(), num("100"));
        w.limits[0].max_gross_value = num("5959.99");
        buy()
    }),
    (Reason::InsufficientBuyingPower, |w| {
        w.accounts[0].cash = num("1009.99");
        buy()
    }),
    (Reason::FigureOutOfRange, |w| {
        w.instruments[0].multiplier = Quantity::MAX;
        created("O1", "ACME", Side::Buy, "900")
    }),
];

/// Codes that take an order before the one that is refused.
const SECONDS: &[Second] = &[
    (Reason::DuplicateOrder, |w| {
        w.limits[0].duplicate_window_ms = 1;
        (buy(), OrderEvent { order_id: "O2".to_owned(), ..buy() })
    }),
    (Reason::SelfCross, |w| {
        w.limits[0].refuse_self_cross = true;
        w.accounts[0].positions.insert("ACME".to_owned(), num("10"));
        (limited("O1", Side::Buy, "10", "98"), limited("O2", Side::Sell, "10", "98"))
    }),
    (Reason::ReplacePending, |_| (replacing(&buy(), 2, "11", None), replacing(&buy(), 3, "12", None))),
];

fn run(case: &Case) -> ValidatedOrder {
    let mut world = World::default();
    let order = (case.1)(&mut world);
    let mut bench = world.bench();
    let verdict = verdict(&mut bench, &order);
    assert!(!verdict.is_approved);
    assert!(bench.state::<RiskReservation>("open").is_empty(), "nothing is held");
    verdict
}

fn run_second(case: &Second) -> ValidatedOrder {
    let mut world = World::default();
    let (first, second) = (case.1)(&mut world);
    let mut bench = world.bench();
    if first.event_type == OrderEventType::ReplaceRequested {
        assert!(verdict(&mut bench, &buy()).is_approved);
    }
    assert!(verdict(&mut bench, &first).is_approved);
    let before = bench.state::<RiskReservation>("open");
    let verdict = verdict(&mut bench, &second);
    assert!(!verdict.is_approved);
    assert_eq!(bench.state::<RiskReservation>("open"), before, "nothing more is held");
    verdict
}

/// Whose accounts are booked is known from an order before, and the table has changed since.
fn run_changed() -> ValidatedOrder {
    let mut world = World::default();
    let mut bench = world.bench();
    assert!(verdict(&mut bench, &buy()).is_approved);
    world.accounts = vec![account("A9", "P1")];
    world.load(&mut bench);
    verdict(&mut bench, &created("O2", "ACME", Side::Buy, "10"))
}

// Nobody owns the limit, so nobody grants.
fn run_headroom() -> ValidatedOrder {
    let mut world = World::default();
    world.wide.push(WideLimit {
        limit_id: "FIRM".to_owned(),
        scope: WideScope::Firm,
        currency: "USD".to_owned(),
        max_gross_value: num("1000000"),
        version: 7,
        ..WideLimit::default()
    });
    let mut bench = world.bench();
    bench.record(ORDERS, &buy());
    assert_eq!(bench.take::<ValidatedOrder>(), []);
    bench.timer_to(at(NOON + 2_000_000));
    bench.take_one()
}

fn refusals() -> Vec<(Reason, ValidatedOrder)> {
    let mut refusals: Vec<_> = CASES.iter().map(|case| (case.0, run(case))).collect();
    refusals.extend(SECONDS.iter().map(|case| (case.0, run_second(case))));
    refusals.push((Reason::AccountChanged, run_changed()));
    refusals.push((Reason::LimitHeadroomUnavailable, run_headroom()));
    refusals
}

#[test]
fn each_cause_gives_its_code_and_nothing_is_held() {
    for (reason, verdict) in refusals() {
        assert_eq!(verdict.reason_codes, [reason.as_str()], "{verdict:?}");
        let failed: Vec<_> = verdict.validation_results.iter().filter(|row| !row.passed).collect();
        assert!(!failed.is_empty() && failed.iter().all(|row| row.code.as_deref() == Some(reason.as_str())));
        assert_eq!((verdict.reserved_price, verdict.reserved_value), (None, num("0")));
        assert_eq!(verdict.arrival, None);
    }
}

#[test]
fn rule_18_every_code_is_reached_by_a_test_with_its_rule_scope_and_version() {
    let mut reached = BTreeSet::new();
    for (reason, verdict) in refusals() {
        let row = verdict.validation_results.iter().find(|row| row.code.as_deref() == Some(reason.as_str())).unwrap();
        let scope = if reason == Reason::LimitHeadroomUnavailable { "limit/FIRM" } else { "portfolio/P1" };
        assert!(!row.name.is_empty() && row.scope.starts_with(scope), "{row:?}");
        let unlimited = [Reason::TableUnavailable, Reason::NoLimit].contains(&reason);
        let asked_first = [Reason::OrderNotOpen, Reason::ReplacePending].contains(&reason);
        assert_eq!(row.version, if unlimited || asked_first { 0 } else { 7 }, "{row:?}");
        reached.insert(reason.as_str());
    }
    assert_eq!(reached, Reason::SYMBOLS.iter().copied().collect());
}

#[test]
fn rule_14_what_is_stale_or_missing_fails_closed() {
    let closed = [
        Reason::TableUnavailable,
        Reason::NoQuote,
        Reason::StaleQuote,
        Reason::NoFxRate,
        Reason::NoMarkPrice,
        Reason::NoLimit,
        Reason::NoAccount,
        Reason::NoCalendar,
        Reason::Halted,
        Reason::AdvMissing,
        Reason::DepthUnknown,
        Reason::SectorUnknown,
        Reason::PriceNotPositive,
    ];
    for reason in closed {
        let cases: Vec<_> = CASES.iter().filter(|case| case.0 == reason).collect();
        assert!(!cases.is_empty(), "{reason:?}");
        cases.into_iter().for_each(|case| assert_eq!(run(case).reason_codes, [reason.as_str()]));
    }
}

#[test]
fn rule_18_every_limit_that_is_passed_has_its_figure_and_is_in_the_score() {
    let figures: &[(Reason, &str, &str, &str, &str)] = &[
        (Reason::MaxOrderQuantity, "10", "9", "units", ""),
        (Reason::MaxOrderValue, "1010", "1009.99", "USD", ""),
        (Reason::ShortNotAllowed, "-1", "0", "units", "/instrument/ACME"),
        (Reason::LocateMissing, "10", "9", "units", "/instrument/ACME"),
        (Reason::MaxPositionQuantity, "10", "9", "units", "/instrument/ACME"),
        (Reason::MaxPositionValue, "1010", "1009.99", "USD", "/instrument/ACME"),
        (Reason::MaxGrossValue, "5960", "5959.99", "USD", ""),
        (Reason::MaxNetValue, "1010", "1009.99", "USD", ""),
        (Reason::MaxSectorValue, "5960", "5959.99", "USD", "/sector/TECH"),
        (Reason::MaxAssetClassValue, "5960", "5959.99", "USD", "/asset_class/EQUITY"),
        (Reason::InsufficientBuyingPower, "1010", "1009.99", "USD", ""),
        (Reason::DepthExceeded, "10", "9", "units", "/instrument/ACME"),
        (Reason::AdvParticipation, "10", "9", "units", "/instrument/ACME"),
        (Reason::EnteredValueMinute, "1010", "1009.99", "USD", ""),
        (Reason::EnteredValueDay, "1010", "1009.99", "USD", ""),
        (Reason::OrderRate, "1", "0", "orders", ""),
        (Reason::StaleQuote, "1000", "999", "ms", ""),
        (Reason::WideSpread, "100.502513", "100.5", "bps", ""),
        (Reason::PriceDeviation, "49.748744", "49.74", "bps", ""),
    ];
    for (reason, figure, limit, unit, part) in figures {
        let verdict = run(CASES.iter().rfind(|case| case.0 == *reason).unwrap());
        let row = verdict.validation_results.iter().find(|row| row.code.is_some()).unwrap();
        assert_eq!((row.figure, row.limit), (Some(num(figure)), Some(num(limit))), "{reason:?}");
        assert_eq!((row.unit.as_str(), row.scope.as_str()), (*unit, format!("portfolio/P1{part}").as_str()));
        let sized = !["units", "USD"].contains(unit)
            || [Reason::ShortNotAllowed, Reason::LocateMissing].contains(reason)
            || verdict.risk_score == num("100");
        assert!(sized, "{reason:?} {}", verdict.risk_score);
    }
}

#[test]
fn rule_12_every_failed_check_is_reported_with_its_figures_not_only_the_first() {
    let mut world = World::default();
    world.limits[0].restricted.push("ACME".to_owned());
    world.limits[0].max_order_quantity = num("9");
    world.accounts[0].cash = num("500");
    world.kill(ControlScope::Strategy, "S1");
    let verdict = verdict(&mut world.bench(), &buy());
    let codes = ["KILLED", "RESTRICTED_INSTRUMENT", "MAX_ORDER_QUANTITY", "INSUFFICIENT_BUYING_POWER"];
    assert_eq!(verdict.reason_codes, codes);
    let row = verdict.validation_results.iter().find(|row| row.name == "buying_power").unwrap();
    assert_eq!((row.figure, row.limit), (Some(num("1010")), Some(num("500"))));
    assert_eq!((row.unit.as_str(), row.scope.as_str(), row.version), ("USD", "portfolio/P1", 7));
    assert_eq!(verdict.risk_score, num("100"));
    assert!(verdict.recommendations.is_empty(), "no size passes a kill");
}

#[test]
fn rule_19_a_kill_or_pause_of_any_scope_of_the_order_blocks_it_and_others_do_not() {
    let blocking = [
        (ControlScope::Firm, "*"),
        (ControlScope::Portfolio, "P1"),
        (ControlScope::Account, "A1"),
        (ControlScope::Strategy, "S1"),
        (ControlScope::Trader, "T1"),
        (ControlScope::Instrument, "ACME"),
    ];
    for (scope, id) in blocking {
        let mut world = World::default();
        world.kill(scope, id);
        assert_eq!(verdict(&mut world.bench(), &buy()).reason_codes, ["KILLED"], "{scope:?}");
        let mut world = World::default();
        world.pause(scope, id);
        assert_eq!(verdict(&mut world.bench(), &buy()).reason_codes, ["PAUSED"], "{scope:?}");
    }
    let mut world = World::default();
    world.kill(ControlScope::Instrument, "BETA");
    world.kill(ControlScope::Portfolio, "P2");
    world.pause(ControlScope::Trader, "T2");
    world.pause(ControlScope::Venue, "XNYS");
    assert!(verdict(&mut world.bench(), &buy()).is_approved);
}

#[test]
fn rule_22_a_market_in_another_currency_needs_a_fresh_rate_which_is_evidence() {
    let mut world = World::default();
    world.instruments[0].quote_currency = "EUR".to_owned();
    assert_eq!(verdict(&mut world.bench(), &buy()).reason_codes, ["NO_FX_RATE"]);
    world.instruments.push(instrument("EURUSD"));
    world.rows.push(quote("EURUSD", NOON - 5_001_000, "1.2", "1.2"));
    assert_eq!(verdict(&mut world.bench(), &buy()).reason_codes, ["NO_FX_RATE"], "stale");
    world.rows.push(quote("EURUSD", NOON - 1_000, "1.1", "1.3"));
    let verdict = verdict(&mut world.bench(), &buy());
    assert!(verdict.is_approved, "{verdict:?}");
    assert_eq!((verdict.reserved_price, verdict.reserved_value), (Some(num("101")), num("1212")));
    let rate = verdict.validation_results.iter().find(|row| row.name == "fx_rate EURUSD").unwrap();
    assert_eq!(rate.figure, Some(num("1.2")));
    assert_eq!(verdict.timestamp, at(NOON));
}
