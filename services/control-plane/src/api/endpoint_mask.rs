//! Which fields of an endpoint an update changes.

use domain::egress_policy::EgressPolicy;
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
    /// Reads a mask. Without one the populated fields count; `*` is all. A path that does not exist, or that an update cannot change, is a fault.
    pub(crate) fn parse(
        faults: &mut Faults,
        values: v1::Endpoint,
        mask: Option<prost_types::FieldMask>,
    ) -> Self {
        let paths = match mask {
            None => populated(&values),
            Some(mask) if mask.paths.iter().any(|path| path == "*") => {
                PATHS.into_iter().filter(|path| !path.contains('.')).collect()
            }
            Some(mask) => {
                mask.paths.iter().filter_map(|path| faults.take(settable(path))).collect()
            }
        };
        Self { values, paths }
    }

    /// Turns what is set now into what shall be, checked.
    ///
    /// # Errors
    /// [`Error::Invalid`] with `faults`, those of the rest of the request, and those of the new values.
    pub(crate) fn apply(
        &self,
        mut faults: Faults,
        current: EndpointDraft,
        egress: &EgressPolicy,
    ) -> Result<EndpointDraft, Error> {
        let stored_url = current.url.clone();
        let mut merged = endpoint::draft_to_wire(current);
        for path in &self.paths {
            self.set(path, &mut merged);
        }
        let draft = endpoint::draft(&mut faults, &merged, egress, Some(&stored_url));
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
        endpoint::draft(&mut faults, &endpoint, &EgressPolicy::production(), None)
    }

    fn patched(
        values: v1::Endpoint,
        mask: Option<prost_types::FieldMask>,
    ) -> Result<EndpointDraft, Error> {
        let mut faults = Faults::default();
        let patch = Patch::parse(&mut faults, values, mask);
        patch.apply(faults, draft(), &EgressPolicy::production())
    }

    fn faults(result: Result<EndpointDraft, Error>) -> Vec<Violation> {
        match result {
            Err(Error::Invalid(faults)) => faults,
            other => panic!("not a field fault: {other:?}"),
        }
    }

    #[test]
    fn unknown_and_output_paths_are_refused_with_the_reason() {
        for (path, words) in [
            ("urll", "is not a field of an endpoint"),
            ("state", "PauseEndpoint"),
            ("uid", "set by the server"),
            ("delivery.x", "is not a field of an endpoint"),
        ] {
            let faults = faults(patched(v1::Endpoint::default(), mask(&[path])));
            assert_eq!(faults[0].field, "update_mask");
            assert!(faults[0].description.contains(words), "{faults:?}");
        }
    }

    #[test]
    fn faults_of_the_mask_and_of_the_values_come_in_one_answer() {
        let values = v1::Endpoint { url: "ftp://example.com/".to_owned(), ..Default::default() };
        let faults = faults(patched(values, mask(&["urll", "url", "uid"])));
        let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["update_mask", "update_mask", "endpoint.url"]);
    }

    #[test]
    fn a_stored_url_is_not_checked_again() {
        let current = EndpointDraft { url: "https://10.0.0.1/".to_owned(), ..draft() };
        let values = v1::Endpoint { display_name: "new".to_owned(), ..Default::default() };
        let patch = Patch::parse(&mut Faults::default(), values, mask(&["display_name"]));
        let policy = EgressPolicy::production();
        let changed = patch.apply(Faults::default(), current.clone(), &policy).expect("valid");
        assert_eq!(changed.url, current.url);
    }

    #[test]
    fn a_masked_field_changes_alone_and_may_be_emptied() {
        let values =
            v1::Endpoint { url: "https://example.com/b".to_owned(), ..v1::Endpoint::default() };
        let changed = patched(values, mask(&["display_name"])).expect("valid");
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
        let changed = patched(values, None).expect("valid");
        assert!(changed.policy.retry_schedule.steps().is_empty());
        assert_eq!(changed.display_name, "old");
    }
}
