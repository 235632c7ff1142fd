//! Against the venue's journal: what was really sent and executed.

use std::collections::{BTreeMap, BTreeSet};

use fillstream_schemas::execution::{ChildAction, ChildOrder, ExecutionReport, Intent};
use fillstream_schemas::types::ExecType;
use sha2::{Digest, Sha256};

use crate::facts::{Facts, Rec};
use crate::num::text;
use crate::report::{Check, Exam};
use crate::venue::{VenueCancel, VenueJournal, VenueOrder, VenueReport};

/// A fill that the venue told in the last moments of its journal may still be on its way, microseconds.
const ON_THE_WAY_US: i64 = 5_000_000;
const TRADE: &str = "TRADE";

/// Every execution that the venue reported is an execution report with the same figures, and the other way round.
pub(crate) fn fills_match_venue(facts: &Facts) -> Check {
    let mut exam = Exam::new("fills_match_venue");
    let Some(venue) = &facts.venue else { return exam.done() };
    let mut told: BTreeMap<(&str, &str), &VenueReport> = BTreeMap::new();
    for report in venue.reports.iter().filter(|report| report.exec_type == TRADE) {
        // A repeat has the ExecID of the first.
        told.entry((&report.session, &report.exec_id)).or_insert(report);
    }
    let mut taken: BTreeMap<&str, i64> = BTreeMap::new();
    let mut ours: BTreeMap<(&str, &str), &Rec<ExecutionReport>> = BTreeMap::new();
    for rec in &facts.reports {
        let seq = taken.entry(&rec.value.session).or_default();
        *seq = (*seq).max(rec.value.in_seq);
        if rec.value.exec_type == ExecType::Trade {
            ours.insert((&rec.value.session, &rec.value.exec_id), rec);
        }
    }
    let end = venue.reports.iter().map(|report| report.emitted_at).max().unwrap_or_default();
    for (key, report) in &told {
        exam.saw();
        match ours.get(key) {
            Some(rec) => exam.require(same(report, &rec.value), || {
                format!("{} {}: the venue's figures are not those of the report at {}", key.0, key.1, rec.at())
            }),
            None => {
                let unseen = report.seq > taken.get(key.0).copied().unwrap_or_default();
                let on_the_way = facts.under_way || unseen && end.saturating_sub(report.emitted_at) <= ON_THE_WAY_US;
                exam.require(on_the_way, || format!("{} {}: the venue's fill has no report", key.0, key.1));
            }
        }
    }
    for (key, rec) in &ours {
        exam.saw();
        exam.require(told.contains_key(key), || {
            format!("{} {}: the report at {} is no fill of the venue", key.0, key.1, rec.at())
        });
    }
    exam.done()
}

fn same(venue: &VenueReport, ours: &ExecutionReport) -> bool {
    venue.cl_ord_id == ours.cl_ord_id
        && venue.instrument_id == ours.instrument_id
        && venue.venue == ours.venue
        && venue.side == ours.side.as_str()
        && venue.last_qty.map(|d| d.0) == ours.last_qty.map(|q| q.unscaled())
        && venue.last_px.map(|d| d.0) == ours.last_px.map(|px| px.unscaled())
        && venue.fee.map(|d| d.0) == ours.fee.map(|fee| fee.unscaled())
        && venue.fee_currency == ours.fee_currency
}

/// Lower-case hex SHA-256 of the fields joined by `|`: the definition in the contract of ChildOrder.
fn approval_hash(action: &str, cl_ord_id: &str, orig: &str, order: &VenueOrder) -> String {
    let quantity = text(order.quantity.0);
    let limit = order.limit_price.map(|limit| text(limit.0)).unwrap_or_default();
    let fields = [
        action,
        cl_ord_id,
        orig,
        &order.account_id,
        &order.instrument_id,
        &order.venue,
        &order.side,
        &order.ord_type,
        &quantity,
        &limit,
        &order.time_in_force,
    ];
    Sha256::digest(fields.join("|")).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What stands behind messages: intents by (session, ClOrdID), approved children by ClOrdID.
struct Behind<'a> {
    intents: BTreeMap<(&'a str, &'a str), &'a Rec<Intent>>,
    children: BTreeMap<(&'a str, &'a str), &'a Rec<ChildOrder>>,
}

/// A message that the venue took in.
struct Message<'a> {
    session: &'a str,
    cl_ord_id: &'a str,
    action: ChildAction,
    sent_at: i64,
    /// Recomputed from the venue's own fields; `None` for a cancel of an order that the venue does not have.
    hash: Option<String>,
}

/// Every order and cancel in the venue's journal has one earlier intent, and an earlier risk pass, whose approval hash is
/// the one recomputed from the fields in the venue's journal. No ClOrdID stands there twice, and none is executed beyond
/// its quantity.
pub(crate) fn venue_orders_approved(facts: &Facts) -> Check {
    let mut exam = Exam::new("venue_orders_approved");
    let Some(venue) = &facts.venue else { return exam.done() };
    let behind = Behind {
        intents: facts
            .intents
            .iter()
            .map(|r| ((r.value.session.as_str(), r.value.child.cl_ord_id.as_str()), r))
            .collect(),
        children: facts.children.iter().map(|r| ((r.value.session.as_str(), r.value.cl_ord_id.as_str()), r)).collect(),
    };
    let mut used = BTreeSet::new();
    for message in messages(venue) {
        exam.saw();
        let name = format!("{} {} ({})", message.session, message.cl_ord_id, message.action.as_str());
        let new = used.insert((message.session, message.cl_ord_id));
        exam.require(new, || format!("{name} is in the venue's journal twice"));
        approved(&message, &behind, &name, &mut exam);
    }
    executed_once(venue, &mut exam);
    exam.done()
}

fn messages(venue: &VenueJournal) -> Vec<Message<'_>> {
    let orders: BTreeMap<(&str, &str), &VenueOrder> =
        venue.orders.iter().map(|order| ((order.session.as_str(), order.client_order_id.as_str()), order)).collect();
    let of_order = |order: &VenueOrder| approval_hash("NEW", &order.client_order_id, "", order);
    let of_cancel = |cancel: &VenueCancel| {
        let order = orders.get(&(cancel.session.as_str(), cancel.orig_client_order_id.as_str()))?;
        Some(approval_hash("CANCEL", &cancel.client_order_id, &cancel.orig_client_order_id, order))
    };
    let news = venue.orders.iter().map(|order| Message {
        session: &order.session,
        cl_ord_id: &order.client_order_id,
        action: ChildAction::New,
        sent_at: order.sent_at,
        hash: Some(of_order(order)),
    });
    let cancels = venue.cancels.iter().map(|cancel| Message {
        session: &cancel.session,
        cl_ord_id: &cancel.client_order_id,
        action: ChildAction::Cancel,
        sent_at: cancel.sent_at,
        hash: of_cancel(cancel),
    });
    news.chain(cancels).collect()
}

fn approved(message: &Message<'_>, behind: &Behind<'_>, name: &str, exam: &mut Exam) {
    let key = (message.session, message.cl_ord_id);
    let Some(intent) = behind.intents.get(&key).map(|rec| &rec.value) else {
        return exam.fault(|| format!("{name} has no intent"));
    };
    let Some(child) = behind.children.get(&key).map(|rec| &rec.value) else {
        return exam.fault(|| format!("{name} has no risk pass"));
    };
    exam.require(intent.timestamp.micros() <= message.sent_at, || {
        format!("{name} was sent at {}, its intent is of {}", message.sent_at, intent.timestamp.micros())
    });
    exam.require(child.timestamp <= intent.timestamp, || format!("{name}: its intent is older than its risk pass"));
    exam.require(child.action == message.action && intent.child.action == message.action, || {
        format!("{name} was approved as {}", child.action.as_str())
    });
    let identity = |c: &ChildOrder| (c.order_id.clone(), c.portfolio_id.clone(), c.broker.clone(), c.slice_no, c.leg);
    exam.require(identity(child) == identity(&intent.child), || {
        format!("{name}: the intent is for another order or broker than the risk pass")
    });
    let expected = message.hash.as_deref().unwrap_or_default();
    exam.require(child.approval_hash == expected && intent.child.approval_hash == expected, || {
        format!("{name}: approved {}, the venue's fields hash to {expected:?}", child.approval_hash)
    });
    let passed = message.action == ChildAction::Cancel
        || (!child.checks.is_empty() && child.checks.iter().all(|check| check.passed));
    exam.require(passed, || format!("{name}: its risk pass has no checks or a failed one"));
}

fn executed_once(venue: &VenueJournal, exam: &mut Exam) {
    let mut seen = BTreeSet::new();
    let mut filled: BTreeMap<(&str, &str), i128> = BTreeMap::new();
    for report in venue.reports.iter().filter(|report| report.exec_type == TRADE) {
        if seen.insert((&report.session, &report.exec_id)) {
            let sum = filled.entry((&report.session, &report.cl_ord_id)).or_default();
            *sum += report.last_qty.map_or(0, |qty| qty.0);
        }
    }
    for order in &venue.orders {
        let filled = filled.remove(&(order.session.as_str(), order.client_order_id.as_str())).unwrap_or_default();
        exam.require(filled <= order.quantity.0, || {
            format!("{} {} was executed for {}", order.session, order.client_order_id, text(filled))
        });
    }
    for (session, cl_ord_id) in filled.into_keys() {
        exam.fault(|| format!("{session} {cl_ord_id} was executed, but never sent"));
    }
}

/// Outbound sequence numbers of each session count from 1 without gaps in the order of the log, a session stays in one
/// partition, and no ClOrdID has two intents.
pub(crate) fn intents_gapless(facts: &Facts) -> Check {
    let mut exam = Exam::new("intents_gapless");
    let mut sessions: BTreeMap<&str, Vec<&Rec<Intent>>> = BTreeMap::new();
    for rec in &facts.intents {
        sessions.entry(&rec.value.session).or_default().push(rec);
    }
    for (session, mut intents) in sessions {
        intents.sort_by_key(|rec| (rec.partition, rec.offset));
        let mut ids = BTreeSet::new();
        let partition = intents.first().map(|rec| rec.partition);
        for (expected, rec) in (1_i64..).zip(&intents) {
            exam.saw();
            let intent = &rec.value;
            exam.require(intent.out_seq == expected, || {
                format!("{session}: number {} at {}, where {expected} should be", intent.out_seq, rec.at())
            });
            exam.require(Some(rec.partition) == partition, || {
                format!("{session} is in two partitions, at {}", rec.at())
            });
            let new = ids.insert(intent.child.cl_ord_id.as_str());
            exam.require(new, || format!("{session}: {} has two intents", intent.child.cl_ord_id));
            exam.require(intent.child.session == session, || {
                format!("{session}: the intent at {} is for {}", rec.at(), intent.child.session)
            });
        }
    }
    exam.done()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::clean;
    use crate::venue::Dec;

    fn found(check: fn(&Facts) -> Check, change: impl FnOnce(&mut Facts, &mut VenueJournal)) -> u64 {
        let mut facts = clean();
        let mut venue = facts.venue.take().unwrap();
        change(&mut facts, &mut venue);
        facts.venue = Some(venue);
        check(&facts).violations
    }

    fn is_trade(report: &VenueReport) -> bool {
        report.exec_type == TRADE
    }

    #[test]
    fn fills_that_one_side_lacks_or_that_differ_are_found() {
        assert_eq!(found(fills_match_venue, |_, v| v.reports.retain(|r| !is_trade(r))), 2);
        assert_eq!(found(fills_match_venue, |f, _| f.reports.retain(|r| r.value.exec_type != ExecType::Trade)), 2);
        for change in [
            (|r| r.last_px = Some(Dec(1))) as fn(&mut VenueReport),
            |r| r.last_qty = Some(Dec(1)),
            |r| r.fee = None,
            |r| r.venue = "OTHER".into(),
        ] {
            let tampered =
                |_: &mut Facts, v: &mut VenueJournal| change(v.reports.iter_mut().find(|r| is_trade(r)).unwrap());
            assert_eq!(found(fills_match_venue, tampered), 1);
        }
    }

    #[test]
    fn only_a_fill_of_the_last_seconds_may_be_on_its_way() {
        let later = |by: i64| {
            move |_: &mut Facts, v: &mut VenueJournal| {
                let mut late = v.reports.iter().find(|r| is_trade(r)).unwrap().clone();
                (late.seq, late.exec_id) = (1_000, "LATE".into());
                let mut last = late.clone();
                last.exec_type = "NEW".into();
                last.emitted_at += by;
                v.reports.extend([late, last]);
            }
        };
        assert_eq!(found(fills_match_venue, later(ON_THE_WAY_US)), 0);
        assert_eq!(found(fills_match_venue, later(ON_THE_WAY_US + 1)), 1);
    }

    #[test]
    fn messages_without_intent_or_pass_or_with_changed_fields_are_found() {
        let of = |change: fn(&mut Facts, &mut VenueJournal)| found(venue_orders_approved, change);
        assert_eq!(of(|_, _| {}), 0);
        assert_eq!(of(|f, _| drop(f.intents.remove(0))), 1);
        assert_eq!(of(|f, _| drop(f.children.remove(0))), 1);
        assert!(of(|_, v| v.orders[0].quantity = Dec(1)) > 0);
        assert_eq!(of(|_, v| v.orders[0].limit_price = Some(Dec(1))), 1);
        assert_eq!(of(|_, v| v.orders[0].account_id = "OTHER".into()), 1);
        assert_eq!(of(|_, v| v.orders[0].sent_at = 0), 1);
        assert_eq!(of(|_, v| v.cancels[0].orig_client_order_id = "OTHER".into()), 1);
        assert_eq!(of(|f, _| f.children[0].value.checks.clear()), 1);
        assert_eq!(of(|f, _| f.children[0].value.order_id = "OTHER".into()), 1);
        assert_eq!(of(|_, v| v.orders.push(v.orders[0].clone())), 1);
        assert_eq!(
            of(|_, v| v.reports.iter_mut().find(|r| is_trade(r)).unwrap().last_qty = Some(Dec(i128::MAX / 4))),
            1
        );
        assert_eq!(of(|_, v| v.reports.iter_mut().find(|r| is_trade(r)).unwrap().cl_ord_id = "GHOST".into()), 1);
    }

    #[test]
    fn the_hash_is_that_of_the_contract() {
        let order = VenueOrder {
            session: "S".into(),
            client_order_id: "0123456789ABCDEFGH00".into(),
            account_id: "A1".into(),
            instrument_id: "BTCUSDT".into(),
            venue: "XA".into(),
            side: "BUY".into(),
            ord_type: "LIMIT".into(),
            quantity: Dec(150_000_000),
            limit_price: Some(Dec(6_183_001_000_000)),
            time_in_force: "DAY".into(),
            sent_at: 0,
        };
        // printf %s 'NEW|0123456789ABCDEFGH00||A1|BTCUSDT|XA|BUY|LIMIT|1.5|61830.01|DAY' | sha256sum
        let hash = approval_hash("NEW", "0123456789ABCDEFGH00", "", &order);
        assert_eq!(hash, "56058c40f40c14b4d228eac035b14a12a5ae8e932c9a9720249066734914ba2a");
    }

    #[test]
    fn gaps_and_repeats_of_intents_are_found() {
        assert_eq!(found(intents_gapless, |_, _| {}), 0);
        assert!(found(intents_gapless, |f, _| drop(f.intents.remove(0))) > 0);
        assert_eq!(found(intents_gapless, |f, _| f.intents[0].value.out_seq = 7), 1);
        let twice = |f: &mut Facts, _: &mut VenueJournal| {
            let id = f.intents[0].value.child.cl_ord_id.clone();
            f.intents[1].value.child.cl_ord_id = id;
        };
        assert_eq!(found(intents_gapless, twice), 1);
    }
}
