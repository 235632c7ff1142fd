//! The market source with a window onto what comes.

use fillstream_domain::TimestampMicros;
use fillstream_market::{MarketError, MarketSource};
use fillstream_schemas::market::NormalizedMarketData;
use std::collections::VecDeque;

/// Most rows looked at beyond the clock.
const MOST_ROWS: usize = 100_000;

/// What a search of the window found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A row that matters, at this time.
    At(TimestampMicros),
    /// Nothing up to this time; beyond was not searched.
    NothingBefore(TimestampMicros),
    /// Nothing, and the market ends.
    Never,
}

pub(crate) struct LookAhead {
    source: Box<dyn MarketSource>,
    window: VecDeque<NormalizedMarketData>,
    /// First rows of the window that a search of this generation found not to matter.
    searched: usize,
    generation: u64,
}

impl std::fmt::Debug for LookAhead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LookAhead").field("window", &self.window.len()).finish_non_exhaustive()
    }
}

impl LookAhead {
    pub(crate) fn new(source: Box<dyn MarketSource>) -> Self {
        Self { source, window: VecDeque::new(), searched: 0, generation: 0 }
    }

    pub(crate) fn next_time(&mut self) -> Result<Option<TimestampMicros>, MarketError> {
        match self.window.front() {
            Some(row) => Ok(Some(row.event_time)),
            None => self.source.peek_time(),
        }
    }

    pub(crate) fn next_row(&mut self) -> Result<Option<NormalizedMarketData>, MarketError> {
        self.searched = self.searched.saturating_sub(1);
        match self.window.pop_front() {
            Some(row) => Ok(Some(row)),
            None => self.source.next_row(),
        }
    }

    /// The first row up to `until` that matters. `generation` changes whenever another row may matter.
    pub(crate) fn search(
        &mut self,
        until: TimestampMicros,
        generation: u64,
        matters: impl Fn(&NormalizedMarketData) -> bool,
    ) -> Result<Found, MarketError> {
        if generation != self.generation {
            self.generation = generation;
            self.searched = 0;
        }
        loop {
            if self.searched == self.window.len() {
                match self.source.peek_time()? {
                    None => return Ok(Found::Never),
                    Some(time) if time > until || self.window.len() >= MOST_ROWS => {
                        return Ok(Found::NothingBefore(time.min(until)));
                    }
                    Some(_) => self.window.extend(self.source.next_row()?),
                }
            }
            match self.window.get(self.searched) {
                Some(row) if row.event_time > until => return Ok(Found::NothingBefore(until)),
                Some(row) if matters(row) => return Ok(Found::At(row.event_time)),
                Some(_) => self.searched += 1,
                None => return Ok(Found::Never),
            }
        }
    }
}
