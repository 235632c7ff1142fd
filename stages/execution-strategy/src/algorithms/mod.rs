//! The algorithms: each a target (a share of the order by time), a price, or a condition; none releases anything itself.

pub(crate) mod arrival_price;
pub(crate) mod iceberg;
pub(crate) mod implementation_shortfall;
pub(crate) mod pov;
pub(crate) mod resting;
pub(crate) mod sniper;
pub(crate) mod vwap;

use fillstream_domain::Algorithm;

/// What an algorithm is driven by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drive {
    /// Slots at fixed times, each with a target.
    Slots,
    /// A price at which children rest.
    Rest,
    /// Looks at the market again and again.
    Watch,
}

/// How an algorithm is driven.
pub(crate) const fn drive(algorithm: Algorithm) -> Drive {
    match algorithm {
        Algorithm::Auto
        | Algorithm::Market
        | Algorithm::Twap
        | Algorithm::Vwap
        | Algorithm::ImplementationShortfall
        | Algorithm::ArrivalPrice => Drive::Slots,
        Algorithm::Limit | Algorithm::Iceberg => Drive::Rest,
        Algorithm::Sniper | Algorithm::Pov => Drive::Watch,
    }
}

/// Whether the order is spread over slots.
pub(crate) const fn has_slots(algorithm: Algorithm) -> bool {
    match algorithm {
        Algorithm::Twap | Algorithm::Vwap | Algorithm::ImplementationShortfall | Algorithm::ArrivalPrice => true,
        Algorithm::Auto
        | Algorithm::Market
        | Algorithm::Limit
        | Algorithm::Iceberg
        | Algorithm::Sniper
        | Algorithm::Pov => false,
    }
}
