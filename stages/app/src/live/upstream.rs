//! The world upstream of `fillstream chaos`: topics, reference data, the market, and decisions from a seed. It must outlive
//! every fault, so it waits where Kafka does not answer.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use anyhow::Context as _;
use fillstream_core::error::Reaction;
use fillstream_domain::{Bps, Price, Quantity, Rounding, SignedQuantity, TimestampMicros};
use fillstream_kafka::client::ClientError;
use fillstream_kafka::registry::{framed, value_subject};
use fillstream_market::{MarketSource, Prng, SyntheticConfig};
use fillstream_schemas::codec::{AvroRecord as _, Event as _};
use fillstream_schemas::contract;
use fillstream_schemas::coordination::{Action, CoordinatedTradingDecision, ExecutionPreference, TradeDecision};
use fillstream_schemas::execution::{Command, CommandAction};
use fillstream_schemas::market::MarketDataKind;
use fillstream_venue::{EngineConfig, Mode, VenueConfig};

use super::SESSIONS;
use super::{HEAD_START_US, Orderable, PORTFOLIOS, portfolio, reference};
use crate::bus::{Cluster, Writer, now_us};
use crate::cli::ChaosLoadArgs;
use crate::commands::{apply_topics, register_schemas};
use crate::config::Config;
use crate::demo::market::{MarketChoice, VenueFile};
use crate::demo::reference::Reference;

const DECISIONS: &str = "coordination.decisions.v1";
const STEP: Duration = Duration::from_millis(20);
const SECOND: i64 = 1_000_000;
/// Longer than any outage that the rig makes.
const DELIVERY_MS: &str = "600000";
/// Most that an order may be worth.
const LIMIT: i64 = 20_000;
/// An order that is too large is this many times a small one of about 1,000.
const TOO_LARGE: i64 = 40;
/// Every order ends by itself within this time.
const LIFE_US: i64 = 25 * SECOND;
/// Two days of market: no run is longer.
const MARKET_US: i64 = 172_800 * SECOND;

/// `fillstream chaos-load`. Says `ready`, hears `start` and `stop`, says `stopped` when everything is acknowledged; hears
/// `evolve`, writes decisions in a newer version of their contract from then on and says `evolved`; ends with its input.
///
/// # Errors
/// A step of the preparation fails, or Kafka refuses a record.
pub fn run(args: &ChaosLoadArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let mut config = config.clone();
    config.kafka.librdkafka.insert("delivery.timeout.ms".to_owned(), DELIVERY_MS.to_owned());
    let cluster = Cluster::new(&config)?;
    apply_topics(&cluster, &config)?;
    register_schemas(&cluster)?;
    let file = venue_file(args);
    let market = file.open_market()?;
    let (accounts, limits) =
        (reference::accounts(market.instruments(), PORTFOLIOS)?, reference::limits_of(LIMIT, PORTFOLIOS)?);
    let (instruments, calendars) = (market.instruments(), reference::always_open());
    let engine = &file.venue.engine;
    Reference { instruments, accounts: &accounts, limits: &limits, calendars: &calendars, engine }.publish(&cluster)?;
    let path = args.dir.join("venue.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&file)?).with_context(|| path.display().to_string())?;
    let upstream = Upstream {
        market,
        writer: cluster.writer()?,
        orderables: reference::orderables(&fillstream_market::default_instruments())?,
        mids: BTreeMap::new(),
        rng: Prng::new(args.seed, "chaos"),
        name: format!("chaos-{}", args.seed),
        made: 0,
        last: None,
        cancels: VecDeque::new(),
        newer: None,
        cluster,
    };
    upstream.run(i64::from(args.rate), &told()?)?;
    Ok(ExitCode::SUCCESS)
}

fn venue_file(args: &ChaosLoadArgs) -> VenueFile {
    let sessions = SESSIONS.iter().map(|s| (*s).to_owned()).collect();
    // With its misbehaviour: rejects, late fills, reports twice.
    let engine = EngineConfig { seed: args.seed, sessions, ..EngineConfig::default() };
    VenueFile {
        venue: VenueConfig { mode: Mode::Live, journal: args.dir.join("venue.jsonl"), engine },
        market: MarketChoice::Synthetic(SyntheticConfig {
            seed: args.seed,
            length_us: MARKET_US,
            ..SyntheticConfig::default()
        }),
        anchor: Some(TimestampMicros::from_micros(now_us().saturating_sub(HEAD_START_US))),
    }
}

/// The lines that are said to this process.
fn told() -> anyhow::Result<Receiver<String>> {
    let (sender, receiver) = channel();
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

struct Upstream {
    market: Box<dyn MarketSource + Send>,
    writer: Writer,
    orderables: Vec<Orderable>,
    /// A price of each instrument.
    mids: BTreeMap<String, Price>,
    rng: Prng,
    name: String,
    made: u64,
    last: Option<CoordinatedTradingDecision>,
    cancels: VecDeque<Command>,
    /// The version that decisions are written in, where it is not their contract's.
    newer: Option<Newer>,
    cluster: Cluster,
}

/// A version that adds optional fields to a contract, as a producer ahead of us would register it.
#[derive(Clone, Copy)]
struct Newer {
    id: u32,
    /// Fields added.
    fields: u32,
}

/// The contract's schema with so many more optional fields.
fn with_more(schema: &str, fields: u32) -> anyhow::Result<String> {
    let mut schema: serde_json::Value = serde_json::from_str(schema)?;
    let all = schema.get_mut("fields").and_then(|f| f.as_array_mut()).context("it is no record")?;
    for n in 1..=fields {
        all.push(serde_json::json!({ "name": format!("added_{n}"), "type": ["null", "string"], "default": null }));
    }
    Ok(schema.to_string())
}

/// A record of the contract, as that version writes it: what is added comes last, the odd ones of it are there.
fn in_newer(record: &[u8], fields: u32) -> Vec<u8> {
    let mut bytes = record.to_vec();
    for n in 1..=fields {
        // Avro: the branch of the union, and a string of two bytes.
        bytes.extend(if n % 2 == 1 { b"\x02\x04hi".as_slice() } else { b"\x00" });
    }
    bytes
}

impl Upstream {
    /// Registers the next version and writes with it from now on.
    fn evolve(&mut self) -> anyhow::Result<u32> {
        let fields = self.newer.map_or(0, |newer| newer.fields) + 1;
        let contract = contract(CoordinatedTradingDecision::FULL_NAME).context("decisions have no contract")?;
        let schema = with_more(contract.schema, fields)?;
        let id = self.cluster.registry.register(&value_subject(DECISIONS), &schema)?;
        self.newer = Some(Newer { id, fields });
        Ok(id)
    }

    fn write(&mut self, decision: &CoordinatedTradingDecision) -> anyhow::Result<()> {
        match self.newer {
            None => drop(self.writer.send(DECISIONS, decision)?),
            Some(Newer { id, fields }) => {
                let partition = self.cluster.router.partition(DECISIONS, decision.key())?;
                let value = framed(id, &in_newer(&decision.to_bytes(), fields));
                self.writer.send_bytes(DECISIONS, partition, decision.key(), &value)?;
            }
        }
        Ok(())
    }

    fn run(mut self, rate: i64, told: &Receiver<String>) -> anyhow::Result<()> {
        self.publish_market()?;
        self.flush()?;
        say("ready")?;
        let mut next: Option<i64> = None;
        loop {
            match told.try_recv() {
                Ok(line) if line == "start" => next = Some(now_us()),
                Ok(line) if line == "evolve" => match self.evolve() {
                    Ok(id) => say(&format!("evolved to schema {id}"))?,
                    Err(error) => say(&format!("evolved not: {error:#}"))?,
                },
                Ok(_) => {
                    next = None;
                    self.flush()?;
                    say(&format!("stopped after {}", self.made))?;
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
            self.publish_market()?;
            let now = now_us();
            while let Some(due) = next.filter(|due| *due <= now) {
                self.decide(now)?;
                // What an outage held back is not made up for.
                next = Some((due + SECOND / rate.max(1)).max(now - SECOND));
            }
            while self.cancels.front().is_some_and(|c| c.timestamp.micros() <= now) {
                if let Some(cancel) = self.cancels.pop_front() {
                    self.writer.send("execution.commands.v1", &cancel)?;
                }
            }
            self.flush()?;
            std::thread::park_timeout(STEP);
        }
    }

    fn publish_market(&mut self) -> anyhow::Result<()> {
        for row in self.market.advance_to(TimestampMicros::from_micros(now_us()))? {
            if let (MarketDataKind::Quote, Some(bid)) = (row.kind, row.bid) {
                self.mids.insert(row.instrument_id.clone(), bid);
            }
            self.writer.send("market.data.v1", &row)?;
        }
        Ok(())
    }

    /// Waits for as long as it takes: what was sent once must not be sent again.
    fn flush(&self) -> anyhow::Result<()> {
        loop {
            let Err(error) = self.writer.flush() else { return Ok(()) };
            let client = error.downcast_ref::<ClientError>();
            if client.is_none_or(|e| e.reaction() != Reaction::Retry) {
                return Err(error);
            }
        }
    }

    /// One decision: ordinary, resting, scheduled, too large, cancelled soon after, or the last one again.
    fn decide(&mut self, now: i64) -> anyhow::Result<()> {
        let share = self.rng.below(100);
        if let (0..4, Some(last)) = (share, &self.last) {
            let last = last.clone();
            return self.write(&last);
        }
        let of = usize::try_from(self.rng.below(i128::try_from(self.orderables.len())?))?;
        let orderable = self.orderables.get(of).context("nothing can be ordered")?.clone();
        let times = if (4..14).contains(&share) { TOO_LARGE } else { 1 + i64::try_from(self.rng.below(8))? };
        let buys = self.rng.below(2) == 0;
        let broker = self.rng.below(2) == 0;
        self.made += 1;
        let decision = CoordinatedTradingDecision {
            event_id: format!("{}-{:07}", self.name, self.made),
            timestamp: TimestampMicros::from_micros(now),
            portfolio_id: portfolio(usize::try_from(self.rng.below(i128::try_from(PORTFOLIOS)?))?),
            decision: TradeDecision {
                instrument_id: orderable.instrument_id.clone(),
                action: if buys { Action::Buy } else { Action::Sell },
                share_quantity: Some(SignedQuantity::from(many(orderable.quantity, times)?)),
                priority: "NORMAL".to_owned(),
                ..TradeDecision::default()
            },
            execution_strategy: self.preference(share, &orderable, buys, now)?,
            // Each gateway gets its share.
            preferred_brokers: SESSIONS.iter().skip(usize::from(broker)).take(1).map(|s| (*s).to_owned()).collect(),
            ..CoordinatedTradingDecision::default()
        };
        if (90..98).contains(&share) {
            self.cancels.push_back(self.cancel(&decision, now + SECOND));
        }
        self.write(&decision)?;
        self.last = Some(decision);
        Ok(())
    }

    fn preference(
        &self,
        share: i128,
        orderable: &Orderable,
        buys: bool,
        now: i64,
    ) -> anyhow::Result<ExecutionPreference> {
        let mid = self.mids.get(&orderable.instrument_id).copied();
        let rests = (50..70).contains(&share) || (90..98).contains(&share);
        let limit = match mid.filter(|_| rests) {
            // Some basis points inside the market: some of it fills.
            Some(mid) => {
                let away = Bps::from_int(if buys { -1 } else { 2 })?;
                let rounding = if buys { Rounding::Floor } else { Rounding::Ceiling };
                Some(mid.shifted_by(away, rounding)?.round_to_tick(orderable.tick_size, rounding)?)
            }
            None => None,
        };
        let scheduled = (70..80).contains(&share);
        let algorithm = if limit.is_some() {
            "LIMIT"
        } else if scheduled {
            "TWAP"
        } else {
            "MARKET"
        };
        Ok(ExecutionPreference {
            order_type: if limit.is_some() { "LIMIT" } else { "MARKET" }.to_owned(),
            execution_algorithm: algorithm.to_owned(),
            time_horizon: scheduled.then(|| "PT20S".to_owned()),
            urgency: "HIGH".to_owned(),
            time_in_force: "DAY".to_owned(),
            limit_price: limit,
            expire_at: Some(TimestampMicros::from_micros(now + LIFE_US)),
            ..ExecutionPreference::default()
        })
    }

    fn cancel(&self, decision: &CoordinatedTradingDecision, at: i64) -> Command {
        Command {
            command_id: format!("{}-cancel-{:07}", self.name, self.made),
            timestamp: TimestampMicros::from_micros(at),
            portfolio_id: decision.portfolio_id.clone(),
            order_id: String::new(),
            decision_event_id: Some(decision.event_id.clone()),
            action: CommandAction::Cancel,
            actor: "chaos".to_owned(),
            reason: "changed mind".to_owned(),
            ..Command::default()
        }
    }
}

fn many(quantity: Quantity, times: i64) -> anyhow::Result<Quantity> {
    Ok((1..times).try_fold(quantity, |sum, _| sum.checked_add(quantity))?)
}
