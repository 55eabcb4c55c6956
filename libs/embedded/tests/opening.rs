//! A data directory opens, or says in one line what is wrong and what to do.

use std::path::Path;
use std::sync::Arc;

use domain::record::Record;
use domain::{Shard, TenantId, Timestamp};
use ports::{ErrorKind, EventLog, Stores, Tenant};
use postrider_embedded::{Embedded, Health, OpenError, Options};
use testkit::SimClock;

fn options() -> Options {
    Options { free_space_floor: 0, ..Options::new(Arc::new(SimClock::default())) }
}

/// Makes a directory with a few records in its log, closed.
async fn made() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let engine = Embedded::open(dir.path(), options()).expect("open");
    append(&engine, 200).await;
    engine.close().await;
    dir
}

async fn append(engine: &Embedded, count: u8) {
    let record = |n: u8| Record {
        key: Some(vec![n].into()),
        headers: Vec::new(),
        value: Some(vec![n; 2_000].into()),
    };
    for answer in engine.log().append((0..count).map(record).collect()).await {
        answer.expect("append");
    }
}

fn refused(dir: &Path) -> OpenError {
    match Embedded::open(dir, options()) {
        Ok(_) => panic!("the directory opened"),
        Err(error) => error,
    }
}

fn assert_one_line(error: &OpenError, parts: &[&str]) {
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} in {text:?}");
    }
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    use std::io::{Seek, SeekFrom, Write};
    let mut file = std::fs::OpenOptions::new().write(true).open(path).expect("open");
    file.seek(SeekFrom::Start(at)).expect("seek");
    file.write_all(bytes).expect("write");
}

#[tokio::test]
async fn a_second_process_is_told_who_has_the_directory() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let engine = Embedded::open(dir.path(), options()).expect("open");
    let error = refused(dir.path());
    let pid = std::process::id().to_string();
    let path = dir.path().to_string_lossy().into_owned();
    assert_one_line(&error, &[&path, "in use by another postrider", &pid]);
    engine.close().await;
    let again = Embedded::open(dir.path(), options()).expect("free again");
    again.close().await;
}

#[tokio::test]
async fn a_file_that_is_gone_is_never_replaced_by_an_empty_one() {
    for (gone, left) in [("log.db", "store.db"), ("store.db", "log.db")] {
        let dir = made().await;
        std::fs::remove_file(dir.path().join(gone)).expect("remove");
        let error = refused(dir.path());
        assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
        assert_one_line(&error, &[gone, "is missing", left, "restore both from a backup"]);
    }
}

#[tokio::test]
async fn a_kill_between_the_two_files_is_healed() {
    let dir = made().await;
    let path = dir.path();
    std::fs::rename(path.join("log.db"), path.join("log.db.new")).expect("rename");
    Embedded::open(path, options()).expect("healed").close().await;
    // Both unpublished: nothing was ever acknowledged, so that a new start is right.
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join("store.db.new"), b"half").expect("write");
    Embedded::open(dir.path(), options()).expect("made anew").close().await;
}

#[tokio::test]
async fn a_foreign_cut_or_overwritten_file_is_refused_by_name() {
    for name in ["log.db", "store.db"] {
        let dir = made().await;
        let file = dir.path().join(name);
        let sound = std::fs::read(&file).expect("read");
        let half = sound.len() / 2;
        let mut foreign = sound.clone();
        foreign[68..72].copy_from_slice(&[1, 2, 3, 4]);
        let mut overwritten = sound.clone();
        overwritten[..40].fill(0x55);
        let cases: [(&[u8], &str); 4] = [
            (b"", "not a database file"),
            (&overwritten, "not a database file"),
            (&foreign, "not postrider's"),
            (&sound[..half], "cut off"),
        ];
        for (bytes, reason) in cases {
            std::fs::write(&file, bytes).expect("write");
            assert_one_line(&refused(dir.path()), &[name, reason, "restore"]);
        }
        std::fs::write(&file, &sound).expect("write");
        Embedded::open(dir.path(), options()).expect("sound again").close().await;
    }
}

#[tokio::test]
async fn a_store_of_the_first_format_gets_what_it_lacks_and_keeps_what_it_has() {
    let dir = made().await;
    let tenant = Tenant {
        id: TenantId::default_tenant(),
        display_name: "kept".to_owned(),
        create_time: Timestamp::from_millis(1),
    };
    let engine = Embedded::open(dir.path(), options()).expect("open");
    Stores::of(&engine.store()).config.create_tenant(&tenant).await.expect("made");
    engine.close().await;
    let file = rusqlite::Connection::open(dir.path().join("store.db")).expect("open");
    file.execute_batch(
        "DROP TABLE jobs; DROP TABLE lines; DROP TABLE held; DROP TABLE event_types; PRAGMA user_version = 1;",
    )
    .expect("as it was");
    file.close().expect("closed");
    for _ in 0..2 {
        let engine = Embedded::open(dir.path(), options()).expect("open");
        assert!(
            Stores::of(&engine.store()).jobs.open(10).await.expect("the table is there").is_empty()
        );
        let lines = Stores::of(&engine.store()).lines;
        assert_eq!(lines.of_shard(Shard(0), None, 10).await.expect("the table is there"), []);
        let types = Stores::of(&engine.store()).event_types;
        let listed = types.list(&tenant.id, None, 10).await.expect("the table is there");
        assert!(listed.is_empty());
        let found = Stores::of(&engine.store()).config.revision(&tenant.id).await.expect("read");
        assert!(found.is_some(), "the tenant is there");
        engine.close().await;
    }
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let dir = made().await;
    overwrite(&dir.path().join("store.db"), 60, &99u32.to_be_bytes());
    let error = refused(dir.path());
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error:?}");
    assert_one_line(&error, &["store.db", "format 99", "newer version"]);
}

#[tokio::test]
async fn files_of_two_directories_do_not_belong_together() {
    let (one, two) = (made().await, made().await);
    std::fs::copy(two.path().join("store.db"), one.path().join("store.db")).expect("copy");
    assert_one_line(&refused(one.path()), &["store.db", "another log.db"]);
}

#[tokio::test]
async fn shards_are_added_and_never_removed() {
    let dir = made().await;
    let with = |shards| Options { shards, ..options() };
    let engine = Embedded::open(dir.path(), with(6)).expect("more shards");
    assert_eq!(engine.log().shards().appended(), 6);
    engine.close().await;
    let error = Embedded::open(dir.path(), with(5)).err().expect("refused");
    assert_one_line(&error, &["6 shards", "5 were asked for"]);
    let error = Embedded::open(dir.path(), with(0)).err().expect("refused");
    assert_one_line(&error, &["shards is 0", "1 to 256"]);
}

/// Early pages, behind those that every start reads.
fn damage_early_pages(file: &Path, page: u64) {
    let bytes = vec![0xee; usize::try_from(page).expect("fits")];
    for number in 8..16 {
        overwrite(file, number * page, &bytes);
    }
}

#[tokio::test]
async fn damage_behind_the_header_is_refused_at_the_start() {
    for (name, page) in [("log.db", 16_384), ("store.db", 8_192)] {
        let dir = made().await;
        damage_early_pages(&dir.path().join(name), page);
        assert_one_line(&refused(dir.path()), &[name, "damaged", "restore", "backup"]);
    }
}

#[tokio::test]
async fn damage_that_comes_later_is_told_when_it_is_met() {
    let dir = made().await;
    let engine = Embedded::open(dir.path(), options()).expect("open");
    damage_early_pages(&dir.path().join("log.db"), 16_384);
    let log = engine.log();
    let mut damaged = None;
    for shard in log.shards().all() {
        let read = log.read_range(shard, domain::Position(0), domain::Position(1 << 39), 500);
        damaged = damaged.or(read.await.err());
    }
    let damaged = damaged.expect("a damaged page is an error");
    assert_eq!(damaged.kind(), ErrorKind::Corrupt, "{damaged:?}");
    assert!(damaged.to_string().contains("log.db"), "{damaged}");
    // Nothing is acknowledged any more that a restored backup would not have.
    let Health::Failed { file: "log.db", reason } = engine.health() else {
        panic!("{:?}", engine.health());
    };
    assert!(reason.contains("restore"), "{reason}");
    let answers = log.append(vec![Record::default()]).await;
    let kind = answers.first().and_then(|answer| answer.as_ref().err()).map(ports::Error::kind);
    assert_eq!(kind, Some(ErrorKind::Unavailable));
    let found = engine.check_integrity().await;
    assert!(!matches!(found, Ok(None)), "{found:?}");
    engine.close().await;
}

#[tokio::test]
async fn a_nearly_full_disk_refuses_appends_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let full = Options { free_space_floor: u64::MAX, ..options() };
    let engine = Embedded::open(dir.path(), full).expect("open");
    let answers = engine.log().append(vec![Record::default()]).await;
    let kind = answers.first().and_then(|answer| answer.as_ref().err()).map(ports::Error::kind);
    assert_eq!(kind, Some(ErrorKind::Full));
    assert_eq!(engine.health(), Health::Ok);
    engine.close().await;
}

#[tokio::test]
async fn a_closed_engine_answers_unavailable() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let engine = Embedded::open(dir.path(), options()).expect("open");
    let log = engine.log();
    let mut waiting = log.consume("g").await.expect("consume");
    for _ in log.shards().all() {
        waiting.next().await.expect("an assignment");
    }
    // `join!` polls the wait first: it sleeps when the engine closes.
    let (woken, ()) = tokio::join!(waiting.next(), engine.close());
    let kind = woken.err().map(|error| error.kind());
    assert_eq!(kind, Some(ErrorKind::Unavailable), "a consumer that sleeps is woken");
    engine.close().await;
    let answers = log.append(vec![Record::default()]).await;
    let kind = answers.first().and_then(|answer| answer.as_ref().err()).map(ports::Error::kind);
    assert_eq!(kind, Some(ErrorKind::Unavailable));
    let kind = log.bounds(domain::Shard(0)).await.err().map(|error| error.kind());
    assert_eq!(kind, Some(ErrorKind::Unavailable));
    assert!(!dir.path().join("log.db-wal").exists(), "the WAL was cut");
}
