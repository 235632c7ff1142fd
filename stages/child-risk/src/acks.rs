//! Acknowledgements of controls.
//!
//! Controls are a table: no task is told when one changes, each sees the new version with its next batch. Whoever waits
//! for a kill to be in force therefore asks every partition with a record of its own, and each answers as soon as its
//! table has the version and its clock has reached the control's moment. A table never goes back for a task, so nothing is
//! approved against the control from the answer on, restarts included. A partition that no process works on does not
//! answer; neither does it approve anything, and when it starts it first reads all controls.

use fillstream_domain::{ControlScope, TimestampMicros};
use fillstream_reference::{Controls, FIRM_ID, phase};
use fillstream_schemas::execution::{Control, ControlAck, ControlProbe};
use fillstream_schemas::state::{ChildRiskChild, ChildRiskTimer, ChildRiskTimerKind};

use crate::{Fx, State};
use fillstream_core::stage::Stage as _;

/// A table that is behind is looked at again after, microseconds.
const AGAIN_US: i64 = 20_000;
/// Nobody waits for an answer any more after, microseconds.
const GIVEN_UP_US: i64 = 60_000_000;

/// Acknowledges the control that is asked about, now or as soon as it is in force here.
pub(crate) fn answer(probe: &ControlProbe, state: &State, fx: &mut Fx<'_>) {
    let (scope, now) = (probe.scope, fx.now());
    let control = fx.table::<Controls>().and_then(|controls| controls.state_at(scope, &probe.scope_id, now));
    match control.filter(|control| control.version >= probe.version) {
        Some(control) => acknowledge(probe, control, state, fx),
        None => wait(probe, fx),
    }
}

fn wait(probe: &ControlProbe, fx: &mut Fx<'_>) {
    let waited = fx.now().micros().saturating_sub(probe.requested_at.micros());
    if waited < GIVEN_UP_US {
        let due = TimestampMicros::from_micros(fx.now().micros().saturating_add(AGAIN_US));
        let (kind, probe_key) = (ChildRiskTimerKind::Probe, &probe.event_id);
        let payload = ChildRiskTimer { kind, subject: String::new(), probe: Some(probe.clone()) };
        fx.schedule_apart(format!("probe/{probe_key}"), due, &payload);
    }
}

fn acknowledge(probe: &ControlProbe, control: &Control, state: &State, fx: &mut Fx<'_>) {
    let open = state.children.iter().filter(|(_, child)| !child.held_qty.is_zero() && is_in(child, control)).count();
    let ack = ControlAck {
        event_id: fx.next_id(),
        control: format!("{}/{}", control.scope, control.scope_id),
        scope: control.scope,
        scope_id: control.scope_id.clone(),
        version: control.version,
        phase: phase(control),
        set_at: control.set_at,
        stage: crate::ChildRisk::NAME.to_owned(),
        partition: Some(probe.partition),
        session: None,
        open_children: i32::try_from(open).ok(),
        acknowledged_at: fx.now(),
    };
    fx.emit(ack);
}

// Whether a control applies to a child.
fn is_in(child: &ChildRiskChild, control: &Control) -> bool {
    let id = control.scope_id.as_str();
    match control.scope {
        ControlScope::Firm => id == FIRM_ID,
        ControlScope::Portfolio => child.portfolio_id == id,
        ControlScope::Account => child.account_id == id,
        ControlScope::Strategy => child.strategy_id.as_deref() == Some(id),
        ControlScope::Trader => child.trader_id.as_deref() == Some(id),
        ControlScope::Broker => child.broker == id,
        ControlScope::Venue => child.venue == id,
        ControlScope::Instrument => child.instrument_id == id,
    }
}
