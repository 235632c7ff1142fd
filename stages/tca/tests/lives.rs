//! Whatever happens to an order, its row says what a plain recount of the fills that stand says.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod support;

use fillstream_domain::{Money, PriceQuantitySum, Quantity, Rounding, TimestampMicros};
use fillstream_schemas::execution::{ExecutionQuality, OrderEvent, ParentStatus};
use fillstream_tca::Config;
use fillstream_tca::shortfall::components_add_up;
use proptest::prelude::*;
use support::*;

/// What may happen; indices pick among the fills that stand.
#[derive(Clone, Debug)]
enum Step {
    Fill { child: u32, px: i128, qty: i128, fee: i128 },
    Bust { which: usize },
    Correct { which: usize, px: i128, qty: i128 },
    Repeat { which: usize },
}

#[derive(Clone, Debug, PartialEq)]
struct Stands {
    child: u32,
    px: String,
    qty: String,
    at: TimestampMicros,
}

fn text(units: i128) -> String {
    Quantity::from_unscaled(units).unwrap().to_string()
}

fn arb_step() -> impl Strategy<Value = Step> {
    // Prices and quantities of 8 digits: products of 16, more than the totals carry.
    let px = || 3_900_000_000_i128..4_100_000_000;
    let qty = || prop_oneof![Just(1_000_000_000_i128), 1_i128..50_000_000_000];
    prop_oneof![
        6 => (1_u32..4, px(), qty(), 0_i128..100_000_000).prop_map(|(child, px, qty, fee)| Step::Fill { child, px, qty, fee }),
        2 => any::<usize>().prop_map(|which| Step::Bust { which }),
        1 => (any::<usize>(), px(), qty()).prop_map(|(which, px, qty)| Step::Correct { which, px, qty }),
        1 => any::<usize>().prop_map(|which| Step::Repeat { which }),
    ]
}

/// Plays the steps, a second apart, the order's end after so many of them; gives the events and what stands at last.
fn play(order: &mut Order, steps: &[Step], end_after: usize, market: &Market) -> (Vec<OrderEvent>, Vec<Stands>) {
    let mut events = vec![order.created(s(-0.8)), order.released(s(0.0), &market.table)];
    let mut stands: Vec<Stands> = Vec::new();
    for (n, step) in (1_u32..).zip(steps) {
        if usize::try_from(n).unwrap() == end_after + 1 {
            events.push(order.ended(ParentStatus::Cancelled, s(f64::from(n) - 0.5)));
        }
        let at = s(f64::from(n));
        match step {
            Step::Fill { child, px, qty, fee } => {
                let (px, qty, fee) = (text(*px), text(*qty), text(*fee));
                events.push(order.fill_with_fee(*child, &px, &qty, Some((&fee, "USD")), at));
                stands.push(Stands { child: *child, px, qty, at });
            }
            Step::Bust { which } if !stands.is_empty() => {
                let gone = stands.remove(which % stands.len());
                events.push(order.bust(gone.child, &gone.px, &gone.qty, at));
            }
            Step::Correct { which, px, qty } if !stands.is_empty() => {
                let index = which % stands.len();
                let old = stands[index].clone();
                let new = Stands { px: text(*px), qty: text(*qty), ..old.clone() };
                events.push(order.correct(old.child, (&old.px, &old.qty), (&new.px, &new.qty), at));
                stands[index] = new;
            }
            // Any earlier event once more: it is known by its revision.
            Step::Repeat { which } => {
                events.push(OrderEvent { timestamp: at, ..events[which % events.len()].clone() });
            }
            Step::Bust { .. } | Step::Correct { .. } => {}
        }
    }
    if end_after >= steps.len() {
        events.push(order.ended(ParentStatus::Cancelled, s(60.0)));
    }
    (events, stands)
}

fn market() -> Market {
    let mut market = Market::default();
    market.quote(s(-1.0), "40.03", "40.05");
    for n in 0..20 {
        market.print(s(0.5 + f64::from(n)), "40.02", "3").quote(s(0.7 + f64::from(n)), "40.00", "40.02");
    }
    market
}

fn analysed(config: Config, steps: &[Step], end_after: usize) -> (ExecutionQuality, Vec<Stands>, Money) {
    let market = market();
    let mut bench = bench(config, &market, &data(&[instrument()]));
    let mut order = Order::buy();
    let (events, stands) = play(&mut order, steps, end_after, &market);
    tell(&mut bench, events);
    let rows: Vec<ExecutionQuality> = bench.timer_to(s(120.0)).restart().take();
    let revisions: Vec<i32> = rows.iter().map(|row| row.revision).collect();
    assert!(revisions.iter().copied().eq(1..=i32::try_from(rows.len()).unwrap()), "{revisions:?}");
    (rows.last().unwrap().clone(), stands, order.event.fees)
}

fn sum(stands: &[Stands]) -> PriceQuantitySum {
    stands.iter().fold(PriceQuantitySum::ZERO, |sum, fill| sum.add(px(&fill.px), qty(&fill.qty)).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_row_is_a_recount_of_the_fills_that_stand(steps in prop::collection::vec(arb_step(), 0..25), end_after in 0_usize..25) {
        let (row, stands, fees) = analysed(Config::default(), &steps, end_after);
        let expected = sum(&stands);
        prop_assert_eq!(row.filled_qty, expected.quantity());
        prop_assert_eq!(row.avg_px, expected.avg(Rounding::HalfEven).unwrap());
        prop_assert!(components_add_up(&row.costs));
        prop_assert_eq!(row.costs.fees, fees);
        prop_assert_eq!(Money::sum(row.shares.iter().map(|share| share.fees)).unwrap(), fees);
        prop_assert_eq!(usize::try_from(row.efficiency_metrics.fills).unwrap(), stands.len());
        for venue in ["VX", "VY"] {
            let here: Vec<Stands> = stands.iter().filter(|f| (f.child % 2 == 1) == (venue == "VX")).cloned().collect();
            let share = row.shares.iter().find(|share| share.venue == venue);
            let expected = sum(&here);
            prop_assert_eq!(share.map_or(Quantity::ZERO, |share| share.quantity), expected.quantity());
            if let Some(share) = share {
                prop_assert_eq!(share.notional, expected.turnover(Rounding::HalfEven).unwrap());
                prop_assert_eq!(usize::try_from(share.fills).unwrap(), here.len());
            }
        }
        if let Some(last) = stands.iter().map(|fill| fill.at).max() {
            prop_assert_eq!(row.interval_end, last);
        }
    }

    /// With few fills held one by one the quantities stand, and prices to the digits that the totals carry.
    #[test]
    fn what_is_no_longer_held_one_by_one_still_counts(steps in prop::collection::vec(arb_step(), 0..25)) {
        let config = Config { max_fills_per_child: 1, ..Config::default() };
        let (row, stands, fees) = analysed(config, &steps, 25);
        let expected = sum(&stands);
        prop_assert_eq!((row.filled_qty, row.costs.fees), (expected.quantity(), fees));
        prop_assert!(components_add_up(&row.costs));
        let notional = fillstream_domain::Turnover::sum(row.shares.iter().map(|share| share.notional)).unwrap();
        let off = notional.checked_sub(expected.turnover(Rounding::HalfEven).unwrap()).unwrap();
        prop_assert!(off.unscaled().abs() <= 30, "{}", off);
    }
}
