//! What can go wrong.

use std::path::PathBuf;

use fillstream_core::error::EngineError;
use fillstream_domain::NumberError;
use fillstream_market::MarketError;
use fillstream_schemas::codec::CodecError;

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
pub enum QualityError {
    /// A market could not be read or made.
    #[error("market: {0}")]
    Market(#[from] MarketError),
    /// The folder of market files could not be read.
    #[error("market data in {folder}: {source}")]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An amount out of range.
    #[error("number: {0}")]
    Number(#[from] NumberError),
    /// A record that cannot be read.
    #[error("record: {0}")]
    Codec(#[from] CodecError),
    /// The engine refused the stage or a batch.
    #[error("engine: {0}")]
    Engine(#[from] EngineError),
    /// The configuration of the stage is faulty.
    #[error("execution-strategy: {0}")]
    Config(String),
    /// The stage could not process a record.
    #[error("a dead letter of {stage} on {path}")]
    DeadLetter {
        /// Stage.
        stage: String,
        /// Path.
        path: String,
    },
    /// A path on which nothing can be measured.
    #[error("path {path}: {what}")]
    Path {
        /// Which.
        path: String,
        /// Why.
        what: &'static str,
    },
}
