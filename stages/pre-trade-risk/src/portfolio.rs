//! A portfolio's cash and positions: those of its accounts together, each account's opening taken over once.

use std::collections::BTreeMap;

use fillstream_domain::{NumberError, TimestampMicros};
use fillstream_schemas::reference::Account;
use fillstream_schemas::state::{RiskPortfolio, RiskPosition};

use crate::facts::Owned;

/// The portfolio with the opening of every account that is not booked yet; the same if all are, or if what is owned now
/// is not what is booked ([`is_same`]).
///
/// # Errors
/// The sums are out of range.
pub(crate) fn opened(
    kept: Option<&RiskPortfolio>,
    owned: &Owned<'_>,
    now: TimestampMicros,
) -> Result<RiskPortfolio, NumberError> {
    let mut portfolio = match kept {
        Some(portfolio) => portfolio.clone(),
        None => new(owned, now),
    };
    if !is_same(&portfolio, owned) {
        return Ok(portfolio);
    }
    for account in &owned.accounts {
        if !portfolio.accounts.contains_key(&account.account_id) {
            open(&mut portfolio, account)?;
        }
    }
    Ok(portfolio)
}

/// Whether every account that is booked still belongs to the portfolio, in the currency of its cash.
pub(crate) fn is_same(portfolio: &RiskPortfolio, owned: &Owned<'_>) -> bool {
    let owns = |id: &String| owned.accounts.iter().any(|account| account.account_id == *id);
    portfolio.accounts.keys().all(owns) && portfolio.currency == owned.currency
}

/// The portfolio as it is kept, with its accounts named; before several were possible it named one.
pub(crate) fn read(kept: &RiskPortfolio) -> RiskPortfolio {
    let mut portfolio = kept.clone();
    if portfolio.accounts.is_empty() {
        portfolio.accounts.insert(portfolio.account_id.clone(), portfolio.account_version);
    }
    portfolio
}

fn new(owned: &Owned<'_>, now: TimestampMicros) -> RiskPortfolio {
    let first = owned.accounts.first();
    RiskPortfolio {
        portfolio_id: first.map(|account| account.portfolio_id.clone()).unwrap_or_default(),
        account_id: first.map(|account| account.account_id.clone()).unwrap_or_default(),
        currency: owned.currency.to_owned(),
        opened_at: now,
        account_version: first.map(|account| account.version).unwrap_or_default(),
        accounts: BTreeMap::new(),
        ..RiskPortfolio::default()
    }
}

fn open(portfolio: &mut RiskPortfolio, account: &Account) -> Result<(), NumberError> {
    portfolio.cash = portfolio.cash.checked_add(account.cash)?;
    for (instrument, quantity) in &account.positions {
        let mut position = portfolio.positions.remove(instrument).unwrap_or_default();
        position.quantity = position.quantity.checked_add(*quantity)?;
        if position != RiskPosition::default() {
            portfolio.positions.insert(instrument.clone(), position);
        }
    }
    portfolio.accounts.insert(account.account_id.clone(), account.version);
    Ok(())
}
