//! What a collector is told besides events: prices of one's own, use cases and the like, as small documents by
//! kind and key.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use crate::{
    error::Result,
    ledger::{Ledger, rows::micros},
};

/// Made on first use: ledgers that never collect have no need of it.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS catalogue(
  kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, updated_us INTEGER NOT NULL,
  PRIMARY KEY(kind, key)) WITHOUT ROWID";

impl Ledger {
    /// The document of a kind by its key, as it was put.
    pub fn document(&self, kind: &str, key: &str) -> Result<Option<String>> {
        self.with(|conn| if exists(conn)? { find(conn, kind, key) } else { Ok(None) })
    }

    /// The documents of a kind in the order of their keys, with their keys: after `after`, at most `most`.
    pub fn documents(&self, kind: &str, after: &str, most: usize) -> Result<Vec<(String, String)>> {
        self.with(|conn| {
            if !exists(conn)? {
                return Ok(Vec::new());
            }
            conn.prepare(
                "SELECT key, body FROM catalogue WHERE kind = ?1 AND key > ?2 ORDER BY key LIMIT ?3",
            )?
            .query_map(params![kind, after, i64::try_from(most).unwrap_or(i64::MAX)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect()
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
            let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
            transaction.execute_batch(TABLE)?;
            let (put, answer) = change(find(&transaction, kind, key)?);
            if let Some(body) = put {
                write(&transaction, kind, key, &body)?;
            }
            transaction.commit()?;
            Ok(answer)
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
