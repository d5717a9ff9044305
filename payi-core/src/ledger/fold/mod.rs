//! Rollups: sums per day and user, so that a report need not read every fact.
//!
//! Everything is derived from the facts in the file, never from what a process remembers:
//!
//! 1. *fold* reads the facts after the watermark `folded`, adds them up per day and user, writes that as one
//!    row of grain [`DELTA`], and moves the watermark, in one transaction;
//! 2. *merge* adds the oldest deltas to the packs of their days ([`DAY`]) and of all time ([`ALL`]), and
//!    deletes them, in one transaction.
//!
//! A fact is thus in the tail (after the watermark), in a delta, or in the packs, and never in two of them:
//! a report that reads all three in one transaction is exact at any moment. Several processes may share the
//! file; a lease keeps them from doing the work twice, and the watermark from counting it twice.

pub(crate) mod cell;
pub(crate) mod chain;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use cell::{Cells, Key, decode, encode};
use chain::{Chain, ChainKey};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::ledger::{dict::meta, follow, read::scan::Fact, schema::writing};

/// Grains of `rollup`. A delta's slot is the number of its fold; a day's slot counts days since 1970.
pub(crate) const DELTA: i64 = 0;
pub(crate) const DAY: i64 = 1;
pub(crate) const ALL: i64 = 2;

/// One day in microseconds.
pub(crate) const DAY_US: i64 = 86_400_000_000;

/// A fold takes this many facts: what a report has to read one by one stays below.
pub(crate) const FOLD: i64 = 8_192;
/// A merge takes this many deltas: rewriting the packs is what costs.
const MERGE: i64 = 16;
/// Users whose cells share one row of the packs.
const PART: u32 = 12;

/// How long the right to fold lasts.
const LEASE: Duration = Duration::from_secs(30);

/// Folds while there is enough to fold, and merges while there is enough to merge; `true` if it did anything.
pub(crate) fn work(conn: &Connection, owner: &str, key: Option<&ChainKey>) -> rusqlite::Result<bool> {
    let behind = crate::ledger::append::last_seq(conn)? - meta(conn, "folded")?;
    let deltas = || {
        conn.query_row("SELECT count(*) FROM rollup WHERE grain = ?1", [DELTA], |row| row.get::<_, i64>(0))
    };
    if behind < FOLD && deltas()? < MERGE {
        return Ok(false);
    }
    let Some(lease) = follow::lease(conn, "fold", owner, LEASE)? else { return Ok(false) };
    let mut done = false;
    if behind >= FOLD {
        done |= fold(conn, key, FOLD)?;
    }
    if deltas()? >= MERGE {
        done |= merge(conn)?;
    }
    follow::release(conn, &lease)?;
    Ok(done)
}

/// Folds and merges all there is, however little: for tests, and before facts are pruned.
pub(crate) fn finish(conn: &Connection, key: Option<&ChainKey>) -> rusqlite::Result<()> {
    while fold(conn, key, FOLD)? {}
    while merge(conn)? {}
    Ok(())
}

/// Cells per day.
type Days = BTreeMap<i64, Cells>;

/// What one fold found.
struct Found {
    days: Days,
    first_seq: i64,
    last_seq: i64,
    min_us: i64,
    max_us: i64,
    chain: Chain,
}

fn fold(conn: &Connection, key: Option<&ChainKey>, most: i64) -> rusqlite::Result<bool> {
    // Facts never change, so they can be read before the file is locked for others.
    let folded = meta(conn, "folded")?;
    let Some(found) = read(conn, key, folded, most)? else { return Ok(false) };
    transaction(conn, || {
        if meta(conn, "folded")? != folded {
            // Somebody whose lease we took, or who took ours, was quicker.
            return Ok(false);
        }
        // A later attempt may have come while we read; it will take back the earlier one's count itself,
        // because it is after the watermark.
        write_delta(conn, &found)?;
        set_meta(conn, "folded", found.last_seq)?;
        Ok(true)
    })
}

fn read(conn: &Connection, key: Option<&ChainKey>, after: i64, most: i64) -> rusqlite::Result<Option<Found>> {
    let reading = conn.unchecked_transaction()?;
    let Some(chain) = Chain::resume(conn, key)? else { return Ok(None) };
    let mut found =
        Found { days: Days::new(), first_seq: 0, last_seq: 0, min_us: i64::MAX, max_us: i64::MIN, chain };
    let mut statement = conn.prepare("SELECT * FROM facts WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
    let mut rows = statement.query([after, most])?;
    while let Some(row) = rows.next()? {
        let seq = found.chain.add_fact(row)?;
        let fact = Fact::of_facts(row)?;
        found.first_seq = if found.first_seq == 0 { seq } else { found.first_seq };
        found.last_seq = seq;
        found.min_us = found.min_us.min(fact.at_us);
        found.max_us = found.max_us.max(fact.at_us);
        let cells = found.days.entry(fact.at_us.div_euclid(DAY_US)).or_default();
        cells.entry((fact.user, fact.account)).or_default().add(&fact);
    }
    if found.first_seq == 0 {
        return Ok(None);
    }
    taken_back(conn, after, found.last_seq, |fact| {
        let cells = found.days.entry(fact.at_us.div_euclid(DAY_US)).or_default();
        cells.entry((fact.user, fact.account)).or_default().take_back(fact);
    })?;
    drop(rows);
    drop(statement);
    reading.finish()?;
    Ok(Some(found))
}

/// Shows `each` the facts that stopped counting as a call by a fact after `after`, up to `to`.
pub(crate) fn taken_back(
    conn: &Connection,
    after: i64,
    to: i64,
    mut each: impl FnMut(&Fact),
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare(
        "SELECT f.* FROM superseded s JOIN facts f ON f.seq = s.seq WHERE s.by > ?1 AND s.by <= ?2",
    )?;
    let mut rows = statement.query([after, to])?;
    while let Some(row) = rows.next()? {
        each(&Fact::of_facts(row)?);
    }
    Ok(())
}

fn write_delta(conn: &Connection, found: &Found) -> rusqlite::Result<()> {
    found.chain.remember_key(conn)?;
    let number: i64 = conn.query_row(
        "INSERT INTO batches(first_seq, last_seq, min_us, max_us, last_dict, head) VALUES(?1, ?2, ?3, ?4, ?5, ?6)
         RETURNING id",
        params![
            found.first_seq,
            found.last_seq,
            found.min_us,
            found.max_us,
            found.chain.last_dict(),
            found.chain.head()
        ],
        |row| row.get(0),
    )?;
    for (&day, cells) in &found.days {
        conn.execute(
            "INSERT INTO rollup(grain, slot, part, body) VALUES(?1, ?2, ?3, ?4)",
            params![DELTA, number, day, encode(cells)],
        )?;
    }
    Ok(())
}

fn merge(conn: &Connection) -> rusqlite::Result<bool> {
    transaction(conn, || {
        let up_to: Option<i64> = conn.query_row(
            "SELECT max(slot) FROM (SELECT slot FROM rollup WHERE grain = ?1 ORDER BY slot LIMIT ?2)",
            [DELTA, MERGE * 4],
            |row| row.get(0),
        )?;
        let Some(up_to) = up_to else { return Ok(false) };
        let mut packs: BTreeMap<(i64, i64, i64), Cells> = BTreeMap::new();
        let mut statement = conn
            .prepare("SELECT part, body FROM rollup WHERE grain = ?1 AND slot <= ?2 ORDER BY slot, part")?;
        let mut rows = statement.query([DELTA, up_to])?;
        while let Some(row) = rows.next()? {
            let day: i64 = row.get(0)?;
            decode(row.get_ref(1)?.as_blob()?, |key, cell| {
                for (grain, slot) in [(DAY, day), (ALL, 0)] {
                    let pack = packs.entry((grain, slot, part(key))).or_default();
                    pack.entry(key).or_default().merge(cell);
                }
            });
        }
        drop(rows);
        for ((grain, slot, part), cells) in packs {
            merge_pack(conn, (grain, slot, part), cells)?;
        }
        conn.execute("DELETE FROM rollup WHERE grain = ?1 AND slot <= ?2", [DELTA, up_to])?;
        Ok(true)
    })
}

fn merge_pack(conn: &Connection, place: (i64, i64, i64), mut cells: Cells) -> rusqlite::Result<()> {
    let (grain, slot, part) = place;
    let old: Option<Vec<u8>> = conn
        .query_row(
            "SELECT body FROM rollup WHERE grain = ?1 AND slot = ?2 AND part = ?3",
            [grain, slot, part],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(old) = old {
        decode(&old, |key, cell| cells.entry(key).or_default().merge(cell));
    }
    conn.execute(
        "INSERT OR REPLACE INTO rollup(grain, slot, part, body) VALUES(?1, ?2, ?3, ?4)",
        params![grain, slot, part, encode(&cells)],
    )
    .map(drop)
}

/// The row of a pack that a user's cells are in.
pub(crate) fn part(key: Key) -> i64 {
    key.0 >> PART
}

/// Runs `work` in one write transaction.
pub(crate) fn transaction<T>(
    conn: &Connection,
    work: impl FnOnce() -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = writing(conn)?;
    let done = work()?;
    transaction.commit()?;
    Ok(done)
}

/// Sets a number of `meta`.
pub(crate) fn set_meta(conn: &Connection, key: &str, value: i64) -> rusqlite::Result<()> {
    conn.execute(
        "INSERT INTO meta(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
        params![key, value],
    )
    .map(drop)
}
