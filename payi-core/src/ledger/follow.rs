//! What deliverers build on: events in commit order, a cursor each, and leases, so that several
//! processes on one file do not deliver twice.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::ledger::{ids, rows::micros, schema::writing};

/// The right to do, for a while, what only one process may do at a time.
///
/// It is known by its fencing number: writes made in its name are refused once somebody else holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// What it is for (`deliver:pay-i`).
    pub name: String,
    /// Who holds it.
    pub owner: String,
    /// Grows with every change of hands.
    pub fence: i64,
}

/// Takes or renews a lease; `None` while somebody else holds it.
pub(crate) fn lease(
    conn: &Connection,
    name: &str,
    owner: &str,
    ttl: Duration,
) -> rusqlite::Result<Option<Lease>> {
    let now = micros(SystemTime::now());
    let expires = now.saturating_add(i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX));
    // A clock that was set back leaves leases that seem to last for ever: none is longer than this.
    let absurd = expires.saturating_add(micros(SystemTime::UNIX_EPOCH + ttl.max(Duration::from_secs(600))));
    let fence = conn
        .query_row(
            "INSERT INTO leases(name, owner, fence, expires_us) VALUES(?1, ?2, 1, ?3)
             ON CONFLICT(name) DO UPDATE SET
               fence = fence + (owner <> excluded.owner OR expires_us <= ?4),
               owner = excluded.owner, expires_us = excluded.expires_us
             WHERE owner = excluded.owner OR expires_us <= ?4 OR expires_us > ?5
             RETURNING fence",
            params![name, owner, expires, now, absurd],
            |row| row.get(0),
        )
        .optional()?;
    Ok(fence.map(|fence| Lease { name: name.into(), owner: owner.into(), fence }))
}

/// SQL that says whether the lease of a process, which is named like it, lasts at the time of a parameter. One that
/// seems to last for longer than any such lease was written by a clock that was ahead.
pub(crate) fn lasts(process: &str, now: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM leases l
           WHERE l.name = {process} AND l.expires_us BETWEEN {now} + 1 AND {now} + 3600000000)"
    )
}

/// Gives a lease back before it expires.
pub(crate) fn release(conn: &Connection, lease: &Lease) -> rusqlite::Result<()> {
    conn.execute(
        "UPDATE leases SET expires_us = 0 WHERE name = ?1 AND owner = ?2 AND fence = ?3",
        params![lease.name, lease.owner, lease.fence],
    )
    .map(drop)
}

/// The number of the last event a deliverer has placed; 0 at first.
pub(crate) fn cursor(conn: &Connection, deliverer: &str) -> rusqlite::Result<i64> {
    let seq = conn
        .query_row("SELECT seq FROM cursors WHERE name = ?1", [deliverer], |row| row.get(0))
        .optional()?;
    Ok(seq.unwrap_or(0))
}

/// Moves a cursor forward; never back. `false` if the lease is no longer held: then nothing is written.
pub(crate) fn set_cursor(
    conn: &Connection,
    lease: &Lease,
    deliverer: &str,
    seq: i64,
) -> rusqlite::Result<bool> {
    let moved = conn.execute(
        "INSERT INTO cursors(name, seq, updated_us)
         SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM leases WHERE name = ?4 AND owner = ?5 AND fence = ?6)
         ON CONFLICT(name) DO UPDATE SET seq = max(seq, excluded.seq), updated_us = excluded.updated_us",
        params![deliverer, seq, micros(SystemTime::now()), lease.name, lease.owner, lease.fence],
    )?;
    Ok(moved == 1)
}

/// Makes a deliverer known, so that what it has yet to see is kept for it. New ones begin at the end of
/// the ledger, unless `from_start`.
pub(crate) fn register(conn: &Connection, deliverer: &str, from_start: bool) -> rusqlite::Result<()> {
    let start = if from_start { 0 } else { crate::ledger::append::last_seq(conn)? };
    conn.execute(
        "INSERT OR IGNORE INTO cursors(name, seq, updated_us) VALUES(?1, ?2, ?3)",
        params![deliverer, start, micros(SystemTime::now())],
    )
    .map(drop)
}

/// Claims providers' response ids for events; for each, `false` if another event has it.
pub(crate) fn claim_response_ids(conn: &Connection, claims: &[(&str, i64)]) -> rusqlite::Result<Vec<bool>> {
    let transaction = writing(conn)?;
    let mut claim = transaction.prepare("INSERT OR IGNORE INTO response_ids(hash, seq) VALUES(?1, ?2)")?;
    let mut owner = transaction.prepare("SELECT seq FROM response_ids WHERE hash = ?1")?;
    let mut own = Vec::with_capacity(claims.len());
    for (response_id, seq) in claims {
        let hash = ids::hash_text(response_id);
        claim.execute([hash, *seq])?;
        own.push(owner.query_row([hash], |row| row.get::<_, i64>(0))? == *seq);
    }
    drop((claim, owner));
    transaction.commit()?;
    Ok(own)
}

/// An event that a deliverer could not place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quarantined {
    /// The event's number.
    pub seq: i64,
    /// Why, by a short code; never a message that may hold personal detail.
    pub reason: String,
    /// When.
    pub at: SystemTime,
    /// How often it was tried.
    pub attempts: u32,
}

pub(crate) fn quarantine(conn: &Connection, deliverer: &str, seq: i64, reason: &str) -> rusqlite::Result<()> {
    conn.execute(
        "INSERT INTO quarantine(deliverer, seq, reason, at_us, attempts) VALUES(?1, ?2, ?3, ?4, 1)
         ON CONFLICT(deliverer, seq) DO UPDATE SET
           reason = excluded.reason, at_us = excluded.at_us, attempts = attempts + 1, retry = 0",
        params![deliverer, seq, reason, micros(SystemTime::now())],
    )
    .map(drop)
}

pub(crate) fn quarantined(
    conn: &Connection,
    deliverer: &str,
    limit: usize,
) -> rusqlite::Result<Vec<Quarantined>> {
    conn.prepare(
        "SELECT seq, reason, at_us, attempts FROM quarantine WHERE deliverer = ?1 ORDER BY seq LIMIT ?2",
    )?
    .query_map(params![deliverer, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        Ok(Quarantined {
            seq: row.get(0)?,
            reason: row.get(1)?,
            at: crate::ledger::rows::time(row.get(2)?),
            attempts: row.get(3)?,
        })
    })?
    .collect()
}

/// Asks for another try of all that a deliverer has set aside; how many that is.
pub(crate) fn retry_quarantined(conn: &Connection, deliverer: &str) -> rusqlite::Result<usize> {
    conn.execute("UPDATE quarantine SET retry = 1 WHERE deliverer = ?1", [deliverer])
}

/// The numbers of what another try was asked for.
pub(crate) fn to_retry(conn: &Connection, deliverer: &str, limit: usize) -> rusqlite::Result<Vec<i64>> {
    conn.prepare("SELECT seq FROM quarantine WHERE deliverer = ?1 AND retry = 1 ORDER BY seq LIMIT ?2")?
        .query_map(params![deliverer, i64::try_from(limit).unwrap_or(i64::MAX)], |row| row.get(0))?
        .collect()
}

/// Gives up all that a deliverer has set aside; how many that is.
pub(crate) fn drop_quarantined(conn: &Connection, deliverer: &str) -> rusqlite::Result<usize> {
    conn.execute("DELETE FROM quarantine WHERE deliverer = ?1", [deliverer])
}

pub(crate) fn release_quarantined(conn: &Connection, deliverer: &str, seq: i64) -> rusqlite::Result<bool> {
    conn.execute("DELETE FROM quarantine WHERE deliverer = ?1 AND seq = ?2", params![deliverer, seq])
        .map(|n| n == 1)
}

/// Events that are not in the ledger, by reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// Why, as [`LossReason::name`](crate::sink::LossReason::name) has it.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// When the last of them was counted.
    pub last: SystemTime,
}

pub(crate) fn losses(conn: &Connection) -> rusqlite::Result<Vec<Loss>> {
    conn.prepare("SELECT reason, count, last_us FROM losses ORDER BY reason")?
        .query_map([], |row| {
            let count: i64 = row.get(1)?;
            let last = crate::ledger::rows::time(row.get(2)?);
            Ok(Loss { reason: row.get(0)?, count: count.max(0).cast_unsigned(), last })
        })?
        .collect()
}
