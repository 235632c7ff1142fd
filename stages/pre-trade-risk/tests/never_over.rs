//! Whatever is decided, replaced, filled, cancelled and busted in whatever order: no limit is ever passed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use common::{ORDERS, World, created, event, num, replacing};
use fillstream_domain::Side;
use fillstream_schemas::execution::{OrderEvent, OrderEventType, ParentStatus, ValidatedOrder};
use proptest::prelude::*;

/// An order of the model: side, ordered, filled (units), whether it still works, whether risk approved it.
#[derive(Clone, Debug)]
struct Model {
    created: OrderEvent,
    buys: bool,
    ordered: i64,
    filled: i64,
    paid: i64,
    works: bool,
    /// Quantity of an approved replace that nobody has confirmed.
    asked: Option<i64>,
}

impl Model {
    /// What may still be filled, under the old or the new quantity.
    fn open(&self) -> i64 {
        if self.works { self.ordered.max(self.asked.unwrap_or(0)) - self.filled } else { 0 }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    New { beta: bool, side: u8, quantity: i64 },
    Fill { order: usize, part: i64, price: i64 },
    End { order: usize },
    Bust { order: usize },
    Replace { order: usize, quantity: i64 },
    Answer { order: usize, yes: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (any::<bool>(), 0_u8..4, 1_i64..500).prop_map(|(beta, side, quantity)| Step::New { beta, side, quantity }),
        3 => (any::<usize>(), 1_i64..10, -1_i64..=1).prop_map(|(order, part, price)| Step::Fill { order, part, price }),
        1 => any::<usize>().prop_map(|order| Step::End { order }),
        1 => any::<usize>().prop_map(|order| Step::Bust { order }),
        2 => (any::<usize>(), 1_i64..500).prop_map(|(order, quantity)| Step::Replace { order, quantity }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(order, yes)| Step::Answer { order, yes }),
    ];
    prop::collection::vec(step, 1..40)
}

const INSTRUMENTS: [(&str, i64); 2] = [("ACME", 100), ("BETA", 50)];

fn told(model: &Model, event_type: OrderEventType, status: ParentStatus) -> OrderEvent {
    event(&model.created, event_type, status, &model.filled.to_string(), &model.paid.to_string())
}

/// What an independent reader of the orders entered would find, in units and whole dollars: worst-case positions.
fn worst(models: &[Model], opening: &BTreeMap<&str, i64>, instrument: &str) -> (i64, i64) {
    let of = |m: &&Model| m.created.instrument_id == instrument;
    let mut position = opening.get(instrument).copied().unwrap_or(0);
    let (mut buys, mut sells) = (0, 0);
    for m in models.iter().filter(of) {
        position += if m.buys { m.filled } else { -m.filled };
        if m.buys { buys += m.open() } else { sells += m.open() }
    }
    (position + buys, position - sells)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn rule_15_no_interleaving_passes_a_limit(steps in steps(), allow_short: bool, restart in 0_usize..40) {
        let mut world = World::default();
        world.limits[0].allow_short = allow_short;
        world.accounts[0].positions.insert("BETA".to_owned(), num("300"));
        let opening = BTreeMap::from([("BETA", 300)]);
        let mut bench = world.bench();
        let mut models: Vec<Model> = Vec::new();
        for (n, step) in steps.into_iter().enumerate() {
            if n == restart {
                bench.restart();
            }
            match step {
                Step::New { beta, side, quantity } => {
                    let side = [Side::Buy, Side::Sell, Side::SellShort, Side::BuyToCover][usize::from(side)];
                    let instrument = INSTRUMENTS[usize::from(beta)].0;
                    let created = created(&format!("O{n}"), instrument, side, &quantity.to_string());
                    bench.record(ORDERS, &created);
                    let verdict: ValidatedOrder = bench.take_one();
                    let before = worst(&models, &opening, instrument);
                    let works = verdict.is_approved;
                    prop_assert_eq!(works, verdict.reason_codes.is_empty());
                    models.push(Model { created, buys: side.is_buy(), ordered: quantity, filled: 0, paid: 0, works, asked: None });
                    if works {
                        let without = gross(&models[..models.len() - 1], &opening, beta);
                        within(&models, models.len() - 1, &opening, allow_short, without)?;
                    } else if let Some(text) = verdict.recommendations.iter().find_map(|r| r.strip_prefix("REDUCE_TO:")) {
                        let reduced: i64 = text.parse().unwrap();
                        prop_assert!(0 < reduced && reduced < quantity, "{} of {}", reduced, quantity);
                        prop_assert_eq!(worst(&models, &opening, instrument), before);
                    }
                }
                Step::Replace { order, quantity } => {
                    let Some(index) = index(&models, order) else { continue };
                    let (m, beta) = (&models[index], models[index].created.instrument_id == "BETA");
                    if !m.works || quantity < m.filled { continue }
                    let revision = i32::try_from(n).unwrap() + 2;
                    let order = OrderEvent { cum_qty: num(&m.filled.to_string()), ..m.created.clone() };
                    bench.record(ORDERS, &replacing(&order, revision, &quantity.to_string(), None));
                    let verdict: ValidatedOrder = bench.take_one();
                    prop_assert!(!verdict.is_approved || m.asked.is_none(), "one replace at a time");
                    if verdict.is_approved {
                        let before = gross(&models, &opening, beta);
                        let grows = quantity > models[index].ordered;
                        models[index].asked = Some(quantity);
                        if grows {
                            within(&models, index, &opening, allow_short, before)?;
                        }
                    }
                }
                Step::Answer { order, yes } => {
                    let Some(m) = pick(&mut models, order) else { continue };
                    let Some(asked) = m.asked.take() else { continue };
                    if yes {
                        m.ordered = asked.max(m.filled);
                        m.created.ord_qty = num(&m.ordered.to_string());
                        bench.record(ORDERS, &told(m, OrderEventType::Replaced, ParentStatus::Working));
                        if m.ordered == m.filled {
                            m.works = false;
                            bench.record(ORDERS, &told(m, OrderEventType::Filled, ParentStatus::Filled));
                        }
                    } else {
                        let refused = told(m, OrderEventType::CommandRefused, ParentStatus::Working);
                        let refused = OrderEvent { reason_code: Some("REPLACE_OVERDUE".to_owned()), ..refused };
                        bench.record(ORDERS, &refused);
                    }
                }
                Step::Fill { order, part, price } => {
                    let Some(m) = pick(&mut models, order) else { continue };
                    if !m.works { continue }
                    let more = ((m.ordered - m.filled) * part).div_euclid(10).max(1).min(m.ordered - m.filled);
                    let beta = m.created.instrument_id == "BETA";
                    m.filled += more;
                    m.paid += more * (INSTRUMENTS[usize::from(beta)].1 + price);
                    m.works = m.filled < m.ordered;
                    m.asked = m.asked.filter(|_| m.works);
                    let event = if m.works {
                        told(m, OrderEventType::ChildUpdated, ParentStatus::PartiallyFilled)
                    } else {
                        told(m, OrderEventType::Filled, ParentStatus::Filled)
                    };
                    bench.record(ORDERS, &event);
                }
                Step::End { order } => {
                    let Some(m) = pick(&mut models, order) else { continue };
                    if !m.works { continue }
                    (m.works, m.asked) = (false, None);
                    let event = told(m, OrderEventType::Cancelled, ParentStatus::Cancelled);
                    bench.record(ORDERS, &event);
                }
                Step::Bust { order } => {
                    let Some(m) = pick(&mut models, order) else { continue };
                    if m.filled == 0 || m.works { continue }
                    (m.filled, m.paid) = (0, 0);
                    let event = told(m, OrderEventType::Amended, ParentStatus::Cancelled);
                    bench.record(ORDERS, &event);
                }
            }
            bench.expect_no_more();
            compare(&bench, &models, &opening)?;
        }
    }
}

/// What an approval of the order at `index` must not have passed.
fn within(
    models: &[Model],
    index: usize,
    opening: &BTreeMap<&str, i64>,
    allow_short: bool,
    gross_before: i64,
) -> Result<(), TestCaseError> {
    let model = &models[index];
    let (most, least) = worst(models, opening, &model.created.instrument_id);
    let beta = model.created.instrument_id == "BETA";
    // Collar 1 %: a buy is held at 101 % of the ask, a sell at 101 % of the bid.
    let price = INSTRUMENTS[usize::from(beta)].1;
    if model.buys {
        prop_assert!(most * price * 101 <= 80_000 * 100, "{} long", most);
    } else {
        prop_assert!(-least * (price - 1) * 101 <= 80_000 * 100, "{} short", least);
        prop_assert!(allow_short || least >= 0);
    }
    let (used, cash) = cash_used(models);
    prop_assert!(allow_short || !model.buys || used <= cash * 100, "{} of {}", used, cash);
    let gross = gross(models, opening, beta);
    prop_assert!(gross <= 120_000 * 200 || gross <= gross_before);
    Ok(())
}

/// Cash left of 100,000 in dollars, and what open buys hold of it in cents; without shorts that is all that ties it up.
fn cash_used(models: &[Model]) -> (i64, i64) {
    let paid: i64 = models.iter().map(|m| if m.buys { m.paid } else { -m.paid }).sum();
    let open = models.iter().filter(|m| m.works && m.buys);
    let used = open.map(|m| m.open() * if m.created.instrument_id == "BETA" { 50 } else { 100 } * 101);
    (used.sum(), 100_000 - paid)
}

/// Worst-case sum of positions in half cents: the ordered instrument at its reserved price (buys and sells differ by a
/// dollar: the lower one, so that the model is never stricter), the other at its mid.
fn gross(models: &[Model], opening: &BTreeMap<&str, i64>, beta: bool) -> i64 {
    let value = |n: usize| {
        let (instrument, ask) = INSTRUMENTS[n];
        let (most, least) = worst(models, opening, instrument);
        let price = if n == usize::from(beta) { (ask - 1) * 202 } else { ask * 200 - 100 };
        most.abs().max(least.abs()) * price
    };
    value(0) + value(1)
}

fn index(models: &[Model], order: usize) -> Option<usize> {
    order.checked_rem(models.len())
}

fn pick(models: &mut [Model], order: usize) -> Option<&mut Model> {
    let index = index(models, order)?;
    models.get_mut(index)
}

// What the stage remembers is what the model says: positions, money, what is open.
fn compare(
    bench: &fillstream_testkit::StageBench,
    models: &[Model],
    opening: &BTreeMap<&str, i64>,
) -> Result<(), TestCaseError> {
    use fillstream_schemas::state::{RiskBook, RiskPortfolio, RiskReservation};
    let portfolio = bench.state::<RiskPortfolio>("portfolios").remove("P1");
    let Some(portfolio) = portfolio else { return Ok(()) };
    let mut wealth = portfolio.cash.unscaled();
    for (instrument, _) in INSTRUMENTS {
        let booked = portfolio.positions.get(instrument);
        let filled = |m: &&Model| m.created.instrument_id == instrument;
        let moved: i64 = models.iter().filter(filled).map(|m| if m.buys { m.filled } else { -m.filled }).sum();
        let expected = opening.get(instrument).copied().unwrap_or(0) + moved;
        prop_assert_eq!(booked.map_or(0, |p| p.quantity.unscaled()), i128::from(expected) * 100_000_000);
        wealth += booked.map_or(0, |p| p.short_proceeds.unscaled());
    }
    let paid: i64 = models.iter().map(|m| if m.buys { m.paid } else { -m.paid }).sum();
    prop_assert_eq!(wealth, i128::from(100_000 - paid) * 100_000_000);
    let units = |quantity: fillstream_domain::Quantity| quantity.unscaled() / 100_000_000;
    let books: BTreeMap<_, _> = bench
        .state::<RiskBook>("books")
        .into_values()
        .map(|book| (book.instrument_id, (units(book.buy_qty), units(book.sell_qty))))
        .collect();
    let mut summed: BTreeMap<String, (i128, i128)> = BTreeMap::new();
    for m in models.iter().filter(|m| m.open() > 0) {
        let book = summed.entry(m.created.instrument_id.clone()).or_default();
        let side = if m.buys { &mut book.0 } else { &mut book.1 };
        *side += i128::from(m.open());
    }
    prop_assert_eq!(books, summed);
    let held = |o: RiskReservation| (o.order_id, (units(o.open_qty), o.replace.map(|r| units(r.open_qty))));
    let open: BTreeMap<_, _> = bench.state::<RiskReservation>("open").into_values().map(held).collect();
    let expected: BTreeMap<_, _> = models
        .iter()
        .filter(|m| m.works)
        .map(|m| {
            let left = |ordered: i64| i128::from(ordered - m.filled);
            (m.created.order_id.clone(), (left(m.ordered), m.asked.map(|asked| left(asked.max(m.filled)))))
        })
        .collect();
    prop_assert_eq!(open, expected);
    Ok(())
}
