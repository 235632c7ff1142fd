//! Columns of a contract.
//!
//! Nested records are flattened (`terms.ord_type` becomes `terms_ord_type`), arrays of records become a `Nested` group
//! (`shares.venue`, for `ARRAY JOIN shares AS s`), in which arrays of records are arrays of tuples; everything else keeps its name. Decimals stay exact.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

/// What can never be read, as a row.
pub(crate) const UNREADABLE_SCHEMA: &str = r#"{"type":"record","name":"Unreadable","namespace":"fillstream.sink",
"doc":"A record that can never be read, with where it stands.","fields":[
{"name":"reason_code","type":"string","doc":"Closed reason code: BAD_FRAME, UNKNOWN_SCHEMA_ID, INCOMPATIBLE_SCHEMA, DECODE or TOMBSTONE."},
{"name":"reason_text","type":"string","doc":"The error in words."},
{"name":"sha256","type":"string","doc":"SHA-256 of the value, lower-case hex."},
{"name":"value","type":"bytes","doc":"The value as received, at most 65,536 bytes."},
{"name":"value_size","type":"long","doc":"Size of the value, bytes."}]}"#;

/// Strings of few different values.
const FEW: &[&str] = &[
    "account_id",
    "action",
    "algorithm",
    "broker",
    "broker_id",
    "code",
    "currency",
    "execution_venue",
    "fee_currency",
    "instrument_id",
    "name",
    "portfolio_id",
    "quote_currency",
    "reason_code",
    "reject_code",
    "rule",
    "scope",
    "session",
    "stage",
    "strategy_id",
    "substitution_code",
    "topic",
    "trader_id",
    "unit",
    "unrouted_code",
    "urgency",
    "venue",
];

/// A column of a landing table, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// ClickHouse's type, as `system.columns` spells it.
    pub ty: String,
    /// The field's documentation.
    pub comment: String,
    /// Expression over the input columns.
    pub(crate) from: String,
}

/// Columns of a contract.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Documentation of the contract.
    pub(crate) comment: String,
    /// Columns of the table.
    pub(crate) columns: Vec<Column>,
    /// Columns that ClickHouse reads out of the Avro file: path and type.
    pub(crate) input: Vec<(String, String)>,
}

/// A type as it is read and as it is stored.
struct Types {
    input: String,
    stored: String,
}

impl Types {
    fn both(ty: impl Into<String>) -> Self {
        let ty = ty.into();
        Self { input: ty.clone(), stored: ty }
    }
}

/// The columns of a record's schema under the envelope's field `value`.
///
/// # Errors
/// Names the field that has no column.
pub(crate) fn shape_of(schema: &str) -> Result<Shape, String> {
    let json: Json = serde_json::from_str(schema).map_err(|e| e.to_string())?;
    let mut names = BTreeMap::new();
    collect(&json, "", &mut names);
    let mut walk = Walk { names, out: Shape { comment: text(&json, "doc"), ..Shape::default() } };
    let (fields, space) = walk.record(&json, "").ok_or("is no record")?;
    for field in &fields {
        walk.field(field, &space, "value", "", false, 0)?;
    }
    let mut seen = BTreeSet::new();
    for column in &walk.out.columns {
        if !seen.insert(column.name.as_str()) || column.name.starts_with('_') {
            return Err(format!("{}: the column's name is taken", column.name));
        }
    }
    Ok(walk.out)
}

fn text(json: &Json, key: &str) -> String {
    json.get(key).and_then(Json::as_str).unwrap_or_default().to_owned()
}

fn number(json: &Json, key: &str) -> u64 {
    json.get(key).and_then(Json::as_u64).unwrap_or(0)
}

fn full_name(name: &str, space: &str) -> String {
    if name.contains('.') || space.is_empty() { name.to_owned() } else { format!("{space}.{name}") }
}

fn space_of(json: &Json, outer: &str) -> String {
    let name = text(json, "name");
    match (name.rsplit_once('.'), json.get("namespace").and_then(Json::as_str)) {
        (Some((space, _)), _) | (None, Some(space)) => space.to_owned(),
        (None, None) => outer.to_owned(),
    }
}

/// Every named type, by full name, with the namespace it stands in.
fn collect(json: &Json, outer: &str, names: &mut BTreeMap<String, (Json, String)>) {
    match json {
        Json::Array(branches) => branches.iter().for_each(|b| collect(b, outer, names)),
        Json::Object(_) => {
            let space = space_of(json, outer);
            if let (Some(name), Some("record" | "enum" | "fixed")) =
                (json.get("name").and_then(Json::as_str), json.get("type").and_then(Json::as_str))
            {
                names.insert(full_name(name, &space), (json.clone(), space.clone()));
            }
            let fields = json.get("fields").and_then(Json::as_array);
            for field in fields.into_iter().flatten() {
                if let Some(ty) = field.get("type") {
                    collect(ty, &space, names);
                }
            }
            for key in ["items", "values", "type"] {
                if let Some(inner @ (Json::Object(_) | Json::Array(_))) = json.get(key) {
                    collect(inner, &space, names);
                }
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

struct Walk {
    names: BTreeMap<String, (Json, String)>,
    out: Shape,
}

impl Walk {
    /// The definition behind a name.
    fn resolve(&self, ty: &Json, space: &str) -> (Json, String) {
        if let Some(name) = ty.as_str()
            && let Some(found) = self.names.get(&full_name(name, space))
        {
            return found.clone();
        }
        (ty.clone(), space.to_owned())
    }

    fn record(&self, ty: &Json, space: &str) -> Option<(Vec<Json>, String)> {
        let (ty, space) = self.resolve(ty, space);
        if ty.get("type").and_then(Json::as_str) != Some("record") {
            return None;
        }
        let fields = ty.get("fields").and_then(Json::as_array).cloned().unwrap_or_default();
        Some((fields, space_of(&ty, &space)))
    }

    /// Adds the columns of a field. `path` is the envelope's, `prefix` the column's.
    fn field(
        &mut self,
        field: &Json,
        space: &str,
        path: &str,
        prefix: &str,
        nullable: bool,
        depth: usize,
    ) -> Result<(), String> {
        let (name, doc) = (text(field, "name"), text(field, "doc"));
        let ty = field.get("type").cloned().unwrap_or(Json::Null);
        let column = if prefix.is_empty() { name.clone() } else { format!("{prefix}_{name}") };
        let path = format!("{path}.{name}");
        if depth > 8 {
            return Err(format!("{path}: is nested too deeply"));
        }
        let (inner, optional) = without_null(&ty).ok_or_else(|| format!("{path}: is a union of several types"))?;
        let nullable = nullable || optional;
        if let Some((fields, inner_space)) = self.record(&inner, space) {
            // ClickHouse names the branch of a union in the path.
            let path = if optional { format!("{path}.{}", self.short_name(&inner, space)) } else { path };
            for field in &fields {
                self.field(field, &inner_space, &path, &column, nullable, depth + 1)?;
            }
            return Ok(());
        }
        let (definition, _) = self.resolve(&inner, space);
        let items = definition.get("items").cloned().unwrap_or(Json::Null);
        let is_array = definition.get("type").and_then(Json::as_str) == Some("array");
        if is_array && let Some((fields, inner_space)) = self.record(&items, space) {
            let mut tuple = Vec::new();
            for field in &fields {
                self.member(field, &inner_space, &path, &column, &mut tuple)?;
            }
            self.out.input.push((path, format!("Array(Tuple({}))", tuple.join(", "))));
            return Ok(());
        }
        let types = self.types(&inner, space, nullable, &name).map_err(|e| format!("{path}: {e}"))?;
        self.out.columns.push(Column { name: column, ty: types.stored, comment: doc, from: quote(&path) });
        self.out.input.push((path, types.input));
        Ok(())
    }

    /// Adds the column of a field of an array's records.
    fn member(
        &mut self,
        field: &Json,
        space: &str,
        path: &str,
        group: &str,
        tuple: &mut Vec<String>,
    ) -> Result<(), String> {
        let (name, doc) = (text(field, "name"), text(field, "doc"));
        let ty = field.get("type").cloned().unwrap_or(Json::Null);
        let (inner, nullable) =
            without_null(&ty).ok_or_else(|| format!("{path}[].{name}: is a union of several types"))?;
        if self.record(&inner, space).is_some() {
            return Err(format!("{path}[].{name}: a record inside an array's records has no column"));
        }
        let types = self.types(&inner, space, nullable, &name).map_err(|e| format!("{path}[].{name}: {e}"))?;
        tuple.push(format!("{} {}", quote(&name), types.input));
        self.out.columns.push(Column {
            name: format!("{group}.{name}"),
            ty: format!("Array({})", types.stored),
            comment: doc,
            from: format!("tupleElement({}, '{name}')", quote(path)),
        });
        Ok(())
    }

    fn short_name(&self, ty: &Json, space: &str) -> String {
        let (definition, _) = self.resolve(ty, space);
        let name = text(&definition, "name");
        name.rsplit('.').next().unwrap_or_default().to_owned()
    }

    fn types(&self, ty: &Json, space: &str, nullable: bool, field: &str) -> Result<Types, String> {
        let (ty, space) = self.resolve(ty, space);
        let kind = ty.as_str().or_else(|| ty.get("type").and_then(Json::as_str)).unwrap_or_default().to_owned();
        let logical = text(&ty, "logicalType");
        let (precision, scale) = (number(&ty, "precision"), number(&ty, "scale"));
        let plain = |name: &str| {
            if nullable { Types::both(format!("Nullable({name})")) } else { Types::both(name) }
        };
        let few = || {
            if nullable {
                Types { input: "Nullable(String)".into(), stored: "LowCardinality(Nullable(String))".into() }
            } else {
                Types { input: "String".into(), stored: "LowCardinality(String)".into() }
            }
        };
        Ok(match (kind.as_str(), logical.as_str()) {
            ("bytes" | "fixed", "decimal") => plain(&format!("Decimal({precision}, {scale})")),
            ("long", "timestamp-micros") => plain("DateTime64(6, 'UTC')"),
            ("long", "timestamp-millis") => plain("DateTime64(3, 'UTC')"),
            ("int", "date") => plain("Date32"),
            ("boolean", "") => plain("Bool"),
            ("int", "") => plain("Int32"),
            ("long", "") => plain("Int64"),
            ("float", "") => plain("Float32"),
            ("double", "") => plain("Float64"),
            ("enum", _) => few(),
            ("string", "") if FEW.contains(&field) => few(),
            ("string" | "bytes", "") => plain("String"),
            ("fixed", "") => plain(&format!("FixedString({})", number(&ty, "size"))),
            ("array", _) => {
                let items = ty.get("items").cloned().unwrap_or(Json::Null);
                let (inner, nullable) = without_null(&items).ok_or("items are a union of several types")?;
                let item = self.types(&inner, &space, nullable, field)?;
                Types { input: format!("Array({})", item.input), stored: format!("Array({})", item.stored) }
            }
            // Only inside an array's records, which are flattened themselves.
            ("record", _) => {
                let (fields, space) = self.record(&ty, &space).ok_or("is no record")?;
                let (mut input, mut stored) = (Vec::new(), Vec::new());
                for field in &fields {
                    let name = text(field, "name");
                    let ty = field.get("type").cloned().unwrap_or(Json::Null);
                    let (inner, nullable) = without_null(&ty).ok_or("is a union of several types")?;
                    let types = self.types(&inner, &space, nullable, &name)?;
                    input.push(format!("{name} {}", types.input));
                    stored.push(format!("{name} {}", types.stored));
                }
                Types { input: format!("Tuple({})", input.join(", ")), stored: format!("Tuple({})", stored.join(", ")) }
            }
            ("map", _) => {
                let values = ty.get("values").cloned().unwrap_or(Json::Null);
                let (inner, nullable) = without_null(&values).ok_or("values are a union of several types")?;
                let value = self.types(&inner, &space, nullable, field)?;
                Types {
                    input: format!("Map(String, {})", value.input),
                    stored: format!("Map(String, {})", value.stored),
                }
            }
            (kind, logical) => return Err(format!("{kind} {logical} has no column type")),
        })
    }
}

/// The type beside null, and whether there is a null; `None` for a union of more.
fn without_null(ty: &Json) -> Option<(Json, bool)> {
    let Json::Array(branches) = ty else { return Some((ty.clone(), false)) };
    let some: Vec<&Json> = branches.iter().filter(|b| b.as_str() != Some("null")).collect();
    match some.as_slice() {
        [one] => Some(((*one).clone(), branches.len() > 1)),
        [..] => None,
    }
}

/// An identifier in backticks.
pub(crate) fn quote(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// A text in single quotes.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ty<'a>(shape: &'a Shape, name: &str) -> &'a str {
        let found = shape.columns.iter().find(|c| c.name == name);
        found.unwrap_or_else(|| panic!("no column {name}")).ty.as_str()
    }

    #[test]
    fn every_event_has_columns() {
        let mut shaped = 0;
        for c in fillstream_schemas::catalog() {
            if ["execution", "coordination", "market", "engine"].contains(&c.context)
                && c.full_name != "fillstream.engine.JournalUnit"
            {
                match shape_of(c.schema) {
                    Ok(_) => shaped += 1,
                    // The journal is not an output.
                    Err(_) if c.full_name.contains("Journal") => {}
                    Err(e) => panic!("{}: {e}", c.full_name),
                }
            }
        }
        assert!(shaped > 20);
        shape_of(UNREADABLE_SCHEMA).unwrap();
    }

    #[test]
    fn an_order_event_is_pleasant() {
        let shape = shape_of(fillstream_schemas::contract("fillstream.execution.OrderEvent").unwrap().schema).unwrap();
        assert_eq!(ty(&shape, "timestamp"), "DateTime64(6, 'UTC')");
        assert_eq!(ty(&shape, "ord_qty"), "Decimal(28, 8)");
        assert_eq!(ty(&shape, "status"), "LowCardinality(String)");
        assert_eq!(ty(&shape, "is_terminal"), "Bool");
        assert_eq!(ty(&shape, "child_last_px"), "Nullable(Decimal(18, 8))");
        assert_eq!(ty(&shape, "child_ord_status"), "LowCardinality(Nullable(String))");
        assert_eq!(ty(&shape, "terms_venue_restrictions"), "Array(String)");
        assert_eq!(ty(&shape, "terms_quote_bid"), "Nullable(Decimal(18, 8))");
        let bid = shape.columns.iter().find(|c| c.name == "terms_quote_bid").unwrap();
        assert_eq!(bid.from, "`value.terms.OrderTerms.quote.bid`");
        assert_eq!(bid.comment, "Best bid.");
    }

    #[test]
    fn arrays_of_records_are_nested_groups() {
        let name = "fillstream.execution.ExecutionQuality";
        let shape = shape_of(fillstream_schemas::contract(name).unwrap().schema).unwrap();
        assert_eq!(ty(&shape, "shares.venue"), "Array(LowCardinality(String))");
        assert_eq!(ty(&shape, "shares.quantity"), "Array(Decimal(28, 8))");
        assert_eq!(ty(&shape, "costs_total_cost"), "Decimal(28, 8)");
        assert_eq!(ty(&shape, "recommendations"), "Array(String)");
    }

    #[test]
    fn names_that_meet_are_refused() {
        let schema = r#"{"type":"record","name":"A","fields":[{"name":"b_c","type":"int"},
            {"name":"b","type":{"type":"record","name":"B","fields":[{"name":"c","type":"int"}]}}]}"#;
        assert_eq!(shape_of(schema), Err("b_c: the column's name is taken".into()));
        let schema = r#"{"type":"record","name":"A","fields":[{"name":"_offset","type":"int"}]}"#;
        assert!(shape_of(schema).is_err());
    }
}
