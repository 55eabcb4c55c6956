//! `Observations`.

use std::sync::Arc;
use std::time::Duration;

use domain::{
    AttemptId, DeadLetterReason, Disposition, EndpointId, ErrorClass, EventRef, EventType,
    Observation, OutcomeKind, Timestamp, Trigger,
};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::sample::{at, event_id, tenant};
use super::soon;
use crate::Observations;

/// More than any adapter holds for a watcher.
const MANY: u32 = 20_000;

/// Runs every contract of `Observations` on one that nothing else uses.
pub async fn observations_suite(observations: &dyn Observations) {
    ob_1_ob_3_what_is_told_reaches_every_watcher_as_it_was(observations).await;
    ob_1_a_slow_watcher_is_told(observations).await;
    ob_2_telling_needs_no_watcher(observations).await;
}

fn observation(number: u32, outcome: OutcomeKind, disposition: Disposition) -> Observation {
    Observation {
        event: EventRef { tenant: tenant("acme"), id: event_id("evt_1"), at: at(3, 77) },
        event_type: EventType::parse("payment.completed").expect("a type"),
        endpoint: EndpointId::parse("shop").expect("an endpoint id"),
        attempt: AttemptId::from_uuid(uuid::Uuid::from_u128(number.into())),
        time: Timestamp::from_millis(1_700_000_000_123),
        number,
        trigger: Trigger::Retry,
        outcome,
        duration: Duration::from_micros(12_345),
        disposition,
    }
}

fn success(number: u32) -> Observation {
    observation(number, OutcomeKind::Answered(204), Disposition::Delivered)
}

/// OB-1, OB-3: what is told reaches every watcher that was there before, as it was told.
pub async fn ob_1_ob_3_what_is_told_reaches_every_watcher_as_it_was(
    observations: &dyn Observations,
) {
    let mut one = observations.watch().await.expect("watch");
    let mut two = observations.watch().await.expect("watch");
    let next = Timestamp::from_millis(1_700_000_010_456);
    let told = [
        success(1),
        observation(2, OutcomeKind::Answered(503), Disposition::Retry { next }),
        observation(
            3,
            OutcomeKind::Failed(ErrorClass::Timeout),
            Disposition::DeadLettered(DeadLetterReason::Exhausted),
        ),
    ];
    for observation in &told {
        observations.tell(observation.clone());
    }
    for watcher in [&mut one, &mut two] {
        for observation in &told {
            let heard = soon("an observation", watcher.recv()).await.expect("heard");
            assert_eq!(*heard, *observation);
        }
    }
}

/// OB-1: a watcher that is too slow is told so by `Lagged`, then hears the newest.
pub async fn ob_1_a_slow_watcher_is_told(observations: &dyn Observations) {
    let mut slow = observations.watch().await.expect("watch");
    let mut quick = observations.watch().await.expect("watch");
    for number in 1..=MANY {
        observations.tell(success(number));
    }
    newest(&mut quick).await;
    let first = slow.recv().await;
    assert!(matches!(first, Err(RecvError::Lagged(_))), "{first:?}");
    newest(&mut slow).await;
}

/// Hears all up to the newest; perhaps not each of them.
async fn newest(watcher: &mut Receiver<Arc<Observation>>) {
    loop {
        match soon("the newest observation", watcher.recv()).await {
            Ok(heard) if heard.number == MANY => return,
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => panic!("nothing can be heard any more"),
        }
    }
}

/// OB-2: telling waits for nobody, also where nobody watches; who comes later hears what is told from then on.
pub async fn ob_2_telling_needs_no_watcher(observations: &dyn Observations) {
    for number in 1..=10 {
        observations.tell(success(number));
    }
    let mut late = observations.watch().await.expect("watch");
    observations.tell(success(11));
    while soon("an observation", late.recv()).await.expect("heard").number != 11 {}
}
