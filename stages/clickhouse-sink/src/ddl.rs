//! Tables as their contracts want them.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use tracing::info;

use crate::clickhouse::{ClickHouse, cell, number};
use crate::config::SinkConfig;
use crate::error::SinkError;
use crate::shape::{literal, quote};
use crate::target::{Table, Targets};
use crate::views;

/// Tokens that a new table remembers; more where the configuration needs more.
const WINDOW: u64 = 10_000;
/// How long the sources of a merge stay on disk, seconds: ClickHouse's own default, which `libchdb` sets to 0. They are what
/// is left when the merged part turns out not to have been written.
const OLD_PARTS_S: u32 = 480;
/// Partitions a topic has at most, where the real number is not known yet.
const PARTITIONS: i32 = 24;

/// What a migration did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Tables made.
    pub tables: Vec<String>,
    /// Columns added, as `table.column`.
    pub columns: Vec<String>,
    /// Versions of the views applied.
    pub views: Vec<String>,
}

/// `CREATE TABLE` of a landing table.
#[must_use]
pub fn create_table(database: &str, table: &Table, window: u64) -> String {
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|c| format!("    {} {} COMMENT {}", quote(&c.name), c.ty, literal(&c.comment)))
        .collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {}.{} (\n{}\n) ENGINE = MergeTree\nPARTITION BY toYYYYMM(_timestamp)\nORDER BY {}\n\
         SETTINGS non_replicated_deduplication_window = {window}, old_parts_lifetime = {OLD_PARTS_S}\nCOMMENT {}",
        quote(database),
        quote(&table.name),
        columns.join(",\n"),
        table.order_by,
        literal(&table.comment),
    )
}

/// Makes the database, the tables that are missing and the columns that contracts have grown, then the views.
pub(crate) async fn migrate(
    server: &ClickHouse,
    config: &SinkConfig,
    targets: &Targets,
) -> Result<Migrated, SinkError> {
    let database = server.database().to_owned();
    server.execute("making the database", &format!("CREATE DATABASE IF NOT EXISTS {}", quote(&database))).await?;
    let mut done = Migrated::default();
    let window = WINDOW.max(config.needed_window(PARTITIONS));
    for table in targets.tables() {
        let present = columns_of(server, &table.name).await?;
        if present.is_empty() {
            server.execute("making a table", &create_table(&database, table, window)).await?;
            done.tables.push(table.name.clone());
            continue;
        }
        grow(server, table, &present, &mut done).await?;
        if window_of(server, &table.name).await?.is_some_and(|has| has < window) {
            let sql = format!(
                "ALTER TABLE {}.{} MODIFY SETTING non_replicated_deduplication_window = {window}",
                quote(&database),
                quote(&table.name)
            );
            server.execute("widening the deduplication window", &sql).await?;
        }
        if !keeps_sources(server, &table.name).await? {
            let sql = format!(
                "ALTER TABLE {}.{} MODIFY SETTING old_parts_lifetime = {OLD_PARTS_S}",
                quote(&database),
                quote(&table.name)
            );
            server.execute("keeping the sources of merges", &sql).await?;
        }
    }
    done.views = views::apply(server, targets).await?;
    info!(tables = done.tables.len(), columns = done.columns.len(), views = done.views.len(), "clickhouse is migrated");
    Ok(done)
}

/// Adds the columns that are missing; refuses any other difference.
async fn grow(
    server: &ClickHouse,
    table: &Table,
    present: &BTreeMap<String, String>,
    done: &mut Migrated,
) -> Result<(), SinkError> {
    let differs: Vec<String> = table
        .columns
        .iter()
        .filter_map(|c| {
            let has = present.get(&c.name).filter(|has| **has != c.ty)?;
            Some(format!("{} is {has}, the contract wants {}", c.name, c.ty))
        })
        .collect();
    if !differs.is_empty() {
        return Err(SinkError::TableDiffers { table: table.name.clone(), columns: differs });
    }
    for column in table.columns.iter().filter(|c| !present.contains_key(&c.name)) {
        let sql = format!(
            "ALTER TABLE {}.{} ADD COLUMN IF NOT EXISTS {} {} COMMENT {}",
            quote(server.database()),
            quote(&table.name),
            quote(&column.name),
            column.ty,
            literal(&column.comment)
        );
        server.execute("adding a column", &sql).await?;
        done.columns.push(format!("{}.{}", table.name, column.name));
    }
    Ok(())
}

async fn columns_of(server: &ClickHouse, table: &str) -> Result<BTreeMap<String, String>, SinkError> {
    let sql = format!(
        "SELECT name, type FROM system.columns WHERE database = {} AND table = {}",
        literal(server.database()),
        literal(table)
    );
    let rows = server.rows("reading columns", &sql).await?;
    let text = |json: Option<&Json>| json.and_then(Json::as_str).unwrap_or_default().to_owned();
    Ok(rows.iter().map(|r| (text(r.first()), text(r.get(1)))).collect())
}

/// Tokens that a table remembers; `None` where its engine has another rule (replicated ones remember by time too).
async fn window_of(server: &ClickHouse, table: &str) -> Result<Option<u64>, SinkError> {
    let sql = format!(
        "SELECT engine, extract(create_table_query, 'non_replicated_deduplication_window = (\\\\d+)') \
         FROM system.tables WHERE database = {} AND name = {}",
        literal(server.database()),
        literal(table)
    );
    let rows = server.rows("reading a table's settings", &sql).await?;
    let engine = cell(&rows, 0).and_then(|e| e.as_str().map(str::to_owned)).unwrap_or_default();
    let window = cell(&rows, 1).and_then(|w| number(&w)).unwrap_or(0);
    Ok(if engine == "MergeTree" { Some(window) } else { None })
}

/// Whether a table says how long the sources of a merge stay.
async fn keeps_sources(server: &ClickHouse, table: &str) -> Result<bool, SinkError> {
    let sql = format!(
        "SELECT NOT endsWith(engine, 'MergeTree') OR position(create_table_query, 'old_parts_lifetime') > 0 \
         FROM system.tables WHERE database = {} AND name = {}",
        literal(server.database()),
        literal(table)
    );
    let rows = server.rows("reading a table's settings", &sql).await?;
    Ok(cell(&rows, 0).and_then(|w| number::<u8>(&w)) == Some(1))
}

/// Checks that every table is there and remembers tokens for long enough.
pub(crate) async fn check(
    server: &ClickHouse,
    config: &SinkConfig,
    targets: &Targets,
    partitions: &BTreeMap<String, i32>,
) -> Result<(), SinkError> {
    for table in targets.tables() {
        let present = columns_of(server, &table.name).await?;
        let missing: Vec<String> = table
            .columns
            .iter()
            .filter(|c| present.get(&c.name) != Some(&c.ty))
            .map(|c| format!("{} {} is missing: run the migration", c.name, c.ty))
            .collect();
        if !missing.is_empty() {
            return Err(SinkError::TableDiffers { table: table.name.clone(), columns: missing });
        }
        let count = targets.iter().find(|t| t.table.name == table.name).and_then(|t| partitions.get(&t.topic));
        let needs = config.needed_window(count.copied().unwrap_or(PARTITIONS));
        if let Some(has) = window_of(server, &table.name).await?.filter(|has| *has < needs) {
            return Err(SinkError::Window { table: table.name.clone(), has, needs });
        }
    }
    Ok(())
}
