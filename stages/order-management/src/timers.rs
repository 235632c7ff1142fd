//! What is due: expiries, ends that are overdue, retirements, the controls, forgotten duplicates.

use fillstream_core::error::Poison;
use fillstream_core::stage::Timer;
use fillstream_schemas::state::{OmsEndingKind, OmsTimer, OmsTimerKind};

use crate::decision::schedule_kill_check;
use crate::dedupe::sweep;
use crate::lifecycle::Work;
use crate::reason::Reason;
use crate::{Fx, OrderManagement, State};

impl OrderManagement {
    pub(crate) fn timer_due(&self, timer: &Timer<OmsTimer>, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let subject = timer.payload.subject.as_str();
        match timer.payload.kind {
            OmsTimerKind::Expire => {
                let Some(mut work) = Work::load(&self.config, state, fx, subject) else { return Ok(()) };
                if work.order.terminal.is_none() && work.order.ending.is_none() {
                    let text = format!("the order's time was over at {}", timer.due);
                    work.request_end(OmsEndingKind::Expiry, Reason::Expired, text)?;
                }
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

    /// Holds every open order against the controls; to conclude an order does it.
    fn check_controls(&self, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let open: Vec<_> =
            state.orders.iter().filter(|(_, order)| order.terminal.is_none()).map(|(id, _)| id.to_owned()).collect();
        if !open.is_empty() {
            schedule_kill_check(&self.config, fx);
        }
        for order_id in open {
            let Some(work) = Work::load(&self.config, state, fx, &order_id) else { continue };
            if work.is_to_be_killed() {
                work.conclude()?;
            }
        }
        Ok(())
    }
}
