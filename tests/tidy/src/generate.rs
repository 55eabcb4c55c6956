//! Generates `libs/wire/src/gen` from `proto/`, without protoc.
//!
//! What is generated is committed, so that a build needs nothing but Rust; a test compares it with a fresh run.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the generated files live, below the root of the tree.
pub const GENERATED_DIR: &str = "libs/wire/src/gen";

/// The encoded `FileDescriptorSet`, with comments and options, that reflection and REST read.
pub const DESCRIPTORS_FILE: &str = "descriptors.bin";

/// The packages that the code refers to (`google.protobuf` is `prost_types`). All others in the descriptors are options.
const CODE_PACKAGES: [&str; 3] = ["postrider.", "google.rpc", "google.protobuf"];

/// The fields that carry events' bodies: `bytes::Bytes` instead of `Vec<u8>`, so that they are shared, not copied.
const SHARED_BYTES: [&str; 2] = [".postrider.api.v1.Event.data", ".postrider.api.v1.NewEvent.data"];

/// One generated file.
#[derive(Debug)]
pub struct GeneratedFile {
    /// Its name in [`GENERATED_DIR`].
    pub name: String,
    /// Its contents.
    pub contents: Vec<u8>,
}

/// Generates all files from the protos below `root`, in the order of their names. Writes nothing below `root`.
///
/// # Errors
/// When a proto does not compile (the message names file and line), or the disk fails.
pub fn generate(root: &Path) -> Result<Vec<GeneratedFile>, Box<dyn Error>> {
    let include = root.join("proto");
    let mut compiler = protox::Compiler::new([&include])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(protos(&include.join("postrider"))?)?;
    // Details travel as `Any`: no proto imports them.
    compiler.open_file(include.join("google/rpc/error_details.proto"))?;

    let mut set = compiler.file_descriptor_set();
    set.file.retain(|file| CODE_PACKAGES.iter().any(|package| file.package().starts_with(package)));
    for file in &mut set.file {
        if !file.package().starts_with("postrider.") {
            // Third-party comments hold indented examples that rustdoc would take for Rust.
            file.source_code_info = None;
        }
    }
    let out = tempfile::tempdir()?;
    let mut builder = tonic_prost_build::configure()
        .out_dir(out.path())
        .emit_rerun_if_changed(false)
        // One message, one encoding: requests are hashed.
        .btree_map(".");
    for field in SHARED_BYTES {
        builder = builder.bytes(field);
    }
    builder.compile_fds(set)?;

    let mut files = vec![GeneratedFile {
        name: DESCRIPTORS_FILE.to_owned(),
        contents: compiler.encode_file_descriptor_set(),
    }];
    for entry in fs::read_dir(out.path())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files.push(GeneratedFile { name, contents: fs::read(entry.path())? });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Returns how the files below `root` differ from a fresh run, one line each; empty when they are fresh.
///
/// # Errors
/// As [`generate`].
pub fn stale(root: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let dir = root.join(GENERATED_DIR);
    let files = generate(root)?;
    let mut stale = Vec::new();
    for file in &files {
        match fs::read(dir.join(&file.name)) {
            Ok(committed) if committed == file.contents => {}
            Ok(_) => stale.push(format!("{GENERATED_DIR}/{} is out of date", file.name)),
            Err(error) => stale.push(format!("{GENERATED_DIR}/{}: {error}", file.name)),
        }
    }
    for entry in fs::read_dir(&dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !files.iter().any(|file| file.name == name) {
            stale.push(format!("{GENERATED_DIR}/{name} comes from no proto"));
        }
    }
    Ok(stale)
}

/// Every `.proto` below `dir`, in the order of their paths.
fn protos(dir: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "proto") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_files_are_fresh() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let stale = stale(&root).expect("the protos compile");
        assert!(
            stale.is_empty(),
            "{}\nrun `cargo run -p postrider-tidy --bin generate` and commit the result",
            stale.join("\n")
        );
    }
}
