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

#[cfg(feature = "mutants")]
pub use on::{ALL, is, random, set, through_float};

#[cfg(feature = "mutants")]
mod on {
    use std::cell::{Cell, RefCell};

    thread_local! {
        static ACTIVE: RefCell<Option<String>> = const { RefCell::new(None) };
        static DRAWN: Cell<u32> = const { Cell::new(0) };
    }

    /// Every mutant.
    pub const ALL: [&str; 17] = [
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
        "timers not in the changelog",
        "overlay kept on poison",
        "no rollback after an abort",
        "random ClOrdID",
        "float quantities",
        "no fence before the wire",
        "unknown turned into rejected",
    ];

    /// Turns a mutant on for this thread, or all of them off.
    pub fn set(name: Option<&str>) {
        ACTIVE.with_borrow_mut(|active| *active = name.map(str::to_owned));
        DRAWN.set(0);
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
    pub fn random() -> u32 {
        DRAWN.set(DRAWN.get().wrapping_add(1));
        DRAWN.get()
    }
}
