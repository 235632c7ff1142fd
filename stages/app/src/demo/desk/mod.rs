//! What a desk asks after a run: who traded what for which account, where and by whom, what was refused and why.
//!
//! It is collected record by record and joined at the end only, so that it does not matter which topic is read first.

mod table;
mod tables;

use std::collections::{BTreeMap, BTreeSet};

use fillstream_domain::{Currency, LiquidityFlag, Money, NumberError, Rounding, TimestampMicros};
use fillstream_schemas::execution::{
    AccountAllocation, ChildAction, ChildOrder, ExecutionReport, OrderEvent, OrderEventType, RiskAlert, RiskAlertType,
    RoutingPlan, ValidatedOrder,
};
use fillstream_schemas::types::ExecType;
pub use table::Table;

/// Sums of money by currency.
#[derive(Clone, Debug, Default)]
struct Amounts(BTreeMap<String, Money>);

impl Amounts {
    fn add(&mut self, currency: &str, amount: Money) -> Result<(), NumberError> {
        let sum = self.0.entry(currency.to_owned()).or_insert(Money::ZERO);
        *sum = sum.checked_add(amount)?;
        Ok(())
    }

    /// In words, each to its smallest coin.
    fn text(&self) -> String {
        let one = |(currency, amount): (&String, &Money)| {
            let rounded = currency.parse::<Currency>().and_then(|code| amount.to_minor_unit(code));
            format!("{} {currency}", rounded.unwrap_or(*amount))
        };
        if self.0.is_empty() { "0".to_owned() } else { self.0.iter().map(one).collect::<Vec<_>>().join(" + ") }
    }
}

/// Child orders and fills of a venue, a broker or an account.
#[derive(Clone, Debug, Default)]
struct Tally {
    children: u64,
    rejected: u64,
    fills: u64,
    maker: u64,
    traded: Amounts,
    fees: Amounts,
}

/// A parent order.
#[derive(Debug, Default)]
struct Order {
    portfolio: String,
    strategy: Option<String>,
    accepted_at: Option<TimestampMicros>,
    end: Option<End>,
}

#[derive(Debug)]
struct End {
    at: TimestampMicros,
    kind: OrderEventType,
    code: String,
}

/// What routing expected of a broker, in the reporting currency.
#[derive(Debug, Default)]
struct Expected {
    plans: u64,
    commission: Amounts,
    cost: Amounts,
    saved: Amounts,
    next_best: BTreeMap<String, u64>,
}

/// A rerouted quantity: from where, why, to where.
type Path = (String, String, String);

/// The figures so far.
#[derive(Debug, Default)]
pub struct Desk {
    orders: BTreeMap<String, Order>,
    /// Orders that risk refused.
    refused_by_risk: BTreeSet<String>,
    /// Child orders refused, by who refused and why.
    child_refusals: BTreeMap<(&'static str, String), u64>,
    /// Cancels sent, by order.
    cancels: BTreeMap<String, BTreeSet<String>>,
    /// Shares in orders, by portfolio and account.
    shares: BTreeMap<(String, String), u64>,
    accounts: BTreeMap<(String, String), Tally>,
    venues: BTreeMap<String, Tally>,
    brokers: BTreeMap<String, Tally>,
    expected: BTreeMap<String, Expected>,
    paths: BTreeMap<Path, u64>,
    /// The first plan with a reroute to another place, by time and id, in words.
    first_reroute: Option<((TimestampMicros, String), String)>,
}

impl Desk {
    /// An event of a parent order.
    pub fn order(&mut self, e: &OrderEvent) {
        let order = self.orders.entry(e.order_id.clone()).or_default();
        order.portfolio.clone_from(&e.portfolio_id);
        if e.event_type == OrderEventType::Created {
            order.accepted_at = Some(e.timestamp);
            order.strategy = e.terms.as_ref().and_then(|terms| terms.strategy_id.clone());
        }
        if e.is_terminal {
            let code = e.reason_code.clone().unwrap_or_default();
            order.end = Some(End { at: e.timestamp, kind: e.event_type, code });
        }
    }

    /// A verdict of parent risk.
    pub fn verdict(&mut self, v: &ValidatedOrder) {
        if !v.is_approved {
            self.refused_by_risk.insert(v.order_id.clone());
        }
    }

    /// An alert.
    pub fn alert(&mut self, alert: &RiskAlert) {
        if alert.alert_type == RiskAlertType::ChildRejected {
            *self.child_refusals.entry(("child risk", alert.code.clone())).or_default() += 1;
        }
    }

    /// A share of an account.
    pub fn allocation(&mut self, a: &AccountAllocation) {
        if let Some(account) = &a.account_id {
            *self.shares.entry((a.portfolio_id.clone(), account.clone())).or_default() += 1;
        }
    }

    /// A child order, or the cancel of one.
    pub fn child(&mut self, c: &ChildOrder) {
        match c.action {
            ChildAction::New => {
                let account = (c.portfolio_id.clone(), c.account_id.clone());
                self.tallies(account, &c.venue, &c.broker).for_each(|tally| tally.children += 1);
            }
            ChildAction::Cancel => {
                let of = c.orig_cl_ord_id.clone().unwrap_or_else(|| c.cl_ord_id.clone());
                self.cancels.entry(c.order_id.clone()).or_default().insert(of);
            }
            ChildAction::Replace => {}
        }
    }

    /// An execution report that was not seen before.
    ///
    /// # Errors
    /// A sum is out of range.
    pub fn report(&mut self, r: &ExecutionReport) -> Result<(), NumberError> {
        let account = (r.portfolio_id.clone(), r.account_id.clone());
        if r.exec_type == ExecType::Rejected {
            let who = if r.synthetic { "broker gateway" } else { "venue" };
            *self.child_refusals.entry((who, r.reject_code.clone().unwrap_or_default())).or_default() += 1;
            self.tallies(account, &r.venue, &r.broker).for_each(|tally| tally.rejected += 1);
            return Ok(());
        }
        let (ExecType::Trade, Some(price), Some(quantity)) = (r.exec_type, r.last_px, r.last_qty) else {
            return Ok(());
        };
        let value = price.notional_rounded(quantity, Rounding::HalfEven)?;
        let currency = r.fee_currency.as_deref().unwrap_or("?");
        self.tallies(account, &r.venue, &r.broker).try_for_each(|tally| {
            tally.fills += 1;
            tally.maker += u64::from(r.liquidity == LiquidityFlag::Maker);
            tally.fees.add(currency, r.fee.unwrap_or(Money::ZERO))?;
            tally.traded.add(currency, value)
        })
    }

    /// A routing plan.
    ///
    /// # Errors
    /// A sum is out of range.
    pub fn plan(&mut self, plan: &RoutingPlan) -> Result<(), NumberError> {
        self.broker_choice(plan)?;
        let legs = plan.venue_allocations.iter().map(|leg| format!("{}/{}", leg.broker, leg.venue));
        let to = match legs.collect::<Vec<_>>() {
            legs if legs.is_empty() => format!("nowhere: {}", plan.unrouted_code.as_deref().unwrap_or("-")),
            legs => legs.join(" + "),
        };
        for back in &plan.reroutes {
            let from = format!("{}/{}", back.broker, back.venue);
            let key = (plan.timestamp, plan.event_id.clone());
            if from != to && self.first_reroute.as_ref().is_none_or(|(first, _)| key < *first) {
                let words = format!(
                    "order {}, slice {}: {} of {} came back from {from} ({}), attempt {}: to {to}",
                    plan.order_id, plan.slice_no, back.quantity, plan.instrument_id, back.code, plan.attempt
                );
                self.first_reroute = Some((key, words));
            }
            *self.paths.entry((from, back.code.clone(), to.clone())).or_default() += 1;
        }
        Ok(())
    }

    // The broker of the first leg is the one that was chosen; what the choice saves is told against the best other one.
    fn broker_choice(&mut self, plan: &RoutingPlan) -> Result<(), NumberError> {
        let Some(first) = plan.venue_allocations.first() else { return Ok(()) };
        let Some(chosen) = plan.broker_choices.iter().find(|c| c.broker == first.broker) else { return Ok(()) };
        let other = plan.broker_choices.iter().find(|c| c.eligible && c.broker != chosen.broker);
        let currency = plan.reporting_currency.as_deref().unwrap_or("?");
        let expected = self.expected.entry(chosen.broker.clone()).or_default();
        expected.plans += 1;
        expected.commission.add(currency, chosen.commission)?;
        expected.cost.add(currency, chosen.total_cost)?;
        if let Some(other) = other {
            expected.saved.add(currency, other.total_cost.checked_sub(chosen.total_cost)?)?;
            *expected.next_best.entry(other.broker.clone()).or_default() += 1;
        }
        Ok(())
    }

    fn tallies(&mut self, account: (String, String), venue: &str, broker: &str) -> impl Iterator<Item = &mut Tally> {
        [
            self.accounts.entry(account).or_default(),
            self.venues.entry(venue.to_owned()).or_default(),
            self.brokers.entry(broker.to_owned()).or_default(),
        ]
        .into_iter()
    }
}
