//! Events that producers write to Kafka with the clients that they have.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use postrider_e2e::{Options, clients, until};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::metrics::{scrape, sum};
use crate::support::{Api, TENANT, answering, last_part, report};

/// Runs a client of Python to its end.
pub(crate) async fn python(script: &str, args: &[&str]) -> Result<String> {
    let python = clients::python().context("POSTRIDER_PY_VENV names no Python")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(script);
    let output = Command::new(python).arg(script).args(args).kill_on_drop(true).output().await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs one of Kafka's own tools to its end.
async fn kafka_tool(class: &str, args: &[&str], input: &str) -> Result<()> {
    let jars = clients::kafka_jars().context("POSTRIDER_KAFKA_JARS names no jars")?;
    let mut child = Command::new("java")
        .args(["-cp", &format!("{}/*", jars.display()), class])
        .args(args)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("java")?;
    let mut standard_input = child.stdin.take().context("its standard input")?;
    standard_input.write_all(input.as_bytes()).await?;
    drop(standard_input);
    let output = child.wait_with_output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Writes records with Kafka's own console producer, one a line: headers, key and value separated by tabs.
pub(crate) async fn console_producer(broker: &str, topic: &str, lines: &str) -> Result<()> {
    let args = [
        "--bootstrap-server",
        broker,
        "--topic",
        topic,
        "--command-property",
        "acks=all",
        "--reader-property",
        "parse.key=true",
        "--reader-property",
        "parse.headers=true",
    ];
    kafka_tool("org.apache.kafka.tools.ConsoleProducer", &args, lines).await
}

/// Makes a topic of one copy.
pub(crate) async fn make_topic(broker: &str, topic: &str, partitions: usize) -> Result<()> {
    let partitions = partitions.to_string();
    let made =
        ["--bootstrap-server", broker, "--create", "--topic", topic, "--partitions", &partitions];
    kafka_tool("org.apache.kafka.tools.TopicCommand", &made, "").await
}

/// Waits until a record with this text lies in a topic beside that of events, and gives what lies there.
async fn lies_in(topic: &str, broker: &str, events: &str, part: &str) -> Result<String> {
    let name = events.replace("events", topic);
    let what = format!("a record with {part} in {name}");
    let found = until(&what, async || {
        let said = python("topic.py", &[broker, &name]).await?;
        Ok(said.contains(part).then_some(said))
    });
    found.await
}

/// Waits until a record with this text lies in the quarantine, and gives what lies there.
async fn set_aside(broker: &str, events: &str, part: &str) -> Result<String> {
    lies_in("quarantine", broker, events, part).await
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
    let line = format!("{headers}\torder-2\t{{\"amount\":15}}\n");
    console_producer(&broker, &topic, &line).await?;
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
    let told = lies_in("outcomes", &broker, &topic, "java-console").await?;
    for part in
        [r#"\"endpoint\":\"shop\""#, r#"\"status\":200"#, r#"\"disposition\":\"delivered\""#]
    {
        ensure!(told.contains(part), "{part} is not in {told}");
    }
    server.wait_for_log("is no event and is set aside").await?;
    let aside = set_aside(&broker, &topic, "no event at all").await?;
    for part in ["postrider_topic", "postrider_partition", "postrider_offset", "envelope with type"]
    {
        ensure!(aside.contains(part), "{part} is not in {aside}");
    }
    let quarantined = sum(&scrape(&server).await?.1, "postrider_records_quarantined_total", "");
    ensure!(quarantined >= 1.0, "{quarantined} are counted");
    Ok(())
}

#[tokio::test]
async fn a_topic_that_is_bound_to_a_tenant_speaks_for_no_other() -> Result<()> {
    let Some(options) = Options::on_a_cluster() else { return Ok(()) };
    let (Some(_), Some(_)) = (clients::python(), clients::kafka_jars()) else {
        report("left out: no Python client or no jars of Kafka");
        return Ok(());
    };
    let (broker, events) = options.events().context("a scenario on Kafka")?;
    let orders = events.replace(".events", "-orders");
    make_topic(&broker, &orders, 2).await?;
    let options = options.also_reads(format!("3 {orders} tenant=default"), 2);
    let server = options.expect_error("is no event and is set aside").start().await?;
    let api = Api::of(&server);
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let event = |id, tenant| {
        format!("ce_id:{id},ce_type:order.placed,postrider_tenant:{tenant}\t{id}\t{{}}\n")
    };
    let lines = event("own", "default") + &event("foreign", "globex");
    console_producer(&broker, &orders, &lines).await?;
    receiver.wait_for_event("own", 1).await?;
    let aside = set_aside(&broker, &events, "globex").await?;
    ensure!(aside.contains("bound to tenant default") && aside.contains(&orders), "{aside}");
    let delivery = api.delivery_in("shop", "own", "SUCCEEDED").await?;
    ensure!(last_part(&delivery["event"]) == "own", "{delivery}");
    let listed = api.rest.get(&format!("{TENANT}/events")).await?.ok()?;
    let names: Vec<String> = listed["events"]
        .as_array()
        .context("a list of events")?
        .iter()
        .map(|event| last_part(&event["name"]))
        .collect();
    ensure!(names == ["own"], "the shards of other topics are listed too: {names:?}");
    Ok(())
}

#[tokio::test]
async fn an_idempotency_key_is_one_event_whoever_publishes_it() -> Result<()> {
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
    let event = json!({ "type": "order.placed", "data": { "n": 1 }, "idempotencyKey": "of-api" });
    let published = api.publish_event(event).await?;
    let line = |partition_key: &str, key: &str, data: &str| {
        let headers = format!("ce_type:order.placed,postrider_idempotency_key:{key}");
        format!("{headers}\t{partition_key}\t{data}\n")
    };
    let lines = [
        line("a", "of-api", r#"{"n":1}"#),
        line("b", "of-producer", r#"{"n":2}"#),
        line("b", "of-producer", r#"{"n":2}"#),
    ];
    console_producer(&broker, &topic, &lines.concat()).await?;
    receiver.wait_for_count(2).await?;
    // On other partitions, perhaps another worker's.
    let lines =
        [line("c", "of-producer", r#"{"n":2}"#), line("d", "of-producer", r#"{"n":"another"}"#)];
    console_producer(&broker, &topic, &lines.concat()).await?;
    let aside = set_aside(&broker, &topic, "another body").await?;
    ensure!(aside.contains("postrider_idempotency_key"), "{aside}");
    // By the order of each partition these come last.
    let last = ["a", "b", "c", "d"].map(|key| line(key, &format!("last-{key}"), "{}"));
    console_producer(&broker, &topic, &last.concat()).await?;
    receiver.wait_for_count(6).await?;
    let counts = receiver.count_by_event();
    ensure!(counts.len() == 6 && counts.values().all(|count| *count == 1), "{counts:?}");
    ensure!(counts.contains_key(&last_part(&published["id"])), "{counts:?}");
    Ok(())
}
