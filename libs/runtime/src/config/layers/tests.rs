use std::path::PathBuf;

use serde::Deserialize;

use super::*;

const KEYS: &[Key] = &[
    key("listen", Kind::Text),
    key("roles", Kind::List),
    key("auth.token", Kind::Secret),
    key("delivery.in_flight", Kind::Integer),
    key("egress.allow_http", Kind::Switch),
];

const fn key(path: &'static str, kind: Kind) -> Key {
    Key { path, kind }
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct Config {
    listen: String,
    roles: Vec<String>,
    auth: Auth,
    delivery: Delivery,
    egress: Egress,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Auth {
    token: Option<String>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Delivery {
    in_flight: u32,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Egress {
    allow_http: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "default".to_owned(),
            roles: Vec::new(),
            auth: Auth::default(),
            delivery: Delivery { in_flight: 7 },
            egress: Egress::default(),
        }
    }
}

fn vars(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("postrider.toml");
    fs::write(&path, text).unwrap();
    (dir, path)
}

#[test]
fn nothing_given_means_the_defaults() {
    let layers = Layers::new(KEYS);
    assert_eq!(layers.build::<Config>().unwrap(), Config::default());
    assert_eq!(layers.origin("listen"), "built-in defaults");
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let (_dir, path) = file("listen = 'file'\nroles = ['file']\n[delivery]\nin_flight = 1\n");
    let layers = Layers::new(KEYS)
        .file(&path)
        .unwrap()
        .environment(vars(&[("POSTRIDER_LISTEN", "env"), ("POSTRIDER_ROLES", "a, b")]), &[])
        .unwrap()
        .flag("listen", Some("flag"), "--listen")
        .unwrap()
        .flag("roles", None, "--roles")
        .unwrap();
    let config: Config = layers.build().unwrap();
    assert_eq!(config.listen, "flag");
    assert_eq!(config.roles, ["a", "b"]);
    assert_eq!(config.delivery.in_flight, 1);
    assert_eq!(layers.origin("listen"), "the command line (--listen)");
}

#[test]
fn unknown_keys_name_the_nearest_one() {
    let (_dir, path) = file("[delivery]\nin_fligth = 1\n");
    let error = Layers::new(KEYS).file(&path).unwrap_err().to_string();
    assert!(error.starts_with("unknown key delivery.in_fligth in "), "{error}");
    assert!(error.ends_with(": did you mean delivery.in_flight?"), "{error}");
    let error = Layers::new(KEYS)
        .environment(vars(&[("POSTRIDER_AUTH__TOKE", "x")]), &[])
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "unknown key POSTRIDER_AUTH__TOKE in the environment: did you mean POSTRIDER_AUTH__TOKEN?"
    );
}

#[test]
fn foreign_variables_of_our_prefix_are_left_alone_and_typos_are_not() {
    let foreign =
        [("POSTRIDER_PORT_7070_TCP", "tcp://10.0.0.1:7070"), ("POSTRIDER_SERVER", "http://x")];
    let layers = Layers::new(KEYS).environment(vars(&foreign), &["POSTRIDER_SERVER"]);
    assert_eq!(layers.unwrap().build::<Config>().unwrap(), Config::default());
    let typo = Layers::new(KEYS).environment(vars(&[("POSTRIDER_LISTN", "x")]), &[]);
    assert!(typo.unwrap_err().to_string().contains("POSTRIDER_LISTEN"));
}

#[test]
fn values_nest_by_two_underscores_and_have_their_kind() {
    let config: Config = Layers::new(KEYS)
        .environment(
            vars(&[
                ("POSTRIDER_DELIVERY__IN_FLIGHT", "64"),
                ("POSTRIDER_EGRESS__ALLOW_HTTP", "true"),
            ]),
            &[],
        )
        .unwrap()
        .build()
        .unwrap();
    assert_eq!(config.delivery.in_flight, 64);
    assert!(config.egress.allow_http);
    let wrong = Layers::new(KEYS)
        .environment(vars(&[("POSTRIDER_EGRESS__ALLOW_HTTP", "maybe")]), &[])
        .unwrap_err()
        .to_string();
    assert!(wrong.contains("egress.allow_http") && wrong.contains("true or false"));
    let (_dir, path) = file("listen = 7070\n");
    let wrong = Layers::new(KEYS).file(&path).unwrap_err().to_string();
    assert!(wrong.ends_with("is integer: it takes text"), "{wrong}");
}

#[test]
fn a_secret_may_come_from_a_file_but_not_from_both() {
    let (_secret_dir, secret) = file("s3cret\n");
    let secret = secret.display();
    let (_dir, path) = file(&format!("[auth]\ntoken_file = '{secret}'\n"));
    let config: Config = Layers::new(KEYS).file(&path).unwrap().build().unwrap();
    assert_eq!(config.auth.token.as_deref(), Some("s3cret"));
    let (_dir, path) = file(&format!("[auth]\ntoken_file = '{secret}'\ntoken = 'other'\n"));
    let error = Layers::new(KEYS).file(&path).unwrap_err().to_string();
    assert!(error.contains("given twice"), "{error}");
    let (_dir, path) = file("[auth]\ntoken_file = '/nowhere/token'\n");
    let error = Layers::new(KEYS).file(&path).unwrap_err().to_string();
    assert!(error.contains("/nowhere/token"), "{error}");
}

#[test]
fn a_file_that_is_not_toml_says_where() {
    let (_dir, path) = file("listen = \n");
    let error = Layers::new(KEYS).file(&path).unwrap_err().to_string();
    assert!(error.contains("line 1"), "{error}");
}
