//! Plan and apply against a real cluster.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use common::{eventually, kafka, unique};
use fillstream_kafka::client::ClientError;
use fillstream_kafka::topics::{ApplyOptions, Plan, ResolvedTopic, apply, plan, read_cluster};

fn wanted(name: &str, partitions: i32, retention: &str, fixed: bool) -> ResolvedTopic {
    ResolvedTopic {
        name: name.into(),
        partitions,
        replication: 1,
        settings: BTreeMap::from([
            ("cleanup.policy".into(), "delete".into()),
            ("min.insync.replicas".into(), "1".into()),
            ("retention.ms".into(), retention.into()),
            ("segment.bytes".into(), "67108864".into()),
        ]),
        fixed_count: fixed.then_some("a test says so"),
    }
}

fn planned(topics: &[ResolvedTopic], options: ApplyOptions) -> Plan {
    plan(topics, &read_cluster(kafka().admin(), topics).unwrap(), options)
}

fn settled(topics: &[ResolvedTopic]) {
    let all = || planned(topics, ApplyOptions::default());
    eventually("a cluster as wanted", || all().is_empty().then_some(()));
    assert_eq!(all().unchanged, topics.len());
}

#[test]
fn apply_creates_changes_and_then_has_nothing_left_to_do() {
    let kafka = kafka();
    let (a, b) = (unique("a"), unique("b"));
    let topics = [wanted(&a, 2, "86400000", true), wanted(&b, 1, "86400000", false)];
    let first = planned(&topics, ApplyOptions::default());
    assert!(first.to_string().contains(&format!("+ create {a}")), "{first}");
    apply(kafka.admin(), &first).unwrap();
    settled(&topics);

    let topics = [wanted(&a, 2, "172800000", true), wanted(&b, 3, "86400000", false)];
    let second = planned(&topics, ApplyOptions::default());
    let text = second.to_string();
    assert!(text.contains("~ change retention.ms 86400000 -> 172800000"), "{text}");
    assert!(text.contains("~ change partitions 1 -> 3"), "{text}");
    apply(kafka.admin(), &second).unwrap();
    settled(&topics);
}

#[test]
fn a_setting_by_hand_is_taken_back_and_the_others_stay() {
    let kafka = kafka();
    let name = unique("hand");
    let topics = [wanted(&name, 1, "86400000", true)];
    apply(kafka.admin(), &planned(&topics, ApplyOptions::default())).unwrap();
    settled(&topics);
    kafka.admin().alter(&name, &[("flush.messages".into(), Some("7".into()))]).unwrap();
    let drift = eventually("the drift", || {
        Some(planned(&topics, ApplyOptions::default()))
            .filter(|p| p.to_string().contains("remove flush.messages (was 7)"))
    });
    assert_eq!(drift.changes.len(), 1, "{drift}");
    apply(kafka.admin(), &drift).unwrap();
    settled(&topics);
}

#[test]
fn refused_changes_are_not_made() {
    let kafka = kafka();
    let name = unique("refused");
    let before = [wanted(&name, 2, "86400000", true)];
    apply(kafka.admin(), &planned(&before, ApplyOptions::default())).unwrap();
    settled(&before);
    let after = [wanted(&name, 4, "3600000", true)];
    let p = planned(&after, ApplyOptions::default());
    assert_eq!((p.changes.len(), p.refusals.len()), (0, 2), "{p}");
    apply(kafka.admin(), &p).unwrap();
    settled(&before);
    let p = planned(&after, ApplyOptions { allow_data_loss: true });
    assert_eq!((p.changes.len(), p.refusals.len()), (1, 1), "the count stays fixed even then: {p}");
}

#[test]
fn a_topic_that_a_lost_answer_has_made_is_as_good_and_another_one_is_not() {
    let kafka = kafka();
    let name = unique("again");
    let topics = [wanted(&name, 2, "86400000", true)];
    let first = planned(&topics, ApplyOptions::default());
    apply(kafka.admin(), &first).unwrap();
    // The same plan again: what a client does that has not heard the answer.
    apply(kafka.admin(), &first).unwrap();
    settled(&topics);
    for other in [wanted(&name, 3, "86400000", true), wanted(&name, 2, "172800000", true)] {
        let refused = kafka.admin().create(&name, other.partitions, 1, &other.settings).unwrap_err();
        assert!(
            matches!(refused, ClientError::Fatal { .. }) && refused.to_string().contains("exists with"),
            "{refused}"
        );
    }
    settled(&topics);
}
