//! The tables.

use std::collections::{BTreeMap, BTreeSet};

use fillstream_domain::TimestampMicros;
use fillstream_reference::phase;
use fillstream_schemas::execution::{Control, ControlPhase, OrderEventType};
use serde_json::Value;

use super::{Desk, End, Order, Table, Tally};

/// Paths of rerouted quantities that are shown, the most used first.
const PATHS: usize = 12;
const KILLED: &str = "KILLED";

impl Desk {
    /// Every table of the run; `controls` is what was done to its kill switch, in order.
    #[must_use]
    pub fn tables(&self, controls: &[Control]) -> Vec<Table> {
        vec![
            self.portfolios(),
            self.accounts(),
            self.rejections(),
            self.kill_switch(controls),
            self.reroutes(),
            self.venues(),
            self.brokers(),
        ]
    }

    /// How the first reroute went, in words.
    #[must_use]
    pub fn first_reroute(&self) -> Option<&str> {
        self.first_reroute.as_ref().map(|(_, words)| &**words)
    }

    fn portfolios(&self) -> Table {
        let columns = &["portfolio", "accounts", "orders", "refused", "filled", "cancelled", "expired", "open"];
        let mut table = Table::new("portfolios", columns);
        let mut by_portfolio: BTreeMap<&str, Vec<&Order>> = BTreeMap::new();
        self.orders.values().for_each(|o| by_portfolio.entry(&o.portfolio).or_default().push(o));
        for (portfolio, orders) in by_portfolio {
            let accounts = self.shares.keys().filter(|(of, _)| of == portfolio).count();
            let ended = |kind: Option<OrderEventType>| {
                count(orders.iter().filter(|o| o.end.as_ref().map(|end| end.kind) == kind).count())
            };
            table.row(vec![
                portfolio.into(),
                count(accounts),
                count(orders.len()),
                ended(Some(OrderEventType::Rejected)),
                ended(Some(OrderEventType::Filled)),
                ended(Some(OrderEventType::Cancelled)),
                ended(Some(OrderEventType::Expired)),
                ended(None),
            ]);
        }
        table
    }

    fn accounts(&self) -> Table {
        let columns = &["account", "shares of orders", "child orders", "rejected", "fills", "traded", "fees"];
        let mut table = Table::new("accounts", columns);
        let names: BTreeSet<&(String, String)> = self.shares.keys().chain(self.accounts.keys()).collect();
        for name in names {
            let tally = self.accounts.get(name).cloned().unwrap_or_default();
            table.row(vec![
                name.1.as_str().into(),
                self.shares.get(name).copied().unwrap_or(0).into(),
                tally.children.into(),
                tally.rejected.into(),
                tally.fills.into(),
                tally.traded.text().into(),
                tally.fees.text().into(),
            ]);
        }
        table
    }

    fn rejections(&self) -> Table {
        let mut table = Table::new("rejections", &["what", "by", "reason", "times"]);
        let mut orders: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for (id, order) in &self.orders {
            let Some(end) = order.end.as_ref().filter(|end| end.kind == OrderEventType::Rejected) else { continue };
            let by = if self.refused_by_risk.contains(id) { "pre-trade risk" } else { "order management" };
            *orders.entry((by, &end.code)).or_default() += 1;
        }
        let children = self.child_refusals.iter().map(|((by, code), n)| ("child order", (*by, &**code), *n));
        for (what, (by, code), n) in orders.into_iter().map(|(who, n)| ("order", who, n)).chain(children) {
            table.row(vec![what.into(), by.into(), code.into(), n.into()]);
        }
        table
    }

    fn kill_switch(&self, controls: &[Control]) -> Table {
        let mut table = Table::new("kill_switch", &["market time", "control", "state", "by", "reason", "what came of it"]);
        let until = |n: usize| controls.get(n + 1).map_or(TimestampMicros::from_micros(i64::MAX), |next| next.set_at);
        for (n, control) in controls.iter().enumerate() {
            let second = control.second_actor.as_ref().map(|second| format!(" and {second}")).unwrap_or_default();
            table.row(vec![
                time_of_day(control.set_at).into(),
                format!("{}/{}", control.scope.as_str(), control.scope_id).into(),
                phase(control).as_str().into(),
                format!("{}{second}", control.actor).into(),
                control.reason.as_str().into(),
                self.outcome(control, until(n)).into(),
            ]);
        }
        table
    }

    // What a control of a strategy did until the next one.
    fn outcome(&self, control: &Control, until: TimestampMicros) -> String {
        let within = |at: TimestampMicros| (control.set_at..until).contains(&at);
        let killed = |kind: OrderEventType| {
            self.orders.iter().filter_map(move |(id, order)| {
                let end = order.end.as_ref().filter(|end| end.kind == kind && end.code == KILLED && within(end.at))?;
                Some((id, end))
            })
        };
        let accepted = |own: bool| {
            let of = |order: &&Order| (order.strategy.as_deref() == Some(&*control.scope_id)) == own;
            self.orders.values().filter(of).filter_map(|order| order.accepted_at).filter(|at| within(*at)).count()
        };
        let mut said = vec![format!("{} orders refused", killed(OrderEventType::Rejected).count())];
        let stopped: Vec<(&String, &End)> = killed(OrderEventType::Cancelled).collect();
        if let Some(last) = stopped.iter().map(|(_, end)| end.at).max() {
            let children: usize = stopped.iter().filter_map(|(id, _)| self.cancels.get(*id)).map(BTreeSet::len).sum();
            let after_s = last.micros().saturating_sub(control.set_at.micros()) / 1_000_000;
            said.push(format!(
                "{} open ones cancelled with {children} child orders called back, the last after {after_s} s",
                stopped.len()
            ));
        }
        if phase(control) == ControlPhase::Released {
            said = vec![format!("{} orders of it accepted", accepted(true))];
        }
        said.push(format!("{} of others accepted", accepted(false)));
        said.join(", ")
    }

    fn reroutes(&self) -> Table {
        let mut table = Table::new("reroutes", &["came back from", "why", "went to", "times"]);
        let mut paths: Vec<_> = self.paths.iter().collect();
        paths.sort_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
        for ((from, why, to), n) in paths.iter().take(PATHS) {
            table.row(vec![from.as_str().into(), why.as_str().into(), to.as_str().into(), (**n).into()]);
        }
        let rest: u64 = paths.iter().skip(PATHS).map(|(_, n)| **n).sum();
        if rest > 0 {
            table.row(vec!["others".into(), Value::Null, Value::Null, rest.into()]);
        }
        table
    }

    fn venues(&self) -> Table {
        let columns = &["venue", "child orders", "rejected", "fills", "maker %", "traded", "fees"];
        let mut table = Table::new("venues", columns);
        for (venue, tally) in &self.venues {
            table.row(vec![
                venue.as_str().into(),
                tally.children.into(),
                tally.rejected.into(),
                tally.fills.into(),
                (tally.maker * 100).checked_div(tally.fills).into(),
                tally.traded.text().into(),
                tally.fees.text().into(),
            ]);
        }
        table
    }

    fn brokers(&self) -> Table {
        let columns = &[
            "broker",
            "child orders",
            "fills",
            "traded",
            "plans",
            "commission",
            "expected cost",
            "next best",
            "saved against it",
        ];
        let mut table = Table::new("brokers", columns);
        let names: BTreeSet<&String> = self.brokers.keys().chain(self.expected.keys()).collect();
        let (none, nothing) = (Tally::default(), super::Expected::default());
        for name in names {
            let tally = self.brokers.get(name).unwrap_or(&none);
            let expected = self.expected.get(name).unwrap_or(&nothing);
            let most = expected.next_best.iter().max_by(|(a, n), (b, m)| n.cmp(m).then_with(|| b.cmp(a)));
            table.row(vec![
                name.as_str().into(),
                tally.children.into(),
                tally.fills.into(),
                tally.traded.text().into(),
                expected.plans.into(),
                expected.commission.text().into(),
                expected.cost.text().into(),
                most.map(|(other, _)| other.as_str()).into(),
                expected.saved.text().into(),
            ]);
        }
        table
    }
}

fn count(n: usize) -> Value {
    u64::try_from(n).unwrap_or(u64::MAX).into()
}

fn time_of_day(at: TimestampMicros) -> String {
    at.to_string().get(11..19).unwrap_or_default().to_owned()
}
