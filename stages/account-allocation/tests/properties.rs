//! What holds for every order over any accounts.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use fillstream_account_allocation::adjust::{Link, Terms, correlate, vary};
use fillstream_account_allocation::config::{CorrelationAction, Policy, Rule, Variance};
use fillstream_account_allocation::eligibility::{Asked, Standing};
use fillstream_account_allocation::rules::{Outcome, allocate};
use fillstream_domain::{Money, Price, Quantity, Ratio, Side, SignedQuantity, Urgency};
use fillstream_schemas::reference::Account;
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Case {
    account: Account,
    is_killed: bool,
    position: i64,
    open: i64,
    open_positions: Option<i32>,
}

fn account() -> impl Strategy<Value = Case> {
    let money = prop_oneof![Just(None), (0_i64..20_000).prop_map(Some)];
    let small = prop_oneof![Just(None), (0_i32..6).prop_map(Some)];
    (
        money.clone(),
        money,
        0_i64..6,
        small.clone(),
        small,
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.1),
        -50_i64..300,
        0_i64..40,
    )
        .prop_map(|(equity, margin, ratio, priority, open_positions, is_active, is_killed, position, open)| Case {
            account: Account {
                equity: equity.map(|m| Money::from_int(m).unwrap()),
                available_margin: margin.map(|m| Money::from_int(m).unwrap()),
                allocation_ratio: Some(Ratio::from_int(ratio).unwrap()),
                priority,
                is_active,
                ..Account::default()
            },
            is_killed,
            position,
            open,
            open_positions,
        })
}

fn cases() -> impl Strategy<Value = Vec<Case>> {
    prop::collection::vec(account(), 0..12).prop_map(|mut cases| {
        for (n, case) in cases.iter_mut().enumerate() {
            case.account.account_id = format!("A{n:02}");
        }
        cases
    })
}

fn standing(case: &Case) -> Standing<'_> {
    let position = SignedQuantity::from_int(case.position).unwrap();
    Standing {
        account: &case.account,
        is_killed: case.is_killed,
        is_paused: false,
        position,
        available: Quantity::from_int((case.position - case.open).max(0)).unwrap(),
        available_margin: case.account.available_margin,
        risk_budget: None,
        daily_drawdown: None,
        open_positions: case.open_positions,
        is_held: case.position != 0,
        rate: Some(Price::ONE),
    }
}

fn ask() -> impl Strategy<Value = Asked> {
    let side = prop_oneof![Just(Side::Buy), Just(Side::Sell)];
    (side, 1_i64..500, 1_i64..8, 0_i64..30, 1_i64..40).prop_map(|(side, lots, lot, minimum, price)| Asked {
        side,
        quantity: Quantity::from_int(lots * lot).unwrap(),
        lot: Quantity::from_int(lot).unwrap(),
        minimum: Quantity::from_int(minimum).unwrap(),
        price: Price::from_int(price).unwrap(),
        multiplier: Quantity::ONE,
    })
}

fn by_account(outcome: &Outcome<'_>) -> Vec<(String, Quantity, Option<String>)> {
    let row = |s: &fillstream_account_allocation::rules::Share<'_>| {
        (s.standing.account.account_id.clone(), s.quantity, s.excluded.as_ref().map(|e| e.text.clone()))
    };
    outcome.shares.iter().map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn rule_25_allocated_and_unallocated_are_the_parent(ask in ask(), cases in cases(), rule in prop::sample::select(Rule::ALL)) {
        let policy = Policy { rule, ..Policy::default() };
        let outcome = allocate(&ask, cases.iter().map(standing).collect(), &policy).unwrap();
        let allocated = Quantity::sum(outcome.shares.iter().map(|s| s.quantity)).unwrap();
        prop_assert_eq!(allocated.checked_add(outcome.unallocated).unwrap(), ask.quantity);
        prop_assert_eq!(outcome.code.is_some(), outcome.unallocated.is_positive());
        prop_assert_eq!(outcome.shares.len(), cases.len());
        let alone = cases.len() == 1;
        for share in &outcome.shares {
            prop_assert!(share.quantity.is_whole_lots(ask.lot));
            prop_assert!(share.excluded.is_none() || share.quantity.is_zero());
            prop_assert!(share.cap.is_none_or(|cap| share.quantity <= cap));
            prop_assert!(share.quantity.is_zero() || share.quantity >= ask.minimum || share.quantity == ask.quantity);
            // Nobody sells more than it has available.
            prop_assert!(!ask.is_reducing() || alone || share.quantity <= share.standing.available);
        }
    }

    #[test]
    fn the_order_in_which_accounts_come_changes_nothing(ask in ask(), cases in cases(), rule in prop::sample::select(Rule::ALL), turn in 0_usize..12) {
        let policy = Policy { rule, ..Policy::default() };
        let straight = allocate(&ask, cases.iter().map(standing).collect(), &policy).unwrap();
        let mut other = cases.clone();
        other.reverse();
        let turn = turn.min(other.len());
        other.rotate_left(turn);
        let turned = allocate(&ask, other.iter().map(standing).collect(), &policy).unwrap();
        prop_assert_eq!(by_account(&straight), by_account(&turned));
        prop_assert_eq!((straight.unallocated, straight.code), (turned.unallocated, turned.code));
    }

    // Nothing stays with nobody while somebody could take it.
    #[test]
    fn nothing_is_left_that_an_account_could_take(ask in ask(), cases in cases()) {
        let ask = Asked { minimum: Quantity::ZERO, ..ask };
        let outcome = allocate(&ask, cases.iter().map(standing).collect(), &Policy::default()).unwrap();
        if outcome.unallocated.is_positive() {
            for share in outcome.shares.iter().filter(|share| share.excluded.is_none()) {
                prop_assert_eq!(share.cap, Some(share.quantity));
            }
        }
    }

    // Whoever goes together with whom, and however starts and sizes vary.
    #[test]
    fn rules_28_and_29_keep_the_sum_the_caps_and_the_minimum(
        ask in ask(), cases in cases(), reduce in any::<bool>(), seed in any::<u32>(),
    ) {
        let mut policy = Policy { variance: Variance::default(), ..Policy::default() };
        policy.correlation.action = if reduce { CorrelationAction::Reduce } else { CorrelationAction::Delay };
        let mut cases = cases;
        for (n, case) in cases.iter_mut().enumerate() {
            case.account.variance_opt_in = n % 4 != 0;
            case.account.beneficial_owner = Some(format!("owner {}", n % 2));
        }
        let before = allocate(&ask, cases.iter().map(standing).collect(), &policy).unwrap();
        let link = |a: &str, b: &str| {
            let sum: u32 = a.bytes().chain(b.bytes()).map(u32::from).sum();
            Link::Measured(if (sum ^ seed).is_multiple_of(3) { Ratio::ONE } else { Ratio::ZERO })
        };
        let mut outcome = correlate(&ask, before.clone(), link, &policy, 3_600_000_000).unwrap();
        let reduced = outcome.clone();
        let terms = Terms { order_id: "O1", urgency: Urgency::Normal, horizon_us: 3_600_000_000 };
        vary(&ask, &mut outcome.shares, terms, &policy.variance).unwrap();
        let sum = |outcome: &Outcome<'_>| Quantity::sum(outcome.shares.iter().map(|s| s.quantity)).unwrap();
        prop_assert_eq!(sum(&outcome).checked_add(outcome.unallocated).unwrap(), ask.quantity);
        prop_assert_eq!(sum(&outcome), sum(&reduced));
        prop_assert!(reduce || sum(&outcome) == sum(&before), "a delay takes nothing away");
        for share in &outcome.shares {
            prop_assert!(share.quantity.is_whole_lots(ask.lot) && share.cap.is_none_or(|cap| share.quantity <= cap));
            prop_assert!(share.quantity.is_zero() || share.quantity >= ask.minimum || share.quantity == ask.quantity);
            prop_assert!(share.delay_us >= 0 && (share.quantity.is_positive() || share.delay_us == 0));
            prop_assert!(!ask.is_reducing() || share.delay_us == 0);
        }
    }
}
