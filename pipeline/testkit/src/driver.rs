//! The driver: any number of groups over one log, in paced or in live mode.

use std::collections::BTreeMap;

use fillstream_core::TimestampMicros;
use fillstream_core::codec::Event;
use fillstream_core::record::{Payload, header};
use fillstream_schemas::AvroRecord;

use crate::edge::Surroundings;
use crate::error::TestkitError;
use crate::fault::FaultPlan;
use crate::group_run::{GroupRun, Moment, World};
use crate::log::{Log, LogRecord};
use crate::outputs::Outputs;
use crate::outside::Seen;
use crate::setup::Around;
use crate::tables::Positions;
use crate::worker::ids;

/// Instants of a run, and turns of the workers in one instant or live, before the run is taken for endless.
const MAX_TURNS: usize = 100_000;

/// State by (group, partition): `stage/store`, key and Avro value.
pub type State = BTreeMap<(String, i32), Vec<(String, String, Vec<u8>)>>;

/// Whose turn it is.
#[derive(Clone, Copy)]
enum Turn {
    /// (group, worker).
    Worker(usize, usize),
    Edge(usize),
}

/// A run.
pub struct Driver {
    pub(crate) world: World,
    pub(crate) groups: Vec<GroupRun>,
    around: Around,
    heard: Positions,
    scheduled: BTreeMap<TimestampMicros, Vec<(String, i32, LogRecord)>>,
    headers: Vec<(String, Vec<u8>)>,
    clock: Option<TimestampMicros>,
    ticks: i64,
}

impl Driver {
    pub(crate) fn new(world: World, groups: Vec<GroupRun>, around: Around) -> Self {
        let (heard, scheduled) = (Positions::new(), BTreeMap::new());
        Self { world, groups, around, heard, scheduled, headers: Vec::new(), clock: None, ticks: 0 }
    }

    /// Headers of what producers write from here on.
    pub fn produce_under(&mut self, headers: Vec<(String, Vec<u8>)>) {
        self.headers = headers;
    }

    /// A foreign producer writes a record when its own time has come.
    pub fn produce<R: Event>(&mut self, topic: &str, value: &R) {
        self.produce_at(topic, value, value.event_time());
    }

    /// A foreign producer writes a record at `at`.
    pub fn produce_at<R: Event>(&mut self, topic: &str, value: &R, at: TimestampMicros) {
        let partition = self.world.cluster.partition_of(topic, value.key());
        self.produce_raw(topic, partition, value.key(), Some(Payload::Avro(value.to_bytes().into())), at);
    }

    /// A foreign producer writes a record to a partition of its own choice.
    pub fn produce_to<R: Event>(&mut self, topic: &str, partition: i32, value: &R) {
        let payload = Payload::Avro(value.to_bytes().into());
        self.produce_raw(topic, partition, value.key(), Some(payload), value.event_time());
    }

    /// A foreign producer writes anything: unreadable bytes, a tombstone, a row of a table.
    pub fn produce_raw(&mut self, topic: &str, partition: i32, key: &str, value: Option<Payload>, at: TimestampMicros) {
        let record = LogRecord { key: key.into(), value, headers: self.headers.clone(), timestamp: at };
        if self.around.upfront {
            self.world.log.append_plain(topic, partition, record);
        } else {
            self.scheduled.entry(at).or_default().push((topic.to_owned(), partition, record));
        }
    }

    /// Writes a row of a table at `at`.
    pub fn row<R: AvroRecord>(&mut self, topic: &str, key: &str, value: &R, at: TimestampMicros) {
        let partition = self.world.cluster.partition_of(topic, key);
        self.produce_raw(topic, partition, key, Some(Payload::Avro(value.to_bytes().into())), at);
    }

    /// Paced mode: instant by instant until nothing is left to do, or the next instant would be after `until`.
    /// Returns the number of instants.
    ///
    /// # Errors
    /// Whatever stops the run.
    pub fn run_paced(&mut self, until: TimestampMicros) -> Result<usize, TestkitError> {
        let mut instants = 0;
        while let Some(instant) = self.next_instant()?.filter(|t| *t <= until) {
            self.run_instant(instant)?;
            instants += 1;
        }
        self.world.log.land_all();
        Ok(instants)
    }

    /// Live mode in virtual time, until nothing is left to do, or the clock would pass `until`. Batches come as the
    /// workers' turns and the time between them, drawn from the fault plan's seed, make them.
    ///
    /// # Errors
    /// Whatever stops the run.
    pub fn run_live(&mut self, until: TimestampMicros) -> Result<(), TestkitError> {
        for _ in 0..MAX_TURNS {
            let mut now = self.clock.unwrap_or(TimestampMicros::from_micros(i64::MIN));
            self.release(now);
            let World { log, plan, tables, .. } = &mut self.world;
            tables.advance_some(log, now, plan);
            let moment = Moment { now, tick: None };
            self.advance_edge(moment)?;
            let mut worked = false;
            for turn in self.turns(None) {
                // Time passes from one to the next: nobody acts on a record at or before the time it was written.
                now = later(now, 1);
                worked |= self.turn(turn, Moment { now, ..moment })?;
            }
            self.hear(now)?;
            if !worked && self.world.log.pending_markers() > 0 {
                self.world.log.land_all();
                worked = true;
            }
            let next = if worked {
                let pause = i64::try_from(self.world.plan.random().below(2_000)).unwrap_or(0) + 1;
                Some(later(now, pause))
            } else {
                self.next_live(now)
            };
            // Due, and nobody does it: a task may wait for its tables.
            let stuck = !worked && next.is_none_or(|next| next > until || next <= later(now, 1));
            if stuck && self.world.tables.are_behind(now) {
                self.world.tables.advance(&self.world.log, now);
                self.clock = Some(now);
                continue;
            }
            match next.filter(|next| *next <= until) {
                Some(next) => self.clock = Some(next),
                None => {
                    self.world.log.land_all();
                    return Ok(());
                }
            }
        }
        Err(self.endless("the live run does not end"))
    }

    /// Stops all workers as a crash does and starts `workers` a group.
    ///
    /// # Errors
    /// [`TestkitError::Restore`].
    pub fn restart(&mut self, workers: usize) -> Result<(), TestkitError> {
        for run in &mut self.groups {
            // Every old id is fenced, also those that no new worker takes over.
            for worker in 0..run.workers() {
                for id in ids(run.group.name(), worker, self.world.transactional_ids) {
                    self.world.log.init_transactions(&id);
                }
            }
            *run = GroupRun::start(&run.group.clone(), workers, &mut self.world)?;
        }
        Ok(())
    }

    /// The last instant, or the virtual clock.
    #[must_use]
    pub fn now(&self) -> Option<TimestampMicros> {
        self.clock
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.world.log
    }

    /// The log, to do to it what no part of the pipeline would.
    pub fn log_mut(&mut self) -> &mut Log {
        &mut self.world.log
    }

    /// The fault plan with what has happened so far.
    #[must_use]
    pub fn faults(&self) -> &FaultPlan {
        &self.world.plan
    }

    /// Rows that tables refused.
    #[must_use]
    pub fn refused_rows(&self) -> usize {
        self.world.tables.refused()
    }

    /// Everything committed so far.
    #[must_use]
    pub fn outputs(&self) -> Outputs<'_> {
        Outputs::new(&self.world.log)
    }

    /// Committed state of all tasks.
    pub fn state(&mut self) -> State {
        let mut state = BTreeMap::new();
        for run in &mut self.groups {
            let name = run.group.name().to_owned();
            state.extend(run.tasks_mut().map(|r| ((name.clone(), r.task.partition()), r.task.dump())));
        }
        state
    }

    /// Runs one instant: each level of groups until it has drained, then the outside.
    fn run_instant(&mut self, instant: TimestampMicros) -> Result<(), TestkitError> {
        self.clock = Some(instant);
        self.ticks += 1;
        self.release(instant);
        self.world.tables.advance(&self.world.log, instant);
        self.advance_edge(Moment { now: instant, tick: Some(self.ticks) })?;
        let levels = self.groups.iter().map(|g| g.group.level()).max().unwrap_or(0);
        for level in 0..=levels {
            self.drain(level, instant)?;
        }
        self.hear(instant)
    }

    fn drain(&mut self, level: i32, now: TimestampMicros) -> Result<(), TestkitError> {
        let moment = Moment { now, tick: Some(self.ticks) };
        let mut turns = 0;
        while !self.drained(level) {
            for turn in self.turns(Some(level)) {
                self.turn(turn, moment)?;
            }
            turns += 1;
            if turns > MAX_TURNS {
                return Err(self.endless("the instant does not drain"));
            }
        }
        Ok(())
    }

    fn drained(&self, level: i32) -> bool {
        let edge = level > 0 || self.around.edge.as_ref().is_none_or(|e| e.complete(self.ticks));
        edge && self.groups.iter().all(|g| g.group.level() != level || g.complete(self.ticks))
    }

    fn turn(&mut self, turn: Turn, moment: Moment) -> Result<bool, TestkitError> {
        let worked = match turn {
            Turn::Worker(group, worker) => match self.groups.get_mut(group) {
                Some(group) => group.step(worker, moment, &mut self.world)?,
                None => false,
            },
            Turn::Edge(unit) => match &mut self.around.edge {
                Some(edge) => {
                    self.world.let_markers_land();
                    let World { log, cluster, plan, .. } = &mut self.world;
                    edge.step(unit, moment, &mut Surroundings { log, cluster, plan })?
                }
                None => false,
            },
        };
        self.observe(moment.now)?;
        Ok(worked)
    }

    fn observe(&mut self, now: TimestampMicros) -> Result<(), TestkitError> {
        self.around.observer.as_mut().map_or(Ok(()), |observer| observer(&self.world.log, now))
    }

    fn advance_edge(&mut self, moment: Moment) -> Result<(), TestkitError> {
        let World { log, cluster, plan, .. } = &mut self.world;
        match &mut self.around.edge {
            Some(edge) => edge.advance(moment, &mut Surroundings { log, cluster, plan }),
            None => Ok(()),
        }
    }

    // Workers of all groups (of a level) and units of the edge, each once, in an order of chance.
    fn turns(&mut self, level: Option<i32>) -> Vec<Turn> {
        let of_level = |g: &GroupRun| level.is_none_or(|l| l == g.group.level());
        let groups = self.groups.iter().enumerate().filter(|(_, g)| of_level(g));
        let mut turns: Vec<_> = groups.flat_map(|(i, g)| (0..g.workers()).map(move |w| Turn::Worker(i, w))).collect();
        if level.unwrap_or(0) == 0 {
            turns.extend((0..self.around.edge.as_ref().map_or(0, |e| e.units())).map(Turn::Edge));
        }
        self.world.plan.random().shuffle(&mut turns);
        turns
    }

    // Producers write what is due.
    fn release(&mut self, until: TimestampMicros) {
        while let Some(entry) = self.scheduled.first_entry().filter(|e| *e.key() <= until) {
            for (topic, partition, record) in entry.remove() {
                self.world.log.append_plain(&topic, partition, record);
            }
        }
    }

    // The outside hears what the pipeline committed and writes what it has to say, as a gateway does: in a transaction.
    fn hear(&mut self, instant: TimestampMicros) -> Result<(), TestkitError> {
        let Some(outside) = &mut self.around.outside else { return Ok(()) };
        // It reads to the ends, open transactions counted: it waits for every marker.
        self.world.log.land_all();
        let mut heard = Vec::new();
        for topic in outside.topics() {
            for partition in 0..self.world.cluster.partitions() {
                let next = self.heard.entry((topic.clone(), partition)).or_insert(0);
                let (records, end) = self.world.log.read(&topic, partition, *next);
                *next = end;
                heard.extend(records.into_iter().map(|(_, r)| (order(r), seen(&topic, partition, r))));
            }
        }
        heard.sort_by(|(a, x), (b, y)| (&x.topic, x.partition, a).cmp(&(&y.topic, y.partition, b)));
        let heard: Vec<Seen> = heard.into_iter().map(|(_, seen)| seen).collect();
        let said = outside.advance(instant, &heard);
        if said.is_empty() {
            return Ok(());
        }
        let producer = self.world.log.init_transactions("outside");
        self.world.log.begin(&producer)?;
        for said in said {
            let record = LogRecord {
                key: said.key.as_str().into(),
                value: Some(said.payload),
                headers: vec![
                    (header::TIME.to_owned(), instant.micros().to_be_bytes().to_vec()),
                    (header::ORDER.to_owned(), said.order.to_bytes().to_vec()),
                ],
                timestamp: instant,
            };
            let partition = self.world.cluster.partition_of(&said.topic, &said.key);
            self.world.log.append(&producer, &said.topic, partition, record)?;
        }
        self.world.log.commit(&producer)?;
        Ok(())
    }

    // The smallest instant of the grid, after the present one, at which there is something to do.
    fn next_instant(&mut self) -> Result<Option<TimestampMicros>, TestkitError> {
        let scheduled = self.scheduled.iter().filter(|(_, records)| records.iter().any(|(t, ..)| self.is_input(t)));
        let mut wanted = vec![
            scheduled.map(|(at, _)| *at).next(),
            self.groups.iter().filter_map(GroupRun::next_due).min(),
            self.around.outside.as_ref().and_then(|o| o.next_event_at()),
            self.around.edge.as_mut().and_then(|e| e.next_event_at(&self.world.log)),
        ];
        wanted.push(self.groups.iter().flat_map(|g| self.waiting(g)).min());
        let Some(at) = wanted.into_iter().flatten().min() else { return Ok(None) };
        let on_grid = ceil(at, self.around.grid_us);
        let next = self.clock.map_or(on_grid, |clock| on_grid.max(later(clock, self.around.grid_us)));
        if self.ticks > i64::try_from(MAX_TURNS).unwrap_or(i64::MAX) {
            return Err(self.endless("the run does not end"));
        }
        Ok(Some(next))
    }

    // When the first record of each input of a group that is not consumed is due.
    fn waiting(&self, run: &GroupRun) -> Vec<TimestampMicros> {
        let mut due = Vec::new();
        for running in run.tasks() {
            for (topic, from) in &running.done {
                // What is decided and has not come to the partition yet waits all the same.
                let records = self.world.log.decided(topic, running.task.partition(), *from);
                let first = records.iter().find(|(_, r)| r.value.is_some());
                due.extend(first.map(|(_, r)| {
                    // What a task or a gateway wrote belongs to a later instant.
                    if r.header(header::ORDER).is_some() { later(r.event_time(), 1) } else { r.timestamp }
                }));
            }
        }
        due
    }

    fn next_live(&mut self, now: TimestampMicros) -> Option<TimestampMicros> {
        let wanted = [
            self.scheduled.first_key_value().map(|(at, _)| *at),
            self.groups.iter().filter_map(GroupRun::next_due).min(),
            self.around.outside.as_ref().and_then(|o| o.next_event_at()),
            self.around.edge.as_mut().and_then(|e| e.next_event_at(&self.world.log)),
        ];
        wanted.into_iter().flatten().min().map(|at| at.max(later(now, 1)))
    }

    // Rows of tables make no instant.
    fn is_input(&self, topic: &str) -> bool {
        self.groups.iter().any(|g| g.group.subscriptions().iter().any(|s| s.input.topic == topic))
    }

    fn endless(&self, text: &str) -> TestkitError {
        TestkitError::Pace { instant: self.clock.map_or(0, TimestampMicros::micros), text: text.to_owned() }
    }
}

fn order(record: &LogRecord) -> (Vec<u8>, TimestampMicros) {
    (record.header(header::ORDER).unwrap_or_default().to_vec(), record.event_time())
}

fn seen(topic: &str, partition: i32, record: &LogRecord) -> Seen {
    Seen {
        topic: topic.to_owned(),
        partition,
        key: record.key.to_string(),
        value: record.bytes().to_vec(),
        event_time: record.event_time(),
        lineage: record.lineage(),
    }
}

fn later(time: TimestampMicros, by_us: i64) -> TimestampMicros {
    TimestampMicros::from_micros(time.micros().saturating_add(by_us))
}

fn ceil(time: TimestampMicros, grid_us: i64) -> TimestampMicros {
    let rest = time.micros().rem_euclid(grid_us);
    if rest == 0 { time } else { later(time, grid_us - rest) }
}
