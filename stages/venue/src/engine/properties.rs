//! Properties of the pure core over random requests in random synthetic markets.

use super::{Event, Venue};
use crate::config::{EngineConfig, MarketCenter, hundredths};
use crate::report::{RejectCode, Report};
use crate::request::OrderRequest;
use fillstream_domain::{
    ExecType, OrdStatus, OrdType, Price, PriceQuantitySum, Quantity, Side, TimeInForce, TimestampMicros,
};
use fillstream_market::{SyntheticConfig, SyntheticMarket};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A random request, in tenths of a second and parts that make sense of the synthetic market.
#[derive(Debug, Clone)]
struct Plan {
    instrument: usize,
    venue: usize,
    sell: bool,
    lots: i64,
    ticks_from_open: Option<i64>,
    time_in_force: usize,
    sent_tenths: i64,
    cancel_after: Option<i64>,
}

fn plan() -> impl Strategy<Value = Plan> {
    (
        (0_usize..8, 0_usize..4, any::<bool>(), 1_i64..3_000),
        (proptest::option::of(-200_i64..200), 0_usize..4, 0_i64..900, proptest::option::of(0_i64..200)),
    )
        .prop_map(
            |((instrument, venue, sell, lots), (ticks_from_open, time_in_force, sent_tenths, cancel_after))| Plan {
                instrument,
                venue,
                sell,
                lots,
                ticks_from_open,
                time_in_force,
                sent_tenths,
                cancel_after,
            },
        )
}

fn synthetic(seed: u64) -> SyntheticConfig {
    SyntheticConfig { seed, length_us: 120_000_000, ..SyntheticConfig::default() }
}

fn rough() -> EngineConfig {
    let mut config = EngineConfig::default();
    config.misbehaviour.late_share = hundredths(40);
    config.misbehaviour.repeat_share = hundredths(30);
    config.misbehaviour.silence_share = hundredths(5);
    let dark = MarketCenter {
        venue_id: "XDRK".to_owned(),
        latency_us: 150_000,
        hidden_share: hundredths(60),
        dark: true,
        ..config.venues[0].clone()
    };
    config.venues.push(dark);
    config
}

fn request(n: usize, plan: &Plan) -> OrderRequest {
    let spec = &SyntheticConfig::default().instruments[plan.instrument];
    let price = |ticks: i64| {
        Price::from_unscaled(
            spec.open_price.unscaled() / spec.tick_size.unscaled() * spec.tick_size.unscaled()
                + i128::from(ticks) * spec.tick_size.unscaled(),
        )
        .unwrap()
    };
    OrderRequest {
        client_order_id: format!("O{n}"),
        account_id: "ACC".to_owned(),
        instrument_id: spec.instrument_id.clone(),
        venue: ["XALP", "XBET", "XGAM", "XDRK"][plan.venue].to_owned(),
        side: if plan.sell { Side::SellShort } else { Side::Buy },
        ord_type: if plan.ticks_from_open.is_some() { OrdType::Limit } else { OrdType::Market },
        quantity: Quantity::from_unscaled(spec.lot_size.unscaled() * i128::from(plan.lots)).unwrap(),
        limit_price: plan.ticks_from_open.map(price),
        time_in_force: [TimeInForce::Day, TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::Fok][plan.time_in_force],
        expire_at: None,
        sent_at: start(plan.sent_tenths),
    }
}

fn start(tenths: i64) -> TimestampMicros {
    TimestampMicros::from_micros(fillstream_market::DEFAULT_START.micros() + tenths * 100_000)
}

/// Runs the plans; at each grid instant the requests sent then are applied in an order shuffled by `salt`, and
/// with `jump` only instants that the venue asks for or a request needs are visited.
fn run(seed: u64, plans: &[Plan], salt: u64, jump: bool) -> Vec<Report> {
    let mut venue = Venue::new(rough(), Box::new(SyntheticMarket::new(synthetic(seed)).unwrap())).unwrap();
    let mut todo: BTreeMap<i64, Vec<(u64, Event)>> = BTreeMap::new();
    let shuffled = |n: usize| crate::misbehaviour::draw(salt, "shuffle", &n.to_string());
    for (n, plan) in plans.iter().enumerate() {
        todo.entry(plan.sent_tenths)
            .or_default()
            .push((shuffled(n), Event::Order(venue.accept_order("SIM", request(n, plan), None).unwrap().unwrap())));
        if let Some(after) = plan.cancel_after {
            let latency = [100_000, 120_000, 200_000, 150_000][plan.venue];
            let sent_at = start(plan.sent_tenths + after);
            let accepted = crate::request::AcceptedCancel {
                session: "SIM".to_owned(),
                client_order_id: format!("C{n}"),
                orig_client_order_id: format!("O{n}"),
                sent_at,
                arrives_at: crate::micros::later(sent_at, latency),
            };
            todo.entry(plan.sent_tenths + after).or_default().push((shuffled(n + 1_000), Event::Cancel(accepted)));
        }
    }
    let (mut reports, mut tenth, mut asked) = (Vec::new(), 0, None);
    while tenth <= 1_400 {
        let said = venue.apply(Event::Advance(start(tenth))).unwrap();
        let early = said.iter().find(|report| asked.is_none_or(|asked| report.emitted_at < asked));
        assert_eq!(early, None, "before the time that the venue had named: {asked:?}");
        reports.extend(said);
        let mut due = todo.remove(&tenth).unwrap_or_default();
        due.sort_by_key(|(place, _)| *place);
        for (_, event) in due {
            assert_eq!(venue.apply(event).unwrap(), []);
        }
        asked = venue.next_event_at().unwrap();
        let step = asked.map(|time| (time.micros() - start(0).micros() + 99_999).div_euclid(100_000));
        let next = todo.keys().next().copied().into_iter().chain(step).min().unwrap_or(i64::MAX);
        tenth = if jump { next.max(tenth + 1) } else { tenth + 1 };
    }
    reports
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn reports_add_up_and_do_not_depend_on_request_order_or_cuts(
        seed: u64,
        plans in proptest::collection::vec(plan(), 1..60),
    ) {
        let reports = run(seed, &plans, 1, false);
        prop_assert_eq!(&reports, &run(seed, &plans, 2, false), "the order of requests decided");
        prop_assert_eq!(&reports, &run(seed, &plans, 1, true), "an instant was skipped in which something happened");

        let mut filled: BTreeMap<&str, PriceQuantitySum> = BTreeMap::new();
        let (mut exec_ids, mut ended) = (BTreeMap::new(), BTreeSet::new());
        for (report, seq) in reports.iter().zip(1..) {
            prop_assert_eq!(report.seq, seq);
            if report.poss_dup {
                prop_assert!(exec_ids.contains_key(&report.exec_id));
                continue;
            }
            prop_assert!(exec_ids.insert(report.exec_id.clone(), seq).is_none());
            let order = report.orig_cl_ord_id.as_deref().unwrap_or(&report.cl_ord_id);
            let sum = filled.entry(order).or_default();
            if let Some((px, qty)) = report.last_px.zip(report.last_qty) {
                prop_assert!(report.exec_type == ExecType::Trade && qty.is_positive());
                *sum = sum.add(px, qty).unwrap();
            }
            prop_assert_eq!(report.cum_qty, sum.quantity());
            prop_assert!(report.cum_qty <= report.ord_qty);
            prop_assert!(report.emitted_at > report.transact_at);
            if report.ord_status.is_terminal() {
                prop_assert!(report.leaves_qty.is_zero());
                ended.insert(order);
            } else {
                prop_assert_eq!(report.leaves_qty.checked_add(report.cum_qty).unwrap(), report.ord_qty);
                prop_assert!(!ended.contains(order));
            }
            prop_assert_eq!(report.ord_status == OrdStatus::Filled, report.cum_qty == report.ord_qty);
        }
        for report in reports.iter().filter(|r| r.last_px.is_some()) {
            let n: usize = report.cl_ord_id[1..].parse().unwrap();
            if let Some(limit) = request(n, &plans[n]).limit_price {
                let kept = if plans[n].sell { report.last_px >= Some(limit) } else { report.last_px <= Some(limit) };
                prop_assert!(kept, "a fill beyond the limit");
            }
        }
    }
}

#[test]
fn with_the_default_behaviour_every_outcome_is_common_and_every_venue_fills() {
    let market =
        SyntheticMarket::new(SyntheticConfig { length_us: 600_000_000, ..SyntheticConfig::default() }).unwrap();
    let mut venue = Venue::new(EngineConfig::default(), Box::new(market)).unwrap();
    for n in 0_i64..900 {
        let plan = Plan {
            instrument: usize::try_from(n % 5).unwrap(),
            venue: usize::try_from(n % 3).unwrap(),
            sell: n % 2 == 0,
            lots: 20 + n * 7 % 500,
            ticks_from_open: None,
            time_in_force: 2,
            sent_tenths: 10 + n * 6,
            cancel_after: None,
        };
        let order = venue.accept_order("SIM", request(usize::try_from(n).unwrap(), &plan), None).unwrap().unwrap();
        venue.apply(Event::Order(order)).unwrap();
    }
    let reports = venue.apply(Event::Advance(start(6_500))).unwrap();
    let count = |matches: &dyn Fn(&Report) -> bool| reports.iter().filter(|r| !r.poss_dup && matches(r)).count();
    let rejected = count(&|r| r.ord_status == OrdStatus::Rejected);
    assert!((36..=72).contains(&rejected), "{rejected}");
    let remainders = count(&|r| r.reject_code == Some(RejectCode::IocRemainder));
    assert!((90..=700).contains(&remainders), "{remainders}");
    let partly = count(&|r| r.ord_status == OrdStatus::Canceled && r.cum_qty.is_positive() && r.last_qty.is_none());
    assert!(partly >= 45, "{partly}");
    assert!(reports.iter().any(|r| r.poss_dup));
    assert!(count(&|r| r.ord_status == OrdStatus::Canceled && r.last_qty.is_some()) > 0, "no fill after its cancel");
    let fills = count(&|r| r.last_qty.is_some());
    for venue in ["XALP", "XBET", "XGAM"] {
        let share = count(&|r| r.last_qty.is_some() && r.venue == venue) * 100 / fills;
        assert!(share >= 10, "{venue}: {share} %");
    }
}
