use serde_json::json;

use super::*;

fn compiled(schema: &Value) -> Schema {
    Schema::compile(&schema.to_string()).expect("a schema")
}

fn refused(schema: &Value) -> String {
    Schema::compile(&schema.to_string()).expect_err("refused")
}

#[test]
fn data_conforms_or_the_fault_names_both_places_and_no_value() {
    let schema = compiled(&json!({
        "type": "object",
        "required": ["amount"],
        "properties": { "amount": { "$ref": "#/$defs/money" }, "at": { "format": "date-time" } },
        "additionalProperties": false,
        "$defs": { "money": { "type": "integer", "minimum": 1 } },
    }));
    assert_eq!(schema.check(br#"{"amount":3,"at":"2026-01-01T00:00:00Z"}"#), Ok(()));
    let fault = schema.check(br#"{"amount":"hush"}"#).expect_err("no integer");
    assert!(fault.contains("at /amount, by /"), "{fault}");
    assert!(fault.contains("integer") && !fault.contains("hush"), "{fault}");
    let fault = schema.check(br#"{"amount":3,"at":"today"}"#).expect_err("no time");
    assert!(fault.contains("date-time") && !fault.contains("today"), "{fault}");
    let fault = schema.check(b"7").expect_err("no object");
    assert!(fault.contains("at the top"), "{fault}");
    let names = format!("{{\"amount\":3,\"{}\":1}}", "x".repeat(5_000));
    let fault = schema.check(names.as_bytes()).expect_err("an unknown property");
    assert!(fault.chars().count() < 3 * limits::QUOTE_CHARS_MAX + 100, "{fault}");
}

#[test]
fn data_that_no_value_holds_is_a_fault() {
    let any = Schema::compile("true").expect("a schema");
    assert_eq!(any.check(b"[1]"), Ok(()));
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    for data in ["{", "1e400", &deep] {
        assert!(any.check(data.as_bytes()).is_err(), "{}", cut(data));
    }
    assert!(Schema::compile("false").expect("a schema").check(b"1").is_err());
}

#[test]
fn every_draft_is_known_by_its_name_and_no_other() {
    for draft in [
        "https://json-schema.org/draft/2020-12/schema",
        "https://json-schema.org/draft/2019-09/schema",
        "http://json-schema.org/draft-07/schema#",
        "http://json-schema.org/draft-06/schema#",
        "http://json-schema.org/draft-04/schema#",
    ] {
        let schema = compiled(&json!({ "$schema": draft, "type": "integer" }));
        assert!(schema.check(b"1").is_ok() && schema.check(b"true").is_err(), "{draft}");
    }
    for draft in [json!("https://example.com/schema"), json!(7), json!("")] {
        let fault = refused(&json!({ "$schema": draft }));
        assert!(fault.contains("2020-12"), "{fault}");
    }
}

#[test]
fn what_is_no_schema_is_refused_with_its_place() {
    for (text, words) in [
        ("", "not one JSON value"),
        ("{", "not one JSON value"),
        ("[]", "an object, true or false"),
        ("null", "an object, true or false"),
        (r#"{"type":"integr"}"#, "at /type"),
        (r#"{"properties":{"a":{"minimum":"1"}}}"#, "at /properties/a/minimum"),
        (r#"{"properties":{"a":7}}"#, "at /properties/a"),
    ] {
        let fault = Schema::compile(text).expect_err(text);
        assert!(fault.contains(words), "{text}: {fault}");
    }
    let long = format!("\"{}\"", "x".repeat(limits::SCHEMA_BYTES_MAX));
    assert!(Schema::compile(&long).expect_err("too long").contains("65538 bytes"));
}

#[test]
fn references_stay_within_the_schema_and_end() {
    for (reference, words) in [
        ("https://example.com/money.json", "nothing is fetched"),
        ("money.json#/a", "nothing is fetched"),
        ("file:///etc/passwd", "nothing is fetched"),
        ("#money", "nothing is fetched"),
        ("#/$defs/none", "is not there"),
        ("#", "leads back to itself"),
    ] {
        let fault = refused(&json!({ "properties": { "a": { "$ref": reference } } }));
        assert!(fault.contains(words), "{reference}: {fault}");
    }
    let fault = refused(&json!({
        "$ref": "#/$defs/a",
        "$defs": { "a": { "anyOf": [{ "$ref": "#/$defs/b" }] }, "b": { "$ref": "#/$defs/a" } },
    }));
    assert!(fault.contains("leads back to itself"), "{fault}");
    assert!(refused(&json!({ "$dynamicRef": "#a" })).contains("use $ref"));
    let nested = json!({ "properties": { "a": { "$id": "https://example.com/a" } } });
    assert!(refused(&nested).contains("at /properties/a/$id"));
    let named = json!({
        "$id": "https://example.com/a",
        "properties": { "$id": { "$ref": "#/%24defs/a~1b" }, "$ref": { "type": "string" } },
        "$defs": { "a/b": { "type": "integer" } },
    });
    let schema = compiled(&named);
    assert!(schema.check(br#"{"$id":1,"$ref":"x"}"#).is_ok());
    assert!(schema.check(br#"{"$id":"x"}"#).is_err());
}

#[test]
fn what_would_cost_too_much_is_refused() {
    // Each level refers to the next one twice: 2^30 nodes.
    let mut defs = serde_json::Map::new();
    for n in 0..30 {
        let next = json!({ "$ref": format!("#/$defs/d{}", n + 1) });
        defs.insert(format!("d{n}"), json!({ "allOf": [next, next] }));
    }
    defs.insert("d30".to_owned(), json!(true));
    let fault = refused(&json!({ "$defs": defs }));
    assert!(fault.contains("more than"), "{fault}");

    let mut deep = json!({});
    for _ in 0..70 {
        deep = json!({ "items": deep });
    }
    let fault = Schema::compile(&deep.to_string()).expect_err("too deep");
    assert!(fault.contains("64 levels deep"), "{fault}");

    let values: Vec<usize> = (0..limits::SCHEMA_NODES_MAX).collect();
    assert!(refused(&json!({ "enum": values })).contains("2000"));
    let patterns: Vec<Value> = (0..65).map(|n| json!({ "pattern": format!("a{n}") })).collect();
    assert!(refused(&json!({ "anyOf": patterns })).contains("64 patterns"));
    let nested: Vec<Value> = (0..9).map(|_| json!({ "unevaluatedItems": false })).collect();
    assert!(refused(&json!({ "anyOf": nested })).contains("unevaluated"));
}

#[test]
fn patterns_are_bounded_and_linear() {
    for pattern in ["(", "(a{1000}){1000}", "(?=a)b", r"(a)\1"] {
        let fault = refused(&json!({ "pattern": pattern }));
        assert!(fault.contains("at /pattern"), "{pattern}: {fault}");
        refused(&json!({ "patternProperties": { pattern: {} } }));
    }
    // What takes a back-tracking engine a time exponential in the length.
    let schema = compiled(&json!({ "pattern": "^(a+)+$" }));
    let data = format!("\"{}!\"", "a".repeat(100_000));
    assert!(schema.check(data.as_bytes()).is_err());
    let mail = compiled(&json!({ "pattern": r"^[\w.+-]+@[\w-]+\.[\w.]+$" }));
    assert!(mail.check(br#""someone@example.com""#).is_ok());
    assert_eq!(mail.cost(), 16 * mail_text().len() + 2 * limits::SCHEMA_PATTERN_BYTES_MAX);
}

fn mail_text() -> String {
    json!({ "pattern": r"^[\w.+-]+@[\w-]+\.[\w.]+$" }).to_string()
}
