//! Values that may lie elsewhere: `@file`, `-` for standard input, else the text itself.

use std::fs;
use std::io::{self, Read as _};

use anyhow::Context as _;

use crate::failure::Failure;

/// Largest input, in bytes: more than any body may be.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads the bytes that `given` stands for, unchanged.
pub(crate) fn read(given: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    if given == "-" {
        io::stdin()
            .lock()
            .take(BYTES_MAX)
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
    } else if let Some(path) = given.strip_prefix('@') {
        fs::File::open(path)
            .and_then(|file| file.take(BYTES_MAX).read_to_end(&mut bytes))
            .with_context(|| format!("cannot read {path}"))?;
    } else {
        bytes = given.as_bytes().to_vec();
    }
    Ok(bytes)
}

/// Reads one line of text, such as a secret, without what ends it.
pub(crate) fn read_line(given: &str) -> Result<String, Failure> {
    let text = String::from_utf8(read(given)?).context("it is not text")?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
