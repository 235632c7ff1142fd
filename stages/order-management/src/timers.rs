//! What is due: expiries, ends that have settled, retirements, the controls, forgotten duplicates.

use fillstream_core::error::Poison;
use fillstream_core::stage::Timer;
use fillstream_schemas::state::{OmsEndingKind, OmsTimer, OmsTimerKind};

use crate::decision::schedule_kill_check;
use crate::dedupe::sweep;
use crate::lifecycle::Work;
use crate::reason::Reason;
use crate::{Fx, OrderManagement, State};

/// A timer that is later than this was not just waiting for its batch: the task stood still, and so did the rest of its path.
const STOOD_STILL_US: i64 = 5_000_000;

fn late_us(timer: &Timer<OmsTimer>, fx: &Fx<'_>) -> i64 {
    fx.now().micros().saturating_sub(timer.due.micros())
}

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
                let stood_still = late_us(timer, fx) > STOOD_STILL_US;
                let Some(mut work) = Work::load(&self.config, state, fx, subject) else { return Ok(()) };
                if stood_still && work.order.terminal.is_none() {
                    // What was under way had no time to arrive: it stands in the inputs, behind this timer.
                    work.settle_later();
                    return work.conclude();
                }
                if !work.order.released && work.has_parked() {
                    // A plan or report proves the release whose verdict is missing.
                    work.order.released = true;
                    work.replay()?;
                }
                work.order.settled = true;
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
