//! Calls whose process died: found open, and settled as abandoned.
//!
//! Each process that has calls open holds a lease named after itself. Once that is over, whoever next
//! looks turns its open calls into facts. Should the process only have been asleep, the real ending
//! still comes, and corrects the fact (see `Claim::Corrects` in append.rs).

use std::time::SystemTime;

use rusqlite::{Connection, Row, params};

use crate::{
    events::{Event, Outcome},
    ledger::{
        append::{Appender, Claim, Statements, claim, last_seq},
        ids,
        rows::{self, Who, micros, time},
    },
};

const ORPHANS: &str = "FROM open_calls o WHERE o.process <> ?1
   AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.name = o.process AND l.expires_us > ?2)";

/// Settles what dead processes left open; how much that was. `process` is one's own name.
pub(crate) fn recover(conn: &Connection, appender: &mut Appender, process: &str) -> rusqlite::Result<u64> {
    let me = params![process, micros(SystemTime::now())];
    // A look without the write lock: mostly there is nothing to do.
    if !conn.query_row(&format!("SELECT EXISTS(SELECT 1 {ORPHANS})"), me, |row| row.get(0))? {
        return Ok(0);
    }
    appender.transaction(conn, |appender| settle(conn, appender, process))
}

fn settle(conn: &Connection, appender: &mut Appender, process: &str) -> rusqlite::Result<u64> {
    let me = params![process, micros(SystemTime::now())];
    let orphans: Vec<(Event, Who)> = conn
        .prepare(&format!(
            "SELECT id_hi, id_lo, call_hi, call_lo, attempt, at_us, user, account, purpose, route {ORPHANS}"
        ))?
        .query_map(me, orphan)?
        .collect::<Result<_, _>>()?;
    let mut statements = Statements::prepare(conn)?;
    let mut last = last_seq(conn)?;
    for (event, who) in &orphans {
        // Its event may have come just before the end: then it was not abandoned.
        if let Claim::New(seq) = claim(&mut statements, event, last + 1)? {
            rows::insert_fact(&mut statements.fact, event, (seq, event.id, None), 0, who, 0)?;
            appender.follow_attempts(conn, event, seq)?;
            last = seq;
        }
        let (hi, lo) = ids::halves(event.id);
        conn.execute("DELETE FROM open_calls WHERE id_hi = ?1 AND id_lo = ?2", [hi, lo])?;
    }
    Ok(orphans.len() as u64)
}

fn orphan(row: &Row<'_>) -> rusqlite::Result<(Event, Who)> {
    let who = Who { user: row.get(6)?, account: row.get(7)?, purpose: row.get(8)?, route: row.get(9)? };
    let event = Event {
        call_id: ids::join(row.get(2)?, row.get(3)?),
        attempt: row.get(4)?,
        // Provider, operation and models are in the route.
        provider: "".into(),
        operation: "".into(),
        outcome: Outcome::Abandoned,
        ..Event::collected(ids::join(row.get(0)?, row.get(1)?), time(row.get(5)?), "")
    };
    Ok((event, who))
}
