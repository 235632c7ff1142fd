//! One session: its state, its transactions, its broker.

use std::sync::Arc;

use fillstream_core::batch::written;
use fillstream_core::lineage::Lineage;
use fillstream_domain::{DurationMicros, OrdStatus, TimestampMicros};
use fillstream_kafka::client::{KafkaClient, RdKafkaReader, TopicPartition};
use fillstream_kafka::registry::Framing;
use fillstream_kafka::telemetry::Tracer;
use fillstream_kafka::topics::{changelog_topic, consumer_group};
use fillstream_schemas::engine::JournalRecord;
use fillstream_schemas::reference::Broker;
use tokio::runtime::Handle;
use tracing::{error, info, warn};

use super::Shared;
use super::clock::os_now;
use super::controls::{ControlsView, PacedControls};
use super::standing::Standing;
use super::stream::ReportStream;
use super::tail::{Stop, Tail};
use super::wire;
use super::writer::{CHILD_ORDERS, GROUP, Letter, Writer};
use crate::adapter::{BrokerAdapter, StatusOutcome};
use crate::boot_clock::BootInstant;
use crate::config::{GatewayConfig, Mode};
use crate::error::GatewayError;
use crate::probe::{Phase, Probe};
use crate::session::{Identity, Restore, Session};

/// Attribute of spans that names their order.
pub(crate) const KEY_IS: &str = "fillstream.cl_ord_id";
const BROKERS: &str = "reference.brokers.v1";

/// How the session knows the controls.
pub(crate) enum Watch {
    Live(Arc<ControlsView>),
    Paced(PacedControls),
}

/// A session at work.
pub(crate) struct Actor<A> {
    pub(crate) config: Arc<GatewayConfig>,
    pub(crate) session: Session,
    pub(crate) writer: Writer,
    pub(crate) adapter: Arc<A>,
    pub(crate) stream: ReportStream,
    pub(crate) children: Tail<RdKafkaReader>,
    pub(crate) watch: Watch,
    pub(crate) probe: Arc<dyn Probe>,
    pub(crate) runtime: Handle,
    pub(crate) stop: Stop,
    /// Whether the broker refuses a ClOrdID that it has seen: only then may one be sent again.
    pub(crate) cl_ord_id_unique: bool,
    /// Start of the last committed transaction: proof that nobody had fenced the session until then.
    pub(crate) fence: BootInstant,
    pub(crate) letters: Vec<Letter>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) tracer: Tracer,
    pub(crate) service: Arc<str>,
    /// OS time at which the delivery of what is pending began, microseconds.
    pub(crate) delivers_since_us: i64,
    config_hash: String,
}

impl<A: BrokerAdapter> Actor<A> {
    /// Fences, restores, waits out a predecessor's sends, takes the broker's session over and reconciles.
    ///
    /// `None` when asked to stop meanwhile.
    pub(crate) fn start(
        shared: &Shared,
        session: &str,
        adapter: Arc<A>,
        watch: Watch,
        standing: &Arc<Standing>,
    ) -> Result<Option<Self>, GatewayError> {
        let (kafka, stop) = (&shared.kafka, shared.stop.clone());
        standing.waits("restores its state");
        shared.probe.entered(session, Phase::Recovering);
        let partition = shared.router.partition(CHILD_ORDERS, session)?;
        let (registry, router, probe) = (&shared.registry, shared.router.clone(), Arc::clone(&shared.probe));
        let mut writer = Writer::new(kafka, registry, router, session, partition, probe)?;
        let fenced_at = BootInstant::now();
        let Some(state) = restore(shared, session, partition, writer.framing())? else { return Ok(None) };
        let tp = TopicPartition::new(CHILD_ORDERS, partition);
        // A tick waits for the partition's end; live, nothing does.
        let reader = match shared.config.mode {
            Mode::Paced => kafka.reader()?,
            Mode::Live => kafka.follower()?,
        };
        let children = Tail::new(reader, tp, state.head().input_offset)?;
        if children.position() > state.head().input_offset {
            let text = format!("child orders from {} on are gone", state.head().input_offset);
            return Err(GatewayError::State { session: session.to_owned(), text });
        }
        let cl_ord_id_unique = refuses_duplicates(shared, session, writer.framing())?;
        wait_out(shared, &state, fenced_at);
        standing.waits("connects to the broker");
        let from = state.head().in_seq.saturating_add(1);
        let stream = ReportStream::open(&shared.runtime, Arc::clone(&adapter), session, from, standing);
        let head = state.head();
        info!(
            session,
            out_seq = head.out_seq,
            in_seq = head.in_seq,
            pending = state.pending().len(),
            "session restored"
        );
        let config_hash =
            Lineage::root("config", &serde_json::to_string(&*shared.config).unwrap_or_default()).to_string();
        let mut actor = Self {
            config: Arc::clone(&shared.config),
            session: state,
            writer,
            adapter,
            stream,
            children,
            watch,
            probe: Arc::clone(&shared.probe),
            runtime: shared.runtime.clone(),
            stop,
            cl_ord_id_unique,
            fence: fenced_at,
            letters: Vec::new(),
            standing: Arc::clone(standing),
            tracer: shared.tracer.clone(),
            service: consumer_group(GROUP).into(),
            delivers_since_us: os_now().micros(),
            config_hash,
        };
        actor.reconcile();
        Ok((!actor.stop.is_set()).then_some(actor))
    }

    /// Live: now of the next transaction, always later than the last one's.
    pub(crate) fn live_now(&self) -> TimestampMicros {
        let step = DurationMicros::from_micros(1).unwrap_or(DurationMicros::ZERO);
        let last = self.session.head().now;
        os_now().max(last.checked_add(step).unwrap_or(last))
    }

    /// Commits what the session gathered. The send deadline of what it holds counts from here.
    pub(crate) fn commit(&mut self) -> Result<(), GatewayError> {
        let (start, start_us) = (BootInstant::now(), os_now().micros());
        let mut commit = self.session.finish();
        let head = &commit.head;
        let partition = |topic: &str, key: &str| self.writer.router().partition(topic, key).unwrap_or(-1);
        let journal = (self.config.mode == Mode::Paced).then(|| JournalRecord {
            sequence: head.sequence,
            now: head.now,
            instant: head.instant,
            complete: head.complete,
            next_due: None,
            outputs: i32::try_from(commit.outputs.len() + commit.strays.len() + self.letters.len()).unwrap_or(i32::MAX),
            written: written(&commit.outputs, partition),
            config_hash: self.config_hash.clone(),
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..JournalRecord::default()
        });
        let letters = std::mem::take(&mut self.letters);
        let awaited = self.standing.awaits("a transaction");
        let written = self.writer.commit(&commit, &letters, journal.as_ref());
        drop(awaited);
        written?;
        self.standing.committed(&commit, self.session.unanswered());
        let spans = std::mem::take(&mut commit.spans);
        self.tracer.tell_keyed(KEY_IS, &self.service, (start_us, os_now().micros()), spans);
        let phase = if self.session.unanswered() > 0 { Phase::BetweenIntentAndAnswer } else { Phase::Idle };
        self.probe.entered(self.session.name(), phase);
        self.fence = start;
        Ok(())
    }

    // Every order that should be working is looked up once: what the broker says differently comes as reports from the
    // stream, which resumes without a gap; what it does not know at all is unknown, and needs a person.
    fn reconcile(&mut self) {
        let ids: Vec<String> = self.session.working().map(|o| o.intent.child.cl_ord_id.clone()).collect();
        self.session.begin(self.session.head().now);
        for id in ids {
            if self.stop.is_set() {
                return;
            }
            let status = self.runtime.block_on(self.adapter.status(&id));
            let session = self.session.name().to_owned();
            match status {
                StatusOutcome::Known(found) => {
                    let ours = self.session.order(&id).map(|o| (o.ord_status, o.cum_qty));
                    let all_seen = found.last_seq <= self.session.head().in_seq;
                    if let (Some((ours, cum)), Some(theirs), true) = (ours, found.ord_status, all_seen)
                        && (cum != found.cum_qty || (ours != theirs && theirs != OrdStatus::PendingNew))
                    {
                        error!(session, cl_ord_id = id, %ours, %theirs, %cum, their_cum = %found.cum_qty,
                            "the broker sees the order differently");
                    }
                }
                StatusOutcome::NotFound => {
                    error!(session, cl_ord_id = id, "the broker does not know an order that it had: state unknown");
                    self.session.lost(&id, "the broker does not know the order any more");
                }
                StatusOutcome::NoAnswer { text } => {
                    warn!(session, cl_ord_id = id, text, "the broker does not answer; reconciliation skips the order");
                }
            }
        }
    }
}

/// What a predecessor was about to send it may still send until L after its last transaction. Its fate is decided only
/// after that. There is nothing to wait for where nothing is in doubt: every committed intent has its answer on record,
/// and no other can be committed any more. In paced mode a late send can only repeat a ClOrdID, which changes nothing:
/// nothing is ever rejected there because of the time that passed.
fn wait_out(shared: &Shared, state: &Session, fenced_at: BootInstant) {
    let pending = state.pending().len();
    if shared.config.mode == Mode::Live && pending > 0 {
        info!(session = state.name(), pending, "waiting until the predecessor cannot send any more");
        shared.stop.pause(fenced_at.plus(shared.config.send_within()).left());
    }
}

fn restore(
    shared: &Shared,
    session: &str,
    partition: i32,
    framing: &mut Framing,
) -> Result<Option<Session>, GatewayError> {
    let fault = |text: String| GatewayError::State { session: session.to_owned(), text };
    let topics = shared.kafka.describe(&[CHILD_ORDERS])?;
    let topic = topics.get(CHILD_ORDERS).ok_or_else(|| fault(format!("topic {CHILD_ORDERS} does not exist")))?;
    let changelog = TopicPartition::new(changelog_topic(GROUP), partition);
    let mut tail = Tail::new(shared.kafka.reader()?, changelog, 0)?;
    // Taken after the fence: whatever the predecessor committed is below it, decided or not.
    let end = tail.end()?;
    let records = tail.read_to(end, &shared.stop)?;
    if shared.stop.is_set() {
        return Ok(None);
    }
    let mut restore = Restore::default();
    for record in &records {
        let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        let schema = Restore::schema_of(&key).ok_or_else(|| fault(format!("unknown key {key:?} in its changelog")))?;
        let value = match &record.value {
            None => None,
            Some(value) => match wire::payload(framing, schema, value)? {
                Ok(payload) => Some(payload),
                Err(e) => return Err(fault(format!("key {key:?}: {}: {}", e.code, e.text))),
            },
        };
        restore.take(session, &key, value.as_deref())?;
    }
    let first = shared.kafka.reader().and_then(|r| {
        use fillstream_kafka::client::PartitionReader;
        r.bounds(&TopicPartition::new(CHILD_ORDERS, partition))
    })?;
    let micros = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000);
    let id = Identity {
        session: session.to_owned(),
        partition: u16::try_from(partition).map_err(|_| fault(format!("its partition is {partition}")))?,
        send_within_us: micros(shared.config.send_within_ms),
        closed_grace: shared.config.closed_grace().unwrap_or(DurationMicros::ZERO),
        sampler: shared.tracer.sampler(),
    };
    restore.into_session(id, &topic.uuid, first.0).map(Some)
}

/// Whether the broker of the session refuses a ClOrdID that it has seen. Not known is no.
fn refuses_duplicates(shared: &Shared, session: &str, framing: &mut Framing) -> Result<bool, GatewayError> {
    let mut tail = Tail::new(shared.kafka.reader()?, TopicPartition::new(BROKERS, 0), 0)?;
    let end = tail.end()?;
    let mut unique = None;
    for record in tail.read_to(end, &shared.stop)? {
        if let Ok(broker) = wire::decode::<Broker>(framing, &record)?
            && broker.session_id == session
        {
            unique = Some(broker.cl_ord_id_unique);
        }
    }
    if unique.is_none() {
        warn!(session, "no broker in the reference data has this session: nothing is ever sent twice");
    }
    Ok(unique.unwrap_or(false))
}
