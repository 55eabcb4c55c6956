//! The binary on a keyspace: what it refuses at the start, and what `doctor` finds.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::keyspace::{self, new_settings};

/// Runs the binary on a keyspace to its end: its exit code and what it said.
fn run(command: &str, data_dir: &Path, settings: &store_scylla::Settings) -> (Option<i32>, String) {
    let listen: &[&str] = if command == "serve" { &["--listen", "127.0.0.1:0"] } else { &[] };
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_postrider"))
        .arg(command)
        .args(listen)
        .arg("--data-dir")
        .arg(data_dir)
        .env_clear()
        .env("NO_COLOR", "1")
        .env("POSTRIDER_STORE", "scylla")
        .env("POSTRIDER_SCYLLA__NODES", settings.nodes.join(","))
        .env("POSTRIDER_SCYLLA__KEYSPACE", &settings.keyspace)
        .env("POSTRIDER_SCYLLA__REPLICATION_FACTOR", "1")
        .env("POSTRIDER_SCYLLA__ALLOW_FEW_REPLICAS", "true")
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout) + &text(stderr))
}

#[test]
fn a_start_does_not_wait_for_what_waiting_does_not_mend() {
    let Some(node) = keyspace::node() else { return };
    let dir = TempDir::new().expect("a directory");
    let settings = new_settings(&node);
    let (code, said) = run("serve", dir.path(), &settings);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("there is no keyspace") && !said.contains("waits"), "{said}");
}
