//! Which fields of an endpoint an update changes.

use wire::api::v1;

use super::endpoint;
use crate::app::{EndpointDraft, Error, Faults, Violation};

/// The fields that an update may change.
const PATHS: [&str; 15] = [
    "display_name",
    "description",
    "url",
    "headers",
    "labels",
    "delivery",
    "delivery.timeout",
    "delivery.retry_schedule",
    "delivery.no_retries",
    "delivery.rate_limit",
    "delivery.max_concurrency",
    "delivery.ordering",
    "delivery.format",
    "delivery.signature",
    "delivery.disable_after",
];

/// The fields that the server sets.
const OUTPUT: [&str; 11] = [
    "name",
    "uid",
    "state",
    "state_reason",
    "state_message",
    "state_time",
    "health",
    "secrets",
    "create_time",
    "update_time",
    "etag",
];

/// A change of an endpoint: its new values, and which of them count.
#[derive(Debug)]
pub(crate) struct Patch {
    values: v1::Endpoint,
    paths: Vec<&'static str>,
}

impl Patch {
    /// Reads a mask. Without one the populated fields count; `*` is all.
    ///
    /// # Errors
    /// A path that does not exist, or that an update cannot change.
    pub(crate) fn parse(
        values: v1::Endpoint,
        mask: Option<prost_types::FieldMask>,
    ) -> Result<Self, Violation> {
        let paths = match mask {
            None => populated(&values),
            Some(mask) if mask.paths.iter().any(|path| path == "*") => {
                PATHS.into_iter().filter(|path| !path.contains('.')).collect()
            }
            Some(mask) => mask.paths.iter().map(|path| settable(path)).collect::<Result<_, _>>()?,
        };
        Ok(Self { values, paths })
    }

    /// Turns what is set now into what shall be.
    pub(crate) fn apply(&self, current: EndpointDraft) -> Result<EndpointDraft, Error> {
        let mut merged = endpoint::draft_to_wire(current);
        for path in &self.paths {
            self.set(path, &mut merged);
        }
        let mut faults = Faults::default();
        let draft = endpoint::draft(&mut faults, &merged);
        faults.finish()?;
        Ok(draft)
    }

    fn set(&self, path: &str, to: &mut v1::Endpoint) {
        let from = &self.values;
        match path {
            "display_name" => to.display_name.clone_from(&from.display_name),
            "description" => to.description.clone_from(&from.description),
            "url" => to.url.clone_from(&from.url),
            "headers" => to.headers.clone_from(&from.headers),
            "labels" => to.labels.clone_from(&from.labels),
            "delivery" => to.delivery.clone_from(&from.delivery),
            part => self.set_delivery(part, to.delivery.get_or_insert_default()),
        }
    }

    fn set_delivery(&self, path: &str, to: &mut v1::DeliveryPolicy) {
        let from = self.values.delivery.clone().unwrap_or_default();
        match path.trim_start_matches("delivery.") {
            "timeout" => to.timeout = from.timeout,
            "retry_schedule" => {
                to.retry_schedule = from.retry_schedule;
                // A new schedule ends `no_retries`, unless the update sets that too.
                to.no_retries = from.no_retries;
            }
            "no_retries" => {
                to.no_retries = from.no_retries;
                if !self.paths.contains(&"delivery.retry_schedule") {
                    // One excludes the other.
                    to.retry_schedule.clear();
                }
            }
            "rate_limit" => to.rate_limit = from.rate_limit,
            "max_concurrency" => to.max_concurrency = from.max_concurrency,
            "ordering" => to.ordering = from.ordering,
            "format" => to.format = from.format,
            "signature" => to.signature = from.signature,
            "disable_after" => to.disable_after = from.disable_after,
            // `paths` holds entries of PATHS alone.
            _ => {}
        }
    }
}

fn settable(path: &str) -> Result<&'static str, Violation> {
    if let Some(known) = PATHS.iter().find(|known| **known == path) {
        return Ok(known);
    }
    let head = path.split('.').next().unwrap_or_default();
    let description = if head == "state" {
        "state is changed by PauseEndpoint, ResumeEndpoint and DisableEndpoint alone".to_owned()
    } else if OUTPUT.contains(&head) {
        format!("{head} is set by the server and cannot be updated")
    } else {
        let path: String = path.chars().take(80).collect();
        format!("{path:?} is not a field of an endpoint: allowed are {}", PATHS.join(", "))
    };
    Err(Violation::new("update_mask", description))
}

fn populated(values: &v1::Endpoint) -> Vec<&'static str> {
    let delivery = values.delivery.clone().unwrap_or_default();
    let set = [
        ("display_name", !values.display_name.is_empty()),
        ("description", !values.description.is_empty()),
        ("url", !values.url.is_empty()),
        ("headers", !values.headers.is_empty()),
        ("labels", !values.labels.is_empty()),
        ("delivery.timeout", delivery.timeout.is_some()),
        ("delivery.retry_schedule", !delivery.retry_schedule.is_empty()),
        ("delivery.no_retries", delivery.no_retries),
        ("delivery.rate_limit", delivery.rate_limit != 0.0),
        ("delivery.max_concurrency", delivery.max_concurrency != 0),
        ("delivery.ordering", delivery.ordering != 0),
        ("delivery.format", delivery.format != 0),
        ("delivery.signature", delivery.signature != 0),
        ("delivery.disable_after", delivery.disable_after != 0),
    ];
    let set = set.into_iter().filter(|(_, is_set)| *is_set);
    set.map(|(path, _)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
        Some(prost_types::FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        })
    }

    fn draft() -> EndpointDraft {
        let mut faults = Faults::default();
        let endpoint = v1::Endpoint {
            url: "https://example.com/a".to_owned(),
            display_name: "old".to_owned(),
            ..v1::Endpoint::default()
        };
        endpoint::draft(&mut faults, &endpoint)
    }

    #[test]
    fn unknown_and_output_paths_are_refused_with_the_reason() {
        for (path, words) in [
            ("urll", "is not a field of an endpoint"),
            ("state", "PauseEndpoint"),
            ("uid", "set by the server"),
            ("delivery.x", "is not a field of an endpoint"),
        ] {
            let fault = Patch::parse(v1::Endpoint::default(), mask(&[path])).expect_err(path);
            assert_eq!(fault.field, "update_mask");
            assert!(fault.description.contains(words), "{fault:?}");
        }
    }

    #[test]
    fn a_masked_field_changes_alone_and_may_be_emptied() {
        let values =
            v1::Endpoint { url: "https://example.com/b".to_owned(), ..v1::Endpoint::default() };
        let patch = Patch::parse(values, mask(&["display_name"])).expect("valid");
        let changed = patch.apply(draft()).expect("valid");
        assert_eq!(changed.display_name, "");
        assert_eq!(changed.url, "https://example.com/a");
    }

    #[test]
    fn without_a_mask_the_populated_fields_count() {
        let values = v1::Endpoint {
            delivery: Some(v1::DeliveryPolicy {
                no_retries: true,
                ..v1::DeliveryPolicy::default()
            }),
            ..v1::Endpoint::default()
        };
        let changed = Patch::parse(values, None).expect("valid").apply(draft());
        let changed = changed.expect("valid");
        assert!(changed.policy.retry_schedule.steps().is_empty());
        assert_eq!(changed.display_name, "old");
    }
}
