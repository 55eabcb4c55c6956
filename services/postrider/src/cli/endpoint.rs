//! `postrider endpoint …`

mod create;
mod show;
mod test;
mod update;

use std::time::Duration;

use clap::Subcommand;
use runtime::parse_span;
use wire::api::v1::{
    DeleteEndpointRequest, DisableEndpointRequest, GetEndpointRequest, ListEndpointsRequest,
    ListEndpointsResponse, PauseEndpointRequest, ResumeEndpointRequest, RotateSecretRequest,
};

use super::answer::Answer;
use super::paging::{ListFlags, more};
use super::{Api, names, source, values};
use crate::failure::Failure;
use crate::terminal::Terminal;

/// What can be done with endpoints.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make an endpoint; without --event it gets nothing until it has a subscription
    Create(Box<create::CreateArgs>),
    /// List endpoints, newest first
    List(ListFlags),
    /// Show one endpoint
    Get {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Change what is given, leave the rest
    Update(Box<update::UpdateArgs>),
    /// Delete an endpoint and cancel what is pending
    Delete {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
        /// Only if this is still its etag
        #[arg(long)]
        etag: Option<String>,
    },
    /// Hold deliveries back; events wait
    Pause {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Make a paused or disabled endpoint active again
    Resume {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
        /// Leave out what was published while it was disabled
        #[arg(long)]
        no_catch_up: bool,
    },
    /// Stop deliveries until `resume`
    Disable {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Send a test event and show what came of it
    Test(test::TestArgs),
    /// Make a new signing secret; the old one goes on signing for the grace period
    RotateSecret {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
        /// How long the old secret stays valid; 0 revokes it at once
        #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_span)]
        grace_period: Duration,
        /// The new secret, whsec_…, @file or - (default: a random one)
        #[arg(long, value_name = "SECRET")]
        secret: Option<String>,
    },
    /// Show how deliveries have fared of late
    Stats {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Runs one of them.
pub(crate) async fn run(
    command: Command,
    api: &Api,
    terminal: &Terminal,
) -> Result<Answer, Failure> {
    match command {
        Command::Create(args) => create::run(*args, api).await,
        Command::List(flags) => list(flags, api).await,
        Command::Get { id } => {
            let answer = api.endpoints().get_endpoint(get(api, &id)).await?.into_inner();
            let fields = show::fields(answer.endpoint.as_ref());
            Answer::fields(&answer, fields)
        }
        Command::Update(args) => update::run(*args, api).await,
        Command::Delete { id, etag } => delete(&id, etag, api).await,
        Command::Pause { id } => pause(&id, api).await,
        Command::Resume { id, no_catch_up } => resume(&id, !no_catch_up, api).await,
        Command::Disable { id } => disable(&id, api).await,
        Command::Test(args) => test::run(args, api, terminal).await,
        Command::RotateSecret { id, grace_period, secret } => {
            rotate(&id, grace_period, secret, api).await
        }
        Command::Stats { id } => {
            let answer = api.endpoints().get_endpoint(get(api, &id)).await?.into_inner();
            let fields = show::health(answer.endpoint.as_ref());
            Answer::fields(&answer, fields)
        }
    }
}

fn get(api: &Api, id: &str) -> GetEndpointRequest {
    GetEndpointRequest { name: names::endpoint(api.tenant(), id) }
}

async fn list(flags: ListFlags, api: &Api) -> Result<Answer, Failure> {
    let mut client = api.endpoints();
    let rows = flags
        .fetch(async |page_size, page_token| {
            let request =
                ListEndpointsRequest { parent: names::tenant(api.tenant()), page_size, page_token };
            let page = client.list_endpoints(request).await?.into_inner();
            Ok((page.endpoints, page.next_page_token))
        })
        .await?;
    let answer = ListEndpointsResponse { endpoints: rows.items, next_page_token: rows.next };
    let table = answer.endpoints.iter().map(show::row);
    let shown = Answer::table(&answer, &show::COLUMNS, table)?;
    Ok(with_note(shown, more(&answer.next_page_token)))
}

/// Adds a note where there is one.
pub(crate) fn with_note(answer: Answer, note: Option<String>) -> Answer {
    match note {
        Some(note) => answer.note(note),
        None => answer,
    }
}

async fn delete(id: &str, etag: Option<String>, api: &Api) -> Result<Answer, Failure> {
    let request = DeleteEndpointRequest {
        name: names::endpoint(api.tenant(), id),
        etag: etag.unwrap_or_default(),
        ..Default::default()
    };
    let answer = api.endpoints().delete_endpoint(request).await?.into_inner();
    Answer::table(&answer, &[], [vec![format!("endpoint {id} deleted")]])
}

async fn pause(id: &str, api: &Api) -> Result<Answer, Failure> {
    let request =
        PauseEndpointRequest { name: names::endpoint(api.tenant(), id), ..Default::default() };
    let answer = api.endpoints().pause_endpoint(request).await?.into_inner();
    let row = answer.endpoint.as_ref().map(show::row);
    Answer::table(&answer, &show::COLUMNS, row)
}

async fn resume(id: &str, catch_up: bool, api: &Api) -> Result<Answer, Failure> {
    let request = ResumeEndpointRequest {
        name: names::endpoint(api.tenant(), id),
        catch_up: Some(catch_up),
        ..Default::default()
    };
    let answer = api.endpoints().resume_endpoint(request).await?.into_inner();
    let row = answer.endpoint.as_ref().map(show::row);
    Answer::table(&answer, &show::COLUMNS, row)
}

async fn disable(id: &str, api: &Api) -> Result<Answer, Failure> {
    let request =
        DisableEndpointRequest { name: names::endpoint(api.tenant(), id), ..Default::default() };
    let answer = api.endpoints().disable_endpoint(request).await?.into_inner();
    let row = answer.endpoint.as_ref().map(show::row);
    Answer::table(&answer, &show::COLUMNS, row)
}

async fn rotate(
    id: &str,
    grace_period: Duration,
    secret: Option<String>,
    api: &Api,
) -> Result<Answer, Failure> {
    let secret = secret.as_deref().map(source::read_line).transpose()?;
    let request = RotateSecretRequest {
        name: names::endpoint(api.tenant(), id),
        grace_period: Some(values::span_to_proto(grace_period)),
        secret: secret.unwrap_or_default(),
        ..Default::default()
    };
    let answer = api.endpoints().rotate_secret(request).await?.into_inner();
    let key = answer.secret.as_ref().map(|secret| secret.key.clone());
    let live = answer.endpoint.as_ref().map_or(0, |endpoint| endpoint.secrets.len());
    let fields = [("Secret", key.unwrap_or_default()), ("Live secrets", live.to_string())];
    Ok(Answer::fields(&answer, fields)?.note(create::KEEP_SECRET))
}
