//! Is everything as it should be?

use rusqlite::Connection;

use crate::ledger::{
    dict::meta,
    fold::{
        Cube,
        chain::{self, ChainKey},
    },
    manage::prune::TEXTS,
    read::scan::Reader,
};

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// Facts examined.
    pub facts: u64,
    /// Runs of facts whose digests were compared.
    pub runs: u64,
    /// Facts that no run covers yet: they came after the last fold.
    pub unchained: u64,
    /// Whether facts have been pruned: then rollups cannot be compared to them.
    pub pruned: bool,
    /// What is wrong; empty if nothing is.
    pub problems: Vec<String>,
}

pub(super) fn check(conn: &Connection) -> rusqlite::Result<Checked> {
    let mut checked = Checked::default();
    let mut statement = conn.prepare("PRAGMA integrity_check(20)")?;
    let found = statement.query_map([], |row| row.get::<_, String>(0))?;
    for line in found {
        let line = line?;
        if line != "ok" {
            checked.problems.push(format!("SQLite: {line}"));
        }
    }
    drop(statement);
    let reading = conn.unchecked_transaction()?;
    compare(conn, &mut checked)?;
    reading.finish()?;
    Ok(checked)
}

fn compare(conn: &Connection, checked: &mut Checked) -> rusqlite::Result<()> {
    let count =
        |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map(|n| n.max(0).cast_unsigned());
    checked.facts = count("SELECT count(*) FROM facts")?;
    checked.pruned = meta(conn, "pruned_before_us")? > 0;
    let folded = meta(conn, "folded")?;
    checked.unchained = conn
        .query_row("SELECT count(*) FROM facts WHERE seq > ?1", [folded], |row| row.get::<_, i64>(0))?
        .max(0)
        .cast_unsigned();
    let known = count("SELECT count(*) FROM event_ids")?;
    if known != checked.facts {
        checked.problems.push(format!("{} facts, but {known} event ids", checked.facts));
    }
    for table in TEXTS {
        let lost = count(&format!("SELECT count(*) FROM {table} WHERE seq NOT IN (SELECT seq FROM facts)"))?;
        if lost > 0 {
            checked.problems.push(format!("{lost} rows of {table} whose facts are not there"));
        }
    }
    let reader = Reader::new(conn)?;
    let [first, others @ ..] = Cube::DAILY;
    let total = reader.total(first)?;
    for cube in others {
        if reader.total(cube)? != total {
            checked.problems.push("the rollups differ from one another".into());
            break;
        }
    }
    if !checked.pruned && total != reader.total_of_facts()? {
        checked.problems.push("the rollups differ from the facts".into());
    }
    match chain::verify(conn, ChainKey::of_environment().as_ref())? {
        Ok(runs) => checked.runs = runs,
        Err(run) => checked.problems.push(format!(
            "the chain of digests breaks at run {run}: a fact was changed, or PAYI_LEDGER_KEY is not the key it was kept with"
        )),
    }
    Ok(())
}
