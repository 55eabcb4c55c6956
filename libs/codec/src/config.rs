//! Endpoints with their sealed secrets, and subscriptions.

use std::collections::BTreeMap;

use domain::{
    DeliveryPolicy, DisableReason, Endpoint, EndpointId, EndpointState, EventPattern, Ordering,
    PayloadFormat, RateLimit, RetrySchedule, Revision, SealedSecret, SignatureScheme, Subscription,
    SubscriptionId,
};
use ports::EndpointConfig;

use super::{In, Out, Read};

const ENDPOINT: u8 = 1;
const SUBSCRIPTION: u8 = 1;

pub fn encode_endpoint(config: &EndpointConfig) -> Vec<u8> {
    let endpoint = &config.endpoint;
    let mut out = Out::new(ENDPOINT, 512);
    out.text(endpoint.tenant.as_str())
        .text(endpoint.id.as_str())
        .fixed(endpoint.uid.as_bytes())
        .text(&endpoint.display_name)
        .text(&endpoint.description)
        .text(&endpoint.url)
        .map(&endpoint.headers)
        .state(endpoint.state)
        .time(endpoint.state_time)
        .policy(&endpoint.policy)
        .map(&endpoint.labels)
        .time(endpoint.create_time)
        .time(endpoint.update_time)
        .uint(endpoint.revision.0)
        .list(config.secrets.iter(), |out, secret| {
            out.uint(secret.version.into()).time(secret.create_time);
            out.option(secret.not_after, |out, time| {
                out.time(time);
            });
            out.bytes(&secret.sealed);
        });
    out.end()
}

pub fn decode_endpoint(bytes: &[u8]) -> Read<EndpointConfig> {
    let mut input = In::new(bytes, ENDPOINT, "endpoint")?;
    let endpoint = Endpoint {
        tenant: input.tenant()?,
        id: input.endpoint_id()?,
        uid: input.endpoint()?,
        display_name: input.string()?,
        description: input.string()?,
        url: input.string()?,
        headers: input.map()?,
        state: input.state()?,
        state_time: input.time()?,
        policy: input.policy()?,
        labels: input.map()?,
        create_time: input.time()?,
        update_time: input.time()?,
        revision: Revision(input.uint()?),
    };
    let secrets = input.list(|input| {
        Ok(SealedSecret {
            version: input.small()?,
            create_time: input.time()?,
            not_after: input.option(In::time)?,
            sealed: input.owned()?,
        })
    })?;
    input.end()?;
    Ok(EndpointConfig { endpoint, secrets })
}

pub fn encode_subscription(subscription: &Subscription) -> Vec<u8> {
    let mut out = Out::new(SUBSCRIPTION, 192);
    out.text(subscription.tenant.as_str())
        .text(subscription.endpoint.as_str())
        .text(subscription.id.as_str())
        .list(subscription.event_types.iter(), |out, pattern| {
            out.text(&pattern.to_string());
        })
        .text(&subscription.filter)
        .list(subscription.channels.iter(), |out, channel| {
            out.text(channel);
        })
        .time(subscription.create_time)
        .time(subscription.update_time)
        .uint(subscription.revision.0);
    out.end()
}

pub fn decode_subscription(bytes: &[u8]) -> Read<Subscription> {
    let mut input = In::new(bytes, SUBSCRIPTION, "subscription")?;
    let subscription = Subscription {
        tenant: input.tenant()?,
        endpoint: input.endpoint_id()?,
        id: SubscriptionId::parse(input.text()?).map_err(|_| input.damaged())?,
        event_types: input
            .list(|input| EventPattern::parse(input.text()?).map_err(|_| input.damaged()))?,
        filter: input.string()?,
        channels: input.list(In::shared)?,
        create_time: input.time()?,
        update_time: input.time()?,
        revision: Revision(input.uint()?),
    };
    input.end()?;
    Ok(subscription)
}

impl Out {
    fn map(&mut self, map: &BTreeMap<String, String>) -> &mut Self {
        self.list(map.iter(), |out, (name, value)| {
            out.text(name).text(value);
        })
    }

    fn state(&mut self, state: EndpointState) -> &mut Self {
        match state {
            EndpointState::Active => self.byte(1),
            EndpointState::Paused => self.byte(2),
            EndpointState::Disabled(DisableReason::Failing) => self.byte(3),
            EndpointState::Disabled(DisableReason::Answer(status)) => {
                self.byte(4).uint(status.into())
            }
            EndpointState::Disabled(DisableReason::ByHand) => self.byte(5),
        }
    }

    fn policy(&mut self, policy: &DeliveryPolicy) -> &mut Self {
        self.duration(policy.timeout)
            .list(policy.retry_schedule.steps().iter(), |out, step| {
                out.duration(*step);
            })
            .option(policy.rate_limit, |out, limit| {
                out.uint(limit.attempts.into()).duration(limit.per);
            })
            .uint(policy.max_concurrency.into())
            .byte(match policy.ordering {
                Ordering::None => 1,
                Ordering::ByKey => 2,
            })
            .byte(match policy.format {
                PayloadFormat::Envelope => 1,
                PayloadFormat::Raw => 2,
                PayloadFormat::CloudEvents => 3,
                PayloadFormat::CloudEventsBinary => 4,
            })
            .byte(match policy.signature {
                SignatureScheme::Both => 1,
                SignatureScheme::Standard => 2,
                SignatureScheme::XWebhook => 3,
            })
            .uint(policy.disable_after.into())
    }
}

impl In<'_> {
    fn endpoint_id(&mut self) -> Read<EndpointId> {
        EndpointId::parse(self.text()?).map_err(|_| self.damaged())
    }

    fn map(&mut self) -> Read<BTreeMap<String, String>> {
        let items = self.list(|input| Ok((input.string()?, input.string()?)))?;
        Ok(items.into_iter().collect())
    }

    fn state(&mut self) -> Read<EndpointState> {
        Ok(match self.byte()? {
            1 => EndpointState::Active,
            2 => EndpointState::Paused,
            3 => EndpointState::Disabled(DisableReason::Failing),
            4 => EndpointState::Disabled(DisableReason::Answer(self.small()?)),
            5 => EndpointState::Disabled(DisableReason::ByHand),
            _ => return Err(self.damaged()),
        })
    }

    fn policy(&mut self) -> Read<DeliveryPolicy> {
        let timeout = self.duration()?;
        let steps = self.list(In::duration)?;
        Ok(DeliveryPolicy {
            timeout,
            retry_schedule: RetrySchedule::new(steps).map_err(|_| self.damaged())?,
            rate_limit: self.option(|input| {
                let (attempts, per) = (input.small()?, input.duration()?);
                RateLimit::new(attempts, per).map_err(|_| input.damaged())
            })?,
            max_concurrency: self.small()?,
            ordering: match self.byte()? {
                1 => Ordering::None,
                2 => Ordering::ByKey,
                _ => return Err(self.damaged()),
            },
            format: match self.byte()? {
                1 => PayloadFormat::Envelope,
                2 => PayloadFormat::Raw,
                3 => PayloadFormat::CloudEvents,
                4 => PayloadFormat::CloudEventsBinary,
                _ => return Err(self.damaged()),
            },
            signature: match self.byte()? {
                1 => SignatureScheme::Both,
                2 => SignatureScheme::Standard,
                3 => SignatureScheme::XWebhook,
                _ => return Err(self.damaged()),
            },
            disable_after: self.small()?,
        })
    }
}
