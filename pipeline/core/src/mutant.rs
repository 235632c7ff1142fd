//! Seeded bugs, for checking the checkers. Without the feature `mutants` every question is answered `false` at compile
//! time, and nothing of this is left in a binary.
//!
//! A mutant changes what the code in production does at one place; the simulation turns one on for its own thread and
//! must find it by an invariant that does not know of it.

/// Whether the mutant `name` is turned on in this thread.
#[cfg(not(feature = "mutants"))]
#[must_use]
#[inline]
pub const fn is(_name: &str) -> bool {
    false
}

/// A number with eight decimal digits after it went through floating point, which a mutant lets happen.
#[cfg(not(feature = "mutants"))]
#[must_use]
#[inline]
pub const fn through_float(unscaled: i128) -> i128 {
    unscaled
}

/// A different number at every call, whatever a batch has done before: what a random generator is to a replay.
#[cfg(not(feature = "mutants"))]
#[must_use]
#[inline]
pub const fn random() -> u32 {
    0
}

/// The tables as they were before the last change, which a mutant lets a batch begin with.
#[cfg(not(feature = "mutants"))]
#[must_use]
#[inline]
pub const fn earlier_tables() -> Option<crate::table::Tables> {
    None
}

/// The token of an insert; a mutant makes another one at every call.
#[cfg(not(feature = "mutants"))]
#[must_use]
#[inline]
pub const fn token(token: &str) -> std::borrow::Cow<'_, str> {
    std::borrow::Cow::Borrowed(token)
}

/// Notes tables that are about to be replaced, for [`earlier_tables`].
#[cfg(not(feature = "mutants"))]
#[inline]
pub const fn replaced_tables(_tables: &crate::table::Tables) {}

#[cfg(feature = "mutants")]
pub use on::{RANDOM_TOKEN, SIMULATED, earlier_tables, is, random, replaced_tables, set, through_float, token};

#[cfg(feature = "mutants")]
mod on {
    use std::borrow::Cow;
    use std::cell::{Cell, RefCell};
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use crate::table::Tables;

    thread_local! {
        static ACTIVE: RefCell<Option<String>> = const { RefCell::new(None) };
        static DRAWN: Cell<u32> = const { Cell::new(0) };
        static EARLIER: RefCell<Option<Tables>> = const { RefCell::new(None) };
    }

    /// Mutants that the simulation can show.
    pub const SIMULATED: [&str; 22] = [
        "commit before produce",
        "offsets outside the transaction",
        "offset instead of offset + 1",
        "read uncommitted",
        "group metadata at commit time",
        "restore only to the last stable offset",
        "a missing offset read as earliest",
        "kept state used again unchecked",
        "unstable offsets taken as they are",
        "begin again on a suspect producer",
        "both transactional ids open at once",
        "timers not in the changelog",
        "overlay kept on poison",
        "no rollback after an abort",
        "table moved inside a batch",
        "table going back after a move",
        "journal without table rows",
        "random ClOrdID",
        "float quantities",
        "no fence before the wire",
        "unknown turned into rejected",
        "a limit leased as if nothing of it were",
    ];

    /// Whether an insert has another token at every try, in the whole process: only a real ClickHouse can show it.
    pub static RANDOM_TOKEN: AtomicBool = AtomicBool::new(false);
    static TOKENS: AtomicU64 = AtomicU64::new(0);

    /// See the module.
    pub fn token(token: &str) -> Cow<'_, str> {
        if RANDOM_TOKEN.load(Ordering::Relaxed) {
            Cow::Owned(format!("{token}-{}", TOKENS.fetch_add(1, Ordering::Relaxed)))
        } else {
            Cow::Borrowed(token)
        }
    }

    /// Turns a mutant on for this thread, or all of them off.
    pub fn set(name: Option<&str>) {
        ACTIVE.with_borrow_mut(|active| *active = name.map(str::to_owned));
        DRAWN.set(0);
        EARLIER.set(None);
    }

    /// See the module.
    #[must_use]
    pub fn is(name: &str) -> bool {
        ACTIVE.with_borrow(|active| active.as_deref() == Some(name))
    }

    /// See the module.
    #[must_use]
    #[expect(clippy::float_arithmetic, clippy::as_conversions, reason = "this is the bug")]
    pub fn through_float(unscaled: i128) -> i128 {
        if is("float quantities") { (unscaled as f64 / 1e8 * 1e8) as i128 } else { unscaled }
    }

    /// See the module.
    #[must_use]
    pub fn earlier_tables() -> Option<Tables> {
        if is("table moved inside a batch") { EARLIER.with_borrow(Clone::clone) } else { None }
    }

    /// See the module.
    pub fn replaced_tables(tables: &Tables) {
        if is("table moved inside a batch") {
            EARLIER.set(Some(tables.clone()));
        }
    }

    /// See the module.
    #[must_use]
    pub fn random() -> u32 {
        DRAWN.set(DRAWN.get().wrapping_add(1));
        DRAWN.get()
    }
}
