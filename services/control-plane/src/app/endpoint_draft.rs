//! What a caller may set of an endpoint, and its checks.

use std::collections::BTreeMap;

use domain::egress_policy::{EgressPolicy, stored_form};
use domain::{DeliveryPolicy, Endpoint, check_custom_header, limits};
use url::Url;

use super::Faults;

/// What a caller may set of an endpoint. Calls of the application take it [checked](Self::check).
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct EndpointDraft {
    pub(crate) display_name: String,
    pub(crate) description: String,
    pub(crate) url: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) policy: DeliveryPolicy,
    pub(crate) labels: BTreeMap<String, String>,
}

impl EndpointDraft {
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        Self {
            display_name: endpoint.display_name.clone(),
            description: endpoint.description.clone(),
            url: endpoint.url.clone(),
            headers: endpoint.headers.clone(),
            policy: endpoint.policy.clone(),
            labels: endpoint.labels.clone(),
        }
    }

    /// Checks everything, notes all faults (fields below `endpoint.`), and gives the draft back as it is stored. A URL equal to `stored_url` is not checked
    /// again: the policy may have become stricter, and the dial enforces it.
    pub(crate) fn check(
        mut self,
        faults: &mut Faults,
        egress: &EgressPolicy,
        stored_url: Option<&str>,
    ) -> Self {
        check_text(faults, "endpoint.display_name", &self.display_name);
        check_text(faults, "endpoint.description", &self.description);
        check_labels(faults, "endpoint.labels", &self.labels);
        if stored_url != Some(self.url.as_str()) {
            let url = faults.check("endpoint.url", check_url(&self.url, egress));
            self.url = url.unwrap_or_default();
        }
        self.headers = check_headers(faults, &self.headers);
        check_policy(faults, &self.policy);
        self
    }
}

/// Checks the numbers of a policy one by one: the whole would name its first fault alone.
fn check_policy(faults: &mut Faults, policy: &DeliveryPolicy) {
    let with = DeliveryPolicy::default;
    let parts = [
        DeliveryPolicy { timeout: policy.timeout, ..with() },
        DeliveryPolicy { max_concurrency: policy.max_concurrency, ..with() },
        DeliveryPolicy { disable_after: policy.disable_after, ..with() },
    ];
    for error in parts.iter().filter_map(|part| part.validate().err()) {
        faults.add(format!("endpoint.delivery.{}", error.field), error.to_string());
    }
}

/// Parses a URL, asks the egress policy, and gives the form that is stored.
fn check_url(text: &str, egress: &EgressPolicy) -> Result<String, String> {
    if text.is_empty() {
        return Err("required, such as https://example.com/webhooks".to_owned());
    }
    let url = Url::parse(text).map_err(|error| {
        format!("not a URL ({error}): allowed is such as https://example.com/webhooks")
    })?;
    egress.check_url(&url).map_err(|error| error.to_string())?;
    Ok(stored_form(url).into())
}

fn check_headers(
    faults: &mut Faults,
    headers: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    if headers.len() > limits::CUSTOM_HEADERS_MAX {
        faults.add(
            "endpoint.headers",
            format!("{} headers, allowed are {}", headers.len(), limits::CUSTOM_HEADERS_MAX),
        );
        return BTreeMap::new();
    }
    let mut checked = BTreeMap::new();
    for (name, value) in headers {
        let Some((lower, value)) =
            faults.check("endpoint.headers", check_custom_header(name, value))
        else {
            continue;
        };
        if checked.insert(lower.clone(), value).is_some() {
            faults.add("endpoint.headers", format!("header {lower:?} is given twice"));
        }
    }
    checked
}

/// Checks a text for people.
pub(crate) fn check_text(faults: &mut Faults, field: &str, text: &str) {
    let max = limits::TEXT_CHARS_MAX;
    // A character has at most 4 bytes: what is longer need not be counted.
    if text.len() > 4 * max || text.chars().count() > max {
        faults.add(field, format!("longer than the {max} characters that are allowed"));
    } else if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        faults.add(field, "control characters are not allowed");
    }
}

/// Checks a caller's labels.
pub(crate) fn check_labels(faults: &mut Faults, field: &str, labels: &BTreeMap<String, String>) {
    if labels.len() > limits::LABELS_MAX {
        faults.add(field, format!("{} labels, allowed are {}", labels.len(), limits::LABELS_MAX));
        return;
    }
    for (key, value) in labels {
        let mut letters = key.bytes();
        let valid = key.len() <= 63
            && letters.next().is_some_and(|b| b.is_ascii_lowercase())
            && letters
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if !valid {
            let key: String = key.chars().take(80).collect();
            faults.add(
                field,
                format!("key {key:?} is not valid: 1 to 63 of a-z, 0-9, _ and -, first a letter"),
            );
        }
        if value.chars().count() > 63 || value.chars().any(char::is_control) {
            faults.add(
                field,
                format!(
                    "value of {key:?} is not valid: at most 63 characters, no control characters"
                ),
            );
        }
    }
}
