//! The pure core: requests and advances of the clock in, reports out.

mod accept;
mod fill;
mod say;

use crate::VenueError;
use crate::agenda::{Agenda, Task};
use crate::book::{BookRef, Books};
use crate::config::{EngineConfig, MarketCenter};
use crate::look_ahead::{Found, LookAhead};
use crate::matching::FeeTerms;
use crate::micros::later;
use crate::order::{Life, Order, OrderKey, StatusView};
use crate::report::Report;
use crate::request::{AcceptedCancel, AcceptedOrder};
use fillstream_domain::{Currency, NumberError, Price, Quantity, TimestampMicros};
use fillstream_market::{MarketSource, Session};
use fillstream_schemas::market::{MarketDataKind, NormalizedMarketData};
use fillstream_schemas::reference::Instrument;
use std::collections::BTreeMap;

/// What happens to the venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An accepted order is on its way.
    Order(AcceptedOrder),
    /// An accepted cancel request is on its way.
    Cancel(AcceptedCancel),
    /// Time passes: everything due in (clock, instant] happens.
    Advance(TimestampMicros),
}

/// The venue: a deterministic function of market, configuration and the *set* of accepted requests.
///
/// In which order requests came in and how advances cut the time changes nothing.
#[derive(Debug)]
pub struct Venue {
    config: EngineConfig,
    market: LookAhead,
    session: Session,
    instruments: BTreeMap<String, Terms>,
    centers: BTreeMap<String, MarketCenter>,
    clock: TimestampMicros,
    books: Books,
    orders: BTreeMap<OrderKey, Order>,
    cancels: BTreeMap<OrderKey, AcceptedCancel>,
    /// Working orders, by instrument and venue.
    working: BTreeMap<String, BTreeMap<String, Vec<OrderKey>>>,
    /// Counts the changes of `working`.
    generation: u64,
    agenda: Agenda,
    /// Last seq of each session.
    seqs: BTreeMap<String, u64>,
}

/// What the venue needs to know of an instrument.
#[derive(Debug)]
struct Terms {
    tick: Price,
    lot: Quantity,
    min_quantity: Quantity,
    multiplier: Quantity,
    inverse: bool,
    fee_currency: Currency,
    reference_venue: String,
}

impl Terms {
    fn new(instrument: &Instrument) -> Result<Self, VenueError> {
        let id = &instrument.instrument_id;
        let fee_currency = instrument.settlement_currency.parse().map_err(|error| {
            VenueError::Config(format!("instrument {id}: {}: {error}", instrument.settlement_currency))
        })?;
        if !instrument.tick_size.is_positive() || !instrument.lot_size.is_positive() {
            return Err(VenueError::Config(format!("instrument {id}: tick or lot is not positive")));
        }
        Ok(Self {
            tick: instrument.tick_size,
            lot: instrument.lot_size,
            min_quantity: instrument.min_quantity,
            multiplier: instrument.multiplier,
            inverse: instrument.inverse,
            fee_currency,
            reference_venue: instrument.reference_venue.clone(),
        })
    }

    const fn fee_terms(&self, center: &MarketCenter, maker: bool) -> FeeTerms {
        let rate = if maker { center.maker_fee } else { center.taker_fee };
        FeeTerms { rate, multiplier: self.multiplier, inverse: self.inverse, currency: self.fee_currency }
    }
}

/// The book of an instrument at a venue.
fn book_ref<'a>(center: &'a MarketCenter, instrument_id: &'a str, terms: &'a Terms) -> BookRef<'a> {
    let source = center.quotes_of.as_deref().unwrap_or(&terms.reference_venue);
    BookRef { center, instrument_id, source, lot: terms.lot }
}

/// A number error of an order.
fn number(key: &OrderKey) -> impl Fn(NumberError) -> VenueError + '_ {
    move |source| VenueError::Number { order: format!("{}:{}", key.0, key.1), source }
}

impl Venue {
    /// A venue at the start of its market's session, with no orders.
    ///
    /// # Errors
    /// The configuration or the market's reference data is faulty.
    pub fn new(config: EngineConfig, market: Box<dyn MarketSource>) -> Result<Self, VenueError> {
        config.validate()?;
        let instruments = market.instruments().iter().map(|i| Ok((i.instrument_id.clone(), Terms::new(i)?)));
        let instruments = instruments.collect::<Result<_, VenueError>>()?;
        let session = market.session();
        Ok(Self {
            market: LookAhead::new(market),
            session,
            instruments,
            centers: config.venues.iter().map(|center| (center.venue_id.clone(), center.clone())).collect(),
            // Rows of the first instant are still to come.
            clock: later(session.start, -1),
            books: Books::default(),
            orders: BTreeMap::new(),
            cancels: BTreeMap::new(),
            working: BTreeMap::new(),
            generation: 0,
            agenda: Agenda::default(),
            seqs: config.sessions.iter().map(|session| (session.clone(), 0)).collect(),
            config,
        })
    }

    /// The time up to which everything has happened.
    #[must_use]
    pub const fn clock(&self) -> TimestampMicros {
        self.clock
    }

    /// When the market is open.
    #[must_use]
    pub const fn market_session(&self) -> Session {
        self.session
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Last seq of each session.
    #[must_use]
    pub const fn last_seqs(&self) -> &BTreeMap<String, u64> {
        &self.seqs
    }

    /// Applies an event; only an advance makes reports. Repeated requests and earlier instants change nothing.
    ///
    /// # Errors
    /// The market source failed, or a figure left its range: the venue must stop.
    pub fn apply(&mut self, event: Event) -> Result<Vec<Report>, VenueError> {
        match event {
            Event::Order(order) => {
                let key = (order.session.clone(), order.request.client_order_id.clone());
                if !self.is_used(&key) {
                    self.agenda.add(order.arrives_at, 0, Task::Arrive(key.clone()));
                    self.orders.insert(key, Order::new(order));
                }
                Ok(Vec::new())
            }
            Event::Cancel(cancel) => {
                let key = (cancel.session.clone(), cancel.client_order_id.clone());
                if !self.is_used(&key) {
                    self.agenda.add(cancel.arrives_at, 0, Task::Cancel(key.clone()));
                    self.cancels.insert(key, cancel);
                }
                Ok(Vec::new())
            }
            Event::Advance(instant) => self.advance(instant),
        }
    }

    fn is_used(&self, key: &OrderKey) -> bool {
        self.orders.contains_key(key) || self.cancels.contains_key(key)
    }

    fn advance(&mut self, instant: TimestampMicros) -> Result<Vec<Report>, VenueError> {
        let mut reports = Vec::new();
        loop {
            let row = self.market.next_time()?.filter(|time| *time <= instant);
            let task = self.agenda.next_time().filter(|time| *time <= instant);
            match (row, task) {
                (None, None) => break,
                // Of equal times the market comes first: an order meets the quote of its instant.
                (Some(row), task) if task.is_none_or(|task| row <= task) => self.take_row()?,
                (_, Some(_)) => self.take_task(&mut reports)?,
                (Some(_), None) => self.take_row()?,
            }
        }
        self.clock = self.clock.max(instant);
        Ok(reports)
    }

    fn take_row(&mut self) -> Result<(), VenueError> {
        let Some(row) = self.market.next_row()? else { return Ok(()) };
        match row.kind {
            MarketDataKind::Quote => {
                self.books.update(&row);
                self.on_quote(&row)
            }
            MarketDataKind::Trade => self.on_print(&row),
            MarketDataKind::Status => Ok(()),
        }
    }

    fn take_task(&mut self, reports: &mut Vec<Report>) -> Result<(), VenueError> {
        let Some((now, task)) = self.agenda.take_next() else { return Ok(()) };
        match task {
            Task::Arrive(key) => self.on_arrival(&key, now),
            Task::Cancel(key) => self.on_cancel(&key, now),
            Task::Expire(key) => self.on_expiry(&key, now),
            Task::Refresh { venue, instrument_id } => self.sweep(&venue, &instrument_id, now),
            Task::Say(saying) => {
                let report = self.say(&saying, now)?;
                reports.push(report);
                Ok(())
            }
            Task::Repeat(report) => {
                let report = self.say_again(*report, now)?;
                reports.push(report);
                Ok(())
            }
        }
    }

    /// No report will be emitted before this time unless a new request comes; `None`: never.
    ///
    /// # Errors
    /// The market source failed.
    pub fn next_event_at(&mut self) -> Result<Option<TimestampMicros>, VenueError> {
        let latency = self.config.venues.iter().map(|center| center.latency_us).min().unwrap_or(0);
        let due = self.agenda.next_report(latency);
        if self.working.values().all(|venues| venues.values().all(Vec::is_empty)) {
            return Ok(due);
        }
        let until = later(self.clock, self.config.look_ahead_us);
        let (working, orders) = (&self.working, &self.orders);
        let (centers, instruments) = (&self.centers, &self.instruments);
        let found = self.market.search(until, self.generation, |row| {
            let Some(venues) = working.get(&row.instrument_id) else { return false };
            venues.iter().any(|(venue, keys)| {
                let (center, terms) = (centers.get(venue), instruments.get(&row.instrument_id));
                let Some((center, terms)) = center.zip(terms) else { return false };
                book_ref(center, &row.instrument_id, terms).source == row.venue
                    && keys.iter().filter_map(|key| orders.get(key)).any(|order| may_fill(order, center, row))
            })
        })?;
        let heard = match found {
            Found::At(time) | Found::NothingBefore(time) => Some(later(time, latency)),
            Found::Never => None,
        };
        Ok(match (due, heard) {
            (Some(due), Some(heard)) => Some(due.min(heard)),
            (due, heard) => due.or(heard),
        })
    }

    /// What the session's client may know of an order or cancel request.
    ///
    /// # Errors
    /// A figure left its range.
    pub fn status(&self, session: &str, client_order_id: &str) -> Result<Option<StatusView>, VenueError> {
        let key = (session.to_owned(), client_order_id.to_owned());
        if let Some(order) = self.orders.get(&key) {
            return order.view().map(|view| Some(StatusView::Order(Box::new(view)))).map_err(number(&key));
        }
        Ok(self.cancels.get(&key).map(|cancel| StatusView::Cancel(cancel.into())))
    }

    fn start_working(&mut self, key: &OrderKey) {
        let Some(order) = self.orders.get_mut(key) else { return };
        order.life = Life::Working;
        let request = &order.accepted.request;
        let venues = self.working.entry(request.instrument_id.clone()).or_default();
        venues.entry(request.venue.clone()).or_default().push(key.clone());
        self.generation += 1;
    }

    fn stop_working(&mut self, key: &OrderKey) {
        let Some(order) = self.orders.get_mut(key) else { return };
        order.life = Life::Dead;
        let request = &order.accepted.request;
        let keys = self.working.get_mut(&request.instrument_id).and_then(|venues| venues.get_mut(&request.venue));
        if let Some(keys) = keys {
            keys.retain(|working| working != key);
        }
        self.generation += 1;
    }
}

/// Whether a row could fill a working order: it may say yes too often, never too seldom.
fn may_fill(order: &Order, center: &MarketCenter, row: &NormalizedMarketData) -> bool {
    let is_buy = order.accepted.request.side.is_buy();
    let (own, opposite) = if is_buy { (row.bid, row.ask) } else { (row.ask, row.bid) };
    // The middle is never better than the order's own side; a dark pool knows no prints.
    let px = if center.dark { own } else { row.price.or(opposite) };
    px.is_some_and(|px| order.accepts(px))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
