//! The last check before the wire, as a pure function.

use fillstream_child_risk::approval_hash;
use fillstream_domain::{ControlScope, TimestampMicros};
use fillstream_reference::Controls;
use fillstream_schemas::execution::{ChildAction, ChildOrder};

use crate::reason::{Reason, Refusal};

/// What the gate decides by.
#[derive(Debug)]
pub struct Gate<'a> {
    /// Session that sends.
    pub session: &'a str,
    /// Controls as read.
    pub controls: &'a Controls,
    /// Whether they are proven up to date.
    pub fresh: bool,
    /// Controls count as of this time.
    pub as_of: TimestampMicros,
    /// Whether a kill of a later time counts as well: live, whatever is read is in force, and the clock of the machine
    /// that wrote it may be ahead of ours.
    pub future_kills: bool,
    /// A new order approved before this time is not sent; `None`: age does not matter.
    pub not_approved_before: Option<TimestampMicros>,
}

/// What the gate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be sent.
    Pass,
    /// Not now: the controls are not proven up to date.
    Wait,
    /// Never.
    Refuse(Refusal),
}

impl Gate<'_> {
    /// Whether an instruction may be sent. Cancels pass whatever the controls say: they only reduce risk.
    #[must_use]
    pub fn check(&self, child: &ChildOrder) -> Verdict {
        if let Some(refusal) = self.wrong(child) {
            return Verdict::Refuse(refusal);
        }
        match child.action {
            ChildAction::Cancel => Verdict::Pass,
            ChildAction::New | ChildAction::Replace => self.check_new(child),
        }
    }

    fn wrong(&self, child: &ChildOrder) -> Option<Refusal> {
        if child.session != self.session {
            let text = format!("it is for session {:?}", child.session);
            return Some(Refusal::new(Reason::WrongSession, text));
        }
        if approval_hash(child) != child.approval_hash {
            return Some(Refusal::new(Reason::HashMismatch, "its fields are not those that risk approved"));
        }
        None
    }

    fn check_new(&self, child: &ChildOrder) -> Verdict {
        let mut scopes = vec![
            (ControlScope::Portfolio, child.portfolio_id.as_str()),
            (ControlScope::Account, child.account_id.as_str()),
            (ControlScope::Broker, child.broker.as_str()),
            (ControlScope::Venue, child.venue.as_str()),
            (ControlScope::Instrument, child.instrument_id.as_str()),
        ];
        scopes.extend(child.strategy_id.as_deref().map(|id| (ControlScope::Strategy, id)));
        scopes.extend(child.trader_id.as_deref().map(|id| (ControlScope::Trader, id)));
        // A kill that was read counts even while nobody knows whether there are more.
        let later = self.future_kills.then_some(TimestampMicros::from_micros(i64::MAX));
        let times = [Some(self.as_of), later];
        let found = times.into_iter().flatten().find_map(|as_of| {
            let killed = self.controls.killed(&scopes, as_of).map(|control| (Reason::Killed, control));
            killed.or_else(|| self.controls.paused(&scopes, as_of).map(|control| (Reason::Paused, control)))
        });
        if let Some((reason, control)) = found {
            let text = format!("{} {}: {}", control.scope.as_str(), control.scope_id, control.reason);
            return Verdict::Refuse(Refusal::new(reason, text));
        }
        if self.not_approved_before.is_some_and(|limit| child.timestamp < limit) {
            let text = format!("risk approved it at {}", child.timestamp);
            return Verdict::Refuse(Refusal::new(Reason::StaleApproval, text));
        }
        if self.fresh { Verdict::Pass } else { Verdict::Wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fillstream_schemas::execution::{Control, ControlPhase, ControlState};

    fn child(action: ChildAction) -> ChildOrder {
        let mut child = ChildOrder {
            action,
            cl_ord_id: "C1".into(),
            session: "S".into(),
            portfolio_id: "P".into(),
            strategy_id: Some("T".into()),
            timestamp: TimestampMicros::from_micros(50),
            ..ChildOrder::default()
        };
        child.approval_hash = approval_hash(&child);
        child
    }

    fn killed(scope: ControlScope, id: &str) -> Controls {
        let mut controls = Controls::default();
        let control = Control {
            scope,
            scope_id: id.into(),
            state: ControlState::Killed,
            set_at: TimestampMicros::from_micros(100),
            ..Control::default()
        };
        controls.take("key", control).unwrap();
        controls
    }

    fn gate(controls: &Controls) -> Gate<'_> {
        let as_of = TimestampMicros::from_micros(100);
        Gate { session: "S", controls, fresh: true, as_of, future_kills: false, not_approved_before: None }
    }

    fn reason(verdict: Verdict) -> Option<Reason> {
        match verdict {
            Verdict::Refuse(refusal) => Some(refusal.reason),
            Verdict::Pass | Verdict::Wait => None,
        }
    }

    #[test]
    fn a_kill_stops_new_orders_in_its_scope_and_lets_cancels_pass() {
        for (scope, id) in [(ControlScope::Firm, "*"), (ControlScope::Portfolio, "P"), (ControlScope::Strategy, "T")] {
            let controls = killed(scope, id);
            assert_eq!(reason(gate(&controls).check(&child(ChildAction::New))), Some(Reason::Killed), "{scope:?}");
            assert_eq!(gate(&controls).check(&child(ChildAction::Cancel)), Verdict::Pass);
            let before = Gate { as_of: TimestampMicros::from_micros(99), ..gate(&controls) };
            assert_eq!(before.check(&child(ChildAction::New)), Verdict::Pass, "as of an earlier time");
            let live = Gate { future_kills: true, ..before };
            assert_eq!(reason(live.check(&child(ChildAction::New))), Some(Reason::Killed), "a clock that is behind");
        }
        assert_eq!(gate(&killed(ControlScope::Portfolio, "Q")).check(&child(ChildAction::New)), Verdict::Pass);
    }

    #[test]
    fn rule_19_a_pause_stops_new_orders_and_lets_cancels_pass() {
        let mut controls = Controls::default();
        let pause = Control {
            scope: ControlScope::Strategy,
            scope_id: "T".into(),
            state: ControlState::Killed,
            phase: ControlPhase::Paused,
            set_at: TimestampMicros::from_micros(100),
            ..Control::default()
        };
        controls.take("key", pause).unwrap();
        assert_eq!(reason(gate(&controls).check(&child(ChildAction::New))), Some(Reason::Paused));
        assert_eq!(gate(&controls).check(&child(ChildAction::Cancel)), Verdict::Pass);
    }

    #[test]
    fn stale_controls_hold_new_orders_but_not_cancels_and_a_known_kill_still_refuses() {
        let (none, firm) = (Controls::default(), killed(ControlScope::Firm, "*"));
        let stale = Gate { fresh: false, ..gate(&none) };
        assert_eq!(stale.check(&child(ChildAction::New)), Verdict::Wait);
        assert_eq!(stale.check(&child(ChildAction::Cancel)), Verdict::Pass);
        let stale = Gate { fresh: false, ..gate(&firm) };
        assert_eq!(reason(stale.check(&child(ChildAction::New))), Some(Reason::Killed));
    }

    #[test]
    fn changed_fields_another_session_and_old_approvals_are_refused() {
        let none = Controls::default();
        let mut changed = child(ChildAction::New);
        changed.quantity = "1".parse().unwrap();
        assert_eq!(reason(gate(&none).check(&changed)), Some(Reason::HashMismatch));
        let mut changed = child(ChildAction::Cancel);
        changed.orig_cl_ord_id = Some("another".into());
        assert_eq!(reason(gate(&none).check(&changed)), Some(Reason::HashMismatch), "a cancel of another order");
        let elsewhere = Gate { session: "R", ..gate(&none) };
        assert_eq!(reason(elsewhere.check(&child(ChildAction::New))), Some(Reason::WrongSession));
        let limit = |at| Gate { not_approved_before: Some(TimestampMicros::from_micros(at)), ..gate(&none) };
        assert_eq!(limit(50).check(&child(ChildAction::New)), Verdict::Pass);
        assert_eq!(reason(limit(51).check(&child(ChildAction::New))), Some(Reason::StaleApproval));
        assert_eq!(limit(51).check(&child(ChildAction::Cancel)), Verdict::Pass);
    }
}
