//! Writes the Rust of the contracts.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::default::unscaled;
use crate::error::{CodegenError, Place};
use crate::model::{Body, Default, Definition, Definitions, Field, Type};
use crate::parse::is_keyword;
use crate::registered::registered;

/// The Rust of every definition, one module a context.
pub(crate) fn contexts(definitions: &Definitions) -> Result<String, CodegenError> {
    let mut out = String::from(
        "// Generated from the .avsc files: change those.\n\
         use ::fillstream_schemas::codec::generated as g;\n",
    );
    let names: BTreeSet<&str> = definitions.values().map(|definition| definition.context.as_str()).collect();
    for context in names {
        let _ = writeln!(out, "/// Contracts of the context `{context}`.\npub mod {context} {{\nuse super::g;");
        for definition in definitions.values().filter(|definition| definition.context == context) {
            out.push_str(&emit(definition, definitions)?);
        }
        out.push_str("}\n");
    }
    Ok(out)
}

fn emit(definition: &Definition, definitions: &Definitions) -> Result<String, CodegenError> {
    match &definition.body {
        Body::Record(fields) => record(definition, fields, definitions),
        Body::Enum { symbols, rust: None } => Ok(enumeration(definition, symbols)),
        Body::Enum { symbols, rust: Some(rust) } => Ok(format!(
            "/// {doc}\npub use g::domain::{rust}{alias};\nconst _: () = g::same_symbols::<g::domain::{rust}>(&{symbols:?});\n",
            doc = doc(&definition.doc),
            alias = if *rust == definition.name { String::new() } else { format!(" as {}", definition.name) },
        )),
        Body::Fixed(size) => {
            Ok(format!("/// {}\npub type {} = [u8; {size}];\n", doc(&definition.doc), definition.name))
        }
    }
}

fn record(definition: &Definition, fields: &[Field], definitions: &Definitions) -> Result<String, CodegenError> {
    let schema = registered(definition, definitions)?.to_string();
    let (mut members, mut defaults, mut writes, mut reads, mut values, mut sizes) =
        (String::new(), String::new(), String::new(), String::new(), String::new(), Vec::new());
    let mut decimals = BTreeSet::new();
    for field in fields {
        let (key, kind) = (&field.name, kind(&field.ty, definitions));
        let name = rust_field(key);
        let _ = writeln!(members, "/// {}\npub {name}: {},", doc(&field.doc), rust_type(&field.ty, definitions));
        let default = match &field.default {
            Some(default) => default_value(&field.ty, default, definitions),
            None => format!("<{kind} as g::Codec>::initial()"),
        };
        let _ = writeln!(defaults, "{name}: {default},");
        let _ = writeln!(writes, "<{kind} as g::Codec>::write(&self.{name}, out);");
        let _ = writeln!(reads, "{name}: input.field::<{kind}>({key:?})?,");
        let _ = writeln!(values, "({key:?}.into(), <{kind} as g::Codec>::value(&self.{name})),");
        sizes.push(format!("<{kind} as g::Codec>::MIN_LEN"));
        collect_decimals(&field.ty, &mut decimals);
    }
    let mut out = format!(
        "/// {doc}\n#[derive(Debug, Clone, PartialEq, Eq)]\npub struct {name} {{\n{members}}}\n\
         #[allow(clippy::derivable_impls, reason = \"most records have defaults of their own\")]\n\
         impl Default for {name} {{\nfn default() -> Self {{\nSelf {{\n{defaults}}}\n}}\n}}\n\
         impl g::AvroRecord for {name} {{\n\
         const FULL_NAME: &'static str = {full_name:?};\n\
         const SCHEMA: &'static str = {schema:?};\n\
         const MIN_LEN: usize = {sizes};\n\
         fn schema() -> g::SchemaResult {{\nstatic CELL: g::SchemaCell = g::SchemaCell::new();\n\
         CELL.get(<Self as g::AvroRecord>::SCHEMA)\n}}\n\
         fn write(&self, {out}: &mut Vec<u8>) {{\n{writes}}}\n\
         fn read({input}: &mut g::Reader<'_>) -> Result<Self, g::CodecError> {{\nOk(Self {{\n{reads}}})\n}}\n\
         fn to_value(&self) -> g::Value {{\ng::Value::Record(vec![\n{values}])\n}}\n}}\n",
        doc = doc(&definition.doc),
        name = definition.name,
        full_name = definition.full_name,
        sizes = if sizes.is_empty() { "0".to_owned() } else { sizes.join("\n+ ") },
        out = if fields.is_empty() { "_out" } else { "out" },
        input = if fields.is_empty() { "_input" } else { "input" },
    );
    out.push_str(&event(definition, fields)?);
    for (rust, precision, scale) in decimals {
        let _ = writeln!(out, "const _: () = g::same_decimal::<g::domain::{rust}>({precision}, {scale});");
    }
    Ok(out)
}

/// `Event` of a record that stands on a topic: which fields are its key, its natural id and its time.
fn event(definition: &Definition, fields: &[Field]) -> Result<String, CodegenError> {
    let Some(event) = definition.json.get("event") else { return Ok(String::new()) };
    let place = Place::root(&definition.file).key("event");
    let field = |name: Option<&str>, types: &[Type]| {
        fields
            .iter()
            .find(|field| Some(field.name.as_str()) == name && types.contains(&field.ty))
            .map(|field| rust_field(&field.name))
            .ok_or_else(|| {
                place.error("`key`, `id` and `time` must name fields: a string, strings, numbers or enums, a timestamp")
            })
    };
    let text = |key: &str| event.get(key).and_then(serde_json::Value::as_str);
    let (key, time) = (field(text("key"), &[Type::Text])?, field(text("time"), &[Type::TimestampMicros])?);
    let ids = event.get("id").and_then(serde_json::Value::as_array).into_iter().flatten();
    let ids = ids
        .map(|id| field(id.as_str(), &[Type::Text, Type::Long, Type::Int, Type::TimestampMicros]))
        .collect::<Result<Vec<_>, _>>()?;
    let id = match ids.as_slice() {
        [] => return Err(place.key("id").error("needs at least one field: records without an id are all the same")),
        [only] => format!("self.{only}.to_string()"),
        several => format!("format!({:?}, self.{})", vec!["{}"; several.len()].join("/"), several.join(", self.")),
    };
    Ok(format!(
        "impl g::Event for {name} {{\nfn key(&self) -> &str {{ &self.{key} }}\n\
         fn natural_id(&self) -> String {{ {id} }}\n\
         fn event_time(&self) -> g::TimestampMicros {{ self.{time} }}\n}}\n",
        name = definition.name,
    ))
}

fn enumeration(definition: &Definition, symbols: &[String]) -> String {
    let mut variants = String::new();
    for symbol in symbols {
        let _ = writeln!(variants, "/// `{symbol}`\n{} = {symbol:?},", variant(symbol));
    }
    let (doc, name) = (doc(&definition.doc), &definition.name);
    format!("g::domain::avro_enum! {{\n/// {doc}\npub enum {name} {{\n{variants}}}\n}}\n")
}

fn collect_decimals(ty: &Type, found: &mut BTreeSet<(String, u32, u32)>) {
    match ty {
        Type::Decimal { precision, scale, rust } => {
            found.insert((rust.clone(), *precision, *scale));
        }
        Type::Optional { some: inner, .. } | Type::Array(inner) | Type::Map(inner) => collect_decimals(inner, found),
        Type::Boolean
        | Type::Int
        | Type::Long
        | Type::Double
        | Type::Text
        | Type::Bytes
        | Type::TimestampMicros
        | Type::Date
        | Type::Named(_) => {}
    }
}

/// The field's type as a reader of the struct sees it.
fn rust_type(ty: &Type, definitions: &Definitions) -> String {
    match ty {
        Type::Boolean => "bool".to_owned(),
        Type::Int | Type::Date => "i32".to_owned(),
        Type::Long => "i64".to_owned(),
        Type::Double => "g::Finite".to_owned(),
        Type::Text => "String".to_owned(),
        Type::Bytes => "Vec<u8>".to_owned(),
        Type::TimestampMicros => "g::TimestampMicros".to_owned(),
        Type::Decimal { rust, .. } => format!("g::domain::{rust}"),
        Type::Named(full_name) => named(full_name, definitions),
        Type::Optional { some, .. } => format!("Option<{}>", rust_type(some, definitions)),
        Type::Array(items) => format!("Vec<{}>", rust_type(items, definitions)),
        Type::Map(values) => format!("g::BTreeMap<String, {}>", rust_type(values, definitions)),
    }
}

/// The type that implements `Codec` for the field.
fn kind(ty: &Type, definitions: &Definitions) -> String {
    match ty {
        Type::Boolean => "g::Boolean".to_owned(),
        Type::Int => "g::Int".to_owned(),
        Type::Date => "g::Date".to_owned(),
        Type::Long => "g::Long".to_owned(),
        Type::Double => "g::Double".to_owned(),
        Type::Text => "g::Text".to_owned(),
        Type::Bytes => "g::Bytes".to_owned(),
        Type::TimestampMicros => "g::Timestamp".to_owned(),
        Type::Decimal { rust, .. } => format!("g::Decimal<g::domain::{rust}>"),
        Type::Named(full_name) => match definitions.get(full_name).map(|definition| &definition.body) {
            Some(Body::Enum { .. }) => format!("g::Enumeration<{}>", named(full_name, definitions)),
            Some(Body::Fixed(size)) => format!("g::Fixed<{size}>"),
            Some(Body::Record(_)) | None => format!("g::Nested<{}>", named(full_name, definitions)),
        },
        Type::Optional { some, null } => format!("g::Optional<{}, {null}>", kind(some, definitions)),
        Type::Array(items) => format!("g::Array<{}>", kind(items, definitions)),
        Type::Map(values) => format!("g::Map<{}>", kind(values, definitions)),
    }
}

fn named(full_name: &str, definitions: &Definitions) -> String {
    match definitions.get(full_name) {
        Some(Definition { body: Body::Enum { rust: Some(rust), .. }, .. }) => format!("g::domain::{rust}"),
        Some(definition) => format!("super::{}::{}", definition.context, definition.name),
        // Types are checked when they are read.
        None => full_name.to_owned(),
    }
}

fn default_value(ty: &Type, default: &Default, definitions: &Definitions) -> String {
    match default {
        Default::Null => "None".to_owned(),
        Default::Boolean(value) => value.to_string(),
        Default::Integer(value) => match ty {
            Type::TimestampMicros => format!("g::TimestampMicros::from_micros({value})"),
            Type::Boolean
            | Type::Int
            | Type::Long
            | Type::Double
            | Type::Text
            | Type::Bytes
            | Type::Date
            | Type::Decimal { .. }
            | Type::Named(_)
            | Type::Optional { .. }
            | Type::Array(_)
            | Type::Map(_) => value.to_string(),
        },
        Default::Double(text) => format!("const {{ g::Finite::literal({text}) }}"),
        Default::Text(text) => format!("String::from({text:?})"),
        Default::Bytes(bytes) => match ty {
            Type::Decimal { rust, .. } => format!("g::decimal::<g::domain::{rust}, {}>()", unscaled(bytes)),
            Type::Named(_) => format!("{bytes:?}"),
            Type::Boolean
            | Type::Int
            | Type::Long
            | Type::Double
            | Type::Text
            | Type::Bytes
            | Type::TimestampMicros
            | Type::Date
            | Type::Optional { .. }
            | Type::Array(_)
            | Type::Map(_) => format!("vec!{bytes:?}"),
        },
        Default::Symbol(symbol) => {
            let Type::Named(full_name) = ty else { return String::new() };
            format!("{}::{}", named(full_name, definitions), variant(symbol))
        }
        Default::Empty => "Default::default()".to_owned(),
        Default::Some(inner) => match ty {
            Type::Optional { some, .. } => format!("Some({})", default_value(some, inner, definitions)),
            Type::Boolean
            | Type::Int
            | Type::Long
            | Type::Double
            | Type::Text
            | Type::Bytes
            | Type::TimestampMicros
            | Type::Date
            | Type::Decimal { .. }
            | Type::Named(_)
            | Type::Array(_)
            | Type::Map(_) => default_value(ty, inner, definitions),
        },
    }
}

/// The field's name in Rust, which reserves some words.
fn rust_field(name: &str) -> String {
    if is_keyword(name) { format!("r#{name}") } else { name.to_owned() }
}

/// `PARTIALLY_FILLED` -> `PartiallyFilled`.
pub(crate) fn variant(symbol: &str) -> String {
    let word = |word: &str| {
        let mut chars = word.chars();
        chars.next().map(|first| format!("{first}{}", chars.as_str().to_ascii_lowercase())).unwrap_or_default()
    };
    symbol.split('_').map(word).collect()
}

/// Text of a contract as rustdoc: brackets in it are not links, angle brackets not HTML.
fn doc(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\n' | '\r' => out.push(' '),
            '[' | ']' | '<' | '>' | '*' | '_' | '`' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}
