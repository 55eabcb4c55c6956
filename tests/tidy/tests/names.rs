//! Words that may not stand in the sources.

use crate::tree;

/// Modules that say nothing about what is in them.
const VAGUE_MODULES: [&str; 7] =
    ["util", "utils", "common", "misc", "manager", "helper", "helpers"];

/// What is written in code, and why not. Put together so that this file does not name them.
const FORBIDDEN: [(&str, &str); 5] = [
    (concat!("todo", "!("), "write it, or leave it out"),
    (concat!("unimplemented", "!("), "write it, or leave it out"),
    (concat!("#[", "ignore"), "a long test asks for POSTRIDER_LONG=1; a test that fails is mended"),
    (
        concat!("#[", "allow("),
        "use #[expect(…, reason = \"…\")], which tells when it is needed no more",
    ),
    (concat!("thread::", "sleep("), "wait for a condition, with a deadline"),
];

fn vague_module(line: &str) -> Option<&'static str> {
    let line = line.trim_start();
    let declared = line
        .strip_prefix("mod ")
        .or_else(|| line.split_once(") mod ").map(|(_, rest)| rest))
        .or_else(|| line.strip_prefix("pub mod "))?;
    let name = declared.trim_end_matches(['{', ';', ' ']);
    VAGUE_MODULES.into_iter().find(|vague| *vague == name)
}

#[test]
fn modules_are_named_after_what_they_hold() {
    let mut faults = Vec::new();
    for path in tree::files(".rs") {
        for (index, line) in tree::text(&path).lines().enumerate() {
            if let Some(name) = vague_module(line) {
                faults.push(format!("{}:{}: mod {name}", path.display(), index + 1));
            }
        }
    }
    tree::expect_none(&faults, "name these modules by a noun or a verb of the domain:");
}

#[test]
fn nothing_is_left_for_later_or_switched_off() {
    let mut faults = Vec::new();
    for path in tree::files(".rs") {
        for (index, line) in tree::text(&path).lines().enumerate() {
            for (word, advice) in FORBIDDEN {
                if line.contains(word) {
                    faults.push(format!("{}:{}: {word}: {advice}", path.display(), index + 1));
                }
            }
        }
    }
    tree::expect_none(&faults, "these may not stand in the sources:");
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    let mut faults = Vec::new();
    for path in tree::files("Cargo.toml") {
        let text = tree::text(&path);
        if text.contains("[package]") && !text.contains("[lints]\nworkspace = true") {
            faults.push(path.display().to_string());
        }
    }
    tree::expect_none(&faults, "add `[lints]` with `workspace = true` to:");
}

#[test]
fn vague_modules_are_recognised_in_every_spelling() {
    for line in ["mod util;", "    pub mod common {", "pub(crate) mod misc;", "mod helpers {"] {
        assert!(vague_module(line).is_some(), "{line}");
    }
    for line in ["mod utility_bill;", "mod endpoint;", "use crate::util;", "// mod util"] {
        assert!(vague_module(line).is_none(), "{line}");
    }
}
