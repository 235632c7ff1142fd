//! A schema at run time, as the generic paths need it: other writers' schemas, JSON, compatibility.
//!
//! `apache_avro` parses and checks the JSON; its tree is turned into an arena in which named types are indices, so that
//! recursive schemas are finite and two schemas compare with their logical types.

mod check;
mod convert;
mod decode;
mod encode;
mod same;

pub(crate) use self::decode::Walk;

use std::collections::BTreeMap;

use serde_json::Value as Json;

/// Nesting of schemas and of values beyond which both are refused.
pub(crate) const MAX_DEPTH: usize = 64;

/// A schema that is unusable, or two that do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("schema{}{at}: {reason}", if at.is_empty() { "" } else { " at " })]
pub struct SchemaError {
    at: String,
    reason: String,
}

impl SchemaError {
    pub(crate) fn new(at: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { at: at.into(), reason: reason.into() }
    }

    /// The place in the schema, as in `fills[].last_px`; empty for the whole.
    #[must_use]
    pub fn at(&self) -> &str {
        &self.at
    }

    /// What is wrong.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Index of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(usize);

/// A parsed schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    nodes: Vec<Node>,
    root: Id,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Null,
    Boolean,
    Int(Logical),
    Long(Logical),
    Float,
    Double,
    Bytes(Logical),
    Text(Logical),
    Fixed { name: Named, size: usize, logical: Logical },
    Decimal { precision: u32, scale: u32, fixed: Option<(Named, usize)> },
    Enum { name: Named, symbols: Vec<String>, default: Option<String> },
    Array(Id),
    Map(Id),
    Union(Vec<Id>),
    Record { name: Named, fields: Vec<Field> },
}

/// Logical types; a decimal is a node of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logical {
    None,
    Date,
    TimeMillis,
    TimeMicros,
    TimestampMillis,
    TimestampMicros,
    TimestampNanos,
    LocalTimestampMillis,
    LocalTimestampMicros,
    LocalTimestampNanos,
    Uuid,
    Duration,
    BigDecimal,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) full: String,
    /// Full names.
    pub(crate) aliases: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) default: Option<Json>,
    pub(crate) id: Id,
}

impl Schema {
    /// Parses a schema's JSON.
    ///
    /// # Errors
    /// It is no Avro schema.
    pub fn parse(json: &str) -> Result<Self, SchemaError> {
        let parsed = apache_avro::Schema::parse_str(json).map_err(|error| SchemaError::new("", error.to_string()))?;
        Self::from_avro(&parsed)
    }

    /// Whether records of both have the same bytes with the same meaning: names, fields in their order, symbols in their
    /// order, logical types, precision and scale. Documentation, aliases and defaults do not matter.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        same::same(self, other)
    }

    /// The full name of the outermost type, empty if it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.node(self.root).name().map_or("", |name| name.full.as_str())
    }

    pub(crate) fn root(&self) -> Id {
        self.root
    }

    /// Ids are made by the arena itself, so the node is always there.
    pub(crate) fn node(&self, id: Id) -> &Node {
        self.nodes.get(id.0).unwrap_or(&Node::Null)
    }

    /// The type beside null of a union with null, and whether there is one.
    pub(crate) fn optional(&self, id: Id) -> Option<Id> {
        let Node::Union(branches) = self.node(id) else { return None };
        match branches.as_slice() {
            [a, b] if *self.node(*a) == Node::Null => Some(*b),
            [a, b] if *self.node(*b) == Node::Null => Some(*a),
            [..] => None,
        }
    }
}

impl Named {
    /// The name without its namespace.
    pub(crate) fn short(&self) -> &str {
        short(&self.full)
    }
}

/// A full name without its namespace.
pub(crate) fn short(full: &str) -> &str {
    full.rsplit('.').next().unwrap_or(full)
}

impl Node {
    pub(crate) fn name(&self) -> Option<&Named> {
        match self {
            Self::Fixed { name, .. } | Self::Enum { name, .. } | Self::Record { name, .. } => Some(name),
            Self::Decimal { fixed, .. } => fixed.as_ref().map(|(name, _)| name),
            Self::Null
            | Self::Boolean
            | Self::Int(_)
            | Self::Long(_)
            | Self::Float
            | Self::Double
            | Self::Bytes(_)
            | Self::Text(_)
            | Self::Array(_)
            | Self::Map(_)
            | Self::Union(_) => None,
        }
    }

    /// What it is, for messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Boolean => "boolean".to_owned(),
            Self::Int(logical) => format!("int{}", logical.suffix()),
            Self::Long(logical) => format!("long{}", logical.suffix()),
            Self::Float => "float".to_owned(),
            Self::Double => "double".to_owned(),
            Self::Bytes(logical) => format!("bytes{}", logical.suffix()),
            Self::Text(logical) => format!("string{}", logical.suffix()),
            Self::Fixed { name, size, logical } => format!("fixed {}({size}){}", name.full, logical.suffix()),
            Self::Decimal { precision, scale, .. } => format!("decimal({precision}, {scale})"),
            Self::Enum { name, .. } => format!("enum {}", name.full),
            Self::Array(_) => "array".to_owned(),
            Self::Map(_) => "map".to_owned(),
            Self::Union(_) => "union".to_owned(),
            Self::Record { name, .. } => format!("record {}", name.full),
        }
    }
}

impl Logical {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Date => "date",
            Self::TimeMillis => "time-millis",
            Self::TimeMicros => "time-micros",
            Self::TimestampMillis => "timestamp-millis",
            Self::TimestampMicros => "timestamp-micros",
            Self::TimestampNanos => "timestamp-nanos",
            Self::LocalTimestampMillis => "local-timestamp-millis",
            Self::LocalTimestampMicros => "local-timestamp-micros",
            Self::LocalTimestampNanos => "local-timestamp-nanos",
            Self::Uuid => "uuid",
            Self::Duration => "duration",
            Self::BigDecimal => "big-decimal",
        }
    }

    fn suffix(self) -> String {
        if self == Self::None { String::new() } else { format!(" ({})", self.name()) }
    }
}

/// Full name -> id, while a schema is converted.
type Names = BTreeMap<String, Id>;
