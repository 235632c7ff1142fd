//! The clock of a process against that of a real broker.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use common::kafka;
use fillstream_kafka::client::KafkaClient;
use fillstream_kafka::startup::{StartError, check_clock};
use fillstream_kafka::topics::TIME_TOPIC;

fn shifted(by_s: i64) -> impl Fn() -> i64 {
    move || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
        i64::try_from(now).unwrap() + by_s * 1_000_000
    }
}

#[test]
fn a_clock_that_differs_from_the_brokers_is_refused() {
    let kafka = kafka();
    let stamped = BTreeMap::from([("message.timestamp.type".to_owned(), "LogAppendTime".to_owned())]);
    kafka.admin().create(TIME_TOPIC, 1, 1, &stamped).unwrap();
    assert!(kafka.describe(&[TIME_TOPIC]).unwrap().contains_key(TIME_TOPIC));
    check_clock(&kafka, 2_000, shifted(0)).unwrap();
    for (by_s, ahead) in [(3_600, true), (-3_600, false), (86_400 * 400, true)] {
        match check_clock(&kafka, 2_000, shifted(by_s)) {
            Err(StartError::Clock { by_ms, is_ahead, tolerance_ms: 2_000 }) => {
                assert_eq!(is_ahead, ahead);
                assert!((by_ms - by_s.abs() * 1_000).abs() < 60_000, "{by_ms}");
            }
            other => panic!("{other:?}"),
        }
        check_clock(&kafka, by_s.abs() * 1_000 + 60_000, shifted(by_s)).unwrap();
    }
}

#[test]
fn a_topic_that_keeps_the_writers_time_is_no_clock() {
    let kafka = kafka();
    let topic = common::topic(&kafka, "writers-time", 1, &[]);
    let refused = kafka.append_time_ms(&topic).unwrap_err().to_string();
    assert!(refused.contains("keeps the writer's time"), "{refused}");
}
