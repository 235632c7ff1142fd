//! The OS clock, distrusted.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::failpoint::clock_jump_us;

/// The OS clock cannot be used now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClockFault(pub(super) String);

/// The OS clock, checked against the monotonic one and against what was journalled.
pub(super) struct Clock {
    tolerance_us: i64,
    last: Option<(i64, Instant)>,
}

impl Clock {
    pub(super) fn new(tolerance_ms: i64) -> Self {
        Self { tolerance_us: tolerance_ms.saturating_mul(1_000), last: None }
    }

    /// OS time, microseconds UTC, if it has not jumped ahead since the last call and is not behind `floor_us`.
    pub(super) fn now(&mut self, floor_us: i64) -> Result<i64, ClockFault> {
        self.check(os_now_us(), Instant::now(), floor_us)
    }

    fn check(&mut self, os_us: i64, monotonic: Instant, floor_us: i64) -> Result<i64, ClockFault> {
        if os_us < floor_us.saturating_sub(self.tolerance_us) {
            return Err(ClockFault(format!(
                "the OS clock is {} us behind the last batch",
                floor_us.saturating_sub(os_us)
            )));
        }
        if let Some((last_us, then)) = self.last {
            let passed = i64::try_from(monotonic.saturating_duration_since(then).as_micros()).unwrap_or(i64::MAX);
            let ahead = os_us.saturating_sub(last_us).saturating_sub(passed);
            if ahead > self.tolerance_us {
                // The base stays, so that the fault lasts until the clock is back or the process is started again.
                return Err(ClockFault(format!("the OS clock jumped {ahead} us ahead")));
            }
        }
        self.last = Some((os_us, monotonic));
        Ok(os_us)
    }
}

/// OS time, microseconds UTC.
pub(crate) fn os_now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX).saturating_add(clock_jump_us())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_ahead_is_refused_until_it_is_back() {
        let mut clock = Clock::new(2_000);
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(clock.check(0, start, 0), Ok(0));
        assert!(clock.check(3_500_000, start + second, 0).is_err());
        assert!(clock.check(4_500_000, start + 2 * second, 0).is_err());
        assert_eq!(clock.check(4_500_000, start + 3 * second, 0), Ok(4_500_000));
    }

    #[test]
    fn a_clock_behind_the_journal_is_refused() {
        let mut clock = Clock::new(2_000);
        assert!(clock.check(1_000_000, Instant::now(), 3_000_001).is_err());
        assert_eq!(clock.check(1_000_001, Instant::now(), 3_000_001), Ok(1_000_001));
    }
}
