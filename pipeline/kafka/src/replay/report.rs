//! What a replay found.

use fillstream_core::TimestampMicros;
use fillstream_schemas::contract;
use fillstream_schemas::json::to_json;
use serde_json::Value as Json;

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// One a partition.
    pub tasks: Vec<TaskReport>,
}

impl Report {
    /// Whether every byte was the same.
    #[must_use]
    pub fn is_identical(&self) -> bool {
        self.tasks.iter().all(|t| t.differences.is_empty())
    }

    /// Batches fed.
    #[must_use]
    pub fn batches(&self) -> usize {
        self.tasks.iter().map(|t| t.batches).sum()
    }

    /// Records compared: outputs, dead letters and journal records.
    #[must_use]
    pub fn records(&self) -> usize {
        self.tasks.iter().map(|t| t.records).sum()
    }

    /// Every difference, partition by partition in the order of batches.
    pub fn differences(&self) -> impl Iterator<Item = &Difference> {
        self.tasks.iter().flat_map(|t| &t.differences)
    }
}

/// What the replay of one task found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskReport {
    /// Partition.
    pub partition: i32,
    /// Batch whose state it began with; 0: it began empty.
    pub begun_after: i64,
    /// now of the first and the last batch; `None` where there was none.
    pub range: Option<(TimestampMicros, TimestampMicros)>,
    /// Batches fed.
    pub batches: usize,
    /// Records compared.
    pub records: usize,
    /// Whole states compared: with snapshots on the way, and with the changelog where the end was reached.
    pub states: usize,
    /// What differs.
    pub differences: Vec<Difference>,
}

/// Something that is not as it was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Partition of the task.
    pub partition: i32,
    /// Batch.
    pub sequence: i64,
    /// Topic.
    pub topic: String,
    /// Key of the record.
    pub key: String,
    /// Order that it is about, where its value says.
    pub order_id: Option<String>,
    /// What differs.
    pub what: What,
}

/// What differs.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// It was written, but not again.
    OnlyRecorded,
    /// It was not written then.
    OnlyReplayed,
    /// Fields of the value.
    Fields(Vec<FieldDifference>),
    /// Something around the value: partition, key, a header.
    Around(String),
}

/// A field of a value, by its path.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldDifference {
    /// Path, as `terms.quantity`.
    pub field: String,
    /// As recorded.
    pub recorded: Json,
    /// As replayed.
    pub replayed: Json,
}

/// A value as JSON; `None` where its contract is unknown or it cannot be read.
pub(super) fn json(schema: &str, value: &[u8]) -> Option<Json> {
    contract(schema)?.decode_to_value(value).ok().map(|value| to_json(&value))
}

/// The order that a value is about.
pub(super) fn order_id(value: &Json) -> Option<String> {
    let text = |field: &str| value.get(field).and_then(Json::as_str).filter(|id| !id.is_empty());
    text("order_id").or_else(|| text("parent_order_id")).map(str::to_owned)
}

/// The leaves at which two values differ.
pub(super) fn fields(recorded: &Json, replayed: &Json) -> Vec<FieldDifference> {
    let mut found = Vec::new();
    walk("", recorded, replayed, &mut found);
    found
}

fn walk(path: &str, recorded: &Json, replayed: &Json, found: &mut Vec<FieldDifference>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (recorded, replayed) {
        (Json::Object(a), Json::Object(b)) => {
            let names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
            for name in names {
                walk(&below(name), a.get(name).unwrap_or(&Json::Null), b.get(name).unwrap_or(&Json::Null), found);
            }
        }
        (Json::Array(a), Json::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                walk(&below(&i.to_string()), a, b, found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => {
            let (recorded, replayed) = (a.clone(), b.clone());
            found.push(FieldDifference { field: path.to_owned(), recorded, replayed });
        }
    }
}
