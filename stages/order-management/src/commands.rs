//! Commands on orders: CANCEL, REPLACE, SUSPEND, RESUME. Each is answered by exactly one event that names it; every refusal
//! has a code.

use fillstream_core::error::Poison;
use fillstream_domain::{Money, ParentStatus as Stand, Quantity, Side, Turnover};
use fillstream_schemas::execution::{Command, CommandAction, OrderEvent, OrderEventType, ParentStatus};
use fillstream_schemas::state::OmsEndingKind;

use crate::decision::order_id;
use crate::dedupe::{Admission, Kind, admit};
use crate::lifecycle::{Saying, Work, out_of_range};
use crate::parent::stand;
use crate::reason::{Reason, poison};
use crate::{Fx, OrderManagement, State, chain};

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
            let reason = if conflict { Reason::DuplicateConflict } else { reason };
            refuse_unknown(command, portfolio, named, reason, (state, fx));
            return Ok(());
        };
        let refused = if conflict { Some(Reason::DuplicateConflict) } else { refused(command, portfolio, &work)? };
        match refused {
            Some(reason) => work.refuse(command, reason, String::new())?,
            None => work.obey(command)?,
        }
        work.conclude()
    }
}

/// Who asks for what, and why.
pub(crate) fn words(command: &Command) -> String {
    let second = command.second_actor.as_ref().map_or_else(String::new, |second| format!(" and {second}"));
    format!("{} by {}{second}: {}", command.action, command.actor, command.reason)
}

impl Work<'_, '_, '_> {
    /// Does what a command asks for, which the order's state allows.
    fn obey(&mut self, command: &Command) -> Result<(), Poison> {
        match command.action {
            CommandAction::Cancel => {
                let saying = Saying::because(Reason::CancelCommand, words(command)).answering(command);
                self.request_end(OmsEndingKind::Cancel, saying)
            }
            CommandAction::Suspend => self.suspend(command),
            CommandAction::Resume => self.resume(command),
            CommandAction::Replace => self.ask_replace(command),
            CommandAction::Adapt | CommandAction::Override => Ok(()),
        }
    }

    /// Refuses a command, with what is wrong with it in words.
    pub(crate) fn refuse(&mut self, command: &Command, reason: Reason, fault: String) -> Result<(), Poison> {
        let text = if fault.is_empty() { words(command) } else { format!("{}; {fault}", words(command)) };
        self.event(OrderEventType::CommandRefused, Saying::because(reason, text).answering(command))
    }
}

fn refused(command: &Command, portfolio: &str, work: &Work<'_, '_, '_>) -> Result<Option<Reason>, Poison> {
    let order = &work.order;
    if order.portfolio_id != portfolio {
        return Ok(Some(Reason::PortfolioMismatch));
    }
    if command.decision_event_id.as_ref().is_some_and(|decision| *decision != order.decision_event_id) {
        return Ok(Some(Reason::OrderMismatch));
    }
    let stand = stand(order).map_err(out_of_range)?;
    Ok(forbidden(command.action, stand, order.is_suspended, order.is_closed))
}

/// What the state of an order forbids: the table of commands and states.
fn forbidden(action: CommandAction, stand: Stand, is_suspended: bool, is_closed: bool) -> Option<Reason> {
    let ended = Some(Reason::OrderTerminal);
    match action {
        CommandAction::Cancel => match stand {
            Stand::CancelPending => Some(Reason::CancelAlreadyPending),
            Stand::Filled | Stand::Cancelled | Stand::Rejected | Stand::Expired => ended,
            Stand::PendingRisk | Stand::Working | Stand::PartiallyFilled => None,
            Stand::Suspended | Stand::ReplacePending => None,
        },
        CommandAction::Suspend => match stand {
            Stand::PendingRisk => Some(Reason::OrderNotReleased),
            Stand::CancelPending => Some(Reason::CancelAlreadyPending),
            Stand::Filled | Stand::Cancelled | Stand::Rejected | Stand::Expired => ended,
            // Between sessions an order rests; somebody may want it not to go on with the next one.
            Stand::Working | Stand::PartiallyFilled | Stand::Suspended | Stand::ReplacePending => {
                is_suspended.then_some(Reason::AlreadySuspended)
            }
        },
        CommandAction::Resume => match stand {
            Stand::PendingRisk => Some(Reason::OrderNotReleased),
            Stand::CancelPending => Some(Reason::CancelAlreadyPending),
            Stand::Filled | Stand::Cancelled | Stand::Rejected | Stand::Expired => ended,
            Stand::Working | Stand::PartiallyFilled | Stand::Suspended | Stand::ReplacePending => {
                match (is_suspended, is_closed) {
                    (false, _) => Some(Reason::NotSuspended),
                    (true, true) => Some(Reason::MarketClosed),
                    (true, false) => None,
                }
            }
        },
        CommandAction::Replace => match stand {
            Stand::PendingRisk => Some(Reason::OrderNotReleased),
            Stand::ReplacePending => Some(Reason::ReplaceAlreadyPending),
            Stand::CancelPending => Some(Reason::CancelAlreadyPending),
            Stand::Filled | Stand::Cancelled | Stand::Rejected | Stand::Expired => ended,
            Stand::Working | Stand::PartiallyFilled | Stand::Suspended => None,
        },
        CommandAction::Adapt | CommandAction::Override => Some(Reason::CommandNotSupported),
    }
}

/// The refusal of a command on an order that is not known. Its revision is 0: it is no part of any order's life.
fn refuse_unknown(
    command: &Command,
    portfolio: &str,
    order_id: String,
    reason: Reason,
    (state, fx): (&mut State, &mut Fx<'_>),
) {
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
        reason_text: Some(words(command)),
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
        new_ord_qty: None,
        is_suspended: false,
        command_id: Some(command.command_id.clone()),
    };
    let entry = chain::entry(state, &event, &command.actor);
    fx.emit_with(event, vec![("status", ParentStatus::Rejected.to_string())]);
    entry.into_iter().for_each(|entry| fx.emit(entry));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns: where the order stands. Rows: the command, on an order that is not suspended (or is), whose market is in
    /// session (or not). `.`: it is obeyed.
    const TABLE: &str = "
    command      PR       W       PF      SU      RP      CP       FI       CA       RJ       EX
    CANCEL       .        .       .       .       .       CANCEL_ALREADY_PENDING ORDER_TERMINAL ORDER_TERMINAL ORDER_TERMINAL ORDER_TERMINAL
    SUSPEND      ORDER_NOT_RELEASED . . . .               CANCEL_ALREADY_PENDING ORDER_TERMINAL ORDER_TERMINAL ORDER_TERMINAL ORDER_TERMINAL
    RESUME       ORDER_NOT_RELEASED NOT_SUSPENDED NOT_SUSPENDED NOT_SUSPENDED NOT_SUSPENDED CANCEL_ALREADY_PENDING ORDER_TERMINAL ORDER_TERMINAL ORDER_TERMINAL ORDER_TERMINAL
    REPLACE      ORDER_NOT_RELEASED . . . REPLACE_ALREADY_PENDING CANCEL_ALREADY_PENDING ORDER_TERMINAL ORDER_TERMINAL ORDER_TERMINAL ORDER_TERMINAL
    ADAPT        COMMAND_NOT_SUPPORTED COMMAND_NOT_SUPPORTED COMMAND_NOT_SUPPORTED COMMAND_NOT_SUPPORTED COMMAND_NOT_SUPPORTED COMMAND_NOT_SUPPORTED COMMAND_NOT_SUPPORTED COMMAND_NOT_SUPPORTED COMMAND_NOT_SUPPORTED COMMAND_NOT_SUPPORTED
    OVERRIDE     COMMAND_NOT_SUPPORTED COMMAND_NOT_SUPPORTED COMMAND_NOT_SUPPORTED COMMAND_NOT_SUPPORTED COMMAND_NOT_SUPPORTED COMMAND_NOT_SUPPORTED COMMAND_NOT_SUPPORTED COMMAND_NOT_SUPPORTED COMMAND_NOT_SUPPORTED COMMAND_NOT_SUPPORTED
    ";

    #[test]
    fn every_command_in_every_state_is_obeyed_or_refused_with_its_code() {
        let actions = [
            CommandAction::Cancel,
            CommandAction::Suspend,
            CommandAction::Resume,
            CommandAction::Replace,
            CommandAction::Adapt,
            CommandAction::Override,
        ];
        let rows = TABLE.lines().filter(|line| !line.trim().is_empty()).skip(1);
        for (row, action) in rows.zip(actions) {
            let mut cells = row.split_whitespace();
            assert_eq!(cells.next(), Some(action.as_str()));
            let found: Vec<_> = Stand::ALL
                .iter()
                .map(|stand| forbidden(action, *stand, false, false).map_or(".", |reason| reason.as_str()))
                .collect();
            assert_eq!(found, cells.collect::<Vec<_>>(), "{action}");
        }
    }

    #[test]
    fn both_people_of_a_command_are_named() {
        let command = Command { actor: "ann".into(), reason: "limit lifted".into(), ..Command::default() };
        assert_eq!(words(&command), "CANCEL by ann: limit lifted");
        let both = Command { second_actor: Some("bob".into()), action: CommandAction::Override, ..command };
        assert_eq!(words(&both), "OVERRIDE by ann and bob: limit lifted");
    }

    #[test]
    fn an_order_that_is_suspended_is_not_suspended_again_and_goes_on_only_in_session() {
        use CommandAction::{Resume, Suspend};
        for stand in [Stand::Suspended, Stand::ReplacePending] {
            assert_eq!(forbidden(Suspend, stand, true, false), Some(Reason::AlreadySuspended));
            assert_eq!(forbidden(Resume, stand, true, false), None);
            assert_eq!(forbidden(Resume, stand, true, true), Some(Reason::MarketClosed));
            assert_eq!(forbidden(Suspend, stand, false, true), None);
        }
    }
}
