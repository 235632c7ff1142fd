//! Distrusts a server that could not write.
//!
//! `libchdb`, which serves ClickHouse locally, leaves out the error of a failed `write` (its `WriteBufferFromFileDescriptor`
//! ends the loop and says nothing): on a full disk it answers an insert with 200 although its part has empty files, and
//! commits merges whose part nobody can read. The server of the official build reports such an insert as failed. Both count
//! the failed calls in `system.events`, so an insert is believed only when that number has not moved since before it was
//! sent. When it has moved, every part written since is checked, a table with an unreadable one is loaded again from disk
//! (which sets the part aside and brings the sources of a merge back), and the rows found decide about the batch.

use std::sync::{Mutex as Shared, PoisonError};

use serde_json::Value as Json;
use tokio::sync::Mutex;
use tracing::{error, warn};

use crate::clickhouse::{ClickHouse, number};
use crate::error::SinkError;
use crate::shape::{literal, quote};

/// A part may have been written this long before the look that found nothing, and carry a time of whole seconds.
const MARGIN_US: i64 = 10_000_000;
/// Starts of the server that are as near to each other are the same one: uptime comes in whole seconds.
const SAME_RUN_US: i64 = 2_000_000;
/// Parts are merged away while they are checked.
const LISTINGS: usize = 20;

/// Failed writes of a run of the server, at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Failed calls since the server's start.
    failed: u64,
    /// The server's start, microseconds since 1970-01-01 UTC.
    run_us: i64,
    /// The server's clock.
    at_us: i64,
}

impl Look {
    fn is_of_run_of(&self, other: &Self) -> bool {
        self.run_us.abs_diff(other.run_us) <= SAME_RUN_US.unsigned_abs()
    }

    /// Nothing has failed between the two.
    fn is_clean_since(&self, before: &Self) -> bool {
        self.is_of_run_of(before) && self.failed == before.failed
    }
}

/// An active part, as far as its check needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    table: String,
    name: String,
    partition: String,
    rows: u64,
    level: u64,
    blocks: (i64, i64),
    version: u64,
}

impl Part {
    fn of(row: &[Json]) -> Option<Self> {
        let [table, name, partition, rows, level, min, max, version] = row else { return None };
        let text = |json: &Json| json.as_str().map(str::to_owned);
        Some(Self {
            table: text(table)?,
            name: text(name)?,
            partition: text(partition)?,
            rows: number(rows)?,
            level: number(level)?,
            blocks: (number(min)?, number(max)?),
            version: number(version)?,
        })
    }

    /// Written by an insert, and nothing else yet. Such a part that cannot be read was never acknowledged: the count of
    /// failed writes had moved by the time its insert was answered.
    fn is_of_insert(&self) -> bool {
        // A part without mutations has its own block number as data version.
        self.level == 0 && i64::try_from(self.version) == Ok(self.blocks.0)
    }
}

/// Knows since when the server has written all that it was told to.
pub(crate) struct Guard {
    server: ClickHouse,
    tables: Vec<String>,
    /// The last look at which every part was known to be good.
    good: Shared<Option<Look>>,
    /// Held while parts are checked: the text of what was found lost, for good.
    check: Mutex<Option<(String, String)>>,
}

impl Guard {
    pub(crate) fn new(server: ClickHouse, tables: Vec<String>) -> Self {
        Self { server, tables, good: Shared::new(None), check: Mutex::new(None) }
    }

    /// To be taken before an insert is sent.
    pub(crate) fn good(&self) -> Option<Look> {
        *self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the server has written everything since `before`. If not, all parts that may be bad have been checked, and
    /// unreadable ones are set aside, when this returns.
    pub(crate) async fn wrote_all_since(&self, before: Option<Look>) -> Result<bool, SinkError> {
        let now = self.look().await?;
        if before.is_some_and(|before| now.is_clean_since(&before)) {
            return Ok(true);
        }
        self.inspect().await?;
        Ok(false)
    }

    /// Checks what has been written since the last good look, unless no write has failed.
    pub(crate) async fn inspect(&self) -> Result<(), SinkError> {
        // Nobody waits for the answer of a server that is away behind somebody else who does.
        let now = self.look().await?;
        if self.good().is_some_and(|good| now.is_clean_since(&good)) {
            return Ok(());
        }
        let mut lost = self.check.lock().await;
        if let Some((table, text)) = &*lost {
            return Err(SinkError::Lost { table: table.clone(), text: text.clone() });
        }
        let now = self.look().await?;
        let good = self.good().filter(|good| now.is_of_run_of(good));
        let clean = good.is_some_and(|good| now.is_clean_since(&good));
        // A server checks the parts of its tables when it starts.
        if !clean && now.failed > 0 {
            let since_us = good.map_or(now.run_us, |good| good.at_us);
            warn!(
                failed_writes = now.failed,
                "clickhouse could not write everything: what it has written since is checked"
            );
            match self.check_since(since_us).await {
                Err(SinkError::Lost { table, text }) => {
                    *lost = Some((table.clone(), text.clone()));
                    return Err(SinkError::Lost { table, text });
                }
                other => other?,
            }
        }
        *self.good.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        Ok(())
    }

    /// Says which parts of our tables the server has set aside as unreadable, now or in earlier runs.
    pub(crate) async fn tell_set_aside(&self) -> Result<(), SinkError> {
        let sql = format!(
            "SELECT table, name, reason FROM system.detached_parts WHERE database = {} AND startsWith(reason, 'broken')",
            literal(self.server.database())
        );
        for row in self.server.rows("looking for parts set aside", &sql).await? {
            let text = |n: usize| row.get(n).and_then(Json::as_str).unwrap_or_default().to_owned();
            if self.tables.contains(&text(0)) {
                warn!(table = text(0), part = text(1), reason = text(2), "clickhouse has set an unreadable part aside");
            }
        }
        Ok(())
    }

    async fn look(&self) -> Result<Look, SinkError> {
        const CALL: &str = "asking for failed writes";
        let sql = "SELECT (SELECT sum(value) FROM system.events WHERE event = 'WriteBufferFromFileDescriptorWriteFailed'), \
                   toUnixTimestamp64Micro(now64(6)), uptime()";
        let rows = self.server.rows(CALL, sql).await?;
        let no_numbers = || SinkError::ClickHouse { call: CALL, text: "no numbers".into() };
        let [failed, at, uptime] = rows.first().map(Vec::as_slice).unwrap_or_default() else {
            return Err(no_numbers());
        };
        let (Some(failed), Some(at_us), Some(uptime)) = (number(failed), number::<i64>(at), number::<i64>(uptime))
        else {
            return Err(no_numbers());
        };
        Ok(Look { failed, run_us: at_us.saturating_sub(uptime.saturating_mul(1_000_000)), at_us })
    }

    async fn check_since(&self, since_us: i64) -> Result<(), SinkError> {
        self.attach_all().await?;
        for _ in 0..LISTINGS {
            let mut complete = true;
            for part in self.parts_since(since_us).await? {
                match self.check_part(&part).await? {
                    Checked::Good => {}
                    Checked::Gone => complete = false,
                    Checked::Unreadable(why) => {
                        error!(table = part.table, part = part.name, rows = part.rows, why, "a part cannot be read");
                        self.load_again(&part).await?;
                        complete = false;
                    }
                }
            }
            if complete {
                return Ok(());
            }
        }
        Err(SinkError::ClickHouse { call: "checking parts", text: "parts change faster than they are checked".into() })
    }

    /// Tables that a check before this one had to leave detached.
    async fn attach_all(&self) -> Result<(), SinkError> {
        let sql =
            format!("SELECT table FROM system.detached_tables WHERE database = {}", literal(self.server.database()));
        for row in self.server.rows("looking for detached tables", &sql).await? {
            if let Some(table) = row.first().and_then(Json::as_str).filter(|t| self.tables.iter().any(|own| own == t)) {
                self.server.execute("attaching a table", &format!("ATTACH TABLE {}", self.path(table))).await?;
            }
        }
        Ok(())
    }

    async fn parts_since(&self, since_us: i64) -> Result<Vec<Part>, SinkError> {
        let since_s = since_us.saturating_sub(MARGIN_US).div_euclid(1_000_000);
        let sql = format!(
            "SELECT table, name, partition_id, rows, level, min_block_number, max_block_number, data_version \
             FROM system.parts WHERE database = {} AND active AND modification_time >= toDateTime({since_s}) \
             ORDER BY table, name",
            literal(self.server.database())
        );
        let rows = self.server.rows("listing parts", &sql).await?;
        let parts = rows.iter().filter_map(|row| Part::of(row));
        Ok(parts.filter(|part| self.tables.contains(&part.table)).collect())
    }

    async fn check_part(&self, part: &Part) -> Result<Checked, SinkError> {
        let sql = format!("CHECK TABLE {} PART {}", self.path(&part.table), literal(&part.name));
        match self.server.rows("checking a part", &sql).await {
            Ok(rows) => Ok(match rows.first().map(Vec::as_slice) {
                Some([_, passed, ..]) if *passed == Json::Bool(true) || number::<u8>(passed) == Some(1) => {
                    Checked::Good
                }
                Some([_, _, why]) => Checked::Unreadable(why.as_str().unwrap_or_default().to_owned()),
                Some([..]) | None => Checked::Gone,
            }),
            Err(e) => {
                if self.parts_since(i64::MIN).await?.iter().any(|p| p == part) {
                    return Err(e);
                }
                Ok(Checked::Gone)
            }
        }
    }

    /// Loads a table again: a server checks what it loads, sets aside what it cannot read, and takes the sources of a
    /// merge in its place where they are still on the disk.
    async fn load_again(&self, broken: &Part) -> Result<(), SinkError> {
        let path = self.path(&broken.table);
        self.server.execute("detaching a table", &format!("DETACH TABLE {path} SYNC")).await?;
        let mut tries = 0_u8;
        while let Err(e) = self.server.execute("attaching a table", &format!("ATTACH TABLE {path}")).await {
            tries = tries.saturating_add(1);
            if tries > 5 {
                return Err(e);
            }
        }
        let of_blocks = self.parts_since(i64::MIN).await?.into_iter().filter(|p| {
            (&p.table, &p.partition) == (&broken.table, &broken.partition)
                && p.blocks.0 >= broken.blocks.0
                && p.blocks.1 <= broken.blocks.1
        });
        let back = of_blocks.fold(0_u64, |sum, p| sum.saturating_add(p.rows));
        if broken.is_of_insert() || back >= broken.rows {
            warn!(table = broken.table, part = broken.name, rows = broken.rows, back, "the part is set aside");
            return Ok(());
        }
        let text = format!(
            "part {} with {} rows cannot be read, and only {back} of them are left in the parts that it was merged from. \
             They are in the topic: stop the sink, drop this table, delete the offsets of its topic from the sink's group, \
             start the sink",
            broken.name, broken.rows
        );
        Err(SinkError::Lost { table: broken.table.clone(), text })
    }

    fn path(&self, table: &str) -> String {
        format!("{}.{}", quote(self.server.database()), quote(table))
    }
}

enum Checked {
    Good,
    /// Merged away, or set aside.
    Gone,
    /// The server's words.
    Unreadable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(failed: u64, run_us: i64) -> Look {
        Look { failed, run_us, at_us: 0 }
    }

    #[test]
    fn only_the_same_count_of_the_same_run_is_clean() {
        let before = look(3, 1_000_000_000);
        assert!(look(3, 1_000_900_000).is_clean_since(&before));
        assert!(!look(4, 1_000_000_000).is_clean_since(&before));
        assert!(!look(3, 1_060_000_000).is_clean_since(&before), "the server was started again in between");
    }

    #[test]
    fn a_merged_or_mutated_part_is_not_of_an_insert() {
        let part = |level, version| Part {
            table: "t".into(),
            name: "p".into(),
            partition: "202601".into(),
            rows: 1,
            level,
            blocks: (7, 7),
            version,
        };
        assert!(part(0, 7).is_of_insert());
        assert!(!part(1, 7).is_of_insert());
        assert!(!part(0, 9).is_of_insert());
    }
}
