//! One event to a server near by: the same body, headers and signature as a first attempt to an endpoint.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use domain::egress_policy::EgressPolicy;
use domain::{
    ApiVersion, ContentType, EventId, EventType, Outcome, PayloadFormat, TenantId, Timestamp,
    payload,
};
use egress::Egress;
use ports::{Clock as _, HeaderName, Request, Sender as _};
use runtime::SystemClock;
use signing::{Scheme, Secret, SignedHeaders, Signer};
use url::Url;
use wire::api::v1;

use super::super::source;
use super::super::values::{BodyFormat, SignatureFlag, time_of};
use super::ListenArgs;
use crate::failure::Failure;

/// Sends events on.
pub(super) struct Forward {
    url: Arc<str>,
    secret: Secret,
    signer: Signer,
    format: PayloadFormat,
    headers: Vec<(HeaderName, Box<str>)>,
    timeout: Duration,
    tenant: TenantId,
    sender: Egress,
    clock: SystemClock,
}

/// What came of one event.
pub(super) struct Forwarded {
    /// When it was sent.
    pub(super) time: Timestamp,
    pub(super) outcome: Outcome,
}

impl Forward {
    /// # Errors
    /// [`Failure::Usage`] when destination, secret or headers cannot be what they are.
    pub(super) fn new(args: &ListenArgs, tenant: &str) -> Result<Self, Failure> {
        let usage =
            |what: &str, error: &dyn std::fmt::Display| Failure::Usage(format!("{what}: {error}"));
        let (url, policy) = destination(&args.forward_to)
            .map_err(|error| usage(&format!("--forward-to {}", args.forward_to), &error))?;
        let secret = match &args.secret {
            None => Secret::generate(),
            Some(given) => Secret::parse(&source::read_line(given)?)
                .map_err(|error| usage("--secret", &error))?,
        };
        let tenant = tenant.strip_prefix("tenants/").unwrap_or(tenant);
        let scheme = match args.signature {
            SignatureFlag::Both => Scheme::Both,
            SignatureFlag::Standard => Scheme::Standard,
            SignatureFlag::XWebhook => Scheme::XWebhook,
        };
        let headers = args.headers.iter().map(|(name, value)| {
            let (name, value) = domain::check_custom_header(name, value)
                .map_err(|error| usage("--header", &error))?;
            Ok((HeaderName::Shared(name.into()), value.into()))
        });
        let sender = Egress::new(&egress::Settings::new(policy)).map_err(anyhow::Error::from)?;
        Ok(Self {
            url: url.as_str().into(),
            signer: Signer::new(&secret, &[], scheme),
            secret,
            format: match args.format {
                BodyFormat::Envelope => PayloadFormat::Envelope,
                BodyFormat::Raw => PayloadFormat::Raw,
                BodyFormat::Cloudevents => PayloadFormat::CloudEvents,
                BodyFormat::CloudeventsBinary => PayloadFormat::CloudEventsBinary,
            },
            headers: headers.collect::<Result<_, Failure>>()?,
            timeout: args.timeout,
            tenant: TenantId::parse(tenant).map_err(|error| usage("--tenant", &error))?,
            sender,
            clock: SystemClock::new(),
        })
    }

    /// Where events go.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// What they are signed with, for the one who is to verify them.
    pub(super) fn secret(&self) -> &str {
        self.secret.expose()
    }

    /// Sends one on, once.
    ///
    /// # Errors
    /// When it is no event as this version knows them.
    pub(super) async fn send(&self, event: &v1::Event) -> Result<Forwarded, Failure> {
        let event = self.event(event).context("the server sent what is no event")?;
        let time = self.clock.now();
        let payload = payload(&event, self.format);
        let mut signed = SignedHeaders::new();
        self.signer.sign(event.id.as_str(), time.as_secs(), &payload.body, &mut signed);
        let mut headers = self.headers.clone();
        let mut put = |name, value: &str| headers.push((HeaderName::Static(name), value.into()));
        put("content-type", &payload.content_type);
        put("user-agent", concat!("Postrider/", env!("CARGO_PKG_VERSION")));
        signed.iter().for_each(|(name, value)| put(name, value));
        put("x-webhook-attempt", "1");
        put("x-webhook-trigger", domain::Trigger::Event.as_str());
        payload.headers.iter().for_each(|(name, value)| put(name, value));
        let request =
            Request { url: self.url.clone(), headers, body: payload.body, timeout: self.timeout };
        Ok(Forwarded { time, outcome: self.sender.send(request).await })
    }

    fn event(&self, event: &v1::Event) -> anyhow::Result<domain::Event> {
        Ok(domain::Event {
            tenant: self.tenant.clone(),
            id: EventId::parse(&event.id)?,
            event_type: EventType::parse(&event.r#type)?,
            created_at: event.create_time.map(time_of).context("it has no time")?,
            api_version: ApiVersion::parse(&event.api_version)?,
            content_type: ContentType::parse(&event.content_type)?,
            data: event.data.clone(),
            ordering_key: None,
            idempotency_key: None,
            channels: Vec::new(),
            deliver_at: None,
            revision: None,
            traceparent: None,
        })
    }
}

/// Reads a destination; without a scheme it is `http`.
fn destination(text: &str) -> Result<(Url, EgressPolicy), String> {
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&full)
        .map_err(|error| format!("{error}: write an address such as localhost:3000/webhooks"))?;
    let policy = EgressPolicy::near_by(url.host_str().unwrap_or_default());
    policy.check_url(&url).map_err(|error| error.to_string())?;
    Ok((url, policy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_needs_no_scheme_and_may_be_on_any_network() {
        let read = |text: &str| destination(text).map(|(url, _)| String::from(url));
        assert_eq!(read("localhost:3000").as_deref(), Ok("http://localhost:3000/"));
        assert_eq!(read("10.1.2.3/hook").as_deref(), Ok("http://10.1.2.3/hook"));
        assert_eq!(read("http://app:3000/x").as_deref(), Ok("http://app:3000/x"));
        assert_eq!(read("https://example.com/").as_deref(), Ok("https://example.com/"));
        assert!(read("").is_err());
        assert!(read("ftp://localhost/").is_err());
        assert!(read("http://u:p@localhost/").is_err());
        assert!(read("http://169.254.169.254/latest").is_err(), "a metadata service");
    }
}
