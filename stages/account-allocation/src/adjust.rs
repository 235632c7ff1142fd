//! What correlation and variance change in the shares and starts of accounts.
//!
//! Neither ever changes the sum, and neither hides anything: orders keep their true ids and accounts.

use fillstream_core::lineage::Lineage;
use fillstream_domain::{NumberError, Quantity, Ratio, Rounding, Urgency, mul_div_i128};

use crate::config::{Correlation, CorrelationAction, Policy, Variance};
use crate::eligibility::Asked;
use crate::reason::Adjustment;
use crate::rules::{Outcome, Share, distribute, lots, quantity, settle};

/// How the returns of two accounts go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Not looked at: one of them does not tell its equity.
    NotTested,
    /// Measured.
    Measured(Ratio),
    /// Too few samples; this many of the positions of the one that has fewer are in both.
    Unknown {
        /// Positions in the same instrument and direction.
        shared: usize,
        /// Positions of the account that has fewer.
        of: usize,
    },
}

impl Link {
    // Too close, in words.
    fn closeness(self, rules: &Correlation) -> Option<String> {
        match self {
            Self::Measured(rho) if rho > rules.threshold => Some(format!("{rho} above {}", rules.threshold)),
            // Below the least sample, unknown is above the threshold if they share half their positions.
            Self::Unknown { shared, of } if of > 0 && 2 * shared >= of => {
                Some(format!("unknown, {shared} of {of} positions shared"))
            }
            Self::NotTested | Self::Measured(_) | Self::Unknown { .. } => None,
        }
    }
}

/// What the variance of an order hangs on.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Parent order.
    pub order_id: &'a str,
    /// Its urgency.
    pub urgency: Urgency,
    /// Its time, microseconds.
    pub horizon_us: i64,
}

/// Delays or reduces the later of each two accounts whose returns go together: later by priority, then by id.
///
/// # Errors
/// A figure is out of range.
pub fn correlate<'a>(
    asked: &Asked,
    outcome: Outcome<'a>,
    link: impl Fn(&str, &str) -> Link,
    policy: &Policy,
    horizon_us: i64,
) -> Result<Outcome<'a>, NumberError> {
    let rules = &policy.correlation;
    if asked.is_reducing() || rules.action == CorrelationAction::None {
        return Ok(outcome);
    }
    let Outcome { measure, mut shares, unallocated, code } = outcome;
    let close = close(&shares, link, rules);
    match rules.action {
        CorrelationAction::Reduce if !close.is_empty() => {
            for (n, text) in close {
                let Some(share) = shares.get_mut(n) else { continue };
                let most = share.quantity.share(rules.reduced_to, Rounding::Floor)?;
                share.cap = Some(quantity(lots(most, asked.lot)?, asked.lot)?);
                (share.cap_code, share.cap_text) = (Adjustment::CorrelationReduced, text);
            }
            distribute(asked, measure, &mut shares)?;
            settle(asked, measure, shares)
        }
        CorrelationAction::Delay => {
            for (wait, (n, text)) in (1_i64..).zip(close) {
                let Some(share) = shares.get_mut(n) else { continue };
                let delay = wait.saturating_mul(rules.delay_ms).saturating_mul(1_000).min(horizon_us.max(0) / 10);
                share.delay_us = share.delay_us.saturating_add(delay);
                share.adjustments.push((Adjustment::CorrelationDelay, format!("{} ms, {text}", delay / 1_000)));
            }
            Ok(Outcome { measure, shares, unallocated, code })
        }
        CorrelationAction::Reduce | CorrelationAction::None => Ok(Outcome { measure, shares, unallocated, code }),
    }
}

// The accounts that come after one they go together with, in this order, each with that account and the figure.
fn close(shares: &[Share<'_>], link: impl Fn(&str, &str) -> Link, rules: &Correlation) -> Vec<(usize, String)> {
    let mut order: Vec<(usize, &Share<'_>)> =
        shares.iter().enumerate().filter(|(_, share)| share.quantity.is_positive()).collect();
    order.sort_by_key(|(_, share)| share.standing.account.priority.unwrap_or(i32::MAX));
    let mut found = Vec::new();
    for (place, (n, later)) in order.iter().enumerate() {
        let id = later.standing.account.account_id.as_str();
        let before = order.iter().take(place).map(|(_, share)| share.standing.account.account_id.as_str());
        let text = before.filter_map(|other| Some((other, link(other, id).closeness(rules)?))).next();
        found.extend(text.map(|(other, text)| (*n, format!("correlation with {other}: {text}"))));
    }
    found
}

/// Lets start and size vary among the accounts of one owner that opted in, at least two of them. HIGH and URGENT orders,
/// reducing ones and those of a single account do not vary (trading rule 29).
///
/// # Errors
/// A figure is out of range.
pub fn vary(asked: &Asked, shares: &mut [Share<'_>], terms: Terms<'_>, rules: &Variance) -> Result<(), NumberError> {
    let is_calm = matches!(terms.urgency, Urgency::Low | Urgency::Normal);
    if !is_calm || asked.is_reducing() {
        return Ok(());
    }
    let mut owners: std::collections::BTreeMap<String, Vec<usize>> = std::collections::BTreeMap::new();
    for (n, share) in shares.iter().enumerate().filter(|(_, share)| share.quantity.is_positive()) {
        let account = share.standing.account;
        if let (true, Some(owner)) = (account.variance_opt_in, &account.beneficial_owner) {
            owners.entry(owner.clone()).or_default().push(n);
        }
    }
    for mut group in owners.into_values().filter(|group| group.len() > 1) {
        delays(shares, &group, terms, rules);
        let seed = |n: &usize| shares.get(*n).map(|share| draw(terms.order_id, share, "pair"));
        group.sort_by_key(|n| (seed(n), *n));
        for pair in group.chunks_exact(2) {
            if let [up, down] = pair {
                exchange(asked, shares, (*up, *down), terms, rules)?;
            }
        }
    }
    Ok(())
}

fn delays(shares: &mut [Share<'_>], group: &[usize], terms: Terms<'_>, rules: &Variance) {
    let most = rules.max_delay_ms.min(terms.horizon_us.max(0) / 10_000);
    if most < rules.min_delay_ms || most == 0 {
        return;
    }
    let mut taken = std::collections::BTreeSet::new();
    for n in group {
        let Some(share) = shares.get_mut(*n) else { continue };
        let mut delay = between(draw(terms.order_id, share, "delay"), rules.min_delay_ms, most);
        // Each its own; where there are more accounts than milliseconds, some share one.
        while taken.len() < usize::try_from(most - rules.min_delay_ms).unwrap_or(0) && !taken.insert(delay) {
            delay = if delay == most { rules.min_delay_ms } else { delay + 1 };
        }
        share.delay_us = share.delay_us.saturating_add(delay.saturating_mul(1_000));
        let text = format!("{delay} ms of {} to {most}, seed {}/{}", rules.min_delay_ms, terms.order_id, id(share));
        share.adjustments.push((Adjustment::TimeVariance, text));
    }
}

// Moves lots from one account to another of the same owner: their sum stays.
fn exchange(
    asked: &Asked,
    shares: &mut [Share<'_>],
    (up, down): (usize, usize),
    terms: Terms<'_>,
    rules: &Variance,
) -> Result<(), NumberError> {
    let (Some(more), Some(less)) = (shares.get(up), shares.get(down)) else { return Ok(()) };
    let smaller = more.quantity.min(less.quantity);
    // In millionths, so that the bounds themselves can be drawn.
    let least = rules.min_size.unscaled() / MILLIONTH;
    let most = rules.max_size.unscaled() / MILLIONTH;
    let part = between(
        draw(terms.order_id, more, "size"),
        i64::try_from(least).unwrap_or(0),
        i64::try_from(most).unwrap_or(0),
    );
    let moved = mul_div_i128(smaller.unscaled(), i128::from(part), 1_000_000, Rounding::Floor)?;
    let moved = quantity(moved / asked.lot.unscaled().max(1), asked.lot)?;
    let raised = more.quantity.checked_add(moved)?;
    let lowered = less.quantity.checked_sub(moved)?;
    let fits = more.cap.is_none_or(|cap| raised <= cap) && lowered >= asked.minimum && lowered.is_positive();
    if moved.is_zero() || !fits {
        return Ok(());
    }
    let seed = format!("seed {}/{}", terms.order_id, id(more));
    set(shares, up, raised, format!("+{moved}, {part} millionths of {smaller}, {seed}"));
    set(shares, down, lowered, format!("-{moved}, {part} millionths of {smaller}, {seed}"));
    Ok(())
}

const MILLIONTH: i128 = Ratio::ONE.unscaled() / 1_000_000;

fn set(shares: &mut [Share<'_>], n: usize, quantity: Quantity, text: String) {
    if let Some(share) = shares.get_mut(n) {
        share.quantity = quantity;
        share.adjustments.push((Adjustment::SizeVariance, text));
    }
}

fn id<'a>(share: &Share<'a>) -> &'a str {
    &share.standing.account.account_id
}

// A number that only order, account and purpose decide.
fn draw(order: &str, share: &Share<'_>, purpose: &str) -> u128 {
    u128::from_be_bytes(*Lineage::root(&format!("variance/{purpose}/{order}"), id(share)).as_bytes())
}

fn between(draw: u128, least: i64, most: i64) -> i64 {
    let width = u128::try_from(most.saturating_sub(least)).unwrap_or(0) + 1;
    least.saturating_add(i64::try_from(draw % width).unwrap_or(0))
}
