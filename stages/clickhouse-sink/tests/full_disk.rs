//! A disk that fills up under a real ClickHouse: whatever it acknowledged or merged in the meantime, rows and records are the
//! same once there is room. Needs root, to mount a small tmpfs; skipped loudly otherwise.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Services, World, eventually, http, running_by, world};
use fillstream_clickhouse_sink::table_name;
use fillstream_deploy::{Launcher, LocalConfig, ServiceSource, down, up};

/// A tmpfs that can be filled.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(dir: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(dir).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=256m", "tmpfs"]).arg(dir).stdin(Stdio::null());
        let output = mount.output().map_err(|e| e.to_string())?;
        if output.status.success() {
            Ok(Self(dir.to_owned()))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    /// Writes until the last byte is taken, then gives `room` bytes back.
    fn fill(&self, room: u64) {
        let path = self.0.join("filler");
        let mut file = File::options().create(true).append(true).open(&path).unwrap();
        for block in [1 << 16, 512] {
            let zeros = vec![0; block];
            while let Ok(1..) = file.write(&zeros) {}
        }
        file.set_len(file.metadata().unwrap().len().saturating_sub(room)).unwrap();
    }

    fn free(&self) {
        let _ = std::fs::remove_file(self.0.join("filler"));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).stdin(Stdio::null()).status();
    }
}

/// A ClickHouse of its own on a small disk, for the services of everybody else.
struct SmallServer {
    config: LocalConfig,
    address: String,
    disk: SmallDisk,
    _data: tempfile::TempDir,
}

impl SmallServer {
    fn start() -> Option<Self> {
        let data = tempfile::tempdir().unwrap();
        let disk = match SmallDisk::mount(data.path()) {
            Ok(disk) => disk,
            Err(why) => {
                eprintln!("SKIPPED: no tmpfs can be mounted ({why}); run as root to test a full disk");
                return None;
            }
        };
        let program = std::env::current_exe().unwrap().with_file_name("../fillstream-local");
        assert!(program.exists(), "cargo build -p fillstream-deploy");
        let launcher = Launcher { program, args: vec!["serve-clickhouse".into()] };
        let mut config = LocalConfig::from_vars(|name| std::env::var_os(name), launcher).unwrap();
        let others = &Services::get().endpoints;
        config.data = data.path().to_owned();
        config.kafka = ServiceSource::External { address: others.kafka.clone() };
        config.registry = ServiceSource::External { address: others.registry.clone() };
        config.clickhouse = ServiceSource::Local { port: None };
        let address = up(&config, &|_| {}).unwrap().clickhouse;
        Some(Self { config, address, disk, _data: data })
    }

    fn ask(&self, sql: &str) -> Vec<String> {
        http(&self.address, sql).unwrap_or_else(|e| panic!("{sql}\n{e}"))
    }
}

impl Drop for SmallServer {
    fn drop(&mut self) {
        self.disk.free();
        let _ = down(&self.config, &|_| {});
    }
}

fn failed_writes(server: &SmallServer) -> u64 {
    let sql = "SELECT sum(value) FROM system.events WHERE event = 'WriteBufferFromFileDescriptorWriteFailed'";
    server.ask(sql)[0].parse().unwrap()
}

fn on_small_disk(world: &mut World, server: &SmallServer) {
    world.config.clickhouse.url = server.address.clone();
    // The limit would keep the server from what this test wants to see.
    world.config.clickhouse.min_free_disk_bytes = 0;
    world.config.parallel_inserts = 4;
}

fn assert_exactly_once(world: &World, server: &SmallServer, topic: &str) -> usize {
    let records = world.committed(topic).len();
    let table = format!("{}.{}", world.config.clickhouse.database, table_name(topic));
    let found =
        server.ask(&format!("SELECT count(), uniqExact(_partition, _offset), sum(length(order_id)) > 0 FROM {table}"));
    assert_eq!(found, [format!("{records}\t{records}\t1")]);
    records
}

#[test]
fn what_a_full_disk_did_to_acknowledged_inserts_and_merges_is_mended() {
    let Some(server) = SmallServer::start() else { return };
    let (mut world, topic) = world(3);
    on_small_disk(&mut world, &server);
    world.config.batch_rows = 400;
    let sink = world.sink();
    let table = format!("{}.{}", world.config.clickhouse.database, table_name(&topic));
    let stop_filling = AtomicBool::new(false);
    let mut written = 0;
    running_by(
        |stop| sink.migrate_and_run(stop),
        || {
            eventually("partitions", || (sink.status().partitions().len() == 3).then_some(()));
            std::thread::scope(|scope| {
                let disk = &server.disk;
                let filling = scope.spawn(|| {
                    // As much room as lets the server reserve, and then not write: it reserves 1 MiB at least.
                    for room in [1_060_000_u64, 1_200_000, 2_150_000, 1_100_000, 3_300_000].into_iter().cycle() {
                        if stop_filling.load(Ordering::Relaxed) {
                            break;
                        }
                        disk.fill(room);
                        std::thread::park_timeout(Duration::from_millis(20));
                        disk.fill(0);
                        std::thread::park_timeout(Duration::from_millis(10));
                    }
                    disk.free();
                });
                let deadline = Instant::now() + common::DEADLINE;
                // Until the server has answered 200 to what it did not write, or merged it so.
                while failed_writes(&server) < 20 || written < 6_000 {
                    assert!(Instant::now() < deadline, "the server wrote all it wanted to");
                    for partition in 0..3 {
                        world.slices(&topic, partition, written..written + 200, true);
                    }
                    written += 200;
                }
                stop_filling.store(true, Ordering::Relaxed);
                filling.join().unwrap();
            });
            eventually("lag 0", || (sink.lag().unwrap() == 0).then_some(()));
        },
    );
    let counts = sink.status().counts();
    let aside = server.ask("SELECT count() FROM system.detached_parts WHERE startsWith(reason, 'broken')");
    eprintln!("{} failed writes, {} parts set aside, {counts:?}", failed_writes(&server), aside[0]);
    assert_eq!(assert_exactly_once(&world, &server, &topic), usize::try_from(written).unwrap() * 3);
    let bad = server.ask(&format!("CHECK TABLE {table} SETTINGS check_query_single_value_result = 0 FORMAT TSV"));
    assert!(bad.iter().all(|line| line.split('\t').nth(1) == Some("1")), "{bad:?}");
}

#[test]
fn an_insert_is_refused_before_the_disk_is_full() {
    let Some(server) = SmallServer::start() else { return };
    let (mut world, topic) = world(1);
    on_small_disk(&mut world, &server);
    world.config.clickhouse.min_free_disk_bytes = 32 << 20;
    world.slices(&topic, 0, 0..200, true);
    let sink = world.sink();
    sink.migrate().unwrap();
    server.disk.fill(16 << 20);
    running_by(
        |stop| sink.run(stop),
        || {
            let trouble = eventually("a refusal", || sink.status().trouble());
            assert!(trouble.contains("insert"), "{trouble}");
            assert_eq!(sink.status().counts().rows, 0);
            server.disk.free();
            eventually("lag 0", || (sink.lag().unwrap() == 0).then_some(()));
        },
    );
    assert_eq!(failed_writes(&server), 0);
    assert_eq!(assert_exactly_once(&world, &server, &topic), 200);
}
