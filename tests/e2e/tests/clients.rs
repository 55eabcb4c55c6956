//! The official Standard Webhooks packages verify live deliveries.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postrider_e2e::{Request, clients};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::{answering, report, start};

/// What receivers got under several settings, with the secret that verifies it; one JSON object a line.
async fn captured() -> Result<(String, usize)> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    let both = api.endpoint("both", &receiver.url("/both"), json!({})).await?;
    let alone = json!({ "signature": "STANDARD" });
    let alone = api.endpoint("alone", &receiver.url("/alone"), alone).await?;
    let old = api.endpoint("rotated", &receiver.url("/rotated"), json!({})).await?;
    let rotated = api.verb("rotated", "rotateSecret", json!({})).await?.ok()?;
    let new = rotated["secret"]["key"].as_str().context("the new secret")?.to_owned();
    for data in [json!({ "amount": 12 }), json!("gr\u{fc}n \u{1f7e2}"), json!([1.5, null])] {
        api.publish_event(json!({ "type": "payment.completed", "data": data })).await?;
    }
    receiver.wait_for_count(9).await?;

    let mut lines = Vec::new();
    for (path, secrets) in
        [("/both", vec![&both]), ("/alone", vec![&alone]), ("/rotated", vec![&old, &new])]
    {
        for request in receiver.requests_to(path) {
            lines.extend(secrets.iter().map(|secret| line(&request, secret)));
        }
    }
    Ok((lines.join("\n"), lines.len()))
}

fn line(request: &Request, secret: &str) -> String {
    let headers: serde_json::Map<_, _> = request
        .headers
        .keys()
        .map(|name| (name.to_string(), json!(request.header(name.as_str()))))
        .collect();
    json!({ "secret": secret, "headers": headers, "body": STANDARD.encode(&request.body) })
        .to_string()
}

/// Runs a client over the captured deliveries; all of them must verify.
async fn verify(mut command: Command) -> Result<()> {
    let (input, expected) = captured().await?;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().context("its standard input")?;
    // A client that fails at once does not read it; its output says why.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {stderr}", output.status);
    let verified: usize = String::from_utf8_lossy(&output.stdout).trim().parse()?;
    ensure!(verified == expected && expected == 12, "{verified} of {expected} verified");
    Ok(())
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

#[tokio::test]
async fn the_python_package_verifies_live_deliveries() -> Result<()> {
    let Some(python) = clients::python() else {
        report("left out: the Python package (POSTRIDER_PY_VENV is not set; `make test` sets it)");
        return Ok(());
    };
    let mut command = Command::new(python);
    command.arg(script("verify.py"));
    verify(command).await
}

#[tokio::test]
async fn the_node_package_verifies_live_deliveries() -> Result<()> {
    let Some(modules) = clients::node_modules() else {
        report(
            "left out: the Node package (POSTRIDER_NODE_MODULES is not set; `make test` sets it)",
        );
        return Ok(());
    };
    let mut command = Command::new("node");
    command.arg(script("verify.cjs")).env("NODE_PATH", modules);
    verify(command).await
}
