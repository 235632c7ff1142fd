//! Order management: decisions become parent orders, children and reports are folded into them, each ends once.
//!
//! - A decision is refused with a closed [`Reason`], or becomes an order with fixed terms and the quote it was created on.
//! - Decisions and commands are honoured once: a repeat changes nothing, other content under the same id is refused.
//! - The life of an order is the sequence of its `OrderEvent`s; revisions count without gaps. Between them stand only
//!   facts ([`state`](fillstream_schemas::state)): status and figures are derived, so they cannot disagree.
//! - Reports may come twice, late and in any order, also before the plan or verdict that they belong to: the totals
//!   are the same. A fill of a known order is never dropped.
//!
//! ```text
//! decision --> REJECTED
//!     |  CREATED             approved          plan          report
//!     +--> PENDING_RISK ---------------> WORKING --> ROUTED --> CHILD_UPDATED --> FILLED
//!              | refused                    | cancel, kill, expiry, filled with children left
//!              v                            v
//!           REJECTED                 CANCEL_REQUESTED --> (last plan here, no child open) --> CANCELLED | EXPIRED
//!
//! WORKING --> SUSPENDED --> RESUMED              by command, or with the sessions of an order that outlives them
//! WORKING --> REPLACE_REQUESTED --> REPLACED     when risk has passed the terms asked for
//! ```
//!
//! - A command is answered by one event that names it; what it cannot do is refused with a code (`commands`, `replace`).
//! - Every event that states a decision has an entry in the portfolio's audit chain (`chain`).
//! - A decision of low priority waits for the others of its batch (`priority`).
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::as_conversions, clippy::disallowed_methods, clippy::disallowed_types)]

mod accounts;
mod booking;
mod chain;
mod child;
mod commands;
mod config;
mod decision;
mod dedupe;
mod fold;
mod lifecycle;
mod parent;
mod priority;
mod quantity;
pub mod reason;
mod replace;
mod span;
mod stop;
mod suspend;
mod timers;
mod trade;
mod validate;

use fillstream_core::error::Poison;
use fillstream_core::record::Record;
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::table::TableDecl;
use fillstream_core::{inputs, outputs, stores};
use fillstream_reference::{Controls, MarketTable, ReferenceData};
use fillstream_schemas::coordination::CoordinatedTradingDecision;
use fillstream_schemas::execution::{
    AccountAllocation, AuditEntry, Command, ExecutionReport, OrderEvent, RiskAlert, RoutingPlan, TradeExecuted,
    ValidatedOrder,
};
use fillstream_schemas::state::{
    OmsChain, OmsChild, OmsControls, OmsDeferred, OmsExecution, OmsOrder, OmsParked, OmsSeen, OmsSeenHour, OmsTimer,
};

pub use config::{Config, ConfigFault, MaxDecisionAge};
pub use decision::order_id;
pub use parent::{Figures, figures_balance, working_fits_leaves};
pub use reason::Reason;

inputs! {
    /// What order-management reads.
    pub enum In {
        Decision(CoordinatedTradingDecision) = "coordination.decisions.v1" => "coordination.decisions-forwarded.v1",
        Forwarded(CoordinatedTradingDecision) = "coordination.decisions-forwarded.v1",
        Command(Command) = "execution.commands.v1",
        Verdict(ValidatedOrder) = "execution.validated-orders.v1",
        Allocation(AccountAllocation) = "execution.allocations.v1",
        Plan(RoutingPlan) = "execution.routing-plans.v1",
        Alert(RiskAlert) = "execution.risk-alerts.v1",
        Report(ExecutionReport) = "execution.reports.v1",
    }
}

outputs! {
    /// What order-management writes.
    pub enum Out {
        Order(OrderEvent) = "execution.orders.v1",
        Trade(TradeExecuted) = "execution.trades.v1",
        Audit(AuditEntry) = "execution.audit.v1",
    }
}

stores! {
    /// What order-management remembers. Only what is open or has ended lately, and the ids of the duplicate window.
    pub struct State {
        /// Orders by order_id.
        orders: OmsOrder = "orders",
        /// Children by order_id/ClOrdID.
        children: OmsChild = "children",
        /// Reports taken in, by order_id/broker/ExecID.
        executions: OmsExecution = "executions",
        /// Inputs that came too early, by order_id/kind/number.
        parked: OmsParked = "parked",
        /// Decisions and commands seen, by the hash of their id.
        seen: OmsSeen = "seen",
        /// The same by hour/hash.
        seen_hours: OmsSeenHour = "seen-hours",
        /// The kills that all open orders were held against, under the one key "kills".
        controls: OmsControls = "controls",
        /// The end of each portfolio's audit chain, by portfolio_id.
        chains: OmsChain = "chains",
        /// Decisions of low priority that wait for the next batch, by their number.
        deferred: OmsDeferred = "deferred",
    }
}

/// Effects of this stage.
pub(crate) type Fx<'t> = Effects<'t, OrderManagement>;

/// The stage.
#[derive(Debug, Clone, Default)]
pub struct OrderManagement {
    config: Config,
}

impl OrderManagement {
    /// The stage with a valid configuration.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub fn new(config: Config) -> Result<Self, Vec<String>> {
        config.validate().map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        Ok(Self { config })
    }
}

impl Stage for OrderManagement {
    type In = In;
    type Out = Out;
    type Stores = State;
    type Timer = OmsTimer;

    const NAME: &'static str = "order-management";
    const DOC: &'static str = "Validates decisions, keeps the event-sourced parent order and folds execution reports.";

    fn tables() -> Vec<TableDecl> {
        vec![TableDecl::of::<MarketTable>(), TableDecl::of::<ReferenceData>(), TableDecl::of::<Controls>()]
    }

    fn partition_key<'a>(&'a self, input: &'a In) -> &'a str {
        match input {
            In::Decision(decision) | In::Forwarded(decision) => self.config.portfolio(&decision.portfolio_id),
            In::Command(command) => self.config.portfolio(&command.portfolio_id),
            In::Verdict(verdict) => &verdict.portfolio_id,
            In::Allocation(allocation) => &allocation.portfolio_id,
            In::Plan(plan) => &plan.portfolio_id,
            In::Alert(alert) => &alert.portfolio_id,
            In::Report(report) => &report.portfolio_id,
        }
    }

    fn on_record(&self, record: &Record<In>, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        self.before(&record.value, state, fx)?;
        match &record.value {
            In::Decision(decision) | In::Forwarded(decision) => self.on_decision(decision, state, fx),
            In::Command(command) => self.on_command(command, state, fx),
            In::Verdict(verdict) => self.on_verdict(verdict, state, fx),
            In::Allocation(allocation) => self.on_allocation(allocation, state, fx),
            In::Plan(plan) => self.on_plan(plan, state, fx),
            In::Alert(alert) => self.on_alert(alert, state, fx),
            In::Report(report) => self.on_report(report, state, fx),
        }
    }

    fn on_timer(&self, timer: &Timer<OmsTimer>, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        self.timer_due(timer, state, fx)
    }
}
