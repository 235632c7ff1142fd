//! The verdict on an order.

use std::borrow::Cow;

use fillstream_domain::{Money, NumberError, Quantity, Ratio, Rounding, SessionCalendar, mul_div_i128};
use fillstream_schemas::execution::{ImpactModel, ValidatedOrder};
use fillstream_schemas::state::{RiskEntered, RiskPortfolio, RiskReplace, RiskReservation};

use crate::advice::Advice;
use crate::checks::{Checks, Held};
use crate::config::Config;
use crate::entered;
use crate::exposure::Exposure;
use crate::facts::{Asked, Facts, Found, World, whole};
use crate::impact;
use crate::lease;
use crate::others::Others;
use crate::reason::{Note, Reason};
use crate::sized::{Answer, Question};
use crate::standing::Standing;
use crate::value::value;
use crate::wide::{Need, Turn};

/// A verdict with what it makes the stage remember.
pub(crate) struct Verdict {
    pub order: ValidatedOrder,
    /// The portfolio, where accounts were opened.
    pub portfolio: Option<RiskPortfolio>,
    /// What an approved order holds.
    pub reservation: Option<RiskReservation>,
    /// What the portfolio entered with it, where that is limited.
    pub entered: Option<RiskEntered>,
    /// Headroom without which it is no verdict yet.
    pub lacking: Vec<Need>,
}

/// What every verdict needs.
pub(crate) struct Case<'a> {
    pub world: World<'a>,
    pub asked: Asked<'a>,
    pub config: &'a Config,
    /// Whether it may wait for headroom.
    pub turn: Turn,
}

/// What the sized checks say.
struct Outcome {
    answer: Answer,
    advice: Vec<Advice>,
    entered: Option<RiskEntered>,
    needs: Vec<Need>,
}

impl Case<'_> {
    /// Runs the sized checks on what was found and decides.
    pub(crate) fn decide(
        &self,
        found: Found<'_>,
        portfolio: Option<Cow<'_, RiskPortfolio>>,
        standing: &Standing<'_>,
        mut checks: Checks,
    ) -> Verdict {
        let exposure = portfolio.as_deref().map(|portfolio| standing.exposure(&self.asked, portfolio));
        let sized = match (&found.facts, portfolio.as_deref(), exposure) {
            (Some(facts), Some(portfolio), Some(exposure)) => {
                let sized =
                    exposure.and_then(|e| self.size((facts, found.sessions), portfolio, &e, standing, &mut checks));
                sized.unwrap_or_else(|_| {
                    checks.about(None);
                    checks.that("figures", Reason::FigureOutOfRange.as_str(), false);
                    None
                })
            }
            (None, _, _) | (_, None, _) | (_, _, None) => None,
        };
        let portfolio = portfolio.filter(|portfolio| matches!(portfolio, Cow::Owned(_))).map(Cow::into_owned);
        let needs = sized.as_ref().map(|outcome| outcome.needs.as_slice()).unwrap_or_default();
        let lacking = self.headroom(needs, standing, &mut checks).unwrap_or_else(|_| {
            checks.that("headroom", Reason::FigureOutOfRange.as_str(), false);
            Vec::new()
        });
        Verdict { lacking, ..self.verdict(found, portfolio, sized, checks) }
    }

    // Holds what an order needs against what is leased; what it lacks, where only that is missing and it may wait.
    fn headroom(&self, needs: &[Need], standing: &Standing<'_>, checks: &mut Checks) -> Result<Vec<Need>, NumberError> {
        let (passed, mut lacking) = (checks.passed(), Vec::new());
        for need in needs {
            let lease = standing.lease(&need.limit_id);
            let usable = lease.map_or(Ok(Money::ZERO), |lease| lease::usable(lease, self.world.now))?;
            let adds = need.after > need.before;
            let fits = !adds || (self.turn != Turn::Behind && need.after <= usable);
            checks.set_scope(&format!("limit/{}", need.limit_id));
            checks.set_version(need.version);
            let held = Held { figure: need.after, limit: usable };
            if fits || self.turn == Turn::Last || !passed {
                // Of an order that is refused anyway nobody asked for headroom: the figures are told, not judged.
                let code = Reason::LimitHeadroomUnavailable.as_str();
                checks.held("headroom", code, fits || !passed, held, &need.currency);
            } else {
                lacking.push(need.clone());
            }
        }
        Ok(lacking)
    }

    fn size(
        &self,
        (facts, sessions): (&Facts<'_>, Option<&SessionCalendar>),
        portfolio: &RiskPortfolio,
        exposure: &Exposure<'_>,
        standing: &Standing<'_>,
        checks: &mut Checks,
    ) -> Result<Option<Outcome>, NumberError> {
        let counted = self.counted(facts, standing, checks);
        let others = Others::of(&self.world, facts, exposure)?;
        checks.that("marks", Reason::NoMarkPrice.as_str(), others.is_some());
        if facts.limit.max_adv_participation.is_some() {
            let known = facts.instrument.adv.is_some();
            checks.that("adv_known", Reason::AdvMissing.as_str(), known);
        }
        let Some(others) = others else { return Ok(None) };
        let question = Question {
            facts,
            side: self.asked.event.side,
            book: exposure.book(&facts.instrument.instrument_id),
            others,
            cash: portfolio.cash,
            fee_reserve: self.config.fee_reserve_bps,
            replaces: self.asked.replaces,
            filled: if self.asked.replaces.is_some() { self.asked.event.cum_qty } else { Quantity::ZERO },
            entered: counted.clone(),
        };
        let before = checks.codes();
        let answer = question.ask(self.asked.quantity, checks)?;
        let needs = self.world.needs(facts, exposure, |mark| question.worst_values(self.asked.quantity, mark))?;
        checks.that("wide_limits_rate", Reason::NoFxRate.as_str(), needs.is_some());
        let advice = self.advice(&question, sessions, &answer, &before)?;
        let after = counted.map(|counted| entered::with(&counted, answer.entered_value, self.world.now)).transpose()?;
        Ok(Some(Outcome { answer, advice, entered: after, needs: needs.unwrap_or_default() }))
    }

    // What the portfolio entered lately, where that is limited, with the check of the rate.
    fn counted(&self, facts: &Facts<'_>, standing: &Standing<'_>, checks: &mut Checks) -> Option<RiskEntered> {
        let limit = facts.limit;
        if !entered::is_limited(limit) {
            return None;
        }
        let rate = |from: &str| self.world.rate(from, &limit.currency, limit).ok().map(|fx| fx.rate);
        let counted = entered::as_of(standing.entered, &limit.currency, self.world.now, rate);
        checks.that("entered_currency", Reason::NoFxRate.as_str(), counted.is_some());
        let counted = counted?;
        if let Some(max) = limit.max_orders_per_minute {
            let held = Held { figure: whole(entered::orders(&counted) + 1), limit: whole(i64::from(max)) };
            checks.at_most("order_rate", Reason::OrderRate.as_str(), held, "orders");
        }
        Some(counted)
    }

    // What would pass: a size or limit where only the size fails, a time where only limits on time do.
    fn advice(
        &self,
        question: &Question<'_>,
        sessions: Option<&SessionCalendar>,
        answer: &Answer,
        before: &[String],
    ) -> Result<Vec<Advice>, NumberError> {
        let mut advice = Vec::new();
        let (facts, quantity) = (question.facts, self.asked.quantity);
        if before.is_empty() && !answer.failed.is_empty() {
            advice.extend(question.largest(quantity)?.map(Advice::ReduceTo));
            let touch = if question.side.is_buy() { facts.pin.ask } else { facts.pin.bid };
            let at_market = self.asked.terms.limit_price.is_none() && self.asked.terms.stop_price.is_none();
            if at_market && question.passes(quantity, touch)? {
                advice.push(Advice::UseLimit(touch));
            }
            if answer.failed == [Reason::AdvParticipation] {
                advice.extend(days_to_split(quantity, facts).map(Advice::SplitOver));
            }
        }
        let early =
            before.iter().all(|code| [Reason::OrderRate, Reason::MarketClosed].iter().any(|r| r.as_str() == code));
        let slow = answer.failed.iter().all(|reason| *reason == Reason::EnteredValueMinute);
        if early && slow && !(before.is_empty() && answer.failed.is_empty()) {
            advice.extend(self.wait_ms(question, sessions, answer).map(Advice::Wait));
        }
        Ok(advice)
    }

    fn wait_ms(&self, question: &Question<'_>, sessions: Option<&SessionCalendar>, answer: &Answer) -> Option<i64> {
        let limit = question.facts.limit;
        let counted = question.entered.as_ref();
        let fits = counted.map_or(Some(0), |c| entered::wait_ms(c, limit, answer.entered_value, self.world.now))?;
        let opens = if limit.refuse_outside_session { self.world.opens_in_ms(sessions?)? } else { 0 };
        Some(fits.max(opens))
    }

    fn verdict(
        &self,
        found: Found<'_>,
        portfolio: Option<RiskPortfolio>,
        sized: Option<Outcome>,
        checks: Checks,
    ) -> Verdict {
        let (event, terms) = (self.asked.event, self.asked.terms);
        let facts = found.facts.as_ref();
        let approved = facts.zip(sized.as_ref()).filter(|_| checks.passed());
        let reservation = approved.map(|(facts, _)| self.reservation(facts));
        let size = (self.asked.quantity, terms.horizon_us);
        let market_impact_estimate =
            impact::estimate(size, found.instrument, found.sessions, self.world.now, self.config);
        let mut notes = found.notes;
        if market_impact_estimate.model == ImpactModel::NotEstimated {
            notes.push(Note::ImpactNotEstimated);
        }
        let accounts = found.owned.iter().flat_map(|owned| &owned.accounts);
        let account_ids: Vec<String> = accounts.map(|account| account.account_id.clone()).collect();
        let order = ValidatedOrder {
            event_id: String::new(),
            timestamp: self.world.now,
            order_id: event.order_id.clone(),
            portfolio_id: event.portfolio_id.clone(),
            account_id: match account_ids.as_slice() {
                [only] => Some(only.clone()),
                _ => None,
            },
            instrument_id: event.instrument_id.clone(),
            side: event.side,
            quantity: self.asked.quantity,
            is_approved: approved.is_some(),
            reason_codes: checks.codes(),
            market_impact_estimate,
            risk_score: sized.as_ref().map_or(FULL_SCORE, |outcome| outcome.answer.score),
            recommendations: sized.iter().flat_map(|outcome| &outcome.advice).map(Advice::to_string).collect(),
            order_value: self.order_value(facts),
            reserved_price: approved.map(|(facts, _)| facts.price),
            reserved_value: approved.map_or(Money::ZERO, |(_, outcome)| outcome.answer.reserved_value),
            quote: found.quote.as_ref().map(fillstream_reference::Quote::evidence),
            arrival: approved.map(|(facts, _)| facts.pin.clone()),
            validation_results: checks.into_rows(),
            terms: terms.clone(),
            revision: if self.asked.is_replace { event.revision } else { 0 },
            account_ids,
            notes: notes.iter().map(|note| note.as_str().to_owned()).collect(),
            permitted_venues: found.limit.map(|limit| limit.permitted_venues.clone()).unwrap_or_default(),
        };
        let entered = if order.is_approved { sized.and_then(|outcome| outcome.entered) } else { None };
        Verdict { order, portfolio, reservation, entered, lacking: Vec::new() }
    }

    // Quantity x mid x multiplier in reporting currency; zero where there is no price or rate.
    fn order_value(&self, facts: Option<&Facts<'_>>) -> Money {
        let of = |facts: &Facts<'_>| {
            let mid = facts.pin.mid.to_price(Rounding::HalfEven).ok()?;
            value(mid, self.asked.quantity, facts.instrument.multiplier, facts.reporting.rate).ok()
        };
        facts.and_then(of).unwrap_or(Money::ZERO)
    }

    fn reservation(&self, facts: &Facts<'_>) -> RiskReservation {
        let event = self.asked.event;
        if let Some(held) = self.asked.replaces {
            let replace = RiskReplace {
                revision: event.revision,
                ord_qty: self.asked.quantity,
                open_qty: self.asked.quantity.less_at_most(event.cum_qty),
                reserved_price: facts.price,
                limit_price: self.asked.terms.limit_price,
            };
            return RiskReservation { replace: Some(replace), ..held.clone() };
        }
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
            fee_reserve: self.config.fee_reserve_bps,
            approved_at: self.world.now,
            limit_price: self.asked.terms.limit_price,
            ..RiskReservation::default()
        }
    }
}

// Trading days over which a quantity is within the share of the daily volume.
fn days_to_split(quantity: Quantity, facts: &Facts<'_>) -> Option<i64> {
    let a_day = facts.instrument.adv?.share(facts.limit.max_adv_participation?, Rounding::Floor).ok()?;
    let days = mul_div_i128(quantity.unscaled(), 1, a_day.unscaled(), Rounding::Ceiling).ok()?;
    i64::try_from(days).ok()
}

/// The score of an order whose size could not be held against anything.
const FULL_SCORE: Ratio = match Ratio::from_unscaled(100_000_000_000) {
    Ok(full) => full,
    Err(_) => Ratio::ONE,
};
