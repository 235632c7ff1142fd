//! Decisions and commands are honoured once.
//!
//! What was seen is kept for the duplicate window under the hash of its id, with the hash of its content, and indexed by
//! the hour it came in: a timer an hour forgets what has passed. Beyond the window nothing is known any more; there a
//! decision's own time makes it stale, and it gets ids of its own, because those of its id may be in use.

use fillstream_core::lineage::Lineage;
use fillstream_domain::TimestampMicros;
use fillstream_schemas::AvroRecord;
use fillstream_schemas::state::{OmsSeen, OmsSeenHour, OmsTimer, OmsTimerKind};
use sha2::{Digest, Sha256};

use crate::config::{Config, MICROS_PER_HOUR};
use crate::{Fx, State};

/// Entries forgotten by one firing of the timer: a busy hour does not hold a batch up.
const SWEEP_CHUNK: usize = 2_000;

/// What is honoured once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Decision,
    Command,
}

/// How a record stands to those seen before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Not seen.
    First,
    /// Seen with this very content.
    Repeat,
    /// Not seen, but so old, or so nameless, that its id proves nothing. The salt makes ids of its own.
    Apart(String),
    /// Seen with other content. The salt makes ids of its own.
    Conflict(String),
}

/// SHA-256 of a record's Avro encoding in our schema.
pub(crate) fn content_hash<T: AvroRecord>(record: &T) -> Vec<u8> {
    Sha256::digest(record.to_bytes()).to_vec()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Admits a record and remembers it.
pub(crate) fn admit<T: AvroRecord>(
    config: &Config,
    state: &mut State,
    fx: &mut Fx<'_>,
    (kind, id, timestamp): (Kind, &str, TimestampMicros),
    record: &T,
) -> Admission {
    let content = content_hash(record);
    let salt = hex(content.get(..16).unwrap_or_default());
    let kind = match kind {
        Kind::Decision => 'd',
        Kind::Command => 'c',
    };
    // A nameless record is its own content.
    let name = if id.is_empty() { format!("{kind}/-{salt}") } else { format!("{kind}/{}", Lineage::root("id", id)) };
    let aged = fx.now().since(timestamp).is_some_and(|age| age.micros() > config.duplicate_window_us());
    match state.seen.get(&name) {
        Some(seen) if seen.content == content => Admission::Repeat,
        Some(_) => {
            let other = format!("{name}/{salt}");
            if state.seen.get(&other).is_some() {
                return Admission::Repeat;
            }
            remember(config, state, fx, &other, content);
            Admission::Conflict(salt)
        }
        None => {
            remember(config, state, fx, &name, content);
            if aged || id.is_empty() { Admission::Apart(salt) } else { Admission::First }
        }
    }
}

fn remember(config: &Config, state: &mut State, fx: &mut Fx<'_>, name: &str, content: Vec<u8>) {
    let now = fx.now();
    let hour = now.micros().div_euclid(MICROS_PER_HOUR);
    let prefix = hour_prefix(hour);
    if state.seen_hours.with_prefix(&prefix).next().is_none() {
        // The hour's last entry must be older than the window.
        let end = hour.saturating_add(1).saturating_mul(MICROS_PER_HOUR);
        let due = TimestampMicros::from_micros(end.saturating_add(config.duplicate_window_us()));
        schedule(fx, hour, due);
    }
    state.seen_hours.put(&format!("{prefix}{name}"), OmsSeenHour { seen_at: now });
    state.seen.put(name, OmsSeen { content });
}

fn schedule(fx: &mut Fx<'_>, hour: i64, due: TimestampMicros) {
    let timer = OmsTimer { kind: OmsTimerKind::Sweep, subject: hour.to_string(), is_deferred: false };
    fx.schedule_apart(format!("sweep/{hour}"), due, &timer);
}

// Hours since 1970 have the same number of digits for the next 600 years; keys only need to differ.
fn hour_prefix(hour: i64) -> String {
    format!("{hour:010}/")
}

/// Forgets an hour, a chunk at a time.
pub(crate) fn sweep(state: &mut State, fx: &mut Fx<'_>, hour: &str) {
    let Ok(hour) = hour.parse() else { return };
    let prefix = hour_prefix(hour);
    let due: Vec<String> =
        state.seen_hours.with_prefix(&prefix).take(SWEEP_CHUNK).map(|(key, _)| key.to_owned()).collect();
    for key in &due {
        state.seen_hours.remove(key);
        if let Some(name) = key.strip_prefix(&prefix) {
            state.seen.remove(name);
        }
    }
    if due.len() == SWEEP_CHUNK {
        let now = fx.now();
        schedule(fx, hour, now);
    }
}
