//! The command line. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 the audit or a replay found something.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fillstream_domain::TimestampMicros;

use crate::commands::bench::args::Bench;

/// Trade execution on Kafka: decisions in, orders, fills and transaction cost analysis out, exactly once.
#[derive(Parser)]
#[command(name = "fillstream", version, propagate_version = true)]
pub struct Cli {
    /// Configuration file [default: ./fillstream.toml when there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Overrides one key of the configuration, such as run.workers=2
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Logs as JSON lines on standard error (level and targets: FILLSTREAM_LOG)
    #[arg(long, global = true)]
    pub log_json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Log level where FILLSTREAM_LOG says nothing: commands that print for people stay quiet.
    #[must_use]
    pub fn default_log(&self) -> &'static str {
        match self.command {
            Command::Run(_) | Command::Venue(_) => "info,librdkafka=warn",
            _ => "warn,librdkafka=error",
        }
    }
}

/// Commands.
#[derive(Subcommand)]
pub enum Command {
    /// Local Kafka, schema registry and ClickHouse
    #[command(subcommand, after_help = "Example: fillstream local up")]
    Local(Local),
    /// Topics as code
    #[command(subcommand, after_help = "Example: fillstream topics plan")]
    Topics(Topics),
    /// Contracts and their released versions
    #[command(subcommand, after_help = "Example: fillstream schemas check")]
    Schemas(Schemas),
    /// Configuration
    #[command(subcommand, after_help = "Example: fillstream config show --set run.workers=2")]
    Config(ConfigCommand),
    /// Prints stages and topics
    #[command(after_help = "Example: fillstream topology --mermaid")]
    Topology(Topology),
    /// Runs stages, gateway and sink until a signal
    #[command(after_help = "Example: fillstream run --stages order-path,broker-gateway")]
    Run(RunArgs),
    /// The simulated venue
    #[command(after_help = "Example: fillstream venue --config-json venue.json --listen 127.0.0.1:8090")]
    Venue(VenueArgs),
    /// Publishes decisions from JSON or JSON lines
    #[command(after_help = "Example: echo '{\"eventId\":\"e1\", ...}' | fillstream decide -")]
    Decide(Decide),
    /// Prints the decoded records of a topic
    #[command(after_help = "Example: fillstream tail execution.orders.v1 --json --from beginning")]
    Tail(Tail),
    /// Orders: their lives, and commands on them
    #[command(subcommand, after_help = "Example: fillstream orders show D-000017")]
    Orders(Orders),
    /// Dead letters
    #[command(subcommand, after_help = "Example: fillstream dlq list")]
    Dlq(Dlq),
    /// Prints the completions of a shell
    #[command(
        after_help = "Examples:\n  fillstream completions bash > ~/.local/share/bash-completion/completions/fillstream\n  \
        fillstream completions zsh > \"${fpath[1]}/_fillstream\"\n  \
        fillstream completions fish > ~/.config/fish/completions/fillstream.fish"
    )]
    Completions(Completions),
    /// Kill switch, pauses and releases, acknowledged by every partition and broker session
    #[command(
        subcommand,
        after_help = "Example: fillstream control kill trader/ann --actor bob --reason 'wrong button'"
    )]
    Control(ControlCommand),
    /// The pre-trade controls
    #[command(subcommand, after_help = "Example: fillstream controls verify")]
    Controls(ControlsCommand),
    /// Stops all trading in a scope; latched until released
    #[command(after_help = "Example: fillstream kill portfolio/P01 --actor ann --reason 'runaway strategy'")]
    Kill(Kill),
    /// Releases a kill; takes two people
    #[command(after_help = "Example: fillstream release portfolio/P01 --actor ann --second bob --reason fixed")]
    Release(Release),
    /// Gives a group that lost its committed offsets those of its journal
    #[command(after_help = "Example: fillstream recover order-path --commit")]
    Recover(Recover),
    /// Feeds a group's journal again and compares every byte with what was written
    #[command(
        after_help = "Example: fillstream replay --group order-path --from 2026-03-02T14:00:00Z\n         fillstream replay --group order-path --what-if --config other.toml"
    )]
    Replay(ReplayArgs),
    /// Cuts a path into other groups, with everything they remember; nothing of it may run
    #[command(
        after_help = "Example: fillstream regroup order-path --to order-management,pre-trade-risk/execution-strategy,smart-order-routing,child-risk"
    )]
    Regroup(RegroupArgs),
    /// Proves a run from its topics, the venue's journal and ClickHouse alone
    #[command(after_help = "Example: fillstream audit --json")]
    Audit(AuditArgs),
    /// The whole pipeline on a replayed or synthetic market, with an audit at the end
    #[command(after_help = "Example: fillstream demo --decisions 200 --seed 7 --json")]
    Demo(DemoArgs),
    /// Runs the whole topology in a deterministic simulation, audited at every prefix; no services needed
    #[command(after_help = "Example: fillstream sim --seeds 1000 --from 0 --json")]
    Sim(SimArgs),
    /// Breaks the real thing on purpose, three Kafka nodes and all, and has the audit judge what is left
    #[command(after_help = "Example: fillstream chaos --seed 7 --minutes 60 --report chaos")]
    Chaos(ChaosArgs),
    /// Upstream of `chaos`: reference data, market and decisions, told by lines on its standard input
    #[command(hide = true)]
    ChaosLoad(ChaosLoadArgs),
    /// Measures with services of its own
    #[command(subcommand, after_help = "Example: fillstream bench path --rates 50,200 --json")]
    Bench(Bench),
    /// Venue, market, reference data and stages on the clock of the machine, for tests; ends when its standard input does
    #[command(hide = true)]
    LiveWorld {
        /// Ends after so many minutes
        #[arg(long, default_value_t = 10)]
        minutes: u64,
    },
}

/// `chaos`.
#[derive(Args)]
pub struct ChaosArgs {
    /// Seed of the plan and of the load
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Length of the faults, minutes; drains come on top
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_080))]
    pub minutes: u64,
    /// Minutes between drains with an audit
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_080))]
    pub drain_every: u64,
    /// Kinds of faults, comma separated, or the part before their slash; all when none is given
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    pub faults: Vec<String>,
    /// Prints the kinds of faults
    #[arg(long)]
    pub list: bool,
    /// Decisions a second
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rate: u32,
    /// So many runs one after the other, each in a world of its own and with the next seed
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub rounds: u64,
    /// Writes FILE.json and FILE.md; of several rounds FILE-SEED.json and FILE-SEED.md
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Counts what the reports in DIR say of this commit: kinds furthest from what is wanted come first
    #[arg(long, value_name = "DIR")]
    pub after: Option<PathBuf>,
    /// Runs nothing: adds up the reports in DIR, which must be of one commit
    #[arg(long, value_name = "DIR")]
    pub total: Option<PathBuf>,
    /// With --total: the commit, where there are reports of several
    #[arg(long, requires = "total")]
    pub commit: Option<String>,
    /// Folder of data and logs [default: that of the local services, with /chaos]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Ends with one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// `chaos-load`.
#[derive(Args)]
pub struct ChaosLoadArgs {
    /// Folder for the venue's configuration and journal
    #[arg(long)]
    pub dir: PathBuf,
    /// Seed of the decisions
    #[arg(long)]
    pub seed: u64,
    /// Decisions a second
    #[arg(long)]
    pub rate: u32,
}

fn instances(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| (1..=16).contains(n)).ok_or_else(|| "must be 1 to 16".to_owned())
}

/// `replay`.
#[derive(Args)]
pub struct ReplayArgs {
    /// Group, as `run` names it
    #[arg(long)]
    pub group: String,
    /// One partition only
    #[arg(long)]
    pub partition: Option<i32>,
    /// From this time on, as the group counted it; without it from as early as possible
    #[arg(long, value_name = "TIME")]
    pub from: Option<TimestampMicros>,
    /// Up to this time
    #[arg(long, value_name = "TIME")]
    pub to: Option<TimestampMicros>,
    /// Shows what this binary would have decided under this configuration, instead of proving that it is the same
    #[arg(long)]
    pub what_if: bool,
    /// Prints one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `regroup`.
#[derive(Args)]
pub struct RegroupArgs {
    /// Path
    pub path: String,
    /// How it is cut from now on: `fused`, or stages with commas, groups with slashes between
    #[arg(long, value_name = "CUT")]
    pub to: String,
    /// How it was cut; without it as the configuration says
    #[arg(long, value_name = "CUT")]
    pub from: Option<String>,
    /// How long each later group may run first, to read what waits for it, seconds; 0: not at all
    #[arg(long, default_value_t = 60)]
    pub drain_s: u64,
    /// How long to wait until no instance counts as a member any more, seconds
    #[arg(long, default_value_t = 60)]
    pub wait_s: u64,
}

/// `local`.
#[derive(Subcommand)]
pub enum Local {
    /// Fetches what is missing, starts the services and prints their addresses
    Up {
        /// Prints the addresses as JSON
        #[arg(long)]
        json: bool,
    },
    /// Says what runs
    Status,
    /// Stops the services; data stays
    Down,
    /// Stops the services and deletes their data
    Reset,
    /// A Kafka cluster of several nodes until Ctrl-C, for measurements with copies; prints its address
    Cluster {
        /// Nodes
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
        nodes: u8,
    },
    /// ClickHouse in this process (used by `up`)
    #[command(hide = true)]
    ServeClickhouse {
        /// Library, data folder, port
        args: Vec<String>,
    },
}

/// `topics`.
#[derive(Subcommand)]
pub enum Topics {
    /// Prints the difference between topics.yaml and the cluster
    Plan(TopicChanges),
    /// Makes the cluster like topics.yaml; never deletes, never shrinks by itself
    Apply(TopicChanges),
    /// Says what a topic is for, who writes and reads it, and what the cluster has of it
    #[command(
        after_help = "Examples:\n  fillstream topics describe\n  fillstream topics describe execution.orders.v1 --json"
    )]
    Describe(TopicsDescribe),
}

/// `topics describe`.
#[derive(Args)]
pub struct TopicsDescribe {
    /// Topics; every one of topics.yaml when none is given
    pub topics: Vec<String>,
    /// As JSON lines
    #[arg(long)]
    pub json: bool,
}

/// What `topics` may do.
#[derive(Args, Clone, Copy)]
pub struct TopicChanges {
    /// Allows changes that delete records: a shorter retention, another cleanup, fewer partitions
    #[arg(long)]
    pub allow_data_loss: bool,
}

/// `schemas`.
#[derive(Subcommand)]
pub enum Schemas {
    /// Checks every contract against its released versions, without a registry
    Check {
        /// Folder of the released versions
        #[arg(long, default_value = "schemas/released")]
        released: PathBuf,
    },
    /// Registers every contract for its topics
    Register,
    /// Writes the next version of changed contracts into the released folder
    Release {
        /// Folder of the released versions
        #[arg(long, default_value = "schemas/released")]
        released: PathBuf,
        /// Full names; every contract when none is given
        contracts: Vec<String>,
    },
    /// Compares two versions of a contract field by field, and says what the change breaks
    #[command(after_help = "Examples:\n  \
        fillstream schemas diff fillstream.execution.OrderEvent        # the last released version and this build's\n  \
        fillstream schemas diff fillstream.execution.OrderEvent 1 2    # two released versions\n  \
        fillstream schemas diff mine.avsc                              # the last released version and a file\n  \
        fillstream schemas diff execution.orders.v1-value 1 2          # two versions in the registry\n\
        Exit code 1 when one of the two cannot be read with the other.")]
    Diff(SchemasDiff),
}

/// `schemas diff`.
#[derive(Args)]
pub struct SchemasDiff {
    /// Full name of a contract, file (.avsc), or subject of the registry
    pub subject: String,
    /// Version to compare from [default: the last but one in the registry, otherwise the last released]
    pub from: Option<u32>,
    /// Version to compare with [default: the last in the registry, otherwise that of this build, or the file]
    pub to: Option<u32>,
    /// Folder of the released versions
    #[arg(long, default_value = "schemas/released")]
    pub released: PathBuf,
}

/// `config`.
#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Names every fault at once
    Check,
    /// Prints the configuration in force, without secrets
    Show,
    /// Prints the default file with its comments
    Default,
}

/// `topology`.
#[derive(Args)]
pub struct Topology {
    /// As a Mermaid flowchart
    #[arg(long)]
    pub mermaid: bool,
}

/// `run`.
#[derive(Args)]
pub struct RunArgs {
    /// Groups to run, comma separated: consumer groups by name, broker-gateway, clickhouse-sink, all
    #[arg(long, value_delimiter = ',', default_value = "all")]
    pub stages: Vec<String>,
    /// Follows execution.clock.v1 instead of the OS clock
    #[arg(long)]
    pub paced: bool,
    /// Writes the address of health and metrics to this file
    #[arg(long, hide = true)]
    pub address_file: Option<PathBuf>,
    /// Writes what every worker is doing to this file, one line of fixed width each
    #[arg(long, hide = true)]
    pub phase_file: Option<PathBuf>,
}

/// `venue`.
#[derive(Args)]
pub struct VenueArgs {
    /// Configuration of the venue, JSON
    #[arg(long, value_name = "FILE")]
    pub config_json: PathBuf,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8090")]
    pub listen: String,
    /// Writes the address to this file
    #[arg(long, hide = true)]
    pub address_file: Option<PathBuf>,
}

/// `decide`.
#[derive(Args)]
pub struct Decide {
    /// JSON object or JSON lines; - reads standard input
    pub file: PathBuf,
}

/// Where `tail` starts.
#[derive(Clone, Copy, ValueEnum)]
pub enum From {
    /// The first record kept
    Beginning,
    /// What comes next
    End,
}

/// `tail`.
#[derive(Args)]
pub struct Tail {
    /// Topic
    pub topic: String,
    /// One JSON object a line with coordinates, key and value
    #[arg(long)]
    pub json: bool,
    /// Where to start
    #[arg(long, value_enum, default_value = "end")]
    pub from: From,
    /// Stops after so many records
    #[arg(long)]
    pub count: Option<u64>,
    /// Stops at the end of what is there now
    #[arg(long)]
    pub until_end: bool,
}

/// `orders`.
#[derive(Subcommand)]
pub enum Orders {
    /// Tells the whole life of an order in plain words, with times and figures
    #[command(after_help = "Examples:\n  fillstream orders show 5f0c9a52b1d34e6f8a7b6c5d4e3f2a10\n  \
        fillstream orders show D-000017 --json\n\
        It reads order events, risk's answers, strategies, routing plans, alerts, trades, cost analyses and the audit chain.")]
    Show {
        /// order_id, or the event_id of its decision
        id: String,
        /// As one JSON array: each order with its story and every record about it
        #[arg(long)]
        json: bool,
    },
    /// Cancels an order and waits for the answer
    #[command(after_help = "Example: fillstream orders cancel D-000017 --actor ann --reason 'news'")]
    Cancel(OrderCommand),
    /// Suspends an order: nothing new is released until it is resumed
    #[command(after_help = "Example: fillstream orders suspend D-000017 --actor ann --reason 'news'")]
    Suspend(OrderCommand),
    /// Lets a suspended order go on
    #[command(after_help = "Example: fillstream orders resume D-000017 --actor ann --reason 'over'")]
    Resume(OrderCommand),
    /// Asks for another way of working: urgency, algorithm, share of the volume; risk decides
    #[command(after_help = "Example: fillstream orders adapt D-000017 --urgency HIGH --actor ann --reason 'news'")]
    Adapt {
        /// On what
        #[command(flatten)]
        asked: OrderCommand,
        /// How
        #[command(flatten)]
        how: NewWay,
    },
    /// Asks for other terms; risk decides
    #[command(
        after_help = "Example: fillstream orders replace D-000017 --quantity 500 --limit 101.5 --actor ann --reason 'more'"
    )]
    Replace {
        /// On what
        #[command(flatten)]
        asked: OrderCommand,
        /// Terms
        #[command(flatten)]
        terms: NewTerms,
    },
}

/// A command on an order. Exit code 0: obeyed, 1: refused or not answered.
#[derive(Args)]
pub struct OrderCommand {
    /// order_id, or the event_id of its decision
    pub id: String,
    /// Who
    #[arg(long)]
    pub actor: String,
    /// Why
    #[arg(long)]
    pub reason: String,
    /// Id of the command, which is honoured once [default: a new one]
    #[arg(long)]
    pub command_id: Option<String>,
    /// Seconds to wait for the answer
    #[arg(long, default_value_t = 10)]
    pub wait_s: u64,
}

/// How an order is to be worked; what is not named stays as it is.
#[derive(Args, Default)]
#[group(required = true, multiple = true)]
pub struct NewWay {
    /// LOW, NORMAL, HIGH or URGENT
    #[arg(long)]
    pub urgency: Option<String>,
    /// Algorithm, such as VWAP or ADAPTIVE_TWAP; AUTO: the one that runs
    #[arg(long)]
    pub algorithm: Option<String>,
    /// Largest share of the market's volume, above 0 and at most 1
    #[arg(long)]
    pub participation: Option<String>,
}

/// What a replace asks for; what is not named stays as it is.
#[derive(Args, Default)]
pub struct NewTerms {
    /// Quantity ordered, what is filled included
    #[arg(long)]
    pub quantity: Option<String>,
    /// Worst acceptable price
    #[arg(long)]
    pub limit: Option<String>,
    /// Price that sets it off, of an order that waits for its stop
    #[arg(long)]
    pub stop: Option<String>,
    /// Time allowed from now on, of a stop order from when it is set off: 4_hours, PT30M
    #[arg(long)]
    pub horizon: Option<String>,
    /// When it ends, such as 2026-11-30T15:00:00Z
    #[arg(long)]
    pub expire_at: Option<String>,
}

/// `dlq`.
#[derive(Subcommand)]
pub enum Dlq {
    /// Prints every dead letter with its reason
    #[command(after_help = "Example: fillstream dlq list --json")]
    List {
        /// As JSON lines
        #[arg(long)]
        json: bool,
    },
    /// Prints dead letters whole: coordinates, reason, key and value, decoded or in hex
    #[command(after_help = "Examples:\n  fillstream dlq show coordination.decisions.v1-3:17\n  \
        fillstream dlq show order-management.dlq")]
    Show(DlqSelect),
    /// Writes the records of dead letters again to where they came from: the same bytes, key, partition and lineage
    #[command(
        after_help = "Example: fillstream dlq retry coordination.decisions.v1-3:17 --actor ann --reason 'schema registered'\n\
        The record and the note of its retry are one transaction. A second retry of the same lineage does nothing,\n\
        unless the record became a dead letter again since."
    )]
    Retry {
        /// Which
        #[command(flatten)]
        select: DlqSelect,
        /// Who
        #[arg(long)]
        actor: String,
        /// Why it will pass now
        #[arg(long)]
        reason: String,
    },
}

/// Which dead letters.
#[derive(Args)]
pub struct DlqSelect {
    /// `TOPIC[-PARTITION[:OFFSET]]` of the record that failed, or of its dead letter
    pub place: String,
    /// As JSON lines
    #[arg(long)]
    pub json: bool,
}

/// `completions`.
#[derive(Args)]
pub struct Completions {
    /// Shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `controls`.
#[derive(Subcommand)]
pub enum ControlsCommand {
    /// Builds the situation of each control, runs its stage, and prints whether its code came out; no services needed
    Verify,
}

/// `control`.
#[derive(Subcommand)]
pub enum ControlCommand {
    /// Nothing new is sent and what is open is cancelled; latched until two people release it
    Kill(ControlChange),
    /// Nothing new is sent, what is open stays; one person resumes it
    Pause(ControlChange),
    /// Ends a pause; re-enables a strategy that the throttle of repeated executions has disabled
    Resume(ControlChange),
    /// Signs the release of a kill; two different people must, the second within 15 minutes
    Release {
        /// The first or second person
        #[command(flatten)]
        by: ControlChange,
        /// The second person, where both sign at once
        #[arg(long)]
        second: Option<String>,
    },
    /// Takes the one signature of a release back
    Withdraw(ControlChange),
    /// Lets the children of one order pass one check for a while; HELD_FOR_RELEASE releases a large order
    Override(OverrideArgs),
    /// Every control that was ever set, and who has acknowledged it
    Status {
        /// One scope only
        scope: Option<String>,
    },
}

/// `control override`.
#[derive(Args)]
pub struct OverrideArgs {
    /// The one order
    pub order: String,
    /// Its portfolio
    #[arg(long)]
    pub portfolio: String,
    /// Reason code of the one check, such as PRICE_COLLAR
    #[arg(long)]
    pub code: String,
    /// Who asks
    #[arg(long)]
    pub actor: String,
    /// Second person, of the risk function (stages.child-risk.overrides.risk_officers)
    #[arg(long)]
    pub second: String,
    /// Why
    #[arg(long)]
    pub reason: String,
    /// How long it holds
    #[arg(long, default_value_t = 15)]
    pub minutes: u32,
}

/// A change of a control.
#[derive(Args)]
pub struct ControlChange {
    /// firm, or kind/id: portfolio/P01, account/.., strategy/.., trader/.., broker/.., venue/.., instrument/..
    pub scope: String,
    /// Who
    #[arg(long)]
    pub actor: String,
    /// Why
    #[arg(long)]
    pub reason: String,
    /// Longest wait for the acknowledgements, seconds; 0 does not ask for them
    #[arg(long, default_value_t = 10)]
    pub wait_s: u64,
}

/// `kill`.
#[derive(Args)]
pub struct Kill {
    /// firm, or kind/id: portfolio/P01, account/.., strategy/.., trader/.., broker/.., venue/.., instrument/..
    pub scope: String,
    /// Who
    #[arg(long)]
    pub actor: String,
    /// Why
    #[arg(long)]
    pub reason: String,
}

/// `release`.
#[derive(Args)]
pub struct Release {
    /// The killed scope
    pub scope: String,
    /// Who
    #[arg(long)]
    pub actor: String,
    /// The second person
    #[arg(long)]
    pub second: String,
    /// Why
    #[arg(long)]
    pub reason: String,
}

/// `recover`.
#[derive(Args)]
pub struct Recover {
    /// Group, such as order-path
    pub group: String,
    /// Commits the offsets; the cluster refuses while the group has members
    #[arg(long)]
    pub commit: bool,
}

/// `audit`.
#[derive(Args)]
pub struct AuditArgs {
    /// Ends with one JSON object on standard output
    #[arg(long)]
    pub json: bool,
    /// URL of the venue [default: venue.url]
    #[arg(long)]
    pub venue: Option<String>,
    /// Longest outage that the run had, seconds: cost analyses and market rows may have come as much later
    #[arg(long, default_value_t = 0)]
    pub outage_s: u64,
}

/// `sim`.
#[derive(Args)]
pub struct SimArgs {
    /// Seeds to run
    #[arg(long, default_value_t = 1_000)]
    pub seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    pub from: u64,
    /// Ends with one JSON object on standard output
    #[arg(long)]
    pub json: bool,
    /// Does not look for a smaller history of the first failure
    #[arg(long)]
    pub no_shrink: bool,
    /// Groups of decisions that are not published
    #[arg(long, value_delimiter = ',')]
    pub leave_out: Vec<usize>,
    /// Faults of the paced run that do not happen
    #[arg(long, value_delimiter = ',')]
    pub spare: Vec<usize>,
    /// No fault of the paced run from this number on
    #[arg(long)]
    pub spare_from: Option<usize>,
    /// Faults of the live run that do not happen
    #[arg(long, value_delimiter = ',')]
    pub spare_live: Vec<usize>,
    /// No fault of the live run from this number on
    #[arg(long)]
    pub spare_live_from: Option<usize>,
}

/// `demo`.
#[derive(Args, Clone)]
pub struct DemoArgs {
    /// Decisions to publish
    #[arg(long, default_value_t = 60)]
    pub decisions: usize,
    /// The same seed gives the same orders, fills and figures
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Replays a market file instead of the synthetic market
    #[arg(long, value_name = "FILE")]
    pub market: Option<PathBuf>,
    /// Leaves everything running
    #[arg(long)]
    pub keep: bool,
    /// Ends with one JSON object on standard output
    #[arg(long)]
    pub json: bool,
    /// Kills processes of the stages so many times on the way (kill -9), and starts them again
    #[arg(long, default_value_t = 0)]
    pub kills: u32,
    /// Processes that share the work of the stages
    #[arg(long, default_value_t = 1, value_parser = instances)]
    pub instances: usize,
    /// Makes every stage a consumer group of its own instead of fusing a path
    #[arg(long)]
    pub split: bool,
    /// Step of market time, milliseconds
    #[arg(long, default_value_t = 100)]
    pub grid_ms: i64,
    /// Most records and timers of one batch
    #[arg(long)]
    pub max_units: Option<usize>,
    /// Writes every committed record of the output topics, canonically, to this folder: for comparing runs
    #[arg(long, value_name = "DIR")]
    pub dump: Option<PathBuf>,
}
