//! The kill switch of a demo: one strategy is stopped in the middle of the run and let go again by two people.
//!
//! Controls count from their own time on, so all three are written before the run, each with its market time: the run
//! stays a function of its arguments.

use fillstream_domain::{ControlScope, TimestampMicros};
use fillstream_reference::{ControlCommand, ControlRequest, transition};
use fillstream_schemas::coordination::CoordinatedTradingDecision;
use fillstream_schemas::execution::Control;

use super::scenario::Upstream;
use crate::bus::Cluster;

const CONTROLS: &str = "execution.controls.v1";
/// How often, in market time, order management looks for a new kill; each look is an instant of every partition.
pub const CHECKED_EVERY_MS: i64 = 20_000;
const SECOND: i64 = 1_000_000;
/// After a round of decisions, so that the last ones are at work.
const AFTER_ROUND_US: i64 = 5 * SECOND;
/// Fewer decisions have no middle.
const FEWEST: usize = 8;
/// Moments for the kill that are compared.
const MOMENTS: usize = 40;
/// Who kills, and signs the release first.
const FIRST: &str = "ruth.okafor";
/// Who signs second.
const SECOND_SIGNATURE: &str = "jan.lindqvist";

/// What matters of a decision here.
struct Decided<'a> {
    strategy: &'a str,
    at: i64,
    until: i64,
    rests: bool,
}

impl<'a> Decided<'a> {
    fn of(decision: &'a CoordinatedTradingDecision) -> Option<Self> {
        let asked = &decision.execution_strategy;
        let horizon = asked.time_horizon.as_deref().and_then(|text| text.strip_prefix("PT")?.strip_suffix('S'));
        let horizon_s: i64 = horizon.and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
        let at = decision.timestamp.micros();
        Some(Self {
            strategy: decision.strategy_id.as_deref()?,
            at,
            until: at.saturating_add(horizon_s.saturating_mul(SECOND)),
            rests: asked.execution_algorithm != "MARKET",
        })
    }
}

/// A strategy, and when it is stopped and let go.
#[derive(Clone, Copy)]
struct Plan<'a> {
    strategy: &'a str,
    killed_at: i64,
    released_at: i64,
}

impl Plan<'_> {
    /// How much there is to see: the least of what is open at the kill, new before the release, and new after it; then
    /// their sum.
    fn worth(&self, decided: &[Decided<'_>]) -> (usize, usize) {
        let checked = self.killed_at.saturating_add(CHECKED_EVERY_MS.saturating_mul(1_000));
        let count = |f: &dyn Fn(&Decided<'_>) -> bool| {
            decided.iter().filter(|d| d.strategy == self.strategy).filter(|d| f(d)).count()
        };
        let open = count(&|d| d.rests && d.at < self.killed_at && d.until > checked);
        let refused = count(&|d| (self.killed_at..self.released_at).contains(&d.at));
        let after = count(&|d| d.at >= self.released_at);
        (open.min(refused).min(after), open + refused + after)
    }
}

/// The controls of a run, in order; none where there are too few decisions.
///
/// # Errors
/// None in practice: the steps are allowed ones.
pub fn controls(upstream: &[Upstream]) -> anyhow::Result<Vec<Control>> {
    let decided: Vec<Decided<'_>> = upstream
        .iter()
        .filter_map(|u| match u {
            Upstream::Decision(decision) => Decided::of(decision),
            Upstream::Command(_) => None,
        })
        .collect();
    let Some(plan) = plan(&decided) else { return Ok(Vec::new()) };
    let signed_at = plan.killed_at.midpoint(plan.released_at);
    let steps = [
        (ControlCommand::Kill, FIRST, "orders that nobody expects", plan.killed_at),
        (ControlCommand::SignRelease, FIRST, "cause found and mended", signed_at),
        (ControlCommand::SignRelease, SECOND_SIGNATURE, "cause found and mended", plan.released_at),
    ];
    let mut controls: Vec<Control> = Vec::new();
    for (command, actor, reason, at) in steps {
        let request = ControlRequest { command, actor, reason, at: TimestampMicros::from_micros(at) };
        controls.push(transition((ControlScope::Strategy, plan.strategy), controls.last(), &request)?);
    }
    Ok(controls)
}

// The one that shows most; the first of equals. It begins in the second to fifth tenth of the decisions and lasts a quarter.
fn plan<'a>(decided: &[Decided<'a>]) -> Option<Plan<'a>> {
    let n = decided.len();
    if n < FEWEST {
        return None;
    }
    let mut best: Option<(Plan<'a>, (usize, usize))> = None;
    for first in (n / 5..=n / 2).step_by((n / MOMENTS).max(1)) {
        let (Some(from), Some(to)) = (decided.get(first), decided.get(first + n / 4)) else { continue };
        let (killed_at, released_at) = (from.at.saturating_add(AFTER_ROUND_US), to.at.saturating_add(AFTER_ROUND_US));
        for strategy in decided.iter().map(|d| d.strategy).collect::<std::collections::BTreeSet<_>>() {
            let plan = Plan { strategy, killed_at, released_at };
            let worth = plan.worth(decided);
            if killed_at < released_at && best.as_ref().is_none_or(|(_, most)| worth > *most) {
                best = Some((plan, worth));
            }
        }
    }
    best.map(|(plan, _)| plan)
}

/// Writes the controls. Compaction would leave the last one only: it takes no segment that is still written to, and a
/// demo is over before there is a second one.
///
/// # Errors
/// The cluster or the registry does not answer.
pub fn publish(controls: &[Control], cluster: &Cluster) -> anyhow::Result<()> {
    let mut writer = cluster.writer()?;
    for control in controls {
        writer.put(CONTROLS, &format!("{}/{}", control.scope.as_str(), control.scope_id), control)?;
    }
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fillstream_reference::Controls;
    use fillstream_schemas::coordination::ExecutionPreference;
    use fillstream_schemas::execution::ControlPhase;

    fn decision(n: i64, strategy: &str, algorithm: &str) -> Upstream {
        Upstream::Decision(Box::new(CoordinatedTradingDecision {
            timestamp: TimestampMicros::from_micros(n * 10 * SECOND),
            strategy_id: Some(strategy.to_owned()),
            execution_strategy: ExecutionPreference {
                execution_algorithm: algorithm.to_owned(),
                time_horizon: Some("PT60S".to_owned()),
                ..ExecutionPreference::default()
            },
            ..CoordinatedTradingDecision::default()
        }))
    }

    #[test]
    fn the_strategy_with_most_to_show_is_stopped_and_let_go_by_two_people() {
        // The first strategy never has anything open, the third nothing afterwards.
        let strategy = |n: i64| match n % 3 {
            0 => ("a", "MARKET"),
            1 => ("b", "TWAP"),
            _ => (if n < 8 { "c" } else { "b" }, "TWAP"),
        };
        let upstream: Vec<Upstream> = (0..20).map(|n| decision(n, strategy(n).0, strategy(n).1)).collect();
        let controls = controls(&upstream).unwrap();
        let phases: Vec<ControlPhase> = controls.iter().map(|c| c.phase).collect();
        assert_eq!(phases, [ControlPhase::Killed, ControlPhase::ReleasePending, ControlPhase::Released]);
        assert!(controls.iter().all(|c| c.scope_id == "b" && !c.actor.is_empty() && !c.reason.is_empty()));
        let [killed, _, released] = &controls[..] else { panic!("three") };
        assert_ne!(Some(&released.actor), released.second_actor.as_ref());
        // Every reader takes them, and what is ahead does not count yet.
        let mut table = Controls::default();
        controls.iter().for_each(|c| table.take("", c.clone()).unwrap());
        let scopes = [(ControlScope::Strategy, "b")];
        let stopped = |at: TimestampMicros| table.killed(&scopes, at).is_some();
        let before = |at: TimestampMicros| TimestampMicros::from_micros(at.micros() - 1);
        assert!(!stopped(before(killed.set_at)) && stopped(killed.set_at));
        assert!(stopped(before(released.set_at)) && !stopped(released.set_at));
        // A quarter of the decisions comes in between.
        assert_eq!(released.set_at.micros() - killed.set_at.micros(), 50 * SECOND);
    }

    #[test]
    fn few_decisions_are_left_alone() {
        let upstream: Vec<Upstream> = (0..7).map(|n| decision(n, "a", "TWAP")).collect();
        assert_eq!(controls(&upstream).unwrap(), []);
    }
}
