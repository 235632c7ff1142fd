//! Controls: who must not trade.

use std::collections::BTreeMap;
use std::sync::Arc;

use fillstream_core::table::{Rows, Table, TableRow};
use fillstream_domain::{ControlScope, TimestampMicros};
use fillstream_schemas::codec::{AvroRecord, CodecError, Fault};
use fillstream_schemas::execution::{Control, ControlPhase};

use crate::control_state::phase;

/// Scope id of a control on everything.
pub const FIRM_ID: &str = "*";
/// Changes held of one control.
const HISTORY: usize = 32;

/// The table of execution.controls.v1.
///
/// A control counts from its `set_at` on, that moment included, and a kill is latched: only a release with a higher
/// version, a reason and two different people ends it, no deletion does, and no pause. Each control keeps its last
/// changes, so that a reader that is ahead still answers for an earlier time.
#[derive(Clone, Debug)]
pub struct Controls {
    controls: Rows<Control>,
    heartbeats: Arc<BTreeMap<Arc<str>, TimestampMicros>>,
}

const CONTROLS: &str = "execution.controls.v1";

impl Default for Controls {
    fn default() -> Self {
        Self { controls: Rows::new(CONTROLS), heartbeats: Arc::default() }
    }
}

impl Table for Controls {
    const TOPICS: &'static [(&'static str, &'static str)] = &[(CONTROLS, Control::FULL_NAME)];

    fn apply(&mut self, row: &TableRow<'_>) -> Result<(), CodecError> {
        row.value.map_or(Ok(()), |bytes| self.set(row, Control::decode(bytes)?))
    }
}

impl Controls {
    /// Takes a control or heartbeat in that comes from no topic.
    ///
    /// # Errors
    /// A release that does not release: not two people, no reason, or no higher version; a pause of what is killed. The
    /// kill stays.
    pub fn take(&mut self, key: &str, control: Control) -> Result<(), CodecError> {
        let bytes = control.to_bytes();
        let row = TableRow { topic: CONTROLS, partition: 0, offset: 0, key, value: Some(&bytes), event_time: None };
        self.set(&row, control)
    }

    fn set(&mut self, row: &TableRow<'_>, control: Control) -> Result<(), CodecError> {
        if control.heartbeat {
            let writer = row.key.strip_prefix("heartbeat/").unwrap_or(&control.actor);
            Arc::make_mut(&mut self.heartbeats).insert(writer.into(), control.set_at);
            return Ok(());
        }
        let key = key_of(control.scope, &control.scope_id);
        if let Some((field, fault)) = self.controls.get(&key).and_then(|last| fault(last, &control)) {
            return Err(CodecError::new(Fault::Unresolved(fault.to_owned())).in_field(field));
        }
        self.controls.push(&key, row, control, HISTORY);
        Ok(())
    }

    /// The first control that kills any of `scopes` at a time: nothing new, and what is open is cancelled. The firm's is
    /// always asked.
    #[must_use]
    pub fn killed(&self, scopes: &[(ControlScope, &str)], as_of: TimestampMicros) -> Option<&Control> {
        self.first(scopes, as_of, is_kill)
    }

    /// The first control that pauses any of `scopes` at a time: nothing new, and what is open stays. The firm's is always
    /// asked.
    #[must_use]
    pub fn paused(&self, scopes: &[(ControlScope, &str)], as_of: TimestampMicros) -> Option<&Control> {
        self.first(scopes, as_of, |control| phase(control) == ControlPhase::Paused)
    }

    fn first(
        &self,
        scopes: &[(ControlScope, &str)],
        as_of: TimestampMicros,
        wanted: impl Fn(&Control) -> bool,
    ) -> Option<&Control> {
        let scopes = std::iter::once((ControlScope::Firm, FIRM_ID)).chain(scopes.iter().copied());
        scopes.filter_map(|(scope, id)| self.state_at(scope, id, as_of)).find(|control| wanted(control))
    }

    /// Every kill in force at a time, in the order of scopes and ids.
    pub fn kills(&self, as_of: TimestampMicros) -> impl Iterator<Item = &Control> {
        let last = self.controls.each_last_where(move |control| control.set_at <= as_of);
        last.filter(|control| is_kill(control))
    }

    /// The control of a scope as of a time; `None`: never set.
    #[must_use]
    pub fn state_at(&self, scope: ControlScope, id: &str, as_of: TimestampMicros) -> Option<&Control> {
        self.controls.last_where(&key_of(scope, id), |control| control.set_at <= as_of)
    }

    /// When a writer of controls last said that it is alive.
    #[must_use]
    pub fn last_heartbeat(&self, writer: &str) -> Option<TimestampMicros> {
        self.heartbeats.get(writer).copied()
    }
}

// A control counts by what it says, whatever key it was written under.
fn key_of(scope: ControlScope, id: &str) -> String {
    format!("{}/{id}", scope.as_str())
}

fn is_kill(control: &Control) -> bool {
    matches!(phase(control), ControlPhase::Killed | ControlPhase::ReleasePending)
}

// What forbids `next` after `last`, as field and words. A kill is always taken.
fn fault(last: &Control, next: &Control) -> Option<(&'static str, &'static str)> {
    match (phase(last), phase(next)) {
        (ControlPhase::Killed | ControlPhase::ReleasePending, ControlPhase::Running | ControlPhase::Released) => {
            release_fault(last, next)
        }
        (ControlPhase::Killed | ControlPhase::ReleasePending, ControlPhase::Paused) => {
            Some(("phase", "what is killed is released, not paused"))
        }
        (ControlPhase::Paused, ControlPhase::Running | ControlPhase::Released) if next.version <= last.version => {
            Some(("version", "the end of a pause must have a higher version than the pause"))
        }
        (ControlPhase::Paused, ControlPhase::Running | ControlPhase::Released) if next.reason.trim().is_empty() => {
            Some(("reason", "the end of a pause needs a reason"))
        }
        _ => None,
    }
}

// What is wrong with a release of `kill`.
fn release_fault(kill: &Control, release: &Control) -> Option<(&'static str, &'static str)> {
    if release.version <= kill.version {
        return Some(("version", "a release must have a higher version than its kill"));
    }
    if release.reason.trim().is_empty() {
        return Some(("reason", "a release needs a reason"));
    }
    match release.second_actor.as_deref() {
        Some(second) if !second.trim().is_empty() && second != release.actor => None,
        Some(_) | None => Some(("second_actor", "a release needs two different people")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fillstream_schemas::execution::ControlState;

    fn at(micros: i64) -> TimestampMicros {
        TimestampMicros::from_micros(micros)
    }

    fn control(scope: ControlScope, id: &str, state: ControlState, version: i64, set_at: i64) -> Control {
        Control {
            scope,
            scope_id: id.to_owned(),
            state,
            version,
            actor: "ada".to_owned(),
            second_actor: None,
            reason: "drill".to_owned(),
            set_at: at(set_at),
            heartbeat: false,
            phase: ControlPhase::Unsaid,
        }
    }

    fn kill(scope: ControlScope, id: &str) -> Control {
        control(scope, id, ControlState::Killed, 1, 100)
    }

    #[test]
    fn a_kill_counts_from_its_moment_on_in_its_scope_only() {
        let mut controls = Controls::default();
        controls.take("VENUE/XA", kill(ControlScope::Venue, "XA")).unwrap();
        let asked = [(ControlScope::Portfolio, "XA"), (ControlScope::Venue, "XA")];
        assert_eq!(controls.killed(&asked, at(99)), None);
        assert_eq!(controls.killed(&asked, at(100)).map(|c| c.scope), Some(ControlScope::Venue));
        assert_eq!(controls.killed(&[(ControlScope::Portfolio, "XA"), (ControlScope::Venue, "XB")], at(100)), None);
    }

    #[test]
    fn the_kills_in_force_are_those_of_the_time_asked_about() {
        let mut controls = Controls::default();
        controls.take("VENUE/XA", kill(ControlScope::Venue, "XA")).unwrap();
        controls.take("BROKER/B", Control { set_at: at(200), ..kill(ControlScope::Broker, "B") }).unwrap();
        controls.take("VENUE/XB", control(ControlScope::Venue, "XB", ControlState::Running, 1, 50)).unwrap();
        let ids = |as_of| controls.kills(at(as_of)).map(|c| c.scope_id.as_str()).collect::<Vec<_>>();
        assert_eq!((ids(99), ids(100), ids(200)), (vec![], vec!["XA"], vec!["B", "XA"]));
    }

    #[test]
    fn the_firm_is_always_asked() {
        let mut controls = Controls::default();
        controls.take("FIRM/*", kill(ControlScope::Firm, FIRM_ID)).unwrap();
        assert!(controls.killed(&[], at(100)).is_some());
    }

    #[test]
    fn a_kill_is_latched_until_two_people_release_it() {
        let mut controls = Controls::default();
        let scopes = [(ControlScope::Venue, "XA")];
        controls.take("VENUE/XA", kill(ControlScope::Venue, "XA")).unwrap();
        let release = |version, second: Option<&str>, reason: &str| Control {
            second_actor: second.map(str::to_owned),
            reason: reason.to_owned(),
            ..control(ControlScope::Venue, "XA", ControlState::Running, version, 200)
        };
        for (bad, field) in [
            (release(2, None, "done"), "second_actor"),
            (release(2, Some("ada"), "done"), "second_actor"),
            (release(2, Some(" "), "done"), "second_actor"),
            (release(2, Some("bob"), " "), "reason"),
            (release(1, Some("bob"), "done"), "version"),
        ] {
            assert_eq!(controls.take("VENUE/XA", bad).unwrap_err().path(), field);
            assert!(controls.killed(&scopes, at(300)).is_some());
        }
        let deletion = TableRow {
            topic: "execution.controls.v1",
            partition: 0,
            offset: 1,
            key: "VENUE/XA",
            value: None,
            event_time: None,
        };
        Table::apply(&mut controls, &deletion).unwrap();
        assert!(controls.killed(&scopes, at(300)).is_some());
        controls.take("VENUE/XA", release(2, Some("bob"), "done")).unwrap();
        assert!(controls.killed(&scopes, at(300)).is_none());
        assert!(controls.killed(&scopes, at(150)).is_some(), "an earlier time still sees the kill");
    }

    #[test]
    fn a_pause_stops_what_is_new_is_no_kill_and_ends_by_one_person() {
        let mut controls = Controls::default();
        let scopes = [(ControlScope::Venue, "XA")];
        let pause = |version, set_at| Control {
            phase: ControlPhase::Paused,
            ..control(ControlScope::Venue, "XA", ControlState::Killed, version, set_at)
        };
        controls.take("VENUE/XA", pause(1, 100)).unwrap();
        assert!(controls.paused(&scopes, at(100)).is_some() && controls.paused(&scopes, at(99)).is_none());
        assert!(controls.killed(&scopes, at(100)).is_none() && controls.kills(at(100)).next().is_none());
        let resume = |version, reason: &str| Control {
            reason: reason.to_owned(),
            ..control(ControlScope::Venue, "XA", ControlState::Running, version, 200)
        };
        assert_eq!(controls.take("VENUE/XA", resume(1, "done")).unwrap_err().path(), "version");
        assert_eq!(controls.take("VENUE/XA", resume(2, " ")).unwrap_err().path(), "reason");
        controls.take("VENUE/XA", resume(2, "done")).unwrap();
        assert!(controls.paused(&scopes, at(200)).is_none());
        // A kill is not got rid of by a pause.
        controls.take("VENUE/XA", control(ControlScope::Venue, "XA", ControlState::Killed, 3, 300)).unwrap();
        assert_eq!(controls.take("VENUE/XA", pause(4, 400)).unwrap_err().path(), "phase");
        assert!(controls.killed(&scopes, at(400)).is_some());
    }

    #[test]
    fn a_heartbeat_is_no_control() {
        let mut controls = Controls::default();
        let beat = Control { heartbeat: true, ..kill(ControlScope::Firm, FIRM_ID) };
        controls.take("heartbeat/console", beat).unwrap();
        assert_eq!(controls.killed(&[], at(1_000)), None);
        assert_eq!(controls.last_heartbeat("console"), Some(at(100)));
        assert_eq!(controls.last_heartbeat("other"), None);
    }
}
