//! Statements that are prepared once, and only if they are needed: preparing one takes longer than running it.

use rusqlite::{Connection, Statement};

/// A statement that is used many times, within one transaction mostly.
pub(crate) struct Held<'c> {
    conn: &'c Connection,
    sql: &'static str,
    statement: Option<Statement<'c>>,
}

impl<'c> Held<'c> {
    pub(crate) const fn new(conn: &'c Connection, sql: &'static str) -> Self {
        Self { conn, sql, statement: None }
    }

    /// The statement; its parameters are those of its last use.
    pub(crate) fn get(&mut self) -> rusqlite::Result<&mut Statement<'c>> {
        match &mut self.statement {
            Some(statement) => Ok(statement),
            none => Ok(none.insert(self.conn.prepare(self.sql)?)),
        }
    }
}
