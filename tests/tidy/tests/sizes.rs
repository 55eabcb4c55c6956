//! How long a file may be. Functions are clippy's (`too_many_lines`).

use std::path::Path;

use crate::tree;

/// Hard limit of a source file, in lines; 250 are wanted and 400 are a sign to split.
const SOURCE_LINES_MAX: usize = 500;
/// Hard limit of a file of tests, in lines.
const TEST_LINES_MAX: usize = 600;

fn lines_max(path: &Path) -> usize {
    if tree::is_test(path) { TEST_LINES_MAX } else { SOURCE_LINES_MAX }
}

#[test]
fn no_source_file_is_too_long() {
    let mut faults = Vec::new();
    for path in tree::files(".rs") {
        let (lines, max) = (tree::text(&path).lines().count(), lines_max(&path));
        if lines > max {
            faults.push(format!("{}: {lines} lines, at most {max}", path.display()));
        }
    }
    tree::expect_none(&faults, "split these files by a noun or a verb of the domain:");
}

#[test]
fn tests_may_be_longer_than_sources() {
    assert_eq!(lines_max(Path::new("libs/domain/src/event.rs")), SOURCE_LINES_MAX);
    assert_eq!(lines_max(Path::new("libs/domain/src/event/tests.rs")), TEST_LINES_MAX);
    assert_eq!(lines_max(Path::new("libs/delivery/tests/schedule.rs")), TEST_LINES_MAX);
    assert_eq!(lines_max(Path::new("tests/e2e/tests/kill.rs")), TEST_LINES_MAX);
}
