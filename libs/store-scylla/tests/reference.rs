//! `docs/reference/cql.md`: every table and every statement, as the sources have them.
//!
//! `POSTRIDER_BLESS=1 cargo test -p postrider-store-scylla --test reference` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const INTRODUCTION: &str = "\
# Tables and statements of the cluster's store

Generated from `libs/store-scylla/src`; `POSTRIDER_BLESS=1 cargo test -p postrider-store-scylla --test reference` writes it anew.

Tested on Apache Cassandra 5.0.9. ScyllaDB is given the same text and was not run in these tests.
[Operations](../operations/store.md) says how to set it up and what to do when it fails.

Statements name their table in full (`keyspace.table`) and run at `scylla.consistency` (LOCAL_QUORUM unless set) within `scylla.timeout`; a change of the
schema may take 60 s. All but those of `migrate` and of the checks at a start are prepared. A *read* or *write* may be repeated at any time: rows are
immutable, or the same write gives the same row. A *compare-and-set* is a light-weight transaction, at LOCAL_SERIAL (SERIAL with `quorum`), and the driver
never repeats it; *with it* is a write in one batch with a compare-and-set of its partition. Other rows of one partition go in unlogged batches of at most
50 rows and 32 KiB (one row may be larger).

";

/// Made before the steps are; its statements are plain constants.
const MIGRATIONS: &str = "Which steps of the schema were applied, and by whom the lock is held (version 0, for 60 s without a renewal). Written by `postrider migrate` alone; read at each start.";

/// What a statement of ours begins with. TRUNCATE is for tests.
const VERBS: [&str; 6] =
    ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE ", "CREATE TABLE ", "CREATE KEYSPACE "];

fn source(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names in a directory of the sources that end so, sorted.
fn names(dir: &str, suffix: &str) -> Vec<String> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(dir))
        .expect("the sources are here");
    let mut names: Vec<String> = entries
        .map(|entry| {
            format!("{dir}/{}", entry.expect("readable").file_name().to_str().expect("UTF-8"))
        })
        .filter(|name| name.ends_with(suffix))
        .collect();
    names.sort();
    names
}

/// Every literal of a source text, but those of its tests, that is a statement; on one line each.
fn statements(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code: Vec<&str> =
        code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    // Every second piece is a literal: no source of this crate has an escaped quote.
    code.split('"')
        .skip(1)
        .step_by(2)
        .map(|literal| literal.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| VERBS.iter().any(|verb| line.starts_with(verb)))
        .collect()
}

/// The literal after each place where a source text calls something.
fn arguments(text: &str, call: &str) -> Vec<String> {
    text.split(call).skip(1).filter_map(|rest| rest.split('"').nth(1)).map(str::to_owned).collect()
}

/// The table that a statement is about.
fn table(statement: &str) -> &str {
    let mut words = statement.split_whitespace();
    let before = if statement.starts_with("UPDATE") {
        "UPDATE"
    } else if statement.starts_with("CREATE") {
        "EXISTS"
    } else if statement.starts_with("INSERT") {
        "INTO"
    } else {
        "FROM"
    };
    words.by_ref().find(|word| *word == before);
    words.next().unwrap_or_else(|| panic!("no table: {statement}"))
}

fn effect(statement: &str) -> &'static str {
    if statement.starts_with("CREATE") {
        "schema"
    } else if statement.starts_with("SELECT") {
        "read"
    } else if statement.contains(" IF ") {
        "compare-and-set"
    } else if table(statement) == "config" {
        "with it"
    } else {
        "write"
    }
}

/// All statements of the crate, by table.
fn statements_by_table() -> BTreeMap<String, BTreeSet<String>> {
    let mut files = names("store", ".rs");
    files.extend(["schema.rs", "schema/lock.rs", "connect.rs"].map(str::to_owned));
    let texts: Vec<String> = files.iter().map(|file| source(file)).collect();
    let registries: Vec<String> =
        texts.iter().flat_map(|text| arguments(text, "Registry::prepare(cql,")).collect();
    assert!(!registries.is_empty(), "the registries of buckets are not found any more");
    let mut by_table: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for statement in texts.iter().flat_map(|text| statements(text)) {
        let named = if statement.contains("{table}") {
            registries.iter().map(|table| statement.replace("{table}", table)).collect()
        } else {
            vec![statement]
        };
        for statement in
            named.into_iter().filter(|statement| *statement != "CREATE TABLE IF NOT EXISTS")
        {
            by_table.entry(table(&statement).to_owned()).or_default().insert(statement);
        }
    }
    by_table
}

/// A comment: what a row is, then an item for each line or sentence that begins with what it is about.
fn prose(comment: &[&str]) -> String {
    const ABOUT: [&str; 5] = ["Written ", "Read: ", "Partition: ", "Expiry: ", "kind "];
    let mut text = comment.join("\n");
    for about in ABOUT {
        text = text.replace(&format!(". {about}"), &format!(".\n{about}"));
    }
    let mut prose = String::new();
    for line in text.lines() {
        if ABOUT.iter().any(|about| line.starts_with(about)) {
            prose += if prose.contains("\n- ") { "\n- " } else { "\n\n- " };
        } else if !prose.is_empty() {
            prose.push(' ');
        }
        prose += line;
    }
    prose
}

fn statement_list(statements: &BTreeSet<String>) -> String {
    let mut list = String::new();
    for wanted in ["schema", "write", "compare-and-set", "with it", "read"] {
        for statement in statements.iter().filter(|statement| effect(statement) == wanted) {
            list += &format!("- {wanted}: `{statement}`\n");
        }
    }
    list
}

/// A file of the schema: its own comment, and each table with what uses it.
fn file(text: &str, used: &mut BTreeMap<String, BTreeSet<String>>) -> String {
    let mut page = String::new();
    for part in text.split("\n\n") {
        let (comment, made): (Vec<&str>, Vec<&str>) =
            part.lines().partition(|line| line.starts_with("--"));
        let comment: Vec<&str> =
            comment.into_iter().map(|line| line.trim_start_matches("--").trim()).collect();
        let comment: Vec<&str> = comment.into_iter().filter(|line| !line.is_empty()).collect();
        let made = made.join("\n");
        if made.trim().is_empty() {
            page += &format!("{}\n\n", comment.join(" "));
            continue;
        }
        let name = table(&made).to_owned();
        let statements = used
            .remove(&name)
            .unwrap_or_else(|| panic!("no statement uses the table {name}: is it needed?"));
        page += &format!(
            "## {name}\n\n{}\n\n```sql\n{}\n```\n\n{}\n",
            prose(&comment),
            made.trim_end(),
            statement_list(&statements)
        );
    }
    page
}

fn reference() -> String {
    let mut used = statements_by_table();
    let mut page = INTRODUCTION.to_owned();
    for name in names("schema", ".cql") {
        page += &file(&source(&name), &mut used);
    }
    let mut migrations = used.remove("schema_migrations").expect("the table of steps");
    let made = migrations.iter().find(|text| text.starts_with("CREATE")).expect("is made").clone();
    migrations.remove(&made);
    page += &format!(
        "## schema_migrations\n\n{MIGRATIONS}\n\n```sql\n{};\n```\n\n{}\n",
        made.replace(" ( part", " (\n  part")
            .replace(", PRIMARY", ",\n  PRIMARY")
            .replace(") WITH", "\n) WITH"),
        statement_list(&migrations)
    );
    page += "## Outside the keyspace\n\nThe keyspace itself, made by `postrider migrate` when it is missing (`{}` is `scylla.replication_factor`), and the databases' own tables.\n\n";
    for (name, statements) in used {
        assert!(
            name.starts_with("system") || name == "{keyspace}",
            "no file of the schema makes the table {name}"
        );
        page += &statement_list(&statements).replace("{{", "{").replace("}}", "}");
    }
    page
}

#[test]
fn the_reference_is_what_the_sources_have() {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cql.md");
    let now = reference();
    if std::env::var_os("POSTRIDER_BLESS").is_some() {
        fs::write(&path, now).expect("the page can be written");
        return;
    }
    let before = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(now, before, "the CQL changed; POSTRIDER_BLESS=1 writes docs/reference/cql.md anew");
}

#[test]
fn no_statement_is_what_the_delivery_path_may_not_have() {
    for (table, statements) in statements_by_table() {
        for statement in statements {
            for word in ["ALLOW FILTERING", "SELECT *", " IN (", "USING TIMESTAMP", "COUNTER"] {
                assert!(!statement.contains(word), "{word}: {statement}");
            }
            // Configuration, lanes with nothing to remember, the register of jobs, and the lock of a migration: all off the delivery path.
            if statement.starts_with("DELETE") {
                assert!(
                    ["config", "lanes", "open_jobs", "schema_migrations"].contains(&table.as_str()),
                    "{statement}"
                );
            }
            if effect(&statement) == "compare-and-set" {
                let decided =
                    ["config", "dead_letter_redrives", "installation", "jobs", "schema_migrations"];
                assert!(decided.contains(&table.as_str()), "{statement}");
            }
        }
    }
}
