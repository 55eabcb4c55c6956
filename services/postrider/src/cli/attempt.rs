//! `postrider attempt …`

use clap::Subcommand;
use wire::api::v1::{Attempt, ListAttemptsRequest, ListAttemptsResponse};

use super::answer::Answer;
use super::endpoint::with_note;
use super::paging::{ListFlags, more};
use super::values::{show_count, show_enum, show_span, show_time};
use super::{Api, names};
use crate::failure::Failure;

/// What can be done with attempts.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the attempts to deliver an event, newest first
    List {
        /// The event's id
        #[arg(value_name = "EVENT")]
        event: String,
        /// Only to this endpoint
        #[arg(long, value_name = "ID")]
        endpoint: Option<String>,
        #[command(flatten)]
        flags: ListFlags,
    },
}

/// The columns of [`row`].
pub(crate) const COLUMNS: [&str; 8] =
    ["TIME", "ENDPOINT", "TRIGGER", "NUMBER", "OUTCOME", "STATUS", "DURATION", "ANSWER"];

/// Longest part of an answer that a table shows, in characters.
const ANSWER_CHARS_MAX: usize = 60;

/// Runs it.
pub(crate) async fn run(command: Command, api: &Api) -> Result<Answer, Failure> {
    let Command::List { event, endpoint, flags } = command;
    let endpoint = names::endpoint(api.tenant(), endpoint.as_deref().unwrap_or("-"));
    let parent = names::child(&endpoint, "deliveries", &event);
    let mut client = api.deliveries();
    let rows = flags
        .fetch(async |page_size, page_token| {
            let request = ListAttemptsRequest { parent: parent.clone(), page_size, page_token };
            let page = client.list_attempts(request).await?.into_inner();
            Ok((page.attempts, page.next_page_token))
        })
        .await?;
    let answer = ListAttemptsResponse { attempts: rows.items, next_page_token: rows.next };
    let shown = Answer::table(&answer, &COLUMNS, answer.attempts.iter().map(row))?;
    Ok(with_note(shown, more(&answer.next_page_token)))
}

/// One attempt in a list.
pub(crate) fn row(attempt: &Attempt) -> Vec<String> {
    let class = show_enum(attempt.error_class().as_str_name());
    let outcome = show_enum(attempt.outcome().as_str_name());
    let outcome = if class.is_empty() { outcome } else { format!("{outcome} ({class})") };
    let text = if attempt.error_message.is_empty() || attempt.status_code != 0 {
        &attempt.response_excerpt
    } else {
        &attempt.error_message
    };
    vec![
        show_time(attempt.start_time),
        names::part(&attempt.name, "endpoints"),
        show_enum(attempt.trigger().as_str_name()),
        attempt.number.to_string(),
        outcome,
        show_count(attempt.status_code),
        show_span(attempt.duration.as_ref()),
        one_line(text),
    ]
}

/// The beginning of a text, safe for a terminal: receivers choose what they answer.
pub(crate) fn one_line(text: &str) -> String {
    let shown: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(ANSWER_CHARS_MAX).collect();
    let shown = shown.trim_end();
    if text.chars().count() > ANSWER_CHARS_MAX { format!("{shown}…") } else { shown.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_cannot_steer_the_terminal() {
        assert_eq!(one_line("a\u{1b}[2Jb\nc\n"), "a [2Jb c");
        assert!(one_line(&"x".repeat(100)).ends_with('…'));
    }
}
