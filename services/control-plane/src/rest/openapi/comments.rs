//! The comments of the protos, found by element.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, FileDescriptor};

/// Leading comments by file and path.
pub(super) struct Comments {
    by_file: HashMap<String, HashMap<Vec<i32>, String>>,
}

impl Comments {
    pub(super) fn new(pool: &DescriptorPool) -> Self {
        let by_file = pool.files().map(|file| (file.name().to_owned(), of_file(&file))).collect();
        Self { by_file }
    }

    /// The comment above the element at `path` of `file`; empty when there is none.
    pub(super) fn of(&self, file: &FileDescriptor, path: &[i32]) -> &str {
        self.by_file
            .get(file.name())
            .and_then(|comments| comments.get(path))
            .map_or("", String::as_str)
    }
}

fn of_file(file: &FileDescriptor) -> HashMap<Vec<i32>, String> {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let locations = info.map(|info| info.location.as_slice()).unwrap_or_default();
    let comment =
        |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n").trim().to_owned();
    locations
        .iter()
        .filter_map(|location| {
            Some((location.path.clone(), comment(location.leading_comments.as_deref()?)))
        })
        .collect()
}
