//! JSON to a [`Value`] of a schema.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{number, time, unhex};
use crate::Value;
use crate::codec::{CodecError, Fault, unscaled};
use crate::schema::{Field, Id, Logical, Node, Schema, SchemaError};

type Result<T> = std::result::Result<T, CodecError>;

/// A value of the schema from what people and foreign producers write.
pub(crate) fn from_json(schema: &Schema, json: &Json) -> Result<Value> {
    value(schema, schema.root(), json)
}

fn value(schema: &Schema, id: Id, json: &Json) -> Result<Value> {
    let node = schema.node(id);
    let wrong = || CodecError::new(Fault::Expected { expected: expected(node), found: shown(json) });
    Ok(match (node, json) {
        (Node::Null, Json::Null) => Value::Null,
        (Node::Boolean, Json::Bool(value)) => Value::Boolean(*value),
        (Node::Int(Logical::Date), Json::String(text)) => Value::Date(time::parse_date(text).map_err(|_| wrong())?),
        (Node::Int(logical), json) => {
            let number = integer(json).and_then(|number| i32::try_from(number).ok()).ok_or_else(wrong)?;
            if *logical == Logical::Date { Value::Date(number) } else { Value::Int(number) }
        }
        (Node::Long(Logical::TimestampMicros), Json::String(text)) => {
            let because = |reason: &str| Fault::Expected { expected: reason.to_owned(), found: shown(json) };
            Value::Timestamp(time::parse_timestamp(text).map_err(because)?)
        }
        (Node::Long(Logical::TimestampMicros), json) => Value::Timestamp(integer(json).ok_or_else(wrong)?),
        (Node::Long(_), json) => Value::Long(integer(json).ok_or_else(wrong)?),
        (Node::Double, json) => Value::Double(double(json).ok_or_else(wrong)?),
        (Node::Text(_), Json::String(text)) => Value::Text(text.clone()),
        (Node::Bytes(_), Json::String(text)) => Value::Bytes(unhex(text).ok_or_else(wrong)?),
        (Node::Fixed { size, .. }, Json::String(text)) => {
            Value::Fixed(unhex(text).filter(|bytes| bytes.len() == *size).ok_or_else(wrong)?)
        }
        (Node::Decimal { scale, .. }, json) => {
            let unscaled = match (json, number::exact_text(json)) {
                (Json::Number(number), _) => number::decimal_of_number(number, *scale),
                (Json::String(text), _) => number::parse_decimal(text, *scale),
                (_, Some(text)) => number::parse_decimal(text, *scale),
                (_, None) => return Err(wrong()),
            };
            Value::Decimal { unscaled: unscaled.map_err(Fault::Decimal)?, scale: *scale }
        }
        (Node::Enum { name, symbols, .. }, Json::String(symbol)) => {
            if !symbols.contains(symbol) {
                let symbol = symbol.chars().take(64).collect();
                return Err(Fault::Symbol { name: name.full.clone(), symbol }.into());
            }
            Value::Symbol(symbol.clone().into())
        }
        (Node::Array(item), Json::Array(items)) => {
            let one = |(index, json)| value(schema, *item, json).map_err(|error| error.in_item(index));
            Value::Array(items.iter().enumerate().map(one).collect::<Result<_>>()?)
        }
        (Node::Map(item), Json::Object(items)) => {
            let one = |(key, json): (&String, _)| {
                Ok((key.clone(), value(schema, *item, json).map_err(|error| error.in_key(key))?))
            };
            Value::Map(items.iter().map(one).collect::<Result<BTreeMap<_, _>>>()?)
        }
        (Node::Union(_), json) => match (schema.optional(id), json) {
            (Some(_), Json::Null) => Value::Null,
            (Some(some), json) => value(schema, some, json)?,
            (None, _) => return Err(wrong()),
        },
        (Node::Record { fields, .. }, Json::Object(_)) => record(schema, fields, json)?,
        (_, _) => return Err(wrong()),
    })
}

fn record(schema: &Schema, fields: &[Field], json: &Json) -> Result<Value> {
    let given = json.as_object();
    let mut values = Vec::with_capacity(fields.len());
    for field in fields {
        let named = |error: CodecError| error.in_field(field.name.clone());
        let value = match (given.and_then(|given| given.get(&field.name)), &field.default) {
            (Some(json), _) => value(schema, field.id, json).map_err(named)?,
            (None, Some(default)) => {
                avro_default(schema, field.id, default, &field.name).map_err(|error| named(error.into()))?
            }
            (None, None) => return Err(named(Fault::Missing.into())),
        };
        values.push((Cow::Owned(field.name.clone()), value));
    }
    let unknown = given.into_iter().flatten().find(|(name, _)| fields.iter().all(|field| field.name != **name));
    match unknown {
        Some((name, _)) => Err(CodecError::new(Fault::Unknown).in_field(name.chars().take(64).collect::<String>())),
        None => Ok(Value::Record(values)),
    }
}

/// A default as Avro writes it in a schema: bytes as a string of U+0000 to U+00FF, a union's for its first branch.
pub(crate) fn avro_default(schema: &Schema, id: Id, json: &Json, at: &str) -> std::result::Result<Value, SchemaError> {
    let node = schema.node(id);
    let wrong = || SchemaError::new(at, format!("{json} is no default of {}", node.describe()));
    let latin1 = |text: &str| text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<u8>>>();
    Ok(match (node, json) {
        (Node::Bytes(_), Json::String(text)) => Value::Bytes(latin1(text).ok_or_else(wrong)?),
        (Node::Fixed { size, .. }, Json::String(text)) => {
            Value::Fixed(latin1(text).filter(|bytes| bytes.len() == *size).ok_or_else(wrong)?)
        }
        (Node::Decimal { scale, .. }, Json::String(text)) => {
            let bytes = latin1(text).ok_or_else(wrong)?;
            Value::Decimal { unscaled: unscaled(&bytes).map_err(|_| wrong())?, scale: *scale }
        }
        (Node::Decimal { .. }, _) => return Err(wrong()),
        (Node::Union(branches), json) => match branches.first() {
            Some(first) => avro_default(schema, *first, json, at)?,
            None => return Err(wrong()),
        },
        (Node::Array(item), Json::Array(items)) => {
            let items = items.iter().map(|json| avro_default(schema, *item, json, at));
            Value::Array(items.collect::<std::result::Result<_, _>>()?)
        }
        (Node::Map(item), Json::Object(items)) => {
            let items = items.iter().map(|(key, json)| Ok((key.clone(), avro_default(schema, *item, json, at)?)));
            Value::Map(items.collect::<std::result::Result<_, _>>()?)
        }
        (Node::Record { fields, .. }, Json::Object(given)) => {
            let one = |field: &Field| {
                let json = given.get(&field.name).or(field.default.as_ref()).ok_or_else(wrong)?;
                Ok((Cow::Owned(field.name.clone()), avro_default(schema, field.id, json, at)?))
            };
            Value::Record(fields.iter().map(one).collect::<std::result::Result<_, _>>()?)
        }
        (_, json) => value(schema, id, json).map_err(|_| wrong())?,
    })
}

/// An integer of 64 bits.
fn integer(json: &Json) -> Option<i64> {
    match json {
        Json::Number(number) => number.as_i64(),
        Json::Null | Json::Bool(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => None,
    }
}

/// A finite double.
fn double(json: &Json) -> Option<f64> {
    let number = json.as_f64().or_else(|| number::exact_text(json)?.parse().ok());
    number.filter(|number| number.is_finite())
}

fn expected(node: &Node) -> String {
    match node {
        Node::Int(Logical::Date) => "a date as 2026-11-21".to_owned(),
        Node::Long(Logical::TimestampMicros) => "a time as 2026-11-21T06:46:42Z, or in microseconds".to_owned(),
        Node::Double => "a finite number".to_owned(),
        Node::Bytes(_) => "bytes as hex".to_owned(),
        Node::Fixed { size, .. } => format!("{size} bytes as hex"),
        Node::Record { .. } | Node::Map(_) => "an object".to_owned(),
        Node::Null
        | Node::Boolean
        | Node::Int(_)
        | Node::Long(_)
        | Node::Float
        | Node::Text(_)
        | Node::Decimal { .. }
        | Node::Enum { .. }
        | Node::Array(_)
        | Node::Union(_) => node.describe(),
    }
}

/// The JSON, short enough for a message.
fn shown(json: &Json) -> String {
    let text = number::exact_text(json).map_or_else(|| json.to_string(), str::to_owned);
    if text.chars().count() > 64 { format!("{}...", text.chars().take(61).collect::<String>()) } else { text }
}
