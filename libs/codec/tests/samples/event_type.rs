//! Registered event types, and their schemas.

use domain::{ApiVersion, EventType, RegisteredType, Revision, Schemas, TypeEntry};
use postrider_codec::{decode_schemas, decode_type_entry, encode_schemas, encode_type_entry};

use super::{Sample, tenant, time};

pub(crate) fn all() -> Vec<Sample> {
    let flags = [("bare", false, false), ("deprecated", true, false), ("validated", false, true)];
    let entries = flags.into_iter().map(|(name, deprecated, validate)| {
        let entry = registered(deprecated, validate).entry;
        Sample::new(format!("type-{name}"), entry, encode_type_entry, decode_type_entry)
    });
    let schemas = (Revision(300), registered(false, true).schemas);
    let schemas = Sample::new(
        "type-schemas",
        schemas,
        |(revision, schemas)| encode_schemas(*revision, schemas),
        decode_schemas,
    );
    entries.chain([schemas]).collect()
}

fn registered(deprecated: bool, validate: bool) -> RegisteredType {
    let entry = TypeEntry {
        tenant: tenant(),
        event_type: EventType::parse("payment.completed").expect("valid"),
        description: "paid".to_owned(),
        deprecated,
        validate,
        versions: [].into(),
        create_time: time(0),
        update_time: time(100),
        revision: Revision(300),
    };
    let mut registered = RegisteredType { entry, schemas: Schemas::new() };
    if validate {
        let version = |text| ApiVersion::parse(text).expect("valid");
        registered.set_schemas(
            [
                (version("2026-01-01"), "{\"type\":\"object\"}".into()),
                (version("2026-02-01"), "true".into()),
            ]
            .into(),
        );
    }
    registered
}
