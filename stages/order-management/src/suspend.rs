//! Orders that rest: suspended by somebody, or because their market is not in session. Nothing new is released; what works
//! at a venue works on, unless child-risk is configured to cancel it.

use fillstream_core::error::Poison;
use fillstream_domain::{TimeInForce, TimestampMicros};
use fillstream_reference::ReferenceData;
use fillstream_schemas::execution::{Command, OrderEventType};
use fillstream_schemas::state::{OmsEndingKind, OmsOrder, OmsTimerKind};

use crate::commands::words;
use crate::lifecycle::{Saying, Work, is_suspended};
use crate::reason::Reason;

/// Whether an order of this time in force lives longer than a session (trading rule 23).
pub(crate) const fn outlives_sessions(time_in_force: TimeInForce) -> bool {
    match time_in_force {
        TimeInForce::Gtc | TimeInForce::Gtd => true,
        TimeInForce::Day | TimeInForce::Ioc | TimeInForce::Fok => false,
    }
}

/// When the order's time is over.
fn end_of(order: &OmsOrder) -> TimestampMicros {
    let end = order.terms.expire_at;
    // A stop order waits to its end; what is set off ends with its schedule.
    match order.arrived_at.filter(|_| !order.terms.ord_type.has_stop()) {
        None => end,
        Some(arrived) => {
            let horizon = arrived.micros().saturating_add(order.terms.horizon_us);
            end.min(TimestampMicros::from_micros(horizon))
        }
    }
}

impl Work<'_, '_, '_> {
    pub(crate) fn suspend(&mut self, command: &Command) -> Result<(), Poison> {
        self.order.is_suspended = true;
        let saying = Saying::because(Reason::SuspendCommand, words(command)).answering(command);
        self.event(OrderEventType::Suspended, saying)
    }

    pub(crate) fn resume(&mut self, command: &Command) -> Result<(), Poison> {
        self.order.is_suspended = false;
        let saying = Saying::because(Reason::ResumeCommand, words(command)).answering(command);
        self.event(OrderEventType::Resumed, saying)
    }

    /// Sets the timer of what time does next to the order: its end, or, where it lives longer than a session, the close of
    /// the session or the next open before that.
    pub(crate) fn watch_time(&mut self) {
        let end = end_of(&self.order);
        let due = self.next_boundary().map_or(end, |boundary| boundary.min(end));
        self.timer(OmsTimerKind::Expire, due);
    }

    /// The next close or open of an order that lives longer than a session. Without a calendar it lives to its end.
    fn next_boundary(&self) -> Option<TimestampMicros> {
        if !outlives_sessions(self.order.terms.time_in_force) {
            return None;
        }
        let now = self.fx.now();
        let sessions = self.fx.table::<ReferenceData>()?.sessions(&self.order.instrument_id).ok()?;
        let session = sessions.session_at_or_after(now).ok()?;
        Some(if session.open <= now { session.close } else { session.open })
    }

    /// A time that the order waited for has come: `due`.
    pub(crate) fn time_has_come(&mut self, due: TimestampMicros) -> Result<(), Poison> {
        if self.order.terminal.is_some() || self.order.ending.is_some() {
            return Ok(());
        }
        if self.fx.now() >= end_of(&self.order) {
            let text = format!("the order's time was over at {due}");
            return self.request_end(OmsEndingKind::Expiry, Saying::because(Reason::Expired, text));
        }
        self.follow_session()?;
        self.watch_time();
        Ok(())
    }

    /// Lets the order rest when its session is over, and go on when the next one begins.
    fn follow_session(&mut self) -> Result<(), Poison> {
        let now = self.fx.now();
        let open = self.fx.table::<ReferenceData>().map(|data| data.is_open(&self.order.instrument_id, now));
        // Without a calendar the order stays as it is: child-risk refuses what would trade then.
        let Some(Ok(open)) = open else { return Ok(()) };
        let before = is_suspended(&self.order);
        self.order.is_closed = !open;
        let (event_type, reason) = match (before, is_suspended(&self.order)) {
            (false, true) => (OrderEventType::Suspended, Reason::SessionClosed),
            (true, false) => (OrderEventType::Resumed, Reason::SessionOpened),
            // Not released yet, or suspended by somebody: it goes on when they say so.
            (false, false) | (true, true) => return Ok(()),
        };
        let text = format!("{} at {now}: the order lives to {}", self.order.instrument_id, end_of(&self.order));
        self.event(event_type, Saying::because(reason, text))
    }
}
