//! One parent order while an input is applied to it: its events, its end, its retirement.

use fillstream_core::error::Poison;
use fillstream_core::trace::TraceContext;
use fillstream_domain::{ControlScope, Money, NumberError, PriceQuantitySum, Quantity, TimestampMicros};
use fillstream_reference::Controls;
use fillstream_schemas::execution::{
    Arrival, ChildUpdate, Command, Control, OrderEvent, OrderEventType, OrderTerms, ParentStatus,
};
use fillstream_schemas::state::{OmsEnding, OmsEndingKind, OmsOrder, OmsTimer, OmsTimerKind};

use crate::accounts;
use crate::config::{Config, micros};
use crate::parent::{self, figures};
use crate::reason::{Reason, poison};
use crate::validate::scopes;
use crate::{Fx, State, chain, trade};

/// A parent order in hand.
pub(crate) struct Work<'s, 'f, 't> {
    pub config: &'s Config,
    pub state: &'s mut State,
    pub fx: &'f mut Fx<'t>,
    pub order: OmsOrder,
    /// What was filled, and for which fees, before: a terminal order is amended when that changes.
    before: Before,
}

#[derive(PartialEq)]
struct Before {
    terminal: bool,
    fills: PriceQuantitySum,
    fees: Vec<Money>,
}

impl Before {
    fn of(order: &OmsOrder) -> Self {
        Self {
            terminal: order.terminal.is_some(),
            fills: parent::fills(order),
            fees: order.fees.values().copied().collect(),
        }
    }
}

/// What an event says besides the order's identity and figures.
#[derive(Default)]
pub(crate) struct Saying {
    pub reason: Option<(String, String)>,
    pub child: Option<ChildUpdate>,
    /// Account that it is about, where it is about no child.
    pub account: Option<String>,
    pub terms: Option<OrderTerms>,
    pub arrival: Option<Arrival>,
    /// Quantity that a replace asks for or has put in force.
    pub new_ord_qty: Option<Quantity>,
    /// Command that the event answers.
    pub command_id: Option<String>,
    /// Who made it so; empty: this stage.
    pub actor: String,
    /// Somebody should look.
    pub alarm: bool,
}

impl Saying {
    pub(crate) fn because(reason: Reason, text: impl Into<String>) -> Self {
        Self { reason: Some((reason.as_str().to_owned(), text.into())), ..Self::default() }
    }

    /// The answer to a command.
    pub(crate) fn answering(self, command: &Command) -> Self {
        Self { command_id: Some(command.command_id.clone()), actor: command.actor.clone(), ..self }
    }
}

pub(crate) fn out_of_range(e: NumberError) -> Poison {
    Poison::new(poison::FIGURE_OUT_OF_RANGE, e.to_string())
}

pub(crate) fn after_ms(at: TimestampMicros, ms: i64) -> TimestampMicros {
    TimestampMicros::from_micros(at.micros().saturating_add(micros(ms)))
}

impl<'s, 'f, 't> Work<'s, 'f, 't> {
    /// A new order.
    pub(crate) fn create(config: &'s Config, state: &'s mut State, fx: &'f mut Fx<'t>, order: OmsOrder) -> Self {
        let before = Before::of(&order);
        Self { config, state, fx, order, before }
    }

    /// A known order. What follows belongs to the trace of its decision, whatever made us look at it: a command, or the
    /// timer that holds all orders against the controls.
    pub(crate) fn load(config: &'s Config, state: &'s mut State, fx: &'f mut Fx<'t>, order_id: &str) -> Option<Self> {
        let order = state.orders.get(order_id)?.clone();
        fx.follow(order.trace.as_deref().and_then(TraceContext::from_bytes));
        Some(Self::create(config, state, fx, order))
    }

    /// A known order, or a dead letter.
    pub(crate) fn of(
        config: &'s Config,
        state: &'s mut State,
        fx: &'f mut Fx<'t>,
        (what, order_id): (&str, &str),
    ) -> Result<Self, Poison> {
        Self::load(config, state, fx, order_id).ok_or_else(|| {
            let text = format!("{what} of order {order_id:?}, which is not known or was retired");
            Poison::new(poison::UNKNOWN_ORDER, text)
        })
    }

    /// Writes an event of the order.
    pub(crate) fn event(&mut self, event_type: OrderEventType, saying: Saying) -> Result<(), Poison> {
        let figures = figures(&self.order).map_err(out_of_range)?;
        self.order.revision = self.order.revision.saturating_add(1);
        let order = &self.order;
        let (fee_currency, fees) = trade::fees(order);
        let (reason_code, reason_text) = saying.reason.unzip();
        let account = saying.child.as_ref().map(|child| child.account_id.clone()).or(saying.account);
        let event = OrderEvent {
            event_id: self.fx.next_id(),
            timestamp: self.fx.now(),
            order_id: order.order_id.clone(),
            portfolio_id: order.portfolio_id.clone(),
            account_id: order.account_id.clone(),
            instrument_id: order.instrument_id.clone(),
            decision_event_id: order.decision_event_id.clone(),
            revision: order.revision,
            event_type,
            status: figures.status,
            is_terminal: is_terminal(event_type),
            reason_code,
            reason_text,
            side: order.side,
            ord_qty: figures.ord_qty,
            cum_qty: figures.cum_qty,
            leaves_qty: figures.leaves_qty,
            cancelled_qty: figures.cancelled_qty,
            working_qty: figures.working_qty,
            overfill_qty: figures.overfill_qty,
            avg_px: figures.avg_px,
            filled_notional: figures.filled_notional,
            fees,
            fee_currency,
            terms: saying.terms,
            arrival: saying.arrival,
            account: account.and_then(|account_id| accounts::figures(order, &account_id)),
            child: saying.child,
            new_ord_qty: saying.new_ord_qty,
            is_suspended: is_suspended(order),
            command_id: saying.command_id,
        };
        let entry = chain::entry(self.state, &event, &saying.actor);
        let headers = self.headers(figures.status, saying.alarm);
        self.fx.emit_with(event, headers);
        entry.into_iter().for_each(|entry| self.fx.emit(entry));
        Ok(())
    }

    /// Headers for subscribers.
    pub(crate) fn headers(&self, status: ParentStatus, alarm: bool) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("priority", self.order.terms.priority.to_string()),
            ("instrument_type", self.order.asset_class.to_string()),
            ("status", status.to_string()),
        ];
        if alarm {
            headers.push(("severity", "CRITICAL".to_owned()));
        }
        headers
    }

    /// Sets a timer of the order.
    pub(crate) fn timer(&mut self, kind: OmsTimerKind, due: TimestampMicros) {
        let subject = self.order.order_id.clone();
        self.fx.schedule(timer_key(kind, &subject), due, &OmsTimer { kind, subject, is_deferred: false });
    }

    /// Starts to end the order: its schedule stops, its children are cancelled. It answers a pending replace.
    pub(crate) fn request_end(&mut self, kind: OmsEndingKind, saying: Saying) -> Result<(), Poison> {
        self.overtake_replace()?;
        let (code, text) = saying.reason.clone().unwrap_or_default();
        self.order.ending = Some(OmsEnding { kind, code, text, reminders: 0 });
        self.timer(OmsTimerKind::Settle, after_ms(self.fx.now(), self.config.end_reminder_ms));
        self.event(OrderEventType::CancelRequested, saying)
    }

    /// Asks again for an end whose proof does not come: the strategy answers each request with a last slice. No time that
    /// passes is a proof by itself, for what is under way may be held up just as long.
    pub(crate) fn remind(&mut self) -> Result<(), Poison> {
        if let Some(asked) = self.order.replace.take() {
            return self
                .refuse_replace(asked, Saying::because(Reason::ReplaceOverdue, "risk has not answered in time"));
        }
        let missing = match (self.order.released, self.order.allocated, self.order.settled) {
            (false, _, _) => "the verdict of risk",
            (true, false, _) => "the allocation",
            (true, true, false) if accounts::awaits(&self.order) => "the answer of account-allocation",
            (true, true, false) => "the last plan of the schedule",
            (true, true, true) => return Ok(()),
        };
        let Some(ending) = self.order.ending.as_mut().filter(|_| self.order.terminal.is_none()) else { return Ok(()) };
        ending.reminders = ending.reminders.saturating_add(1);
        let wait = self.config.end_reminder_ms.saturating_mul(1 << ending.reminders.clamp(0, 6));
        let text = format!("waits for {missing} (reminder {})", ending.reminders);
        self.timer(OmsTimerKind::Settle, after_ms(self.fx.now(), wait));
        let account = accounts::asked(&self.order);
        let saying = Saying { alarm: true, account, ..Saying::because(Reason::EndOverdue, text) };
        self.event(OrderEventType::CancelRequested, saying)
    }

    /// Draws the consequences of what was applied and keeps the order.
    pub(crate) fn conclude(mut self) -> Result<(), Poison> {
        if self.order.terminal.is_none() {
            self.consequences()?;
        }
        if self.before.terminal && self.before != Before::of(&self.order) {
            let text = "an execution after the order's end changed its figures";
            self.event(OrderEventType::Amended, Saying::because(Reason::LateExecution, text))?;
            self.trade()?;
        }
        let Self { state, order, .. } = self;
        // What changed nothing is not written: a repeat costs no changelog entry.
        if state.orders.get(&order.order_id) != Some(&order) {
            let order_id = order.order_id.clone();
            state.orders.put(&order_id, order);
        }
        Ok(())
    }

    fn consequences(&mut self) -> Result<(), Poison> {
        if let Some(end) = parent::ended(&self.order).map_err(out_of_range)? {
            return self.finish(end);
        }
        if self.order.ending.is_some() {
            return Ok(());
        }
        if let Some((actor, text)) = self.killed() {
            let saying = Saying { actor, ..Saying::because(Reason::Killed, text) };
            self.request_end(OmsEndingKind::Cancel, saying)?;
        } else if self.order.replace.is_some() {
            // Its answer decides what is left.
            return Ok(());
        } else if self.order.fill_qty >= self.order.ord_qty {
            let text = format!("filled while children hold {}", self.order.held_qty);
            self.request_end(OmsEndingKind::Cancel, Saying::because(Reason::FilledCancelRest, text))?;
        } else {
            self.work_out()?;
        }
        match parent::ended(&self.order).map_err(out_of_range)? {
            Some(end) => self.finish(end),
            None => Ok(()),
        }
    }

    /// Ends an order whose schedules have ended, unless another account may take over.
    fn work_out(&mut self) -> Result<(), Poison> {
        self.tell_failed()?;
        if self.order.released
            && self.order.schedule_done
            && self.order.held_qty.is_zero()
            && !is_suspended(&self.order)
        {
            let (code, text) = self.schedule_complete();
            self.order.ending = Some(OmsEnding { kind: OmsEndingKind::Expiry, code, text, reminders: 0 });
        }
        Ok(())
    }

    // Why an order ends whose schedules have ended: with nothing allocated there were none.
    fn schedule_complete(&self) -> (String, String) {
        let ended = "the schedule has ended and no child is open".to_owned();
        match &self.order.unallocated_code {
            Some(code) if self.order.accounts.is_empty() => (code.clone(), "no account takes any of it".to_owned()),
            Some(code) => (Reason::ScheduleComplete.as_str().to_owned(), format!("{ended}; a part: {code}")),
            None => (Reason::ScheduleComplete.as_str().to_owned(), ended),
        }
    }

    /// Who kills the order, if anybody, and in words.
    fn killed(&self) -> Option<(String, String)> {
        // Without controls nothing new is accepted; to cancel what works on a mere doubt would be a decision of its own.
        let control = killed_by(&self.order, self.fx.table::<Controls>()?, self.fx.now())?;
        let text = format!("{} {} is killed by {}: {}", control.scope, control.scope_id, control.actor, control.reason);
        Some((control.actor.clone(), text))
    }

    /// The one terminal event.
    pub(crate) fn finish(&mut self, end: ParentStatus) -> Result<(), Poison> {
        let (event_type, reason) = match end {
            ParentStatus::Filled => (OrderEventType::Filled, None),
            ParentStatus::Cancelled => (OrderEventType::Cancelled, self.ending_reason()),
            ParentStatus::Expired => (OrderEventType::Expired, self.ending_reason()),
            ParentStatus::Rejected
            | ParentStatus::PendingRisk
            | ParentStatus::Working
            | ParentStatus::PartiallyFilled
            | ParentStatus::CancelPending => return Ok(()),
        };
        self.close(end);
        self.event(event_type, Saying { reason, ..Saying::default() })?;
        self.trade()?;
        self.before = Before::of(&self.order);
        Ok(())
    }

    /// Risk's refusal: a terminal event too.
    pub(crate) fn reject(&mut self, code: String, text: String) -> Result<(), Poison> {
        self.close(ParentStatus::Rejected);
        let saying = Saying { reason: Some((code, text)), actor: chain::RISK.into(), ..Saying::default() };
        self.event(OrderEventType::Rejected, saying)?;
        self.before = Before::of(&self.order);
        Ok(())
    }

    fn close(&mut self, end: ParentStatus) {
        let now = self.fx.now();
        (self.order.terminal, self.order.terminal_at) = (Some(end), Some(now));
        for kind in [OmsTimerKind::Expire, OmsTimerKind::Settle] {
            self.fx.cancel(timer_key(kind, &self.order.order_id));
        }
        self.timer(OmsTimerKind::Retire, after_ms(now, self.config.retire_after_ms));
    }

    fn ending_reason(&self) -> Option<(String, String)> {
        self.order.ending.as_ref().map(|ending| (ending.code.clone(), ending.text.clone()))
    }

    /// States or restates the trade, if there is or was one.
    fn trade(&mut self) -> Result<(), Poison> {
        let Some(event) = trade::executed(&self.order, self.state, self.fx).map_err(out_of_range)? else {
            return Ok(());
        };
        self.order.trade_revision = event.revision;
        let mut headers = self.headers(parent::status(&self.order), false);
        headers.push(("venue", event.execution.execution_venue.clone()));
        headers.push(("broker", event.execution.broker.clone()));
        self.fx.emit_with(event, headers);
        Ok(())
    }

    /// Forgets a terminal order, unless a child of it is still open.
    pub(crate) fn retire(mut self) -> Result<(), Poison> {
        if self.order.open_children > 0 {
            let due = after_ms(self.fx.now(), self.config.retire_after_ms);
            self.timer(OmsTimerKind::Retire, due);
            return self.conclude();
        }
        let Self { state, order, .. } = self;
        let prefix = format!("{}/", order.order_id);
        let keys = |found: Vec<&str>| found.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let children = keys(state.children.with_prefix(&prefix).map(|(key, _)| key).collect());
        let executions = keys(state.executions.with_prefix(&prefix).map(|(key, _)| key).collect());
        let parked = keys(state.parked.with_prefix(&prefix).map(|(key, _)| key).collect());
        children.iter().for_each(|key| drop(state.children.remove(key)));
        executions.iter().for_each(|key| drop(state.executions.remove(key)));
        parked.iter().for_each(|key| drop(state.parked.remove(key)));
        state.orders.remove(&order.order_id);
        Ok(())
    }
}

/// The control that kills an order, if any.
fn killed_by<'c>(order: &OmsOrder, controls: &'c Controls, now: TimestampMicros) -> Option<&'c Control> {
    let by = (order.terms.strategy_id.as_deref(), order.terms.trader_id.as_deref());
    let mut scopes = scopes(&order.portfolio_id, order.account_id.as_deref(), &order.instrument_id, by);
    // A kill of one account ends the whole order: what is left would be another order than the one decided on.
    scopes.extend(order.accounts.keys().chain(&order.block_members).map(|id| (ControlScope::Account, id.as_str())));
    controls.killed(&scopes, now)
}

/// Whether a control kills the order and nothing ends it yet.
pub(crate) fn is_to_be_killed(order: &OmsOrder, controls: &Controls, now: TimestampMicros) -> bool {
    order.terminal.is_none() && order.ending.is_none() && killed_by(order, controls, now).is_some()
}

pub(crate) fn timer_key(kind: OmsTimerKind, order_id: &str) -> String {
    let name = match kind {
        OmsTimerKind::Expire => "expire",
        OmsTimerKind::Settle => "settle",
        OmsTimerKind::Retire => "retire",
        OmsTimerKind::KillCheck => "kill-check",
        OmsTimerKind::Sweep => "sweep",
    };
    format!("{name}/{order_id}")
}

/// Whether an event of this type is an order's one terminal event.
fn is_terminal(event_type: OrderEventType) -> bool {
    match event_type {
        OrderEventType::Rejected | OrderEventType::Filled | OrderEventType::Cancelled | OrderEventType::Expired => true,
        OrderEventType::Created
        | OrderEventType::Released
        | OrderEventType::Routed
        | OrderEventType::ChildUpdated
        | OrderEventType::CancelRequested
        | OrderEventType::CommandRefused
        | OrderEventType::Amended
        | OrderEventType::Overfill
        | OrderEventType::Other
        | OrderEventType::Suspended
        | OrderEventType::Resumed
        | OrderEventType::Replaced
        | OrderEventType::ReplaceRequested => false,
    }
}

/// Whether nothing new is to be released for an order that works.
pub(crate) fn is_suspended(order: &OmsOrder) -> bool {
    (order.is_suspended || order.is_closed) && order.ending.is_none() && order.terminal.is_none()
}
