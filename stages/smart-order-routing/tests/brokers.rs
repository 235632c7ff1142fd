//! Choice of the broker: trading rule 34.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{World, broker, collar, num, pairs, qty, slice, venue, world};
use fillstream_domain::{AssetClass, Bps, RoutingStrategy};
use fillstream_schemas::execution::{BrokerChoice, RoutingPlan, Slice};
use fillstream_schemas::reference::{Broker, CommissionSchedule, Venue};

fn six() -> Vec<Broker> {
    let shares = |n: &str, min: &str| CommissionSchedule {
        per_unit: num(n),
        min_commission: num(min),
        max_ratio: Some(num("0.01")),
        ..CommissionSchedule::default()
    };
    let with = |id: &str, quality: &str, special: &[&str], commissions: Vec<CommissionSchedule>| Broker {
        specialties: special.iter().map(|s| (*s).to_owned()).collect(),
        commissions,
        ..broker(id, quality)
    };
    let option = |per_unit: &str| CommissionSchedule { per_unit: num(per_unit), ..CommissionSchedule::default() };
    let free =
        || CommissionSchedule { asset_classes: vec!["EQUITY".into(), "ETF".into()], ..CommissionSchedule::default() };
    vec![
        with("interactive_brokers", "0.92", &["international", "options", "futures"], vec![shares("0.005", "1")]),
        with("alpaca", "0.85", &["us_equities", "fractional_shares"], vec![]),
        with("schwab", "0.88", &["us_equities", "etfs"], vec![free(), option("0.65")]),
        with("fidelity", "0.87", &["us_equities"], vec![free(), option("0.65")]),
        with("etrade", "0.84", &["us_equities", "options"], vec![free(), option("0.5")]),
        with("thinkorswim", "0.9", &["options"], vec![shares("0.006", "1")]),
    ]
}

fn desk(quantity: i64) -> World {
    let brokers = six();
    let mut w = world(quantity);
    w.account.brokers = brokers.iter().map(|b| b.broker_id.clone()).collect();
    w.brokers = brokers;
    w.venues = vec![Venue { quality: num("0.9"), ..venue("A", "1") }];
    w
}

fn names(plan: &RoutingPlan) -> Vec<&str> {
    plan.broker_choices.iter().filter(|c| c.eligible).map(|c| c.broker.as_str()).collect()
}

fn choice<'a>(plan: &'a RoutingPlan, broker: &str) -> &'a BrokerChoice {
    plan.broker_choices.iter().find(|c| c.broker == broker).unwrap()
}

/// Under 10,000 only brokers without commission, by the composite; from there all of them.
#[test]
fn rule_34_smart_takes_a_commission_free_broker_for_small_orders() {
    let plan = desk(99).plan();
    assert_eq!(names(&plan), ["schwab", "fidelity", "alpaca", "etrade"]);
    assert_eq!(pairs(&plan), ["schwab/A"]);
    assert_eq!(choice(&plan, "thinkorswim").exclusion_code.as_deref(), Some("BROKER_NOT_FREE"));
    let plan = desk(100).plan();
    assert_eq!(names(&plan).len(), 6);
    // 0.4 / (1 + 1) + 0.35 x (0.92 + 0.9) / 2 + 0.25 x 0.5
    let c = choice(&plan, "interactive_brokers");
    assert_eq!((c.commission, c.score, c.capability), (num("1"), num("0.6435"), num("0.5")));
    // 0.4 + 0.35 x 0.89 + 0.25
    assert_eq!(choice(&plan, "schwab").score, num("0.9615"));
    assert_eq!(pairs(&plan), ["schwab/A"]);
}

/// Exactly 10,000 is no small order any more; a broker counts as good as its best pair.
#[test]
fn rule_34_the_threshold_itself_is_not_small() {
    let mut w = desk(100);
    w.rows = vec![common::quote("X", "REF", "99.9", "100", 500)];
    w.venues.push(Venue { quality: num("0.5"), ..venue("B", "1") });
    let plan = w.plan();
    assert_eq!((plan.order_value, names(&plan).len()), (Some(num("10000")), 6));
    assert_eq!(choice(&plan, "alpaca").quality, num("0.875"));
}

/// Where no capable broker is free, a small order goes to the best of all.
#[test]
fn rule_34_a_small_order_without_a_free_broker_takes_the_best_of_all() {
    let mut w = desk(10);
    w.instrument.asset_class = AssetClass::Option;
    w.brokers[1].asset_classes = vec!["EQUITY".into()];
    let plan = w.plan();
    assert_eq!(choice(&plan, "alpaca").exclusion_code.as_deref(), Some("BROKER_ASSET_CLASS"));
    // Ten contracts at 0.06 with a minimum of 1; "options" is its specialty.
    assert_eq!(names(&plan)[0], "interactive_brokers");
    assert_eq!(choice(&plan, "schwab").commission, num("6.5"));
}

/// The commission optimiser: least commission plus impact plus what quality loses of it; the saving against each other one.
#[test]
fn rule_34_lowest_cost_counts_commission_impact_and_quality() {
    let mut w = desk(100);
    w.slice.routing_strategy = Some(RoutingStrategy::LowestCost);
    w.instrument.adv = Some(qty(10_000));
    w.instrument.daily_sigma = Some(num("0.02"));
    let plan = w.plan();
    // Half of 10 basis points, and 0.02 x sqrt(0.01) = 20 basis points, of 10,010.
    let ib = choice(&plan, "interactive_brokers");
    assert_eq!(ib.impact_cost, num("25.025"));
    assert_eq!((ib.quality_cost, ib.total_cost), (num("2.25225"), num("28.27725")));
    assert_eq!(names(&plan)[0], "schwab");
    let best = choice(&plan, "schwab");
    assert_eq!((best.total_cost, best.saving), (num("27.77775"), num("0")));
    assert_eq!(ib.saving, num("0.4995"));
    assert_eq!(plan.routing_strategy, RoutingStrategy::LowestCost);
}

#[test]
fn rule_34_fastest_fill_probability_and_impact_have_their_orders() {
    let first = |strategy| {
        let mut w = desk(100);
        w.slice.routing_strategy = Some(strategy);
        for (b, latency) in w.brokers.iter_mut().zip([50, 40, 30, 20, 10, 60]) {
            b.latency_us = latency;
        }
        let plan = w.plan();
        assert_eq!(plan.routing_strategy, strategy);
        names(&plan)[0].to_owned()
    };
    assert_eq!(first(RoutingStrategy::FastestExecution), "etrade");
    assert_eq!(first(RoutingStrategy::HighestFillProbability), "interactive_brokers");
    assert_eq!(first(RoutingStrategy::MinimalMarketImpact), "interactive_brokers");
    let mut w = desk(100);
    w.config.routing_strategy = RoutingStrategy::HighestFillProbability;
    assert_eq!(names(&w.plan())[0], "interactive_brokers", "the configured strategy");
}

#[test]
fn rule_34_preferred_brokers_come_in_their_order_where_they_are_able() {
    let mut w = desk(100);
    w.slice.preferred_brokers = vec!["thinkorswim".into(), "etrade".into()];
    let plan = w.plan();
    assert_eq!((names(&plan), pairs(&plan)), (vec!["thinkorswim", "etrade"], vec!["thinkorswim/A".to_owned()]));
    assert_eq!(choice(&plan, "schwab").exclusion_code.as_deref(), Some("BROKER_NOT_PREFERRED"));
    w.brokers[5].is_active = false;
    assert_eq!(pairs(&w.plan()), ["etrade/A"]);
    w.brokers[4].is_active = false;
    assert_eq!(pairs(&w.plan()), ["schwab/A"], "none of them can: the others do");
}

#[test]
fn rule_34_fractions_ask_for_a_broker_that_takes_them() {
    let mut w = desk(100);
    w.slice = Slice { quantity: num("10.5"), lot_size: num("0.1"), ..slice(1) };
    w.brokers.iter_mut().filter(|b| b.broker_id != "alpaca").for_each(|b| b.fractional_units = false);
    let plan = w.plan();
    assert_eq!(pairs(&plan), ["alpaca/A"]);
    assert_eq!(choice(&plan, "alpaca").capability, num("1"));
    assert_eq!(choice(&plan, "fidelity").exclusion_code.as_deref(), Some("BROKER_FRACTIONAL"));
}

/// The best broker gets what goes to the venues it reaches; the venues keep the order of rule 33.
#[test]
fn rule_33_and_34_each_venue_is_reached_by_the_best_broker_that_can() {
    let mut w = desk(1_000);
    w.venues = vec![venue("A", "0.5"), venue("B", "0.3"), venue("C", "0.2")];
    w.brokers[2].venues = vec!["B".into()];
    let plan = w.plan();
    assert_eq!(names(&plan)[..2], ["schwab", "fidelity"]);
    assert_eq!(pairs(&plan), ["fidelity/A", "schwab/B", "fidelity/C"]);
    assert!(plan.candidates.iter().all(|c| c.eligible));
}

/// The commission counts in dollars, whatever the reporting currency is.
#[test]
fn rule_34_the_cost_of_the_score_is_in_dollars() {
    let mut w = desk(1_000);
    w.instrument.quote_currency = "EUR".into();
    w.limit = Some(fillstream_schemas::reference::RiskLimit { currency: "EUR".into(), ..collar("1000") });
    w.rows.push(common::quote("EURUSD", "FX", "1.9", "2.1", 1));
    let plan = w.plan();
    assert_eq!((plan.usd_rate, plan.fx_rate), (Some(num("2")), Some(num("1"))));
    // 5 euros are 10 dollars: 0.4 / 11 + 0.35 x 0.91 + 0.125.
    let c = choice(&plan, "interactive_brokers");
    assert_eq!((c.commission, c.score), (num("5"), num("0.479863636")));
    assert_eq!(plan.candidates[0].half_spread, Some(Bps::from_int(5).unwrap()));
}

/// Without a rate to the dollar the reporting currency stands in for it, which the plan says.
#[test]
fn rule_34_without_a_rate_the_reporting_currency_stands_in() {
    let mut w = desk(1_000);
    w.instrument.quote_currency = "CHF".into();
    let plan = w.plan();
    // 0.4 / 6 + 0.35 x 0.91 + 0.125
    assert_eq!((plan.usd_rate, choice(&plan, "interactive_brokers").score), (None, num("0.510166667")));
}
