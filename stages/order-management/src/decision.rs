//! A decision becomes an order or a reasoned rejection.

use fillstream_core::error::Poison;
use fillstream_core::lineage::Lineage;
use fillstream_domain::{AssetClass, Money, Priority, Quantity, TimestampMicros, Turnover};
use fillstream_reference::{Controls, MarketTable, ReferenceData};
use fillstream_schemas::coordination::CoordinatedTradingDecision;
use fillstream_schemas::execution::{OrderEvent, OrderEventType, ParentStatus};
use fillstream_schemas::state::{OmsOrder, OmsTimer, OmsTimerKind};

use crate::config::{Config, micros};
use crate::dedupe::{Admission, Kind, admit};
use crate::lifecycle::{Saying, Work, timer_key};
use crate::reason::Reason;
use crate::validate::{Accepted, Refusal, World, side_asked, validate};
use crate::{Fx, OrderManagement, State, chain};

/// The order of a decision: the same at every replay, so a command can name the decision instead.
#[must_use]
pub fn order_id(portfolio_id: &str, decision_event_id: &str) -> String {
    // The portfolio's length first: ("a", "b/c") and ("a/b", "c") are two decisions.
    Lineage::root(&format!("order/{}/{portfolio_id}", portfolio_id.len()), decision_event_id).to_string()
}

impl OrderManagement {
    pub(crate) fn on_decision(
        &self,
        decision: &CoordinatedTradingDecision,
        state: &mut State,
        fx: &mut Fx<'_>,
    ) -> Result<(), Poison> {
        let portfolio = self.config.portfolio(&decision.portfolio_id).to_owned();
        let id = (Kind::Decision, decision.event_id.as_str(), decision.timestamp);
        let order_id = order_id(&portfolio, &decision.event_id);
        match admit(&self.config, state, fx, id, decision) {
            Admission::Repeat => Ok(()),
            Admission::First => self.admitted(decision, &portfolio, order_id, state, fx),
            Admission::Apart(salt) => {
                fx.fork(&salt);
                self.admitted(decision, &portfolio, self::order_id(&order_id, &salt), state, fx)
            }
            Admission::Conflict(salt) => {
                fx.fork(&salt);
                let text = format!("event_id {:?} was used before with other content", decision.event_id);
                let refusals = [Refusal::new(Reason::DuplicateConflict, text)];
                reject(decision, &portfolio, self::order_id(&order_id, &salt), &refusals, (state, fx));
                Ok(())
            }
        }
    }

    fn admitted(
        &self,
        decision: &CoordinatedTradingDecision,
        portfolio: &str,
        order_id: String,
        state: &mut State,
        fx: &mut Fx<'_>,
    ) -> Result<(), Poison> {
        if self.is_put_off(decision) {
            Self::put_off(decision, portfolio, order_id, state, fx);
            return Ok(());
        }
        self.honour(decision, portfolio, order_id, None, (state, fx))
    }

    /// Judges a decision. `trace`: the span in which it came, where that is not the one in hand.
    pub(crate) fn honour(
        &self,
        decision: &CoordinatedTradingDecision,
        portfolio: &str,
        order_id: String,
        trace: Option<Vec<u8>>,
        (state, fx): (&mut State, &mut Fx<'_>),
    ) -> Result<(), Poison> {
        let world = World {
            config: &self.config,
            now: fx.now(),
            market: fx.table::<MarketTable>(),
            reference: fx.table::<ReferenceData>(),
            controls: fx.table::<Controls>(),
        };
        match validate(&world, decision, portfolio) {
            Ok(accepted) => {
                let trace = trace.unwrap_or_else(|| fx.trace().to_bytes());
                self.create(decision, portfolio, (order_id, trace), accepted, state, fx)
            }
            Err(refusals) => {
                reject(decision, portfolio, order_id, &refusals, (state, fx));
                Ok(())
            }
        }
    }

    fn create(
        &self,
        decision: &CoordinatedTradingDecision,
        portfolio: &str,
        (order_id, trace): (String, Vec<u8>),
        accepted: Accepted,
        state: &mut State,
        fx: &mut Fx<'_>,
    ) -> Result<(), Poison> {
        let order = OmsOrder {
            order_id,
            portfolio_id: portfolio.to_owned(),
            instrument_id: decision.decision.instrument_id.clone(),
            asset_class: accepted.asset_class,
            decision_event_id: decision.event_id.clone(),
            side: accepted.side,
            ord_qty: accepted.quantity,
            terms: accepted.terms.clone(),
            created_at: fx.now(),
            trace: Some(trace),
            ..OmsOrder::default()
        };
        schedule_kill_check(&self.config, fx);
        let mut work = Work::create(&self.config, state, fx, order);
        work.watch_time();
        let reason = accepted.note.map(|note| (note.reason.as_str().to_owned(), note.text));
        let actor = chain::decided_by(decision);
        work.event(
            OrderEventType::Created,
            Saying { reason, terms: Some(accepted.terms), actor, ..Saying::default() },
        )?;
        let Work { state, order, .. } = work;
        let order_id = order.order_id.clone();
        state.orders.put(&order_id, order);
        Ok(())
    }
}

/// The next moment at which all open orders are held against the controls: on a grid, one timer for all of them.
pub(crate) fn schedule_kill_check(config: &Config, fx: &mut Fx<'_>) {
    let interval = micros(config.kill_check_interval_ms);
    if interval > 0 {
        let now = fx.now().micros();
        let due = now.div_euclid(interval).saturating_add(1).saturating_mul(interval);
        let timer = OmsTimer { kind: OmsTimerKind::KillCheck, ..OmsTimer::default() };
        fx.schedule_apart(timer_key(OmsTimerKind::KillCheck, ""), TimestampMicros::from_micros(due), &timer);
    }
}

/// The one event of a decision that is refused: an order that ends with its first revision. It fills in what the decision
/// says; a quantity that is none is zero.
fn reject(
    decision: &CoordinatedTradingDecision,
    portfolio: &str,
    order_id: String,
    refusals: &[Refusal],
    (state, fx): (&mut State, &mut Fx<'_>),
) {
    let quantity = decision.decision.share_quantity.and_then(|q| Quantity::try_from(q).ok()).unwrap_or(Quantity::ZERO);
    let text: Vec<_> = refusals.iter().map(|r| format!("{}: {}", r.reason, r.text)).collect();
    let reason = refusals.first().map_or(Reason::FigureOutOfRange, |r| r.reason);
    let event = OrderEvent {
        event_id: fx.next_id(),
        timestamp: fx.now(),
        order_id,
        portfolio_id: portfolio.to_owned(),
        account_id: None,
        instrument_id: decision.decision.instrument_id.clone(),
        decision_event_id: decision.event_id.clone(),
        revision: 1,
        event_type: OrderEventType::Rejected,
        status: ParentStatus::Rejected,
        is_terminal: true,
        reason_code: Some(reason.as_str().to_owned()),
        reason_text: Some(text.join("; ")),
        side: side_asked(decision),
        ord_qty: quantity,
        cum_qty: Quantity::ZERO,
        leaves_qty: Quantity::ZERO,
        cancelled_qty: quantity,
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
        command_id: None,
    };
    let entry = chain::entry(state, &event, &chain::decided_by(decision));
    let mut headers = vec![("status", ParentStatus::Rejected.to_string())];
    // Only words that we know: subscribers filter by them.
    headers.extend(Priority::parse_alias(&decision.decision.priority).map(|p| ("priority", p.to_string())));
    let class = decision.instrument_type.as_deref().and_then(|class| AssetClass::parse_alias(class).ok());
    headers.extend(class.map(|class| ("instrument_type", class.to_string())));
    if reason == Reason::DuplicateConflict {
        headers.push(("severity", "CRITICAL".to_owned()));
    }
    fx.emit_with(event, headers);
    entry.into_iter().for_each(|entry| fx.emit(entry));
}
