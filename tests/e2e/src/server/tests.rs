use std::fs;

use super::*;

const GETS_READY: &str = "echo 'postrider ready on http://127.0.0.1:7070'";
/// Waits for a signal without a child process that would keep the output open.
const WAITS: &str = "while read -r line; do :; done < \"$fifo\"";

/// Returns options that run a shell script in the place of the binary.
fn script(dir: &TempDir, lines: &[&str]) -> Options {
    let script = dir.path().join("postrider");
    let fifo = "fifo=\"$0.fifo\"; [ -p \"$fifo\" ] || mkfifo \"$fifo\"; exec 3<>\"$fifo\"";
    fs::write(&script, format!("{fifo}\n{}\n", lines.join("\n"))).unwrap();
    Options { script: Some(script), ..Options::default() }
}

#[tokio::test]
async fn a_server_is_ready_when_it_says_so_and_ends_when_asked() -> Result<()> {
    let dir = TempDir::new()?;
    let server =
        script(&dir, &["trap 'exit 0' TERM", "echo \"$@\"", GETS_READY, WAITS]).start().await?;
    assert_eq!(server.url(), "http://127.0.0.1:7070");
    let args = format!("dev --listen 127.0.0.1:0 --data-dir {}", server.data_dir().display());
    assert!(server.logs().contains(&args), "{}", server.logs());

    let data_dir = server.data_dir().to_path_buf();
    let again = server.terminate().await?.start().await?;
    assert_eq!(again.data_dir(), data_dir);
    again.kill().await?;
    Ok(())
}

#[tokio::test]
async fn a_process_that_ends_early_fails_with_what_it_said() -> Result<()> {
    let dir = TempDir::new()?;
    let error = script(&dir, &["echo the port is taken >&2", "exit 3"]).start().await.err();
    let error = error.context("it must fail")?.to_string();
    assert!(error.contains("exit status: 3") && error.contains("the port is taken"), "{error}");
    Ok(())
}

#[tokio::test]
async fn another_code_than_zero_after_sigterm_fails() -> Result<()> {
    let dir = TempDir::new()?;
    let server = script(&dir, &["trap 'exit 4' TERM", GETS_READY, WAITS]).start().await?;
    let error = server.terminate().await.err().context("it must fail")?.to_string();
    assert!(error.contains("exit status: 4"), "{error}");
    Ok(())
}

#[tokio::test]
async fn an_expected_error_in_the_log_is_accepted() -> Result<()> {
    let dir = TempDir::new()?;
    let options = script(&dir, &["echo 'T ERROR the disk is full' >&2", GETS_READY, WAITS]);
    let server = options.expect_error("the disk is full").start().await?;
    server.wait_for_log("the disk is full").await?;
    server.kill().await?;
    Ok(())
}

#[tokio::test]
#[should_panic(expected = "unexpected errors in the log:\nT ERROR the disk is full")]
async fn an_unexpected_error_in_the_log_fails_the_scenario() {
    let dir = TempDir::new().unwrap();
    let options = script(&dir, &["echo 'T ERROR the disk is full' >&2", GETS_READY, WAITS]);
    let server = options.start().await.unwrap();
    server.wait_for_log("the disk is full").await.unwrap();
}

#[tokio::test]
async fn a_process_sees_only_the_variables_of_its_scenario() -> Result<()> {
    let dir = TempDir::new()?;
    let options =
        script(&dir, &["env | sort", GETS_READY, WAITS]).env("POSTRIDER_LOGGING__FILTER", "debug");
    let logs = options.start().await?.kill().await?.logs().to_owned();
    let ours: Vec<_> = logs.lines().filter(|line| line.starts_with("POSTRIDER_")).collect();
    assert_eq!(ours, ["POSTRIDER_LOGGING__FILTER=debug"]);
    Ok(())
}
