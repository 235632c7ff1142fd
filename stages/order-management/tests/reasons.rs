//! Every reason code is reached.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::*;
use fillstream_domain::{ControlScope, ExecType, Side, TimestampMicros};
use fillstream_order_management::Reason;
use fillstream_reference::Controls;
use fillstream_schemas::Finite;
use fillstream_schemas::coordination::{Action, CoordinatedTradingDecision as Decision};
use fillstream_schemas::execution::{Command, CommandAction, ExecutionReport, OrderEvent, OrderEventType};
use fillstream_schemas::reference::Account;
use fillstream_testkit::StageBench;

/// What the decision D1 is refused for in a world, in order: the first is the event's code.
fn refusals(world: World, change: impl FnOnce(&mut Decision)) -> Vec<String> {
    let mut decision = decision("D1");
    change(&mut decision);
    let mut bench = world.bench();
    bench.record(DECISIONS, &decision);
    assert!(bench.take_dead_letters().is_empty());
    let event = bench.take_one::<OrderEvent>();
    check_life(std::slice::from_ref(&event));
    if event.event_type == OrderEventType::Created {
        return event.reason_code.into_iter().collect();
    }
    assert!(event.is_terminal && bench.timers().keys().all(|(_, key)| key.starts_with("sweep")));
    let text = event.reason_text.unwrap();
    let codes: Vec<_> = text.split("; ").map(|part| part.split_once(": ").unwrap().0.to_owned()).collect();
    assert_eq!(event.reason_code.as_ref(), codes.first());
    codes
}

fn refused(change: impl FnOnce(&mut Decision)) -> Vec<String> {
    refusals(World::default(), change)
}

fn world(change: impl FnOnce(&mut World)) -> World {
    let mut world = World::default();
    change(&mut world);
    world
}

fn killed(scope: ControlScope, id: &str) -> World {
    let mut controls = Controls::default();
    controls.take(&format!("{scope}/{id}"), kill(scope, id, NOON)).unwrap();
    world(|w| w.controls = Some(controls))
}

fn paused(scope: ControlScope, id: &str) -> World {
    let mut controls = Controls::default();
    controls.take(&format!("{scope}/{id}"), pause(scope, id, NOON)).unwrap();
    world(|w| w.controls = Some(controls))
}

/// A decision of an instrument, in its own words.
fn of(instrument: &str) -> Decision {
    let mut decision = decision("D1");
    decision.decision.instrument_id = instrument.into();
    decision
}

type Case = (Reason, fn() -> Vec<String>);

/// Decisions that are refused for exactly one reason.
const DECIDED: &[Case] = &[
    (Reason::NoPortfolio, || refused(|d| d.portfolio_id = String::new())),
    (Reason::InvalidId, || refused(|d| d.portfolio_id = " P1".into())),
    (Reason::InvalidId, || refused(|d| d.event_id = String::new())),
    (Reason::Killed, || refusals(killed(ControlScope::Firm, "*"), |_| {})),
    (Reason::Killed, || refusals(killed(ControlScope::Portfolio, "P1"), |_| {})),
    (Reason::Killed, || refusals(killed(ControlScope::Account, "A1"), |_| {})),
    (Reason::Killed, || refusals(killed(ControlScope::Instrument, "ACME"), |_| {})),
    (Reason::Killed, || refusals(killed(ControlScope::Strategy, "S1"), |d| d.strategy_id = Some("S1".into()))),
    (Reason::Killed, || refusals(killed(ControlScope::Trader, "T1"), |d| d.trader_id = Some("T1".into()))),
    (Reason::Paused, || refusals(paused(ControlScope::Firm, "*"), |_| {})),
    (Reason::Paused, || refusals(paused(ControlScope::Portfolio, "P1"), |_| {})),
    (Reason::Paused, || refusals(paused(ControlScope::Account, "A1"), |_| {})),
    (Reason::Paused, || refusals(paused(ControlScope::Instrument, "ACME"), |_| {})),
    (Reason::Paused, || refusals(paused(ControlScope::Strategy, "S1"), |d| d.strategy_id = Some("S1".into()))),
    (Reason::Paused, || refusals(paused(ControlScope::Trader, "T1"), |d| d.trader_id = Some("T1".into()))),
    (Reason::ControlsUnavailable, || refusals(world(|w| w.controls = None), |_| {})),
    (Reason::StaleDecision, || refused(|d| d.timestamp = at(NOON - 5 * MINUTE - 1))),
    (Reason::StaleDecision, || {
        refused(|d| (d.timestamp, d.execution_strategy.urgency) = (at(NOON - 31 * SECOND), "CRITICAL".into()))
    }),
    (Reason::FutureDecision, || refused(|d| d.timestamp = at(NOON + 5 * SECOND + 1))),
    (Reason::FutureDecision, || refused(|d| d.decided_at = Some(at(NOON + MINUTE)))),
    (Reason::UnknownUrgency, || refused(|d| d.execution_strategy.urgency = "soon".into())),
    (Reason::UnknownPriority, || refused(|d| d.decision.priority = "high".into())),
    (Reason::UnknownOrderType, || refused(|d| d.execution_strategy.order_type = "OCO".into())),
    (Reason::UnknownTimeInForce, || refused(|d| d.execution_strategy.time_in_force = "OPG".into())),
    (Reason::UnknownAlgorithm, || refused(|d| d.execution_strategy.execution_algorithm = "PEG".into())),
    (Reason::UnknownObjective, || refused(|d| d.execution_strategy.objective = Some("FUN".into()))),
    (Reason::InvalidTimeHorizon, || refused(|d| d.execution_strategy.time_horizon = Some("a while".into()))),
    (Reason::InvalidTimeHorizon, || refused(|d| d.execution_strategy.time_horizon = Some("0_minutes".into()))),
    (Reason::SideMismatch, || refused(|d| d.decision.side = Some(Side::SellShort))),
    (Reason::InvalidConfidence, || refused(|d| d.confidence = Some(Finite::literal(1.01)))),
    (Reason::ConfidenceTooLow, || {
        refusals(world(|w| w.config.min_confidence = 0.6), |d| d.confidence = Some(Finite::literal(0.59)))
    }),
    (Reason::InvalidParticipationRate, || refused(|d| d.execution_strategy.max_participation_rate = Some(num("0")))),
    (Reason::InvalidParticipationRate, || refused(|d| d.execution_strategy.max_participation_rate = Some(num("1.1")))),
    (Reason::MissingLimitPrice, || refused(|d| d.execution_strategy.order_type = "LIMIT".into())),
    (Reason::MissingLimitPrice, || refused(|d| d.execution_strategy.execution_algorithm = "LIMIT".into())),
    (Reason::MissingStopPrice, || refused(|d| d.execution_strategy.order_type = "STOP".into())),
    (Reason::StopNotSupported, || {
        refused(|d| {
            d.execution_strategy.time_in_force = "IOC".into();
            (d.execution_strategy.order_type, d.execution_strategy.stop_price) = ("STOP".into(), Some(num("102")));
        })
    }),
    // The market is 99 / 101.
    (Reason::StopPassed, || {
        refused(|d| {
            (d.execution_strategy.order_type, d.execution_strategy.stop_price) = ("STOP".into(), Some(num("101")));
        })
    }),
    (Reason::StopPassed, || {
        refused(|d| {
            d.decision.action = Action::Sell;
            (d.execution_strategy.order_type, d.execution_strategy.stop_price) = ("STOP".into(), Some(num("99")));
        })
    }),
    (Reason::StopBeyondLimit, || {
        refused(|d| {
            d.execution_strategy.order_type = "STOP_LIMIT".into();
            (d.execution_strategy.stop_price, d.execution_strategy.limit_price) =
                (Some(num("103")), Some(num("102.99")));
        })
    }),
    (Reason::StopBeyondLimit, || {
        refused(|d| {
            (d.decision.action, d.execution_strategy.order_type) = (Action::Sell, "STOP_LIMIT".into());
            (d.execution_strategy.stop_price, d.execution_strategy.limit_price) = (Some(num("97")), Some(num("97.01")));
        })
    }),
    // A limit alone is none of a stop order, nor a stop alone one of STOP_LIMIT.
    (Reason::UnexpectedPrice, || {
        refused(|d| {
            d.execution_strategy.order_type = "STOP".into();
            (d.execution_strategy.stop_price, d.execution_strategy.limit_price) = (Some(num("103")), Some(num("104")));
        })
    }),
    (Reason::MissingLimitPrice, || {
        refused(|d| {
            (d.execution_strategy.order_type, d.execution_strategy.stop_price) =
                ("STOP_LIMIT".into(), Some(num("103")));
        })
    }),
    (Reason::MissingStopPrice, || {
        refused(|d| {
            (d.execution_strategy.order_type, d.execution_strategy.limit_price) =
                ("STOP_LIMIT".into(), Some(num("103")));
        })
    }),
    (Reason::InvalidPrice, || {
        refused(|d| {
            (d.execution_strategy.order_type, d.execution_strategy.stop_price) = ("STOP".into(), Some(num("103.001")));
        })
    }),
    (Reason::UnexpectedPrice, || refused(|d| d.execution_strategy.limit_price = Some(num("100")))),
    (Reason::UnexpectedPrice, || refused(|d| d.execution_strategy.stop_price = Some(num("100")))),
    (Reason::InvalidPrice, || refused(|d| limit(d, "100.005"))),
    (Reason::InvalidPrice, || refused(|d| limit(d, "-1"))),
    (Reason::InvalidPrice, || refused(|d| d.decision_price = Some(num("0")))),
    (Reason::FokNotPossible, || refused(|d| d.execution_strategy.time_in_force = "FOK".into())),
    (Reason::FokNotPossible, || {
        let second = |w: &mut World| {
            let account = Account { account_id: "A2".into(), portfolio_id: "P1".into(), ..Account::default() };
            put(w.reference.as_mut().unwrap(), "reference.accounts.v1", "A2", &account);
        };
        refusals(world(second), |d| {
            d.execution_strategy.time_in_force = "FOK".into();
            d.execution_strategy.execution_algorithm = "MARKET".into();
        })
    }),
    (Reason::MissingExpireAt, || refused(|d| d.execution_strategy.time_in_force = "GTD".into())),
    (Reason::ExpiredOnArrival, || refused(|d| d.execution_strategy.expire_at = Some(at(NOON)))),
    (Reason::ReferenceUnavailable, || refusals(world(|w| w.reference = None), |_| {})),
    (Reason::UnknownInstrument, || refused(|d| *d = of("NOPE"))),
    (Reason::InstrumentTypeMismatch, || refused(|d| d.instrument_type = Some("FX".into()))),
    (Reason::MarketClosed, || {
        refusals(
            world(|w| w.market.as_mut().unwrap().take(&quote("DAWN", NOON - 3 * SECOND, 1, "99", "101")).unwrap()),
            |d| *d = of("DAWN"),
        )
    }),
    (Reason::NoCalendar, || {
        refusals(
            world(|w| w.market.as_mut().unwrap().take(&quote("LOST", NOON - 3 * SECOND, 1, "99", "101")).unwrap()),
            |d| *d = of("LOST"),
        )
    }),
    (Reason::NoQuote, || refusals(world(|w| w.market = None), |_| {})),
    (Reason::NoQuote, || {
        refusals(world(|w| w.market.as_mut().unwrap().take(&quote("ACME", NOON, 3, "0", "1")).unwrap()), |_| {})
    }),
    // The decision was taken before the market's first quote.
    (Reason::NoQuote, || refused(|d| d.decided_at = Some(at(NOON - 2 * HOUR)))),
    (Reason::StaleQuote, || refused(|d| *d = of("QUIET"))),
    (Reason::InvalidQuantity, || refused(|d| d.decision.share_quantity = None)),
    (Reason::InvalidQuantity, || refused(|d| d.decision.share_quantity = Some(num("-100")))),
    (Reason::InvalidQuantity, || refused(|d| d.decision.share_quantity = Some(num("0")))),
    (Reason::InvalidQuantity, || refused(|d| d.decision.trade_amount = Some(num("-1")))),
    (Reason::LotSize, || refused(|d| d.decision.share_quantity = Some(num("105")))),
    (Reason::QuantityBelowMinimum, || refused(|d| d.decision.share_quantity = Some(num("10")))),
    (Reason::QuantityBelowMinimum, || {
        refused(|d| (d.decision.share_quantity, d.decision.trade_amount) = (None, Some(num("100"))))
    }),
    (Reason::NotionalBelowMinimum, || {
        let cheap = |w: &mut World| w.market.as_mut().unwrap().take(&quote("ACME", NOON, 3, "1", "3")).unwrap();
        refusals(world(cheap), |_| {})
    }),
    (Reason::AmountMismatch, || refused(|d| d.decision.trade_amount = Some(num("9000")))),
    (Reason::FigureOutOfRange, || refused(|d| d.decision.share_quantity = Some(num("99999999999999999990")))),
    // A note, not a refusal.
    (Reason::HorizonCut, || refused(|d| d.execution_strategy.time_horizon = Some("PT5H".into()))),
    (Reason::HorizonCut, || {
        refused(|d| {
            d.execution_strategy.time_in_force = "GTD".into();
            d.execution_strategy.expire_at = Some(at(NOON + HOUR));
            d.execution_strategy.time_horizon = Some("2_hours".into());
        })
    }),
    (Reason::DuplicateConflict, || {
        let mut bench = World::default().bench();
        let mut other = decision("D1");
        other.decision.action = Action::Sell;
        bench.record(DECISIONS, &decision("D1")).record(DECISIONS, &other);
        codes(&mut bench)
    }),
];

fn limit(decision: &mut Decision, price: &str) {
    decision.execution_strategy.order_type = "LIMIT".into();
    decision.execution_strategy.limit_price = Some(num(price));
}

fn codes(bench: &mut StageBench) -> Vec<String> {
    bench.take::<OrderEvent>().into_iter().filter_map(|e| e.reason_code).collect()
}

/// Lives of an order in which the code appears.
const LIVED: &[Case] = &[
    (Reason::RiskRejected, || {
        let mut bench = World::default().bench();
        let refusal = fillstream_schemas::execution::ValidatedOrder { is_approved: false, ..approval() };
        bench.record(DECISIONS, &decision("D1")).record(VERDICTS, &refusal);
        codes(&mut bench)
    }),
    (Reason::CancelCommand, || commanded(|_| {})),
    (Reason::UnknownOrder, || commanded(|c| c.order_id = "nope".into())),
    (Reason::MissingOrderId, || commanded(|c| c.order_id = String::new())),
    (Reason::PortfolioMismatch, || commanded(|c| c.portfolio_id = "P2".into())),
    (Reason::OrderMismatch, || commanded(|c| c.decision_event_id = Some("D2".into()))),
    (Reason::CommandNotSupported, || commanded(|c| c.action = CommandAction::Override)),
    (Reason::CommandNotSupported, || commanded(|c| c.action = CommandAction::Override)),
    (Reason::SuspendCommand, || commanded(|c| c.action = CommandAction::Suspend)),
    (Reason::NotSuspended, || commanded(|c| c.action = CommandAction::Resume)),
    (Reason::ResumeCommand, || told(&[command("K1", CommandAction::Suspend), command("K2", CommandAction::Resume)])),
    (Reason::AlreadySuspended, || {
        told(&[command("K1", CommandAction::Suspend), command("K2", CommandAction::Suspend)])
    }),
    (Reason::OrderNotReleased, || {
        let mut bench = World::default().bench();
        bench.record(DECISIONS, &decision("D1")).record(COMMANDS, &command("K1", CommandAction::Suspend));
        codes(&mut bench)
    }),
    (Reason::ReplaceCommand, || told(&[replace_qty("K1", "120")])),
    (Reason::ReplaceAlreadyPending, || told(&[replace_qty("K1", "120"), replace_qty("K2", "130")])),
    (Reason::ReplaceOvertaken, || told(&[replace_qty("K1", "120"), cancel("K2")])),
    (Reason::ReplaceOverdue, || {
        let mut bench = released();
        bench.record(COMMANDS, &replace_qty("K1", "120")).timer_to(at(NOON + 30 * SECOND));
        codes(&mut bench)
    }),
    (Reason::BelowFilled, || {
        let mut bench = routed(false);
        bench.record(REPORTS, &fill("C1", "e1", "40", "100")).record(COMMANDS, &replace_qty("K1", "30"));
        codes(&mut bench)
    }),
    (Reason::NothingToReplace, || told(&[replace_qty("K1", "100")])),
    (Reason::NothingToReplace, || told(&[command("K1", CommandAction::Replace)])),
    (Reason::InvalidQuantity, || told(&[replace_qty("K1", "0")])),
    (Reason::LotSize, || told(&[replace_qty("K1", "105")])),
    (Reason::QuantityBelowMinimum, || told(&[replace_qty("K1", "10")])),
    (Reason::UnexpectedPrice, || {
        commanded(|c| {
            (c.action, c.new_limit_price) = (CommandAction::Replace, Some(num("99")));
        })
    }),
    (Reason::InvalidPrice, || {
        let mut limited = decision("D1");
        limit(&mut limited, "100");
        let mut bench = World::default().bench();
        bench.record(DECISIONS, &limited).record(VERDICTS, &approval()).record(ALLOCATIONS, &allocation());
        let off_tick = Command { new_limit_price: Some(num("100.001")), ..command("K1", CommandAction::Replace) };
        bench.record(COMMANDS, &off_tick);
        codes(&mut bench)
    }),
    (Reason::InvalidTimeHorizon, || {
        commanded(|c| {
            (c.action, c.new_horizon) = (CommandAction::Replace, Some("soon".into()));
        })
    }),
    (Reason::InvalidTimeHorizon, || {
        commanded(|c| {
            (c.action, c.new_horizon) = (CommandAction::Replace, Some("PT0S".into()));
        })
    }),
    (Reason::ExpiredOnArrival, || {
        commanded(|c| {
            (c.action, c.new_expire_at) = (CommandAction::Replace, Some(at(NOON)));
        })
    }),
    (Reason::TimeInForceNotSupported, || {
        let mut at_once = decision("D1");
        at_once.execution_strategy.time_in_force = "IOC".into();
        let mut bench = World::default().bench();
        bench
            .record(DECISIONS, &at_once)
            .record(VERDICTS, &approval())
            .record(ALLOCATIONS, &allocation())
            .record(COMMANDS, &replace_qty("K1", "120"));
        codes(&mut bench)
    }),
    (Reason::SessionClosed, || over_night(NOON + 4 * HOUR)),
    (Reason::SessionOpened, || over_night(NOON + 21 * HOUR)),
    (Reason::CancelAlreadyPending, || {
        let mut bench = released();
        bench.record(COMMANDS, &cancel("K1")).record(COMMANDS, &cancel("K2"));
        codes(&mut bench)
    }),
    (Reason::OrderTerminal, || {
        let mut bench = released();
        bench.record(COMMANDS, &cancel("K1")).record(PLANS, &plan(1, true, &[])).record(COMMANDS, &cancel("K2"));
        codes(&mut bench)
    }),
    (Reason::Expired, || {
        let mut bench = released();
        bench.timer_to(at(NOON + HOUR));
        codes(&mut bench)
    }),
    (Reason::EndOverdue, || {
        let mut bench = released();
        bench.record(COMMANDS, &cancel("K1")).timer_to(at(NOON + 30 * SECOND));
        codes(&mut bench)
    }),
    (Reason::ScheduleComplete, || {
        let mut bench = routed(true);
        bench.record(ALERTS, &refused_child("C1")).record(ALERTS, &refused_child("C2"));
        codes(&mut bench)
    }),
    (Reason::ChildrenRejected, || {
        let mut world = World::default();
        let other = Account { account_id: "A2".into(), portfolio_id: "P1".into(), ..Account::default() };
        put(world.reference.as_mut().unwrap(), "reference.accounts.v1", "A2", &other);
        let mut bench = world.bench();
        bench.record(DECISIONS, &decision("D1")).record(VERDICTS, &approval()).record(ALLOCATIONS, &allocation());
        bench.record(PLANS, &plan(1, true, &[("C1", "100")])).record(ALERTS, &refused_child("C1"));
        codes(&mut bench)
    }),
    (Reason::FilledCancelRest, || reported(&[fill("C1", "e1", "100", "100")])),
    (Reason::Overfill, || reported(&[fill("C1", "e1", "41", "100")])),
    (Reason::IllegalReport, || reported(&[fill("C1", "e1", "40", "100"), report("C1", "e2", ExecType::Canceled)])),
    (Reason::MalformedFill, || reported(&[report("C1", "e1", ExecType::Trade)])),
    (Reason::ExecIdConflict, || reported(&[fill("C1", "e1", "1", "100"), fill("C1", "e1", "2", "100")])),
    (Reason::AmendmentBeforeFill, || reported(&[bust("C1", "e2", "e1")])),
    (Reason::CancelRejected, || {
        reported(&[ExecutionReport { orig_cl_ord_id: Some("C1".into()), ..report("K1", "e1", ExecType::Rejected) }])
    }),
    (Reason::LateExecution, || {
        let mut bench = released();
        bench.record(COMMANDS, &cancel("K1")).record(PLANS, &plan(1, true, &[]));
        bench.record(REPORTS, &fill("C1", "e1", "1", "9"));
        codes(&mut bench)
    }),
];

fn commanded(change: impl FnOnce(&mut Command)) -> Vec<String> {
    let mut command = cancel("K1");
    change(&mut command);
    let mut bench = released();
    bench.record(COMMANDS, &command);
    codes(&mut bench)
}

fn told(commands: &[Command]) -> Vec<String> {
    let mut bench = released();
    for command in commands {
        bench.record(COMMANDS, command);
    }
    assert!(bench.take_dead_letters().is_empty());
    codes(&mut bench)
}

/// What happens to a GTC order until then.
fn over_night(until: i64) -> Vec<String> {
    let mut lasting = decision("D1");
    (lasting.execution_strategy.time_in_force, lasting.execution_strategy.time_horizon) = ("GTC".into(), None);
    let mut bench = World::default().bench();
    bench
        .record(DECISIONS, &lasting)
        .record(VERDICTS, &approval())
        .record(ALLOCATIONS, &allocation())
        .timer_to(at(until));
    codes(&mut bench)
}

fn reported(reports: &[ExecutionReport]) -> Vec<String> {
    let mut bench = routed(false);
    bench.records(REPORTS, reports);
    assert!(bench.take_dead_letters().is_empty());
    codes(&mut bench)
}

#[test]
fn a_decision_is_refused_for_the_one_thing_that_is_wrong_with_it() {
    for (i, (reason, case)) in DECIDED.iter().enumerate() {
        assert_eq!(case(), [reason.as_str()], "case {i}");
    }
}

#[test]
fn an_event_in_the_life_of_an_order_has_its_reason() {
    for (reason, case) in LIVED {
        let codes = case();
        assert!(codes.iter().any(|code| code == reason.as_str()), "{reason} in {codes:?}");
    }
}

#[test]
fn every_code_is_reached() {
    let reached: BTreeSet<_> = DECIDED.iter().chain(LIVED).map(|(reason, _)| *reason).collect();
    let all: BTreeSet<_> = Reason::ALL.iter().copied().collect();
    assert_eq!(all.difference(&reached).collect::<Vec<_>>(), Vec::<&Reason>::new());
}

/// Trading rule 9: a backlog after an outage is never fired at the market.
#[test]
fn rule_9_a_decision_ages_by_its_urgency() {
    for (urgency, oldest_s) in
        [("LOW", 900), ("NORMAL", 300), ("MEDIUM", 300), ("HIGH", 60), ("URGENT", 30), ("CRITICAL", 30)]
    {
        let aged = |age: i64| {
            refused(|d| {
                (d.timestamp, d.decision_price) = (at(NOON - age), Some(num("99")));
                d.execution_strategy.urgency = urgency.into();
            })
        };
        assert_eq!(aged(oldest_s * SECOND), Vec::<String>::new(), "{urgency}");
        assert_eq!(aged(oldest_s * SECOND + 1), ["STALE_DECISION"], "{urgency}");
    }
}

#[test]
fn rule_9_confidence_under_the_minimum() {
    let of = |confidence: f64| {
        refusals(world(|w| w.config.min_confidence = 0.6), |d| d.confidence = Some(Finite::new(confidence).unwrap()))
    };
    assert_eq!((of(0.6), of(0.599)), (vec![], vec!["CONFIDENCE_TOO_LOW".to_owned()]));
}

#[test]
fn rule_7_an_amount_that_contradicts_the_quantity_is_refused() {
    let of = |amount: &str| refused(|d| d.decision.trade_amount = Some(num(amount)));
    assert_eq!(of("10200"), Vec::<String>::new());
    assert_eq!(of("10205"), ["AMOUNT_MISMATCH"]);
}

#[test]
fn rule_23_fill_or_kill_is_for_one_account_and_one_child() {
    let fok = |algorithm: &str| {
        refused(|d| {
            d.execution_strategy.time_in_force = "FOK".into();
            d.execution_strategy.execution_algorithm = algorithm.into();
        })
    };
    assert_eq!((fok("MARKET"), fok("AUTO")), (vec![], vec![]));
    assert_eq!(fok("VWAP"), ["FOK_NOT_POSSIBLE"]);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let codes = refused(|d| {
        d.decision.side = Some(Side::Sell);
        d.decision.share_quantity = Some(num("105"));
        d.execution_strategy.urgency = "soon".into();
        d.execution_strategy.time_horizon = Some("PT".into());
    });
    assert_eq!(codes, ["UNKNOWN_URGENCY", "INVALID_TIME_HORIZON", "SIDE_MISMATCH"]);
    let codes = refused(|d| {
        d.decision.share_quantity = Some(num("105"));
        d.execution_strategy.limit_price = Some(num("100.001"));
        d.execution_strategy.time_in_force = "FOK".into();
    });
    assert_eq!(codes, ["UNEXPECTED_PRICE", "INVALID_PRICE", "FOK_NOT_POSSIBLE", "LOT_SIZE"]);
}

#[test]
fn aliases_and_edges_are_accepted() {
    let accepted = |change: fn(&mut Decision)| assert_eq!(refused(change), Vec::<String>::new());
    accepted(|d| d.execution_strategy.urgency = "MEDIUM".into());
    accepted(|d| d.execution_strategy.execution_algorithm = "ADAPTIVE_TWAP".into());
    accepted(|d| limit(d, "100.01"));
    accepted(|d| d.confidence = Some(Finite::literal(1.0)));
    accepted(|d| d.timestamp = at(NOON + 5 * SECOND));
    accepted(|d| (d.timestamp, d.decision_price) = (at(NOON - 5 * MINUTE), Some(num("99"))));
    accepted(|d| d.decision.trade_amount = Some(num("10200")));
    accepted(|d| d.decision.share_quantity = Some(num("20")));
    accepted(|d| d.execution_strategy.time_horizon = Some("4_hours".into()));
    accepted(|d| d.instrument_type = Some("STOCK".into()));
    accepted(|d| (d.decision.action, d.decision.side) = (Action::Sell, Some(Side::SellShort)));
    let quiet: fn(&mut Decision) = |d| d.execution_strategy.expire_at = Some(TimestampMicros::from_micros(NOON + 1));
    // The horizon asked for is cut to the order's end.
    assert_eq!(refused(quiet), ["HORIZON_CUT"]);
}
