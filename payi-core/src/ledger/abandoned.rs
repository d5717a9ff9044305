//! Calls whose process died: found open, and settled as abandoned.
//!
//! Each process that has calls open holds a lease named after itself. Once that is over, whoever next
//! looks turns its open calls into facts. Should the process only have been asleep, the real ending
//! still comes, and corrects the fact (see `Claim::Corrects` in claim.rs).

use std::time::SystemTime;

use rusqlite::{Connection, Row, params};

use crate::{
    context::Context,
    events::{Event, Opening},
    ledger::{
        append::{Appender, Statements, last_seq},
        claim::Claim,
        follow, ids,
        limits::{bury, dead},
        rows::{self, Who, micros, time},
    },
    money::Money,
    pricing::{Cost, CostSource},
    usage::{Bucket, Usage},
};

/// Open calls of processes, but for `?1`, whose lease is over at `?2`.
fn orphans() -> String {
    format!("FROM open_calls o WHERE o.process <> ?1 AND NOT {}", follow::lasts("o.process", "?2"))
}

/// Settles what dead processes left open; how much that was. `process` is one's own name.
pub(crate) fn recover(conn: &Connection, appender: &mut Appender, process: &str) -> rusqlite::Result<u64> {
    let me = params![process, micros(SystemTime::now())];
    // A look without the write lock: mostly there is nothing to do.
    let any = format!("SELECT EXISTS(SELECT 1 {}) OR EXISTS(SELECT 1 {})", orphans(), dead("?2"));
    if !conn.query_row(&any, me, |row| row.get(0))? {
        return Ok(0);
    }
    appender.transaction(conn, |appender| settle(conn, appender, process))
}

fn settle(conn: &Connection, appender: &mut Appender, process: &str) -> rusqlite::Result<u64> {
    let me = params![process, micros(SystemTime::now())];
    let orphans: Vec<(Event, Who)> = conn
        .prepare(&format!(
            "SELECT id_hi, id_lo, call_hi, call_lo, attempt, at_us, user, account, purpose, route,
               cost, cost_source, input, output {}",
            orphans()
        ))?
        .query_map(me, orphan)?
        .collect::<Result<_, _>>()?;
    let mut statements = Statements::prepare(conn)?;
    appender.limits.begin(conn)?;
    let mut last = last_seq(conn)?;
    for (event, who) in &orphans {
        // Its event may have come just before the end: then it was not abandoned.
        if let Claim::New(seq) = statements.claims.claim(event, last + 1)? {
            rows::insert_fact(
                &mut statements.fact,
                event,
                (seq, event.id, None),
                0,
                who,
                rows::estimated(event),
            )?;
            appender.charge(&mut statements.counters, event, who, (seq, None))?;
            appender.follow_attempts(conn, event, (seq, None))?;
            last = seq;
        }
        let (hi, lo) = ids::halves(event.id);
        conn.execute("DELETE FROM open_calls WHERE id_hi = ?1 AND id_lo = ?2", [hi, lo])?;
    }
    appender.limits.finish(&mut statements.counters, process)?;
    bury(conn, micros(SystemTime::now()))?;
    Ok(orphans.len() as u64)
}

fn orphan(row: &Row<'_>) -> rusqlite::Result<(Event, Who)> {
    let who = Who { user: row.get(6)?, account: row.get(7)?, purpose: row.get(8)?, route: row.get(9)? };
    let mut event = Event::begun(&Opening {
        id: ids::join(row.get(0)?, row.get(1)?),
        call_id: ids::join(row.get(2)?, row.get(3)?),
        attempt: row.get(4)?,
        context: Context::default(),
        // Provider, operation and models are in the route.
        provider: "".into(),
        operation: "".into(),
        category: "".into(),
        request_model: None,
        started_at: time(row.get(5)?),
        estimate: None,
    });
    // What limits had reserved for it is charged: nobody knows whether it was less.
    if let Some(cost) = row.get::<_, Option<i64>>(10)? {
        let source = usize::try_from(row.get::<_, i64>(11)?).unwrap_or(0);
        let source = CostSource::ALL.get(source).copied().unwrap_or(CostSource::Unpriced);
        event.cost = Cost { amount: Money::from_pico(cost.into()), source };
        let count = |at: usize| row.get::<_, i64>(at).map(|n| n.max(0).cast_unsigned());
        event.usage = Usage::new().with(Bucket::Input, count(12)?).with(Bucket::Output, count(13)?);
        event.usage_estimated = true;
    }
    Ok((event, who))
}
