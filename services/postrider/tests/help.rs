//! The help texts, as users read them: a change shows in the diff of `tests/help/`.
//!
//! `POSTRIDER_BLESS=1 cargo test -p postrider --test help` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test: a panic is its way to fail")]

use std::fs;
use std::path::Path;
use std::process::Command;

const COMMANDS: &[&str] = &[
    "",
    "dev",
    "serve",
    "demo",
    "migrate",
    "doctor",
    "config check",
    "endpoint",
    "endpoint create",
    "endpoint list",
    "endpoint update",
    "endpoint resume",
    "endpoint test",
    "endpoint rotate-secret",
    "subscription",
    "subscription create",
    "subscription update",
    "event",
    "event publish",
    "event list",
    "event resend",
    "event-type",
    "event-type create",
    "event-type update",
    "delivery",
    "delivery list",
    "attempt list",
    "dead-letter",
    "dead-letter list",
    "dead-letter redrive",
    "dead-letter purge",
    "replay",
    "job",
    "listen",
    "verify",
    "sign",
    "completions",
];

fn help(command: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_postrider"))
        .args(command.split(' ').filter(|part| !part.is_empty()))
        .arg("--help")
        .env_clear()
        .env("COLUMNS", "100")
        .output()
        .unwrap();
    assert!(output.status.success(), "{command} --help: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_texts_are_as_they_were() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help");
    let bless = std::env::var_os("POSTRIDER_BLESS").is_some();
    for command in COMMANDS {
        let name = if command.is_empty() { "postrider" } else { command };
        let path = dir.join(format!("{}.txt", name.replace(' ', "-")));
        let now = help(command);
        if bless {
            fs::write(&path, now).unwrap();
            continue;
        }
        let before = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            now, before,
            "`postrider {command} --help` changed; POSTRIDER_BLESS=1 writes it anew"
        );
    }
}

#[test]
fn help_never_shows_a_key_from_the_environment() {
    let output = Command::new(env!("CARGO_BIN_EXE_postrider"))
        .args(["endpoint", "list", "--help"])
        .env("POSTRIDER_API_KEY", "hush-hush")
        .output()
        .unwrap();
    assert!(!String::from_utf8_lossy(&output.stdout).contains("hush-hush"));
}
