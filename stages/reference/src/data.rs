//! Reference data: instruments, accounts, limits, venues, brokers, calendars.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fillstream_core::table::{Rows, Table, TableRow};
use fillstream_domain::time::{CalendarError, Day, TimeError, TimeZone};
use fillstream_domain::{SessionCalendar, TimestampMicros};
use fillstream_schemas::codec::{AvroRecord, CodecError, Fault};
use fillstream_schemas::reference::{Account, Broker, Calendar, Instrument, RiskLimit, Venue};

/// The reference.* topics: the last record of each key, deletions honoured.
///
/// A record is filed under its own id, which the contracts make its key; a record whose key says otherwise is refused.
#[derive(Clone, Debug)]
pub struct ReferenceData {
    instruments: Rows<Instrument>,
    accounts: Rows<Account>,
    /// Accounts that each portfolio has or had; only the accounts say whose they are.
    owners: Arc<BTreeMap<Arc<str>, BTreeSet<Arc<str>>>>,
    limits: Rows<RiskLimit>,
    venues: Rows<Venue>,
    brokers: Rows<Broker>,
    calendars: Rows<(Calendar, SessionCalendar)>,
}

const INSTRUMENTS: &str = "reference.instruments.v1";
const ACCOUNTS: &str = "reference.accounts.v1";
const LIMITS: &str = "reference.limits.v1";
const VENUES: &str = "reference.venues.v1";
const BROKERS: &str = "reference.brokers.v1";
const CALENDARS: &str = "reference.calendars.v1";

/// Why a portfolio has no account to trade in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountMiss {
    /// No account belongs to it.
    #[error("the portfolio has no account")]
    None,
    /// Several do: which one trades would be a guess.
    #[error("the portfolio has {count} accounts")]
    Several {
        /// How many.
        count: usize,
    },
}

/// Why there is no session for an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalendarMiss {
    /// The instrument is unknown.
    #[error("unknown instrument")]
    NoInstrument,
    /// Its calendar is unknown.
    #[error("the instrument's calendar is unknown")]
    NoCalendar,
    /// Its calendar has no session.
    #[error("calendar: {0}")]
    Calendar(#[from] CalendarError),
}

impl Default for ReferenceData {
    fn default() -> Self {
        Self {
            instruments: Rows::new(INSTRUMENTS),
            accounts: Rows::new(ACCOUNTS),
            owners: Arc::default(),
            limits: Rows::new(LIMITS),
            venues: Rows::new(VENUES),
            brokers: Rows::new(BROKERS),
            calendars: Rows::new(CALENDARS),
        }
    }
}

impl Table for ReferenceData {
    const TOPICS: &'static [(&'static str, &'static str)] = &[
        (INSTRUMENTS, Instrument::FULL_NAME),
        (ACCOUNTS, Account::FULL_NAME),
        (LIMITS, RiskLimit::FULL_NAME),
        (VENUES, Venue::FULL_NAME),
        (BROKERS, Broker::FULL_NAME),
        (CALENDARS, Calendar::FULL_NAME),
    ];

    fn apply(&mut self, row: &TableRow<'_>) -> Result<(), CodecError> {
        match row.topic {
            INSTRUMENTS => set(&mut self.instruments, row, |r: &Instrument| &r.instrument_id),
            ACCOUNTS => self.set_account(row),
            LIMITS => set(&mut self.limits, row, |r: &RiskLimit| &r.portfolio_id),
            VENUES => set(&mut self.venues, row, |r: &Venue| &r.venue_id),
            BROKERS => set(&mut self.brokers, row, |r: &Broker| &r.broker_id),
            CALENDARS => self.set_calendar(row),
            other => Err(CodecError::new(Fault::Unresolved(format!("no topic of this table: {other}")))),
        }
    }
}

impl ReferenceData {
    /// An instrument.
    #[must_use]
    pub fn instrument(&self, id: &str) -> Option<&Instrument> {
        self.instruments.get(id)
    }

    /// An account.
    #[must_use]
    pub fn account(&self, id: &str) -> Option<&Account> {
        self.accounts.get(id)
    }

    /// The one account of a portfolio.
    ///
    /// # Errors
    /// It has none, or several.
    pub fn account_of(&self, portfolio: &str) -> Result<&Account, AccountMiss> {
        match self.accounts_of(portfolio).as_slice() {
            [] => Err(AccountMiss::None),
            [account] => Ok(account),
            several => Err(AccountMiss::Several { count: several.len() }),
        }
    }

    /// Every account of a portfolio, in order of their ids.
    #[must_use]
    pub fn accounts_of(&self, portfolio: &str) -> Vec<&Account> {
        // Former owners' ids too: that an account went elsewhere decides as much as that one is here.
        let ids = self.owners.get(portfolio).into_iter().flatten();
        ids.filter_map(|id| self.account(id)).filter(|account| account.portfolio_id == portfolio).collect()
    }

    /// The limits of a portfolio; `None` means no trading.
    #[must_use]
    pub fn limit(&self, portfolio: &str) -> Option<&RiskLimit> {
        self.limits.get(portfolio)
    }

    /// A venue.
    #[must_use]
    pub fn venue(&self, id: &str) -> Option<&Venue> {
        self.venues.get(id)
    }

    /// A broker.
    #[must_use]
    pub fn broker(&self, id: &str) -> Option<&Broker> {
        self.brokers.get(id)
    }

    /// A calendar record.
    #[must_use]
    pub fn calendar(&self, id: &str) -> Option<&Calendar> {
        self.calendars.get(id).map(|row| &row.0)
    }

    /// The sessions of a calendar.
    #[must_use]
    pub fn calendar_sessions(&self, id: &str) -> Option<&SessionCalendar> {
        self.calendars.get(id).map(|row| &row.1)
    }

    /// The sessions of an instrument.
    ///
    /// # Errors
    /// The instrument or its calendar is unknown.
    pub fn sessions(&self, instrument: &str) -> Result<&SessionCalendar, CalendarMiss> {
        self.sessions_of(self.instrument(instrument).ok_or(CalendarMiss::NoInstrument)?)
    }

    /// The same for whoever has the instrument already.
    ///
    /// # Errors
    /// Its calendar is unknown.
    pub fn sessions_of(&self, instrument: &Instrument) -> Result<&SessionCalendar, CalendarMiss> {
        self.calendars.get(instrument.calendar_id.as_str()).map(|row| &row.1).ok_or(CalendarMiss::NoCalendar)
    }

    /// End of the session of an instrument in which `at` lies, otherwise of the next one.
    ///
    /// # Errors
    /// The instrument or its calendar is unknown, or there is no session within a month.
    pub fn session_end(&self, instrument: &str, at: TimestampMicros) -> Result<TimestampMicros, CalendarMiss> {
        Ok(self.sessions(instrument)?.session_end(at)?)
    }

    /// Whether an instrument's market is in session.
    ///
    /// # Errors
    /// The instrument or its calendar is unknown.
    pub fn is_open(&self, instrument: &str, at: TimestampMicros) -> Result<bool, CalendarMiss> {
        Ok(self.sessions(instrument)?.is_open(at)?)
    }

    fn set_account(&mut self, row: &TableRow<'_>) -> Result<(), CodecError> {
        set(&mut self.accounts, row, |r: &Account| &r.account_id)?;
        if let Some(account) = self.accounts.get(row.key) {
            let owners = Arc::make_mut(&mut self.owners);
            owners.entry(account.portfolio_id.as_str().into()).or_default().insert(row.key.into());
        }
        Ok(())
    }

    fn set_calendar(&mut self, row: &TableRow<'_>) -> Result<(), CodecError> {
        let value = row.value.map(|bytes| read(row.key, bytes, |r: &Calendar| &r.calendar_id)).transpose()?;
        let value = value.map(|calendar| sessions(&calendar).map(|sessions| (calendar, sessions))).transpose()?;
        put(&mut self.calendars, row, value);
        Ok(())
    }
}

fn read<T: AvroRecord>(key: &str, bytes: &[u8], id: impl Fn(&T) -> &String) -> Result<T, CodecError> {
    let value = T::decode(bytes)?;
    if id(&value) == key {
        return Ok(value);
    }
    Err(CodecError::new(Fault::Unresolved(format!("record of {:?} under the key {key:?}", id(&value)))))
}

fn put<T>(rows: &mut Rows<T>, row: &TableRow<'_>, value: Option<T>) {
    match value {
        Some(value) => rows.push(row.key, row, value, 1),
        None => rows.remove(row.key),
    }
}

pub(crate) fn set<T: AvroRecord>(
    rows: &mut Rows<T>,
    row: &TableRow<'_>,
    id: impl Fn(&T) -> &String,
) -> Result<(), CodecError> {
    let value = row.value.map(|bytes| read(row.key, bytes, id)).transpose()?;
    put(rows, row, value);
    Ok(())
}

fn sessions(calendar: &Calendar) -> Result<SessionCalendar, CodecError> {
    let fault = |field: &'static str, text: String| CodecError::new(Fault::Unresolved(text)).in_field(field);
    let holidays: Result<Vec<Day>, TimeError> = calendar.holidays.iter().map(|day| day.parse()).collect();
    let holidays = holidays.map_err(|e| fault("holidays", e.to_string()))?;
    let zone = TimeZone::parse_alias(&calendar.time_zone).map_err(|e| fault("time_zone", e.to_string()))?;
    let early = calendar.early_closes.iter().map(|(day, close)| Ok((day.parse::<Day>()?, *close)));
    let early = early.collect::<Result<Vec<_>, TimeError>>().map_err(|e| fault("early_closes", e.to_string()))?;
    let make = if calendar.opens_day_before { SessionCalendar::overnight } else { SessionCalendar::new };
    make(calendar.opens_at_us, calendar.closes_at_us, calendar.open_weekends, holidays)
        .map_err(|e| fault("opens_at_us", e.to_string()))?
        .in_zone(zone)
        .with_early_closes(early)
        .map_err(|e| fault("early_closes", e.to_string()))
}
