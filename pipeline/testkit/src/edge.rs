//! An edge: something with a protocol of its own on the log, as a broker gateway is.

use fillstream_core::TimestampMicros;

use crate::cluster::Cluster;
use crate::error::TestkitError;
use crate::fault::FaultPlan;
use crate::group_run::Moment;
use crate::log::Log;

/// What an edge works with.
pub struct Surroundings<'a> {
    /// The log.
    pub log: &'a mut Log,
    /// Where keys belong.
    pub cluster: &'a Cluster,
    /// What goes wrong.
    pub plan: &'a mut FaultPlan,
}

impl Surroundings<'_> {
    /// Time passes while something waits for the decision on `topic`-`partition`: a marker on its way lands; where none is,
    /// the coordinator times the transaction out that holds the partition back.
    pub fn wait_for(&mut self, topic: &str, partition: i32) {
        if self.log.pending_markers() > 0 {
            let n = self.plan.random().below(self.log.pending_markers());
            self.log.land(n);
        } else if let Some(by) = self.log.held_by(topic, partition).map(str::to_owned) {
            self.log.expire(&by);
        }
    }
}

/// Several units, each with its own transactional id, that get their turns between those of the workers. In paced mode they
/// belong to the first level.
pub trait Edge {
    /// Units that get turns.
    fn units(&self) -> usize;

    /// The world outside reaches a moment: once in each instant, before any turn of it, and before every turn of a live run.
    ///
    /// # Errors
    /// Whatever stops the run.
    fn advance(&mut self, moment: Moment, around: &mut Surroundings<'_>) -> Result<(), TestkitError>;

    /// One turn of a unit; whether it did anything.
    ///
    /// # Errors
    /// Whatever stops the run.
    fn step(&mut self, unit: usize, moment: Moment, around: &mut Surroundings<'_>) -> Result<bool, TestkitError>;

    /// Whether every unit has done all of the tick.
    fn complete(&self, tick: i64) -> bool;

    /// When it has something to do of its own accord.
    fn next_event_at(&mut self, log: &Log) -> Option<TimestampMicros>;
}
