//! `postrider serve` and what checks a deployment, as an operator meets them.

#![expect(clippy::unwrap_used, reason = "a test: a panic is its way to fail")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.args(args).env_clear().env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// A server that is killed with its owner.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(data_dir: &Path) -> Self {
        let mut child = command(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
            data_dir.to_str().unwrap(),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.strip_prefix("postrider ready on ").unwrap().trim().to_owned();
        Self { child, url }
    }

    fn terminate(&mut self) -> Option<i32> {
        terminate(&mut self.child)
    }
}

fn terminate(child: &mut Child) -> Option<i32> {
    let kill = format!("kill -TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    child.wait().unwrap().code()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn serve_asks_for_its_token_and_sigterm_ends_it_well() {
    let dir = TempDir::new().unwrap();
    let data_dir = dir.path().join("data");
    let mut server = Server::start(&data_dir);
    let list = ["endpoint", "list", "--server", &server.url];

    let (code, _, refused) = run(&list);
    assert_eq!(code, Some(1));
    assert!(refused.contains("--api-key"), "{refused}");

    let token = fs::read_to_string(data_dir.join("token")).unwrap();
    let with_token = [&list[..], &["--api-key", token.trim()]].concat();
    let (code, _, error) = run(&with_token);
    assert_eq!(code, Some(0), "{error}");

    // Production: no loopback, no http.
    let create = ["endpoint", "create", "http://127.0.0.1:1/", "--server", &server.url];
    let (code, _, error) = run(&[&create[..], &["--api-key", token.trim()]].concat());
    assert_eq!(code, Some(1));
    assert!(error.contains("https"), "{error}");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_directory_in_use_or_without_its_keys_is_refused_with_what_to_do() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::start(dir.path());
    let data_dir = dir.path().to_str().unwrap();
    let again = ["serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir];
    let (code, _, error) = run(&again);
    assert_eq!(code, Some(1));
    assert!(error.contains("in use"), "{error}");
    assert_eq!(server.terminate(), Some(0));

    fs::remove_file(dir.path().join("keys")).unwrap();
    let (code, _, error) = run(&again);
    assert_eq!(code, Some(1));
    assert!(error.contains("--key-file"), "{error}");
    assert!(!dir.path().join("keys").exists(), "keys are never made anew for old data");
    let (code, found, _) = run(&["doctor", "--data-dir", data_dir]);
    assert_eq!(code, Some(1));
    assert!(found.contains("FAIL keys"), "{found}");
}

#[test]
fn a_start_waits_for_its_store_says_so_once_and_sigterm_ends_it_well() {
    let dir = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    drop(taken);
    let mut child = command(&["serve", "--listen", &listen.to_string(), "--log-filter", "debug"])
        .args(["--data-dir", dir.path().to_str().unwrap()])
        .env("POSTRIDER_STORE", "scylla")
        .env("POSTRIDER_SCYLLA__NODES", "127.0.0.1:1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.by_ref().find(|line| line.contains("\"WARN\"")).unwrap();
    assert!(first.contains("waits for the store") && first.contains("scylla.nodes"), "{first}");
    for _ in 0..2 {
        let next = lines.by_ref().find(|line| line.contains("waits for the store")).unwrap();
        assert!(next.contains("\"DEBUG\""), "one warning: {next}");
    }
    let connected = std::net::TcpStream::connect(listen);
    assert!(connected.is_err(), "a process that waits is not up");
    assert_eq!(terminate(&mut child), Some(0));
    let rest: Vec<String> = lines.collect();
    assert!(!rest.iter().any(|line| line.contains("WARN") || line.contains("ERROR")), "{rest:?}");
}

#[test]
fn doctor_finds_a_sound_directory_sound() {
    let dir = TempDir::new().unwrap();
    let data_dir = dir.path().to_str().unwrap();
    let (code, _, error) = run(&["migrate", "--data-dir", data_dir]);
    assert_eq!(code, Some(0), "{error}");
    let (code, found, error) = run(&["doctor", "--data-dir", data_dir]);
    assert_eq!(code, Some(0), "{found}{error}");
    let empty = TempDir::new().unwrap();
    let (code, _, error) = run(&["doctor", "--data-dir", empty.path().to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(error.contains("holds no data"), "{error}");
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
    let (code, _, error) = run(&["doctor", "--data-dir", "/nowhere/at/all"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("--data-dir"), "{error}");
}

#[test]
fn config_check_names_the_nearest_key_and_hides_secrets() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("postrider.toml");
    let check = ["config", "check", "--config", path.to_str().unwrap()];
    fs::write(&path, "[auth]\ntoken = 'hush-hush-hush-hush'\n").unwrap();
    let (code, shown, error) = run(&check);
    assert_eq!(code, Some(0), "{error}");
    assert!(shown.contains("auth.token = ***"), "{shown}");
    assert!(!shown.contains("hush"), "{shown}");

    fs::write(&path, "lisen = '127.0.0.1:7070'\n").unwrap();
    let (code, _, error) = run(&check);
    assert_eq!(code, Some(2));
    assert!(error.contains("did you mean listen?"), "{error}");
}

#[test]
fn an_address_in_use_says_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = TempDir::new().unwrap();
    let (code, _, error) =
        run(&["dev", "--listen", &address, "--data-dir", dir.path().to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(error.contains(&address) && error.contains("--listen"), "{error}");
}
