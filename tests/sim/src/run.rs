//! One seed: the undisturbed run, a disturbed one that must write the same, and one on a clock that nobody paces.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use fillstream_core::group::Group;
use fillstream_core::record::Payload;
use fillstream_domain::ControlScope;
use fillstream_market::MarketSource;
use fillstream_schemas::codec::Event;
use fillstream_testkit::{Canonical, Cluster, Driver, Fault, FaultPlan, Random, Setup, Spared, TestkitError};

use crate::auditor::{Auditor, Examined};
use crate::error::{Failure, OUTPUTS_EQUAL, REPLAY_IDENTICAL, SimError};
use crate::gateway::Gateway;
use crate::probe;
use crate::venue::Outside;
use crate::world::{GRID_US, SESSIONS, Said, World};

/// Makes the groups of the topology; each list cuts a path behind the stages with these places, none fuses it.
pub type Topology<'a> = dyn Fn(&BTreeSet<usize>) -> Result<Vec<Arc<Group>>, String> + 'a;

/// Stages of the order path that a run may be cut behind.
const PLACES_TO_CUT: usize = 5;
/// Of 1,000 batches, how many meet each kind of fault.
const FAULT_PER_MILLE: u64 = 10;
/// Of 1,000 turns of a process, how many begin a time in which it does not come to read its tables.
const TABLES_BEHIND_PER_MILLE: u64 = 20;

/// One run of the simulation, and what is left out of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case {
    /// Decides everything.
    pub seed: u64,
    /// Groups of decisions that are not published.
    pub left_out: BTreeSet<usize>,
    /// Faults that do not happen in the paced run.
    pub spared: Spared,
    /// Likewise in the live run.
    pub spared_live: Spared,
}

/// What a case came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Batches of all tasks.
    pub batches: usize,
    /// Records committed.
    pub records: usize,
    /// Prefixes that were judged.
    pub prefixes: usize,
    /// Faults that happened, by kind.
    pub faults: BTreeMap<&'static str, usize>,
    /// Things examined, by invariant.
    pub examined: Examined,
}

impl Counts {
    /// Adds another case's.
    pub fn add(&mut self, other: &Self) {
        self.batches += other.batches;
        self.records += other.records;
        self.prefixes += other.prefixes;
        for (name, n) in &other.faults {
            *self.faults.entry(name).or_default() += n;
        }
        for (name, n) in &other.examined {
            *self.examined.entry(name.clone()).or_default() += n;
        }
    }
}

/// How a run is carried out.
struct Manner {
    cuts: BTreeSet<usize>,
    workers: usize,
    transactional_ids: usize,
    plan: FaultPlan,
    paced: bool,
    /// Whether every broker refuses a ClOrdID that it has seen.
    unique: bool,
}

struct Run {
    driver: Driver,
    auditor: Rc<RefCell<Auditor>>,
    outcome: Result<(), TestkitError>,
}

/// Runs a case; a broken invariant is the inner error.
///
/// # Errors
/// The world or the stages of the seed cannot be made.
pub fn run(case: &Case, topology: &Topology<'_>) -> Result<Result<Counts, Failure>, SimError> {
    let world = World::new(case.seed, &case.left_out)?;
    let mut counts = Counts::default();
    let calm = carry_out(&world, undisturbed(), topology)?;
    let expected = match calm.outcome.map_err(Failure::from).and_then(|()| finish(&calm.auditor, &calm.driver)) {
        Ok(()) => calm.driver.outputs().canonical(),
        Err(failure) => return Ok(Err(failure.of("undisturbed run"))),
    };
    let mut random = Random::new(case.seed);
    let paced = carry_out(&world, disturbed(case, &mut random, true), topology)?;
    count(&mut counts, &paced);
    if let Err(failure) = paced.outcome.map_err(Failure::from).and_then(|()| {
        equal(&expected, &paced.driver)?;
        finish(&paced.auditor, &paced.driver)?;
        replays(&paced.driver)
    }) {
        return Ok(Err(failure.of("paced run")));
    }
    let live = carry_out(&world, disturbed(case, &mut random, false), topology)?;
    count(&mut counts, &live);
    let live = live.outcome.map_err(Failure::from).and_then(|()| {
        finish(&live.auditor, &live.driver)?;
        replays(&live.driver)
    });
    Ok(live.map(|()| counts).map_err(|failure| failure.of("live run")))
}

fn undisturbed() -> Manner {
    Manner {
        cuts: BTreeSet::new(),
        workers: 1,
        transactional_ids: 1,
        plan: FaultPlan::none(),
        paced: true,
        unique: true,
    }
}

fn disturbed(case: &Case, random: &mut Random, paced: bool) -> Manner {
    let cuts = (0..PLACES_TO_CUT).filter(|_| random.below(3) == 0).collect();
    let (workers, transactional_ids) = (1 + random.below(3), 1 + random.below(2));
    let mut plan = FaultPlan::cut(1 + random.below(6)).seed(random.next());
    for fault in Fault::ALL {
        plan = plan.with(fault, FAULT_PER_MILLE);
    }
    let spared = if paced { &case.spared } else { &case.spared_live };
    let unique = paced || random.coin();
    Manner { cuts, workers, transactional_ids, plan: plan.spare(spared.clone()), paced, unique }
}

fn carry_out(world: &World, manner: Manner, topology: &Topology<'_>) -> Result<Run, SimError> {
    let mut world = world.clone();
    if !manner.unique {
        world.brokers.iter_mut().for_each(|b| b.cl_ord_id_unique = false);
    }
    let mut groups = topology(&manner.cuts).map_err(SimError::Stages)?;
    groups.push(probe::group().map_err(|e| SimError::Stages(e.to_string()))?);
    let witness = Rc::default();
    let auditor = Auditor::new(groups.iter().map(|g| &**g), Rc::clone(&witness), manner.paced)?;
    let auditor = Rc::new(RefCell::new(auditor));
    let edge = Gateway::new(&world, Outside::new(&world, witness)?);
    let mut cluster = Cluster::new(world.partitions);
    for (partition, session) in (0..).zip(SESSIONS) {
        cluster = cluster.assign("execution.child-orders.v1", session, partition);
    }
    let watching = Rc::clone(&auditor);
    let setup = Setup::new(groups, cluster)
        .workers(manner.workers)
        .transactional_ids(manner.transactional_ids)
        .table_lag(TABLES_BEHIND_PER_MILLE)
        .faults(manner.plan)
        .grid_us(GRID_US)
        .edge(edge)
        .observer(Box::new(move |log, now| watching.borrow_mut().look(log, now.micros())));
    let mut driver = setup.start().map_err(|e| SimError::Stages(e.to_string()))?;
    publish(&world, &mut driver)?;
    let until = world.ends_at();
    let outcome = if manner.paced { driver.run_paced(until).map(drop) } else { driver.run_live(until) };
    Ok(Run { driver, auditor, outcome })
}

fn finish(auditor: &Rc<RefCell<Auditor>>, driver: &Driver) -> Result<(), Failure> {
    Ok(auditor.borrow_mut().rest(driver.log(), driver.now().map_or(0, |now| now.micros()))?)
}

fn equal(expected: &Canonical, driver: &Driver) -> Result<(), Failure> {
    match expected.difference(&driver.outputs().canonical()) {
        None => Ok(()),
        Some(text) => Err(Failure { invariant: OUTPUTS_EQUAL.to_owned(), text }),
    }
}

fn replays(driver: &Driver) -> Result<(), Failure> {
    match driver.replay() {
        Ok(_) => Ok(()),
        Err(e) => Err(Failure { invariant: REPLAY_IDENTICAL.to_owned(), text: e.to_string() }),
    }
}

fn count(counts: &mut Counts, run: &Run) {
    let auditor = run.auditor.borrow();
    let of_run = Counts {
        batches: run.driver.faults().batches(),
        records: run.driver.log().history().len(),
        prefixes: auditor.prefixes,
        faults: run.driver.faults().fired(),
        examined: auditor.examined.clone(),
    };
    counts.add(&of_run);
}

fn publish(world: &World, driver: &mut Driver) -> Result<(), SimError> {
    let mut market = world.open_market()?;
    let start = market.session().start;
    for i in market.instruments() {
        driver.row("reference.instruments.v1", &i.instrument_id, i, start);
    }
    for a in &world.accounts {
        driver.row("reference.accounts.v1", &a.account_id, a, start);
    }
    for l in &world.limits {
        driver.row("reference.limits.v1", &l.portfolio_id, l, start);
    }
    for l in &world.wide_limits {
        driver.row("reference.wide-limits.v1", &l.limit_id, l, start);
    }
    for v in &world.engine.venues {
        driver.row("reference.venues.v1", &v.venue_id, &v.reference(), start);
    }
    for b in &world.brokers {
        driver.row("reference.brokers.v1", &b.broker_id, b, start);
    }
    for c in &world.calendars {
        driver.row("reference.calendars.v1", &c.calendar_id, c, start);
    }
    while let Some(row) = market.next_row()? {
        driver.row("market.data.v1", row.key(), &row, row.event_time);
    }
    for (n, said) in world.said.iter().flatten().enumerate() {
        // Some producers trace what they do, others do not.
        let parent = format!("00-{:032x}-{:016x}-01", n + 1, n + 1);
        driver.produce_under(if n % 3 == 0 {
            vec![("traceparent".to_owned(), parent.into_bytes())]
        } else {
            Vec::new()
        });
        match said {
            Said::Decision(decision) => driver.produce("coordination.decisions.v1", &**decision),
            Said::Misrouted(decision, partition) => {
                driver.produce_to("coordination.decisions.v1", *partition, &**decision);
            }
            Said::Garbage(at, bytes) => {
                let value = Some(Payload::Avro(bytes.as_slice().into()));
                driver.produce_raw("coordination.decisions.v1", 0, "garbage", value, *at);
            }
            Said::Command(command) => driver.produce("execution.commands.v1", &**command),
            Said::Control(control) => {
                let scope = control.scope.as_str().to_lowercase();
                let key =
                    if control.scope == ControlScope::Firm { scope } else { format!("{scope}/{}", control.scope_id) };
                driver.row("execution.controls.v1", &key, control, control.set_at);
            }
        }
    }
    Ok(())
}
