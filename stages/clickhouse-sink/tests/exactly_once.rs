//! Rows of ClickHouse = committed records, both ways, on real services, whatever dies.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::proxy::{Proxy, Way};
use common::{eventually, running, running_by, slice, unique, world};
use fillstream_clickhouse_sink::{BATCHES_TOPIC, Sink, SinkConfig, SinkError, table_name};
use fillstream_kafka::client::{KafkaClient, Outgoing, TransactionalProducer};
use fillstream_kafka::observe::{Health, Metrics};
use fillstream_kafka::registry::framed;
use fillstream_schemas::AvroRecord;
use fillstream_schemas::execution::{SinkBatch, Slice};

#[test]
fn committed_records_are_rows_and_nothing_else_is() {
    let (world, topic) = world(3);
    for partition in 0..3 {
        world.slices(&topic, partition, 0..100, true);
        world.slices(&topic, partition, 100..150, false);
        world.slices(&topic, partition, 150..170, true);
    }
    let good = world.framed(&topic, &slice(7));
    let poison = [
        Some(b"{\"slice_no\":1}".to_vec()),
        Some(framed(2_000_000_000, &[1, 2, 3])),
        Some(good[..good.len() - 3].to_vec()),
        None,
        Some(good.clone()),
    ];
    world.write(&topic, 1, &poison, true);
    let counts = world.drain();
    assert_eq!(world.assert_exactly_once(&topic), 3 * 120 + 5);
    assert_eq!((counts.rows, counts.unreadable, counts.repeated), (365, 4, 0));
    let reasons = world
        .query("SELECT reason_code, value_size, length(value) FROM {db}.sink_unreadable ORDER BY _offset FORMAT TSV");
    let cut = good.len() - 3;
    assert_eq!(
        reasons,
        [
            "BAD_FRAME\t14\t14".into(),
            "UNKNOWN_SCHEMA_ID\t8\t8".into(),
            format!("DECODE\t{cut}\t{cut}"),
            "TOMBSTONE\t0\t0".into()
        ]
    );
    let fields = world.query(&format!("SELECT slice_no, order_id, _key, toString(_timestamp), _topic FROM {{db}}.{} WHERE _partition = 2 AND slice_no = 155 FORMAT TSV", table_name(&topic)));
    assert_eq!(fields, [format!("155\to155\tP1\t2026-09-21 14:13:20.123\t{topic}")]);

    // The bounds say the same to everybody.
    let batches: Vec<SinkBatch> = world
        .committed(BATCHES_TOPIC)
        .iter()
        .map(|r| SinkBatch::decode(&r.value.as_ref().unwrap()[5..]).unwrap())
        .filter(|b| b.topic == topic)
        .collect();
    assert_eq!(batches.iter().map(|b| b.row_count).sum::<i64>(), 365);
    assert!(batches.iter().all(|b| b.row_count <= 40 && b.attempt == "FIRST" && b.deadline_at > b.bounded_at));

    // Nothing new: nothing is inserted; something new: only that.
    assert_eq!(world.drain().inserts, 0);
    world.slices(&topic, 0, 0..3, true);
    assert_eq!(world.drain().rows, 3);
    assert_eq!(world.assert_exactly_once(&topic), 368);
}

#[test]
fn what_waits_for_others_lands_at_once_when_the_sink_stops() {
    let (mut world, topic) = world(3);
    // So long that nothing but the stop can have brought it.
    world.config.linger_ms = 3_600_000;
    world.config.batch_rows = 1_000;
    for partition in 0..3 {
        world.slices(&topic, partition, 0..20, true);
    }
    let health = Health::new();
    let sink = world.sink().with_observability(&Metrics::new(), &health);
    sink.migrate().unwrap();
    running(&sink, || {
        eventually("all to be read", || {
            let read: i64 = sink.status().partitions().values().map(|p| p.read).sum();
            (read >= 60 && health.is_ready()).then_some(())
        });
        assert_eq!(sink.status().counts().inserts, 0, "they wait");
    });
    assert_eq!(world.assert_exactly_once(&topic), 60);
    let counts = sink.status().counts();
    assert_eq!((counts.inserts, counts.transactions), (3, 2), "one transaction of bounds, one of offsets: {counts:?}");
    // The offsets behind are committed: a successor has nothing to ask for.
    let counts = world.drain();
    assert_eq!((counts.inserts, counts.found_complete), (0, 0));
}

#[test]
fn partitions_are_cut_together_so_that_inserts_follow_the_clock_and_not_the_load() {
    let (mut world, topic) = world(3);
    world.config.linger_ms = 2_000;
    world.config.batch_rows = 1_000;
    let sink = world.sink().with_observability(&Metrics::new(), &Health::new());
    sink.migrate().unwrap();
    running(&sink, || {
        eventually("partitions", || (sink.status().partitions().len() == 3).then_some(()));
        let began = Instant::now();
        let mut n = 0;
        while n < 40 {
            world.slices(&topic, n % 3, n..n + 5, true);
            n += 1;
        }
        eventually("lag 0", || (sink.lag().unwrap() == 0).then_some(()));
        // Each partition once a cut, and the cuts at least half a linger apart.
        let cuts = began.elapsed().as_millis() / 1_000 + 1;
        let counts = sink.status().counts();
        assert!(u128::from(counts.inserts) <= 3 * cuts, "{counts:?} in {cuts} cuts");
        assert!(u128::from(counts.transactions) <= 2 * cuts, "{counts:?} in {cuts} cuts");
    });
    assert_eq!(world.assert_exactly_once(&topic), 200);
}

#[test]
fn metrics_and_readiness_follow_the_sink() {
    let (mut world, topic) = world(2);
    // Rows are counted where they land the first time: no deadline may pass on a slow machine.
    world.config.deadline_ms = 60_000;
    let (metrics, health) = (Metrics::new(), Health::new());
    let sink = world.sink().with_observability(&metrics, &health);
    world.slices(&topic, 0, 0..30, true);
    world.write(&topic, 0, &[Some(vec![1, 2, 3])], true);
    let has = |line: String| eventually(&line, || metrics.print().lines().any(|l| l == line).then_some(()));
    running_by(
        |stop| sink.migrate_and_run(stop),
        || {
            eventually("readiness", || health.is_ready().then_some(()));
            has(format!("fillstream_sink_rows_total{{topic=\"{topic}\"}} 31"));
            has(format!("fillstream_sink_unreadable_total{{topic=\"{topic}\"}} 1"));
            has(format!("fillstream_sink_batches_total{{topic=\"{topic}\",attempt=\"first\"}} 2"));
            has(format!("fillstream_sink_insert_seconds_count{{topic=\"{topic}\"}} 2"));
            has(format!("fillstream_sink_lag_records{{topic=\"{topic}\",worker=\"0\"}} 0"));
            let group = &world.config.group;
            has(format!("kafka_consumergroup_lag{{consumergroup=\"{group}\",topic=\"{topic}\",partition=\"0\"}} 0"));
        },
    );
    assert!(!health.is_ready() && health.is_live(), "{}", health.print());
    assert!(!metrics.print().contains("kafka_consumergroup"), "it owns nothing any more");
    // Somebody must look: not alive.
    let sink = Sink::new(
        SinkConfig { group: unique("renamed"), ..world.config.clone() },
        world.kafka.clone(),
        Arc::clone(&world.registry),
        &world.topics,
    );
    let sink = sink.unwrap().with_observability(&metrics, &health);
    sink.migrate_and_run(&std::sync::atomic::AtomicBool::new(false)).unwrap_err();
    assert!(!health.is_live(), "{}", health.print());
}

#[test]
fn an_open_transaction_is_waited_for() {
    let (world, topic) = world(1);
    world.slices(&topic, 0, 0..5, true);
    let mut producer = world.kafka.producer(&unique("open")).unwrap();
    producer.init().unwrap();
    producer.begin().unwrap();
    let value = world.framed(&topic, &slice(9));
    let record = Outgoing {
        topic: &topic,
        partition: 0,
        key: None,
        value: Some(&value),
        headers: &[],
        timestamp_ms: 1_790_000_000_000,
    };
    producer.send(&record).unwrap();
    world.drain();
    assert_eq!(world.assert_exactly_once(&topic), 5);
    producer.commit().unwrap();
    world.drain();
    assert_eq!(world.assert_exactly_once(&topic), 6);
}

#[test]
fn rows_without_an_offset_stop_the_sink() {
    let (mut world, topic) = world(1);
    world.slices(&topic, 0, 0..3, true);
    world.drain();
    world.config.group = unique("renamed");
    let error = world.sink().run(&std::sync::atomic::AtomicBool::new(false)).unwrap_err();
    assert!(matches!(error, SinkError::Position { .. }), "{error}");
    assert_eq!(world.assert_exactly_once(&topic), 3);
}

#[test]
fn clickhouse_away_for_a_while_only_makes_the_lag_grow() {
    let (mut world, topic) = world(2);
    let proxy = Proxy::to(&world.services.endpoints.clickhouse);
    world.config.clickhouse.url = proxy.url.clone();
    let sink = world.sink();
    sink.migrate().unwrap();
    world.slices(&topic, 0, 0..60, true);
    running(&sink, || {
        eventually("lag 0", || (sink.lag().unwrap() == 0).then_some(()));
        proxy.set(Way::Shut);
        for n in 0..4 {
            world.slices(&topic, n % 2, 60..160, true);
        }
        // Longer than a deadline: the batch on its way is given up, asked for, and bounded again.
        let away = Instant::now();
        eventually("failures", || {
            (sink.status().counts().failures >= 5 && away.elapsed() > Duration::from_millis(2_500)).then_some(())
        });
        assert!(sink.lag().unwrap() > 0);
        assert!(sink.status().trouble().is_some());
        proxy.set(Way::Open);
        eventually("lag 0", || (sink.lag().unwrap() == 0).then_some(()));
    });
    assert_eq!(world.assert_exactly_once(&topic), 460);
    assert!(sink.status().counts().repeated >= 1);
}

#[test]
fn lost_answers_double_nothing() {
    let (mut world, topic) = world(2);
    let proxy = Proxy::to(&world.services.endpoints.clickhouse);
    world.config.clickhouse.url = proxy.url.clone();
    world.config.deadline_ms = 5_000;
    let sink = world.sink();
    sink.migrate().unwrap();
    running(&sink, || {
        proxy.set(Way::LoseAnswers);
        for n in 0..2 {
            world.slices(&topic, n, 0..100, true);
        }
        // The rows are there, and are sent again and again within the deadline.
        eventually("lost answers", || (proxy.lost.load(Ordering::SeqCst) >= 4).then_some(()));
        proxy.set(Way::Open);
        eventually("lag 0", || (sink.lag().unwrap() == 0).then_some(()));
    });
    assert_eq!(world.assert_exactly_once(&topic), 200);
    assert!(sink.status().counts().failures >= 2);
}

/// A deadline that is only looked at when the query begins would let these rows in after a successor has given them up.
#[test]
fn rows_that_arrive_after_the_deadline_are_refused() {
    let (mut world, topic) = world(1);
    let proxy = Proxy::to(&world.services.endpoints.clickhouse);
    world.config.clickhouse.url = proxy.url.clone();
    world.config.clickhouse.timeout_ms = 30_000;
    world.config.deadline_ms = 1_000;
    world.config.batch_rows = 40_000;
    let sink = world.sink();
    sink.migrate().unwrap();
    let fat = Slice { quote_currency: "x".repeat(100_000), ..slice(1) };
    let value = world.framed(&topic, &fat);
    world.write(&topic, 0, &vec![Some(value); 40], true);
    proxy.set(Way::Stall);
    running(&sink, || {
        let began = Instant::now();
        eventually("a query that runs behind its deadline", || {
            let running = world.query(&format!(
                "SELECT count() FROM system.processes WHERE query_id LIKE 'fs-%' AND query LIKE '%{topic}%' AND query_kind = 'Insert' AND elapsed > 1.5"
            ));
            (running == ["1"] && began.elapsed() > Duration::from_millis(1_500)).then_some(())
        });
        proxy.set(Way::Open);
        eventually("lag 0", || (sink.lag().unwrap() == 0).then_some(()));
    });
    assert_eq!(world.assert_exactly_once(&topic), 40);
    assert_eq!(sink.status().counts().repeated, 1, "the late rows were taken");
}

#[test]
fn partitions_may_move_between_instances_at_any_time() {
    let (mut world, topic) = world(4);
    world.config.linger_ms = 20;
    let first = world.sink();
    first.migrate().unwrap();
    world.config.instance = "u".into();
    let second = world.sink();
    let mut written = 0;
    let mut write = || {
        for partition in 0..4 {
            world.slices(&topic, partition, written..written + 60, true);
        }
        written += 60;
    };
    let owned = |sink: &Sink<_>| sink.status().partitions().len();
    write();
    running(&first, || {
        eventually("the first to own all", || (owned(&first) == 4).then_some(()));
        write();
        running(&second, || {
            eventually("both to own two", || (owned(&first) == 2 && owned(&second) == 2).then_some(()));
            write();
            write();
        });
        write();
        // The second has left without a word: its session ends, and its partitions come back.
        eventually("the first to own all again", || (owned(&first) == 4).then_some(()));
        eventually("lag 0", || (first.lag().unwrap() == 0).then_some(()));
    });
    assert_eq!(world.assert_exactly_once(&topic), 5 * 60 * 4);
}

#[test]
fn records_of_another_writers_schema_land_too() {
    let (world, topic) = world(1);
    let mut schema: serde_json::Value = serde_json::from_str(Slice::SCHEMA).unwrap();
    // An older writer: without the last two fields.
    let fields = schema["fields"].as_array_mut().unwrap();
    fields.truncate(fields.len() - 2);
    let id = world.registry.register(&format!("{topic}-older-value"), &schema.to_string()).unwrap();
    let whole = slice(5).to_bytes();
    // Null and empty: a byte each.
    let older = framed(id, &whole[..whole.len() - 2]);
    world.write(&topic, 0, &[Some(older), Some(world.framed(&topic, &slice(6)))], true);
    world.drain();
    assert_eq!(world.assert_exactly_once(&topic), 2);
    assert_eq!(
        world.query(&format!("SELECT slice_no FROM {{db}}.{} ORDER BY _offset", table_name(&topic))),
        ["5", "6"]
    );
}
