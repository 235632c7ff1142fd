//! Coordinates of the rows in ClickHouse.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::error::AuditError;
use crate::facts::{Landing, TopicExtent};
use crate::{ClickHouse, TopicRef, http};

/// How long a sink may take to land what was committed before the audit looked.
const SETTLE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(250);

/// Reads every landing table, again and again for a while as long as rows are missing: a sink lags, it does not lose.
pub(crate) async fn settled(
    client: &reqwest::Client,
    at: &ClickHouse,
    topics: &[TopicRef],
    extents: &BTreeMap<String, TopicExtent>,
) -> Result<Vec<Landing>, AuditError> {
    let until = Instant::now() + SETTLE;
    let mut landings = Vec::new();
    for topic in topics {
        let Some(table) = &topic.table else { continue };
        let extent = extents.get(&topic.name);
        loop {
            let landing = landing(client, at, topic, table).await?;
            let complete = extent.is_none_or(|extent| missing(extent, &landing).next().is_none());
            if complete || Instant::now() >= until {
                landings.push(landing);
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(landings)
}

/// Committed records (partition, offset) that no row stands for. Records without value land nowhere.
pub(crate) fn missing<'a>(extent: &'a TopicExtent, landing: &'a Landing) -> impl Iterator<Item = (i32, i64)> + 'a {
    extent.partitions.iter().flat_map(move |(partition, held)| {
        let rows = landing.rows.get(partition).map(Vec::as_slice).unwrap_or_default();
        let wanted = held.offsets.iter().filter(|offset| !held.tombstones.contains(offset));
        wanted.filter(|offset| rows.binary_search(offset).is_err()).map(|offset| (*partition, *offset))
    })
}

/// Reads the coordinates of every row of a topic's landing table.
async fn landing(
    client: &reqwest::Client,
    at: &ClickHouse,
    topic: &TopicRef,
    table: &str,
) -> Result<Landing, AuditError> {
    let sql = format!(
        "SELECT _partition, _offset FROM {}.{} WHERE _topic = '{}' ORDER BY _partition, _offset FORMAT TabSeparated",
        quoted(&at.database),
        quoted(table),
        topic.name.replace('\\', "\\\\").replace('\'', "\\'"),
    );
    let request =
        client.post(&at.url).header("X-ClickHouse-User", &at.user).header("X-ClickHouse-Key", &at.password).body(sql);
    let text = http::text(&at.url, request).await?;
    let rows = parse(&text).map_err(|problem| AuditError::Malformed { url: at.url.clone(), problem })?;
    Ok(Landing { topic: topic.name.clone(), table: table.to_owned(), rows })
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

fn parse(text: &str) -> Result<BTreeMap<i32, Vec<i64>>, String> {
    let mut rows: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for line in text.lines() {
        let row = line.split_once('\t').and_then(|(p, o)| Some((p.parse().ok()?, o.parse().ok()?)));
        let (partition, offset): (i32, i64) = row.ok_or_else(|| format!("{line:?} is no partition and offset"))?;
        rows.entry(partition).or_default().push(offset);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_and_another_answer_is_an_error() {
        assert_eq!(parse("0\t5\n0\t5\n2\t7\n"), Ok(BTreeMap::from([(0, vec![5, 5]), (2, vec![7])])));
        assert_eq!(parse(""), Ok(BTreeMap::new()));
        assert!(parse("Code: 60. DB::Exception").is_err());
        assert_eq!(quoted("a`b"), "`a\\`b`");
    }

    #[tokio::test]
    #[ignore = "needs a real ClickHouse, named by FILLSTREAM_CLICKHOUSE"]
    async fn a_real_table_is_read_with_its_repeated_rows() {
        let url = std::env::var("FILLSTREAM_CLICKHOUSE").expect("FILLSTREAM_CLICKHOUSE names a running ClickHouse");
        let at = ClickHouse { url, database: "default".into(), user: "default".into(), password: String::new() };
        let client = reqwest::Client::new();
        let table = format!("audit_test_{}", std::process::id());
        let columns = "_topic LowCardinality(String), _partition Int32, _offset Int64";
        for sql in [
            format!("CREATE OR REPLACE TABLE {table} ({columns}) ENGINE = MergeTree ORDER BY _offset"),
            format!("INSERT INTO {table} VALUES ('t', 1, 7), ('t', 0, 2), ('other', 0, 3), ('t', 0, 1), ('t', 0, 2)"),
        ] {
            http::text(&at.url, client.post(&at.url).body(sql)).await.unwrap();
        }
        let topic = TopicRef { name: "t".into(), schema: String::new(), table: Some(table.clone()) };
        let landing = landing(&client, &at, &topic, &table).await.unwrap();
        assert_eq!(landing.rows, BTreeMap::from([(0, vec![1, 2, 2]), (1, vec![7])]));
        http::text(&at.url, client.post(&at.url).body(format!("DROP TABLE {table}"))).await.unwrap();
        let gone = super::landing(&client, &at, &topic, &table).await;
        assert!(matches!(gone, Err(AuditError::Refused { .. })), "{gone:?}");
    }
}
