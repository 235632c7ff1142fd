//! From the tables and the state to the outcome of an order.

use std::collections::BTreeMap;

use fillstream_domain::{Money, NumberError, Price, Quantity, Rounding, mul_div_i128};
use fillstream_reference::{Controls, MarketTable, ReferenceData};
use fillstream_schemas::reference::{Account, Instrument};
use fillstream_schemas::state::{AllocationAccount, AllocationOrder, AllocationReturns};

use crate::adjust::{Link, Terms, correlate, vary};
use crate::config::{Config, Policy};
use crate::eligibility::{Asked, Standing};
use crate::reason::Unallocated;
use crate::returns::{Bars, correlation};
use crate::rules::{Measure, Outcome, allocate};
use crate::standing::World;
use crate::{Fx, State, book, key_of, prefix, returns};

/// An approved order over the accounts of its portfolio.
pub(crate) fn outcome<'a>(
    order: &AllocationOrder,
    asked: &Asked,
    policy: &Policy,
    state: &mut State,
    fx: &Fx<'a>,
) -> Result<Outcome<'a>, NumberError> {
    let tables = fx.table::<MarketTable>().zip(fx.table::<ReferenceData>()).zip(fx.table::<Controls>());
    let Some(((market, data), controls)) = tables else {
        let code = Some(Unallocated::TableUnavailable);
        return Ok(Outcome { measure: Measure::Holdings, shares: vec![], unallocated: order.parent_qty, code });
    };
    let world = World { market, data, controls, now: fx.now() };
    let (mut standings, booked) = standings(&world, order, asked, policy, state)?;
    // An account whose children were rejected gets no more of the order.
    let failed = |id: &str| order.parts.iter().any(|part| part.has_failed && part.account_id == id);
    standings.retain(|standing| !failed(&standing.account.account_id));
    let mut outcome = allocate(asked, standings, policy)?;
    if let Some(id) = &order.block_account_id {
        // One order in the market: nobody starts later than another.
        if let Some(code) = world.stops_block(order, id) {
            nobody(&mut outcome, asked.quantity, code);
        }
        return Ok(outcome);
    }
    let returns = state.returns.get(&order.portfolio_id);
    let link = |a: &str, b: &str| link(a, b, data, &booked, returns, policy);
    let mut outcome = correlate(asked, outcome, link, policy, order.terms.horizon_us)?;
    if outcome.code == Some(Unallocated::NoEligibleAccount) {
        outcome.code = match (world.kills(order), world.pauses(order)) {
            (true, _) => Some(Unallocated::Killed),
            (false, true) => Some(Unallocated::Paused),
            (false, false) => Some(Unallocated::NoEligibleAccount),
        };
    }
    let terms = Terms { order_id: &order.order_id, urgency: order.terms.urgency, horizon_us: order.terms.horizon_us };
    vary(asked, &mut outcome.shares, terms, &policy.variance)?;
    Ok(outcome)
}

// What was shared out goes to nobody: the account that was to execute it cannot.
fn nobody(outcome: &mut Outcome<'_>, quantity: Quantity, code: Unallocated) {
    outcome.shares.iter_mut().for_each(|share| share.quantity = Quantity::ZERO);
    (outcome.unallocated, outcome.code) = (quantity, Some(code));
}

type Booked<'a> = BTreeMap<&'a str, AllocationAccount>;

fn standings<'a>(
    world: &World<'a>,
    order: &AllocationOrder,
    asked: &Asked,
    policy: &Policy,
    state: &mut State,
) -> Result<(Vec<Standing<'a>>, Booked<'a>), NumberError> {
    let mut accounts = world.data.accounts_of(&order.portfolio_id);
    accounts.retain(|account| !account.is_block);
    let booked: BTreeMap<&str, AllocationAccount> =
        accounts.iter().map(|account| (account.account_id.as_str(), open_account(account, state))).collect();
    let prefix = prefix(&order.portfolio_id);
    let in_portfolio = |other: &&AllocationOrder| other.portfolio_id == order.portfolio_id;
    let open: Vec<&AllocationOrder> =
        state.open.with_prefix(&prefix).map(|(_, other)| other).filter(in_portfolio).collect();
    let mut standings = Vec::with_capacity(accounts.len());
    for account in accounts {
        let Some(booked) = booked.get(account.account_id.as_str()) else { continue };
        standings.push(world.standing(account, booked, &open, asked, order, policy)?);
    }
    Ok((standings, booked))
}

/// The figures of every account, for an order that another account may take over; none where a table is missing.
pub(crate) fn candidates<'a>(
    order: &AllocationOrder,
    asked: &Asked,
    policy: &Policy,
    state: &mut State,
    fx: &Fx<'a>,
) -> Result<Vec<Standing<'a>>, NumberError> {
    let tables = fx.table::<MarketTable>().zip(fx.table::<ReferenceData>()).zip(fx.table::<Controls>());
    let Some(((market, data), controls)) = tables else { return Ok(Vec::new()) };
    let world = World { market, data, controls, now: fx.now() };
    standings(&world, order, asked, policy, state).map(|(standings, _)| standings)
}

fn link(
    a: &str,
    b: &str,
    data: &ReferenceData,
    booked: &BTreeMap<&str, AllocationAccount>,
    returns: Option<&AllocationReturns>,
    policy: &Policy,
) -> Link {
    let tells = |id: &str| data.account(id).is_some_and(|account| account.equity.is_some());
    if !tells(a) || !tells(b) {
        return Link::NotTested;
    }
    let rho = returns.and_then(|returns| correlation(returns, a, b, policy.correlation.min_samples));
    rho.map_or_else(|| shared(booked.get(a), booked.get(b)), Link::Measured)
}

// Positions that two accounts hold in the same direction.
fn shared(a: Option<&AllocationAccount>, b: Option<&AllocationAccount>) -> Link {
    let (Some(a), Some(b)) = (a, b) else { return Link::NotTested };
    let same = a.positions.iter().filter(|(instrument, one)| {
        let other = b.positions.get(*instrument);
        other.is_some_and(|other| other.quantity.is_negative() == one.quantity.is_negative())
    });
    Link::Unknown { shared: same.count(), of: a.positions.len().min(b.positions.len()) }
}

/// Takes the equities of the accounts, once a bar.
pub(crate) fn observe(config: &Config, portfolio: &str, state: &mut State, fx: &Fx<'_>) -> Result<(), NumberError> {
    let bars = Bars { length_us: config.return_bar_s.saturating_mul(1_000_000), decay: config.return_decay };
    let last = state.returns.get(portfolio);
    if last.is_some_and(|last| last.bar >= fx.now().micros().div_euclid(bars.length_us.max(1))) {
        return Ok(());
    }
    let Some(data) = fx.table::<ReferenceData>() else { return Ok(()) };
    let mut equities = BTreeMap::new();
    for account in data.accounts_of(portfolio) {
        let Some(equity) = account.equity else { continue };
        let booked = state.accounts.get(&key_of(portfolio, &account.account_id));
        let moved = booked.filter(|booked| booked.version == account.version).map_or(Money::ZERO, |b| b.result);
        equities.insert(account.account_id.clone(), equity.checked_add(moved)?);
    }
    if let Some(next) = returns::observe(last, portfolio, &equities, fx.now(), bars) {
        state.returns.put(portfolio, next);
    }
    Ok(())
}

/// What is asked of the accounts.
pub(crate) fn asked(order: &AllocationOrder, instrument: Option<&Instrument>) -> Result<Asked, NumberError> {
    let least = instrument.map_or(Quantity::ZERO, |instrument| instrument.min_quantity);
    let unit = order.price.abs().notional_rounded(order.multiplier, Rounding::Floor)?;
    let by_value = match instrument.map(|instrument| instrument.min_notional) {
        Some(notional) if notional.is_positive() && unit.is_positive() => {
            let units = mul_div_i128(notional.unscaled(), Price::ONE.unscaled(), unit.unscaled(), Rounding::Ceiling)?;
            Quantity::from_unscaled(units)?
        }
        Some(_) | None => Quantity::ZERO,
    };
    Ok(Asked {
        side: order.side,
        quantity: order.parent_qty,
        lot: order.terms.lot_size,
        minimum: least.max(by_value),
        price: order.price,
        multiplier: order.multiplier,
    })
}

// The account as booked; its record's opening positions are taken over once.
fn open_account(account: &Account, state: &mut State) -> AllocationAccount {
    let key = key_of(&account.portfolio_id, &account.account_id);
    let known = state.accounts.get(&key).cloned();
    let mut booked = known.clone().unwrap_or_else(|| book::open(account));
    book::rebase(&mut booked, account);
    if known.as_ref() != Some(&booked) {
        state.accounts.put(&key, booked.clone());
    }
    booked
}
