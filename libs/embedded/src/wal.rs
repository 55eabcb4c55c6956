//! Looks into a write-ahead log before SQLite does.
//!
//! SQLite takes a WAL up to its first invalid frame and drops the rest without a word: right for what a kill or a power failure leaves at the end,
//! wrong for a header or a middle that was damaged later. The format is public: <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// The magic number; its last bit says that checksums read words big-endian.
const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;
const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
const BUFFER_BYTES: usize = 256 * 1024;

/// What a WAL is found to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// No file, or one without a byte: it holds nothing.
    Nothing,
    /// Sound up to the end, or up to what no COMMIT can have promised.
    Sound,
    /// Acknowledged writes in it cannot be read; why.
    Damaged(String),
}

/// Reads the WAL at `path` once, from its beginning.
pub(crate) fn inspect(path: &Path, page_bytes: usize) -> io::Result<Found> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() == 0 {
        return Ok(Found::Nothing);
    }
    let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut header = [0; HEADER_BYTES];
    // SQLite writes a header in one piece of one sector: neither a kill nor a power failure leaves half of one.
    if !read_whole(&mut file, &mut header)? {
        return Ok(Found::Damaged("its header is cut off".to_owned()));
    }
    let mut sum = Checksum { big_endian: word(&header, 0) & 1 == 1, state: (0, 0) };
    sum.add(header.get(..24).unwrap_or_default());
    let sound = word(&header, 0) & !1 == MAGIC
        && word(&header, 4) == VERSION
        && usize::try_from(word(&header, 8)) == Ok(page_bytes)
        && sum.state == (word(&header, 24), word(&header, 28));
    if !sound {
        return Ok(Found::Damaged("its header is overwritten".to_owned()));
    }
    frames(&mut file, (word(&header, 16), word(&header, 20)), sum, page_bytes)
}

/// Follows the chain of checksums, and looks at what comes behind its end.
///
/// Behind the end may be the one transaction that was being written (after a power failure in any order, with its COMMIT), and frames of an earlier
/// round, which have other salts. Two COMMITs of this round are more than that: each was synced before the next began, so the first was promised.
fn frames(
    file: &mut impl Read,
    salts: (u32, u32),
    mut sum: Checksum,
    page_bytes: usize,
) -> io::Result<Found> {
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes];
    let (mut number, mut broken, mut commits_behind) = (0u64, None, 0u32);
    while read_whole(file, &mut frame)? {
        number += 1;
        let ours = (word(&frame, 8), word(&frame, 12)) == salts;
        if broken.is_none() {
            sum.add(frame.get(..8).unwrap_or_default());
            sum.add(frame.get(FRAME_HEADER_BYTES..).unwrap_or_default());
            let checked = sum.state == (word(&frame, 16), word(&frame, 20));
            if !ours || word(&frame, 0) == 0 || !checked {
                broken = Some(number);
            }
        }
        // The second word of a frame that commits is the size of the file after it, else 0.
        if broken.is_some() && ours && word(&frame, 4) != 0 {
            commits_behind += 1;
        }
    }
    Ok(match broken {
        Some(number) if commits_behind > 1 => Found::Damaged(format!(
            "frame {number} of it is overwritten, and committed ones follow"
        )),
        _ => Found::Sound,
    })
}

/// `false` when the file ends first.
fn read_whole(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map_or(0, u32::from_be_bytes)
}

/// SQLite's running checksum over pairs of words.
struct Checksum {
    big_endian: bool,
    state: (u32, u32),
}

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        let (mut first, mut second) = self.state;
        for pair in bytes.as_chunks::<8>().0 {
            let [a, b, c, d, e, f, g, h] = *pair;
            let read = if self.big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
            first = first.wrapping_add(read([a, b, c, d])).wrapping_add(second);
            second = second.wrapping_add(read([e, f, g, h])).wrapping_add(first);
        }
        self.state = (first, second);
    }
}

#[cfg(test)]
mod tests;
