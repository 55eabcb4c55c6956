//! Why the brokers do not make a topic, and what to do about it: one line each.

use rdkafka::types::RDKafkaErrorCode as Code;

use super::Wanted;
use crate::error::OpenError;
use crate::settings::Settings;

/// What a refusal means. The brokers' own words do not come through the client.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "Kafka has 150 codes, and few of them answer to a new topic"
)]
pub(super) fn meaning(settings: &Settings, wanted: &Wanted, code: Code) -> OpenError {
    let what = format!("make topic {}", wanted.name);
    let (factor, partitions) = (settings.replication_factor, wanted.partitions);
    let by_hand = by_hand(settings, wanted);
    let reason = match code {
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            let prefix = &settings.topic_prefix;
            let right = format!(
                "CREATE on the topics of the prefix (kafka-acls --add --allow-principal User:… --operation Create --topic {prefix} --resource-pattern-type prefixed), or let somebody who has it {by_hand}"
            );
            return OpenError::Rights { what, right };
        }
        Code::InvalidReplicationFactor => format!(
            "there are fewer brokers than kafka.replication_factor = {factor}: start more, or lower it (and set kafka.allow_few_replicas) for a trial"
        ),
        Code::PolicyViolation => format!(
            "the brokers have a rule for new topics (create.topic.policy.class.name), and {partitions} partition(s), {factor} replica(s) or a setting of it break that: set kafka.partitions, kafka.replication_factor or kafka.retention to what it allows, or {by_hand}, which also says what the rule is"
        ),
        Code::InvalidPartitions => {
            format!(
                "{partitions} partitions are more than the brokers make: lower kafka.partitions"
            )
        }
        Code::InvalidConfig => {
            format!("a setting of it is not allowed there: {by_hand}, which says which one")
        }
        _ => format!("{code}; {by_hand}, which says more"),
    };
    OpenError::Refused { what, reason }
}

/// The command that makes the topic as `migrate` would.
fn by_hand(settings: &Settings, wanted: &Wanted) -> String {
    let (name, partitions) = (&wanted.name, wanted.partitions);
    let factor = settings.replication_factor;
    let configs = super::configs(settings, wanted);
    let configs: Vec<String> =
        configs.iter().map(|(name, value)| format!("--config {name}={value}")).collect();
    format!(
        "make it with kafka-topics --create --topic {name} --partitions {partitions} --replication-factor {factor} {}",
        configs.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_refusal_is_one_line_that_says_what_to_do() {
        let settings = Settings::new(Vec::new(), "p");
        let wanted = Wanted {
            name: "p.events".to_owned(),
            partitions: 24,
            retention: Duration::from_secs(3_600),
        };
        let make = "kafka-topics --create --topic p.events --partitions 24 --replication-factor 3 --config cleanup.policy=delete";
        for (code, parts) in [
            (Code::TopicAuthorizationFailed, ["--operation Create --topic p ", make]),
            (Code::ClusterAuthorizationFailed, ["grant it CREATE", make]),
            (Code::InvalidReplicationFactor, ["kafka.replication_factor = 3", "start more"]),
            (Code::PolicyViolation, ["kafka.partitions, kafka.replication_factor or", make]),
            (Code::InvalidPartitions, ["24 partitions", "lower kafka.partitions"]),
            (Code::InvalidConfig, ["not allowed there", "--config retention.ms=3600000"]),
            (Code::InvalidRequest, ["which says more", make]),
        ] {
            let error = meaning(&settings, &wanted, code);
            let line = error.to_string();
            assert!(!line.contains('\n') && line.contains("make topic p.events"), "{line}");
            for part in parts {
                assert!(line.contains(part), "{code}: no {part} in {line}");
            }
            assert!(!error.is_retryable(), "{line}");
        }
    }
}
