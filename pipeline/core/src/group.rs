//! Paths and groups: which stages share a task, a transaction and a changelog.
//!
//! A path is a list of co-partitioned stages in topological order. A group is a run of a path's stages that are fused
//! into one task a partition: the records between them are written to their topics, but handed on in memory. How a path is
//! cut into groups is deployment; the outputs do not depend on it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::EngineError;
use crate::instance::StageHandle;
use crate::stage::InputTopic;

/// Co-partitioned stages in topological order.
pub struct Path {
    name: String,
    stages: Vec<StageHandle>,
}

impl Path {
    /// A path of `stages`.
    ///
    /// # Errors
    /// [`EngineError::Topology`] when a stage stands twice, two stages write one topic, or there are more than 250.
    pub fn new(name: &str, stages: Vec<StageHandle>) -> Result<Arc<Self>, EngineError> {
        let topology = |text: String| EngineError::Topology { group: name.to_owned(), text };
        if stages.is_empty() || stages.len() > 250 {
            return Err(topology(format!("a path has 1 to 250 stages, not {}", stages.len())));
        }
        let (mut names, mut owned) = (BTreeSet::new(), BTreeSet::new());
        for stage in &stages {
            if !names.insert(stage.spec.name) {
                return Err(topology(format!("stage {} stands twice", stage.spec.name)));
            }
            for output in stage.spec.outputs {
                if !owned.insert(output.topic) {
                    return Err(topology(format!(
                        "{} is written by {} and by a stage before it",
                        output.topic, stage.spec.name
                    )));
                }
            }
        }
        Ok(Arc::new(Self { name: name.to_owned(), stages }))
    }

    /// Name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Stages in topological order.
    #[must_use]
    pub fn stages(&self) -> &[StageHandle] {
        &self.stages
    }

    fn readers(&self, topic: &str) -> impl Iterator<Item = usize> {
        let reads = move |s: &StageHandle| s.spec.inputs.iter().any(|i| i.topic == topic);
        self.stages.iter().enumerate().filter(move |(_, s)| reads(s)).map(|(i, _)| i)
    }

    fn producer(&self, topic: &str) -> Option<usize> {
        self.stages.iter().position(|s| s.spec.outputs.iter().any(|o| o.topic == topic))
    }
}

/// A run of a path's stages that share a task.
pub struct Group {
    name: String,
    path: Arc<Path>,
    first: usize,
    end: usize,
    level: i32,
    subscriptions: Vec<Subscription>,
}

/// A topic that the group's consumer reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Topic and schema.
    pub input: InputTopic,
    /// Ordinals of the stages that read it from Kafka, ascending. A stage after the topic's owner in this same group gets
    /// it in memory instead.
    pub stages: Vec<u8>,
    /// Written by an earlier group of the path: part of the same instant in paced mode.
    pub same_instant: bool,
}

impl Group {
    /// The whole path in one group, named like the path.
    ///
    /// # Errors
    /// See [`Group::split`].
    pub fn fused(path: &Arc<Path>) -> Result<Arc<Self>, EngineError> {
        Ok(Arc::new(Self::range(path.name.clone(), path, 0, path.stages.len(), 0)))
    }

    /// The path cut into groups: `parts` gives the stage names of each, in path order. A part is named after its first
    /// stage, or like the path when it holds every stage.
    ///
    /// # Errors
    /// [`EngineError::Topology`] when the parts, put together, are not the path.
    pub fn split(path: &Arc<Path>, parts: &[Vec<String>]) -> Result<Vec<Arc<Self>>, EngineError> {
        let wanted: Vec<&str> = path.stages.iter().map(|s| s.spec.name).collect();
        let given: Vec<&str> = parts.iter().flatten().map(String::as_str).collect();
        if wanted != given || parts.iter().any(Vec::is_empty) {
            return Err(EngineError::Topology {
                group: path.name.clone(),
                text: format!("the groups, put together, must be {wanted:?}, not {given:?}"),
            });
        }
        let (mut groups, mut first) = (Vec::new(), 0);
        for (level, part) in parts.iter().enumerate() {
            let end = first + part.len();
            let name = if parts.len() == 1 { path.name.clone() } else { part.first().cloned().unwrap_or_default() };
            groups.push(Arc::new(Self::range(name, path, first, end, i32::try_from(level).unwrap_or(i32::MAX))));
            first = end;
        }
        Ok(groups)
    }

    fn range(name: String, path: &Arc<Path>, first: usize, end: usize, level: i32) -> Self {
        let mut subscriptions: Vec<Subscription> = Vec::new();
        for (ordinal, stage) in path.stages.iter().enumerate().take(end).skip(first) {
            for input in stage.spec.inputs {
                let producer = path.producer(input.topic);
                if producer.is_some_and(|p| p >= first && p < ordinal) {
                    continue;
                }
                let same_instant = producer.is_some_and(|p| p < first);
                let ordinal = u8::try_from(ordinal).unwrap_or(u8::MAX);
                match subscriptions.iter_mut().find(|s| s.input.topic == input.topic) {
                    Some(s) => s.stages.push(ordinal),
                    None => subscriptions.push(Subscription { input: *input, stages: vec![ordinal], same_instant }),
                }
            }
        }
        Self { name, path: Arc::clone(path), first, end, level, subscriptions }
    }

    /// Name; the consumer group is `fillstream.<name>`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Level in its path: in paced mode level n runs when level n - 1 has drained the instant.
    #[must_use]
    pub fn level(&self) -> i32 {
        self.level
    }

    /// Whether the path is cut into several groups.
    #[must_use]
    pub fn is_split(&self) -> bool {
        self.end - self.first < self.path.stages.len()
    }

    /// Topics its consumer reads.
    #[must_use]
    pub fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }

    /// Its stages.
    #[must_use]
    pub fn stages(&self) -> &[StageHandle] {
        self.path.stages.get(self.first..self.end).unwrap_or_default()
    }

    pub(crate) fn first_ordinal(&self) -> usize {
        self.first
    }

    /// Stages of this group that get `topic` in memory when `producer` writes it.
    pub(crate) fn handed_on(&self, topic: &str, producer: u8) -> impl Iterator<Item = u8> {
        self.path
            .readers(topic)
            .filter(move |i| *i > usize::from(producer) && *i < self.end)
            .filter_map(|i| u8::try_from(i).ok())
    }

    /// Whether a stage after `producer` in the path, of this group or another, reads `topic`.
    pub(crate) fn read_later(&self, topic: &str, producer: u8) -> bool {
        self.path.readers(topic).any(|i| i > usize::from(producer))
    }

    /// `stage/store` of every store of the group, with the schema of its values.
    #[must_use]
    pub fn stores(&self) -> Vec<(String, &'static str)> {
        self.stages().iter().flat_map(StageHandle::stores).collect()
    }
}
