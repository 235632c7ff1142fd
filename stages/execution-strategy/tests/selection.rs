//! Objectives, constraints, market conditions, expectations.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Desk, allocated, at, px, with_limit, with_terms};
use fillstream_domain::{Algorithm, ExecutionObjective, MarketCondition, Urgency};
use fillstream_execution_strategy::Config;
use fillstream_schemas::execution::{AccountAllocation, ExecutionStrategySelected};

fn auto(quantity: i64, change: impl FnOnce(&mut fillstream_schemas::execution::OrderTerms)) -> AccountAllocation {
    with_terms(allocated(Algorithm::Auto, quantity, 3_600), change)
}

fn chosen(v: &AccountAllocation) -> ExecutionStrategySelected {
    Desk::new().begin(v)
}

fn objective(objective: ExecutionObjective) -> ExecutionStrategySelected {
    chosen(&auto(20_000, |t| t.objective = Some(objective)))
}

/// Trading rule 30: without an objective the specification's list decides, and BALANCED_EXECUTION is that.
#[test]
fn rule_30_the_list_decides_unless_there_is_an_objective() {
    let plain = chosen(&auto(20_000, |_| {}));
    assert_eq!((plain.used, plain.rule.as_str()), (Algorithm::Twap, "BALANCED"));
    let balanced = objective(ExecutionObjective::BalancedExecution);
    assert_eq!((balanced.used, balanced.rule.as_str()), (Algorithm::Twap, "BALANCED"));
    // A small order is a small order.
    let mut small = auto(20_000, |t| t.objective = Some(ExecutionObjective::MinimizeTime));
    small.order_value = fillstream_domain::Money::from_int(9_999).unwrap();
    assert_eq!(chosen(&small).rule, "SMALL_ORDER");
    // An explicit algorithm is honoured, and the recommendation recorded (trading rule 8).
    let explicit = chosen(&auto(20_000, |t| {
        t.objective = Some(ExecutionObjective::MinimizeTime);
        t.algorithm = Algorithm::Twap;
    }));
    assert_eq!(
        (explicit.used, explicit.selected, explicit.rule.as_str()),
        (Algorithm::Twap, Algorithm::Market, "EXPLICIT")
    );
}

#[test]
fn each_objective_chooses_what_is_best_at_it() {
    let time = objective(ExecutionObjective::MinimizeTime);
    assert_eq!((time.used, time.rule.as_str()), (Algorithm::Market, "OBJECTIVE"));
    let cost = objective(ExecutionObjective::MinimizeCost);
    let risk = objective(ExecutionObjective::MinimizeRisk);
    let alpha = objective(ExecutionObjective::MaximizeAlphaCapture);
    let outcome = |e: &ExecutionStrategySelected| {
        let o = &e.expected_outcomes;
        (o.estimated_cost.unwrap(), o.risk.unwrap())
    };
    // Of all strategies that could be chosen none costs less, none risks less at its weight.
    let possible = |e: &ExecutionStrategySelected| {
        e.alternatives.iter().filter(|a| a.excluded_code.is_none()).cloned().collect::<Vec<_>>()
    };
    assert!(possible(&cost).iter().all(|a| a.estimated_cost.unwrap() >= outcome(&cost).0));
    assert!(outcome(&risk).1 <= outcome(&cost).1 && outcome(&risk).0 >= outcome(&cost).0);
    assert!(alpha.alternatives.iter().all(|a| a.score.is_some() || a.excluded_code.is_some()));
    for e in [&time, &cost, &risk, &alpha] {
        assert_eq!(e.alternatives.len(), 8);
        let scores: Vec<_> = possible(e).iter().map(|a| a.score.unwrap()).collect();
        assert!(e.objective == Some(ExecutionObjective::MinimizeTime) || scores.is_sorted(), "best first: {scores:?}");
    }
}

/// The figures of Almgren and Chriss, not constants: 20,000 of 1,000,000 a day at 100.01, spread 0.02.
#[test]
fn the_expected_cost_is_the_models() {
    let e = chosen(&auto(20_000, |t| t.algorithm = Algorithm::Twap));
    let o = &e.expected_outcomes;
    // gamma X^2 / 2 = 40, eps X = 200, eta~ / tau x 48 x (X/48)^2 = 5,180 of 2,000,200: eta = 2e-6, tau = 3,600 s / 48 of 6.5 h.
    let cost: f64 = o.estimated_cost.unwrap().to_string().parse().unwrap();
    let (x, tau) = (20_000.0, 75.0 / 23_400.0);
    let (gamma, eta) = (0.02 / 100_000.0, 0.02 / 10_000.0);
    let expected = gamma * x * x / 2.0 + 0.01 * x + (eta - gamma * tau / 2.0) / tau * 48.0 * (x / 48.0_f64).powi(2);
    assert!((cost - expected / (x * 100.01) * 10_000.0).abs() < 1e-4, "{cost}, {expected}");
    assert_eq!((o.estimated_time_minutes, o.completion_probability), (60, Some("1".parse().unwrap())));
    assert!(o.risk.unwrap().is_positive() && o.market_impact.unwrap() < o.estimated_cost.unwrap());
    // Without a volume there is no figure, and none is made up.
    let e = Desk::with(Config::default(), None).begin(&auto(20_000, |t| t.algorithm = Algorithm::Twap));
    assert_eq!((e.expected_outcomes.estimated_cost, e.expected_outcomes.risk), (None, None));
    assert!(e.alternatives.iter().all(|a| a.excluded_code.is_some()));
}

#[test]
fn constraints_exclude_what_breaks_them() {
    let excluded = |e: &ExecutionStrategySelected, algorithm| {
        e.alternatives.iter().find(|a| a.algorithm == algorithm).and_then(|a| a.excluded_code.clone())
    };
    // 20,000 at once, when a minute has 2,564 and the order may be a tenth of it.
    let limited = chosen(&auto(20_000, |t| {
        t.objective = Some(ExecutionObjective::MinimizeTime);
        t.max_participation_rate = Some("0.2".parse().unwrap());
    }));
    assert_eq!(excluded(&limited, Algorithm::Market).as_deref(), Some("PARTICIPATION_LIMIT"));
    assert_ne!(limited.used, Algorithm::Market);
    let pov = chosen(&auto(20_000, |_| {}));
    assert_eq!(excluded(&pov, Algorithm::Pov).as_deref(), Some("NOT_AVAILABLE"), "nobody prints");
    let mut desk = Desk::new();
    desk.print(50).bench.at(at(1));
    let pov = desk.begin(&auto(20_000, |_| {}));
    // A tenth of the volume: 20,000 take 4,680 s of a day of 6.5 h.
    assert_eq!(excluded(&pov, Algorithm::Pov).as_deref(), Some("HORIZON"));
    let none = Desk::with(Config::default(), None).begin(&auto(20_000, |_| {}));
    assert_eq!(excluded(&none, Algorithm::Market).as_deref(), Some("NOT_ESTIMATED"));
}

#[test]
fn a_limit_makes_completion_less_probable() {
    let p = |limit: Option<&str>| {
        let v = auto(20_000, |t| t.algorithm = Algorithm::Twap);
        let v = limit.map_or(v.clone(), |limit| with_limit(v, limit));
        chosen(&v).expected_outcomes.completion_probability.unwrap()
    };
    let (free, far, near) = (p(None), p(Some("102")), p(Some("100.1")));
    assert!(free > far && far > near && near.is_positive(), "{free} {far} {near}");
    // Resting far from the market.
    let rest = chosen(&with_limit(auto(20_000, |t| t.algorithm = Algorithm::Limit), "98"));
    assert!(rest.expected_outcomes.completion_probability.unwrap() < "0.05".parse().unwrap());
}

/// Trading rule 31: the condition and its figures stand in the event.
#[test]
fn rule_31_the_condition_of_the_market_is_told_with_its_figures() {
    let calm = chosen(&auto(20_000, |_| {}));
    assert_eq!(calm.market_condition, MarketCondition::Normal);
    assert_eq!(calm.market_figures.unwrap().samples, 0, "nothing is told from one quote");
    let told = |mids: &dyn Fn(i64) -> i64| {
        let mut desk = Desk::new();
        for n in 1..=60 {
            let cents = 10_000 + mids(n);
            let text = |c: i64| format!("{}.{:02}", c / 100, c % 100);
            desk.quote_at(at(n * 5), &text(cents), &text(cents + 2));
        }
        desk.bench.at(at(300));
        desk.begin(&auto(20_000, |_| {}))
    };
    let trend = told(&|n| n);
    assert_eq!(trend.market_condition, MarketCondition::Trending);
    let f = trend.market_figures.unwrap();
    assert_eq!((f.samples, f.interval_us), (60, 5_000_000));
    assert!(f.variance_ratio.unwrap() > "4".parse().unwrap() && f.net_move_bps.unwrap().is_positive());
    assert_eq!(told(&|n| n % 2).market_condition, MarketCondition::MeanReverting);
    let wild = told(&|n| (n % 2) * 30);
    assert_eq!(wild.market_condition, MarketCondition::HighVolatility);
    assert!(wild.market_figures.unwrap().volatility_ratio.unwrap() > "2".parse().unwrap());
    let news = chosen(&auto(20_000, |t| t.news_impact_score = Some("0.8".parse().unwrap())));
    assert_eq!(news.market_condition, MarketCondition::NewsDriven);
    let mut thin = Desk::new();
    thin.sized_quote(("99", "100.02"), Some(1));
    assert_eq!(thin.begin(&auto(20_000, |_| {})).market_condition, MarketCondition::LowLiquidity);
}

/// A market that runs away from the order makes its trajectory hastier, one that comes back makes it calmer.
#[test]
fn a_trend_against_the_order_makes_the_trajectory_hastier() {
    let first = |step: i64| {
        let mut desk = Desk::new();
        for n in 1..=60 {
            let cents = 10_000 + step * n;
            let text = |c: i64| format!("{}.{:02}", c / 100, c % 100);
            desk.quote_at(at(n * 5), &text(cents), &text(cents + 2));
        }
        desk.bench.at(at(300));
        let v = auto(20_000, |t| (t.algorithm, t.urgency) = (Algorithm::ImplementationShortfall, Urgency::Normal));
        desk.begin(&v).recommended_strategy.parameters.risk_aversion.unwrap()
    };
    assert!(first(1) > first(0) && first(0) > first(-1));
}

#[test]
fn the_response_names_strategy_parameters_times_and_guard_rails() {
    let e = chosen(&auto(20_000, |t| {
        t.algorithm = Algorithm::Twap;
        t.urgency = Urgency::High;
        t.limit_price = Some(px("101"));
        t.dark_pool_preference = true;
    }));
    assert_eq!(e.recommended_strategy.parameters.dark_pool_ratio, Some("0.3".parse().unwrap()));
    assert_eq!((e.recommended_strategy.strategy_name.as_str(), e.time_allocation.len()), ("TWAP", 48));
    let rails = e.risk_controls.unwrap();
    assert_eq!((rails.must_complete, rails.hard_limit), (true, Some(px("101"))));
    assert!(e.strategy_rationale.contains("rule EXPLICIT: market NORMAL"), "{}", e.strategy_rationale);
    assert_eq!((e.account_id.as_deref(), e.revision, e.change), (Some("A1"), 1, None));
}

/// Trading rule 35: what was measured, with its sample size; the prior where nothing was.
#[test]
fn rule_35_confidence_is_told_with_its_sample_size() {
    let selected = Desk::new().begin(&allocated(Algorithm::Auto, 100, 600));
    // MEDIUM, LOW, NORMAL: the rules choose TWAP.
    assert_eq!(selected.selected, Algorithm::Twap);
    assert!(selected.confidence_samples >= 200 && selected.confidence_against.is_some(), "{selected:?}");
    assert!(selected.confidence.is_some_and(|c| c.is_positive() && c < fillstream_domain::Ratio::ONE));
    let urgent = with_terms(allocated(Algorithm::Auto, 100, 600), |t| t.urgency = Urgency::Urgent);
    let nothing = Desk::new().begin(&urgent);
    assert_eq!((nothing.confidence, nothing.confidence_samples), ("0.5".parse().ok(), 0));
}
