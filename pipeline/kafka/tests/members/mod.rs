//! Members of a group, each a process of its own that can be killed, frozen, and told to fail at a certain moment.
//!
//! A member is this test binary run again for one ignored test. It says how it is on its standard output, obeys words on
//! its standard input, and ends when that ends: it never outlives the test.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fillstream_kafka::client::{
    ClientError, GroupMetadata, KafkaClient, KafkaProducer, OffsetEntry, Outgoing, RdKafka, RdKafkaConsumer,
    RdKafkaReader, TopicInfo, TransactionalProducer,
};
use fillstream_kafka::driver::{Driver, DriverConfig, GroupRun};
use rustix::process::{Pid, Signal, getpid, kill_process};

use crate::common::eventually;
use crate::stages::{Harness, TestStages};

const SPEC: &str = "FILLSTREAM_TEST_MEMBER";

/// What a member does once when told so, in the transaction that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    /// The process is stopped between taking a batch and beginning its transaction.
    FreezeBeforeBegin = 1,
    /// The process is stopped when everything is written and not yet committed.
    FreezeBeforeCommit = 2,
    /// The worker hangs there, the process lives on.
    HangBeforeCommit = 3,
}

impl Fault {
    const ALL: [Self; 3] = [Self::FreezeBeforeBegin, Self::FreezeBeforeCommit, Self::HangBeforeCommit];

    fn word(self) -> String {
        format!("{self:?}")
    }
}

/// How a member is, by its own words.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) ready: bool,
    pub(crate) tasks: i64,
    pub(crate) aborts: i64,
    pub(crate) rebuilds: i64,
    /// The fault it has just met.
    pub(crate) fault: String,
}

/// A process that works in the groups of a harness.
pub(crate) struct Member {
    child: Child,
    input: ChildStdin,
    state: Arc<Mutex<State>>,
}

impl Member {
    /// Starts an instance that runs the stages of the module called `stages`, with so many transactional ids a worker.
    pub(crate) fn start(h: &Harness, stages: &str, instance: &str, ids: usize) -> Self {
        let split = h.groups.len() > 1;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_member", "--ignored", "--nocapture"])
            .env(SPEC, format!("{stages} {} {split} {instance} {ids}", h.path))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let heard = Arc::clone(&state);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(words) = line.strip_prefix("member ") {
                    hear(&mut heard.lock().unwrap(), words);
                }
            }
        });
        Self { child, input, state }
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().unwrap().clone()
    }

    /// Whether it works on so many tasks.
    pub(crate) fn has(&self, tasks: i64) -> bool {
        let state = self.state();
        state.ready && state.tasks == tasks
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.input, "{word}").unwrap();
    }

    /// Lets it meet a fault in its next transaction.
    pub(crate) fn fail(&mut self, fault: Fault) {
        self.tell(&fault.word());
    }

    /// Whether it has met the fault.
    pub(crate) fn met(&self, fault: Fault) -> bool {
        self.state().fault == fault.word()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Lets a stopped process run again.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// kill -9.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to commit what is done and leave; it must end well.
    pub(crate) fn leave(mut self) {
        self.tell("leave");
        let status: ExitStatus = eventually("a member's end", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hear(state: &mut State, words: &str) {
    if let Some(fault) = words.strip_prefix("met ") {
        fault.clone_into(&mut state.fault);
        return;
    }
    let mut numbers = words.split(' ').map(|w| w.parse::<i64>().unwrap());
    let mut next = || numbers.next().unwrap();
    (state.ready, state.tasks, state.aborts, state.rebuilds) = (next() == 1, next(), next(), next());
}

/// The process of a member.
pub(crate) fn run(stages: impl Fn(&str) -> TestStages) {
    // Run by hand, without a specification, there is nothing to do.
    let Ok(spec) = std::env::var(SPEC) else { return };
    let words: Vec<&str> = spec.split(' ').collect();
    let [name, path, split, instance, ids] = words[..] else { panic!("{spec}") };
    let h = Harness::attach(stages(name), path, split == "true").with_short_session();
    // So long that only Kafka's own fences can refuse what a frozen member goes on to write.
    let config = DriverConfig {
        instance: instance.into(),
        max_batch_ms: 600_000,
        // Always behind: the next records are taken while a transaction ends.
        lag_records: 1,
        transactional_ids: ids.parse().unwrap(),
        ..DriverConfig::default()
    };
    let (real, health, metrics) = h.driver(config);
    let fault = Arc::new(AtomicU8::new(0));
    let driver = Driver {
        client: Faulty { inner: real.client, fault: Arc::clone(&fault) },
        registry: real.registry,
        router: real.router,
        metrics: real.metrics,
        health: real.health,
        config: real.config,
        config_hash: real.config_hash,
        code_version: real.code_version,
        tracer: real.tracer,
        max_record_bytes: real.max_record_bytes,
        on_phase: real.on_phase,
    };
    let runs: Vec<GroupRun> = h.groups.iter().map(|g| GroupRun { group: Arc::clone(g), workers: 1 }).collect();
    let running = driver.start(&runs).unwrap();
    let leave = obey(fault);
    let mut last = String::new();
    while !leave.load(Ordering::SeqCst) && !running.is_finished() {
        let text = metrics.print();
        let sum = |name: &str| -> i64 {
            let of = |l: &str| l.strip_prefix(name)?.rsplit_once(' ')?.1.parse::<i64>().ok();
            text.lines().filter_map(of).sum()
        };
        let (tasks, aborts) = (sum("fillstream_tasks{"), sum("fillstream_aborts_total{"));
        let rebuilds = sum("fillstream_rebuilds_total{");
        let line = format!("member {} {tasks} {aborts} {rebuilds}", u8::from(health.is_ready()));
        if line != last {
            println!("{line}");
            last = line;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    running.stop();
    running.join().unwrap();
}

/// Takes orders from standard input; at its end the process ends.
fn obey(fault: Arc<AtomicU8>) -> Arc<AtomicBool> {
    let leave = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&leave);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            match Fault::ALL.iter().find(|f| f.word() == line) {
                Some(f) => fault.store(*f as u8, Ordering::SeqCst),
                None => asked.store(true, Ordering::SeqCst),
            }
        }
        if !asked.load(Ordering::SeqCst) {
            std::process::exit(1);
        }
    });
    leave
}

#[derive(Clone)]
struct Faulty {
    inner: RdKafka,
    fault: Arc<AtomicU8>,
}

struct FaultyProducer {
    inner: KafkaProducer,
    fault: Arc<AtomicU8>,
}

impl FaultyProducer {
    fn meets(&self, fault: Fault) -> bool {
        let met = self.fault.compare_exchange(fault as u8, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if met {
            println!("member met {}", fault.word());
        }
        met
    }
}

impl KafkaClient for Faulty {
    type GroupMetadata = GroupMetadata;
    type Producer = FaultyProducer;
    type Consumer = RdKafkaConsumer;
    type Reader = RdKafkaReader;

    fn producer(&self, transactional_id: &str) -> Result<FaultyProducer, ClientError> {
        Ok(FaultyProducer { inner: self.inner.producer(transactional_id)?, fault: Arc::clone(&self.fault) })
    }
    fn consumer(&self, group: &str, instance: &str, topics: &[&str]) -> Result<RdKafkaConsumer, ClientError> {
        self.inner.consumer(group, instance, topics)
    }
    fn reader(&self) -> Result<RdKafkaReader, ClientError> {
        self.inner.reader()
    }
    fn follower(&self) -> Result<RdKafkaReader, ClientError> {
        self.inner.follower()
    }
    fn describe(&self, topics: &[&str]) -> Result<BTreeMap<String, TopicInfo>, ClientError> {
        self.inner.describe(topics)
    }
}

impl TransactionalProducer for FaultyProducer {
    type GroupMetadata = GroupMetadata;

    fn init(&mut self) -> Result<(), ClientError> {
        self.inner.init()
    }
    fn begin(&mut self) -> Result<(), ClientError> {
        if self.meets(Fault::FreezeBeforeBegin) {
            kill_process(getpid(), Signal::STOP).unwrap();
        }
        self.inner.begin()
    }
    fn send(&mut self, record: &Outgoing<'_>) -> Result<(), ClientError> {
        self.inner.send(record)
    }
    fn send_offsets(&mut self, offsets: &[OffsetEntry], group: &GroupMetadata) -> Result<(), ClientError> {
        self.inner.send_offsets(offsets, group)
    }
    fn commit(&mut self) -> Result<(), ClientError> {
        if self.meets(Fault::FreezeBeforeCommit) {
            kill_process(getpid(), Signal::STOP).unwrap();
        }
        if self.meets(Fault::HangBeforeCommit) {
            loop {
                std::thread::park();
            }
        }
        self.inner.commit()
    }
    fn abort(&mut self) -> Result<(), ClientError> {
        self.inner.abort()
    }
    fn is_suspect(&mut self) -> bool {
        self.inner.is_suspect()
    }
}
