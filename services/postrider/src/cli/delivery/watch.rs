//! `postrider delivery watch`

use clap::Args;
use wire::api::v1::{WatchDeliveriesRequest, WatchDeliveriesResponse};

use super::super::values::{show_count, show_enum, show_span, show_time};
use super::super::{Api, Format, json, names, stream};
use crate::failure::Failure;
use crate::terminal::{Terminal, Tone};

/// Which attempts to watch.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Only of this endpoint
    #[arg(long, value_name = "ID")]
    endpoint: Option<String>,
    /// Only of events of this type, such as payment.*; repeat for more (default: all)
    #[arg(long = "event", value_name = "PATTERN")]
    events: Vec<String>,
}

/// Shows attempts as they end, until it is interrupted.
pub(super) async fn run(
    args: WatchArgs,
    api: &Api,
    format: Format,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let endpoint = args.endpoint.as_deref().unwrap_or("-");
    let open = async |_| {
        let request = WatchDeliveriesRequest {
            parent: names::endpoint(api.tenant(), endpoint),
            event_types: args.events.clone(),
        };
        api.deliveries().watch_deliveries(request).await
    };
    let begun = || terminal.note(terminal.err(Tone::Faint, "watching attempts; Ctrl-C ends it"));
    let take = async |message: WatchDeliveriesResponse| {
        if message.missed_count > 0 {
            let note = format!("{} attempts were left out", message.missed_count);
            terminal.note(terminal.err(Tone::Warn, note));
        }
        terminal.data(shown(&message, format, terminal)?)?;
        Ok(String::new())
    };
    stream::follow(terminal, open, begun, take).await
}

fn shown(
    message: &WatchDeliveriesResponse,
    format: Format,
    terminal: &Terminal,
) -> Result<String, Failure> {
    match format {
        Format::Table => Ok(line(message, terminal)),
        // One line each, for programs that read them as they come.
        Format::Json => Ok(json::of(message)?.to_string()),
        Format::Yaml => {
            let text = serde_yaml_ng::to_string(&json::of(message)?);
            Ok(format!("---\n{}", text.map_err(anyhow::Error::from)?.trim_end()))
        }
    }
}

fn line(message: &WatchDeliveriesResponse, terminal: &Terminal) -> String {
    let attempt = message.attempt.clone().unwrap_or_default();
    let status = match attempt.status_code {
        0 => show_enum(attempt.error_class().as_str_name()),
        status => show_count(status),
    };
    let is_good = (200..300).contains(&attempt.status_code);
    let cells = [
        show_time(attempt.start_time),
        names::part(&attempt.name, "endpoints"),
        message.event_type.clone(),
        names::part(&attempt.name, "deliveries"),
        format!("{} {}", show_enum(attempt.trigger().as_str_name()), attempt.number),
        terminal.out(if is_good { Tone::Good } else { Tone::Bad }, status),
        show_span(attempt.duration.as_ref()),
        show_enum(message.state().as_str_name()),
    ];
    cells.join("  ")
}
