//! A portfolio's cash and positions: those of its accounts together, each account's opening taken over once.

use std::borrow::Cow;
use std::collections::BTreeMap;

use fillstream_domain::{NumberError, TimestampMicros};
use fillstream_schemas::reference::Account;
use fillstream_schemas::state::{RiskPortfolio, RiskPosition};

use crate::facts::Owned;

/// The portfolio with the opening of every account that is not booked yet; as it is kept if all are, or if what is owned
/// now is not what is booked ([`is_same`]).
///
/// # Errors
/// The sums are out of range.
pub(crate) fn opened<'a>(
    kept: Option<&'a RiskPortfolio>,
    owned: &Owned<'_>,
    now: TimestampMicros,
) -> Result<Cow<'a, RiskPortfolio>, NumberError> {
    let mut portfolio = match kept {
        Some(kept) => named(kept),
        None => Cow::Owned(new(owned, now)),
    };
    if !is_same(&portfolio, owned) {
        return Ok(portfolio);
    }
    for account in &owned.accounts {
        if !portfolio.accounts.contains_key(&account.account_id) {
            open(portfolio.to_mut(), account)?;
        }
    }
    Ok(portfolio)
}

/// Whether every account that is booked still belongs to the portfolio, in the currency of its cash.
pub(crate) fn is_same(portfolio: &RiskPortfolio, owned: &Owned<'_>) -> bool {
    let owns = |id: &String| owned.accounts.iter().any(|account| account.account_id == *id);
    portfolio.accounts.keys().all(owns) && portfolio.currency == owned.currency
}

// The portfolio with its accounts named; before several were possible it named one.
fn named(kept: &RiskPortfolio) -> Cow<'_, RiskPortfolio> {
    let mut portfolio = Cow::Borrowed(kept);
    if kept.accounts.is_empty() {
        portfolio.to_mut().accounts.insert(kept.account_id.clone(), kept.account_version);
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
        has_books: true,
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

#[cfg(test)]
mod tests {
    use super::*;
    use fillstream_domain::Ratio;

    fn account(id: &str) -> Account {
        Account {
            account_id: id.to_owned(),
            currency: "USD".to_owned(),
            cash: "10".parse().unwrap(),
            ..Account::default()
        }
    }

    #[test]
    fn state_from_before_there_could_be_several_accounts_has_its_one_booked() {
        let old = RiskPortfolio {
            account_id: "A1".to_owned(),
            account_version: 4,
            currency: "USD".to_owned(),
            cash: "7".parse().unwrap(),
            ..RiskPortfolio::default()
        };
        let (one, two) = (account("A1"), account("A2"));
        let owned = |accounts| Owned { accounts, currency: "USD", initial_margin: Ratio::ONE };
        let now = TimestampMicros::from_micros(0);
        let same = opened(Some(&old), &owned(vec![&one]), now).unwrap();
        assert_eq!((same.cash, &same.accounts), (old.cash, &[("A1".to_owned(), 4)].into()));
        let more = opened(Some(&old), &owned(vec![&one, &two]), now).unwrap();
        assert_eq!((more.cash, more.accounts.len()), ("17".parse().unwrap(), 2));
        let gone = opened(Some(&old), &owned(vec![&two]), now).unwrap();
        assert!(!is_same(&gone, &owned(vec![&two])) && gone.cash == old.cash);
    }
}
