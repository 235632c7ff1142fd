//! Reads `.avsc` files and checks them against the rules of this project.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use crate::default::parse_default;
use crate::error::{CodegenError, Place};
use crate::model::{Body, Definition, Definitions, Field, Type};

/// Precision above which scaled units of two factors no longer fit the 128 bits in which they are multiplied.
const MAX_PRECISION: u64 = 28;

/// Reads `<dir>/<context>/<Name>.avsc`, each holding `<prefix>.<context>.<Name>`.
pub(crate) fn load(dir: &Path, prefix: &str) -> Result<Definitions, CodegenError> {
    let mut raw = Vec::new();
    for context_dir in entries(dir)? {
        if !context_dir.is_dir() {
            continue;
        }
        let context = stem(&context_dir);
        for file in entries(&context_dir)? {
            if file.extension().is_some_and(|extension| extension == "avsc") {
                raw.push((context.clone(), file.clone(), read_json(&file)?));
            }
        }
    }
    // Names first: a field may name a type of a file that is read later.
    let kinds: Kinds = raw
        .iter()
        .map(|(context, file, json)| {
            (
                format!("{prefix}.{context}.{}", stem(file)),
                json.get("type").and_then(Json::as_str).unwrap_or_default().to_owned(),
            )
        })
        .collect();
    let mut definitions = Definitions::new();
    for (context, file, json) in raw {
        let definition = definition(prefix, context, file, json, &kinds)?;
        definitions.insert(definition.full_name.clone(), definition);
    }
    check_defaults(&mut definitions)?;
    Ok(definitions)
}

type Kinds = std::collections::BTreeMap<String, String>;

fn entries(dir: &Path) -> Result<Vec<PathBuf>, CodegenError> {
    let io = |source| CodegenError::Io { path: dir.to_owned(), source };
    let mut paths = fs::read_dir(dir)
        .map_err(io)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(io)?;
    // The file system's order is not the same everywhere; the generated code is.
    paths.sort();
    Ok(paths)
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

fn read_json(file: &Path) -> Result<Json, CodegenError> {
    let text = fs::read_to_string(file).map_err(|source| CodegenError::Io { path: file.to_owned(), source })?;
    serde_json::from_str(&text).map_err(|source| CodegenError::Json { path: file.to_owned(), source })
}

fn definition(
    prefix: &str,
    context: String,
    file: PathBuf,
    json: Json,
    kinds: &Kinds,
) -> Result<Definition, CodegenError> {
    let place = Place::root(&file);
    let object = object(&json, &place)?;
    let name = text(object, "name", &place)?.to_owned();
    let namespace = text(object, "namespace", &place)?;
    if name != stem(&file) {
        return Err(place.key("name").error(format!("must be the file's name, `{}`", stem(&file))));
    }
    if namespace != format!("{prefix}.{context}") {
        return Err(place.key("namespace").error(format!("must be `{prefix}.{context}`, the folder's")));
    }
    if !is_snake_case(&context) || is_keyword(&context) {
        return Err(place.error(format!("the folder `{context}` must be a snake_case word that Rust does not reserve")));
    }
    if !is_camel_case(&name) {
        return Err(place.key("name").error("must be CamelCase"));
    }
    let doc = doc(object, &place)?;
    let body = match text(object, "type", &place)? {
        "record" => {
            check_keys(object, &["type", "name", "namespace", "doc", "aliases", "fields", "event"], &place)?;
            Body::Record(fields(object, kinds, &place)?)
        }
        "enum" => {
            check_keys(object, &["type", "name", "namespace", "doc", "aliases", "symbols", "default", "rust"], &place)?;
            enumeration(object, &place)?
        }
        "fixed" => {
            check_keys(object, &["type", "name", "namespace", "doc", "aliases", "size"], &place)?;
            Body::Fixed(fixed_size(object, &place)?)
        }
        other => {
            return Err(place.key("type").error(format!("`{other}`: a file defines a record, an enum or a fixed")));
        }
    };
    let full_name = format!("{namespace}.{name}");
    Ok(Definition { full_name, context, name, doc, file, json, body })
}

fn fixed_size(object: &Map<String, Json>, place: &Place<'_>) -> Result<usize, CodegenError> {
    match object.get("size").and_then(Json::as_u64) {
        // Arrays of the standard library have Default up to 32.
        Some(size @ 1..=32) => usize::try_from(size).map_err(|_| place.key("size").error("too large")),
        Some(_) | None => Err(place.key("size").error("must be a number from 1 to 32")),
    }
}

fn enumeration(object: &Map<String, Json>, place: &Place<'_>) -> Result<Body, CodegenError> {
    let at = place.key("symbols");
    let list = object.get("symbols").and_then(Json::as_array).ok_or_else(|| at.error("missing"))?;
    let mut symbols = Vec::new();
    let mut variants = BTreeSet::new();
    for (index, symbol) in list.iter().enumerate() {
        let here = at.index(index);
        let symbol = symbol.as_str().ok_or_else(|| here.error("must be a string"))?;
        let plain = symbol.starts_with(|c: char| c.is_ascii_uppercase())
            && symbol.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        if !plain {
            return Err(here.error(format!("`{symbol}` must be UPPER_SNAKE_CASE")));
        }
        if !variants.insert(crate::emit::variant(symbol)) {
            return Err(here.error(format!("`{symbol}` repeats an earlier symbol or its Rust name")));
        }
        symbols.push(symbol.to_owned());
    }
    if symbols.is_empty() {
        return Err(at.error("needs at least one symbol"));
    }
    // The default is for readers of other versions; it stays in the schema.
    match object.get("default") {
        None => {}
        Some(Json::String(symbol)) if symbols.contains(symbol) => {}
        Some(other) => return Err(place.key("default").error(format!("{other} is not one of the symbols"))),
    }
    let rust = object.get("rust").map(|json| rust_name(json, &place.key("rust"))).transpose()?;
    Ok(Body::Enum { symbols, rust })
}

fn fields(object: &Map<String, Json>, kinds: &Kinds, place: &Place<'_>) -> Result<Vec<Field>, CodegenError> {
    let list =
        object.get("fields").and_then(Json::as_array).ok_or_else(|| place.key("fields").error("must be an array"))?;
    let mut seen = BTreeSet::new();
    let mut fields = Vec::new();
    for (index, json) in list.iter().enumerate() {
        let name = json.get("name").and_then(Json::as_str).unwrap_or_default().to_owned();
        let here = place.field(index, &name);
        let field = self::object(json, &here)?;
        check_keys(field, &["name", "type", "doc", "aliases", "default"], &here)?;
        if !is_snake_case(&name) || matches!(name.as_str(), "self" | "super" | "crate") {
            return Err(here.error("the name must be snake_case"));
        }
        if !seen.insert(name.clone()) {
            return Err(here.error("the name repeats an earlier field's"));
        }
        let doc = doc(field, &here)?;
        let ty =
            field_type(field.get("type").ok_or_else(|| here.key("type").error("missing"))?, kinds, &here.key("type"))?;
        // Enum symbols are not known yet: the default is read when every file is.
        fields.push(Field { name, doc, ty, default: None });
    }
    Ok(fields)
}

fn field_type(json: &Json, kinds: &Kinds, place: &Place<'_>) -> Result<Type, CodegenError> {
    match json {
        Json::String(name) => named_type(name, kinds, place),
        Json::Array(branches) => union(branches, kinds, place),
        Json::Object(object) => complex(object, kinds, place),
        Json::Null | Json::Bool(_) | Json::Number(_) => Err(place.error("must be a string, an object or an array")),
    }
}

fn named_type(name: &str, kinds: &Kinds, place: &Place<'_>) -> Result<Type, CodegenError> {
    Ok(match name {
        "boolean" => Type::Boolean,
        "int" => Type::Int,
        "long" => Type::Long,
        "double" => Type::Double,
        "string" => Type::Text,
        "bytes" => Type::Bytes,
        "null" => return Err(place.error("`null` is only supported as a branch of a union")),
        "float" => return Err(place.error("`float` is not supported: use double for statistics, decimal for money")),
        full_name if kinds.contains_key(full_name) => Type::Named(full_name.to_owned()),
        other => {
            return Err(place.error(format!("unknown type `{other}`: name a type of another file by its full name")));
        }
    })
}

fn union(branches: &[Json], kinds: &Kinds, place: &Place<'_>) -> Result<Type, CodegenError> {
    let unsupported = || place.error("only unions of null and one other type are supported");
    let (some, null) = match branches {
        [Json::String(null), some] if null == "null" => ((1, some), 0),
        [some, Json::String(null)] if null == "null" => ((0, some), 1),
        [..] => return Err(unsupported()),
    };
    match field_type(some.1, kinds, &place.index(some.0))? {
        Type::Optional { .. } => Err(unsupported()),
        ty @ (Type::Boolean
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
        | Type::Map(_)) => Ok(Type::Optional { some: Box::new(ty), null }),
    }
}

fn complex(object: &Map<String, Json>, kinds: &Kinds, place: &Place<'_>) -> Result<Type, CodegenError> {
    let base = text(object, "type", place)?;
    if let Some(logical) = object.get("logicalType") {
        let logical = logical.as_str().unwrap_or_default();
        return match (base, logical) {
            ("bytes", "decimal") => decimal(object, place),
            ("long", "timestamp-micros") => {
                check_keys(object, &["type", "logicalType"], place)?;
                Ok(Type::TimestampMicros)
            }
            ("int", "date") => {
                check_keys(object, &["type", "logicalType"], place)?;
                Ok(Type::Date)
            }
            (base, logical) => Err(place.error(format!("logicalType `{logical}` on `{base}` is not supported"))),
        };
    }
    match base {
        "array" => {
            check_keys(object, &["type", "items"], place)?;
            let items = object.get("items").ok_or_else(|| place.key("items").error("missing"))?;
            Ok(Type::Array(Box::new(field_type(items, kinds, &place.key("items"))?)))
        }
        "map" => {
            check_keys(object, &["type", "values"], place)?;
            let values = object.get("values").ok_or_else(|| place.key("values").error("missing"))?;
            Ok(Type::Map(Box::new(field_type(values, kinds, &place.key("values"))?)))
        }
        "record" | "enum" | "fixed" => Err(place.error(format!("a {base} has a file of its own: name it here"))),
        other => {
            check_keys(object, &["type"], place)?;
            named_type(other, kinds, place)
        }
    }
}

fn decimal(object: &Map<String, Json>, place: &Place<'_>) -> Result<Type, CodegenError> {
    check_keys(object, &["type", "logicalType", "precision", "scale", "rust"], place)?;
    let number = |key: &str, max: u64| match object.get(key).and_then(Json::as_u64) {
        Some(value) if value <= max => {
            u32::try_from(value).map_err(|_| place.key(key).error(format!("must be at most {max}")))
        }
        Some(_) | None => Err(place.key(key).error(format!("a decimal needs it, a number up to {max}"))),
    };
    let precision = number("precision", MAX_PRECISION)?;
    if precision == 0 {
        return Err(place.key("precision").error("must be at least 1"));
    }
    let scale = number("scale", u64::from(precision))?;
    let at = place.key("rust");
    let rust = object.get("rust").ok_or_else(|| at.error("a decimal needs the type of fillstream_domain"))?;
    Ok(Type::Decimal { precision, scale, rust: rust_name(rust, &at)? })
}

/// Second pass, when every definition is known: defaults need enum symbols and fixed sizes.
fn check_defaults(definitions: &mut Definitions) -> Result<(), CodegenError> {
    let mut parsed = Vec::new();
    for definition in definitions.values() {
        let Body::Record(fields) = &definition.body else { continue };
        let place = Place::root(&definition.file);
        for (index, field) in fields.iter().enumerate() {
            let json = definition.json.pointer(&format!("/fields/{index}/default"));
            let at = place.field(index, &field.name).key("default");
            let default = json.map(|json| parse_default(&field.ty, json, definitions, &at)).transpose()?;
            parsed.push((definition.full_name.clone(), index, default));
        }
    }
    for (full_name, index, default) in parsed {
        if let Some(Definition { body: Body::Record(fields), .. }) = definitions.get_mut(&full_name)
            && let Some(field) = fields.get_mut(index)
        {
            field.default = default;
        }
    }
    Ok(())
}

fn object<'a>(json: &'a Json, place: &Place<'_>) -> Result<&'a Map<String, Json>, CodegenError> {
    json.as_object().ok_or_else(|| place.error("must be an object"))
}

fn text<'a>(object: &'a Map<String, Json>, key: &str, place: &Place<'_>) -> Result<&'a str, CodegenError> {
    object.get(key).and_then(Json::as_str).ok_or_else(|| place.key(key).error("missing, or not a string"))
}

fn doc(object: &Map<String, Json>, place: &Place<'_>) -> Result<String, CodegenError> {
    match object.get("doc").and_then(Json::as_str).map(str::trim) {
        Some(doc) if !doc.is_empty() => Ok(doc.to_owned()),
        Some(_) | None => Err(place.key("doc").error("missing: say what it means, and in which unit")),
    }
}

/// A property that is not known is most often a typing error that would silently change nothing.
fn check_keys(object: &Map<String, Json>, known: &[&str], place: &Place<'_>) -> Result<(), CodegenError> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(place.key(key).error(format!("unknown property; known here: {}", known.join(", ")))),
    }
}

fn rust_name(json: &Json, place: &Place<'_>) -> Result<String, CodegenError> {
    match json.as_str() {
        Some(name) if is_camel_case(name) => Ok(name.to_owned()),
        Some(_) | None => Err(place.error("must be the CamelCase name of a type of fillstream_domain")),
    }
}

fn is_snake_case(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn is_camel_case(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
}

/// Words that Rust reserves.
pub(crate) fn is_keyword(word: &str) -> bool {
    const KEYWORDS: &[&str] = &[
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
        "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
        "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super",
        "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
    ];
    KEYWORDS.contains(&word)
}
