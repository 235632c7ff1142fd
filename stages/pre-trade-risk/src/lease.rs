//! A portfolio's side of a lease of headroom: see the crate `fillstream-limit-owner` for the whole.
//!
//! What is used is no count of its own: it is what positions and open orders are worth at the moment of a decision, so fills,
//! busts, cancels and replaces need no bookkeeping here. It may grow beyond the lease with prices; no approval may.

use fillstream_domain::{Money, NumberError, TimestampMicros};
use fillstream_schemas::execution::LimitGrant;
use fillstream_schemas::state::RiskLease;

/// What is leased, whether or not the lease is over.
///
/// # Errors
/// Out of range.
pub fn held(lease: &RiskLease) -> Result<Money, NumberError> {
    lease.granted.checked_sub(lease.returned)
}

/// What an order that adds may use up to: nothing once the lease is over. One that was never granted is over.
///
/// # Errors
/// Out of range.
pub fn usable(lease: &RiskLease, now: TimestampMicros) -> Result<Money, NumberError> {
    if is_over(lease, now) { Ok(Money::ZERO) } else { held(lease) }
}

/// Whether nothing more may be used of it.
#[must_use]
pub fn is_over(lease: &RiskLease, now: TimestampMicros) -> bool {
    lease.expires_at.is_none_or(|expires_at| expires_at <= now)
}

/// Takes a grant in, and tells whether there is more than before. One that is older than what is known changes nothing.
pub fn on_grant(lease: &mut RiskLease, grant: &LimitGrant) -> bool {
    let is_more = grant.granted > lease.granted;
    if grant.granted >= lease.granted {
        lease.granted = grant.granted;
        lease.expires_at = lease.expires_at.max(Some(grant.expires_at));
    }
    is_more
}

/// Returns what is held beyond what is used, and tells whether there was any.
///
/// # Errors
/// Out of range.
pub fn give_back(lease: &mut RiskLease, used: Money) -> Result<bool, NumberError> {
    let unused = held(lease)?.checked_sub(used)?;
    if unused.is_positive() {
        lease.returned = lease.returned.checked_add(unused)?;
    }
    Ok(unused.is_positive())
}
