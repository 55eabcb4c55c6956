//! `postrider event-type …`

use std::collections::BTreeMap;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use prost_types::FieldMask;
use wire::api::v1::{
    CreateEventTypeRequest, DeleteEventTypeRequest, EventType, GetEventTypeRequest,
    GetEventTypeResponse, ListEventTypesRequest, ListEventTypesResponse, UpdateEventTypeRequest,
};

use super::answer::Answer;
use super::endpoint::with_note;
use super::paging::{ListFlags, more};
use super::{Api, names, source, values};
use crate::failure::Failure;

/// What can be done with event types.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Register an event type: what it means, and what its data looks like
    Create(CreateArgs),
    /// List registered event types, newest first
    List(ListFlags),
    /// Show one event type with its schemas
    Get(Which),
    /// Change what is given, leave the rest
    Update(UpdateArgs),
    /// Delete an event type; events of it go on, and are checked no more
    Delete(Which),
}

/// Which event type.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The type, such as payment.completed
    #[arg(value_name = "TYPE")]
    event_type: String,
}

impl Which {
    fn name(&self, api: &Api) -> String {
        names::child(&names::tenant(api.tenant()), "eventTypes", &self.event_type)
    }
}

/// An event type to register.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The type, such as payment.completed
    #[arg(value_name = "TYPE")]
    event_type: String,
    /// What it means
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// JSON Schema of the data of a version: 2026-01-01=@schema.json, or the schema itself, or - for standard input; repeat for more
    #[arg(long = "schema", value_name = "API_VERSION=JSON|@file|-", value_parser = values::parse_label)]
    schemas: Vec<(String, String)>,
    /// Refuse events whose data does not conform to the schema of their version, when they are published through the API
    #[arg(long)]
    validate: bool,
    /// Tell publishers to use it no more; nothing fails
    #[arg(long)]
    deprecated: bool,
}

/// What to change.
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    #[command(flatten)]
    which: Which,
    /// What it means; '' removes it
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Adds or replaces the JSON Schema of a version: 2026-01-01=@schema.json; the other versions stay
    #[arg(long = "schema", value_name = "API_VERSION=JSON|@file|-", value_parser = values::parse_label)]
    schemas: Vec<(String, String)>,
    /// Removes the JSON Schema of a version; repeat for more
    #[arg(long = "remove-schema", value_name = "API_VERSION")]
    removed: Vec<String>,
    /// Refuse events whose data does not conform to the schema of their version (--validate=false: no more)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    validate: Option<bool>,
    /// Tell publishers to use it no more (--deprecated=false: no more)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    deprecated: Option<bool>,
    /// Only if this is still its etag
    #[arg(long)]
    etag: Option<String>,
}

const COLUMNS: [&str; 5] = ["TYPE", "VALIDATED", "DEPRECATED", "VERSIONS", "DESCRIPTION"];

/// Runs one of them.
pub(crate) async fn run(command: Command, api: &Api) -> Result<Answer, Failure> {
    match command {
        Command::Create(args) => create(args, api).await,
        Command::List(flags) => list(flags, api).await,
        Command::Get(which) => {
            let answer = get(&which, api).await?;
            Answer::fields(&answer, fields(answer.event_type.as_ref()))
        }
        Command::Update(args) => update(args, api).await,
        Command::Delete(which) => {
            let request = DeleteEventTypeRequest { name: which.name(api), ..Default::default() };
            let answer = api.event_types().delete_event_type(request).await?.into_inner();
            let line = format!("event type {} deleted", which.event_type);
            Answer::table(&answer, &[], [vec![line]])
        }
    }
}

async fn create(args: CreateArgs, api: &Api) -> Result<Answer, Failure> {
    let request = CreateEventTypeRequest {
        parent: names::tenant(api.tenant()),
        event_type_id: args.event_type,
        event_type: Some(EventType {
            description: args.description.unwrap_or_default(),
            schemas: read(args.schemas)?,
            validate: args.validate,
            deprecated: args.deprecated,
            ..Default::default()
        }),
        ..Default::default()
    };
    let answer = api.event_types().create_event_type(request).await?.into_inner();
    Answer::fields(&answer, fields(answer.event_type.as_ref()))
}

/// Reads schemas from where they lie.
fn read(given: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Failure> {
    let mut schemas = BTreeMap::new();
    for (version, schema) in given {
        let text = String::from_utf8(source::read(&schema)?)
            .with_context(|| format!("the schema of {version} is not text"))?;
        if schemas.insert(version.clone(), text).is_some() {
            return Err(Failure::Usage(format!("--schema {version}=… is given twice")));
        }
    }
    Ok(schemas)
}

async fn get(which: &Which, api: &Api) -> Result<GetEventTypeResponse, Failure> {
    let request = GetEventTypeRequest { name: which.name(api) };
    Ok(api.event_types().get_event_type(request).await?.into_inner())
}

async fn list(flags: ListFlags, api: &Api) -> Result<Answer, Failure> {
    let mut client = api.event_types();
    let parent = names::tenant(api.tenant());
    let rows = flags
        .fetch(async |page_size, page_token| {
            let request = ListEventTypesRequest { parent: parent.clone(), page_size, page_token };
            let page = client.list_event_types(request).await?.into_inner();
            Ok((page.event_types, page.next_page_token))
        })
        .await?;
    let answer = ListEventTypesResponse { event_types: rows.items, next_page_token: rows.next };
    let shown = Answer::table(&answer, &COLUMNS, answer.event_types.iter().map(row))?;
    Ok(with_note(shown, more(&answer.next_page_token)))
}

async fn update(args: UpdateArgs, api: &Api) -> Result<Answer, Failure> {
    let some_schema = !args.schemas.is_empty() || !args.removed.is_empty();
    let given = [
        ("description", args.description.is_some()),
        ("schemas", some_schema),
        ("validate", args.validate.is_some()),
        ("deprecated", args.deprecated.is_some()),
    ];
    let paths: Vec<_> =
        given.iter().filter(|(_, given)| *given).map(|(path, _)| (*path).to_owned()).collect();
    if paths.is_empty() {
        let message = "nothing to change: give at least one flag, such as --deprecated";
        return Err(Failure::Usage(message.to_owned()));
    }
    let mut event_type = EventType {
        name: args.which.name(api),
        description: args.description.unwrap_or_default(),
        validate: args.validate.unwrap_or_default(),
        deprecated: args.deprecated.unwrap_or_default(),
        etag: args.etag.unwrap_or_default(),
        ..Default::default()
    };
    if some_schema {
        let new = read(args.schemas)?;
        let stored = get(&args.which, api).await?.event_type.unwrap_or_default();
        (event_type.schemas, event_type.etag) =
            merged(stored, new, &args.removed, event_type.etag)?;
    }
    let request = UpdateEventTypeRequest {
        event_type: Some(event_type),
        update_mask: Some(FieldMask { paths }),
        ..Default::default()
    };
    let answer = api.event_types().update_event_type(request).await?.into_inner();
    Answer::fields(&answer, fields(answer.event_type.as_ref()))
}

/// The schemas that there shall be, and the etag of those that they were made from: another change in between must not be lost.
fn merged(
    stored: EventType,
    new: BTreeMap<String, String>,
    removed: &[String],
    etag: String,
) -> Result<(BTreeMap<String, String>, String), Failure> {
    let mut schemas = stored.schemas;
    for version in removed {
        if schemas.remove(version).is_none() {
            let there: Vec<_> = stored.api_versions.iter().map(String::as_str).collect();
            let there = there.join(", ");
            let message = format!("--remove-schema {version}: there is none; there are: {there}");
            return Err(Failure::Other(anyhow::anyhow!(message)));
        }
    }
    schemas.extend(new);
    Ok((schemas, if etag.is_empty() { stored.etag } else { etag }))
}

fn row(event_type: &EventType) -> Vec<String> {
    vec![
        names::last(&event_type.name),
        yes(event_type.validate),
        yes(event_type.deprecated),
        event_type.api_versions.join(", "),
        event_type.description.clone(),
    ]
}

fn yes(is: bool) -> String {
    if is { "yes".to_owned() } else { String::new() }
}

fn fields(event_type: Option<&EventType>) -> Vec<(&'static str, String)> {
    let Some(event_type) = event_type else {
        return Vec::new();
    };
    vec![
        ("Type", names::last(&event_type.name)),
        ("Description", event_type.description.clone()),
        ("Validated", yes(event_type.validate)),
        ("Deprecated", yes(event_type.deprecated)),
        ("Versions", event_type.api_versions.join(", ")),
        ("Schemas", values::show_pairs(&event_type.schemas, ": ")),
        ("Created", values::show_time(event_type.create_time)),
        ("Updated", values::show_time(event_type.update_time)),
        ("Etag", event_type.etag.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn schemas_are_added_replaced_and_removed_and_the_rest_stays() {
        let stored = || EventType {
            schemas: map(&[("a", "1"), ("b", "2"), ("c", "3")]),
            etag: "read".to_owned(),
            ..Default::default()
        };
        let new = || map(&[("b", "4"), ("d", "5")]);
        let (schemas, etag) =
            merged(stored(), new(), &["c".to_owned()], String::new()).expect("merged");
        assert_eq!(schemas, map(&[("a", "1"), ("b", "4"), ("d", "5")]));
        assert_eq!(etag, "read", "or a change in between would be lost");
        let (_, etag) = merged(stored(), new(), &[], "mine".to_owned()).expect("merged");
        assert_eq!(etag, "mine");
        assert!(merged(stored(), new(), &["x".to_owned()], String::new()).is_err());
    }

    #[test]
    fn a_version_is_given_once() {
        let twice = vec![("a".to_owned(), "{}".to_owned()), ("a".to_owned(), "{}".to_owned())];
        assert!(matches!(read(twice), Err(Failure::Usage(_))));
    }
}
