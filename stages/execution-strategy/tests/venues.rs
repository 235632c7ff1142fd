//! The share of each venue that a strategy is told with.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use common::{Desk, allocated, at, instrument, px, qty, set, with_terms};
use fillstream_domain::{Algorithm, AssetClass, Ratio, Side};
use fillstream_execution_strategy::Config;
use fillstream_reference::ReferenceData;
use fillstream_schemas::execution::AccountAllocation;
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::{Account, Broker, RiskLimit, Venue, VenueKind};
use proptest::prelude::*;

/// What each venue shows: bid and ask size, and the second of its quote.
type Books<'a> = &'a [(&'a str, i64, i64, i64)];

/// Lit venues N, Q and R, dark pools D1 and D2, all reached by the account's broker; E is not.
struct World {
    venues: Vec<Venue>,
    limit: Option<RiskLimit>,
    allocation: AccountAllocation,
}

impl World {
    fn new() -> Self {
        let venue = |id: &str, kind| Venue { venue_id: id.into(), kind, is_open: true, ..Venue::default() };
        let lit = ["N", "Q", "R", "E"].map(|id| venue(id, VenueKind::Lit));
        let dark = ["D1", "D2"].map(|id| venue(id, VenueKind::Dark));
        let allocation = with_terms(allocated(Algorithm::Twap, 1_000, 600), |t| t.dark_pool_preference = true);
        Self { venues: lit.into_iter().chain(dark).collect(), limit: None, allocation }
    }

    fn venue(&mut self, id: &str) -> &mut Venue {
        self.venues.iter_mut().find(|venue| venue.venue_id == id).unwrap()
    }

    fn told(&self, books: Books<'_>) -> BTreeMap<String, Ratio> {
        let mut desk = Desk::with(Config::default(), None);
        let mut data = ReferenceData::default();
        set(&mut data, "reference.instruments.v1", "X", &instrument(AssetClass::Equity));
        let account = Account {
            account_id: "A1".into(),
            portfolio_id: "P1".into(),
            brokers: vec!["B".into()],
            is_active: true,
            ..Account::default()
        };
        set(&mut data, "reference.accounts.v1", "A1", &account);
        let venues = ["D1", "D2", "N", "Q", "R"].map(String::from).to_vec();
        set(&mut data, "reference.brokers.v1", "B", &Broker { broker_id: "B".into(), venues, ..Broker::default() });
        self.venues.iter().for_each(|venue| set(&mut data, "reference.venues.v1", &venue.venue_id, venue));
        if let Some(limit) = &self.limit {
            set(&mut data, "reference.limits.v1", "P1", limit);
        }
        desk.bench.table(data);
        let row = |(n, (venue, bid, ask, second)): (usize, &(&str, i64, i64, i64))| NormalizedMarketData {
            instrument_id: "X".into(),
            venue: (*venue).to_owned(),
            kind: MarketDataKind::Quote,
            event_time: at(*second),
            seq: i64::try_from(n).unwrap() + 10,
            bid: Some(px("100")),
            ask: Some(px("100.02")),
            bid_size: Some(qty(*bid)),
            ask_size: Some(qty(*ask)),
            ..NormalizedMarketData::default()
        };
        desk.rows(books.iter().enumerate().map(row).collect());
        desk.begin(&self.allocation).recommended_strategy.venue_allocation
    }
}

fn shares(of: &[(&str, &str)]) -> BTreeMap<String, Ratio> {
    of.iter().map(|(venue, share)| ((*venue).to_owned(), share.parse().unwrap())).collect()
}

/// The specification's example has 40 % and 30 % at two lit venues and 30 % in a dark pool.
const BOOKS: Books<'static> = &[("N", 90, 400, 0), ("Q", 10, 300, 0)];

#[test]
fn the_dark_part_is_spread_evenly_and_the_rest_by_what_is_offered() {
    let mut world = World::new();
    assert_eq!(world.told(BOOKS), shares(&[("D1", "0.15"), ("D2", "0.15"), ("N", "0.4"), ("Q", "0.3")]));
    world.allocation.side = Side::Sell;
    assert_eq!(world.told(BOOKS), shares(&[("D1", "0.15"), ("D2", "0.15"), ("N", "0.63"), ("Q", "0.07")]));
    world.allocation.terms.dark_pool_preference = false;
    assert_eq!(world.told(BOOKS), shares(&[("N", "0.9"), ("Q", "0.1")]));
    // Of what rounding leaves, the deepest book has most.
    let thirds = [("N", 1, 1, 0), ("Q", 1, 1, 0), ("R", 1, 1, 0)];
    assert_eq!(world.told(&thirds), shares(&[("N", "0.333333333"), ("Q", "0.333333333"), ("R", "0.333333334")]));
}

#[test]
fn only_venues_that_the_order_can_use_count() {
    let without = |change: fn(&mut World)| {
        let mut world = World::new();
        world.allocation.terms.dark_pool_preference = false;
        change(&mut world);
        world.told(BOOKS)
    };
    let only_q = shares(&[("Q", "1")]);
    assert_eq!(without(|w| w.venue("N").is_open = false), only_q);
    assert_eq!(without(|w| w.venue("N").instruments = vec!["Y".into()]), only_q);
    assert_eq!(without(|w| w.venue("N").asset_classes = vec!["FX".into()]), only_q);
    assert_eq!(without(|w| w.venue("N").kind = VenueKind::Other), only_q);
    assert_eq!(without(|w| w.allocation.terms.venue_restrictions = vec!["N".into()]), only_q);
    let permitted = |w: &mut World| {
        w.limit =
            Some(RiskLimit { portfolio_id: "P1".into(), permitted_venues: vec!["Q".into()], ..RiskLimit::default() });
    };
    assert_eq!(without(permitted), only_q);
    let mut world = World::new();
    world.allocation.terms.dark_pool_preference = false;
    // One that no broker of the account reaches, one with an old quote, one that shows no size.
    assert_eq!(world.told(&[("E", 9, 9, 0), ("R", 9, 9, -3_600), ("N", 0, 0, 0), ("Q", 1, 1, 0)]), only_q);
    assert!(world.told(&[("E", 9, 9, 0)]).is_empty(), "nobody knows");
    // No dark pool is left: everything goes to the lit venues.
    world.allocation.terms.dark_pool_preference = true;
    world.allocation.terms.venue_restrictions = vec!["D1".into(), "D2".into()];
    assert_eq!(world.told(&[("Q", 1, 1, 0)]), only_q);
}

proptest! {
    #[test]
    fn shares_add_up_to_one(sizes in prop::array::uniform3(0_i64..1_000_000), dark in any::<bool>()) {
        let mut world = World::new();
        world.allocation.terms.dark_pool_preference = dark;
        let [n, q, r] = sizes;
        let told = world.told(&[("N", 1, n, 0), ("Q", 1, q, 0), ("R", 1, r, 0)]);
        prop_assert!(told.values().all(|share| share.is_positive()));
        let sum = Ratio::sum(told.values().copied()).unwrap();
        prop_assert_eq!(sum, if n + q + r == 0 { Ratio::ZERO } else { Ratio::ONE });
    }
}
