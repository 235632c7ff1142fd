//! Fills: from the reports to the children to the parents.

use std::collections::{BTreeMap, BTreeSet};

use fillstream_schemas::execution::{ChildUpdate, ExecutionReport, OrderEvent};
use fillstream_schemas::types::ExecType;

use crate::facts::Facts;
use crate::num::{E4, Round, divide};
use crate::report::{Check, Exam};

/// (broker, ExecID).
type ExecKey<'a> = (&'a str, &'a str);

fn what(event: &OrderEvent) -> String {
    format!("order {} revision {}", event.order_id, event.revision)
}

/// At every event the parent's fills are the sum of its children's.
pub(crate) fn children_sum_to_parent(facts: &Facts) -> Check {
    let mut exam = Exam::new("children_sum_to_parent");
    for events in facts.events().into_values() {
        let mut children: BTreeMap<&str, i128> = BTreeMap::new();
        for event in events.iter().map(|rec| &rec.value) {
            // An alarm about an instruction that is no child (a refused cancel) names no quantity.
            if let Some(child) = event.child.as_ref().filter(|child| !child.ord_qty.is_zero()) {
                let filled = children.entry(&child.cl_ord_id).or_default();
                *filled = child.cum_qty.unscaled();
            }
            exam.saw();
            let sum: i128 = children.values().sum();
            let parent = event.cum_qty.unscaled() + event.overfill_qty.unscaled();
            exam.require(sum == parent, || {
                format!("{}: filled {} but children {}", what(event), crate::num::text(parent), crate::num::text(sum))
            });
        }
    }
    exam.done()
}

/// Executions of an order that count so far.
#[derive(Default)]
struct Book<'a> {
    /// Quantity (8 digits) and price x quantity (16 digits) of each.
    booked: BTreeMap<ExecKey<'a>, (i128, i128)>,
    fees: BTreeMap<&'a str, i128>,
    amended: bool,
}

impl<'a> Book<'a> {
    fn figures(report: &ExecutionReport) -> Option<(i128, i128)> {
        let (qty, px) = (report.last_qty?.unscaled(), report.last_px?.unscaled());
        Some((qty, qty.checked_mul(px)?))
    }

    /// Books an execution; `false` where it cannot be.
    fn take(&mut self, report: &'a ExecutionReport) -> bool {
        let key = (report.broker.as_str(), report.exec_id.as_str());
        let about = report.ref_exec_id.as_deref().map(|id| (report.broker.as_str(), id));
        let is_bust = report.exec_type == ExecType::TradeCancel;
        if is_bust || report.exec_type == ExecType::TradeCorrect {
            self.amended = true;
            let taken_back = about.and_then(|about| self.booked.remove(&about)).is_some();
            if is_bust || !taken_back {
                return taken_back;
            }
        }
        if let (Some(fee), Some(currency)) = (report.fee, &report.fee_currency) {
            *self.fees.entry(currency).or_default() += fee.unscaled();
        }
        Self::figures(report).is_some_and(|figures| self.booked.insert(key, figures).is_none())
    }

    /// Quantity (8 digits) and price x quantity (16 digits).
    fn exact(&self) -> Option<(i128, i128)> {
        let mut sums = (0_i128, 0_i128);
        for (qty, product) in self.booked.values() {
            sums = (sums.0.checked_add(*qty)?, sums.1.checked_add(*product)?);
        }
        Some(sums)
    }

    /// The same, price x quantity rounded to 12 digits.
    fn sums(&self) -> Option<(i128, i128)> {
        let (quantity, product) = self.exact()?;
        Some((quantity, divide(product, E4, Round::HalfEven)?))
    }
}

/// Fill reports by (broker, ExecID).
pub(crate) type Reports<'a> = BTreeMap<ExecKey<'a>, &'a ExecutionReport>;

/// What counts of an order's executions: quantity (8 digits), price x quantity (16 digits), fees by currency (8 digits).
#[derive(Debug, Default)]
pub(crate) struct Executed {
    pub(crate) quantity: i128,
    pub(crate) product: i128,
    pub(crate) fees: BTreeMap<String, i128>,
}

/// The reports of fills, busts and corrections.
pub(crate) fn fill_reports(facts: &Facts) -> Reports<'_> {
    let reports = facts.reports.iter().map(|rec| &rec.value).filter(|report| is_fill(report.exec_type));
    reports.map(|report| ((report.broker.as_str(), report.exec_id.as_str()), report)).collect()
}

fn is_fill(exec_type: ExecType) -> bool {
    matches!(exec_type, ExecType::Trade | ExecType::TradeCancel | ExecType::TradeCorrect)
}

/// What the events book, with the figures of the reports. `None`: a figure beyond 128 bits.
pub(crate) fn executed<'a>(events: impl Iterator<Item = &'a OrderEvent>, reports: &Reports<'a>) -> Option<Executed> {
    let mut book = Book::default();
    for (child, exec_id) in events.filter_map(booking) {
        if let Some(report) = reports.get(&(child.broker.as_str(), exec_id)) {
            book.take(report);
        }
    }
    let (quantity, product) = book.exact()?;
    let fees = book.fees.into_iter().map(|(currency, fees)| (currency.to_owned(), fees)).collect();
    Some(Executed { quantity, product, fees })
}

// A report that an event books; one told with an alarm is not booked.
fn booking(event: &OrderEvent) -> Option<(&ChildUpdate, &str)> {
    let child = event.child.as_ref()?;
    (child.exec_type.is_some_and(is_fill) && event.reason_code.is_none()).then_some((child, child.exec_id.as_deref()?))
}

/// Fills are unique by (broker, ExecID); each is booked by exactly one event of its order, with the report's figures; at
/// every event quantity, turnover and fees of the parent are those of the reports booked so far.
pub(crate) fn fills_booked_once(facts: &Facts) -> Check {
    let mut exam = Exam::new("fills_booked_once");
    let mut reports = Reports::new();
    for rec in &facts.reports {
        let report = &rec.value;
        if is_fill(report.exec_type) {
            exam.saw();
            let twice = reports.insert((&report.broker, &report.exec_id), report).is_some();
            exam.require(!twice, || format!("{} {} at {} is reported twice", report.broker, report.exec_id, rec.at()));
        }
    }
    let mut booked: BTreeSet<ExecKey<'_>> = BTreeSet::new();
    for events in facts.events().into_values() {
        let mut book = Book::default();
        for event in events.iter().map(|rec| &rec.value) {
            if let Some((child, exec_id)) = booking(event) {
                let report = reports.get(&(child.broker.as_str(), exec_id)).copied();
                let told = report.filter(|report| tells(report, event, child));
                exam.require(told.is_some_and(|report| book.take(report)), || {
                    format!("{} books {exec_id} of {}, which no such report says", what(event), child.broker)
                });
                if let Some(report) = report {
                    let once = booked.insert((&report.broker, &report.exec_id));
                    exam.require(once, || format!("{} books {exec_id} of {} again", what(event), child.broker));
                }
            }
            figures(event, &book, &mut exam);
        }
    }
    for (key, report) in &reports {
        exam.require(booked.contains(key) || facts.under_way, || {
            format!("fill {} of {} is not booked in {}", key.1, key.0, report.order_id)
        });
    }
    exam.done()
}

fn tells(report: &ExecutionReport, event: &OrderEvent, child: &ChildUpdate) -> bool {
    report.order_id == event.order_id
        && Some(report.exec_type) == child.exec_type
        && report.last_qty == child.last_qty
        && report.last_px == child.last_px
        && report.fee == child.fee
        && report.fee_currency == child.fee_currency
}

fn figures(event: &OrderEvent, book: &Book<'_>, exam: &mut Exam) {
    let stated = (event.cum_qty.unscaled() + event.overfill_qty.unscaled(), event.filled_notional.unscaled());
    exam.require(book.sums() == Some(stated), || {
        format!(
            "{}: filled {} for {}, which is not the sum of its reports",
            what(event),
            event.cum_qty,
            event.filled_notional
        )
    });
    // Fees of a busted fill may stay or go: that is the broker's to say.
    if let Some(currency) = event.fee_currency.as_deref().filter(|_| !book.amended) {
        let fees = book.fees.get(currency).copied().unwrap_or_default();
        exam.require(event.fees.unscaled() == fees, || {
            format!("{}: fees {} {currency}, the reports say {}", what(event), event.fees, crate::num::text(fees))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::clean;
    use fillstream_schemas::execution::OrderEventType;

    fn trade(facts: &mut Facts) -> &mut OrderEvent {
        let is_trade = |event: &OrderEvent| event.child.as_ref().is_some_and(|c| c.exec_type == Some(ExecType::Trade));
        facts.orders.iter_mut().map(|rec| &mut rec.value).find(|event| is_trade(event)).unwrap()
    }

    #[test]
    fn a_child_that_does_not_sum_up_is_found() {
        let mut facts = clean();
        trade(&mut facts).child.as_mut().unwrap().cum_qty = "59".parse().unwrap();
        assert!(children_sum_to_parent(&facts).violations > 0);
    }

    #[test]
    fn an_alarm_without_quantity_is_no_child() {
        let mut facts = clean();
        let event =
            facts.orders.iter_mut().rfind(|rec| rec.value.event_type == OrderEventType::CancelRequested).unwrap();
        event.value.child = Some(ChildUpdate { cl_ord_id: "C1".into(), ..ChildUpdate::default() });
        assert_eq!(children_sum_to_parent(&facts).violations, 0);
    }

    #[test]
    fn fills_reported_twice_lost_invented_or_changed_are_found() {
        let of = |change: fn(&mut Facts)| {
            let mut facts = clean();
            change(&mut facts);
            fills_booked_once(&facts).violations
        };
        assert_eq!(of(|_| {}), 0);
        assert_eq!(
            of(|f| f.reports.push(f.reports.iter().find(|r| r.value.exec_type == ExecType::Trade).unwrap().clone())),
            1
        );
        let lost = |f: &mut Facts| {
            let mut extra = f.reports.iter().find(|r| r.value.exec_type == ExecType::Trade).unwrap().clone();
            extra.value.exec_id = "LOST".into();
            f.reports.push(extra);
        };
        assert_eq!(of(lost), 1);
        assert!(of(|f| f.reports.retain(|r| r.value.exec_type != ExecType::Trade)) > 0);
        assert!(of(|f| trade(f).child.as_mut().unwrap().last_px = "1".parse().ok()) > 0);
        assert!(of(|f| trade(f).filled_notional = "1".parse().unwrap()) > 0);
        assert!(of(|f| trade(f).fees = "1".parse().unwrap()) > 0);
    }

    #[test]
    fn a_bust_takes_its_fill_back() {
        let report = |id: &str, exec_type, about: Option<&str>| ExecutionReport {
            broker: "b".into(),
            exec_id: id.into(),
            ref_exec_id: about.map(str::to_owned),
            exec_type,
            last_qty: "2".parse().ok(),
            last_px: "3".parse().ok(),
            ..ExecutionReport::default()
        };
        let (fill, bust) = (report("1", ExecType::Trade, None), report("2", ExecType::TradeCancel, Some("1")));
        let mut book = Book::default();
        assert!(book.take(&fill));
        assert_eq!(book.sums(), Some((200_000_000, 6_000_000_000_000)));
        assert!(book.take(&bust));
        assert_eq!(book.sums(), Some((0, 0)));
        assert!(!book.take(&bust), "nothing left to take back");
    }
}
