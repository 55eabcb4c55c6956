use super::*;

struct Table(Connection);

impl State for Table {
    fn conn(&self) -> &Connection {
        &self.0
    }

    fn close(&mut self) -> Result<(), SetError> {
        Ok(())
    }
}

/// A table whose constraint on `parent` is checked by COMMIT, so that a COMMIT can be made to fail.
fn writer() -> (Writer<Table>, HealthCell) {
    let conn = Connection::open_in_memory().expect("open");
    conn.execute_batch(
        "PRAGMA foreign_keys = ON;
         CREATE TABLE t(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES t(id) DEFERRABLE INITIALLY DEFERRED);",
    )
    .expect("schema");
    let health = HealthCell::new();
    let writer = Writer::start("test.db", Table(conn), health.clone(), ()).expect("a thread");
    (writer, health)
}

fn insert(id: i64, parent: Option<i64>) -> impl FnOnce(&mut Table) -> Result<(), Fault> + Send {
    move |table| {
        let row = rusqlite::params![id, parent];
        table.0.execute("INSERT INTO t VALUES (?1, ?2)", row)?;
        Ok(())
    }
}

fn count(table: &mut Table) -> Result<i64, Fault> {
    Ok(table.0.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?)
}

#[tokio::test]
async fn a_commit_that_fails_is_unknown_to_all_and_ends_writing() {
    let (writer, health) = writer();
    writer.write(Cost::ONE, insert(1, None)).await.expect("sound");
    let (one, two) = tokio::join!(
        writer.write(Cost::ONE, insert(2, Some(99))),
        writer.write(Cost::ONE, insert(3, None))
    );
    assert_eq!(one.err().map(|e| e.kind()), Some(ErrorKind::Unknown));
    // The second call was in the same transaction, or came after the failure: it never reads as done.
    let kind = two.err().map(|error| error.kind());
    assert!(matches!(kind, Some(ErrorKind::Unknown | ErrorKind::Unavailable)), "{kind:?}");
    assert!(matches!(health.get(), Health::Failed { file: "test.db", .. }));
    let refused = writer.write(Cost::ONE, insert(4, None)).await;
    let refused = refused.expect_err("nothing is written any more");
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("restart postrider"), "{refused}");
    writer.stop().await;
}

#[tokio::test]
async fn a_call_that_fails_takes_its_transaction_back_and_writing_goes_on() {
    let (writer, health) = writer();
    writer.write(Cost::ONE, insert(1, None)).await.expect("sound");
    let twice = writer.write(Cost::ONE, insert(1, None)).await;
    assert_eq!(twice.err().map(|e| e.kind()), Some(ErrorKind::Unavailable));
    assert_eq!(health.get(), Health::Ok);
    writer.write(Cost::ONE, insert(2, None)).await.expect("goes on");
    assert_eq!(writer.alone(count).await.expect("count"), 2);
    writer.stop().await;
    assert!(writer.write(Cost::ONE, insert(3, None)).await.is_err(), "stopped");
}
