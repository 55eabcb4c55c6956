//! `postrider job …`, `postrider replay`, and how a job is followed.

use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ports::Clock as _;
use runtime::SystemClock;
use wire::api::v1::job::{State, Work};
use wire::api::v1::{
    CancelJobRequest, GetJobRequest, GetJobResponse, Job, ListJobsRequest, ListJobsResponse,
    ReplayEventsRequest,
};

use super::answer::Answer;
use super::endpoint::with_note;
use super::paging::{ListFlags, more};
use super::values::{Moment, parse_moment, show_count, show_enum, show_time};
use super::{Api, names};
use crate::failure::Failure;
use crate::terminal::Terminal;

/// Between two looks at a job that is followed.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// What can be done with jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List jobs, newest first
    List(ListFlags),
    /// Show one job
    Get(Which),
    /// Follow a job to its end
    Watch(Which),
    /// End a job; what it has started goes on
    Cancel(Which),
}

/// Which job.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Its id
    #[arg(value_name = "ID")]
    id: String,
}

/// What to replay.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The endpoint; it gets what its subscriptions match
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// From when on: a time, or so long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    from: Moment,
    /// Until before then (default: now)
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    to: Option<Moment>,
    /// Only events of these types, such as payment.*; may be repeated
    #[arg(long = "event", value_name = "PATTERN")]
    events: Vec<String>,
    #[command(flatten)]
    follow: Follow,
}

/// Whether to wait for the end.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Follow {
    /// Do not wait for the end
    #[arg(long)]
    detach: bool,
}

const COLUMNS: [&str; 7] = ["ID", "JOB", "OF", "STATE", "LOOKED AT", "DONE", "CREATED"];

/// Runs one of them.
pub(crate) async fn run(
    command: Command,
    api: &Api,
    terminal: &Terminal,
) -> Result<Answer, Failure> {
    match command {
        Command::List(flags) => list(flags, api).await,
        Command::Get(which) => show(get(&which.name(api), api).await?),
        Command::Watch(which) => {
            let job = get(&which.name(api), api).await?;
            follow(job, Follow { detach: false }, api, terminal).await
        }
        Command::Cancel(which) => {
            let request = CancelJobRequest { name: which.name(api) };
            let answer = api.jobs().cancel_job(request).await?.into_inner();
            show(answer.job.unwrap_or_default())
        }
    }
}

/// Makes a replay and follows it.
pub(crate) async fn replay(
    args: ReplayArgs,
    api: &Api,
    terminal: &Terminal,
) -> Result<Answer, Failure> {
    let now = SystemClock::new().now();
    let request = ReplayEventsRequest {
        endpoint: names::endpoint(api.tenant(), &args.endpoint),
        start_time: Some(args.from.before(now)),
        end_time: args.to.map(|moment| moment.before(now)),
        event_types: args.events,
        ..Default::default()
    };
    let answer = api.jobs().replay_events(request).await?.into_inner();
    follow(answer.job.unwrap_or_default(), args.follow, api, terminal).await
}

impl Which {
    fn name(&self, api: &Api) -> String {
        names::child(&names::tenant(api.tenant()), "jobs", &self.id)
    }
}

async fn list(flags: ListFlags, api: &Api) -> Result<Answer, Failure> {
    let parent = names::tenant(api.tenant());
    let mut client = api.jobs();
    let rows = flags
        .fetch(async |page_size, page_token| {
            let request = ListJobsRequest { parent: parent.clone(), page_size, page_token };
            let page = client.list_jobs(request).await?.into_inner();
            Ok((page.jobs, page.next_page_token))
        })
        .await?;
    let answer = ListJobsResponse { jobs: rows.items, next_page_token: rows.next };
    let shown = Answer::table(&answer, &COLUMNS, answer.jobs.iter().map(row))?;
    Ok(with_note(shown, more(&answer.next_page_token)))
}

async fn get(name: &str, api: &Api) -> Result<Job, Failure> {
    let request = GetJobRequest { name: name.to_owned() };
    let answer = api.jobs().get_job(request).await?.into_inner();
    Ok(answer.job.unwrap_or_default())
}

/// Shows how far a job is until it has ended; without waiting, how to follow it.
///
/// # Errors
/// When the server does not answer; the job goes on.
pub(crate) async fn follow(
    mut job: Job,
    how: Follow,
    api: &Api,
    terminal: &Terminal,
) -> Result<Answer, Failure> {
    let id = names::last(&job.name);
    if how.detach {
        return Ok(show(job)?.note(format!("follow it with `postrider job watch {id}`")));
    }
    let bar = progress(&job, terminal);
    bar.println(format!("job {id}; it goes on when this command is ended"));
    while !has_ended(&job) {
        bar.set_position(u64::try_from(job.looked_at_count).unwrap_or(0));
        if job.total_count > 0 {
            bar.set_length(u64::try_from(job.total_count).unwrap_or(0));
        }
        bar.set_message(format!("{} done", job.done_count));
        SystemClock::new().sleep(LOOK_EVERY).await;
        job = get(&job.name, api).await?;
    }
    bar.finish_and_clear();
    show(job)
}

fn has_ended(job: &Job) -> bool {
    match job.state() {
        State::Unspecified | State::Queued | State::Running => false,
        State::Succeeded | State::Failed | State::Cancelled => true,
    }
}

fn progress(job: &Job, terminal: &Terminal) -> ProgressBar {
    let target = if terminal.err_is_terminal {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let (work, _) = describe(job);
    let bar = ProgressBar::with_draw_target(None, target).with_prefix(work);
    let style = "{prefix} {bar:30} {pos}/{len} {per_sec} {eta} {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// What a job does, and to what.
fn describe(job: &Job) -> (&'static str, String) {
    match &job.work {
        Some(Work::Replay(replay)) => ("replay", names::last(&replay.endpoint)),
        Some(Work::Redrive(letters)) => ("redrive", names::last(&letters.parent)),
        Some(Work::Purge(letters)) => ("purge", names::last(&letters.parent)),
        None => ("", String::new()),
    }
}

fn row(job: &Job) -> Vec<String> {
    let (work, of) = describe(job);
    vec![
        names::last(&job.name),
        work.to_owned(),
        of,
        show_enum(job.state().as_str_name()),
        job.looked_at_count.to_string(),
        job.done_count.to_string(),
        show_time(job.create_time),
    ]
}

/// One job; the command fails when the job did.
fn show(job: Job) -> Result<Answer, Failure> {
    let failed = job.state() == State::Failed;
    let (work, of) = describe(&job);
    let range = match &job.work {
        Some(Work::Replay(replay)) => (replay.start_time, replay.end_time),
        Some(Work::Redrive(letters) | Work::Purge(letters)) => {
            (letters.start_time, letters.end_time)
        }
        None => (None, None),
    };
    let fields = vec![
        ("ID", names::last(&job.name)),
        ("Job", work.to_owned()),
        ("Of", of),
        ("From", show_time(range.0)),
        ("To", show_time(range.1)),
        ("State", show_enum(job.state().as_str_name())),
        ("Error", job.error.clone()),
        ("In all", show_count(job.total_count)),
        ("Looked at", job.looked_at_count.to_string()),
        ("Done", job.done_count.to_string()),
        ("Skipped", show_count(job.skipped_count)),
        ("Created", show_time(job.create_time)),
        ("Ended", show_time(job.end_time)),
    ];
    let answer = Answer::fields(&GetJobResponse { job: Some(job) }, fields)?;
    Ok(answer.failed_if(failed))
}
