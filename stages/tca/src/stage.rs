//! Wiring: events and timers to state and rows.

use fillstream_core::error::Poison;
use fillstream_core::record::Record;
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::table::TableDecl;
use fillstream_domain::{AvgPrice, DurationMicros, NumberError, TimestampMicros};
use fillstream_reference::{MarketTable, ReferenceData};
use fillstream_schemas::execution::{ExecutionStrategySelected, OrderEvent, OrderEventType, QualityStage};
use fillstream_schemas::state::{TcaAlgorithm, TcaChild, TcaOrder, TcaReference, TcaTimer, TcaTimerKind};

use crate::config::millis;
use crate::evidence::{self, Reference, World};
use crate::row::{Occasion, row};
use crate::session::session_of;
use crate::{In, Out, State, Tca, fold};

type Fx<'a> = Effects<'a, Tca>;

fn number(e: NumberError) -> Poison {
    Poison::new("NUMBER", e.to_string())
}

fn after(at: TimestampMicros, by: DurationMicros) -> TimestampMicros {
    TimestampMicros::from_micros(at.micros().saturating_add(by.micros()))
}

fn world<'a>(fx: &Fx<'a>) -> World<'a> {
    World { market: fx.table::<MarketTable>(), data: fx.table::<ReferenceData>() }
}

fn row_timer(order_id: &str) -> String {
    format!("row/{order_id}")
}

fn end_timer(order_id: &str) -> String {
    format!("end/{order_id}")
}

fn forget_timer(order_id: &str) -> String {
    format!("algorithm/{order_id}")
}

fn payload(kind: TcaTimerKind, order_id: &str) -> TcaTimer {
    TcaTimer { kind, order_id: order_id.to_owned() }
}

/// The children of an order, in order of their ids.
fn children(state: &State, order_id: &str) -> Vec<TcaChild> {
    let of_order = state.children.with_prefix(order_id).filter(|(_, child)| child.order_id == order_id);
    of_order.map(|(_, child)| child.clone()).collect()
}

fn forget(state: &mut State, order_id: &str) {
    let of_order = state.children.with_prefix(order_id).filter(|(_, child)| child.order_id == order_id);
    let keys: Vec<String> = of_order.map(|(key, _)| key.to_owned()).collect();
    for key in keys {
        state.children.remove(&key);
    }
    state.orders.remove(order_id);
}

/// The instrument as of release.
fn reference(event: &OrderEvent, fx: &Fx<'_>) -> Result<TcaReference, Poison> {
    let data = fx.table::<ReferenceData>();
    let Some(instrument) = data.and_then(|data| data.instrument(&event.instrument_id)) else {
        let text = format!("order {} is of an instrument without reference data", event.order_id);
        return Err(Poison::new("NO_INSTRUMENT", text));
    };
    if instrument.inverse {
        let text = format!("order {}: costs of a coin-margined contract are not linear in its price", event.order_id);
        return Err(Poison::new("INVERSE_CONTRACT", text));
    }
    Ok(TcaReference {
        venue: instrument.reference_venue.clone(),
        asset_class: instrument.asset_class,
        base_currency: instrument.base_currency.clone(),
        multiplier: instrument.multiplier,
    })
}

/// Decision price of quantity that an event adds to an order: its own, else the mid at its time (trading rule 36).
fn added_at(order: &TcaOrder, event: &OrderEvent, fx: &Fx<'_>) -> Result<AvgPrice, Poison> {
    if event.ord_qty <= order.ord_qty {
        return Ok(order.decision_price);
    }
    if let Some(terms) = &event.terms {
        return Ok(AvgPrice::from(terms.decision_price));
    }
    let none = |cause: &str| Poison::new("NO_DECISION_PRICE", format!("order {}: {cause}", event.order_id));
    let reference = order.reference.as_ref().ok_or_else(|| none("added to before its release"))?;
    let market = Reference::of(world(fx), &order.instrument_id, reference);
    market.mid_at(event.timestamp).map(|mid| mid.mid).map_err(none)
}

impl Tca {
    fn on_order(&self, event: &OrderEvent, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let id = event.order_id.as_str();
        let mut order = match (state.orders.get(id), &event.terms) {
            (Some(order), _) => order.clone(),
            (None, Some(terms)) if event.event_type == OrderEventType::Created => {
                let mut order = fold::created(event, terms);
                if let Some(known) = state.algorithms.remove(id) {
                    order.algorithm = known.used;
                    fx.cancel(forget_timer(id));
                }
                order
            }
            // Refused at its decision, or already forgotten.
            (None, _) => return Ok(()),
        };
        if event.revision <= order.event_revision {
            return Ok(());
        }
        if let Some(arrival) = &event.arrival
            && order.arrival.is_none()
        {
            order.reference = Some(reference(event, fx)?);
            order.arrival = Some(arrival.clone());
        }
        let price = added_at(&order, event, fx)?;
        let key = fold::child_key(id, event.child.as_ref());
        let before = state.children.get(&key).cloned();
        let first = order.first_child_at.is_none();
        let folded = fold::fold(&mut order, event, before, price, self.config.max_fills_per_child).map_err(number)?;
        if let Some(child) = folded.child {
            state.children.put(&key, child);
        }
        if first {
            keep_first_child(&mut order, fx);
        }
        if event.is_terminal && order.ended_at.is_none() {
            if order.arrival.is_none() {
                // Never released: there is nothing to analyse (trading rule 39).
                forget(state, id);
                return Ok(());
            }
            self.ended(&mut order, event.timestamp, fx);
        } else if folded.figures && order.ended_at.is_some() {
            let due = after(event.timestamp, millis(self.config.row_delay_ms));
            fx.schedule(row_timer(id), due, &payload(TcaTimerKind::Row, id));
        }
        state.orders.put(id, order);
        Ok(())
    }

    fn on_strategy(&self, event: &ExecutionStrategySelected, state: &mut State, fx: &mut Fx<'_>) {
        let id = event.order_id.as_str();
        if let Some(order) = state.orders.get(id) {
            if order.algorithm != event.used {
                let order = TcaOrder { algorithm: event.used, ..order.clone() };
                state.orders.put(id, order);
            }
            return;
        }
        // The two topics are read each at its own pace.
        state.algorithms.put(id, TcaAlgorithm { order_id: id.to_owned(), used: event.used });
        let due = after(fx.now(), millis(self.config.keep_without_session_ms));
        fx.schedule(forget_timer(id), due, &payload(TcaTimerKind::Forget, id));
    }

    /// Sets the two timers of an order that has ended.
    fn ended(&self, order: &mut TcaOrder, at: TimestampMicros, fx: &mut Fx<'_>) {
        order.ended_at = Some(at);
        let arrived_at = order.arrival.as_ref().map_or(at, |pin| pin.arrived_at);
        // An order that ran into its session's end belongs to that session: the end is not in it.
        let last = at.min(order.terms.expire_at);
        let last = TimestampMicros::from_micros(last.micros().saturating_sub(1)).max(arrived_at);
        let calendar = fx.table::<ReferenceData>().and_then(|data| data.sessions(&order.instrument_id).ok());
        order.closes_at = calendar.and_then(|c| session_of(c, last).ok()).map(|session| session.close);
        let delay = millis(self.config.row_delay_ms);
        let id = order.order_id.as_str();
        let row_due = after(at, delay);
        fx.schedule(row_timer(id), row_due, &payload(TcaTimerKind::Row, id));
        let horizon_due = after(fold::horizon_end(order, arrived_at), delay);
        let (kind, due) = match self.final_due(order) {
            Some(final_due) if row_due < horizon_due && horizon_due < final_due => (TcaTimerKind::Horizon, horizon_due),
            Some(final_due) => (TcaTimerKind::Final, final_due),
            None => (TcaTimerKind::Retire, after(at, millis(self.config.keep_without_session_ms))),
        };
        fx.schedule(end_timer(id), due, &payload(kind, id));
    }

    fn final_due(&self, order: &TcaOrder) -> Option<TimestampMicros> {
        order.closes_at.map(|close| after(close, millis(self.config.final_grace_ms)))
    }

    /// Writes the next revision of an order's row.
    fn write(&self, order: &mut TcaOrder, stage: QualityStage, state: &State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let (Some(pin), Some(reference)) = (order.arrival.clone(), order.reference.clone()) else { return Ok(()) };
        let children = children(state, &order.order_id);
        order.quality_revision = order.quality_revision.saturating_add(1);
        let occasion = Occasion { world: world(fx), config: &self.config, stage, now: fx.now() };
        let event_id = fx.next_id();
        let quality = row(order, &children, &pin, &reference, &occasion, event_id).map_err(number)?;
        let headers = vec![
            ("priority", order.terms.priority.to_string()),
            ("instrument_type", reference.asset_class.to_string()),
            ("stage", stage.to_string()),
        ];
        fx.emit_with(quality, headers);
        Ok(())
    }

    fn on_final(&self, order: &mut TcaOrder, state: &State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let id = order.order_id.clone();
        let (Some(close), Some(due)) = (order.closes_at, self.final_due(order)) else { return Ok(()) };
        let behind = order
            .reference
            .as_ref()
            .and_then(|reference| Reference::of(world(fx), &order.instrument_id, reference).behind(close));
        if behind.is_some() && fx.now() < after(due, millis(self.config.final_wait_ms)) {
            let again = after(fx.now(), millis(self.config.final_retry_ms));
            fx.schedule(end_timer(&id), again, &payload(TcaTimerKind::Final, &id));
            return Ok(());
        }
        order.finalised_at = Some(fx.now());
        fx.cancel(row_timer(&id));
        let retire = after(fx.now(), millis(self.config.keep_after_final_ms));
        fx.schedule(end_timer(&id), retire, &payload(TcaTimerKind::Retire, &id));
        self.write(order, QualityStage::Final, state, fx)
    }

    fn on_horizon(&self, order: &mut TcaOrder, fx: &mut Fx<'_>) {
        if let (Some(pin), Some(reference)) = (order.arrival.clone(), order.reference.clone()) {
            let instrument = order.instrument_id.clone();
            let at = fold::horizon_end(order, pin.arrived_at);
            // A miss is not final: the row asks again and says why.
            let _ = evidence::mid(&Reference::of(world(fx), &instrument, &reference), &mut order.horizon, at);
        }
        if let Some(due) = self.final_due(order) {
            fx.schedule(end_timer(&order.order_id), due, &payload(TcaTimerKind::Final, &order.order_id));
        }
    }
}

/// Keeps the mid at which the first child went out while the market's history is sure to hold it.
fn keep_first_child(order: &mut TcaOrder, fx: &Fx<'_>) {
    if let (Some(at), Some(reference)) = (order.first_child_at, order.reference.clone()) {
        let instrument = order.instrument_id.clone();
        // A miss is not final: the row asks again.
        let _ = evidence::mid(&Reference::of(world(fx), &instrument, &reference), &mut order.first_child, at);
    }
}

impl Stage for Tca {
    type In = In;
    type Out = Out;
    type Stores = State;
    type Timer = TcaTimer;

    const NAME: &'static str = "tca";
    const DOC: &'static str = "analyses the transaction costs of every parent order that ended";

    fn tables() -> Vec<TableDecl> {
        vec![TableDecl::of::<MarketTable>(), TableDecl::of::<ReferenceData>()]
    }

    fn on_record(&self, record: &Record<In>, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        match &record.value {
            In::Order(event) => self.on_order(event, state, fx),
            In::Strategy(event) => {
                self.on_strategy(event, state, fx);
                Ok(())
            }
        }
    }

    fn on_timer(&self, timer: &Timer<TcaTimer>, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let id = timer.payload.order_id.as_str();
        if timer.payload.kind == TcaTimerKind::Forget {
            state.algorithms.remove(id);
            return Ok(());
        }
        let Some(mut order) = state.orders.get(id).cloned() else { return Ok(()) };
        match timer.payload.kind {
            TcaTimerKind::Row => {
                let is_final = order.finalised_at.is_some();
                let stage = if is_final { QualityStage::Final } else { QualityStage::Preliminary };
                self.write(&mut order, stage, state, fx)?;
            }
            TcaTimerKind::Horizon => self.on_horizon(&mut order, fx),
            TcaTimerKind::Final => self.on_final(&mut order, state, fx)?,
            TcaTimerKind::Retire | TcaTimerKind::Forget => {
                fx.cancel(row_timer(id));
                forget(state, id);
                return Ok(());
            }
        }
        state.orders.put(id, order);
        Ok(())
    }
}
