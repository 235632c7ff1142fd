//! What a portfolio entered lately by the wall clock: orders and value of a minute, value of a day.
//!
//! Approved orders count, whatever becomes of them. A second of the minute counts until all of it is a minute ago, so
//! that a window is never shorter than it is called.

use fillstream_domain::time::MICROS_PER_DAY;
use fillstream_domain::{Money, NumberError, Price, Rounding, TimestampMicros};
use fillstream_schemas::reference::RiskLimit;
use fillstream_schemas::state::{RiskEntered, RiskSecond};

const MICROS_PER_SECOND: i64 = 1_000_000;
/// Seconds after which a second has left the minute: its own length and the minute.
const KEPT_SECONDS: i64 = 61;

/// Whether a limit needs the counts; they begin with it.
pub(crate) fn is_limited(limit: &RiskLimit) -> bool {
    limit.max_orders_per_minute.is_some()
        || limit.max_entered_value_per_minute.is_some()
        || limit.max_entered_value_per_day.is_some()
}

/// What counts at `now`, in `currency`; `rate_of` gives it for one unit of the currency in which it was counted. `None`:
/// there is no such rate, or a figure is out of range.
pub(crate) fn as_of(
    kept: Option<&RiskEntered>,
    currency: &str,
    now: TimestampMicros,
    rate_of: impl Fn(&str) -> Option<Price>,
) -> Option<RiskEntered> {
    let day = day(now)?;
    let Some(kept) = kept else {
        return Some(RiskEntered { currency: currency.to_owned(), day, ..RiskEntered::default() });
    };
    let rate = if kept.currency == currency { Price::ONE } else { rate_of(&kept.currency)? };
    let converted = |value: Money| value.converted(rate, Rounding::AwayFromZero).ok();
    let fresh = kept.seconds.iter().filter(|second| left_at(second) > now.micros());
    let seconds = fresh.map(|second| Some(RiskSecond { value: converted(second.value)?, ..second.clone() }));
    Some(RiskEntered {
        currency: currency.to_owned(),
        day,
        day_value: if kept.day == day { converted(kept.day_value)? } else { Money::ZERO },
        seconds: seconds.collect::<Option<_>>()?,
    })
}

/// One more order of `value`.
pub(crate) fn with(entered: &RiskEntered, value: Money, now: TimestampMicros) -> Result<RiskEntered, NumberError> {
    let mut after = entered.clone();
    after.day_value = after.day_value.checked_add(value)?;
    let second = now.micros().div_euclid(MICROS_PER_SECOND);
    match after.seconds.last_mut().filter(|last| last.second == second) {
        Some(last) => {
            last.orders = last.orders.saturating_add(1);
            last.value = last.value.checked_add(value)?;
        }
        None => after.seconds.push(RiskSecond { second, orders: 1, value }),
    }
    Ok(after)
}

/// Orders of the minute.
pub(crate) fn orders(entered: &RiskEntered) -> i64 {
    entered.seconds.iter().map(|second| i64::from(second.orders)).sum()
}

/// Value of the minute.
pub(crate) fn value(entered: &RiskEntered) -> Result<Money, NumberError> {
    Money::sum(entered.seconds.iter().map(|second| second.value))
}

/// Milliseconds until one order of `more` fits the limits of the minute, if it will; 0: now.
pub(crate) fn wait_ms(entered: &RiskEntered, limit: &RiskLimit, more: Money, now: TimestampMicros) -> Option<i64> {
    let fits = |rest: &RiskEntered| {
        let orders_fit = limit.max_orders_per_minute.is_none_or(|max| orders(rest) < i64::from(max));
        let value_fits = limit
            .max_entered_value_per_minute
            .is_none_or(|max| value(rest).and_then(|sum| sum.checked_add(more)).is_ok_and(|sum| sum <= max));
        orders_fit && value_fits
    };
    let mut rest = entered.clone();
    let mut until = now.micros();
    while !fits(&rest) {
        if rest.seconds.is_empty() {
            return None;
        }
        until = left_at(&rest.seconds.remove(0));
    }
    // Up to the next millisecond, so that it fits when that has passed.
    Some((until - now.micros() + 999).div_euclid(1_000))
}

fn left_at(second: &RiskSecond) -> i64 {
    second.second.saturating_add(KEPT_SECONDS).saturating_mul(MICROS_PER_SECOND)
}

fn day(now: TimestampMicros) -> Option<i32> {
    i32::try_from(now.micros().div_euclid(MICROS_PER_DAY)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: i64) -> TimestampMicros {
        TimestampMicros::from_micros(ms * 1_000)
    }

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    fn counted(kept: &RiskEntered, ms: i64) -> RiskEntered {
        as_of(Some(kept), "USD", at(ms), |_| None).unwrap()
    }

    #[test]
    fn a_second_counts_until_all_of_it_is_a_minute_ago() {
        let empty = as_of(None, "USD", at(1_500), |_| None).unwrap();
        let one = with(&empty, money("10"), at(1_500)).unwrap();
        let two = with(&one, money("5"), at(1_999)).unwrap();
        assert_eq!((orders(&two), value(&two), two.seconds.len()), (2, Ok(money("15")), 1));
        assert_eq!(orders(&counted(&two, 61_999)), 2);
        assert_eq!(orders(&counted(&two, 62_000)), 0);
        assert_eq!(counted(&two, 62_000).day_value, money("15"));
        assert_eq!(counted(&two, 86_400_000).day_value, Money::ZERO, "the next day");
    }

    #[test]
    fn a_change_of_currency_needs_a_rate() {
        let one = with(&as_of(None, "USD", at(0), |_| None).unwrap(), money("10"), at(0)).unwrap();
        assert_eq!(as_of(Some(&one), "EUR", at(0), |_| None), None);
        let euros = as_of(Some(&one), "EUR", at(0), |from| (from == "USD").then(|| "0.5".parse().unwrap())).unwrap();
        assert_eq!((euros.day_value, value(&euros)), (money("5"), Ok(money("5"))));
    }

    #[test]
    fn what_never_fits_is_not_waited_for() {
        let limit = RiskLimit { max_entered_value_per_minute: Some(money("9")), ..RiskLimit::default() };
        let empty = as_of(None, "USD", at(0), |_| None).unwrap();
        assert_eq!(wait_ms(&empty, &limit, money("10"), at(0)), None);
        assert_eq!(wait_ms(&empty, &limit, money("9"), at(0)), Some(0));
    }

    proptest! {
        // Whatever is entered when: the count is never less than that of the last 60 seconds, never more than of 61, and
        // after the wait the next order fits.
        #[test]
        fn windows_are_never_short(steps in prop::collection::vec((0_i64..20_000, 1_i64..100), 1..60), max in 1_i32..8) {
            let limit = RiskLimit { max_orders_per_minute: Some(max), ..RiskLimit::default() };
            let (mut now, mut times, mut kept) = (0, Vec::new(), None);
            for (gap, worth) in steps {
                now += gap;
                let entered = as_of(kept.as_ref(), "USD", at(now), |_| None).unwrap();
                let within = |ms: i64| i64::try_from(times.iter().filter(|time| **time > now - ms).count()).unwrap();
                prop_assert!(within(60_000) <= orders(&entered) && orders(&entered) <= within(61_000));
                let wait = wait_ms(&entered, &limit, Money::ZERO, at(now)).unwrap();
                prop_assert_eq!(wait == 0, orders(&entered) < i64::from(max));
                let later = as_of(Some(&entered), "USD", at(now + wait), |_| None).unwrap();
                prop_assert!(orders(&later) < i64::from(max));
                kept = Some(with(&entered, Money::from_int(worth).unwrap(), at(now)).unwrap());
                times.push(now);
            }
        }
    }
}
