//! Finding the binary under test.

use std::env;
use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};

/// Names the binary to test, instead of the one built beside this test.
const OVERRIDE: &str = "POSTRIDER_BIN";

/// Returns the path of the `postrider` binary of this test's own profile.
///
/// Cargo builds a package's binaries for that package's tests only, so this one may be missing or older than the
/// sources; a scenario that passes against an old binary proves nothing.
///
/// # Errors
/// When it is missing or stale, with the command that builds it.
pub(crate) fn postrider() -> Result<PathBuf> {
    if let Some(path) = env::var_os(OVERRIDE) {
        return Ok(path.into());
    }
    let test = env::current_exe().context("this test's own path")?;
    // …/<profile>/deps/e2e-<hash>
    let profile =
        test.ancestors().nth(2).context("a test lies two levels below the target directory")?;
    let binary = profile.join(format!("postrider{EXE_SUFFIX}"));
    ensure!(binary.exists(), "{} is missing: {}", binary.display(), advice(profile));
    if let Some(source) = newer_source(&binary)? {
        bail!("{} is older than {}: {}", binary.display(), source.display(), advice(profile));
    }
    Ok(binary)
}

fn advice(profile: &Path) -> String {
    let name = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    format!("build it with `cargo build --workspace --all-targets --profile {name}`")
}

/// Returns a source that changed after the binary was linked, by cargo's own list of them.
fn newer_source(binary: &Path) -> Result<Option<PathBuf>> {
    let list = binary.with_extension("d");
    let Ok(text) = fs::read_to_string(&list) else {
        return Ok(None);
    };
    let linked = fs::metadata(binary)?.modified()?;
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("the workspace")?;
    let sources = sources(&text);
    if !sources.iter().any(|source| source.starts_with(own)) {
        // The target directory is shared, and the binary is another clone's.
        return Ok(Some(own.to_path_buf()));
    }
    Ok(sources.into_iter().find(|source| changed_after(source, linked)))
}

fn changed_after(source: &Path, linked: SystemTime) -> bool {
    fs::metadata(source).and_then(|m| m.modified()).map_or(true, |changed| changed > linked)
}

/// Parses `target: source source…`, where a blank in a path is written as `\ `.
fn sources(text: &str) -> Vec<PathBuf> {
    let Some((_, list)) = text.split_once(": ") else {
        return Vec::new();
    };
    list.replace("\\ ", "\0")
        .split_whitespace()
        .map(|path| PathBuf::from(path.replace('\0', " ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_list_of_sources_is_read_with_blanks_in_paths() {
        let found = sources("/t/ci/postrider: /a/main.rs /b\\ c/lib.rs\n");
        assert_eq!(found, [PathBuf::from("/a/main.rs"), PathBuf::from("/b c/lib.rs")]);
    }

    #[test]
    fn a_source_that_is_gone_or_newer_makes_the_binary_stale() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("lib.rs");
        assert!(changed_after(&source, SystemTime::UNIX_EPOCH));
        fs::write(&source, "").unwrap();
        let changed = fs::metadata(&source).unwrap().modified().unwrap();
        assert!(changed_after(&source, SystemTime::UNIX_EPOCH));
        assert!(!changed_after(&source, changed));
    }
}
