//! Why the venue stops.

use fillstream_domain::NumberError;
use fillstream_market::MarketError;
use std::path::PathBuf;

/// What the venue failed at. A request that is merely wrong is a [`Refusal`](crate::Refusal), never this.
#[derive(Debug, thiserror::Error)]
pub enum VenueError {
    /// The configuration is faulty.
    #[error("venue configuration: {0}")]
    Config(String),
    /// The market source failed.
    #[error("market source of the venue")]
    Market(#[from] MarketError),
    /// A figure left the range of its type.
    #[error("figures of order {order}")]
    Number {
        /// The order.
        order: String,
        /// What was wrong.
        source: NumberError,
    },
    /// The journal cannot be read or written.
    #[error("cannot use venue journal {}", file.display())]
    Journal {
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A line of the journal is no journal line, and it is not the torn last one.
    #[error("venue journal {}: line {line} is damaged: {problem}", file.display())]
    JournalDamaged {
        /// The file.
        file: PathBuf,
        /// Number of the line, from 0.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// The journal was written under another configuration or market.
    #[error("venue journal {} was written under another {what}", file.display())]
    JournalForeign {
        /// The file.
        file: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// Running the journal's requests again gives other reports than were written.
    #[error("venue journal {}: line {line}: the report differs when its requests run again", file.display())]
    JournalDiffers {
        /// The file.
        file: PathBuf,
        /// Number of the line, from 0.
        line: u64,
    },
    /// The server cannot go on.
    #[error("venue server")]
    Serve(#[source] std::io::Error),
    /// The thread that runs the venue is gone.
    #[error("the venue's worker stopped unexpectedly")]
    WorkerGone,
}
