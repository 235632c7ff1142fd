//! The gateway against a real Kafka, a real schema registry and a real venue: killed at every point, every order executes
//! exactly once, and everything the venue says arrives exactly once.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::{
    CHILD_ORDERS, Fate, Follow, INTENTS, REPORTS, Services, Venue, cancel, child, config, eventually, os_now, value,
};
use fillstream_broker_gateway::{FailPoint, GatewayConfig, GatewayError, Mode};
use fillstream_core::position::WriterOrder;
use fillstream_domain::{ControlScope, OrdStatus, OrdType, TimeInForce, TimestampMicros};
use fillstream_kafka::client::{GroupConsumer, KafkaClient, TopicPartition};
use fillstream_market::DEFAULT_START;
use fillstream_schemas::engine::JournalRecord;
use fillstream_schemas::execution::{ChildOrder, ClockTick, Control, ControlState, ExecutionReport, Intent};
use fillstream_venue::Misbehaviour;

const POINTS: [FailPoint; 6] = [
    FailPoint::BeforeCommit,
    FailPoint::AfterIntentCommit,
    FailPoint::BeforeSend,
    FailPoint::BetweenCheckAndWrite,
    FailPoint::AfterSend,
    FailPoint::BeforeAnswerCommit,
];

fn plain(n: u64) -> WriterOrder {
    WriterOrder { writer: 0, sequence: n, n: 0 }
}

/// Reports of a session.
fn reports(services: &Services, session: &str) -> Vec<ExecutionReport> {
    services.values::<ExecutionReport>(REPORTS).into_iter().filter(|r| r.session == session).collect()
}

/// What the gateway itself said.
fn synthetic(services: &Services, session: &str) -> Vec<(String, Option<String>, Option<String>)> {
    let own = reports(services, session).into_iter().filter(|r| r.synthetic);
    own.map(|r| (r.cl_ord_id, r.reject_code, r.text)).collect()
}

fn is_terminal(report: &ExecutionReport) -> bool {
    report.ord_status.is_terminal()
}

/// Waits until each of the orders has a report that ends it.
fn wait_ended(services: &Services, session: &str, ids: &[String]) {
    let mut left: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    let mut follow = services.follow(REPORTS);
    eventually("the end of every order", || {
        if let Some(report) = follow.poll().map(|r| value::<ExecutionReport>(&r))
            && report.session == session
            && is_terminal(&report)
        {
            left.remove(report.cl_ord_id.as_str());
        }
        left.is_empty().then_some(())
    });
}

/// Waits for a report of an order that satisfies a condition.
fn wait_report(services: &Services, id: &str, wanted: impl Fn(&ExecutionReport) -> bool) -> ExecutionReport {
    let mut follow = services.follow(REPORTS);
    eventually("a report", || {
        follow.poll().map(|r| value::<ExecutionReport>(&r)).filter(|r| r.cl_ord_id == id && wanted(r))
    })
}

/// What must hold after whatever happened: the venue's journal, the intents and the reports agree.
fn assert_exactly_once(services: &Services, venue: &Venue, session: &str) {
    let intents: Vec<Intent> =
        services.values::<Intent>(INTENTS).into_iter().filter(|i| i.session == session).collect();
    let numbers: Vec<i64> = intents.iter().map(|i| i.out_seq).collect();
    assert_eq!(numbers, (1..=i64::try_from(intents.len()).unwrap()).collect::<Vec<_>>(), "gapless");
    for (id, count) in venue.orders() {
        assert_eq!(count, 1, "{id} stands more than once in the venue's journal");
    }
    for line in venue.journal("order") {
        let intent = intents.iter().find(|i| line["client_order_id"] == i.child.cl_ord_id.as_str());
        let intent = intent.unwrap_or_else(|| panic!("no intent for {line}"));
        assert_eq!(line["quantity"], intent.child.quantity.to_string());
        assert_eq!(line["sent_at"], intent.timestamp.micros());
    }
    let reports = reports(services, session);
    let ids: BTreeSet<&str> = reports.iter().map(|r| r.event_id.as_str()).collect();
    assert_eq!(ids.len(), reports.len(), "event ids are unique");
    let ours: BTreeSet<(i64, String)> =
        reports.iter().filter(|r| !r.synthetic).map(|r| (r.in_seq, r.exec_id.clone())).collect();
    let mut theirs = BTreeMap::new();
    for line in venue.journal("report") {
        let (seq, exec_id) = (line["report"]["seq"].as_i64().unwrap(), line["report"]["exec_id"].as_str().unwrap());
        theirs.entry(exec_id.to_owned()).or_insert(seq);
    }
    let theirs: BTreeSet<(i64, String)> = theirs.into_iter().map(|(exec_id, seq)| (seq, exec_id)).collect();
    assert_eq!(ours, theirs, "every ExecID of the venue once, under its first number");
}

#[test]
fn sessions_against_real_services() {
    let services = Services::start(&[("LIVE", 0), ("KILLED", 1), ("UNSURE", 2), ("REFUSED", 3)]);
    for (session, unique) in [("LIVE", true), ("KILLED", true), ("UNSURE", false), ("REFUSED", true)] {
        services.declare_broker(session, unique);
    }
    let folder = tempfile::tempdir().unwrap();
    live_with_kills_at_every_point(&services, folder.path());
    a_venue_that_forgot_stops_the_session(&services, folder.path());
    a_kill_stops_new_orders_and_not_cancels(&services, folder.path());
    without_unique_ids_nothing_is_sent_twice(&services, folder.path());
    what_cannot_be_sent_is_refused_with_its_reason(&services, folder.path());
    // Observers of the group see how far each session is.
    let consumer = services.kafka.consumer("fillstream.broker-gateway", "observer", &[CHILD_ORDERS]).unwrap();
    let partitions: Vec<_> = (0..4).map(|p| TopicPartition::new(CHILD_ORDERS, p)).collect();
    let offsets: Vec<i64> = consumer.committed(&partitions).unwrap().iter().map(|o| o.offset).collect();
    let live = i64::try_from(4 * POINTS.len()).unwrap() + 1;
    assert_eq!(offsets, [live, 5, 1, 4]);
}

#[test]
fn in_market_time_a_killed_run_says_the_same_as_a_whole_one() {
    let run = |kills: &[(i64, FailPoint)]| {
        let services = Services::start(&[("PACED", 3)]);
        services.declare_broker("PACED", true);
        let folder = tempfile::tempdir().unwrap();
        paced(&services, folder.path(), kills)
    };
    let whole = run(&[]);
    let count = |status| whole.iter().filter(|r| r.ord_status == status).count();
    assert!(count(OrdStatus::Filled) >= 5 && count(OrdStatus::Rejected) >= 1, "{whole:?}");
    assert!(whole.iter().any(|r| r.reject_code.as_deref() == Some("UNKNOWN_ORDER")), "a cancel of nothing");
    let kills: Vec<(i64, FailPoint)> =
        POINTS.iter().enumerate().map(|(i, point)| (5 + 6 * i64::try_from(i).unwrap(), *point)).collect();
    let killed = run(&kills);
    assert_eq!(whole.len(), killed.len());
    for (a, b) in whole.iter().zip(&killed) {
        assert_eq!(a, b);
    }
}

fn live_with_kills_at_every_point(services: &Services, folder: &std::path::Path) {
    let mode = fillstream_venue::Mode::Live;
    let misbehaviour = Misbehaviour { repeat_share: "0.3".parse().unwrap(), ..Misbehaviour::none() };
    let venue = Venue::start(&folder.join("live"), mode, "LIVE", misbehaviour);
    let (config, fate) = (config("LIVE", &venue, Mode::Live), Arc::new(Fate::default()));
    let mut ids = Vec::new();
    for (round, point) in POINTS.into_iter().enumerate() {
        // The second visit of a send, so that a part of the batch is out already.
        let after =
            u32::from(matches!(point, FailPoint::BeforeSend | FailPoint::BetweenCheckAndWrite | FailPoint::AfterSend));
        fate.kill_at(point, after);
        for n in 0..4_u64 {
            let id = format!("L{round}-{n}");
            services.write_child(&child("LIVE", &id, os_now()), plain(n));
            ids.push(id);
        }
        let gateway = services.gateway(&config, &fate);
        eventually("the kill", || gateway.has_ended().then_some(()));
        let error = gateway.end().unwrap_err();
        assert!(matches!(error, GatewayError::Probe(at) if at == point), "{error}");
    }
    let gateway = services.gateway(&config, &fate);
    wait_ended(services, "LIVE", &ids);
    gateway.stop();
    assert_eq!(venue.orders().len(), ids.len(), "every order is there; {:?}", synthetic(services, "LIVE"));
    assert_exactly_once(services, &venue, "LIVE");
    // A successor over a settled session finds nothing to do and changes nothing.
    let before = (venue.orders(), reports(services, "LIVE"));
    let gateway = services.gateway(&config, &fate);
    services.write_child(&child("LIVE", "L-last", os_now()), plain(99));
    wait_ended(services, "LIVE", &["L-last".to_owned()]);
    gateway.stop();
    assert_eq!(venue.orders().len(), before.0.len() + 1);
    assert!(reports(services, "LIVE").iter().filter(|r| r.cl_ord_id != "L-last").eq(before.1.iter()));
    assert_exactly_once(services, &venue, "LIVE");
}

fn a_venue_that_forgot_stops_the_session(services: &Services, folder: &std::path::Path) {
    let venue = Venue::start(&folder.join("changed"), fillstream_venue::Mode::Live, "LIVE", Misbehaviour::none());
    let config = config("LIVE", &venue, Mode::Live);
    // Another venue under the same session knows none of its reports: that must stop everything.
    let gateway = services.gateway(&config, &Arc::default());
    let health = Arc::clone(&gateway.health);
    let error = gateway.end().unwrap_err();
    assert!(matches!(error, GatewayError::BrokerForgot { last: 0, .. }), "{error}");
    assert!(!health.is_live(), "{}", health.print());
}

fn a_kill_stops_new_orders_and_not_cancels(services: &Services, folder: &std::path::Path) {
    let venue = Venue::start(&folder.join("killed"), fillstream_venue::Mode::Live, "KILLED", Misbehaviour::none());
    let config = config("KILLED", &venue, Mode::Live);
    let gateway = services.gateway(&config, &Arc::default());
    gateway.wait_ready();
    gateway.wait_series("fillstream_gateway_session_up{session=\"KILLED\"}", 1);
    let resting = |id: &str| {
        let mut order = child("KILLED", id, os_now());
        order.ord_type = OrdType::Limit;
        order.limit_price = Some("1".parse().unwrap());
        order.time_in_force = TimeInForce::Day;
        order.approval_hash = fillstream_child_risk::approval_hash(&order);
        order
    };
    let order = resting("K1");
    services.write_child(&order, plain(1));
    wait_report(services, "K1", |r| r.ord_status == OrdStatus::New);
    let kill = Control {
        scope: ControlScope::Broker,
        scope_id: "B-KILLED".into(),
        state: ControlState::Killed,
        version: 1,
        actor: "ada".into(),
        reason: "drill".into(),
        set_at: os_now(),
        ..Control::default()
    };
    services.publish("execution.controls.v1", "BROKER/B-KILLED", &kill, &[]);
    // From the kill's append on the gateway has 250 ms; an order is a proof only after them.
    let appended = std::time::Instant::now();
    while appended.elapsed() < std::time::Duration::from_millis(250) {
        std::thread::yield_now();
    }
    services.write_child(&resting("K2"), plain(2));
    let mut changed = resting("K3");
    changed.quantity = "200".parse().unwrap();
    services.write_child(&changed, plain(3));
    services.publish_garbage(CHILD_ORDERS, "KILLED");
    services.write_child(&cancel(&order, "K4", os_now()), plain(4));
    let code = |id: &str| wait_report(services, id, |_| true).reject_code.unwrap_or_default();
    assert_eq!(code("K2"), "KILLED");
    assert_eq!(code("K3"), "HASH_MISMATCH");
    let cancelled = wait_report(services, "K4", |_| true);
    assert_eq!((cancelled.ord_status, cancelled.synthetic), (OrdStatus::Canceled, false));
    for (series, labels, value) in [
        ("intents_total", "", 2),
        ("sends_total", ",outcome=\"received\"", 2),
        ("sends_total", ",outcome=\"uncertain\"", 0),
        ("send_seconds_count", "", 2),
        ("refusals_total", ",code=\"KILLED\"", 1),
        ("refusals_total", ",code=\"HASH_MISMATCH\"", 1),
        ("refusals_total", ",code=\"STALE_APPROVAL\"", 0),
        ("open_intents", "", 0),
        // The venue's acceptance and cancel, and two refusals of the gateway's own.
        ("reports_total", "", 4),
        ("unknowns_total", "", 0),
    ] {
        gateway.wait_series(&format!("fillstream_gateway_{series}{{session=\"KILLED\"{labels}}}"), value);
    }
    let health = Arc::clone(&gateway.health);
    gateway.stop();
    assert_eq!((health.is_ready(), health.is_live()), (false, true), "{}", health.print());
    assert_eq!(venue.orders().into_keys().collect::<Vec<_>>(), ["K1"]);
    assert_exactly_once(services, &venue, "KILLED");
    assert_eq!(services.read("broker-gateway.dlq").len(), 1, "the record that is no child order");
}

fn without_unique_ids_nothing_is_sent_twice(services: &Services, folder: &std::path::Path) {
    let venue = Venue::start(&folder.join("unsure"), fillstream_venue::Mode::Live, "UNSURE", Misbehaviour::none());
    let (config, fate) = (config("UNSURE", &venue, Mode::Live), Arc::new(Fate::default()));
    fate.kill_at(FailPoint::BeforeSend, 0);
    services.write_child(&child("UNSURE", "U1", os_now()), plain(1));
    let gateway = services.gateway(&config, &fate);
    gateway.end().unwrap_err();
    let gateway = services.gateway(&config, &fate);
    let report = wait_report(services, "U1", |_| true);
    assert_eq!((report.ord_status, report.synthetic), (OrdStatus::Unknown, true));
    assert_eq!(report.reject_code.as_deref(), Some("SEND_OUTCOME_UNKNOWN"));
    gateway.wait_series("fillstream_gateway_unknowns_total{session=\"UNSURE\"}", 1);
    gateway.stop();
    assert!(venue.orders().is_empty());
}

fn what_cannot_be_sent_is_refused_with_its_reason(services: &Services, folder: &std::path::Path) {
    let code = |id: &str| wait_report(services, id, |_| true).reject_code.unwrap_or_default();
    let signed = |mut order: ChildOrder, change: fn(&mut ChildOrder)| {
        change(&mut order);
        order.approval_hash = fillstream_child_risk::approval_hash(&order);
        order
    };
    // Nobody listens there: certainly not sent, and so refused once its deadline has passed.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let venue = Venue::start(&folder.join("refused"), fillstream_venue::Mode::Live, "REFUSED", Misbehaviour::none());
    let mut unreachable = config("REFUSED", &venue, Mode::Live);
    unreachable.sessions[0].url = format!("http://{closed}");
    let gateway = services.gateway(&unreachable, &Arc::default());
    services.write_child(&child("REFUSED", "R1", os_now()), plain(1));
    assert_eq!(code("R1"), "SEND_DEADLINE");
    assert!(!gateway.health.is_ready(), "no stream of reports: {}", gateway.health.print());
    gateway.stop();
    let gateway = services.gateway(&config("REFUSED", &venue, Mode::Live), &Arc::default());
    let unknown = signed(child("REFUSED", "R2", os_now()), |order| order.instrument_id = "NOBODY".into());
    services.write_child(&unknown, plain(2));
    services
        .write_child(&child("REFUSED", "R3", TimestampMicros::from_micros(os_now().micros() - 40_000_000)), plain(3));
    let elsewhere = signed(child("REFUSED", "R4", os_now()), |order| order.session = "ANOTHER".into());
    services.publish_at(CHILD_ORDERS, 3, "REFUSED", &elsewhere, &[]);
    assert_eq!(code("R2"), "BROKER_REFUSED");
    assert_eq!(code("R3"), "STALE_APPROVAL");
    assert_eq!(code("R4"), "WRONG_SESSION");
    gateway.stop();
    assert!(venue.orders().is_empty());
}

/// A run in market time, killed at `kills` (tick, point): everything that was reported.
fn paced(services: &Services, folder: &std::path::Path, kills: &[(i64, FailPoint)]) -> Vec<ExecutionReport> {
    let misbehaviour = Misbehaviour::default();
    let venue = Venue::start(&folder.join("paced"), fillstream_venue::Mode::Paced, "PACED", misbehaviour);
    let (config, fate) = (config("PACED", &venue, Mode::Paced), Arc::new(Fate::default()));
    let journal = services.follow("fillstream.broker-gateway.journal");
    let last = DEFAULT_START.micros();
    let mut pacer = Pacer { services, venue: &venue, config: &config, fate: &fate, journal, last };
    let mut gateway = services.gateway(&config, &fate);
    let last_tick = 60;
    for tick in 1..=last_tick {
        for (_, point) in kills.iter().filter(|(at, _)| *at == tick) {
            fate.kill_at(*point, 0);
        }
        gateway = pacer.tick(tick, gateway);
        if tick <= 40 {
            let now = TimestampMicros::from_micros(pacer.last);
            pacer.write_children(tick, now);
        }
    }
    gateway.stop();
    assert_exactly_once(services, &venue, "PACED");
    assert!(venue.orders().len() >= 70, "{}", venue.orders().len());
    reports(services, "PACED")
}

struct Pacer<'a> {
    services: &'a Services,
    venue: &'a Venue,
    config: &'a GatewayConfig,
    fate: &'a Arc<Fate>,
    journal: Follow,
    last: i64,
}

impl Pacer<'_> {
    /// Releases an instant and waits until the gateway has done it, starting a successor whenever it was killed.
    fn tick(&mut self, sequence: i64, mut gateway: common::Gateway) -> common::Gateway {
        self.last += 100_000;
        let seq = self.venue.advance(self.last, sequence, "PACED");
        let tick = ClockTick {
            instant: TimestampMicros::from_micros(self.last),
            sequence,
            session_seqs: [("PACED".to_owned(), seq)].into(),
            ..ClockTick::default()
        };
        self.services.publish_at("execution.clock.v1", 3, "3", &tick, &[]);
        eventually("a tick", || {
            if gateway.has_ended() {
                let dead = std::mem::replace(&mut gateway, self.services.gateway(self.config, self.fate));
                let error = dead.end().unwrap_err();
                assert!(matches!(error, GatewayError::Probe(_)), "{error}");
            }
            let record = self.journal.poll().map(|r| value::<JournalRecord>(&r))?;
            (record.instant == sequence && record.complete).then_some(())
        });
        gateway
    }

    /// Two orders and, of every other tick, a cancel; the order in the partition is not the writers'.
    fn write_children(&self, tick: i64, now: TimestampMicros) {
        let writer = |writer| WriterOrder { writer, sequence: u64::try_from(tick).unwrap(), n: 0 };
        let second = child("PACED", &format!("D{tick}-2"), now);
        let first = ChildOrder { ..child("PACED", &format!("D{tick}-1"), now) };
        self.services.write_child(&second, writer(2));
        self.services.write_child(&first, writer(1));
        if tick % 2 == 0 {
            let of = if tick % 4 == 0 { first } else { child("PACED", &format!("never-{tick}"), now) };
            self.services.write_child(&cancel(&of, &format!("D{tick}-3"), now), writer(3));
        }
    }
}
