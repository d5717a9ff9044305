//! Runs of a slot: appended by folds, merged when they have become many. Merging reads outside of a transaction,
//! which is safe because runs never change: it only has to find them still there when it replaces them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use rusqlite::{Connection, params};

use crate::ledger::{
    dict::meta,
    fold::{
        Cube, DAY_US, Days, Slot,
        cell::{Cell, Key},
        ever_slot,
        pack::{Packer, Piece},
        set_meta, transaction,
        unpack::Chunk,
    },
};

/// Runs of one slot from which on they are merged.
const RUNS: usize = 8;
/// Runs are merged up to this many bytes, so that a merge needs a few megabytes; a slot of more keeps several.
const BYTES: i64 = 4 << 20;

/// A number for a new run; none is used twice.
pub(super) fn next(conn: &Connection) -> rusqlite::Result<i64> {
    let run = meta(conn, "runs")? + 1;
    set_meta(conn, "runs", run)?;
    Ok(run)
}

pub(super) fn insert(
    conn: &Connection,
    (cube, slot): Slot,
    run: i64,
    pieces: &[Piece],
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare(
        "INSERT INTO rollup(grain, slot, run, part, low, high, body) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (part, piece) in (0_i64..).zip(pieces) {
        statement.execute(params![cube as i64, slot, run, part, piece.low, piece.high, piece.body])?;
    }
    Ok(())
}

/// Merges where a fold has made too many runs, and closes days that are over.
pub(super) fn tidy(conn: &Connection, grown: &[Slot]) -> rusqlite::Result<()> {
    tidy_at(conn, grown, RUNS)
}

/// The same with a choice of how many runs are too many.
pub(super) fn tidy_at(conn: &Connection, grown: &[Slot], many: usize) -> rusqlite::Result<()> {
    for &slot in grown {
        merge_many(conn, slot, many)?;
    }
    while close(conn)? {}
    Ok(())
}

fn merge_many(conn: &Connection, slot: Slot, many: usize) -> rusqlite::Result<()> {
    let runs = runs(conn, slot)?;
    if runs.len() < many { Ok(()) } else { merge(conn, slot, &smallest(&runs, true)) }
}

/// A run: its number, its rows, its bytes.
#[derive(Clone, Copy, Debug)]
struct Run {
    number: i64,
    rows: i64,
    bytes: i64,
}

/// The runs of a slot, the smallest first.
fn runs(conn: &Connection, (cube, slot): Slot) -> rusqlite::Result<Vec<Run>> {
    let sql =
        "SELECT run, count(*), sum(length(body)) FROM rollup WHERE grain = ?1 AND slot = ?2 GROUP BY run";
    let mut runs: Vec<Run> = conn
        .prepare(sql)?
        .query_map([cube as i64, slot], |row| {
            Ok(Run { number: row.get(0)?, rows: row.get(1)?, bytes: row.get(2)? })
        })?
        .collect::<Result<_, _>>()?;
    runs.sort_by_key(|run| run.bytes);
    Ok(runs)
}

/// The smallest runs that fit into one merge; if `balanced`, without one that is much larger than all before it, so
/// that a large run is not written again for each small one. Some are always taken: a tiny run must not keep the
/// others apart.
fn smallest(runs: &[Run], balanced: bool) -> Vec<Run> {
    let mut bytes = 0;
    let fits = |&(i, run): &(usize, &Run)| {
        let alike = !balanced || i < RUNS / 2 || run.bytes <= 2 * bytes;
        bytes += run.bytes;
        alike && bytes <= BYTES
    };
    runs.iter().enumerate().take_while(fits).map(|(_, run)| *run).collect()
}

fn merge(conn: &Connection, slot: Slot, old: &[Run]) -> rusqlite::Result<()> {
    if old.len() < 2 {
        return Ok(());
    }
    let mut packer = Packer::new(slot.0.base_ms(slot.1));
    if !sum(conn, slot, old, |key, cell| packer.push(key, cell))? {
        return Ok(());
    }
    let pieces = packer.finish();
    transaction(conn, || {
        if remove(conn, slot, old)? {
            insert(conn, slot, next(conn)?, &pieces)?;
        }
        Ok(())
    })
}

/// Takes runs away; if they are not all there any more, none, and `false`.
fn remove(conn: &Connection, (cube, slot): Slot, old: &[Run]) -> rusqlite::Result<bool> {
    let mut count =
        conn.prepare("SELECT count(*) FROM rollup WHERE grain = ?1 AND slot = ?2 AND run = ?3")?;
    for run in old {
        let rows: i64 = count.query_row([cube as i64, slot, run.number], |row| row.get(0))?;
        if rows != run.rows {
            return Ok(false);
        }
    }
    let mut delete = conn.prepare("DELETE FROM rollup WHERE grain = ?1 AND slot = ?2 AND run = ?3")?;
    for run in old {
        delete.execute([cube as i64, slot, run.number])?;
    }
    Ok(true)
}

/// Shows `each` the cells of runs in the order of their keys. `false` if one of the runs is not what it was, or cannot
/// be read: what is not whole must not take the place of what is there.
fn sum(
    conn: &Connection,
    slot: Slot,
    old: &[Run],
    mut each: impl FnMut(Key, &Cell),
) -> rusqlite::Result<bool> {
    let mut cursors = Vec::with_capacity(old.len());
    for run in old {
        let bodies = bodies(conn, slot, run.number)?;
        if i64::try_from(bodies.len()) != Ok(run.rows) {
            return Ok(false);
        }
        cursors.push(Cursor::new(bodies, slot.0.base_ms(slot.1)));
    }
    let mut heads = BinaryHeap::with_capacity(cursors.len());
    for (i, cursor) in cursors.iter().enumerate() {
        heads.extend(cursor.head().map(|key| Reverse((key, i))));
    }
    while let Some(Reverse((_, i))) = heads.pop() {
        let Some(cursor) = cursors.get_mut(i) else { break };
        // Neighbours in a run are mostly neighbours in the sum too.
        let next = heads.peek().map(|Reverse((key, _))| *key);
        while let Some(key) = cursor.head() {
            if next.is_some_and(|next| key > next) {
                heads.push(Reverse((key, i)));
                break;
            }
            cursor.pass(&mut each);
        }
    }
    Ok(cursors.iter().all(|cursor| cursor.whole))
}

/// [`Cube::Days`] made of what there is of [`Cube::Kinds`]. Merges do not change what that adds up to, so that it may be
/// put in place later, as long as nothing was folded in between.
pub(super) fn days_anew(conn: &Connection) -> rusqlite::Result<Days> {
    let days: Vec<i64> = conn
        .prepare("SELECT DISTINCT slot FROM rollup WHERE grain = ?1")?
        .query_map([Cube::Kinds as i64], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut anew = Vec::with_capacity(days.len());
    for day in days {
        let kinds = (Cube::Kinds, day);
        let mut packer = Packer::new(Cube::Days.base_ms(day));
        // Quarters come after everything else in the order of keys, so that those of one day are neighbours.
        let add = |key, cell: &Cell| packer.push(Key { quarter: 0, ..key }, cell);
        if !sum(conn, kinds, &runs(conn, kinds)?, add)? {
            return Ok(Days::Unknown);
        }
        anew.push((day, packer.finish()));
    }
    Ok(Days::Anew(anew))
}

/// Puts these days in the place of all that are there, as one run.
pub(super) fn replace_days(conn: &Connection, days: &[(i64, Vec<Piece>)]) -> rusqlite::Result<()> {
    let run = next(conn)?;
    conn.execute("DELETE FROM rollup WHERE grain = ?1", [Cube::Days as i64])?;
    days.iter().try_for_each(|(day, pieces)| insert(conn, (Cube::Days, *day), run, pieces))
}

fn bodies(conn: &Connection, (cube, slot): Slot, run: i64) -> rusqlite::Result<Vec<Vec<u8>>> {
    conn.prepare("SELECT body FROM rollup WHERE grain = ?1 AND slot = ?2 AND run = ?3 ORDER BY part")?
        .query_map([cube as i64, slot, run], |row| row.get(0))?
        .collect()
}

/// Goes through the cells of one run.
struct Cursor {
    bodies: std::vec::IntoIter<Vec<u8>>,
    body: Vec<u8>,
    /// How much of `body` is read.
    read: usize,
    chunk: Chunk,
    /// Which cell of `chunk` is next.
    at: usize,
    base_ms: i64,
    whole: bool,
}

impl Cursor {
    fn new(bodies: Vec<Vec<u8>>, base_ms: i64) -> Self {
        let bodies = bodies.into_iter();
        let mut cursor =
            Self { bodies, body: Vec::new(), read: 0, chunk: Chunk::default(), at: 0, base_ms, whole: true };
        cursor.fill();
        cursor
    }

    fn head(&self) -> Option<Key> {
        self.chunk.cells().get(self.at).map(|(key, _)| *key)
    }

    fn pass(&mut self, each: &mut impl FnMut(Key, &Cell)) {
        if let Some((key, cell)) = self.chunk.cells().get(self.at) {
            each(*key, cell);
        }
        self.at += 1;
        if self.at >= self.chunk.cells().len() {
            self.fill();
        }
    }

    fn fill(&mut self) {
        self.at = 0;
        while self.read >= self.body.len() {
            let Some(next) = self.bodies.next() else {
                self.chunk = Chunk::default();
                return;
            };
            (self.body, self.read) = (next, 0);
        }
        let mut rest = self.body.get(self.read..).unwrap_or_default();
        let read = self.chunk.read(&mut rest, self.base_ms);
        self.read = self.body.len() - rest.len();
        if read.is_none() {
            (self.whole, self.chunk, self.bodies) = (false, Chunk::default(), Vec::new().into_iter());
        }
    }
}

/// Closes the oldest day that is not closed yet, if a later one has begun: its runs become one in each rollup, and its
/// users' sums go into those of all time. `true` if it closed one.
fn close(conn: &Connection) -> rusqlite::Result<bool> {
    let ever_day = meta(conn, "ever_day")?;
    let day: Option<i64> = conn.query_row(
        "SELECT min(slot) FROM rollup WHERE grain = ?1 AND slot >= ?2",
        [Cube::Users as i64, ever_day],
        |row| row.get(0),
    )?;
    let newest: Option<i64> = conn.query_row("SELECT max(max_us) FROM batches", [], |row| row.get(0))?;
    let (Some(day), Some(newest)) = (day, newest) else { return Ok(false) };
    if day >= newest.div_euclid(DAY_US) {
        return Ok(false);
    }
    for cube in Cube::DAILY {
        merge(conn, (cube, day), &smallest(&runs(conn, (cube, day))?, false))?;
    }
    let slot = (Cube::Users, day);
    let users = runs(conn, slot)?;
    let mut packers: BTreeMap<i64, Packer> = BTreeMap::new();
    let whole = sum(conn, slot, &users, |key, cell| {
        let packer = packers.entry(ever_slot(key)).or_insert_with(|| Packer::new(Cube::Ever.base_ms(0)));
        packer.push(key, cell);
    })?;
    let ever: Vec<(Slot, Vec<Piece>)> =
        packers.into_iter().map(|(slot, packer)| ((Cube::Ever, slot), packer.finish())).collect();
    let closed = whole
        && transaction(conn, || {
            let same = runs(conn, slot)?.iter().map(|run| run.number).eq(users.iter().map(|run| run.number));
            if !same || meta(conn, "ever_day")? != ever_day {
                return Ok(false);
            }
            let run = next(conn)?;
            for (slot, pieces) in &ever {
                insert(conn, *slot, run, pieces)?;
            }
            set_meta(conn, "ever_day", day + 1)?;
            Ok(true)
        })?;
    for (slot, _) in ever {
        merge_many(conn, slot, RUNS)?;
    }
    Ok(closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_stay_few_and_large_ones_are_seldom_written_again() {
        // A day's worth of runs, a tiny one among them now and then.
        let (mut runs, mut written): (Vec<Run>, i64) = (Vec::new(), 0);
        for number in 0..500 {
            let bytes = if number % 7 == 0 { 90 } else { 20_000 };
            runs.push(Run { number, rows: 1, bytes });
            runs.sort_by_key(|run| run.bytes);
            if runs.len() >= RUNS {
                let merged = smallest(&runs, true);
                assert!(merged.len() >= 2, "{runs:?}");
                let bytes = merged.iter().map(|run| run.bytes).sum();
                written += bytes;
                runs.retain(|run| merged.iter().all(|old| old.number != run.number));
                runs.push(Run { number: 1_000 + number, rows: 1, bytes });
                runs.sort_by_key(|run| run.bytes);
            }
            assert!(runs.len() < 2 * RUNS, "{runs:?}");
        }
        let all: i64 = runs.iter().map(|run| run.bytes).sum();
        assert!(written < 6 * all, "{written} bytes written for {all}");
    }
}
