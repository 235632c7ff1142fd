//! The tables.

use std::collections::{BTreeMap, BTreeSet};

use fillstream_domain::{NumberError, Rounding, TimestampMicros};
use fillstream_reference::phase;
use fillstream_schemas::execution::{Control, OrderEventType};
use serde_json::Value;

use super::{Amounts, Desk, Order, Table, Tally};

/// Paths of rerouted quantities that are shown, the most used first.
const PATHS: usize = 12;
const KILLED: &str = "KILLED";

/// What came of a control.
struct Outcome {
    refused: usize,
    cancelled: usize,
    /// The last cancelled order ended so long after the control.
    last_after_s: Option<i64>,
    called_back: usize,
    /// Orders of the control's strategy that were let in, and of others.
    accepted: usize,
    others_accepted: usize,
}

impl Desk {
    /// Every table of the run; `controls` is what was done to its kill switch, in order.
    ///
    /// # Errors
    /// A sum is out of range.
    pub fn tables(&self, controls: &[Control]) -> Result<Vec<Table>, NumberError> {
        Ok(vec![
            self.portfolios(),
            self.accounts(),
            self.blocks()?,
            self.rejections(),
            self.wide_limits(),
            self.kill_switch(controls),
            self.reroutes(),
            self.venues(),
            self.brokers(),
        ])
    }

    /// How the first reroute went, in words.
    #[must_use]
    pub fn first_reroute(&self) -> Option<&str> {
        self.first_reroute.as_ref().map(|(_, words)| &**words)
    }

    fn portfolios(&self) -> Table {
        let columns = &["portfolio", "accounts used", "orders", "refused", "filled", "cancelled", "expired", "open"];
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

    // What each account got of the blocks that were executed for it.
    fn blocks(&self) -> Result<Table, NumberError> {
        let mut table = Table::new("blocks", &["account", "executed in blocks", "filled whole", "traded", "fees"]);
        let mut accounts: BTreeMap<&str, (u64, u64, Amounts, Amounts)> = BTreeMap::new();
        for block in self.blocks.values() {
            let fees_in = block.fee_currency.as_deref().unwrap_or("?");
            for share in &block.block_shares {
                let (blocks, whole, traded, fees) = accounts.entry(&share.account_id).or_default();
                *blocks += 1;
                *whole += u64::from(share.filled_qty == share.quantity);
                let value = share.filled_notional.to_money(Rounding::HalfEven)?;
                traded.add(&block.terms.quote_currency, value)?;
                fees.add(fees_in, share.fees)?;
            }
        }
        for (account, (blocks, whole, traded, fees)) in accounts {
            table.row(vec![account.into(), blocks.into(), whole.into(), traded.text().into(), fees.text().into()]);
        }
        Ok(table)
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

    fn wide_limits(&self) -> Table {
        let columns =
            &["limit", "of all portfolios", "leased at most", "portfolios", "answers", "orders approved", "refused"];
        let mut table = Table::new("wide_limits", columns);
        for (limit, wide) in &self.wide {
            let money = |amount: &dyn std::fmt::Display| format!("{amount} {}", wide.currency);
            table.row(vec![
                limit.as_str().into(),
                money(&wide.most).into(),
                money(&wide.leased).into(),
                count(wide.portfolios.len()),
                count(wide.grants.len()),
                count(wide.approved.len()),
                count(wide.refused.len()),
            ]);
        }
        table
    }

    // Each step with what happened from it to the next.
    fn kill_switch(&self, controls: &[Control]) -> Table {
        let columns = &[
            "market time",
            "control",
            "state",
            "by",
            "reason",
            "refused",
            "cancelled",
            "last after s",
            "children called back",
            "accepted",
            "others accepted",
        ];
        let mut table = Table::new("kill_switch", columns);
        for (n, control) in controls.iter().enumerate() {
            let until = controls.get(n + 1).map_or(TimestampMicros::from_micros(i64::MAX), |next| next.set_at);
            let second = control.second_actor.as_ref().map(|second| format!(" and {second}")).unwrap_or_default();
            let outcome = self.outcome(control, until);
            table.row(vec![
                time_of_day(control.set_at).into(),
                format!("{}/{}", control.scope.as_str(), control.scope_id).into(),
                phase(control).as_str().into(),
                format!("{}{second}", control.actor).into(),
                control.reason.as_str().into(),
                count(outcome.refused),
                count(outcome.cancelled),
                outcome.last_after_s.into(),
                count(outcome.called_back),
                count(outcome.accepted),
                count(outcome.others_accepted),
            ]);
        }
        table
    }

    // What a control of a strategy did until another one came.
    fn outcome(&self, control: &Control, until: TimestampMicros) -> Outcome {
        let within = |at: TimestampMicros| (control.set_at..until).contains(&at);
        let killed = |kind: OrderEventType| {
            self.orders.iter().filter_map(move |(id, order)| {
                let end = order.end.as_ref().filter(|end| end.kind == kind && end.code == KILLED && within(end.at))?;
                Some((id, end.at))
            })
        };
        let accepted = |own: bool| {
            let of = |order: &&Order| (order.strategy.as_deref() == Some(&*control.scope_id)) == own;
            self.orders.values().filter(of).filter_map(|order| order.accepted_at).filter(|at| within(*at)).count()
        };
        let cancelled: Vec<(&String, TimestampMicros)> = killed(OrderEventType::Cancelled).collect();
        let last = cancelled.iter().map(|(_, at)| *at).max();
        Outcome {
            refused: killed(OrderEventType::Rejected).count(),
            cancelled: cancelled.len(),
            last_after_s: last.map(|at| at.micros().saturating_sub(control.set_at.micros()) / 1_000_000),
            called_back: cancelled.iter().filter_map(|(id, _)| self.cancels.get(*id)).map(BTreeSet::len).sum(),
            accepted: accepted(true),
            others_accepted: accepted(false),
        }
    }

    fn reroutes(&self) -> Table {
        let mut table = Table::new("reroutes", &["came back from", "why", "went to", "times"]);
        let (stayed, mut paths): (Vec<_>, Vec<_>) = self.paths.iter().partition(|((from, _, to), _)| from == to);
        paths.sort_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
        for ((from, why, to), n) in paths.iter().take(PATHS) {
            table.row(vec![from.as_str().into(), why.as_str().into(), to.as_str().into(), (**n).into()]);
        }
        let rest: u64 = paths.iter().skip(PATHS).map(|(_, n)| **n).sum();
        let again: u64 = stayed.iter().map(|(_, n)| **n).sum();
        for (words, n) in [("others that moved", rest), ("what went where it came from", again)] {
            table.row(vec![words.into(), Value::Null, Value::Null, n.into()]);
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

#[cfg(test)]
mod tests {
    use super::*;
    use fillstream_domain::{ControlScope, Money, Quantity, Turnover};
    use fillstream_schemas::execution::{
        AccountAllocation, AllocationKind, BlockShare, BrokerChoice, ChildAction, ChildOrder, ControlPhase,
        ControlState, LimitGrant, OrderEvent, OrderTerms, Reroute, RiskCheck, RouteLeg, RoutingPlan, ValidatedOrder,
    };

    const SECOND: i64 = 1_000_000;

    fn at(seconds: i64) -> TimestampMicros {
        TimestampMicros::from_micros(seconds * SECOND)
    }

    fn event(order: &str, seconds: i64, event_type: OrderEventType, code: Option<&str>) -> OrderEvent {
        OrderEvent {
            order_id: order.to_owned(),
            portfolio_id: "P1".to_owned(),
            timestamp: at(seconds),
            event_type,
            is_terminal: event_type != OrderEventType::Created,
            reason_code: code.map(str::to_owned),
            ..OrderEvent::default()
        }
    }

    fn created(order: &str, seconds: i64, strategy: &str) -> OrderEvent {
        let terms = OrderTerms { strategy_id: Some(strategy.to_owned()), ..OrderTerms::default() };
        OrderEvent { terms: Some(terms), ..event(order, seconds, OrderEventType::Created, None) }
    }

    fn control(state: ControlState, phase: ControlPhase, seconds: i64) -> Control {
        Control {
            scope: ControlScope::Strategy,
            scope_id: "s".to_owned(),
            state,
            phase,
            actor: "ada".to_owned(),
            set_at: at(seconds),
            ..Control::default()
        }
    }

    fn table(tables: &[Table], name: &str) -> Value {
        tables.iter().find(|t| t.name == name).unwrap().json()
    }

    #[test]
    fn the_kill_switch_tells_what_each_step_did() {
        let cancel = ChildOrder {
            action: ChildAction::Cancel,
            order_id: "open".to_owned(),
            orig_cl_ord_id: Some("c1".to_owned()),
            ..ChildOrder::default()
        };
        let events = [
            created("open", 5, "s"),
            created("other", 15, "t"),
            event("refused", 12, OrderEventType::Rejected, Some(KILLED)),
            event("large", 13, OrderEventType::Rejected, Some("MAX_ORDER_VALUE")),
            event("open", 17, OrderEventType::Cancelled, Some(KILLED)),
            created("again", 30, "s"),
        ];
        let controls = [
            control(ControlState::Killed, ControlPhase::Killed, 10),
            control(ControlState::Killed, ControlPhase::ReleasePending, 20),
            Control {
                second_actor: Some("bob".to_owned()),
                ..control(ControlState::Running, ControlPhase::Released, 30)
            },
        ];
        let (mut forwards, mut backwards) = (Desk::default(), Desk::default());
        events.iter().for_each(|e| forwards.order(e));
        forwards.child(&cancel);
        forwards.verdict(&ValidatedOrder { order_id: "large".to_owned(), ..ValidatedOrder::default() });
        backwards.verdict(&ValidatedOrder { order_id: "large".to_owned(), ..ValidatedOrder::default() });
        // The cancel is seen twice, as a repeated record would be, and before its order.
        backwards.child(&cancel);
        backwards.child(&cancel);
        events.iter().rev().for_each(|e| backwards.order(e));
        for desk in [forwards, backwards] {
            let tables = desk.tables(&controls).unwrap();
            let rows = table(&tables, "kill_switch");
            let column = |name: &str| rows.as_array().unwrap().iter().map(|r| r[name].clone()).collect::<Vec<_>>();
            assert_eq!(column("state"), ["KILLED", "RELEASE_PENDING", "RELEASED"]);
            assert_eq!(column("by"), ["ada", "ada", "ada and bob"]);
            assert_eq!(column("refused"), [1, 0, 0]);
            assert_eq!(column("cancelled"), [1, 0, 0]);
            assert_eq!(column("last_after_s"), [7.into(), Value::Null, Value::Null]);
            assert_eq!(column("children_called_back"), [1, 0, 0]);
            assert_eq!(
                (column("accepted"), column("others_accepted")),
                (vec![0.into(), 0.into(), 1.into()], vec![1.into(), 0.into(), 0.into()])
            );
            let refused = table(&tables, "rejections");
            let by = |n: usize| (refused[n]["by"].clone(), refused[n]["reason"].clone(), refused[n]["times"].clone());
            assert_eq!(by(0), ("order management".into(), KILLED.into(), 1.into()));
            assert_eq!(by(1), ("pre-trade risk".into(), "MAX_ORDER_VALUE".into(), 1.into()));
        }
    }

    #[test]
    fn a_limit_over_portfolios_tells_what_was_leased_and_refused() {
        let money = |units| Money::from_int(units).unwrap();
        let grant = |id: &str, portfolio: &str, leased| LimitGrant {
            event_id: id.to_owned(),
            limit_id: "all-X".to_owned(),
            portfolio_id: portfolio.to_owned(),
            leased: money(leased),
            max_gross_value: money(100),
            currency: "USD".to_owned(),
            ..LimitGrant::default()
        };
        let verdict = |order: &str, is_approved, passed| ValidatedOrder {
            order_id: order.to_owned(),
            is_approved,
            validation_results: vec![
                RiskCheck { scope: "portfolio/P1".to_owned(), ..RiskCheck::default() },
                RiskCheck { scope: "limit/all-X".to_owned(), passed, ..RiskCheck::default() },
            ],
            ..ValidatedOrder::default()
        };
        let mut desk = Desk::default();
        // Refused for another reason it counts nowhere.
        for v in [verdict("1", true, true), verdict("2", false, false), verdict("3", false, true)] {
            desk.verdict(&v);
        }
        for g in [grant("a", "P1", 60), grant("b", "P2", 90), grant("b", "P2", 90), grant("c", "P1", 30)] {
            desk.grant(&g);
        }
        let rows = table(&desk.tables(&[]).unwrap(), "wide_limits");
        let row = |column: &str| rows[0][column].clone();
        assert_eq!(rows.as_array().unwrap().len(), 1);
        assert_eq!((row("of_all_portfolios"), row("leased_at_most")), ("100 USD".into(), "90 USD".into()));
        assert_eq!((row("portfolios"), row("answers")), (2.into(), 3.into()));
        assert_eq!((row("orders_approved"), row("refused")), (1.into(), 1.into()));
    }

    #[test]
    fn a_broker_is_held_against_the_best_other_one_and_a_reroute_against_where_it_came_from() {
        let choice = |broker: &str, eligible: bool, cost: i64| BrokerChoice {
            broker: broker.to_owned(),
            eligible,
            total_cost: Money::from_int(cost).unwrap(),
            ..BrokerChoice::default()
        };
        let leg = |venue: &str| RouteLeg { broker: "b".to_owned(), venue: venue.to_owned(), ..RouteLeg::default() };
        let plan = |seconds: i64, from: &str| RoutingPlan {
            order_id: "o".to_owned(),
            timestamp: at(seconds),
            reporting_currency: Some("USD".to_owned()),
            venue_allocations: vec![leg("X")],
            broker_choices: vec![
                choice("a", false, 1),
                choice("b", true, 3),
                choice("c", true, 5),
                choice("d", true, 4),
            ],
            reroutes: vec![Reroute {
                broker: "b".to_owned(),
                venue: from.to_owned(),
                code: "REJECTED".to_owned(),
                ..Reroute::default()
            }],
            ..RoutingPlan::default()
        };
        let mut desk = Desk::default();
        // One that came back to where it was is no move.
        for plan in [plan(9, "Z"), plan(7, "Y"), plan(5, "X")] {
            desk.plan(&plan).unwrap();
        }
        assert!(desk.first_reroute().unwrap().contains("b/Y (REJECTED)"), "{:?}", desk.first_reroute());
        let tables = desk.tables(&[]).unwrap();
        let brokers = table(&tables, "brokers");
        assert_eq!(brokers.as_array().unwrap().len(), 1);
        assert_eq!((&brokers[0]["plans"], &brokers[0]["next_best"]), (&3.into(), &"c".into()));
        assert_eq!((&brokers[0]["expected_cost"], &brokers[0]["saved_against_it"]), (&"9 USD".into(), &"6 USD".into()));
        let reroutes = table(&tables, "reroutes");
        let row = |n: usize| (reroutes[n]["came_back_from"].clone(), reroutes[n]["times"].clone());
        assert_eq!((row(0), row(1)), (("b/Y".into(), 1.into()), ("b/Z".into(), 1.into())));
        assert_eq!(row(3), ("what went where it came from".into(), 1.into()));
        assert!(table(&tables, "kill_switch").as_array().unwrap().is_empty());
    }

    #[test]
    fn the_last_statement_of_a_block_counts_whichever_is_seen_first() {
        let share = |account: &str, filled: i64| BlockShare {
            account_id: account.to_owned(),
            quantity: Quantity::from_int(10).unwrap(),
            filled_qty: Quantity::from_int(filled).unwrap(),
            filled_notional: Turnover::from_int(filled * 5).unwrap(),
            ..BlockShare::default()
        };
        let statement = |statement_no: i32, shares: [BlockShare; 2]| AccountAllocation {
            order_id: "o".to_owned(),
            kind: AllocationKind::Statement,
            statement_no,
            block_shares: shares.into(),
            terms: OrderTerms { quote_currency: "USD".to_owned(), ..OrderTerms::default() },
            ..AccountAllocation::default()
        };
        let first = statement(1, [share("a", 10), share("b", 10)]);
        let second = statement(2, [share("a", 10), share("b", 4)]);
        for order in [[&first, &second], [&second, &first]] {
            let mut desk = Desk::default();
            order.into_iter().for_each(|statement| desk.allocation(statement));
            let rows = table(&desk.tables(&[]).unwrap(), "blocks");
            let row =
                |n: usize| (rows[n]["account"].clone(), rows[n]["filled_whole"].clone(), rows[n]["traded"].clone());
            assert_eq!(row(0), ("a".into(), 1.into(), "50 USD".into()));
            assert_eq!(row(1), ("b".into(), 0.into(), "20 USD".into()));
        }
    }
}
