//! An outcome as records.

use fillstream_domain::{NumberError, Quantity, TimestampMicros};
use fillstream_schemas::execution::{
    AccountAllocation, AllocationKind, AllocationMode, AllocationRule, AllocationShare, BlockShare,
};
use fillstream_schemas::state::{AllocationOrder, AllocationPart};

use crate::config::Rule;
use crate::fallback::Cut;
use crate::rules::{Measure, Outcome, Share};
use crate::statement::Shared;

/// What an allocation is about beside its outcome.
#[derive(Clone, Copy)]
pub(crate) struct Occasion<'a> {
    pub order: &'a AllocationOrder,
    pub kind: AllocationKind,
    pub now: TimestampMicros,
    /// What led to it, in words; empty for a new order.
    pub cause: &'a str,
    /// The account whose order failed, and what it keeps of the order.
    pub kept: Option<(&'a str, Quantity)>,
}

/// One record for each account with a share; one without an account where there is none. Their event ids are left out.
pub(crate) fn records(occasion: &Occasion<'_>, outcome: &Outcome<'_>) -> Result<Vec<AccountAllocation>, NumberError> {
    let with: Vec<&Share<'_>> = outcome.shares.iter().filter(|share| share.quantity.is_positive()).collect();
    let base = AccountAllocation {
        kind: if with.is_empty() { AllocationKind::None } else { occasion.kind },
        rule: rule(outcome.measure),
        account_count: i32::try_from(with.len()).unwrap_or(i32::MAX),
        shares: outcome.shares.iter().map(share).collect(),
        rationale: rationale(occasion, outcome, &with),
        ..frame(occasion)?
    };
    if with.is_empty() {
        return Ok(vec![base]);
    }
    if let Some(block) = &occasion.order.block_account_id {
        let quantity = Quantity::sum(with.iter().map(|share| share.quantity))?;
        return Ok(vec![of_block(base, block, quantity)]);
    }
    let one = |(number, share): (i32, &&Share<'_>)| AccountAllocation {
        account_id: Some(share.standing.account.account_id.clone()),
        account_no: number,
        quantity: share.quantity,
        due_at: TimestampMicros::from_micros(occasion.now.micros().saturating_add(share.delay_us)),
        ..base.clone()
    };
    Ok((1..).zip(&with).map(one).collect())
}

/// One record for each account whose order is reduced; one without an account where only what is unallocated changes. Their
/// event ids are left out.
pub(crate) fn reductions(occasion: &Occasion<'_>, cuts: &[Cut]) -> Result<Vec<AccountAllocation>, NumberError> {
    let base = AccountAllocation {
        kind: AllocationKind::Reduction,
        rule: AllocationRule::Other,
        account_count: i32::try_from(cuts.len()).unwrap_or(i32::MAX),
        ..frame(occasion)?
    };
    if cuts.is_empty() {
        return Ok(vec![AccountAllocation {
            kind: AllocationKind::None,
            rationale: format!("{}; {} with no account", occasion.cause, base.unallocated_qty),
            ..base
        }]);
    }
    if let Some(block) = &occasion.order.block_account_id {
        let left = Quantity::sum(occasion.order.parts.iter().map(|part| part.quantity))?;
        let rationale = format!("{}; the block reduced to {left}", occasion.cause);
        return Ok(vec![of_block(AccountAllocation { rationale, ..base }, block, left)]);
    }
    let one = |(number, cut): (i32, &Cut)| AccountAllocation {
        account_id: Some(cut.account_id.clone()),
        account_no: number,
        quantity: cut.quantity,
        rationale: format!("{}; {} reduced to {}", occasion.cause, cut.account_id, cut.quantity),
        ..base.clone()
    };
    Ok((1..).zip(cuts).map(one).collect())
}

// The one record of a block: its account works for all the others.
fn of_block(base: AccountAllocation, block: &str, quantity: Quantity) -> AccountAllocation {
    let rationale = format!("{}; one block in {block}", base.rationale);
    let account_id = Some(block.to_owned());
    AccountAllocation { account_id, account_no: 1, account_count: 1, quantity, rationale, ..base }
}

/// Says who got what of a block: no account gets anything to work by it. Its event id is left out.
pub(crate) fn statement(occasion: &Occasion<'_>, shared: Shared) -> Result<AccountAllocation, NumberError> {
    Ok(AccountAllocation {
        kind: AllocationKind::Statement,
        rule: AllocationRule::Other,
        rationale: occasion.cause.to_owned(),
        block_shares: shared.shares,
        statement_no: occasion.order.statement_no,
        filled_qty: Some(shared.filled_qty),
        unshared_qty: Some(shared.unshared_qty),
        avg_px: shared.avg_px,
        filled_notional: Some(shared.filled_notional),
        fees: Some(shared.fees),
        fee_currency: shared.fee_currency,
        ..frame(occasion)?
    })
}

// What every record of an order says.
fn frame(occasion: &Occasion<'_>) -> Result<AccountAllocation, NumberError> {
    let order = occasion.order;
    Ok(AccountAllocation {
        timestamp: occasion.now,
        order_id: order.order_id.clone(),
        portfolio_id: order.portfolio_id.clone(),
        instrument_id: order.instrument_id.clone(),
        side: order.side,
        revision: order.revision,
        mode: if order.block_account_id.is_some() { AllocationMode::Block } else { AllocationMode::Separate },
        parent_qty: order.parent_qty,
        allocated_qty: order.parent_qty.checked_sub(order.unallocated_qty)?,
        unallocated_qty: order.unallocated_qty,
        unallocated_code: order.unallocated_code.clone(),
        due_at: occasion.now,
        order_value: order.order_value,
        market_impact_estimate: order.market_impact_estimate.clone(),
        risk_score: order.risk_score,
        quote: order.quote.clone(),
        terms: order.terms.clone(),
        terms_revision: order.terms_revision,
        ended_account_id: occasion.kept.map(|(id, _)| id.to_owned()),
        ended_account_qty: occasion.kept.map(|(_, quantity)| quantity),
        block_shares: lines(order),
        ..AccountAllocation::default()
    })
}

// Who is to get what of a block, and has got so far.
fn lines(order: &AllocationOrder) -> Vec<BlockShare> {
    let parts = order.parts.iter().filter(|_| order.block_account_id.is_some());
    let line = |part: &AllocationPart| BlockShare {
        account_id: part.account_id.clone(),
        quantity: part.quantity,
        filled_qty: part.filled_qty,
        filled_notional: part.filled_notional,
        fees: part.fees,
    };
    parts.map(line).collect()
}

fn rule(measure: Measure) -> AllocationRule {
    match measure {
        Measure::SingleAccount => AllocationRule::SingleAccount,
        Measure::Holdings => AllocationRule::Holdings,
        Measure::Rule(Rule::Equal) => AllocationRule::Equal,
        Measure::Rule(Rule::Equity) => AllocationRule::Equity,
        Measure::Rule(Rule::AvailableMargin) => AllocationRule::AvailableMargin,
        Measure::Rule(Rule::Ratio) => AllocationRule::Ratio,
        Measure::Rule(Rule::PercentChange) => AllocationRule::PercentChange,
        Measure::Rule(Rule::Priority) => AllocationRule::Priority,
    }
}

fn share(share: &Share<'_>) -> AllocationShare {
    let standing = &share.standing;
    AllocationShare {
        account_id: standing.account.account_id.clone(),
        is_eligible: share.excluded.is_none(),
        exclusion_code: share.excluded.as_ref().map(|excluded| excluded.code.as_str().to_owned()),
        exclusion_text: share.excluded.as_ref().map(|excluded| excluded.text.clone()),
        basis: share.basis,
        rule_qty: share.rule_qty,
        quantity: share.quantity,
        delay_us: share.delay_us,
        adjustments: share.adjustments.iter().map(|(code, text)| format!("{}:{text}", code.as_str())).collect(),
        account_version: standing.account.version,
        position_qty: Some(standing.position),
        cap_qty: share.cap,
        available_margin: standing.available_margin,
        risk_budget_remaining: standing.risk_budget,
        daily_drawdown: standing.daily_drawdown,
        open_positions: standing.open_positions,
    }
}

// Which accounts, why, what was adjusted.
fn rationale(occasion: &Occasion<'_>, outcome: &Outcome<'_>, with: &[&Share<'_>]) -> String {
    let order = occasion.order;
    let name = |share: &Share<'_>| share.standing.account.account_id.clone();
    let mut parts = Vec::new();
    if !occasion.cause.is_empty() {
        parts.push(occasion.cause.to_owned());
    }
    let got: Vec<String> = with.iter().map(|share| format!("{} {}", name(share), share.quantity)).collect();
    let got = if got.is_empty() { "none".to_owned() } else { got.join(", ") };
    parts.push(format!(
        "{} {} {} by {} over {} of {} accounts: {got}",
        order.side.as_str(),
        order.parent_qty,
        order.instrument_id,
        rule(outcome.measure).as_str(),
        with.len(),
        outcome.shares.len(),
    ));
    for share in &outcome.shares {
        if let Some(excluded) = &share.excluded {
            parts.push(format!("{} left out: {} ({})", name(share), excluded.code.as_str(), excluded.text));
        }
        for (code, text) in &share.adjustments {
            parts.push(format!("{} adjusted: {} ({text})", name(share), code.as_str()));
        }
    }
    if let Some(code) = &order.unallocated_code {
        parts.push(format!("{} with no account: {code}", order.unallocated_qty));
    }
    parts.join("; ")
}
