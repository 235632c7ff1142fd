//! Which requests are taken in.

use super::Venue;
use crate::VenueError;
use crate::micros::later;
use crate::request::{AcceptedCancel, AcceptedOrder, CancelRequest, OrderRequest, Refusal, RefusalCode, check_order};
use fillstream_domain::TimestampMicros;

impl Venue {
    /// Takes an order in, or refuses it. Nothing is changed yet: [`Event::Order`](super::Event::Order) does that.
    ///
    /// `received_at` is the venue's own time where it follows a clock of its own; otherwise the client's counts.
    ///
    /// # Errors
    /// A figure left its range.
    pub fn accept_order(
        &self,
        session: &str,
        request: OrderRequest,
        received_at: Option<TimestampMicros>,
    ) -> Result<Result<AcceptedOrder, Refusal>, VenueError> {
        if let Some(refusal) = self.refuse_id(session, &request.client_order_id)? {
            return Ok(Err(refusal));
        }
        if let Err(refusal) = check_order(&request) {
            return Ok(Err(refusal));
        }
        let Some(center) = self.centers.get(&request.venue) else {
            let message = format!("there is no venue {:?}", request.venue);
            return Ok(Err(Refusal::new(RefusalCode::UnknownVenue, message)));
        };
        if !self.instruments.contains_key(&request.instrument_id) {
            let message = format!("there is no instrument {:?}", request.instrument_id);
            return Ok(Err(Refusal::new(RefusalCode::UnknownInstrument, message)));
        }
        let arrives_at = self.arrival(received_at.unwrap_or(request.sent_at), center.latency_us);
        Ok(Ok(AcceptedOrder { session: session.to_owned(), request, arrives_at }))
    }

    /// Takes a cancel request in, or refuses it.
    ///
    /// # Errors
    /// A figure left its range.
    pub fn accept_cancel(
        &self,
        session: &str,
        orig_client_order_id: &str,
        request: CancelRequest,
        received_at: Option<TimestampMicros>,
    ) -> Result<Result<AcceptedCancel, Refusal>, VenueError> {
        if let Some(refusal) = self.refuse_id(session, &request.client_order_id)? {
            return Ok(Err(refusal));
        }
        let key = (session.to_owned(), orig_client_order_id.to_owned());
        let Some(order) = self.orders.get(&key) else {
            let message = format!("there is no order {orig_client_order_id:?}");
            return Ok(Err(Refusal::new(RefusalCode::UnknownOrder, message)));
        };
        let latency = self.centers.get(&order.accepted.request.venue).map_or(0, |center| center.latency_us);
        let arrival = self.arrival(received_at.unwrap_or(request.sent_at), latency);
        Ok(Ok(AcceptedCancel {
            session: key.0,
            client_order_id: request.client_order_id,
            orig_client_order_id: key.1,
            sent_at: request.sent_at,
            arrives_at: arrival.max(order.accepted.arrives_at),
        }))
    }

    fn refuse_id(&self, session: &str, id: &str) -> Result<Option<Refusal>, VenueError> {
        if !self.seqs.contains_key(session) {
            return Ok(Some(Refusal::unknown_session(session)));
        }
        Ok(self.status(session, id)?.map(|existing| Refusal {
            existing: Some(Box::new(existing)),
            ..Refusal::new(RefusalCode::DuplicateClordid, format!("{id:?} was used before"))
        }))
    }

    /// Never at or before the clock: what has happened stays.
    fn arrival(&self, sent_at: TimestampMicros, latency_us: i64) -> TimestampMicros {
        later(sent_at, latency_us).max(later(self.clock, 1))
    }
}
