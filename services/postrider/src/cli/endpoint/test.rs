//! `postrider endpoint test`

use std::time::Duration;

use clap::Args;
use ports::Clock as _;
use runtime::SystemClock;
use wire::api::v1::{ListAttemptsRequest, ListAttemptsResponse, TestEndpointRequest, attempt};

use super::super::answer::Answer;
use super::super::attempt::{COLUMNS, row};
use super::super::{Api, names};
use crate::failure::Failure;
use crate::terminal::{Terminal, Tone};

/// Longest wait for the attempt: the longest default timeout and a little.
const WAIT_MAX: Duration = Duration::from_secs(35);
const POLL: Duration = Duration::from_millis(200);

/// A test to make.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The endpoint's id
    #[arg(value_name = "ID")]
    id: String,
    /// Type of the test event (default: postrider.test)
    #[arg(long, value_name = "TYPE")]
    event_type: Option<String>,
    /// Do not wait for the attempt
    #[arg(long)]
    no_wait: bool,
}

/// Sends the test event and waits for its attempt; exit code 1 when the endpoint did not take it.
pub(crate) async fn run(args: TestArgs, api: &Api, terminal: &Terminal) -> Result<Answer, Failure> {
    let request = TestEndpointRequest {
        name: names::endpoint(api.tenant(), &args.id),
        event_type: args.event_type.unwrap_or_default(),
        ..Default::default()
    };
    let started = api.endpoints().test_endpoint(request).await?.into_inner();
    if args.no_wait {
        let fields =
            [("Event", names::last(&started.event)), ("Delivery", started.delivery.clone())];
        return Answer::fields(&started, fields);
    }
    terminal.note(terminal.err(Tone::Faint, "test event sent; waiting for its attempt"));
    let clock = SystemClock::new();
    let until = clock.monotonic() + WAIT_MAX;
    loop {
        let answer = attempts(&started.delivery, api).await?;
        if !answer.attempts.is_empty() {
            let failed = answer
                .attempts
                .iter()
                .all(|attempt| attempt.outcome() != attempt::Outcome::Succeeded);
            let rows = answer.attempts.iter().map(row);
            return Ok(Answer::table(&answer, &COLUMNS, rows)?.failed_if(failed));
        }
        if clock.monotonic() >= until {
            return Err(Failure::Other(anyhow::anyhow!(
                "no attempt was made within {} s; `postrider attempt list {}` shows it when it was",
                WAIT_MAX.as_secs(),
                names::last(&started.event)
            )));
        }
        clock.sleep(POLL).await;
    }
}

/// The attempts so far: none while the delivery is not known yet.
async fn attempts(delivery: &str, api: &Api) -> Result<ListAttemptsResponse, Failure> {
    let request = ListAttemptsRequest { parent: delivery.to_owned(), ..Default::default() };
    match api.deliveries().list_attempts(request).await {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) if status.code() == tonic::Code::NotFound => {
            Ok(ListAttemptsResponse::default())
        }
        Err(status) => Err(status.into()),
    }
}
