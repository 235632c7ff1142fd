//! A record of any schema, for the paths where speed does not matter: other writers' schemas, JSON, tools.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// A value of a contract.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `boolean`
    Boolean(bool),
    /// `int`
    Int(i32),
    /// `int` with `date`: days since 1970-01-01.
    Date(i32),
    /// `long`
    Long(i64),
    /// `long` with `timestamp-micros`: microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// `float` and `double`
    Double(f64),
    /// `decimal`: `unscaled * 10^-scale`.
    Decimal {
        /// Count of units.
        unscaled: i128,
        /// Digits after the point.
        scale: u32,
    },
    /// `string`
    Text(String),
    /// `bytes`
    Bytes(Vec<u8>),
    /// `fixed`
    Fixed(Vec<u8>),
    /// A symbol of an `enum`.
    Symbol(Cow<'static, str>),
    /// `array`
    Array(Vec<Value>),
    /// `map`
    Map(BTreeMap<String, Value>),
    /// `record`: the fields in the order of the schema.
    Record(Vec<(Cow<'static, str>, Value)>),
}

impl Value {
    /// The field of a record, `None` if it has none of this name or is no record.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Self> {
        if let Self::Record(fields) = self {
            fields.iter().find(|(key, _)| key == name).map(|(_, value)| value)
        } else {
            None
        }
    }

    /// What kind of value it is, for messages.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Int(_) => "an int",
            Self::Date(_) => "a date",
            Self::Long(_) => "a long",
            Self::Timestamp(_) => "a timestamp",
            Self::Double(_) => "a double",
            Self::Decimal { .. } => "a decimal",
            Self::Text(_) => "a string",
            Self::Bytes(_) => "bytes",
            Self::Fixed(_) => "a fixed",
            Self::Symbol(_) => "a symbol",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
            Self::Record(_) => "a record",
        }
    }
}
