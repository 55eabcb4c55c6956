//! The checked form of `[kafka]`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use eventlog_kafka::{GroupProtocol, Settings, Source};
use runtime::config::ConfigError;

use super::Parse;
use super::keys::RawKafka;

/// Shortest and longest silence of a worker: brokers take 6 s to 30 min unless they are told otherwise, and tests tell them.
const SESSION_MIN: Duration = Duration::from_secs(1);
const SESSION_MAX: Duration = Duration::from_secs(300);

pub(super) fn settings(raw: &RawKafka, parse: &Parse<'_>) -> Result<Settings, ConfigError> {
    let layers = parse.0;
    if raw.brokers.is_empty() {
        let problem = "is empty: name host:port of one broker at least";
        return Err(layers.bad_value("kafka.brokers", problem));
    }
    if !Settings::is_topic_prefix(&raw.topic_prefix) {
        let problem = format!(
            "is {:?}: letters, digits, `.`, `_` and `-` are allowed, 1 to 200 of them, and no `.` first",
            raw.topic_prefix
        );
        return Err(layers.bad_value("kafka.topic_prefix", problem));
    }
    let mut settings = Settings::new(raw.brokers.clone(), raw.topic_prefix.clone());
    for text in &raw.topics {
        let source = source(text, &settings);
        settings.topics.push(source.map_err(|problem| {
            layers.bad_value("kafka.topics", format!("has {text:?}: {problem}"))
        })?);
    }
    settings.group_protocol = GroupProtocol::parse(&raw.group_protocol).ok_or_else(|| {
        let problem = format!("is {:?}: use {}", raw.group_protocol, GroupProtocol::NAMES);
        layers.bad_value("kafka.group_protocol", problem)
    })?;
    settings.session_timeout = parse.span("kafka.session_timeout", &raw.session_timeout)?;
    if settings.session_timeout < SESSION_MIN || settings.session_timeout > SESSION_MAX {
        let problem = format!("is {:?}: allowed are 1s to 5m", raw.session_timeout);
        return Err(layers.bad_value("kafka.session_timeout", problem));
    }
    let partitions = parse.within("kafka.partitions", raw.partitions, 1, 1_024)?;
    settings.partitions = u16::try_from(partitions).unwrap_or(u16::MAX);
    let factor = parse.within("kafka.replication_factor", raw.replication_factor, 1, 9)?;
    settings.replication_factor = u8::try_from(factor).unwrap_or(u8::MAX);
    settings.retention = parse.span("kafka.retention", &raw.retention)?;
    settings.allow_few_replicas = raw.allow_few_replicas;
    if let Some(file) = &raw.properties_file {
        settings.properties = fs::read_to_string(file)
            .map_err(|error| error.to_string())
            .and_then(|text| properties(&text))
            .map_err(|problem| {
                layers.bad_value("kafka.properties_file", format!("{file}: {problem}"))
            })?;
    }
    Ok(settings)
}

/// Reads a topic that events come from, beside those that are known already.
fn source(text: &str, settings: &Settings) -> Result<Source, String> {
    let source = Source::parse(text)?;
    let known = settings.sources();
    if let Some(other) = known.iter().find(|known| known.number == source.number) {
        return Err(format!("{} has that number already", other.topic));
    }
    let beside = [settings.quarantine(), settings.hints(), settings.outcomes()];
    if beside.contains(&source.topic) || known.iter().any(|known| known.topic == source.topic) {
        return Err("Postrider uses that topic already".to_owned());
    }
    Ok(source)
}

/// Reads `name=value` lines. Values may be secret and are never repeated.
fn properties(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    for (line, text) in (1..).zip(text.lines().map(str::trim)) {
        if text.is_empty() || text.starts_with(['#', '!']) {
            continue;
        }
        let Some((name, value)) = text.split_once('=') else {
            return Err(format!("line {line} is not name=value"));
        };
        let name = name.trim();
        if Settings::is_ours(name) {
            return Err(format!("line {line} sets {name}, which Postrider sets itself: remove it"));
        }
        found.insert(name.to_owned(), value.trim().to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_and_a_number_are_named_once() {
        let mut settings = Settings::new(Vec::new(), "postrider");
        settings.topics.push(source("1 orders tenant=acme", &settings).unwrap());
        let problem = |text| source(text, &settings).unwrap_err();
        assert!(problem("1 bus").contains("orders has that number"), "{}", problem("1 bus"));
        for taken in ["2 orders", "2 postrider.events", "2 postrider.quarantine"] {
            assert!(problem(taken).contains("already"), "{taken}");
        }
        assert!(source("2 bus trusted", &settings).is_ok());
    }

    #[test]
    fn properties_are_lines_and_what_safety_rests_on_is_refused() {
        let text = "# a comment\n\nsecurity.protocol = SASL_SSL\nsasl.password=a=b \n";
        let found = properties(text).unwrap();
        assert_eq!(found.get("security.protocol").map(String::as_str), Some("SASL_SSL"));
        assert_eq!(found.get("sasl.password").map(String::as_str), Some("a=b"));
        let error = properties("acks=1").unwrap_err();
        assert!(error.contains("line 1 sets acks"), "{error}");
        let error = properties("a=b\nsasl.password hush").unwrap_err();
        assert!(error.contains("line 2") && !error.contains("hush"), "{error}");
    }
}
