//! How long an order lives: sessions, horizons, ends (trading rule 23).
//!
//! DAY, IOC and FOK end with the session of the instrument's calendar; what is asked for beyond is cut, with a note. GTC and
//! GTD go on in the next sessions: their horizon is trading time, so that "8_hours" at noon of a session of seven is not over
//! at eight in the evening.

use fillstream_domain::{DurationMicros, Session, SessionCalendar, TimeInForce, TimestampMicros};

use crate::config::{MICROS_PER_HOUR, micros};
use crate::reason::Reason;
use crate::suspend::outlives_sessions;
use crate::validate::{Refusal, World};

/// When an order ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub expire_at: TimestampMicros,
    /// Time from now, or from its trigger, to the end of its horizon, closed hours included, microseconds.
    pub horizon_us: i64,
    /// What was cut.
    pub note: Option<Refusal>,
}

/// How long an order is asked to live.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    pub time_in_force: TimeInForce,
    pub expire_at: Option<TimestampMicros>,
    pub horizon: Option<DurationMicros>,
    /// Whether it waits for a stop: its horizon begins then, and does not end the order.
    pub waits: bool,
}

/// The span of an order of `instrument` from now on. `None` without reference data: that is told elsewhere.
pub(crate) fn span(world: &World<'_>, instrument: &str, wish: Wish) -> Option<Result<Span, Refusal>> {
    let reference = world.reference?;
    let sessions = match reference.sessions(instrument) {
        Ok(sessions) => sessions,
        Err(e) => return Some(Err(Refusal::new(Reason::NoCalendar, e.to_string()))),
    };
    let session = match sessions.session_at_or_after(world.now) {
        Ok(session) => session,
        Err(e) => return Some(Err(Refusal::new(Reason::NoCalendar, e.to_string()))),
    };
    if world.now < session.open {
        let text = format!("{instrument} is not in session at {}", world.now);
        return Some(Err(Refusal::new(Reason::MarketClosed, text)));
    }
    Some(in_session(world, sessions, session, wish))
}

fn in_session(world: &World<'_>, sessions: &SessionCalendar, session: Session, wish: Wish) -> Result<Span, Refusal> {
    if wish.time_in_force == TimeInForce::Gtd && wish.expire_at.is_none() {
        return Err(Refusal::new(Reason::MissingExpireAt, "GTD without expire_at"));
    }
    if let Some(end) = wish.expire_at
        && end <= world.now
    {
        return Err(Refusal::new(Reason::ExpiredOnArrival, format!("expire_at {end} is past at {}", world.now)));
    }
    if outlives_sessions(wish.time_in_force) {
        return Ok(over_sessions(world, sessions, wish));
    }
    let close = session.close;
    let expire_at = wish.expire_at.map_or(close, |end| end.min(close));
    let left_us = expire_at.micros().saturating_sub(world.now.micros());
    let asked_us = wish.horizon.map(DurationMicros::micros);
    let cut = asked_us.is_some_and(|asked| asked > left_us) || wish.expire_at.is_some_and(|end| end > close);
    let note = cut.then(|| cut_to(expire_at, left_us));
    let horizon_us = asked_us.unwrap_or(micros(world.config.default_horizon_ms)).min(left_us);
    Ok(Span { expire_at, horizon_us, note })
}

fn cut_to(end: TimestampMicros, left_us: i64) -> Refusal {
    let text = format!("cut to the end of the session or order at {end}, {} ms away", left_us / 1_000);
    Refusal::new(Reason::HorizonCut, text)
}

/// The span of an order that lives longer than a session: its horizon runs in trading time only.
fn over_sessions(world: &World<'_>, sessions: &SessionCalendar, wish: Wish) -> Span {
    let longest = world.config.max_order_days.saturating_mul(24).saturating_mul(MICROS_PER_HOUR);
    let latest = TimestampMicros::from_micros(world.now.micros().saturating_add(longest));
    let end = wish.expire_at.map_or(latest, |end| end.min(latest));
    let (expire_at, over) = match wish.horizon.filter(|_| !wish.waits) {
        None => (end, false),
        Some(horizon) => after_trading_time(sessions, world.now, horizon.micros(), end),
    };
    let left_us = expire_at.micros().saturating_sub(world.now.micros());
    let cut = over || wish.expire_at.is_some_and(|asked| asked > latest);
    let horizon_us = wish.horizon.filter(|_| wish.waits).map_or(left_us, |horizon| horizon.micros().min(left_us));
    Span { expire_at, horizon_us, note: cut.then(|| cut_to(expire_at, left_us)) }
}

/// The moment after so much trading time, at most `latest`, and whether it was cut to that.
fn after_trading_time(
    sessions: &SessionCalendar,
    from: TimestampMicros,
    trading_us: i64,
    latest: TimestampMicros,
) -> (TimestampMicros, bool) {
    let (mut at, mut left_us) = (from, trading_us);
    while let Ok(session) = sessions.session_at_or_after(at) {
        let start = at.max(session.open);
        let here_us = session.close.micros().saturating_sub(start.micros());
        if start >= latest {
            break;
        }
        if left_us <= here_us {
            let end = TimestampMicros::from_micros(start.micros().saturating_add(left_us));
            return (end.min(latest), end > latest);
        }
        (at, left_us) = (session.close, left_us.saturating_sub(here_us));
    }
    (latest, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = MICROS_PER_HOUR;

    fn at(text: &str) -> TimestampMicros {
        text.parse().unwrap()
    }

    /// 09:00 to 16:00 UTC on working days, closed on Thursday, 2026-11-26.
    fn sessions() -> SessionCalendar {
        SessionCalendar::new(9 * HOUR, 16 * HOUR, false, ["2026-11-26".parse().unwrap()]).unwrap()
    }

    #[test]
    fn rule_23_a_horizon_beyond_the_session_continues_in_the_next_one_in_trading_time() {
        let latest = at("2027-02-01T00:00:00Z");
        // From Wednesday noon: hours of trading, the end.
        for (hours, expected) in [
            (4, "2026-11-25T16:00:00Z"),
            // Friday, for Thursday is a holiday.
            (5, "2026-11-27T10:00:00Z"),
            (11, "2026-11-27T16:00:00Z"),
            // Monday.
            (12, "2026-11-30T10:00:00Z"),
        ] {
            let got = after_trading_time(&sessions(), at("2026-11-25T12:00:00Z"), hours * HOUR, latest);
            assert_eq!(got, (at(expected), false), "{hours} hours");
        }
        let cut = after_trading_time(&sessions(), at("2026-11-25T12:00:00Z"), 5 * HOUR, at("2026-11-26T09:00:00Z"));
        assert_eq!(cut, (at("2026-11-26T09:00:00Z"), true));
    }

    #[test]
    fn rule_23_trading_time_is_wall_time_where_the_market_never_closes() {
        let from = at("2026-11-25T12:00:00Z");
        let got = after_trading_time(&SessionCalendar::continuous(), from, 50 * HOUR, at("2027-02-01T00:00:00Z"));
        assert_eq!(got, (at("2026-11-27T14:00:00Z"), false));
    }
}
