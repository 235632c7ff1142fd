//! Makes execution reports.

use fillstream_domain::{ExecType, LiquidityFlag, OrdStatus, Quantity, TimestampMicros};
use fillstream_schemas::execution::{ChildAction, ChildOrder, ExecutionReport};
use fillstream_schemas::state::GatewayOrder;

use super::{Figures, Identity};
use crate::adapter::BrokerReport;
use crate::reason::{Reason, Refusal};

impl Figures {
    pub(super) fn of(order: &GatewayOrder) -> Self {
        Self {
            status: order.ord_status,
            ord_qty: order.intent.child.quantity,
            cum: order.cum_qty,
            leaves: order.leaves_qty,
            avg: order.avg_px,
        }
    }

    /// Of an order that the broker never had.
    pub(super) fn rejected(child: &ChildOrder) -> Self {
        Self {
            status: OrdStatus::Rejected,
            ord_qty: child.quantity,
            cum: Quantity::ZERO,
            leaves: Quantity::ZERO,
            avg: None,
        }
    }
}

fn base(id: &Identity, child: &ChildOrder, now: TimestampMicros) -> ExecutionReport {
    ExecutionReport {
        timestamp: now,
        session: id.session.clone(),
        broker: child.broker.clone(),
        venue: child.venue.clone(),
        cl_ord_id: child.cl_ord_id.clone(),
        orig_cl_ord_id: child.orig_cl_ord_id.clone(),
        order_id: child.order_id.clone(),
        portfolio_id: child.portfolio_id.clone(),
        account_id: child.account_id.clone(),
        instrument_id: child.instrument_id.clone(),
        slice_no: child.slice_no,
        leg: child.leg,
        side: child.side,
        ..ExecutionReport::default()
    }
}

/// What the broker said, with what only we know of the order.
pub(super) fn of_broker(
    id: &Identity,
    child: &ChildOrder,
    report: &BrokerReport,
    now: TimestampMicros,
) -> ExecutionReport {
    ExecutionReport {
        in_seq: report.seq,
        exec_id: report.exec_id.clone(),
        ref_exec_id: report.ref_exec_id.clone(),
        orig_cl_ord_id: report.orig_cl_ord_id.clone(),
        exec_type: report.exec_type,
        ord_status: report.ord_status,
        ord_qty: report.ord_qty,
        last_qty: report.last_qty,
        last_px: report.last_px,
        cum_qty: report.cum_qty,
        leaves_qty: report.leaves_qty,
        avg_px: report.avg_px,
        fee: report.fee,
        fee_currency: report.fee_currency.clone(),
        liquidity: report.liquidity,
        transact_at: report.transact_at,
        reject_code: report.reject_code.clone(),
        text: report.text.clone(),
        synthetic: false,
        ..base(id, child, now)
    }
}

/// What the gateway itself has to say.
pub(super) fn synthetic(
    id: &Identity,
    child: &ChildOrder,
    refusal: &Refusal,
    figures: Figures,
    now: TimestampMicros,
) -> ExecutionReport {
    let rejected = child.action == ChildAction::New && refusal.reason != Reason::SendOutcomeUnknown;
    ExecutionReport {
        in_seq: 0,
        exec_id: format!("GW:{}:{}:{}", id.session, child.cl_ord_id, refusal.reason.code()),
        exec_type: if rejected { ExecType::Rejected } else { ExecType::OrderStatus },
        ord_status: figures.status,
        ord_qty: figures.ord_qty,
        cum_qty: figures.cum,
        leaves_qty: figures.leaves,
        avg_px: figures.avg,
        liquidity: LiquidityFlag::Unknown,
        transact_at: now,
        reject_code: Some(refusal.reason.code().to_owned()),
        text: Some(refusal.text.clone()),
        synthetic: true,
        ..base(id, child, now)
    }
}
