//! `postrider endpoint create`

use clap::Args;
use wire::api::v1::{CreateEndpointRequest, Endpoint, Subscription};

use super::super::answer::Answer;
use super::super::policy::PolicyFlags;
use super::super::values::{parse_header, parse_label};
use super::super::{Api, names, source};
use super::{show, with_note};
use crate::failure::Failure;

/// Said wherever a secret is shown.
pub(crate) const KEEP_SECRET: &str =
    "keep the secret: it is shown this once, and receivers need it to verify";

/// An endpoint to make.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Where requests go
    #[arg(value_name = "URL")]
    url: String,
    /// Its id (default: made by the server)
    #[arg(long)]
    id: Option<String>,
    /// Subscribe it to event types: payment.completed, payment.* or '*'; repeat for more
    #[arg(long = "event", value_name = "PATTERN")]
    events: Vec<String>,
    /// Expression over the event that must hold as well
    #[arg(long, value_name = "EXPR", requires = "events")]
    filter: Option<String>,
    /// Only events of this channel; repeat for more
    #[arg(long = "channel", value_name = "CHANNEL", requires = "events")]
    channels: Vec<String>,
    /// The signing secret, whsec_…, @file or - (default: a random one)
    #[arg(long, value_name = "SECRET")]
    secret: Option<String>,
    /// Header to send with every delivery; repeat for more
    #[arg(long = "header", value_name = "K: V", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// What people call it
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Label for your own use; repeat for more
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// Check everything, make nothing
    #[arg(long)]
    validate_only: bool,
    #[command(flatten)]
    policy: PolicyFlags,
}

/// Makes it.
pub(crate) async fn run(args: CreateArgs, api: &Api) -> Result<Answer, Failure> {
    let unsubscribed = args.events.is_empty();
    let request = request(args, api.tenant())?;
    let validate_only = request.validate_only;
    let answer = api.endpoints().create_endpoint(request).await?.into_inner();
    let patterns: Vec<_> = answer
        .subscriptions
        .iter()
        .flat_map(|subscription| subscription.event_types.clone())
        .collect();
    let key = answer.secret.as_ref().map(|secret| secret.key.clone());
    let has_key = key.as_ref().is_some_and(|key| !key.is_empty());
    let mut fields = show::fields(answer.endpoint.as_ref());
    fields.push(("Events", patterns.join(", ")));
    fields.push(("Secret", key.unwrap_or_default()));
    let id = answer.endpoint.as_ref().map(|endpoint| names::last(&endpoint.name));
    let id = id.unwrap_or_default();
    let mut shown = Answer::fields(&answer, fields)?;
    if validate_only {
        shown = shown.note("checked only: nothing was made");
    }
    let subscribe =
        format!("it has no subscription yet: `postrider subscription create {id} --event PATTERN`");
    shown = with_note(shown, has_key.then(|| KEEP_SECRET.to_owned()));
    Ok(with_note(shown, unsubscribed.then_some(subscribe)))
}

fn request(args: CreateArgs, tenant: &str) -> Result<CreateEndpointRequest, Failure> {
    let secret = args.secret.as_deref().map(source::read_line).transpose()?;
    let (policy, paths) = args.policy.to_policy();
    let subscription = Subscription {
        event_types: args.events,
        filter: args.filter.unwrap_or_default(),
        channels: args.channels,
        ..Default::default()
    };
    let endpoint = Endpoint {
        url: args.url,
        display_name: args.display_name.unwrap_or_default(),
        description: args.description.unwrap_or_default(),
        headers: args.headers.into_iter().collect(),
        labels: args.labels.into_iter().collect(),
        delivery: (!paths.is_empty()).then_some(policy),
        ..Default::default()
    };
    let subscribed = !subscription.event_types.is_empty();
    Ok(CreateEndpointRequest {
        parent: names::tenant(tenant),
        endpoint_id: args.id.unwrap_or_default(),
        endpoint: Some(endpoint),
        subscriptions: subscribed.then_some(subscription).into_iter().collect(),
        secret: secret.unwrap_or_default(),
        validate_only: args.validate_only,
        ..Default::default()
    })
}
