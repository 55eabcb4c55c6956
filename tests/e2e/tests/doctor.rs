//! `postrider doctor` on a cluster that has worked: what it says of the group, and of deliveries that nobody makes any more.

use anyhow::{Context as _, Result, ensure};
use postrider_e2e::{Options, Receiver, clients, until};
use serde_json::json;

use crate::producers::{console_producer, make_topic};
use crate::support::{Api, report};

/// The line of what was said that holds all of these.
fn line<'s>(said: &'s str, parts: &[&str]) -> Result<&'s str> {
    let holds = |line: &&str| parts.iter().all(|part| line.contains(part));
    said.lines().find(holds).with_context(|| format!("no line with {parts:?} in\n{said}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_of_a_topic_that_was_taken_out_are_found_with_what_mends_it() -> Result<()> {
    let Some(options) = Options::on_a_cluster() else { return Ok(()) };
    if clients::kafka_jars().is_none() {
        report("left out: POSTRIDER_KAFKA_JARS names no jars");
        return Ok(());
    }
    let (broker, events) = options.events().context("topics")?;
    let topic = events.replace(".events", "-orders");
    make_topic(&broker, &topic, 2).await?;
    let with = options.also_reads(format!("3 {topic}"), 2);
    let server = with.start().await?;
    let api = Api::of(&server);
    let receiver = Receiver::start().await?;
    let dead = receiver.url("/");
    drop(receiver);
    api.endpoint("dead", &dead, json!({ "retrySchedule": ["3600s"] })).await?;
    console_producer(&broker, &topic, "ce_id:o-1,ce_type:order.made,ce_source:/t\tk\t{}\n").await?;
    let failed = |delivery: &serde_json::Value| delivery["attemptCount"] == 1;
    api.delivery_when("dead", "o-1", "one attempt failed", failed).await?;

    let lag = format!("topic {topic} lag of");
    let said = until("doctor to see that the record is handed off", async || {
        let said = server.doctor(&[]).await?.ok()?;
        Ok(line(&said, &["ok", &lag, "0 record(s)"]).is_ok().then_some(said))
    })
    .await?;
    line(&said, &["ok", "members: 3 worker(s) for 6 shard(s)"])?;
    line(&said, &["ok", "clocks of this machine and of the brokers agree"])?;
    line(&said, &["ok", "clocks of this machine and of the store's nodes agree"])?;
    line(&said, &["ok", "every lane is in a shard that is read"])?;
    line(&said, &["ok", "kafka.session_timeout = 6s"])?;

    let output = server.doctor(&[("POSTRIDER_KAFKA__TOPICS", "")]).await?;
    let said = output.stdout;
    ensure!(output.code == 1, "{said}");
    let found = line(&said, &["FAIL 1 lane(s) in 1 shard(s) of topic number 3"])?;
    ensure!(found.contains("deliveries wait in 1 of them"), "{found}");
    ensure!(found.contains("kafka.topics again under number 3"), "{found}");
    line(&said, &["ok", &format!("topic {topic}, which was number 3"), "0 record(s) wait"])?;
    Ok(())
}
