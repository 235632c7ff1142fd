//! ClickHouse over HTTP.

use std::sync::Arc;
use std::time::Duration;

use clickhouse::{Client, Compression};
use fillstream_core::mutant;
use serde_json::Value as Json;

use crate::config::ClickHouseConfig;
use crate::error::SinkError;
use crate::plan::{Bounds, Found};
use crate::shape::{literal, quote};

/// Settings that make an insert one block of one table partition, durable before it is answered, once per token. The limits
/// are far above every batch, so that none of them ever cuts a block.
const ONE_BLOCK: &[(&str, &str)] = &[
    ("max_insert_block_size", "100000000"),
    ("max_insert_block_size_bytes", "0"),
    ("max_block_size", "100000000"),
    ("preferred_block_size_bytes", "0"),
    ("input_format_max_block_size_bytes", "0"),
    ("min_insert_block_size_rows", "100000000"),
    ("min_insert_block_size_bytes", "8589934592"),
    ("input_format_parallel_parsing", "0"),
    ("max_insert_threads", "1"),
    ("max_threads", "1"),
    ("async_insert", "0"),
    ("insert_deduplicate", "1"),
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    ("max_partitions_per_insert_block", "1"),
    ("throw_on_max_partitions_per_insert_block", "1"),
    ("wait_end_of_query", "1"),
];
const CHUNK: usize = 1 << 20;

/// A client of one server.
#[derive(Clone)]
pub(crate) struct ClickHouse {
    client: Client,
    timeout: Duration,
    database: Arc<str>,
    min_free_disk_bytes: u64,
}

fn failed(call: &'static str) -> impl Fn(clickhouse::error::Error) -> SinkError {
    move |e| SinkError::ClickHouse { call, text: brief(&e.to_string()) }
}

/// The server repeats the whole query in its errors.
fn brief(text: &str) -> String {
    text.chars().take(600).collect()
}

impl ClickHouse {
    pub(crate) fn new(config: &ClickHouseConfig) -> Self {
        let mut client = Client::default().with_url(&config.url).with_compression(Compression::None);
        if let Some(user) = &config.user {
            client = client.with_user(user);
        }
        if let Some(password) = &config.password {
            client = client.with_password(password);
        }
        Self {
            client,
            timeout: Duration::from_millis(config.timeout_ms),
            database: config.database.as_str().into(),
            min_free_disk_bytes: config.min_free_disk_bytes,
        }
    }

    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    async fn within<T>(
        &self,
        call: &'static str,
        answer: impl Future<Output = Result<T, clickhouse::error::Error>>,
    ) -> Result<T, SinkError> {
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(answer) => answer.map_err(failed(call)),
            Err(_) => Err(SinkError::ClickHouse { call, text: format!("no answer in {:?}", self.timeout) }),
        }
    }

    /// Runs a statement.
    pub(crate) async fn execute(&self, call: &'static str, sql: &str) -> Result<(), SinkError> {
        self.within(call, self.client.query_raw(sql).execute()).await
    }

    /// Rows of a query, each an array; 64-bit numbers are texts.
    pub(crate) async fn rows(&self, call: &'static str, sql: &str) -> Result<Vec<Vec<Json>>, SinkError> {
        let query = self.client.query_raw(sql).with_setting("output_format_json_quote_64bit_integers", "1");
        // Of CHECK TABLE: a row for each part, with the reason.
        let query = query.with_setting("check_query_single_value_result", "0");
        let bytes = self.within(call, async { query.fetch_bytes("JSONCompactEachRow")?.collect().await }).await?;
        let wrong = |e: serde_json::Error| SinkError::ClickHouse { call, text: e.to_string() };
        bytes
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).map_err(wrong))
            .collect()
    }

    /// Inserts a file as one block. An error leaves open whether it landed.
    pub(crate) async fn insert(&self, sql: &str, token: &str, file: &[u8]) -> Result<(), SinkError> {
        let token = mutant::token(token);
        let mut insert = self
            .client
            .insert_formatted_with(sql.to_owned())
            .with_setting("query_id", &*token)
            .with_setting("insert_deduplication_token", &*token)
            .with_setting("min_free_disk_bytes_to_perform_insert", self.min_free_disk_bytes.to_string())
            .with_timeouts(Some(self.timeout), Some(self.timeout));
        for (name, value) in ONE_BLOCK {
            insert = insert.with_setting(*name, *value);
        }
        for chunk in file.chunks(CHUNK) {
            insert.send(chunk.to_vec().into()).await.map_err(failed("insert"))?;
        }
        insert.end().await.map_err(failed("insert"))
    }

    /// What the server has of a range of bounds, and its clock in microseconds. Whether the insert can still land is asked
    /// before the rows are counted, so "settled" is never newer than the count.
    ///
    /// An insert that still runs is killed where it is not needed: it may hang for as long as its sender's connection does.
    pub(crate) async fn found(
        &self,
        table: &str,
        topic: &str,
        partition: i32,
        bounds: &Bounds,
        token: &str,
    ) -> Result<(Found, i64), SinkError> {
        let sql = format!(
            "SELECT toUnixTimestamp64Micro(now64(6)), (SELECT count() FROM system.processes WHERE query_id = {})",
            literal(token)
        );
        let clock = self.rows("asking for running inserts", &sql).await?;
        let now_us = cell(&clock, 0).and_then(|v| number::<i64>(&v)).unwrap_or(0);
        let running = cell(&clock, 1).and_then(|v| number::<u64>(&v)).unwrap_or(u64::MAX);
        let from = format!(
            "FROM {}.{} WHERE _topic = {} AND _partition = {partition} AND _offset BETWEEN {} AND {}",
            quote(&self.database),
            quote(table),
            literal(topic),
            bounds.first,
            bounds.last
        );
        let sums = self.rows("counting a range", &format!("SELECT count(), sum(_row_hash) {from}")).await?;
        let (Some(count), Some(hash)) =
            (cell(&sums, 0).and_then(|v| number(&v)), cell(&sums, 1).and_then(|v| number(&v)))
        else {
            return Err(SinkError::ClickHouse { call: "counting a range", text: "no numbers".into() });
        };
        let mut found =
            Found { settled: now_us > bounds.deadline_us && running == 0, count, hash, killed: 0, offsets: Vec::new() };
        if running > 0 && found.count < bounds.count {
            self.kill(token).await?;
            found.killed = running;
        }
        if found.count > 0 && found.count < bounds.count {
            let rows = self.rows("listing a range", &format!("SELECT _offset {from} ORDER BY _offset")).await?;
            found.offsets = rows.iter().filter_map(|r| r.first().and_then(number)).collect();
        }
        Ok((found, now_us))
    }

    /// Tells the server to end a query. Whether it has ended is asked again, which is what SYNC would do, without an answer
    /// that may be as late as the query hangs.
    async fn kill(&self, query_id: &str) -> Result<(), SinkError> {
        let sql = format!("KILL QUERY WHERE query_id = {} ASYNC", literal(query_id));
        self.execute("killing an insert", &sql).await
    }

    /// Highest offset of a partition in a table.
    pub(crate) async fn highest(&self, table: &str, topic: &str, partition: i32) -> Result<Option<i64>, SinkError> {
        let sql = format!(
            "SELECT count(), max(_offset) FROM {}.{} WHERE _topic = {} AND _partition = {partition}",
            quote(&self.database),
            quote(table),
            literal(topic)
        );
        let rows = self.rows("looking for rows", &sql).await?;
        let count = cell(&rows, 0).and_then(|v| number::<u64>(&v)).unwrap_or(0);
        Ok(if count == 0 { None } else { cell(&rows, 1).and_then(|v| number(&v)) })
    }

    /// The server's clock, microseconds since 1970-01-01 UTC.
    pub(crate) async fn now_us(&self) -> Result<i64, SinkError> {
        let rows = self.rows("asking for the time", "SELECT toUnixTimestamp64Micro(now64(6))").await?;
        cell(&rows, 0)
            .and_then(|v| number(&v))
            .ok_or_else(|| SinkError::ClickHouse { call: "asking for the time", text: "no time".into() })
    }
}

pub(crate) fn cell(rows: &[Vec<Json>], column: usize) -> Option<Json> {
    rows.first().and_then(|r| r.get(column)).cloned()
}

/// A number, whether ClickHouse writes it as a text or not.
pub(crate) fn number<T: std::str::FromStr>(json: &Json) -> Option<T> {
    match json {
        Json::String(text) => text.parse().ok(),
        Json::Number(n) => n.to_string().parse().ok(),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    }
}
