//! What ClickHouse knows: orders from before this process, and how strategies performed.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::orders::STATUS_FIELDS;

/// Longest wait for a connection, and for an answer.
const CONNECT: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(10);

/// Exact decimals as the contracts' JSON has them, times with their zone.
const SETTINGS: &str = "SETTINGS output_format_json_quote_decimals = 1, output_format_json_quote_64bit_integers = 0, \
    date_time_output_format = 'iso' FORMAT JSONEachRow";

/// Where ClickHouse is.
#[derive(Clone)]
pub struct ClickHouseConfig {
    /// HTTP URL.
    pub url: String,
    /// Database of the landing tables.
    pub database: String,
    /// User.
    pub user: String,
    /// Password.
    pub password: String,
}

/// ClickHouse did not answer, or refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoAnalytics(String);

pub(crate) struct Analytics {
    client: reqwest::Client,
    config: ClickHouseConfig,
}

impl Analytics {
    pub(crate) fn new(config: ClickHouseConfig) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder().connect_timeout(CONNECT).timeout(ANSWER).build()?;
        Ok(Self { client, config })
    }

    /// The last event of an order.
    pub(crate) async fn status(&self, order_id: &str) -> Result<Option<Map<String, Value>>, NoAnalytics> {
        let sql = format!(
            "SELECT {} FROM {}.execution_orders_v1 WHERE order_id = {} ORDER BY revision DESC LIMIT 1 {SETTINGS}",
            STATUS_FIELDS.join(", "),
            self.database(),
            text(order_id),
        );
        Ok(self.rows(&sql).await?.into_iter().next())
    }

    /// The last strategy of each part of an order.
    pub(crate) async fn strategies(&self, order_id: &str) -> Result<Vec<Value>, NoAnalytics> {
        let sql = format!(
            "SELECT account_id, recommended_strategy_strategy_name AS strategy_name, used AS algorithm, rule, revision, \
             market_condition, objective, starts_at, ends_at, timestamp AS selected_at, strategy_rationale \
             FROM {}.execution_strategies_v1 WHERE order_id = {} ORDER BY account_id, revision DESC LIMIT 1 BY account_id {SETTINGS}",
            self.database(),
            text(order_id),
        );
        Ok(self.rows(&sql).await?.into_iter().map(Value::Object).collect())
    }

    /// Rows of the view over days, both included. They are `YYYY-MM-DD`.
    pub(crate) async fn performance(&self, from: &str, to: &str) -> Result<Vec<Map<String, Value>>, NoAnalytics> {
        let sql = format!(
            "SELECT * FROM {}.strategy_performance WHERE execution_date BETWEEN {} AND {} \
             ORDER BY execution_date, strategy_name {SETTINGS}",
            self.database(),
            text(from),
            text(to),
        );
        self.rows(&sql).await
    }

    fn database(&self) -> String {
        format!("`{}`", self.config.database.replace('\\', "\\\\").replace('`', "\\`"))
    }

    async fn rows(&self, sql: &str) -> Result<Vec<Map<String, Value>>, NoAnalytics> {
        let lost = |e: reqwest::Error| NoAnalytics(format!("ClickHouse: {}", e.without_url()));
        let request = self.client.post(&self.config.url).body(sql.to_owned());
        let request =
            request.header("X-ClickHouse-User", &self.config.user).header("X-ClickHouse-Key", &self.config.password);
        let answer = request.send().await.map_err(lost)?;
        let status = answer.status();
        let body = answer.text().await.map_err(lost)?;
        if !status.is_success() {
            let shown: String = body.chars().take(300).collect();
            return Err(NoAnalytics(format!("ClickHouse refused with {status}: {shown}")));
        }
        let row = |line: &str| serde_json::from_str(line).map_err(|e| NoAnalytics(format!("ClickHouse: {e}")));
        body.lines().filter(|line| !line.is_empty()).map(row).collect()
    }
}

/// A text as SQL has it.
fn text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_text_cannot_leave_its_quotes() {
        assert_eq!(super::text(r"o' OR \'1"), r"'o\' OR \\\'1'");
    }
}
