//! Every row of the table of spec §6, through the engine.

use domain::{DeadLetterReason, DisableReason, EndpointState, ErrorClass, OutcomeKind};

use super::world::{Answer, SHARD, World, secs, status};

fn failed(class: ErrorClass) -> Answer {
    Answer { kind: OutcomeKind::Failed(class), ..status(0) }
}

/// Publishes one event to a receiver that gives `answer`; a minute later the world is looked at.
fn after(answer: Answer, check: impl Fn(&World, domain::EndpointUid)) {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, answer);
    let event = world.publish(&[uid]);
    assert_eq!(world.acked(SHARD), Some(event.at.position), "handed off: {answer:?}");
    world.run_for(secs(60));
    check(&world, uid);
}

#[test]
fn any_2xx_is_delivered() {
    for code in [200, 201, 202, 204, 299] {
        after(status(code), |world, uid| {
            assert_eq!(world.sent.len(), 1, "{code}");
            assert!(world.store.letters_of(uid).is_empty());
            assert!(world.store.rows.is_empty() && world.store.events.is_empty());
        });
    }
}

#[test]
fn other_4xx_are_rejected_at_once_and_disable_nothing() {
    for code in [400, 402, 405, 406, 409, 413, 418, 422, 451, 499] {
        after(status(code), |world, uid| {
            assert_eq!(world.sent.len(), 1, "{code}");
            let letters = world.store.letters_of(uid);
            assert_eq!((letters.len(), letters[0].reason), (1, DeadLetterReason::Rejected));
            assert_eq!(letters[0].last_outcome, Some(OutcomeKind::Answered(code)));
            assert_eq!(world.store.state(uid), EndpointState::Active);
        });
    }
}

#[test]
fn answers_of_401_403_404_and_410_disable_the_endpoint() {
    for code in [401, 403, 404, 410] {
        after(status(code), |world, uid| {
            assert_eq!(world.sent.len(), 1, "{code}");
            let letters = world.store.letters_of(uid);
            assert_eq!((letters.len(), letters[0].reason), (1, DeadLetterReason::EndpointDisabled));
            let by_answer = EndpointState::Disabled(DisableReason::Answer(code));
            assert_eq!(world.store.state(uid), by_answer);
        });
    }
}

#[test]
fn failures_and_busy_answers_are_retried() {
    let mut answers: Vec<Answer> =
        [301, 302, 304, 307, 408, 425, 429, 500, 502, 503, 504, 599, 999].map(status).to_vec();
    answers.push(status(503).retry_after(secs(5)));
    use ErrorClass::{Connect, Dns, Http, Timeout, Tls};
    answers.extend([Dns, Connect, Tls, Timeout, Http].map(failed));
    for answer in answers {
        after(answer, |world, uid| {
            assert_eq!(world.seconds(uid), [0, 10], "{answer:?}");
            assert!(world.store.letters_of(uid).is_empty());
            assert_eq!(world.store.state(uid), EndpointState::Active);
        });
    }
}

#[test]
fn a_blocked_destination_is_a_dead_letter_at_once() {
    after(failed(ErrorClass::Blocked), |world, uid| {
        assert_eq!(world.sent.len(), 1);
        assert_eq!(world.store.letters_of(uid)[0].reason, DeadLetterReason::BlockedDestination);
        assert_eq!(world.store.state(uid), EndpointState::Active);
    });
}

#[test]
fn neutral_answers_never_open_the_breaker() {
    for code in [400, 429] {
        let mut world = World::new();
        let uid = world.endpoint();
        world.always(uid, status(code));
        for _ in 0..20 {
            world.publish(&[uid]);
        }
        assert_eq!(world.sent.len(), 20, "{code}");
    }
}
