//! The trading rules of transaction cost analysis, each by its number, on the stage itself.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod support;

use fillstream_domain::{Algorithm, AssetClass, OrdStatus, OrdType, Quantity, TimestampMicros};
use fillstream_schemas::execution::{
    BenchmarkBasis, ExecutionQuality, OrderEvent, OrderEventType, ParentStatus, PriceSource, QualityStage,
};
use fillstream_schemas::reference::{Calendar, Instrument};
use fillstream_tca::Config;
use support::*;

/// Close of the session of the support's start.
fn close() -> TimestampMicros {
    "2025-06-20T16:00:00Z".parse().unwrap()
}

/// A market of the published example: mid 40.04 at arrival (0 s), 40.08 from 20 s on.
fn market() -> Market {
    let mut market = Market::default();
    market.quote(s(-5.0), "39.99", "40.01").quote(s(-0.5), "40.03", "40.05");
    market.print(s(-0.1), "50", "100");
    for (at, price, size) in [(1.0, "40.02", "1000"), (2.0, "40.03", "2000"), (3.0, "40.04", "1000")] {
        market.print(s(at), price, size);
    }
    market.print(s(4.0), "40.03", "1000").print(s(5.0), "40.03", "500").print(s(10.0), "60", "100");
    market.quote(s(20.0), "40.07", "40.09");
    market
}

/// The published example as a life: 700 of 1000 filled at 40.05 by two children, fees 17, cancelled.
fn published(order: &mut Order, market: &Market) -> Vec<OrderEvent> {
    vec![
        order.created(s(-0.8)),
        order.released(s(0.0), &market.table),
        order.routed(1, s(1.0)),
        order.routed(2, s(1.0)),
        order.fill_with_fee(1, "40.04", "300", Some(("7", "USD")), s(5.0)),
        order.fill_with_fee(2, "40.0575", "400", Some(("10", "USD")), s(10.0)),
        order.child_is(2, OrdStatus::Canceled, s(29.0)),
        order.ended(ParentStatus::Cancelled, s(30.0)),
    ]
}

fn find<'a>(row: &'a ExecutionQuality, name: &str) -> &'a fillstream_schemas::execution::BenchmarkComparison {
    row.benchmark_comparisons.iter().find(|comparison| comparison.name == name).unwrap()
}

#[test]
fn the_published_example_through_the_stage() {
    let market = market();
    let mut bench = bench(Config::default(), &market, &data(&[instrument()]));
    let mut order = Order::buy();
    let life = published(&mut order, &market);
    bench.at(s(-0.9)).record(STRATEGIES, &order.strategy(Algorithm::Twap));
    tell(&mut bench, life);
    bench.timer_to(s(40.0));
    let out = &bench.outputs()[0];
    assert_eq!((out.topic, &*out.key), ("execution.quality.v1", "p-1"));
    let headers = [("priority", "NORMAL"), ("instrument_type", "EQUITY"), ("stage", "PRELIMINARY")];
    assert!(out.headers.iter().map(|(name, value)| (*name, value.as_str())).eq(headers), "{:?}", out.headers);
    let row: ExecutionQuality = bench.take_one();
    assert_eq!(row.costs.total_cost, money("76"));
    assert_eq!((row.implementation_shortfall_bps, row.total_cost_bps), ("19".parse().unwrap(), "19".parse().unwrap()));
    let costs = &row.costs;
    assert_eq!((costs.delay_cost, costs.trading_cost), (money("28"), money("7")));
    assert_eq!((costs.opportunity_cost, costs.fees), (money("24"), money("17")));
    // Five prints from 1 s to 5 s: the one before arrival and the one at the last fill are not in it.
    assert_eq!((row.interval_prints, row.interval_volume, row.interval_end), (5, qty("5500"), s(10.0)));
    assert_eq!(row.benchmark_basis, BenchmarkBasis::IntervalVwap);
    assert_eq!(row.interval_vwap, Some("40.03".parse().unwrap()));
    assert_eq!((costs.timing_cost, costs.market_impact), (Some(money("-7")), Some(money("14"))));
    assert_eq!((row.stage, row.revision, row.algorithm), (QualityStage::Preliminary, 1, Algorithm::Twap));
    assert_eq!((row.avg_px, row.close_price), ("40.05".parse().ok(), "40.08".parse().ok()));
    assert_eq!((row.post_trade_drift, row.close_at), (Some(money("21")), Some(s(20.0))));
    assert_eq!(find(&row, "decision_price").difference_bps, "12.5".parse().unwrap());
    let names: Vec<&str> = row.benchmark_comparisons.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["arrival_price", "vwap", "twap", "close", "decision_price"]);
    let metrics = &row.efficiency_metrics;
    assert_eq!(metrics.fill_rate, "0.7".parse().unwrap());
    assert_eq!(metrics.participation, "0.127272727".parse().ok());
    assert_eq!((metrics.children, metrics.children_cancelled, metrics.fills), (2, 1, 2));
    let shares: Vec<_> = row.shares.iter().map(|s| (s.venue.as_str(), s.broker.as_str(), s.quantity, s.fees)).collect();
    let expected = [("VY", "schwab", qty("400"), money("10")), ("VX", "alpaca", qty("300"), money("7"))];
    assert_eq!(shares, expected, "largest first");
    assert_eq!(row.strategy_id.as_deref(), Some("momentum"));
    bench.restart().expect_no_more();
}

/// Trading rule 36: Pa is the reference mid at arrived_at; the first child's mid and start cost stand beside, in no sum.
#[test]
fn rule_36_arrival_and_first_child() {
    let mut market = market();
    market.quote(s(25.0), "40.09", "40.11");
    let mut bench = bench(Config::default(), &market, &data(&[instrument()]));
    let mut order = Order::buy();
    order.terms.decision_price_source = PriceSource::MidAtDecision;
    let life = vec![
        order.created(s(-0.8)),
        order.released(s(0.0), &market.table),
        order.routed(1, s(22.0)),
        order.fill(1, "40.10", "100", s(26.0)),
        order.ended(ParentStatus::Cancelled, s(30.0)),
    ];
    tell(&mut bench, life);
    let row = row_by(&mut bench, s(31.0));
    assert_eq!((row.arrival_mid, row.arrived_at), ("40.04".parse().unwrap(), s(0.0)));
    assert_eq!(row.first_child_mid, "40.08".parse().ok());
    assert_eq!(row.start_cost, Some(money("4")));
    assert_eq!((row.decision_price, row.decision_price_source), (px("40"), PriceSource::MidAtDecision));
    assert_eq!(row.decided_at, s(-1.0));
    assert_eq!(row.costs.trading_cost, money("6"), "the start cost is in no sum");
}

/// Trading rule 36: one arrival a parent, whether or not a child is ever sent.
#[test]
fn rule_36_an_order_without_a_child_has_an_arrival_and_a_row() {
    let market = market();
    let mut bench = bench(Config::default(), &market, &data(&[instrument()]));
    let mut order = Order::buy();
    let life = vec![
        order.created(s(-0.8)),
        order.released(s(0.0), &market.table),
        order.ended(ParentStatus::Cancelled, s(30.0)),
    ];
    tell(&mut bench, life);
    let row = row_by(&mut bench, s(31.0));
    assert_eq!((row.arrival_mid, row.first_child_mid, row.start_cost), ("40.04".parse().unwrap(), None, None));
}

/// Trading rule 37: interval [arrived_at, last fill or terminal), benchmarks by event time; late ticks within the grace
/// change FINAL only; a restart changes nothing.
#[test]
fn rule_37_late_ticks_change_final_only() {
    let mut market = market();
    let data = data(&[instrument()]);
    let mut bench = bench(Config::default(), &market, &data);
    let mut order = Order::buy();
    tell(&mut bench, published(&mut order, &market));
    let first = row_by(&mut bench, s(31.0));
    bench.restart();
    // A print of 6 s comes late, and the market goes on until after the close.
    market.print(s(6.0), "40.53", "500");
    market.quote(TimestampMicros::from_micros(close().micros() - 1), "41.00", "41.02");
    market.quote(close(), "45", "46");
    bench.table(market.table.clone());
    let last: ExecutionQuality = row_by(&mut bench, TimestampMicros::from_micros(close().micros() + 6 * SECOND));
    assert_eq!((last.stage, last.revision), (QualityStage::Final, 2));
    assert_eq!((first.interval_prints, last.interval_prints), (5, 6));
    assert_eq!(last.interval_vwap, "40.071666666667".parse().ok());
    // Pc is the last mid inside the session, the quote at the close is not.
    assert_eq!(
        (last.close_price, last.close_at),
        ("41.01".parse().ok(), Some(TimestampMicros::from_micros(close().micros() - 1)))
    );
    assert_eq!(last.costs.opportunity_cost, money("303"));
    let unchanged =
        |row: &ExecutionQuality| (row.arrival_mid, row.avg_px, row.costs.delay_cost, row.costs.trading_cost);
    assert_eq!(unchanged(&first), unchanged(&last));
}

/// Trading rule 37: crossed and locked quotes are kept, and flagged.
#[test]
fn rule_37_crossed_and_locked_arrival_quotes_are_flagged() {
    for (bid, ask, said) in
        [("40.05", "40.03", "ARRIVAL_CROSSED bid=40.05 ask=40.03"), ("40.04", "40.04", "ARRIVAL_LOCKED price=40.04")]
    {
        let mut market = Market::default();
        market.quote(s(-1.0), bid, ask);
        let mut bench = bench(Config::default(), &market, &data(&[instrument()]));
        let mut order = Order::buy();
        let life = [
            order.created(s(-0.8)),
            order.released(s(0.0), &market.table),
            order.ended(ParentStatus::Cancelled, s(1.0)),
        ];
        tell(&mut bench, life);
        let row = row_by(&mut bench, s(2.0));
        assert_eq!(row.arrival_mid, "40.04".parse().unwrap());
        assert!(row.recommendations.iter().any(|r| r == said), "{:?}", row.recommendations);
    }
}

/// Trading rule 37: without fills the interval ends at the terminal event.
#[test]
fn rule_37_without_fills_the_interval_ends_at_the_terminal_event() {
    let market = market();
    let mut bench = bench(Config::default(), &market, &data(&[instrument()]));
    let mut order = Order::buy();
    let life =
        [order.created(s(-0.8)), order.released(s(0.0), &market.table), order.ended(ParentStatus::Cancelled, s(30.0))];
    tell(&mut bench, life);
    let row = row_by(&mut bench, s(31.0));
    assert_eq!((row.interval_end, row.interval_prints), (s(30.0), 6));
    // 20 s at 40.04, 10 s at 40.08.
    assert_eq!(row.interval_twap_mid, "40.053333333333".parse().ok());
}

/// Trading rule 38: the ladder of benchmarks on the stage, with participation beside.
#[test]
fn rule_38_benchmark_ladder() {
    let few = Config { min_prints: 6, ..Config::default() };
    let cases = [
        (Config::default(), 10.0, BenchmarkBasis::IntervalVwap, Some("40.03")),
        (few.clone(), 10.0, BenchmarkBasis::IntervalTwapMid, Some("40.04")),
        // The venue's clock is behind ours: no time passed between arrival and fill.
        (few, -0.2, BenchmarkBasis::MidAtFills, Some("40.04")),
    ];
    for (config, filled_at, basis, benchmark) in cases {
        let market = market();
        let mut bench = bench(config, &market, &data(&[instrument()]));
        let mut order = Order::buy();
        let life = [order.created(s(-0.8)), order.released(s(0.0), &market.table)];
        tell(&mut bench, life);
        let fill = order.fill(1, "40.05", "700", s(filled_at));
        tell(&mut bench, [OrderEvent { timestamp: s(11.0), ..fill }, order.ended(ParentStatus::Cancelled, s(30.0))]);
        let row = row_by(&mut bench, s(31.0));
        assert_eq!((row.benchmark_basis, row.benchmark), (basis, benchmark.map(|px| px.parse().unwrap())));
        assert_eq!(row.efficiency_metrics.participation.is_some(), filled_at > 0.0);
        assert_eq!(row.interval_end, s(filled_at.max(0.0)), "never before the arrival");
        assert!(row.costs.timing_cost.is_some());
    }
}

/// Trading rule 38: else null, with timing and impact as one trading cost. Outside the history held there is no guess.
#[test]
fn rule_38_outside_the_history_there_is_one_trading_cost() {
    let full = market();
    let mut order = Order::buy();
    let life = published(&mut order, &full);
    // A table that began counting after the arrival: the pin's sums count from elsewhere.
    let mut late = Market::small();
    for n in 0..2_000 {
        late.quote(s(100.0 + f64::from(n)), "40.07", "40.09");
        late.print(s(100.0 + f64::from(n)), "40.08", "1");
    }
    let mut bench = bench(Config::default(), &late, &data(&[instrument()]));
    tell(&mut bench, life);
    let row = row_by(&mut bench, s(31.0));
    assert_eq!((row.benchmark_basis, row.benchmark, row.interval_vwap), (BenchmarkBasis::None, None, None));
    assert_eq!((row.costs.timing_cost, row.costs.market_impact), (None, None));
    assert_eq!((row.costs.trading_cost, row.costs.delay_cost), (money("7"), money("28")));
    assert_eq!(row.efficiency_metrics.participation, None);
    let said = row.recommendations.join(";");
    assert!(said.contains("BENCHMARK_MISSING cause=OUTSIDE_RING"), "{said}");
    // Pc: no mid of that time is held, the arrival's stands for it and says when it was.
    assert!(said.contains("CLOSE_MISSING cause=OUTSIDE_RING"), "{said}");
    assert_eq!((row.close_price, row.close_at), ("40.04".parse().ok(), Some(s(-0.5))));
    assert_eq!(row.costs.total_cost, money("64"), "28 + 7 + 12 + 17");
}

/// Trading rules 37 and 40: a FINAL row hours later keeps the benchmark that the table no longer holds.
#[test]
fn rule_37_final_keeps_what_the_history_has_dropped() {
    let market = market();
    let data = data(&[instrument()]);
    let mut bench = bench(Config::default(), &market, &data);
    let mut order = Order::buy();
    order.terms.ord_type = OrdType::Limit;
    order.terms.limit_price = Some(px("40.06"));
    tell(&mut bench, published(&mut order, &market));
    let first = row_by(&mut bench, s(31.0));
    // Pass the horizon's end, at 60 s, then forget everything before the last minutes.
    bench.timer_to(s(62.0));
    let mut later = Market::small();
    for n in 0..2_000 {
        let at = TimestampMicros::from_micros(close().micros() - 2_000 * SECOND + n * SECOND);
        later.quote(at, "40.07", "40.09").print(at, "40.08", "1");
    }
    later.quote(close(), "41", "42");
    bench.table(later.table).restart();
    let last = row_by(&mut bench, TimestampMicros::from_micros(close().micros() + 6 * SECOND));
    assert_eq!(last.stage, QualityStage::Final);
    let kept =
        |row: &ExecutionQuality| (row.benchmark, row.benchmark_basis, row.interval_twap_mid, row.first_child_mid);
    assert_eq!(kept(&last), kept(&first));
    assert_eq!(last.costs.market_impact, first.costs.market_impact);
    assert_eq!((first.horizon_mid, last.horizon_mid), (None, "40.08".parse().ok()));
    assert_eq!((last.limit_away, last.not_reached), (Some(money("6")), Some(money("18"))));
}

/// Trading rule 39: q = 0: delay, timing, impact 0, differences null, shortfall = opportunity + fees.
#[test]
fn rule_39_nothing_filled() {
    let market = market();
    let mut bench = bench(Config::default(), &market, &data(&[instrument()]));
    let mut order = Order::buy();
    let life = [
        order.created(s(-0.8)),
        order.released(s(0.0), &market.table),
        order.routed(1, s(1.0)),
        order.child_is(1, OrdStatus::Rejected, s(2.0)),
        order.ended(ParentStatus::Expired, s(30.0)),
    ];
    tell(&mut bench, life);
    let row = row_by(&mut bench, s(31.0));
    assert_eq!((row.costs.delay_cost, row.costs.trading_cost), (money("0"), money("0")));
    assert_eq!((row.costs.timing_cost, row.costs.market_impact), (Some(money("0")), Some(money("0"))));
    assert_eq!((row.costs.opportunity_cost, row.costs.total_cost), (money("80"), money("80")));
    assert_eq!((row.avg_px, row.post_trade_drift, row.overall_quality_score), (None, None, None));
    assert_eq!((row.benchmark_comparisons.len(), row.shares.len()), (0, 0));
    assert_eq!(row.implementation_shortfall_bps, "20".parse().unwrap());
    assert_eq!((row.efficiency_metrics.children, row.efficiency_metrics.children_rejected), (1, 1));
}

/// Trading rule 39: orders refused before release have no row, and leave nothing behind.
#[test]
fn rule_39_refused_before_release_has_no_row() {
    let market = market();
    let mut bench = bench(Config::default(), &market, &data(&[instrument()]));
    let mut order = Order::buy();
    tell(&mut bench, [order.created(s(-0.8)), order.ended(ParentStatus::Rejected, s(0.0))]);
    // Refused at its decision: there never was a creation.
    let mut never = Order::buy();
    never.event.order_id = "o-2".into();
    tell(&mut bench, [never.ended(ParentStatus::Rejected, s(1.0))]);
    bench.timer_to(close()).expect_no_more();
    assert!(bench.state::<fillstream_schemas::state::TcaOrder>("orders").is_empty());
    assert!(bench.timers().is_empty());
}

/// Trading rule 39: Pc is the last mid of the session in which the order ended, though it was ended after hours.
#[test]
fn rule_39_the_close_is_that_of_the_session_in_which_the_order_ended() {
    let mut market = market();
    let before = TimestampMicros::from_micros(close().micros() - SECOND);
    market.quote(before, "42.00", "42.02");
    let mut bench = bench(Config::default(), &market, &data(&[instrument()]));
    let mut order = Order::buy();
    order.terms.expire_at = close();
    order.terms.horizon_us = close().micros() - START;
    let life = vec![order.created(s(-0.8)), order.released(s(0.0), &market.table)];
    tell(&mut bench, life);
    market.quote(TimestampMicros::from_micros(close().micros() + SECOND), "44.00", "44.02");
    bench.table(market.table.clone());
    tell(&mut bench, [order.ended(ParentStatus::Expired, TimestampMicros::from_micros(close().micros() + 700_000))]);
    let rows: Vec<ExecutionQuality> =
        bench.timer_to(TimestampMicros::from_micros(close().micros() + 9 * SECOND)).take();
    let stages: Vec<QualityStage> = rows.iter().map(|row| row.stage).collect();
    assert_eq!(stages, [QualityStage::Preliminary, QualityStage::Final]);
    for row in rows {
        assert_eq!((row.close_price, row.close_at), ("42.01".parse().ok(), Some(before)));
        assert_eq!(row.horizon_mid, "42.01".parse().ok());
    }
}

/// Trading rules 23 and 39: an order that runs to midnight of a market that never closes ended in the day that was.
#[test]
fn rule_39_an_order_that_ends_with_its_session_belongs_to_it() {
    let mut market = market();
    let midnight: TimestampMicros = "2025-06-21T00:00:00Z".parse().unwrap();
    let after = |seconds: i64| TimestampMicros::from_micros(midnight.micros() + seconds * SECOND);
    market.quote(after(-1), "42.00", "42.02").quote(after(0), "44.00", "44.02").quote(after(2), "45.00", "45.02");
    let mut always = data(&[Instrument { calendar_id: "ALWAYS".into(), ..instrument() }]);
    let calendar = Calendar {
        calendar_id: "ALWAYS".into(),
        closes_at_us: 86_400 * SECOND,
        open_weekends: true,
        version: 1,
        ..Calendar::default()
    };
    apply(&mut always, "reference.calendars.v1", "ALWAYS", &calendar);
    let mut bench = bench(Config::default(), &market, &always);
    let mut order = Order::buy();
    order.terms.expire_at = midnight;
    let life =
        [order.created(s(-0.8)), order.released(s(0.0), &market.table), order.ended(ParentStatus::Expired, after(1))];
    tell(&mut bench, life);
    let rows: Vec<ExecutionQuality> = bench.timer_to(after(10)).take();
    assert_eq!(rows.iter().map(|row| row.stage).collect::<Vec<_>>(), [QualityStage::Preliminary, QualityStage::Final]);
    assert!(rows.iter().all(|row| row.close_price == "42.01".parse().ok()), "{rows:?}");
}

/// Trading rule 40: FINAL takes in what a restatement was about to say.
#[test]
fn rule_40_final_includes_a_restatement_that_was_under_way() {
    let mut market = market();
    market.quote(close(), "41", "42");
    let mut bench = bench(Config::default(), &market, &data(&[instrument()]));
    let mut order = Order::buy();
    tell(&mut bench, published(&mut order, &market));
    bench.timer_to(s(31.0)).take_one::<ExecutionQuality>();
    let just_before = TimestampMicros::from_micros(close().micros() + 4_500_000);
    tell(&mut bench, [order.bust(2, "40.0575", "400", just_before)]);
    let row = row_by(&mut bench, TimestampMicros::from_micros(close().micros() + 60 * SECOND));
    assert_eq!((row.stage, row.revision, row.filled_qty), (QualityStage::Final, 2, qty("300")));
}

/// Trading rule 37: a close that is not held any more is never passed off as one.
#[test]
fn rule_37_a_close_outside_the_history_is_said_to_be_missing() {
    let market = market();
    let mut bench = bench(Config::default(), &market, &data(&[instrument()]));
    let mut order = Order::buy();
    tell(&mut bench, published(&mut order, &market));
    bench.timer_to(s(62.0)).take_one::<ExecutionQuality>();
    let mut later = Market::small();
    for n in 0..2_000 {
        later.quote(TimestampMicros::from_micros(close().micros() + n * 1_000), "45", "46");
    }
    bench.table(later.table);
    let row = row_by(&mut bench, TimestampMicros::from_micros(close().micros() + 6 * SECOND));
    assert_eq!((row.stage, row.close_price, row.close_at), (QualityStage::Final, "40.08".parse().ok(), Some(s(20.0))));
    assert!(row.recommendations.contains(&"CLOSE_MISSING cause=OUTSIDE_RING".to_owned()), "{:?}", row.recommendations);
}

/// Trading rule 39: the opportunity at the horizon's end, split for limits into limit_away and not_reached.
#[test]
fn rule_39_limit_away_and_not_reached() {
    let mut market = market();
    market.quote(s(55.0), "40.15", "40.17");
    let mut bench = bench(Config::default(), &market, &data(&[instrument()]));
    let mut order = Order::buy();
    order.terms.ord_type = OrdType::Limit;
    order.terms.limit_price = Some(px("40.06"));
    let mut life = published(&mut order, &market);
    life.pop();
    life.push(order.ended(ParentStatus::Expired, s(60.0)));
    tell(&mut bench, life);
    let row = row_by(&mut bench, s(61.0));
    assert_eq!(row.horizon_mid, "40.16".parse().ok());
    assert_eq!((row.limit_away, row.not_reached), (Some(money("30")), Some(money("18"))));
    let said = row.recommendations.join(";");
    assert!(!said.contains("REVIEW_LIMIT"), "7.5 bps are below the threshold: {said}");
}

/// A stop order waits to its end: the opportunity is that of then.
#[test]
fn rule_39_the_horizon_of_a_stop_order_ends_with_the_order() {
    let mut market = market();
    market.quote(s(55.0), "40.15", "40.17");
    let mut bench = bench(Config::default(), &market, &data(&[instrument()]));
    let mut order = Order::buy();
    (order.terms.ord_type, order.terms.stop_price) = (OrdType::Stop, Some(px("40.06")));
    order.terms.expire_at = s(70.0);
    let mut life = published(&mut order, &market);
    life.pop();
    life.push(order.ended(ParentStatus::Cancelled, s(60.0)));
    tell(&mut bench, life);
    assert_eq!(row_by(&mut bench, s(66.0)).horizon_mid, None);
    market.quote(s(65.0), "40.25", "40.27");
    market.quote(TimestampMicros::from_micros(close().micros() + SECOND), "44.00", "44.02");
    bench.table(market.table);
    let row = row_by(&mut bench, TimestampMicros::from_micros(close().micros() + 60 * SECOND));
    assert_eq!(row.horizon_mid, "40.26".parse().ok());
}

/// Trading rule 39: a replace up adds quantity at its own Pd (weighted), a replace down is withdrawn_qty.
#[test]
fn rule_39_replaces() {
    let market = market();
    let mut bench = bench(Config::default(), &market, &data(&[instrument()]));
    let mut order = Order::buy();
    tell(&mut bench, [order.created(s(-0.8)), order.released(s(0.0), &market.table)]);
    order.event.ord_qty = qty("1500");
    let up = order.child_is(1, OrdStatus::New, s(2.0));
    let terms = Some(fillstream_schemas::execution::OrderTerms { decision_price: px("40.03"), ..order.terms.clone() });
    tell(&mut bench, [OrderEvent { terms, ..up }]);
    // No price of its own: the mid of that moment.
    order.event.ord_qty = qty("2000");
    tell(&mut bench, [order.child_is(1, OrdStatus::New, s(21.0))]);
    order.event.ord_qty = qty("1800");
    tell(&mut bench, [order.child_is(1, OrdStatus::New, s(22.0)), order.ended(ParentStatus::Cancelled, s(30.0))]);
    let row = row_by(&mut bench, s(31.0));
    // (1000 x 40 + 500 x 40.03 + 500 x 40.08) / 2000
    assert_eq!((row.decision_price, row.ord_qty, row.withdrawn_qty), (px("40.0275"), qty("1800"), Some(qty("200"))));
    assert_eq!(row.costs.opportunity_cost, money("94.5"), "(40.08 - 40.0275) x 1800");
}

/// Trading rule 40: PRELIMINARY within 5 s of the terminal, FINAL after the close and the market's watermark.
#[test]
fn rule_40_preliminary_and_final() {
    let market = market();
    let data = data(&[instrument()]);
    let mut bench = bench(Config::default(), &market, &data);
    let mut order = Order::buy();
    tell(&mut bench, published(&mut order, &market));
    let first = row_by(&mut bench, s(35.0));
    assert_eq!((first.stage, first.timestamp), (QualityStage::Preliminary, s(31.0)));
    // The market has not told of the close: FINAL waits for its watermark.
    let soon = TimestampMicros::from_micros(close().micros() + 60 * SECOND);
    bench.timer_to(soon).expect_no_more();
    let mut on = market;
    on.quote(TimestampMicros::from_micros(close().micros() + SECOND), "41", "42");
    bench.table(on.table.clone());
    let last = row_by(&mut bench, TimestampMicros::from_micros(soon.micros() + 11 * SECOND));
    assert_eq!((last.stage, last.revision), (QualityStage::Final, 2));
    assert_eq!(last.close_price, "40.08".parse().ok());
    assert!(!last.recommendations.join(";").contains("MARKET_BEHIND"));
}

/// Trading rule 40: a market that stays silent does not hold FINAL back for ever; the row says so.
#[test]
fn rule_40_final_does_not_wait_for_ever() {
    let market = market();
    let mut bench = bench(Config::default(), &market, &data(&[instrument()]));
    let mut order = Order::buy();
    tell(&mut bench, published(&mut order, &market));
    bench.timer_to(s(31.0)).take_one::<ExecutionQuality>();
    let last = row_by(&mut bench, TimestampMicros::from_micros(close().micros() + 630 * SECOND));
    assert_eq!(last.stage, QualityStage::Final);
    let said = last.recommendations.join(";");
    assert!(
        said.contains("MARKET_BEHIND watermark=2025-06-20T10:00:20.000000Z needed=2025-06-20T16:00:00.000000Z"),
        "{said}"
    );
}

/// Trading rule 40: a bust makes revision n+1, before FINAL and after it; what is finished is forgotten.
#[test]
fn rule_40_a_bust_makes_the_next_revision() {
    let mut market = market();
    let mut bench = bench(Config::default(), &market, &data(&[instrument()]));
    let mut order = Order::buy();
    tell(&mut bench, published(&mut order, &market));
    bench.timer_to(s(31.0)).take_one::<ExecutionQuality>();
    tell(&mut bench, [order.bust(2, "40.0575", "400", s(40.0))]);
    let busted = row_by(&mut bench, s(50.0));
    assert_eq!((busted.stage, busted.revision, busted.timestamp), (QualityStage::Preliminary, 2, s(41.0)));
    assert_eq!((busted.filled_qty, busted.avg_px), (qty("300"), "40.04".parse().ok()));
    assert_eq!((busted.interval_end, busted.efficiency_metrics.fills), (s(5.0), 1), "the last fill that still stands");
    assert_eq!(busted.costs.trading_cost, money("0"));
    assert_eq!(
        busted.shares.iter().map(|s| s.quantity).collect::<Vec<_>>(),
        [qty("300"), Quantity::ZERO],
        "its fee stands"
    );
    market.quote(close(), "41", "42");
    bench.table(market.table.clone());
    let last = row_by(&mut bench, TimestampMicros::from_micros(close().micros() + 6 * SECOND));
    assert_eq!((last.stage, last.revision), (QualityStage::Final, 3));
    let late = TimestampMicros::from_micros(close().micros() + 10 * SECOND);
    tell(&mut bench, [order.correct(1, ("40.04", "300"), ("40.14", "200"), late)]);
    let corrected = row_by(&mut bench, TimestampMicros::from_micros(close().micros() + 20 * SECOND));
    assert_eq!((corrected.stage, corrected.revision), (QualityStage::Final, 4));
    assert_eq!(
        (corrected.filled_qty, corrected.avg_px, corrected.interval_end),
        (qty("200"), "40.14".parse().ok(), s(5.0))
    );
    bench.timer_to(TimestampMicros::from_micros(close().micros() + 2 * 3_600 * SECOND)).restart().expect_no_more();
    assert!(bench.dump().is_empty(), "{:?}", bench.dump());
    // Too late: the order is forgotten.
    tell(
        &mut bench,
        [order.bust(1, "40.14", "200", TimestampMicros::from_micros(close().micros() + 3 * 3_600 * SECOND))],
    );
    bench.timer_to(TimestampMicros::from_micros(close().micros() + 4 * 3_600 * SECOND)).expect_no_more();
}

/// Trading rule 40: total_cost_bps = all components with fees, of Pd x Q; the breakdown has delay and fees.
#[test]
fn rule_40_basis_points_are_of_the_decided_value() {
    let market = market();
    let mut perp = instrument();
    perp.multiplier = qty("10");
    let mut bench = bench(Config::default(), &market, &data(&[perp]));
    let mut order = Order::buy();
    let mut life = vec![order.created(s(-0.8)), order.released(s(0.0), &market.table)];
    life.push(order.fill_with_fee(1, "40.05", "700", Some(("170", "USD")), s(5.5)));
    life.push(order.ended(ParentStatus::Cancelled, s(30.0)));
    tell(&mut bench, life);
    let row = row_by(&mut bench, s(31.0));
    assert_eq!((row.costs.total_cost, row.total_cost_bps), (money("760"), "19".parse().unwrap()));
}

/// Trading rule 41: asset class from reference data; counts a broker order, however much is said of it.
#[test]
fn rule_41_a_broker_order_counts_once() {
    let market = market();
    let mut bench = bench(Config::default(), &market, &data(&[instrument()]));
    let mut order = Order::buy();
    let mut life = vec![order.created(s(-0.8)), order.released(s(0.0), &market.table), order.routed(1, s(1.0))];
    for n in 0..5 {
        life.push(order.child_is(1, OrdStatus::New, s(1.5)));
        life.push(order.fill(1, "40.05", "10", s(2.0 + f64::from(n))));
    }
    let repeated = life.last().unwrap().clone();
    life.push(repeated);
    life.push(order.child_is(2, OrdStatus::Rejected, s(8.0)));
    life.push(order.child_is(2, OrdStatus::Rejected, s(9.0)));
    life.push(order.child_is(1, OrdStatus::Canceled, s(9.0)));
    life.push(order.child_is(1, OrdStatus::Canceled, s(9.5)));
    let last = order.ended(ParentStatus::Cancelled, s(10.0));
    life.push(last.clone());
    tell(&mut bench, life);
    bench.record(ORDERS, &last);
    let row = row_by(&mut bench, s(11.0));
    let metrics = &row.efficiency_metrics;
    assert_eq!((metrics.children, metrics.children_rejected, metrics.children_cancelled, metrics.fills), (2, 1, 1, 5));
    assert_eq!((row.filled_qty, row.asset_class), (qty("50"), Some(AssetClass::Equity)));
    assert_eq!((row.shares.len(), row.shares[0].fills), (1, 5));
}

/// A fill that comes after the terminal event: booked, restated.
#[test]
fn a_late_fill_restates_the_row() {
    let market = market();
    let mut bench = bench(Config::default(), &market, &data(&[instrument()]));
    let mut order = Order::buy();
    tell(&mut bench, published(&mut order, &market));
    bench.timer_to(s(31.0)).take_one::<ExecutionQuality>();
    let late = OrderEvent { timestamp: s(40.0), ..order.fill(1, "40.10", "300", s(29.5)) };
    assert_eq!(late.event_type, OrderEventType::ChildUpdated);
    tell(&mut bench, [late, order.amended(s(40.0))]);
    let row = row_by(&mut bench, s(50.0));
    assert_eq!((row.revision, row.filled_qty, row.interval_end), (2, qty("1000"), s(29.5)));
    assert_eq!((row.costs.opportunity_cost, row.avg_px), (money("0"), "40.065".parse().ok()));
}
