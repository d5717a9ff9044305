//! Limits as rows: making, changing, resetting and removing them.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{
    ledger::{append::last_seq, dict::meta, fold::set_meta, follow, limits::standings, schema::writing},
    limits::{Definition, Definitions, History, Limit, LimitState, Tally, comparable},
};

/// For the limits' version in `meta`.
const VERSION: &str = "limits_version";

/// Grows with every change of a limit.
pub(crate) fn version(conn: &Connection) -> rusqlite::Result<u64> {
    meta(conn, VERSION).map(i64::cast_unsigned)
}

/// To be called by whoever changes a limit, in the same transaction.
fn changed(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute("INSERT INTO meta VALUES(?1, 1) ON CONFLICT DO UPDATE SET value = value + 1", [VERSION])
        .map(drop)
}

const COLUMNS: &str = "number, body, created_us, updated_us, epoch_us";

fn definition(row: &Row<'_>) -> rusqlite::Result<(i64, Definition)> {
    let body: String = row.get(1)?;
    let limit: Limit = serde_json::from_str(&body)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, e.into()))?;
    let definition = Definition {
        limit: Arc::new(limit),
        created_us: row.get(2)?,
        updated_us: row.get(3)?,
        epoch_us: row.get(4)?,
    };
    Ok((row.get(0)?, definition))
}

/// All limits with their numbers, in the order of their ids.
pub(crate) fn all(conn: &Connection) -> rusqlite::Result<Vec<(i64, Definition)>> {
    conn.prepare(&format!("SELECT {COLUMNS} FROM limits ORDER BY id"))?.query_map([], definition)?.collect()
}

pub(crate) fn definitions(conn: &Connection, known: u64) -> rusqlite::Result<Option<Definitions>> {
    let version = version(conn)?;
    if version == known {
        return Ok(None);
    }
    let limits = all(conn)?.into_iter().map(|(_, definition)| definition).collect();
    Ok(Some(Definitions { version, limits }))
}

/// One limit with its number.
pub(crate) fn find(conn: &Connection, id: &str) -> rusqlite::Result<Option<(i64, Definition)>> {
    conn.prepare(&format!("SELECT {COLUMNS} FROM limits WHERE id = ?1"))?
        .query_row([id], definition)
        .optional()
}

/// Puts a limit in place of the one of its id, `old`; if there is none, it counts from `since_us` on.
pub(crate) fn put(
    conn: &Connection,
    old: Option<(i64, Definition)>,
    limit: Limit,
    (at_us, since_us): (i64, i64),
) -> rusqlite::Result<Definition> {
    if let Some((_, same)) = old.as_ref().filter(|(_, old)| *old.limit == limit) {
        return Ok(same.clone());
    }
    let body = serde_json::to_string(&limit).unwrap_or_default();
    changed(conn)?;
    let Some((number, old)) = old else {
        conn.execute(
            "INSERT INTO limits(id, body, created_us, updated_us, epoch_us) VALUES(?1, ?2, ?3, ?3, ?4)",
            params![limit.id, body, at_us, since_us],
        )?;
        begin(conn, conn.last_insert_rowid())?;
        return Ok(Definition {
            limit: Arc::new(limit),
            created_us: at_us,
            updated_us: at_us,
            epoch_us: since_us,
        });
    };
    let same = comparable(&old.limit, &limit);
    if !same {
        clear(conn, number)?;
        conn.execute("DELETE FROM holdings WHERE limit_no = ?1", [number])?;
    }
    let (created_us, epoch_us) = if same { (old.created_us, old.epoch_us) } else { (at_us, at_us) };
    conn.execute(
        "UPDATE limits SET body = ?2, updated_us = ?3, epoch_us = ?4, created_us = ?5 WHERE number = ?1",
        params![number, body, at_us, epoch_us, created_us],
    )?;
    Ok(Definition { limit: Arc::new(limit), created_us, updated_us: at_us, epoch_us })
}

/// Forgets what was spent.
fn clear(conn: &Connection, number: i64) -> rusqlite::Result<()> {
    for table in ["counters", "tallies"] {
        conn.execute(&format!("DELETE FROM {table} WHERE limit_no = ?1"), [number])?;
    }
    begin(conn, number)
}

/// For the fact in `meta` after which a limit's counters begin.
fn beginning(number: i64) -> String {
    format!("limit_since.{number}")
}

/// From here on facts are in the limit's counters.
fn begin(conn: &Connection, number: i64) -> rusqlite::Result<()> {
    set_meta(conn, &beginning(number), last_seq(conn)?)
}

/// The last fact that is not in a limit's counters because they began after it.
pub(crate) fn begun(conn: &Connection, number: i64) -> rusqlite::Result<i64> {
    meta(conn, &beginning(number))
}

pub(crate) fn remove(conn: &Connection, id: &str) -> rusqlite::Result<bool> {
    let Some((number, _)) = find(conn, id)? else { return Ok(false) };
    changed(conn)?;
    clear(conn, number)?;
    for table in ["holdings", "recalls"] {
        conn.execute(&format!("DELETE FROM {table} WHERE limit_no = ?1"), [number])?;
    }
    conn.execute("DELETE FROM meta WHERE key = ?1", [beginning(number)])?;
    conn.execute("DELETE FROM limits WHERE number = ?1", [number])?;
    Ok(true)
}

pub(crate) fn reset(conn: &Connection, id: &str, at_us: i64) -> rusqlite::Result<Option<History>> {
    let Some((number, old)) = find(conn, id)? else { return Ok(None) };
    let limit = Limit::clone(&old.limit);
    let mut history = History { limit, reset_us: at_us, settled: 0, overrun: 0, tally: tally(conn, number)? };
    (history.settled, history.overrun) = standings::totals(conn, number, &old.limit, at_us)?;
    conn.execute(
        "INSERT OR REPLACE INTO limit_history VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            id,
            at_us,
            serde_json::to_string(&history.limit).unwrap_or_default(),
            history.settled.to_string(),
            history.overrun.to_string(),
            serde_json::to_string(&history.tally).unwrap_or_default()
        ],
    )?;
    changed(conn)?;
    clear(conn, number)?;
    conn.execute("UPDATE limits SET epoch_us = ?2, updated_us = ?2 WHERE number = ?1", [number, at_us])?;
    Ok(Some(history))
}

/// What the limit had come to at each of its resets, newest first.
pub(crate) fn history(conn: &Connection, id: &str) -> rusqlite::Result<Vec<History>> {
    conn.prepare(
        "SELECT body, reset_us, settled, overrun, tally FROM limit_history WHERE id = ?1 ORDER BY reset_us DESC",
    )?
    .query_map([id], |row| {
        let text = |at: usize| row.get::<_, String>(at);
        let (Ok(limit), tally) = (serde_json::from_str(&text(0)?), serde_json::from_str(&text(4)?)) else {
            return Ok(None);
        };
        let number = |at: usize| text(at).map(|n| n.parse().unwrap_or(0));
        Ok(Some(History {
            limit,
            reset_us: row.get(1)?,
            settled: number(2)?,
            overrun: number(3)?,
            tally: tally.unwrap_or_default(),
        }))
    })?
    .filter_map(Result::transpose)
    .collect()
}

pub(crate) fn count(conn: &Connection, number: i64, tally: &Tally) -> rusqlite::Result<()> {
    for (state, calls) in LimitState::ALL.into_iter().enumerate().map(|(i, state)| (i, tally.of(state))) {
        if calls > 0 {
            conn.prepare(
                "INSERT INTO tallies VALUES(?1, ?2, ?3) ON CONFLICT DO UPDATE SET calls = calls + excluded.calls",
            )?
            .execute(params![number, i64::try_from(state).unwrap_or(0), i64::try_from(calls).unwrap_or(i64::MAX)])?;
        }
    }
    Ok(())
}

pub(crate) fn tally(conn: &Connection, number: i64) -> rusqlite::Result<Tally> {
    let mut tally = Tally::default();
    let mut rows = conn.prepare("SELECT state, calls FROM tallies WHERE limit_no = ?1")?;
    for row in rows.query_map([number], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))? {
        let (state, calls) = row?;
        if let Some(state) = usize::try_from(state).ok().and_then(|state| LimitState::ALL.get(state)) {
            tally.add(*state, calls.max(0).cast_unsigned());
        }
    }
    Ok(tally)
}

/// The number of a process that holds something.
pub(crate) fn holder(conn: &Connection, process: &str) -> rusqlite::Result<Option<i64>> {
    conn.prepare("SELECT number FROM holders WHERE name = ?1")?
        .query_row([process], |row| row.get(0))
        .optional()
}

/// The number of a process, which holds nothing if it is a new one; `true` then.
pub(crate) fn holder_or_new(conn: &Connection, process: &str) -> rusqlite::Result<(i64, bool)> {
    if let Some(number) = holder(conn, process)? {
        return Ok((number, false));
    }
    conn.execute("INSERT INTO holders(name) VALUES(?1)", [process])?;
    Ok((conn.last_insert_rowid(), true))
}

/// Frees what dead processes hold; their attempts under way have been charged before.
pub(crate) fn bury(conn: &Connection, now_us: i64) -> rusqlite::Result<()> {
    let dead: Vec<i64> = conn
        .prepare(&format!("SELECT h.number {}", dead("?1")))?
        .query_map([now_us], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for number in dead {
        conn.execute("DELETE FROM holdings WHERE process = ?1", [number])?;
        conn.execute("DELETE FROM holders WHERE number = ?1", [number])?;
    }
    Ok(())
}

/// Holders whose lease is over at the time of a parameter.
pub(crate) fn dead(now: &str) -> String {
    format!("FROM holders h WHERE NOT {}", follow::lasts("h.name", now))
}

/// Forgets slots that have not counted for a day, some at a time; `false` once none is left.
pub(crate) fn forget(conn: &Connection, now_us: i64) -> rusqlite::Result<bool> {
    const SOME: usize = 500;
    let mut stale: Vec<(i64, i64, i64, i64)> = Vec::new();
    for (number, definition) in all(conn)? {
        let Some(oldest) = definition.limit.window.kept_from(now_us) else { continue };
        let found = format!("SELECT a, b, slot FROM counters WHERE limit_no = ?1 AND slot < ?2 LIMIT {SOME}");
        let mut found = conn.prepare(&found)?;
        for slot in found.query_map([number, oldest], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))? {
            let (a, b, slot) = slot?;
            stale.push((number, a, b, slot));
        }
    }
    if stale.is_empty() {
        return Ok(false);
    }
    let transaction = writing(conn)?;
    let mut delete = transaction
        .prepare("DELETE FROM counters WHERE limit_no = ?1 AND a = ?2 AND b = ?3 AND slot = ?4")?;
    for slot in &stale {
        delete.execute(*slot)?;
    }
    drop(delete);
    transaction.commit()?;
    Ok(stale.len() >= SOME)
}
