//! Questions for a strategy: answers, refusals, repeats.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::{Desk, SECOND, allocated, at, instrument, px, qty, set, with_terms};
use fillstream_domain::{Algorithm, AssetClass, ExecutionObjective, Money, OrdType, Quantity, Side, Urgency};
use fillstream_execution_strategy::Config;
use fillstream_execution_strategy::reason::NoAdvice;
use fillstream_execution_strategy::recommend::{AdviceConfig, OrderRules, StrategyAdvice};
use fillstream_reference::{MarketTable, ReferenceData};
use fillstream_schemas::execution::{
    AccountAllocation, ExecutionStrategySelected, StrategyMarketContext, StrategyRecommendation, StrategyRequest,
};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::{Calendar, Instrument};
use fillstream_schemas::state::AdviceAnswer;
use fillstream_testkit::StageBench;
use proptest::prelude::*;

const REQUESTS: &str = "execution.strategy-requests.v1";
const RULES: OrderRules = OrderRules { default_horizon_ms: 3_600_000, max_quote_age_ms: 5_000 };

fn dollars(instrument: Instrument) -> Instrument {
    Instrument { quote_currency: "USD".into(), multiplier: Quantity::ONE, ..instrument }
}

struct Adviser {
    bench: StageBench,
}

impl Adviser {
    /// At 0 s with the quote 100.00 / 100.02, as `Desk` has it.
    fn new() -> Self {
        Self::with(dollars(instrument(AssetClass::Equity)), ("100", "100.02"))
    }

    fn with(instrument: Instrument, (bid, ask): (&str, &str)) -> Self {
        let mut desk = Self::blind();
        let mut data = ReferenceData::default();
        let calendar = Calendar {
            calendar_id: "C".into(),
            opens_at_us: 13 * 3_600 * SECOND + 1_800 * SECOND,
            closes_at_us: 20 * 3_600 * SECOND,
            ..Calendar::default()
        };
        set(&mut data, "reference.instruments.v1", "X", &instrument);
        set(&mut data, "reference.calendars.v1", "C", &calendar);
        let mut market = MarketTable::default();
        let row = NormalizedMarketData {
            instrument_id: "X".into(),
            venue: "V".into(),
            kind: MarketDataKind::Quote,
            event_time: at(0),
            seq: 1,
            bid: Some(px(bid)),
            ask: Some(px(ask)),
            ..NormalizedMarketData::default()
        };
        market.take(&row).unwrap();
        desk.bench.table(data).table(market);
        desk
    }

    /// Nothing was read yet.
    fn blind() -> Self {
        let stage = StrategyAdvice::new(Config::default(), AdviceConfig::default(), RULES).unwrap();
        let mut bench = StageBench::new(stage);
        bench.at(at(0));
        Self { bench }
    }

    fn ask(&mut self, request: &StrategyRequest) -> StrategyRecommendation {
        self.bench.record(REQUESTS, request);
        self.bench.take_one()
    }

    fn kept(&self) -> usize {
        self.bench.state::<AdviceAnswer>("answers").len()
    }
}

fn request() -> StrategyRequest {
    StrategyRequest {
        request_id: "r1".into(),
        timestamp: at(0),
        order_id: "o1".into(),
        instrument_id: "X".into(),
        side: Side::Buy,
        quantity: qty(20_000),
        urgency: Urgency::Low,
        time_limit_minutes: Some(60),
        ..StrategyRequest::default()
    }
}

/// What the stage decides for an order of the same terms.
fn decided(request: &StrategyRequest) -> ExecutionStrategySelected {
    let quantity: i64 = request.quantity.to_string().parse().unwrap();
    let allocation = with_terms(allocated(Algorithm::Auto, quantity, 3_600), |t| {
        t.urgency = request.urgency;
        t.objective = request.objective;
        t.max_participation_rate = request.max_participation_rate;
        t.limit_price = request.price_limit;
        t.ord_type = if request.price_limit.is_some() { OrdType::Limit } else { OrdType::Market };
        t.dark_pool_preference = request.dark_pool_preference;
        t.news_impact_score = request.market_context.as_ref().and_then(|c| c.news_impact_score);
        t.quote.event_time = at(0);
        t.expire_at = at(5 * 3_600);
    });
    let value = Money::from_int(quantity).unwrap();
    let order_value = Money::from_unscaled(value.unscaled() * 10_001 / 100).unwrap();
    let size = (request.quantity, 3_600 * SECOND);
    let known = dollars(instrument(AssetClass::Equity));
    let risk = fillstream_pre_trade_risk::Config::default();
    let calendar = fillstream_domain::SessionCalendar::new(48_600 * SECOND, 72_000 * SECOND, true, []).unwrap();
    let market_impact_estimate =
        fillstream_pre_trade_risk::impact::estimate(size, Some(&known), Some(&calendar), at(0), &risk);
    let mut desk = Desk::with(Config::default(), Some(known));
    desk.begin(&AccountAllocation { order_value, side: request.side, market_impact_estimate, ..allocation })
}

fn same(told: &ExecutionStrategySelected, decided: &ExecutionStrategySelected) {
    let mut decided = decided.clone();
    decided.event_id.clone_from(&told.event_id);
    decided.portfolio_id.clone_from(&told.portfolio_id);
    decided.account_id = None;
    decided.expected_outcomes.risk_score = None;
    assert_eq!(*told, decided);
}

/// Whatever is asked, the answer is what the stage selects for such an order at that moment.
#[test]
fn an_answer_is_what_the_stage_would_decide() {
    use ExecutionObjective as O;
    let objectives =
        [None, Some(O::MinimizeCost), Some(O::MinimizeRisk), Some(O::MinimizeTime), Some(O::MaximizeAlphaCapture)];
    let (mut algorithms, mut count) = (BTreeSet::new(), 0);
    for urgency in [Urgency::Low, Urgency::Normal, Urgency::High, Urgency::Urgent] {
        for objective in objectives {
            for quantity in [50, 3_000, 20_000, 80_000] {
                let request = StrategyRequest { urgency, objective, quantity: qty(quantity), ..request() };
                let answer = Adviser::new().ask(&request);
                let strategy = answer.strategy.unwrap_or_else(|| panic!("{:?}", answer.refusal_text));
                same(&strategy, &decided(&request));
                algorithms.insert(strategy.used.as_str());
                count += 1;
            }
        }
    }
    assert!(count == 80 && algorithms.len() >= 4, "{algorithms:?}");
}

#[test]
fn constraints_and_context_count_as_those_of_an_order() {
    let context = StrategyMarketContext { news_impact_score: Some("0.9".parse().unwrap()), ..Default::default() };
    let request = StrategyRequest {
        max_participation_rate: Some("0.05".parse().unwrap()),
        price_limit: Some(px("100.50")),
        dark_pool_preference: true,
        market_context: Some(context),
        objective: Some(ExecutionObjective::MinimizeCost),
        side: Side::Sell,
        ..request()
    };
    let strategy = Adviser::new().ask(&request).strategy.unwrap();
    same(&strategy, &decided(&request));
    assert_eq!(strategy.market_condition.as_str(), "NEWS_DRIVEN");
    assert_eq!(strategy.recommended_strategy.parameters.dark_pool_ratio, Some(Config::default().dark_pool_ratio));
}

#[test]
fn a_time_beyond_the_session_is_cut_to_it_and_none_is_the_default() {
    let until = |time_limit_minutes| {
        let asked = StrategyRequest { time_limit_minutes, ..request() };
        let strategy = Adviser::new().ask(&asked).strategy.unwrap();
        (strategy.ends_at.micros() - at(0).micros()) / SECOND
    };
    assert_eq!((until(Some(30)), until(None), until(Some(100_000))), (1_800, 3_600, 5 * 3_600));
}

#[test]
fn the_same_question_gets_the_same_answer_while_it_is_remembered() {
    let mut desk = Adviser::new();
    let first = desk.ask(&request());
    desk.bench.at(at(3));
    let again = desk.ask(&StrategyRequest { timestamp: at(3), attempt_id: "a2".into(), ..request() });
    assert_eq!((again.repeat_no, again.decided_at, again.timestamp), (1, at(0), at(3)));
    assert_eq!((first.attempt_id.as_str(), again.attempt_id.as_str()), ("", "a2"));
    assert_ne!(again.event_id, first.event_id);
    assert_eq!(again.strategy, first.strategy);
    let third = desk.ask(&request());
    assert!(third.repeat_no == 2 && third.event_id != again.event_id);
    desk.bench.restart();
    assert_eq!(desk.ask(&request()).strategy, first.strategy);
    // Forgotten after an hour: then the quote is too old for a new answer.
    desk.bench.timer_to(at(3_600));
    assert_eq!(desk.kept(), 0);
    assert_eq!(desk.ask(&request()).refusal_code.as_deref(), Some("STALE_QUOTE"));
}

#[test]
fn another_question_under_the_same_id_is_refused_and_changes_nothing() {
    let mut desk = Adviser::new();
    let first = desk.ask(&request());
    let other = desk.ask(&StrategyRequest { quantity: qty(1), order_id: "o2".into(), ..request() });
    assert_eq!((other.refusal_code.as_deref(), other.order_id.as_str()), (Some("IDEMPOTENCY_CONFLICT"), "o2"));
    assert!(other.strategy.is_none());
    assert_eq!(desk.ask(&request()).strategy, first.strategy);
}

#[test]
fn a_refusal_is_not_remembered() {
    let mut desk = Adviser::new();
    let bad = StrategyRequest { quantity: qty(0), ..request() };
    assert_eq!(desk.ask(&bad).refusal_code.as_deref(), Some("INVALID_QUANTITY"));
    assert_eq!((desk.kept(), desk.bench.timers().len()), (0, 0));
    assert!(desk.ask(&request()).strategy.is_some());
}

#[test]
fn every_refusal_is_reached() {
    let known = || dollars(instrument(AssetClass::Equity));
    let mut told = BTreeSet::new();
    let mut refuse = |mut desk: Adviser, request: StrategyRequest, code: &str| {
        let answer = desk.ask(&request);
        assert_eq!(answer.refusal_code.as_deref(), Some(code), "{:?}", answer.refusal_text);
        assert!(answer.strategy.is_none() && answer.refusal_text.is_some_and(|text| !text.is_empty()));
        told.insert(code.to_owned());
    };
    let of = |quote| Adviser::with(known(), quote);
    let usual = ("100", "100.02");
    refuse(Adviser::blind(), request(), "TABLES_UNAVAILABLE");
    refuse(Adviser::new(), StrategyRequest { instrument_id: "Y".into(), ..request() }, "UNKNOWN_INSTRUMENT");
    refuse(Adviser::with(Instrument { inverse: true, ..known() }, usual), request(), "INSTRUMENT_NOT_TRADED");
    let lots = Instrument { lot_size: qty(30), ..known() };
    refuse(Adviser::with(lots, usual), request(), "INVALID_QUANTITY");
    let dear = Instrument { min_notional: Money::from_int(9_000_000).unwrap(), ..known() };
    refuse(Adviser::with(dear, usual), request(), "INVALID_QUANTITY");
    let large = Instrument { min_quantity: qty(30_000), ..known() };
    refuse(Adviser::with(large, usual), request(), "INVALID_QUANTITY");
    refuse(Adviser::new(), StrategyRequest { price_limit: Some(px("100.005")), ..request() }, "INVALID_PRICE");
    refuse(Adviser::new(), StrategyRequest { price_limit: Some(px("-1")), ..request() }, "INVALID_PRICE");
    let rate = |text: &str| StrategyRequest { max_participation_rate: text.parse().ok(), ..request() };
    refuse(Adviser::new(), rate("1.1"), "INVALID_PARTICIPATION_RATE");
    refuse(Adviser::new(), rate("0"), "INVALID_PARTICIPATION_RATE");
    let context = StrategyMarketContext { news_impact_score: "1.5".parse().ok(), ..Default::default() };
    refuse(Adviser::new(), StrategyRequest { market_context: Some(context), ..request() }, "INVALID_SCORE");
    refuse(Adviser::new(), StrategyRequest { time_limit_minutes: Some(0), ..request() }, "INVALID_TIME_LIMIT");
    let mut late = Adviser::new();
    late.bench.at(at(6 * 3_600));
    refuse(late, request(), "MARKET_CLOSED");
    refuse(of(("0", "100")), request(), "NO_QUOTE");
    let mut old = Adviser::new();
    old.bench.at(at(6));
    refuse(old, request(), "STALE_QUOTE");
    refuse(Adviser::with(Instrument { quote_currency: "EUR".into(), ..known() }, usual), request(), "NO_FX_RATE");
    let most = StrategyRequest { quantity: "99999999999999999999".parse().unwrap(), ..request() };
    refuse(of(("9999999998", "9999999999")), most, "FIGURE_OUT_OF_RANGE");
    let mut twice = Adviser::new();
    twice.ask(&request());
    refuse(twice, StrategyRequest { side: Side::Sell, ..request() }, "IDEMPOTENCY_CONFLICT");
    let all: BTreeSet<String> = NoAdvice::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(told, all);
}

#[test]
fn a_fault_of_the_configuration_is_named() {
    let bad = AdviceConfig { remember_min: 0, reporting_currency: String::new() };
    let faults = StrategyAdvice::new(Config::default(), bad, RULES).err().unwrap().join("; ");
    assert!(faults.contains("remember_min") && faults.contains("reporting_currency"), "{faults}");
}

proptest! {
    /// Whatever is asked and however often: one event each, nothing poisoned, one strategy an id.
    #[test]
    fn every_question_has_one_answer(asked in prop::collection::vec((0..3_u8, -5..200_000_i64, 0..4_usize), 1..12)) {
        let mut desk = Adviser::new();
        let mut strategies = std::collections::BTreeMap::new();
        for (id, quantity, urgency) in asked {
            let urgency = [Urgency::Low, Urgency::Normal, Urgency::High, Urgency::Urgent][urgency];
            let answer = desk.ask(&StrategyRequest {
                request_id: format!("r{id}"), quantity: qty(quantity), urgency, ..request()
            });
            prop_assert!(desk.bench.take_dead_letters().is_empty());
            prop_assert_eq!(answer.strategy.is_some(), answer.refusal_code.is_none());
            if let Some(strategy) = answer.strategy {
                let first = strategies.entry(id).or_insert_with(|| strategy.clone());
                prop_assert_eq!(&*first, &strategy);
            }
        }
    }
}
