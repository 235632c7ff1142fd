//! The venue's own append-only journal: the witness of what it took in and said, and what it restores from.
//!
//! One JSON object a line, numbered from 0. Lines are written and fsynced in groups, before anybody is answered.

use crate::VenueError;
use crate::config::{EngineConfig, Mode};
use crate::report::Report;
use crate::request::{AcceptedCancel, AcceptedOrder};
use fillstream_domain::TimestampMicros;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

/// Version of the journal's form.
pub(crate) const VERSION: u32 = 1;

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Number of the line, gapless from 0.
    pub n: u64,
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Entry {
    /// The first line: under what the journal was written.
    Start(Box<Start>),
    /// An order was taken in.
    Order {
        /// The venue's clock then.
        #[serde(with = "crate::micros")]
        at: TimestampMicros,
        /// The order.
        #[serde(flatten)]
        order: AcceptedOrder,
    },
    /// A cancel request was taken in.
    Cancel {
        /// The venue's clock then.
        #[serde(with = "crate::micros")]
        at: TimestampMicros,
        /// The request.
        #[serde(flatten)]
        cancel: AcceptedCancel,
    },
    /// The clock was advanced, and the reports that follow were made by it.
    Clock {
        /// To this instant.
        #[serde(with = "crate::micros")]
        instant: TimestampMicros,
        /// The pacer's number; 0 in live mode.
        sequence: u64,
    },
    /// A report was made.
    Report {
        /// The report.
        report: Box<Report>,
    },
}

/// Under what a journal was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Version of the journal's form.
    pub version: u32,
    /// Whose clock the venue follows.
    pub mode: Mode,
    /// Start of the market's session.
    #[serde(with = "crate::micros")]
    pub session_start: TimestampMicros,
    /// End of the market's session.
    #[serde(with = "crate::micros")]
    pub session_end: TimestampMicros,
    /// What decides the reports.
    pub config: EngineConfig,
}

/// Where the durable lines begin, and behind the last where it ends.
pub(crate) type Offsets = Arc<RwLock<Vec<u64>>>;

/// An open journal; the file is locked against a second process.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// One more than there are durable lines.
    offsets: Offsets,
    next: u64,
    pending: Vec<u8>,
    pending_ends: Vec<u64>,
    end: u64,
}

impl Journal {
    /// Opens or creates a journal and gives each whole line to `visit`; a torn last line is cut off.
    ///
    /// # Errors
    /// The file cannot be used, another process holds it, or a line that is not the last is damaged; what `visit` says.
    pub fn open(path: &Path, mut visit: impl FnMut(Line) -> Result<(), VenueError>) -> Result<Self, VenueError> {
        let failed = |source| VenueError::Journal { file: path.to_owned(), source };
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        file.try_lock().map_err(|error| failed(error.into()))?;
        let mut offsets = vec![0];
        let (mut end, mut next) = (0, 0);
        let mut reader = BufReader::new(&file);
        let mut text = Vec::new();
        loop {
            text.clear();
            let length = reader.read_until(b'\n', &mut text).map_err(failed)?;
            let whole = text.ends_with(b"\n");
            if length == 0 || !whole {
                break; // What has no line end was not fsynced: nobody was answered.
            }
            let line = serde_json::from_slice::<Line>(&text).map_err(|error| error.to_string());
            let line =
                line.and_then(|line| if line.n == next { Ok(line) } else { Err(format!("its number is {}", line.n)) });
            match line {
                Ok(line) => visit(line)?,
                Err(problem) if is_end(&mut reader).map_err(failed)? => {
                    tracing::warn!(line = next, problem, "the torn last line of the venue journal is dropped");
                    break;
                }
                Err(problem) => return Err(VenueError::JournalDamaged { file: path.to_owned(), line: next, problem }),
            }
            end += u64::try_from(length).unwrap_or(u64::MAX);
            next += 1;
            offsets.push(end);
        }
        file.set_len(end).and_then(|()| file.sync_all()).map_err(failed)?;
        sync_folder(path).map_err(failed)?;
        let offsets = Arc::new(RwLock::new(offsets));
        Ok(Self { path: path.to_owned(), file, offsets, next, pending: Vec::new(), pending_ends: Vec::new(), end })
    }

    /// Number of the next line.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn offsets(&self) -> Offsets {
        Arc::clone(&self.offsets)
    }

    /// Adds a line to the group that the next [`Journal::commit`] makes durable.
    ///
    /// # Errors
    /// None for entries, which all have a JSON form.
    pub fn append(&mut self, entry: Entry) -> Result<(), VenueError> {
        let before = self.pending.len();
        let line = Line { n: self.next, entry };
        serde_json::to_writer(&mut self.pending, &line).map_err(|error| self.failed(error.into()))?;
        self.pending.push(b'\n');
        self.end += u64::try_from(self.pending.len() - before).unwrap_or(u64::MAX);
        self.pending_ends.push(self.end);
        self.next += 1;
        Ok(())
    }

    /// Writes and fsyncs the group; without lines it does nothing.
    ///
    /// # Errors
    /// The file cannot be written: whether the group is durable is not known, so the venue must stop.
    pub fn commit(&mut self) -> Result<(), VenueError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.pending).and_then(|()| self.file.sync_data());
        written.map_err(|source| self.failed(source))?;
        self.pending.clear();
        let mut offsets = self.offsets.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        offsets.append(&mut self.pending_ends);
        Ok(())
    }

    fn failed(&self, source: std::io::Error) -> VenueError {
        VenueError::Journal { file: self.path.clone(), source }
    }
}

/// The durable lines from number `from`, at most `limit`, as they stand in the file.
pub(crate) fn read_lines(path: &Path, offsets: &Offsets, from: u64, limit: usize) -> std::io::Result<Vec<u8>> {
    let span = {
        let offsets = offsets.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let last = offsets.len().saturating_sub(1);
        let first = usize::try_from(from).unwrap_or(usize::MAX).min(last);
        offsets.get(first).copied().zip(offsets.get(first.saturating_add(limit).min(last)).copied())
    };
    let (start, end) = span.unwrap_or((0, 0));
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(end - start).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Start of the market session under which a journal was written; `None` for a journal that does not exist or is
/// empty. A live venue that restarts anchors its market there again.
///
/// # Errors
/// The file cannot be read, or its first line is damaged.
pub fn recorded_session_start(path: &Path) -> Result<Option<TimestampMicros>, VenueError> {
    let failed = |source| VenueError::Journal { file: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = Vec::new();
    BufReader::new(file).read_until(b'\n', &mut text).map_err(failed)?;
    if !text.ends_with(b"\n") {
        return Ok(None);
    }
    let damaged = |problem| VenueError::JournalDamaged { file: path.to_owned(), line: 0, problem };
    match serde_json::from_slice::<Line>(&text).map_err(|error| damaged(error.to_string()))?.entry {
        Entry::Start(start) => Ok(Some(start.session_start)),
        Entry::Order { .. } | Entry::Cancel { .. } | Entry::Clock { .. } | Entry::Report { .. } => {
            Err(damaged("it is no start".to_owned()))
        }
    }
}

fn is_end(reader: &mut impl BufRead) -> std::io::Result<bool> {
    reader.fill_buf().map(<[u8]>::is_empty)
}

/// Makes a new file's name durable.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
