//! Commands on orders. Only CANCEL is worked; every refusal is an event with a code.

use fillstream_core::error::Poison;
use fillstream_domain::{Money, Quantity, Side, Turnover};
use fillstream_schemas::execution::{Command, CommandAction, OrderEvent, OrderEventType, ParentStatus};
use fillstream_schemas::state::OmsEndingKind;

use crate::decision::order_id;
use crate::dedupe::{Admission, Kind, admit};
use crate::lifecycle::{Saying, Work};
use crate::reason::{Reason, poison};
use crate::{Fx, OrderManagement, State};

impl OrderManagement {
    pub(crate) fn on_command(&self, command: &Command, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let portfolio = self.config.portfolio(&command.portfolio_id);
        if portfolio.is_empty() {
            let text = format!("command {:?} names no portfolio_id and there is no default one", command.command_id);
            return Err(Poison::new(poison::NO_PORTFOLIO, text));
        }
        let named = match (command.order_id.as_str(), &command.decision_event_id) {
            ("", Some(decision)) => order_id(portfolio, decision),
            (named, _) => named.to_owned(),
        };
        let id = (Kind::Command, command.command_id.as_str(), command.timestamp);
        let conflict = match admit(&self.config, state, fx, id, command) {
            Admission::Repeat => return Ok(()),
            Admission::First => false,
            Admission::Apart(salt) => {
                fx.fork(&salt);
                false
            }
            Admission::Conflict(salt) => {
                fx.fork(&salt);
                true
            }
        };
        let Some(mut work) = Work::load(&self.config, state, fx, &named) else {
            let reason = if named.is_empty() { Reason::MissingOrderId } else { Reason::UnknownOrder };
            refuse_unknown(command, portfolio, named, if conflict { Reason::DuplicateConflict } else { reason }, fx);
            return Ok(());
        };
        let by = format!("{} by {}: {}", command.action, command.actor, command.reason);
        let refused = if conflict { Some(Reason::DuplicateConflict) } else { refused(command, portfolio, &work) };
        match refused {
            Some(reason) => work.event(OrderEventType::CommandRefused, Saying::because(reason, by))?,
            None => work.request_end(OmsEndingKind::Cancel, Reason::CancelCommand, by)?,
        }
        work.conclude()
    }
}

fn refused(command: &Command, portfolio: &str, work: &Work<'_, '_, '_>) -> Option<Reason> {
    let order = &work.order;
    if order.portfolio_id != portfolio {
        return Some(Reason::PortfolioMismatch);
    }
    if command.decision_event_id.as_ref().is_some_and(|decision| *decision != order.decision_event_id) {
        return Some(Reason::OrderMismatch);
    }
    match command.action {
        CommandAction::Cancel if order.terminal.is_some() => Some(Reason::OrderTerminal),
        CommandAction::Cancel if order.ending.is_some() => Some(Reason::CancelAlreadyPending),
        CommandAction::Cancel => None,
        CommandAction::Replace
        | CommandAction::Suspend
        | CommandAction::Resume
        | CommandAction::Adapt
        | CommandAction::Override => Some(Reason::CommandNotSupported),
    }
}

/// The refusal of a command on an order that is not known. Its revision is 0: it is no part of any order's life.
fn refuse_unknown(command: &Command, portfolio: &str, order_id: String, reason: Reason, fx: &mut Fx<'_>) {
    let event = OrderEvent {
        event_id: fx.next_id(),
        timestamp: fx.now(),
        order_id,
        portfolio_id: portfolio.to_owned(),
        account_id: None,
        instrument_id: String::new(),
        decision_event_id: command.decision_event_id.clone().unwrap_or_default(),
        revision: 0,
        event_type: OrderEventType::CommandRefused,
        status: ParentStatus::Rejected,
        is_terminal: false,
        reason_code: Some(reason.as_str().to_owned()),
        reason_text: Some(format!("{} by {}: {}", command.action, command.actor, command.reason)),
        side: Side::Buy,
        ord_qty: Quantity::ZERO,
        cum_qty: Quantity::ZERO,
        leaves_qty: Quantity::ZERO,
        cancelled_qty: Quantity::ZERO,
        working_qty: Quantity::ZERO,
        overfill_qty: Quantity::ZERO,
        avg_px: None,
        filled_notional: Turnover::ZERO,
        fees: Money::ZERO,
        fee_currency: None,
        terms: None,
        arrival: None,
        child: None,
        account: None,
    };
    fx.emit_with(event, vec![("status", ParentStatus::Rejected.to_string())]);
}
