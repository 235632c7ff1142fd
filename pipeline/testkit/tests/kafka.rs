//! What the simulated Kafka does while markers are on their way; that it does as a real one does is for the histories in
//! `pipeline/kafka/tests/histories` to show.
#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

use fillstream_core::TimestampMicros;
use fillstream_core::record::Payload;
use fillstream_testkit::{Committed, Log, LogError, LogRecord, Outcome};

fn record(key: &str) -> LogRecord {
    LogRecord {
        key: key.into(),
        value: Some(Payload::Avro(key.as_bytes().into())),
        headers: Vec::new(),
        timestamp: TimestampMicros::from_micros(0),
    }
}

fn at(offset: i64) -> [(String, i32, Committed); 1] {
    [("t".to_owned(), 0, Committed { offset, metadata: String::new() })]
}

fn keys(log: &Log, topic: &str) -> Vec<(i64, String)> {
    log.read(topic, 0, 0).0.into_iter().map(|(o, r)| (o, r.key.to_string())).collect()
}

fn held() -> Log {
    let mut log = Log::default();
    log.hold_markers();
    log
}

#[test]
fn readers_see_committed_records_only_and_markers_take_offsets() {
    let mut log = Log::default();
    let p = log.init_transactions("p");
    log.begin(&p).unwrap();
    log.append(&p, "t", 0, record("aborted")).unwrap();
    log.abort(&p).unwrap();
    log.begin(&p).unwrap();
    log.append(&p, "t", 0, record("a")).unwrap();
    log.append_plain("t", 0, record("plain"));
    assert_eq!((keys(&log, "t"), log.read("t", 0, 0).1), (vec![], 2), "an open transaction holds back what is behind");
    assert_eq!((log.last_stable_offset("t", 0), log.end_offset("t", 0)), (2, 4));
    log.commit(&p).unwrap();
    assert_eq!(keys(&log, "t"), [(2, "a".to_owned()), (3, "plain".to_owned())]);
    assert_eq!((log.read("t", 0, 0).1, log.end_offset("t", 0)), (5, 5));
}

#[test]
fn a_decision_reaches_each_partition_on_its_own() {
    let mut log = held();
    let p = log.init_transactions("p");
    log.begin(&p).unwrap();
    log.append(&p, "t", 0, record("a")).unwrap();
    log.append(&p, "u", 0, record("b")).unwrap();
    log.send_offsets(&p, "g", 0, at(7)).unwrap();
    log.commit(&p).unwrap();
    assert_eq!((log.pending_markers(), keys(&log, "t").len(), keys(&log, "u").len()), (3, 0, 0));
    assert_eq!(log.decided("u", 0, 0).len(), 1, "it is decided");
    assert_eq!(log.history().len(), 2);
    log.land(1);
    assert_eq!((keys(&log, "t").len(), keys(&log, "u").len()), (0, 1), "a torn view, as readers of two topics have it");
    assert!(matches!(log.stable_offset("g", "t", 0), Err(LogError::Unstable { .. })));
    log.land(1);
    assert_eq!(log.stable_offset("g", "t", 0).unwrap().map(|c| c.offset), Some(7), "before the records of t");
    assert_eq!(log.held_by("t", 0), Some("p"));
    log.land(0);
    assert_eq!(keys(&log, "t").len(), 1);
}

#[test]
fn the_next_transaction_waits_for_the_markers_of_the_last() {
    let mut log = held();
    let p = log.init_transactions("p");
    log.begin(&p).unwrap();
    log.append(&p, "t", 0, record("a")).unwrap();
    log.commit(&p).unwrap();
    assert_eq!(log.add_partition(&p, "t", 0), Err(LogError::Concurrent { id: "p".to_owned() }));
    assert_eq!(log.end_transaction(&p, Outcome::Committed), Err(LogError::Concurrent { id: "p".to_owned() }));
    log.begin(&p).unwrap();
    log.append(&p, "t", 0, record("b")).unwrap();
    assert_eq!((log.waits(), log.pending_markers()), (1, 0), "the client has waited");
    log.commit(&p).unwrap();
    assert_eq!(log.init_producer_id("p"), Err(LogError::Concurrent { id: "p".to_owned() }));
    log.land_all();
    assert_eq!(log.end_transaction(&p, Outcome::Committed), Ok(()), "a repeated request");
    assert_eq!(log.end_transaction(&p, Outcome::Aborted), Err(LogError::InvalidState { id: "p".to_owned() }));
}

#[test]
fn a_successor_aborts_and_fences_and_a_zombie_writes_until_the_marker_comes() {
    let mut log = held();
    let old = log.init_transactions("p");
    log.begin(&old).unwrap();
    log.append(&old, "t", 0, record("a")).unwrap();
    log.expire("p");
    assert!(log.append(&old, "t", 0, record("zombie")).is_ok(), "its leader has not heard yet");
    let fenced = || LogError::Fenced { id: "p".to_owned() };
    assert_eq!(log.append(&old, "u", 0, record("zombie")), Err(fenced()), "a new partition is asked for");
    log.land_all();
    assert_eq!(log.append(&old, "t", 0, record("zombie")), Err(fenced()));
    assert_eq!(log.commit(&old), Err(fenced()));
    assert_eq!(keys(&log, "t"), []);
    assert!(log.history().is_empty());
}

#[test]
fn offsets_belong_to_the_transaction_and_to_a_generation() {
    let mut log = Log::default();
    let p = log.init_transactions("p");
    log.begin(&p).unwrap();
    log.send_offsets(&p, "g", 0, at(7)).unwrap();
    assert!(matches!(log.stable_offset("g", "t", 0), Err(LogError::Unstable { .. })));
    // A rebalance after the offsets are in changes nothing any more.
    log.rebalance("g");
    log.commit(&p).unwrap();
    assert_eq!(log.stable_offset("g", "t", 0).unwrap().map(|c| c.offset), Some(7));
    log.begin(&p).unwrap();
    assert!(matches!(log.send_offsets(&p, "g", 0, at(9)), Err(LogError::StaleGeneration { .. })));
    log.abort(&p).unwrap();
    assert_eq!(log.stable_offset("g", "t", 0).unwrap().map(|c| c.offset), Some(7));
}

#[test]
fn a_late_end_of_the_last_transaction_ends_the_next_one_unless_its_epoch_is_fenced() {
    let mut log = Log::default();
    let p = log.init_transactions("p");
    log.begin(&p).unwrap();
    log.append(&p, "t", 0, record("first")).unwrap();
    log.commit(&p).unwrap();
    log.begin(&p).unwrap();
    log.append(&p, "t", 0, record("half of the second")).unwrap();
    log.end_transaction(&p, Outcome::Committed).unwrap();
    assert_eq!(keys(&log, "t").len(), 2, "KAFKA-17754");
    assert_eq!(log.append(&p, "t", 0, record("rest")), Err(LogError::InvalidState { id: "p".to_owned() }));
    let fresh = log.init_transactions("p");
    log.begin(&fresh).unwrap();
    log.append(&fresh, "t", 0, record("third")).unwrap();
    assert_eq!(log.end_transaction(&p, Outcome::Committed), Err(LogError::Fenced { id: "p".to_owned() }));
    log.abort(&fresh).unwrap();
    assert_eq!(keys(&log, "t").len(), 2);
}
