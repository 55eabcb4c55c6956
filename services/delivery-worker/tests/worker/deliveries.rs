//! The main path, records that are no events, and the end of a worker.

use domain::record::{Record, encode};
use domain::{Disposition, Event, OutcomeKind, TenantId};
use ports::EventLog as _;
use testkit::Reply;

use crate::world::{World, secs, tenant, url};

#[tokio::test]
async fn what_is_published_is_sent_recorded_and_acked() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.endpoint("stock", 2).await;
    world.start().await;
    let at = world.publish("evt_1").await;
    for endpoint in ["orders", "stock"] {
        let sent = world.sent(endpoint);
        assert_eq!(sent.len(), 1, "{endpoint}");
        assert_eq!(sent[0].1, "evt_1");
    }
    let attempts = world.attempts(1);
    let (fact, attempt) = attempts.first().expect("the attempt is recorded");
    assert_eq!((fact.event.at, attempt.number), (at, 1));
    assert_eq!(attempt.outcome, OutcomeKind::Answered(200));
    assert_eq!(attempt.disposition, Disposition::Delivered);
    assert_eq!(world.acked(at.shard), None, "positions are saved a little later");
    world.pass(secs(1)).await;
    assert_eq!(world.acked(at.shard), Some(at.position));
}

#[tokio::test]
async fn every_attempt_is_told_to_those_who_watch() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    world.sender.script(&url("orders"), [Reply::status(503), Reply::status(200)]);
    let at = world.publish("evt_1").await;
    world.pass(secs(60)).await;
    let told = world.observations.told();
    let recorded = world.attempts(1);
    assert_eq!((told.len(), recorded.len()), (2, 2));
    for (told, (fact, attempt)) in told.iter().zip(&recorded) {
        assert_eq!((told.event.at, told.event_type.as_str()), (at, "payment.completed"));
        assert_eq!((told.endpoint.as_str(), told.attempt), ("orders", fact.id));
        assert_eq!((told.number, told.trigger), (attempt.number, attempt.trigger));
        assert_eq!((told.outcome, told.disposition), (attempt.outcome, attempt.disposition));
    }
}

#[tokio::test]
async fn records_that_are_no_events_are_set_aside_and_their_shard_goes_on() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    let mut poison = encode(&world.event("evt_bad"));
    poison.headers.retain(|(name, _)| name != "ce_type");
    let bare = Record { key: poison.key.clone(), ..Record::default() };
    let nobody = TenantId::parse("nobody").expect("a tenant id");
    let stranger = Event { tenant: nobody, ..world.event("evt_bad") };
    let good = Event { ordering_key: Some("evt_bad".into()), ..world.event("evt_good") };
    let records = vec![poison, bare, encode(&stranger), encode(&good)];
    let appended = world.log.append(records).await;
    world.pass(secs(1)).await;
    let last = appended.last().expect("four").as_ref().expect("durable").at;
    assert_eq!(world.sent("orders").len(), 1);
    assert_eq!(world.acked(last.shard), Some(last.position));
    assert_eq!(good.tenant, tenant());
    let aside = world.log.quarantined();
    let fields: Vec<_> = aside.iter().map(|(_, poison)| poison.field).collect();
    assert_eq!(fields, ["ce_type", "value", "postrider_tenant"]);
}

#[tokio::test]
async fn a_shard_of_poison_stops_and_the_others_go_on() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    let bare = Record { key: Some("evt_bad".into()), ..Record::default() };
    world.log.append(vec![bare; 60]).await;
    world.pass(secs(1)).await;
    let stopped = world.log.shards().of_key(b"evt_bad");
    assert_eq!(world.acked(stopped), None, "nothing of it is passed over");
    assert!(world.log.quarantined().is_empty());
    let mut at = world.publish("evt_1").await;
    for n in 2.. {
        if at.shard != stopped {
            break;
        }
        at = world.publish(&format!("evt_{n}")).await;
    }
    world.pass(secs(1)).await;
    assert_eq!(world.acked(at.shard), Some(at.position), "another shard goes on");
    assert_eq!(world.sent("orders").len(), 1);
}

#[tokio::test]
async fn a_shutdown_lets_what_is_in_flight_finish_and_saves_it() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    world.sender.always(&url("orders"), Reply::status(200).after(secs(10)));
    let at = world.publish("evt_1").await;
    assert_eq!(world.sender.in_flight().0, 1);
    assert!(world.stop(secs(9)).await.is_none(), "the request is still on its way");
    let ended = world.stop(secs(2)).await;
    assert!(matches!(ended, Some(Ok(()))), "{ended:?}");
    assert_eq!(world.attempts(1).len(), 1);
    assert_eq!(world.acked(at.shard), Some(at.position));
}

#[tokio::test]
async fn a_shutdown_starts_nothing_new() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    world.sender.always(&url("orders"), Reply::status(200).after(secs(10)));
    world.publish("evt_1").await;
    world.shutdown.cancel();
    world.settle().await;
    world.publish("evt_2").await;
    assert!(world.stop(secs(12)).await.is_some());
    assert_eq!(world.sent("orders").len(), 1);
    world.start().await;
    let ids: Vec<String> = world.sent("orders").into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids, ["evt_1", "evt_2"]);
}
