//! Reports: what they say of an order, and when.

use super::{Venue, number};
use crate::VenueError;
use crate::agenda::{Saying, Task, What};
use crate::micros::later;
use crate::order::{Change, Order, OrderKey};
use crate::report::{RejectCode, Report, words};
use fillstream_domain::{ExecType, LiquidityFlag, OrdStatus, TimestampMicros};

impl Venue {
    /// Schedules a report of what happened now; a fill may be reported late.
    pub(super) fn will_say(&mut self, key: &OrderKey, what: What, now: TimestampMicros) {
        let Some(order) = self.orders.get_mut(key) else { return };
        order.reports += 1;
        let exec_id = format!("{}:{}:{}", key.0, key.1, order.reports);
        let latency = self.centers.get(&order.accepted.request.venue).map_or(0, |center| center.latency_us);
        let lateness = match &what {
            What::Filled { .. } => self.config.misbehaviour.lateness_us(self.config.seed, &exec_id),
            What::Accepted
            | What::Cancelled { .. }
            | What::Expired
            | What::Rejected(_)
            | What::CancelRejected { .. } => 0,
        };
        let at = later(later(now, latency), lateness);
        let ordinal = order.reports;
        let saying = Saying { order: key.clone(), ordinal, exec_id, transact_at: now, what };
        self.agenda.add(at, ordinal, Task::Say(Box::new(saying)));
    }

    /// Says a report: its figures are those of all reports of the order up to this one.
    pub(super) fn say(&mut self, saying: &Saying, now: TimestampMicros) -> Result<Report, VenueError> {
        let (key, seq) = (&saying.order, self.next_seq(&saying.order.0));
        let missing = || VenueError::Config(format!("order {}:{} is lost", key.0, key.1));
        let fee_currency = {
            let order = self.orders.get(key).ok_or_else(missing)?;
            self.instruments.get(&order.accepted.request.instrument_id).map(|terms| terms.fee_currency.to_string())
        };
        let order = self.orders.get_mut(key).ok_or_else(missing)?;
        order.reported.apply(change(&saying.what), order.accepted.request.quantity).map_err(number(key))?;
        order.reported.last_seq = seq;
        let mut report = base(order, saying, seq, now).map_err(number(key))?;
        fill_in(&mut report, &saying.what, fee_currency);
        if self.config.misbehaviour.repeats(self.config.seed, &report.exec_id) {
            let at = later(now, self.config.misbehaviour.repeat_after_us);
            self.agenda.add(at, saying.ordinal, Task::Repeat(Box::new(report.clone())));
        }
        Ok(report)
    }

    /// Says a report again: the same but for its number, time and flag.
    pub(super) fn say_again(&mut self, first: Report, now: TimestampMicros) -> Result<Report, VenueError> {
        let seq = self.next_seq(&first.session);
        Ok(Report { seq, emitted_at: now, poss_dup: true, ..first })
    }

    fn next_seq(&mut self, session: &str) -> u64 {
        let seq = self.seqs.entry(session.to_owned()).or_default();
        *seq += 1;
        *seq
    }
}

const fn change(what: &What) -> Change {
    match what {
        What::Accepted => Change::Accepted,
        What::Filled { qty, px, .. } => Change::Filled { px: *px, qty: *qty },
        What::Cancelled { .. } => Change::Ended(OrdStatus::Canceled),
        What::Expired => Change::Ended(OrdStatus::Expired),
        What::Rejected(_) => Change::Ended(OrdStatus::Rejected),
        What::CancelRejected { .. } => Change::Nothing,
    }
}

/// What every report says.
fn base(
    order: &Order,
    saying: &Saying,
    seq: u64,
    now: TimestampMicros,
) -> Result<Report, fillstream_domain::NumberError> {
    let (request, reported) = (&order.accepted.request, &order.reported);
    Ok(Report {
        session: order.accepted.session.clone(),
        seq,
        emitted_at: now,
        exec_id: saying.exec_id.clone(),
        cl_ord_id: request.client_order_id.clone(),
        orig_cl_ord_id: None,
        account_id: request.account_id.clone(),
        instrument_id: request.instrument_id.clone(),
        venue: request.venue.clone(),
        side: request.side,
        exec_type: ExecType::New,
        ord_status: reported.status(),
        ord_qty: request.quantity,
        last_qty: None,
        last_px: None,
        cum_qty: reported.cum_qty(),
        leaves_qty: reported.leaves_qty(request.quantity),
        avg_px: reported.avg_px()?,
        fee: None,
        fee_currency: None,
        liquidity: LiquidityFlag::Unknown,
        transact_at: saying.transact_at,
        ref_exec_id: None,
        reject_code: None,
        text: None,
        poss_dup: false,
    })
}

/// What this report says beyond that.
fn fill_in(report: &mut Report, what: &What, fee_currency: Option<String>) {
    let answer = |report: &mut Report, request: &str| {
        report.orig_cl_ord_id = Some(std::mem::replace(&mut report.cl_ord_id, request.to_owned()));
    };
    let because = |report: &mut Report, code: RejectCode| {
        report.reject_code = Some(code);
        report.text = Some(words(code).to_owned());
    };
    match what {
        What::Accepted => report.exec_type = ExecType::New,
        What::Filled { qty, px, fee, liquidity } => {
            report.exec_type = ExecType::Trade;
            report.last_qty = Some(*qty);
            report.last_px = Some(*px);
            report.fee = Some(*fee);
            report.fee_currency = fee_currency;
            report.liquidity = *liquidity;
        }
        What::Cancelled { request, code } => {
            report.exec_type = ExecType::Canceled;
            if let Some(request) = request {
                answer(report, request);
            }
            if let Some(code) = code {
                because(report, *code);
            }
        }
        What::Expired => report.exec_type = ExecType::Expired,
        What::Rejected(code) => {
            report.exec_type = ExecType::Rejected;
            because(report, *code);
        }
        What::CancelRejected { request, code } => {
            report.exec_type = ExecType::OrderStatus;
            answer(report, request);
            because(report, *code);
        }
    }
}
