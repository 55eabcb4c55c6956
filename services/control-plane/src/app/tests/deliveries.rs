use std::time::Duration;

use bytes::Bytes;
use domain::{
    Attempt, AttemptId, BacklogKey, BacklogRow, CommandKind, DeadLetter, DeadLetterId,
    DeadLetterReason, DeliveryState, DisableReason, Disposition, EndpointState, EventId, EventRef,
    Fact, FactKind, LaneKey, OutcomeKind, RunId, Seq, Timestamp, Trigger, WaitReason,
};
use ports::{StateChange, StoredEvent};

use super::world::{World, draft, name, page, tenant};
use crate::app::{DeadLetterName, DeadLetterQuery, DeliveryName, EndpointScope, Error, EventName};

/// Publishes an event and gives it as it lies in the log.
async fn event(world: &World) -> StoredEvent {
    let id = world.publish(vec![draft("1")]).await.expect("ok").remove(0).id;
    let name = EventName { tenant: tenant(), event: id };
    world.app.event(&name).await.expect("found")
}

fn delivery(event: &EventRef) -> DeliveryName {
    DeliveryName { endpoint: name("shop"), event: event.id.clone() }
}

async fn attempt(world: &World, event: &EventRef, number: u32, disposition: Disposition) -> Fact {
    let status = if disposition == Disposition::Delivered { 204 } else { 503 };
    let fact = Fact {
        event: event.clone(),
        endpoint: world.uid("shop").await,
        run: RunId::LOG,
        id: AttemptId::from_uuid(uuid::Uuid::from_u128(u128::from(number))),
        time: world.now(),
        kind: FactKind::Attempt(Attempt {
            number,
            trigger: if number == 1 { Trigger::Event } else { Trigger::Retry },
            outcome: OutcomeKind::Answered(status),
            duration: Duration::from_millis(3),
            excerpt: Bytes::from_static(b"no"),
            detail: String::new(),
            signatures: 1,
            disposition,
        }),
    };
    world.app.deps.events.record(std::slice::from_ref(&fact)).await.expect("recorded");
    fact
}

#[tokio::test]
async fn a_delivery_is_pending_before_its_first_attempt_and_none_without_a_match() {
    let world = World::new().await;
    world.endpoint("shop", "payment.*").await;
    world.endpoint("other", "order.*").await;
    let event = event(&world).await.at;
    let view = world.app.delivery(&delivery(&event)).await.expect("pending");
    assert_eq!((view.summary.state, view.summary.attempts), (DeliveryState::Pending, 0));
    let elsewhere = DeliveryName { endpoint: name("other"), event: event.id.clone() };
    assert!(matches!(world.app.delivery(&elsewhere).await, Err(Error::NotFound(_))));
    let scope = EndpointScope { tenant: tenant(), endpoint: None };
    let all = world.app.list_deliveries(&scope, Some(&event.id), &page(0, "")).await.expect("ok");
    assert_eq!(all.items.len(), 1);
    let needs_event = world.app.list_deliveries(&scope, None, &page(0, "")).await;
    assert!(matches!(needs_event, Err(Error::Invalid(_))));
}

#[tokio::test]
async fn attempts_and_deliveries_are_listed_newest_first_each_delivery_once() {
    let world = World::new().await;
    world.endpoint("shop", "*").await;
    let (one, two) = (event(&world).await.at, event(&world).await.at);
    let next = world.now() + Duration::from_secs(10);
    attempt(&world, &one, 1, Disposition::Retry { next }).await;
    world.clock.advance(Duration::from_secs(1));
    attempt(&world, &two, 2, Disposition::Delivered).await;
    world.clock.advance(Duration::from_secs(9));
    attempt(&world, &one, 3, Disposition::Delivered).await;
    let scope = EndpointScope { tenant: tenant(), endpoint: Some(name("shop").endpoint) };
    let (mut token, mut ids) = (String::new(), Vec::new());
    loop {
        let part = world.app.list_deliveries(&scope, None, &page(1, &token)).await.expect("ok");
        ids.extend(part.items.iter().map(|view| view.name.event.clone()));
        token = part.next;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(ids, [one.id.clone(), two.id]);
    let attempts = world.app.list_attempts(&scope, &one.id, &page(0, "")).await.expect("ok");
    let numbers: Vec<u32> = attempts.items.iter().map(|view| view.attempt.number).collect();
    assert_eq!(numbers, [3, 1]);
    assert_eq!(attempts.items[0].url, "https://example.com/hook");
}

#[tokio::test]
async fn a_test_goes_to_one_inbox_and_its_event_can_be_read() {
    let world = World::new().await;
    world.endpoint("shop", "order.*").await;
    let kind = domain::EventType::parse("postrider.test").expect("valid");
    let delivery = world.app.test_endpoint(&name("shop"), kind, None).await.expect("sent");
    let commands = world.commands().await;
    assert!(matches!(&commands[..], [one] if matches!(one.kind, CommandKind::Test { .. })));
    let name = EventName { tenant: tenant(), event: delivery.event };
    assert!(!world.app.event(&name).await.expect("found").at.at.is_in_log());
}

#[tokio::test]
async fn a_resend_goes_to_all_that_match_now_and_are_not_disabled() {
    let world = World::new().await;
    let event = event(&world).await;
    for (id, pattern) in [("shop", "payment.*"), ("off", "*"), ("other", "order.*")] {
        world.endpoint(id, pattern).await;
    }
    disable(&world, "off", DisableReason::Failing).await;
    let event_name = EventName { tenant: tenant(), event: event.at.id.clone() };
    let sent = world.app.resend(&event_name, None, None).await.expect("sent");
    assert_eq!(sent, [delivery(&event.at)]);
    let commands = world.commands().await;
    assert_eq!(commands.len(), 1);
    assert_eq!(commands[0].shard, event.at.at.shard);
    disable(&world, "other", DisableReason::ByHand).await;
    let refused = world.app.resend(&event_name, Some(&name("other")), None).await;
    assert!(matches!(refused, Err(Error::EndpointDisabled { .. })));
    world.app.resend(&event_name, Some(&name("off")), None).await.expect("failing ones take it");
}

async fn disable(world: &World, id: &str, reason: DisableReason) {
    let change = StateChange {
        from: EndpointState::Active,
        to: EndpointState::Disabled(reason),
        time: world.now(),
    };
    let uid = world.uid(id).await;
    world.app.deps.config.set_state(&tenant(), uid, change).await.expect("disabled");
}

#[tokio::test]
async fn only_a_pending_delivery_can_be_cancelled() {
    let world = World::new().await;
    world.endpoint("shop", "*").await;
    let event = event(&world).await.at;
    attempt(&world, &event, 1, Disposition::Delivered).await;
    let error = world.app.cancel_delivery(&delivery(&event), None).await.expect_err("ended");
    assert!(matches!(error, Error::NotPending { .. }), "{error}");
    assert!(world.commands().await.is_empty());
}

async fn letter(world: &World, event: &EventRef) -> DeadLetterName {
    let reason = DeadLetterReason::Rejected;
    attempt(world, event, 1, Disposition::DeadLettered(reason)).await;
    let endpoint = world.uid("shop").await;
    let id = DeadLetterId::of(endpoint, event);
    let letter = DeadLetter {
        id,
        tenant: tenant(),
        endpoint,
        url: "https://example.com/hook".to_owned(),
        event: event.clone(),
        event_type: "payment.completed".to_owned(),
        reason,
        last_outcome: Some(OutcomeKind::Answered(400)),
        attempts: 1,
        run: RunId::LOG,
        time: world.now(),
    };
    world.app.deps.dead_letters.put(&[letter]).await.expect("kept");
    DeadLetterName { endpoint: name("shop"), id }
}

#[tokio::test]
async fn a_redrive_is_sent_once_and_a_second_one_is_refused() {
    let world = World::new().await;
    world.endpoint("shop", "*").await;
    let event = event(&world).await.at;
    let letter = letter(&world, &event).await;
    let delivery_view = world.app.delivery(&delivery(&event)).await.expect("there");
    assert_eq!(delivery_view.dead_letter, Some((letter.id, DeadLetterReason::Rejected)));
    let target = world.app.redrive(&letter, None).await.expect("begun");
    assert!(target.letter.is_redriving);
    let error = world.app.redrive(&letter, None).await.expect_err("under way");
    assert!(matches!(error, Error::RedriveInProgress(_)), "{error}");
    let commands = world.commands().await;
    assert!(matches!(&commands[..], [one] if one.shard == event.at.shard));
    let scope = EndpointScope { tenant: tenant(), endpoint: None };
    let query = DeadLetterQuery::default();
    let all = world.app.list_dead_letters(&scope, query, &page(0, "")).await.expect("a list");
    assert!(all.items[0].is_redriving);
}

#[tokio::test]
async fn cancelling_names_the_runs_that_wait_and_the_redrive_even_before_its_first_attempt() {
    let world = World::new().await;
    world.endpoint("shop", "*").await;
    let event = event(&world).await.at;
    let letter = letter(&world, &event).await;
    world.app.redrive(&letter, None).await.expect("begun");
    let redrive = world.commands().await[0].id.0;
    // Nobody takes the command: only that it is sent is looked at.
    let sent = async {
        loop {
            let mut kinds = world.commands().await.into_iter().map(|command| command.kind);
            let is_cancel = |kind: &CommandKind| matches!(kind, CommandKind::Cancel { .. });
            if let Some(cancel) = kinds.find(is_cancel) {
                return cancel;
            }
            tokio::task::yield_now().await;
        }
    };
    let of = delivery(&event);
    let kind = tokio::select! {
        biased;
        kind = sent => kind,
        ended = world.app.cancel_delivery(&of, None) => panic!("{ended:?}"),
    };
    let redrive = Some(RunId::from_uuid(redrive));
    assert_eq!(kind, CommandKind::Cancel { event, runs: Vec::new(), redrive });
}

#[tokio::test]
async fn a_redrive_is_refused_while_disabled_for_good_but_not_while_failing() {
    let world = World::new().await;
    world.endpoint("shop", "*").await;
    let letter = letter(&world, &event(&world).await.at).await;
    disable(&world, "shop", DisableReason::Answer(410)).await;
    let error = world.app.redrive(&letter, None).await.expect_err("refused");
    assert!(error.to_string().contains("answered 410"), "{error}");
    assert!(world.commands().await.is_empty());
    let resume = crate::app::StateVerb::Resume { catch_up: true };
    world.app.change_state(&name("shop"), resume, "", None).await.expect("active");
    disable(&world, "shop", DisableReason::Failing).await;
    world.app.redrive(&letter, None).await.expect("allowed");
}

#[tokio::test]
async fn the_health_of_an_endpoint_joins_its_lanes() {
    let world = World::new().await;
    world.endpoint("shop", "*").await;
    let endpoint = world.uid("shop").await;
    let lane = |shard, failures, waiting| {
        let key = domain::LaneKey { shard: domain::Shard(shard), endpoint };
        let mut row = domain::LaneRow::new(key, tenant(), domain::Epoch(1));
        row.breaker.failures = failures;
        row.waiting = waiting;
        row.oldest_due = Some(world.now() + Duration::from_secs(waiting));
        row
    };
    let lanes = [lane(0, 1, 5), lane(3, 4, 2)];
    world.app.deps.lanes.save(&lanes).await.expect("saved");
    let health = world.app.get_endpoint(&name("shop")).await.expect("there").health;
    assert_eq!((health.consecutive_failures, health.waiting), (4, 7));
    assert_eq!(health.oldest_due, Some(world.now() + Duration::from_secs(2)));
    assert!(!health.is_open);
}

#[tokio::test]
async fn an_event_of_many_endpoints_hides_no_delivery() {
    let world = World::new().await;
    world.endpoint("shop", "*").await;
    let event = event(&world).await.at;
    let other = domain::EndpointUid::from_uuid(uuid::Uuid::from_u128(7));
    for number in 0..crate::app::events::FACTS_MAX {
        let fact = Fact {
            event: event.clone(),
            endpoint: other,
            run: RunId::LOG,
            id: AttemptId::from_uuid(uuid::Uuid::from_u128(number as u128)),
            time: world.now(),
            kind: FactKind::Cancelled,
        };
        world.app.deps.events.record(&[fact]).await.expect("recorded");
    }
    world.clock.advance(Duration::from_secs(1));
    attempt(&world, &event, 1, Disposition::Delivered).await;
    let view = world.app.delivery(&delivery(&event)).await.expect("found");
    assert_eq!((view.summary.state, view.summary.attempts), (DeliveryState::Succeeded, 1));
    let scope = EndpointScope { tenant: tenant(), endpoint: Some(name("shop").endpoint) };
    let attempts = world.app.list_attempts(&scope, &event.id, &page(0, "")).await.expect("ok");
    assert_eq!(attempts.items.len(), 1);
}

/// Puts an event in the backlog of its lane, as the worker of a paused endpoint does.
async fn hold(world: &World, event: &EventRef, due: Timestamp, count: u64) {
    let lane = LaneKey { shard: event.at.shard, endpoint: world.uid("shop").await };
    let row = BacklogRow {
        key: BacklogKey { due, seq: Seq(count) },
        event: event.clone(),
        run: RunId::LOG,
        number: 1,
        trigger: Trigger::Event,
        reason: WaitReason::Held,
        first_due: due,
    };
    world.app.deps.backlog.append(&[(lane, row)]).await.expect("appended");
}

#[tokio::test]
async fn what_waits_untried_is_listed_first_and_each_delivery_once() {
    let world = World::new().await;
    world.endpoint("shop", "*").await;
    let mut expected = Vec::new();
    // More than one read of a lane, over all shards; two at a time are due at once.
    for number in 0..900_u64 {
        let held = event(&world).await.at;
        let due = world.now() + Duration::from_millis(number / 2);
        hold(&world, &held, due, number % 2).await;
        expected.push(((due, number % 2, held.at.shard), held.id));
    }
    expected.sort();
    let mut expected: Vec<EventId> = expected.into_iter().map(|(_, id)| id).collect();
    let tried = event(&world).await.at;
    hold(&world, &tried, world.now(), 7).await;
    attempt(&world, &tried, 1, Disposition::Delivered).await;
    expected.push(tried.id);
    let scope = EndpointScope { tenant: tenant(), endpoint: Some(name("shop").endpoint) };
    for size in [7, 450, 900, 1_000] {
        let (mut token, mut ids) = (String::new(), Vec::new());
        loop {
            let part =
                world.app.list_deliveries(&scope, None, &page(size, &token)).await.expect("ok");
            assert!(part.items.len() <= usize::try_from(size).expect("fits"));
            ids.extend(part.items.iter().map(|view| view.name.event.clone()));
            token = part.next;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(ids, expected, "pages of {size}");
    }
}
