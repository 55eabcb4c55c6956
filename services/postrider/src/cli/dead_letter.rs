//! `postrider dead-letter …`

mod redrive;

use clap::{Args, Subcommand, ValueEnum};
use ports::Clock as _;
use runtime::SystemClock;
use wire::api::v1::dead_letter::Reason;
use wire::api::v1::{
    DeadLetter, GetDeadLetterRequest, ListDeadLettersRequest, ListDeadLettersResponse,
};

use super::answer::Answer;
use super::endpoint::with_note;
use super::paging::{ListFlags, Rows, more};
use super::values::{Moment, parse_moment, show_enum, show_time};
use super::{Api, event, names};
use crate::failure::Failure;
use crate::terminal::Terminal;

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List dead letters, newest first
    List(ListArgs),
    /// Show one dead letter with its payload
    Get(Which),
    /// Send dead letters again, each with a whole retry schedule
    Redrive(redrive::RedriveArgs),
    /// Take dead letters away
    Purge(redrive::PurgeArgs),
}

/// Which dead letters.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Of this endpoint (default: of all)
    #[arg(long, value_name = "ID")]
    endpoint: Option<String>,
    /// Given up for this reason
    #[arg(long, value_enum, value_name = "REASON")]
    reason: Option<ReasonFlag>,
    /// Only those given up since then: a time, or a duration such as 1h
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    since: Option<Moment>,
    /// Only those given up before then
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    until: Option<Moment>,
    #[command(flatten)]
    flags: ListFlags,
}

/// Which dead letter.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Its id
    #[arg(value_name = "ID")]
    id: String,
    /// Its endpoint; without it all endpoints are searched
    #[arg(long, value_name = "ID")]
    endpoint: Option<String>,
}

/// Why a delivery was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReasonFlag {
    /// Every attempt of the schedule failed
    RetriesExhausted,
    /// The endpoint answered 400 or another 4xx that is not retried
    Rejected,
    /// The endpoint was disabled by its answer
    EndpointDisabled,
    /// The egress policy refuses the address
    BlockedDestination,
    /// It waited for over 7 days
    Expired,
}

impl From<ReasonFlag> for Reason {
    fn from(flag: ReasonFlag) -> Self {
        match flag {
            ReasonFlag::RetriesExhausted => Self::RetriesExhausted,
            ReasonFlag::Rejected => Self::Rejected,
            ReasonFlag::EndpointDisabled => Self::EndpointDisabled,
            ReasonFlag::BlockedDestination => Self::BlockedDestination,
            ReasonFlag::Expired => Self::Expired,
        }
    }
}

const COLUMNS: [&str; 7] = ["ID", "ENDPOINT", "EVENT", "TYPE", "REASON", "ATTEMPTS", "TIME"];

/// Runs one of them.
pub(crate) async fn run(
    command: Command,
    api: &Api,
    terminal: &Terminal,
) -> Result<Answer, Failure> {
    match command {
        Command::List(args) => list(args, api).await,
        Command::Get(which) => {
            let name = find(&which.id, which.endpoint.as_deref(), api).await?;
            let request = GetDeadLetterRequest { name };
            let answer = api.dead_letters().get_dead_letter(request).await?.into_inner();
            Answer::fields(&answer, fields(answer.dead_letter.as_ref()))
        }
        Command::Redrive(args) => redrive::run(args, api, terminal).await,
        Command::Purge(args) => redrive::purge(args, api, terminal).await,
    }
}

async fn list(args: ListArgs, api: &Api) -> Result<Answer, Failure> {
    let now = SystemClock::new().now();
    let request = ListDeadLettersRequest {
        parent: names::endpoint(api.tenant(), args.endpoint.as_deref().unwrap_or("-")),
        reason: args.reason.map_or(Reason::Unspecified, Reason::from).into(),
        start_time: args.since.map(|moment| moment.before(now)),
        end_time: args.until.map(|moment| moment.before(now)),
        ..Default::default()
    };
    let rows = page_through(request, args.flags, api).await?;
    let answer = ListDeadLettersResponse { dead_letters: rows.items, next_page_token: rows.next };
    let shown = Answer::table(&answer, &COLUMNS, answer.dead_letters.iter().map(row))?;
    let shown = with_note(shown, more(&answer.next_page_token));
    let hint = "send them again with `postrider dead-letter redrive ID` or --endpoint or --all";
    let hint = (!answer.dead_letters.is_empty()).then(|| hint.to_owned());
    Ok(with_note(shown, hint))
}

async fn page_through(
    request: ListDeadLettersRequest,
    flags: ListFlags,
    api: &Api,
) -> Result<Rows<DeadLetter>, Failure> {
    let mut client = api.dead_letters();
    flags
        .fetch(async |page_size, page_token| {
            let request = ListDeadLettersRequest { page_size, page_token, ..request.clone() };
            let page = client.list_dead_letters(request).await?.into_inner();
            Ok((page.dead_letters, page.next_page_token))
        })
        .await
}

/// The whole name of a dead letter. An id says nothing of its endpoint, so without one all are searched.
async fn find(id: &str, endpoint: Option<&str>, api: &Api) -> Result<String, Failure> {
    if id.starts_with("tenants/") {
        return Ok(id.to_owned());
    }
    if let Some(endpoint) = endpoint {
        let parent = names::endpoint(api.tenant(), endpoint);
        return Ok(names::child(&parent, "deadLetters", id));
    }
    let parent = names::endpoint(api.tenant(), "-");
    let all = ListDeadLettersRequest { parent, ..Default::default() };
    let all = page_through(all, ListFlags::ALL, api).await?;
    let found = all.items.iter().find(|letter| names::last(&letter.name) == id);
    found.map(|letter| letter.name.clone()).ok_or_else(|| {
        Failure::Other(anyhow::anyhow!(
            "there is no dead letter {id}: `postrider dead-letter list` shows which there are"
        ))
    })
}

fn row(letter: &DeadLetter) -> Vec<String> {
    let event = letter.event.clone().unwrap_or_default();
    let reason = show_enum(letter.reason().as_str_name());
    vec![
        names::last(&letter.name),
        names::last(&letter.endpoint),
        event.id,
        event.r#type,
        if letter.redriving { format!("{reason} (redriving)") } else { reason },
        letter.attempt_count.to_string(),
        show_time(letter.create_time),
    ]
}

fn fields(letter: Option<&DeadLetter>) -> Vec<(&'static str, String)> {
    let Some(letter) = letter else {
        return Vec::new();
    };
    let mut fields = vec![
        ("ID", names::last(&letter.name)),
        ("Endpoint", names::last(&letter.endpoint)),
        ("URL", letter.endpoint_url.clone()),
        ("Reason", show_enum(letter.reason().as_str_name())),
        ("Message", letter.message.clone()),
        ("Attempts", letter.attempt_count.to_string()),
        ("Redriven", letter.redrive_count.to_string()),
        ("Given up", show_time(letter.create_time)),
        ("Purged at", show_time(letter.purge_time)),
    ];
    fields.extend(event::fields(letter.event.as_ref()));
    fields
}
