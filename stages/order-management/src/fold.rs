//! Verdicts, plans, refused children and execution reports, folded into their order.
//!
//! Nothing orders two topics: a plan may come before its verdict, a refusal or report before its plan. What cannot be
//! applied yet is parked with the order and applied as soon as it can be; a report of a child whose plan is
//! missing books the child from the report itself, because a fill must not wait.

use fillstream_core::error::Poison;
use fillstream_domain::order_state::{ChildEvent, ChildState, Transition};
use fillstream_domain::{ExecType, Money, OrdStatus, Quantity};
use fillstream_schemas::execution::{
    ChildUpdate, ExecutionReport, OrderEventType, RiskAlert, RiskAlertType, RoutingPlan, ValidatedOrder,
};
use fillstream_schemas::state::{OmsChild, OmsExecution, OmsParked};

use crate::accounts::settle;
use crate::booking::{add_fees, figure_fault, note_times, says_the_same, unchanged, with_child};
use crate::chain::RISK;
use crate::child::{self, Fault};
use crate::lifecycle::{Saying, Work, out_of_range};
use crate::parent::{figures, ordered};
use crate::reason::{Reason, poison};
use crate::{Fx, OrderManagement, State};

/// The code with which child risk refuses what was made from terms that were replaced since.
const STALE_TERMS: &str = "STALE_TERMS";

/// Where a parked input stands among those of its order: plans before refusals before reports.
#[derive(Clone, Copy)]
enum Rank {
    Plan,
    Alert,
    Report,
}

impl OrderManagement {
    pub(crate) fn on_verdict(
        &self,
        verdict: &ValidatedOrder,
        state: &mut State,
        fx: &mut Fx<'_>,
    ) -> Result<(), Poison> {
        let mut work = Work::of(&self.config, state, fx, ("verdict", &verdict.order_id))?;
        if verdict.revision > 0 {
            return work.replace_judged(verdict);
        }
        // A second verdict.
        if work.order.released || work.order.terminal.is_some() {
            return Ok(());
        }
        if verdict.is_approved {
            let Some(arrival) = &verdict.arrival else {
                let text = format!("approval of order {} without arrival", verdict.order_id);
                return Err(Poison::new(poison::INCOMPLETE_APPROVAL, text));
            };
            work.order.account_id.clone_from(&verdict.account_id);
            work.order.arrived_at = Some(arrival.arrived_at);
            work.order.released = true;
            if work.order.ending.is_none() {
                work.watch_time();
            }
            let saying = Saying { arrival: Some(arrival.clone()), actor: RISK.into(), ..Saying::default() };
            work.event(OrderEventType::Released, saying)?;
        } else {
            work.order.account_id.clone_from(&verdict.account_id);
            let (code, text) = refusal(verdict);
            work.reject(code, text)?;
        }
        work.replay()?;
        work.conclude()
    }

    pub(crate) fn on_plan(&self, plan: &RoutingPlan, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let mut work = Work::of(&self.config, state, fx, ("plan", &plan.order_id))?;
        if work.waits_for_verdict() {
            work.park(Rank::Plan, OmsParked { plan: Some(plan.clone()), ..OmsParked::default() });
        } else {
            work.plan(plan)?;
            work.replay()?;
        }
        work.conclude()
    }

    pub(crate) fn on_alert(&self, alert: &RiskAlert, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let (RiskAlertType::ChildRejected, Some(order_id)) = (alert.alert_type, &alert.order_id) else { return Ok(()) };
        let mut work = Work::of(&self.config, state, fx, ("refused child", order_id))?;
        work.alert(alert)?;
        work.conclude()
    }

    pub(crate) fn on_report(&self, report: &ExecutionReport, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let mut work = Work::of(&self.config, state, fx, ("report", &report.order_id))?;
        if work.waits_for_verdict() {
            work.park(Rank::Report, OmsParked { report: Some(report.clone()), ..OmsParked::default() });
        } else {
            work.report(report)?;
        }
        work.conclude()
    }
}

/// The code of a refusal and the figures of every failed check.
pub(crate) fn refusal(verdict: &ValidatedOrder) -> (String, String) {
    let code = verdict.reason_codes.first().cloned().unwrap_or_else(|| Reason::RiskRejected.as_str().to_owned());
    let show = |figure: Option<Money>| figure.map_or_else(|| "unknown".to_owned(), |f| f.to_string());
    let checks = verdict.validation_results.iter().filter(|check| !check.passed).map(|check| {
        let code = check.code.as_deref().unwrap_or(&check.name);
        let (figure, limit) = (show(check.figure), show(check.limit));
        format!("{code}: {figure} against {limit} {} ({}, version {})", check.unit, check.scope, check.version)
    });
    let text = checks.collect::<Vec<_>>().join("; ");
    (code, if text.is_empty() { verdict.reason_codes.join("; ") } else { text })
}

/// What an applied report changed.
struct Booked {
    transition: Transition,
    /// How much more the parent is overfilled.
    overfilled: Quantity,
}

impl Work<'_, '_, '_> {
    fn waits_for_verdict(&self) -> bool {
        !self.order.released && self.order.terminal.is_none()
    }

    fn park(&mut self, rank: Rank, parked: OmsParked) {
        let rank = match rank {
            Rank::Plan => 0,
            Rank::Alert => 1,
            Rank::Report => 2,
        };
        let key = format!("{}/{rank}/{:010}", self.order.order_id, self.order.parked);
        self.order.parked = self.order.parked.saturating_add(1);
        self.state.parked.put(&key, parked);
    }

    /// Applies what was parked, as far as it can be applied now.
    pub(crate) fn replay(&mut self) -> Result<(), Poison> {
        let prefix = format!("{}/", self.order.order_id);
        let keys: Vec<_> = self.state.parked.with_prefix(&prefix).map(|(key, _)| key.to_owned()).collect();
        for key in keys {
            let Some(parked) = self.state.parked.remove(&key) else { continue };
            if let Some(plan) = &parked.plan {
                self.plan(plan)?;
            }
            if let Some(alert) = &parked.alert {
                self.alert(alert)?;
            }
            if let Some(report) = &parked.report {
                self.report(report)?;
            }
        }
        Ok(())
    }

    fn child_key(&self, cl_ord_id: &str) -> String {
        format!("{}/{cl_ord_id}", self.order.order_id)
    }

    fn plan(&mut self, plan: &RoutingPlan) -> Result<(), Poison> {
        for leg in &plan.venue_allocations {
            let key = self.child_key(&leg.cl_ord_id);
            // Booked already: its report came before its plan.
            if self.state.children.get(&key).is_some() {
                continue;
            }
            let child = OmsChild {
                cl_ord_id: leg.cl_ord_id.clone(),
                account_id: plan.account_id.clone(),
                broker: leg.broker.clone(),
                venue: leg.venue.clone(),
                session: leg.session.clone(),
                slice_no: plan.slice_no,
                leg: leg.leg,
                ord_qty: leg.quantity,
                limit_price: leg.limit_price.or(plan.limit_price),
                ..OmsChild::default()
            };
            // A leg of nothing is no child.
            if let Ok((child, state)) = child::routed(child) {
                self.route(&key, child, &state)?;
            }
        }
        // A schedule of former terms proves nothing: another one follows it.
        if plan.is_last && plan.terms_revision >= self.order.terms_revision {
            // Plans of an account come in the order of their slices: none is under way any more.
            settle(&mut self.order, &plan.account_id, plan.unrouted_qty.is_zero());
        }
        Ok(())
    }

    fn route(&mut self, key: &str, child: OmsChild, state: &ChildState) -> Result<(), Poison> {
        self.order.held_qty = self.order.held_qty.checked_add(state.held_qty()).map_err(out_of_range)?;
        self.order.ord_qty = ordered(&self.order).map_err(out_of_range)?;
        self.order.open_children = self.order.open_children.saturating_add(1);
        let update = child::update(&child, state);
        self.state.children.put(key, child);
        self.event(OrderEventType::Routed, Saying { child: Some(update), ..Saying::default() })
    }

    fn alert(&mut self, alert: &RiskAlert) -> Result<(), Poison> {
        let Some(cl_ord_id) = &alert.cl_ord_id else { return Ok(()) };
        let key = self.child_key(cl_ord_id);
        let Some(child) = self.state.children.get(&key).cloned() else {
            self.park(Rank::Alert, OmsParked { alert: Some(alert.clone()), ..OmsParked::default() });
            return Ok(());
        };
        let applied = child::state(&child)
            .and_then(|old| child::apply(&old, &ChildEvent::Rejected).map(|new| (old, new)))
            .and_then(|(old, new)| {
                Ok((with_child(&self.order, &child.account_id, (&old, &new.state)).map_err(figure_fault)?, new))
            });
        let (order, transition) = match applied {
            Ok(applied) => applied,
            Err((reason, text)) => {
                let saying = Saying { child: self.shown(&key), alarm: true, ..Saying::because(reason, text) };
                return self.event(OrderEventType::ChildUpdated, saying);
            }
        };
        if !transition.changed {
            return Ok(());
        }
        self.order = order;
        let mut update = child::update(&child, &transition.state);
        update.reject_code = Some(alert.code.clone());
        let stored = child::stored(&child, &transition.state);
        self.state.children.put(&key, OmsChild { is_stale: alert.code == STALE_TERMS, ..stored });
        let reason = Some((alert.code.clone(), alert.text.clone()));
        self.event(OrderEventType::ChildUpdated, Saying { reason, child: Some(update), ..Saying::default() })
    }

    /// Folds a report in. A report of a known order is never a dead letter: what contradicts is told with an alarm.
    fn report(&mut self, report: &ExecutionReport) -> Result<(), Poison> {
        // An answer to a status request has no ExecID of its own: the report's id stands for it.
        let exec_id = if report.exec_type == ExecType::OrderStatus { &report.event_id } else { &report.exec_id };
        let exec_key = self.exec_key(&report.broker, exec_id);
        if let Some(known) = self.state.executions.get(&exec_key) {
            if says_the_same(known, report) {
                return Ok(());
            }
            let text = format!("ExecID {} of {} was used before with other figures", report.exec_id, report.broker);
            return self.alarm(report, (Reason::ExecIdConflict, text));
        }
        let amends = matches!(report.exec_type, ExecType::TradeCancel | ExecType::TradeCorrect);
        let amended = if amends { self.amended(report) } else { None };
        if amends && amended.is_none() {
            return self.wait_for_fill(report, &exec_key);
        }
        let key = match amended.as_ref() {
            // The money goes back where it came from, whichever child the report names.
            Some((_, fill)) => self.child_key(&fill.cl_ord_id),
            None => self.child_of(report)?,
        };
        let fill = amended.as_ref().map(|(_, fill)| fill);
        match self.apply_report(report, &key, fill) {
            Err(fault) => {
                self.keep_execution(report, &exec_key, fill, false);
                self.alarm(report, fault)
            }
            Ok(booked) => {
                self.settle_amended(report, amended.clone());
                let counts = matches!(report.exec_type, ExecType::Trade | ExecType::TradeCorrect);
                self.keep_execution(report, &exec_key, fill, counts && booked.is_some());
                self.tell(report, &key, fill, booked)?;
                self.fill_has_come(report)
            }
        }
    }

    fn exec_key(&self, broker: &str, exec_id: &str) -> String {
        // The broker's length first: its name may hold the separator.
        format!("{}/{}:{broker}/{exec_id}", self.order.order_id, broker.len())
    }

    /// The fill that counts now for the one that a bust or correction refers to.
    fn amended(&self, report: &ExecutionReport) -> Option<(String, OmsExecution)> {
        let mut key = self.exec_key(&report.broker, report.ref_exec_id.as_deref()?);
        loop {
            let execution = self.state.executions.get(&key)?;
            match &execution.replaced_by {
                // A chain of corrections: each ExecID is new, so it ends.
                Some(next) => key = self.exec_key(&report.broker, next),
                // Waiting itself for the fill it corrects.
                None if execution.waiting.is_some() => return None,
                None => return Some((key, execution.clone())),
            }
        }
    }

    fn wait_for_fill(&mut self, report: &ExecutionReport, exec_key: &str) -> Result<(), Poison> {
        self.keep_execution(report, exec_key, None, false);
        if let Some(kept) = self.state.executions.get(exec_key).cloned() {
            self.state.executions.put(exec_key, OmsExecution { waiting: Some(report.clone()), ..kept });
        }
        self.order.early_amendments = self.order.early_amendments.saturating_add(1);
        let text = format!("{} {} waits for fill {:?}", report.exec_type, report.exec_id, report.ref_exec_id);
        self.alarm(report, (Reason::AmendmentBeforeFill, text))
    }

    /// Applies the amendments that waited for this fill.
    fn fill_has_come(&mut self, report: &ExecutionReport) -> Result<(), Poison> {
        if self.order.early_amendments == 0 {
            return Ok(());
        }
        let prefix = format!("{}/", self.order.order_id);
        let is_ours = |waiting: &ExecutionReport| {
            waiting.broker == report.broker && waiting.ref_exec_id.as_deref() == Some(report.exec_id.as_str())
        };
        let due: Vec<_> = self
            .state
            .executions
            .with_prefix(&prefix)
            .filter_map(|(key, execution)| Some((key.to_owned(), execution.waiting.clone().filter(is_ours)?)))
            .collect();
        for (key, waiting) in due {
            self.state.executions.remove(&key);
            self.order.early_amendments = self.order.early_amendments.saturating_sub(1);
            self.report(&waiting)?;
        }
        Ok(())
    }

    /// The child that a report is about, booked from the report where its plan is not here yet.
    fn child_of(&mut self, report: &ExecutionReport) -> Result<String, Poison> {
        let key = self.child_key(&report.cl_ord_id);
        if self.state.children.get(&key).is_some() {
            return Ok(key);
        }
        // Of a cancel or replace the report carries the request's own ClOrdID; the order is the one it was about.
        let cl_ord_id = report.orig_cl_ord_id.as_ref().unwrap_or(&report.cl_ord_id);
        let key = self.child_key(cl_ord_id);
        if self.state.children.get(&key).is_some() {
            return Ok(key);
        }
        let stated = report.cum_qty.checked_add(report.leaves_qty).unwrap_or(report.cum_qty);
        let ord_qty = report.ord_qty.max(stated).max(report.last_qty.unwrap_or(Quantity::ZERO));
        let child = OmsChild {
            cl_ord_id: cl_ord_id.clone(),
            account_id: report.account_id.clone(),
            broker: report.broker.clone(),
            venue: report.venue.clone(),
            session: report.session.clone(),
            slice_no: report.slice_no,
            leg: report.leg,
            ord_qty,
            ..OmsChild::default()
        };
        if let Ok((child, state)) = child::routed(child) {
            self.route(&key, child, &state)?;
        }
        Ok(key)
    }

    /// Books a report, or leaves everything as it was. `None`: it says nothing new.
    fn apply_report(
        &mut self,
        report: &ExecutionReport,
        key: &str,
        amended: Option<&OmsExecution>,
    ) -> Result<Option<Booked>, Fault> {
        let Some(child) = self.state.children.get(key).cloned() else {
            let text = format!("{} {} is about a child without quantity", report.exec_type, report.exec_id);
            return Err((Reason::IllegalReport, text));
        };
        let old = child::state(&child)?;
        let Some(event) = child::read(report, &old, amended)? else { return Ok(None) };
        // Child-risk asks for cancels; a refusal of one is the first this stage hears of it.
        if event == ChildEvent::CancelRejected && !old.is_cancel_pending() && !old.status().is_terminal() {
            return Ok(Some(Booked { transition: unchanged(&old), overfilled: Quantity::ZERO }));
        }
        let transition = child::apply(&old, &event)?;
        let mut order = with_child(&self.order, &child.account_id, (&old, &transition.state)).map_err(figure_fault)?;
        add_fees(&mut order, report, amended).map_err(figure_fault)?;
        note_times(&mut order, report);
        let before = figures(&self.order).map_err(figure_fault)?;
        let overfilled = figures(&order).map_err(figure_fault)?.overfill_qty.less_at_most(before.overfill_qty);
        self.order = order;
        self.state.children.put(key, child::stored(&child, &transition.state));
        Ok(Some(Booked { transition, overfilled }))
    }

    /// A busted fill counts no more; of a corrected one the correction does.
    fn settle_amended(&mut self, report: &ExecutionReport, amended: Option<(String, OmsExecution)>) {
        if let Some((key, fill)) = amended {
            let corrected = report.exec_type == ExecType::TradeCorrect;
            let replaced_by = corrected.then(|| report.exec_id.clone());
            self.state.executions.put(&key, OmsExecution { booked: false, replaced_by, ..fill });
        }
    }

    fn keep_execution(&mut self, report: &ExecutionReport, key: &str, fill: Option<&OmsExecution>, booked: bool) {
        let kept_fee = fill.filter(|_| report.exec_type == ExecType::TradeCorrect && report.fee.is_none());
        let (fee, fee_currency) = match kept_fee {
            Some(fill) => (fill.fee, fill.fee_currency.clone()),
            None => (report.fee, report.fee_currency.clone()),
        };
        let execution = OmsExecution {
            cl_ord_id: fill.map_or(&report.cl_ord_id, |fill| &fill.cl_ord_id).clone(),
            broker: report.broker.clone(),
            venue: report.venue.clone(),
            exec_type: report.exec_type,
            last_qty: report.last_qty,
            last_px: report.last_px,
            fee,
            fee_currency,
            booked,
            replaced_by: None,
            waiting: None,
        };
        self.state.executions.put(key, execution);
    }

    fn tell(
        &mut self,
        report: &ExecutionReport,
        key: &str,
        fill: Option<&OmsExecution>,
        booked: Option<Booked>,
    ) -> Result<(), Poison> {
        let Some(Booked { transition, overfilled }) = booked else { return Ok(()) };
        let refused_cancel = report.exec_type == ExecType::Rejected && report.orig_cl_ord_id.is_some();
        let refused_cancel = refused_cancel && !transition.from.is_terminal();
        if !transition.changed && !refused_cancel {
            return Ok(());
        }
        let Some(child) = self.state.children.get(key) else { return Ok(()) };
        // A bust takes back what was booked, whatever figures it repeats.
        let (last_qty, last_px) = match fill.filter(|_| report.exec_type == ExecType::TradeCancel) {
            Some(busted) => (busted.last_qty, busted.last_px),
            None => (report.last_qty, report.last_px),
        };
        let update = ChildUpdate {
            exec_type: Some(report.exec_type),
            exec_id: Some(report.exec_id.clone()),
            last_qty,
            last_px,
            fee: report.fee,
            fee_currency: report.fee_currency.clone(),
            liquidity: Some(report.liquidity),
            transact_at: Some(report.transact_at),
            reject_code: report.reject_code.clone(),
            ..child::update(child, &transition.state)
        };
        let reason = refused_cancel.then(|| {
            let text = report.text.clone().unwrap_or_else(|| format!("child {} works on", update.cl_ord_id));
            (Reason::CancelRejected.as_str().to_owned(), text)
        });
        let alarm = transition.to == OrdStatus::Unknown;
        self.event(OrderEventType::ChildUpdated, Saying { reason, child: Some(update), alarm, ..Saying::default() })?;
        if overfilled.is_positive() || transition.overfilled.is_positive() {
            let text = format!(
                "{} {} overfills child {} by {} and the order by {overfilled}",
                report.broker, report.exec_id, report.cl_ord_id, transition.overfilled
            );
            let saying = Saying { alarm: true, ..Saying::because(Reason::Overfill, text) };
            self.event(OrderEventType::Overfill, saying)?;
        }
        Ok(())
    }

    /// Tells of a report that changed nothing. Its quantity and price are left out: nobody may book them. A child that is
    /// not known yet is left out too: others may know it, and this stage cannot say how it stands.
    fn alarm(&mut self, report: &ExecutionReport, (reason, text): Fault) -> Result<(), Poison> {
        let ids = [Some(&report.cl_ord_id), report.orig_cl_ord_id.as_ref()];
        let known = ids.into_iter().flatten().find_map(|id| self.shown(&self.child_key(id)));
        let child = known.map(|known| ChildUpdate {
            exec_type: Some(report.exec_type),
            exec_id: Some(report.exec_id.clone()),
            transact_at: Some(report.transact_at),
            ..known
        });
        self.event(OrderEventType::ChildUpdated, Saying { child, alarm: true, ..Saying::because(reason, text) })
    }

    /// A child as it stands.
    fn shown(&self, key: &str) -> Option<ChildUpdate> {
        let child = self.state.children.get(key)?;
        child::state(child).ok().map(|state| child::update(child, &state))
    }
}
