//! The log's retention passes what an endpoint still has to catch up.

use domain::{DisableReason, EndpointState};
use ports::{Applied, Clock as _, ConfigStore as _, StateChange};
use testkit::Reply;

use crate::heard::Heard;
use crate::world::{World, secs, tenant, uid, url};

#[tokio::test]
async fn what_retention_took_before_it_was_caught_up_is_reported_once() {
    let heard = Heard::default();
    let _listening = heard.listen();
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.sender.script(&url("orders"), [Reply::status(410)]);
    world.start().await;
    for _ in 0..3 {
        world.publish("evt_1").await;
        world.pass(secs(2)).await;
    }
    world.log.remove_all();
    world.publish("evt_1").await;
    world.pass(secs(2)).await;
    let from = EndpointState::Disabled(DisableReason::Answer(410));
    let change = StateChange { from, to: EndpointState::Active, time: world.clock.now() };
    match world.store.set_state(&tenant(), uid(1), change).await {
        Ok(Applied::Done(revision)) => world.hint(revision).await,
        other => panic!("the endpoint was not resumed: {other:?}"),
    }
    world.pass(secs(120)).await;
    assert_eq!(world.sent("orders").len(), 2, "the 410, and what is left of what was skipped");
    let gaps = heard.errors();
    assert_eq!(gaps.len(), 1, "DL-8: {gaps:?}");
    assert!(gaps[0].contains("data_gap") && gaps[0].contains("events_at_most=2"), "{gaps:?}");
}
