use super::*;

fn settings_of(mode: Mode, variables: &[(&str, &str)]) -> Result<Settings, String> {
    let environment =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let loaded = load(mode, None, &environment, &[]);
    loaded.map_err(|failure| {
        let Failure::Usage(message) = failure else { panic!("{failure:?}") };
        message
    })
}

#[test]
fn the_commented_file_says_what_is_built_in() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve/config/default.toml");
    let raw: Raw = Layers::new(KEYS).file(&path).unwrap().build().unwrap();
    assert!(raw == Raw::default());
    let text = std::fs::read_to_string(path).unwrap();
    for key in KEYS {
        let name = key.path.rsplit('.').next().unwrap();
        assert!(
            text.lines()
                .any(|line| line.trim_start_matches("# ").starts_with(&format!("{name} ="))),
            "{name}"
        );
    }
}

#[test]
fn production_is_the_default_of_serve_and_loopback_of_dev_alone() {
    let serve = settings_of(Mode::Serve, &[]).unwrap();
    assert_eq!(serve.egress, EgressPolicy::production());
    assert_eq!(serve.roles, [Role::ControlPlane, Role::DeliveryWorker]);
    assert_eq!(serve.drain_deadline, runtime::DRAIN_DEADLINE);
    let dev = settings_of(Mode::Dev, &[]).unwrap();
    assert_eq!(dev.egress, EgressPolicy::dev());
}

#[test]
fn a_wrong_value_names_its_key_its_origin_and_what_is_allowed() {
    for (variable, value, parts) in [
        ("POSTRIDER_ROLES", "gatway", ["roles", "control-plane or delivery-worker"]),
        ("POSTRIDER_LISTEN", "7070", ["listen", "POSTRIDER_LISTEN"]),
        ("POSTRIDER_DRAIN_DEADLINE", "long", ["drain_deadline", "such as 500ms"]),
        ("POSTRIDER_DELIVERY__IN_FLIGHT", "0", ["delivery.in_flight", "1 to 65536"]),
        ("POSTRIDER_DELIVERY__STALLED_AFTER", "0s", ["delivery.stalled_after", "1s to 1h"]),
        ("POSTRIDER_DELIVERY__STALLED_AFTER", "2h", ["delivery.stalled_after", "1s to 1h"]),
        (
            "POSTRIDER_EGRESS__ALLOWED_NETWORKS",
            "10.0.0.0/99",
            ["egress.allowed_networks", "10.0.0.0/99"],
        ),
        ("POSTRIDER_LOGGING__FORMAT", "xml", ["logging.format", "auto, text or json"]),
        ("POSTRIDER_LOG", "pulsar", ["log in", "use embedded"]),
        ("POSTRIDER_STORE", "redis", ["store in", "embedded or scylla"]),
        ("POSTRIDER_EVENTS__DATA_BYTES_MAX", "999999999", ["events.data_bytes_max", "262144"]),
    ] {
        let error = settings_of(Mode::Serve, &[(variable, value)]).err().expect(variable);
        for part in parts {
            assert!(error.contains(part), "{error}");
        }
    }
}

#[test]
fn an_unknown_variable_names_the_nearest_key() {
    let error = settings_of(Mode::Serve, &[("POSTRIDER_DATADIR", "x")]).err().unwrap();
    assert!(error.contains("POSTRIDER_DATA_DIR"), "{error}");
}

#[test]
fn keys_of_the_log_lines_say_where_they_went() {
    let error = settings_of(Mode::Serve, &[("POSTRIDER_LOG__FILTER", "debug")]).err().unwrap();
    assert!(error.contains("it is POSTRIDER_LOGGING__FILTER now"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("postrider.toml");
    std::fs::write(&path, "[log]\nformat = \"json\"\n").unwrap();
    let refused = load(Mode::Serve, Some(&path), &Environment::new(), &[]).err().unwrap();
    let Failure::Usage(error) = refused else { panic!("{refused:?}") };
    assert!(error.contains("unknown key log.format"), "{error}");
    assert!(error.contains("it is logging.format now"), "{error}");
}

#[test]
fn a_token_in_dev_is_refused_because_it_would_protect_nothing() {
    let error = settings_of(Mode::Dev, &[("POSTRIDER_AUTH__TOKEN", "0123456789abcdef")]);
    assert!(error.err().unwrap().contains("lets everyone in"));
}

#[test]
fn a_weak_token_is_refused_before_anything_is_opened_and_never_shown() {
    let error = settings_of(Mode::Serve, &[("POSTRIDER_AUTH__TOKEN", "hush")]).err().unwrap();
    assert!(error.contains("auth.token") && error.contains("at least 16 bytes"), "{error}");
    assert!(!error.contains("hush"), "{error}");
}

#[test]
fn a_store_of_a_cluster_is_checked_before_anything_is_opened() {
    let scylla = |variable: &'static str, value: &'static str| {
        settings_of(Mode::Serve, &[("POSTRIDER_STORE", "scylla"), (variable, value)])
    };
    for (variable, value, parts) in [
        ("POSTRIDER_SCYLLA__KEYSPACE", "post-rider", ["scylla.keyspace", "letters, digits and _"]),
        ("POSTRIDER_SCYLLA__NODES", "", ["scylla.nodes", "host:port"]),
        ("POSTRIDER_SCYLLA__CONSISTENCY", "one", ["scylla.consistency", "local_quorum or quorum"]),
        ("POSTRIDER_SCYLLA__TIMEOUT", "1h", ["scylla.timeout", "100ms to 10s"]),
        ("POSTRIDER_SCYLLA__USER", "ada", ["scylla.password", "is missing"]),
        ("POSTRIDER_SCYLLA__PASSWORD", "hush", ["scylla.user", "is missing"]),
        ("POSTRIDER_SCYLLA__REPLICATION_FACTOR", "0", ["replication_factor", "1 to 9"]),
    ] {
        let error = scylla(variable, value).err().expect(variable);
        for part in parts {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains("hush"), "{error}");
    }
    let settings = scylla("POSTRIDER_SCYLLA__KEYSPACE", "orders").unwrap();
    let StoreKind::Scylla(found) = settings.store else { panic!("another store") };
    assert_eq!((found.keyspace.as_str(), found.allow_few_replicas), ("orders", false));
}
