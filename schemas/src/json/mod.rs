//! Contracts as JSON for people and for producers without Avro.

mod from;
mod number;
mod time;

use serde_json::{Map, Number, Value as Json};

pub(crate) use self::from::{avro_default, from_json};
pub use self::number::parse_exact;
use crate::Value;

/// A value as JSON: decimals, times and symbols as strings, bytes as lower-case hex.
#[must_use]
pub fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        Value::Long(value) => Json::from(*value),
        Value::Date(days) => time::date_text(*days).map_or_else(|| Json::from(*days), Json::String),
        Value::Timestamp(micros) => time::timestamp_text(*micros).map_or_else(|| Json::from(*micros), Json::String),
        Value::Double(value) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
        Value::Decimal { unscaled, scale } => Json::String(number::decimal_text(*unscaled, *scale)),
        Value::Text(text) => Json::String(text.clone()),
        Value::Bytes(bytes) | Value::Fixed(bytes) => Json::String(hex(bytes)),
        Value::Symbol(symbol) => Json::String(symbol.clone().into_owned()),
        Value::Array(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Map(items) => Json::Object(items.iter().map(|(key, item)| (key.clone(), to_json(item))).collect()),
        Value::Record(fields) => {
            let entries = fields.iter().map(|(name, value)| (name.clone().into_owned(), to_json(value)));
            Json::Object(entries.collect::<Map<_, _>>())
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()));
    let nibbles = digits.collect::<Option<Vec<u8>>>()?;
    let pair = |pair: &[u8]| if let [high, low] = pair { Some((high << 4) | low) } else { None };
    nibbles.chunks(2).map(pair).collect()
}
