//! The demo's upstream: reference data and decisions, a pure function of the seed, the market and the count.
//!
//! Decisions come in rounds, as a coordination workflow publishes them. Most are ordinary; a documented share exercises
//! what a desk meets: limits of a portfolio and over all, restricted instruments, short cash, no limit record, invalid input, repeats; cancels, suspensions
//! and replaces; several accounts; every algorithm.

use std::collections::BTreeMap;

use fillstream_domain::{Money, NumberError, Price, Quantity, Rounding, SignedQuantity, TimestampMicros};
use fillstream_market::{MarketError, MarketSource, Prng, Session};
use fillstream_schemas::coordination::{Action, CoordinatedTradingDecision, ExecutionPreference, TradeDecision};
use fillstream_schemas::execution::{Command, CommandAction};
use fillstream_schemas::market::MarketDataKind;
use fillstream_schemas::reference::{Account, Instrument, RiskLimit, WideLimit, WideScope};

use super::SESSIONS;

/// What upstream publishes.
#[derive(Clone, Debug, PartialEq)]
pub enum Upstream {
    /// A decision.
    Decision(Box<CoordinatedTradingDecision>),
    /// A command on an order.
    Command(Box<Command>),
}

impl Upstream {
    /// When it is published.
    #[must_use]
    pub fn at(&self) -> TimestampMicros {
        match self {
            Self::Decision(d) => d.timestamp,
            Self::Command(c) => c.timestamp,
        }
    }
}

/// Size of a scenario.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Seed.
    pub seed: u64,
    /// Decisions, repeats included.
    pub decisions: usize,
    /// Portfolios.
    pub portfolios: usize,
}

/// Everything upstream of the pipeline.
#[derive(Debug)]
pub struct Scenario {
    /// Accounts, one a portfolio or three.
    pub accounts: Vec<Account>,
    /// Limits; the last portfolio has none.
    pub limits: Vec<RiskLimit>,
    /// One over all portfolios together, where the market has an instrument for it.
    pub wide_limits: Vec<WideLimit>,
    /// Decisions and commands in order of time.
    pub upstream: Vec<Upstream>,
    /// When the last order can still be working.
    pub ends_at: TimestampMicros,
}

const SECOND: i64 = 1_000_000;
/// The portfolio whose first decision uses more than 90 % of its position limit.
const NEAR_LIMIT: usize = 2;
/// The portfolio with little cash.
const SHORT_OF_CASH: usize = 5;
/// The portfolio that may send small children only: risk refuses others one by one.
const SMALL_CHILDREN: usize = 4;
/// Name of the account in which blocks are executed.
const BLOCK_ACCOUNT: &str = "F";
/// How far from the market the stop of an order is, basis points.
const STOP_BPS: i64 = 6;
/// Largest order and position of a portfolio, in its currency.
const MAX_ORDER_VALUE: i64 = 400_000;
const MAX_POSITION_VALUE: i64 = 2_000_000;
/// What most portfolios hold of each instrument at first, in their currency: some sell more than that.
const HELD_VALUE: i64 = 200_000;

/// What all portfolios together may hold of one instrument, and the value of an order that makes them meet there: with what
/// they hold at first, one such order leaves no room for a second.
const MAX_WIDE_VALUE: i64 = 900_000;
/// More than all portfolios together can have.
const AMPLE_WIDE_VALUE: i64 = 1_000_000_000_000;
const WIDE_ORDER_VALUE: i64 = 300_000;

/// Mid prices a second, of every instrument at its reference venue.
struct Prices(BTreeMap<String, Vec<(i64, Price)>>);

impl Prices {
    fn read(mut source: Box<dyn MarketSource + Send>) -> Result<Self, MarketError> {
        let venues: BTreeMap<String, String> =
            source.instruments().iter().map(|i| (i.instrument_id.clone(), i.reference_venue.clone())).collect();
        let mut prices: BTreeMap<String, Vec<(i64, Price)>> = BTreeMap::new();
        while let Some(row) = source.next_row()? {
            let (MarketDataKind::Quote, Some(bid), Some(ask)) = (row.kind, row.bid, row.ask) else { continue };
            if venues.get(&row.instrument_id) != Some(&row.venue) || bid >= ask {
                continue;
            }
            let series = prices.entry(row.instrument_id).or_default();
            let second = row.event_time.micros() / SECOND;
            if series.last().is_none_or(|(s, _)| *s < second) {
                series.push((second, if row.seq % 2 == 0 { bid } else { ask }));
            }
        }
        Ok(Self(prices))
    }

    fn at(&self, instrument: &str, t: TimestampMicros) -> Option<Price> {
        let series = self.0.get(instrument)?;
        let i = series.partition_point(|(s, _)| *s <= t.micros() / SECOND);
        series.get(i.saturating_sub(1)).map(|(_, p)| *p)
    }
}

impl Scenario {
    /// Makes the scenario of a market. `source` is read to its end, for prices.
    ///
    /// # Errors
    /// The source is damaged, or a price is out of range.
    pub fn new(source: Box<dyn MarketSource + Send>, size: Size) -> anyhow::Result<Self> {
        let session = source.session();
        let instruments: Vec<Instrument> = source.instruments().to_vec();
        let prices = Prices::read(source)?;
        let currency = instruments.first().map_or_else(|| "USD".to_owned(), |i| i.quote_currency.clone());
        let maker = Maker { size, session, instruments, prices, currency };
        let (accounts, limits, wide_limits) = (maker.accounts()?, maker.limits()?, maker.wide_limits()?);
        let upstream = maker.upstream()?;
        let last = upstream.iter().map(Upstream::at).max().unwrap_or(session.start);
        let ends = last.micros().saturating_add(maker.longest_horizon_s().saturating_add(120).saturating_mul(SECOND));
        let ends_at = TimestampMicros::from_micros(ends.min(session.end.micros()));
        Ok(Self { accounts, limits, wide_limits, upstream, ends_at })
    }
}

struct Maker {
    size: Size,
    session: Session,
    instruments: Vec<Instrument>,
    prices: Prices,
    currency: String,
}

/// What a decision is there to show.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Ordinary,
    TooLarge,
    Restricted,
    NoLimit,
    ShortOfCash,
    Invalid,
    ThroughCollar,
    Repeat,
    Conflict,
    /// Increases what a limit over several portfolios has no room for, if another such decision was there before.
    Headroom,
}

impl Maker {
    fn portfolio(n: usize) -> String {
        format!("P{:02}", n + 1)
    }

    fn restricted(&self) -> Option<&Instrument> {
        self.instruments.get(1)
    }

    /// The instrument with a limit over all portfolios.
    fn shared(&self) -> Option<&Instrument> {
        self.instruments.get(3)
    }

    fn duration_s(&self) -> i64 {
        self.session.end.micros().saturating_sub(self.session.start.micros()) / SECOND
    }

    fn longest_horizon_s(&self) -> i64 {
        (self.duration_s() / 4).clamp(20, 300)
    }

    fn round_s(&self) -> i64 {
        if self.duration_s() > 1_800 { 20 } else { 10 }
    }

    // Most portfolios have one account; some have three, which share their orders; of some of these they are executed as blocks.
    fn accounts(&self) -> Result<Vec<Account>, NumberError> {
        let mut accounts = Vec::new();
        for n in 0..self.size.portfolios {
            let names: &[&str] = if has_several_accounts(n) { &["A", "B", "C"] } else { &["A"] };
            let share = i64::try_from(names.len()).unwrap_or(1);
            let block: &[&str] = if has_blocks(n) { &[BLOCK_ACCOUNT] } else { &[] };
            for name in names.iter().chain(block) {
                let is_block = *name == BLOCK_ACCOUNT;
                let cash = if n == SHORT_OF_CASH { 15_000 } else { 20_000_000 / share };
                accounts.push(Account {
                    account_id: format!("{}-{name}", Self::portfolio(n)),
                    portfolio_id: Self::portfolio(n),
                    currency: self.currency.clone(),
                    cash: Money::from_int(if is_block { 0 } else { cash })?,
                    positions: if n == NEAR_LIMIT || is_block {
                        BTreeMap::new()
                    } else {
                        self.positions(HELD_VALUE / share)?
                    },
                    is_block,
                    initial_margin: "1.5".parse()?,
                    brokers: brokers_of(n).iter().map(|b| (*b).to_owned()).collect(),
                    is_active: true,
                    version: 1,
                    ..Account::default()
                });
            }
        }
        Ok(accounts)
    }

    // So much of each instrument, in whole lots.
    fn positions(&self, value: i64) -> Result<BTreeMap<String, SignedQuantity>, NumberError> {
        let mut positions = BTreeMap::new();
        for instrument in &self.instruments {
            let Some(price) = self.prices.at(&instrument.instrument_id, self.session.start) else { continue };
            let quantity =
                Money::from_int(value)?.buys_at(price, Rounding::Floor)?.floor_to_lot(instrument.lot_size)?;
            positions.insert(instrument.instrument_id.clone(), SignedQuantity::from(quantity));
        }
        Ok(positions)
    }

    fn limits(&self) -> Result<Vec<RiskLimit>, NumberError> {
        (0..self.size.portfolios.saturating_sub(1))
            .map(|n| {
                Ok(RiskLimit {
                    portfolio_id: Self::portfolio(n),
                    currency: self.currency.clone(),
                    max_order_quantity: Quantity::from_int(5_000_000)?,
                    max_order_value: Money::from_int(if n == NEAR_LIMIT {
                        MAX_POSITION_VALUE
                    } else {
                        MAX_ORDER_VALUE
                    })?,
                    max_position_value: Money::from_int(MAX_POSITION_VALUE)?,
                    max_gross_value: Money::from_int(MAX_POSITION_VALUE.saturating_mul(5))?,
                    max_child_quantity: Quantity::from_int(5_000_000)?,
                    max_child_value: Money::from_int(if n == SMALL_CHILDREN { 2_000 } else { MAX_POSITION_VALUE })?,
                    price_collar: fillstream_domain::Bps::from_int(100)?,
                    restricted: if is_restricted(n) {
                        self.restricted().map(|i| i.instrument_id.clone()).into_iter().collect()
                    } else {
                        Vec::new()
                    },
                    allow_short: false,
                    max_quote_age_ms: 120_000,
                    version: 1,
                    ..RiskLimit::default()
                })
            })
            .collect()
    }

    fn wide_limits(&self) -> Result<Vec<WideLimit>, NumberError> {
        let limit = |(instrument, most): (&Instrument, i64)| {
            Ok(WideLimit {
                limit_id: format!("all-{}", instrument.instrument_id),
                scope: WideScope::Instrument,
                scope_id: instrument.instrument_id.clone(),
                currency: self.currency.clone(),
                max_gross_value: Money::from_int(most)?,
                version: 1,
            })
        };
        let scarce = self.shared().map(|instrument| (instrument, MAX_WIDE_VALUE));
        // A market of few instruments has none to spare for it: there it is leased from and never reached.
        let one = scarce.or_else(|| self.instruments.last().map(|instrument| (instrument, AMPLE_WIDE_VALUE)));
        one.map(limit).into_iter().collect()
    }

    fn upstream(&self) -> anyhow::Result<Vec<Upstream>> {
        let mut rng = Prng::new(self.size.seed, "scenario");
        let last_start_s = self.duration_s().saturating_sub(self.longest_horizon_s().saturating_add(30)).max(20);
        let wanted = i64::try_from(self.size.decisions)?;
        let rounds = (last_start_s.min(1_200) / self.round_s()).clamp(1, wanted.max(1));
        let mut out: Vec<Upstream> = Vec::new();
        let mut made: Vec<CoordinatedTradingDecision> = Vec::new();
        for n in 0..self.size.decisions {
            let round = i64::try_from(n)?.saturating_mul(rounds) / wanted.max(1);
            let offset = round.saturating_add(1).saturating_mul(self.round_s()).saturating_mul(SECOND);
            let at = TimestampMicros::from_micros(self.session.start.micros().saturating_add(offset));
            let decision = self.decision(n, at, &made, &mut rng)?;
            let purpose = self.purpose(n);
            if matches!(purpose, Purpose::Ordinary | Purpose::Headroom) {
                let commands = self.commands(n, &decision, &mut rng)?;
                // What must wait for headroom is left alone.
                let commands = if purpose == Purpose::Ordinary { commands } else { Vec::new() };
                out.extend(commands.into_iter().map(|command| Upstream::Command(Box::new(command))));
            }
            made.push(decision.clone());
            out.push(Upstream::Decision(Box::new(decision)));
        }
        out.sort_by_key(Upstream::at);
        Ok(out)
    }

    // Fixed by the number of the decision, so that every seed shows every case.
    fn purpose(&self, n: usize) -> Purpose {
        match n % 50 {
            7 | 23 | 41 => Purpose::TooLarge,
            11 | 33 => Purpose::Restricted,
            17 => Purpose::NoLimit,
            5 | 29 => Purpose::ShortOfCash,
            13 | 37 => Purpose::Invalid,
            3 => Purpose::ThroughCollar,
            19 => Purpose::Repeat,
            43 => Purpose::Conflict,
            6 | 8 if self.shared().is_some() => Purpose::Headroom,
            _ => Purpose::Ordinary,
        }
    }

    fn decision(
        &self,
        n: usize,
        at: TimestampMicros,
        made: &[CoordinatedTradingDecision],
        rng: &mut Prng,
    ) -> anyhow::Result<CoordinatedTradingDecision> {
        let purpose = self.purpose(n);
        if let (Purpose::Repeat | Purpose::Conflict, Some(earlier)) = (purpose, made.get(n.saturating_sub(9))) {
            let mut again = earlier.clone();
            if purpose == Purpose::Conflict {
                let doubled = again.decision.share_quantity.map(|q| q.checked_add(q)).transpose()?;
                again.decision.share_quantity = doubled;
                again.timestamp = at;
            }
            return Ok(again);
        }
        let portfolio = match purpose {
            Purpose::NoLimit => self.size.portfolios.saturating_sub(1),
            Purpose::ShortOfCash => SHORT_OF_CASH,
            Purpose::Restricted => 3 * (n % (self.size.portfolios / 3).max(1)),
            // The first decisions go round all portfolios with a limit.
            _ if n < self.size.portfolios.saturating_sub(1) => n,
            // Later ones leave the portfolio without cash alone.
            _ => match pick(rng, self.size.portfolios.saturating_sub(1)) {
                SHORT_OF_CASH => NEAR_LIMIT + 1,
                n => n,
            },
        };
        let near_limit = n == NEAR_LIMIT;
        let instrument = match purpose {
            Purpose::Restricted => self.restricted(),
            _ if near_limit => self.instruments.first(),
            // Only a decision made for it asks for a restricted instrument.
            _ => match pick(rng, self.instruments.len()) {
                1 if is_restricted(portfolio) => self.instruments.first(),
                n => self.instruments.get(n),
            },
        };
        let instrument = if purpose == Purpose::Headroom { self.shared() } else { instrument };
        let instrument = instrument.ok_or_else(|| anyhow::anyhow!("the market has no instruments"))?;
        let price = self
            .prices
            .at(&instrument.instrument_id, at)
            .ok_or_else(|| anyhow::anyhow!("{} has no quote", instrument.instrument_id))?;
        let value = match purpose {
            Purpose::TooLarge => MAX_ORDER_VALUE * 2,
            Purpose::ShortOfCash => 60_000,
            _ if near_limit => MAX_POSITION_VALUE / 100 * 94,
            _ => match rng.below(10) {
                0..3 => 3_000 + i64::try_from(rng.below(6_000))?,
                3..7 => 12_000 + i64::try_from(rng.below(30_000))?,
                _ => 60_000 + i64::try_from(rng.below(200_000))?,
            },
        };
        let value = if purpose == Purpose::Headroom { WIDE_ORDER_VALUE } else { value };
        let quantity = Money::from_int(value)?.buys_at(price, Rounding::Floor)?.floor_to_lot(instrument.lot_size)?;
        let buy = near_limit || purpose == Purpose::ShortOfCash || rng.below(100) < 60 || purpose == Purpose::Headroom;
        let mut decision = CoordinatedTradingDecision {
            event_id: format!("demo-{}-{n:06}", self.size.seed),
            timestamp: at,
            portfolio_id: Self::portfolio(portfolio),
            decision: TradeDecision {
                instrument_id: instrument.instrument_id.clone(),
                action: if buy { Action::Buy } else { Action::Sell },
                share_quantity: Some(SignedQuantity::from(quantity)),
                priority: (["LOW", "NORMAL", "HIGH"][..]).get(pick(rng, 3)).copied().unwrap_or("NORMAL").to_owned(),
                ..TradeDecision::default()
            },
            execution_strategy: self.preference(instrument, price, buy, near_limit, rng)?,
            strategy_id: Some(format!("strategy-{}", 1 + rng.below(4))),
            trader_id: Some(format!("trader-{}", 1 + rng.below(3))),
            decision_price: Some(price),
            decided_at: Some(at),
            preferred_brokers: preferred_brokers(portfolio, rng),
            ..CoordinatedTradingDecision::default()
        };
        if purpose == Purpose::Ordinary && n % 20 == 6 {
            self.give_stop(&mut decision, instrument, price, buy)?;
        }
        // One in four may be offered to dark pools.
        decision.execution_strategy.dark_pool_preference = n % 4 == 2;
        match purpose {
            Purpose::Invalid => spoil(&mut decision, n),
            Purpose::ThroughCollar => go_through_collar(&mut decision.execution_strategy, instrument, price, buy)?,
            Purpose::Ordinary
            | Purpose::TooLarge
            | Purpose::Restricted
            | Purpose::NoLimit
            | Purpose::ShortOfCash
            | Purpose::Repeat
            | Purpose::Conflict
            | Purpose::Headroom => {}
        }
        Ok(decision)
    }

    fn preference(
        &self,
        instrument: &Instrument,
        price: Price,
        buy: bool,
        near_limit: bool,
        rng: &mut Prng,
    ) -> Result<ExecutionPreference, NumberError> {
        let algorithm = match rng.below(20) {
            _ if near_limit => "TWAP",
            0..8 => "AUTO",
            8..10 => "TWAP",
            10..12 => "MARKET",
            12..14 => "LIMIT",
            14 => "VWAP",
            15 => "IMPLEMENTATION_SHORTFALL",
            16 => "ARRIVAL_PRICE",
            17 => "ICEBERG",
            18 => "SNIPER",
            _ => "POV",
        };
        let urgency = match rng.below(10) {
            0..3 => "LOW",
            3..6 => "MEDIUM",
            6..9 => "HIGH",
            _ => "CRITICAL",
        };
        // A resting limit some basis points inside the market; others may pay up to half a percent.
        let away: i64 = if algorithm == "LIMIT" { -2 } else { 50 };
        let bps = fillstream_domain::Bps::from_int(if buy { away } else { -away })?;
        let rounding = if buy { Rounding::Floor } else { Rounding::Ceiling };
        let limit = price.shifted_by(bps, rounding)?.round_to_tick(instrument.tick_size, rounding)?;
        let limited = algorithm == "LIMIT" || rng.below(4) == 0;
        let horizon = self.longest_horizon_s();
        let horizon = horizon / 4 + i64::try_from(rng.below(i128::from(horizon))).unwrap_or(0) * 3 / 4;
        Ok(ExecutionPreference {
            order_type: if limited { "LIMIT" } else { "MARKET" }.to_owned(),
            execution_algorithm: algorithm.to_owned(),
            time_horizon: Some(format!("PT{}S", (horizon / 20).max(1) * 20)),
            urgency: urgency.to_owned(),
            limit_price: limited.then_some(limit),
            ..ExecutionPreference::default()
        })
    }

    // Waits for a trade some basis points away, no longer than other orders are worked.
    fn give_stop(
        &self,
        decision: &mut CoordinatedTradingDecision,
        instrument: &Instrument,
        price: Price,
        buy: bool,
    ) -> Result<(), NumberError> {
        let rounding = if buy { Rounding::Ceiling } else { Rounding::Floor };
        let away = |from: Price, bps: i64| {
            let bps = fillstream_domain::Bps::from_int(if buy { bps } else { -bps })?;
            from.shifted_by(bps, rounding)?.round_to_tick(instrument.tick_size, rounding)
        };
        let (stop, asked) = (away(price, STOP_BPS)?, &mut decision.execution_strategy);
        if asked.limit_price.is_some() {
            asked.limit_price = Some(away(stop, 50)?);
        }
        asked.order_type = if asked.limit_price.is_some() { "STOP_LIMIT" } else { "STOP" }.to_owned();
        asked.stop_price = Some(stop);
        asked.time_in_force = "GTD".to_owned();
        let wait = self.longest_horizon_s().saturating_mul(SECOND);
        asked.expire_at = Some(TimestampMicros::from_micros(decision.timestamp.micros().saturating_add(wait)));
        Ok(())
    }

    // Some orders are cancelled, some are suspended for a while, of some half is taken back.
    fn commands(
        &self,
        n: usize,
        decision: &CoordinatedTradingDecision,
        rng: &mut Prng,
    ) -> Result<Vec<Command>, NumberError> {
        let delay = 1 + i64::try_from(rng.below(20)).unwrap_or(0);
        let command = |action: CommandAction, after_s: i64, reason: &str| Command {
            command_id: format!("{}-{}-{n:06}", action.as_str().to_lowercase(), self.size.seed),
            timestamp: TimestampMicros::from_micros(decision.timestamp.micros().saturating_add(after_s * SECOND)),
            portfolio_id: decision.portfolio_id.clone(),
            decision_event_id: Some(decision.event_id.clone()),
            action,
            actor: "demo-operator".to_owned(),
            reason: reason.to_owned(),
            ..Command::default()
        };
        Ok(match rng.below(100) {
            0..6 => vec![command(CommandAction::Cancel, delay, "changed mind")],
            6..10 => vec![
                command(CommandAction::Suspend, delay, "news"),
                command(CommandAction::Resume, delay + 15, "digested"),
            ],
            10..15 => {
                let instrument = self.instruments.iter().find(|i| i.instrument_id == decision.decision.instrument_id);
                let (Some(quantity), Some(instrument)) = (decision.decision.share_quantity, instrument) else {
                    return Ok(Vec::new());
                };
                let half = Quantity::from_unscaled(quantity.magnitude().unscaled() / 2)?;
                let half = half.floor_to_lot(instrument.lot_size)?;
                vec![Command {
                    new_quantity: half.is_positive().then_some(half),
                    ..command(CommandAction::Replace, delay, "half of it will do")
                }]
            }
            _ => Vec::new(),
        })
    }
}

fn spoil(decision: &mut CoordinatedTradingDecision, n: usize) {
    match n / 2 % 4 {
        0 => decision.decision.instrument_id = "NOSUCH".to_owned(),
        1 => decision.decision.share_quantity = decision.decision.share_quantity.map(|q| -q),
        2 => {
            decision.execution_strategy.order_type = "LIMIT".to_owned();
            decision.execution_strategy.limit_price = None;
        }
        _ => decision.execution_strategy.time_horizon = Some("soon".to_owned()),
    }
}

/// Twice as far through the market as the collar allows: risk approves the parent and refuses its children.
fn go_through_collar(
    preference: &mut ExecutionPreference,
    instrument: &Instrument,
    price: Price,
    buy: bool,
) -> Result<(), NumberError> {
    let away = fillstream_domain::Bps::from_int(if buy { 200 } else { -200 })?;
    let limit = price.shifted_by(away, Rounding::HalfEven)?.round_to_tick(instrument.tick_size, Rounding::HalfEven)?;
    "LIMIT".clone_into(&mut preference.order_type);
    preference.limit_price = Some(limit);
    Ok(())
}

/// Where the portfolio's accounts are held: at all brokers, at those that take a commission and one that does not, or at
/// those that do not.
fn brokers_of(portfolio: usize) -> &'static [&'static str] {
    match portfolio % 3 {
        0 => &SESSIONS,
        1 => &["interactive_brokers", "thinkorswim", "etrade"],
        _ => &["alpaca", "schwab", "fidelity"],
    }
}

/// One decision in three prefers one of the portfolio's brokers.
fn preferred_brokers(portfolio: usize, rng: &mut Prng) -> Vec<String> {
    if rng.below(3) > 0 {
        return Vec::new();
    }
    let held = brokers_of(portfolio);
    held.get(pick(rng, held.len())).map(|broker| (*broker).to_owned()).into_iter().collect()
}

/// Whether the portfolio's orders are shared by three accounts.
fn has_several_accounts(portfolio: usize) -> bool {
    portfolio % 5 == 1
}

/// Whether they are executed in one account for the three, and shared out afterwards.
fn has_blocks(portfolio: usize) -> bool {
    portfolio % 10 == 6
}

/// Whether the portfolio must not trade the restricted instrument.
fn is_restricted(portfolio: usize) -> bool {
    portfolio.is_multiple_of(3)
}

fn pick(rng: &mut Prng, n: usize) -> usize {
    usize::try_from(rng.below(i128::try_from(n.max(1)).unwrap_or(1))).unwrap_or(0)
}
