//! Defaults of fields, as Avro writes them in JSON.

use serde_json::Value as Json;

use crate::error::{CodegenError, Place};
use crate::model::{Body, Default, Definitions, Type};

/// Reads a field's default against its type. A union's default belongs to its first branch.
pub(crate) fn parse_default(
    ty: &Type,
    json: &Json,
    definitions: &Definitions,
    place: &Place<'_>,
) -> Result<Default, CodegenError> {
    let wrong = |expected: &str| place.error(format!("{json} is no default of this type, which needs {expected}"));
    match ty {
        Type::Boolean => json.as_bool().map(Default::Boolean).ok_or_else(|| wrong("a boolean")),
        Type::Int | Type::Date => match json.as_i64().filter(|number| i32::try_from(*number).is_ok()) {
            Some(number) => Ok(Default::Integer(number)),
            None => Err(wrong("a 32 bit integer")),
        },
        Type::Long | Type::TimestampMicros => {
            json.as_i64().map(Default::Integer).ok_or_else(|| wrong("a 64 bit integer"))
        }
        Type::Double => match json.as_f64() {
            Some(number) => Ok(Default::Double(format!("{number:?}"))),
            None => Err(wrong("a number")),
        },
        Type::Text => match json.as_str() {
            Some(text) => Ok(Default::Text(text.to_owned())),
            None => Err(wrong("a string")),
        },
        Type::Bytes => latin1(json).map(Default::Bytes).ok_or_else(|| wrong("a string of U+0000 to U+00FF")),
        Type::Decimal { precision, .. } => {
            let bytes = latin1(json).filter(|bytes| fits(bytes, *precision));
            bytes.map(Default::Bytes).ok_or_else(|| wrong("a string of U+0000 to U+00FF: the unscaled number's bytes"))
        }
        Type::Named(full_name) => match definitions.get(full_name).map(|definition| &definition.body) {
            Some(Body::Enum { symbols, .. }) => match json.as_str() {
                Some(symbol) if symbols.iter().any(|known| known == symbol) => Ok(Default::Symbol(symbol.to_owned())),
                Some(_) | None => Err(wrong("one of the enum's symbols")),
            },
            Some(Body::Fixed(size)) => match latin1(json) {
                Some(bytes) if bytes.len() == *size => Ok(Default::Bytes(bytes)),
                Some(_) | None => Err(wrong("a string of as many characters, U+0000 to U+00FF, as the fixed's size")),
            },
            Some(Body::Record(_)) | None => Err(place.error("a default of a nested record is not supported")),
        },
        Type::Optional { null: 0, .. } => match json {
            Json::Null => Ok(Default::Null),
            Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => {
                Err(wrong("null, the first branch of the union"))
            }
        },
        Type::Optional { some, .. } => Ok(Default::Some(Box::new(parse_default(some, json, definitions, place)?))),
        Type::Array(_) => match json {
            Json::Array(items) if items.is_empty() => Ok(Default::Empty),
            Json::Array(_) | Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Object(_) => {
                Err(wrong("[]"))
            }
        },
        Type::Map(_) => match json {
            Json::Object(items) if items.is_empty() => Ok(Default::Empty),
            Json::Object(_) | Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
                Err(wrong("{}"))
            }
        },
    }
}

/// Avro writes bytes in JSON as a string whose code points are the bytes.
fn latin1(json: &Json) -> Option<Vec<u8>> {
    json.as_str()?.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

/// Whether a big-endian two's complement number has at most `precision` digits.
fn fits(bytes: &[u8], precision: u32) -> bool {
    if bytes.is_empty() || bytes.len() > 16 {
        return false;
    }
    let number = unscaled(bytes);
    10_u128.checked_pow(precision).is_some_and(|limit| number.unsigned_abs() < limit)
}

/// Reads at most 16 bytes of big-endian two's complement.
pub(crate) fn unscaled(bytes: &[u8]) -> i128 {
    let sign = if bytes.first().is_some_and(|first| first & 0x80 != 0) { -1 } else { 0 };
    bytes.iter().fold(sign, |number: i128, byte| (number << 8) | i128::from(*byte))
}
