//! What is due: expiries, ends that are overdue, retirements, the controls, forgotten duplicates.

use fillstream_core::error::Poison;
use fillstream_core::stage::Timer;
use fillstream_reference::Controls;
use fillstream_schemas::execution::Control;
use fillstream_schemas::state::{OmsControls, OmsTimer, OmsTimerKind};

use crate::decision::schedule_kill_check;
use crate::dedupe::sweep;
use crate::lifecycle::{Work, is_to_be_killed};
use crate::{Fx, OrderManagement, State};

/// The one key of the kills that were looked at.
const KILLS: &str = "kills";

impl OrderManagement {
    pub(crate) fn timer_due(&self, timer: &Timer<OmsTimer>, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        if timer.payload.is_deferred {
            return self.take_up(state, fx, |_| true);
        }
        let subject = timer.payload.subject.as_str();
        match timer.payload.kind {
            OmsTimerKind::Expire => {
                let Some(mut work) = Work::load(&self.config, state, fx, subject) else { return Ok(()) };
                work.time_has_come(timer.due)?;
                work.conclude()
            }
            OmsTimerKind::Settle => {
                let Some(mut work) = Work::load(&self.config, state, fx, subject) else { return Ok(()) };
                work.remind()?;
                work.conclude()
            }
            OmsTimerKind::Retire => match Work::load(&self.config, state, fx, subject) {
                Some(work) => work.retire(),
                None => Ok(()),
            },
            OmsTimerKind::KillCheck => self.check_controls(state, fx),
            OmsTimerKind::Sweep => {
                sweep(state, fx, subject);
                Ok(())
            }
        }
    }

    /// Holds every open order against the controls, if other kills are in force than last time: a new order is refused by
    /// itself, so that a kill that stands costs nothing, however many orders are open.
    fn check_controls(&self, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        if state.orders.iter().all(|(_, order)| order.terminal.is_some()) {
            return Ok(());
        }
        schedule_kill_check(&self.config, fx);
        let Some(controls) = fx.table::<Controls>() else { return Ok(()) };
        let name = |kill: &Control| format!("{}/{}@{}", kill.scope, kill.scope_id, kill.version);
        let kills = OmsControls { kills: controls.kills(fx.now()).map(name).collect() };
        if state.controls.get(KILLS).unwrap_or(&OmsControls::default()) == &kills {
            return Ok(());
        }
        let hit = state.orders.iter().filter(|(_, order)| is_to_be_killed(order, controls, fx.now()));
        let hit: Vec<_> = hit.map(|(id, _)| id.to_owned()).collect();
        for order_id in hit {
            if let Some(work) = Work::load(&self.config, state, fx, &order_id) {
                // To conclude an order kills it.
                work.conclude()?;
            }
        }
        state.controls.put(KILLS, kills);
        Ok(())
    }
}
