//! Another account takes over, and late fills of the one that failed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use fillstream_account_allocation::config::Policy;
use fillstream_account_allocation::eligibility::{Asked, Standing};
use fillstream_account_allocation::fallback::{Cause, Cut, Ended, Takeover, fallback, late_fill};
use fillstream_domain::{Price, Quantity, Side, SignedQuantity};
use fillstream_schemas::reference::Account;
use fillstream_schemas::state::{AllocationOrder, AllocationPart};
use proptest::prelude::*;

fn num<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

fn part(id: &str, quantity: &str) -> AllocationPart {
    AllocationPart {
        account_id: id.into(),
        quantity: num(quantity),
        leaves_qty: num(quantity),
        ..AllocationPart::default()
    }
}

/// 200 over A1 and A2.
fn order() -> AllocationOrder {
    AllocationOrder {
        order_id: "O1".into(),
        parent_qty: num("200"),
        revision: 1,
        parts: vec![part("A1", "100"), part("A2", "100")],
        ..AllocationOrder::default()
    }
}

fn asked() -> Asked {
    Asked {
        side: Side::Buy,
        quantity: num("200"),
        lot: Quantity::ONE,
        minimum: Quantity::ONE,
        price: Price::ONE,
        multiplier: Quantity::ONE,
    }
}

fn accounts(n: usize) -> Vec<Account> {
    (1..=n).map(|n| Account { account_id: format!("A{n}"), is_active: true, ..Account::default() }).collect()
}

fn standings(accounts: &[Account]) -> Vec<Standing<'_>> {
    let standing = |account| Standing {
        account,
        is_killed: false,
        is_paused: false,
        position: SignedQuantity::ZERO,
        available: Quantity::ZERO,
        available_margin: account.available_margin,
        risk_budget: None,
        daily_drawdown: None,
        open_positions: None,
        is_held: false,
        rate: Some(Price::ONE),
    };
    accounts.iter().map(standing).collect()
}

fn ended<'a>(account_id: &'a str, filled: &str) -> Ended<'a> {
    Ended { account_id, filled_qty: num(filled), cause: Cause::Rejected, has_unknown: false }
}

fn take<'a>(order: &AllocationOrder, ended: &Ended<'_>, accounts: &'a [Account]) -> Option<Takeover<'a>> {
    fallback(order, ended, &asked(), standings(accounts), &Policy::default()).unwrap()
}

fn parts(order: &AllocationOrder) -> Vec<(String, String)> {
    order.parts.iter().map(|part| (part.account_id.clone(), part.quantity.to_string())).collect()
}

fn expect(parts: &[(&str, &str)]) -> Vec<(String, String)> {
    parts.iter().map(|(id, quantity)| ((*id).to_owned(), (*quantity).to_owned())).collect()
}

fn balances(order: &AllocationOrder) -> bool {
    let allocated = Quantity::sum(order.parts.iter().map(|part| part.quantity)).unwrap();
    allocated.checked_add(order.unallocated_qty).unwrap() == order.parent_qty
}

#[test]
fn rule_25_an_unused_account_takes_95_per_cent_and_the_rest_is_unallocated() {
    let accounts = accounts(4);
    let Takeover { order, outcome } = take(&order(), &ended("A1", "30"), &accounts).unwrap();
    // 95 % of 70 is 66.5.
    assert_eq!(parts(&order), expect(&[("A1", "30"), ("A2", "100"), ("A3", "66")]));
    assert_eq!((order.unallocated_qty, order.unallocated_code.as_deref()), (num("4"), Some("FALLBACK_REDUCED")));
    assert_eq!((order.revision, order.parts[0].has_failed, order.parts[0].leaves_qty), (2, true, Quantity::ZERO));
    assert!(balances(&order));
    let codes: Vec<_> = outcome.shares.iter().map(|s| s.excluded.as_ref().map(|e| e.code.as_str())).collect();
    assert_eq!(codes, [Some("ALREADY_USED"), Some("ALREADY_USED"), None, Some("NOT_CHOSEN")]);
    assert_eq!(outcome.shares[2].delay_us, 0, "at once");
}

#[test]
fn rule_27_unknown_blocks_it_and_only_rejects_lead_to_it() {
    let accounts = accounts(3);
    let rejected = ended("A1", "30");
    let cases = [
        Ended { has_unknown: true, ..rejected },
        Ended { cause: Cause::Cancelled, ..rejected },
        Ended { cause: Cause::Expired, ..rejected },
        ended("A1", "100"),
        ended("A9", "0"),
    ];
    assert!(cases.iter().all(|ended| take(&order(), ended, &accounts).is_none()));
    let stopped = AllocationOrder { is_stopped: true, ..order() };
    assert!(take(&stopped, &rejected, &accounts).is_none());
    let failed = take(&order(), &rejected, &accounts).unwrap().order;
    assert!(take(&failed, &rejected, &accounts).is_none(), "it has failed once");
    assert!(take(&failed, &ended("A1", "20"), &accounts).is_none(), "a bust after that is no second failure");
}

#[test]
fn the_first_account_that_can_take_all_is_chosen_by_priority_else_the_one_that_can_take_most() {
    let mut accounts = accounts(5);
    accounts[2].available_margin = Some(num("10000"));
    (accounts[3].available_margin, accounts[3].priority) = (Some(num("10000")), Some(1));
    let chosen = take(&order(), &ended("A1", "0"), &accounts).unwrap().order;
    assert_eq!(chosen.parts[2].account_id, "A4");
    // Margin for 1,000 units at a price of 1 is the least; here prices are 20 times that.
    for (n, margin) in [(2, "1000"), (3, "1200"), (4, "1100")] {
        accounts[n].available_margin = Some(num(margin));
    }
    let dear = Asked { price: num("20"), ..asked() };
    let chosen =
        fallback(&order(), &ended("A1", "0"), &dear, standings(&accounts), &Policy::default()).unwrap().unwrap();
    assert_eq!((chosen.order.parts[2].account_id.as_str(), chosen.order.parts[2].quantity), ("A4", num("60")));
    assert!(balances(&chosen.order) && chosen.order.unallocated_qty == num("40"));
}

#[test]
fn rule_25_what_nobody_takes_over_is_unallocated() {
    let accounts = accounts(2);
    let Takeover { order, outcome } = take(&order(), &ended("A1", "30"), &accounts).unwrap();
    assert_eq!((parts(&order), order.revision), (expect(&[("A1", "30"), ("A2", "100")]), 2));
    assert_eq!(order.unallocated_code.as_deref(), Some("NO_ELIGIBLE_ACCOUNT"));
    assert!(balances(&order) && outcome.shares.iter().all(|share| share.quantity.is_zero()));
}

#[test]
fn a_minimum_that_95_per_cent_do_not_reach_is_not_sent() {
    let accounts = accounts(3);
    let least = Asked { minimum: num("50"), ..asked() };
    let small = fallback(&order(), &ended("A1", "99.5"), &least, standings(&accounts), &Policy::default()).unwrap();
    let Takeover { order, outcome } = small.unwrap();
    assert_eq!((order.parts.len(), order.unallocated_qty), (2, num("0.5")));
    assert_eq!(outcome.shares[2].excluded.as_ref().unwrap().code.as_str(), "BELOW_MINIMUM");
}

#[test]
fn rule_27_a_late_fill_of_the_failed_account_is_not_allocated_twice() {
    let accounts = accounts(4);
    let failed = take(&order(), &ended("A1", "30"), &accounts).unwrap().order;
    assert_eq!(late_fill(&failed, "A1", num("30")).unwrap(), None);
    assert_eq!(late_fill(&failed, "A2", num("40")).unwrap(), None, "it has not failed");
    let (after, cuts) = late_fill(&failed, "A1", num("40")).unwrap().unwrap();
    // 4 were free, 6 are taken from A3, which was the last to get some.
    assert_eq!(parts(&after), expect(&[("A1", "40"), ("A2", "100"), ("A3", "60")]));
    assert_eq!(cuts, [Cut { account_id: "A3".into(), quantity: num("60") }]);
    assert_eq!((after.unallocated_qty, after.unallocated_code.clone(), after.revision), (Quantity::ZERO, None, 3));
    let (free, none) = late_fill(&failed, "A1", num("33")).unwrap().unwrap();
    assert_eq!((free.unallocated_qty, none, free.revision), (num("1"), vec![], 3));
}

#[test]
fn what_everybody_has_filled_already_is_an_overfill_and_allocated_to_nobody() {
    let accounts = accounts(3);
    let mut failed = take(&order(), &ended("A1", "30"), &accounts).unwrap().order;
    failed.parts.iter_mut().for_each(|part| part.leaves_qty = Quantity::ZERO);
    let (after, cuts) = late_fill(&failed, "A1", num("100")).unwrap().unwrap();
    assert_eq!((parts(&after)[0].clone(), cuts), (("A1".to_owned(), "34".to_owned()), vec![]));
    assert!(balances(&after));
    assert_eq!(late_fill(&after, "A1", num("100")).unwrap(), None);
}

proptest! {
    // Whatever fails, is filled late and takes over in whatever order.
    #[test]
    fn rule_25_allocated_and_unallocated_stay_the_parent(
        steps in prop::collection::vec((0_usize..6, 0_i64..130, any::<bool>()), 1..30),
    ) {
        let accounts = accounts(6);
        let mut order = order();
        for (n, filled, fails) in steps {
            let id = format!("A{}", n + 1);
            let filled = Quantity::from_int(filled).unwrap();
            let next = if fails {
                take(&order, &Ended { filled_qty: filled, ..ended(&id, "0") }, &accounts).map(|takeover| takeover.order)
            } else {
                late_fill(&order, &id, filled).unwrap().map(|(after, _)| after)
            };
            order = next.unwrap_or(order);
            prop_assert!(balances(&order), "{:?}", order);
            prop_assert_eq!(order.unallocated_code.is_some(), order.unallocated_qty.is_positive());
            let ids: std::collections::BTreeSet<_> = order.parts.iter().map(|part| &part.account_id).collect();
            prop_assert_eq!(ids.len(), order.parts.len(), "nobody is used twice");
        }
    }
}
