//! `postrider delivery …`

mod watch;

use clap::{ArgGroup, Args, Subcommand};
use wire::api::v1::{
    CancelDeliveryRequest, Delivery, GetDeliveryRequest, ListDeliveriesRequest,
    ListDeliveriesResponse,
};

use super::answer::Answer;
use super::endpoint::with_note;
use super::paging::{ListFlags, more};
use super::values::{show_count, show_enum, show_time};
use super::{Api, Format, names};
use crate::failure::Failure;
use crate::terminal::Terminal;

/// What can be done with deliveries.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List deliveries of an endpoint, those that wait untried first, or of an event across endpoints
    List(ListArgs),
    /// Show one delivery
    Get(Which),
    /// Cancel what is pending of a delivery
    Cancel(Which),
    /// Show attempts as they end
    Watch(watch::WatchArgs),
}

/// Which deliveries.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("of").required(true).multiple(true).args(["endpoint", "event"])))]
pub(crate) struct ListArgs {
    /// Of this endpoint
    #[arg(long, value_name = "ID")]
    endpoint: Option<String>,
    /// Of this event
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    #[command(flatten)]
    flags: ListFlags,
}

/// Which delivery.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The event's id
    #[arg(value_name = "EVENT")]
    event: String,
    /// The endpoint's id
    #[arg(long, value_name = "ID")]
    endpoint: String,
}

impl Which {
    fn name(&self, api: &Api) -> String {
        let endpoint = names::endpoint(api.tenant(), &self.endpoint);
        names::child(&endpoint, "deliveries", &self.event)
    }
}

const COLUMNS: [&str; 7] =
    ["EVENT", "TYPE", "ENDPOINT", "STATE", "ATTEMPTS", "STATUS", "NEXT ATTEMPT"];

/// Runs one of them. What shows its answers as they come leaves none.
pub(crate) async fn run(
    command: Command,
    api: &Api,
    format: Format,
    terminal: &Terminal,
) -> Result<Option<Answer>, Failure> {
    let answer = match command {
        Command::Watch(args) => {
            watch::run(args, api, format, terminal).await?;
            return Ok(None);
        }
        Command::List(args) => list(args, api).await,
        Command::Get(which) => {
            let name = which.name(api);
            let request = GetDeliveryRequest { name };
            let answer = api.deliveries().get_delivery(request).await?.into_inner();
            Answer::fields(&answer, fields(answer.delivery.as_ref()))
        }
        Command::Cancel(which) => {
            let request = CancelDeliveryRequest { name: which.name(api), ..Default::default() };
            let answer = api.deliveries().cancel_delivery(request).await?.into_inner();
            Answer::fields(&answer, fields(answer.delivery.as_ref()))
        }
    };
    answer.map(Some)
}

async fn list(args: ListArgs, api: &Api) -> Result<Answer, Failure> {
    let endpoint = args.endpoint.as_deref().unwrap_or("-");
    let parent = names::endpoint(api.tenant(), endpoint);
    let event = args.event.unwrap_or_default();
    let mut client = api.deliveries();
    let rows = args
        .flags
        .fetch(async |page_size, page_token| {
            let request = ListDeliveriesRequest {
                parent: parent.clone(),
                page_size,
                page_token,
                event: event.clone(),
            };
            let page = client.list_deliveries(request).await?.into_inner();
            Ok((page.deliveries, page.next_page_token))
        })
        .await?;
    let answer = ListDeliveriesResponse { deliveries: rows.items, next_page_token: rows.next };
    let shown = Answer::table(&answer, &COLUMNS, answer.deliveries.iter().map(row))?;
    Ok(with_note(shown, more(&answer.next_page_token)))
}

fn row(delivery: &Delivery) -> Vec<String> {
    vec![
        names::last(&delivery.event),
        delivery.event_type.clone(),
        names::last(&delivery.endpoint),
        show_enum(delivery.state().as_str_name()),
        delivery.attempt_count.to_string(),
        show_count(delivery.last_status_code),
        show_time(delivery.next_attempt_time),
    ]
}

fn fields(delivery: Option<&Delivery>) -> Vec<(&'static str, String)> {
    let Some(delivery) = delivery else {
        return Vec::new();
    };
    vec![
        ("Event", names::last(&delivery.event)),
        ("Type", delivery.event_type.clone()),
        ("Endpoint", names::last(&delivery.endpoint)),
        ("State", show_enum(delivery.state().as_str_name())),
        ("Reason", show_enum(delivery.reason().as_str_name())),
        ("Dead letter", names::last(&delivery.dead_letter)),
        ("Attempts", delivery.attempt_count.to_string()),
        ("Last status", show_count(delivery.last_status_code)),
        ("Next attempt", show_time(delivery.next_attempt_time)),
        ("Created", show_time(delivery.create_time)),
        ("Updated", show_time(delivery.update_time)),
    ]
}
