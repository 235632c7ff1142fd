//! Each code that a row can carry is reached, and says its figures.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;

use fillstream_domain::{OrdStatus, OrdType, TimestampMicros};
use fillstream_reference::ReferenceData;
use fillstream_schemas::execution::{ExecutionQuality, OrderEvent, ParentStatus};
use fillstream_schemas::reference::Instrument;
use fillstream_tca::reason::Finding;
use fillstream_tca::{Advice, Config};
use support::*;

/// Mid 40.04 at arrival, and the market goes on until 40 s.
fn market() -> Market {
    printing("10000")
}

fn printing(size: &str) -> Market {
    let mut market = Market::default();
    market.quote(s(-5.0), "40.03", "40.05");
    for n in 0..10 {
        market.print(s(1.0 + f64::from(n)), "40.04", size);
    }
    market.quote(s(40.0), "40.03", "40.05");
    market
}

/// What the PRELIMINARY row of an order says. `between` are the events from release to end, at 30 s.
fn said(
    market: &Market,
    data: &ReferenceData,
    order: &mut Order,
    between: impl FnOnce(&mut Order) -> Vec<OrderEvent>,
) -> Vec<String> {
    let mut bench = bench(Config::default(), market, data);
    let mut life = vec![order.created(s(-0.8)), order.released(s(0.0), &market.table)];
    life.extend(between(order));
    life.push(order.ended(ParentStatus::Cancelled, s(30.0)));
    tell(&mut bench, life);
    let row: ExecutionQuality = row_by(&mut bench, s(31.0));
    row.recommendations
}

fn fx(id: &str, base: &str, quote: &str) -> Instrument {
    let (base_currency, quote_currency) = (base.to_owned(), quote.to_owned());
    Instrument { instrument_id: id.into(), base_currency, quote_currency, ..instrument() }
}

/// Each code with a life that reaches it.
fn reached() -> Vec<String> {
    let acme = data(&[instrument()]);
    let mut all = Vec::new();

    // A good execution says nothing.
    let quiet = said(&market(), &acme, &mut order_at("40.04"), |o| vec![o.fill(1, "40.04", "1000", s(20.0))]);
    assert_eq!(quiet, Vec::<String>::new());

    // Dear, late, large, rejected: every advice.
    let dear = said(&printing("100"), &acme, &mut Order::buy(), |o| {
        vec![
            o.child_is(2, OrdStatus::Rejected, s(1.0)),
            o.fill_with_fee(1, "40.20", "400", Some(("50", "USD")), s(20.0)),
        ]
    });
    let advice: Vec<&str> = dear.iter().map(|r| r.split(' ').next().unwrap()).collect();
    let expected = ["EXTEND_HORIZON", "LOWER_PARTICIPATION", "LOW_FILL_RATE", "REVIEW_FEES", "REVIEW_REJECTS"];
    assert_eq!(advice, expected);
    assert_eq!(dear[0], "EXTEND_HORIZON bps=16 threshold=10");
    assert_eq!(dear[2], "LOW_FILL_RATE fill_rate=0.4 threshold=0.5");
    assert_eq!(dear[4], "REVIEW_REJECTS rejected=1 children=2");
    all.extend(dear);
    let late = said(&market(), &acme, &mut order_at("39"), |o| vec![o.fill(1, "40.04", "1000", s(20.0))]);
    assert!(late.contains(&"REDUCE_DELAY bps=266.666667 threshold=10".to_owned()), "{late:?}");
    all.extend(late);

    // Few prints; a market that is behind.
    let few = said(&market(), &acme, &mut order_at("40.04"), |o| vec![o.fill(1, "40.04", "1000", s(2.0))]);
    assert_eq!(few, ["FEW_PRINTS prints=1 minimum=5"]);
    all.extend(few);
    // With nothing filled nothing is measured against the benchmark.
    let mut thin = Market::default();
    thin.quote(s(-5.0), "40.03", "40.05").print(s(1.0), "40.04", "10").quote(s(40.0), "40.03", "40.05");
    let unfilled = said(&thin, &acme, &mut order_at("40.04"), |_| vec![]);
    assert_eq!(unfilled, ["LOW_FILL_RATE fill_rate=0 threshold=0.5"]);
    let mut silent = Market::default();
    silent.quote(s(-5.0), "40.03", "40.05");
    let behind = said(&silent, &acme, &mut order_at("40.04"), |o| vec![o.fill(1, "40.04", "1000", s(20.0))]);
    assert_eq!(behind, ["MARKET_BEHIND watermark=2025-06-20T09:59:55.000000Z needed=2025-06-20T10:00:20.000000Z"]);
    all.extend(behind);

    // Quotes of the arrival.
    for (bid, ask) in [("40.05", "40.03"), ("40.04", "40.04")] {
        let mut odd = Market::default();
        odd.quote(s(-1.0), bid, ask).quote(s(25.0), bid, ask);
        all.extend(said(&odd, &acme, &mut order_at("40.04"), |o| vec![o.fill(1, "40.04", "1000", s(20.0))]));
    }

    // Fees.
    let mut with_fx = market();
    with_fx.quote_of("EURUSD", s(19.0), "1.09", "1.11");
    let both = data(&[instrument(), fx("EURUSD", "EUR", "USD")]);
    let fees = said(&with_fx, &both, &mut order_at("40.04"), |o| {
        vec![
            o.fill_with_fee(1, "40.04", "500", Some(("2", "EUR")), s(20.0)),
            o.fill_with_fee(1, "40.04", "500", Some(("3", "XYZ")), s(20.0)),
        ]
    });
    assert_eq!(fees, ["FEES_CONVERTED currency=EUR amount=2 rate=1.1", "FEES_NOT_CONVERTED currency=XYZ amount=3"]);
    all.extend(fees);

    // More than ordered; a decision price of nothing.
    let over = said(&market(), &acme, &mut order_at("40.04"), |o| vec![o.fill(1, "40.04", "1010", s(20.0))]);
    assert!(over.contains(&"OVERFILLED quantity=10".to_owned()), "{over:?}");
    all.extend(over);
    let free = said(&market(), &acme, &mut order_at("0"), |o| vec![o.fill(1, "40.04", "1000", s(20.0))]);
    assert!(free.contains(&"BPS_UNDEFINED decided_value=0".to_owned()), "{free:?}");
    all.extend(free);

    // No calendar.
    let nowhere = data(&[Instrument { calendar_id: "NONE".into(), ..instrument() }]);
    let lost = said(&market(), &nowhere, &mut order_at("40.04"), |o| vec![o.fill(1, "40.04", "1000", s(20.0))]);
    assert_eq!(lost, ["NO_SESSION"]);
    all.extend(lost);
    all.extend(limit_and_history());
    all
}

fn order_at(decision: &str) -> Order {
    let mut order = Order::buy();
    order.terms.decision_price = px(decision);
    order
}

/// A limit that the market left behind; a market of which nothing is held any more.
fn limit_and_history() -> Vec<String> {
    let acme = data(&[instrument()]);
    let mut limit = order_at("40.04");
    limit.terms.ord_type = OrdType::Limit;
    limit.terms.limit_price = Some(px("40.05"));
    limit.terms.horizon_us = 25 * SECOND;
    let mut gone = market();
    gone.quote(s(24.0), "40.50", "40.52");
    let mut all = said(&gone, &acme, &mut limit.clone(), |o| vec![o.fill(1, "40.04", "500", s(20.0))]);
    assert!(all.contains(&"REVIEW_LIMIT bps=57.442557 threshold=10".to_owned()), "{all:?}");
    let mut dropped = Market::small();
    for n in 0..2_000 {
        dropped.quote(s(100.0 + f64::from(n)), "40.07", "40.09").print(s(100.0 + f64::from(n)), "40.08", "1");
    }
    let mut bench = bench(Config::default(), &dropped, &acme);
    let life = vec![
        limit.created(s(-0.8)),
        limit.released(s(0.0), &market().table),
        limit.fill(1, "40.04", "500", s(20.0)),
        limit.ended(ParentStatus::Cancelled, s(30.0)),
    ];
    tell(&mut bench, life);
    let row = row_by(&mut bench, s(31.0));
    for code in ["BENCHMARK_MISSING", "CLOSE_MISSING", "HORIZON_MISSING"] {
        assert!(row.recommendations.contains(&format!("{code} cause=OUTSIDE_RING")), "{:?}", row.recommendations);
    }
    all.extend(row.recommendations);
    all
}

#[test]
fn every_code_is_reached() {
    let reached: BTreeSet<String> = reached().iter().map(|r| r.split(' ').next().unwrap().to_owned()).collect();
    let declared: BTreeSet<String> = Finding::CODES.iter().map(|code| (*code).to_owned()).collect();
    assert_eq!(reached, declared);
}

#[test]
fn fees_in_the_instruments_own_base_are_worth_its_mid() {
    let mut market = market();
    market.quote(s(15.0), "41", "43");
    let mut bench = bench(Config::default(), &market, &data(&[instrument()]));
    let mut order = order_at("40.04");
    let life = vec![
        order.created(s(-0.8)),
        order.released(s(0.0), &market.table),
        order.fill_with_fee(1, "40.04", "1000", Some(("0.5", "ACME")), s(20.0)),
        order.ended(ParentStatus::Filled, s(20.1)),
    ];
    tell(&mut bench, life);
    let row = row_by(&mut bench, s(31.0));
    assert_eq!((row.costs.fees, row.costs.total_cost), (money("21"), money("21")));
    assert_eq!(row.shares[0].fees, money("21"));
}

#[test]
fn a_rebate_is_a_gain() {
    let mut bench = bench(Config::default(), &market(), &data(&[instrument()]));
    let mut order = order_at("40.04");
    let life = vec![
        order.created(s(-0.8)),
        order.released(s(0.0), &market().table),
        order.fill_with_fee(1, "40.04", "1000", Some(("-2.5", "USD")), s(20.0)),
        order.ended(ParentStatus::Filled, s(20.1)),
    ];
    tell(&mut bench, life);
    let row = row_by(&mut bench, s(31.0));
    assert_eq!((row.costs.fees, row.costs.total_cost), (money("-2.5"), money("-2.5")));
    assert_eq!(row.overall_quality_score, "1".parse().ok(), "better than free is not better than 1");
}

/// score = fill rate x (1 - mean cost against arrival and benchmark, and fees / span).
#[test]
fn the_score_is_its_stated_function() {
    let config = Config { score_span: "50".parse().unwrap(), advice: Advice::default(), ..Config::default() };
    let mut bench = bench(config, &market(), &data(&[instrument()]));
    let mut order = order_at("40.04");
    let life = vec![
        order.created(s(-0.8)),
        order.released(s(0.0), &market().table),
        // 10 bps above both benchmarks, 10 bps of fees, 800 of 1000.
        order.fill_with_fee(1, "40.08004", "800", Some(("32.064032", "USD")), s(20.0)),
        order.ended(ParentStatus::Cancelled, s(30.0)),
    ];
    tell(&mut bench, life);
    let row = row_by(&mut bench, s(31.0));
    assert_eq!(row.overall_quality_score, "0.48".parse().ok(), "0.8 x (1 - 20 / 50)");
}

/// A release that nothing can be analysed by is a dead letter at once, and nothing stays behind.
#[test]
fn an_unknown_or_inverse_instrument_is_a_dead_letter_of_the_release() {
    let inverse = Instrument { inverse: true, ..instrument() };
    for (data, code) in [(data(&[]), "NO_INSTRUMENT"), (data(&[inverse]), "INVERSE_CONTRACT")] {
        let mut bench = bench(Config::default(), &market(), &data);
        let mut order = Order::buy();
        let life = vec![
            order.created(s(-0.8)),
            order.released(s(0.0), &market().table),
            order.fill(1, "40.04", "10", s(1.0)),
            order.ended(ParentStatus::Cancelled, s(30.0)),
        ];
        tell(&mut bench, life);
        let letters = bench.take_dead_letters();
        assert_eq!(letters.iter().map(|l| l.reason_code.as_str()).collect::<Vec<_>>(), [code]);
        bench.timer_to(s(100_000.0)).expect_no_more();
        assert!(bench.dump().is_empty());
    }
}

/// Quantity that joins an order must have a decision price.
#[test]
fn added_quantity_without_any_price_is_a_dead_letter() {
    let mut bench = bench(Config::default(), &Market::default(), &data(&[instrument()]));
    let mut order = Order::buy();
    tell(&mut bench, [order.created(s(-0.8)), order.released(s(0.0), &market().table)]);
    order.event.ord_qty = qty("2000");
    tell(&mut bench, [order.child_is(1, OrdStatus::New, s(1.0))]);
    let letters = bench.take_dead_letters();
    assert_eq!(letters.iter().map(|l| l.reason_code.as_str()).collect::<Vec<_>>(), ["NO_DECISION_PRICE"]);
}

#[test]
fn an_algorithm_without_an_order_is_forgotten() {
    let mut bench = bench(Config::default(), &market(), &data(&[instrument()]));
    bench.at(s(0.0)).record(STRATEGIES, &Order::buy().strategy(fillstream_domain::Algorithm::Twap));
    assert_eq!(bench.timers().len(), 1);
    bench.timer_to(TimestampMicros::from_micros(START + 86_401 * SECOND)).expect_no_more();
    assert!(bench.dump().is_empty());
}
