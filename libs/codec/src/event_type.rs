//! Registered event types: the entry, and the schemas beside it. A schema's bytes are long and seldom needed, so they are a value of their own; the
//! revision in both says that they belong together.

use domain::{ApiVersion, EventType, Revision, Schemas, TypeEntry};

use super::{In, Out, Read};

const ENTRY: u8 = 1;
const SCHEMAS: u8 = 1;

/// Is true of a type that is deprecated.
const DEPRECATED: u8 = 1;
/// Is true of a type that is validated at publish.
const VALIDATE: u8 = 2;

pub fn encode_type_entry(entry: &TypeEntry) -> Vec<u8> {
    let mut out = Out::new(ENTRY, 160);
    let deprecated = if entry.deprecated { DEPRECATED } else { 0 };
    let validate = if entry.validate { VALIDATE } else { 0 };
    out.text(entry.tenant.as_str())
        .text(entry.event_type.as_str())
        .text(&entry.description)
        .byte(deprecated | validate)
        .list(entry.versions.iter(), |out, (version, bytes)| {
            out.text(version.as_str()).uint((*bytes).into());
        })
        .time(entry.create_time)
        .time(entry.update_time)
        .uint(entry.revision.0);
    out.end()
}

pub fn decode_type_entry(bytes: &[u8]) -> Read<TypeEntry> {
    let mut input = In::new(bytes, ENTRY, "event type")?;
    let (tenant, event_type, description) = (input.tenant()?, input.event_type()?, input.string()?);
    let flags = input.byte()?;
    if flags & !(DEPRECATED | VALIDATE) != 0 {
        return Err(input.damaged());
    }
    let versions = input.list(|input| Ok((input.api_version()?, input.small()?)))?;
    let entry = TypeEntry {
        tenant,
        event_type,
        description,
        deprecated: flags & DEPRECATED != 0,
        validate: flags & VALIDATE != 0,
        versions: versions.into_iter().collect(),
        create_time: input.time()?,
        update_time: input.time()?,
        revision: Revision(input.uint()?),
    };
    input.end()?;
    Ok(entry)
}

pub fn encode_schemas(revision: Revision, schemas: &Schemas) -> Vec<u8> {
    let capacity = schemas.values().map(|text| text.len() + 16).sum();
    let mut out = Out::new(SCHEMAS, capacity);
    out.uint(revision.0).list(schemas.iter(), |out, (version, text)| {
        out.text(version.as_str()).text(text);
    });
    out.end()
}

pub fn decode_schemas(bytes: &[u8]) -> Read<(Revision, Schemas)> {
    let mut input = In::new(bytes, SCHEMAS, "schemas of an event type")?;
    let revision = Revision(input.uint()?);
    let schemas = input.list(|input| Ok((input.api_version()?, input.shared()?)))?;
    input.end()?;
    Ok((revision, schemas.into_iter().collect()))
}

impl In<'_> {
    fn event_type(&mut self) -> Read<EventType> {
        EventType::parse(self.text()?).map_err(|_| self.damaged())
    }

    fn api_version(&mut self) -> Read<ApiVersion> {
        ApiVersion::parse(self.text()?).map_err(|_| self.damaged())
    }
}
