//! What to do next with a partition: pure, so that every case can be tested.
//!
//! A batch is a run of records of one partition that go into one block of one table partition. Its [`Bounds`] are
//! committed to Kafka before the insert. Whoever owns the partition afterwards decides from the bounds, the records read
//! again and what ClickHouse has of the range:
//!
//! | found in the table | insert can still land | plan |
//! |---|---|---|
//! | all rows, the same hash | either | [`Plan::Acknowledge`] |
//! | more rows, or the same count with another hash | either | [`Plan::Stop`] |
//! | none or a part | yes | [`Plan::Wait`] |
//! | none or a part | no, records not read again yet | [`Plan::Read`] |
//! | none | no | [`Plan::Repeat`]: same bounds, same token; [`Plan::Repair`] if that was done and nothing came |
//! | a part | no | [`Plan::Repair`]: the missing offsets under a token of their own |
//! | none, and the records are not the same any more | no | [`Plan::Forget`]: the bounds mean nothing, cut afresh |
//! | a part, and the records are not the same any more | no | [`Plan::Stop`] |

use std::collections::BTreeSet;

use thiserror::Error;

/// Where rows of a topic go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    /// The topic's landing table.
    Landing,
    /// The table of what can never be read.
    Unreadable,
}

/// What the plan needs to know of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowMeta {
    /// Offset.
    pub offset: i64,
    /// Hash of offset and value.
    pub hash: u64,
    /// Bytes in an insert.
    pub size: usize,
    /// Table.
    pub destination: Destination,
    /// Partition of the table: year x 100 + month.
    pub month: i32,
}

/// How often the rows of the bounds were tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The first time.
    First,
    /// Again, whole, with the same token.
    Repeat,
    /// Only what was missing, with a token of its own; counts from 1.
    Repair(u32),
}

/// What was committed before an insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Table.
    pub destination: Destination,
    /// First offset.
    pub first: i64,
    /// Last offset.
    pub last: i64,
    /// Rows in between, both included.
    pub count: u64,
    /// Sum of the rows' hashes, modulo 2^64.
    pub hash: u64,
    /// The server refuses the insert after this, microseconds since 1970-01-01 UTC, by its own clock.
    pub deadline_us: i64,
    /// Which try it is.
    pub attempt: Attempt,
}

/// What ClickHouse says about a range of bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The deadline has passed by the server's clock, and no insert with the token runs any more.
    pub settled: bool,
    /// Inserts with the token that ran and were told to end.
    pub killed: u64,
    /// Rows of the range.
    pub count: u64,
    /// Sum of their hashes, modulo 2^64.
    pub hash: u64,
    /// The rows' offsets; only asked for, and only needed, when a part is there.
    pub offsets: Vec<i64>,
}

/// The bounds, the table and the topic do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Contradiction {
    /// The table has more rows than were ever committed to be inserted.
    #[error(
        "offsets {first} to {last} are {found} rows in clickhouse, but {expected} were bounded: somebody else writes there"
    )]
    TooMany {
        /// First offset.
        first: i64,
        /// Last offset.
        last: i64,
        /// Rows bounded.
        expected: u64,
        /// Rows found.
        found: u64,
    },
    /// As many rows, but others.
    #[error("offsets {first} to {last} in clickhouse are not the rows that were bounded: their hash differs")]
    Other {
        /// First offset.
        first: i64,
        /// Last offset.
        last: i64,
    },
    /// A part of the rows is in the table, and the topic does not have all of the rest any more.
    #[error(
        "offsets {first} to {last}: a part is in clickhouse, but the topic's records are not the bounded ones any more"
    )]
    Gone {
        /// First offset.
        first: i64,
        /// Last offset.
        last: i64,
    },
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing.
    Idle,
    /// Commit bounds of the first `rows` rows, then insert them.
    Begin {
        /// Rows from the front.
        rows: usize,
    },
    /// The range is in the table: go on behind it.
    Acknowledge,
    /// Ask the table again later.
    Wait,
    /// Read the topic up to the end of the bounds.
    Read,
    /// Commit the same bounds with a new deadline, insert the same rows with the same token.
    Repeat,
    /// Commit the same bounds with a new deadline, insert these offsets with a token of their own.
    Repair {
        /// What is missing.
        offsets: Vec<i64>,
        /// Number of the repair.
        number: u32,
    },
    /// The bounds were never inserted and never will be: cut a new batch.
    Forget,
    /// Stop: somebody must look.
    Stop(Contradiction),
}

/// Bounds of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most rows.
    pub rows: usize,
    /// Most bytes; one row may be larger.
    pub bytes: usize,
}

/// What to do with a partition whose bounds are all acknowledged. `lingered`: its rows have waited long enough for others.
#[must_use]
pub fn plan_next(rows: &[RowMeta], limits: Limits, lingered: bool) -> Plan {
    let Some(first) = rows.first() else { return Plan::Idle };
    let mut bytes = 0_usize;
    let mut taken = 0_usize;
    // Complete = another row could not have come in.
    let mut complete = false;
    for row in rows {
        bytes = bytes.saturating_add(row.size);
        let fits = taken < limits.rows && (bytes <= limits.bytes || taken == 0);
        if !fits || row.destination != first.destination || row.month != first.month {
            complete = true;
            break;
        }
        taken += 1;
    }
    if complete || taken >= limits.rows || bytes >= limits.bytes || lingered {
        Plan::Begin { rows: taken }
    } else {
        Plan::Idle
    }
}

/// What to do about bounds whose insert is not known to have landed. `rows` are the records read again from
/// `bounds.first` on, `read_to` the offset below which everything has been read.
#[must_use]
pub fn plan_recovery(bounds: &Bounds, rows: &[RowMeta], read_to: i64, found: &Found) -> Plan {
    let Bounds { first, last, count, hash, .. } = *bounds;
    if found.count > count {
        return Plan::Stop(Contradiction::TooMany { first, last, expected: count, found: found.count });
    }
    if found.count == count {
        return if found.hash == hash { Plan::Acknowledge } else { Plan::Stop(Contradiction::Other { first, last }) };
    }
    if !found.settled {
        return Plan::Wait;
    }
    if read_to <= last {
        return Plan::Read;
    }
    let again: Vec<&RowMeta> = rows.iter().take_while(|r| r.offset <= last).collect();
    let same = again.iter().all(|r| r.destination == bounds.destination)
        && u64::try_from(again.len()) == Ok(count)
        && again.iter().fold(0_u64, |sum, r| sum.wrapping_add(r.hash)) == hash;
    match (same, found.count) {
        (false, 0) => Plan::Forget,
        (false, _) => Plan::Stop(Contradiction::Gone { first, last }),
        (true, 0) if bounds.attempt == Attempt::First => Plan::Repeat,
        (true, _) => {
            let there: BTreeSet<i64> = found.offsets.iter().copied().collect();
            let known: u64 =
                again.iter().filter(|r| there.contains(&r.offset)).fold(0_u64, |sum, r| sum.wrapping_add(r.hash));
            let distinct = u64::try_from(there.len()) == Ok(found.count);
            if known != found.hash || !distinct {
                return Plan::Stop(Contradiction::Other { first, last });
            }
            let offsets = again.iter().map(|r| r.offset).filter(|o| !there.contains(o)).collect();
            let number = match bounds.attempt {
                Attempt::First | Attempt::Repeat => 1,
                Attempt::Repair(n) => n.saturating_add(1),
            };
            Plan::Repair { offsets, number }
        }
    }
}

/// Bounds of rows of one destination, not empty.
#[must_use]
pub fn bounds_of(rows: &[RowMeta], deadline_us: i64) -> Option<Bounds> {
    let (first, last) = (rows.first()?, rows.last()?);
    Some(Bounds {
        destination: first.destination,
        first: first.offset,
        last: last.offset,
        count: u64::try_from(rows.len()).ok()?,
        hash: rows.iter().fold(0_u64, |sum, r| sum.wrapping_add(r.hash)),
        deadline_us,
        attempt: Attempt::First,
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
