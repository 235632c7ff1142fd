//! Every algorithm on every path: the measurement itself.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use fillstream_domain::{Algorithm, MarketCondition, Urgency};
use fillstream_execution_strategy::Config;

use crate::desk::{OrderSpec, Outcome, Works};
use crate::error::QualityError;
use crate::files::{CUTS, windows};
use crate::generator::{Liquidity, Scenario, path};
use crate::path::MarketPath;

/// What is measured, in the order of the tables.
pub const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::Market,
    Algorithm::Limit,
    Algorithm::Twap,
    Algorithm::Vwap,
    Algorithm::ImplementationShortfall,
    Algorithm::ArrivalPrice,
    Algorithm::Iceberg,
    Algorithm::Sniper,
    Algorithm::Pov,
];

/// What is measured with adaptation, too: algorithms with a schedule.
pub const ADAPTIVE: [Algorithm; 4] =
    [Algorithm::Twap, Algorithm::Vwap, Algorithm::ImplementationShortfall, Algorithm::ArrivalPrice];

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Seed of the generator's paths and of the bootstrap.
    pub seed: u64,
    /// Generated paths of each share under each scenario.
    pub paths: u64,
    /// Folder of market files, too.
    pub data: Option<PathBuf>,
    /// Threads.
    pub threads: usize,
    /// The stage's configuration.
    pub config: Config,
}

/// One order on one path, by every algorithm.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Where the path comes from.
    pub market: String,
    /// Which path: samples of one are not independent.
    pub path: String,
    /// Which order.
    pub order: OrderSpec,
    /// The market's condition at its arrival.
    pub condition: MarketCondition,
    /// What the rules recommend.
    pub selected: Algorithm,
    /// By [`ALGORITHMS`]; `None`: it cannot run there.
    pub outcomes: Vec<Option<Outcome>>,
    /// By [`ADAPTIVE`], with adaptation.
    pub adaptive: Vec<Option<Outcome>>,
}

impl Sample {
    /// What came of an algorithm.
    #[must_use]
    pub fn of(&self, algorithm: Algorithm) -> Option<&Outcome> {
        let at = ALGORITHMS.iter().position(|a| *a == algorithm)?;
        self.outcomes.get(at)?.as_ref()
    }

    /// What came of the choice of the rules; TWAP stands in where that cannot run.
    #[must_use]
    pub fn chosen(&self) -> Option<&Outcome> {
        self.of(self.selected).or_else(|| self.of(Algorithm::Twap))
    }

    /// What came of an algorithm with adaptation.
    #[must_use]
    pub fn adapted(&self, algorithm: Algorithm) -> Option<&Outcome> {
        let at = ADAPTIVE.iter().position(|a| *a == algorithm)?;
        self.adaptive.get(at)?.as_ref()
    }
}

/// Orders that meet a market: each rule of the selection is met by one at least.
fn orders(market: &str) -> Vec<OrderSpec> {
    let order = |value, urgency, horizon_s| OrderSpec { value, urgency, horizon_s };
    match market {
        "generator THIN" => vec![
            order(8_000, Urgency::Low, 600),
            order(8_000, Urgency::High, 600),
            order(30_000, Urgency::Low, 600),
            order(30_000, Urgency::Normal, 600),
            order(40_000, Urgency::High, 600),
            order(150_000, Urgency::Normal, 1_200),
            order(150_000, Urgency::High, 1_200),
            order(1_600_000, Urgency::Normal, 3_600),
        ],
        "generator LIQUID" => vec![
            order(30_000, Urgency::Low, 600),
            order(150_000, Urgency::Normal, 600),
            order(150_000, Urgency::High, 600),
            order(1_000_000, Urgency::Normal, 1_200),
        ],
        _ => {
            let horizon_s = CUTS.iter().find(|cut| cut.name == market).map_or(600, |cut| cut.horizon_s);
            vec![
                order(8_000, Urgency::Low, horizon_s),
                order(40_000, Urgency::High, horizon_s),
                order(150_000, Urgency::Normal, horizon_s),
                order(1_000_000, Urgency::High, horizon_s),
            ]
        }
    }
}

/// A path to be measured.
enum Job {
    Generated(Liquidity, Scenario, u64),
    Window(Box<MarketPath>),
}

/// Measures. The samples come in the same order whatever the threads do.
///
/// # Errors
/// The first that a thread met.
pub fn measure(plan: &Plan) -> Result<Vec<Sample>, QualityError> {
    let mut jobs = Vec::new();
    for liquidity in [Liquidity::Thin, Liquidity::Liquid] {
        for scenario in Scenario::ALL {
            jobs.extend((1..=plan.paths).map(|n| Job::Generated(liquidity, scenario, n)));
        }
    }
    for cut in CUTS.iter().filter(|_| plan.data.is_some()) {
        let paths = plan.data.as_deref().map_or(Ok(Vec::new()), |folder| windows(folder, cut))?;
        jobs.extend(paths.into_iter().map(|path| Job::Window(Box::new(path))));
    }
    let works = Works::new(plan.config.clone())?;
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Vec<Sample>)>, QualityError> {
        let mut done = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(n) else { return Ok(done) };
            done.push((n, samples(&works, job, plan.seed)?));
        }
    };
    let threads: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..plan.threads.max(1)).map(|_| scope.spawn(work)).collect();
        running.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    let mut all = Vec::with_capacity(jobs.len());
    for thread in threads {
        all.extend(thread.map_err(|_| QualityError::Config("a measurement panicked".to_owned()))??);
    }
    all.sort_by_key(|(n, _)| *n);
    Ok(all.into_iter().flat_map(|(_, samples)| samples).collect())
}

fn samples(works: &Works, job: &Job, seed: u64) -> Result<Vec<Sample>, QualityError> {
    let generated;
    let path = match job {
        Job::Generated(liquidity, scenario, n) => {
            let longest = orders(&format!("generator {}", liquidity.as_str())).iter().map(|o| o.horizon_s).max();
            generated = path(*liquidity, *scenario, (seed, *n), longest.unwrap_or_default())?;
            &generated
        }
        Job::Window(path) => path,
    };
    let prepared = works.prepare(path)?;
    let mut all = Vec::new();
    for order in orders(&path.market) {
        let run = |algorithm: &Algorithm, adaptive| {
            let outcome = prepared.work(&order, *algorithm, adaptive)?;
            Ok::<_, QualityError>(Some(outcome).filter(|o| o.used == *algorithm))
        };
        let outcomes = ALGORITHMS.iter().map(|a| run(a, false)).collect::<Result<Vec<_>, _>>()?;
        let adaptive = ADAPTIVE.iter().map(|a| run(a, true)).collect::<Result<Vec<_>, _>>()?;
        // MARKET can always run.
        let Some(first) = outcomes.first().copied().flatten() else { continue };
        let (market, path) = (path.market.clone(), path.name.clone());
        let (condition, selected) = (first.condition, first.selected);
        all.push(Sample { market, path, order, condition, selected, outcomes, adaptive });
    }
    Ok(all)
}
