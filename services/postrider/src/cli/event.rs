//! `postrider event …`

use clap::{Args, Subcommand};
use ports::Clock as _;
use runtime::SystemClock;
use wire::api::v1::{
    Event, GetEventRequest, ListEventsRequest, ListEventsResponse, NewEvent, PublishEventsRequest,
    ResendEventRequest,
};

use super::answer::Answer;
use super::endpoint::with_note;
use super::paging::{ListFlags, more};
use super::values::{Moment, parse_moment, show_time};
use super::{Api, names, source};
use crate::failure::Failure;

/// What can be done with events.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publish an event; it is durable when this returns
    Publish(PublishArgs),
    /// List events, newest first
    List {
        /// Only events since then: a time, or a duration such as 1h
        #[arg(long, value_name = "TIME", value_parser = parse_moment)]
        since: Option<Moment>,
        /// Only events before then
        #[arg(long, value_name = "TIME", value_parser = parse_moment)]
        until: Option<Moment>,
        #[command(flatten)]
        flags: ListFlags,
    },
    /// Show one event with its data
    Get {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Deliver an event anew, at once, with a whole retry schedule
    Resend {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
        /// Only to this endpoint, whether it subscribed or not
        #[arg(long, value_name = "ID")]
        endpoint: Option<String>,
    },
}

/// An event to publish.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// What happened, such as payment.completed
    #[arg(value_name = "TYPE")]
    event_type: String,
    /// The body: JSON, @file, or - for standard input; sent on byte for byte
    #[arg(long, value_name = "JSON|@file|-")]
    data: String,
    /// Its id (default: made by the server)
    #[arg(long)]
    id: Option<String>,
    /// The same key within 24 h gives the same event and one fan-out (default: the id)
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Version of the payload's shape, such as 2026-08-01
    #[arg(long, value_name = "DATE")]
    api_version: Option<String>,
    /// Events of one key go out in order to endpoints that ask for it
    #[arg(long, value_name = "KEY")]
    ordering_key: Option<String>,
    /// Narrows which subscriptions match; repeat for more
    #[arg(long = "channel", value_name = "CHANNEL")]
    channels: Vec<String>,
    /// When to deliver it first: a time, or a duration from now such as 10m
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    deliver_at: Option<Moment>,
    /// Media type of the body (default: application/json)
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
}

const COLUMNS: [&str; 4] = ["ID", "TYPE", "BYTES", "TIME"];

/// Runs one of them.
pub(crate) async fn run(command: Command, api: &Api) -> Result<Answer, Failure> {
    match command {
        Command::Publish(args) => publish(args, api).await,
        Command::List { since, until, flags } => list((since, until), flags, api).await,
        Command::Get { id } => {
            let name = names::event(api.tenant(), &id);
            let answer = api.events().get_event(GetEventRequest { name }).await?.into_inner();
            Answer::fields(&answer, fields(answer.event.as_ref()))
        }
        Command::Resend { id, endpoint } => {
            let endpoint = endpoint.map(|id| names::endpoint(api.tenant(), &id));
            let request = ResendEventRequest {
                name: names::event(api.tenant(), &id),
                endpoint: endpoint.unwrap_or_default(),
                ..Default::default()
            };
            let answer = api.events().resend_event(request).await?.into_inner();
            let rows = answer
                .deliveries
                .iter()
                .map(|name| vec![names::part(name, "endpoints"), names::last(name)]);
            let shown = Answer::table(&answer, &["ENDPOINT", "EVENT"], rows)?;
            Ok(shown.note(format!("follow it with `postrider attempt list {id}`")))
        }
    }
}

async fn publish(args: PublishArgs, api: &Api) -> Result<Answer, Failure> {
    let now = SystemClock::new().now();
    let event = NewEvent {
        id: args.id.unwrap_or_default(),
        r#type: args.event_type,
        data: source::read(&args.data)?.into(),
        content_type: args.content_type.unwrap_or_default(),
        api_version: args.api_version.unwrap_or_default(),
        idempotency_key: args.idempotency_key.unwrap_or_default(),
        ordering_key: args.ordering_key.unwrap_or_default(),
        channels: args.channels,
        deliver_time: args.deliver_at.map(|moment| moment.after(now)),
        create_time: None,
    };
    let request = PublishEventsRequest {
        parent: names::tenant(api.tenant()),
        events: vec![event],
        ..Default::default()
    };
    let answer = api.events().publish_events(request).await?.into_inner();
    let rows = answer.results.iter().map(|result| {
        let error = result.error.as_ref().map(|error| error.message.clone());
        vec![result.id.clone(), result.duplicate.to_string(), error.unwrap_or_default()]
    });
    let failed = answer.results.iter().any(|result| result.error.is_some());
    let shown = Answer::table(&answer, &["ID", "DUPLICATE", "ERROR"], rows)?;
    let warnings = answer.results.iter().map(|result| result.warning.clone());
    let warnings = warnings.filter(|warning| !warning.is_empty());
    Ok(warnings.fold(shown, Answer::note).failed_if(failed))
}

async fn list(
    (since, until): (Option<Moment>, Option<Moment>),
    flags: ListFlags,
    api: &Api,
) -> Result<Answer, Failure> {
    let now = SystemClock::new().now();
    let mut client = api.events();
    let rows = flags
        .fetch(async |page_size, page_token| {
            let request = ListEventsRequest {
                parent: names::tenant(api.tenant()),
                page_size,
                page_token,
                start_time: since.map(|moment| moment.before(now)),
                end_time: until.map(|moment| moment.before(now)),
            };
            let page = client.list_events(request).await?.into_inner();
            Ok((page.events, page.next_page_token))
        })
        .await?;
    let answer = ListEventsResponse { events: rows.items, next_page_token: rows.next };
    let table = answer.events.iter().map(|event| {
        vec![
            event.id.clone(),
            event.r#type.clone(),
            event.data.len().to_string(),
            show_time(event.create_time),
        ]
    });
    let shown = Answer::table(&answer, &COLUMNS, table)?;
    Ok(with_note(shown, more(&answer.next_page_token)))
}

/// One event by itself.
pub(crate) fn fields(event: Option<&Event>) -> Vec<(&'static str, String)> {
    let Some(event) = event else {
        return Vec::new();
    };
    let data = std::str::from_utf8(&event.data)
        .map_or_else(|_| format!("{} bytes that are not text", event.data.len()), str::to_owned);
    vec![
        ("Event", event.id.clone()),
        ("Type", event.r#type.clone()),
        ("Time", show_time(event.create_time)),
        ("API version", event.api_version.clone()),
        ("Content type", event.content_type.clone()),
        ("Idempotency key", event.idempotency_key.clone()),
        ("Ordering key", event.ordering_key.clone()),
        ("Channels", event.channels.join(", ")),
        ("Deliver at", show_time(event.deliver_time)),
        ("Data", data),
    ]
}
