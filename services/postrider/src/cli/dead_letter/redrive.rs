//! `postrider dead-letter redrive` and `purge`

use clap::{ArgGroup, Args};
use ports::Clock as _;
use runtime::SystemClock;
use wire::api::v1::dead_letter::Reason;
use wire::api::v1::{PurgeDeadLettersRequest, RedriveDeadLetterRequest, RedriveDeadLettersRequest};

use super::super::answer::Answer;
use super::super::job::{Follow, follow};
use super::super::values::{Moment, parse_moment};
use super::super::{Api, names};
use super::{ReasonFlag, find};
use crate::failure::Failure;
use crate::terminal::Terminal;

/// What to send again.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).multiple(true).args(["id", "endpoint", "all"])))]
pub(crate) struct RedriveArgs {
    /// This dead letter, at once
    #[arg(value_name = "ID", conflicts_with_all = ["all", "reason", "since", "until", "detach"])]
    id: Option<String>,
    /// All of this endpoint, at its pace
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    endpoint: Option<String>,
    /// All of all endpoints
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    which: Selection,
    #[command(flatten)]
    follow: Follow,
}

/// What to take away.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("age").required(true).multiple(true).args(["older_than", "since", "until"])))]
pub(crate) struct PurgeArgs {
    /// Those given up longer ago than this, such as 30d
    #[arg(long, value_name = "TIME", value_parser = parse_moment, conflicts_with = "until")]
    older_than: Option<Moment>,
    /// Of this endpoint (default: of all)
    #[arg(long, value_name = "ID")]
    endpoint: Option<String>,
    #[command(flatten)]
    which: Selection,
    #[command(flatten)]
    follow: Follow,
}

/// Some of them.
#[derive(Debug, Clone, Copy, Args)]
struct Selection {
    /// Only those given up for this reason
    #[arg(long, value_enum, value_name = "REASON")]
    reason: Option<ReasonFlag>,
    /// Only those given up since then: a time, or a duration such as 1h
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    since: Option<Moment>,
    /// Only those given up before then
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    until: Option<Moment>,
}

impl Selection {
    fn reason(self) -> i32 {
        self.reason.map_or(Reason::Unspecified, Reason::from).into()
    }
}

/// Starts redrives: one at once, many as a job.
pub(crate) async fn run(
    args: RedriveArgs,
    api: &Api,
    terminal: &Terminal,
) -> Result<Answer, Failure> {
    if let Some(id) = args.id {
        let name = find(&id, args.endpoint.as_deref(), api).await?;
        return one(name, api).await;
    }
    let now = SystemClock::new().now();
    let request = RedriveDeadLettersRequest {
        parent: names::endpoint(api.tenant(), args.endpoint.as_deref().unwrap_or("-")),
        reason: args.which.reason(),
        start_time: args.which.since.map(|moment| moment.before(now)),
        end_time: args.which.until.map(|moment| moment.before(now)),
        ..Default::default()
    };
    let answer = api.dead_letters().redrive_dead_letters(request).await?.into_inner();
    follow(answer.job.unwrap_or_default(), args.follow, api, terminal).await
}

/// Takes dead letters away, as a job.
pub(crate) async fn purge(
    args: PurgeArgs,
    api: &Api,
    terminal: &Terminal,
) -> Result<Answer, Failure> {
    let now = SystemClock::new().now();
    let until = args.older_than.or(args.which.until);
    let request = PurgeDeadLettersRequest {
        parent: names::endpoint(api.tenant(), args.endpoint.as_deref().unwrap_or("-")),
        reason: args.which.reason(),
        start_time: args.which.since.map(|moment| moment.before(now)),
        end_time: until.map(|moment| moment.before(now)),
        ..Default::default()
    };
    let answer = api.dead_letters().purge_dead_letters(request).await?.into_inner();
    follow(answer.job.unwrap_or_default(), args.follow, api, terminal).await
}

async fn one(name: String, api: &Api) -> Result<Answer, Failure> {
    let request = RedriveDeadLetterRequest { name, ..Default::default() };
    let answer = api.dead_letters().redrive_dead_letter(request).await?.into_inner();
    let (endpoint, event) =
        (names::part(&answer.delivery, "endpoints"), names::last(&answer.delivery));
    let follow = format!("follow it with `postrider attempt list {event} --endpoint {endpoint}`");
    let rows = [vec![endpoint, event]];
    Ok(Answer::table(&answer, &["ENDPOINT", "EVENT"], rows)?.note(follow))
}
