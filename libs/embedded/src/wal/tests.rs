use rusqlite::Connection;

use super::*;

const PAGE: usize = 4_096;
const FRAME: usize = FRAME_HEADER_BYTES + PAGE;

/// The WAL of some transactions of one row each, as a kill leaves it.
fn wal_of(commits: u32) -> (tempfile::TempDir, Vec<u8>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let conn = Connection::open(dir.path().join("t.db")).expect("open");
    conn.execute_batch("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; CREATE TABLE t(x);")
        .expect("schema");
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("checkpoint");
    for row in 0..commits {
        conn.execute("INSERT INTO t VALUES (?1)", [row]).expect("insert");
    }
    let wal = std::fs::read(dir.path().join("t.db-wal")).expect("read");
    (dir, wal)
}

fn found(dir: &tempfile::TempDir, wal: &[u8]) -> Found {
    let path = dir.path().join("looked-at");
    std::fs::write(&path, wal).expect("write");
    inspect(&path, PAGE).expect("read")
}

fn damaged(found: &Found, part: &str) -> bool {
    matches!(found, Found::Damaged(reason) if reason.contains(part))
}

#[test]
fn what_sqlite_writes_is_sound_wherever_a_kill_cuts_it() {
    let (dir, wal) = wal_of(5);
    assert_eq!(wal.len(), HEADER_BYTES + 5 * FRAME);
    for end in [wal.len(), wal.len() - 1, HEADER_BYTES + FRAME, HEADER_BYTES + 7, HEADER_BYTES] {
        assert_eq!(found(&dir, &wal[..end]), Found::Sound, "{end} bytes");
    }
    assert_eq!(found(&dir, b""), Found::Nothing);
    assert_eq!(inspect(&dir.path().join("none"), PAGE).expect("read"), Found::Nothing);
}

#[test]
fn a_header_that_is_cut_or_overwritten_is_damage() {
    let (dir, wal) = wal_of(2);
    assert!(damaged(&found(&dir, &wal[..HEADER_BYTES - 1]), "cut off"));
    for at in [0, 5, 9, 17, 31] {
        let mut other = wal.clone();
        other[at] ^= 0x10;
        assert!(damaged(&found(&dir, &other), "overwritten"), "byte {at}");
    }
    let mut zeros = wal;
    zeros.fill(0);
    assert!(damaged(&found(&dir, &zeros), "overwritten"));
}

#[test]
fn a_middle_with_commits_behind_it_is_damage_and_a_torn_end_is_not() {
    let (dir, wal) = wal_of(5);
    let flipped = |frame: usize, at: usize| {
        let mut other = wal.clone();
        other[HEADER_BYTES + (frame - 1) * FRAME + at] ^= 0x10;
        other
    };
    for at in [0, 9, 17, 100] {
        assert!(damaged(&found(&dir, &flipped(2, at)), "frame 2"), "byte {at}");
    }
    // The last transaction may have been torn by a power failure before it was promised.
    assert_eq!(found(&dir, &flipped(5, 100)), Found::Sound);
}

#[test]
fn frames_of_an_earlier_round_are_not_missed() {
    let (dir, old) = wal_of(5);
    let conn = Connection::open(dir.path().join("t.db")).expect("open");
    for row in 0..9 {
        conn.execute("INSERT INTO t VALUES (?1)", [row]).expect("insert");
    }
    conn.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).expect("checkpoint");
    conn.execute("INSERT INTO t VALUES (1)", []).expect("insert");
    let wal = std::fs::read(dir.path().join("t.db-wal")).expect("read");
    assert!(wal.len() > old.len(), "the old frames are still there");
    assert_eq!(found(&dir, &wal), Found::Sound);
}
