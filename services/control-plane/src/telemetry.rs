//! What the role counts.

use runtime::metrics::{Counters, Metric, Registry};

use crate::app::Published;

static EVENTS_PUBLISHED: Metric<1> = Metric {
    name: "postrider_events_published",
    labels: ["result"],
    help: "Events of PublishEvents calls: appended to the log, a duplicate of an earlier one, or failed (repeat the call)",
};
pub(crate) static API_REQUESTS: Metric<3> = Metric {
    name: "postrider_api_requests",
    labels: ["protocol", "method", "code"],
    help: "Calls of the API that were answered: grpc or rest, the RPC (other where it is none of ours), and the gRPC code or the HTTP status",
};
pub(crate) static API_REQUEST_SECONDS: Metric<1> = Metric {
    name: "postrider_api_request_duration_seconds",
    labels: ["method"],
    help: "How long calls of the API took until their answer began",
};
pub(crate) static READY: Metric<0> = Metric {
    name: "postrider_ready",
    labels: [],
    help: "1 while the process wants traffic, as /readyz says",
};

/// Counts what the API does. Clones are the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    published: Counters<1>,
}

impl Default for Metrics {
    fn default() -> Self {
        let published = Counters::new(&EVENTS_PUBLISHED);
        // A series that is there from the start has a rate when it first moves.
        for result in ["appended", "duplicate", "failed"] {
            published.add([result], 0);
        }
        Self { published }
    }
}

impl Metrics {
    /// Shows them.
    pub fn register(&self, registry: &Registry) {
        registry.counters(&self.published);
    }

    pub(crate) fn published(&self, results: &[Published]) {
        for published in results {
            let result = match (&published.failure, published.duplicate) {
                (Some(_), _) => "failed",
                (None, true) => "duplicate",
                (None, false) => "appended",
            };
            self.published.count([result]);
        }
    }
}
