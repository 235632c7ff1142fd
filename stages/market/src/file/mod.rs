//! Market rows replayed from a file.
//!
//! The file has the columns of [`HEADER`], sorted by `ts_us`, one row a line, gzip or plain. An empty cell is unknown
//! (an unknown size is not zero); locked and crossed quotes are kept; rows of equal time keep their order; an
//! instrument may be quoted at several venues. The whole file is read once when it is opened: every line is checked
//! then, and the reference data of its instruments is derived.

mod line;
mod stats;

use crate::{MarketError, MarketSource, Session};
use fillstream_domain::TimestampMicros;
use fillstream_schemas::market::NormalizedMarketData;
use fillstream_schemas::reference::Instrument;
use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// First line of a market file.
pub(crate) const HEADER: &str = "ts_us,symbol,kind,bid,ask,bid_size,ask_size,price,size,venue";

/// A replayed market file.
pub struct FileSource {
    rows: Rows,
    ahead: Option<NormalizedMarketData>,
    instruments: Vec<Instrument>,
    session: Session,
}

impl FileSource {
    /// Opens a market file and checks it whole.
    ///
    /// # Errors
    /// The file cannot be read, or a line is no market row: the error names file, line and column.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, MarketError> {
        let path = path.as_ref();
        let mut stats = stats::FileStats::new(path);
        let mut rows = Rows::open(path)?;
        while let Some(row) = rows.next()? {
            stats.add(&row)?;
        }
        let (instruments, session) = stats.finish()?;
        let mut rows = Rows::open(path)?;
        let ahead = rows.next()?;
        Ok(Self { rows, ahead, instruments, session })
    }
}

impl std::fmt::Debug for FileSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSource").field("path", &self.rows.path).field("line", &self.rows.line).finish()
    }
}

impl MarketSource for FileSource {
    fn next_row(&mut self) -> Result<Option<NormalizedMarketData>, MarketError> {
        let next = if self.ahead.is_some() { self.rows.next()? } else { None };
        Ok(std::mem::replace(&mut self.ahead, next))
    }

    fn peek_time(&mut self) -> Result<Option<TimestampMicros>, MarketError> {
        Ok(self.ahead.as_ref().map(|row| row.event_time))
    }

    fn instruments(&self) -> &[Instrument] {
        &self.instruments
    }

    fn session(&self) -> Session {
        self.session
    }
}

/// The rows of a file, one after the other.
struct Rows {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    /// Number of the line read last, from 1.
    line: u64,
    text: String,
    previous: Option<TimestampMicros>,
    /// Last `seq` given, by instrument and venue.
    seqs: BTreeMap<String, BTreeMap<String, i64>>,
}

impl Rows {
    fn open(path: &Path) -> Result<Self, MarketError> {
        let read_error = |source| MarketError::Read { file: path.to_owned(), source };
        let mut plain = BufReader::new(File::open(path).map_err(read_error)?);
        let is_gzip = plain.fill_buf().map_err(read_error)?.starts_with(&[0x1f, 0x8b]);
        let reader: Box<dyn BufRead + Send> =
            if is_gzip { Box::new(BufReader::new(MultiGzDecoder::new(plain))) } else { Box::new(plain) };
        let mut rows =
            Self { path: path.to_owned(), reader, line: 0, text: String::new(), previous: None, seqs: BTreeMap::new() };
        if !rows.read_line()? || rows.text != HEADER {
            return Err(MarketError::BadHeader { file: rows.path, expected: HEADER });
        }
        Ok(rows)
    }

    /// Reads the next line into `text`; false at the end of the file.
    fn read_line(&mut self) -> Result<bool, MarketError> {
        // A damaged file may hold no line end at all: never take more than this for one line.
        const LONGEST: u64 = 4096;
        self.text.clear();
        let read = self.reader.by_ref().take(LONGEST).read_line(&mut self.text);
        let length = read.map_err(|source| MarketError::Read { file: self.path.clone(), source })?;
        self.line += 1;
        while self.text.ends_with(['\n', '\r']) {
            self.text.pop();
        }
        Ok(length > 0)
    }

    fn next(&mut self) -> Result<Option<NormalizedMarketData>, MarketError> {
        if !self.read_line()? {
            return Ok(None);
        }
        let parsed = line::parse(&self.text, self.previous);
        let mut row = parsed.map_err(|line::BadColumn { column, problem }| MarketError::BadLine {
            file: self.path.clone(),
            line: self.line,
            column,
            problem,
        })?;
        self.previous = Some(row.event_time);
        row.seq = self.next_seq(&row);
        Ok(Some(row))
    }

    fn next_seq(&mut self, row: &NormalizedMarketData) -> i64 {
        if let Some(seq) = self.seqs.get_mut(&row.instrument_id).and_then(|venues| venues.get_mut(&row.venue)) {
            *seq += 1;
            return *seq;
        }
        self.seqs.entry(row.instrument_id.clone()).or_default().insert(row.venue.clone(), 1);
        1
    }
}

#[cfg(test)]
mod tests;
