//! Logins, and rights that a user of a broker with access control lacks, by the broker's listener with SASL (`scripts/kafka.sh`).
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests read the runner's environment and say what they leave out"
)]

use std::error::Error as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use domain::record::Record;
use ports::{Clock as _, Consumer, ConsumerItem, EventLog as _};
use postrider_eventlog_kafka::{
    Finding, GroupProtocol, OpenError, Settings, Severity, broker_time, inspect_group, migrate,
};
use runtime::SystemClock;
use tokio::process::Command;
use tokio::time::timeout;

use crate::broker::{broker, connect, made, refusal, settings};

/// The user of `scripts/kafka.sh` that may do what it is granted.
const USER: &str = "postrider";

/// How long a broker and the tool that changes its rights may take.
const SOON: Duration = Duration::from_secs(60);

struct Secured {
    /// The listener with SASL.
    address: String,
    /// The listener where one may do everything.
    open: String,
    jars: PathBuf,
}

/// What the runner started with access control; none: the test is left out.
fn secured() -> Option<Secured> {
    let open = broker()?;
    let address = std::env::var("POSTRIDER_TEST_KAFKA_SASL").ok();
    let jars = std::env::var_os("POSTRIDER_KAFKA_JARS").map(PathBuf::from);
    let (Some(address), Some(jars)) = (address, jars) else {
        eprintln!(
            "left out: POSTRIDER_TEST_KAFKA_SASL or POSTRIDER_KAFKA_JARS is not set (make test sets both where it starts Kafka)"
        );
        return None;
    };
    Some(Secured { address, open, jars })
}

impl Secured {
    /// Settings of topics that the open listener's user made.
    async fn settings(&self, password: &str) -> Settings {
        let mut settings = made(settings(&self.open)).await;
        settings.brokers = vec![self.address.clone()];
        let properties = [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", USER),
            ("sasl.password", password),
        ];
        for (name, value) in properties {
            settings.properties.insert(name.to_owned(), value.to_owned());
        }
        settings
    }

    /// Grants rights with Kafka's own tool.
    async fn grant(&self, what: &[&str]) {
        let ran = Command::new("java")
            .args(["-cp", &format!("{}/*", self.jars.display())])
            .arg("org.apache.kafka.tools.AclCommand")
            .args(["--bootstrap-server", &self.open, "--add", "--force"])
            .args(["--allow-principal", &format!("User:{USER}")])
            .args(what)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let ran = timeout(SOON, ran).await.expect("kafka-acls ends").expect("java");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
}

/// An error with what caused it, as it is logged.
fn whole(error: &ports::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

fn record() -> Record {
    Record { key: Some("k".into()), value: Some("v".into()), headers: Vec::new() }
}

/// What the consumer says until it gives a record (`Ok`) or names a right (`Err`).
async fn heard(consumer: &mut dyn Consumer) -> Result<(), String> {
    timeout(SOON, async {
        loop {
            match consumer.next().await {
                Ok(ConsumerItem::Records { .. }) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.to_string().contains("lacks") => return Err(whole(&error)),
                // Connections that come up.
                Err(_) => {}
            }
        }
    })
    .await
    .expect("the consumer says something")
}

#[tokio::test]
async fn a_wrong_password_is_told_as_such() {
    let Some(secured) = secured() else { return };
    let (error, line) = refusal(&secured.settings("wrong").await).await;
    assert!(matches!(error, OpenError::Login { .. }) && !error.is_retryable(), "{line}");
    assert!(line.contains(&secured.address) && line.contains("kafka.properties_file"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_missing_right_is_named_until_all_are_granted() {
    let Some(secured) = secured() else { return };
    let settings = secured.settings("postrider-secret").await;
    let prefixed = ["--resource-pattern-type", "prefixed", "--topic", &settings.topic_prefix];
    let group = format!("{}-delivery", settings.topic_prefix);

    let (error, line) = refusal(&settings).await;
    assert!(matches!(error, OpenError::Rights { .. }) && !error.is_retryable(), "{line}");
    assert!(line.contains(&settings.events()) && line.contains("DESCRIBE"), "{line}");

    // Topics may be read, and nothing else.
    secured
        .grant(&[&prefixed[..], &["--operation", "Describe", "--operation", "Read"]].concat())
        .await;
    let kafka = connect(&settings, Arc::new(SystemClock::new())).await;
    let log = kafka.log();
    let answers = log.append(vec![record()]).await;
    let refused = answers.into_iter().next().expect("an answer").expect_err("no right to write");
    assert!(
        refused.to_string().contains("lacks WRITE") || refused.to_string().contains("and WRITE"),
        "{}",
        whole(&refused)
    );
    let mut consumer = log.consume(&group).await.expect("a consumer");
    let said = heard(consumer.as_mut()).await.expect_err("no right to join");
    assert!(said.contains("READ on the group"), "{said}");
    drop(consumer);

    secured.grant(&[&prefixed[..], &["--operation", "Write"]].concat()).await;
    secured.grant(&["--group", &group, "--operation", "Read"]).await;
    drop(log);
    kafka.close().await;
    let kafka = connect(&settings, Arc::new(SystemClock::new())).await;
    let log = kafka.log();
    let answers = log.append(vec![record()]).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let mut consumer = log.consume(&group).await.expect("a consumer");
    heard(consumer.as_mut()).await.expect("the record arrives");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_names_the_rights_that_keep_it_from_looking() {
    let Some(secured) = secured() else { return };
    let mut settings = secured.settings("postrider-secret").await;
    settings.group_protocol = GroupProtocol::Consumer;
    let prefixed = ["--resource-pattern-type", "prefixed", "--topic", &settings.topic_prefix];
    secured.grant(&[&prefixed[..], &["--operation", "Read"]].concat()).await;
    let group = format!("{}-delivery", settings.topic_prefix);
    let look = async || {
        let now = SystemClock::new().now();
        inspect_group(&settings, &group, now).await.expect("the brokers answer")
    };
    let told = |findings: &[Finding], part: &str| -> Finding {
        let found = findings.iter().find(|one| one.what.contains(part));
        found.unwrap_or_else(|| panic!("{part} is not in {findings:?}")).clone()
    };

    let findings = look().await;
    let of_group = told(&findings, &format!("group {group}"));
    assert_eq!(of_group.severity, Severity::Fail);
    assert!(of_group.problem.contains(&format!("READ on group {group}")), "{of_group:?}");
    let session = told(&findings, "kafka.session_timeout");
    assert_eq!(session.severity, Severity::Warn, "{session:?}");
    assert!(session.problem.contains("grant DESCRIBE_CONFIGS on the cluster"), "{session:?}");
    let clock = broker_time(&settings).await.expect_err("no right to write").to_string();
    assert!(clock.contains(&settings.hints()), "{clock}");

    secured.grant(&["--group", &group, "--operation", "Read"]).await;
    let findings = look().await;
    assert_eq!(told(&findings, " lag of ").severity, Severity::Ok, "{findings:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrate_names_the_right_that_it_lacks_and_is_content_with_topics_that_others_made() {
    let Some(secured) = secured() else { return };
    let there = secured.settings("postrider-secret").await;
    let mut settings = there.clone();
    settings.topic_prefix = format!("{}-new", there.topic_prefix);
    let error = migrate(&settings).await.expect_err("no right to make topics");
    let line = error.to_string();
    assert!(matches!(error, OpenError::Rights { .. }) && !line.contains('\n'), "{line}");
    let prefix = &settings.topic_prefix;
    for part in [
        format!(
            "grant it CREATE on the topics of the prefix (kafka-acls --add --allow-principal User:… --operation Create --topic {prefix} "
        ),
        format!(
            "kafka-topics --create --topic {prefix}.events --partitions 2 --replication-factor 1 "
        ),
    ] {
        assert!(line.contains(&part), "no {part} in {line}");
    }

    // By the name's beginning this holds for the new ones too.
    let prefixed = ["--resource-pattern-type", "prefixed", "--topic", &there.topic_prefix];
    secured.grant(&[&prefixed[..], &["--operation", "Describe"]].concat()).await;
    let made = migrate(&there).await.expect("who may not make topics finds them made");
    assert!(made.iter().all(|made| !made.is_new), "{made:?}");

    secured.grant(&[&prefixed[..], &["--operation", "Create"]].concat()).await;
    let made = migrate(&settings).await.expect("made");
    assert!(made.iter().all(|made| made.is_new), "{made:?}");
}
