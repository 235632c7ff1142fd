//! The open orders of a portfolio summed up by instrument, kept in step with each of them, so that a decision does not go
//! through them all.

use std::collections::BTreeMap;

use fillstream_core::error::Poison;
use fillstream_domain::{NumberError, Price};
use fillstream_schemas::state::{RiskBook, RiskPortfolio, RiskReservation};

use crate::exposure::{Book, Claim};
use crate::{State, number, prefix};

/// Replaces what is held under the key of an order, `None`: by nothing, and keeps the book of its instrument in step.
pub(crate) fn hold(state: &mut State, key: &str, after: Option<RiskReservation>) -> Result<(), Poison> {
    let before = match &after {
        Some(_) => state.open.get(key).cloned(),
        None => state.open.remove(key),
    };
    let Some(order) = after.as_ref().or(before.as_ref()) else { return Ok(()) };
    let book_key = book_key(&order.portfolio_id, &order.instrument_id);
    let (portfolio_id, instrument_id) = (order.portfolio_id.clone(), order.instrument_id.clone());
    if let Some(after) = after.clone() {
        state.open.put(key, after);
    }
    let mut book = state.books.get(&book_key).map(Book::from).unwrap_or_default();
    if let Some(before) = &before {
        book = book.without_claim(&Claim::from(before)).map_err(number)?;
    }
    if let Some(after) = &after {
        book = book.with_claim(&Claim::from(after)).map_err(number)?;
    }
    if before.as_ref().is_some_and(|order| !order.side.is_buy()) {
        // It may have been the one with the highest price.
        book.sell_price = highest_sell(state, &portfolio_id, &instrument_id);
    }
    put(state, &book_key, record(portfolio_id, instrument_id, &book));
    Ok(())
}

/// Sums the open orders of a portfolio up whose state is from before there were books.
pub(crate) fn ensure(state: &mut State, portfolio: &str) -> Result<(), Poison> {
    let Some(kept) = state.portfolios.get(portfolio).filter(|kept| !kept.has_books) else { return Ok(()) };
    let kept = RiskPortfolio { has_books: true, ..kept.clone() };
    let books = summed(state, portfolio).map_err(number)?;
    for book in books {
        put(state, &book_key(portfolio, &book.instrument_id), book);
    }
    state.portfolios.put(portfolio, kept);
    Ok(())
}

/// The books of a portfolio; `prefix` is that of its keys.
pub(crate) fn of<'a>(state: &'a State, prefix: &'a str, portfolio: &'a str) -> impl Iterator<Item = &'a RiskBook> {
    // The prefix alone would take the books of a portfolio `P/1` for those of `P`.
    state.books.with_prefix(prefix).map(|(_, book)| book).filter(move |book| book.portfolio_id == portfolio)
}

/// The book of a portfolio in an instrument; `None`: nothing is open.
pub(crate) fn of_instrument<'a>(state: &'a State, portfolio: &str, instrument: &str) -> Option<&'a RiskBook> {
    state.books.get(&book_key(portfolio, instrument))
}

fn summed(state: &State, portfolio: &str) -> Result<Vec<RiskBook>, NumberError> {
    let mut books: BTreeMap<&str, Book> = BTreeMap::new();
    let prefix = prefix(portfolio);
    for (_, order) in state.open.with_prefix(&prefix).filter(|(_, order)| order.portfolio_id == portfolio) {
        let book = books.entry(&order.instrument_id).or_default();
        *book = book.with_claim(&Claim::from(order))?;
    }
    Ok(books.into_iter().map(|(id, book)| record(portfolio.to_owned(), id.to_owned(), &book)).collect())
}

fn highest_sell(state: &State, portfolio: &str, instrument: &str) -> Price {
    let prefix = prefix(portfolio);
    let open = state.open.with_prefix(&prefix).map(|(_, order)| order);
    let sells = open
        .filter(|order| !order.side.is_buy() && order.portfolio_id == portfolio && order.instrument_id == instrument);
    let sells = sells.map(Claim::from).filter(|claim| claim.most_quantity().is_positive());
    sells.map(|claim| claim.highest_price()).max().unwrap_or_default().max(Price::ZERO)
}

fn put(state: &mut State, key: &str, book: RiskBook) {
    if book.buy_qty.is_zero() && book.sell_qty.is_zero() && book.buy_cost.is_zero() {
        state.books.remove(key);
    } else if state.books.get(key) != Some(&book) {
        state.books.put(key, book);
    }
}

fn record(portfolio_id: String, instrument_id: String, book: &Book) -> RiskBook {
    let Book { buy_qty, buy_cost, sell_qty, sell_price, .. } = *book;
    RiskBook { portfolio_id, instrument_id, buy_qty, buy_cost, sell_qty, sell_price }
}

fn book_key(portfolio: &str, instrument: &str) -> String {
    format!("{}{instrument}", prefix(portfolio))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fillstream_domain::{Quantity, Side};
    use fillstream_schemas::state::RiskReplace;
    use proptest::prelude::*;

    fn order(n: usize, side: Side, open: i64, price: i64, replace: Option<(i64, i64)>) -> RiskReservation {
        RiskReservation {
            order_id: format!("O{n}"),
            portfolio_id: "P1".to_owned(),
            instrument_id: if n.is_multiple_of(2) { "ACME" } else { "BETA" }.to_owned(),
            side,
            open_qty: Quantity::from_int(open).unwrap(),
            reserved_price: Price::from_int(price).unwrap(),
            multiplier: Quantity::ONE,
            account_rate: "0.33333333".parse().unwrap(),
            fee_reserve: "7".parse().unwrap(),
            replace: replace.map(|(open, price)| RiskReplace {
                open_qty: Quantity::from_int(open).unwrap(),
                reserved_price: Price::from_int(price).unwrap(),
                ..RiskReplace::default()
            }),
            ..RiskReservation::default()
        }
    }

    fn books(state: &State) -> Vec<(String, RiskBook)> {
        state.books.iter().map(|(key, book)| (key.to_owned(), book.clone())).collect()
    }

    type Change = (usize, bool, Option<(i64, i64, Option<(i64, i64)>)>);

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let terms = || (0_i64..100, 1_i64..50);
        let held = prop::option::weighted(0.7, (terms(), prop::option::of(terms())));
        let held = held.prop_map(|held| held.map(|((open, price), replace)| (open, price, replace)));
        prop::collection::vec((0_usize..6, any::<bool>(), held), 1..60)
    }

    proptest! {
        // In step with every change, and the same as summing up what is open, as state without books is.
        #[test]
        fn books_are_the_sum_of_what_is_open(changes in changes()) {
            let mut state = State::default();
            state.portfolios.put("P1", RiskPortfolio { has_books: true, ..RiskPortfolio::default() });
            let mut sides = BTreeMap::new();
            for (n, buys, held) in changes {
                // An order keeps its side as long as it is open.
                let side = *sides.entry(n).or_insert(if buys { Side::Buy } else { Side::SellShort });
                if held.is_none() {
                    sides.remove(&n);
                }
                let after = held.map(|(open, price, replace)| order(n, side, open, price, replace));
                hold(&mut state, &format!("P1/O{n}"), after).unwrap();
                let mut old = State::default();
                for (key, order) in state.open.iter() {
                    old.open.put(key, order.clone());
                }
                old.portfolios.put("P1", RiskPortfolio::default());
                ensure(&mut old, "P1").unwrap();
                prop_assert_eq!(books(&state), books(&old));
                prop_assert!(old.portfolios.get("P1").is_some_and(|portfolio| portfolio.has_books));
            }
        }
    }
}
