//! Rollups: sums by what reports split by, so that a report need not read every fact.
//!
//! Everything is derived from the facts in the file, never from what a process remembers. A *fold* reads the facts
//! after the watermark `folded`, adds them up, and appends the sums as one *run* to the slots of `rollup` they
//! belong to, moving the watermark in the same transaction. Sums need no order: a report adds up all runs of a slot,
//! and merging runs ([`runs`]) changes how many there are, never what they add up to.
//!
//! There are five rollups of the same form ([`Cube`]). A fact is thus after the watermark or in one run of each (of
//! [`Cube::Days`] see [`FOLDED_DAYS`]), and never both: a report that reads rollup and later facts in one transaction
//! is exact at any moment. Several processes may share the file; a lease keeps them from doing the work twice, and the
//! watermark from counting twice.

pub(crate) mod cell;
pub(crate) mod chain;
pub(crate) mod pack;
mod runs;
#[cfg(test)]
mod tests;
pub(crate) mod unpack;
mod varint;

use std::{collections::BTreeMap, time::Duration};

use cell::{Cell, Key};
use chain::{Chain, ChainKey};
use pack::{Packer, Piece};
use rusqlite::{Connection, params};

use crate::ledger::{
    dict::meta,
    fact::{Fact, Lookup, Part},
    follow,
    kinds::Interner,
    schema::writing,
};

/// What a rollup splits by; the codes are grains in the file. A slot is a UTC day, counted from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cube {
    /// Everything: quarter of an hour, user, account, use case, version, step, provider, model, outcome, error, source.
    Full = 1,
    /// Day, user, account, outcome, source.
    Users = 2,
    /// Everything but user and account.
    Kinds = 3,
    /// As [`Cube::Users`], of all days before `meta.ever_day` together. A slot is a range of users.
    Ever = 4,
    /// As [`Cube::Kinds`], by whole days; right where [`FOLDED_DAYS`] says so.
    Days = 5,
}

impl Cube {
    /// All that have a slot for each day.
    pub(crate) const DAILY: [Self; 4] = [Self::Full, Self::Kinds, Self::Users, Self::Days];

    /// What has the quarters of a day that this one has as a whole.
    pub(crate) const fn finer(self) -> Self {
        match self {
            Self::Full | Self::Users | Self::Ever => Self::Full,
            Self::Kinds | Self::Days => Self::Kinds,
        }
    }

    /// Where a slot begins, in milliseconds since 1970.
    pub(crate) fn base_ms(self, slot: i64) -> i64 {
        if self == Self::Ever { 0 } else { slot.saturating_mul(DAY_US / 1000) }
    }
}

/// Up to which fact [`Cube::Days`] has them, in `meta`: versions of payi that do not know it leave it behind the watermark.
pub(crate) const FOLDED_DAYS: &str = "folded_days";

/// The slot of a key in [`Cube::Ever`]: 16,384 users share one.
fn ever_slot(key: Key) -> i64 {
    key.user >> 14
}

/// One day in microseconds.
pub(crate) const DAY_US: i64 = 86_400_000_000;
/// A quarter of an hour: all time zones differ from UTC by whole quarters.
pub(crate) const QUARTER_US: i64 = 900_000_000;
pub(crate) const QUARTER_MS: i64 = QUARTER_US / 1000;

/// A fold waits for this many facts; what a report has to read one by one stays below, where somebody folds.
pub(crate) const FOLD: i64 = 4_096;
/// A fold takes at most this many facts, so that it needs a few megabytes.
const MOST: i64 = 16_384;

/// How long the right to fold lasts.
const LEASE: Duration = Duration::from_secs(30);

/// Folds if there is enough to fold, and merges what has become too many runs; `true` if it did anything.
pub(crate) fn work(conn: &Connection, owner: &str, key: Option<&ChainKey>) -> rusqlite::Result<bool> {
    if crate::ledger::append::last_seq(conn)? - meta(conn, "folded")? < FOLD {
        return Ok(false);
    }
    let Some(lease) = follow::lease(conn, "fold", owner, LEASE)? else { return Ok(false) };
    let done = fold(conn, key, MOST).and_then(|slots| match slots {
        Some(slots) => runs::tidy(conn, &slots).map(|()| true),
        None => Ok(false),
    });
    follow::release(conn, &lease)?;
    done
}

/// Folds all there is, however little: for tests, and before facts are pruned.
pub(crate) fn finish(conn: &Connection, key: Option<&ChainKey>) -> rusqlite::Result<()> {
    while let Some(slots) = fold(conn, key, MOST)? {
        runs::tidy(conn, &slots)?;
    }
    Ok(())
}

/// A rollup and a slot of it.
type Slot = (Cube, i64);

/// Sums by day and key.
type Sums = BTreeMap<(i64, Key), Cell>;

/// What one fold found.
struct Found {
    full: Sums,
    kinds: Interner,
    first_seq: i64,
    last_seq: i64,
    min_us: i64,
    max_us: i64,
    /// The largest cost, latency and number of tokens of one fact.
    most: [i64; 3],
    chain: Chain,
    days: Days,
}

/// What has to be done about [`Cube::Days`].
enum Days {
    /// It has all that was folded before.
    Whole,
    /// An older payi has folded: these take the place of what is there.
    Anew(Vec<(i64, Vec<Piece>)>),
    /// What it would be made of cannot be read.
    Unknown,
}

/// Folds up to `most` facts; the slots that have grown, or `None` if there was nothing to fold.
fn fold(conn: &Connection, key: Option<&ChainKey>, most: i64) -> rusqlite::Result<Option<Vec<Slot>>> {
    // Facts never change, so they can be read before the file is locked for others.
    let folded = meta(conn, "folded")?;
    let Some(mut found) = read(conn, key, folded, most)? else { return Ok(None) };
    let ever_day = meta(conn, "ever_day")?;
    let packs = packs(&mut found, ever_day);
    transaction(conn, || {
        if meta(conn, "folded")? != folded || meta(conn, "ever_day")? != ever_day {
            // Somebody whose lease we took, or who took ours, was quicker.
            return Ok(None);
        }
        // A later attempt may have come while we read; it will take back the earlier one's count itself,
        // because it is after the watermark.
        found.kinds.write(conn)?;
        write_batch(conn, &found)?;
        if let Days::Anew(days) = &found.days {
            runs::replace_days(conn, days)?;
        }
        let run = runs::next(conn)?;
        for (&(cube, slot), pieces) in &packs {
            runs::insert(conn, (cube, slot), run, pieces)?;
        }
        set_meta(conn, "folded", found.last_seq)?;
        if !matches!(found.days, Days::Unknown) {
            set_meta(conn, FOLDED_DAYS, found.last_seq)?;
        }
        Ok(Some(packs.keys().copied().collect()))
    })
}

fn read(conn: &Connection, key: Option<&ChainKey>, after: i64, most: i64) -> rusqlite::Result<Option<Found>> {
    let reading = conn.unchecked_transaction()?;
    let Some(chain) = Chain::resume(conn, key)? else { return Ok(None) };
    let kinds = Interner::load(conn)?;
    let mut found = Found {
        full: Sums::new(),
        kinds,
        first_seq: 0,
        last_seq: 0,
        min_us: i64::MAX,
        max_us: i64::MIN,
        most: [0; 3],
        chain,
        days: if meta(conn, FOLDED_DAYS)? == after { Days::Whole } else { runs::days_anew(conn)? },
    };
    let mut lookup = Lookup::new(conn);
    let mut statement = conn.prepare("SELECT * FROM facts WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
    let mut rows = statement.query([after, most])?;
    while let Some(row) = rows.next()? {
        let seq = found.chain.add_fact(row)?;
        let fact = Fact::read(row, &mut lookup)?;
        found.first_seq = if found.first_seq == 0 { seq } else { found.first_seq };
        found.last_seq = seq;
        found.min_us = found.min_us.min(fact.at_us);
        found.max_us = found.max_us.max(fact.at_us);
        for (most, amount) in found.most.iter_mut().zip(fact.amounts()) {
            *most = (*most).max(amount);
        }
        found.add(&fact, Part::All);
        if let Some(old) = lookup.corrected(&fact)? {
            found.add(&old, Part::SumsBack);
        }
    }
    if found.first_seq == 0 {
        return Ok(None);
    }
    taken_back(conn, &mut lookup, (after, found.last_seq), |fact| {
        found.add(fact, Part::CallBack);
        Ok(())
    })?;
    drop(rows);
    drop(statement);
    reading.finish()?;
    Ok(Some(found))
}

/// Shows `each` the facts that stopped counting as a call by a fact after `after`, up to `to`.
pub(crate) fn taken_back(
    conn: &Connection,
    lookup: &mut Lookup<'_>,
    (after, to): (i64, i64),
    mut each: impl FnMut(&Fact) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare(
        "SELECT f.* FROM superseded s JOIN facts f ON f.seq = s.seq WHERE s.by > ?1 AND s.by <= ?2",
    )?;
    let mut rows = statement.query([after, to])?;
    while let Some(row) = rows.next()? {
        each(&Fact::read(row, lookup)?)?;
    }
    Ok(())
}

impl Found {
    fn add(&mut self, fact: &Fact, part: Part) {
        let key = Key {
            user: fact.user,
            account: fact.account,
            what: self.kinds.what(fact.what),
            how: self.kinds.how(fact.how),
            quarter: fact.at_us.rem_euclid(DAY_US) / QUARTER_US,
        };
        self.full.entry((fact.at_us.div_euclid(DAY_US), key)).or_default().merge(&fact.cell(part));
    }
}

/// The same sums for each rollup, packed.
fn packs(found: &mut Found, ever_day: i64) -> BTreeMap<Slot, Vec<Piece>> {
    let (mut users, mut kinds, mut days, mut ever) = (Sums::new(), Sums::new(), Sums::new(), Sums::new());
    for (&(day, key), cell) in &found.full {
        let how = found.kinds.kinds.hows.get(usize::try_from(key.how).unwrap_or(0)).copied();
        let how = how.map_or(0, |how| found.kinds.how(how.ending()));
        let person = Key { what: 0, how, quarter: 0, ..key };
        users.entry((day, person)).or_default().merge_sums(cell);
        if day < ever_day {
            ever.entry((ever_slot(person), person)).or_default().merge_sums(cell);
        }
        kinds.entry((day, Key { user: 0, account: 0, ..key })).or_default().merge(cell);
    }
    for (&(day, key), cell) in &kinds {
        days.entry((day, Key { quarter: 0, ..key })).or_default().merge(cell);
    }
    let mut packers: BTreeMap<Slot, Packer> = BTreeMap::new();
    let cubes = [
        (Cube::Full, &found.full),
        (Cube::Users, &users),
        (Cube::Kinds, &kinds),
        (Cube::Ever, &ever),
        (Cube::Days, &days),
    ];
    for (cube, sums) in cubes {
        for (&(slot, key), cell) in sums {
            let packer = packers.entry((cube, slot)).or_insert_with(|| Packer::new(cube.base_ms(slot)));
            packer.push(key, cell);
        }
    }
    packers.into_iter().map(|(slot, packer)| (slot, packer.finish())).collect()
}

fn write_batch(conn: &Connection, found: &Found) -> rusqlite::Result<()> {
    found.chain.remember_key(conn)?;
    conn.execute(
        "INSERT INTO batches(first_seq, last_seq, min_us, max_us, last_dict, head) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            found.first_seq,
            found.last_seq,
            found.min_us,
            found.max_us,
            found.chain.last_dict(),
            found.chain.head()
        ],
    )?;
    let [cost, latency, tokens] = found.most;
    let peaks = params![conn.last_insert_rowid(), cost, latency, tokens];
    conn.execute("INSERT INTO peaks(batch, cost, latency, tokens) VALUES(?1, ?2, ?3, ?4)", peaks).map(drop)
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
