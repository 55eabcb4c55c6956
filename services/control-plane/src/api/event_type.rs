//! Registered event types on the wire.

use std::collections::BTreeMap;

use domain::{ApiVersion, EventType, RegisteredType, Schemas, TypeEntry, limits};
use wire::api::v1;

use super::{request, time};
use crate::app::{
    CreateEventType, Error, EventTypeDraft, EventTypeName, Faults, Violation, check_text,
    name_of_type, parse_tenant, schema_field, uid_of_type,
};

/// The fields that an update may change.
const PATHS: [&str; 4] = ["description", "deprecated", "validate", "schemas"];

/// Reads what a caller may set. Schemas are not compiled here: that takes a while.
fn draft(faults: &mut Faults, event_type: v1::EventType) -> EventTypeDraft {
    check_text(faults, "event_type.description", &event_type.description);
    if event_type.validate && event_type.schemas.is_empty() {
        faults.add("event_type.validate", "needs at least one schema in schemas");
    }
    let schemas = schemas(faults, event_type.schemas);
    EventTypeDraft {
        description: event_type.description,
        deprecated: event_type.deprecated,
        validate: event_type.validate,
        schemas,
    }
}

fn schemas(faults: &mut Faults, given: BTreeMap<String, String>) -> Schemas {
    let max = limits::SCHEMA_VERSIONS_MAX;
    if given.len() > max {
        faults.add("event_type.schemas", format!("{} versions, allowed are {max}", given.len()));
    }
    let max = limits::SCHEMA_BYTES_MAX;
    let mut schemas = Schemas::new();
    for (version, text) in given.into_iter().take(limits::SCHEMA_VERSIONS_MAX) {
        let field = schema_field(&version);
        if text.len() > max {
            faults.add(field.clone(), format!("{} bytes long, allowed are {max}", text.len()));
        }
        if let Some(version) = faults.check(field, ApiVersion::parse(&version)) {
            schemas.insert(version, text.into());
        }
    }
    schemas
}

/// An event type on the wire.
pub(crate) fn to_wire(registered: RegisteredType) -> v1::EventType {
    let schemas = registered.schemas;
    v1::EventType { schemas: schemas_to_wire(&schemas), ..entry_to_wire(registered.entry) }
}

fn schemas_to_wire(schemas: &Schemas) -> BTreeMap<String, String> {
    schemas.iter().map(|(version, text)| (version.to_string(), text.to_string())).collect()
}

/// An event type without its schemas.
pub(crate) fn entry_to_wire(entry: TypeEntry) -> v1::EventType {
    v1::EventType {
        name: name_of_type(&entry).to_string(),
        uid: uid_of_type(&entry).hyphenated().to_string(),
        deprecated: entry.deprecated,
        validate: entry.validate,
        schemas: BTreeMap::new(),
        api_versions: entry.versions.keys().map(ToString::to_string).collect(),
        create_time: Some(time::to_wire(entry.create_time)),
        update_time: Some(time::to_wire(entry.update_time)),
        etag: request::etag(entry.revision),
        description: entry.description,
    }
}

/// Reads a request to register a type.
pub(crate) fn create(mut call: v1::CreateEventTypeRequest) -> Result<CreateEventType, Error> {
    let id = std::mem::take(&mut call.request_id);
    let request = request::request_id("CreateEventType", &id, &call);
    let mut faults = Faults::default();
    let request = faults.take(request);
    let tenant = faults.take(parse_tenant("parent", &call.parent));
    let event_type = faults.take(new_type("event_type_id", &call.event_type_id));
    let draft = draft(&mut faults, call.event_type.unwrap_or_default());
    let name =
        tenant.zip(event_type).map(|(tenant, event_type)| EventTypeName { tenant, event_type });
    let name = faults.finish_with(name)?;
    let validate_only = call.validate_only;
    Ok(CreateEventType { name, draft, request: request.flatten(), validate_only })
}

fn new_type(field: &str, text: &str) -> Result<EventType, Violation> {
    if text.is_empty() {
        return Err(Violation::new(field, "required: a type such as payment.completed"));
    }
    let parsed =
        EventType::parse(text).map_err(|error| Violation::new(field, error.to_string()))?;
    if parsed.is_operational() {
        let what = "is reserved: types that begin with postrider. are Postrider's own";
        return Err(Violation::new(field, format!("{text:?} {what}")));
    }
    Ok(parsed)
}

/// A change of an event type: its new values, and which of them count.
#[derive(Debug)]
pub(crate) struct Patch {
    values: v1::EventType,
    paths: Vec<&'static str>,
}

impl Patch {
    /// Reads a mask. Without one the populated fields count; `*` is all.
    pub(crate) fn parse(
        faults: &mut Faults,
        values: v1::EventType,
        mask: Option<prost_types::FieldMask>,
    ) -> Self {
        let paths = match mask {
            None => populated(&values),
            Some(mask) if mask.paths.iter().any(|path| path == "*") => PATHS.to_vec(),
            Some(mask) => {
                mask.paths.iter().filter_map(|path| faults.take(settable(path))).collect()
            }
        };
        Self { values, paths }
    }

    /// Turns what is set now into what shall be.
    ///
    /// # Errors
    /// [`Error::Invalid`] with `faults`, those of the rest of the request, and those of the new values.
    pub(crate) fn apply(
        &self,
        mut faults: Faults,
        current: EventTypeDraft,
    ) -> Result<EventTypeDraft, Error> {
        let mut merged = v1::EventType {
            schemas: schemas_to_wire(&current.schemas),
            description: current.description,
            deprecated: current.deprecated,
            validate: current.validate,
            ..v1::EventType::default()
        };
        for path in &self.paths {
            match *path {
                "description" => merged.description.clone_from(&self.values.description),
                "deprecated" => merged.deprecated = self.values.deprecated,
                "validate" => merged.validate = self.values.validate,
                // `paths` holds entries of PATHS alone.
                _ => merged.schemas.clone_from(&self.values.schemas),
            }
        }
        let draft = draft(&mut faults, merged);
        faults.finish()?;
        Ok(draft)
    }
}

fn settable(path: &str) -> Result<&'static str, Violation> {
    PATHS.into_iter().find(|known| *known == path).ok_or_else(|| {
        let path: String = path.chars().take(80).collect();
        let allowed = PATHS.join(", ");
        Violation::new(
            "update_mask",
            format!(
                "{path:?} is not a field of an event type that can be updated: allowed are {allowed}"
            ),
        )
    })
}

fn populated(values: &v1::EventType) -> Vec<&'static str> {
    let set = [
        ("description", !values.description.is_empty()),
        ("deprecated", values.deprecated),
        ("validate", values.validate),
        ("schemas", !values.schemas.is_empty()),
    ];
    set.into_iter().filter(|(_, is_set)| *is_set).map(|(path, _)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(result: Result<CreateEventType, Error>) -> Vec<String> {
        match result {
            Err(Error::Invalid(faults)) => faults.into_iter().map(|fault| fault.field).collect(),
            other => panic!("not a field fault: {other:?}"),
        }
    }

    #[test]
    fn a_create_says_all_that_is_wrong_at_once() {
        let event_type = v1::EventType {
            description: "x".repeat(1_001),
            validate: true,
            schemas: [("a b".to_owned(), "{}".to_owned())].into(),
            ..v1::EventType::default()
        };
        let call = v1::CreateEventTypeRequest {
            parent: "default".to_owned(),
            event_type_id: "postrider.endpoint.disabled".to_owned(),
            event_type: Some(event_type),
            request_id: "1".to_owned(),
            validate_only: false,
        };
        assert_eq!(
            fields(create(call)),
            [
                "request_id",
                "parent",
                "event_type_id",
                "event_type.description",
                "event_type.schemas[\"a b\"]",
            ]
        );
    }

    #[test]
    fn versions_and_bytes_of_schemas_are_bounded() {
        let call = |count: usize, bytes: usize| v1::CreateEventTypeRequest {
            parent: "tenants/default".to_owned(),
            event_type_id: "payment.completed".to_owned(),
            event_type: Some(v1::EventType {
                schemas: (0..count).map(|n| (format!("v{n}"), " ".repeat(bytes))).collect(),
                ..v1::EventType::default()
            }),
            ..v1::CreateEventTypeRequest::default()
        };
        assert!(create(call(32, 65_536)).is_ok());
        assert_eq!(fields(create(call(33, 1))), ["event_type.schemas"]);
        assert_eq!(fields(create(call(1, 65_537))), ["event_type.schemas[\"v0\"]"]);
    }

    #[test]
    fn a_mask_changes_what_it_names_and_refuses_the_rest() {
        let current = EventTypeDraft {
            description: "old".to_owned(),
            deprecated: true,
            validate: true,
            schemas: [(ApiVersion::parse("v1").expect("valid"), "true".into())].into(),
        };
        let mask = |path: &str| Some(prost_types::FieldMask { paths: vec![path.to_owned()] });
        let patched = |values, mask| {
            let mut faults = Faults::default();
            let patch = Patch::parse(&mut faults, values, mask);
            patch.apply(faults, current.clone())
        };
        let none = v1::EventType::default;
        let changed = patched(none(), mask("deprecated")).expect("valid");
        assert_eq!(changed, EventTypeDraft { deprecated: false, ..current.clone() });
        assert_eq!(patched(none(), None).expect("valid"), current, "nothing is populated");
        for (path, field) in [("uid", "update_mask"), ("schemas", "event_type.validate")] {
            match patched(none(), mask(path)) {
                Err(Error::Invalid(faults)) => assert_eq!(faults[0].field, field),
                other => panic!("{path}: {other:?}"),
            }
        }
        let all = patched(none(), mask("*")).expect("valid");
        assert!(all.schemas.is_empty() && !all.validate && all.description.is_empty());
    }
}
