//! What the integration tests share: real services, topics, a database of their own, and the comparison.
#![allow(dead_code, reason = "each test binary uses a part")]

pub(crate) mod proxy;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fillstream_clickhouse_sink::{
    BATCHES_TOPIC, Sink, SinkConfig, SinkCounts, SinkError, TopicContract, row_hash, table_name,
};
use fillstream_deploy::{Endpoints, Launcher, LocalConfig, Service, down, up};
use fillstream_kafka::client::{
    ClientError, ConnectionConfig, KafkaClient, Outgoing, PartitionReader, RdKafka, ReaderEvent, Received,
    TopicPartition, TransactionalProducer,
};
use fillstream_kafka::registry::{RegistryConfig, SchemaRegistry, framed, value_subject};
use fillstream_schemas::execution::Slice;
use fillstream_schemas::{AvroRecord, contract};

/// Longest wait for anything that must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The services, started by the first test that needs them and stopped by the last that holds them, unless the
/// environment names running ones.
pub(crate) struct Services {
    pub(crate) endpoints: Endpoints,
    local: Option<(LocalConfig, tempfile::TempDir)>,
}

impl Services {
    pub(crate) fn get() -> Arc<Self> {
        static RUNNING: Mutex<Weak<Services>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(services) = running.upgrade() {
            return services;
        }
        let services = Arc::new(Self::start());
        *running = Arc::downgrade(&services);
        services
    }

    fn start() -> Self {
        let given = |s: Service| std::env::var(s.variable()).ok().filter(|v| !v.is_empty());
        if let [Some(kafka), Some(registry), Some(clickhouse)] = Service::ALL.map(given) {
            return Self { endpoints: Endpoints { kafka, registry, clickhouse }, local: None };
        }
        let program = std::env::current_exe().unwrap().with_file_name("../fillstream-local");
        assert!(program.exists(), "cargo build -p fillstream-deploy, or name running services in the environment");
        let launcher = Launcher { program, args: vec!["serve-clickhouse".into()] };
        let mut config = LocalConfig::from_vars(|name| std::env::var_os(name), launcher).unwrap();
        let data = tempfile::tempdir().unwrap();
        config.data = data.path().to_owned();
        let endpoints = up(&config, &|_| {}).unwrap();
        Self { endpoints, local: Some((config, data)) }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if let Some((config, _)) = &self.local {
            let _ = down(config, &|_| {});
        }
    }
}

/// A name that no other test run uses.
pub(crate) fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    format!("{what}_{now:x}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Asks again until there is an answer.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what} did not happen in {DEADLINE:?}");
        std::thread::yield_now();
    }
}

/// Topics, a database and a group of one test.
pub(crate) struct World {
    pub(crate) services: Arc<Services>,
    pub(crate) kafka: RdKafka,
    pub(crate) registry: Arc<SchemaRegistry>,
    pub(crate) config: SinkConfig,
    pub(crate) topics: Vec<TopicContract>,
}

impl World {
    pub(crate) fn new(topics: &[(&str, &str, i32)]) -> Self {
        let services = Services::get();
        let mut connection = ConnectionConfig::new(&services.endpoints.kafka);
        // The shortest that a broker takes by default: a member that leaves without a word is missed sooner.
        connection.consumer.session_timeout_ms = 6_000;
        let kafka = RdKafka::new(connection).unwrap();
        let registry = SchemaRegistry::new(&RegistryConfig::new(&services.endpoints.registry)).unwrap();
        // The records' times are fixed, so a retention would delete them sooner or later.
        let keep = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
        for (topic, _, partitions) in topics.iter().chain([&(BATCHES_TOPIC, "", 2)]) {
            // Another test may have made the shared one.
            if !kafka.describe(&[topic]).unwrap().contains_key(*topic) {
                let _ = kafka.admin().create(topic, *partitions, 1, &keep);
            }
            eventually("a topic", || kafka.describe(&[topic]).unwrap().contains_key(*topic).then_some(()));
        }
        let mut config = SinkConfig { instance: "t".into(), group: unique("group"), ..SinkConfig::default() };
        config.clickhouse.url = services.endpoints.clickhouse.clone();
        config.clickhouse.database = unique("db");
        config.clickhouse.timeout_ms = 5_000;
        config.batch_rows = 40;
        config.linger_ms = 50;
        config.round_ms = 20;
        config.deadline_ms = 2_000;
        let topics =
            topics.iter().map(|(t, c, _)| TopicContract { topic: (*t).into(), contract: (*c).into() }).collect();
        Self { services, kafka, registry, config, topics }
    }

    pub(crate) fn sink(&self) -> Sink<RdKafka> {
        Sink::new(self.config.clone(), self.kafka.clone(), Arc::clone(&self.registry), &self.topics).unwrap()
    }

    /// A value in the wire format.
    pub(crate) fn framed<T: AvroRecord>(&self, topic: &str, record: &T) -> Vec<u8> {
        let id = self.registry.register(&value_subject(topic), contract(T::FULL_NAME).unwrap().schema).unwrap();
        framed(id, &record.to_bytes())
    }

    /// Writes values in one transaction.
    pub(crate) fn write(&self, topic: &str, partition: i32, values: &[Option<Vec<u8>>], commit: bool) {
        let mut producer = self.kafka.producer(&unique("writer")).unwrap();
        producer.init().unwrap();
        producer.begin().unwrap();
        for value in values {
            let value = value.as_deref();
            let (key, timestamp_ms) = (Some(b"P1".as_slice()), 1_790_000_000_123);
            producer.send(&Outgoing { topic, partition, key, value, headers: &[], timestamp_ms }).unwrap();
        }
        if commit { producer.commit().unwrap() } else { producer.abort().unwrap() }
    }

    /// Committed records of a topic.
    pub(crate) fn committed(&self, topic: &str) -> Vec<Received> {
        let partitions = self.kafka.describe(&[topic]).unwrap()[topic].partitions;
        let mut reader = self.kafka.reader().unwrap();
        let from: Vec<_> = (0..partitions).map(|p| (TopicPartition::new(topic, p), 0)).collect();
        reader.start(&from).unwrap();
        let (mut records, mut ended) = (Vec::new(), std::collections::BTreeSet::new());
        eventually("the ends", || {
            match reader.next(Duration::from_millis(50)) {
                Ok(Some(ReaderEvent::Record(r))) => records.push(r),
                Ok(Some(ReaderEvent::End { tp, .. })) => {
                    ended.insert(tp);
                }
                Ok(None) => {}
                Err(e @ ClientError::Retry { .. }) => eprintln!("reading {topic}: {e}"),
                Err(e) => panic!("{e}"),
            }
            (ended.len() == from.len()).then_some(())
        });
        records
    }

    /// Lines of an answer of ClickHouse.
    pub(crate) fn query(&self, sql: &str) -> Vec<String> {
        http(&self.services.endpoints.clickhouse, &sql.replace("{db}", &self.config.clickhouse.database))
            .unwrap_or_else(|e| panic!("{sql}\n{e}"))
    }

    /// Every committed record is one row, every row is one committed record.
    pub(crate) fn assert_exactly_once(&self, topic: &str) -> usize {
        let mut expected: Vec<String> = self
            .committed(topic)
            .iter()
            .map(|r| format!("{}\t{}\t{}", r.partition, r.offset, row_hash(r.offset, r.value.as_deref())))
            .collect();
        let mut found = self.query(&format!(
            "SELECT _partition, _offset, _row_hash FROM {{db}}.{} WHERE _topic = '{topic}' \
             UNION ALL SELECT _partition, _offset, _row_hash FROM {{db}}.sink_unreadable WHERE _topic = '{topic}' FORMAT TSV",
            table_name(topic)
        ));
        expected.sort();
        found.sort();
        assert_eq!(found.len(), expected.len(), "rows and records of {topic}");
        assert_eq!(found, expected);
        expected.len()
    }

    /// Runs a sink until everything committed has landed.
    pub(crate) fn drain(&self) -> SinkCounts {
        let sink = self.sink();
        sink.migrate().unwrap();
        running(&sink, || {
            eventually("lag 0", || (sink.lag().unwrap() == 0).then_some(()));
        });
        sink.status().counts()
    }
}

/// Does `body` while the sink runs, then stops it in good order.
pub(crate) fn running<T>(sink: &Sink<RdKafka>, body: impl FnOnce() -> T) -> T {
    running_by(|stop| sink.run(stop), body)
}

/// Does `body` while `run` runs, then stops it in good order, whatever became of `body`.
pub(crate) fn running_by<T>(
    run: impl FnOnce(&AtomicBool) -> Result<(), SinkError> + Send,
    body: impl FnOnce() -> T,
) -> T {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let outcome = run(&stop);
            if let Err(e) = &outcome {
                eprintln!("the sink stopped: {e}");
            }
            outcome
        });
        let result = {
            let _stop = Stop(&stop);
            body()
        };
        worker.join().unwrap().unwrap();
        result
    })
}

/// Lines of an answer, or the server's error.
pub(crate) fn http(url: &str, sql: &str) -> Result<Vec<String>, String> {
    let host = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).map_err(|e| e.to_string())?;
    write!(stream, "POST / HTTP/1.0\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{sql}", sql.len())
        .map_err(|e| e.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|e| e.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no body")?;
    if head.lines().next().is_some_and(|l| l.contains(" 200 ")) {
        Ok(body.lines().map(str::to_owned).collect())
    } else {
        Err(body.to_owned())
    }
}

/// Contract of the test topics.
pub(crate) const SLICE: &str = "fillstream.execution.Slice";

pub(crate) fn slice(n: i32) -> Slice {
    Slice { event_id: format!("e{n}"), order_id: format!("o{n}"), slice_no: n, ..Slice::default() }
}

impl World {
    pub(crate) fn slices(&self, topic: &str, partition: i32, range: std::ops::Range<i32>, commit: bool) {
        let values: Vec<_> = range.map(|n| Some(self.framed(topic, &slice(n)))).collect();
        self.write(topic, partition, &values, commit);
    }
}

/// A topic and its world.
pub(crate) fn world(partitions: i32) -> (World, String) {
    let topic = unique("slices");
    (World::new(&[(&topic, SLICE, partitions)]), topic)
}
