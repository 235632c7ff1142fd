//! Scores the (broker, venue) pairs an account can use and splits a slice into routed legs.
//!
//! The whole plan is an event: every candidate and broker with its figures, the legs with their ClOrdIDs and prices, what no
//! venue could take and why. What stays unrouted goes back to the schedule, which releases it again. What
//! order-management says of the children teaches the stage how pairs fare, which of them refuse, and what came back.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::as_conversions, clippy::disallowed_methods, clippy::disallowed_types)]

mod broker;
mod candidates;
mod commission;
pub mod config;
mod convex;
mod decay;
mod memory;
mod money;
mod placement;
mod plan;
mod quality;
mod reason;
mod route;
mod score;
mod split;
mod terms;

use fillstream_core::error::Poison;
use fillstream_core::record::Record;
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::table::TableDecl;
use fillstream_core::{inputs, outputs};
use fillstream_domain::Price;
use fillstream_reference::{Controls, MarketTable, ReferenceData};
use fillstream_schemas::engine::NoTimer;
use fillstream_schemas::execution::{OrderEvent, RoutingPlan, Slice};

pub use config::Config;
use memory::Sent;
pub use memory::State;
use plan::{Context, Leg, Routed, number};
pub use reason::RouteReason;
use route::World;

inputs! {
    /// What the stage reads.
    pub enum In {
        Slice(Slice) = "execution.slices.v1",
        Order(OrderEvent) = "execution.orders.v1",
    }
}

outputs! {
    /// What the stage writes.
    pub enum Out { Plan(RoutingPlan) = "execution.routing-plans.v1" }
}

/// The smart-order-routing stage.
pub struct SmartOrderRouting {
    config: Config,
}

type Fx<'a> = Effects<'a, SmartOrderRouting>;

impl SmartOrderRouting {
    /// The stage with a valid configuration.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub fn new(config: Config) -> Result<Self, Vec<String>> {
        let faults = config.validate();
        if faults.is_empty() { Ok(Self { config }) } else { Err(faults) }
    }

    fn on_slice(&self, slice: &Slice, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        // The last slice of a schedule that was stopped: there is nothing to route, but its plan is waited for.
        let routed = if slice.quantity.is_zero() { Ok(Routed::default()) } else { self.world(state, fx).route(slice) };
        let routed = routed.map_err(number)?;
        let met: Vec<(bool, Price)> = routed.legs.iter().map(|leg| met(slice, &routed, leg)).collect();
        let order = state.orders.get(&slice.order_id);
        let back = !routed.legs.is_empty() && order.is_some_and(|o| !o.returned.is_empty());
        let context = Context {
            event_id: fx.next_id(),
            now: fx.now(),
            strategy: route::strategy(slice, &self.config),
            reroutes: order.filter(|_| back).map_or_else(Vec::new, |o| o.returned.clone()),
            // Nothing is tried with an empty slice, which may also come when the order is forgotten here.
            attempt: match slice.quantity.is_zero() {
                true => 0,
                false => order.map_or(0, |o| o.attempts).saturating_add(i32::from(back)),
            },
        };
        let plan = plan::plan(slice, routed, context)?;
        let legs = plan.venue_allocations.iter().zip(met);
        let legs: Vec<Sent<'_>> = legs.map(|(leg, (takes, touch))| Sent { leg, takes, touch }).collect();
        memory::sent(state, &slice.order_id, &legs, back, fx.now());
        fx.emit(plan);
        Ok(())
    }

    fn world<'a>(&'a self, state: &'a State, fx: &Fx<'a>) -> World<'a> {
        World {
            market: fx.table::<MarketTable>(),
            reference: fx.table::<ReferenceData>(),
            controls: fx.table::<Controls>(),
            state,
            config: &self.config,
            now: fx.now(),
        }
    }
}

// Whether a leg takes, and the price it meets.
fn met(slice: &Slice, routed: &Routed, leg: &Leg) -> (bool, Price) {
    let touch = |c: &score::Candidate| if slice.side.is_buy() { c.ask } else { c.bid };
    (!leg.rests, routed.ranked.get(leg.index).map_or(Price::ZERO, touch))
}

impl Stage for SmartOrderRouting {
    type In = In;
    type Out = Out;
    type Stores = State;
    type Timer = NoTimer;

    const NAME: &'static str = "smart-order-routing";
    const DOC: &'static str = "scores venues and brokers, splits a slice into routed legs, and learns how they fare";

    fn tables() -> Vec<TableDecl> {
        vec![TableDecl::of::<MarketTable>(), TableDecl::of::<ReferenceData>(), TableDecl::of::<Controls>()]
    }

    fn on_record(&self, record: &Record<In>, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        match &record.value {
            In::Slice(slice) => self.on_slice(slice, state, fx),
            In::Order(event) => memory::on_order(event, state, &self.config).map_err(number),
        }
    }

    fn on_timer(&self, _: &Timer<NoTimer>, _: &mut State, _: &mut Fx<'_>) -> Result<(), Poison> {
        Ok(())
    }
}
