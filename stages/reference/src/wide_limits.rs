//! Limits over several portfolios.

use fillstream_core::table::{Rows, Table, TableRow};
use fillstream_domain::AssetClass;
use fillstream_schemas::codec::{AvroRecord, CodecError, Fault};
use fillstream_schemas::reference::{Instrument, WideLimit, WideScope};

const WIDE_LIMITS: &str = "reference.wide-limits.v1";

/// The table of reference.wide-limits.v1: the last record of each limit, deletions honoured.
#[derive(Clone, Debug)]
pub struct WideLimits(Rows<WideLimit>);

impl Default for WideLimits {
    fn default() -> Self {
        Self(Rows::new(WIDE_LIMITS))
    }
}

impl Table for WideLimits {
    const TOPICS: &'static [(&'static str, &'static str)] = &[(WIDE_LIMITS, WideLimit::FULL_NAME)];

    fn apply(&mut self, row: &TableRow<'_>) -> Result<(), CodecError> {
        // State is kept by limit and portfolio with a slash between: in one of the two ids it would be another pair's.
        if row.key.contains('/') {
            return Err(CodecError::new(Fault::Unresolved(format!("limit id {:?} has a slash", row.key))));
        }
        crate::data::set(&mut self.0, row, |r: &WideLimit| &r.limit_id)
    }
}

impl WideLimits {
    /// A limit.
    #[must_use]
    pub fn limit(&self, id: &str) -> Option<&WideLimit> {
        self.0.get(id)
    }

    /// The limits that cover an instrument, in order of their ids.
    pub fn covering<'a>(&'a self, instrument: &'a Instrument) -> impl Iterator<Item = &'a WideLimit> {
        self.0.each_last_where(|_| true).filter(|limit| covers(limit, instrument))
    }
}

/// Whether a limit covers an instrument. An equity of unknown sector could be of any, and a scope of a newer writer covers
/// everything: what is not understood must not be passed.
#[must_use]
pub fn covers(limit: &WideLimit, instrument: &Instrument) -> bool {
    match limit.scope {
        WideScope::Firm | WideScope::Other => true,
        WideScope::Sector => match &instrument.sector {
            Some(sector) => *sector == limit.scope_id,
            None => instrument.asset_class == AssetClass::Equity,
        },
        WideScope::AssetClass => instrument.asset_class.as_str() == limit.scope_id,
        WideScope::Instrument => instrument.instrument_id == limit.scope_id,
    }
}
