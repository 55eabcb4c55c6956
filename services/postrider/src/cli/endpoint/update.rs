//! `postrider endpoint update`

use clap::Args;
use prost_types::FieldMask;
use wire::api::v1::{Endpoint, UpdateEndpointRequest};

use super::super::answer::Answer;
use super::super::policy::PolicyFlags;
use super::super::values::{parse_header, parse_label};
use super::super::{Api, names};
use super::show;
use crate::failure::Failure;

/// What to change.
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Its id
    #[arg(value_name = "ID")]
    id: String,
    /// Where requests go
    #[arg(long)]
    url: Option<String>,
    /// Header to send with every delivery; those given replace all there are; '' removes all
    #[arg(long = "header", value_name = "K: V")]
    headers: Vec<String>,
    /// What people call it
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Label for your own use; those given replace all there are; '' removes all
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Only if this is still its etag
    #[arg(long)]
    etag: Option<String>,
    /// Check everything, change nothing
    #[arg(long)]
    validate_only: bool,
    #[command(flatten)]
    policy: PolicyFlags,
}

/// Changes it.
pub(crate) async fn run(args: UpdateArgs, api: &Api) -> Result<Answer, Failure> {
    let request = request(args, api.tenant())?;
    let answer = api.endpoints().update_endpoint(request).await?.into_inner();
    let fields = show::fields(answer.endpoint.as_ref());
    Answer::fields(&answer, fields)
}

fn request(args: UpdateArgs, tenant: &str) -> Result<UpdateEndpointRequest, Failure> {
    let (policy, mut paths) = args.policy.to_policy();
    let given = [
        ("url", args.url.is_some()),
        ("headers", !args.headers.is_empty()),
        ("display_name", args.display_name.is_some()),
        ("description", args.description.is_some()),
        ("labels", !args.labels.is_empty()),
    ];
    let delivery = (!paths.is_empty()).then_some(policy);
    paths.extend(given.iter().filter(|(_, given)| *given).map(|(path, _)| *path));
    if paths.is_empty() {
        let message = "nothing to change: give at least one flag, such as --url";
        return Err(Failure::Usage(message.to_owned()));
    }
    let endpoint = Endpoint {
        name: names::endpoint(tenant, &args.id),
        url: args.url.unwrap_or_default(),
        display_name: args.display_name.unwrap_or_default(),
        description: args.description.unwrap_or_default(),
        headers: pairs(&args.headers, parse_header)?,
        labels: pairs(&args.labels, parse_label)?,
        delivery,
        etag: args.etag.unwrap_or_default(),
        ..Default::default()
    };
    Ok(UpdateEndpointRequest {
        endpoint: Some(endpoint),
        update_mask: Some(FieldMask { paths: paths.into_iter().map(str::to_owned).collect() }),
        validate_only: args.validate_only,
        ..Default::default()
    })
}

/// Parses pairs; an empty text gives none, so that a map can be emptied.
fn pairs<M: FromIterator<(String, String)>>(
    given: &[String],
    parse: fn(&str) -> Result<(String, String), String>,
) -> Result<M, Failure> {
    given
        .iter()
        .filter(|text| !text.is_empty())
        .map(|text| parse(text).map_err(Failure::Usage))
        .collect()
}
