//! Writes the generated files of `libs/wire/src/gen`: `cargo run -p postrider-tidy --bin generate`.

use std::error::Error;
use std::fs;
use std::path::Path;

use postrider_tidy::generate::{self, GENERATED_DIR};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir = root.join(GENERATED_DIR);
    let files = generate::generate(&root)?;
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    for file in files {
        fs::write(dir.join(file.name), file.contents)?;
    }
    Ok(())
}
