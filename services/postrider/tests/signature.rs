//! `postrider sign` and `postrider verify` against the vectors of `libs/signing`, and their exit codes.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test: a panic is its way to fail"
)]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

fn postrider(args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_postrider"))
        .args(args)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments ends without reading.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn vectors() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../libs/signing/vectors.json");
    let text = std::fs::read_to_string(path).unwrap();
    let vectors: Value = serde_json::from_str(&text).unwrap();
    vectors["vectors"].as_array().unwrap().clone()
}

/// Secrets as flags, body, timestamp.
fn parts(vector: &Value) -> (Vec<String>, Vec<u8>, String) {
    let secrets = vector["secrets"].as_array().unwrap();
    let flags = secrets.iter().map(|secret| format!("--secret={}", secret.as_str().unwrap()));
    let body = STANDARD.decode(vector["body_base64"].as_str().unwrap()).unwrap();
    (flags.collect(), body, vector["timestamp"].to_string())
}

fn strs(owned: &[String]) -> Vec<&str> {
    owned.iter().map(String::as_str).collect()
}

#[test]
fn what_is_signed_is_byte_for_byte_what_the_vectors_say() {
    let symmetric = vectors().into_iter().filter(|vector| vector.get("private_key").is_none());
    let mut count = 0;
    for vector in symmetric {
        let (secrets, body, timestamp) = parts(&vector);
        let (id, scheme) = (vector["id"].as_str().unwrap(), vector["scheme"].as_str().unwrap());
        let mut args = strs(&secrets);
        args.extend(["--id", id, "--timestamp", &timestamp, "--scheme", scheme]);
        let args = [&["sign", "-o", "json", "--body", "-"], args.as_slice()].concat();
        let output = postrider(&args, &body);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {text}", vector["name"]);
        let signed: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(signed, vector["headers"], "{}", vector["name"]);
        count += 1;
    }
    assert!(count > 2, "{count} vectors");
}

#[test]
fn vectors_verify_and_any_change_is_refused() {
    for vector in vectors() {
        let (secrets, body, timestamp) = parts(&vector);
        let headers: Vec<_> = vector["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.as_str().unwrap()))
            .collect();
        let args =
            [&["verify", "--body", "-", "--at", &timestamp], &*strs(&secrets), &*strs(&headers)]
                .concat();
        let output = postrider(&args, &body);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{}: {text}", vector["name"]);
        let mut changed = body.clone();
        changed.push(b' ');
        let output = postrider(&args, &changed);
        assert_eq!(output.status.code(), Some(1), "{}", vector["name"]);
        assert!(String::from_utf8_lossy(&output.stderr).contains("no signature matches"));
    }
}

#[test]
fn a_secret_that_cannot_be_one_is_a_usage_error_and_is_not_repeated() {
    let output = postrider(&["sign", "--secret", "hush-hush", "--body", "x"], b"");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("whsec_") && !text.contains("hush-hush"), "{text}");
}

#[test]
fn without_a_server_the_error_says_how_to_start_one() {
    // Port 1 is reserved and nobody listens there.
    let output = postrider(&["--server", "http://127.0.0.1:1", "endpoint", "list"], b"");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("127.0.0.1:1") && text.contains("postrider dev"), "{text}");
    assert!(output.stdout.is_empty());
}
