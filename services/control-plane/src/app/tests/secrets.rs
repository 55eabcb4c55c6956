use std::time::Duration;

use domain::{CommandKind, limits};

use super::world::{SHARDS, World, name, request};
use crate::app::{Error, RequestId, RotateSecret};

fn rotate(grace: Duration, request: Option<RequestId>) -> RotateSecret {
    RotateSecret { name: name("shop"), grace, secret: None, etag: String::new(), request }
}

#[tokio::test]
async fn the_old_secret_goes_on_for_the_grace_period() {
    let world = World::new().await;
    world.endpoint("shop", "*").await;
    let day = limits::ROTATION_GRACE_DEFAULT;
    world.clock.advance(Duration::from_secs(1));
    let (view, issued) = world.app.rotate_secret(rotate(day, None)).await.expect("rotated");
    let versions: Vec<u32> = view.secrets.iter().map(|secret| secret.version).collect();
    assert_eq!((versions, issued.version), (vec![2, 1], 2));
    assert_eq!(view.secrets[0].not_after, None);
    assert_eq!(view.secrets[1].not_after, Some(world.now() + day));
    assert_eq!(world.commands().await.len(), usize::from(SHARDS));
    assert!(world.commands().await.iter().all(|command| command.kind == CommandKind::Probe));
    world.clock.advance(day);
    let view = world.app.get_endpoint(&name("shop")).await.expect("there");
    assert_eq!(view.secrets.len(), 1);
}

#[tokio::test]
async fn a_grace_period_of_zero_ends_every_old_secret_at_once() {
    let world = World::new().await;
    world.endpoint("shop", "*").await;
    for version in 2..10 {
        world.clock.advance(Duration::from_secs(1));
        let (view, issued) =
            world.app.rotate_secret(rotate(Duration::ZERO, None)).await.expect("ok");
        assert_eq!((view.secrets.len(), issued.version), (1, version));
    }
}

#[tokio::test]
async fn a_sixth_live_secret_is_refused_and_changes_nothing() {
    let world = World::new().await;
    world.endpoint("shop", "*").await;
    let day = limits::ROTATION_GRACE_DEFAULT;
    for _ in 1..limits::LIVE_SECRETS_MAX {
        world.clock.advance(Duration::from_secs(1));
        world.app.rotate_secret(rotate(day, None)).await.expect("rotated");
    }
    let before = world.app.get_endpoint(&name("shop")).await.expect("there");
    assert_eq!(before.secrets.len(), limits::LIVE_SECRETS_MAX);
    let error = world.app.rotate_secret(rotate(day, None)).await.expect_err("too many");
    assert!(matches!(error, Error::TooManySecrets(_)), "{error}");
    assert_eq!(world.app.get_endpoint(&name("shop")).await.expect("there"), before);
    world.app.rotate_secret(rotate(Duration::ZERO, None)).await.expect("revoked");
}

#[tokio::test]
async fn a_later_rotation_never_prolongs_a_secret() {
    let world = World::new().await;
    world.endpoint("shop", "*").await;
    let hour = Duration::from_secs(3_600);
    world.clock.advance(Duration::from_secs(1));
    world.app.rotate_secret(rotate(hour, None)).await.expect("rotated");
    let end = world.now() + hour;
    world.clock.advance(Duration::from_secs(1));
    let (view, _) = world.app.rotate_secret(rotate(hour * 2, None)).await.expect("rotated");
    assert_eq!(view.secrets[2].not_after, Some(end));
}

#[tokio::test]
async fn a_repeated_rotation_rotates_once_and_shows_the_same_secret() {
    let world = World::new().await;
    world.endpoint("shop", "*").await;
    world.clock.advance(Duration::from_secs(1));
    let call = || rotate(limits::ROTATION_GRACE_DEFAULT, request(1, 1));
    let (first, one) = world.app.rotate_secret(call()).await.expect("rotated");
    world.clock.advance(Duration::from_secs(1));
    let (again, two) = world.app.rotate_secret(call()).await.expect("the same");
    assert_eq!(first, again);
    assert_eq!(one.secret, two.secret);
}
