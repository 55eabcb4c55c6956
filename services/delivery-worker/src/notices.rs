//! Operational events: what a tenant is told of its endpoints, delivered like any other event (spec §9).
//!
//! At most one of a kind and endpoint goes out in a minute: the first at once, what happens in the minute after it together at its end, with a count. Nothing is
//! appended for a tenant that subscribes to none, and nothing is told of the deliveries of operational events themselves.
//!
//! They tell a person; nothing depends on them. What was not appended when the process dies is not told again: what happened is in the store.

mod waiting;

use domain::record::encode;
use domain::{
    ApiVersion, ContentType, DeadLetter, DisableReason, EndpointId, EndpointState, EndpointUid,
    Event, EventId, EventType, Position, Revision, TenantId, Timestamp,
};
use runtime::Shutdown;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use self::waiting::Waiting;
use crate::calls::within;
use crate::config::Deps;
use crate::tenants::Tenants;

/// Notices that wait for the task.
const CHANNEL: usize = 1_024;

/// What there is to tell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Disabled,
    Recovered,
    DeadLettered,
    DataGap,
}

impl Kind {
    /// The type of its event.
    fn event_type(self) -> EventType {
        let text = match self {
            Self::Disabled => "postrider.endpoint.disabled",
            Self::Recovered => "postrider.endpoint.recovered",
            Self::DeadLettered => "postrider.delivery.dead_lettered",
            Self::DataGap => "postrider.endpoint.data_gap",
        };
        EventType::parse(text).expect("letters, underscores and dots are a valid type")
    }
}

/// One thing that happened to one endpoint.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Notice {
    pub(crate) kind: Kind,
    pub(crate) tenant: TenantId,
    pub(crate) uid: EndpointUid,
    pub(crate) endpoint: EndpointId,
    pub(crate) time: Timestamp,
    /// What the event says beside endpoint, time and count.
    what: Vec<(&'static str, Value)>,
}

impl Notice {
    /// The id of its event, the same when it is appended again because nobody knows whether it was: SHA-256 over type, endpoint and time, 16 bytes of it.
    fn id(&self) -> EventId {
        let digest = Sha256::new()
            .chain_update(self.kind.event_type().as_str())
            .chain_update(self.uid.as_bytes())
            .chain_update(self.time.as_millis().to_be_bytes())
            .finalize();
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        EventId::parse(&format!("op_{hex}")).expect("letters, digits and underscores are an id")
    }
}

/// Whose notice it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) uid: EndpointUid,
    pub(crate) endpoint: &'a EndpointId,
    pub(crate) time: Timestamp,
}

impl Of<'_> {
    fn notice(self, kind: Kind, what: Vec<(&'static str, Value)>) -> Notice {
        let Self { tenant, uid, endpoint, time } = self;
        Notice { kind, tenant: tenant.clone(), uid, endpoint: endpoint.clone(), time, what }
    }

    /// The worker has changed the endpoint's state by itself.
    pub(crate) fn state_changed(self, to: EndpointState) -> Option<Notice> {
        match to {
            EndpointState::Disabled(DisableReason::Failing) => {
                Some(self.notice(Kind::Disabled, vec![("reason", json!("FAILING"))]))
            }
            EndpointState::Disabled(DisableReason::Answer(status)) => {
                let what = vec![("reason", json!("ANSWER")), ("status", json!(status))];
                Some(self.notice(Kind::Disabled, what))
            }
            EndpointState::Active => Some(self.notice(Kind::Recovered, Vec::new())),
            // By a person, who knows.
            EndpointState::Disabled(DisableReason::ByHand) | EndpointState::Paused => None,
        }
    }

    /// A delivery has become a dead letter; `None` for one of an operational event.
    pub(crate) fn dead_lettered(self, letter: &DeadLetter) -> Option<Notice> {
        let event_type = EventType::parse(&letter.event_type).ok();
        if event_type.is_some_and(|event_type| event_type.is_operational()) {
            return None;
        }
        let what = vec![
            ("reason", json!(letter.reason.as_str())),
            ("event", json!({ "id": letter.event.id.as_str(), "type": letter.event_type })),
            ("attempts", json!(letter.attempts)),
        ];
        Some(self.notice(Kind::DeadLettered, what))
    }

    /// What retention took before the endpoint caught up: positions `from` up to `to` of a shard.
    pub(crate) fn data_gap(self, from: Position, to: Position) -> Notice {
        let lost = to.0.saturating_sub(from.0);
        self.notice(Kind::DataGap, vec![("events_at_most", json!(lost))])
    }
}

/// Where notices are handed in. Clones hand in to the same task.
#[derive(Clone)]
pub(crate) struct Notices(mpsc::Sender<Notice>);

impl Notices {
    /// The two ends.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Notice>) {
        let (notices, told) = mpsc::channel(CHANNEL);
        (Self(notices), told)
    }

    /// Hands a notice in. In a flood that the task cannot keep up with it is dropped: those that it has say enough.
    pub(crate) fn tell(&self, notice: Option<Notice>) {
        if let Some(notice) = notice
            && let Err(error) = self.0.try_send(notice)
        {
            tracing::debug!(%error, "an operational event was not told");
        }
    }
}

/// Appends what is handed in, until all who might hand in are gone or the worker stops.
pub(crate) async fn tell(teller: Teller, mut notices: mpsc::Receiver<Notice>, shutdown: Shutdown) {
    let mut waiting = Waiting::default();
    loop {
        let clock = teller.deps.clock.clone();
        let due = waiting.next_due();
        let timer = async move {
            match due {
                Some(due) => clock.sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            notice = notices.recv() => match notice {
                Some(notice) => waiting.add(notice, teller.deps.clock.now()),
                None => break,
            },
            () = timer => {}
        }
        let now = teller.deps.clock.now();
        while let Some((notice, count)) = waiting.take_due(now) {
            if let Err(error) = teller.append(&notice, count).await {
                tracing::debug!(%error, "an operational event is told later");
                waiting.put_back(notice, count, now);
                break;
            }
        }
    }
}

/// Appends operational events.
pub(crate) struct Teller {
    pub(crate) deps: Deps,
    pub(crate) tenants: std::sync::Arc<Tenants>,
    pub(crate) api_version: ApiVersion,
}

impl Teller {
    async fn append(&self, notice: &Notice, count: u64) -> ports::Result<()> {
        let Some(view) = self.tenants.at_least(&notice.tenant, Revision(0)).await? else {
            return Ok(());
        };
        let event = self.event(notice, count);
        if view.matcher.matching(&event).is_empty() {
            return Ok(());
        }
        let append = async {
            let answers = self.deps.log.append(vec![encode(&event)]).await;
            answers.into_iter().collect::<Result<Vec<_>, _>>()
        };
        within(&*self.deps.clock, append).await.map(|_| ())
    }

    fn event(&self, notice: &Notice, count: u64) -> Event {
        let name = format!("tenants/{}/endpoints/{}", notice.tenant, notice.endpoint);
        let mut data = serde_json::Map::new();
        data.insert("endpoint".to_owned(), json!(name));
        data.insert("time".to_owned(), json!(notice.time.to_rfc3339()));
        data.insert("count".to_owned(), json!(count));
        for (field, value) in &notice.what {
            data.insert((*field).to_owned(), value.clone());
        }
        Event {
            tenant: notice.tenant.clone(),
            id: notice.id(),
            event_type: notice.kind.event_type(),
            created_at: self.deps.clock.now(),
            api_version: self.api_version.clone(),
            content_type: ContentType::json(),
            data: Value::Object(data).to_string().into(),
            ordering_key: Some(notice.endpoint.as_str().into()),
            idempotency_key: None,
            channels: Vec::new(),
            deliver_at: None,
            revision: None,
            traceparent: None,
        }
    }
}
