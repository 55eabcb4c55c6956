//! Whether this process wants traffic, and telling so over gRPC.

use prost_reflect::DescriptorPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;

/// Whether this process wants traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Whether it does.
    pub ready: bool,
    /// Why it does not, or what is degraded; for operators. Names no secrets and no tenants.
    pub reasons: Vec<String>,
}

impl Readiness {
    /// Wants traffic.
    pub fn ready() -> Self {
        Self { ready: true, reasons: Vec::new() }
    }

    /// Does not, for this reason.
    pub fn not_ready(reason: impl Into<String>) -> Self {
        Self { ready: false, reasons: vec![reason.into()] }
    }
}

/// Keeps `grpc.health.v1` in step with the readiness: for the server as a whole (`""`) and for each service by name.
pub(super) struct HealthService {
    reporter: HealthReporter,
    services: Vec<String>,
}

impl HealthService {
    pub(super) fn new(pool: &DescriptorPool) -> (Self, HealthServer<impl Health>) {
        let (reporter, service) = tonic_health::server::health_reporter();
        let services = pool.services().map(|service| service.full_name().to_owned());
        let services = services.chain([String::new()]).collect();
        (Self { reporter, services }, service)
    }

    /// Reports until `shutdown`, and then that nothing is served any more.
    pub(super) async fn follow(
        self,
        mut readiness: watch::Receiver<Readiness>,
        shutdown: CancellationToken,
    ) {
        loop {
            let ready = readiness.borrow_and_update().ready;
            self.report(ready).await;
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = readiness.changed() => if changed.is_err() {
                    // Whoever knew is gone: the last word holds until the end.
                    shutdown.cancelled().await;
                    break;
                },
            }
        }
        self.report(false).await;
    }

    async fn report(&self, ready: bool) {
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in &self.services {
            self.reporter.set_service_status(service, status).await;
        }
    }
}
