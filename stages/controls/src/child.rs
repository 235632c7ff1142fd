//! Probes of child risk.

use fillstream_child_risk::{ChildRisk, Config, Gate, Reason};
use fillstream_domain::{Money, OrdType, Price, Quantity, Side};
use fillstream_reference::ControlCommand;
use fillstream_schemas::execution::{ChildOrder, OrderEvent, OrderEventType, RiskAlert, RiskAlertType, RoutingPlan};

use crate::situation::{Change, Situation, at, halt, order, plan};
use crate::{ControlsError, Tried};

const PROBES: &[(Reason, Change)] = &[
    (Reason::Killed, |s| {
        s.firm = Some(ControlCommand::Kill);
        Ok(())
    }),
    (Reason::Paused, |s| {
        s.firm = Some(ControlCommand::Pause);
        Ok(())
    }),
    (Reason::NoLimit, |s| {
        s.limit = None;
        Ok(())
    }),
    (Reason::UnknownAccount, |s| {
        s.account.portfolio_id = "P2".to_owned();
        Ok(())
    }),
    (Reason::AccountInactive, |s| {
        s.account.is_active = false;
        Ok(())
    }),
    (Reason::BrokerNotForAccount, |s| {
        s.account.brokers.clear();
        Ok(())
    }),
    (Reason::RestrictedInstrument, |s| {
        s.limit().restricted.push("ACME".to_owned());
        Ok(())
    }),
    (Reason::VenueNotPermitted, |s| {
        s.limit().child_permitted_venues.push("XB".to_owned());
        Ok(())
    }),
    (Reason::Halted, |s| {
        s.market.push(halt());
        Ok(())
    }),
    (Reason::MarketClosed, |s| {
        s.calendar.closes_at_us = 12 * 3_600_000_000;
        Ok(())
    }),
    (Reason::StaleQuote, |s| {
        s.limit().max_quote_age_ms = 999;
        Ok(())
    }),
    // The ask is 100, the collar 1 %.
    (Reason::PriceCollar, |s| {
        s.plan = limited(&s.plan, Price::from_int(102)?);
        Ok(())
    }),
    (Reason::MaxChildQuantity, |s| {
        s.limit().max_child_quantity = Quantity::ONE;
        Ok(())
    }),
    (Reason::MaxChildValue, |s| {
        s.limit().max_child_value = Money::from_int(199)?;
        Ok(())
    }),
    (Reason::ExceedsLeaves, |s| {
        s.before = (2..=5).map(|slice| plan("O1", Side::Buy, slice)).collect::<Result<_, _>>()?;
        s.before.push(plan("O1", Side::Buy, 6)?);
        Ok(())
    }),
    (Reason::StaleTerms, |s| {
        let (created, event_type) = (order("O1", Side::Buy)?, OrderEventType::Replaced);
        s.orders.push(OrderEvent { event_id: "O1-2".to_owned(), revision: 2, event_type, ..created });
        Ok(())
    }),
    (Reason::TooManyChildren, |s| {
        s.max_children = 1;
        s.before.push(plan("O1", Side::Buy, 2)?);
        Ok(())
    }),
    (Reason::DuplicateClOrdId, |s| {
        s.before.push(s.plan.clone());
        Ok(())
    }),
    (Reason::LimitsNotConfirmed, |s| {
        s.gate = true;
        s.limit().child_confirmed_at = None;
        Ok(())
    }),
    (Reason::NotReconciled, |s| {
        s.gate = true;
        s.account.reconciled_at = None;
        Ok(())
    }),
    (Reason::MarketNotFresh, |s| {
        s.gate = true;
        s.later_us = 3_000_000;
        Ok(())
    }),
    (Reason::RepeatedExecution, |s| {
        s.limit().child_max_repeats = Some(1);
        s.before.push(plan("O1", Side::Buy, 2)?);
        Ok(())
    }),
    // The second of those before disabled it; the window is over.
    (Reason::StrategyDisabled, |s| {
        s.limit().child_max_repeats = Some(1);
        s.limit().child_repeat_window_ms = 100;
        s.before = vec![plan("O1", Side::Buy, 2)?, plan("O1", Side::Buy, 3)?];
        s.later_us = 1_000_000;
        Ok(())
    }),
    // 10 are ordered, at 100.
    (Reason::HeldForRelease, |s| {
        s.limit().child_hold_value = Some(Money::from_int(999)?);
        Ok(())
    }),
    (Reason::SelfCross, |s| {
        s.limit().child_refuse_self_cross = true;
        s.orders.push(order("O2", Side::Sell)?);
        s.before.push(limited(&plan("O2", Side::Sell, 1)?, Price::from_int(101)?));
        Ok(())
    }),
    (Reason::AccountMessageRate, |s| {
        s.limit().message_max_per_account = Some(1);
        s.before.push(plan("O1", Side::Buy, 2)?);
        Ok(())
    }),
    (Reason::SessionMessageRate, |s| {
        s.limit().message_max_per_session = Some(1);
        s.before.push(plan("O1", Side::Buy, 2)?);
        Ok(())
    }),
    (Reason::OrderRate, |s| {
        s.limit().child_max_orders = Some(1);
        s.before.push(plan("O1", Side::Buy, 2)?);
        Ok(())
    }),
    (Reason::OrderRateValue, |s| {
        s.limit().child_max_orders_value = Some(Money::from_int(399)?);
        s.before.push(plan("O1", Side::Buy, 2)?);
        Ok(())
    }),
    (Reason::ShortNotAllowed, |s| {
        s.account.positions.clear();
        s.orders = vec![order("O1", Side::Sell)?];
        s.plan.side = Side::Sell;
        Ok(())
    }),
    // 50 are held already.
    (Reason::MaxAccountPosition, |s| {
        s.limit().account_max_position_value = Some(Money::from_int(5_251)?);
        Ok(())
    }),
    (Reason::InsufficientBuyingPower, |s| {
        s.account.cash = Money::from_int(202)?;
        Ok(())
    }),
];

fn limited(plan: &RoutingPlan, limit: Price) -> RoutingPlan {
    RoutingPlan { ord_type: OrdType::Limit, limit_price: Some(limit), ..plan.clone() }
}

/// The codes that come out without and with the cause of `code`; `None`: there is no probe of it.
pub(crate) fn probe(code: &str) -> Result<Option<Tried>, ControlsError> {
    let Some((_, change)) = PROBES.iter().find(|(reason, _)| reason.as_str() == code) else { return Ok(None) };
    let mut situation = Situation::new()?;
    let before = codes(&situation)?;
    change(&mut situation)?;
    Ok(Some(Tried { before, after: codes(&situation)? }))
}

// Codes of every failed check of the plan that is asked about.
fn codes(situation: &Situation) -> Result<Vec<String>, ControlsError> {
    let gate = Gate { enabled: situation.gate, max_market_silence_ms: 2_000, ..Gate::default() };
    let config = Config { max_children_per_order: situation.max_children, gate, ..Config::default() };
    let mut bench = situation.bench(ChildRisk::new(config).map_err(ControlsError::Stage)?)?;
    for order in &situation.orders {
        bench.record("execution.orders.v1", order);
    }
    for plan in &situation.before {
        bench.record("execution.routing-plans.v1", plan);
    }
    bench.take::<ChildOrder>();
    bench.take::<RiskAlert>();
    bench.at(at(situation.later_us)).restart().record("execution.routing-plans.v1", &situation.plan);
    let refused = bench.take::<RiskAlert>().into_iter().filter(|a| a.alert_type == RiskAlertType::ChildRejected);
    let failed = refused.flat_map(|alert| alert.checks).filter(|check| !check.passed);
    Ok(failed.filter_map(|check| check.code).collect())
}
