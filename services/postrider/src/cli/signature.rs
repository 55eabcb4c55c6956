//! `postrider sign` and `postrider verify`: no server needed.

use std::time::Duration;

use clap::{Args, ValueEnum};
use ports::Clock as _;
use runtime::{SystemClock, parse_span};
use serde_json::{Map, Value, json};
use signing::{Scheme, Secret, SignedHeaders, Signer, VerifyError};

use super::answer::Answer;
use super::source;
use super::values::{SignatureFlag, parse_header};
use crate::failure::Failure;

/// What to sign.
#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// Signing secret, whsec_…, @file or -; repeat for those in their grace period, the current one first
    #[arg(long = "secret", value_name = "SECRET", required = true)]
    secrets: Vec<String>,
    /// The body: @file, - for standard input, or the text itself
    #[arg(long, value_name = "@file|-")]
    body: String,
    /// The event's id
    #[arg(long, default_value = "evt_example", value_name = "ID")]
    id: String,
    /// Unix seconds (default: now)
    #[arg(long, value_name = "SECONDS")]
    timestamp: Option<i64>,
    /// Which headers
    #[arg(long, value_enum, default_value = "both", value_name = "SCHEME")]
    scheme: SignatureFlag,
}

/// What to verify.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Signing secret, whsec_…, @file or -; repeat for more
    #[arg(long = "secret", value_name = "SECRET", required = true)]
    secrets: Vec<String>,
    /// The request's headers, each as 'Name: value'
    #[arg(value_name = "HEADER", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// A header of the request, the same as the argument
    #[arg(long = "header", short = 'H', value_name = "K: V", value_parser = parse_header)]
    more_headers: Vec<(String, String)>,
    /// The body as received: @file, - for standard input, or the text itself
    #[arg(long, value_name = "@file|-")]
    body: String,
    /// How far the timestamp may be from now
    #[arg(long, default_value = "5m", value_name = "DURATION", value_parser = parse_span)]
    tolerance: Duration,
    /// Take this for now, in Unix seconds
    #[arg(long, value_name = "SECONDS")]
    at: Option<i64>,
    /// Which headers must verify (default: those that are there)
    #[arg(long, value_enum, value_name = "SCHEME")]
    scheme: Option<VerifyScheme>,
}

/// What has to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerifyScheme {
    /// webhook-signature
    Standard,
    /// X-Webhook-Signature
    XWebhook,
}

fn secrets(given: &[String]) -> Result<Vec<Secret>, Failure> {
    given
        .iter()
        .map(|text| {
            Secret::parse(&source::read_line(text)?)
                .map_err(|error| Failure::Usage(format!("--secret: {error}")))
        })
        .collect()
}

/// Makes the headers.
pub(crate) fn sign(args: &SignArgs) -> Result<Answer, Failure> {
    let secrets = secrets(&args.secrets)?;
    let (current, previous) =
        secrets.split_first().ok_or_else(|| Failure::Usage("--secret is missing".to_owned()))?;
    if domain::EventId::parse(&args.id).is_err() {
        let message = format!("--id {:?}: use 1 to 64 of A-Z, a-z, 0-9, _ and -", args.id);
        return Err(Failure::Usage(message));
    }
    let body = source::read(&args.body)?;
    let scheme = match args.scheme {
        SignatureFlag::Both => Scheme::Both,
        SignatureFlag::Standard => Scheme::Standard,
        SignatureFlag::XWebhook => Scheme::XWebhook,
    };
    let timestamp = args.timestamp.unwrap_or_else(|| SystemClock::new().now().as_secs());
    let mut headers = SignedHeaders::new();
    Signer::new(current, previous, scheme).sign(&args.id, timestamp, &body, &mut headers);
    let message: Map<_, _> =
        headers.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    let rows = headers.iter().map(|(name, value)| vec![format!("{name}: {value}")]);
    Ok(Answer::value(Value::Object(message), &[], rows))
}

/// Verifies the families whose signature header is there, or the one that was asked for.
pub(crate) fn verify(args: &VerifyArgs) -> Result<Answer, Failure> {
    let secrets = secrets(&args.secrets)?;
    let headers: Vec<_> = args.headers.iter().chain(&args.more_headers).cloned().collect();
    let has = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    let body = source::read(&args.body)?;
    let now = args.at.unwrap_or_else(|| SystemClock::new().now().as_secs());
    let x_webhook = match args.scheme {
        Some(scheme) => scheme == VerifyScheme::XWebhook,
        None => has(signing::header::X_WEBHOOK_SIGNATURE),
    };
    let standard = match args.scheme {
        Some(scheme) => scheme == VerifyScheme::Standard,
        // Where there is neither, the error names the header of the standard.
        None => has(signing::header::WEBHOOK_SIGNATURE) || !x_webhook,
    };
    let look_up = signing::from_pairs(&headers);
    let mut rows = Vec::new();
    if standard {
        let keys = secrets.as_slice();
        let verified = signing::verify_standard(keys, &look_up, &body, now, args.tolerance);
        let verified = verified.map_err(|error| refused("standard", error))?;
        rows.push(("standard", verified.id.to_owned(), verified.timestamp));
    }
    if x_webhook {
        let verified = signing::verify_x_webhook(&secrets, &look_up, &body, now, args.tolerance);
        let verified = verified.map_err(|error| refused("x-webhook", error))?;
        rows.push(("x-webhook", String::new(), verified.timestamp));
    }
    let message: Vec<_> = rows
        .iter()
        .map(|(scheme, id, timestamp)| json!({"scheme": scheme, "id": id, "timestamp": timestamp}))
        .collect();
    let table = rows.into_iter().map(|(scheme, id, time)| {
        vec![scheme.to_owned(), "verified".to_owned(), time.to_string(), id]
    });
    let columns = ["SCHEME", "RESULT", "TIMESTAMP", "SIGNED ID"];
    Ok(Answer::value(json!({ "verified": message }), &columns, table))
}

fn refused(scheme: &str, error: VerifyError) -> Failure {
    Failure::Other(anyhow::anyhow!("{scheme} does not verify: {error}"))
}
