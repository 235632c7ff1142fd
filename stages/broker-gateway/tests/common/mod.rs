//! A Kafka and a schema registry of the test's own, a venue, and a gateway on a thread that can be killed.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fillstream_broker_gateway::{Environment, FailPoint, GatewayConfig, GatewayError, Mode, Probe, SessionConfig, run};
use fillstream_child_risk::approval_hash;
use fillstream_core::lineage::Lineage;
use fillstream_core::position::WriterOrder;
use fillstream_core::record::header;
use fillstream_deploy::{Launcher, LocalConfig, ServiceSource, down, up};
use fillstream_domain::{OrdType, Side, TimeInForce, TimestampMicros};
use fillstream_kafka::client::{
    ConnectionConfig, KafkaClient, Outgoing, PartitionReader, Publisher, RdKafka, RdKafkaReader, ReaderEvent, Received,
    TopicPartition,
};
use fillstream_kafka::observe::{Health, Metrics};
use fillstream_kafka::registry::{Framing, RegistryConfig, SchemaRegistry, framed, state_subject, value_subject};
use fillstream_kafka::telemetry::Tracer;
use fillstream_kafka::topics::{Catalog, Cluster, Router, apply, plan};
use fillstream_market::{Anchored, MarketSource, SyntheticConfig, SyntheticMarket};
use fillstream_schemas::codec::AvroRecord;
use fillstream_schemas::execution::{ChildAction, ChildOrder};
use fillstream_schemas::reference::Broker;
use fillstream_schemas::{contract, wire};
use fillstream_venue::{EngineConfig, Misbehaviour, VenueConfig};
use serde_json::{Value, json};
use tokio::sync::oneshot;

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
pub(crate) const CHILD_ORDERS: &str = "execution.child-orders.v1";
pub(crate) const REPORTS: &str = "execution.reports.v1";
pub(crate) const INTENTS: &str = "execution.intents.v1";
const TOPICS: &str = include_str!("../../../../topics.yaml");

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

pub(crate) fn os_now() -> TimestampMicros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    TimestampMicros::from_micros(i64::try_from(since.as_micros()).unwrap())
}

/// The gateway needs no ClickHouse: something that answers its ping keeps a real one from being started.
fn no_clickhouse() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = [0_u8; 1024];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nOk.");
        }
    });
    address
}

/// Kafka and registry, stopped when the test ends, however it ends.
pub(crate) struct Services {
    config: LocalConfig,
    _data: tempfile::TempDir,
    pub(crate) kafka: RdKafka,
    pub(crate) registry: Arc<SchemaRegistry>,
    pub(crate) router: Router,
    framing: Mutex<Framing>,
    publisher: Publisher,
}

impl Services {
    pub(crate) fn start(sessions: &[(&str, i32)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let launcher = Launcher { program: "/bin/false".into(), args: Vec::new() };
        // Services that run elsewhere hold other people's topics.
        let cache_only = |name: &str| name.starts_with("FILLSTREAM_CACHE").then(|| std::env::var_os(name)).flatten();
        let home = |name: &str| if name.starts_with("FILLSTREAM") { cache_only(name) } else { std::env::var_os(name) };
        let mut config = LocalConfig::from_vars(home, launcher).unwrap();
        config.data = data.path().to_owned();
        config.clickhouse = ServiceSource::External { address: no_clickhouse() };
        let endpoints = up(&config, &|step| println!("{step}")).unwrap();
        let kafka = RdKafka::new(ConnectionConfig::new(endpoints.kafka)).unwrap();
        let registry = SchemaRegistry::new(&RegistryConfig::new(endpoints.registry)).unwrap();
        let mut catalog = Catalog::parse(TOPICS, |name| contract(name).is_some()).unwrap();
        catalog.sessions = sessions.iter().map(|(name, partition)| ((*name).to_owned(), *partition)).collect();
        let local = catalog.profile("local").unwrap();
        let wanted = catalog.resolve(local, &[("broker-gateway", local.partitions)], &["broker-gateway"]);
        apply(kafka.admin(), &plan(&wanted, &Cluster::default(), Default::default())).unwrap();
        let framing = Mutex::new(Framing::new(Arc::clone(&registry)));
        let publisher = kafka.publisher().unwrap();
        Self { config, _data: data, publisher, kafka, registry, router: catalog.router(local), framing }
    }

    pub(crate) fn publish<T: AvroRecord>(&self, topic: &str, key: &str, value: &T, headers: &[(&str, &[u8])]) {
        let partition = self.router.partition(topic, key).unwrap();
        self.publish_at(topic, partition, key, value, headers);
    }

    pub(crate) fn publish_at<T: AvroRecord>(
        &self,
        topic: &str,
        partition: i32,
        key: &str,
        value: &T,
        headers: &[(&str, &[u8])],
    ) {
        let subject = if topic.starts_with("fillstream.") { state_subject(T::FULL_NAME) } else { value_subject(topic) };
        let id = self.framing.lock().unwrap().id(&subject, T::FULL_NAME).unwrap();
        let value = framed(id, &value.to_bytes());
        let timestamp_ms = os_now().micros() / 1_000;
        let (key, value) = (Some(key.as_bytes()), Some(value.as_slice()));
        self.publisher.send(&Outgoing { topic, partition, key, value, headers, timestamp_ms }).unwrap();
        self.publisher.flush(DEADLINE).unwrap();
    }

    /// Tells that a session's broker refuses ClOrdIDs it has seen.
    pub(crate) fn declare_broker(&self, session: &str, cl_ord_id_unique: bool) {
        let broker = Broker {
            broker_id: format!("B-{session}"),
            session_id: session.to_owned(),
            cl_ord_id_unique,
            version: 1,
            ..Broker::default()
        };
        self.publish("reference.brokers.v1", &broker.broker_id.clone(), &broker, &[]);
    }

    /// A reader of every partition of a topic from its beginning.
    pub(crate) fn follow(&self, topic: &str) -> Follow {
        let partitions = self.kafka.describe(&[topic]).unwrap()[topic].partitions;
        let tps: Vec<TopicPartition> = (0..partitions).map(|p| TopicPartition::new(topic, p)).collect();
        let mut reader = self.kafka.reader().unwrap();
        reader.start(&tps.iter().map(|tp| (tp.clone(), 0)).collect::<Vec<_>>()).unwrap();
        Follow { reader, at: tps.into_iter().map(|tp| (tp, 0)).collect(), records: Vec::new() }
    }

    /// Every committed record of a topic up to now.
    pub(crate) fn read(&self, topic: &str) -> Vec<Received> {
        let mut follow = self.follow(topic);
        follow.read_to_end();
        follow.records.sort_by_key(|r| (r.partition, r.offset));
        follow.records
    }

    pub(crate) fn values<T: AvroRecord>(&self, topic: &str) -> Vec<T> {
        self.read(topic).iter().map(value).collect()
    }

    /// A record that is nothing.
    pub(crate) fn publish_garbage(&self, topic: &str, key: &str) {
        let partition = self.router.partition(topic, key).unwrap();
        let (key, value) = (Some(key.as_bytes()), Some(b"garbage".as_slice()));
        self.publisher.send(&Outgoing { topic, partition, key, value, headers: &[], timestamp_ms: 0 }).unwrap();
        self.publisher.flush(DEADLINE).unwrap();
    }

    /// Starts a gateway that dies where `fate` says.
    pub(crate) fn gateway(&self, config: &GatewayConfig, fate: &Arc<Fate>) -> Gateway {
        let stop = Arc::new(AtomicBool::new(false));
        let probe: Arc<dyn Probe> = Arc::clone(fate) as Arc<dyn Probe>;
        let environment = Environment {
            kafka: self.kafka.clone(),
            registry: Arc::clone(&self.registry),
            router: self.router.clone(),
            stop: Arc::clone(&stop),
            probe,
            metrics: Metrics::new(),
            tracer: Tracer::off(),
            health: Health::new(),
        };
        let (metrics, health) = (Arc::clone(&environment.metrics), Arc::clone(&environment.health));
        let config = config.clone();
        Gateway { stop, metrics, health, thread: Some(std::thread::spawn(move || run(config, environment))) }
    }
}

/// The value of a record.
pub(crate) fn value<T: AvroRecord>(record: &Received) -> T {
    T::decode(wire::split(record.value.as_ref().unwrap()).unwrap().1).unwrap()
}

/// A topic as it grows.
pub(crate) struct Follow {
    reader: RdKafkaReader,
    at: BTreeMap<TopicPartition, i64>,
    pub(crate) records: Vec<Received>,
}

impl Follow {
    /// Takes in what comes next, if something does.
    pub(crate) fn poll(&mut self) -> Option<Received> {
        match self.reader.next(Duration::from_millis(20)).unwrap() {
            Some(ReaderEvent::Record(record)) => {
                let tp = TopicPartition::new(Arc::clone(&record.topic), record.partition);
                self.at.insert(tp, record.offset + 1);
                self.records.push(record.clone());
                Some(record)
            }
            Some(ReaderEvent::End { tp, offset }) => {
                self.at.insert(tp, offset);
                None
            }
            None => None,
        }
    }

    /// Takes in everything that is there now, what is in open transactions included.
    pub(crate) fn read_to_end(&mut self) {
        let ends: Vec<_> = self.at.keys().map(|tp| (tp.clone(), self.reader.bounds(tp).unwrap().1)).collect();
        eventually("the end of a topic", || {
            self.poll();
            ends.iter().all(|(tp, end)| self.at[tp] >= *end).then_some(())
        });
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if let Err(error) = down(&self.config, &|_| {}) {
            eprintln!("{error}");
        }
    }
}

/// A gateway on a thread.
pub(crate) struct Gateway {
    stop: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    pub(crate) health: Arc<Health>,
    thread: Option<JoinHandle<Result<(), GatewayError>>>,
}

impl Gateway {
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until a series, named with its labels, has a value.
    pub(crate) fn wait_series(&self, series: &str, value: u64) {
        eventually(&format!("{series} {value}"), || {
            self.metrics.print().lines().any(|line| line == format!("{series} {value}")).then_some(())
        });
    }

    pub(crate) fn wait_ready(&self) {
        eventually("readiness", || self.health.is_ready().then_some(()));
    }

    pub(crate) fn end(mut self) -> Result<(), GatewayError> {
        self.thread.take().unwrap().join().unwrap()
    }

    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.end().unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Kills a gateway at points given beforehand: at the n-th time it comes by.
#[derive(Default)]
pub(crate) struct Fate(Mutex<Option<(FailPoint, u32)>>);

impl Fate {
    pub(crate) fn kill_at(&self, point: FailPoint, after: u32) {
        *self.0.lock().unwrap() = Some((point, after));
    }
}

impl Probe for Fate {
    fn dies_at(&self, _session: &str, point: FailPoint) -> bool {
        let mut next = self.0.lock().unwrap();
        match &mut *next {
            Some((at, 0)) if *at == point => {
                *next = None;
                true
            }
            Some((at, left)) if *at == point => {
                *left -= 1;
                false
            }
            Some(_) | None => false,
        }
    }
}

pub(crate) fn config(session: &str, venue: &Venue, mode: Mode) -> GatewayConfig {
    GatewayConfig {
        instance: format!("test-{session}"),
        mode,
        sessions: vec![SessionConfig { session: session.to_owned(), url: venue.url.clone() }],
        // A busy machine may hold up heartbeats for a second; every kill with an intent in doubt waits this long.
        send_within_ms: 4_000,
        ..GatewayConfig::default()
    }
}

/// A real venue on a socket.
pub(crate) struct Venue {
    pub(crate) url: String,
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
}

impl Venue {
    pub(crate) fn start(
        journal: &Path,
        mode: fillstream_venue::Mode,
        session: &str,
        misbehaviour: Misbehaviour,
    ) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let engine = EngineConfig { sessions: vec![session.to_owned()], misbehaviour, ..EngineConfig::default() };
        let config = VenueConfig { mode, journal: journal.to_owned(), engine };
        let synthetic = SyntheticMarket::new(SyntheticConfig { seed: 5, ..SyntheticConfig::default() }).unwrap();
        let market: Box<dyn MarketSource> = match mode {
            fillstream_venue::Mode::Paced => Box::new(synthetic),
            fillstream_venue::Mode::Live => {
                // In the middle of its session, so that there are quotes.
                let start = TimestampMicros::from_micros(os_now().micros() - 60_000_000);
                Box::new(Anchored::new(synthetic, start))
            }
        };
        let (stop, stopped) = oneshot::channel();
        runtime.spawn(fillstream_venue::serve(config, market, listener, async { drop(stopped.await) }));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let venue = Self { url, runtime, http, stop: Some(stop) };
        eventually("the venue to answer", || venue.try_get("/v1/health"));
        venue
    }

    fn try_get(&self, path: &str) -> Option<Value> {
        let get = self.http.get(format!("{}{path}", self.url));
        self.runtime.block_on(async { get.send().await.ok()?.json().await.ok() })
    }

    /// Lets market time come; the last sequence number of the session and the time of the next event.
    pub(crate) fn advance(&self, instant: i64, sequence: i64, session: &str) -> i64 {
        let body = json!({"instant": instant, "sequence": sequence});
        let post = self.http.post(format!("{}/v1/clock", self.url)).json(&body);
        let answer: Value = self.runtime.block_on(async { post.send().await.unwrap().json().await.unwrap() });
        answer["sessions"][session].as_i64().unwrap_or_else(|| panic!("{answer}"))
    }

    /// The lines of its journal of a type.
    pub(crate) fn journal(&self, kind: &str) -> Vec<Value> {
        let get = self.http.get(format!("{}/v1/journal", self.url));
        let text = self.runtime.block_on(async { get.send().await.unwrap().text().await.unwrap() });
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["type"] == kind).collect()
    }

    /// How often each ClOrdID stands in its journal.
    pub(crate) fn orders(&self) -> BTreeMap<String, usize> {
        let mut count = BTreeMap::new();
        for line in self.journal("order") {
            *count.entry(line["client_order_id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        count
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

/// An order for the session, approved at `time`.
pub(crate) fn child(session: &str, id: &str, time: TimestampMicros) -> ChildOrder {
    let mut child = ChildOrder {
        event_id: format!("child-{session}-{id}"),
        timestamp: time,
        action: ChildAction::New,
        cl_ord_id: id.to_owned(),
        order_id: format!("O-{id}"),
        portfolio_id: format!("P-{}", id.len() % 3),
        account_id: "ACC".into(),
        instrument_id: "ACME".into(),
        broker: format!("B-{session}"),
        venue: "XALP".into(),
        session: session.to_owned(),
        side: Side::Buy,
        ord_type: OrdType::Market,
        quantity: "100".parse().unwrap(),
        time_in_force: TimeInForce::Ioc,
        expire_at: TimestampMicros::from_micros(time.micros() + 600_000_000),
        ..ChildOrder::default()
    };
    child.approval_hash = approval_hash(&child);
    child
}

/// A cancel of an order.
pub(crate) fn cancel(of: &ChildOrder, id: &str, time: TimestampMicros) -> ChildOrder {
    let mut child = ChildOrder {
        event_id: format!("child-{}-{id}", of.session),
        timestamp: time,
        action: ChildAction::Cancel,
        cl_ord_id: id.to_owned(),
        orig_cl_ord_id: Some(of.cl_ord_id.clone()),
        ..of.clone()
    };
    child.approval_hash = approval_hash(&child);
    child
}

impl Services {
    /// Writes a child order as a task of the engine does.
    pub(crate) fn write_child(&self, child: &ChildOrder, order: WriterOrder) {
        let lineage = Lineage::root(CHILD_ORDERS, &child.event_id);
        let time = child.timestamp.micros().to_be_bytes();
        let order = order.to_bytes();
        let headers: [(&str, &[u8]); 3] =
            [(header::LINEAGE, lineage.as_bytes()), (header::TIME, &time), (header::ORDER, &order)];
        self.publish(CHILD_ORDERS, &child.session, child, &headers);
    }
}
