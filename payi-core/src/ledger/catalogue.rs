//! What a collector is told besides events: prices of one's own, use cases and the like, as small documents by
//! kind and key.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension as _, params, types::Value};

use crate::{
    error::Result,
    ledger::{Ledger, rows::micros, schema::writing},
};

/// Made on first use: ledgers that never collect have no need of it.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS catalogue(
  kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, updated_us INTEGER NOT NULL,
  PRIMARY KEY(kind, key)) WITHOUT ROWID";

/// Which documents of a kind; by default all, in the order of their keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct Documents<'a> {
    /// Those whose keys begin with this, and go on.
    pub below: &'a str,
    /// Those after this key, in the order that is asked for.
    pub after: Option<&'a str>,
    /// The last key first.
    pub falls: bool,
    /// At most so many.
    pub most: Option<usize>,
}

/// What all keys that begin with `below` come before: the same with its last character raised. A blob comes after
/// every text.
fn end(below: &str) -> Value {
    let mut chars = below.chars();
    let next =
        chars.next_back().and_then(|last| (u32::from(last) + 1..=0x0010_ffff).find_map(char::from_u32));
    next.map_or(Value::Blob(Vec::new()), |next| Value::Text(format!("{}{next}", chars.as_str())))
}

fn min(a: Value, b: Value) -> Value {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => Value::Text(a.min(b)),
        (Value::Text(text), _) | (_, Value::Text(text)) => Value::Text(text),
        (none, _) => none,
    }
}

impl Ledger {
    /// The document of a kind by its key, as it was put.
    pub fn document(&self, kind: &str, key: &str) -> Result<Option<String>> {
        self.with(|conn| if exists(conn)? { find(conn, kind, key) } else { Ok(None) })
    }

    /// Documents of a kind with their keys, in the order of these. Nothing else is read.
    pub fn documents(&self, kind: &str, which: &Documents<'_>) -> Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        self.each_document(kind, which, |key, body| found.push((key.to_owned(), body.to_owned())))?;
        Ok(found)
    }

    /// Shows `see` the key and the body of each of them, one after the other, and keeps none.
    pub fn each_document(
        &self,
        kind: &str,
        which: &Documents<'_>,
        mut see: impl FnMut(&str, &str),
    ) -> Result<()> {
        let Documents { below, after, falls, most } = *which;
        let (mut low, mut high) = (below, end(below));
        match after {
            Some(after) if falls => high = min(high, Value::Text(after.into())),
            Some(after) => low = low.max(after),
            None => {}
        }
        let order = if falls { "DESC" } else { "ASC" };
        let most = most.and_then(|most| i64::try_from(most).ok()).unwrap_or(-1);
        self.with(|conn| {
            if !exists(conn)? {
                return Ok(());
            }
            let mut statement = conn.prepare(&format!(
                "SELECT key, body FROM catalogue WHERE kind = ?1 AND key > ?2 AND key < ?3
                 ORDER BY key {order} LIMIT ?4"
            ))?;
            let mut rows = statement.query(params![kind, low, high, most])?;
            while let Some(row) = rows.next()? {
                see(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
            }
            Ok(())
        })
    }

    /// Puts a document, in place of one that was there.
    pub fn put_document(&self, kind: &str, key: &str, body: &str) -> Result<()> {
        self.with(|conn| {
            conn.execute_batch(TABLE)?;
            write(conn, kind, key, body)
        })
    }

    /// Makes of a document what `change` says: its second answer is returned, and its first one, if there is any, put.
    /// Nobody else writes meanwhile.
    pub fn change_document<T>(
        &self,
        kind: &str,
        key: &str,
        change: impl FnOnce(Option<String>) -> (Option<String>, T),
    ) -> Result<T> {
        self.with(|conn| {
            let transaction = writing(conn)?;
            transaction.execute_batch(TABLE)?;
            let (put, answer) = change(find(&transaction, kind, key)?);
            if let Some(body) = put {
                write(&transaction, kind, key, &body)?;
            }
            transaction.commit()?;
            Ok(answer)
        })
    }

    /// Takes away all documents of a kind whose keys begin with `below`, and go on.
    pub fn remove_documents(&self, kind: &str, below: &str) -> Result<()> {
        self.with(|conn| {
            if !exists(conn)? {
                return Ok(());
            }
            conn.execute(
                "DELETE FROM catalogue WHERE kind = ?1 AND key > ?2 AND key < ?3",
                params![kind, below, end(below)],
            )
            .map(drop)
        })
    }

    /// Takes a document away; whether it was there.
    pub fn remove_document(&self, kind: &str, key: &str) -> Result<bool> {
        self.with(|conn| {
            if !exists(conn)? {
                return Ok(false);
            }
            conn.execute("DELETE FROM catalogue WHERE kind = ?1 AND key = ?2", [kind, key]).map(|n| n == 1)
        })
    }
}

fn find(conn: &Connection, kind: &str, key: &str) -> rusqlite::Result<Option<String>> {
    conn.query_row("SELECT body FROM catalogue WHERE kind = ?1 AND key = ?2", [kind, key], |row| row.get(0))
        .optional()
}

fn write(conn: &Connection, kind: &str, key: &str, body: &str) -> rusqlite::Result<()> {
    conn.execute(
        "INSERT INTO catalogue(kind, key, body, updated_us) VALUES(?1, ?2, ?3, ?4)
         ON CONFLICT(kind, key) DO UPDATE SET body = excluded.body, updated_us = excluded.updated_us",
        params![kind, key, body, micros(SystemTime::now())],
    )
    .map(drop)
}

fn exists(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'catalogue'", [], |row| {
        row.get::<_, i64>(0).map(|n| n > 0)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_below_a_name_in_either_order_and_no_further() {
        let ledger = Ledger::in_memory().unwrap();
        let keys = ["a", "a|1", "a|2", "a|3", "a\u{10ffff}", "a}", "b|1"];
        for key in keys {
            ledger.put_document("k", key, "x").unwrap();
        }
        ledger.put_document("l", "a|9", "x").unwrap();
        let read = |which: Documents<'_>| -> Vec<String> {
            ledger.documents("k", &which).unwrap().into_iter().map(|(key, _)| key).collect()
        };
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        assert_eq!(read(Documents::default()), sorted);
        let below = Documents { below: "a|", ..Documents::default() };
        assert_eq!(read(below), ["a|1", "a|2", "a|3"]);
        assert_eq!(read(Documents { falls: true, most: Some(2), ..below }), ["a|3", "a|2"]);
        assert_eq!(read(Documents { after: Some("a|1"), ..below }), ["a|2", "a|3"]);
        assert_eq!(read(Documents { after: Some("a|2"), falls: true, ..below }), ["a|1"]);
        let outside = Documents { after: Some("a"), ..below };
        assert_eq!(read(outside).len(), 3, "a cursor from elsewhere leads nowhere else");
        assert_eq!(read(Documents { after: Some("z"), falls: true, ..below }).len(), 3);
        let last = Documents { below: "a\u{10ffff}", ..Documents::default() };
        assert!(!read(last).contains(&"a}".to_owned()));
        ledger.remove_documents("k", "a|").unwrap();
        assert_eq!(read(Documents::default()).len(), 4);
        let plan: String = ledger
            .with(|conn| {
                conn.query_row(
                    "EXPLAIN QUERY PLAN SELECT key, body FROM catalogue WHERE kind = 'k' AND key > 'a' AND key < 'b'
                     ORDER BY key DESC LIMIT 2",
                    [],
                    |row| row.get(3),
                )
            })
            .unwrap();
        assert!(plan.contains("kind=? AND key>? AND key<?") && !plan.contains("SCAN"), "{plan}");
    }
}
