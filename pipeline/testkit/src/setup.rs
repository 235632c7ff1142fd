//! How a run is set up.

use std::sync::Arc;

use fillstream_core::TimestampMicros;
use fillstream_core::group::Group;
use fillstream_core::task::TaskContext;
use fillstream_core::trace::Sampler;

use crate::cluster::Cluster;
use crate::driver::Driver;
use crate::edge::Edge;
use crate::error::TestkitError;
use crate::fault::FaultPlan;
use crate::group_run::{GroupRun, World};
use crate::log::Log;
use crate::outside::Outside;
use crate::tables::TableReaders;

/// Grid of market time where nothing else is said: 100 ms.
const GRID_US: i64 = 100_000;

/// How a run is set up.
pub struct Setup {
    groups: Vec<Arc<Group>>,
    cluster: Cluster,
    workers: usize,
    transactional_ids: usize,
    table_lag_per_mille: u64,
    plan: FaultPlan,
    around: Around,
}

/// What is around the groups, and when producers and instants come.
pub(crate) struct Around {
    pub outside: Option<Box<dyn Outside>>,
    pub edge: Option<Box<dyn Edge>>,
    pub observer: Option<Observer>,
    pub grid_us: i64,
    pub upfront: bool,
}

/// Looks at the log after every turn; what it finds stops the run.
pub type Observer = Box<dyn FnMut(&Log, TimestampMicros) -> Result<(), TestkitError>>;

impl Setup {
    /// These groups (of one path or several) with one worker each and no faults.
    #[must_use]
    pub fn new(groups: Vec<Arc<Group>>, cluster: Cluster) -> Self {
        let plan = FaultPlan::none();
        Self {
            groups,
            cluster,
            workers: 1,
            transactional_ids: 1,
            table_lag_per_mille: 0,
            plan,
            around: Around { outside: None, edge: None, observer: None, grid_us: GRID_US, upfront: false },
        }
    }

    /// Workers of each group.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Transactional ids of a worker, in turn.
    #[must_use]
    pub fn transactional_ids(mut self, count: usize) -> Self {
        self.transactional_ids = count.max(1);
        self
    }

    /// Live: of 1,000 times, how often the tables of a process are not read.
    #[must_use]
    pub fn table_lag(mut self, per_mille: u64) -> Self {
        self.table_lag_per_mille = per_mille;
        self
    }

    /// What goes wrong.
    #[must_use]
    pub fn faults(mut self, plan: FaultPlan) -> Self {
        self.plan = plan;
        self
    }

    /// What stands behind the gateway's topics.
    #[must_use]
    pub fn outside(mut self, outside: impl Outside + 'static) -> Self {
        self.around.outside = Some(Box::new(outside));
        self
    }

    /// What has a protocol of its own on the log.
    #[must_use]
    pub fn edge(mut self, edge: impl Edge + 'static) -> Self {
        self.around.edge = Some(Box::new(edge));
        self
    }

    /// Who looks at the log after every turn.
    #[must_use]
    pub fn observer(mut self, observer: Observer) -> Self {
        self.around.observer = Some(observer);
        self
    }

    /// Grid of the instants, microseconds.
    #[must_use]
    pub fn grid_us(mut self, grid_us: i64) -> Self {
        self.around.grid_us = grid_us.max(1);
        self
    }

    /// Producers write everything before the run begins, not each record when its time has come.
    #[must_use]
    pub fn upfront(mut self) -> Self {
        self.around.upfront = true;
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// [`TestkitError::Restore`].
    pub fn start(self) -> Result<Driver, TestkitError> {
        let context = TaskContext {
            partitioner: self.cluster.partitioner(),
            config_hash: "testkit".to_owned(),
            code_version: "testkit".to_owned(),
            sampler: Sampler::OFF,
        };
        let tables = TableReaders::new(&self.groups, self.workers, self.table_lag_per_mille);
        let mut log = Log::default();
        log.hold_markers();
        let (cluster, plan, transactional_ids) = (self.cluster, self.plan, self.transactional_ids);
        let mut world = World { log, cluster, plan, tables, context, transactional_ids };
        let start = |group: &Arc<Group>| GroupRun::start(group, self.workers, &mut world);
        let groups = self.groups.iter().map(start).collect::<Result<_, _>>()?;
        Ok(Driver::new(world, groups, self.around))
    }
}
