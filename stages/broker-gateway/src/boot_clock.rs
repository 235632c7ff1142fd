//! A clock that never goes back and counts the time in which the machine slept.

use std::time::Duration;

/// A moment since the machine was started, suspend included: a process that slept through its deadline must see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootInstant(Duration);

impl BootInstant {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        #[cfg(target_os = "linux")]
        let id = rustix::time::ClockId::Boottime;
        // Elsewhere the monotonic clock is the nearest there is; whether it counts suspend is the system's matter.
        #[cfg(not(target_os = "linux"))]
        let id = rustix::time::ClockId::Monotonic;
        let time = rustix::time::clock_gettime(id);
        let secs = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
        Self(Duration::new(secs, nanos))
    }

    /// So much later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }

    /// Time from now until this moment; zero when it has passed.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_sub(Self::now().0)
    }

    /// Time from this moment until now.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_passes() {
        let start = BootInstant::now();
        let deadline = start.plus(Duration::from_millis(1));
        while !deadline.left().is_zero() {
            std::hint::spin_loop();
        }
        assert!(start.elapsed() >= Duration::from_millis(1));
        assert!(BootInstant::now() >= deadline);
    }
}
