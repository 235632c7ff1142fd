//! What differs between two schemas, field by field.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value as Json;

use super::CompatError;
use crate::schema::SchemaError;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The place, as in `$.fills[].last_px`.
    pub path: String,
    /// What stands there.
    pub change: Change,
}

/// What became of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Only the second schema has it.
    Added(String),
    /// Only the first schema has it.
    Removed(String),
    /// Both have it, with another type, default or symbols.
    Changed(String, String),
    /// Only its documentation is another.
    Documentation,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.change {
            Change::Added(what) => write!(f, "+ {path}: {what}"),
            Change::Removed(what) => write!(f, "- {path}: {what}"),
            Change::Changed(from, to) => write!(f, "~ {path}: {from} -> {to}"),
            Change::Documentation => write!(f, "  {path}: other documentation"),
        }
    }
}

/// Compares two schemas place by place, in the order of the paths. Named types are followed wherever they are used.
///
/// # Errors
/// One of them is no JSON.
pub fn differences(from: &str, to: &str) -> Result<Vec<Difference>, CompatError> {
    let (from, to) = (places("the first schema", from)?, places("the second schema", to)?);
    let paths: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let change = |path: &String| match (from.get(path), to.get(path)) {
        (None, Some(b)) => Some(Change::Added(b.what.clone())),
        (Some(a), None) => Some(Change::Removed(a.what.clone())),
        (Some(a), Some(b)) if a.what != b.what => Some(Change::Changed(a.what.clone(), b.what.clone())),
        (Some(a), Some(b)) if a.doc != b.doc => Some(Change::Documentation),
        (Some(_) | None, Some(_) | None) => None,
    };
    Ok(paths.into_iter().filter_map(|p| Some(Difference { path: p.clone(), change: change(p)? })).collect())
}

#[derive(Default)]
struct Place {
    what: String,
    doc: String,
}

/// The places of one schema.
#[derive(Default)]
struct Walk {
    places: BTreeMap<String, Place>,
    named: BTreeMap<String, Json>,
    // Named types on the way down: a recursive one is followed once.
    open: Vec<String>,
}

fn places(which: &str, text: &str) -> Result<BTreeMap<String, Place>, CompatError> {
    let json: Json = serde_json::from_str(text).map_err(|error| CompatError::Schema {
        name: which.to_owned(),
        source: SchemaError::new("", error.to_string()),
    })?;
    let mut walk = Walk::default();
    walk.define(&json, "");
    let what = walk.describe(&json, "");
    walk.places.insert("$".to_owned(), Place { what, doc: text_of(&json, "doc") });
    walk.follow(&json, "$", "");
    Ok(walk.places)
}

fn text_of(json: &Json, key: &str) -> String {
    json.get(key).and_then(Json::as_str).unwrap_or_default().to_owned()
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

impl Walk {
    /// Finds every named type, so that a use before the definition is understood.
    fn define(&mut self, json: &Json, namespace: &str) {
        match json {
            Json::Array(branches) => branches.iter().for_each(|b| self.define(b, namespace)),
            Json::Object(object) => {
                let own = object.get("namespace").and_then(Json::as_str).unwrap_or(namespace).to_owned();
                if let Some(name) = object.get("name").and_then(Json::as_str)
                    && object.get("type").is_some_and(Json::is_string)
                {
                    self.named.insert(full_name(name, &own), json.clone());
                }
                for key in ["type", "items", "values"] {
                    object.get(key).into_iter().for_each(|inner| self.define(inner, &own));
                }
                for field in object.get("fields").and_then(Json::as_array).into_iter().flatten() {
                    field.get("type").into_iter().for_each(|inner| self.define(inner, &own));
                }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
        }
    }

    fn resolve(&self, json: &Json, namespace: &str) -> Option<(String, Json)> {
        let name = json.as_str()?;
        let name = full_name(name, namespace);
        self.named.get(&name).map(|definition| (name, definition.clone()))
    }

    /// A type in a word or two.
    fn describe(&self, json: &Json, namespace: &str) -> String {
        if let Some((_, definition)) = self.resolve(json, namespace) {
            return self.describe(&definition, namespace);
        }
        match json {
            Json::String(name) => name.clone(),
            Json::Array(branches) => {
                branches.iter().map(|b| self.describe(b, namespace)).collect::<Vec<_>>().join(" | ")
            }
            Json::Object(object) => {
                let kind = object.get("type").unwrap_or(&Json::Null);
                let own = object.get("namespace").and_then(Json::as_str).unwrap_or(namespace);
                let name = full_name(&text_of(json, "name"), own);
                match (kind.as_str(), object.get("logicalType").and_then(Json::as_str)) {
                    (Some(base), Some("decimal")) => {
                        let digits = |key| object.get(key).and_then(Json::as_u64).unwrap_or(0);
                        format!("{base} decimal({}, {})", digits("precision"), digits("scale"))
                    }
                    (Some(base), Some(logical)) => format!("{base} {logical}"),
                    (Some("enum"), None) => {
                        let symbols = object.get("symbols").and_then(Json::as_array).into_iter().flatten();
                        let symbols: Vec<&str> = symbols.filter_map(Json::as_str).collect();
                        format!("enum {name} ({})", symbols.join(", "))
                    }
                    (Some("array"), None) => "array".to_owned(),
                    (Some("map"), None) => "map".to_owned(),
                    (Some(base), None) if name.is_empty() => base.to_owned(),
                    (Some(base), None) => format!("{base} {name}"),
                    (None, _) => self.describe(kind, own),
                }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => json.to_string(),
        }
    }

    /// Goes down into fields, items and branches.
    fn follow(&mut self, json: &Json, path: &str, namespace: &str) {
        if let Some((name, definition)) = self.resolve(json, namespace) {
            if !self.open.contains(&name) {
                self.open.push(name);
                self.follow(&definition, path, namespace);
                self.open.pop();
            }
            return;
        }
        match json {
            Json::Array(branches) => branches.iter().for_each(|b| self.follow(b, path, namespace)),
            Json::Object(object) => {
                let own = object.get("namespace").and_then(Json::as_str).unwrap_or(namespace).to_owned();
                // A definition is open as much as a reference to it: what contains itself is gone through once.
                self.open.push(full_name(&text_of(json, "name"), &own));
                for field in object.get("fields").and_then(Json::as_array).into_iter().flatten() {
                    self.field(field, path, &own);
                }
                for (key, mark) in [("items", "[]"), ("values", "{}")] {
                    if let Some(inner) = object.get(key) {
                        let path = format!("{path}{mark}");
                        let what = self.describe(inner, &own);
                        self.places.insert(path.clone(), Place { what, doc: String::new() });
                        self.follow(inner, &path, &own);
                    }
                }
                match object.get("type") {
                    Some(inner @ (Json::Object(_) | Json::Array(_))) => self.follow(inner, path, &own),
                    Some(Json::String(_) | Json::Null | Json::Bool(_) | Json::Number(_)) | None => {}
                }
                self.open.pop();
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
        }
    }

    fn field(&mut self, field: &Json, path: &str, namespace: &str) {
        let path = format!("{path}.{}", text_of(field, "name"));
        let inner = field.get("type").unwrap_or(&Json::Null);
        let mut what = self.describe(inner, namespace);
        if let Some(default) = field.get("default") {
            what.push_str(&format!(", default {default}"));
        }
        self.places.insert(path.clone(), Place { what, doc: text_of(field, "doc") });
        self.follow(inner, &path, namespace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"{"type":"record","name":"A","namespace":"n","doc":"d","fields":[
        {"name":"id","type":"string","doc":"x"},
        {"name":"gone","type":["null","long"],"default":null},
        {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":18,"scale":8}},
        {"name":"side","type":{"type":"enum","name":"S","symbols":["BUY","SELL"]}},
        {"name":"again","type":"S"},
        {"name":"fills","type":{"type":"array","items":{"type":"record","name":"F","fields":[
            {"name":"qty","type":"long"},{"name":"more","type":["null","F"],"default":null}]}}}]}"#;

    fn lines(to: &str) -> Vec<String> {
        differences(OLD, to).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_same_schema_has_no_difference() {
        assert_eq!(lines(OLD), Vec::<String>::new());
    }

    #[test]
    fn every_kind_of_change_is_named_at_its_place() {
        let new = OLD
            .replace(r#"{"name":"gone","type":["null","long"],"default":null},"#, "")
            .replace(r#""scale":8"#, r#""scale":4"#)
            .replace(r#""doc":"x""#, r#""doc":"y""#)
            .replace(r#"["BUY","SELL"]"#, r#"["BUY","SELL","SHORT"]"#)
            .replace(
                r#"{"name":"qty","type":"long"}"#,
                r#"{"name":"qty","type":"int"},{"name":"new","type":"string","default":""}"#,
            );
        assert_eq!(
            lines(&new),
            [
                "~ $.again: enum n.S (BUY, SELL) -> enum n.S (BUY, SELL, SHORT)",
                "+ $.fills[].new: string, default \"\"",
                "~ $.fills[].qty: long -> int",
                "- $.gone: null | long, default null",
                "  $.id: other documentation",
                "~ $.price: bytes decimal(18, 8) -> bytes decimal(18, 4)",
                "~ $.side: enum n.S (BUY, SELL) -> enum n.S (BUY, SELL, SHORT)",
            ]
        );
    }

    #[test]
    fn what_is_no_json_is_refused() {
        assert!(differences("{", OLD).is_err() && differences(OLD, "{").is_err());
    }
}
