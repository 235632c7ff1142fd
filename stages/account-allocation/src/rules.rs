//! An order over the accounts of a portfolio.
//!
//! Exposure-increasing orders go by the rule of the policy, reducing ones over the accounts that hold the position, pro
//! rata to what they have available. The decision's total is never changed: what no account can take is unallocated, so
//! that allocated + unallocated = parent, always. Shares are whole lots, none below the instrument's minimum.

use fillstream_domain::{Money, NumberError, Quantity, Rounding, mul_div_i128};

use crate::config::{Policy, Rule};
use crate::eligibility::{Asked, Excluded, Standing, basis, exclusion, margin_cap};
use crate::reason::{Adjustment, Exclusion, Unallocated};
use crate::shares::{Claim, in_order, pro_rata};

/// How the shares were measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The portfolio has one account: it gets everything that it can take.
    SingleAccount,
    /// By what each has available to sell or to cover.
    Holdings,
    /// By a rule of the policy.
    Rule(Rule),
}

/// The share of an account.
#[derive(Clone, Debug)]
pub struct Share<'a> {
    /// The account with its figures.
    pub standing: Standing<'a>,
    /// Why it gets nothing.
    pub excluded: Option<Excluded>,
    /// The figure that its share is measured by.
    pub basis: Option<Money>,
    /// Most that it can take.
    pub cap: Option<Quantity>,
    /// What the cap comes from.
    pub cap_code: Adjustment,
    /// What led to the cap, in words.
    pub cap_text: String,
    /// Share by the rule alone.
    pub rule_qty: Quantity,
    /// Share after all adjustments.
    pub quantity: Quantity,
    /// Its order starts this much later than the first one, microseconds.
    pub delay_us: i64,
    /// What changed the share or its start, with figures.
    pub adjustments: Vec<(Adjustment, String)>,
}

/// An order shared out.
#[derive(Clone, Debug)]
pub struct Outcome<'a> {
    /// How.
    pub measure: Measure,
    /// Every account, by id.
    pub shares: Vec<Share<'a>>,
    /// What no account takes.
    pub unallocated: Quantity,
    /// Why.
    pub code: Option<Unallocated>,
}

/// Shares `asked` out over the accounts.
///
/// # Errors
/// A figure is out of range, or the lot is not positive where there are several accounts.
pub fn allocate<'a>(
    asked: &Asked,
    mut standings: Vec<Standing<'a>>,
    policy: &Policy,
) -> Result<Outcome<'a>, NumberError> {
    standings.sort_by(|a, b| a.account.account_id.cmp(&b.account.account_id));
    let measure = match (standings.len(), asked.is_reducing()) {
        (1, _) => Measure::SingleAccount,
        (_, true) => Measure::Holdings,
        (_, false) => Measure::Rule(policy.rule),
    };
    let share = |standing: Standing<'a>| candidate(standing, asked, policy, measure);
    let mut shares = standings.into_iter().map(share).collect::<Result<Vec<_>, _>>()?;
    if shares.is_empty() {
        return Ok(left(measure, shares, asked.quantity, Some(Unallocated::NoAccount)));
    }
    if shares.iter().all(|share| share.excluded.is_some()) {
        return Ok(left(measure, shares, asked.quantity, Some(Unallocated::NoEligibleAccount)));
    }
    match shares.as_mut_slice() {
        // An order of today with one account is handed on as it is, whatever its lot.
        [only] if only.cap.is_none() => (only.rule_qty, only.quantity) = (asked.quantity, asked.quantity),
        several => distribute(asked, measure, several)?,
    }
    settle(asked, measure, shares)
}

/// The outcome of shares as they stand: what they leave of the order, and why.
pub(crate) fn settle<'a>(asked: &Asked, measure: Measure, shares: Vec<Share<'a>>) -> Result<Outcome<'a>, NumberError> {
    let taken = Quantity::sum(shares.iter().map(|share| share.quantity))?;
    let rest = asked.quantity.checked_sub(taken)?;
    let code = rest.is_positive().then(|| shortfall(asked, &shares));
    Ok(left(measure, shares, rest, code))
}

fn left(measure: Measure, shares: Vec<Share<'_>>, unallocated: Quantity, code: Option<Unallocated>) -> Outcome<'_> {
    Outcome { measure, shares, unallocated, code }
}

/// An account with what it may claim, before anything is shared out.
pub(crate) fn candidate<'a>(
    standing: Standing<'a>,
    asked: &Asked,
    policy: &Policy,
    measure: Measure,
) -> Result<Share<'a>, NumberError> {
    let is_alone = measure == Measure::SingleAccount;
    let mut excluded = exclusion(&standing, asked, policy, is_alone);
    let (basis, cap) = match measure {
        Measure::SingleAccount => (Some(Money::ONE), margin_cap(&standing, asked, policy)?),
        Measure::Holdings => {
            let available = standing.available;
            (Money::from_unscaled(available.unscaled()).ok(), Some(available.unscaled() / asked.lot.unscaled().max(1)))
        }
        Measure::Rule(rule) => (basis(&standing, rule), margin_cap(&standing, asked, policy)?),
    };
    if basis.is_none() {
        excluded = excluded.or_else(|| Some(Excluded::new(Exclusion::NoBasis, "the rule's figure is unknown or 0")));
    }
    let cap = cap.map(|lots| quantity(lots, asked.lot)).transpose()?;
    Ok(Share {
        standing,
        excluded,
        basis,
        cap,
        cap_code: if asked.is_reducing() { Adjustment::HoldingsCap } else { Adjustment::MarginCap },
        cap_text: String::new(),
        rule_qty: Quantity::ZERO,
        quantity: Quantity::ZERO,
        delay_us: 0,
        adjustments: Vec::new(),
    })
}

/// Sets `rule_qty`, `quantity` and the adjustments of every share.
pub(crate) fn distribute(asked: &Asked, measure: Measure, shares: &mut [Share<'_>]) -> Result<(), NumberError> {
    let total = lots(asked.quantity, asked.lot)?;
    let minimum = mul_div_i128(asked.minimum.unscaled(), 1, asked.lot.unscaled(), Rounding::Ceiling)?;
    let by_rule = divide(total, measure, shares, asked.lot, false)?;
    let mut taken = divide(total, measure, shares, asked.lot, true)?;
    // One account after another leaves until every share is large enough; the smallest one first, of equals the last.
    // Who has left claims nothing any more, so there are no more rounds than accounts.
    for _ in 0..shares.len() {
        let Some((n, small)) = too_small(&taken, minimum, total) else { break };
        if let Some(share) = shares.get_mut(n) {
            let text = format!("share {} is below the minimum {}", quantity(small, asked.lot)?, asked.minimum);
            share.excluded = Some(Excluded::new(Exclusion::BelowMinimum, text));
        }
        taken = divide(total, measure, shares, asked.lot, true)?;
    }
    for ((share, rule), lots) in shares.iter_mut().zip(by_rule).zip(taken) {
        share.rule_qty = quantity(rule, asked.lot)?;
        share.quantity = quantity(lots, asked.lot)?;
        let text = format!("{} to {}", share.rule_qty, share.quantity);
        let adjustment = adjusted(share);
        share.adjustments = adjustment.map(|code| (code, said(share, code, text))).into_iter().collect();
    }
    Ok(())
}

fn divide(
    total: i128,
    measure: Measure,
    shares: &[Share<'_>],
    lot: Quantity,
    capped: bool,
) -> Result<Vec<i128>, NumberError> {
    let claim = |share: &Share<'_>| -> Result<Claim, NumberError> {
        let weight = share.basis.filter(|_| share.excluded.is_none()).map_or(0, Money::unscaled);
        let cap = share.cap.filter(|_| capped).map(|cap| lots(cap, lot)).transpose()?;
        Ok(Claim { weight, cap })
    };
    let claims = shares.iter().map(claim).collect::<Result<Vec<_>, _>>()?;
    if measure != Measure::Rule(Rule::Priority) {
        return pro_rata(total, &claims);
    }
    let mut order: Vec<usize> = (0..claims.len()).collect();
    order.sort_by_key(|n| shares.get(*n).and_then(|share| share.standing.account.priority).unwrap_or(i32::MAX));
    let ranked: Vec<Claim> = order.iter().filter_map(|n| claims.get(*n).copied()).collect();
    let mut taken: Vec<(usize, i128)> = order.into_iter().zip(in_order(total, &ranked)).collect();
    taken.sort_unstable();
    Ok(taken.into_iter().map(|(_, lots)| lots).collect())
}

// The smallest share below the minimum. One that is the whole order is not: its size was checked upstream.
fn too_small(taken: &[i128], minimum: i128, total: i128) -> Option<(usize, i128)> {
    let small = taken.iter().copied().enumerate().filter(|(_, lots)| *lots > 0 && *lots < minimum && *lots < total);
    small.min_by_key(|(n, lots)| (*lots, std::cmp::Reverse(*n)))
}

fn adjusted(share: &Share<'_>) -> Option<Adjustment> {
    match share.quantity.cmp(&share.rule_qty) {
        std::cmp::Ordering::Less if share.excluded.is_some() => None,
        std::cmp::Ordering::Less if share.cap == Some(share.quantity) => Some(share.cap_code),
        std::cmp::Ordering::Less | std::cmp::Ordering::Greater => Some(Adjustment::Redistributed),
        std::cmp::Ordering::Equal => None,
    }
}

fn said(share: &Share<'_>, code: Adjustment, text: String) -> String {
    if code == share.cap_code && !share.cap_text.is_empty() { format!("{text}, {}", share.cap_text) } else { text }
}

fn shortfall(asked: &Asked, shares: &[Share<'_>]) -> Unallocated {
    let eligible = || shares.iter().filter(|share| share.excluded.is_none());
    let too_small = shares.iter().any(|s| s.excluded.as_ref().is_some_and(|e| e.code == Exclusion::BelowMinimum));
    if eligible().next().is_some() && eligible().all(|share| share.cap == Some(share.quantity)) {
        if eligible().any(|share| share.cap_code == Adjustment::CorrelationReduced) {
            Unallocated::Correlated
        } else if asked.is_reducing() {
            Unallocated::InsufficientHoldings
        } else {
            Unallocated::InsufficientMargin
        }
    } else if too_small || eligible().next().is_some() {
        Unallocated::BelowMinimum
    } else {
        Unallocated::NoEligibleAccount
    }
}

pub(crate) fn lots(quantity: Quantity, lot: Quantity) -> Result<i128, NumberError> {
    if !lot.is_positive() {
        return Err(NumberError::NotPositive { name: "lot" });
    }
    Ok(quantity.unscaled() / lot.unscaled())
}

pub(crate) fn quantity(lots: i128, lot: Quantity) -> Result<Quantity, NumberError> {
    lots.checked_mul(lot.unscaled()).ok_or(NumberError::Overflow).and_then(Quantity::from_unscaled)
}
