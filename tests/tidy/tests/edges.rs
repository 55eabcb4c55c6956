//! Who may depend on whom. Edges point down; one crate each knows a vendor.
//!
//! A new edge is a decision: write an ADR (`docs/adr/`), then add it to the table here.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

use crate::tree;

/// Our crates, top to bottom, with the crates of ours that each may use in its sources.
const LAYERS: [(&str, &[&str]); 21] = [
    ("tidy", &[]),
    ("e2e", &["store-scylla", "signing", "wire"]),
    ("sim", &["delivery-worker", "runtime", "testkit", "ports", "delivery", "signing", "domain"]),
    (
        "load",
        &[
            "delivery-worker",
            "embedded",
            "eventlog-kafka",
            "egress",
            "runtime",
            "testkit",
            "wire",
            "ports",
            "signing",
            "domain",
        ],
    ),
    (
        "postrider",
        &[
            "control-plane",
            "delivery-worker",
            "gateway",
            "console",
            "embedded",
            "eventlog-kafka",
            "store-scylla",
            "egress",
            "runtime",
            "wire",
            "ports",
            "signing",
            "domain",
        ],
    ),
    ("control-plane", &["console", "runtime", "wire", "ports", "signing", "domain"]),
    ("delivery-worker", &["delivery", "runtime", "ports", "signing", "domain"]),
    ("gateway", &["receiver", "runtime", "ports", "signing", "domain"]),
    ("console", &["runtime", "wire", "domain"]),
    ("embedded", &["codec", "wire", "ports", "domain"]),
    ("eventlog-kafka", &["wire", "ports", "domain"]),
    ("store-scylla", &["codec", "ports", "domain"]),
    ("egress", &["ports", "signing", "domain"]),
    ("runtime", &["ports", "domain"]),
    ("receiver", &["signing"]),
    ("testkit", &["ports", "delivery", "signing", "domain"]),
    ("codec", &["ports", "domain"]),
    ("wire", &["domain"]),
    ("ports", &["delivery", "signing", "domain"]),
    ("delivery", &["domain"]),
    ("signing", &[]),
];

/// The bottom of the layers: no crate of ours.
const BOTTOM: &str = "domain";

/// Vendors, and the crates that may name them in their sources.
const VENDORS: [(&str, &[&str], &str); 20] = [
    ("rdkafka", &["eventlog-kafka"], "the log is a port; its Kafka adapter speaks to Kafka"),
    ("scylla", &["store-scylla"], "the store is a port; its adapter speaks CQL"),
    ("rusqlite", &["embedded"], "the embedded engine owns its files"),
    ("hickory-resolver", &["egress"], "a name is resolved where its addresses are vetted"),
    ("rustls", &["egress"], "TLS to receivers is egress's"),
    ("tokio-rustls", &["egress"], "TLS to receivers is egress's"),
    ("webpki-roots", &["egress"], "TLS to receivers is egress's"),
    ("reqwest", &[], "egress's connector vets addresses; this client would bypass it"),
    (
        "hyper",
        &[
            "egress",
            "control-plane",
            "console",
            "gateway",
            "receiver",
            "testkit",
            "postrider",
            "e2e",
            "load",
        ],
        HTTP,
    ),
    (
        "hyper-util",
        &[
            "egress",
            "control-plane",
            "console",
            "gateway",
            "receiver",
            "testkit",
            "postrider",
            "e2e",
            "load",
        ],
        HTTP,
    ),
    ("prost", PROTOBUF_OWNERS, PROTOBUF),
    ("prost-types", PROTOBUF_OWNERS, PROTOBUF),
    ("prost-reflect", PROTOBUF_OWNERS, PROTOBUF),
    ("tonic", PROTOBUF_OWNERS, PROTOBUF),
    ("tonic-prost", PROTOBUF_OWNERS, PROTOBUF),
    ("tonic-health", &["control-plane", "postrider"], PROTOBUF),
    ("tonic-reflection", &["control-plane"], PROTOBUF),
    ("prometheus-client", &["runtime"], "roles count with what `runtime::metrics` gives"),
    ("jsonschema", &["control-plane"], "events are checked where they are published"),
    ("axum", &["control-plane", "console", "gateway"], "listeners belong to roles"),
];

const HTTP: &str = "the worker sends through the `Sender` port";
const PROTOBUF: &str = "protobuf ends at the edges; inside there are domain types";
const PROTOBUF_OWNERS: &[&str] = &[
    "wire",
    "control-plane",
    "postrider",
    "e2e",
    "load",
    "embedded",
    "eventlog-kafka",
    "store-scylla",
];

/// The pure crates, with everything of others' that they may use: nothing that does I/O, waits or keeps time.
const PURE: [(&str, &[&str]); 3] = [
    (
        "domain",
        &[
            "base64",
            "bytes",
            "cel",
            "ipnet",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
            "time",
            "url",
            "uuid",
        ],
    ),
    (
        "signing",
        &["base64", "ed25519-dalek", "getrandom", "hmac", "sha2", "subtle", "thiserror", "zeroize"],
    ),
    ("delivery", &["bytes", "thiserror"]),
];

/// Reads the manifests alone: no resolution, hence no network.
fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(tree::root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata describes the workspace")
}

/// Returns the name without the prefix that keeps our crates apart from others'.
fn short(name: &str) -> &str {
    name.strip_prefix("postrider-").unwrap_or(name)
}

/// Returns what `package` declares of `kind`, by the name of the package.
fn declared(package: &Package, kind: DependencyKind) -> impl Iterator<Item = &str> {
    package.dependencies.iter().filter(move |d| d.kind == kind).map(|d| d.name.as_str())
}

fn allowed(name: &str) -> Option<&'static [&'static str]> {
    if name == BOTTOM {
        return Some(&[]);
    }
    LAYERS.into_iter().find(|(layer, _)| *layer == name).map(|(_, below)| below)
}

#[test]
fn edges_between_our_crates_point_down() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    let mut faults = Vec::new();
    for package in &metadata.packages {
        let name = short(&package.name);
        let Some(below) = allowed(name) else {
            faults.push(format!("{name}: a new crate; give it a line in LAYERS"));
            continue;
        };
        for kind in [DependencyKind::Normal, DependencyKind::Build, DependencyKind::Development] {
            for edge in declared(package, kind).filter(|d| ours.contains(d)).map(short) {
                // Tests of any crate but the pure ones may use the fakes, and the system's clock and chance.
                let fake =
                    kind == DependencyKind::Development && ["testkit", "runtime"].contains(&edge);
                let pure = PURE.iter().any(|(pure, _)| *pure == name);
                if !below.contains(&edge) && (!fake || pure) {
                    faults.push(format!("{name} -> {edge} ({kind})"));
                }
            }
        }
    }
    tree::expect_none(
        &faults,
        "edges that the layers do not have: move the code down, or write an ADR and add the edge to LAYERS:",
    );
}

#[test]
fn layers_stand_in_order() {
    let position = |name: &str| LAYERS.iter().position(|(layer, _)| *layer == name);
    let mut faults = Vec::new();
    for (index, (name, below)) in LAYERS.iter().enumerate() {
        for edge in below.iter().filter(|edge| **edge != BOTTOM) {
            if position(edge).is_none_or(|at| at <= index) {
                faults.push(format!("{name} -> {edge}"));
            }
        }
    }
    tree::expect_none(&faults, "LAYERS must list a crate above those that it uses:");
}

#[test]
fn each_vendor_is_named_by_its_owner_alone() {
    let mut faults = Vec::new();
    for package in &metadata().packages {
        let name = short(&package.name);
        for dependency in declared(package, DependencyKind::Normal) {
            let vendor = VENDORS.iter().find(|(vendor, _, _)| *vendor == dependency);
            if let Some((_, owners, why)) = vendor
                && !owners.contains(&name)
            {
                faults.push(format!("{name} -> {dependency}: {why} (allowed: {owners:?})"));
            }
        }
    }
    tree::expect_none(
        &faults,
        "go through the port, or write an ADR and add the owner to VENDORS:",
    );
}

#[test]
fn pure_crates_stay_pure() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    let mut faults = Vec::new();
    for (pure, may_use) in PURE {
        let package = metadata
            .packages
            .iter()
            .find(|p| short(&p.name) == pure)
            .unwrap_or_else(|| panic!("{pure} is a crate of the workspace"));
        for dependency in declared(package, DependencyKind::Normal) {
            if !ours.contains(dependency) && !may_use.contains(&dependency) {
                faults.push(format!("{pure} -> {dependency}"));
            }
        }
    }
    tree::expect_none(
        &faults,
        "pure crates do no I/O: move the code to an adapter, or write an ADR and add the crate to PURE:",
    );
}

#[test]
fn deny_names_an_owner_for_each_vendor_it_bans() {
    let deny = tree::text("deny.toml");
    for (vendor, owners, _) in VENDORS.iter().filter(|(_, owners, _)| owners.len() == 1) {
        let Some(at) = deny.find(&format!("crate = \"{vendor}\"")) else {
            continue;
        };
        let entry = deny[at..].split("[[").next().unwrap_or_default();
        let wrapper = format!("\"postrider-{}\"", owners[0]);
        assert!(entry.contains(&wrapper), "deny.toml: the wrapper of {vendor} is {wrapper}");
    }
}

#[test]
fn a_client_of_http_is_made_in_egress_alone() {
    let client = concat!("client::", "legacy::Client");
    let connection = concat!("client::", "conn::");
    // The CLI and the tour call our own API; tests call what they test.
    let exempt = ["libs/egress", "libs/testkit", "services/postrider", "tests"];
    let mut faults = Vec::new();
    for path in tree::files(".rs").iter().filter(|p| !exempt.iter().any(|e| p.starts_with(e))) {
        let text = tree::text(path);
        if !tree::is_test(path) && (text.contains(client) || text.contains(connection)) {
            faults.push(path.display().to_string());
        }
    }
    tree::expect_none(&faults, "send through the `Sender` port instead:");
}
