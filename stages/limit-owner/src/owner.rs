//! The owner's side of a lease.

use fillstream_domain::{Money, NumberError};
use fillstream_schemas::execution::LimitRequest;
use fillstream_schemas::state::LeaseAccount;

/// What a request changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The portfolio's counts.
    pub account: LeaseAccount,
    /// What is leased to all portfolios.
    pub leased: Money,
    /// Whether there is something that the portfolio or a reader of the lease does not know.
    pub is_news: bool,
}

/// Why a request is refused: nothing is changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// More is returned than was granted.
    #[error("more is returned than was granted")]
    ReturnedTooMuch,
    /// A figure is out of range.
    #[error("lease: {0}")]
    Number(#[from] NumberError),
}

/// Takes a request in. What is wanted is granted whole or not at all: half of what an order needs helps nobody, and would be
/// missing elsewhere. `leased` is the sum over all portfolios, this one included.
///
/// # Errors
/// More is returned than was granted, or a figure is out of range.
pub fn answer(
    account: &LeaseAccount,
    request: &LimitRequest,
    leased: Money,
    limit: Money,
) -> Result<Answer, RequestError> {
    if request.returned > account.granted {
        return Err(RequestError::ReturnedTooMuch);
    }
    let returned = account.returned.max(request.returned);
    let leased = leased.checked_sub(returned.checked_sub(account.returned)?)?;
    // A grant that it has not seen may be what it wants.
    let missing = account.granted > request.granted_seen;
    let fits = request.wanted.is_positive() && leased.checked_add(request.wanted)? <= limit;
    let more = if fits && !missing { request.wanted } else { Money::ZERO };
    let is_news = missing || more.is_positive() || returned > account.returned;
    let granted = account.granted.checked_add(more)?;
    let account = LeaseAccount { granted, returned, ..account.clone() };
    Ok(Answer { account, leased: leased.checked_add(more)?, is_news })
}
