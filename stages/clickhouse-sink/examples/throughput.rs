//! How fast the sink lands order events: `cargo run --release -p fillstream-clickhouse-sink --example throughput [RECORDS]`,
//! with FILLSTREAM_KAFKA, FILLSTREAM_REGISTRY and FILLSTREAM_CLICKHOUSE naming running services. It makes a topic and a
//! database of its own, named bench_<process id>, and leaves them.
#![allow(clippy::print_stdout, reason = "its figures are its result")]

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fillstream_clickhouse_sink::{BATCHES_TOPIC, Sink, SinkConfig, TopicContract};
use fillstream_kafka::client::{ConnectionConfig, KafkaClient, Outgoing, RdKafka};
use fillstream_kafka::registry::{RegistryConfig, SchemaRegistry, framed, value_subject};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::execution::{ChildUpdate, OrderEvent};

const PARTITIONS: i32 = 6;

fn main() -> Result<(), Box<dyn Error>> {
    let records: usize = std::env::args().nth(1).map_or(Ok(300_000), |n| n.parse())?;
    let kafka = RdKafka::new(ConnectionConfig::new(std::env::var("FILLSTREAM_KAFKA")?))?;
    let registry = SchemaRegistry::new(&RegistryConfig::new(std::env::var("FILLSTREAM_REGISTRY")?))?;
    let name = format!("bench_{}", std::process::id());
    // The records' times are fixed, so a retention would delete them sooner or later.
    let keep = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
    for topic in [name.as_str(), BATCHES_TOPIC] {
        if !kafka.describe(&[topic])?.contains_key(topic) {
            kafka.admin().create(topic, PARTITIONS, 1, &keep)?;
        }
    }
    let size = fill(&kafka, &registry, &name, records)?;
    let mut config = SinkConfig { instance: name.clone(), group: name.clone(), ..SinkConfig::default() };
    config.clickhouse.url = std::env::var("FILLSTREAM_CLICKHOUSE")?;
    config.clickhouse.database = name.clone();
    let topics = [TopicContract { topic: name, contract: OrderEvent::FULL_NAME.to_owned() }];
    let sink = Sink::new(config, kafka, registry, &topics)?;
    let began = Instant::now();
    sink.migrate()?;
    println!("migration {:?}, {records} records of {size} bytes in {PARTITIONS} partitions", began.elapsed());
    let stop = AtomicBool::new(false);
    let took = std::thread::scope(|scope| {
        let worker = scope.spawn(|| sink.run(&stop));
        let mut began = None;
        loop {
            let counts = sink.status().counts();
            if began.is_none() && !sink.status().partitions().is_empty() {
                began = Some(Instant::now());
            }
            if counts.rows >= u64::try_from(records).unwrap_or(u64::MAX) || worker.is_finished() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Relaxed);
        let took = began.map(|b| b.elapsed()).unwrap_or_default();
        worker.join().map_err(|_| "the worker panicked")??;
        Ok::<_, Box<dyn Error>>(took)
    })?;
    let counts = sink.status().counts();
    let rate = u128::from(counts.rows) * 1_000_000 / took.as_micros().max(1);
    println!(
        "{} rows in {took:?}: {rate} rows/s, {} inserts, {} transactions",
        counts.rows, counts.inserts, counts.transactions
    );
    Ok(())
}

/// Writes the records; the size of one.
fn fill(kafka: &RdKafka, registry: &Arc<SchemaRegistry>, topic: &str, records: usize) -> Result<usize, Box<dyn Error>> {
    let id = registry.register(&value_subject(topic), OrderEvent::SCHEMA)?;
    let child =
        ChildUpdate { cl_ord_id: "F0123456789ABCDEFGHI".into(), venue: "XNAS".into(), ..ChildUpdate::default() };
    let event = OrderEvent {
        event_id: "0123456789abcdef0123456789abcdef".into(),
        order_id: "0123456789abcdef".into(),
        portfolio_id: "P-000001".into(),
        instrument_id: "ACME".into(),
        decision_event_id: "0123456789abcdef0123456789abcdef".into(),
        child: Some(child),
        ..OrderEvent::default()
    };
    let value = framed(id, &event.to_bytes());
    let publisher = kafka.publisher()?;
    for n in 0..records {
        let partition = i32::try_from(n)? % PARTITIONS;
        let (key, timestamp_ms) = (Some(b"P-000001".as_slice()), 1_790_000_000_000);
        publisher.send(&Outgoing { topic, partition, key, value: Some(&value), headers: &[], timestamp_ms })?;
    }
    publisher.flush(Duration::from_secs(60))?;
    Ok(value.len())
}
