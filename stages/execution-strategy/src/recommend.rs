//! Answers which strategy an order would get, without making one.
//!
//! An answer is what the stage itself would select now for such an order, whole and in one account: the same code on terms
//! made from the question as an order's are from its decision. No risk check is made, so there is no risk score, and limits
//! of a portfolio are not looked at. The market is measured, not taken from the question; only its news score counts.
//!
//! A request_id is answered once: while the answer is remembered, the same question gets it again, and another one under the
//! same id a refusal. Refusals are not remembered: what was refused may be asked again.

use fillstream_core::error::Poison;
use fillstream_core::record::Record;
use fillstream_core::stage::{Effects, Stage, Timer};
use fillstream_core::table::TableDecl;
use fillstream_core::{inputs, outputs, stores};
use fillstream_domain::{
    Algorithm, DurationMicros, Money, NumberError, OrdType, Quantity, Ratio, Rounding, SessionCalendar, TimeInForce,
    TimestampMicros,
};
use fillstream_pre_trade_risk::{impact, value};
use fillstream_reference::{MarketTable, Quote, ReferenceData, fx_rate};
use fillstream_schemas::execution::{
    ExecutionStrategySelected, OrderTerms, PriceSource, StrategyRecommendation, StrategyRequest,
};
use fillstream_schemas::reference::Instrument;
use fillstream_schemas::state::{AdviceAnswer, AdviceTimer};
use serde::{Deserialize, Serialize};

use crate::confidence::Measured;
use crate::config::Config;
use crate::event;
use crate::input::Approved;
use crate::plan;
use crate::reason::NoAdvice;
use crate::view::View;

const MINUTE_US: i64 = 60_000_000;

inputs! {
    /// What the stage reads.
    pub enum In { Asked(StrategyRequest) = "execution.strategy-requests.v1" }
}

outputs! {
    /// What the stage writes.
    pub enum Out { Answer(StrategyRecommendation) = "execution.strategy-recommendations.v1" }
}

stores! {
    /// What the stage remembers.
    pub struct State {
        /// Answers, by request.
        answers: AdviceAnswer = "answers"
    }
}

/// Configuration of the stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdviceConfig {
    /// How long an answer is remembered, minutes. It is kept in memory, some kilobytes each.
    pub remember_min: i64,
    /// Reporting currency where the question names no portfolio that has limits.
    pub reporting_currency: String,
}

impl Default for AdviceConfig {
    fn default() -> Self {
        Self { remember_min: 60, reporting_currency: "USD".to_owned() }
    }
}

/// What order-management does with an order's terms, as far as a question has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderRules {
    /// Horizon of a decision that states none, milliseconds.
    pub default_horizon_ms: i64,
    /// Oldest quote that an order is created on, milliseconds.
    pub max_quote_age_ms: i64,
}

/// The strategy-advice stage.
pub struct StrategyAdvice {
    config: Config,
    advice: AdviceConfig,
    rules: OrderRules,
    measured: Measured,
}

type Fx<'a> = Effects<'a, StrategyAdvice>;

/// Why a question has no answer.
struct Refused {
    code: NoAdvice,
    text: String,
}

impl From<NumberError> for Refused {
    fn from(e: NumberError) -> Self {
        refused(NoAdvice::OutOfRange, e.to_string())
    }
}

fn refused(code: NoAdvice, text: impl Into<String>) -> Refused {
    Refused { code, text: text.into() }
}

/// What is known of the instrument of a question.
struct Known<'a> {
    market: &'a MarketTable,
    data: &'a ReferenceData,
    instrument: &'a Instrument,
    sessions: &'a SessionCalendar,
    quote: Quote,
    close: TimestampMicros,
}

impl StrategyAdvice {
    /// The stage with valid configurations: of the strategies that it tells of, its own, and order-management's.
    ///
    /// # Errors
    /// Every fault of the configurations, or of the comparisons that ship with the stage.
    pub fn new(config: Config, advice: AdviceConfig, rules: OrderRules) -> Result<Self, Vec<String>> {
        let mut faults = config.validate();
        if !(1..=10_080).contains(&advice.remember_min) {
            faults.push(format!("remember_min must be from 1 to 10080, not {}", advice.remember_min));
        }
        if advice.reporting_currency.is_empty() {
            faults.push("reporting_currency must not be empty".to_owned());
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self { config, advice, rules, measured: Measured::shipped()? })
    }

    fn asked(&self, request: &StrategyRequest, state: &mut State, fx: &mut Fx<'_>) {
        let key = &request.request_id;
        let kept = state.answers.get(key).cloned();
        // The same request makes the same lineage: each of its answers has an id of its own.
        fx.fork(&format!("{}/{}", fx.now().micros(), kept.as_ref().map_or(0, |kept| kept.repeats.saturating_add(1))));
        let event_id = fx.next_id();
        match kept {
            Some(mut kept) => {
                kept.repeats = kept.repeats.saturating_add(1);
                fx.emit(repeated(event_id, fx.now(), request, &kept));
                state.answers.put(key, kept);
            }
            None => {
                let answer = self.answer(event_id, request, fx);
                if answer.strategy.is_some() {
                    let kept = AdviceAnswer { request: request.clone(), answer: answer.clone(), repeats: 0 };
                    state.answers.put(key, kept);
                    let forgotten =
                        fx.now().micros().saturating_add(self.advice.remember_min.saturating_mul(MINUTE_US));
                    let timer = AdviceTimer { request_id: key.clone() };
                    fx.schedule(key.as_str(), TimestampMicros::from_micros(forgotten), &timer);
                }
                fx.emit(answer);
            }
        }
    }

    fn answer(&self, event_id: String, request: &StrategyRequest, fx: &Fx<'_>) -> StrategyRecommendation {
        let answer = blank(event_id, fx.now(), request);
        let tables = fx.table::<MarketTable>().zip(fx.table::<ReferenceData>());
        match self.recommend(&answer.event_id, request, tables, fx.now()) {
            Ok(strategy) => StrategyRecommendation { strategy: Some(strategy), ..answer },
            Err(refused) => with_refusal(answer, refused),
        }
    }

    /// What would be selected for an order of these terms now.
    fn recommend(
        &self,
        event_id: &str,
        request: &StrategyRequest,
        tables: Option<(&MarketTable, &ReferenceData)>,
        now: TimestampMicros,
    ) -> Result<ExecutionStrategySelected, Refused> {
        let known = self.look(request, tables, now)?;
        let instrument = known.instrument;
        let mid = known.quote.mid().price(Rounding::HalfEven)?;
        size_fits(request.quantity, mid.notional_rounded(request.quantity, Rounding::HalfEven)?, instrument)?;
        let terms = self.terms(request, &known, now)?;
        let size = (request.quantity, terms.horizon_us);
        let risk = fillstream_pre_trade_risk::Config::default();
        let estimate = impact::estimate(size, Some(instrument), Some(known.sessions), now, &risk);
        let quote = known.quote.evidence();
        let approved = Approved {
            terms_revision: 0,
            order_id: &request.order_id,
            portfolio_id: request.portfolio_id.as_deref().unwrap_or_default(),
            account_id: "",
            instrument_id: &request.instrument_id,
            side: request.side,
            quantity: request.quantity,
            order_value: self.order_value(request, &known, now)?,
            impact: &estimate,
            risk_score: Ratio::ZERO,
            quote: Some(&quote),
            terms: &terms,
            starts_at: now,
            is_whole: true,
        };
        let venue = instrument.reference_venue.as_str();
        let (market, data) = (Some(known.market), Some(known.data));
        let view = View { market, data, instrument_id: &request.instrument_id, venue, now };
        let (order, choice) = plan::begin(&approved, &view, &self.config)?;
        let told = event::selected(event_id.to_owned(), now, &approved, &choice, &order, &self.config)?;
        let mut told = self.measured.tell(told, terms.urgency, &choice, &self.config)?;
        // Nobody has checked it.
        told.expected_outcomes.risk_score = None;
        told.account_id = None;
        Ok(told)
    }

    fn look<'a>(
        &self,
        request: &StrategyRequest,
        tables: Option<(&'a MarketTable, &'a ReferenceData)>,
        now: TimestampMicros,
    ) -> Result<Known<'a>, Refused> {
        let id = &request.instrument_id;
        let (market, data) =
            tables.ok_or_else(|| refused(NoAdvice::TablesUnavailable, "market and reference data are not known"))?;
        let unknown = || refused(NoAdvice::UnknownInstrument, format!("no instrument {id:?}"));
        let instrument = data.instrument(id).ok_or_else(unknown)?;
        if instrument.inverse {
            return Err(refused(NoAdvice::NotTraded, format!("{id} is an inverse contract")));
        }
        let closed = |text: String| refused(NoAdvice::MarketClosed, format!("{id}: {text}"));
        let sessions = data.sessions_of(instrument).map_err(|e| closed(e.to_string()))?;
        let session = sessions.session_at_or_after(now).map_err(|e| closed(e.to_string()))?;
        if now < session.open {
            return Err(closed(format!("not in session at {now}")));
        }
        let venue = &instrument.reference_venue;
        let quote = market.quote_at(id, venue, now);
        let quote = quote.map_err(|miss| refused(NoAdvice::NoQuote, format!("{id} at {venue}, {now}: {miss}")))?;
        if !(instrument.negative_price_allowed || quote.bid.is_positive() && quote.ask.is_positive()) {
            return Err(refused(NoAdvice::NoQuote, format!("{} / {} is no usable quote", quote.bid, quote.ask)));
        }
        let age_ms = now.micros().saturating_sub(quote.event_time.micros()) / 1_000;
        let most = self.rules.max_quote_age_ms;
        if age_ms > most {
            let text = format!("the quote of {id} at {venue} is {age_ms} ms old, {most} ms allowed");
            return Err(refused(NoAdvice::StaleQuote, text));
        }
        Ok(Known { market, data, instrument, sessions, quote, close: session.close })
    }

    /// The terms that an order of this question would have.
    fn terms(&self, request: &StrategyRequest, known: &Known<'_>, now: TimestampMicros) -> Result<OrderTerms, Refused> {
        let instrument = known.instrument;
        if let Some(price) = request.price_limit {
            price_fits(price, instrument)?;
        }
        let rate = request.max_participation_rate;
        if let Some(rate) = rate.filter(|rate| !rate.is_positive() || *rate > Ratio::ONE) {
            let text = format!("max_participation_rate {rate} is not above 0 and at most 1");
            return Err(refused(NoAdvice::InvalidParticipationRate, text));
        }
        let news = request.market_context.as_ref().and_then(|context| context.news_impact_score);
        if let Some(score) = news.filter(|score| score.is_negative() || *score > Ratio::ONE) {
            let text = format!("news_impact_score {score} is not from 0 to 1");
            return Err(refused(NoAdvice::InvalidScore, text));
        }
        let left_us = known.close.micros().saturating_sub(now.micros());
        let horizon_us = match request.time_limit_minutes {
            Some(minutes) if minutes <= 0 => {
                let text = format!("time_limit_minutes {minutes} is not above 0");
                return Err(refused(NoAdvice::InvalidTime, text));
            }
            Some(minutes) => i64::from(minutes).saturating_mul(MINUTE_US),
            None => self.rules.default_horizon_ms.saturating_mul(1_000),
        };
        Ok(OrderTerms {
            ord_type: if request.price_limit.is_some() { OrdType::Limit } else { OrdType::Market },
            time_in_force: TimeInForce::Day,
            limit_price: request.price_limit,
            urgency: request.urgency,
            algorithm: Algorithm::Auto,
            horizon_us: horizon_us.min(left_us),
            expire_at: known.close,
            decision_price: known.quote.mid().price(Rounding::HalfEven)?,
            decision_price_source: PriceSource::MidAtDecision,
            decided_at: now,
            max_participation_rate: rate,
            venue_restrictions: request.venue_restrictions.clone(),
            quote: known.quote.evidence(),
            lot_size: instrument.lot_size,
            quote_currency: instrument.quote_currency.clone(),
            objective: request.objective,
            dark_pool_preference: request.dark_pool_preference,
            news_impact_score: news,
            ..OrderTerms::default()
        })
    }

    // Quantity x mid x multiplier in reporting currency, as risk counts it.
    fn order_value(
        &self,
        request: &StrategyRequest,
        known: &Known<'_>,
        now: TimestampMicros,
    ) -> Result<Money, Refused> {
        let limit = request.portfolio_id.as_deref().and_then(|portfolio| known.data.limit(portfolio));
        let to = limit.map_or(self.advice.reporting_currency.as_str(), |limit| limit.currency.as_str());
        let from = known.instrument.quote_currency.as_str();
        let oldest = DurationMicros::from_micros(self.rules.max_quote_age_ms.saturating_mul(1_000))
            .map_err(|e| refused(NoAdvice::OutOfRange, e.to_string()))?;
        let rate = fx_rate(known.market, known.data, from, to, now, oldest)
            .map_err(|e| refused(NoAdvice::NoFxRate, format!("{from} in {to}: {e}")))?;
        let mid = known.quote.mid().price(Rounding::HalfEven)?;
        Ok(value::value(mid, request.quantity, known.instrument.multiplier, rate.rate)?)
    }
}

fn size_fits(quantity: Quantity, notional: Money, instrument: &Instrument) -> Result<(), Refused> {
    let text = if !quantity.is_positive() {
        format!("quantity {quantity} is not above zero")
    } else if !quantity.is_whole_lots(instrument.lot_size) {
        format!("quantity {quantity} is no multiple of the lot {}", instrument.lot_size)
    } else if quantity < instrument.min_quantity {
        format!("quantity {quantity} is below the minimum {}", instrument.min_quantity)
    } else if notional < instrument.min_notional {
        format!("{notional} is below the smallest notional {}", instrument.min_notional)
    } else {
        return Ok(());
    };
    Err(refused(NoAdvice::InvalidQuantity, text))
}

fn price_fits(price: fillstream_domain::Price, instrument: &Instrument) -> Result<(), Refused> {
    let text = if !price.is_positive() && !instrument.negative_price_allowed {
        format!("price_limit {price} is not above zero")
    } else if price.round_to_tick(instrument.tick_size, Rounding::Floor) != Ok(price) {
        format!("price_limit {price} is off the tick {}", instrument.tick_size)
    } else {
        return Ok(());
    };
    Err(refused(NoAdvice::InvalidPrice, text))
}

fn blank(event_id: String, now: TimestampMicros, request: &StrategyRequest) -> StrategyRecommendation {
    StrategyRecommendation {
        event_id,
        timestamp: now,
        request_id: request.request_id.clone(),
        order_id: request.order_id.clone(),
        repeat_no: 0,
        decided_at: now,
        refusal_code: None,
        refusal_text: None,
        strategy: None,
        attempt_id: request.attempt_id.clone(),
    }
}

fn with_refusal(answer: StrategyRecommendation, refused: Refused) -> StrategyRecommendation {
    let (code, text) = (Some(refused.code.as_str().to_owned()), Some(refused.text));
    StrategyRecommendation { refusal_code: code, refusal_text: text, ..answer }
}

/// What a request under a known id gets: the answer again, or that it is another question.
fn repeated(
    event_id: String,
    now: TimestampMicros,
    request: &StrategyRequest,
    kept: &AdviceAnswer,
) -> StrategyRecommendation {
    // When it was asked is no part of the question.
    let (timestamp, attempt_id) = (kept.request.timestamp, kept.request.attempt_id.clone());
    if (StrategyRequest { timestamp, attempt_id, ..request.clone() }) == kept.request {
        let (repeat_no, attempt_id) = (kept.repeats, request.attempt_id.clone());
        return StrategyRecommendation { event_id, timestamp: now, repeat_no, attempt_id, ..kept.answer.clone() };
    }
    let text =
        format!("request {:?} was another question, about order {:?}", request.request_id, kept.request.order_id);
    with_refusal(blank(event_id, now, request), refused(NoAdvice::Conflict, text))
}

impl Stage for StrategyAdvice {
    type In = In;
    type Out = Out;
    type Stores = State;
    type Timer = AdviceTimer;

    const NAME: &'static str = "strategy-advice";
    const DOC: &'static str = "answers which strategy an order would get";

    fn tables() -> Vec<TableDecl> {
        vec![TableDecl::of::<MarketTable>(), TableDecl::of::<ReferenceData>()]
    }

    fn on_record(&self, record: &Record<In>, state: &mut State, fx: &mut Fx<'_>) -> Result<(), Poison> {
        let In::Asked(request) = &record.value;
        self.asked(request, state, fx);
        Ok(())
    }

    fn on_timer(&self, timer: &Timer<AdviceTimer>, state: &mut State, _: &mut Fx<'_>) -> Result<(), Poison> {
        state.answers.remove(&timer.payload.request_id);
        Ok(())
    }
}
