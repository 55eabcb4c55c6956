//! The files of the tree, as the checks see them.

use std::fs;
use std::path::{Path, PathBuf};

/// What is built, fetched or generated, by directory name: no check reads it.
const SKIPPED_DIRS: [&str; 5] = [".git", "target", "node_modules", "postrider-data", "gen"];

/// Returns the root of the workspace.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).expect("tests/tidy lies two levels below the root").to_path_buf()
}

/// Returns the files below the root whose name ends with `suffix`, as paths relative to it, sorted.
pub(crate) fn files(suffix: &str) -> Vec<PathBuf> {
    let root = root();
    let mut found = Vec::new();
    let mut dirs = vec![root.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("a directory of the tree can be read") {
            let entry = entry.expect("an entry of the tree can be read");
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().expect("an entry has a type");
            if kind.is_dir() && !SKIPPED_DIRS.contains(&name.as_str()) {
                dirs.push(entry.path());
            } else if kind.is_file() && name.ends_with(suffix) {
                let path = entry.path();
                found.push(path.strip_prefix(&root).expect("it lies below the root").into());
            }
        }
    }
    found.sort();
    found
}

/// Tells whether a file holds tests alone, by its path.
pub(crate) fn is_test(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "tests.rs")
        || path.components().any(|part| part.as_os_str() == "tests")
}

/// Returns the text of a file given relative to the root.
///
/// # Panics
/// When it does not exist: the check that asks for it needs it.
pub(crate) fn text(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(root().join(path))
        .unwrap_or_else(|e| panic!("{} is needed and cannot be read: {e}", path.display()))
}

/// Fails with every fault, one a line, below a sentence that says what to do.
pub(crate) fn expect_none(faults: &[String], what_to_do: &str) {
    assert!(faults.is_empty(), "{what_to_do}\n  {}", faults.join("\n  "));
}
