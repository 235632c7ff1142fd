use super::*;
use fillstream_child_risk::approval_hash;
use fillstream_domain::{ExecType, LiquidityFlag};
use fillstream_schemas::codec::AvroRecord;

pub(super) fn at(micros: i64) -> TimestampMicros {
    TimestampMicros::from_micros(micros)
}

pub(super) fn identity() -> Identity {
    let closed_grace = DurationMicros::from_micros(1_000).unwrap();
    Identity {
        session: "S".into(),
        partition: 3,
        send_within_us: 2_000_000,
        closed_grace,
        sampler: Sampler::per_million(1_000_000),
    }
}

pub(super) fn empty() -> Session {
    Restore::default().into_session(identity(), "topic-id", 0).unwrap()
}

pub(super) fn child(offset: i64, action: ChildAction, id: &str, of: Option<&str>) -> ChildInput {
    let mut child = ChildOrder {
        action,
        cl_ord_id: id.into(),
        orig_cl_ord_id: of.map(str::to_owned),
        order_id: "O1".into(),
        portfolio_id: "P1".into(),
        account_id: "A1".into(),
        instrument_id: "ACME".into(),
        session: "S".into(),
        broker: "B".into(),
        venue: "XALP".into(),
        quantity: "100".parse().unwrap(),
        slice_no: 4,
        leg: 2,
        ..ChildOrder::default()
    };
    child.approval_hash = approval_hash(&child);
    ChildInput { offset, child, origin_us: Some(7), trace: None }
}

pub(super) fn report(
    seq: i64,
    exec_id: &str,
    id: &str,
    exec_type: ExecType,
    status: OrdStatus,
    cum: i64,
) -> BrokerReport {
    let total = Quantity::from_int(100).unwrap();
    let cum = Quantity::from_int(cum).unwrap();
    BrokerReport {
        seq,
        exec_id: exec_id.into(),
        ref_exec_id: None,
        cl_ord_id: id.into(),
        orig_cl_ord_id: None,
        exec_type,
        ord_status: status,
        ord_qty: total,
        last_qty: None,
        last_px: None,
        cum_qty: cum,
        leaves_qty: if status.is_terminal() { Quantity::ZERO } else { total.less_at_most(cum) },
        avg_px: None,
        fee: None,
        fee_currency: None,
        liquidity: LiquidityFlag::Unknown,
        transact_at: at(5),
        reject_code: None,
        text: None,
    }
}

pub(super) fn reports(commit: &Commit) -> Vec<ExecutionReport> {
    let of = |out: &OutRecord| (out.topic == REPORTS).then(|| ExecutionReport::decode(&out.payload).unwrap());
    commit.outputs.iter().filter_map(of).collect()
}

pub(super) fn intents(commit: &Commit) -> Vec<Intent> {
    let of = |out: &OutRecord| (out.topic == INTENTS).then(|| Intent::decode(&out.payload).unwrap());
    commit.outputs.iter().filter_map(of).collect()
}

fn run(session: &mut Session, now: i64, work: impl FnOnce(&mut Session)) -> Commit {
    session.begin(at(now));
    work(session);
    session.finish()
}

fn with_order(id: &str) -> Session {
    let mut session = empty();
    run(&mut session, 10, |s| s.take_child(child(0, ChildAction::New, id, None), Ok(())));
    session.answer(id, &Answer::Received);
    session
}

fn codes(commit: &Commit) -> Vec<String> {
    reports(commit).into_iter().map(|r| r.reject_code.unwrap_or_default()).collect()
}

#[test]
fn intents_are_numbered_without_gaps_and_stay_pending_until_answered() {
    let mut session = empty();
    let commit = run(&mut session, 10, |s| {
        s.take_child(child(0, ChildAction::New, "C1", None), Ok(()));
        s.take_child(child(1, ChildAction::New, "C2", None), Err(Refusal::new(Reason::Killed, "k")));
        s.take_child(child(2, ChildAction::New, "C3", None), Ok(()));
    });
    let numbers: Vec<_> = intents(&commit).iter().map(|i| (i.out_seq, i.child.cl_ord_id.clone())).collect();
    assert_eq!(numbers, [(1, "C1".into()), (2, "C3".into())]);
    assert_eq!(commit.head.input_offset, 3);
    assert_eq!(session.pending().iter().map(|i| i.timestamp).collect::<Vec<_>>(), [at(10), at(10)]);
    session.answer("C1", &Answer::Received);
    assert_eq!(session.pending().len(), 1);
    let refused = &reports(&commit)[0];
    assert_eq!((refused.exec_type, refused.ord_status), (ExecType::Rejected, OrdStatus::Rejected));
    assert!(refused.synthetic && refused.in_seq == 0 && refused.leaves_qty.is_zero());
    assert_eq!((refused.slice_no, refused.leg, refused.portfolio_id.as_str()), (4, 2, "P1"));
}

#[test]
fn a_report_gets_what_only_we_know_and_is_taken_once() {
    let mut session = with_order("C1");
    let first = report(1, "E1", "C1", ExecType::New, OrdStatus::New, 0);
    let repeat = BrokerReport { seq: 2, ..first.clone() };
    let commit = run(&mut session, 20, |s| {
        s.take_report(first.clone()).unwrap();
        s.take_report(first.clone()).unwrap();
        s.take_report(repeat).unwrap();
    });
    let made = reports(&commit);
    assert_eq!(made.len(), 1, "once by number and once by ExecID");
    assert_eq!((made[0].order_id.as_str(), made[0].in_seq, made[0].timestamp), ("O1", 1, at(20)));
    assert_eq!(made[0].event_id, Lineage::root(REPORTS, "S/1").to_string());
    assert_eq!(commit.head.in_seq, 2);
    let missing = session.take_report(report(4, "E4", "C1", ExecType::Trade, OrdStatus::Filled, 100));
    assert!(matches!(missing, Err(GatewayError::Gap { expected: 3, got: 4, .. })));
}

#[test]
fn an_ended_order_is_kept_for_its_grace_so_that_a_late_fill_finds_it() {
    let mut session = with_order("C1");
    run(&mut session, 20, |s| {
        s.take_report(report(1, "E1", "C1", ExecType::Canceled, OrdStatus::Canceled, 0)).unwrap();
    });
    let late = run(&mut session, 1_019, |s| {
        s.take_report(report(2, "E2", "C1", ExecType::Trade, OrdStatus::Canceled, 100)).unwrap();
    });
    assert_eq!(reports(&late).len(), 1);
    let gone = run(&mut session, 1_020, |_| {});
    let deleted: Vec<_> = gone.changelog.iter().filter(|e| e.value.is_none()).map(|e| e.key.as_str()).collect();
    assert_eq!(deleted, ["S/C1", "S/C1/E1", "S/C1/E2"]);
    let stray = run(&mut session, 1_021, |s| {
        s.take_report(report(3, "E3", "C1", ExecType::Trade, OrdStatus::Canceled, 100)).unwrap();
    });
    assert_eq!((reports(&stray).len(), stray.strays.len()), (0, 1), "nothing is lost in silence");
}

#[test]
fn a_cancel_needs_an_order_that_works() {
    let mut session = with_order("C1");
    let commit = run(&mut session, 20, |s| {
        s.take_child(child(1, ChildAction::Cancel, "X1", Some("nobody")), Ok(()));
        s.take_child(child(2, ChildAction::Cancel, "X2", None), Ok(()));
        s.take_child(child(3, ChildAction::Replace, "X3", Some("C1")), Ok(()));
        s.take_child(child(4, ChildAction::Cancel, "X4", Some("C1")), Ok(()));
    });
    assert_eq!(codes(&commit), ["UNKNOWN_ORDER", "UNKNOWN_ORDER", "REPLACE_NOT_SUPPORTED"]);
    assert!(reports(&commit).iter().all(|r| r.exec_type == ExecType::OrderStatus));
    assert_eq!(reports(&commit)[2].ord_status, OrdStatus::PendingNew, "the order still stands as it stood");
    assert_eq!(intents(&commit).len(), 1);
    let cancelled = BrokerReport {
        orig_cl_ord_id: Some("C1".into()),
        ..report(1, "E1", "X4", ExecType::Canceled, OrdStatus::Canceled, 40)
    };
    let commit = run(&mut session, 30, |s| {
        s.take_report(cancelled).unwrap();
        s.take_child(child(5, ChildAction::Cancel, "X5", Some("C1")), Ok(()));
    });
    assert_eq!(codes(&commit), ["", "ORDER_CLOSED"]);
    let refused = &reports(&commit)[1];
    assert_eq!((refused.ord_status, refused.cum_qty), (OrdStatus::Canceled, Quantity::from_int(40).unwrap()));
    assert_eq!(session.order("X4").unwrap().closed_at, Some(at(30)));
}

#[test]
fn a_refusal_after_the_intent_closes_the_order_and_its_cancel_goes_nowhere() {
    let mut session = empty();
    run(&mut session, 10, |s| s.take_child(child(0, ChildAction::New, "C1", None), Ok(())));
    session.answer("C1", &Answer::NotSent(Refusal::new(Reason::SendDeadline, "late")));
    session.answer("C1", &Answer::Received);
    let commit = run(&mut session, 20, |s| s.take_child(child(1, ChildAction::Cancel, "X1", Some("C1")), Ok(())));
    assert_eq!(codes(&commit), ["SEND_DEADLINE", "ORDER_CLOSED"]);
    assert!(session.pending().is_empty());
}

#[test]
fn an_unknown_outcome_stays_open_until_the_broker_speaks() {
    let mut session = empty();
    run(&mut session, 10, |s| s.take_child(child(0, ChildAction::New, "C1", None), Ok(())));
    session.answer("C1", &Answer::Unknown("lost".into()));
    let commit = run(&mut session, 20, |_| {});
    let made = &reports(&commit)[0];
    assert_eq!((made.exec_type, made.ord_status), (ExecType::OrderStatus, OrdStatus::Unknown));
    assert_eq!(made.leaves_qty, Quantity::from_int(100).unwrap());
    assert_eq!(made.reject_code.as_deref(), Some("SEND_OUTCOME_UNKNOWN"));
    let far = run(&mut session, 1_000_000, |_| {});
    assert!(far.outputs.is_empty(), "no timer turns it into anything else");
    run(&mut session, 1_000_001, |s| {
        s.take_report(report(1, "E1", "C1", ExecType::New, OrdStatus::New, 0)).unwrap();
    });
    assert_eq!(session.order("C1").unwrap().ord_status, OrdStatus::New);
}

#[test]
fn another_instruction_under_a_used_id_is_nobodys_reject() {
    let mut session = with_order("C1");
    let mut other = child(1, ChildAction::New, "C1", None);
    other.child.quantity = Quantity::from_int(7).unwrap();
    let commit = run(&mut session, 20, |s| {
        s.take_child(child(1, ChildAction::New, "C1", None), Ok(()));
        s.take_child(other, Ok(()));
    });
    assert_eq!((commit.outputs.len(), commit.strays.len()), (0, 1));
}

#[test]
fn synthetic_reports_come_after_the_brokers_and_in_their_own_order() {
    let mut session = with_order("C1");
    let kill = || Err(Refusal::new(Reason::Killed, "k"));
    let commit = run(&mut session, 20, |s| {
        s.take_report(report(1, "E1", "C1", ExecType::New, OrdStatus::New, 0)).unwrap();
        s.take_child(child(1, ChildAction::New, "C2", None), kill());
        s.take_child(child(2, ChildAction::New, "C3", None), kill());
    });
    let again = run(&mut session, 30, |s| s.take_child(child(3, ChildAction::New, "C4", None), kill()));
    let orders: Vec<_> = commit.outputs.iter().chain(&again.outputs).map(|o| o.order).collect();
    assert!(orders.is_sorted() && orders.windows(2).all(|w| w[0] != w[1]), "{orders:?}");
}

#[test]
fn state_that_does_not_belong_together_is_refused() {
    let commit = {
        let mut session = empty();
        run(&mut session, 10, |s| s.take_child(child(0, ChildAction::New, "C1", None), Ok(())))
    };
    let restore = |skip: &str, session: &str| {
        let mut restore = Restore::default();
        for e in commit.changelog.iter().filter(|e| !e.store.ends_with(skip)) {
            restore.take(session, &format!("{}/{}", e.store, e.key), e.value.as_deref())?;
        }
        Ok::<_, GatewayError>(restore)
    };
    assert!(restore("none", "S").unwrap().into_session(identity(), "topic-id", 0).is_ok());
    let other_topic = restore("none", "S").unwrap().into_session(identity(), "another", 0);
    assert!(matches!(other_topic, Err(GatewayError::State { .. })));
    let headless = restore("sessions", "S").unwrap().into_session(identity(), "topic-id", 0);
    assert!(matches!(headless, Err(GatewayError::State { .. })));
    assert!(matches!(restore("none", "SX"), Err(GatewayError::State { .. })), "another session's partition");
}

fn producers() -> TraceContext {
    let parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    TraceContext::from_headers(Some(parent), None).unwrap()
}

fn restored(commits: &[&Commit]) -> Session {
    let mut restore = Restore::default();
    for entry in commits.iter().flat_map(|commit| &commit.changelog) {
        restore.take("S", &format!("{}/{}", entry.store, entry.key), entry.value.as_deref()).unwrap();
    }
    restore.into_session(identity(), "topic-id", 0).unwrap()
}

#[test]
fn intents_and_reports_stay_in_the_trace_of_their_child_order_across_a_restore() {
    let traced = |offset, id: &str| {
        let trace = Some(producers());
        ChildInput { trace, ..child(offset, ChildAction::New, id, None) }
    };
    let mut session = empty();
    let first = run(&mut session, 10, |s| {
        s.take_child(traced(0, "C1"), Ok(()));
        s.take_child(traced(1, "C2"), Ok(()));
        s.take_child(traced(2, "C3"), Err(Refusal::new(Reason::Killed, "k")));
    });
    let mut session = restored(&[&first]);
    let second = run(&mut session, 20, |s| {
        s.answer("C2", &Answer::Unknown("nobody knows".into()));
        s.answer("C1", &Answer::Received);
        s.take_report(report(1, "e1", "C1", ExecType::New, OrdStatus::New, 0)).unwrap();
    });
    let mut session = restored(&[&first, &second]);
    let third = run(&mut session, 30, |s| {
        s.take_report(report(2, "e2", "C1", ExecType::Trade, OrdStatus::Filled, 100)).unwrap();
    });
    let commits = [first, second, third];
    let outputs: Vec<_> = commits.iter().flat_map(|c| &c.outputs).collect();
    let spans: Vec<_> = commits.iter().flat_map(|c| &c.spans).collect();
    assert_eq!((outputs.len(), spans.len()), (2 + 1 + 1 + 2, 6));
    for (out, span) in outputs.iter().zip(&spans) {
        assert_eq!(out.trace.as_ref(), Some(&span.context), "a record names the span that wrote it");
        assert_eq!(span.context.trace_id(), producers().trace_id());
        // The intents, and what was refused before it became one, come of the child order; a report of what was sent.
        let parent = if matches!(span.work, SpanWork::Record { .. }) || &*span.key == "C3" {
            *producers().span_id()
        } else {
            *session.send_span(&span.key).unwrap().0.span_id()
        };
        assert_eq!(span.parent, Some(parent), "{span:?}");
    }
    let (sent, made_in) = session.send_span("C1").unwrap();
    assert_eq!(sent.trace_id(), producers().trace_id());
    assert_eq!(made_in.span_id(), spans[0].context.span_id());
}
