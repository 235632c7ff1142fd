//! The checks of a leg that depend on what this stage remembers: throttles, rates, its own resting children, the account.

use fillstream_domain::{Bps, Money, Rounding, TimestampMicros, mul_div_i128};
use fillstream_pre_trade_risk::checks::{Checks, Held};
use fillstream_reference::{Quote, phase};
use fillstream_schemas::execution::{Control, ControlPhase, RouteLeg, RoutingPlan};
use fillstream_schemas::state::{ChildRiskHold, ChildRiskLatch};

use crate::accounts::{self, Room};
use crate::rates::{self, Counter};
use crate::reason::Reason;
use crate::rules::{Found, World};
use crate::{State, books};

/// A leg in front of what is remembered.
pub(crate) struct Desk<'a> {
    pub world: World<'a>,
    pub plan: &'a RoutingPlan,
    pub leg: &'a RouteLeg,
    pub fee_reserve: Bps,
}

/// What an approval is made of.
pub(crate) struct Approval {
    pub quote: Quote,
    pub hold: ChildRiskHold,
    counters: Vec<Counter>,
    value: Money,
}

impl Desk<'_> {
    /// Runs the checks; `None`: one has failed for want of a figure.
    pub(crate) fn check(&self, found: Found<'_>, state: &mut State, checks: &mut Checks) -> Option<Approval> {
        let Found { instrument, account, limit, quote, value } = found;
        self.check_latch(state, checks);
        let limit = limit?;
        let prefix = format!("{}/", self.plan.portfolio_id);
        if limit.child_refuse_self_cross {
            let holds = state.holds.with_prefix(&prefix).map(|(_, hold)| hold);
            let holds = holds.filter(|hold| hold.portfolio_id == self.plan.portfolio_id);
            let currency = instrument.map_or("", |instrument| &instrument.quote_currency);
            let crossed = accounts::crossed(self.plan, self.leg, holds);
            accounts::check_cross(self.plan, crossed, currency, checks);
        }
        if let Some(most) = limit.child_hold_value {
            self.check_hold(most, value, state, &limit.currency, checks);
        }
        let mut counters = rates::messages(limit, &self.plan.account_id, &self.leg.session);
        counters.extend(rates::children(limit, self.plan));
        rates::check(&counters, value, self.world.now, state, checks);
        let (account, instrument, quote) = (account?, instrument?, quote?);
        books::open(account, state, self.world.now);
        let is_block = account.is_block;
        let booked = if is_block {
            let accounts = self.world.data.accounts_of(&self.plan.portfolio_id);
            let pooled = books::pooled(account, &accounts, state, self.world.now);
            checks.that("block_book", Reason::FigureOutOfRange.as_str(), pooled.is_ok());
            pooled.ok()?
        } else {
            state.accounts.get(&account.account_id)?.clone()
        };
        let prefix = if is_block { prefix } else { format!("{prefix}{}/", self.plan.account_id) };
        let holds = state.holds.with_prefix(&prefix).map(|(_, hold)| hold);
        let holds = holds.filter(|hold| {
            hold.portfolio_id == self.plan.portfolio_id && (is_block || hold.account_id == self.plan.account_id)
        });
        let room = Room {
            world: self.world,
            plan: self.plan,
            leg: self.leg,
            account,
            instrument,
            limit,
            quote: &quote,
            fee_reserve: self.fee_reserve,
        };
        let hold = room.check(&booked, holds, checks)?;
        Some(Approval { quote, hold, counters, value: value? })
    }

    /// An order over a value is held until people release it. It counts whole, however little of it a child is.
    fn check_hold(&self, most: Money, value: Option<Money>, state: &State, currency: &str, checks: &mut Checks) {
        let whole = state.orders.get(&self.plan.order_id).and_then(|order| order.ord_qty);
        // Without one of them its own check has failed already.
        let (Some(whole), Some(value)) = (whole, value) else { return };
        let figure = mul_div_i128(value.unscaled(), whole.unscaled(), self.leg.quantity.unscaled(), Rounding::Ceiling);
        match figure.and_then(Money::from_unscaled) {
            Ok(figure) => {
                let held = Held { figure, limit: most };
                checks.at_most("held_for_release", Reason::HeldForRelease.as_str(), held, currency)
            }
            Err(_) => checks.that("held_for_release", Reason::FigureOutOfRange.as_str(), false),
        };
    }

    /// A disabled strategy stays so until a named person lets it run by a control that was set later; its counters begin
    /// anew.
    fn check_latch(&self, state: &mut State, checks: &mut Checks) {
        let key = latch_key(self.plan);
        let (scope, id) = rates::subject(self.plan);
        let stands = state.latches.get(&key).is_some_and(|latch| {
            let control = self.world.controls.state_at(scope, id, self.world.now);
            !control.is_some_and(|control| runs(control) && control.set_at > latch.latched_at)
        });
        if !stands && state.latches.remove(&key).is_some() {
            let prefix = rates::repeats_prefix(self.plan);
            let counted: Vec<String> = state.rates.with_prefix(&prefix).map(|(key, _)| key.to_owned()).collect();
            counted.iter().for_each(|key| drop(state.rates.remove(key)));
        }
        checks.that("strategy_enabled", Reason::StrategyDisabled.as_str(), !stands);
    }
}

fn runs(control: &Control) -> bool {
    let runs = matches!(phase(control), ControlPhase::Running | ControlPhase::Released);
    runs && !control.actor.trim().is_empty()
}

/// Counts, holds and books what was approved.
pub(crate) fn approve(approval: &Approval, state: &mut State, now: TimestampMicros) {
    rates::note(&approval.counters, approval.value, now, state);
    books::follow(&approval.hold, state, now);
}

/// Key of the latch of a plan's strategy.
pub(crate) fn latch_key(plan: &RoutingPlan) -> String {
    let (scope, id) = rates::subject(plan);
    format!("{}/{scope}/{id}", plan.portfolio_id)
}

/// The latch that a refused leg sets: one that would have gone but for the limit on repeated executions.
pub(crate) fn latch(plan: &RoutingPlan, checks: &Checks, now: TimestampMicros) -> Option<ChildRiskLatch> {
    let mut failed = checks.rows().iter().filter(|row| !row.passed);
    let (Some(repeats), None) = (failed.next(), failed.next()) else { return None };
    let whole = |figure: Option<Money>| {
        let figure = figure.map_or(0, |figure| figure.unscaled() / Money::ONE.unscaled());
        i32::try_from(figure).unwrap_or(i32::MAX)
    };
    let (scope, id) = rates::subject(plan);
    (repeats.name == rates::REPEATS).then(|| ChildRiskLatch {
        portfolio_id: plan.portfolio_id.clone(),
        scope,
        scope_id: id.to_owned(),
        instrument_id: plan.instrument_id.clone(),
        side: plan.side,
        count: whole(repeats.figure),
        max_repeats: whole(repeats.limit),
        limit_version: repeats.version,
        latched_at: now,
    })
}
