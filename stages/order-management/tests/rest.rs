//! Orders that rest: suspended by somebody, or until their market is in session again.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::*;
use fillstream_schemas::coordination::CoordinatedTradingDecision;
use fillstream_schemas::execution::{CommandAction, OrderEvent, OrderEventType as E, ParentStatus as S};
use fillstream_testkit::StageBench;

/// Released at noon, Wednesday; the market trades from 9 to 16 UTC.
fn lasting(change: impl FnOnce(&mut CoordinatedTradingDecision)) -> StageBench {
    let mut decided = decision("D1");
    decided.execution_strategy.time_in_force = "GTC".into();
    change(&mut decided);
    let mut bench = World::default().bench();
    bench.record(DECISIONS, &decided).record(VERDICTS, &approval()).record(ALLOCATIONS, &allocation());
    bench
}

fn when(events: &[OrderEvent]) -> Vec<(E, i64, String)> {
    events.iter().map(|e| (e.event_type, (e.timestamp.micros() - NOON) / HOUR, code(e).to_owned())).collect()
}

#[test]
fn a_suspended_order_fills_on_and_goes_on_when_it_is_resumed() {
    let mut bench = routed(false);
    bench.record(COMMANDS, &command("K1", CommandAction::Suspend)).record(REPORTS, &fill("C1", "e1", "40", "100"));
    let events = expect(&mut bench, &[E::Suspended, E::ChildUpdated]);
    assert_eq!((events[0].status, code(&events[0])), (S::Working, "SUSPEND_COMMAND"));
    assert_eq!(
        (events[0].command_id.as_deref(), events[0].reason_text.as_deref()),
        (Some("K1"), Some("SUSPEND by bob: changed my mind"))
    );
    assert!(events.iter().all(|event| event.is_suspended));
    bench.restart().record(COMMANDS, &command("K2", CommandAction::Resume));
    let resumed = expect(&mut bench, &[E::Resumed]).remove(0);
    assert!(!resumed.is_suspended);
    assert_eq!((resumed.status, resumed.command_id.as_deref()), (S::PartiallyFilled, Some("K2")));
}

#[test]
fn a_suspended_order_is_filled_cancelled_and_expired_as_any() {
    let suspended = || {
        let mut bench = routed(true);
        bench.record(COMMANDS, &command("K1", CommandAction::Suspend));
        bench.take::<OrderEvent>();
        bench
    };
    let mut bench = suspended();
    bench.record(REPORTS, &fill("C1", "e1", "40", "100")).record(REPORTS, &fill("C2", "e2", "60", "100"));
    let events = expect(&mut bench, &[E::ChildUpdated, E::ChildUpdated, E::Filled]);
    assert!(!events[2].is_suspended);
    let mut bench = suspended();
    bench.record(COMMANDS, &cancel("K2"));
    assert!(!expect(&mut bench, &[E::CancelRequested])[0].is_suspended);
    let mut bench = suspended();
    bench.timer_to(at(NOON + 30 * MINUTE));
    assert_eq!(code(&expect(&mut bench, &[E::CancelRequested])[0]), "EXPIRED");
}

/// Its children may have been cancelled because it was suspended: that is not the end of its schedule.
#[test]
fn a_suspended_order_does_not_end_because_nothing_works() {
    let mut bench = routed(true);
    bench.record(COMMANDS, &command("K1", CommandAction::Suspend));
    bench.record(ALERTS, &refused_child("C1")).record(ALERTS, &refused_child("C2"));
    expect(&mut bench, &[E::Suspended, E::ChildUpdated, E::ChildUpdated]);
    bench.record(COMMANDS, &command("K2", CommandAction::Resume));
    assert_eq!(code(&expect(&mut bench, &[E::Resumed, E::Expired])[1]), "SCHEDULE_COMPLETE");
}

#[test]
fn rule_23_a_gtc_order_rests_between_sessions_and_ends_in_trading_time() {
    // Four hours are left today: the other two are Thursday's, from 9 to 11.
    let mut bench = lasting(|d| d.execution_strategy.time_horizon = Some("PT6H".into()));
    let created = expect(&mut bench, &[E::Created, E::Released]).remove(0);
    let terms = created.terms.unwrap();
    assert_eq!((terms.expire_at, terms.horizon_us), (at(NOON + 23 * HOUR), 23 * HOUR));
    assert_eq!(created.reason_code, None, "nothing was cut");
    bench.timer_to(at(NOON + 15 * HOUR)).restart().timer_to(at(NOON + 48 * HOUR));
    let events = bench.take::<OrderEvent>();
    assert_eq!(
        when(&events[..3]),
        [
            (E::Suspended, 4, "SESSION_CLOSED".into()),
            (E::Resumed, 21, "SESSION_OPENED".into()),
            (E::CancelRequested, 23, "EXPIRED".into()),
        ]
    );
    assert!(events[0].is_suspended && !events[1].is_suspended);
}

#[test]
fn rule_7_a_gtc_order_waits_for_its_stop_over_sessions() {
    let mut bench = lasting(|d| {
        d.execution_strategy.time_horizon = Some("PT6H".into());
        (d.execution_strategy.order_type, d.execution_strategy.stop_price) = ("STOP".into(), Some(num("102")));
    });
    let created = expect(&mut bench, &[E::Created, E::Released]).remove(0);
    let terms = created.terms.unwrap();
    assert_eq!((terms.expire_at, terms.horizon_us), (at(NOON + 90 * 24 * HOUR), 6 * HOUR));
    assert_eq!(created.reason_code, None, "nothing was cut");
    bench.timer_to(at(NOON + 48 * HOUR));
    assert!(bench.take::<OrderEvent>().iter().all(|event| matches!(event.event_type, E::Suspended | E::Resumed)));
}

#[test]
fn a_gtc_order_without_a_horizon_lives_as_long_as_orders_may() {
    let mut bench = lasting(|d| d.execution_strategy.time_horizon = None);
    let terms = bench.take::<OrderEvent>().remove(0).terms.unwrap();
    assert_eq!(terms.expire_at, at(NOON + 90 * 24 * HOUR));
}

#[test]
fn a_gtd_order_lives_over_sessions_to_its_end() {
    let mut bench = lasting(|d| {
        d.execution_strategy.time_in_force = "GTD".into();
        d.execution_strategy.time_horizon = None;
        d.execution_strategy.expire_at = Some(at(NOON + 22 * HOUR));
    });
    bench.timer_to(at(NOON + 22 * HOUR));
    let events = expect(&mut bench, &[E::Created, E::Released, E::Suspended, E::Resumed, E::CancelRequested]);
    assert_eq!(code(&events[4]), "EXPIRED");
}

#[test]
fn rule_23_a_day_order_ends_with_the_session_and_its_horizon_is_cut_with_an_event() {
    let mut bench = lasting(|d| {
        d.execution_strategy.time_in_force = "DAY".into();
        d.execution_strategy.time_horizon = Some("PT6H".into());
    });
    bench.timer_to(at(NOON + 48 * HOUR));
    let events = bench.take::<OrderEvent>();
    assert_eq!(code(&events[0]), "HORIZON_CUT");
    assert_eq!(when(&events[2..3]), [(E::CancelRequested, 4, "EXPIRED".into())]);
}

#[test]
fn who_suspends_an_order_decides_when_it_goes_on() {
    let mut bench = lasting(|d| d.execution_strategy.time_horizon = None);
    bench.record(COMMANDS, &command("K1", CommandAction::Suspend)).timer_to(at(NOON + 10 * HOUR));
    // Its market closes meanwhile: nothing changes for a suspended order.
    expect(&mut bench, &[E::Created, E::Released, E::Suspended]);
    bench.record(COMMANDS, &command("K2", CommandAction::Resume));
    assert_eq!(code(&expect(&mut bench, &[E::CommandRefused])[0]), "MARKET_CLOSED");
    bench.timer_to(at(NOON + 22 * HOUR)).nothing_more();
    bench.record(COMMANDS, &command("K3", CommandAction::Resume));
    assert!(!expect(&mut bench, &[E::Resumed])[0].is_suspended);
}

/// After an outage over a whole night the order is where the calendar says, with nothing told that never was.
#[test]
fn an_outage_over_a_close_and_an_open_changes_nothing() {
    let mut bench = lasting(|d| d.execution_strategy.time_horizon = None);
    bench.take::<OrderEvent>();
    bench.at(at(NOON + 22 * HOUR)).fire().nothing_more();
    bench.timer_to(at(NOON + 28 * HOUR));
    assert_eq!(when(&bench.take::<OrderEvent>()), [(E::Suspended, 28, "SESSION_CLOSED".into())]);
}
