//! The command line of `fillstream bench`.

use clap::{Args, Subcommand};

/// `bench`.
#[derive(Subcommand)]
pub enum Bench {
    /// From a decision to its first child order, live and open loop: latency counts from the intended send time
    Path(BenchPath),
    /// The bare transactional loop: read, write to so many topics, commit; the floor under a path
    Loop(BenchLoop),
    /// One stage that passes records on, beside the bare loop (and a peer) over as many partitions: latency, open loop
    #[command(after_help = "Example: fillstream bench hop --rates 200 --rounds 3")]
    Hop(Latency),
    /// One stage that numbers records by key, its state in a changelog: latency, then records a second
    #[command(after_help = "Example: fillstream bench keyed --records 1000000")]
    Keyed(Keyed),
    /// Records a second, exactly once, from a topic that is filled before: passing on, and numbering by key
    #[command(after_help = "Example: fillstream bench throughput --records 2000000 --rounds 3")]
    Throughput(Throughput),
    /// State back from its changelog, and back to work after kill -9
    #[command(after_help = "Example: fillstream bench restore --keys 1000000 --updates 20 --kills 20")]
    Restore(Restore),
    /// Rows a second into ClickHouse, exactly once
    #[command(after_help = "Example: fillstream bench sink --rows 2000000")]
    Sink(Sink),
    /// From a request to the strategy API to its answer, over the topics, live and open loop
    #[command(after_help = "Example: fillstream bench recommend --rates 20,100 --json")]
    Recommend(BenchRecommend),
    /// CPU of a decision in the order path itself, by the number of open orders; no Kafka
    #[command(after_help = "Example: fillstream bench orders --open 1000,1000000")]
    Orders(Orders),
    /// What each algorithm costs on paired paths of the generator, and of market files where a folder is given; no Kafka
    #[command(after_help = "Example: fillstream bench strategy --paths 250 --data DIR")]
    Strategy(Strategy),
    /// A process that runs one stage of the benches, for those that kill it
    #[command(hide = true)]
    Worker(Worker),
}

/// What benches of one stage have in common.
#[derive(Args, Clone)]
pub struct Common {
    /// Partitions of each topic
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=1_000))]
    pub partitions: i32,
    /// Copies of each topic; more than one needs a cluster (FILLSTREAM_KAFKA)
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=16))]
    pub replication: i32,
    /// Bytes of a record's value, its frame included
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(64..=500_000))]
    pub bytes: u32,
    /// Keys that the records have
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub keys: u32,
    /// Runs of each contender, in turn
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Who runs, in this order in each round
    #[arg(long, value_enum, value_delimiter = ',', default_value = "loop,ours")]
    pub who: Vec<Who>,
    /// Command of a peer that does the same work, words divided by blanks; it runs last in each round
    #[arg(long, value_name = "COMMAND")]
    pub peer: Option<String>,
    /// Time between two commits of the peer, milliseconds
    #[arg(long, default_value_t = 100)]
    pub peer_commit_ms: u32,
    /// Ends with one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// A contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Who {
    /// The bare transactional loop
    Loop,
    /// The stage under the Kafka driver
    Ours,
}

/// `bench hop`, and the latency of `bench keyed`.
#[derive(Args, Clone)]
pub struct Latency {
    /// What all have in common
    #[command(flatten)]
    pub common: Common,
    /// Records a second, one run each
    #[arg(long, value_delimiter = ',', default_value = "200", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rates: Vec<u32>,
    /// Load before the measurement, seconds
    #[arg(long, default_value_t = 5)]
    pub warm_up_s: u32,
    /// Length of the measurement, seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub measure_s: u32,
    /// Transactional ids of the bare loop; those of ours are `run.transactional_ids`
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub loop_ids: u8,
}

/// `bench throughput`.
#[derive(Args, Clone)]
pub struct Throughput {
    /// What all have in common
    #[command(flatten)]
    pub common: Common,
    /// Records that are there before a run begins
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u32).range(10_000..=1_000_000_000))]
    pub records: u32,
    /// What the stage does, one run each
    #[arg(long, value_enum, value_delimiter = ',', default_value = "pass,count")]
    pub work: Vec<WorkArg>,
    /// Time between two commits of the bare loop, milliseconds
    #[arg(long, default_value_t = 100)]
    pub loop_commit_ms: u32,
}

/// Work of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum WorkArg {
    /// Passes each record on as it is
    Pass,
    /// Numbers the records of each key, and passes them on
    Count,
}

/// `bench keyed`.
#[derive(Args, Clone)]
pub struct Keyed {
    /// Latency
    #[command(flatten)]
    pub latency: Latency,
    /// Records that are there before a run of the second part begins; 0: latency only
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000_000))]
    pub records: u32,
    /// Time between two commits of the bare loop in the second part, milliseconds
    #[arg(long, default_value_t = 100)]
    pub loop_commit_ms: u32,
}

/// `bench restore`.
#[derive(Args, Clone)]
pub struct Restore {
    /// Partitions of each topic
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=1_000))]
    pub partitions: i32,
    /// Keys of the state
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=100_000_000))]
    pub keys: u32,
    /// Updates of each key before the first restart
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub updates: u32,
    /// Bytes of a key's state
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(64..=10_000))]
    pub bytes: u32,
    /// Restarts after kill -9 with all keys
    #[arg(long, default_value_t = 3)]
    pub restores: u32,
    /// Kills under load with `--small-keys` keys
    #[arg(long, default_value_t = 20)]
    pub kills: u32,
    /// Keys of the state while those kills happen
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=100_000_000))]
    pub small_keys: u32,
    /// Records a second while those kills happen
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    pub rate: u32,
    /// Ends with one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// `bench sink`.
#[derive(Args, Clone)]
pub struct Sink {
    /// Rows of each run
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u32).range(10_000..=1_000_000_000))]
    pub rows: u32,
    /// Runs
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Ends with one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// `bench orders`.
#[derive(Args, Clone)]
pub struct Orders {
    /// Orders that rest, one measurement each, rising
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000,1000000")]
    pub open: Vec<u32>,
    /// Decisions of a measurement; each is filled at once
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    pub decisions: u32,
    /// Decisions that come together
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub batch: u32,
    /// Open orders of a portfolio, when most are open
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub per_portfolio: u32,
    /// Ends with one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// `bench strategy`.
#[derive(Args, Clone)]
pub struct Strategy {
    /// Generated paths of each share under each scenario
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub paths: u32,
    /// Seed of the paths and of the bootstrap
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Folder of market files (crypto_tick*, fx_tick*, crypto_1m*) to be measured on, too
    #[arg(long, value_name = "DIR")]
    pub data: Option<std::path::PathBuf>,
    /// Writes how often each algorithm beat the others on generated paths there: confidence.csv of execution-strategy
    #[arg(long, value_name = "FILE")]
    pub confidence: Option<std::path::PathBuf>,
    /// Threads; as many as there are processors if not given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub threads: Option<u16>,
}

/// `bench worker`.
#[derive(Args, Clone)]
pub struct Worker {
    /// Name of the group
    #[arg(long)]
    pub name: String,
    /// Partitions of each topic
    #[arg(long)]
    pub partitions: i32,
    /// Where to write the address of health and metrics
    #[arg(long)]
    pub address_file: std::path::PathBuf,
}

/// `bench loop`.
#[derive(Args)]
pub struct BenchLoop {
    /// Records a second, one run each
    #[arg(long, value_delimiter = ',', default_value = "50,200", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rates: Vec<u32>,
    /// Topics that each record is written to
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub outputs: u8,
    /// Partitions of each topic
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=1_000))]
    pub partitions: i32,
    /// Copies of each topic; more than one needs a cluster (FILLSTREAM_KAFKA)
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=16))]
    pub replication: i32,
    /// Transactional ids used in turn, one run each
    #[arg(long, value_delimiter = ',', default_value = "1,2", value_parser = clap::value_parser!(u8).range(1..=2))]
    pub transactional_ids: Vec<u8>,
    /// Runs of each kind, alternated
    #[arg(long, default_value_t = 1)]
    pub rounds: u32,
    /// Load before the measurement, seconds
    #[arg(long, default_value_t = 5)]
    pub warm_up_s: u32,
    /// Length of the measurement, seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub measure_s: u32,
    /// Ends with one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// `bench recommend`.
#[derive(Args)]
pub struct BenchRecommend {
    /// Requests a second, one run each
    #[arg(long, value_delimiter = ',', default_value = "20,100", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rates: Vec<u32>,
    /// Load before the measurement, seconds
    #[arg(long, default_value_t = 5)]
    pub warm_up_s: u32,
    /// Length of the measurement, seconds
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub measure_s: u32,
    /// Ends with one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// `bench path`.
#[derive(Args)]
pub struct BenchPath {
    /// Decisions a second, one run each
    #[arg(long, value_delimiter = ',', default_value = "50,200", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rates: Vec<u32>,
    /// Load before the measurement, seconds
    #[arg(long, default_value_t = 10)]
    pub warm_up_s: u32,
    /// Length of the measurement, seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub measure_s: u32,
    /// Ends with one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}
