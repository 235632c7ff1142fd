//! The clock of the operating system.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fillstream_domain::TimestampMicros;

/// Now, UTC.
pub(crate) fn os_now() -> TimestampMicros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    TimestampMicros::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
