//! A double that is a number.

use std::fmt;
use std::str::FromStr;

/// A finite `f64`: what a `double` of a contract holds.
///
/// Not-a-number and the infinities do not exist in a contract, so encoding cannot fail and records compare with `==`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Finite(f64);

impl Eq for Finite {}

/// A double that is infinite or not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a finite number")]
pub struct NotFinite;

impl Finite {
    /// Zero.
    pub const ZERO: Self = Self(0.0);

    /// The number, if it is finite.
    ///
    /// # Errors
    /// It is infinite or not a number.
    pub const fn new(number: f64) -> Result<Self, NotFinite> {
        if number.is_finite() { Ok(Self(number)) } else { Err(NotFinite) }
    }

    /// A constant of the source text; an infinite one is zero.
    #[must_use]
    pub const fn literal(number: f64) -> Self {
        if number.is_finite() { Self(number) } else { Self::ZERO }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Finite {
    type Error = NotFinite;

    fn try_from(number: f64) -> Result<Self, NotFinite> {
        Self::new(number)
    }
}

impl From<Finite> for f64 {
    fn from(number: Finite) -> Self {
        number.0
    }
}

impl FromStr for Finite {
    type Err = NotFinite;

    fn from_str(text: &str) -> Result<Self, NotFinite> {
        text.parse().map_err(|_| NotFinite).and_then(Self::new)
    }
}

impl fmt::Display for Finite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
