//! Each rule that a contract can break is reported with the file and the place.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests, outside test functions")]

use std::fs;
use std::path::Path;

use fillstream_codegen::generate;
use serde_json::{Value as Json, json};

/// Generates from files under a folder of contracts; the code, or the error with paths relative to the folder.
fn generated(files: &[(&str, Json)]) -> Result<String, String> {
    let texts: Vec<_> = files.iter().map(|(path, json)| (*path, json.to_string())).collect();
    let texts: Vec<_> = texts.iter().map(|(path, text)| (*path, text.as_str())).collect();
    generated_from(&texts)
}

fn generated_from(files: &[(&str, &str)]) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let contracts = dir.path().join("avro");
    for (path, text) in files {
        let path = contracts.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let out = dir.path().join("out.rs");
    let relative = |text: String| text.replace(&format!("{}/", contracts.display()), "");
    generate(&contracts, None, "test", &out).map_err(|error| relative(error.to_string()))?;
    Ok(fs::read_to_string(out).unwrap())
}

fn order(fields: Json) -> Json {
    json!({"type": "record", "name": "Order", "namespace": "test.shop", "doc": "An order.", "fields": fields})
}

/// The error of an order with one field `f` of these properties, without the file and the field's place.
fn field_error(properties: Json) -> String {
    let mut field = json!({"name": "f", "doc": "A field."});
    for (key, value) in properties.as_object().unwrap() {
        field[key] = value.clone();
    }
    let error = generated(&[("shop/Order.avsc", order(json!([field])))]).unwrap_err();
    error.strip_prefix("shop/Order.avsc: $.fields[0](f)").unwrap_or(&error).to_owned()
}

#[test]
fn a_field_s_type() {
    for (ty, expected) in [
        (json!("float"), ".type: `float` is not supported: use double for statistics, decimal for money"),
        (json!("null"), ".type: `null` is only supported as a branch of a union"),
        (json!("Side"), ".type: unknown type `Side`: name a type of another file by its full name"),
        (json!(["string", "long"]), ".type: only unions of null and one other type are supported"),
        (json!(["null", "string", "long"]), ".type: only unions of null and one other type are supported"),
        (json!(["null", "null"]), ".type[1]: `null` is only supported as a branch of a union"),
        (json!(["null", ["null", "string"]]), ".type: only unions of null and one other type are supported"),
        (json!({"type": "array"}), ".type.items: missing"),
        (
            json!({"type": "array", "items": "float"}),
            ".type.items: `float` is not supported: use double for statistics, decimal for money",
        ),
        (
            json!({"type": "map", "values": ["string"]}),
            ".type.values: only unions of null and one other type are supported",
        ),
        (
            json!({"type": "record", "name": "Inner", "fields": []}),
            ".type: a record has a file of its own: name it here",
        ),
        (
            json!({"type": "long", "logicalType": "timestamp-millis"}),
            ".type: logicalType `timestamp-millis` on `long` is not supported",
        ),
        (
            json!({"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 8}),
            ".type.rust: a decimal needs the type of fillstream_domain",
        ),
        (
            json!({"type": "bytes", "logicalType": "decimal", "precision": 29, "scale": 8, "rust": "Price"}),
            ".type.precision: a decimal needs it, a number up to 28",
        ),
        (
            json!({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 8, "rust": "Price"}),
            ".type.scale: a decimal needs it, a number up to 4",
        ),
        (
            json!({"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 8, "rust": "price"}),
            ".type.rust: must be the CamelCase name of a type of fillstream_domain",
        ),
        (json!({"type": "string", "logicaltype": "uuid"}), ".type.logicaltype: unknown property; known here: type"),
    ] {
        assert_eq!(field_error(json!({"type": ty})), expected, "{ty}");
    }
}

#[test]
fn a_field_s_other_properties() {
    assert_eq!(field_error(json!({})), ".type: missing");
    assert_eq!(field_error(json!({"type": "long", "doc": " "})), ".doc: missing: say what it means, and in which unit");
    assert_eq!(
        field_error(json!({"type": "long", "defualt": 1})),
        ".defualt: unknown property; known here: name, type, doc, aliases, default"
    );
    let twice = json!({"name": "f", "doc": "A field.", "type": "long"});
    let error = generated(&[("shop/Order.avsc", order(json!([twice, twice])))]).unwrap_err();
    assert_eq!(error, "shop/Order.avsc: $.fields[1](f): the name repeats an earlier field's");
    let camel = json!({"name": "orderId", "doc": "A field.", "type": "long"});
    let error = generated(&[("shop/Order.avsc", order(json!([camel])))]).unwrap_err();
    assert_eq!(error, "shop/Order.avsc: $.fields[0](orderId): the name must be snake_case");
}

#[test]
fn a_field_s_default() {
    let decimal = json!({"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 0, "rust": "Price"});
    for (ty, default) in [
        (json!("boolean"), json!(0)),
        (json!("int"), json!(2_147_483_648_i64)),
        (json!("long"), json!(1.5)),
        (json!("double"), json!("1")),
        (json!("string"), json!(null)),
        (json!("bytes"), json!("\u{100}")),
        (decimal.clone(), json!("")),
        (decimal, json!("\u{64}")), // 100 has three digits
        (json!(["null", "string"]), json!("x")),
        (json!(["string", "null"]), json!(null)),
        (json!({"type": "array", "items": "long"}), json!([1])),
        (json!({"type": "map", "values": "long"}), json!([])),
    ] {
        let error = field_error(json!({"type": ty, "default": default}));
        assert!(error.starts_with(&format!(".default: {default} is no default of this type, which needs ")), "{error}");
    }
    let colour =
        json!({"type": "enum", "name": "Colour", "namespace": "test.shop", "doc": "A colour.", "symbols": ["RED"]});
    let field = json!({"name": "f", "doc": "A field.", "type": "test.shop.Colour", "default": "BLUE"});
    let error = generated(&[("shop/Colour.avsc", colour), ("shop/Order.avsc", order(json!([field])))]).unwrap_err();
    assert_eq!(
        error,
        "shop/Order.avsc: $.fields[0](f).default: \"BLUE\" is no default of this type, which needs one of the enum's symbols"
    );
}

#[test]
fn a_file() {
    let enumeration = |symbols: Json| json!({"type": "enum", "name": "Colour", "namespace": "test.shop", "doc": "A colour.", "symbols": symbols});
    let named = |name: &str, namespace: &str| json!({"type": "record", "name": name, "namespace": namespace, "doc": "x", "fields": []});
    for (path, json, expected) in [
        ("shop/Order.avsc", named("Other", "test.shop"), "$.name: must be the file's name, `Order`"),
        ("shop/Order.avsc", named("Order", "shop"), "$.namespace: must be `test.shop`, the folder's"),
        ("shop/order.avsc", named("order", "test.shop"), "$.name: must be CamelCase"),
        (
            "type/Order.avsc",
            named("Order", "test.type"),
            "$: the folder `type` must be a snake_case word that Rust does not reserve",
        ),
        (
            "shop/Order.avsc",
            json!({"type": "record", "name": "Order", "namespace": "test.shop", "fields": []}),
            "$.doc: missing: say what it means, and in which unit",
        ),
        ("shop/Order.avsc", json!([]), "$: must be an object"),
        (
            "shop/Order.avsc",
            json!({"type": "array", "name": "Order", "namespace": "test.shop", "doc": "x"}),
            "$.type: `array`: a file defines a record, an enum or a fixed",
        ),
        ("shop/Colour.avsc", enumeration(json!([])), "$.symbols: needs at least one symbol"),
        ("shop/Colour.avsc", enumeration(json!(["Red"])), "$.symbols[0]: `Red` must be UPPER_SNAKE_CASE"),
        (
            "shop/Colour.avsc",
            enumeration(json!(["RED", "RED"])),
            "$.symbols[1]: `RED` repeats an earlier symbol or its Rust name",
        ),
        (
            "shop/Hash.avsc",
            json!({"type": "fixed", "name": "Hash", "namespace": "test.shop", "doc": "x", "size": 0}),
            "$.size: must be a number from 1 to 32",
        ),
    ] {
        assert_eq!(generated(&[(path, json)]).unwrap_err(), format!("{path}: {expected}"));
    }
    let error = generated_from(&[("shop/Order.avsc", "{\n \"type\":")]).unwrap_err();
    assert_eq!(error, "shop/Order.avsc: not valid JSON: EOF while parsing a value at line 2 column 8");
}

#[test]
fn a_record_within_itself() {
    let field = |ty: Json| json!([{"name": "f", "doc": "A field.", "type": ty}]);
    let fill = |fields: Json| json!({"type": "record", "name": "Fill", "namespace": "test.shop", "doc": "A fill.", "fields": fields});
    let error = generated(&[
        ("shop/Order.avsc", order(field(json!({"type": "array", "items": "test.shop.Fill"})))),
        ("shop/Fill.avsc", fill(field(json!(["null", "test.shop.Order"])))),
    ])
    .unwrap_err();
    assert!(error.ends_with("contains itself: recursive records are not supported"), "{error}");
}

#[test]
fn a_missing_folder_is_named() {
    let error = generate(Path::new("no/such/folder"), None, "test", Path::new("out.rs")).unwrap_err();
    assert!(error.to_string().starts_with("no/such/folder: "), "{error}");
}

#[test]
fn a_named_type_is_spelled_out_once() {
    let hash = json!({"type": "fixed", "name": "Hash", "namespace": "test.types", "doc": "A hash.", "size": 4});
    let field = |name: &str| json!({"name": name, "doc": "A [field] of 5 <b>.", "type": "test.types.Hash"});
    let code =
        generated(&[("types/Hash.avsc", hash), ("shop/Order.avsc", order(json!([field("a"), field("b")])))]).unwrap();
    assert_eq!(code.matches("\\\"type\\\":\\\"fixed\\\"").count(), 1, "{code}");
    assert_eq!(code.matches("\\\"type\\\":\\\"test.types.Hash\\\"").count(), 1, "{code}");
    assert!(code.contains("/// A \\[field\\] of 5 \\<b\\>."), "{code}");
}
