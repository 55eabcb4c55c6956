//! `postrider subscription …`

use clap::{Args, Subcommand};
use prost_types::FieldMask;
use wire::api::v1::{
    CreateSubscriptionRequest, DeleteSubscriptionRequest, GetSubscriptionRequest,
    ListSubscriptionsRequest, ListSubscriptionsResponse, Subscription, UpdateSubscriptionRequest,
};

use super::answer::Answer;
use super::endpoint::with_note;
use super::paging::{ListFlags, more};
use super::{Api, names, values};
use crate::failure::Failure;

/// What can be done with subscriptions.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Subscribe an endpoint to event types
    Create(CreateArgs),
    /// List an endpoint's subscriptions, newest first
    List {
        /// The endpoint's id
        #[arg(value_name = "ENDPOINT")]
        endpoint: String,
        #[command(flatten)]
        flags: ListFlags,
    },
    /// Show one subscription
    Get(Which),
    /// Change what is given, leave the rest
    Update(UpdateArgs),
    /// Delete a subscription; what it matched before goes on
    Delete(Which),
}

/// Which subscription.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The endpoint's id
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// The subscription's id
    #[arg(value_name = "ID")]
    id: String,
}

impl Which {
    fn name(&self, api: &Api) -> String {
        let endpoint = names::endpoint(api.tenant(), &self.endpoint);
        names::child(&endpoint, "subscriptions", &self.id)
    }
}

/// A subscription to make.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The endpoint's id
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// Its id (default: made by the server)
    #[arg(long)]
    id: Option<String>,
    /// Event types: payment.completed, payment.* or '*'; repeat for more
    #[arg(long = "event", value_name = "PATTERN", required = true)]
    events: Vec<String>,
    /// Expression over the event that must hold as well
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
    /// Only events of this channel; repeat for more
    #[arg(long = "channel", value_name = "CHANNEL")]
    channels: Vec<String>,
}

/// What to change.
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    #[command(flatten)]
    which: Which,
    /// Event types; those given replace all there are
    #[arg(long = "event", value_name = "PATTERN")]
    events: Vec<String>,
    /// Expression over the event that must hold as well; '' removes it
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
    /// Channels; those given replace all there are; '' removes all
    #[arg(long = "channel", value_name = "CHANNEL")]
    channels: Vec<String>,
    /// Only if this is still its etag
    #[arg(long)]
    etag: Option<String>,
}

const COLUMNS: [&str; 4] = ["ID", "EVENTS", "CHANNELS", "FILTER"];

/// Runs one of them.
pub(crate) async fn run(command: Command, api: &Api) -> Result<Answer, Failure> {
    match command {
        Command::Create(args) => create(args, api).await,
        Command::List { endpoint, flags } => list(&endpoint, flags, api).await,
        Command::Get(which) => {
            let name = which.name(api);
            let request = GetSubscriptionRequest { name };
            let answer = api.subscriptions().get_subscription(request).await?.into_inner();
            Answer::fields(&answer, fields(answer.subscription.as_ref()))
        }
        Command::Update(args) => update(args, api).await,
        Command::Delete(which) => {
            let request = DeleteSubscriptionRequest { name: which.name(api), ..Default::default() };
            let answer = api.subscriptions().delete_subscription(request).await?.into_inner();
            let line = format!("subscription {} deleted", which.id);
            Answer::table(&answer, &[], [vec![line]])
        }
    }
}

async fn create(args: CreateArgs, api: &Api) -> Result<Answer, Failure> {
    let request = CreateSubscriptionRequest {
        parent: names::endpoint(api.tenant(), &args.endpoint),
        subscription_id: args.id.unwrap_or_default(),
        subscription: Some(Subscription {
            event_types: args.events,
            filter: args.filter.unwrap_or_default(),
            channels: args.channels,
            ..Default::default()
        }),
        ..Default::default()
    };
    let answer = api.subscriptions().create_subscription(request).await?.into_inner();
    Answer::fields(&answer, fields(answer.subscription.as_ref()))
}

async fn list(endpoint: &str, flags: ListFlags, api: &Api) -> Result<Answer, Failure> {
    let mut client = api.subscriptions();
    let rows = flags
        .fetch(async |page_size, page_token| {
            let request = ListSubscriptionsRequest {
                parent: names::endpoint(api.tenant(), endpoint),
                page_size,
                page_token,
            };
            let page = client.list_subscriptions(request).await?.into_inner();
            Ok((page.subscriptions, page.next_page_token))
        })
        .await?;
    let answer =
        ListSubscriptionsResponse { subscriptions: rows.items, next_page_token: rows.next };
    let shown = Answer::table(&answer, &COLUMNS, answer.subscriptions.iter().map(row))?;
    Ok(with_note(shown, more(&answer.next_page_token)))
}

async fn update(args: UpdateArgs, api: &Api) -> Result<Answer, Failure> {
    let given = [
        ("event_types", !args.events.is_empty()),
        ("filter", args.filter.is_some()),
        ("channels", !args.channels.is_empty()),
    ];
    let paths: Vec<_> =
        given.iter().filter(|(_, given)| *given).map(|(path, _)| (*path).to_owned()).collect();
    if paths.is_empty() {
        let message = "nothing to change: give at least one flag, such as --event";
        return Err(Failure::Usage(message.to_owned()));
    }
    let channels = args.channels.into_iter().filter(|channel| !channel.is_empty());
    let request = UpdateSubscriptionRequest {
        subscription: Some(Subscription {
            name: args.which.name(api),
            event_types: args.events,
            filter: args.filter.unwrap_or_default(),
            channels: channels.collect(),
            etag: args.etag.unwrap_or_default(),
            ..Default::default()
        }),
        update_mask: Some(FieldMask { paths }),
        ..Default::default()
    };
    let answer = api.subscriptions().update_subscription(request).await?.into_inner();
    Answer::fields(&answer, fields(answer.subscription.as_ref()))
}

fn row(subscription: &Subscription) -> Vec<String> {
    vec![
        names::last(&subscription.name),
        subscription.event_types.join(", "),
        subscription.channels.join(", "),
        subscription.filter.clone(),
    ]
}

fn fields(subscription: Option<&Subscription>) -> Vec<(&'static str, String)> {
    let Some(subscription) = subscription else {
        return Vec::new();
    };
    vec![
        ("ID", names::last(&subscription.name)),
        ("Endpoint", names::part(&subscription.name, "endpoints")),
        ("Events", subscription.event_types.join(", ")),
        ("Channels", subscription.channels.join(", ")),
        ("Filter", subscription.filter.clone()),
        ("Created", values::show_time(subscription.create_time)),
        ("Etag", subscription.etag.clone()),
    ]
}
