//! Rules of the limit record about who may trade what, where and when, and about what is open already.

use fillstream_domain::{AssetClass, SessionCalendar};
use fillstream_schemas::reference::{Instrument, RiskLimit, Venue};

use crate::checks::Checks;
use crate::facts::{Asked, World};
use crate::reason::{Note, Reason};
use crate::standing::Standing;

fn that(checks: &mut Checks, name: &str, reason: Reason, passed: bool) {
    checks.that(name, reason.as_str(), passed);
}

// Whether a list that permits only what it names does; an empty one is not in force.
fn permits(list: &[String], name: &str) -> bool {
    list.is_empty() || list.iter().any(|permitted| permitted == name)
}

impl World<'_> {
    /// Runs them all.
    pub(crate) fn comply(
        &self,
        asked: &Asked<'_>,
        limit: &RiskLimit,
        (instrument, sessions): (Option<&Instrument>, Option<&SessionCalendar>),
        standing: &Standing<'_>,
        checks: &mut Checks,
        notes: &mut Vec<Note>,
    ) {
        let id = &asked.event.instrument_id;
        that(checks, "restricted_list", Reason::RestrictedInstrument, !limit.restricted.contains(id));
        if limit.watch_list.contains(id) {
            notes.push(Note::WatchList);
        }
        let permitted = permits(&limit.permitted_instruments, id);
        that(checks, "permitted_instruments", Reason::InstrumentNotPermitted, permitted);
        let trader = asked.terms.trader_id.as_deref().unwrap_or_default();
        let authorised = permits(&limit.authorised_traders, trader);
        that(checks, "authorised_traders", Reason::TraderNotAuthorised, authorised);
        if let Some(instrument) = instrument {
            self.comply_instrument(asked, limit, (instrument, sessions), checks);
        }
        if limit.refuse_self_cross {
            let crossed = standing.crossed_by(asked);
            checks.about(crossed.map(|order| format!("order/{order}")));
            that(checks, "self_cross", Reason::SelfCross, crossed.is_none());
        }
        if limit.duplicate_window_ms > 0 && !asked.is_replace {
            let repeated = standing.repeated(asked, limit, self.now);
            checks.about(repeated.map(|order| format!("order/{order}")));
            that(checks, "duplicate", Reason::DuplicateOrder, repeated.is_none());
        }
        checks.about(None);
    }

    fn comply_instrument(
        &self,
        asked: &Asked<'_>,
        limit: &RiskLimit,
        (instrument, sessions): (&Instrument, Option<&SessionCalendar>),
        checks: &mut Checks,
    ) {
        let class = permits(&limit.permitted_asset_classes, instrument.asset_class.as_str());
        that(checks, "permitted_asset_classes", Reason::AssetClassNotPermitted, class);
        if !limit.permitted_venues.is_empty() {
            let usable = |id: &String| {
                let venue = self.data.venue(id).is_some_and(|venue| trades(venue, &instrument.instrument_id));
                venue && !asked.terms.venue_restrictions.contains(id)
            };
            let any = limit.permitted_venues.iter().any(usable);
            that(checks, "permitted_venues", Reason::NoPermittedVenue, any);
        }
        // Without a calendar the order is refused as NO_CALENDAR.
        if limit.refuse_outside_session
            && let Some(Ok(open)) = sessions.map(|sessions| sessions.is_open(self.now))
        {
            that(checks, "session", Reason::MarketClosed, open);
        }
        if !limit.max_sector_value.is_empty() && instrument.asset_class == AssetClass::Equity {
            that(checks, "sector", Reason::SectorUnknown, instrument.sector.is_some());
        }
    }

    /// Milliseconds until a market opens; 0: it is open.
    pub(crate) fn opens_in_ms(&self, sessions: &SessionCalendar) -> Option<i64> {
        let session = sessions.session_at_or_after(self.now).ok()?;
        Some((session.open.micros() - self.now.micros() + 999).div_euclid(1_000).max(0))
    }
}

fn trades(venue: &Venue, instrument: &str) -> bool {
    venue.is_open && (venue.instruments.is_empty() || venue.instruments.iter().any(|id| id == instrument))
}
