//! Subscriptions on the wire.

use std::sync::Arc;

use domain::{EndpointUid, EventPattern, Filter, Subscription, SubscriptionId, limits};
use wire::api::v1;

use super::{request, time};
use crate::app::{
    CreateSubscription, EndpointName, Error, Faults, SubscriptionDraft, SubscriptionView,
    Violation, name_of_subscription,
};

/// The fields that an update may change.
const PATHS: [&str; 3] = ["event_types", "filter", "channels"];

/// Reads what a caller may set. `path` is that of the message, such as `subscriptions[0]`.
pub(crate) fn draft(
    faults: &mut Faults,
    path: &str,
    subscription: &v1::Subscription,
) -> SubscriptionDraft {
    let at = |field: &str| format!("{path}.{field}");
    let filter = filter(faults, &at("filter"), &subscription.filter);
    let types = &subscription.event_types;
    if types.is_empty() || types.len() > limits::PATTERNS_MAX {
        faults.add(
            at("event_types"),
            format!(
                "{} patterns, allowed are 1 to {}, such as payment.*",
                types.len(),
                limits::PATTERNS_MAX
            ),
        );
    }
    let patterns = types.iter().take(limits::PATTERNS_MAX).enumerate();
    let event_types = patterns
        .filter_map(|(i, text)| {
            let field = format!("{path}.event_types[{i}]");
            faults.check(field, EventPattern::parse(text))
        })
        .collect();
    let channels = channels(faults, &at("channels"), &subscription.channels);
    SubscriptionDraft { event_types, filter, channels }
}

/// Reads a filter; blanks around it do not count.
fn filter(faults: &mut Faults, field: &str, given: &str) -> String {
    let text = given.trim();
    if !text.is_empty() {
        faults.check(field, Filter::parse(text));
    }
    text.to_owned()
}

/// Reads channels of events and subscriptions: at most 10 of `[A-Za-z0-9_.:/-]{1,128}`; repeated ones count once.
pub(crate) fn channels(faults: &mut Faults, field: &str, given: &[String]) -> Vec<Arc<str>> {
    if given.len() > limits::CHANNELS_MAX {
        let (count, max) = (given.len(), limits::CHANNELS_MAX);
        faults.add(field, format!("{count} channels, allowed are {max}"));
        return Vec::new();
    }
    let mut channels: Vec<Arc<str>> = Vec::with_capacity(given.len());
    for (i, channel) in given.iter().enumerate() {
        if !domain::is_channel(channel) {
            let channel: String = channel.chars().take(80).collect();
            faults.add(
                format!("{field}[{i}]"),
                format!("{channel:?} is not a channel: 1 to 128 of A-Z, a-z, 0-9, _ . : / and -"),
            );
        } else if !channels.iter().any(|known| **known == **channel) {
            channels.push(channel.as_str().into());
        }
    }
    channels
}

/// A subscription on the wire.
pub(crate) fn to_wire(endpoint: EndpointUid, subscription: Subscription) -> v1::Subscription {
    view_to_wire(SubscriptionView::new(endpoint, subscription))
}

/// A subscription on the wire.
pub(crate) fn view_to_wire(view: SubscriptionView) -> v1::Subscription {
    let subscription = view.subscription;
    v1::Subscription {
        name: name_of_subscription(&subscription).to_string(),
        uid: view.uid.hyphenated().to_string(),
        create_time: Some(time::to_wire(subscription.create_time)),
        update_time: Some(time::to_wire(subscription.update_time)),
        etag: request::etag(subscription.revision),
        ..draft_to_wire(&SubscriptionDraft::of(&subscription))
    }
}

fn draft_to_wire(draft: &SubscriptionDraft) -> v1::Subscription {
    let text = |channel: &Arc<str>| channel.to_string();
    v1::Subscription {
        event_types: draft.event_types.iter().map(ToString::to_string).collect(),
        filter: draft.filter.clone(),
        channels: draft.channels.iter().map(text).collect(),
        ..v1::Subscription::default()
    }
}

/// Reads a request to make a subscription.
pub(crate) fn create(mut call: v1::CreateSubscriptionRequest) -> Result<CreateSubscription, Error> {
    let id = std::mem::take(&mut call.request_id);
    let request = request::request_id("CreateSubscription", &id, &call);
    let mut faults = Faults::default();
    let request = faults.take(request);
    let endpoint = faults.take(EndpointName::parse("parent", &call.parent));
    let subscription_id = Some(call.subscription_id.as_str())
        .filter(|id| !id.is_empty())
        .map(|id| faults.check("subscription_id", SubscriptionId::parse(id)));
    let subscription = call.subscription.unwrap_or_default();
    let draft = draft(&mut faults, "subscription", &subscription);
    let endpoint = faults.finish_with(endpoint)?;
    Ok(CreateSubscription {
        endpoint,
        id: subscription_id.flatten(),
        draft,
        request: request.flatten(),
        validate_only: call.validate_only,
    })
}

/// A change of a subscription: its new values, and which of them count.
#[derive(Debug)]
pub(crate) struct Patch {
    values: v1::Subscription,
    event_types: bool,
    filter: bool,
    channels: bool,
}

impl Patch {
    /// Reads a mask. Without one the populated fields count; `*` is all.
    pub(crate) fn parse(
        faults: &mut Faults,
        values: v1::Subscription,
        mask: Option<prost_types::FieldMask>,
    ) -> Self {
        let mut patch = Self {
            event_types: mask.is_none() && !values.event_types.is_empty(),
            filter: mask.is_none() && !values.filter.is_empty(),
            channels: mask.is_none() && !values.channels.is_empty(),
            values,
        };
        for path in mask.unwrap_or_default().paths {
            match path.as_str() {
                "*" => {
                    (patch.event_types, patch.filter, patch.channels) = (true, true, true);
                }
                "event_types" => patch.event_types = true,
                "channels" => patch.channels = true,
                "filter" => patch.filter = true,
                other => {
                    let fault = unknown(other);
                    faults.add(fault.field, fault.description);
                }
            }
        }
        patch
    }

    /// Turns what is set now into what shall be.
    ///
    /// # Errors
    /// [`Error::Invalid`] with `faults`, those of the rest of the request, and those of the new values.
    pub(crate) fn apply(
        &self,
        mut faults: Faults,
        current: SubscriptionDraft,
    ) -> Result<SubscriptionDraft, Error> {
        let mut merged = draft_to_wire(&current);
        if self.event_types {
            merged.event_types.clone_from(&self.values.event_types);
        }
        if self.filter {
            merged.filter.clone_from(&self.values.filter);
        }
        if self.channels {
            merged.channels.clone_from(&self.values.channels);
        }
        let draft = draft(&mut faults, "subscription", &merged);
        faults.finish()?;
        Ok(draft)
    }
}

fn unknown(path: &str) -> Violation {
    let path: String = path.chars().take(80).collect();
    Violation::new(
        "update_mask",
        format!(
            "{path:?} is not a field of a subscription that can be updated: allowed are {}",
            PATHS.join(", ")
        ),
    )
}
