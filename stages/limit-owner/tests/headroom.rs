//! Several portfolios under one limit: the owner and parent risk, each with its own state, and what is on its way between.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../../pre-trade-risk/tests/common/mod.rs"]
mod common;

use common::{NOON, ORDERS, World, account, at, created, event, limit, num, quote, replacing};
use fillstream_core::table::{Table, TableRow};
use fillstream_domain::{Money, Side};
use fillstream_limit_owner::owner::{RequestError, answer};
use fillstream_limit_owner::{Config, LimitOwner};
use fillstream_reference::WideLimits;
use fillstream_schemas::AvroRecord;
use fillstream_schemas::execution::{
    LimitGrant, LimitRequest, OrderEvent, OrderEventType, ParentStatus, ValidatedOrder,
};
use fillstream_schemas::reference::{WideLimit, WideScope};
use fillstream_schemas::state::{LeaseAccount, LeaseSum, RiskLease, RiskWaiting};
use fillstream_testkit::StageBench;
use proptest::prelude::*;

const REQUESTS: &str = "execution.limit-requests.v1";
const GRANTS: &str = "execution.limit-grants.v1";
const LEASE_S: i64 = 60;

fn money(whole: i64) -> Money {
    Money::from_int(whole).unwrap()
}

fn wide(scope: WideScope, scope_id: &str, most: i64) -> WideLimit {
    WideLimit {
        limit_id: format!("{}-{scope_id}", scope.as_str()),
        scope,
        scope_id: scope_id.to_owned(),
        currency: "USD".to_owned(),
        max_gross_value: money(most),
        version: 4,
    }
}

fn portfolio_id(n: usize) -> String {
    format!("P{n}")
}

/// Portfolios P0, P1, ... whose own limits are out of the way.
fn world(limits: &[WideLimit]) -> World {
    let mut world = World { accounts: Vec::new(), limits: Vec::new(), wide: limits.to_vec(), ..World::default() };
    for n in 0..3 {
        let id = portfolio_id(n);
        let mut account = account(&format!("A{n}"), &id);
        account.cash = num("100000000");
        world.accounts.push(account);
        let mut own = limit(&id);
        own.allow_short = true;
        (own.max_position_value, own.max_gross_value) = (num("1000000"), num("1000000"));
        (own.max_order_value, own.price_collar, own.max_quote_age_ms) = (num("1000000"), num("0"), 1_000_000_000);
        world.limits.push(own);
    }
    world.rows = vec![quote("ACME", NOON, "100", "100"), quote("BETA", NOON, "50", "50")];
    world
}

#[derive(Clone, Debug)]
enum Message {
    Request(LimitRequest),
    Grant(LimitGrant),
}

struct Firm {
    owner: StageBench,
    risk: Vec<StageBench>,
    way: Vec<Message>,
    verdicts: Vec<ValidatedOrder>,
    now: i64,
}

impl Firm {
    fn new(limits: &[WideLimit]) -> Self {
        let world = world(limits);
        let mut owner = StageBench::new(LimitOwner::new(Config::default()).unwrap());
        let mut table = WideLimits::default();
        for row in limits {
            let bytes = row.to_bytes();
            let key = row.limit_id.as_str();
            let topic = "reference.wide-limits.v1";
            let row = TableRow { topic, partition: 0, offset: 0, key, value: Some(&bytes), event_time: None };
            table.apply(&row).unwrap();
        }
        owner.table(table);
        owner.at(at(NOON));
        let risk = (0..3).map(|_| world.bench()).collect();
        Self { owner, risk, way: Vec::new(), verdicts: Vec::new(), now: NOON }
    }

    fn collect(&mut self) {
        for bench in &mut self.risk {
            self.way.extend(bench.take::<LimitRequest>().into_iter().map(Message::Request));
            self.verdicts.extend(bench.take::<ValidatedOrder>());
        }
        self.way.extend(self.owner.take::<LimitGrant>().into_iter().map(Message::Grant));
    }

    fn tell(&mut self, n: usize, event: &OrderEvent) {
        self.risk[n].record(ORDERS, event);
        self.collect();
    }

    fn pass(&mut self, seconds: i64) {
        self.pass_us(seconds * 1_000_000);
    }

    fn pass_us(&mut self, us: i64) {
        self.now += us;
        for bench in self.risk.iter_mut().chain([&mut self.owner]) {
            bench.timer_to(at(self.now));
        }
        self.collect();
    }

    fn deliver(&mut self, message: &Message) {
        match message {
            Message::Request(request) => self.owner.record(REQUESTS, request),
            Message::Grant(grant) => {
                let n: usize = grant.portfolio_id[1..].parse().unwrap();
                self.risk[n].record(GRANTS, grant)
            }
        };
        self.collect();
    }

    /// Until nothing is on its way.
    fn talk(&mut self) {
        while !self.way.is_empty() {
            let message = self.way.remove(0);
            self.deliver(&message);
        }
    }

    fn verdict(&mut self) -> ValidatedOrder {
        assert_eq!(self.verdicts.len(), 1, "{:?}", self.verdicts);
        self.verdicts.remove(0)
    }

    fn leased(&self) -> Money {
        Money::sum(self.owner.state::<LeaseSum>("sums").values().map(|sum| sum.leased)).unwrap()
    }

    fn waits(&self, n: usize) -> usize {
        self.risk[n].state::<RiskWaiting>("waiting").values().map(|waiting| waiting.orders.len()).sum()
    }
}

fn order(n: usize, id: &str, side: Side, quantity: i64) -> OrderEvent {
    OrderEvent { portfolio_id: portfolio_id(n), ..created(id, "ACME", side, &quantity.to_string()) }
}

fn ended(order: &OrderEvent, filled: i64) -> OrderEvent {
    let status = if order.ord_qty == num(&filled.to_string()) { ParentStatus::Filled } else { ParentStatus::Cancelled };
    let kind = if status == ParentStatus::Filled { OrderEventType::Filled } else { OrderEventType::Cancelled };
    event(order, kind, status, &filled.to_string(), &(filled * 100).to_string())
}

#[test]
fn rule_13_an_order_waits_for_its_grant_and_tells_what_it_was_held_against() {
    let mut firm = Firm::new(&[wide(WideScope::Firm, "*", 10_000)]);
    firm.tell(0, &order(0, "O1", Side::Buy, 60));
    assert_eq!((firm.verdicts.len(), firm.waits(0), firm.way.len()), (0, 1, 1));
    firm.talk();
    let verdict = firm.verdict();
    assert!(verdict.is_approved, "{:?}", verdict.reason_codes);
    let row = verdict.validation_results.iter().find(|row| row.name == "headroom").unwrap();
    let told = (row.figure, row.limit, row.scope.as_str(), row.version);
    assert_eq!(told, (Some(money(6_000)), Some(money(6_000)), "limit/FIRM-*", 4));
    assert_eq!((firm.leased(), firm.waits(0)), (money(6_000), 0));
}

#[test]
fn rule_13_an_exhausted_limit_refuses_after_its_wait_and_never_sooner() {
    let mut firm = Firm::new(&[wide(WideScope::Firm, "*", 10_000)]);
    firm.tell(0, &order(0, "O1", Side::Buy, 60));
    firm.talk();
    assert!(firm.verdict().is_approved);
    firm.tell(1, &order(1, "O2", Side::SellShort, 50));
    firm.talk();
    firm.pass_us(1_999_999);
    firm.talk();
    assert_eq!((firm.verdicts.len(), firm.waits(1)), (0, 1));
    firm.pass_us(1);
    let verdict = firm.verdict();
    assert_eq!(verdict.reason_codes, ["LIMIT_HEADROOM_UNAVAILABLE"]);
    assert_eq!(firm.waits(1), 0);
}

#[test]
fn rule_13_headroom_that_comes_free_while_an_order_waits_is_granted() {
    let mut firm = Firm::new(&[wide(WideScope::Firm, "*", 10_000)]);
    let first = order(0, "O1", Side::Buy, 60);
    firm.tell(0, &first);
    firm.talk();
    assert!(firm.verdict().is_approved);
    firm.pass(LEASE_S - 1);
    firm.tell(1, &order(1, "O2", Side::Buy, 50));
    firm.talk();
    // The first order ends, its lease a second later: what it held returns, and the next question is granted.
    firm.tell(0, &ended(&first, 0));
    assert!(firm.way.is_empty(), "a lease that is not over is kept for the next order");
    firm.pass(1);
    firm.talk();
    firm.pass(1);
    firm.talk();
    let verdict = firm.verdict();
    assert!(verdict.is_approved && verdict.order_id == "O2", "{:?}", verdict.reason_codes);
    assert_eq!(firm.leased(), money(5_000));
}

#[test]
fn rule_13_what_is_leased_is_used_again_without_a_question() {
    let mut firm = Firm::new(&[wide(WideScope::Firm, "*", 10_000)]);
    let first = order(0, "O1", Side::Buy, 60);
    firm.tell(0, &first);
    firm.talk();
    firm.verdicts.clear();
    firm.tell(0, &ended(&first, 10));
    firm.tell(0, &order(0, "O2", Side::Buy, 50));
    assert!(firm.verdict().is_approved);
    assert!(firm.way.is_empty());
    // Long after the lease, what is used stays leased: nothing but the position and the open order.
    firm.pass(LEASE_S * 10);
    firm.talk();
    assert_eq!(firm.leased(), money(6_000));
}

#[test]
fn who_comes_later_waits_behind_and_what_reduces_does_not_wait() {
    let mut firm = Firm::new(&[wide(WideScope::Firm, "*", 10_000)]);
    let held = order(0, "O0", Side::Buy, 20);
    firm.tell(0, &held);
    firm.talk();
    firm.tell(0, &ended(&held, 20));
    firm.verdicts.clear();
    firm.tell(0, &order(0, "O1", Side::Buy, 90));
    firm.tell(0, &order(0, "O2", Side::Buy, 10));
    firm.tell(0, &order(0, "O3", Side::Sell, 20));
    let sale = firm.verdict();
    assert!(sale.is_approved && sale.order_id == "O3", "{:?}", sale.reason_codes);
    assert_eq!(firm.waits(0), 2);
    firm.pass(3);
    firm.talk();
    firm.pass(3);
    firm.talk();
    let told: Vec<(String, bool)> = firm.verdicts.iter().map(|v| (v.order_id.clone(), v.is_approved)).collect();
    assert_eq!(told, [("O1".to_owned(), false), ("O2".to_owned(), false)], "both waited as long as they may");
}

#[test]
fn a_refusal_gives_the_headroom_of_its_other_limits_back_at_once() {
    let mut firm = Firm::new(&[wide(WideScope::Firm, "*", 10_000), wide(WideScope::Instrument, "ACME", 1_000)]);
    firm.tell(0, &order(0, "O1", Side::Buy, 50));
    firm.talk();
    assert_eq!(firm.leased(), money(5_000), "the firm's is there, the instrument's is not");
    firm.pass(2);
    assert_eq!(firm.verdict().reason_codes, ["LIMIT_HEADROOM_UNAVAILABLE"]);
    firm.talk();
    assert_eq!(firm.leased(), Money::ZERO);
}

#[test]
fn an_order_that_ends_while_it_waits_is_forgotten() {
    let mut firm = Firm::new(&[wide(WideScope::Firm, "*", 10_000)]);
    let waiting = order(0, "O1", Side::Buy, 60);
    firm.tell(0, &waiting);
    firm.tell(0, &ended(&waiting, 0));
    assert_eq!(firm.waits(0), 0);
    firm.talk();
    firm.pass(5);
    assert!(firm.verdicts.is_empty());
}

#[test]
fn a_replace_waits_too_and_is_forgotten_when_it_is_given_up() {
    let mut firm = Firm::new(&[wide(WideScope::Firm, "*", 10_000)]);
    let first = order(0, "O1", Side::Buy, 60);
    firm.tell(0, &first);
    firm.talk();
    firm.verdicts.clear();
    firm.tell(0, &replacing(&first, 5, "80", None));
    assert_eq!((firm.waits(0), firm.verdicts.len()), (1, 0));
    firm.talk();
    let verdict = firm.verdict();
    assert!(verdict.is_approved && verdict.revision == 5);
    assert_eq!(firm.leased(), money(8_000));
    let refused = event(&first, OrderEventType::CommandRefused, ParentStatus::Working, "0", "0");
    let refused = OrderEvent { reason_code: Some("REPLACE_OVERDUE".to_owned()), ..refused };
    firm.tell(0, &refused);
    firm.tell(0, &replacing(&first, 6, "200", None));
    assert_eq!(firm.waits(0), 1);
    firm.tell(0, &refused);
    assert_eq!(firm.waits(0), 0);
}

#[test]
fn every_scope_covers_what_it_names() {
    let cases = [
        (wide(WideScope::Firm, "*", 100), true),
        (wide(WideScope::Other, "?", 100), true),
        (wide(WideScope::Instrument, "ACME", 100), true),
        (wide(WideScope::Instrument, "BETA", 100), false),
        (wide(WideScope::AssetClass, "FX", 100), false),
        (wide(WideScope::Sector, "TECH", 100), true),
    ];
    for (limit, covers) in cases {
        let name = limit.limit_id.clone();
        let mut firm = Firm::new(&[limit]);
        firm.tell(0, &order(0, "O1", Side::Buy, 5));
        firm.talk();
        firm.pass(2);
        assert_eq!(firm.verdict().is_approved, !covers, "{name}");
    }
}

#[test]
fn a_limit_that_is_gone_gives_everything_back_and_asks_nothing() {
    let mut firm = Firm::new(&[wide(WideScope::Firm, "*", 10_000)]);
    firm.tell(0, &order(0, "O1", Side::Buy, 60));
    firm.talk();
    firm.verdicts.clear();
    firm.risk[0].table(WideLimits::default());
    firm.tell(0, &order(0, "O2", Side::Buy, 600));
    assert!(firm.verdict().is_approved);
    firm.pass(LEASE_S);
    firm.talk();
    assert_eq!(firm.leased(), Money::ZERO);
}

#[test]
fn a_limit_in_a_currency_without_a_rate_fails_closed_at_once() {
    let limit = WideLimit { currency: "EUR".to_owned(), ..wide(WideScope::Firm, "*", 1_000_000) };
    let mut firm = Firm::new(&[limit]);
    firm.tell(0, &order(0, "O1", Side::Buy, 5));
    assert_eq!(firm.verdict().reason_codes, ["NO_FX_RATE"]);
    assert_eq!((firm.way.len(), firm.waits(0)), (0, 0));
}

#[test]
fn a_limit_id_with_a_slash_is_refused_by_name() {
    let limit = WideLimit { limit_id: "P1/L".to_owned(), ..wide(WideScope::Firm, "*", 1) };
    let (bytes, key) = (limit.to_bytes(), limit.limit_id.as_str());
    let topic = "reference.wide-limits.v1";
    let row = TableRow { topic, partition: 0, offset: 0, key, value: Some(&bytes), event_time: None };
    let refused = WideLimits::default().apply(&row).unwrap_err().to_string();
    assert!(refused.contains("P1/L"), "{refused}");
}

#[test]
fn who_returns_more_than_it_was_granted_is_a_dead_letter_and_changes_nothing() {
    let mut firm = Firm::new(&[wide(WideScope::Firm, "*", 10_000)]);
    let wrong = LimitRequest {
        event_id: "R1".to_owned(),
        timestamp: at(NOON),
        limit_id: "FIRM-*".to_owned(),
        portfolio_id: portfolio_id(0),
        returned: money(1),
        ..LimitRequest::default()
    };
    firm.owner.record(REQUESTS, &wrong);
    assert_eq!(firm.owner.take_dead_letters().len(), 1);
    firm.collect();
    assert!(firm.way.is_empty() && firm.owner.state::<LeaseAccount>("accounts").is_empty());
}

#[test]
fn the_owner_repeats_what_is_not_known_and_grants_nothing_twice() {
    let blank = LeaseAccount::default();
    let asks = LimitRequest { wanted: money(80), ..LimitRequest::default() };
    let first = answer(&blank, &asks, Money::ZERO, money(100)).unwrap();
    assert_eq!((first.account.granted, first.leased, first.is_news), (money(80), money(80), true));
    let again = answer(&first.account, &asks, first.leased, money(100)).unwrap();
    assert_eq!((again.account.granted, again.leased, again.is_news), (money(80), money(80), true));
    // What it has seen, and more than there is: all or nothing. A lowered limit takes nothing away.
    let more = LimitRequest { granted_seen: money(80), wanted: money(21), ..LimitRequest::default() };
    let refused = answer(&first.account, &more, first.leased, money(100)).unwrap();
    assert_eq!((refused.leased, refused.is_news), (money(80), false));
    let lowered = answer(&first.account, &LimitRequest { wanted: money(1), ..more }, first.leased, money(50)).unwrap();
    assert_eq!((lowered.leased, lowered.is_news), (money(80), false));
    let returns = LimitRequest { granted_seen: money(80), returned: money(30), ..LimitRequest::default() };
    let returned = answer(&first.account, &returns, first.leased, money(50)).unwrap();
    assert_eq!((returned.leased, returned.is_news), (money(50), true));
    // A late message with an older count changes nothing.
    let late =
        answer(&returned.account, &LimitRequest { returned: money(10), ..returns.clone() }, money(50), money(50));
    assert_eq!(late.unwrap().leased, money(50));
    let wrong = LimitRequest { returned: money(81), ..returns };
    assert_eq!(answer(&first.account, &wrong, money(80), money(100)), Err(RequestError::ReturnedTooMuch));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    New {
        portfolio: usize,
        beta: bool,
        buys: bool,
        quantity: i64,
    },
    Fill {
        order: usize,
        part: i64,
    },
    End {
        order: usize,
    },
    /// Delivers the n-th message on its way; with `again` it stays there and comes once more.
    Deliver {
        n: usize,
        again: bool,
    },
    Pass {
        ms: i64,
    },
    Restart {
        portfolio: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_usize..3, any::<bool>(), any::<bool>(), 1_i64..60)
            .prop_map(|(portfolio, beta, buys, quantity)| Step::New { portfolio, beta, buys, quantity }),
        3 => (any::<usize>(), 1_i64..=10).prop_map(|(order, part)| Step::Fill { order, part }),
        2 => any::<usize>().prop_map(|order| Step::End { order }),
        8 => (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(n, again)| Step::Deliver { n, again }),
        2 => (1_i64..40_000).prop_map(|ms| Step::Pass { ms }),
        1 => (0_usize..3).prop_map(|portfolio| Step::Restart { portfolio }),
    ];
    prop::collection::vec(step, 1..80)
}

#[derive(Clone, Debug)]
struct Model {
    portfolio: usize,
    created: OrderEvent,
    filled: i64,
    ordered: i64,
    works: bool,
}

/// Worst-case value of all portfolios under a limit, in whole dollars, from nothing but the orders.
fn used(models: &[Model], covers: impl Fn(&str) -> bool) -> i64 {
    let mut sum = 0;
    for portfolio in 0..3 {
        for (instrument, price) in [("ACME", 100), ("BETA", 50)] {
            let (mut position, mut buys, mut sells) = (0, 0, 0);
            let of = |m: &&Model| m.portfolio == portfolio && m.created.instrument_id == instrument;
            for m in models.iter().filter(of) {
                let open = if m.works { m.ordered - m.filled } else { 0 };
                if m.created.side.is_buy() {
                    (position, buys) = (position + m.filled, buys + open);
                } else {
                    (position, sells) = (position - m.filled, sells + open);
                }
            }
            let worst: i64 = i64::max((position + buys).abs(), (position - sells).abs());
            sum += if covers(instrument) { worst * price } else { 0 };
        }
    }
    sum
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn rule_13_portfolios_together_never_pass_a_limit(steps in steps()) {
        let limits = [wide(WideScope::Firm, "*", 12_000), wide(WideScope::Instrument, "BETA", 2_000)];
        let mut firm = Firm::new(&limits);
        let mut models: Vec<Model> = Vec::new();
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::New { portfolio, beta, buys, quantity } => {
                    let side = if buys { Side::Buy } else { Side::SellShort };
                    let instrument = if beta { "BETA" } else { "ACME" };
                    let created = created(&format!("O{n}"), instrument, side, &quantity.to_string());
                    let created = OrderEvent { portfolio_id: portfolio_id(portfolio), ..created };
                    models.push(Model { portfolio, created: created.clone(), filled: 0, ordered: quantity, works: false });
                    firm.tell(portfolio, &created);
                }
                Step::Fill { order, part } => {
                    let count = models.len();
                    let Some(m) = order.checked_rem(count).map(|i| &mut models[i]) else { continue };
                    if !m.works { continue }
                    m.filled += ((m.ordered - m.filled) * part / 10).max(1);
                    let told = if m.filled == m.ordered {
                        m.works = false;
                        ended(&m.created, m.filled)
                    } else {
                        let notional = (m.filled * 100).to_string();
                        let (kind, status) = (OrderEventType::ChildUpdated, ParentStatus::PartiallyFilled);
                        event(&m.created, kind, status, &m.filled.to_string(), &notional)
                    };
                    firm.tell(m.portfolio, &told);
                }
                Step::End { order } => {
                    let count = models.len();
                    let Some(m) = order.checked_rem(count).map(|i| &mut models[i]) else { continue };
                    if !m.works { continue }
                    m.works = false;
                    firm.tell(m.portfolio, &ended(&m.created, m.filled));
                }
                Step::Deliver { n, again } => {
                    let Some(n) = n.checked_rem(firm.way.len()) else { continue };
                    let message = if again { firm.way[n].clone() } else { firm.way.remove(n) };
                    firm.deliver(&message);
                }
                Step::Pass { ms } => firm.pass_us(ms * 1_000),
                Step::Restart { portfolio } => { firm.risk[portfolio].restart(); }
            }
            for verdict in std::mem::take(&mut firm.verdicts) {
                let m = models.iter_mut().find(|m| m.created.order_id == verdict.order_id).unwrap();
                m.works = verdict.is_approved;
            }
            let (all, beta) = (used(&models, |_| true), used(&models, |id| id == "BETA"));
            prop_assert!(all <= 12_000 && beta <= 2_000, "{all} of 12000, {beta} of 2000");
        }
        // Everybody is heard and leases are over: what is leased is what is used, and nobody waits.
        for _ in 0..6 {
            firm.pass(LEASE_S * 2);
            firm.talk();
        }
        for verdict in std::mem::take(&mut firm.verdicts) {
            let m = models.iter_mut().find(|m| m.created.order_id == verdict.order_id).unwrap();
            m.works = verdict.is_approved;
        }
        prop_assert_eq!((0..3).map(|n| firm.waits(n)).sum::<usize>(), 0);
        let held = used(&models, |_| true) + used(&models, |id| id == "BETA");
        prop_assert_eq!(firm.leased(), money(held));
        let kept: Vec<RiskLease> = firm.risk.iter().flat_map(|b| b.state::<RiskLease>("leases").into_values()).collect();
        let kept = Money::sum(kept.iter().map(|l| l.granted.checked_sub(l.returned).unwrap())).unwrap();
        prop_assert_eq!(kept, money(held));
    }
}
