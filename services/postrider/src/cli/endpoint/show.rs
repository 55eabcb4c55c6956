//! Endpoints as people see them.

use wire::api::v1::{DeliveryPolicy, Endpoint};

use super::super::names;
use super::super::values::{show_count, show_enum, show_pairs, show_span, show_time};

/// The columns of [`row`].
pub(crate) const COLUMNS: [&str; 5] = ["ID", "STATE", "FAILURES", "BACKLOG", "URL"];

/// One endpoint in a list.
pub(crate) fn row(endpoint: &Endpoint) -> Vec<String> {
    let health = endpoint.health.as_ref();
    vec![
        names::last(&endpoint.name),
        state(endpoint),
        health.map_or(0, |health| health.consecutive_failures).to_string(),
        health.map_or(0, |health| health.backlog_size).to_string(),
        endpoint.url.clone(),
    ]
}

fn state(endpoint: &Endpoint) -> String {
    let state = show_enum(endpoint.state().as_str_name());
    let reason = show_enum(endpoint.state_reason().as_str_name());
    if reason.is_empty() { state } else { format!("{state} ({reason})") }
}

/// One endpoint by itself.
pub(crate) fn fields(endpoint: Option<&Endpoint>) -> Vec<(&'static str, String)> {
    let Some(endpoint) = endpoint else {
        return Vec::new();
    };
    let mut fields = vec![
        ("ID", names::last(&endpoint.name)),
        ("Display name", endpoint.display_name.clone()),
        ("Description", endpoint.description.clone()),
        ("URL", endpoint.url.clone()),
        ("State", state(endpoint)),
        ("Why", endpoint.state_message.clone()),
        ("Since", show_time(endpoint.state_time)),
        ("Headers", show_pairs(&endpoint.headers, ": ")),
        ("Labels", show_pairs(&endpoint.labels, "=")),
    ];
    if let Some(policy) = &endpoint.delivery {
        fields.extend(policy_fields(policy));
    }
    fields.push(("Live secrets", secrets(endpoint)));
    fields.push(("Created", show_time(endpoint.create_time)));
    fields.push(("Updated", show_time(endpoint.update_time)));
    fields.push(("Etag", endpoint.etag.clone()));
    fields
}

fn policy_fields(policy: &DeliveryPolicy) -> Vec<(&'static str, String)> {
    let steps: Vec<_> = policy.retry_schedule.iter().map(|step| show_span(Some(step))).collect();
    let schedule = if policy.no_retries { "none".to_owned() } else { steps.join(",") };
    let rate =
        if policy.rate_limit > 0.0 { format!("{}/s", policy.rate_limit) } else { String::new() };
    vec![
        ("Timeout", show_span(policy.timeout.as_ref())),
        ("Retry schedule", schedule),
        ("Rate limit", rate),
        ("Max concurrency", show_count(policy.max_concurrency)),
        ("Ordering", show_enum(policy.ordering().as_str_name())),
        ("Format", show_enum(policy.format().as_str_name())),
        ("Signature", show_enum(policy.signature().as_str_name())),
        ("Disable after", show_count(policy.disable_after)),
    ]
}

fn secrets(endpoint: &Endpoint) -> String {
    let lines: Vec<_> = endpoint
        .secrets
        .iter()
        .map(|secret| match show_time(secret.expire_time).as_str() {
            "" => format!("{} (current)", secret.id),
            time => format!("{} (until {time})", secret.id),
        })
        .collect();
    lines.join("\n")
}

/// How deliveries have fared of late.
pub(crate) fn health(endpoint: Option<&Endpoint>) -> Vec<(&'static str, String)> {
    let Some(endpoint) = endpoint else {
        return Vec::new();
    };
    let health = endpoint.health.unwrap_or_default();
    vec![
        ("ID", names::last(&endpoint.name)),
        ("State", state(endpoint)),
        ("Why", endpoint.state_message.clone()),
        ("Breaker", show_enum(health.breaker().as_str_name())),
        ("Consecutive failures", health.consecutive_failures.to_string()),
        ("Last success", show_time(health.last_success_time)),
        ("Last failure", show_time(health.last_failure_time)),
        ("Backlog", health.backlog_size.to_string()),
        ("Oldest undelivered", show_time(health.oldest_undelivered_time)),
    ]
}
