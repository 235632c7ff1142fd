//! What would pass instead of a refused order: a closed list, each with its figure.

use std::fmt;

use fillstream_domain::{Price, Quantity};

/// A recommendation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    /// This quantity passes now, units.
    ReduceTo(Quantity),
    /// The quantity passes with this limit, quote currency.
    UseLimit(Price),
    /// Spread evenly over so many trading days the quantity is within the share of daily volume.
    SplitOver(i64),
    /// The order passes the limits on time in so many milliseconds.
    Wait(i64),
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReduceTo(quantity) => write!(f, "REDUCE_TO:{quantity}"),
            Self::UseLimit(price) => write!(f, "USE_LIMIT:{price}"),
            Self::SplitOver(days) => write!(f, "SPLIT_OVER:{days}"),
            Self::Wait(ms) => write!(f, "WAIT:{ms}"),
        }
    }
}
