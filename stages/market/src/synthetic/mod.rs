//! A synthetic market: documented, and a pure function of its configuration.
//!
//! **This is not market data.** Each instrument has its own random stream (seed and instrument id), so that adding one
//! changes no other. All arithmetic is in whole numbers: prices in ticks, the mid in thousandths of a tick, sizes in
//! lots, times in microseconds; the rows are the same on every machine.
//!
//! - **Activity** is U-shaped: at the fraction x of the session the rates and the sizes are multiplied by
//!   `u(x) = 0.6 + 1.2 (2x - 1)^2`, which is 1.8 at the ends, 0.6 in the middle and 1 on average. Times between events
//!   are exponential.
//! - **Volatility** has three regimes, a Markov chain: calm (0.6 x, mean stay 10 min), normal (1 x, 6 min 40 s), stressed
//!   (2.2 x, 90 s); calm and stressed lead to normal, normal leads to calm (70 %) or stressed.
//! - **The mid** is a random walk: between two quotes dt apart it moves by mid x daily sigma x regime x sqrt(dt / day)
//!   x a normal variate.
//! - **The spread** is the instrument's in the calm regime, 1.5 times in the normal, 3 times in the stressed one, rounded
//!   to a tick up or down by chance; never below a tick, so bid < ask always.
//! - **Sizes** at the touch are exponential around their mean, times u(x), times 1.3, 1 or 0.5 by regime; at least a lot.
//! - **Trades** take a side with even odds at the touch, never more than its size; a quote with the size that is left
//!   follows at the same time. A touch taken whole moves one tick away. An instrument without sizes has no trades.

mod config;
mod prng;
mod process;

pub use config::{DEFAULT_START, SyntheticConfig, SyntheticInstrument, default_instruments};
pub use prng::Prng;

use crate::{MarketError, MarketSource, Session};
use fillstream_domain::TimestampMicros;
use fillstream_schemas::market::NormalizedMarketData;
use fillstream_schemas::reference::Instrument;
use process::Process;

/// A synthetic market, row by row.
#[derive(Debug)]
pub struct SyntheticMarket {
    /// In order of the instruments' ids: ties in time are broken by it.
    processes: Vec<Process>,
    instruments: Vec<Instrument>,
    session: Session,
}

impl SyntheticMarket {
    /// The market of a configuration.
    ///
    /// # Errors
    /// The configuration is faulty: every fault is named.
    pub fn new(config: SyntheticConfig) -> Result<Self, MarketError> {
        config.validate()?;
        let end = TimestampMicros::from_micros(config.start.micros().saturating_add(config.length_us));
        let session = Session { start: config.start, end };
        let mut specs = config.instruments.clone();
        specs.sort_by(|a, b| a.instrument_id.cmp(&b.instrument_id));
        let reference = specs.iter().map(|spec| {
            spec.reference(config.trade_interval_us)
                .map_err(|source| MarketError::Number { instrument_id: spec.instrument_id.clone(), source })
        });
        let instruments = reference.collect::<Result<_, _>>()?;
        let processes = specs.into_iter().map(|spec| Process::new(spec, &config)).collect();
        Ok(Self { processes, instruments, session })
    }

    /// The instrument whose row is next: the earliest, of equals the first by id.
    fn next_process(&mut self) -> Option<&mut Process> {
        let end = self.session.end.micros();
        self.processes.iter_mut().filter(|process| process.next_time() < end).min_by_key(|process| process.next_time())
    }
}

impl MarketSource for SyntheticMarket {
    fn next_row(&mut self) -> Result<Option<NormalizedMarketData>, MarketError> {
        self.next_process().map(Process::next_row).transpose()
    }

    fn peek_time(&mut self) -> Result<Option<TimestampMicros>, MarketError> {
        Ok(self.next_process().map(|process| TimestampMicros::from_micros(process.next_time())))
    }

    fn instruments(&self) -> &[Instrument] {
        &self.instruments
    }

    fn session(&self) -> Session {
        self.session
    }
}

#[cfg(test)]
mod tests;
