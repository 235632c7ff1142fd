//! The broker gateway's protocol over the simulated log: the real session core, journalled and restored as its runner
//! does it, with crashes at every point of it. What is modelled here is only the I/O around that core.

use std::collections::{BTreeMap, BTreeSet};

use fillstream_broker_gateway::adapter::SendOutcome;
use fillstream_broker_gateway::gate::{Gate, Verdict};
use fillstream_broker_gateway::session::{Answer, ChildInput, Commit, Identity, Restore, Session};
use fillstream_broker_gateway::{Reason, Refusal};
use fillstream_core::mutant;
use fillstream_core::record::{Payload, header};
use fillstream_core::table::{Table, TableRow};
use fillstream_core::trace::Sampler;
use fillstream_domain::{DurationMicros, TimestampMicros};
use fillstream_reference::Controls;
use fillstream_schemas::AvroRecord;
use fillstream_schemas::engine::JournalRecord;
use fillstream_schemas::execution::{ChildAction, ChildOrder, Intent};
use fillstream_testkit::{Committed, Edge, Log, LogRecord, Moment, Producer, Surroundings, TestkitError};

use crate::venue::Outside;
use crate::world::{SESSIONS, World, after};

const GROUP: &str = "fillstream.broker-gateway";
const CHILDREN: &str = "execution.child-orders.v1";
const CHANGELOG: &str = "fillstream.broker-gateway.changelog";
const JOURNAL: &str = "fillstream.broker-gateway.journal";
const CONTROLS: &str = "execution.controls.v1";
/// L: how long after an intent's transaction a message may still be written.
const SEND_WITHIN_US: i64 = 2_000_000;

/// Faults of the gateway, with so many in 1,000 cases.
const DIES_BEFORE_COMMIT: (&str, u64) = ("gateway dies before commit", 30);
const DIES_AFTER_COMMIT: (&str, u64) = ("gateway dies after commit", 30);
const COMMIT_UNKNOWN: (&str, u64) = ("gateway commit unknown", 30);
const DIES_BEFORE_SEND: (&str, u64) = ("gateway dies before send", 80);
const DIES_AFTER_SEND: (&str, u64) = ("gateway dies after send", 80);
const ANSWER_LOST: (&str, u64) = ("answer of the broker lost", 120);
const MESSAGE_LOST: (&str, u64) = ("message to the broker lost", 80);
const MESSAGE_HELD: (&str, u64) = ("message to the broker held", 150);
const ZOMBIE: (&str, u64) = ("gateway stalls, a successor takes over", 60);

fn strikes(around: &mut Surroundings<'_>, (name, per_mille): (&'static str, u64)) -> bool {
    around.plan.strikes(name, per_mille)
}

/// A process that holds a session.
struct Held {
    session: Session,
    producer: Producer,
    /// A predecessor may have tried to send what has no answer.
    in_doubt: bool,
}

/// A process that has lost its session and does not know it.
struct Zombie {
    intents: Vec<Intent>,
    /// Its last check before the write.
    until: TimestampMicros,
}

struct Unit {
    name: &'static str,
    partition: i32,
    held: Option<Held>,
    /// Producers of dead processes: what they left open must be fenced.
    ghosts: Vec<Producer>,
    zombies: Vec<Zombie>,
    /// Last tick that is done.
    done: i64,
    /// Where it has read to, as committed.
    input_offset: i64,
    in_seq: i64,
    /// A successor decides nothing before.
    wait_until: TimestampMicros,
}

/// The sessions and the outside behind them.
pub(crate) struct Gateway {
    outside: Outside,
    controls: Controls,
    controls_next: BTreeMap<i32, i64>,
    /// Sessions whose broker refuses a ClOrdID that it has seen.
    unique: BTreeSet<String>,
    units: Vec<Unit>,
}

/// What a turn came to when the process is gone.
struct Died;

type Alive = Result<(), Died>;

impl Gateway {
    pub(crate) fn new(world: &World, outside: Outside) -> Self {
        let unit = |(partition, name): (i32, &'static str)| Unit {
            name,
            partition,
            held: None,
            ghosts: Vec::new(),
            zombies: Vec::new(),
            done: 0,
            input_offset: 0,
            in_seq: 0,
            wait_until: TimestampMicros::from_micros(i64::MIN),
        };
        let unique = world.brokers.iter().filter(|b| b.cl_ord_id_unique).map(|b| b.session_id.clone()).collect();
        Self {
            outside,
            controls: Controls::default(),
            controls_next: BTreeMap::new(),
            unique,
            units: (0..).zip(SESSIONS).map(unit).collect(),
        }
    }

    fn read_controls(&mut self, now: TimestampMicros, around: &Surroundings<'_>) {
        for partition in 0..around.cluster.partitions() {
            let next = self.controls_next.entry(partition).or_insert(0);
            for (offset, record) in around.log.read(CONTROLS, partition, *next).0 {
                if record.event_time() > now {
                    break;
                }
                let value = record.value.as_ref().map(Payload::raw);
                let event_time = Some(record.event_time());
                let row = TableRow { topic: CONTROLS, partition, offset, key: &record.key, value, event_time };
                // A release that does not release is refused, and the kill stays.
                let _ = self.controls.apply(&row);
                *next = offset + 1;
            }
        }
    }

    // Fences, then reads the changelog to the end that it had after that.
    fn restore(&mut self, n: usize, moment: Moment, around: &mut Surroundings<'_>) -> Result<(), TestkitError> {
        let Some(unit) = self.units.get_mut(n) else { return Ok(()) };
        let producer = around.log.init_transactions(&format!("{GROUP}.{}", unit.name));
        for ghost in unit.ghosts.drain(..) {
            if around.log.commit(&ghost).is_ok() {
                return Err(broken("zombies_fenced", format!("a dead process of {} committed", unit.name)));
            }
        }
        let end = around.log.end_offset(CHANGELOG, unit.partition);
        while around.log.last_stable_offset(CHANGELOG, unit.partition) < end {
            around.wait_for(CHANGELOG, unit.partition);
        }
        let mut restore = Restore::default();
        for (_, record) in around.log.read(CHANGELOG, unit.partition, 0).0 {
            let value = record.value.as_ref().map(Payload::raw);
            restore.take(unit.name, &record.key, value).map_err(|e| broken("session_restores", e))?;
        }
        let identity = Identity {
            session: unit.name.to_owned(),
            partition: u16::try_from(unit.partition).unwrap_or(0),
            send_within_us: SEND_WITHIN_US,
            closed_grace: DurationMicros::from_micros(86_400_000_000).unwrap_or(DurationMicros::ZERO),
            sampler: Sampler::OFF,
        };
        let session = restore.into_session(identity, "uuid", 0).map_err(|e| broken("session_restores", e))?;
        let head = session.head();
        (unit.input_offset, unit.in_seq) = (head.input_offset, head.in_seq);
        if head.complete && head.sequence > 0 {
            unit.done = unit.done.max(head.instant);
        }
        // What a predecessor was about to send it may still send until L after its last transaction.
        if moment.tick.is_none() && session.unanswered() > 0 {
            unit.wait_until = after(moment.now, SEND_WITHIN_US);
        }
        unit.held = Some(Held { session, producer, in_doubt: true });
        Ok(())
    }

    fn gate(&self, session: &str, child: &ChildOrder, as_of: TimestampMicros) -> Result<(), Refusal> {
        let gate = Gate {
            session,
            controls: &self.controls,
            fresh: true,
            as_of,
            future_kills: false,
            not_approved_before: None,
        };
        match gate.check(child) {
            Verdict::Pass | Verdict::Wait => Ok(()),
            Verdict::Refuse(refusal) => Err(refusal),
        }
    }

    fn take_children(&self, held: &mut Held, records: &[(i64, LogRecord)]) -> Result<(), TestkitError> {
        for (offset, record) in records {
            let child = ChildOrder::decode(record.bytes()).map_err(|e| broken("records_readable", e))?;
            let gate = self.gate(held.session.name(), &child, held.session.now());
            let trace = record.trace();
            held.session.take_child(ChildInput { offset: *offset, child, origin_us: None, trace }, gate);
        }
        Ok(())
    }

    // One tick of market time, from where the state says.
    fn tick(
        &mut self,
        n: usize,
        mut held: Held,
        (now, tick): (TimestampMicros, i64),
        around: &mut Surroundings<'_>,
    ) -> Result<Option<Held>, TestkitError> {
        let Some(unit) = self.units.get(n) else { return Ok(None) };
        let (name, partition) = (unit.name, unit.partition);
        let begun = held.session.head().instant == tick && held.session.head().sequence > 0;
        held.session.begin(now);
        if !begun {
            for report in self.outside.reports_from(name, held.session.head().in_seq + 1) {
                held.session.take_report(report.clone()).map_err(|e| broken("reports_gapless", e))?;
            }
            let due = due_children(around.log, partition, held.session.head().input_offset, now);
            self.take_children(&mut held, &due)?;
            if held.session.unanswered() > 0 {
                if mutant::is("no fence before the wire")
                    && self.deliver(&mut held, false, (now, false), around)?.is_err()
                {
                    return Ok(None);
                }
                held.session.set_tick(tick, 0, false);
                if self.commit(n, &mut held, now, true, around)?.is_err() {
                    return Ok(None);
                }
                held.session.begin(now);
            }
        }
        let in_doubt = std::mem::take(&mut held.in_doubt) && begun;
        if self.deliver(&mut held, in_doubt, (now, false), around)?.is_err() {
            return Ok(None);
        }
        held.session.set_tick(tick, 0, true);
        if self.commit(n, &mut held, now, true, around)?.is_err() {
            return Ok(None);
        }
        if let Some(unit) = self.units.get_mut(n) {
            unit.done = tick;
        }
        Ok(Some(held))
    }

    // One round of a live session; whether there was anything to do.
    fn live(
        &mut self,
        n: usize,
        mut held: Held,
        now: TimestampMicros,
        around: &mut Surroundings<'_>,
    ) -> Result<(bool, Option<Held>), TestkitError> {
        let Some(unit) = self.units.get(n) else { return Ok((false, None)) };
        let (name, partition) = (unit.name, unit.partition);
        let head = held.session.head().clone();
        let now = now.max(after(head.now, 1));
        held.session.begin(now);
        let most = 1 + around.plan.random().below(4);
        for report in self.outside.reports_from(name, head.in_seq + 1).iter().take(most) {
            held.session.take_report(report.clone()).map_err(|e| broken("reports_gapless", e))?;
        }
        let (records, _) = around.log.read(CHILDREN, partition, head.input_offset);
        let records: Vec<_> = records.into_iter().take(most).map(|(o, r)| (o, r.clone())).collect();
        self.take_children(&mut held, &records)?;
        let idle = records.is_empty() && held.session.head().in_seq == head.in_seq && !held.session.has_changes();
        if idle && held.session.unanswered() == 0 {
            return Ok((false, Some(held)));
        }
        if mutant::is("no fence before the wire") && self.deliver(&mut held, false, (now, true), around)?.is_err() {
            return Ok((true, None));
        }
        if self.commit(n, &mut held, now, false, around)?.is_err() {
            return Ok((true, None));
        }
        if held.session.unanswered() > 0 && strikes(around, ZOMBIE) {
            if let Some(unit) = self.units.get_mut(n) {
                unit.zombies.push(Zombie { intents: held.session.pending(), until: after(now, SEND_WITHIN_US) });
            }
            return Ok((true, None));
        }
        held.session.begin(now);
        let in_doubt = std::mem::take(&mut held.in_doubt);
        let alive = self.deliver(&mut held, in_doubt, (now, true), around)?;
        Ok((true, alive.is_ok().then_some(held)))
    }

    // Delivers every pending intent: new orders first, a cancel when its order has its answer.
    fn deliver(
        &mut self,
        held: &mut Held,
        in_doubt: bool,
        (now, live): (TimestampMicros, bool),
        around: &mut Surroundings<'_>,
    ) -> Result<Alive, TestkitError> {
        let mut pending = held.session.pending();
        pending.sort_by_key(|intent| intent.child.action != ChildAction::New);
        for intent in pending {
            match self.deliver_one(held.session.name(), &intent, in_doubt, (now, live), around)? {
                Ok(answer) => held.session.answer(&intent.child.cl_ord_id, &answer),
                Err(died) => return Ok(Err(died)),
            }
        }
        Ok(Ok(()))
    }

    fn deliver_one(
        &mut self,
        session: &str,
        intent: &Intent,
        mut in_doubt: bool,
        (now, live): (TimestampMicros, bool),
        around: &mut Surroundings<'_>,
    ) -> Result<Result<Answer, Died>, TestkitError> {
        let (id, is_new) = (intent.child.cl_ord_id.as_str(), intent.child.action == ChildAction::New);
        let received_at = live.then_some(now);
        let unique = self.unique.contains(session);
        loop {
            if std::mem::take(&mut in_doubt) {
                if self.outside.knows(session, id)? {
                    return Ok(Ok(Answer::Received));
                }
                if !unique && is_new {
                    let text = "the broker does not know it, and does not refuse a second one";
                    return Ok(Ok(Answer::Unknown(text.to_owned())));
                }
            }
            if let Err(refusal) = self.gate(session, &intent.child, if live { now } else { intent.timestamp }) {
                return Ok(Ok(Answer::NotSent(refusal)));
            }
            if strikes(around, DIES_BEFORE_SEND) {
                return Ok(Err(Died));
            }
            if live && strikes(around, MESSAGE_HELD) {
                let ms = i64::try_from(around.plan.random().below(1_500)).unwrap_or(0);
                self.outside.hold(session, intent, after(now, ms * 1_000));
                in_doubt = true;
                continue;
            }
            if unique && strikes(around, MESSAGE_LOST) {
                in_doubt = true;
                continue;
            }
            let outcome = self.outside.take(session, intent, received_at)?;
            if strikes(around, DIES_AFTER_SEND) {
                return Ok(Err(Died));
            }
            if strikes(around, ANSWER_LOST) {
                in_doubt = true;
                continue;
            }
            return Ok(Ok(match outcome {
                SendOutcome::Received => Answer::Received,
                SendOutcome::Refused { code, text } => {
                    Answer::NotSent(Refusal::new(Reason::BrokerRefused, format!("{code}: {text}")))
                }
                SendOutcome::NotSent { text } | SendOutcome::Uncertain { text } => Answer::Unknown(text),
            }));
        }
    }

    // Commits what the session gathered; after anything but success the process is gone.
    fn commit(
        &mut self,
        n: usize,
        held: &mut Held,
        now: TimestampMicros,
        paced: bool,
        around: &mut Surroundings<'_>,
    ) -> Result<Alive, TestkitError> {
        let Some(unit) = self.units.get_mut(n) else { return Ok(Err(Died)) };
        let commit = held.session.finish();
        if let Some(stray) = commit.strays.first() {
            return Err(broken("no_strays", format!("{}: {stray:?}", unit.name)));
        }
        write(unit, &held.producer, &commit, now, paced, around)?;
        if strikes(around, DIES_BEFORE_COMMIT) {
            unit.ghosts.push(held.producer.clone());
            return Ok(Err(Died));
        }
        if strikes(around, COMMIT_UNKNOWN) {
            if around.plan.random().coin() {
                around.log.commit(&held.producer)?;
            } else {
                unit.ghosts.push(held.producer.clone());
            }
            return Ok(Err(Died));
        }
        around.log.commit(&held.producer)?;
        if strikes(around, DIES_AFTER_COMMIT) {
            return Ok(Err(Died));
        }
        (unit.input_offset, unit.in_seq) = (commit.head.input_offset, commit.head.in_seq);
        Ok(Ok(()))
    }
}

fn write(
    unit: &Unit,
    producer: &Producer,
    commit: &Commit,
    now: TimestampMicros,
    paced: bool,
    around: &mut Surroundings<'_>,
) -> Result<(), TestkitError> {
    let (log, head) = (&mut *around.log, &commit.head);
    log.begin(producer)?;
    for out in &commit.outputs {
        let headers = out.wire_headers().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let value = Some(Payload::Avro(out.payload.clone()));
        let record = LogRecord { key: out.key.clone(), value, headers, timestamp: out.event_time };
        let partition = around.cluster.partition_of(out.topic, &out.key);
        log.append(producer, out.topic, partition, record)?;
    }
    let plain = |key: String, value: Option<Vec<u8>>| LogRecord {
        key: key.into(),
        value: value.map(|v| Payload::Avro(v.into())),
        headers: vec![("fs-seq".to_owned(), head.sequence.to_be_bytes().to_vec())],
        timestamp: now,
    };
    for entry in &commit.changelog {
        let record = plain(format!("{}/{}", entry.store, entry.key), entry.value.clone());
        log.append(producer, CHANGELOG, unit.partition, record)?;
    }
    if paced {
        let journal = JournalRecord {
            sequence: head.sequence,
            now: head.now,
            instant: head.instant,
            complete: head.complete,
            outputs: i32::try_from(commit.outputs.len()).unwrap_or(i32::MAX),
            config_hash: "sim".to_owned(),
            code_version: "sim".to_owned(),
            ..JournalRecord::default()
        };
        log.append(producer, JOURNAL, unit.partition, plain(unit.name.to_owned(), Some(journal.to_bytes())))?;
    }
    let committed =
        Committed { offset: head.input_offset, metadata: format!("v1;{};{}", head.sequence, head.input_topic_id) };
    // A member of no group: its transactional id is the fence.
    log.send_offsets(producer, GROUP, 0, [(CHILDREN.to_owned(), unit.partition, committed)])?;
    Ok(())
}

// Child orders that were written before the instant, in the order of their writers.
fn due_children(log: &Log, partition: i32, from: i64, now: TimestampMicros) -> Vec<(i64, LogRecord)> {
    let (records, _) = log.read(CHILDREN, partition, from);
    let before = |record: &LogRecord| record.event_time() < now;
    let mut due: Vec<_> = records.into_iter().take_while(|(_, r)| before(r)).map(|(o, r)| (o, r.clone())).collect();
    let place = |r: &LogRecord| {
        (r.event_time(), r.header(header::ORDER).map(<[u8]>::to_vec), r.header(header::LINEAGE).map(<[u8]>::to_vec))
    };
    due.sort_by_key(|(_, r)| place(r));
    due
}

fn broken(invariant: &str, text: impl std::fmt::Display) -> TestkitError {
    TestkitError::Broken { invariant: invariant.to_owned(), text: text.to_string() }
}

impl Edge for Gateway {
    fn units(&self) -> usize {
        self.units.len()
    }

    fn advance(&mut self, moment: Moment, around: &mut Surroundings<'_>) -> Result<(), TestkitError> {
        self.outside.advance(moment.now)?;
        self.read_controls(moment.now, around);
        for unit in &mut self.units {
            unit.zombies.retain(|z| z.until > moment.now);
            let wakes = unit.zombies.iter().any(|_| around.plan.random().coin());
            if !wakes {
                continue;
            }
            // It wakes up before its deadline: what it sends can only repeat a known ClOrdID with identical fields.
            for zombie in unit.zombies.drain(..) {
                for intent in &zombie.intents {
                    let _ = self.outside.take(unit.name, intent, Some(moment.now))?;
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, n: usize, moment: Moment, around: &mut Surroundings<'_>) -> Result<bool, TestkitError> {
        let Some(unit) = self.units.get_mut(n) else { return Ok(false) };
        if moment.tick.is_some_and(|tick| unit.done >= tick) || moment.now < unit.wait_until {
            return Ok(false);
        }
        let partition = unit.partition;
        let Some(held) = unit.held.take() else {
            self.restore(n, moment, around)?;
            return Ok(true);
        };
        let Some(tick) = moment.tick else {
            let (worked, held) = self.live(n, held, moment.now, around)?;
            if let Some(unit) = self.units.get_mut(n) {
                unit.held = held;
            }
            return Ok(worked);
        };
        // Everything of the instant is in the partition, but its markers may still be on their way.
        let end = around.log.end_offset(CHILDREN, partition);
        while around.log.last_stable_offset(CHILDREN, partition) < end {
            around.wait_for(CHILDREN, partition);
        }
        let held = self.tick(n, held, (moment.now, tick), around)?;
        if let Some(unit) = self.units.get_mut(n) {
            unit.held = held;
        }
        Ok(true)
    }

    fn complete(&self, tick: i64) -> bool {
        self.units.iter().all(|unit| unit.done >= tick)
    }

    fn next_event_at(&mut self, log: &Log) -> Option<TimestampMicros> {
        let mut wanted: Vec<TimestampMicros> = self.outside.next_event_at().into_iter().collect();
        for unit in &self.units {
            let pending = unit.held.as_ref().map_or(unit.input_offset > 0, |held| held.session.has_changes());
            let waiting = log.decided(CHILDREN, unit.partition, unit.input_offset);
            let due = waiting.first().map(|(_, record)| after(record.event_time(), 1));
            let told = !self.outside.reports_from(unit.name, unit.in_seq + 1).is_empty();
            let now = (pending || told).then_some(unit.wait_until);
            wanted.extend(due.into_iter().chain(now).map(|at| at.max(unit.wait_until)));
            wanted.extend(unit.zombies.iter().map(|z| z.until));
        }
        wanted.into_iter().min()
    }
}
