//! A recorded run again: a group's journal is fed to fresh tasks, and what they write is compared with what was written.
//!
//! A replay begins at a snapshot (or where the journal begins, with an empty task) and reads inputs by the offsets that the
//! journal names. Crashes and rebalances of the recorded run leave no trace: the journal of a partition goes on across them.
//! Nothing is written to the cluster.

mod error;
mod plan;
mod recorded;
mod report;
mod source;
mod tape;

use std::collections::BTreeMap;
use std::sync::Arc;

use fillstream_core::TimestampMicros;
use fillstream_core::batch::{BatchOutput, OutDeadLetter};
use fillstream_core::group::Group;
use fillstream_core::lineage::Lineage;
use fillstream_core::record::OutRecord;
use fillstream_core::replay as core;
use fillstream_core::task::{Task, TaskContext};
use fillstream_core::trace::Sampler;
use fillstream_schemas::engine::{DeadLetter, JournalRecord};
use fillstream_schemas::{AvroRecord, wire};

use crate::client::{KafkaClient, Received};
use crate::driver::DriverError;
use crate::registry::{Framing, SchemaRegistry, framed, value_subject};
use crate::topics::{Router, changelog_topic, dead_letter_topic, journal_topic, snapshots_topic};

pub use error::ReplayError;
pub use report::{Difference, FieldDifference, Report, TaskReport, What};

use plan::{Planner, State, TaskPlan};
use recorded::{Recorded, output_topics};
use source::FromKafka;
pub(crate) use tape::Tapes;

/// What is asked of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the same code under the same configuration writes the same bytes.
    Same,
    /// What these stages would have written. Only values are compared.
    WhatIf,
}

/// A replay.
pub struct Replay<C: KafkaClient> {
    /// Kafka.
    pub client: C,
    /// Schemas.
    pub registry: Arc<SchemaRegistry>,
    /// Where keys belong.
    pub router: Router,
    /// The group, with the stages that shall decide.
    pub group: Arc<Group>,
    /// Hash of their configuration.
    pub config_hash: String,
    /// Version of the code.
    pub code_version: String,
    /// One partition only.
    pub partition: Option<i32>,
    /// Batches from this now on; without it from as early as possible.
    pub from: Option<TimestampMicros>,
    /// Batches up to this now.
    pub to: Option<TimestampMicros>,
    /// What is asked.
    pub question: Question,
}

impl<C: KafkaClient> Replay<C> {
    /// Runs it.
    ///
    /// # Errors
    /// [`ReplayError`]: what the recording needs is not kept any more, or the cluster does not answer.
    pub fn run(&self) -> Result<Report, ReplayError> {
        let mut framing = Framing::new(Arc::clone(&self.registry));
        let mut tapes = Tapes::new(&self.client)?;
        let counts = self.partition_counts()?;
        let tasks = counts.get(&journal_topic(self.group.name())).copied().unwrap_or(0);
        if let Some(partition) = self.partition.filter(|p| *p < 0 || *p >= tasks) {
            let group = self.group.name().to_owned();
            return Err(ReplayError::NoPartition { group, partitions: tasks, partition });
        }
        let mut plans = Vec::new();
        for partition in (0..tasks).filter(|p| self.partition.is_none_or(|wanted| wanted == *p)) {
            let (tapes, framing, group) = (&mut tapes, &mut framing, &*self.group);
            plans.push(Planner { tapes, framing, group, partition }.plan(self.from, self.to)?);
        }
        let mut recorded = Recorded::load(&mut tapes, &counts, &self.group, &plans)?;
        let schemas = source::schemas(&self.group);
        let mut report = Report::default();
        for plan in plans {
            let source = FromKafka { tapes: &mut tapes, framing: &mut framing, schemas: &schemas };
            report.tasks.push(self.task(plan, source, &mut recorded)?);
        }
        Ok(report)
    }

    fn partition_counts(&self) -> Result<BTreeMap<String, i32>, ReplayError> {
        let name = self.group.name();
        let mut topics = vec![journal_topic(name), changelog_topic(name), snapshots_topic(name)];
        topics.extend(output_topics(&self.group).into_iter().map(str::to_owned));
        topics.extend(self.group.stages().iter().map(|s| dead_letter_topic(s.spec().name)));
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let found = self.client.describe(&names)?;
        match topics.iter().find(|topic| !found.contains_key(*topic)) {
            Some(missing) => Err(ReplayError::NoTopic(missing.clone())),
            None => Ok(found.into_iter().map(|(topic, info)| (topic, info.partitions)).collect()),
        }
    }

    fn task(
        &self,
        plan: TaskPlan,
        mut source: FromKafka<'_, C>,
        recorded: &mut Recorded,
    ) -> Result<TaskReport, ReplayError> {
        let partition = plan.partition;
        let mut report = TaskReport { partition, begun_after: plan.begin.sequence, ..TaskReport::default() };
        report.range = plan.batches.first().zip(plan.batches.last()).map(|(first, last)| (first.now, last.now));
        let mut replay = core::Replay::new(&self.group, partition, self.context());
        for ((store, key), value) in &plan.begin.state {
            replay.task_mut().restore(store, key, Some(value))?;
        }
        if let Some(now) = plan.begin.now {
            replay.task_mut().restored(plan.begin.sequence, now);
        }
        for record in &plan.batches {
            self.decider(partition, record)?;
            let out = replay.run(record, &mut source).map_err(|e| match e {
                core::ReplayError::Source(e) => e,
                core::ReplayError::Engine(e) => e.into(),
                e @ core::ReplayError::Journal { .. } => ReplayError::Journal { partition, text: e.to_string() },
            })?;
            Comparison { replay: self, partition, framing: source.framing, recorded, report: &mut report }
                .batch(record, &out)?;
            replay.commit(&out);
            report.batches += 1;
            if let Some(state) = plan.states.get(&record.sequence).filter(|_| self.question == Question::Same) {
                report.states += 1;
                report.differences.extend(state_difference(self.group.name(), replay.task_mut(), state));
            }
        }
        Ok(report)
    }

    fn context(&self) -> TaskContext {
        let router = self.router.clone();
        TaskContext {
            partitioner: Arc::new(move |topic, key| router.partition(topic, key).unwrap_or(-1)),
            config_hash: self.config_hash.clone(),
            code_version: self.code_version.clone(),
            sampler: Sampler::OFF,
        }
    }

    fn decider(&self, partition: i32, record: &JournalRecord) -> Result<(), ReplayError> {
        let same = (&record.code_version, &record.config_hash) == (&self.code_version, &self.config_hash);
        if same || self.question == Question::WhatIf {
            return Ok(());
        }
        Err(ReplayError::OtherDecider {
            partition,
            sequence: record.sequence,
            code: record.code_version.clone(),
            config: record.config_hash.clone(),
        })
    }
}

/// What one batch wrote beside what it wrote then.
struct Comparison<'a, C: KafkaClient> {
    replay: &'a Replay<C>,
    partition: i32,
    framing: &'a mut Framing,
    recorded: &'a mut Recorded,
    report: &'a mut TaskReport,
}

/// A record, then or now.
struct Written {
    partition: i32,
    key: Vec<u8>,
    value: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
}

impl<C: KafkaClient> Comparison<'_, C> {
    fn batch(&mut self, record: &JournalRecord, out: &BatchOutput) -> Result<(), ReplayError> {
        let sequence = record.sequence;
        if self.replay.question == Question::Same {
            self.report.records += 1;
            if out.record != *record {
                let text = format!("journal {:?} instead of {record:?}", out.record);
                let topic = journal_topic(self.replay.group.name());
                self.differs(sequence, topic, self.partition.to_string(), None, What::Around(text));
            }
        }
        let mut then = self.recorded.outputs.remove(&(self.partition, sequence)).unwrap_or_default();
        for output in &out.outputs {
            let was = taken(&mut then, output.topic, output.lineage);
            let now = self.output(output)?;
            self.compare(sequence, output.topic, output.schema, was, Some(now));
        }
        let mut letters = self.recorded.letters.remove(&(self.partition, record.now)).unwrap_or_default();
        for letter in &out.dead_letters {
            let topic = dead_letter_topic(letter.stage);
            let was = taken(&mut letters, &topic, letter.lineage);
            // Where a dead letter stands depends on nothing but its key.
            let now = self.letter(letter, was.as_ref().map_or(0, |w| w.partition))?;
            self.compare(sequence, &topic, DeadLetter::FULL_NAME, was, Some(now));
        }
        for was in then.into_values().chain(letters.into_values()).flatten() {
            let topic = was.topic.to_string();
            let schema = self.schema_of(&topic);
            self.compare(sequence, &topic, schema, Some(was), None);
        }
        Ok(())
    }

    fn compare(&mut self, sequence: i64, topic: &str, schema: &str, was: Option<Received>, now: Option<Written>) {
        self.report.records += 1;
        let was = was.map(|r| Written {
            partition: r.partition,
            key: r.key.unwrap_or_default(),
            value: r.value.unwrap_or_default(),
            headers: r.headers,
        });
        let strict = self.replay.question == Question::Same;
        let value = |w: &Written| wire::split(&w.value).ok().and_then(|(_, payload)| report::json(schema, payload));
        let what = match (&was, &now) {
            (Some(was), Some(now)) if was.value == now.value => {
                let around = [
                    ("partition", was.partition == now.partition || !strict),
                    ("key", was.key == now.key),
                    ("headers", was.headers == now.headers || !strict),
                ];
                let differing: Vec<&str> = around.iter().filter(|(_, same)| !same).map(|(name, _)| *name).collect();
                if differing.is_empty() {
                    return;
                }
                What::Around(differing.join(", "))
            }
            (Some(was), Some(now)) => match value(was).zip(value(now)).map(|(was, now)| report::fields(&was, &now)) {
                Some(fields) if !fields.is_empty() => What::Fields(fields),
                Some(_) if !strict => return,
                Some(_) | None => What::Around("bytes of the value".to_owned()),
            },
            (Some(_), None) => What::OnlyRecorded,
            (None, _) => What::OnlyReplayed,
        };
        let seen = was.as_ref().or(now.as_ref());
        let key = seen.map(|w| String::from_utf8_lossy(&w.key).into_owned()).unwrap_or_default();
        let order_id = seen.and_then(value).and_then(|json| report::order_id(&json));
        self.differs(sequence, topic.to_owned(), key, order_id, what);
    }

    fn differs(&mut self, sequence: i64, topic: String, key: String, order_id: Option<String>, what: What) {
        let partition = self.partition;
        self.report.differences.push(Difference { partition, sequence, topic, key, order_id, what });
    }

    fn output(&mut self, out: &OutRecord) -> Result<Written, ReplayError> {
        let id = self.framing.id(&value_subject(out.topic), out.schema)?;
        Ok(Written {
            partition: self.replay.router.partition(out.topic, &out.key).map_err(DriverError::from)?,
            key: out.key.as_bytes().to_vec(),
            value: framed(id, &out.payload),
            headers: owned(out.wire_headers()),
        })
    }

    fn letter(&mut self, letter: &OutDeadLetter, partition: i32) -> Result<Written, ReplayError> {
        let id = self.framing.state_id(DeadLetter::FULL_NAME)?;
        Ok(Written {
            partition,
            key: letter.key.as_bytes().to_vec(),
            value: framed(id, &letter.payload),
            headers: owned(letter.wire_headers()),
        })
    }

    fn schema_of(&self, topic: &str) -> &'static str {
        let specs = || self.replay.group.stages().iter().map(|s| s.spec());
        let written = specs().flat_map(|s| s.outputs).find(|o| o.topic == topic).map(|o| o.schema);
        let forwarded = || specs().flat_map(|s| s.inputs).find(|i| i.forward_to == Some(topic)).map(|i| i.schema);
        written.or_else(forwarded).unwrap_or(DeadLetter::FULL_NAME)
    }
}

fn owned(headers: Vec<(&'static str, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn taken(batch: &mut recorded::Batch, topic: &str, lineage: Lineage) -> Option<Received> {
    let written = batch.get_mut(&(topic.to_owned(), lineage.as_bytes().to_vec()))?;
    (!written.is_empty()).then(|| written.remove(0))
}

fn state_difference(group: &str, task: &mut Task, recorded: &State) -> Option<Difference> {
    let dump = task.dump();
    let replayed: State = dump.into_iter().map(|(store, key, value)| ((store, key), value)).collect();
    let differing = |(place, value): &(&(String, String), &Vec<u8>)| replayed.get(*place) != Some(*value);
    let place = recorded
        .iter()
        .find(differing)
        .map(|(place, _)| place)
        .or_else(|| replayed.keys().find(|place| !recorded.contains_key(*place)))?;
    Some(Difference {
        partition: task.partition(),
        sequence: task.sequence(),
        topic: changelog_topic(group),
        key: format!("{}/{}", place.0, place.1),
        order_id: None,
        what: What::Around("state".to_owned()),
    })
}
