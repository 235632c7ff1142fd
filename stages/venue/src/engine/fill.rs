//! What happens to orders in their books. The rules are those of [`crate::matching`].

use super::{Venue, book_ref, number};
use crate::VenueError;
use crate::agenda::{Task, What};
use crate::book::BookSide;
use crate::matching::{displayed_size, print_fill};
use crate::misbehaviour::Fate;
use crate::order::{Life, Order, OrderKey, Style};
use crate::report::RejectCode;
use fillstream_domain::{LiquidityFlag, NumberError, Price, Quantity, TimeInForce, TimestampMicros};
use fillstream_schemas::market::NormalizedMarketData;

impl Venue {
    pub(super) fn on_arrival(&mut self, key: &OrderKey, now: TimestampMicros) -> Result<(), VenueError> {
        match self.config.misbehaviour.fate(self.config.seed, &key.1) {
            Fate::Swallowed => {
                if let Some(order) = self.orders.get_mut(key) {
                    order.life = Life::Swallowed;
                }
                return Ok(());
            }
            Fate::Rejected(code) => return self.reject(key, code, now),
            Fate::Normal => {}
        }
        let Some(order) = self.orders.get(key) else { return Ok(()) };
        if let Some(code) = self.reject_code(order, now) {
            return self.reject(key, code, now);
        }
        self.will_say(key, What::Accepted, now);
        self.start_working(key);
        self.match_arrival(key, now)
    }

    fn reject(&mut self, key: &OrderKey, code: RejectCode, now: TimestampMicros) -> Result<(), VenueError> {
        if let Some(order) = self.orders.get_mut(key) {
            order.life = Life::Dead;
        }
        self.will_say(key, What::Rejected(code), now);
        Ok(())
    }

    fn reject_code(&self, order: &Order, now: TimestampMicros) -> Option<RejectCode> {
        let request = &order.accepted.request;
        let (Some(center), Some(terms)) =
            (self.centers.get(&request.venue), self.instruments.get(&request.instrument_id))
        else {
            return Some(RejectCode::NotTradedHere);
        };
        let on_tick = request.limit_price.is_none_or(|px| px.unscaled() % terms.tick.unscaled() == 0);
        let whole = request.quantity.is_whole_lots(terms.lot) && request.quantity >= terms.min_quantity;
        let book = book_ref(center, &request.instrument_id, terms);
        [
            (center.trades(&request.instrument_id), RejectCode::NotTradedHere),
            (on_tick, RejectCode::InvalidTick),
            (whole, RejectCode::InvalidLot),
            (now < self.session.end, RejectCode::MarketClosed),
            (request.expire_at.is_none_or(|end| now < end), RejectCode::ExpiredOnArrival),
            (self.books.is_quoted(book), RejectCode::NoMarket),
        ]
        .into_iter()
        .find_map(|(holds, code)| (!holds).then_some(code))
    }

    fn match_arrival(&mut self, key: &OrderKey, now: TimestampMicros) -> Result<(), VenueError> {
        let Some(order) = self.orders.get(key) else { return Ok(()) };
        let (time_in_force, quantity) = (order.accepted.request.time_in_force, order.accepted.request.quantity);
        let touch = self.touch_for(key, now)?;
        let whole = touch.is_some_and(|touch| touch.holds(quantity));
        match time_in_force {
            TimeInForce::Fok if !whole => return self.cancel(key, None, Some(RejectCode::FokNotFillable), now),
            TimeInForce::Fok | TimeInForce::Ioc => {
                self.take(key, now, false)?;
                if self.orders.get(key).is_some_and(|order| order.life == Life::Working) {
                    return self.cancel(key, None, Some(RejectCode::IocRemainder), now);
                }
                return Ok(());
            }
            TimeInForce::Day | TimeInForce::Gtc | TimeInForce::Gtd => self.take(key, now, false)?,
        }
        let Some(order) = self.orders.get(key).filter(|order| order.life == Life::Working) else { return Ok(()) };
        let request = &order.accepted.request;
        let day_end = (time_in_force == TimeInForce::Day).then_some(self.session.end);
        if let Some(end) = [request.expire_at, day_end].into_iter().flatten().min() {
            self.agenda.add(end, 0, Task::Expire(key.clone()));
        }
        if touch.is_none() {
            self.come_to_rest(key)?;
        }
        Ok(())
    }

    /// The touch that an order can trade with now.
    fn touch_for(&self, key: &OrderKey, now: TimestampMicros) -> Result<Option<crate::matching::Touch>, VenueError> {
        let Some(order) = self.orders.get(key) else { return Ok(None) };
        let request = &order.accepted.request;
        let (Some(center), Some(terms)) =
            (self.centers.get(&request.venue), self.instruments.get(&request.instrument_id))
        else {
            return Ok(None);
        };
        let book = book_ref(center, &request.instrument_id, terms);
        let side = BookSide::taken_by(request.side.is_buy());
        let touch = self.books.touch(book, side, now, &self.config).map_err(number(key))?;
        Ok(touch.filter(|touch| order.accepts(touch.price)))
    }

    /// Takes what the touch has for an order: at the touch as taker, at its own limit as maker.
    fn take(&mut self, key: &OrderKey, now: TimestampMicros, maker: bool) -> Result<(), VenueError> {
        let Some(touch) = self.touch_for(key, now)? else { return Ok(()) };
        let Some(order) = self.orders.get(key) else { return Ok(()) };
        let parts = touch.split(order.leaves());
        let request = &order.accepted.request;
        let price = request.limit_price.filter(|_| maker).unwrap_or(touch.price);
        let side = BookSide::taken_by(request.side.is_buy());
        let (venue, instrument_id) = (request.venue.clone(), request.instrument_id.clone());
        let (Some(center), Some(terms)) = (self.centers.get(&venue), self.instruments.get(&instrument_id)) else {
            return Ok(());
        };
        let book = book_ref(center, &instrument_id, terms);
        if parts.iter().any(|part| part.is_positive()) {
            self.books.take(book, side, parts, now, self.config.refresh_us).map_err(number(key))?;
        }
        let back_at = self.books.back_at(book, side, self.config.refresh_us);
        for part in parts.into_iter().filter(|part| part.is_positive()) {
            self.execute(key, part, price, maker, now)?;
        }
        let still_working = self.orders.get(key).is_some_and(|order| order.life == Life::Working);
        if let Some(back_at) = back_at.filter(|back_at| still_working && *back_at > now) {
            self.agenda.add(back_at, 0, Task::Refresh { venue, instrument_id });
        }
        Ok(())
    }

    fn execute(
        &mut self,
        key: &OrderKey,
        qty: Quantity,
        px: Price,
        maker: bool,
        now: TimestampMicros,
    ) -> Result<(), VenueError> {
        let Some(order) = self.orders.get_mut(key) else { return Ok(()) };
        let request = &order.accepted.request;
        let terms = self.centers.get(&request.venue).zip(self.instruments.get(&request.instrument_id));
        let Some((center, terms)) = terms else { return Ok(()) };
        let fee = terms.fee_terms(center, maker).fee(px, qty).map_err(number(key))?;
        order.executed = order.executed.checked_add(qty).map_err(number(key))?;
        let done = order.leaves().is_zero();
        let liquidity = if maker { LiquidityFlag::Maker } else { LiquidityFlag::Taker };
        self.will_say(key, What::Filled { qty, px, fee, liquidity }, now);
        if done {
            self.stop_working(key);
        }
        Ok(())
    }

    /// Puts an order that is not marketable into the queue at its limit.
    fn come_to_rest(&mut self, key: &OrderKey) -> Result<(), VenueError> {
        let Some(order) = self.orders.get(key) else { return Ok(()) };
        let request = &order.accepted.request;
        let (Some(limit), Some(center), Some(terms)) =
            (request.limit_price, self.centers.get(&request.venue), self.instruments.get(&request.instrument_id))
        else {
            return Ok(()); // A market order never rests: it waits for a price.
        };
        let is_buy = request.side.is_buy();
        let book = book_ref(center, &request.instrument_id, terms);
        if center.dark {
            return Ok(()); // There is no queue: it waits for size at the middle.
        }
        if !self.books.is_tradable(book) {
            return Ok(()); // Whether it is marketable is decided by the next quote that is neither locked nor crossed.
        }
        let queue = self.books.queue(book, BookSide::joined_by(is_buy)).map_err(number(key))?;
        let improves = |touch: Price| if is_buy { limit > touch } else { limit < touch };
        let ahead = queue.filter(|(touch, _)| !improves(*touch)).map_or(Quantity::ZERO, |(_, size)| size);
        if let Some(order) = self.orders.get_mut(key) {
            order.style = Style::Resting { ahead };
        }
        Ok(())
    }

    pub(super) fn on_cancel(&mut self, request: &OrderKey, now: TimestampMicros) -> Result<(), VenueError> {
        let Some(cancel) = self.cancels.get(request) else { return Ok(()) };
        let key = (cancel.session.clone(), cancel.orig_client_order_id.clone());
        match self.orders.get(&key).map(|order| order.life) {
            Some(Life::Working) => self.cancel(&key, Some(request.1.clone()), None, now),
            Some(Life::Dead | Life::Pending) => {
                let what = What::CancelRejected { request: request.1.clone(), code: RejectCode::TooLateToCancel };
                self.will_say(&key, what, now);
                Ok(())
            }
            Some(Life::Swallowed) | None => Ok(()),
        }
    }

    fn cancel(
        &mut self,
        key: &OrderKey,
        request: Option<String>,
        code: Option<RejectCode>,
        now: TimestampMicros,
    ) -> Result<(), VenueError> {
        self.stop_working(key);
        self.will_say(key, What::Cancelled { request, code }, now);
        Ok(())
    }

    pub(super) fn on_expiry(&mut self, key: &OrderKey, now: TimestampMicros) -> Result<(), VenueError> {
        if self.orders.get(key).is_some_and(|order| order.life == Life::Working) {
            self.stop_working(key);
            self.will_say(key, What::Expired, now);
        }
        Ok(())
    }

    pub(super) fn on_quote(&mut self, row: &NormalizedMarketData) -> Result<(), VenueError> {
        for venue in self.venues_fed_by(row) {
            self.sweep(&venue, &row.instrument_id, row.event_time)?;
        }
        Ok(())
    }

    /// Venues with working orders of a row's instrument whose book is made of the row's venue.
    fn venues_fed_by(&self, row: &NormalizedMarketData) -> Vec<String> {
        let (Some(venues), Some(terms)) =
            (self.working.get(&row.instrument_id), self.instruments.get(&row.instrument_id))
        else {
            return Vec::new();
        };
        let fed = |venue: &str| {
            self.centers
                .get(venue)
                .is_some_and(|center| book_ref(center, &row.instrument_id, terms).source == row.venue)
        };
        venues.iter().filter(|(venue, keys)| !keys.is_empty() && fed(venue)).map(|(venue, _)| venue.clone()).collect()
    }

    /// Working orders of a book, each side by price and time.
    fn by_priority(&self, venue: &str, instrument_id: &str) -> Vec<OrderKey> {
        let keys = self.working.get(instrument_id).and_then(|venues| venues.get(venue));
        let mut orders: Vec<_> =
            keys.into_iter().flatten().filter_map(|key| Some((key, self.orders.get(key)?))).collect();
        orders.sort_by(|a, b| a.1.priority().cmp(&b.1.priority()));
        orders.into_iter().map(|(key, _)| key.clone()).collect()
    }

    /// Lets the orders of a book take what its touch has now.
    pub(super) fn sweep(&mut self, venue: &str, instrument_id: &str, now: TimestampMicros) -> Result<(), VenueError> {
        for key in self.by_priority(venue, instrument_id) {
            let Some(style) = self.orders.get(&key).map(|order| order.style) else { continue };
            match (self.touch_for(&key, now)?, style) {
                (Some(_), Style::Sweeping) => self.take(&key, now, false)?,
                (Some(_), Style::Resting { .. }) => self.take(&key, now, true)?,
                (None, Style::Sweeping) => self.come_to_rest(&key)?,
                (None, Style::Resting { .. }) => {}
            }
        }
        Ok(())
    }

    pub(super) fn on_print(&mut self, row: &NormalizedMarketData) -> Result<(), VenueError> {
        let Some(px) = row.price else { return Ok(()) };
        for venue in self.venues_fed_by(row) {
            let mut volume = self.print_volume(&venue, row).map_err(|source| VenueError::Number {
                order: format!("print {} of {}", row.seq, row.instrument_id),
                source,
            })?;
            for key in self.by_priority(&venue, &row.instrument_id) {
                let Some(order) = self.orders.get_mut(&key).filter(|order| order.accepts(px)) else { continue };
                let (Style::Resting { ahead }, Some(limit)) = (order.style, order.accepted.request.limit_price) else {
                    continue;
                };
                let (fill, ahead) = print_fill(volume, ahead, order.leaves(), px != limit);
                order.style = Style::Resting { ahead };
                if fill.is_positive() {
                    volume = volume.less_at_most(fill);
                    self.execute(&key, fill, limit, true, row.event_time)?;
                }
            }
        }
        Ok(())
    }

    /// What of a print a venue sees.
    fn print_volume(&self, venue: &str, row: &NormalizedMarketData) -> Result<Quantity, NumberError> {
        match (self.centers.get(venue), self.instruments.get(&row.instrument_id)) {
            (Some(center), Some(terms)) => displayed_size(center, row.size, terms.lot),
            (None, _) | (_, None) => Ok(Quantity::ZERO),
        }
    }
}
