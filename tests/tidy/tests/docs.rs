//! What the documents must show, how long they may be, and that their links lead somewhere.

use std::path::{Path, PathBuf};

use crate::tree;

/// Limit of `ARCHITECTURE.md`: one sitting.
const ARCHITECTURE_LINES_MAX: usize = 300;
/// Limit of a decision record: one page.
const ADR_LINES_MAX: usize = 80;

#[test]
fn readme_shows_both_commands() {
    let readme = tree::text("README.md");
    for command in ["make demo", "make test"] {
        assert!(readme.contains(command), "README.md must show `{command}`");
    }
}

#[test]
fn architecture_fits_one_sitting() {
    let lines = tree::text("ARCHITECTURE.md").lines().count();
    assert!(
        lines <= ARCHITECTURE_LINES_MAX,
        "ARCHITECTURE.md has {lines} lines, at most {ARCHITECTURE_LINES_MAX}: move detail to the crates' docs"
    );
}

#[test]
fn decision_records_fit_one_page() {
    let mut faults = Vec::new();
    for path in tree::files(".md").iter().filter(|path| path.starts_with("docs/adr")) {
        let lines = tree::text(path).lines().count();
        if lines > ADR_LINES_MAX {
            faults.push(format!("{}: {lines} lines, at most {ADR_LINES_MAX}", path.display()));
        }
    }
    tree::expect_none(&faults, "say these decisions on one page each:");
}

#[test]
fn relative_links_lead_somewhere() {
    let mut faults = Vec::new();
    for path in tree::files(".md") {
        for link in links(&tree::text(&path)) {
            if !target(&path, &link).exists() {
                faults.push(format!("{}: {link}", path.display()));
            }
        }
    }
    tree::expect_none(&faults, "mend these links, or write what they point to:");
}

#[test]
fn links_in_code_and_to_other_hosts_are_not_followed() {
    let text = "[a](b.md#part) `[c](d.md)` [e](https://example.com) [f](#here)\n```\n[g](h.md)\n```\n[i](../j.md \"title\")";
    assert_eq!(links(text), ["b.md", "../j.md"]);
}

/// Returns the relative targets of a document's links, without their fragments.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Every second piece between back ticks is code.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for rest in prose.split("](").skip(1) {
            let inside = rest.split([')', ' ']).next().unwrap_or_default();
            let path = inside.split('#').next().unwrap_or_default();
            if !path.is_empty() && !inside.contains("://") && !inside.starts_with("mailto:") {
                found.push(path.to_owned());
            }
        }
    }
    found
}

/// Resolves a link of the document `from`; one that starts with `/` is relative to the root.
fn target(from: &Path, link: &str) -> PathBuf {
    match link.strip_prefix('/') {
        Some(below_root) => tree::root().join(below_root),
        None => tree::root().join(from.parent().unwrap_or(Path::new(""))).join(link),
    }
}
