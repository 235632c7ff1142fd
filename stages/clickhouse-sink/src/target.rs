//! Which topics are landed, and in which tables.

use std::collections::BTreeMap;

use fillstream_kafka::topics::{Catalog, Kind, dead_letter_topic};
use fillstream_schemas::{AvroRecord, Contract, contract, engine};

use crate::block::envelope_schema;
use crate::error::SinkError;
use crate::shape::{Column, Shape, UNREADABLE_SCHEMA, literal, quote, shape_of};

/// Name of the stage in `topics.yaml`.
pub const STAGE: &str = "clickhouse-sink";
/// Table of what can never be read.
pub const UNREADABLE_TABLE: &str = "sink_unreadable";

/// A topic and the contract of its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicContract {
    /// Topic.
    pub topic: String,
    /// Full name of the contract.
    pub contract: String,
}

/// What of a catalog is landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// What the stages write, the intents of the gateway, and decisions and commands.
    Outputs,
    /// And market data.
    WithMarketData,
    /// And the compacted tables: reference data and controls.
    Everything,
}

/// The topics of a catalog that have this sink as a reader, as far as selected, and the dead letters of `stages`.
#[must_use]
pub fn topics_of(catalog: &Catalog, stages: &[&str], selection: Selection) -> Vec<TopicContract> {
    let wanted = |kind: Kind, name: &str| match (kind, selection) {
        (Kind::Table, Selection::Outputs | Selection::WithMarketData) => false,
        (Kind::Input, Selection::Outputs) => !name.starts_with("market."),
        (Kind::Table, Selection::Everything)
        | (Kind::Input, Selection::WithMarketData | Selection::Everything)
        | (Kind::Output | Kind::Internal, _) => true,
    };
    let listed = catalog
        .topics
        .iter()
        .filter(|t| t.readers.contains(STAGE) && t.owner != STAGE && wanted(t.kind, &t.name))
        .map(|t| TopicContract { topic: t.name.clone(), contract: t.value.clone() });
    let dead = stages
        .iter()
        .map(|s| TopicContract { topic: dead_letter_topic(s), contract: engine::DeadLetter::FULL_NAME.to_owned() });
    listed.chain(dead).collect()
}

/// Table of a topic: every character that an identifier cannot have becomes `_`.
#[must_use]
pub fn table_name(topic: &str) -> String {
    topic.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// A table and how rows get into it.
#[derive(Clone, Debug)]
pub struct Table {
    /// Name.
    pub name: String,
    /// Columns, the sink's own first.
    pub columns: Vec<Column>,
    pub(crate) comment: String,
    pub(crate) order_by: &'static str,
    pub(crate) envelope: String,
    /// `INSERT INTO .. (..) SELECT .. FROM input(..)`, without the deadline.
    columns_sql: String,
    input_sql: String,
}

impl Table {
    fn new(name: String, schema: &str, order_by: &'static str) -> Result<Self, String> {
        let Shape { comment, columns, input } = shape_of(schema)?;
        let columns: Vec<Column> = own_columns().into_iter().chain(columns).collect();
        let names: Vec<String> = columns.iter().map(|c| quote(&c.name)).collect();
        let own = OWN_INPUT.iter().map(|(name, ty)| ((*name).to_owned(), (*ty).to_owned()));
        let input: Vec<String> = own.chain(input).map(|(path, ty)| format!("{} {ty}", quote(&path))).collect();
        Ok(Self {
            envelope: envelope_schema(schema),
            comment,
            order_by,
            columns_sql: names.join(", "),
            input_sql: input.join(", "),
            columns,
            name,
        })
    }

    /// The insert of a topic's rows. The deadline is asked block by block: `now64` is a constant of the query and would
    /// be asked once, before the rows have arrived.
    pub(crate) fn insert_sql(&self, database: &str, topic: &str, deadline_us: i64) -> String {
        let values: Vec<String> =
            self.columns.iter().map(|c| if c.name == "_topic" { literal(topic) } else { c.from.clone() }).collect();
        format!(
            "INSERT INTO {}.{} ({}) SELECT {} FROM input({}) \
             WHERE throwIf(nowInBlock64(6) > fromUnixTimestamp64Micro({deadline_us}), 'deadline passed') = 0 FORMAT Avro",
            quote(database),
            quote(&self.name),
            self.columns_sql,
            values.join(", "),
            literal(&self.input_sql),
        )
    }
}

const OWN_INPUT: &[(&str, &str)] = &[
    ("_partition", "Int32"),
    ("_offset", "Int64"),
    ("_timestamp", "Int64"),
    ("_key", "String"),
    ("_row_hash", "UInt64"),
];

fn own_columns() -> Vec<Column> {
    [
        ("_topic", "LowCardinality(String)", "Topic of the record.", "''"),
        ("_partition", "Int32", "Partition of the record.", "_partition"),
        ("_offset", "Int64", "Offset of the record; (_topic, _partition, _offset) is unique.", "_offset"),
        (
            "_timestamp",
            "DateTime64(3, 'UTC')",
            "Kafka timestamp of the record.",
            "fromUnixTimestamp64Milli(_timestamp, 'UTC')",
        ),
        ("_key", "String", "Key of the record; empty where there is none.", "_key"),
        (
            "_row_hash",
            "UInt64",
            "First 8 bytes, big-endian, of SHA-256 over the offset (8 bytes big-endian) and the value on the topic.",
            "_row_hash",
        ),
    ]
    .into_iter()
    .map(|(name, ty, comment, from)| Column {
        name: name.into(),
        ty: ty.into(),
        comment: comment.into(),
        from: from.into(),
    })
    .collect()
}

/// A topic with its landing table.
#[derive(Clone, Debug)]
pub struct Target {
    /// Topic.
    pub topic: String,
    /// Contract of its values.
    pub contract: &'static Contract,
    /// Landing table.
    pub table: Table,
}

/// Every topic that is landed, and the table of what can never be read.
#[derive(Clone, Debug)]
pub struct Targets {
    pub(crate) topics: BTreeMap<String, Target>,
    pub(crate) unreadable: Table,
}

impl Targets {
    /// Tables for `topics`.
    ///
    /// # Errors
    /// [`SinkError::Contract`] for a contract without a table, [`SinkError::Config`] when two topics share a table.
    pub fn new(topics: &[TopicContract]) -> Result<Self, SinkError> {
        let refuse = |name: &str, text: String| SinkError::Contract { contract: name.to_owned(), text };
        let mut by_topic = BTreeMap::new();
        let mut tables = BTreeMap::new();
        for t in topics {
            let contract = contract(&t.contract).ok_or_else(|| refuse(&t.contract, "is no contract".into()))?;
            let table = Table::new(table_name(&t.topic), contract.schema, "(_partition, _offset)")
                .map_err(|e| refuse(&t.contract, e))?;
            if let Some(other) = tables.insert(table.name.clone(), t.topic.clone()) {
                return Err(SinkError::Config(vec![format!("{other} and {} share table {}", t.topic, table.name)]));
            }
            by_topic.insert(t.topic.clone(), Target { topic: t.topic.clone(), contract, table });
        }
        if by_topic.is_empty() {
            return Err(SinkError::Config(vec!["no topic is given".into()]));
        }
        let unreadable = Table::new(UNREADABLE_TABLE.into(), UNREADABLE_SCHEMA, "(_topic, _partition, _offset)")
            .map_err(|e| refuse("fillstream.sink.Unreadable", e))?;
        Ok(Self { topics: by_topic, unreadable })
    }

    /// The topics with their tables.
    pub fn iter(&self) -> impl Iterator<Item = &Target> {
        self.topics.values()
    }

    /// Every table, that of the unreadable included.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.topics.values().map(|t| &t.table).chain(std::iter::once(&self.unreadable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        Catalog::parse(include_str!("../../../topics.yaml"), |s| contract(s).is_some()).unwrap()
    }

    #[test]
    fn every_output_of_the_catalog_is_landed() {
        let catalog = catalog();
        let topics = topics_of(&catalog, &["order-management"], Selection::Outputs);
        let names: Vec<&str> = topics.iter().map(|t| t.topic.as_str()).collect();
        for t in catalog.topics.iter().filter(|t| t.kind == Kind::Output) {
            assert!(names.contains(&t.name.as_str()), "{}", t.name);
        }
        assert!(names.contains(&"order-management.dlq") && names.contains(&"execution.intents.v1"));
        assert!(!names.contains(&"market.data.v1") && !names.contains(&"execution.controls.v1"));
        let all = topics_of(&catalog, &[], Selection::Everything);
        assert!(all.iter().any(|t| t.topic == "execution.controls.v1"));
        Targets::new(&all).unwrap();
    }

    #[test]
    fn two_topics_never_share_a_table() {
        let topic = |t: &str| TopicContract { topic: t.into(), contract: "fillstream.execution.Slice".into() };
        assert!(matches!(Targets::new(&[topic("a.b"), topic("a-b")]), Err(SinkError::Config(_))));
        assert!(matches!(Targets::new(&[]), Err(SinkError::Config(_))));
    }
}
