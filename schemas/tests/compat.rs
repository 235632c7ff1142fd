//! Each incompatible change is found, in its direction, at its path.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests, outside test functions")]

use std::fs;

use fillstream_schemas::compat::{Direction, check, compare, release, released_versions};
use fillstream_schemas::{catalog, contract};
use serde_json::{Value as Json, json};

const BACK: Direction = Direction::Backward;
const FORTH: Direction = Direction::Forward;

fn base() -> Json {
    json!({"type": "record", "name": "Order", "namespace": "shop", "doc": "x", "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 8}},
        {"name": "count", "type": "int"},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
        {"name": "other", "type": {"type": "enum", "name": "Other", "symbols": ["A", "B", "NONE"], "default": "NONE"}},
        {"name": "note", "type": ["null", "string"], "default": null},
        {"name": "fills", "type": {"type": "array", "items": {"type": "record", "name": "Fill", "fields": [
            {"name": "px", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 8}], "default": null},
            {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 16}},
        ]}}},
        {"name": "by_key", "type": {"type": "map", "values": "Fill"}},
    ]})
}

/// The breaks after a change: direction, path, reason.
fn breaks(change: impl Fn(&mut Json)) -> Vec<(Direction, String, String)> {
    let mut current = base();
    change(&mut current);
    let breaks = compare("shop.Order", &current.to_string(), 1, &base().to_string()).unwrap();
    breaks.into_iter().map(|found| (found.direction, found.path, found.reason)).collect()
}

fn assert_breaks(change: impl Fn(&mut Json), expected: &[(Direction, &str, &str)]) {
    let found = breaks(change);
    let found: Vec<_> =
        found.iter().map(|(direction, path, reason)| (*direction, path.as_str(), reason.as_str())).collect();
    assert_eq!(found, expected);
}

fn insert(schema: &mut Json, at: usize, field: Json) {
    schema["fields"].as_array_mut().unwrap().insert(at, field);
}

#[test]
fn what_is_compatible() {
    let none: &[(Direction, &str, &str)] = &[];
    assert_breaks(|_| {}, none);
    assert_breaks(|schema| schema["doc"] = json!("other words"), none);
    assert_breaks(|schema| insert(schema, 0, json!({"name": "extra", "type": "long", "default": 0})), none);
    assert_breaks(
        |schema| insert(schema, 9, json!({"name": "extra", "type": ["null", "string"], "default": null})),
        none,
    );
    assert_breaks(|schema| drop(schema["fields"].as_array_mut().unwrap().remove(6)), none);
    assert_breaks(|schema| schema["fields"].as_array_mut().unwrap().swap(0, 3), none);
    assert_breaks(|schema| schema["fields"][5]["type"]["symbols"] = json!(["A", "C", "B", "NONE"]), none);
    // A named type's first use moves: the same records all the same.
    assert_breaks(
        |schema| {
            let kind = schema["fields"][4]["type"].take();
            schema["fields"][4]["type"] = json!("Kind");
            insert(schema, 0, json!({"name": "first", "type": ["null", kind], "default": null}));
        },
        none,
    );
}

#[test]
fn fields_without_defaults() {
    let lacks = "the writer lacks the field, and the reader has no default for it";
    assert_breaks(|schema| insert(schema, 0, json!({"name": "extra", "type": "long"})), &[(BACK, "$.extra", lacks)]);
    assert_breaks(|schema| drop(schema["fields"].as_array_mut().unwrap().remove(0)), &[(FORTH, "$.id", lacks)]);
    assert_breaks(
        |schema| schema["fields"][0] = json!({"name": "order_id", "aliases": ["id"], "type": "string"}),
        &[(FORTH, "$.id", lacks)],
    );
    assert_breaks(
        |schema| drop(schema["fields"][7]["type"]["items"]["fields"].as_array_mut().unwrap().remove(1)),
        &[(FORTH, "$.fills[].hash", lacks), (FORTH, "$.by_key{}.hash", lacks)],
    );
}

#[test]
fn logical_types() {
    assert_breaks(
        |schema| schema["fields"][1]["type"]["logicalType"] = json!("timestamp-millis"),
        &[
            (BACK, "$.at", "timestamp-micros is read as timestamp-millis"),
            (FORTH, "$.at", "timestamp-millis is read as timestamp-micros"),
        ],
    );
    assert_breaks(
        |schema| schema["fields"][1]["type"] = json!("long"),
        &[
            (BACK, "$.at", "timestamp-micros is read as no logical type"),
            (FORTH, "$.at", "no logical type is read as timestamp-micros"),
        ],
    );
    assert_breaks(
        |schema| schema["fields"][0]["type"] = json!({"type": "string", "logicalType": "uuid"}),
        &[(BACK, "$.id", "no logical type is read as uuid"), (FORTH, "$.id", "uuid is read as no logical type")],
    );
}

#[test]
fn decimals() {
    assert_breaks(
        |schema| schema["fields"][2]["type"]["scale"] = json!(4),
        &[(BACK, "$.price", "scale 8 is read as 4"), (FORTH, "$.price", "scale 4 is read as 8")],
    );
    assert_breaks(
        |schema| schema["fields"][2]["type"]["precision"] = json!(28),
        &[(BACK, "$.price", "precision 18 is read as 28"), (FORTH, "$.price", "precision 28 is read as 18")],
    );
    assert_breaks(
        |schema| schema["fields"][2]["type"] = json!("bytes"),
        &[(BACK, "$.price", "decimal(18, 8) is read as bytes"), (FORTH, "$.price", "bytes is read as decimal(18, 8)")],
    );
    // Inside a union, an array, a record; seen once more through the map that uses the record.
    assert_breaks(
        |schema| schema["fields"][7]["type"]["items"]["fields"][0]["type"][1]["scale"] = json!(4),
        &[
            (BACK, "$.fills[].px", "scale 8 is read as 4"),
            (BACK, "$.by_key{}.px", "scale 8 is read as 4"),
            (FORTH, "$.fills[].px", "scale 4 is read as 8"),
            (FORTH, "$.by_key{}.px", "scale 4 is read as 8"),
        ],
    );
}

#[test]
fn types() {
    assert_breaks(|schema| schema["fields"][3]["type"] = json!("long"), &[(FORTH, "$.count", "long is read as int")]);
    assert_breaks(
        |schema| schema["fields"][0]["type"] = json!("bytes"),
        &[(BACK, "$.id", "string is read as bytes"), (FORTH, "$.id", "bytes is read as string")],
    );
    assert_breaks(
        |schema| schema["fields"][3]["type"] = json!(["null", "int"]),
        &[(FORTH, "$.count", "null is read as int")],
    );
    assert_breaks(
        |schema| schema["fields"][6]["type"] = json!(["null", "long"]),
        &[
            (BACK, "$.note", "the reader has no branch for string"),
            (FORTH, "$.note", "the reader has no branch for long"),
        ],
    );
    assert_breaks(
        |schema| schema["fields"][7]["type"]["items"]["fields"][1]["type"]["size"] = json!(32),
        &[
            (BACK, "$.fills[].hash", "16 bytes are read as 32"),
            (BACK, "$.by_key{}.hash", "16 bytes are read as 32"),
            (FORTH, "$.fills[].hash", "32 bytes are read as 16"),
            (FORTH, "$.by_key{}.hash", "32 bytes are read as 16"),
        ],
    );
}

#[test]
fn symbols() {
    assert_breaks(
        |schema| schema["fields"][4]["type"]["symbols"] = json!(["A", "B", "C"]),
        &[(FORTH, "$.kind", "the reader lacks the symbol C and has no default symbol")],
    );
    assert_breaks(
        |schema| schema["fields"][4]["type"]["symbols"] = json!(["A"]),
        &[(BACK, "$.kind", "the reader lacks the symbol B and has no default symbol")],
    );
}

#[test]
fn names() {
    assert_breaks(
        |schema| schema["name"] = json!("Purchase"),
        &[(BACK, "$", "shop.Order is read as shop.Purchase"), (FORTH, "$", "shop.Purchase is read as shop.Order")],
    );
    let moved = breaks(|schema| schema["fields"][4]["type"]["namespace"] = json!("elsewhere"));
    assert_eq!(
        moved,
        [
            (BACK, "$.kind".to_owned(), "shop.Kind is read as elsewhere.Kind".to_owned()),
            (FORTH, "$.kind".to_owned(), "elsewhere.Kind is read as shop.Kind".to_owned()),
        ]
    );
}

#[test]
fn releases_are_written_once_and_checked_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let released = dir.path().join("released");
    let contract = contract("fillstream.engine.InputRun").unwrap();

    let report = check(&released).unwrap();
    assert_eq!((report.compared, report.breaks.len(), report.notes.len()), (0, 0, catalog().len()));

    assert_eq!(release(&released, contract).unwrap(), Some(1));
    assert_eq!(release(&released, contract).unwrap(), None);
    let report = check(&released).unwrap();
    assert_eq!((report.compared, report.breaks.len(), report.notes.len()), (1, 0, catalog().len() - 1));

    // A version between, with a field that the contract lacks and nobody has a default for.
    let folder = released.join(contract.full_name);
    let mut other: Json = serde_json::from_str(contract.schema).unwrap();
    insert(&mut other, 0, json!({"name": "gone", "type": "string"}));
    fs::write(folder.join("v2.avsc"), other.to_string()).unwrap();
    assert_eq!(release(&released, contract).unwrap(), Some(3));
    let versions = released_versions(&released, contract.full_name).unwrap();
    assert_eq!(versions.iter().map(|version| version.version).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(versions[0], fillstream_schemas::compat::Released { version: 1, ..versions[2].clone() });
    let report = check(&released).unwrap();
    assert_eq!(report.compared, 3);
    assert_eq!(
        report.breaks.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "fillstream.engine.InputRun against v2: $.gone: the writer lacks the field, and the reader has no default for it \
          (its readers cannot read the new records)"
        ]
    );

    // The latest differs from the contract: said, and no break by itself.
    fs::write(folder.join("v2.avsc"), contract.schema).unwrap();
    other["fields"][0]["default"] = json!("");
    fs::write(folder.join("v4.avsc"), other.to_string()).unwrap();
    let report = check(&released).unwrap();
    assert_eq!(report.breaks, []);
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.full_name == contract.full_name && note.text == "differs from v4 and is not released")
    );

    // A removed contract, a missing version, a stray file.
    fs::create_dir(released.join("fillstream.gone.Away")).unwrap();
    fs::write(released.join("fillstream.gone.Away/v1.avsc"), contract.schema).unwrap();
    let report = check(&released).unwrap();
    assert_eq!(report.breaks.len(), 1);
    assert_eq!(report.breaks[0].reason, "the contract was removed or renamed");
    fs::remove_file(folder.join("v2.avsc")).unwrap();
    assert!(check(&released).unwrap_err().to_string().ends_with("v2.avsc is missing"));
    fs::write(folder.join("draft.avsc"), contract.schema).unwrap();
    assert!(check(&released).unwrap_err().to_string().ends_with("a released version is named v<n>.avsc"));
}
