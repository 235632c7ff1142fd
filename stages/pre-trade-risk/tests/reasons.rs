//! Every reason code, reached by an order.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::{NOON, World, account, at, created, instrument, limited, num, quote, verdict};
use fillstream_domain::{ControlScope, Quantity, Side};
use fillstream_pre_trade_risk::Reason;
use fillstream_schemas::execution::{OrderEvent, ValidatedOrder};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};

type Case = (Reason, fn(&mut World) -> OrderEvent);

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
    (Reason::UnknownInstrument, |_| created("O1", "NOPE", Side::Buy, "10")),
    (Reason::InstrumentUnsupported, |w| {
        w.instruments[0].inverse = true;
        buy()
    }),
    (Reason::NoAccount, |w| {
        w.accounts.clear();
        buy()
    }),
    (Reason::SeveralAccounts, |w| {
        w.accounts.push(account("A2", "P1"));
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

fn run(case: &Case) -> ValidatedOrder {
    let mut world = World::default();
    let order = (case.1)(&mut world);
    let mut bench = world.bench();
    let verdict = verdict(&mut bench, &order);
    assert!(!verdict.is_approved);
    assert!(bench.state::<fillstream_schemas::state::RiskReservation>("open").is_empty(), "nothing is held");
    verdict
}

#[test]
fn each_cause_gives_its_code_and_nothing_is_held() {
    for case in CASES {
        let verdict = run(case);
        assert_eq!(verdict.reason_codes, [case.0.as_str()], "{verdict:?}");
        let failed: Vec<_> = verdict.validation_results.iter().filter(|row| !row.passed).collect();
        assert!(!failed.is_empty() && failed.iter().all(|row| row.code.as_deref() == Some(case.0.as_str())));
        assert_eq!((verdict.reserved_price, verdict.reserved_value), (None, num("0")));
        assert_eq!(verdict.arrival, None);
    }
}

#[test]
fn an_account_that_is_not_the_booked_one_is_refused() {
    let mut world = World::default();
    let mut bench = world.bench();
    assert!(verdict(&mut bench, &buy()).is_approved);
    world.accounts = vec![account("A9", "P1")];
    world.load(&mut bench);
    let refused = verdict(&mut bench, &created("O2", "ACME", Side::Buy, "10"));
    assert_eq!(refused.reason_codes, [Reason::AccountChanged.as_str()]);
}

#[test]
fn every_code_is_reached_by_a_test() {
    let mut reached: BTreeSet<&str> = CASES
        .iter()
        .flat_map(|case| run(case).reason_codes)
        .map(|code| Reason::SYMBOLS.iter().copied().find(|symbol| **symbol == code).unwrap())
        .collect();
    // Its case needs two versions of a table: the test above.
    reached.insert(Reason::AccountChanged.as_str());
    assert_eq!(reached, Reason::SYMBOLS.iter().copied().collect());
}

#[test]
fn every_failed_check_is_reported_with_its_figures_not_only_the_first() {
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
fn a_kill_of_any_scope_of_the_order_blocks_it_and_others_do_not() {
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
    }
    let mut world = World::default();
    world.kill(ControlScope::Instrument, "BETA");
    world.kill(ControlScope::Portfolio, "P2");
    assert!(verdict(&mut world.bench(), &buy()).is_approved);
}

#[test]
fn a_market_in_another_currency_needs_a_fresh_rate() {
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
