//! Events that producers write to Kafka with the clients that they have.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use postrider_e2e::{Options, Server, clients, until};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::support::{Api, answering, report};

/// Runs a client of Python to its end.
async fn python(script: &str, args: &[&str]) -> Result<String> {
    let python = clients::python().context("POSTRIDER_PY_VENV names no Python")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(script);
    let output = Command::new(python).arg(script).args(args).kill_on_drop(true).output().await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Writes one record with Kafka's own console producer: headers, key and value separated by tabs.
async fn console_producer(server: &Server, line: &str) -> Result<()> {
    let (broker, topic) = server.events().context("a server on Kafka")?;
    let jars = clients::kafka_jars().context("POSTRIDER_KAFKA_JARS names no jars")?;
    let class = "org.apache.kafka.tools.ConsoleProducer";
    let mut child = Command::new("java")
        .args(["-cp", &format!("{}/*", jars.display()), class])
        .args(["--bootstrap-server", &broker, "--topic", &topic])
        .args(["--reader-property", "parse.key=true", "--reader-property", "parse.headers=true"])
        .args(["--command-property", "acks=all"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("java")?;
    let mut input = child.stdin.take().context("its standard input")?;
    input.write_all(line.as_bytes()).await?;
    drop(input);
    let output = child.wait_with_output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[tokio::test]
async fn records_of_plain_producers_are_delivered_and_what_is_no_event_is_set_aside() -> Result<()>
{
    let Some(options) = Options::on_a_cluster() else { return Ok(()) };
    let (Some(_), Some(_)) = (clients::python(), clients::kafka_jars()) else {
        report("left out: no Python client or no jars of Kafka");
        return Ok(());
    };
    let server = options.expect_error("is no event and is set aside").start().await?;
    let api = Api::of(&server);
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let (broker, topic) = server.events().context("a server on Kafka")?;
    python("produce.py", &[&broker, &topic]).await?;
    let headers = "ce_id:java-console,ce_type:payment.completed,ce_source:/shop";
    console_producer(&server, &format!("{headers}\torder-2\t{{\"amount\":15}}\n")).await?;
    for (id, data) in [
        ("librdkafka-binary", r#""data":{"amount": 12.50}}"#),
        ("librdkafka-structured", r#""data":{"amount": 13}}"#),
        ("python-envelope", r#""data":{"amount": 14}}"#),
        ("java-console", r#""data":{"amount":15}}"#),
    ] {
        let arrived = receiver.wait_for_event(id, 1).await.with_context(|| id.to_owned())?;
        let body = String::from_utf8_lossy(&arrived[0].body).into_owned();
        ensure!(body.ends_with(data), "the bytes of {id} as they were written: {body}");
    }
    server.wait_for_log("is no event and is set aside").await?;
    let quarantine = topic.replace(".events", ".quarantine");
    let aside = until("the record in the quarantine", async || {
        let said = python("quarantine.py", &[&broker, &quarantine]).await?;
        Ok(said.contains("no event at all").then_some(said))
    });
    let aside = aside.await?;
    for part in ["postrider_topic", "postrider_partition", "postrider_offset", "envelope with type"]
    {
        ensure!(aside.contains(part), "{part} is not in {aside}");
    }
    Ok(())
}
