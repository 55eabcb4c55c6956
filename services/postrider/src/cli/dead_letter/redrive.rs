//! `postrider dead-letter redrive`

use std::time::Duration;

use clap::{ArgGroup, Args};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use wire::api::v1::{DeadLetter, ListDeadLettersRequest, RedriveDeadLetterRequest};

use super::super::answer::Answer;
use super::super::paging::ListFlags;
use super::super::{Api, names};
use super::{find, page_through};
use crate::failure::Failure;
use crate::terminal::Terminal;

/// What to send again.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).multiple(true).args(["id", "endpoint", "all"])))]
pub(crate) struct RedriveArgs {
    /// This dead letter
    #[arg(value_name = "ID", conflicts_with = "all")]
    id: Option<String>,
    /// All of this endpoint
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    endpoint: Option<String>,
    /// All of all endpoints
    #[arg(long)]
    all: bool,
}

/// Starts the redrives.
pub(crate) async fn run(
    args: RedriveArgs,
    api: &Api,
    terminal: &Terminal,
) -> Result<Answer, Failure> {
    match args.id {
        Some(id) => {
            let name = find(&id, args.endpoint.as_deref(), api).await?;
            one(name, api).await
        }
        None => many(args.endpoint.as_deref(), api, terminal).await,
    }
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

/// How the redrives of a list went.
#[derive(Default)]
struct Tally {
    started: usize,
    already_running: usize,
    gone: usize,
    refused: Vec<(String, String)>,
}

async fn many(endpoint: Option<&str>, api: &Api, terminal: &Terminal) -> Result<Answer, Failure> {
    let parent = names::endpoint(api.tenant(), endpoint.unwrap_or("-"));
    let all = ListDeadLettersRequest { parent, ..Default::default() };
    let all = page_through(all, ListFlags::ALL, api).await?;
    let bar = progress(all.items.len(), terminal);
    let mut tally = Tally::default();
    for letter in all.items {
        tally.add(letter, api).await?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(tally.into_answer())
}

impl Tally {
    /// Starts one redrive. What another caller has begun or ended meanwhile is no failure; what the server cannot do now ends
    /// the command, because the rest would fare no better.
    async fn add(&mut self, letter: DeadLetter, api: &Api) -> Result<(), Failure> {
        let request = RedriveDeadLetterRequest { name: letter.name.clone(), ..Default::default() };
        let Err(status) = api.dead_letters().redrive_dead_letter(request).await else {
            self.started += 1;
            return Ok(());
        };
        let code = status.code();
        if code == tonic::Code::Aborted {
            self.already_running += 1;
        } else if code == tonic::Code::NotFound {
            self.gone += 1;
        } else if code == tonic::Code::FailedPrecondition {
            let id = names::last(&letter.name);
            self.refused.push((id, status.message().to_owned()));
        } else {
            return Err(status.into());
        }
        Ok(())
    }

    fn into_answer(self) -> Answer {
        let refused: Vec<_> = self
            .refused
            .iter()
            .map(|(id, message)| json!({"id": id, "message": message}))
            .collect();
        let message = json!({
            "started": self.started,
            "alreadyRunning": self.already_running,
            "gone": self.gone,
            "refused": refused,
        });
        let row = vec![
            self.started.to_string(),
            self.already_running.to_string(),
            self.gone.to_string(),
            self.refused.len().to_string(),
        ];
        let columns = ["STARTED", "ALREADY RUNNING", "GONE", "REFUSED"];
        let mut answer = Answer::value(message, &columns, [row]);
        for (id, message) in &self.refused {
            answer = answer.note(format!("{id}: {message}"));
        }
        answer.failed_if(!self.refused.is_empty())
    }
}

fn progress(length: usize, terminal: &Terminal) -> ProgressBar {
    let target = if terminal.err_is_terminal {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(u64::try_from(length).ok(), target);
    let style = ProgressStyle::with_template("redriving {bar:30} {pos}/{len} {eta}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
