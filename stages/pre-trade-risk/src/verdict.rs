//! The verdict on an order.

use std::collections::BTreeMap;

use fillstream_domain::{Bps, Money, NumberError, Quantity, Ratio, Rounding};
use fillstream_schemas::execution::ValidatedOrder;
use fillstream_schemas::state::{RiskPortfolio, RiskReservation};

use crate::checks::Checks;
use crate::exposure::{Exposure, Mark};
use crate::facts::{Asked, Facts, Found, World};
use crate::reason::Reason;
use crate::sized::{Answer, Question};
use crate::value::{impact, value};

/// A verdict with what it makes the stage remember.
pub(crate) struct Verdict {
    pub order: ValidatedOrder,
    pub reservation: Option<RiskReservation>,
}

/// What every verdict needs.
pub(crate) struct Case<'a> {
    pub world: World<'a>,
    pub asked: Asked<'a>,
    pub fee_reserve: Bps,
}

impl Case<'_> {
    /// Runs the sized checks on what was found and decides.
    pub(crate) fn decide(
        &self,
        found: Found<'_>,
        portfolio: Option<&RiskPortfolio>,
        exposure: Result<Exposure, NumberError>,
        mut checks: Checks,
    ) -> Verdict {
        let sized = match (&found.facts, portfolio, exposure) {
            (Some(facts), Some(portfolio), Ok(exposure)) => {
                self.size(facts, portfolio, &exposure, &mut checks).unwrap_or_else(|_| {
                    checks.that("figures", Reason::FigureOutOfRange.as_str(), false);
                    None
                })
            }
            (Some(_), Some(_), Err(_)) => {
                checks.that("figures", Reason::FigureOutOfRange.as_str(), false);
                None
            }
            (None, _, _) | (_, None, _) => None,
        };
        self.verdict(found, sized, checks)
    }

    fn size(
        &self,
        facts: &Facts<'_>,
        portfolio: &RiskPortfolio,
        exposure: &Exposure,
        checks: &mut Checks,
    ) -> Result<Option<(Answer, Vec<String>)>, NumberError> {
        let fine = checks.passed();
        let marks = self.marks(facts, exposure);
        if !checks.that("marks", Reason::NoMarkPrice.as_str(), marks.is_some()) {
            return Ok(None);
        }
        let question = Question {
            facts,
            side: self.asked.event.side,
            exposure,
            marks: &marks.unwrap_or_default(),
            cash: portfolio.cash,
            fee_reserve: self.fee_reserve,
        };
        let quantity = self.asked.event.ord_qty;
        let answer = question.ask(quantity, checks)?;
        let advice = if fine && !checks.passed() { self.advice(&question, quantity)? } else { Vec::new() };
        Ok(Some((answer, advice)))
    }

    // What would pass where only the size fails.
    fn advice(&self, question: &Question<'_>, quantity: Quantity) -> Result<Vec<String>, NumberError> {
        let mut advice = Vec::new();
        if let Some(largest) = question.largest(quantity)? {
            advice.push(format!("REDUCE_TO:{largest}"));
        }
        let touch = if self.asked.event.side.is_buy() { question.facts.pin.ask } else { question.facts.pin.bid };
        if self.asked.terms.limit_price.is_none() && question.passes(quantity, touch)? {
            advice.push(format!("USE_LIMIT:{touch}"));
        }
        Ok(advice)
    }

    // Marks of every other instrument with exposure; `None` if one has none.
    fn marks(&self, facts: &Facts<'_>, exposure: &Exposure) -> Option<BTreeMap<String, Mark>> {
        let own = facts.instrument.instrument_id.as_str();
        exposure.others(own).map(|(id, _)| self.mark(facts, id).map(|mark| (id.to_owned(), mark))).collect()
    }

    fn mark(&self, facts: &Facts<'_>, id: &str) -> Option<Mark> {
        let instrument = self.world.data.instrument(id).filter(|instrument| !instrument.inverse)?;
        let quote = self.world.market.quote_at(id, &instrument.reference_venue, self.world.now).ok()?;
        let rate = |to: &str| self.world.rate(&instrument.quote_currency, to, facts.limit).ok().map(|fx| fx.rate);
        Some(Mark {
            price: quote.mid().price(Rounding::Ceiling).ok()?,
            multiplier: instrument.multiplier,
            account_rate: rate(&facts.account.currency)?,
            reporting_rate: rate(&facts.limit.currency)?,
        })
    }

    fn verdict(&self, found: Found<'_>, sized: Option<(Answer, Vec<String>)>, checks: Checks) -> Verdict {
        let (event, terms) = (self.asked.event, self.asked.terms);
        let facts = found.facts.as_ref();
        let approved = facts.zip(sized.as_ref()).filter(|_| checks.passed());
        let reservation = approved.map(|(facts, _)| self.reservation(facts));
        let reason_codes = checks.codes();
        let order = ValidatedOrder {
            event_id: String::new(),
            timestamp: self.world.now,
            order_id: event.order_id.clone(),
            portfolio_id: event.portfolio_id.clone(),
            account_id: found.account.map(|account| account.account_id.clone()),
            instrument_id: event.instrument_id.clone(),
            side: event.side,
            quantity: event.ord_qty,
            is_approved: approved.is_some(),
            reason_codes,
            market_impact_estimate: impact(event.ord_qty, found.instrument.and_then(|i| i.adv)),
            risk_score: sized.as_ref().map_or(FULL_SCORE, |(answer, _)| answer.score),
            recommendations: sized.as_ref().map(|(_, advice)| advice.clone()).unwrap_or_default(),
            order_value: self.order_value(facts),
            reserved_price: approved.map(|(facts, _)| facts.price),
            reserved_value: approved.map_or(Money::ZERO, |(_, (answer, _))| answer.reserved_value),
            quote: found.quote.as_ref().map(fillstream_reference::Quote::evidence),
            arrival: approved.map(|(facts, _)| facts.pin.clone()),
            validation_results: checks.into_rows(),
            terms: terms.clone(),
            revision: 0,
        };
        Verdict { order, reservation }
    }

    // Quantity x mid x multiplier in reporting currency; zero where there is no price or rate.
    fn order_value(&self, facts: Option<&Facts<'_>>) -> Money {
        let of = |facts: &Facts<'_>| {
            let mid = facts.pin.mid.to_price(Rounding::HalfEven).ok()?;
            value(mid, self.asked.event.ord_qty, facts.instrument.multiplier, facts.reporting.rate).ok()
        };
        facts.and_then(of).unwrap_or(Money::ZERO)
    }

    fn reservation(&self, facts: &Facts<'_>) -> RiskReservation {
        let event = self.asked.event;
        RiskReservation {
            order_id: event.order_id.clone(),
            portfolio_id: event.portfolio_id.clone(),
            instrument_id: event.instrument_id.clone(),
            side: event.side,
            ord_qty: event.ord_qty,
            open_qty: event.ord_qty,
            multiplier: facts.instrument.multiplier,
            reserved_price: facts.price,
            account_rate: facts.account_rate.rate,
            fee_reserve: self.fee_reserve,
            approved_at: self.world.now,
            ..RiskReservation::default()
        }
    }
}

/// The score of an order whose size could not be held against anything.
const FULL_SCORE: Ratio = match Ratio::from_unscaled(100_000_000_000) {
    Ok(full) => full,
    Err(_) => Ratio::ONE,
};
