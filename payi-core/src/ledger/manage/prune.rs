//! Letting go of old facts.

use std::time::SystemTime;

use rusqlite::{Connection, params};

use crate::ledger::{
    answers,
    append::last_seq,
    dict::meta,
    fold::{self, DAY_US, QUARTER_US, chain::ChainKey, set_meta},
    ids,
    rows::{micros, time},
};

/// What a pruning did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// The UTC midnight before which nothing is left, unless it was kept.
    pub before: SystemTime,
    /// Facts deleted.
    pub facts: u64,
    /// Facts kept because a deliverer has not seen them yet.
    pub kept: u64,
}

/// Tables of what belongs to one fact, besides its row.
pub(super) const TEXTS: [&str; 4] = ["details", "exchanges", "extras", "prompts"];

/// Facts of one transaction: others write in between.
const PIECE: i64 = 2_000;

pub(super) fn prune(conn: &Connection, before: SystemTime) -> rusqlite::Result<Pruned> {
    // Never beyond today: what comes in now is not to be refused.
    let horizon = micros(before).min(micros(SystemTime::now())).div_euclid(DAY_US) * DAY_US;
    // Totals must outlive the facts.
    fold::finish(conn, ChainKey::of_environment().as_ref())?;
    let folded = meta(conn, "folded")?;
    let seen: i64 =
        conn.query_row("SELECT coalesce(min(seq), ?1) FROM cursors", [i64::MAX], |row| row.get(0))?;
    let last = folded.min(seen);
    // First of all: from now on an older event is refused, because it could not be told from a duplicate.
    set_meta(conn, "pruned_before_us", horizon.max(meta(conn, "pruned_before_us")?))?;
    set_meta(conn, "pruned_seq", last_seq(conn)?)?;
    let mut facts = 0;
    let runs: Vec<(i64, i64)> = conn
        .prepare("SELECT first_seq, min(last_seq, ?2) FROM batches WHERE min_us < ?1 AND first_seq <= ?2")?
        .query_map([horizon, last], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (first, last) in runs {
        let mut from = first;
        while from <= last {
            let to = last.min(from + PIECE - 1);
            facts += piece(conn, horizon, from, to)?;
            from = to + 1;
        }
    }
    answers::prune(conn)?;
    let kept: i64 =
        conn.query_row("SELECT count(*) FROM facts WHERE at_us < ?1", [horizon], |row| row.get(0))?;
    Ok(Pruned { before: time(horizon), facts, kept: kept.max(0).cast_unsigned() })
}

/// Leaves only the newest `most` facts, for a ledger that has nothing but memory: totals stay. How many facts that
/// deliverers had not seen are gone with the others.
pub(crate) fn trim(conn: &Connection, most: i64) -> rusqlite::Result<u64> {
    let last = last_seq(conn)?;
    let first: i64 = conn.query_row("SELECT coalesce(min(seq), 0) FROM facts", [], |row| row.get(0))?;
    if first == 0 || last - first < most {
        return Ok(0);
    }
    fold::finish(conn, ChainKey::of_environment().as_ref())?;
    set_meta(conn, "pruned_seq", last)?;
    let to = (last - most / 2).min(meta(conn, "folded")?);
    let seen: i64 = conn.query_row("SELECT coalesce(min(seq), ?1) FROM cursors", [to], |row| row.get(0))?;
    // First of all: reports must not look for facts of quarters that have lost some.
    let newest: Option<i64> =
        conn.query_row("SELECT max(at_us) FROM facts WHERE seq <= ?1", [to], |row| row.get(0))?;
    let before = newest.map_or(0, |at| (at.div_euclid(QUARTER_US) + 1) * QUARTER_US);
    set_meta(conn, "trimmed_before_us", before.max(meta(conn, "trimmed_before_us")?))?;
    let mut from = first;
    while from <= to {
        piece(conn, i64::MAX, from, to.min(from + PIECE - 1))?;
        from += PIECE;
    }
    answers::prune(conn)?;
    Ok((to - seen.max(first - 1)).max(0).cast_unsigned())
}

fn piece(conn: &Connection, horizon: i64, from: i64, to: i64) -> rusqlite::Result<u64> {
    fold::transaction(conn, || {
        let old: Vec<(i64, i64, i64)> = conn
            .prepare("SELECT seq, id_hi, id_lo FROM facts WHERE seq >= ?1 AND seq <= ?2 AND at_us < ?3")?
            .query_map([from, to, horizon], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<Result<_, _>>()?;
        for &(seq, hi, lo) in &old {
            release_id(conn, seq, hi, lo)?;
            for table in TEXTS.into_iter().chain(["facts", "superseded", "attempts", "quarantine"]) {
                // The columns are all called `seq`; the table names are ours.
                conn.execute(&format!("DELETE FROM {table} WHERE seq = ?1"), [seq])?;
            }
        }
        Ok(old.len() as u64)
    })
}

/// Frees the slot of an id; the ids that had to move on because of it are of the same moment, and go too.
fn release_id(conn: &Connection, seq: i64, hi: i64, lo: i64) -> rusqlite::Result<()> {
    let mut k = ids::fold(ids::join(hi, lo));
    for _ in 0..ids::PROBES {
        if conn.execute("DELETE FROM event_ids WHERE k = ?1 AND seq = ?2", params![k, seq])? == 1 {
            return Ok(());
        }
        k = ids::next_slot(k);
    }
    Ok(())
}
