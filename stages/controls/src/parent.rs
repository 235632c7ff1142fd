//! Probes of parent risk.

use fillstream_domain::{Money, Quantity, Side};
use fillstream_pre_trade_risk::{Config, PreTradeRisk, Reason};
use fillstream_reference::ControlCommand;
use fillstream_schemas::execution::ValidatedOrder;

use crate::situation::{Change, Situation, halt, order};
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
    (Reason::RestrictedInstrument, |s| {
        s.limit().restricted.push("ACME".to_owned());
        Ok(())
    }),
    (Reason::AccountInactive, |s| {
        s.account.is_active = false;
        Ok(())
    }),
    (Reason::Halted, |s| {
        s.market.push(halt());
        Ok(())
    }),
    (Reason::StaleQuote, |s| {
        s.limit().max_quote_age_ms = 999;
        Ok(())
    }),
    (Reason::MaxOrderQuantity, |s| {
        s.limit().max_order_quantity = Quantity::from_int(9)?;
        Ok(())
    }),
    // 10 at 100 and the collar of 1 %.
    (Reason::MaxOrderValue, |s| {
        s.limit().max_order_value = Money::from_int(1_009)?;
        Ok(())
    }),
    // 50 are held already.
    (Reason::MaxPositionValue, |s| {
        s.limit().max_position_value = Money::from_int(6_059)?;
        Ok(())
    }),
    (Reason::MaxGrossValue, |s| {
        s.limit().max_gross_value = Money::from_int(6_059)?;
        Ok(())
    }),
    (Reason::InsufficientBuyingPower, |s| {
        s.account.cash = Money::from_int(1_009)?;
        Ok(())
    }),
    (Reason::ShortNotAllowed, |s| {
        s.account.positions.clear();
        s.orders = vec![order("O1", Side::Sell)?];
        Ok(())
    }),
];

/// The codes that come out without and with the cause of `code`; `None`: there is no probe of it.
pub(crate) fn probe(code: &str) -> Result<Option<Tried>, ControlsError> {
    let Some((_, change)) = PROBES.iter().find(|(reason, _)| reason.as_str() == code) else { return Ok(None) };
    let mut situation = Situation::new()?;
    let before = codes(&situation)?;
    change(&mut situation)?;
    Ok(Some(Tried { before, after: codes(&situation)? }))
}

// Codes of the verdict on the order.
fn codes(situation: &Situation) -> Result<Vec<String>, ControlsError> {
    let stage = PreTradeRisk::new(Config::default()).map_err(ControlsError::Stage)?;
    let mut bench = situation.bench(stage)?;
    for order in &situation.orders {
        bench.record("execution.orders.v1", order);
    }
    let verdicts = bench.take::<ValidatedOrder>();
    Ok(verdicts.into_iter().filter(|verdict| !verdict.is_approved).flat_map(|verdict| verdict.reason_codes).collect())
}
