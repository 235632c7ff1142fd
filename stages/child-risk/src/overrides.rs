//! Overrides: one check of one order, for a while, with a reason, asked for by one person and confirmed by another of the
//! risk function. Everything else is checked as ever. Orders that are held for their size are released the same way.

use fillstream_domain::{TimestampMicros, avro_enum};
use fillstream_pre_trade_risk::checks::Checks;
use fillstream_schemas::execution::{AlertSeverity, RiskAlert, RiskAlertType, RiskOverride};
use fillstream_schemas::state::ChildRiskOverride;

use crate::config::Overrides;
use crate::reason::Reason;
use crate::{Fx, State, alerts};

avro_enum! {
    /// Closed codes of the answer to an override.
    pub enum OverrideAnswer {
        /// It is in force.
        Accepted = "OVERRIDE_ACCEPTED",
        /// The code is none that may be overridden.
        NotOverridable = "NOT_OVERRIDABLE",
        /// Two different people must be named.
        NotTwoPeople = "NOT_TWO_PEOPLE",
        /// The second person is not of the risk function.
        NotRiskOfficer = "NOT_RISK_OFFICER",
        /// No reason is given.
        NoReason = "NO_REASON",
        /// It is over already, or holds too long.
        NotTemporary = "NOT_TEMPORARY",
        /// The order is not open here.
        UnknownOrder = "UNKNOWN_ORDER",
    }
}

/// Whether a check may be overridden: figures that a person can answer for; never a kill, a list, a missing figure, what
/// an account can pay, or what keeps the pipeline consistent.
fn is_overridable(reason: Reason) -> bool {
    match reason {
        Reason::PriceCollar
        | Reason::MaxChildQuantity
        | Reason::MaxChildValue
        | Reason::TooManyChildren
        | Reason::OrderRate
        | Reason::OrderRateValue
        | Reason::MaxAccountPosition
        | Reason::HeldForRelease => true,
        Reason::TableUnavailable
        | Reason::Killed
        | Reason::UnknownParent
        | Reason::ParentNotOpen
        | Reason::ParentMismatch
        | Reason::StaleTerms
        | Reason::DuplicateClOrdId
        | Reason::UnknownInstrument
        | Reason::UnknownAccount
        | Reason::AccountInactive
        | Reason::UnknownVenue
        | Reason::VenueClosed
        | Reason::VenueNotForInstrument
        | Reason::UnknownBroker
        | Reason::BrokerNotAtVenue
        | Reason::BrokerNotForAccount
        | Reason::SessionMismatch
        | Reason::NoLimit
        | Reason::RestrictedInstrument
        | Reason::NoCalendar
        | Reason::MarketClosed
        | Reason::Halted
        | Reason::NoQuote
        | Reason::StaleQuote
        | Reason::OrdTypeUnsupported
        | Reason::LimitPriceInvalid
        | Reason::PriceNotPositive
        | Reason::QuantityNotPositive
        | Reason::NoFxRate
        | Reason::ExceedsLeaves
        | Reason::Expired
        | Reason::VenueNotPermitted
        | Reason::Paused
        | Reason::LimitsNotConfirmed
        | Reason::NotReconciled
        | Reason::MarketNotFresh
        | Reason::StrategyDisabled
        | Reason::SelfCross
        | Reason::AccountMessageRate
        | Reason::SessionMessageRate
        | Reason::RepeatedExecution
        | Reason::AccountChanged
        | Reason::ShortNotAllowed
        | Reason::NoMarkPrice
        | Reason::InsufficientBuyingPower
        | Reason::FigureOutOfRange => false,
    }
}

/// Takes an override in or refuses it, and says so.
pub(crate) fn take(asked: &RiskOverride, config: &Overrides, state: &mut State, fx: &mut Fx<'_>) {
    let answer = judge(asked, config, state, fx.now());
    let accepted = answer == OverrideAnswer::Accepted;
    if accepted {
        let held = ChildRiskOverride {
            order_id: asked.order_id.clone(),
            code: asked.code.clone(),
            actor: asked.actor.clone(),
            second_actor: asked.second_actor.clone(),
            reason: asked.reason.clone(),
            expires_at: asked.expires_at,
        };
        state.overrides.put(&key(&asked.order_id, &asked.code), held);
    }
    let text = format!(
        "{} of order {} until {} by {:?} and {:?}: {}",
        asked.code, asked.order_id, asked.expires_at, asked.actor, asked.second_actor, asked.reason
    );
    let alert = RiskAlert {
        event_id: fx.next_id(),
        timestamp: fx.now(),
        portfolio_id: asked.portfolio_id.clone(),
        alert_type: RiskAlertType::Override,
        severity: if accepted { AlertSeverity::Info } else { AlertSeverity::Warning },
        order_id: Some(asked.order_id.clone()),
        code: answer.as_str().to_owned(),
        text,
        ..RiskAlert::default()
    };
    alerts::emit(alert, fx);
}

fn judge(asked: &RiskOverride, config: &Overrides, state: &State, now: TimestampMicros) -> OverrideAnswer {
    let (actor, second) = (asked.actor.trim(), asked.second_actor.trim());
    let longest = i64::from(config.longest_minutes) * 60_000_000;
    let left = asked.expires_at.micros().saturating_sub(now.micros());
    let is_ours = |id: &str| id == asked.portfolio_id;
    if !asked.code.parse::<Reason>().is_ok_and(is_overridable) {
        OverrideAnswer::NotOverridable
    } else if actor.is_empty() || second.is_empty() || actor == second {
        OverrideAnswer::NotTwoPeople
    } else if !config.risk_officers.iter().any(|officer| officer == second) {
        OverrideAnswer::NotRiskOfficer
    } else if asked.reason.trim().is_empty() {
        OverrideAnswer::NoReason
    } else if left <= 0 || left > longest {
        OverrideAnswer::NotTemporary
    } else if !state.orders.get(&asked.order_id).is_some_and(|order| is_ours(&order.portfolio_id)) {
        OverrideAnswer::UnknownOrder
    } else {
        OverrideAnswer::Accepted
    }
}

/// Lets the failed checks pass that an override of the order covers.
pub(crate) fn apply(order_id: &str, state: &State, now: TimestampMicros, checks: &mut Checks) {
    for code in checks.codes() {
        if let Some(held) = state.overrides.get(&key(order_id, &code)).filter(|held| now < held.expires_at) {
            checks.waive(&code, &format!("{} and {}, {}", held.actor, held.second_actor, held.reason));
        }
    }
}

/// Forgets the overrides of an order.
pub(crate) fn forget(order_id: &str, state: &mut State) {
    let prefix = format!("{order_id}/");
    let of_order = state.overrides.with_prefix(&prefix).filter(|(_, held)| held.order_id == order_id);
    let keys: Vec<String> = of_order.map(|(key, _)| key.to_owned()).collect();
    keys.iter().for_each(|key| drop(state.overrides.remove(key)));
}

fn key(order_id: &str, code: &str) -> String {
    format!("{order_id}/{code}")
}
