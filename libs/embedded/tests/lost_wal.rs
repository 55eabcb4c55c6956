//! A directory that was not closed opens with all that was acknowledged, or says what was lost (OPEN-1).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::record::Record;
use domain::{Position, Shard};
use ports::EventLog;
use postrider_embedded::{Embedded, OpenError, Options};
use testkit::SimClock;

const FILES: [&str; 2] = ["log.db", "store.db"];

fn options() -> Options {
    Options { free_space_floor: 0, shards: 1, ..Options::new(Arc::new(SimClock::default())) }
}

/// Appends `count` records one by one, a COMMIT each.
async fn append(engine: &Embedded, count: u8) {
    for n in 0..count {
        let record = Record { key: None, headers: Vec::new(), value: Some(vec![n; 900].into()) };
        for answer in engine.log().append(vec![record]).await {
            answer.expect("append");
        }
    }
}

async fn records(engine: &Embedded) -> usize {
    let all = engine.log().read_range(Shard(0), Position(0), Position(1 << 39), 1_000).await;
    all.expect("read").records.len()
}

/// What a kill leaves: the files of a running engine, copied. (The copy is of one moment: nothing writes meanwhile.)
fn killed(running: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary directory");
    for entry in std::fs::read_dir(running).expect("list") {
        let entry = entry.expect("entry");
        if !entry.file_name().to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copy");
        }
    }
    copy
}

/// A directory as a kill leaves it, with 20 records that were acknowledged.
async fn made() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let engine = Embedded::open(dir.path(), options()).expect("open");
    append(&engine, 20).await;
    let copy = killed(dir.path());
    engine.close().await;
    copy
}

fn wal(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}-wal"))
}

fn mark(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}-open"))
}

#[track_caller]
fn assert_refused(dir: &Path, name: &str, reason: &str) {
    let error = Embedded::open(dir, options()).err().expect("refused");
    assert!(matches!(error, OpenError::WalLost { .. }), "{error:?}");
    let text = error.to_string();
    let wal = format!("{name}-wal cannot be used");
    for part in [wal.as_str(), reason, "restore", "backup", "remove"] {
        assert!(text.contains(part), "{part:?} in {text:?}");
    }
    assert!(!text.contains('\n'), "{text}");
}

async fn assert_opens_with(dir: &Path, count: usize) {
    let engine = Embedded::open(dir, options()).expect("open");
    assert_eq!(records(&engine).await, count);
    engine.close().await;
}

#[tokio::test]
async fn a_wal_that_is_gone_after_a_kill_is_refused_by_name() {
    for name in FILES {
        let dir = made().await;
        std::fs::remove_file(wal(dir.path(), name)).expect("remove");
        assert_refused(dir.path(), name, "missing");
        std::fs::write(wal(dir.path(), name), b"").expect("write");
        assert_refused(dir.path(), name, "empty");
        // Whoever accepts the loss says so, and is not asked again.
        std::fs::remove_file(mark(dir.path(), name)).expect("remove");
        let left = if name == "log.db" { 0 } else { 20 };
        assert_opens_with(dir.path(), left).await;
        assert_opens_with(dir.path(), left).await;
    }
}

#[tokio::test]
async fn a_wal_whose_beginning_is_overwritten_is_refused_by_name() {
    for name in FILES {
        let dir = made().await;
        let mut bytes = std::fs::read(wal(dir.path(), name)).expect("read");
        bytes[..4_096].fill(0xee);
        std::fs::write(wal(dir.path(), name), bytes).expect("write");
        assert_refused(dir.path(), name, "header is overwritten");
        std::fs::remove_file(mark(dir.path(), name)).expect("remove");
        assert_refused(dir.path(), name, "header is overwritten");
        std::fs::remove_file(wal(dir.path(), name)).expect("remove");
        assert_opens_with(dir.path(), if name == "log.db" { 0 } else { 20 }).await;
    }
}

#[tokio::test]
async fn a_wal_that_is_damaged_in_the_middle_is_refused_by_name() {
    let dir = made().await;
    let mut bytes = std::fs::read(wal(dir.path(), "log.db")).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 512].fill(0xee);
    std::fs::write(wal(dir.path(), "log.db"), bytes).expect("write");
    assert_refused(dir.path(), "log.db", "committed ones follow");
}

/// Each window in which a kill can come: what it leaves opens, with all that was acknowledged.
#[tokio::test]
async fn a_kill_at_any_step_of_opening_working_and_closing_is_no_loss() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dir = home.path();
    let engine = Embedded::open(dir, options()).expect("open");
    let opened = killed(dir);
    assert_opens_with(opened.path(), 0).await;
    append(&engine, 5).await;
    assert_opens_with(killed(dir).path(), 5).await;
    // A checkpoint has moved everything, and nothing was written since.
    engine.maintain(domain::Timestamp::ZERO).await.expect("maintain");
    assert!(wal(dir, "log.db").metadata().expect("a WAL").len() > 0, "OPEN-1");
    assert_opens_with(killed(dir).path(), 5).await;
    append(&engine, 5).await;
    assert_opens_with(killed(dir).path(), 10).await;
    // Between close 2 and 3: the mark is gone, the WAL is not.
    let unmarked = killed(dir);
    FILES.iter().for_each(|name| std::fs::remove_file(mark(unmarked.path(), name)).expect("mark"));
    assert_opens_with(unmarked.path(), 10).await;
    engine.close().await;
    for name in FILES {
        assert!(!wal(dir, name).exists() && !mark(dir, name).exists(), "{name} is closed");
    }
    assert_opens_with(dir, 10).await;
}

#[tokio::test]
async fn an_engine_that_is_dropped_opens_again() {
    let home = tempfile::tempdir().expect("a temporary directory");
    for round in 1..=3 {
        // The directory is free once the last thread of the one before has ended.
        let engine = loop {
            match Embedded::open(home.path(), options()) {
                Ok(engine) => break engine,
                Err(OpenError::Locked { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        append(&engine, 5).await;
        assert_eq!(records(&engine).await, round * 5);
    }
}
