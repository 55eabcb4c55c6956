//! A signature is good for 300 s both ways (spec §4): what is stale and what is of the future is refused.

use std::path::Path;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use postrider_e2e::{Cli, clients};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::{report, start};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BODY: &str = r#"{"id":"evt_1"}"#;
/// Seconds from now, and whether a receiver takes them. The clock goes on meanwhile: a minute of room on the side where it helps.
const OFFSETS: [(i64, bool); 5] =
    [(-301, false), (-240, true), (0, true), (299, true), (360, false)];

/// The headers of a delivery that was signed at another time.
async fn signed(cli: &Cli, offset: i64) -> Result<Value> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let stamp = (now + offset).to_string();
    let args = ["sign", "--secret", SECRET, "--body", BODY, "--timestamp", &stamp, "-o", "json"];
    cli.run(&args).await?.json()
}

#[tokio::test]
async fn stale_and_future_timestamps_do_not_verify() -> Result<()> {
    let (server, _) = start().await?;
    let cli = server.cli()?;
    for (offset, good) in OFFSETS {
        let headers = signed(&cli, offset).await?;
        let headers: Vec<String> = headers
            .as_object()
            .context("headers")?
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.as_str().unwrap_or_default()))
            .collect();
        for scheme in ["standard", "x-webhook"] {
            let mut args = vec!["verify", "--secret", SECRET, "--body", BODY, "--scheme", scheme];
            args.extend(headers.iter().map(String::as_str));
            let verified = cli.run(&args).await?;
            ensure!((verified.code == 0) == good, "{scheme} {offset}: {}", verified.stderr);
            ensure!(good || verified.stderr.contains("timestamp"), "{}", verified.stderr);
        }
    }
    Ok(())
}

/// The receiver of the README, as it stands there.
fn readme_receiver() -> Result<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(readme)?;
    let blocks = readme.split("```python\n").skip(1).filter_map(|rest| rest.split("```").next());
    let block = blocks.into_iter().find(|block| block.contains("import hmac"));
    Ok(block.context("the README has a receiver with nothing but an HMAC")?.to_owned())
}

#[tokio::test]
async fn the_receiver_of_the_readme_refuses_stale_and_future_timestamps() -> Result<()> {
    // It needs nothing but the standard library: any Python will do.
    let python = clients::python().unwrap_or_else(|| "python3".into());
    let (server, _) = start().await?;
    let cli = server.cli()?;
    let mut cases = Vec::new();
    for (offset, good) in OFFSETS {
        cases.push(json!({ "headers": signed(&cli, offset).await?, "body": BODY, "good": good }));
    }
    let forged = json!({ "headers": signed(&cli, 0).await?, "body": "{}", "good": false });
    cases.push(forged);
    let program = format!(
        "{}\nimport json, sys\nfor case in json.load(sys.stdin):\n    headers = {{k.title(): v for k, v in case['headers'].items()}}\n    assert verify({SECRET:?}, headers, case['body'].encode()) == case['good'], case\n",
        readme_receiver()?
    );
    let child = Command::new(python)
        .args(["-c", &program])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match child {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            report("left out: the README's receiver (there is no python3)");
            return Ok(());
        }
        child => child?,
    };
    let mut stdin = child.stdin.take().context("its standard input")?;
    let _ = stdin.write_all(json!(cases).to_string().as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
