//! `postrider listen`: events as they are published, sent on to a server near by as deliveries would be. It needs no endpoint and no public address.

mod forward;

use std::time::Duration;

use clap::Args;
use domain::{EventPattern, OutcomeKind};
use runtime::{format_span, parse_span};
use serde_json::{Value, json};
use wire::api::v1::{Event, WatchEventsRequest, WatchEventsResponse};

use super::attempt::one_line;
use super::values::{BodyFormat, SignatureFlag, parse_header};
use super::{Api, Format, names, stream};
use crate::failure::Failure;
use crate::terminal::{Terminal, Tone};
use forward::{Forward, Forwarded};

/// What to listen to, and where it goes.
#[derive(Debug, Args)]
pub(crate) struct ListenArgs {
    /// Where to send events on, such as localhost:3000/webhooks
    #[arg(long, value_name = "URL")]
    forward_to: String,
    /// Only events of this type, such as payment.*; repeat for more (default: all)
    #[arg(long = "event", value_name = "PATTERN", value_parser = pattern)]
    events: Vec<String>,
    /// Secret to sign with: whsec_…, @file or - (default: a new one, which is shown)
    #[arg(long, value_name = "SECRET")]
    secret: Option<String>,
    /// A header to send along; repeat for more
    #[arg(long = "header", short = 'H', value_name = "K: V", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// What the body looks like
    #[arg(long, value_enum, default_value = "envelope", value_name = "FORMAT")]
    format: BodyFormat,
    /// Which signature headers are sent
    #[arg(long, value_enum, default_value = "both", value_name = "SCHEME")]
    signature: SignatureFlag,
    /// Longest time for one answer
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = parse_span)]
    timeout: Duration,
}

fn pattern(text: &str) -> Result<String, String> {
    EventPattern::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Forwards until it is interrupted. Answers are shown, and nothing is sent twice: what the server near by refuses is not tried again.
///
/// # Errors
/// [`Failure`] for a destination or a secret that cannot be one, and when the server refuses.
pub(crate) async fn run(
    args: ListenArgs,
    api: &Api,
    format: Format,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let forward = Forward::new(&args, api.tenant())?;
    let open = async |resume_token| {
        let request = WatchEventsRequest {
            parent: names::tenant(api.tenant()),
            event_types: args.events.clone(),
            resume_token,
        };
        api.events().watch_events(request).await
    };
    let begun = || {
        let what = if args.events.is_empty() { "*".to_owned() } else { args.events.join(", ") };
        terminal.note(format!("forwarding {what} to {}; Ctrl-C ends it", forward.url()));
        terminal.note(format!("signed with {}", forward.secret()));
    };
    let take = async |message: WatchEventsResponse| {
        if let Some(event) = message.event {
            let forwarded = forward.send(&event).await?;
            terminal.data(shown(&event, &forwarded, format, terminal)?)?;
        }
        Ok(message.resume_token)
    };
    stream::follow(terminal, open, begun, take).await
}

fn shown(
    event: &Event,
    forwarded: &Forwarded,
    format: Format,
    terminal: &Terminal,
) -> Result<String, Failure> {
    match format {
        Format::Table => Ok(line(event, forwarded, terminal)),
        // One line each, for programs that read them as they come.
        Format::Json => Ok(message(event, forwarded).to_string()),
        Format::Yaml => {
            let text = serde_yaml_ng::to_string(&message(event, forwarded));
            Ok(format!("---\n{}", text.map_err(anyhow::Error::from)?.trim_end()))
        }
    }
}

fn line(event: &Event, forwarded: &Forwarded, terminal: &Terminal) -> String {
    let outcome = &forwarded.outcome;
    let (tone, result) = match outcome.kind {
        OutcomeKind::Answered(status @ 200..=299) => (Tone::Good, status.to_string()),
        OutcomeKind::Answered(status) => (Tone::Bad, status.to_string()),
        OutcomeKind::Failed(class) => (Tone::Bad, class.as_str().to_owned()),
    };
    let answer = match outcome.kind {
        OutcomeKind::Answered(200..=299) => String::new(),
        OutcomeKind::Answered(_) => one_line(&String::from_utf8_lossy(&outcome.excerpt)),
        OutcomeKind::Failed(_) => one_line(&outcome.detail),
    };
    let took = format_span(Duration::from_millis(
        u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX).max(1),
    ));
    let line = format!(
        "{}  {}  {}  {}  {took}  {answer}",
        forwarded.time.to_rfc3339(),
        event.r#type,
        event.id,
        terminal.out(tone, result),
    );
    line.trim_end().to_owned()
}

fn message(event: &Event, forwarded: &Forwarded) -> Value {
    let outcome = &forwarded.outcome;
    let (status, class) = match outcome.kind {
        OutcomeKind::Answered(status) => (Some(status), None),
        OutcomeKind::Failed(class) => (None, Some(class.as_str())),
    };
    json!({
        "time": forwarded.time.to_rfc3339(),
        "event": event.name,
        "type": event.r#type,
        "statusCode": status,
        "errorClass": class,
        "errorMessage": outcome.detail,
        "durationMs": (outcome.duration.as_secs_f64() * 1e6).round() / 1e3,
        "responseExcerpt": String::from_utf8_lossy(&outcome.excerpt),
    })
}
