//! The checks: each a pure function of the facts.

mod allocations;
mod arrival;
mod bookings;
mod chain;
mod decisions;
mod engine;
mod fills;
mod landing;
mod leases;
mod limits;
mod orders;
mod plans;
mod replaces;
mod stops;
mod tca;
mod traces;
mod venue;
mod verdicts;

#[cfg(test)]
pub(crate) use chain::hash_of;
#[cfg(test)]
pub(crate) use leases::answer_id;
#[cfg(test)]
pub(crate) use traces::trace_of;

use crate::facts::Facts;
use crate::report::Check;

/// Runs every check.
/// A check of what has happened holds at every prefix; one of what must happen waits until the run is at rest.
pub(crate) fn all(facts: &Facts) -> Vec<Check> {
    let checks: &[fn(&Facts) -> Check] = &[
        engine::records_readable,
        decisions::decisions_end_once,
        decisions::orders_have_decisions,
        orders::order_lifecycles,
        orders::order_quantities,
        fills::children_sum_to_parent,
        fills::fills_booked_once,
        venue::fills_match_venue,
        venue::venue_orders_approved,
        venue::intents_gapless,
        verdicts::risk_verdicts,
        limits::positions_within_limits,
        limits::buying_power,
        limits::leases_cover_what_is_used,
        leases::leases_stay_under_their_limit,
        arrival::arrival_pins,
        allocations::allocations_add_up,
        plans::slices_routed,
        plans::children_planned,
        plans::schedules_end,
        stops::stops_set_off,
        tca::costs_add_up,
        tca::costs_due,
        chain::audit_chain,
        traces::one_trace_an_order,
        landing::clickhouse_rows,
        engine::journals_gapless,
        engine::records_journalled,
        engine::dead_letters,
    ];
    checks.iter().map(|check| check(facts)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_run_passes_and_every_check_sees_something() {
        for check in all(&crate::sample::clean()) {
            assert_eq!(check.violations, 0, "{check:?}");
            assert!(check.examined > 0, "{} examined nothing", check.name);
        }
    }

    #[test]
    fn an_empty_run_proves_nothing() {
        assert!(all(&Facts::default()).iter().all(|check| check.examined == 0 && check.violations == 0));
    }

    #[test]
    fn names_are_distinct() {
        let names: std::collections::BTreeSet<String> =
            all(&Facts::default()).into_iter().map(|check| check.name).collect();
        assert_eq!(names.len(), 29);
    }
}
