//! What a seed makes: a market, reference data, decisions, commands, controls, and how the run is carried out.

use std::collections::{BTreeMap, BTreeSet};

use fillstream_domain::{
    Bps, ControlScope, Money, NumberError, Price, Quantity, Ratio, Rounding, SignedQuantity, TimestampMicros,
};
use fillstream_market::{
    CALENDAR_CRYPTO, CALENDAR_EQUITY, DEFAULT_START, SyntheticConfig, SyntheticInstrument, SyntheticMarket,
    default_instruments,
};
use fillstream_schemas::coordination::{Action, CoordinatedTradingDecision, ExecutionPreference, TradeDecision};
use fillstream_schemas::execution::{Command, CommandAction, Control, ControlState};
use fillstream_schemas::reference::{Account, Broker, Calendar, RiskLimit, WideLimit, WideScope};
use fillstream_testkit::Random;
use fillstream_venue::EngineConfig;

use crate::error::SimError;

const SECOND: i64 = 1_000_000;
/// Length of the market's session.
const SESSION_US: i64 = 90 * SECOND;
/// Broker sessions, each on the partition of its place.
pub(crate) const SESSIONS: [&str; 2] = ["interactive_brokers", "alpaca"];
/// Step of market time.
pub(crate) const GRID_US: i64 = 100_000;
const PORTFOLIOS: usize = 4;
/// The portfolio without limits, and the one with little cash.
const WITHOUT_LIMIT: usize = 3;
const SHORT_OF_CASH: usize = 2;
/// Name of the account in which blocks are executed.
const BLOCK_ACCOUNT: &str = "F";

/// Something that the outside publishes.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    Decision(Box<CoordinatedTradingDecision>),
    /// By a producer with another partitioner.
    Misrouted(Box<CoordinatedTradingDecision>, i32),
    Garbage(TimestampMicros, Vec<u8>),
    Command(Box<Command>),
    Control(Control),
}

/// Everything around the pipeline.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) partitions: i32,
    pub(crate) market: SyntheticConfig,
    pub(crate) engine: EngineConfig,
    pub(crate) accounts: Vec<Account>,
    pub(crate) limits: Vec<RiskLimit>,
    pub(crate) wide_limits: Vec<WideLimit>,
    pub(crate) brokers: Vec<Broker>,
    pub(crate) calendars: Vec<Calendar>,
    /// In groups that make sense only together: what shrinking takes away at once.
    pub(crate) said: Vec<Vec<Said>>,
}

impl World {
    /// The market from its first row.
    pub(crate) fn open_market(&self) -> Result<SyntheticMarket, SimError> {
        Ok(SyntheticMarket::new(self.market.clone())?)
    }

    /// When everything is over.
    pub(crate) fn ends_at(&self) -> TimestampMicros {
        after(DEFAULT_START, SESSION_US * 3)
    }

    /// The world of a seed, without the groups of decisions in `left_out`.
    pub(crate) fn new(seed: u64, left_out: &BTreeSet<usize>) -> Result<Self, SimError> {
        let mut random = Random::new(seed ^ 0x05ee_d0fa_c0de);
        let instruments: Vec<SyntheticInstrument> = default_instruments()
            .into_iter()
            .filter(|i| ["ACME", "BTCUSD"].contains(&i.instrument_id.as_str()))
            .collect();
        let market = SyntheticConfig {
            seed,
            start: DEFAULT_START,
            length_us: SESSION_US,
            quote_interval_us: 2 * SECOND,
            trade_interval_us: 4 * SECOND,
            instruments,
        };
        let mut engine = EngineConfig {
            seed,
            sessions: SESSIONS.iter().map(|s| (*s).to_owned()).collect(),
            grid_us: GRID_US,
            ..EngineConfig::default()
        };
        engine.misbehaviour.reject_share = hundredths(8)?;
        engine.misbehaviour.late_share = hundredths(15)?;
        engine.misbehaviour.repeat_share = hundredths(15)?;
        let partitions = 2 + i32::from(random.coin());
        // Of their own, so that orders with stops leave everything else of a seed as it is.
        let stops = Random::new(seed ^ 0x570b_571c_e5ee_d5ed);
        let mut maker = Maker { seed, partitions, market: &market, random, stops };
        let said = maker.said()?;
        let said = (0..).zip(said).filter(|(n, _)| !left_out.contains(n)).map(|(_, group)| group).collect();
        let wide_limits = if seed.is_multiple_of(3) { wide_limits()? } else { Vec::new() };
        let (accounts, limits, brokers) = (accounts(seed, &market)?, limits()?, brokers(&engine)?);
        Ok(Self { partitions, engine, accounts, limits, wide_limits, brokers, calendars: calendars(), said, market })
    }

    /// Number of groups of decisions before any are left out.
    pub(crate) fn groups(seed: u64) -> Result<usize, SimError> {
        Ok(Self::new(seed, &BTreeSet::new())?.said.len())
    }
}

struct Maker<'m> {
    seed: u64,
    partitions: i32,
    market: &'m SyntheticConfig,
    random: Random,
    stops: Random,
}

impl Maker<'_> {
    fn said(&mut self) -> Result<Vec<Vec<Said>>, NumberError> {
        let mut said = Vec::new();
        let mut earlier: Option<CoordinatedTradingDecision> = None;
        for n in 0..2 + self.random.below(4) {
            let mut group = Vec::new();
            let decision = match &earlier {
                Some(earlier) if self.chance(12) => self.again(earlier)?,
                _ => self.decision(n)?,
            };
            if self.chance(30) {
                group.push(Said::Command(Box::new(self.command("cancel", n, &decision, CommandAction::Cancel))));
            }
            if self.chance(15) {
                group.push(Said::Command(Box::new(self.command("suspend", n, &decision, CommandAction::Suspend))));
                group.push(Said::Command(Box::new(self.command("resume", n, &decision, CommandAction::Resume))));
            }
            if self.chance(15) {
                group.push(Said::Command(Box::new(self.replace(n, &decision))));
            }
            earlier = Some(decision.clone());
            let misrouted = self.chance(25);
            let partition = i32::try_from(self.random.below(3)).unwrap_or(0) % self.partitions;
            group.push(if misrouted {
                Said::Misrouted(Box::new(decision), partition)
            } else {
                Said::Decision(Box::new(decision))
            });
            said.push(group);
        }
        if self.chance(15) {
            let at = self.moment(25);
            said.push(vec![Said::Garbage(at, format!("no Avro {}", self.seed).into_bytes())]);
        }
        if self.chance(25) {
            said.push(self.kill());
        }
        Ok(said)
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.random.below(100) < percent
    }

    fn moment(&mut self, within_s: usize) -> TimestampMicros {
        let ms = i64::try_from(1 + self.random.below(within_s * 1_000)).unwrap_or(1);
        after(DEFAULT_START, 5 * SECOND + ms * 1_000)
    }

    fn decision(&mut self, n: usize) -> Result<CoordinatedTradingDecision, NumberError> {
        let at = self.moment(20);
        let portfolio = if self.chance(10) { WITHOUT_LIMIT } else { self.random.below(WITHOUT_LIMIT) };
        let of = self.random.below(self.market.instruments.len());
        let Some(instrument) = self.market.instruments.get(of).cloned() else { return Ok(Default::default()) };
        let buy = self.chance(60);
        let value = match self.random.below(10) {
            0..3 => 4_000,
            3..8 => 30_000 + 1_000 * self.random.below(40),
            8 => 150_000,
            _ => 900_000,
        };
        let value = Money::from_int(i64::try_from(value).unwrap_or(0))?;
        let quantity = value.buys_at(instrument.open_price, Rounding::Floor)?.floor_to_lot(instrument.lot_size)?;
        let priority = ["LOW", "NORMAL", "HIGH"].get(self.random.below(3)).copied().unwrap_or("NORMAL");
        let mut decision = CoordinatedTradingDecision {
            event_id: format!("sim-{}-{n}", self.seed),
            timestamp: at,
            portfolio_id: portfolio_id(portfolio),
            decision: TradeDecision {
                instrument_id: instrument.instrument_id.clone(),
                action: if buy { Action::Buy } else { Action::Sell },
                share_quantity: Some(SignedQuantity::from(quantity)),
                priority: priority.to_owned(),
                ..TradeDecision::default()
            },
            execution_strategy: self.preference(&instrument, buy)?,
            strategy_id: Some("strategy-1".to_owned()),
            decision_price: Some(instrument.open_price),
            decided_at: Some(at),
            ..CoordinatedTradingDecision::default()
        };
        if self.chance(6) {
            "NOSUCH".clone_into(&mut decision.decision.instrument_id);
        }
        if self.stops.below(6) == 0 {
            self.give_stop(&mut decision, &instrument, buy)?;
        }
        Ok(decision)
    }

    // Some basis points away: of some orders the market has passed the stop already, of some it never comes there.
    fn give_stop(
        &mut self,
        decision: &mut CoordinatedTradingDecision,
        instrument: &SyntheticInstrument,
        buy: bool,
    ) -> Result<(), NumberError> {
        let rounding = if buy { Rounding::Ceiling } else { Rounding::Floor };
        let away = |from: Price, bps: i64| {
            let bps = Bps::from_int(if buy { bps } else { -bps })?;
            from.shifted_by(bps, rounding)?.round_to_tick(instrument.tick_size, rounding)
        };
        let stop = away(instrument.open_price, i64::try_from(1 + self.stops.below(12)).unwrap_or(1))?;
        let wait = i64::try_from(15 + self.stops.below(45)).unwrap_or(15);
        let asked = &mut decision.execution_strategy;
        if asked.limit_price.is_some() {
            asked.limit_price = Some(away(stop, 50)?);
        }
        asked.order_type = if asked.limit_price.is_some() { "STOP_LIMIT" } else { "STOP" }.to_owned();
        asked.stop_price = Some(stop);
        asked.time_in_force = "GTD".to_owned();
        asked.expire_at = Some(after(decision.timestamp, wait * SECOND));
        Ok(())
    }

    fn preference(&mut self, instrument: &SyntheticInstrument, buy: bool) -> Result<ExecutionPreference, NumberError> {
        let algorithm = match self.random.below(16) {
            0..3 => "AUTO",
            3..6 => "TWAP",
            6..8 => "MARKET",
            8..10 => "LIMIT",
            10 => "VWAP",
            11 => "IMPLEMENTATION_SHORTFALL",
            12 => "ARRIVAL_PRICE",
            13 => "ICEBERG",
            14 => "SNIPER",
            _ => "POV",
        };
        let through = self.chance(8);
        let away: i64 = match algorithm {
            _ if through => 200,
            "LIMIT" => -2,
            _ => 50,
        };
        let rounding = if buy { Rounding::Floor } else { Rounding::Ceiling };
        let bps = Bps::from_int(if buy { away } else { -away })?;
        let limit = instrument.open_price.shifted_by(bps, rounding)?.round_to_tick(instrument.tick_size, rounding)?;
        let limited = through || algorithm == "LIMIT" || self.chance(25);
        let urgency = if self.chance(30) { "HIGH" } else { "MEDIUM" };
        Ok(ExecutionPreference {
            order_type: if limited { "LIMIT" } else { "MARKET" }.to_owned(),
            execution_algorithm: algorithm.to_owned(),
            time_horizon: Some(format!("PT{}S", 5 * (1 + self.random.below(5)))),
            urgency: urgency.to_owned(),
            limit_price: limited.then_some(limit),
            ..ExecutionPreference::default()
        })
    }

    // The same event again: identical, or with another content.
    fn again(&mut self, earlier: &CoordinatedTradingDecision) -> Result<CoordinatedTradingDecision, NumberError> {
        let mut again = earlier.clone();
        if self.chance(50) {
            again.timestamp = after(earlier.timestamp, 2 * SECOND);
            let quantity = again.decision.share_quantity.map(|q| q.checked_add(q)).transpose()?;
            again.decision.share_quantity = quantity;
        }
        Ok(again)
    }

    // Half as much again, or half of it: more than is filled, or less. A stop comes nearer, or goes away.
    fn replace(&mut self, n: usize, decision: &CoordinatedTradingDecision) -> Command {
        let ordered =
            decision.decision.share_quantity.and_then(|q| Quantity::try_from(q).ok()).unwrap_or(Quantity::ZERO);
        let factor: i128 = if self.chance(50) { 3 } else { 1 };
        let units = ordered.unscaled().saturating_mul(factor) / 2;
        let new_quantity = Quantity::from_unscaled(units).and_then(|q| q.floor_to_lot(Quantity::ONE)).ok();
        let mut instruments = self.market.instruments.iter();
        let tick = instruments.find(|i| i.instrument_id == decision.decision.instrument_id).map(|i| i.tick_size);
        let new_stop_price = decision.execution_strategy.stop_price.zip(tick).and_then(|(stop, tick)| {
            let bps = Bps::from_int(i64::try_from(self.stops.below(7)).unwrap_or(3) - 3).ok()?;
            stop.shifted_by(bps, Rounding::HalfEven).and_then(|stop| stop.round_to_tick(tick, Rounding::HalfEven)).ok()
        });
        Command { new_quantity, new_stop_price, ..self.command("replace", n, decision, CommandAction::Replace) }
    }

    fn command(
        &mut self,
        what: &str,
        n: usize,
        decision: &CoordinatedTradingDecision,
        action: CommandAction,
    ) -> Command {
        let delay = i64::try_from(1 + self.random.below(100)).unwrap_or(1) * GRID_US;
        Command {
            command_id: format!("{what}-{}-{n}", self.seed),
            timestamp: after(decision.timestamp, delay),
            portfolio_id: decision.portfolio_id.clone(),
            decision_event_id: Some(decision.event_id.clone()),
            action,
            actor: "operator".to_owned(),
            reason: "changed mind".to_owned(),
            ..Command::default()
        }
    }

    fn kill(&mut self) -> Vec<Said> {
        let at = self.moment(20);
        let (scope, id) = match self.random.below(3) {
            0 => (ControlScope::Firm, "*".to_owned()),
            1 => (ControlScope::Instrument, "ACME".to_owned()),
            _ => (ControlScope::Portfolio, portfolio_id(self.random.below(PORTFOLIOS))),
        };
        let kill = Control {
            scope,
            scope_id: id,
            state: ControlState::Killed,
            version: 1,
            actor: "ann".to_owned(),
            reason: "drill".to_owned(),
            set_at: at,
            ..Control::default()
        };
        let release = Control {
            state: ControlState::Running,
            version: 2,
            second_actor: Some("bob".to_owned()),
            set_at: after(at, 10 * SECOND),
            ..kill.clone()
        };
        vec![Said::Control(kill), Said::Control(release)]
    }
}

fn portfolio_id(n: usize) -> String {
    format!("P{:02}", n + 1)
}

// In half of the worlds the first portfolio has two accounts; in half of these they have their orders executed in a third one.
fn accounts(seed: u64, market: &SyntheticConfig) -> Result<Vec<Account>, NumberError> {
    let account = |n: usize, name: &str| -> Result<Account, NumberError> {
        let is_block = name == BLOCK_ACCOUNT;
        let mut positions = BTreeMap::new();
        for instrument in market.instruments.iter().filter(|_| !is_block) {
            let held = Money::from_int(100_000)?.buys_at(instrument.open_price, Rounding::Floor)?;
            let held = held.floor_to_lot(instrument.lot_size)?;
            positions.insert(instrument.instrument_id.clone(), SignedQuantity::from(held));
        }
        Ok(Account {
            account_id: format!("{}-{name}", portfolio_id(n)),
            portfolio_id: portfolio_id(n),
            currency: "USD".to_owned(),
            cash: Money::from_int(match n {
                _ if is_block => 0,
                SHORT_OF_CASH => 40_000,
                _ => 20_000_000,
            })?,
            positions,
            is_block,
            initial_margin: Ratio::from_unscaled(Ratio::ONE.unscaled() * 3 / 2)?,
            brokers: SESSIONS.iter().map(|s| (*s).to_owned()).collect(),
            is_active: true,
            version: 1,
            ..Account::default()
        })
    };
    let more: &[&str] = match seed % 4 {
        1 => &["B"],
        3 => &["B", BLOCK_ACCOUNT],
        _ => &[],
    };
    let of_each = (0..PORTFOLIOS).map(|n| account(n, "A"));
    of_each.chain(more.iter().map(|name| account(0, name))).collect()
}

fn limits() -> Result<Vec<RiskLimit>, NumberError> {
    let limit = |n: usize| -> Result<RiskLimit, NumberError> {
        Ok(RiskLimit {
            portfolio_id: portfolio_id(n),
            currency: "USD".to_owned(),
            max_order_quantity: Quantity::from_int(1_000_000)?,
            max_order_value: Money::from_int(400_000)?,
            max_position_value: Money::from_int(500_000)?,
            max_gross_value: Money::from_int(2_000_000)?,
            max_child_quantity: Quantity::from_int(1_000_000)?,
            max_child_value: Money::from_int(500_000)?,
            price_collar: Bps::from_int(100)?,
            max_quote_age_ms: 120_000,
            version: 1,
            ..RiskLimit::default()
        })
    };
    (0..PORTFOLIOS).filter(|n| *n != WITHOUT_LIMIT).map(limit).collect()
}

// Room for two portfolios with what they hold at first and small orders, not for three, nor for large ones.
fn wide_limits() -> Result<Vec<WideLimit>, NumberError> {
    let limit = |scope: WideScope, scope_id: &str, most| -> Result<WideLimit, NumberError> {
        Ok(WideLimit {
            limit_id: format!("{}-{scope_id}", scope.as_str()),
            scope,
            scope_id: scope_id.to_owned(),
            currency: "USD".to_owned(),
            max_gross_value: Money::from_int(most)?,
            version: 1,
        })
    };
    Ok(vec![limit(WideScope::Firm, "*", 500_000)?, limit(WideScope::Instrument, "ACME", 280_000)?])
}

fn brokers(engine: &EngineConfig) -> Result<Vec<Broker>, NumberError> {
    let venues: Vec<String> = engine.venues.iter().map(|v| v.venue_id.clone()).collect();
    let broker = |(id, min, quality): (&str, i64, i128)| -> Result<Broker, NumberError> {
        Ok(Broker {
            broker_id: id.to_owned(),
            session_id: id.to_owned(),
            venues: venues.clone(),
            min_commission: Money::from_int(min)?,
            quality: hundredths(quality)?,
            cl_ord_id_unique: true,
            version: 1,
            ..Broker::default()
        })
    };
    let [first, second] = SESSIONS;
    [(first, 1, 92), (second, 0, 85)].into_iter().map(broker).collect()
}

fn calendars() -> Vec<Calendar> {
    const HOUR: i64 = 3_600 * SECOND;
    let calendar = |id: &str, opens_at_us, closes_at_us, open_weekends| Calendar {
        calendar_id: id.to_owned(),
        opens_at_us,
        closes_at_us,
        open_weekends,
        holidays: Vec::new(),
        version: 1,
        ..Calendar::default()
    };
    vec![
        calendar(CALENDAR_EQUITY, 14 * HOUR + HOUR / 2, 21 * HOUR, false),
        calendar(CALENDAR_CRYPTO, 0, 24 * HOUR, true),
    ]
}

fn hundredths(n: i128) -> Result<Ratio, NumberError> {
    Ratio::from_unscaled(n * Ratio::ONE.unscaled() / 100)
}

pub(crate) fn after(at: TimestampMicros, us: i64) -> TimestampMicros {
    TimestampMicros::from_micros(at.micros().saturating_add(us))
}
