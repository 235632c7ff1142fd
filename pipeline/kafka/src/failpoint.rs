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
