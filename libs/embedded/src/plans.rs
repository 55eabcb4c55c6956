//! No statement on a served path scans a table: SQLite is asked for the plan of every one.

use rusqlite::Connection;

use crate::file::Kind;
use crate::{log, store};

/// What SQLite says about a statement, a line a step.
fn plan(kind: &Kind, sql: &str) -> Vec<String> {
    let conn = Connection::open_in_memory().expect("open");
    conn.execute_batch(kind.schema).expect("schema");
    let mut statement = conn
        .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    let count = statement.parameter_count();
    let nulls = vec![rusqlite::types::Null; count];
    let steps = statement.query_map(rusqlite::params_from_iter(nulls), |row| row.get(3));
    steps.expect("a plan").collect::<Result<_, _>>().expect("steps")
}

fn check(kind: &Kind, statements: &[&str]) {
    for sql in statements {
        for step in plan(kind, sql) {
            // An expiry slice reads the first rows of a table by rowid, which SQLite calls a scan of its first rows.
            let head = sql.contains("ORDER BY id LIMIT") && step.starts_with("SCAN");
            assert!(head || !step.starts_with("SCAN"), "{sql}\n{step}");
        }
    }
}

#[test]
fn no_statement_of_the_log_scans() {
    check(&log::KIND, log::STATEMENTS);
}

#[test]
fn no_statement_of_the_store_scans() {
    check(&store::KIND, &store::statements());
}

#[test]
fn pages_and_lists_come_sorted_from_their_indexes() {
    let sorted = [
        "FROM backlog",
        "redrive < 2 AND endpoint",
        "attempt = 1 AND",
        "FROM lanes",
        "FROM lines",
        "FROM held",
        "FROM event_types",
    ];
    for sql in store::statements() {
        if sql.contains("ORDER BY") && sorted.iter().any(|part| sql.contains(part)) {
            let steps = plan(&store::KIND, sql);
            let sorts = steps.iter().any(|step| step.contains("TEMP B-TREE"));
            assert!(!sorts, "{sql}\n{steps:?}");
        }
    }
}
