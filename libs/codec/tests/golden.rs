//! The bytes of rows as they lie in stores: `tests/golden/rows.txt`. A changed line means that rows of the last version are no longer what this one writes;
//! a layout that changes gets a format of its own, and lines beside the old ones, which are still read.
//!
//! `POSTRIDER_BLESS=1 cargo test -p postrider-codec --test golden` writes the file anew.

mod samples;

use std::fmt::Write as _;
use std::path::Path;

use samples::Sample;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a text takes it");
        text
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16);
    digits.map(|pair| byte(pair).expect("hex digits")).collect()
}

#[test]
fn rows_are_written_as_they_were_and_what_was_written_is_read() {
    let samples = samples::all();
    let line = |sample: &Sample| format!("{} {}\n", sample.name, hex(&sample.bytes));
    let now: String = samples.iter().map(line).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/rows.txt");
    if std::env::var_os("POSTRIDER_BLESS").is_some() {
        std::fs::write(&path, &now).expect("writable");
    }
    let golden = std::fs::read_to_string(&path).expect("the golden rows");
    assert_eq!(golden.lines().count(), samples.len());
    for (golden, sample) in golden.lines().zip(&samples) {
        let (name, golden) = golden.split_once(' ').expect("a name and bytes");
        assert_eq!(name, sample.name);
        assert_eq!(golden, hex(&sample.bytes), "{name}: the stored format changed");
        assert!((sample.is_read)(&bytes(golden)), "{name}: what was written is read otherwise");
    }
}
