//! Named places at which a test may end or stop the process: compiled in with the feature `failpoints` only.
//!
//! Between two neighbouring steps there is one place: after produce is before the offsets, after the offsets is before the
//! commit.

/// A place, by name.
#[inline]
pub fn fail_point(name: &str) {
    #[cfg(feature = "failpoints")]
    fail::fail_point!(name);
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
}

/// How far the OS clock seems to have jumped for the engine, microseconds.
#[cfg(feature = "failpoints")]
static CLOCK_JUMP_US: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);

/// Lets the OS clock seem to jump for the engine: so far, microseconds, until it is set to 0.
#[cfg(feature = "failpoints")]
pub fn jump_clock(us: i64) {
    CLOCK_JUMP_US.store(us, std::sync::atomic::Ordering::Relaxed);
}

#[inline]
pub(crate) fn clock_jump_us() -> i64 {
    #[cfg(feature = "failpoints")]
    return CLOCK_JUMP_US.load(std::sync::atomic::Ordering::Relaxed);
    #[cfg(not(feature = "failpoints"))]
    0
}

/// What happens at a place from now on: `action` runs in the thread that reaches it, each time.
///
/// # Errors
/// None for a callback.
#[cfg(feature = "failpoints")]
pub fn arm(name: &str, action: impl Fn() + Send + Sync + 'static) -> Result<(), String> {
    fail::cfg_callback(name, action)
}

/// Nothing happens at a place any more.
#[cfg(feature = "failpoints")]
pub fn disarm(name: &str) {
    fail::remove(name);
}

/// The transaction is begun, nothing is written.
pub const BEFORE_PRODUCE: &str = "engine.before-produce";
/// Every record is handed to the client, no offset is.
pub const AFTER_PRODUCE: &str = "engine.after-produce";
/// The offsets are in the transaction, it is not committed.
pub const AFTER_OFFSETS: &str = "engine.after-offsets";
/// The transaction is committed, the task does not know it.
pub const AFTER_COMMIT: &str = "engine.after-commit";

#[cfg(all(test, feature = "failpoints"))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn an_armed_place_acts_each_time_and_a_disarmed_one_not_any_more() {
        let reached = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&reached);
        fail_point("test.place");
        arm("test.place", move || drop(count.fetch_add(1, Ordering::Relaxed))).unwrap();
        fail_point("test.place");
        fail_point("test.place");
        fail_point("test.elsewhere");
        disarm("test.place");
        fail_point("test.place");
        assert_eq!(reached.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn the_clock_of_the_engine_jumps_and_comes_back() {
        let real = || i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap();
        jump_clock(3_600_000_000);
        let ahead = crate::driver::os_now_us() - real();
        jump_clock(0);
        assert!((3_599_000_000..=3_600_000_000).contains(&ahead), "{ahead}");
        assert!(crate::driver::os_now_us() <= real());
    }
}
