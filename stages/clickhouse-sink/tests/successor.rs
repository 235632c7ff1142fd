//! What a successor makes of a sink that died, slept or left an insert behind.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::proxy::{Proxy, Way};
use common::{SLICE, World, eventually, slice, unique, world};
use fillstream_clickhouse_sink::{BATCHES_TOPIC, Moment, SinkError, table_name};
use fillstream_schemas::AvroRecord;
use fillstream_schemas::execution::{SinkBatch, Slice};

/// Runs in a process of its own, which ends or stops in the middle.
#[test]
#[ignore = "started by the test that kills it"]
fn victim() {
    let Ok(topic) = std::env::var("VICTIM_TOPIC") else { return };
    let number = |name: &str| std::env::var(name).unwrap().parse::<usize>().unwrap();
    let moment = std::env::var("VICTIM_MOMENT").unwrap();
    let mut world = World::new(&[(&topic, SLICE, 2)]);
    world.config.group = std::env::var("VICTIM_GROUP").unwrap();
    world.config.instance = std::env::var("VICTIM_INSTANCE").unwrap();
    world.config.clickhouse.database = std::env::var("VICTIM_DATABASE").unwrap();
    world.config.batch_rows = number("VICTIM_ROWS");
    world.config.round_ms = u64::try_from(number("VICTIM_ROUND_MS")).unwrap();
    let (count, seen) = (number("VICTIM_COUNT"), std::sync::atomic::AtomicUsize::new(0));
    let sink = world.sink().with_observer(move |now, _| {
        if format!("{now:?}") != moment || seen.fetch_add(1, Ordering::SeqCst) + 1 != count {
            return;
        }
        if std::env::var("VICTIM_END").unwrap() == "stop" {
            signal("-STOP", std::process::id());
            // The other threads may take the signal first: this one must not send anything before it stops, too.
            std::thread::park_timeout(Duration::from_millis(500));
        } else {
            std::process::abort();
        }
    });
    sink.run(&std::sync::atomic::AtomicBool::new(false)).unwrap();
}

fn signal(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

/// A sink in a process of its own, killed for good when dropped.
struct Victim(Child);

impl Victim {
    /// Starts one that ends by `end` ("abort", "stop") at the `count`th `moment`.
    fn start(world: &World, topic: &str, moment: Moment, count: u32, end: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim", "--ignored", "--nocapture"])
            .env("FILLSTREAM_KAFKA", &world.services.endpoints.kafka)
            .env("FILLSTREAM_REGISTRY", &world.services.endpoints.registry)
            .env("FILLSTREAM_CLICKHOUSE", &world.config.clickhouse.url)
            .env("VICTIM_TOPIC", topic)
            .env("VICTIM_GROUP", &world.config.group)
            .env("VICTIM_INSTANCE", &world.config.instance)
            .env("VICTIM_DATABASE", &world.config.clickhouse.database)
            .env("VICTIM_MOMENT", format!("{moment:?}"))
            .env("VICTIM_COUNT", count.to_string())
            .env("VICTIM_END", end)
            .env("VICTIM_ROWS", world.config.batch_rows.to_string())
            .env("VICTIM_ROUND_MS", world.config.round_ms.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn wait_dead(mut self) {
        let status = self.0.wait().unwrap();
        assert!(status.code().is_none(), "it did not die, but ended with {status}");
    }

    /// Waits until it has stopped itself.
    fn wait_stopped(&self) {
        eventually("a stopped sink", || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
            stat.rsplit_once(") ")?.1.starts_with('T').then_some(())
        });
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a victim until it dies at the `count`th `moment`.
fn die_at(world: &World, topic: &str, moment: Moment, count: u32) {
    Victim::start(world, topic, moment, count, "abort").wait_dead();
}

/// Makes the table of a topic forget every token that it knows: as many other inserts as it remembers.
fn forget_tokens(world: &World, topic: &str) {
    let table = table_name(topic);
    let window = world.config.needed_window(2);
    world.query(&format!("ALTER TABLE {{db}}.{table} MODIFY SETTING non_replicated_deduplication_window = {window}"));
    for n in 0..=window {
        world.query(&format!(
            "INSERT INTO {{db}}.{table} (_topic, _partition, _offset) SETTINGS insert_deduplication_token = '{}' \
             VALUES ('another', 9, {n})",
            unique("other")
        ));
    }
}

#[test]
fn a_death_at_any_moment_loses_and_doubles_nothing() {
    let (mut world, topic) = world(2);
    world.sink().migrate().unwrap();
    let mut written = 0;
    for count in [1, 3] {
        for moment in [Moment::Bounded, Moment::Committed, Moment::Inserted, Moment::Acknowledged] {
            for partition in 0..2 {
                world.slices(&topic, partition, written..written + 130, true);
            }
            written += 130;
            // A successor that cut the same batches by itself would get the same tokens, and prove nothing.
            world.config.batch_rows = if world.config.batch_rows == 40 { 27 } else { 40 };
            die_at(&world, &topic, moment, count);
        }
    }
    let counts = world.drain();
    assert_eq!(world.assert_exactly_once(&topic), 2 * 8 * 130);
    assert!(counts.inserts > 0);
}

#[test]
fn bounds_without_rows_are_inserted_with_the_same_token() {
    let (world, topic) = world(2);
    world.sink().migrate().unwrap();
    world.slices(&topic, 0, 0..30, true);
    die_at(&world, &topic, Moment::Committed, 1);
    let began = Instant::now();
    let counts = world.drain();
    assert!(counts.repeated >= 1 && counts.rows == 0, "{counts:?}");
    assert_eq!(world.assert_exactly_once(&topic), 30);
    assert!(began.elapsed() >= Duration::from_millis(500), "the deadline of the dead was not waited out");
    let tokens: Vec<(String, String)> = world
        .committed(BATCHES_TOPIC)
        .iter()
        .map(|r| SinkBatch::decode(&r.value.as_ref().unwrap()[5..]).unwrap())
        .filter(|b| b.topic == topic)
        .map(|b| (b.attempt, b.token))
        .collect();
    assert_eq!(u64::try_from(tokens.len()), Ok(1 + counts.repeated), "each repeat has its bounds: {tokens:?}");
    assert_eq!(tokens[0].0, "FIRST");
    assert!(tokens[1..].iter().all(|(attempt, token)| attempt == "REPEAT" && *token == tokens[0].1), "{tokens:?}");
}

/// What a dead sink inserted is lost in whole, in part or not at all, and the table still knows its token or has seen so many
/// other inserts since that it does not.
#[test]
fn a_successor_makes_whole_what_it_finds_within_the_window_and_beyond() {
    for beyond in [false, true] {
        for (lost, found_complete, repeated) in [("1 = 0", 1, 0), ("_offset % 3 = 0", 1, 1), ("1 = 1", 1, 1)] {
            let (mut world, topic) = world(2);
            // A window that is soon overrun.
            world.config.round_ms = 500;
            world.sink().migrate().unwrap();
            world.slices(&topic, 0, 0..30, true);
            die_at(&world, &topic, Moment::Inserted, 1);
            let table = table_name(&topic);
            world.query(&format!("ALTER TABLE {{db}}.{table} DELETE WHERE {lost} SETTINGS mutations_sync = 2"));
            if beyond {
                forget_tokens(&world, &topic);
            }
            let counts = world.drain();
            assert_eq!(world.assert_exactly_once(&topic), 30, "beyond the window {beyond}, lost {lost}");
            assert_eq!(counts.found_complete, found_complete, "beyond the window {beyond}, lost {lost}");
            // A token that is still known swallows the same rows once more; then only the missing ones are sent. On a slow
            // machine a repeat may also meet its own deadline.
            assert!(counts.repeated >= repeated && (repeated > 0 || counts.repeated == 0), "{counts:?}, lost {lost}");
        }
    }
}

/// Stopped between its bounds and its insert, then replaced, then woken when the table has long forgotten the token.
#[test]
fn a_sink_that_slept_past_the_window_doubles_nothing() {
    let (mut world, topic) = world(2);
    world.config.round_ms = 500;
    world.sink().migrate().unwrap();
    world.slices(&topic, 0, 0..30, true);
    world.config.instance = "sleeper".into();
    let sleeper = Victim::start(&world, &topic, Moment::Committed, 1, "stop");
    sleeper.wait_stopped();
    world.config.instance = "t".into();
    let counts = world.drain();
    assert!(counts.repeated >= 1 && counts.rows == 0, "the same bounds: {counts:?}");
    forget_tokens(&world, &topic);
    let late = || {
        let sql = "SELECT sum(value) FROM system.errors WHERE name = 'FUNCTION_THROW_IF_VALUE_IS_NON_ZERO'";
        world.query(sql)[0].parse::<u64>().unwrap()
    };
    let before = late();
    signal("-CONT", sleeper.0.id());
    eventually("the late insert to be refused", || (late() > before).then_some(()));
    world.slices(&topic, 0, 30..60, true);
    drop(sleeper);
    world.drain();
    assert_eq!(world.assert_exactly_once(&topic), 60);
}

/// An insert hangs in the server, its sender is dead, and the connection stands: only KILL QUERY ends it.
#[test]
fn an_insert_that_hangs_is_killed_by_the_successor() {
    let (mut world, topic) = world(2);
    let proxy = Proxy::to(&world.services.endpoints.clickhouse);
    world.sink().migrate().unwrap();
    let fat = Slice { quote_currency: "x".repeat(100_000), ..slice(1) };
    let value = world.framed(&topic, &fat);
    world.write(&topic, 0, &vec![Some(value); 40], true);
    proxy.set(Way::Stall);
    let direct = std::mem::replace(&mut world.config.clickhouse.url, proxy.url.clone());
    let mut victim = Victim::start(&world, &topic, Moment::Acknowledged, 1, "abort");
    let hanging = |world: &World| {
        world.query(&format!(
            "SELECT count() FROM system.processes WHERE query_id LIKE 'fs-%' AND query LIKE '%{topic}%' AND query_kind = 'Insert'"
        ))
    };
    let stalled = || proxy.stalled.load(Ordering::SeqCst) > 0;
    eventually("an insert that hangs", || (stalled() && hanging(&world) == ["1"]).then_some(()));
    victim.kill();
    assert_eq!(hanging(&world), ["1"], "the proxy keeps its connection");
    world.config.clickhouse.url = direct;
    let counts = world.drain();
    assert!(counts.killed >= 1 && counts.repeated >= 1 && counts.rows == 0, "{counts:?}");
    assert_eq!(hanging(&world), ["0"]);
    // What the proxy still holds comes too late for anything.
    proxy.set(Way::Open);
    assert_eq!(world.assert_exactly_once(&topic), 40);
}

#[test]
fn rows_that_nobody_bounded_stop_the_sink() {
    let (world, topic) = world(2);
    world.sink().migrate().unwrap();
    world.slices(&topic, 0, 0..30, true);
    die_at(&world, &topic, Moment::Inserted, 1);
    let table = table_name(&topic);
    world.query(&format!("INSERT INTO {{db}}.{table} SELECT * FROM {{db}}.{table} LIMIT 1"));
    let error = world.sink().run(&std::sync::atomic::AtomicBool::new(false)).unwrap_err();
    assert!(matches!(error, SinkError::Contradiction { .. }), "{error}");
}
