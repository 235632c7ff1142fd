//! Schedules: how much may be released when. Pure functions of the order's state.

use fillstream_domain::{NumberError, Quantity, Rounding, TimestampMicros, mul_div_i128};
use fillstream_schemas::state::StrategyOrder;

use crate::config::Config;

/// Shape of a schedule: number of slots and time between them.
///
/// A slot a `twap_interval_s`, at most `twap_max_slots`, and never so many that a slot falls below a lot.
///
/// # Errors
/// A lot that is not positive.
pub fn twap_shape(
    quantity: Quantity,
    lot: Quantity,
    horizon_us: i64,
    config: &Config,
) -> Result<(i32, i64), NumberError> {
    let by_time = horizon_us / config.twap_interval_s.saturating_mul(1_000_000).max(1);
    let lots = if lot.is_positive() {
        i64::try_from(quantity.unscaled() / lot.unscaled()).unwrap_or(i64::MAX)
    } else {
        return Err(NumberError::NotPositive { name: "lot" });
    };
    let slots = by_time.min(lots).clamp(1, i64::from(config.twap_max_slots));
    let interval = (horizon_us / slots).max(1);
    Ok((i32::try_from(slots).unwrap_or(1), interval))
}

/// Quantity still held by children or on its way to them.
///
/// # Errors
/// Out of range.
pub fn outstanding(order: &StrategyOrder) -> Result<Quantity, NumberError> {
    let children = order.children.iter().map(|c| c.leaves_qty);
    Quantity::sum(children.chain(order.in_flight.iter().map(|s| s.quantity)))
}

/// Parent leaves less what children hold (trading rule 4); never below zero, even while an overfill is being booked.
///
/// # Errors
/// Out of range.
pub fn releasable(order: &StrategyOrder) -> Result<Quantity, NumberError> {
    Ok(order.ord_qty.less_at_most(order.cum_qty).less_at_most(outstanding(order)?))
}

/// What was used when the schedule was made: its targets are shares of the rest.
fn base(order: &StrategyOrder) -> Quantity {
    order.base_qty.unwrap_or_default().min(order.ord_qty)
}

/// Where the schedule wants to be with slot `slot` (from 1): what was used when it was made, and its target of the rest, rounded
/// down to the lot; all of it with the last.
///
/// # Errors
/// Out of range, or a lot that is not positive.
pub fn target_at(order: &StrategyOrder, slot: i32) -> Result<Quantity, NumberError> {
    if slot >= order.slots {
        return Ok(order.ord_qty);
    }
    if slot <= 0 {
        return Ok(base(order));
    }
    let whole = order.ord_qty.less_at_most(base(order));
    let place = usize::try_from(slot.saturating_sub(1)).unwrap_or_default();
    let share = match order.targets.get(place) {
        Some(share) => whole.share(*share, Rounding::Floor)?,
        None => mul_div_i128(whole.unscaled(), i128::from(slot), i128::from(order.slots), Rounding::Floor)
            .and_then(Quantity::from_unscaled)?,
    };
    base(order).checked_add(share.floor_to_lot(order.terms.lot_size)?)
}

/// What slot `slot` (from 1) releases: up to its target, less what is filled or outstanding. The last slot releases
/// everything left; the ones before it never more than `catch_up_slices` regular slices, so a pause does not turn into a
/// burst (trading rule 32). A regular slice is the slot's own, or an even one where that is more.
///
/// # Errors
/// Out of range, or a lot that is not positive.
pub fn slot_quantity(order: &StrategyOrder, slot: i32, config: &Config) -> Result<Quantity, NumberError> {
    let free = releasable(order)?;
    if slot >= order.slots {
        return Ok(free);
    }
    let used = order.cum_qty.checked_add(outstanding(order)?)?;
    let target = target_at(order, slot)?;
    let own = target.less_at_most(target_at(order, slot.saturating_sub(1))?);
    let whole = order.ord_qty.less_at_most(base(order));
    let even = mul_div_i128(whole.unscaled(), 1, i128::from(order.slots), Rounding::Floor)
        .and_then(Quantity::from_unscaled)?
        .floor_to_lot(order.terms.lot_size)?;
    let regular = own.max(even).max(order.terms.lot_size);
    let cap = mul_div_i128(regular.unscaled(), i128::from(config.catch_up_slices), 1, Rounding::Floor)
        .and_then(Quantity::from_unscaled)?;
    Ok(target.less_at_most(used).min(cap).min(free))
}

/// The slot that `now` has reached, from 1: after downtime a schedule goes on where it should be by now.
#[must_use]
pub fn slot_at(order: &StrategyOrder, now: TimestampMicros) -> i32 {
    let elapsed = now.micros().saturating_sub(order.starts_at.micros()).max(0);
    let slot = elapsed / order.interval_us.max(1);
    i32::try_from(slot.saturating_add(1)).unwrap_or(i32::MAX).min(order.slots)
}

/// When slot `slot` (from 1) is due.
#[must_use]
pub fn slot_due(order: &StrategyOrder, slot: i32) -> TimestampMicros {
    let offset = order.interval_us.saturating_mul(i64::from(slot).saturating_sub(1));
    TimestampMicros::from_micros(order.starts_at.micros().saturating_add(offset))
}

#[cfg(test)]
mod tests {
    use fillstream_schemas::execution::OrderTerms;
    use fillstream_schemas::state::StrategyChild;
    use proptest::prelude::*;

    use super::*;

    fn order(quantity: &str, lot: &str, slots: i32) -> StrategyOrder {
        StrategyOrder {
            ord_qty: quantity.parse().unwrap(),
            terms: OrderTerms { lot_size: lot.parse().unwrap(), ..OrderTerms::default() },
            slots,
            interval_us: 20_000_000,
            ..StrategyOrder::default()
        }
    }

    fn run(mut order: StrategyOrder) -> Vec<Quantity> {
        let config = Config::default();
        (1..=order.slots)
            .map(|slot| {
                let q = slot_quantity(&order, slot, &config).unwrap();
                order.cum_qty = order.cum_qty.checked_add(q).unwrap();
                q
            })
            .collect()
    }

    /// Published vectors: 1.2 over 60 s every 20 s is 3 x 0.4; 1.0 is three slices of at least a lot, exact in sum.
    #[test]
    fn published_schedules() {
        let config = Config::default();
        let minute = 60_000_000;
        let (q, lot) = ("1.2".parse().unwrap(), "0.1".parse().unwrap());
        assert_eq!(twap_shape(q, lot, minute, &config).unwrap(), (3, 20_000_000));
        assert_eq!(run(order("1.2", "0.1", 3)), ["0.4", "0.4", "0.4"].map(|q| q.parse().unwrap()));
        let slices = run(order("1.0", "0.1", 3));
        assert_eq!(Quantity::sum(slices.iter().copied()).unwrap(), "1".parse().unwrap());
        assert!(slices.iter().all(|s| *s >= lot));
    }

    #[test]
    fn never_more_slots_than_lots() {
        let config = Config::default();
        assert_eq!(twap_shape("2".parse().unwrap(), "1".parse().unwrap(), 3_600_000_000, &config).unwrap().0, 2);
        assert!(twap_shape("2".parse().unwrap(), Quantity::ZERO, 1, &config).is_err());
    }

    /// Trading rule 32: after a pause no burst of overdue slices.
    #[test]
    fn rule_32_catch_up_is_capped() {
        let config = Config::default();
        let order = order("100", "1", 10);
        assert_eq!(slot_quantity(&order, 8, &config).unwrap(), Quantity::from_int(20).unwrap());
        assert_eq!(slot_quantity(&order, 10, &config).unwrap(), Quantity::from_int(100).unwrap());
    }

    /// Trading rule 4: what children hold is not released again.
    #[test]
    fn rule_4_working_quantity_is_not_released_again() {
        let mut o = order("100", "1", 2);
        o.children.push(StrategyChild { cl_ord_id: "c".into(), leaves_qty: Quantity::from_int(30).unwrap() });
        o.cum_qty = Quantity::from_int(60).unwrap();
        assert_eq!(slot_quantity(&o, 2, &Config::default()).unwrap(), Quantity::from_int(10).unwrap());
    }

    #[test]
    fn a_schedule_goes_on_where_it_should_be() {
        let o = order("100", "1", 5);
        let at = |s: i64| slot_at(&o, TimestampMicros::from_micros(s * 1_000_000));
        assert_eq!([at(0), at(19), at(20), at(99), at(1_000)], [1, 1, 2, 5, 5]);
        assert_eq!(slot_due(&o, 3).micros(), 40_000_000);
    }

    proptest! {
        /// Whatever is filled in between, the slices add up to the order and each is whole lots.
        #[test]
        fn slices_add_up(lots in 1_i64..10_000, slots in 1_i32..60, lot in 1_i64..50) {
            let slots = slots.min(i32::try_from(lots).unwrap());
            let o = order(&(lots * lot).to_string(), &lot.to_string(), slots);
            let slices = run(o.clone());
            prop_assert_eq!(Quantity::sum(slices.iter().copied()).unwrap(), o.ord_qty);
            for s in slices {
                prop_assert!(s.is_zero() || s.is_whole_lots(o.terms.lot_size));
            }
        }
    }
}
