//! What `/metrics` of this process shows.

use runtime::metrics::{Metric, Registry};

static BUILD_INFO: Metric<1> = Metric {
    name: "postrider_build_info",
    labels: ["version"],
    help: "Always 1; the version is in the label",
};

/// A registry with what every process shows. The roles add theirs.
pub(super) fn of_process() -> Registry {
    let registry = Registry::default();
    registry.read(&BUILD_INFO, || vec![([env!("CARGO_PKG_VERSION").into()], 1.0)]);
    registry
}

#[cfg(test)]
mod tests;
