//! How a control goes from state to state.
//!
//! ```text
//!            pause            kill
//!  RUNNING ---------> PAUSED ------> KILLED <-----------+
//!   ^  | ^              |              |  sign           | kill, withdraw
//!   |  | +--------------+              v                 |
//!   |  |     resume             RELEASE_PENDING ---------+
//!   |  +--- kill --> KILLED            | sign, by another person
//!   |                                  v
//!   +- - - - (trades as) - - - - - RELEASED -- pause, kill --> as RUNNING
//! ```
//!
//! To resume what runs says so once more, by name: it re-enables a strategy that a throttle has disabled.
//! KILLED is latched: only two signatures of different people, each with a reason, end it. The second must come within
//! [`SIGNATURE_HOLDS_US`] of the first; later it counts as a first one.

use fillstream_domain::{ControlScope, TimestampMicros};
use fillstream_schemas::execution::{Control, ControlPhase, ControlState};

/// How long a first signature waits for the second, microseconds: 15 minutes.
pub const SIGNATURE_HOLDS_US: i64 = 900_000_000;

/// What somebody wants of a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlCommand {
    /// Stop: nothing new is sent, what is open is cancelled.
    Kill,
    /// Nothing new is sent, what is open stays.
    Pause,
    /// End a pause, or confirm what runs.
    Resume,
    /// Sign the release of a kill; two people must.
    SignRelease,
    /// Take a signature back.
    Withdraw,
}

impl ControlCommand {
    /// Every command.
    pub const ALL: [Self; 5] = [Self::Kill, Self::Pause, Self::Resume, Self::SignRelease, Self::Withdraw];
}

/// Who wants it, why and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlRequest<'a> {
    /// What.
    pub command: ControlCommand,
    /// Who.
    pub actor: &'a str,
    /// Why.
    pub reason: &'a str,
    /// When.
    pub at: TimestampMicros,
}

/// Why a control does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlFault {
    /// Nobody is named.
    #[error("nobody is named")]
    NoActor,
    /// No reason is given.
    #[error("no reason is given")]
    NoReason,
    /// It is killed: two people release it first.
    #[error("it is killed: two people release it first")]
    StillKilled,
    /// It is paused already.
    #[error("it is paused already")]
    AlreadyPaused,
    /// It is not killed.
    #[error("it is not killed")]
    NotKilled,
    /// Nobody has signed a release.
    #[error("nobody has signed a release")]
    NotSigned,
    /// The second signature is by the person who gave the first.
    #[error("a release takes two different people")]
    SamePerson,
}

/// The state of a control in full, whoever wrote it; never UNSAID.
#[must_use]
pub fn phase(control: &Control) -> ControlPhase {
    match (control.state, control.phase) {
        (ControlState::Killed, ControlPhase::Paused) => ControlPhase::Paused,
        (ControlState::Killed, ControlPhase::ReleasePending) => ControlPhase::ReleasePending,
        (ControlState::Killed, _) => ControlPhase::Killed,
        (ControlState::Running, ControlPhase::Released) => ControlPhase::Released,
        (ControlState::Running, _) => ControlPhase::Running,
    }
}

/// The control after a command; `last`: as it stands, `None` where it was never set.
///
/// # Errors
/// The state forbids the command, or person or reason is missing.
pub fn transition(
    (scope, scope_id): (ControlScope, &str),
    last: Option<&Control>,
    request: &ControlRequest<'_>,
) -> Result<Control, ControlFault> {
    if request.actor.trim().is_empty() {
        return Err(ControlFault::NoActor);
    }
    if request.reason.trim().is_empty() {
        return Err(ControlFault::NoReason);
    }
    let next = next(last, request)?;
    let first = last.filter(|_| next == ControlPhase::Released).map(|signed| signed.actor.clone());
    let (actor, second_actor) = match first {
        Some(first) => (first, Some(request.actor.to_owned())),
        None => (request.actor.to_owned(), None),
    };
    let state = match next {
        ControlPhase::Paused | ControlPhase::Killed | ControlPhase::ReleasePending => ControlState::Killed,
        ControlPhase::Unsaid | ControlPhase::Running | ControlPhase::Released => ControlState::Running,
    };
    Ok(Control {
        scope,
        scope_id: scope_id.to_owned(),
        state,
        version: last.map_or(0, |last| last.version).saturating_add(1),
        actor,
        second_actor,
        reason: request.reason.to_owned(),
        set_at: request.at,
        heartbeat: false,
        phase: next,
    })
}

fn next(last: Option<&Control>, request: &ControlRequest<'_>) -> Result<ControlPhase, ControlFault> {
    use ControlCommand as C;
    use ControlFault as F;
    use ControlPhase as P;
    match (last.map_or(P::Running, phase), request.command) {
        // A kill always counts; of one that is being released it takes the signature back.
        (P::Unsaid | P::Running | P::Released | P::Paused | P::Killed | P::ReleasePending, C::Kill) => Ok(P::Killed),
        (P::Unsaid | P::Running | P::Released, C::Pause) => Ok(P::Paused),
        (P::Paused, C::Pause) => Err(F::AlreadyPaused),
        (P::Killed | P::ReleasePending, C::Pause | C::Resume) => Err(F::StillKilled),
        (P::Unsaid | P::Running | P::Released | P::Paused, C::Resume) => Ok(P::Running),
        (P::Unsaid | P::Running | P::Released | P::Paused, C::SignRelease) => Err(F::NotKilled),
        (P::Killed, C::SignRelease) => Ok(P::ReleasePending),
        (P::ReleasePending, C::SignRelease) => match last {
            Some(signed) if !holds(signed, request.at) => Ok(P::ReleasePending),
            Some(signed) if signed.actor == request.actor => Err(F::SamePerson),
            Some(_) | None => Ok(P::Released),
        },
        (P::ReleasePending, C::Withdraw) => Ok(P::Killed),
        (P::Unsaid | P::Running | P::Released | P::Paused | P::Killed, C::Withdraw) => Err(F::NotSigned),
    }
}

fn holds(signed: &Control, at: TimestampMicros) -> bool {
    at.micros().saturating_sub(signed.set_at.micros()) <= SIGNATURE_HOLDS_US
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Controls;
    use proptest::prelude::*;

    const SCOPE: (ControlScope, &str) = (ControlScope::Portfolio, "P1");

    fn request(command: ControlCommand, actor: &str, at: i64) -> ControlRequest<'_> {
        ControlRequest { command, actor, reason: "drill", at: TimestampMicros::from_micros(at) }
    }

    fn in_phase(phase: ControlPhase) -> Control {
        let killed = matches!(phase, ControlPhase::Paused | ControlPhase::Killed | ControlPhase::ReleasePending);
        Control {
            scope: SCOPE.0,
            scope_id: SCOPE.1.to_owned(),
            state: if killed { ControlState::Killed } else { ControlState::Running },
            version: 4,
            actor: "ada".to_owned(),
            reason: "drill".to_owned(),
            phase,
            ..Control::default()
        }
    }

    /// Trading rule 19: every pair of state and command.
    #[test]
    fn rule_19_every_pair_of_state_and_command() {
        use ControlFault as F;
        use ControlPhase as P;
        let not_killed =
            |paused: Result<P, F>| [Ok(P::Killed), paused, Ok(P::Running), Err(F::NotKilled), Err(F::NotSigned)];
        let table = [
            (P::Running, not_killed(Ok(P::Paused))),
            (P::Released, not_killed(Ok(P::Paused))),
            (P::Paused, not_killed(Err(F::AlreadyPaused))),
            (
                P::Killed,
                [Ok(P::Killed), Err(F::StillKilled), Err(F::StillKilled), Ok(P::ReleasePending), Err(F::NotSigned)],
            ),
            (
                P::ReleasePending,
                [Ok(P::Killed), Err(F::StillKilled), Err(F::StillKilled), Ok(P::Released), Ok(P::Killed)],
            ),
        ];
        for (from, expected) in table {
            let last = in_phase(from);
            assert_eq!(phase(&last), from);
            for (command, expected) in ControlCommand::ALL.into_iter().zip(expected) {
                let got = transition(SCOPE, Some(&last), &request(command, "bob", 1));
                assert_eq!(got.as_ref().map(|c| c.phase).map_err(|e| *e), expected, "{from:?} {command:?}");
                if let Ok(control) = got {
                    assert_eq!((control.version, phase(&control)), (5, control.phase));
                }
            }
        }
    }

    #[test]
    fn what_was_never_set_runs() {
        let control = transition(SCOPE, None, &request(ControlCommand::Kill, "ada", 1)).unwrap();
        assert_eq!((control.version, control.phase, control.state), (1, ControlPhase::Killed, ControlState::Killed));
        let confirmed = transition(SCOPE, None, &request(ControlCommand::Resume, "ada", 1)).unwrap();
        assert_eq!((confirmed.phase, confirmed.actor.as_str()), (ControlPhase::Running, "ada"));
    }

    #[test]
    fn rule_19_a_release_takes_two_named_people_and_reasons() {
        let killed = in_phase(ControlPhase::Killed);
        for (actor, reason, fault) in [(" ", "fixed", ControlFault::NoActor), ("bob", "\t", ControlFault::NoReason)] {
            let request = ControlRequest { reason, ..request(ControlCommand::SignRelease, actor, 1) };
            assert_eq!(transition(SCOPE, Some(&killed), &request), Err(fault));
        }
        let signed = transition(SCOPE, Some(&killed), &request(ControlCommand::SignRelease, "bob", 1)).unwrap();
        assert_eq!(signed.state, ControlState::Killed, "one signature releases nothing");
        let again = transition(SCOPE, Some(&signed), &request(ControlCommand::SignRelease, "bob", 2));
        assert_eq!(again, Err(ControlFault::SamePerson));
        let released = transition(SCOPE, Some(&signed), &request(ControlCommand::SignRelease, "cy", 2)).unwrap();
        assert_eq!((released.actor.as_str(), released.second_actor.as_deref()), ("bob", Some("cy")));
        assert_eq!(released.state, ControlState::Running);
    }

    #[test]
    fn a_first_signature_does_not_wait_for_ever() {
        let signed =
            transition(SCOPE, Some(&in_phase(ControlPhase::Killed)), &request(ControlCommand::SignRelease, "bob", 0))
                .unwrap();
        let last = SIGNATURE_HOLDS_US;
        let in_time = transition(SCOPE, Some(&signed), &request(ControlCommand::SignRelease, "cy", last)).unwrap();
        assert_eq!(in_time.phase, ControlPhase::Released);
        let late = transition(SCOPE, Some(&signed), &request(ControlCommand::SignRelease, "cy", last + 1)).unwrap();
        assert_eq!((late.phase, late.actor.as_str()), (ControlPhase::ReleasePending, "cy"));
    }

    proptest! {
        /// Whatever is commanded in whatever order: the table takes every step, and once killed only two different
        /// people's signatures let trading go on.
        #[test]
        fn rule_19_nothing_but_two_signatures_ends_a_kill(
            steps in prop::collection::vec((0_usize..5, 0_usize..3), 1..60),
        ) {
            let mut table = Controls::default();
            let mut last: Option<Control> = None;
            let mut signer: Option<&str> = None;
            for (n, (command, who)) in steps.into_iter().enumerate() {
                let at = i64::try_from(n).unwrap();
                let (command, actor) = (ControlCommand::ALL[command], ["ada", "bob", "cy"][who]);
                let Ok(control) = transition(SCOPE, last.as_ref(), &request(command, actor, at)) else { continue };
                let was_killed = last.as_ref().is_some_and(|last| {
                    matches!(phase(last), ControlPhase::Killed | ControlPhase::ReleasePending)
                });
                let is_killed = matches!(control.phase, ControlPhase::Killed | ControlPhase::ReleasePending);
                if was_killed && !is_killed {
                    prop_assert_eq!(command, ControlCommand::SignRelease);
                    prop_assert!(signer.is_some_and(|first| first != actor));
                }
                signer = (control.phase == ControlPhase::ReleasePending).then_some(actor);
                prop_assert!(table.take("PORTFOLIO/P1", control.clone()).is_ok());
                let now = TimestampMicros::from_micros(at);
                let scopes = [SCOPE];
                prop_assert_eq!(table.killed(&scopes, now).is_some(), is_killed);
                prop_assert_eq!(table.paused(&scopes, now).is_some(), control.phase == ControlPhase::Paused);
                last = Some(control);
            }
        }
    }
}
