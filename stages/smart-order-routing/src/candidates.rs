//! The (broker, venue) pairs an account can use for an instrument, with their figures.

use fillstream_domain::{
    Bps, ControlScope, DurationMicros, Money, NumberError, OrdType, Price, Quantity, Ratio, Rounding, RoutingStrategy,
    TimestampMicros, mul_div_i128,
};
use fillstream_reference::{Controls, MarketMiss, MarketTable, Quote, ReferenceData, TradingStatus};
use fillstream_schemas::execution::{RouteCandidate, Slice};
use fillstream_schemas::reference::{Broker, Instrument, RiskLimit, Venue, VenueKind};

use crate::broker;
use crate::commission::{applies, commission};
use crate::config::Config;
use crate::memory::{State, avoided_key, pair_key};
use crate::money::Valuation;
use crate::quality::{self, Learned};
use crate::reason::RouteReason;
use crate::score::{Candidate, Detail};

/// A slice and what it is routed from.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) slice: &'a Slice,
    pub(crate) instrument: &'a Instrument,
    /// The reference quote.
    pub(crate) quote: &'a Quote,
    pub(crate) valuation: &'a Valuation,
    /// The portfolio's limits; `None`: no limit record, which risk refuses.
    pub(crate) limit: Option<&'a RiskLimit>,
    /// Largest distance from the reference touch, where there are limits.
    pub(crate) collar: Option<Bps>,
    /// Whether the children take what is there, not rest.
    pub(crate) takes: bool,
    pub(crate) strategy: RoutingStrategy,
    /// Share meant for dark pools.
    pub(crate) dark_ratio: Ratio,
    pub(crate) market: &'a MarketTable,
    pub(crate) reference: &'a ReferenceData,
    pub(crate) controls: Option<&'a Controls>,
    pub(crate) state: &'a State,
    pub(crate) config: &'a Config,
    pub(crate) now: TimestampMicros,
}

pub(crate) struct Found {
    pub(crate) eligible: Vec<Candidate>,
    pub(crate) excluded: Vec<(Candidate, RouteReason)>,
    /// Why there is no eligible pair.
    pub(crate) reason: RouteReason,
}

/// Every pair among the brokers where the account is held.
pub(crate) fn find(job: &Job<'_>) -> Result<Found, NumberError> {
    let mut found = Found { eligible: Vec::new(), excluded: Vec::new(), reason: RouteReason::NoVenue };
    let Some(account) = job.reference.account(&job.slice.account_id) else {
        return Ok(Found { reason: RouteReason::NoAccount, ..found });
    };
    let mut avoided = Vec::new();
    for broker in account.brokers.iter().filter_map(|b| job.reference.broker(b)) {
        let unable = broker::unable(broker, job);
        for id in &broker.venues {
            let Some(venue) = job.reference.venue(id) else {
                found.excluded.push((without_figures(broker, id), RouteReason::VenueUnknown));
                continue;
            };
            if !venue.instruments.is_empty() && !venue.instruments.contains(&job.slice.instrument_id) {
                continue;
            }
            // One venue's absurd quote must not stop the others.
            match job.judged(broker, venue, unable) {
                Ok((candidate, Some(reason))) => found.excluded.push((candidate, reason)),
                Ok((candidate, None)) if job.is_avoided(&candidate) => avoided.push(candidate),
                Ok((candidate, None)) => found.eligible.push(candidate),
                Err(_) => found.excluded.push((without_figures(broker, id), RouteReason::FigureOutOfRange)),
            }
        }
    }
    // A pair that has just refused is avoided where there is another one.
    if found.eligible.is_empty() {
        found.eligible = avoided;
    } else {
        found.excluded.extend(avoided.into_iter().map(|c| (c, RouteReason::VenueRejected)));
    }
    let by_price = |r: &RouteReason| matches!(r, RouteReason::ThroughLimit | RouteReason::Collar);
    found.reason = found.excluded.iter().map(|(_, r)| *r).find(by_price).unwrap_or(RouteReason::NoVenue);
    Ok(found)
}

fn without_figures(broker: &Broker, venue: &str) -> Candidate {
    Candidate {
        broker: broker.broker_id.clone(),
        venue: venue.to_owned(),
        session: broker.session_id.clone(),
        ..Candidate::default()
    }
}

/// The book that a child would meet at a venue.
enum Book {
    Own(Quote),
    /// The venue publishes none: its share of the reference quote.
    Share(Ratio),
    /// The middle of the reference quote, without size.
    Dark,
    /// The venue publishes one, but it has no two sides now.
    OneSided,
}

/// What a book says.
struct Sides {
    bid: Price,
    ask: Price,
    /// What can be taken.
    available: Option<Quantity>,
    /// What queues at the near touch.
    near_size: Option<Quantity>,
}

impl Job<'_> {
    // A pair with its figures, and why it cannot be used.
    fn judged(
        &self,
        broker: &Broker,
        venue: &Venue,
        unable: Option<RouteReason>,
    ) -> Result<(Candidate, Option<RouteReason>), NumberError> {
        let book = self.book(venue);
        let candidate = self.candidate(broker, venue, &book)?;
        let reason = unable.or_else(|| self.venue_reason(venue, &book)).or_else(|| self.stopped(broker, venue));
        let reason = reason.or(self.price_reason(&candidate)?);
        Ok((candidate, reason))
    }

    fn book(&self, venue: &Venue) -> Book {
        match venue.kind {
            VenueKind::Dark => return Book::Dark,
            VenueKind::Lit | VenueKind::Other => {}
        }
        match self.market.quote_at(&self.slice.instrument_id, &venue.venue_id, self.now) {
            Ok(quote) => Book::Own(quote),
            Err(MarketMiss::NoMarket) => Book::Share(venue.size_share),
            Err(MarketMiss::NoQuote | MarketMiss::OutsideRing | MarketMiss::Number(_)) => Book::OneSided,
        }
    }

    /// Type of the children: a collar, or that some may rest, makes LIMIT of MARKET.
    pub(crate) fn ord_type(&self) -> OrdType {
        let limited = self.collar.is_some() || self.slice.rest_until.is_some();
        if self.slice.ord_type == OrdType::Market && limited { OrdType::Limit } else { self.slice.ord_type }
    }

    /// What a child meets: the ask for buys, the bid for sells.
    pub(crate) fn touch(&self, c: &Candidate) -> Price {
        if self.slice.side.is_buy() { c.ask } else { c.bid }
    }

    // How much worse a price is than another, positive: worse for us.
    fn worse_by(&self, price: Price, than: Price) -> i128 {
        (price.unscaled() - than.unscaled()) * i128::from(self.slice.side.sign())
    }

    fn venue_reason(&self, venue: &Venue, book: &Book) -> Option<RouteReason> {
        let s = self.slice;
        if venue.kind == VenueKind::Other {
            return Some(RouteReason::VenueKind);
        }
        if !venue.is_open {
            return Some(RouteReason::VenueClosed);
        }
        if s.venue_restrictions.contains(&venue.venue_id) {
            return Some(RouteReason::VenueRestricted);
        }
        if !self.limit.is_none_or(|limit| permits(limit, &venue.venue_id)) {
            return Some(RouteReason::VenueNotPermitted);
        }
        if !applies(&venue.asset_classes, self.instrument.asset_class) {
            return Some(RouteReason::VenueAssetClass);
        }
        if !broker::takes_type(&venue.order_types, self.ord_type()) {
            return Some(RouteReason::VenueOrderType);
        }
        if venue.min_quantity.is_some_and(|least| s.quantity < least) {
            return Some(RouteReason::BelowMinQuantity);
        }
        self.hours_reason(venue).or_else(|| self.book_reason(book))
    }

    fn hours_reason(&self, venue: &Venue) -> Option<RouteReason> {
        match self.market.status_at(&self.slice.instrument_id, &venue.venue_id, self.now) {
            Some(TradingStatus::Halted | TradingStatus::Closed) => return Some(RouteReason::VenueHalted),
            Some(TradingStatus::Open) | None => {}
        }
        let id = venue.calendar_id.as_ref()?;
        match self.reference.calendar_sessions(id).map(|sessions| sessions.is_open(self.now)) {
            Some(Ok(true)) => None,
            Some(Ok(false)) => Some(RouteReason::VenueOutOfHours),
            Some(Err(_)) | None => Some(RouteReason::VenueNoCalendar),
        }
    }

    fn book_reason(&self, book: &Book) -> Option<RouteReason> {
        match book {
            Book::Own(quote) if !is_fresh(quote, self.now, self.config.max_venue_quote_age_ms) => {
                Some(RouteReason::VenueStaleQuote)
            }
            Book::Own(quote) if quote.is_crossed() => Some(RouteReason::VenueCrossed),
            Book::Own(quote) if quote.is_locked() => Some(RouteReason::VenueLocked),
            Book::Own(_) | Book::Share(_) => None,
            Book::Dark => (!self.dark_ratio.is_positive()).then_some(RouteReason::DarkNotWanted),
            Book::OneSided => Some(RouteReason::VenueNoQuote),
        }
    }

    // Never through the collar, nor, for what takes, through the limit: there it would only come back. A last slice goes all
    // the same: its limit protects it, and the venue's answer ends the order.
    fn price_reason(&self, c: &Candidate) -> Result<Option<RouteReason>, NumberError> {
        let touch = self.touch(c);
        let reference = self.quote.opposite_touch(self.slice.side);
        if let Some(collar) = self.collar.filter(|_| !reference.is_zero()) {
            let units = 10_000 * Bps::ONE.unscaled();
            let through =
                mul_div_i128(self.worse_by(touch, reference), units, reference.abs().unscaled(), Rounding::Ceiling)?;
            if through > collar.unscaled() {
                return Ok(Some(RouteReason::Collar));
            }
        }
        let limit = self.slice.limit_price.filter(|_| self.takes && !self.slice.is_last);
        Ok(limit.filter(|limit| self.worse_by(touch, *limit) > 0).map(|_| RouteReason::ThroughLimit))
    }

    fn stopped(&self, broker: &Broker, venue: &Venue) -> Option<RouteReason> {
        let scopes =
            [(ControlScope::Venue, venue.venue_id.as_str()), (ControlScope::Broker, broker.broker_id.as_str())];
        let controls = self.controls?;
        let killed = controls.killed(&scopes, self.now).map(|_| RouteReason::Killed);
        killed.or_else(|| controls.paused(&scopes, self.now).map(|_| RouteReason::Paused))
    }

    fn is_avoided(&self, c: &Candidate) -> bool {
        let key = avoided_key(&self.slice.portfolio_id, &c.broker, &c.venue, &self.slice.instrument_id);
        self.state.avoided.get(&key).is_some_and(|avoided| avoided.until > self.now)
    }

    fn candidate(&self, broker: &Broker, venue: &Venue, book: &Book) -> Result<Candidate, NumberError> {
        let Sides { bid, ask, available, near_size } = self.sides(venue, book)?;
        let commission = commission(broker, self.instrument.asset_class, self.slice.quantity, self.valuation.value)?;
        let price = if self.slice.side.is_buy() { ask } else { bid };
        let taker = fee(venue.taker_fee, venue.taker_fee_per_unit, price)?;
        let maker = fee(venue.maker_fee, venue.maker_fee_per_unit, price)?;
        let half = half_spread(bid, ask)?;
        let (fee, half_spread) = if self.takes { (taker, half) } else { (maker, -half) };
        let commission_bps = self.valuation.bps_of(commission)?;
        let prior_quality = Ratio::from_unscaled(broker.quality.checked_add(venue.quality)?.unscaled() / 2)?;
        let learned = self.learned(broker, venue, prior_quality)?;
        let latency_us = learned.latency_us.unwrap_or_else(|| venue.latency_us.saturating_add(broker.latency_us));
        let (own_quote, quote_time) = match book {
            Book::Own(quote) => (true, quote.event_time),
            Book::Share(_) | Book::Dark | Book::OneSided => (false, self.quote.event_time),
        };
        Ok(Candidate {
            broker: broker.broker_id.clone(),
            venue: venue.venue_id.clone(),
            session: broker.session_id.clone(),
            cost: fee.checked_add(commission_bps)?.checked_add(half_spread)?,
            quality: learned.quality,
            available,
            bid,
            ask,
            score: Ratio::ZERO,
            detail: Detail {
                is_dark: matches!(book, Book::Dark),
                own_quote,
                quote_time,
                fee,
                maker_fee: maker,
                commission,
                commission_bps,
                half_spread,
                prior_quality,
                learned,
                latency_us,
                near_size,
                lot: venue.lot_size.filter(|lot| lot.is_positive()),
                tick: venue.tick_size.unwrap_or(self.instrument.tick_size),
                min_quantity: venue.min_quantity.unwrap_or(Quantity::ZERO),
            },
        })
    }

    fn sides(&self, venue: &Venue, book: &Book) -> Result<Sides, NumberError> {
        let buy = self.slice.side.is_buy();
        let of = |quote: &Quote, share: Ratio| -> Result<_, NumberError> {
            let sizes = if buy { [quote.ask_size, quote.bid_size] } else { [quote.bid_size, quote.ask_size] };
            let [touch, near] = sizes.map(|size| size.map(|size| size.share(share, Rounding::Floor)).transpose());
            let displayed = touch?.map(|q| q.floor_to_lot(self.slice.lot_size)).transpose()?;
            let available = displayed.or(venue.assumed_clip);
            Ok(Sides { bid: quote.bid, ask: quote.ask, available, near_size: near? })
        };
        match book {
            Book::Own(quote) => of(quote, Ratio::ONE),
            Book::Share(share) => of(self.quote, *share),
            Book::OneSided => of(self.quote, Ratio::ZERO),
            Book::Dark => {
                let middle = self.quote.mid().price(Rounding::HalfEven)?;
                Ok(Sides { bid: middle, ask: middle, available: venue.assumed_clip, near_size: None })
            }
        }
    }

    fn learned(&self, broker: &Broker, venue: &Venue, prior: Ratio) -> Result<Learned, NumberError> {
        let learning = &self.config.learning;
        let key = pair_key(&self.slice.portfolio_id, &broker.broker_id, &venue.venue_id);
        let sums = self.state.quality.get(&key).map(|sums| quality::at(sums, self.now, learning)).transpose()?;
        quality::learned(sums.as_ref(), prior, learning)
    }
}

// Whether the limits let the portfolio's orders and its children go to a venue. Risk would refuse the child; here it goes
// elsewhere.
fn permits(limit: &RiskLimit, venue: &str) -> bool {
    let named = |venues: &[String]| venues.is_empty() || venues.iter().any(|named| named == venue);
    named(&limit.permitted_venues) && named(&limit.child_permitted_venues)
}

/// Whether a quote is not older than so many milliseconds.
pub(crate) fn is_fresh(quote: &Quote, now: TimestampMicros, max_age_ms: i64) -> bool {
    let most = DurationMicros::from_micros(max_age_ms.saturating_mul(1_000));
    quote.age_at(now).zip(most.ok()).is_some_and(|(age, most)| age <= most)
}

/// Half the spread in basis points of the bid; nothing where the bid is zero.
pub(crate) fn half_spread(bid: Price, ask: Price) -> Result<Bps, NumberError> {
    if bid.is_zero() {
        return Ok(Bps::ZERO);
    }
    Bps::from_unscaled(ask.bps_from(bid, Rounding::HalfEven)?.unscaled() / 2)
}

// The fee of a venue in basis points of a price.
fn fee(rate: Bps, per_unit: Option<Money>, price: Price) -> Result<Bps, NumberError> {
    match per_unit.filter(|fee| !fee.is_zero() && !price.is_zero()) {
        Some(fee) => {
            let units = 10_000 * Bps::ONE.unscaled();
            let bps = mul_div_i128(fee.unscaled(), units, price.abs().unscaled(), Rounding::HalfEven)?;
            rate.checked_add(Bps::from_unscaled(bps)?)
        }
        None => Ok(rate),
    }
}

pub(crate) fn as_events(ranked: &[Candidate], excluded: Vec<(Candidate, RouteReason)>) -> Vec<RouteCandidate> {
    let ranked = ranked.iter().map(|c| event(c, None));
    ranked.chain(excluded.iter().map(|(c, r)| event(c, Some(*r)))).collect()
}

fn event(c: &Candidate, reason: Option<RouteReason>) -> RouteCandidate {
    let d = &c.detail;
    RouteCandidate {
        broker: c.broker.clone(),
        venue: c.venue.clone(),
        cost: c.cost,
        quality: c.quality,
        available_qty: c.available,
        score: c.score,
        eligible: reason.is_none(),
        exclusion_code: reason.map(|r| r.as_str().to_owned()),
        bid: Some(c.bid),
        ask: Some(c.ask),
        own_quote: d.own_quote,
        quote_time: Some(d.quote_time),
        fee: Some(d.fee),
        commission: Some(d.commission),
        half_spread: Some(d.half_spread),
        prior_quality: Some(d.prior_quality),
        samples: Some(d.learned.samples),
        fill_rate: Some(d.learned.fill_rate),
        slippage: d.learned.slippage,
        latency_us: Some(d.latency_us),
    }
}
