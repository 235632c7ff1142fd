//! Priorities: a decision of LOW priority waits for the others of its batch.
//!
//! The engine gives records in the order of their positions, and a stage sees one at a time: it cannot look ahead, but it can
//! put off. A LOW decision is kept, and a timer set that is due at once: it fires at the start of the next batch, before any
//! of that batch's records. So what else came with it goes first, and it waits for one batch at most, however much comes
//! after it.
//!
//! Nothing of its portfolio and instrument, and no command of its portfolio, overtakes it (trading rule 10): before such a
//! record is handled, what was put off is.

use fillstream_core::error::Poison;
use fillstream_core::trace::TraceContext;
use fillstream_domain::Priority;
use fillstream_schemas::coordination::CoordinatedTradingDecision;
use fillstream_schemas::state::{OmsDeferred, OmsTimer, OmsTimerKind};

use crate::{Fx, In, OrderManagement, State};

/// Key of the one timer of what was put off.
const TIMER: &str = "deferred";

/// The instrument that an input is about; `None`: it may be about any of its portfolio.
fn instrument(input: &In) -> Option<&str> {
    match input {
        In::Decision(decision) | In::Forwarded(decision) => Some(&decision.decision.instrument_id),
        In::Command(_) => None,
        In::Verdict(verdict) => Some(&verdict.instrument_id),
        In::Allocation(allocation) => Some(&allocation.instrument_id),
        In::Plan(plan) => Some(&plan.instrument_id),
        In::Alert(alert) => alert.instrument_id.as_deref(),
        In::Report(report) => Some(&report.instrument_id),
    }
}

impl OrderManagement {
    /// Whether a decision waits for the others of its batch.
    pub(crate) fn is_put_off(&self, decision: &CoordinatedTradingDecision) -> bool {
        self.config.defer_low_priority && Priority::parse_alias(&decision.decision.priority) == Ok(Priority::Low)
    }

    /// Keeps a decision until the next batch.
    pub(crate) fn put_off(
        decision: &CoordinatedTradingDecision,
        portfolio: &str,
        order_id: String,
        state: &mut State,
        fx: &mut Fx<'_>,
    ) {
        let last = state.deferred.iter().last().and_then(|(key, _)| key.parse::<u64>().ok());
        let key = format!("{:020}", last.map_or(0, |last| last.saturating_add(1)));
        let trace = fx.trace().to_bytes();
        let (portfolio_id, decision) = (portfolio.to_owned(), decision.clone());
        state.deferred.put(&key, OmsDeferred { portfolio_id, order_id, decision, trace });
        let timer = OmsTimer { kind: OmsTimerKind::Settle, subject: String::new(), is_deferred: true };
        fx.schedule_apart(TIMER, fx.now(), &timer);
    }

    /// Honours what was put off and must not be overtaken by this input.
    pub(crate) fn before(&self, input: &In, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let portfolio = fillstream_core::stage::Stage::partition_key(self, input);
        let instrument = instrument(input);
        self.take_up(state, fx, |put_off| {
            put_off.portfolio_id == portfolio
                && instrument.is_none_or(|instrument| put_off.decision.decision.instrument_id == instrument)
        })
    }

    /// Honours what was put off, in the order in which it came.
    pub(crate) fn take_up(
        &self,
        state: &mut State,
        fx: &mut Fx<'_>,
        is_due: impl Fn(&OmsDeferred) -> bool,
    ) -> Result<(), Poison> {
        let due = state.deferred.iter().filter(|(_, put_off)| is_due(put_off));
        let due: Vec<String> = due.map(|(key, _)| key.to_owned()).collect();
        for key in due {
            let Some(put_off) = state.deferred.remove(&key) else { continue };
            // Its orders belong to its own trace, whatever brought us here.
            fx.follow(TraceContext::from_bytes(&put_off.trace));
            self.honour(&put_off.decision, &put_off.portfolio_id, put_off.order_id, Some(put_off.trace), (state, fx))?;
            fx.follow(None);
        }
        Ok(())
    }
}
