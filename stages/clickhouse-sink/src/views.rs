//! Views for analysts: one file a view in `migrations/`, applied in the order of their numbers whenever a file's text is
//! not the one recorded in `sink_migrations`.

use sha2::{Digest, Sha256};

use crate::clickhouse::ClickHouse;
use crate::error::SinkError;
use crate::shape::{literal, quote};
use crate::target::Targets;

/// (name, text). A text names its database as `{database}`, and the tables it needs in its first line.
const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_order_timeline", include_str!("migrations/0001_order_timeline.sql")),
    ("0002_orders", include_str!("migrations/0002_orders.sql")),
    ("0003_fills", include_str!("migrations/0003_fills.sql")),
    ("0004_tca_by_strategy", include_str!("migrations/0004_tca_by_strategy.sql")),
    ("0005_tca_by_venue", include_str!("migrations/0005_tca_by_venue.sql")),
    ("0006_tca_by_broker", include_str!("migrations/0006_tca_by_broker.sql")),
    ("0007_risk_rejections", include_str!("migrations/0007_risk_rejections.sql")),
    ("0008_strategy_selections", include_str!("migrations/0008_strategy_selections.sql")),
    ("0009_strategy_performance", include_str!("migrations/0009_strategy_performance.sql")),
    ("0010_order_funnel", include_str!("migrations/0010_order_funnel.sql")),
    ("0011_limit_utilisation", include_str!("migrations/0011_limit_utilisation.sql")),
    ("0012_allocation_by_account", include_str!("migrations/0012_allocation_by_account.sql")),
    ("0013_algorithm_costs", include_str!("migrations/0013_algorithm_costs.sql")),
    ("0014_venue_quality", include_str!("migrations/0014_venue_quality.sql")),
    ("0015_broker_costs", include_str!("migrations/0015_broker_costs.sql")),
    ("0016_audit_trail", include_str!("migrations/0016_audit_trail.sql")),
    ("0017_kill_switch", include_str!("migrations/0017_kill_switch.sql")),
    ("0018_risk_overrides", include_str!("migrations/0018_risk_overrides.sql")),
];

/// Applies what is not applied yet; views over tables that are not landed are left out.
pub(crate) async fn apply(server: &ClickHouse, targets: &Targets) -> Result<Vec<String>, SinkError> {
    let ledger = format!("{}.sink_migrations", quote(server.database()));
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {ledger} (name String, sha256 String, applied_at DateTime64(3, 'UTC')) \
         ENGINE = MergeTree ORDER BY (name, applied_at) COMMENT 'Views applied, by the hash of their text.'"
    );
    server.execute("making the table of migrations", &sql).await?;
    let recorded = server
        .rows("reading migrations", &format!("SELECT name, argMax(sha256, applied_at) FROM {ledger} GROUP BY name"))
        .await?;
    let mut applied = Vec::new();
    for (name, text) in MIGRATIONS {
        let hash: String = Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        let known = recorded.iter().any(|row| {
            let [n, h] = row.as_slice() else { return false };
            n.as_str() == Some(name) && h.as_str() == Some(hash.as_str())
        });
        if known || !needs(text).all(|t| targets.tables().any(|table| table.name == t)) {
            continue;
        }
        server.execute("making a view", &text.replace("{database}", &quote(server.database()))).await?;
        let record = format!("INSERT INTO {ledger} SELECT {}, {}, now64(3)", literal(name), literal(&hash));
        server.execute("recording a migration", &record).await?;
        applied.push((*name).to_owned());
    }
    Ok(applied)
}

fn needs(text: &str) -> impl Iterator<Item = &str> {
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("-- needs: ").unwrap_or_default().split(", ").filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_says_what_it_needs_and_is_one_view_of_its_name() {
        for (name, text) in MIGRATIONS {
            assert!(needs(text).count() >= 1, "{name}");
            let (_, view) = name.split_once('_').unwrap();
            assert!(text.contains(&format!("CREATE OR REPLACE VIEW {{database}}.{view}")), "{name}");
        }
    }
}
