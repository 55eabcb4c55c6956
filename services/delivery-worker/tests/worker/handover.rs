//! A shard's way from one worker to another that has joined: nothing of it is begun any more, what is under way is finished (EL-15).

use domain::{Disposition, LogPosition};
use testkit::Reply;

use crate::world::{World, secs, url};

/// A worker of a group that asks before it takes, with one request under way that takes two seconds, and the place of its event.
async fn with_a_request_under_way() -> (World, LogPosition) {
    let mut world = World::new().await;
    world.log.ask_before_taking();
    world.endpoint("slow", 1).await;
    world.sender.always(&url("slow"), Reply::status(200).after(secs(2)));
    world.start().await;
    let at = world.publish("evt_1").await;
    assert_eq!(world.sent("slow").len(), 1);
    (world, at)
}

#[tokio::test]
async fn what_is_under_way_ends_where_it_began_and_the_rest_is_sent_by_the_next_worker() {
    let (mut world, first) = with_a_request_under_way().await;
    world.start().await;
    let second = world.publish("evt_2").await;
    world.pass(secs(1)).await;
    assert_eq!(world.sent("slow").len(), 1, "nothing begins while the first is under way");
    world.pass(secs(10)).await;
    let sent: Vec<String> = world.sent("slow").into_iter().map(|(_, id)| id).collect();
    assert_eq!(sent, ["evt_1", "evt_2"], "DL-4: each once");
    let dispositions: Vec<Disposition> =
        world.attempts(1).into_iter().map(|(_, attempt)| attempt.disposition).collect();
    assert_eq!(dispositions, [Disposition::Delivered, Disposition::Delivered]);
    for at in [first, second] {
        assert!(world.acked(at.shard) >= Some(at.position));
    }
}

#[tokio::test]
async fn a_retry_that_waits_is_made_by_the_next_worker_when_it_is_due() {
    let (mut world, _) = with_a_request_under_way().await;
    world.endpoint("failing", 2).await;
    world.pass(secs(3)).await;
    world.sender.script(&url("failing"), [Reply::status(500)]);
    world.publish("evt_2").await;
    assert_eq!(world.sent("failing").len(), 1);
    world.start().await;
    world.pass(secs(60)).await;
    let sent = world.sent("failing");
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert!(sent[1].0.since(sent[0].0) >= secs(9), "its first step is ten seconds, less a tenth");
    let numbers: Vec<u32> = world.attempts(2).iter().map(|(_, attempt)| attempt.number).collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(world.sent("slow").len(), 2);
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_while_it_leaves_finishes_all_the_same() {
    let (mut world, _) = with_a_request_under_way().await;
    let leaving = world.shutdown.clone();
    world.start().await;
    leaving.cancel();
    world.publish("evt_2").await;
    world.pass(secs(10)).await;
    assert!(world.workers.try_join_next().expect("it has ended").expect("no panic").is_ok());
    let sent: Vec<String> = world.sent("slow").into_iter().map(|(_, id)| id).collect();
    assert_eq!(sent, ["evt_1", "evt_2"]);
}
