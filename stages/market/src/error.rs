//! Why a market source cannot go on.

use std::path::PathBuf;

/// What a market source failed at.
#[derive(Debug, thiserror::Error)]
pub enum MarketError {
    /// The file cannot be read.
    #[error("cannot read market file {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The first line does not name the columns of a market file.
    #[error("market file {}: line 1: the header is not {expected:?}", file.display())]
    BadHeader {
        /// The file.
        file: PathBuf,
        /// The header of a market file.
        expected: &'static str,
    },
    /// A line holds something that is no market row.
    #[error("market file {}: line {line}: column {column}: {problem}", file.display())]
    BadLine {
        /// The file.
        file: PathBuf,
        /// Line number, from 1 (the header).
        line: u64,
        /// Name of the column.
        column: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The file holds no rows.
    #[error("market file {} holds no rows", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// A synthetic market was asked for that cannot be.
    #[error("synthetic market: {0}")]
    BadConfig(String),
    /// A number left the range of its type.
    #[error("market number of {instrument_id}")]
    Number {
        /// The instrument.
        instrument_id: String,
        /// What was wrong.
        source: fillstream_domain::NumberError,
    },
}
