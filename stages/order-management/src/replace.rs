//! Replaces of a parent order: other terms, which risk has to pass before they are in force.
//!
//! ```text
//! command --> REPLACE_REQUESTED (terms asked for) --> risk --> REPLACED (in force) | COMMAND_REFUSED (risk's code)
//!        \--> COMMAND_REFUSED (state or terms)            \-- a cancel, kill or expiry meanwhile: COMMAND_REFUSED, it wins
//! ```
//!
//! - A replace is answered exactly once. Risk's answer names the revision of the request; one that comes too late finds
//!   nothing to answer.
//! - What is filled meanwhile wins: ordered = the larger of new and filled.
//! - A decrease below what children hold is in force at once for all that is new: the schedule releases nothing, child-risk
//!   cancels open children, youngest first, until they fit. But `ord_qty` falls only as far as children have given up what
//!   they hold, so exposure is freed by the broker's confirmation alone (trading rule 16), and a fill that crosses the cancel
//!   is none beyond the order.
//! - The terms in force begin a new schedule. A last plan of the former one proves nothing any more: plans name the revision
//!   of their terms (`terms_revision`).

use fillstream_core::error::Poison;
use fillstream_domain::{Algorithm, AlgorithmRequest, DurationMicros, Price, Quantity, Ratio, TimeInForce, Urgency};
use fillstream_reference::{MarketTable, ReferenceData};
use fillstream_schemas::execution::{Command, CommandAction, OrderEventType, OrderTerms, ValidatedOrder};
use fillstream_schemas::reference::Instrument;
use fillstream_schemas::state::{OmsOrder, OmsReplace, OmsTimerKind};

use crate::accounts;
use crate::chain::RISK;
use crate::commands::words;
use crate::fold::refusal;
use crate::lifecycle::{Saying, Work, after_ms, out_of_range, timer_key};
use crate::parent::{figures, ordered};
use crate::reason::Reason;
use crate::span::{Wish, span};
use crate::stop;
use crate::validate::{Refusal, World, price_fault};

/// What a replace asks for, as far as this stage can judge it.
#[derive(Debug)]
struct Wanted {
    ord_qty: Quantity,
    terms: OrderTerms,
    changes_end: bool,
    note: Option<Refusal>,
}

impl Work<'_, '_, '_> {
    /// Asks risk for other terms, or refuses what cannot be asked for.
    pub(crate) fn ask_replace(&mut self, command: &Command) -> Result<(), Poison> {
        let world = World {
            config: self.config,
            now: self.fx.now(),
            market: self.fx.table::<MarketTable>(),
            reference: self.fx.table::<ReferenceData>(),
            controls: None,
        };
        let wanted = match wanted(&world, &self.order, command) {
            Ok(wanted) => wanted,
            Err(fault) => return self.refuse(command, fault.reason, fault.text),
        };
        let text = wanted.note.map_or_else(|| words(command), |note| format!("{}; {}", words(command), note.text));
        self.order.replace = Some(OmsReplace {
            revision: self.order.revision.saturating_add(1),
            command_id: command.command_id.clone(),
            by: words(command),
            new_ord_qty: wanted.ord_qty,
            terms: wanted.terms.clone(),
            changes_end: wanted.changes_end,
        });
        self.timer(OmsTimerKind::Settle, after_ms(self.fx.now(), self.config.replace_answer_ms));
        let saying = Saying {
            terms: Some(wanted.terms),
            new_ord_qty: Some(wanted.ord_qty),
            ..Saying::because(Reason::ReplaceCommand, text).answering(command)
        };
        self.event(OrderEventType::ReplaceRequested, saying)
    }

    /// Risk's answer to a replace.
    pub(crate) fn replace_judged(mut self, verdict: &ValidatedOrder) -> Result<(), Poison> {
        match self.order.replace.take_if(|asked| asked.revision == verdict.revision) {
            // Answered already: an end has won over it, or it took too long.
            None => {}
            Some(asked) if verdict.is_approved => self.put_in_force(asked)?,
            Some(asked) => {
                let saying = Saying { reason: Some(refusal(verdict)), actor: RISK.into(), ..Saying::default() };
                self.refuse_replace(asked, saying)?;
            }
        }
        self.conclude()
    }

    fn put_in_force(&mut self, asked: OmsReplace) -> Result<(), Poison> {
        let filled = figures(&self.order).map_err(out_of_range)?.cum_qty;
        let target = asked.new_ord_qty.max(filled);
        let order = &mut self.order;
        (order.crossing_qty, order.target_qty) = (Some(order.ord_qty), Some(target));
        order.ord_qty = ordered(order).map_err(out_of_range)?;
        order.terms = asked.terms.clone();
        order.terms_revision = order.revision.saturating_add(1);
        accounts::replaced(order, target);
        self.fx.cancel(timer_key(OmsTimerKind::Settle, &self.order.order_id));
        if asked.changes_end {
            self.watch_time();
        }
        let saying = Saying {
            terms: Some(asked.terms),
            new_ord_qty: Some(target),
            command_id: Some(asked.command_id),
            actor: RISK.into(),
            ..Saying::because(Reason::ReplaceCommand, asked.by)
        };
        self.event(OrderEventType::Replaced, saying)
    }

    /// Answers a replace with a refusal; the terms stay as they are.
    pub(crate) fn refuse_replace(&mut self, asked: OmsReplace, saying: Saying) -> Result<(), Poison> {
        self.fx.cancel(timer_key(OmsTimerKind::Settle, &self.order.order_id));
        let reason = saying.reason.map(|(code, text)| (code, format!("{}; {text}", asked.by)));
        let saying = Saying { reason, command_id: Some(asked.command_id), ..saying };
        self.event(OrderEventType::CommandRefused, saying)
    }

    /// Answers a pending replace: the order is being ended, which wins.
    pub(crate) fn overtake_replace(&mut self) -> Result<(), Poison> {
        match self.order.replace.take() {
            None => Ok(()),
            Some(asked) => {
                let saying = Saying::because(Reason::ReplaceOvertaken, "the order is being ended, which wins over it");
                self.refuse_replace(asked, saying)
            }
        }
    }
}

fn wanted(world: &World<'_>, order: &OmsOrder, command: &Command) -> Result<Wanted, Refusal> {
    let reference =
        world.reference.ok_or_else(|| Refusal::new(Reason::ReferenceUnavailable, "reference data is not known"))?;
    let instrument = reference
        .instrument(&order.instrument_id)
        .ok_or_else(|| Refusal::new(Reason::UnknownInstrument, format!("no instrument {:?}", order.instrument_id)))?;
    let time_in_force = order.terms.time_in_force;
    if matches!(time_in_force, TimeInForce::Ioc | TimeInForce::Fok) {
        let text = format!("a {time_in_force} order is done at once: there is nothing to replace");
        return Err(Refusal::new(Reason::TimeInForceNotSupported, text));
    }
    let mut terms = order.terms.clone();
    if command.action == CommandAction::Adapt {
        let ord_qty = order.target_qty.unwrap_or(order.ord_qty);
        adapt(command, &mut terms)?;
        if terms == order.terms {
            return Err(Refusal::new(Reason::NothingToReplace, "the order is worked as the command asks for it"));
        }
        return Ok(Wanted { ord_qty, terms, changes_end: false, note: None });
    }
    let ord_qty = match command.new_quantity {
        Some(quantity) => quantity_of(order, instrument, quantity)?,
        None => order.target_qty.unwrap_or(order.ord_qty),
    };
    if let Some(price) = command.new_limit_price {
        terms.limit_price = Some(limit_of(order, instrument, price)?);
    }
    if let Some(price) = command.new_stop_price {
        terms.stop_price = Some(stop::replaced(world, order, instrument, price)?);
    }
    if let (Some(stop), Some(limit), false) = (terms.stop_price, terms.limit_price, stop::is_set_off(order)) {
        stop::beyond_limit(order.side, stop, limit).map_or(Ok(()), Err)?;
    }
    let changes_end = command.new_horizon.is_some() || command.new_expire_at.is_some();
    let note = if changes_end { end_of(world, order, command, &mut terms)? } else { None };
    if ord_qty == order.target_qty.unwrap_or(order.ord_qty) && terms == order.terms {
        return Err(Refusal::new(Reason::NothingToReplace, "the order is as the command asks for it"));
    }
    Ok(Wanted { ord_qty, terms, changes_end, note })
}

/// How the order is worked from now on.
fn adapt(command: &Command, terms: &mut OrderTerms) -> Result<(), Refusal> {
    if let Some(urgency) = &command.new_urgency {
        terms.urgency =
            Urgency::parse_alias(urgency).map_err(|e| Refusal::new(Reason::UnknownUrgency, e.to_string()))?;
    }
    if let Some(algorithm) = &command.new_algorithm {
        let asked = AlgorithmRequest::parse(algorithm);
        let asked = asked.map_err(|e| Refusal::new(Reason::UnknownAlgorithm, e.to_string()))?;
        if asked.algorithm == Algorithm::Limit && terms.limit_price.is_none() {
            return Err(Refusal::new(Reason::MissingLimitPrice, "LIMIT without limit_price"));
        }
        (terms.algorithm, terms.adaptive) = (asked.algorithm, asked.adaptive);
    }
    if let Some(rate) = command.new_participation_rate {
        if !(rate.is_positive() && rate <= Ratio::ONE) {
            let text = format!("new_participation_rate {rate} is not above 0 and at most 1");
            return Err(Refusal::new(Reason::InvalidParticipationRate, text));
        }
        terms.max_participation_rate = Some(rate);
    }
    Ok(())
}

fn quantity_of(order: &OmsOrder, instrument: &Instrument, quantity: Quantity) -> Result<Quantity, Refusal> {
    let filled = order.fill_qty.min(order.ord_qty);
    if quantity.is_zero() {
        return Err(Refusal::new(Reason::InvalidQuantity, "new_quantity is not above zero"));
    }
    if quantity < filled {
        return Err(Refusal::new(Reason::BelowFilled, format!("new_quantity {quantity} is below the {filled} filled")));
    }
    // All that is filled, and no more, may be an odd lot.
    if quantity > filled && !quantity.is_whole_lots(order.terms.lot_size) {
        let text = format!("new_quantity {quantity} is no multiple of the lot {}", order.terms.lot_size);
        return Err(Refusal::new(Reason::LotSize, text));
    }
    if quantity < instrument.min_quantity {
        let text = format!("new_quantity {quantity} is below the minimum {}", instrument.min_quantity);
        return Err(Refusal::new(Reason::QuantityBelowMinimum, text));
    }
    Ok(quantity)
}

fn limit_of(order: &OmsOrder, instrument: &Instrument, price: Price) -> Result<Price, Refusal> {
    if !order.terms.ord_type.has_limit() && order.terms.algorithm != Algorithm::Limit {
        let text = format!("{} with new_limit_price {price}", order.terms.ord_type);
        return Err(Refusal::new(Reason::UnexpectedPrice, text));
    }
    match price_fault("new_limit_price", price, instrument) {
        Some(fault) => Err(fault),
        None => Ok(price),
    }
}

/// Sets when the order ends: counted from now, its horizon from the trigger where it has a stop.
fn end_of(
    world: &World<'_>,
    order: &OmsOrder,
    command: &Command,
    terms: &mut OrderTerms,
) -> Result<Option<Refusal>, Refusal> {
    let horizon = match &command.new_horizon {
        None => None,
        Some(text) => match text.parse::<DurationMicros>() {
            Ok(horizon) if horizon > DurationMicros::ZERO => Some(horizon),
            Ok(_) => return Err(Refusal::new(Reason::InvalidTimeHorizon, "new_horizon is zero")),
            Err(e) => return Err(Refusal::new(Reason::InvalidTimeHorizon, format!("new_horizon {text:?}: {e}"))),
        },
    };
    // Who names only an end wants all the time to it; who names only a horizon keeps the end where it is.
    let expire_at = command.new_expire_at.or(Some(order.terms.expire_at));
    let waits = order.terms.ord_type.has_stop();
    let wish = Wish { time_in_force: order.terms.time_in_force, expire_at, horizon, waits };
    let span = span(world, &order.instrument_id, wish)
        .ok_or_else(|| Refusal::new(Reason::ReferenceUnavailable, "reference data is not known"))??;
    terms.expire_at = span.expire_at;
    if waits {
        terms.horizon_us = if horizon.is_some() { span.horizon_us } else { terms.horizon_us };
        return Ok(span.note);
    }
    let left_us = match horizon {
        Some(_) => span.horizon_us,
        None => span.expire_at.micros().saturating_sub(world.now.micros()),
    };
    let since = order.arrived_at.unwrap_or(world.now);
    terms.horizon_us = world.now.micros().saturating_sub(since.micros()).saturating_add(left_us);
    Ok(span.note)
}
