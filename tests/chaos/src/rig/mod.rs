//! The loop: breaks things as planned, keeps everything else running, drains, has the audit judge.

mod drain;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Options;
use crate::error::ChaosError;
use crate::faults::{self, Cheap, Outcome};
use crate::kind::{Cost, Kind, Role};
use crate::proxy::{Answering, Rule};
use crate::schedule::{Planned, Standing, Step, next, plan};
use crate::tally::{Exit, History, Tally};
use crate::watch::{Cluster, Pending, Progress};
use crate::world::{SPARE, World};

/// How often a question is asked again that a busy cluster did not answer.
const RETRIES: u32 = 5;
const TICK: Duration = Duration::from_millis(20);
/// A process that ended is started again after this time.
const RESTART: Duration = Duration::from_millis(300);
/// A fault whose groups have not moved on after this time is said to have no recovery before the drain.
const PATIENCE: Duration = Duration::from_secs(120);
/// Orders end by themselves within this time of the last decision.
const ORDERS_END: Duration = Duration::from_secs(45);
/// Longer than a fail point stays armed.
const RESERVED_WITHIN: Duration = Duration::from_secs(75);
const DRAIN: Duration = Duration::from_secs(240);
const AUDIT: Duration = Duration::from_secs(300);
/// Outages keep people from the market and its costs for so long at least, and for a while after a partition moves again.
const OUTAGE: Duration = Duration::from_secs(120);
const CATCH_UP: Duration = Duration::from_secs(30);

/// A run.
pub(crate) struct Rig<'a> {
    pub(crate) options: &'a Options,
    pub(crate) world: World,
    pub(crate) cluster: Cluster,
    pub(crate) progress: Progress,
    pub(crate) tally: Tally,
    pub(crate) history: History,
    /// Targets of faults under way.
    pub(crate) busy: BTreeSet<String>,
    /// Processes with a fail point that is not reached yet. Only their links may be disturbed meanwhile.
    pub(crate) armed: BTreeSet<String>,
    /// Whose links are being disturbed.
    pub(crate) linked: BTreeSet<String>,
    /// Processes that are not to be started again when they end.
    pub(crate) away: BTreeSet<String>,
    /// What poison was written where.
    pub(crate) poison: Vec<faults::Poisoned>,
    pub(crate) venue_lines: u64,
    pub(crate) storms: u64,
    /// An expensive fault waits for one of these: no cheap one begins with them.
    reserved: Option<Role>,
    cheap_plan: VecDeque<(Duration, u64)>,
    cheap: Vec<(Kind, Cheap)>,
    restarts: BTreeMap<String, Instant>,
    pending: Vec<(Kind, Pending)>,
    began: Instant,
    paused: Duration,
    quiet: bool,
    say: &'a (dyn Fn(&str) + Sync),
}

impl<'a> Rig<'a> {
    pub(crate) fn start(options: &'a Options, say: &'a (dyn Fn(&str) + Sync)) -> Result<Self, ChaosError> {
        let world = World::start(options, say)?;
        let history = History::create(&world.dir.join("history.jsonl"))?;
        let bootstrap = world.kafka.bootstrap();
        Ok(Self {
            options,
            cluster: Cluster::new(&bootstrap)?,
            progress: Progress::follow(&bootstrap, world.groups())?,
            world,
            tally: Tally::default(),
            history,
            busy: BTreeSet::new(),
            armed: BTreeSet::new(),
            linked: BTreeSet::new(),
            away: BTreeSet::new(),
            poison: Vec::new(),
            venue_lines: 0,
            storms: 0,
            reserved: None,
            cheap_plan: VecDeque::new(),
            cheap: Vec::new(),
            restarts: BTreeMap::new(),
            pending: Vec::new(),
            began: Instant::now(),
            paused: Duration::ZERO,
            quiet: true,
            say,
        })
    }

    /// Carries the plan out. True when nothing was violated.
    pub(crate) fn run(&mut self) -> Result<bool, ChaosError> {
        let mut major = VecDeque::new();
        for planned in plan(self.options.seed, self.options.minutes, self.options.drain_every) {
            match planned.step {
                Step::Cheap(draw) => self.cheap_plan.push_back((planned.at, draw)),
                Step::Expensive(_) | Step::Drain => major.push_back(planned),
            }
        }
        self.wait_for_groups()?;
        self.say("every group commits; faults begin");
        self.began = Instant::now();
        self.quiet = false;
        while let Some(Planned { at, step }) = major.pop_front() {
            while self.elapsed() < at {
                self.tick()?;
            }
            match step {
                Step::Drain => {
                    if !self.drain()? {
                        return Ok(false);
                    }
                }
                // One that took longer than its time pushes the next one out, not the whole plan back.
                Step::Expensive(_) if major.front().is_some_and(|n| self.elapsed() >= n.at) => {}
                Step::Expensive(draw) => {
                    if let Some(kind) = self.next(Cost::Expensive, draw).first() {
                        self.expensive(*kind, draw)?;
                    }
                }
                Step::Cheap(_) => {}
            }
        }
        self.endings()
    }

    /// What nothing runs behind. Nothing else is broken meanwhile.
    fn endings(&mut self) -> Result<bool, ChaosError> {
        self.quiet = true;
        for kind in self.of_cost(Cost::Last) {
            self.expensive(kind, 0)?;
            // What it left behind can still be judged, unless it refuses everything from now on.
            if kind == Kind::DiskFullClickHouse && !self.drain()? {
                return Ok(false);
            }
            self.quiet = true;
        }
        Ok(self.tally.violations() == 0)
    }

    fn of_cost(&self, cost: Cost) -> Vec<Kind> {
        self.options.kinds.iter().copied().filter(|kind| kind.cost() == cost).collect()
    }

    /// The kinds of a cost, in the order in which they are to come now.
    fn next(&self, cost: Cost, draw: u64) -> Vec<Kind> {
        next(&self.of_cost(cost), draw, |kind| {
            let before = self.options.before.get(&kind).copied().unwrap_or(0);
            let under_way = self.cheap.iter().filter(|(k, _)| *k == kind).count();
            Standing {
                felt: before
                    + self.tally.fired.get(&kind).copied().unwrap_or(0)
                    + u64::try_from(under_way).unwrap_or(0),
                missed: self.tally.missed.get(&kind).map_or(0, |(count, _)| *count),
            }
        })
    }

    fn wait_for_groups(&mut self) -> Result<(), ChaosError> {
        self.world.load.say("start")?;
        let limit = Duration::from_secs(120);
        let all = self.until(limit, |rig| Ok(rig.world.groups().iter().all(|g| rig.progress.is_known(g))))?;
        if all {
            return Ok(());
        }
        let missing: Vec<String> = self.world.groups().into_iter().filter(|g| !self.progress.is_known(g)).collect();
        let words: Vec<String> =
            self.world.running.values().map(|p| format!("{}: {}", p.name(), p.last_words())).collect();
        let detail = format!("{} ({})", missing.join(", "), words.join("; "));
        Err(ChaosError::Timeout { what: "the first commit of every group".to_owned(), limit, detail })
    }

    /// Time since the first fault, drains excepted.
    fn elapsed(&self) -> Duration {
        self.began.elapsed().saturating_sub(self.paused)
    }

    pub(crate) fn say(&self, text: &str) {
        (self.say)(text);
    }

    /// Everything that goes on beside an expensive fault.
    pub(crate) fn tick(&mut self) -> Result<(), ChaosError> {
        if self.options.local.cancel.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(ChaosError::Interrupted);
        }
        self.world.load.check()?;
        if let Some(status) = self.world.venue.ended() {
            let (command, said) = ("venue".to_owned(), self.world.venue.last_words());
            return Err(ChaosError::Command { command, status, said });
        }
        self.poll_cheap()?;
        self.supervise()?;
        self.poll_pending();
        if !self.quiet {
            self.begin_cheap()?;
        }
        std::thread::park_timeout(TICK);
        Ok(())
    }

    /// Ticks for a time.
    pub(crate) fn pass(&mut self, time: Duration) -> Result<(), ChaosError> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.tick()?;
        }
        Ok(())
    }

    /// Ticks until the condition holds; false when it does not within the limit.
    pub(crate) fn until(
        &mut self,
        limit: Duration,
        mut condition: impl FnMut(&mut Self) -> Result<bool, ChaosError>,
    ) -> Result<bool, ChaosError> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if condition(self)? {
                return Ok(true);
            }
            self.tick()?;
        }
        condition(self)
    }

    fn begin_cheap(&mut self) -> Result<(), ChaosError> {
        while self.cheap_plan.front().is_some_and(|(at, _)| *at <= self.elapsed()) {
            let Some((_, draw)) = self.cheap_plan.pop_front() else { break };
            let mut nobody = Vec::new();
            for kind in self.next(Cost::Cheap, draw) {
                match faults::begin(self, kind, draw)? {
                    Ok(cheap) => {
                        self.cheap.push((kind, cheap));
                        nobody.clear();
                        break;
                    }
                    Err(why) => nobody.push(format!("{}: {why}", kind.name())),
                }
            }
            if !nobody.is_empty() {
                self.history.note("cheap", "none could begin", &nobody.join("; "));
            }
        }
        Ok(())
    }

    fn poll_cheap(&mut self) -> Result<(), ChaosError> {
        for (kind, mut cheap) in std::mem::take(&mut self.cheap) {
            match faults::poll(self, &mut cheap)? {
                None => self.cheap.push((kind, cheap)),
                Some(outcome) => self.outcome(kind, outcome),
            }
        }
        Ok(())
    }

    fn expensive(&mut self, kind: Kind, draw: u64) -> Result<(), ChaosError> {
        self.say(&format!("{:>5} s  {}", self.elapsed().as_secs(), kind.name()));
        self.history.note(kind.name(), "begins", "");
        match faults::carry_out(self, kind, draw) {
            Ok(outcome) => self.outcome(kind, outcome),
            // The rig's own questions fail in a cluster that is being broken; that is no verdict on the system.
            Err(error @ (ChaosError::Kafka { .. } | ChaosError::Timeout { .. } | ChaosError::Answer { .. })) => {
                self.missed(kind, &crate::chain(&error));
                self.tidy()?;
            }
            Err(error @ (ChaosError::Command { .. } | ChaosError::Io { .. })) => {
                self.world.load.check()?;
                self.missed(kind, &crate::chain(&error));
                self.tidy()?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// After a fault that was left half-way: everything is healed, and only those run who ran at the start.
    fn tidy(&mut self) -> Result<(), ChaosError> {
        self.heal()?;
        self.busy.clear();
        self.away.clear();
        self.reserved = None;
        let further = |name: &String| seat_of(name) == SPARE;
        for name in self.world.running.keys().filter(|name| further(name)).cloned().collect::<Vec<_>>() {
            self.world.running.remove(&name);
        }
        self.world.disks.iter().for_each(crate::disk::SmallDisk::free);
        Ok(())
    }

    fn outcome(&mut self, kind: Kind, outcome: Outcome) {
        match outcome {
            Outcome::Fired { groups, note } => {
                *self.tally.fired.entry(kind).or_default() += 1;
                self.history.note(kind.name(), "fired and healed", &note);
                for group in groups {
                    self.pending.push((kind, self.progress.expect(&group)));
                }
            }
            Outcome::Missed(why) => self.missed(kind, &why),
        }
    }

    fn missed(&mut self, kind: Kind, why: &str) {
        let missed = self.tally.missed.entry(kind).or_default();
        missed.0 += 1;
        why.clone_into(&mut missed.1);
        self.history.note(kind.name(), "not fired", why);
    }

    fn poll_pending(&mut self) {
        for (kind, pending) in std::mem::take(&mut self.pending) {
            match self.progress.recovered(&pending) {
                Some(took) => self.tally.recovered.entry(kind).or_default().push(took),
                None if pending.waits() > PATIENCE => {
                    let text = format!("{} did not move on for {PATIENCE:?} after {}", pending.group(), kind.name());
                    self.history.note(kind.name(), "no recovery yet", &text);
                    self.tally.never.push(text);
                }
                None => self.pending.push((kind, pending)),
            }
        }
    }

    /// Starts again what ended by itself.
    fn supervise(&mut self) -> Result<(), ChaosError> {
        let names: Vec<String> = self.world.running.keys().cloned().collect();
        for name in names {
            if self.away.contains(&name) || self.armed.contains(&name) {
                continue;
            }
            if let Some(due) = self.restarts.get(&name) {
                if Instant::now() >= *due {
                    self.restarts.remove(&name);
                    self.world.start_as(&name, seat_of(&name))?;
                }
                continue;
            }
            let Some(process) = self.world.running.get_mut(&name) else { continue };
            if let Some(status) = process.ended() {
                let said = format!("{status}: {}", process.last_words());
                self.exited(&name, said);
                self.restarts.insert(name, Instant::now() + RESTART);
            }
        }
        Ok(())
    }

    pub(crate) fn exited(&mut self, name: &str, said: String) {
        self.history.note(name, "ended by itself", &said);
        self.tally.exits.push(Exit { process: name.to_owned(), at_ms: self.history.at_ms(), said });
    }

    /// Running processes of a role that no fault is about and that have been up for this time.
    pub(crate) fn free(&mut self, role: Role, up_for: Duration) -> Vec<String> {
        let mut all = self.up(role, up_for);
        all.retain(|name| !self.armed.contains(name) && !self.linked.contains(name));
        all
    }

    /// Those whose links may be disturbed: also while a fail point is armed in them.
    pub(crate) fn talking(&mut self, role: Role, up_for: Duration) -> Vec<String> {
        let mut all = self.up(role, up_for);
        all.retain(|name| !self.linked.contains(name));
        all
    }

    fn up(&mut self, role: Role, up_for: Duration) -> Vec<String> {
        let (busy, world) = (&self.busy, &mut self.world);
        let roles: BTreeMap<&str, Role> = world.seats.iter().map(|s| (s.name.as_str(), s.role)).collect();
        let mut up = Vec::new();
        for (name, process) in &mut world.running {
            let is_role = roles.get(seat_of(name)) == Some(&role);
            if is_role && !busy.contains(name) && process.started.elapsed() >= up_for && process.ended().is_none() {
                up.push(name.clone());
            }
        }
        up
    }

    /// Whether an expensive fault waits for a process of a role.
    pub(crate) fn is_reserved(&self, role: Role) -> bool {
        self.reserved == Some(role)
    }

    /// Waits until so many processes of a role are free, while no cheap fault begins with one. The free ones: fewer only
    /// where they are not free in time.
    pub(crate) fn reserve(&mut self, role: Role, up_for: Duration, count: usize) -> Result<Vec<String>, ChaosError> {
        let mut free = Vec::new();
        self.reserve_until(role, |rig| {
            free = rig.free(role, up_for);
            free.len() >= count
        })?;
        Ok(free)
    }

    /// Likewise until this one is free.
    pub(crate) fn reserve_one(&mut self, role: Role, name: &str) -> Result<bool, ChaosError> {
        self.reserve_until(role, |rig| rig.free(role, Duration::ZERO).iter().any(|free| free == name))
    }

    fn reserve_until(&mut self, role: Role, mut free: impl FnMut(&mut Self) -> bool) -> Result<bool, ChaosError> {
        self.reserved = Some(role);
        let waited = self.until(RESERVED_WITHIN, |rig| Ok(free(rig)));
        self.reserved = None;
        waited
    }

    /// Consumer groups that processes of a role are members of.
    pub(crate) fn groups_of(&self, role: Role) -> Vec<String> {
        let names = match role {
            Role::Stages => self.world.stage_groups().into_iter().chain(["limits", "tca"].map(str::to_owned)).collect(),
            Role::Gateway => vec!["broker-gateway".to_owned()],
            Role::Sink => vec!["clickhouse-sink".to_owned()],
        };
        names.into_iter().map(|name| format!("fillstream.{name}")).collect()
    }

    /// Heals everything.
    fn heal(&mut self) -> Result<(), ChaosError> {
        self.world.links().for_each(|link| link.set(Rule::PASS));
        self.world.seats.iter().filter_map(|s| s.clickhouse.as_ref()).for_each(|c| c.set(Answering::Right));
        for node in crate::world::NODES {
            self.world.kafka.resume_node(node)?;
            self.world.kafka.start_node(node)?;
        }
        for process in self.world.running.values_mut() {
            process.disarm();
            process.signal(Signal::CONT);
        }
        Ok(())
    }

    /// Stops a process that a fault is about.
    pub(crate) fn with_process<T>(
        &mut self,
        name: &str,
        act: impl FnOnce(&mut crate::process::Process) -> T,
    ) -> Option<T> {
        self.world.running.get_mut(name).map(act)
    }
}

/// The seat of a process: its name, or that of further instances.
pub(crate) fn seat_of(name: &str) -> &str {
    let further = name.strip_prefix("stages-").is_some_and(|n| !matches!(n, "1" | "2"));
    if further { SPARE } else { name }
}
