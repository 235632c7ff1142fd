//! The venue with its journal: takes requests, makes them durable, and only then answers and publishes.

use super::log::{Logs, SessionLog};
use crate::VenueError;
use crate::config::{Mode, VenueConfig};
use crate::engine::{Event, Venue};
use crate::journal::{Entry, Journal, Offsets, Start, VERSION};
use crate::report::Report;
use crate::request::{Refusal, RefusalCode, parse, parse_cancel, parse_order};
use fillstream_domain::TimestampMicros;
use fillstream_market::MarketSource;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What a client asks.
#[derive(Debug)]
pub(crate) enum Ask {
    Order { session: String, body: Vec<u8> },
    Cancel { session: String, order: String, body: Vec<u8> },
    Status { session: String, id: String },
    Advance { body: Vec<u8> },
    Clock,
    Health,
}

/// What the client gets: HTTP status and JSON body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    fn of(status: u16, body: &impl Serialize) -> Self {
        let body = serde_json::to_string(body).unwrap_or_default();
        Self { status, body }
    }

    pub(crate) fn refused(refusal: &Refusal) -> Self {
        Self::of(refusal.code.http_status(), refusal)
    }
}

#[derive(Serialize)]
struct Received {
    received: String,
    #[serde(with = "crate::micros")]
    arrives_at: TimestampMicros,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdvanceRequest {
    #[serde(with = "crate::micros")]
    instant: TimestampMicros,
    sequence: u64,
}

#[derive(Serialize)]
struct ClockView<'a> {
    #[serde(with = "crate::micros")]
    instant: TimestampMicros,
    sequence: u64,
    sessions: &'a BTreeMap<String, u64>,
    #[serde(with = "crate::micros::option")]
    next_event_at: Option<TimestampMicros>,
}

#[derive(Serialize)]
struct HealthView<'a> {
    status: &'static str,
    mode: &'static str,
    #[serde(with = "crate::micros")]
    clock: TimestampMicros,
    sessions: &'a BTreeMap<String, u64>,
    journal_lines: u64,
}

#[derive(Debug)]
pub(crate) struct Core {
    venue: Venue,
    journal: Journal,
    mode: Mode,
    sequence: u64,
    logs: Logs,
    /// Reports that are not durable yet.
    unpublished: Vec<Report>,
}

impl Core {
    /// The venue as its journal left it.
    pub(crate) fn restore(config: &VenueConfig, market: Box<dyn MarketSource>) -> Result<Self, VenueError> {
        let path = &config.journal;
        let mut venue = Venue::new(config.engine.clone(), market)?;
        let session = venue.market_session();
        let start = Start {
            version: VERSION,
            mode: config.mode,
            session_start: session.start,
            session_end: session.end,
            config: config.engine.clone(),
        };
        let logs: Logs =
            Arc::new(config.engine.sessions.iter().map(|s| (s.clone(), Arc::new(SessionLog::default()))).collect());
        let (mut sequence, mut expected, mut said) = (0, VecDeque::new(), Vec::new());
        let differs = |line| VenueError::JournalDiffers { file: path.clone(), line };
        let journal = Journal::open(path, |line| {
            match line.entry {
                Entry::Start(found) if line.n == 0 => check_start(&found, &start, path)?,
                Entry::Start(_) => return Err(differs(line.n)),
                Entry::Order { order, .. } => drop(venue.apply(Event::Order(order))?),
                Entry::Cancel { cancel, .. } => drop(venue.apply(Event::Cancel(cancel))?),
                Entry::Clock { instant, sequence: found } => {
                    if !expected.is_empty() {
                        return Err(differs(line.n));
                    }
                    sequence = found;
                    expected.extend(venue.apply(Event::Advance(instant))?);
                }
                Entry::Report { report } => {
                    if expected.pop_front().as_ref() != Some(&*report) {
                        return Err(differs(line.n));
                    }
                    said.push(*report);
                }
            }
            Ok(())
        })?;
        let mut core = Self { venue, journal, mode: config.mode, sequence, logs, unpublished: said };
        if core.journal.next() == 0 {
            core.journal.append(Entry::Start(Box::new(start)))?;
        }
        // The end of a group that was torn off: its requests make the same reports again.
        for report in expected {
            core.record(report)?;
        }
        core.commit()?;
        Ok(core)
    }

    pub(crate) fn logs(&self) -> Logs {
        Arc::clone(&self.logs)
    }

    pub(crate) fn journal_offsets(&self) -> Offsets {
        self.journal.offsets()
    }

    /// When something happens without a request, by the clock of the operating system; paced mode only moves by request.
    pub(crate) fn next_wake(&mut self) -> Result<Option<TimestampMicros>, VenueError> {
        match self.mode {
            Mode::Paced => Ok(None),
            Mode::Live => self.venue.next_event_at(),
        }
    }

    /// Lets the time of the operating system's clock come; in paced mode nothing.
    pub(crate) fn wake(&mut self, now: TimestampMicros) -> Result<(), VenueError> {
        match self.mode {
            Mode::Paced => Ok(()),
            Mode::Live => self.advance(now, 0),
        }
    }

    fn advance(&mut self, instant: TimestampMicros, sequence: u64) -> Result<(), VenueError> {
        let reports = self.venue.apply(Event::Advance(instant))?;
        self.sequence = sequence;
        // An advance without reports leaves no trace: a restart makes up for it in the next.
        if !reports.is_empty() {
            self.journal.append(Entry::Clock { instant, sequence })?;
        }
        reports.into_iter().try_for_each(|report| self.record(report))
    }

    fn record(&mut self, report: Report) -> Result<(), VenueError> {
        self.journal.append(Entry::Report { report: Box::new(report.clone()) })?;
        self.unpublished.push(report);
        Ok(())
    }

    /// Makes everything up to here durable, then visible.
    pub(crate) fn commit(&mut self) -> Result<(), VenueError> {
        self.journal.commit()?;
        for report in self.unpublished.drain(..) {
            if let Some(log) = self.logs.get(&report.session) {
                log.push(serde_json::to_string(&report).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Handles a request; its answer must wait for [`Core::commit`].
    pub(crate) fn handle(&mut self, ask: Ask, now: TimestampMicros) -> Result<Answer, VenueError> {
        let answer = match ask {
            Ask::Order { session, body } => self.order(&session, &body, now)?,
            Ask::Cancel { session, order, body } => self.cancel(&session, &order, &body, now)?,
            Ask::Status { session, id } => self.status(&session, &id)?,
            Ask::Advance { body } => self.clock(&body)?,
            Ask::Clock => Ok(self.clock_view()?),
            Ask::Health => Ok(Answer::of(
                200,
                &HealthView {
                    status: "ok",
                    mode: self.mode.as_str(),
                    clock: self.venue.clock(),
                    sessions: self.venue.last_seqs(),
                    journal_lines: self.journal.next(),
                },
            )),
        };
        Ok(answer.unwrap_or_else(|refusal| Answer::refused(&refusal)))
    }

    /// The time that counts for an arrival, where it is the venue's own.
    const fn received_at(&self, now: TimestampMicros) -> Option<TimestampMicros> {
        match self.mode {
            Mode::Paced => None,
            Mode::Live => Some(now),
        }
    }

    fn order(
        &mut self,
        session: &str,
        body: &[u8],
        now: TimestampMicros,
    ) -> Result<Result<Answer, Refusal>, VenueError> {
        let request = match parse_order(body) {
            Ok(request) => request,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let order = match self.venue.accept_order(session, request, self.received_at(now))? {
            Ok(order) => order,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let answer = Received { received: order.request.client_order_id.clone(), arrives_at: order.arrives_at };
        self.journal.append(Entry::Order { at: self.venue.clock(), order: order.clone() })?;
        self.venue.apply(Event::Order(order))?;
        Ok(Ok(Answer::of(202, &answer)))
    }

    fn cancel(
        &mut self,
        session: &str,
        order: &str,
        body: &[u8],
        now: TimestampMicros,
    ) -> Result<Result<Answer, Refusal>, VenueError> {
        let request = match parse_cancel(body) {
            Ok(request) => request,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let cancel = match self.venue.accept_cancel(session, order, request, self.received_at(now))? {
            Ok(cancel) => cancel,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let answer = Received { received: cancel.client_order_id.clone(), arrives_at: cancel.arrives_at };
        self.journal.append(Entry::Cancel { at: self.venue.clock(), cancel: cancel.clone() })?;
        self.venue.apply(Event::Cancel(cancel))?;
        Ok(Ok(Answer::of(202, &answer)))
    }

    fn status(&self, session: &str, id: &str) -> Result<Result<Answer, Refusal>, VenueError> {
        if !self.logs.contains_key(session) {
            return Ok(Err(Refusal::unknown_session(session)));
        }
        let view = self.venue.status(session, id)?;
        Ok(view.map(|view| Answer::of(200, &view)).ok_or_else(|| {
            Refusal::new(RefusalCode::UnknownOrder, format!("there is no order or cancel request {id:?}"))
        }))
    }

    fn clock(&mut self, body: &[u8]) -> Result<Result<Answer, Refusal>, VenueError> {
        if self.mode == Mode::Live {
            return Ok(Err(Refusal::new(RefusalCode::ClockIsLive, "the venue follows the clock of its machine")));
        }
        let AdvanceRequest { instant, sequence } = match parse(body) {
            Ok(request) => request,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let clock = self.venue.clock();
        let repeated = sequence == self.sequence && instant == clock;
        if !repeated && (sequence <= self.sequence || instant < clock) {
            return Ok(Err(Refusal {
                instant: Some(clock.micros()),
                sequence: Some(self.sequence),
                ..Refusal::new(RefusalCode::ClockConflict, "the advance contradicts an earlier one")
            }));
        }
        if !repeated {
            self.advance(instant, sequence)?;
        }
        Ok(Ok(self.clock_view()?))
    }

    fn clock_view(&mut self) -> Result<Answer, VenueError> {
        let next_event_at = self.venue.next_event_at()?;
        let view = ClockView {
            instant: self.venue.clock(),
            sequence: self.sequence,
            sessions: self.venue.last_seqs(),
            next_event_at,
        };
        Ok(Answer::of(200, &view))
    }

    /// A moment that the clock has passed, for a machine whose clock went back.
    pub(crate) fn not_before_clock(&self, now: TimestampMicros) -> TimestampMicros {
        now.max(self.venue.clock())
    }
}

fn check_start(found: &Start, ours: &Start, path: &std::path::Path) -> Result<(), VenueError> {
    let foreign = |what| VenueError::JournalForeign { file: path.to_owned(), what };
    if found.version != ours.version {
        return Err(foreign("version of the journal"));
    }
    if (found.session_start, found.session_end) != (ours.session_start, ours.session_end) {
        return Err(foreign("market session"));
    }
    if found.mode != ours.mode || found.config != ours.config {
        return Err(foreign("configuration"));
    }
    Ok(())
}
