//! Names of resources: `tenants/{tenant}/endpoints/{endpoint}` and below.

use std::fmt;

use domain::{
    DeadLetterId, EndpointId, EventId, EventType, IdError, JobId, SubscriptionId, TenantId,
};
use uuid::Uuid;

use super::error::Violation;

/// `tenants/{tenant}/endpoints/{endpoint}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct EndpointName {
    pub(crate) tenant: TenantId,
    pub(crate) endpoint: EndpointId,
}

/// `tenants/{tenant}/endpoints/{endpoint}`, where the endpoint may be `-` for all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct EndpointScope {
    pub(crate) tenant: TenantId,
    pub(crate) endpoint: Option<EndpointId>,
}

/// `tenants/{tenant}/endpoints/{endpoint}/subscriptions/{subscription}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SubscriptionName {
    pub(crate) endpoint: EndpointName,
    pub(crate) subscription: SubscriptionId,
}

/// `tenants/{tenant}/events/{event}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct EventName {
    pub(crate) tenant: TenantId,
    pub(crate) event: EventId,
}

/// `tenants/{tenant}/eventTypes/{event_type}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct EventTypeName {
    pub(crate) tenant: TenantId,
    pub(crate) event_type: EventType,
}

/// `tenants/{tenant}/endpoints/{endpoint}/deliveries/{event}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DeliveryName {
    pub(crate) endpoint: EndpointName,
    pub(crate) event: EventId,
}

/// `tenants/{tenant}/endpoints/{endpoint}/deadLetters/{dead_letter}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DeadLetterName {
    pub(crate) endpoint: EndpointName,
    pub(crate) id: DeadLetterId,
}

/// `tenants/{tenant}/jobs/{job}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct JobName {
    pub(crate) tenant: TenantId,
    pub(crate) id: JobId,
}

impl fmt::Display for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenants/{}/endpoints/{}", self.tenant, self.endpoint)
    }
}

impl fmt::Display for SubscriptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/subscriptions/{}", self.endpoint, self.subscription)
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenants/{}/events/{}", self.tenant, self.event)
    }
}

impl fmt::Display for EventTypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenants/{}/eventTypes/{}", self.tenant, self.event_type)
    }
}

impl fmt::Display for DeliveryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/deliveries/{}", self.endpoint, self.event)
    }
}

impl fmt::Display for DeadLetterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/deadLetters/{}", self.endpoint, self.id)
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenants/{}/jobs/{}", self.tenant, self.id.0.simple())
    }
}

/// Splits `text` along `pattern`, such as `tenants/*/events/*`, into the parts that stand for `*`.
fn split<'t, const N: usize>(
    field: &str,
    text: &'t str,
    pattern: &str,
) -> Result<[&'t str; N], Violation> {
    let shape = || {
        let names = pattern.replacen('*', "{tenant}", 1).replace('*', "{id}");
        Violation::new(
            field,
            if text.is_empty() {
                format!("required, such as {names}")
            } else {
                let text: String = text.chars().take(80).collect();
                format!("{text:?} is not a name of the form {names}")
            },
        )
    };
    let mut parts = text.split('/');
    let mut found = Vec::with_capacity(N);
    for expected in pattern.split('/') {
        let part = parts.next().ok_or_else(shape)?;
        if expected == "*" {
            found.push(part);
        } else if expected != part {
            return Err(shape());
        }
    }
    if parts.next().is_some() {
        return Err(shape());
    }
    found.try_into().map_err(|_| shape())
}

fn id<T>(field: &str, parsed: Result<T, IdError>) -> Result<T, Violation> {
    parsed.map_err(|error| Violation::new(field, error.to_string()))
}

/// Reads `tenants/{tenant}`.
pub(crate) fn tenant(field: &str, text: &str) -> Result<TenantId, Violation> {
    let [tenant] = split(field, text, "tenants/*")?;
    id(field, TenantId::parse(tenant))
}

impl EndpointName {
    pub(crate) fn parse(field: &str, text: &str) -> Result<Self, Violation> {
        let [tenant, endpoint] = split(field, text, "tenants/*/endpoints/*")?;
        Self::of(field, tenant, endpoint)
    }

    fn of(field: &str, tenant: &str, endpoint: &str) -> Result<Self, Violation> {
        Ok(Self {
            tenant: id(field, TenantId::parse(tenant))?,
            endpoint: id(field, EndpointId::parse(endpoint))?,
        })
    }
}

impl EndpointScope {
    pub(crate) fn parse(field: &str, text: &str) -> Result<Self, Violation> {
        let [tenant, endpoint] = split(field, text, "tenants/*/endpoints/*")?;
        Self::of(field, tenant, endpoint)
    }

    /// Reads `tenants/{tenant}/endpoints/{endpoint}/deliveries/{event}`, where the endpoint may be `-`.
    pub(crate) fn parse_delivery(field: &str, text: &str) -> Result<(Self, EventId), Violation> {
        let [tenant, endpoint, event] = split(field, text, "tenants/*/endpoints/*/deliveries/*")?;
        let scope = Self::of(field, tenant, endpoint)?;
        Ok((scope, id(field, EventId::parse(event))?))
    }

    fn of(field: &str, tenant: &str, endpoint: &str) -> Result<Self, Violation> {
        Ok(Self {
            tenant: id(field, TenantId::parse(tenant))?,
            endpoint: match endpoint {
                "-" => None,
                endpoint => Some(id(field, EndpointId::parse(endpoint))?),
            },
        })
    }
}

impl SubscriptionName {
    pub(crate) fn parse(field: &str, text: &str) -> Result<Self, Violation> {
        let [tenant, endpoint, subscription] =
            split(field, text, "tenants/*/endpoints/*/subscriptions/*")?;
        Ok(Self {
            endpoint: EndpointName::of(field, tenant, endpoint)?,
            subscription: id(field, SubscriptionId::parse(subscription))?,
        })
    }
}

impl EventName {
    pub(crate) fn parse(field: &str, text: &str) -> Result<Self, Violation> {
        let [tenant, event] = split(field, text, "tenants/*/events/*")?;
        Ok(Self {
            tenant: id(field, TenantId::parse(tenant))?,
            event: id(field, EventId::parse(event))?,
        })
    }
}

impl EventTypeName {
    pub(crate) fn parse(field: &str, text: &str) -> Result<Self, Violation> {
        let [tenant, event_type] = split(field, text, "tenants/*/eventTypes/*")?;
        Ok(Self {
            tenant: id(field, TenantId::parse(tenant))?,
            event_type: id(field, EventType::parse(event_type))?,
        })
    }
}

impl DeliveryName {
    pub(crate) fn parse(field: &str, text: &str) -> Result<Self, Violation> {
        let [tenant, endpoint, event] = split(field, text, "tenants/*/endpoints/*/deliveries/*")?;
        Ok(Self {
            endpoint: EndpointName::of(field, tenant, endpoint)?,
            event: id(field, EventId::parse(event))?,
        })
    }
}

impl DeadLetterName {
    pub(crate) fn parse(field: &str, text: &str) -> Result<Self, Violation> {
        let [tenant, endpoint, letter] = split(field, text, "tenants/*/endpoints/*/deadLetters/*")?;
        Ok(Self {
            endpoint: EndpointName::of(field, tenant, endpoint)?,
            id: DeadLetterId::parse(letter).ok_or_else(|| {
                Violation::new(field, "the last part of a dead letter's name is 32 hex digits")
            })?,
        })
    }
}

impl JobName {
    pub(crate) fn parse(field: &str, text: &str) -> Result<Self, Violation> {
        let [tenant, job] = split(field, text, "tenants/*/jobs/*")?;
        Ok(Self {
            tenant: id(field, TenantId::parse(tenant))?,
            id: Uuid::try_parse(job).map(JobId).map_err(|_| {
                Violation::new(field, "the last part of a job's name is 32 hex digits")
            })?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_text() {
        let text = "tenants/default/endpoints/shop/deliveries/evt_1";
        let name = DeliveryName::parse("name", text).expect("valid");
        assert_eq!(name.to_string(), text);
    }

    #[test]
    fn a_type_is_the_last_part_of_its_name() {
        let text = "tenants/default/eventTypes/payment.completed";
        let name = EventTypeName::parse("name", text).expect("valid");
        assert_eq!(name.to_string(), text);
        let fault = EventTypeName::parse("name", "tenants/a/eventTypes/payment");
        assert!(fault.expect_err("one segment").description.contains("event type"));
    }

    #[test]
    fn a_wrong_name_says_which_field_and_form() {
        for bad in ["", "tenants/default", "tenants/a/endpoints/b/c", "endpoints/b/tenants/a"] {
            let fault = EndpointName::parse("name", bad).expect_err("malformed");
            assert_eq!(fault.field, "name");
            assert!(fault.description.contains("tenants/{tenant}/endpoints/{id}"), "{fault:?}");
        }
        let fault = EndpointName::parse("name", "tenants/a/endpoints/B").expect_err("bad id");
        assert!(fault.description.contains("endpoint id"), "{fault:?}");
    }

    #[test]
    fn a_dash_stands_for_all_endpoints() {
        let scope = EndpointScope::parse("parent", "tenants/a/endpoints/-").expect("valid");
        assert_eq!(scope.endpoint, None);
        assert!(EndpointName::parse("name", "tenants/a/endpoints/-").is_err());
    }
}
