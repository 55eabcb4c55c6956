//! The store at the start of a process.

use std::time::Duration;

use domain::TenantId;
use ports::{Clock as _, ConfigStore as _};
use testkit::Fault;

use super::world::{START, World};
use crate::app::ensure_default_tenant;

#[tokio::test]
async fn the_start_waits_for_a_store_that_is_away() {
    let world = World::new().await;
    world.store.faults().fail_writes(3, Fault::Unavailable);
    let mut starting = Box::pin(ensure_default_tenant(&world.app.deps));
    loop {
        tokio::select! {
            biased;
            started = &mut starting => break started.expect("it waited"),
            () = tokio::task::yield_now() => {
                world.clock.advance_to(world.clock.next_wake().expect("it waits for the clock"));
            }
        }
    }
    assert_eq!(world.clock.now().since(START), Duration::from_millis(1_500));
    let tenants = world.store.tenants(None, 10).await.expect("tenants");
    assert_eq!(tenants.len(), 1);
    assert_eq!(tenants[0].id, TenantId::default_tenant());
}
