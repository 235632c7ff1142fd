//! The terms of a leg, which stand in its plan unless the leg has its own.

use crate::execution::{RouteLeg, RoutingPlan};

impl RoutingPlan {
    /// What the plan says of one leg: ids, side and terms, those of the leg where it has its own. Without candidates, legs and
    /// the other figures.
    #[must_use]
    pub fn of_leg(&self, leg: &RouteLeg) -> Self {
        Self {
            event_id: self.event_id.clone(),
            timestamp: self.timestamp,
            order_id: self.order_id.clone(),
            portfolio_id: self.portfolio_id.clone(),
            account_id: self.account_id.clone(),
            instrument_id: self.instrument_id.clone(),
            side: self.side,
            slice_no: self.slice_no,
            is_last: self.is_last,
            quantity: self.quantity,
            ord_type: leg.ord_type.unwrap_or(self.ord_type),
            limit_price: leg.limit_price.or(self.limit_price),
            time_in_force: leg.time_in_force.unwrap_or(self.time_in_force),
            expire_at: leg.expire_at.unwrap_or(self.expire_at),
            strategy_id: self.strategy_id.clone(),
            trader_id: self.trader_id.clone(),
            terms_revision: self.terms_revision,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use fillstream_domain::{OrdType, TimeInForce};

    use super::*;

    #[test]
    fn a_leg_has_the_terms_of_its_plan_unless_it_has_its_own() {
        let plan = RoutingPlan { time_in_force: TimeInForce::Ioc, terms_revision: 4, ..RoutingPlan::default() };
        let same = plan.of_leg(&RouteLeg::default());
        assert_eq!(same.terms_revision, 4);
        assert_eq!((same.ord_type, same.limit_price, same.time_in_force), (OrdType::Market, None, TimeInForce::Ioc));
        let limit = "9.5".parse().ok();
        let leg = RouteLeg {
            ord_type: Some(OrdType::Limit),
            limit_price: limit,
            time_in_force: Some(TimeInForce::Day),
            ..RouteLeg::default()
        };
        let own = plan.of_leg(&leg);
        assert_eq!((own.ord_type, own.limit_price, own.time_in_force), (OrdType::Limit, limit, TimeInForce::Day));
    }
}
