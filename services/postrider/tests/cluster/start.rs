//! The binary on a keyspace: what it refuses at the start, and what `doctor` finds.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::keyspace::{self, new_settings};

/// Runs the binary on a keyspace to its end: its exit code and what it said.
fn run(name: &str, data_dir: &Path, settings: &store_scylla::Settings) -> (Option<i32>, String) {
    let output = command(name, data_dir, settings).output().expect("it runs");
    let Output { status, stdout, stderr } = output;
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout) + &text(stderr))
}

/// Starts a server, and kills it once it is ready.
fn start_once(data_dir: &Path, settings: &store_scylla::Settings) {
    let mut server = command("serve", data_dir, settings)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    let said = server.stdout.take().expect("its output");
    BufReader::new(said).read_line(&mut line).expect("a line");
    server.kill().expect("it runs");
    server.wait().expect("it ends");
    assert!(line.contains("postrider ready"), "{line}");
}

fn command(name: &str, data_dir: &Path, settings: &store_scylla::Settings) -> Command {
    let listen: &[&str] = if name == "serve" { &["--listen", "127.0.0.1:0"] } else { &[] };
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command
        .arg(name)
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
        .stdin(Stdio::null());
    command
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

#[test]
fn doctor_says_whose_keyspace_it_is_and_claims_nothing() {
    let Some(node) = keyspace::node() else { return };
    let (ours, theirs) =
        (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
    let settings = new_settings(&node);
    for dir in [&ours, &theirs] {
        let (code, said) = run("migrate", dir.path(), &settings);
        assert_eq!(code, Some(0), "{said}");
        let (code, said) = run("doctor", dir.path(), &settings);
        assert_eq!(code, Some(0), "nobody's yet, also after the other's look: {said}");
        assert!(said.contains("ok   keyspace"), "{said}");
    }
    start_once(ours.path(), &settings);
    let (code, said) = run("doctor", ours.path(), &settings);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run("doctor", theirs.path(), &settings);
    assert_eq!(code, Some(1), "{said}");
    let line = said.lines().find(|line| line.starts_with("FAIL keyspace")).expect("one line");
    assert!(line.contains("belongs to event log"), "{line}");
}
