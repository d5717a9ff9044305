//! Sums per user: from the packs for whole days, from the facts for the rest.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
};

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{
    events::Outcome,
    ledger::{
        append::last_seq,
        dict::meta,
        fold::{
            self, ALL, DAY, DAY_US, DELTA,
            cell::{Cell, Key, decode},
        },
        ids,
        read::{Filter, Totals},
        rows::micros,
        schema::TextKind,
        stored::outcome,
    },
    pricing::CostSource,
};

/// A filter in the ledger's own integers; `None` is "any".
#[derive(Clone, Debug)]
pub(crate) struct Narrowed {
    since_us: i64,
    until_us: i64,
    user: Option<i64>,
    account: Option<i64>,
    /// The purposes of the use case.
    purposes: Option<HashSet<i64>>,
    /// The routes to the model.
    routes: Option<HashSet<i64>>,
}

impl Narrowed {
    /// `None` if a name of the filter is not in the ledger.
    pub(crate) fn resolve(conn: &Connection, filter: &Filter) -> rusqlite::Result<Option<Self>> {
        let mut known = true;
        let mut id = |kind: TextKind, text: &Option<String>| -> rusqlite::Result<Option<i64>> {
            let Some(text) = text else { return Ok(None) };
            let found = conn
                .query_row(
                    "SELECT id FROM dict WHERE kind = ?1 AND text = ?2",
                    params![kind as u8, text],
                    |row| row.get(0),
                )
                .optional()?;
            known &= found.is_some();
            Ok(found)
        };
        let of = |sql: &str, id: Option<i64>| -> rusqlite::Result<Option<HashSet<i64>>> {
            let Some(id) = id else { return Ok(None) };
            conn.prepare(sql)?.query_map([id], |row| row.get(0))?.collect::<Result<_, _>>().map(Some)
        };
        let narrowed = Self {
            since_us: filter.since.map_or(i64::MIN, micros),
            until_us: filter.until.map_or(i64::MAX, micros),
            user: id(TextKind::User, &filter.user_id)?,
            account: id(TextKind::Account, &filter.account_name)?,
            purposes: of(
                "SELECT id FROM purposes WHERE use_case = ?1",
                id(TextKind::UseCase, &filter.use_case_name)?,
            )?,
            routes: of("SELECT id FROM routes WHERE model = ?1", id(TextKind::Model, &filter.model)?)?,
        };
        Ok(known.then_some(narrowed))
    }

    fn person(&self, (user, account): Key) -> bool {
        self.user.is_none_or(|wanted| wanted == user) && self.account.is_none_or(|wanted| wanted == account)
    }

    fn holds(&self, fact: &Fact) -> bool {
        (self.since_us..self.until_us).contains(&fact.at_us)
            && self.person((fact.user, fact.account))
            && self.purposes.as_ref().is_none_or(|set| set.contains(&fact.purpose))
            && self.routes.as_ref().is_none_or(|set| set.contains(&fact.route))
    }
}

/// What of a fact is summed, and under what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fact {
    pub(crate) at_us: i64,
    pub(crate) user: i64,
    pub(crate) account: i64,
    pub(crate) purpose: i64,
    pub(crate) route: i64,
    pub(crate) outcome: Outcome,
    /// Whether it is how its call ended, as far as is known.
    pub(crate) counts: bool,
    /// Whether it is an attempt of its own, not the correction of one.
    pub(crate) original: bool,
    pub(crate) cost: i64,
    pub(crate) unpriced: bool,
    pub(crate) tokens: [i64; 5],
}

/// The columns of [`Fact::read`]; the last says by which fact it stopped counting as a call.
const COLUMNS: &str =
    "f.at_us, f.user, f.account, f.purpose, f.route, f.outcome, f.corrects, f.cost, f.cost_source,
   f.input + f.audio_input + f.image_input + f.video_input,
   f.cache_read + f.audio_cache_read + f.image_cache_read, f.cache_write + f.cache_write_1h,
   f.output + f.audio_output + f.image_output, f.reasoning";

impl Fact {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let tokens = [row.get(9)?, row.get(10)?, row.get(11)?, row.get(12)?, row.get(13)?];
        let fact = Self {
            at_us: row.get(0)?,
            user: row.get(1)?,
            account: row.get(2)?,
            purpose: row.get(3)?,
            route: row.get(4)?,
            outcome: outcome(row.get(5)?),
            counts: true,
            original: row.get::<_, Option<i64>>(6)?.is_none(),
            cost: row.get(7)?,
            unpriced: false,
            tokens,
        };
        Ok(fact.priced(row.get(8)?))
    }

    /// From a row of all columns of `facts`, in their order.
    pub(crate) fn of_facts(row: &Row<'_>) -> rusqlite::Result<Self> {
        let sum = |columns: &[usize]| -> rusqlite::Result<i64> {
            columns.iter().try_fold(0, |sum, &column| Ok(sum + row.get::<_, i64>(column)?))
        };
        let fact = Self {
            at_us: row.get(3)?,
            user: row.get(10)?,
            account: row.get(11)?,
            purpose: row.get(12)?,
            route: row.get(13)?,
            outcome: outcome(row.get(7)?),
            counts: true,
            original: row.get::<_, Option<i64>>(18)?.is_none(),
            cost: row.get(15)?,
            unpriced: false,
            tokens: [
                sum(&[19, 23, 25, 27])?,
                sum(&[20, 24, 26])?,
                sum(&[21, 22])?,
                sum(&[28, 30, 31])?,
                row.get(29)?,
            ],
        };
        Ok(fact.priced(row.get(16)?))
    }

    /// A refused attempt used nothing; it is not "of unknown cost".
    fn priced(mut self, source: i64) -> Self {
        let used = self.tokens != [0; 5] || matches!(self.outcome, Outcome::Ok | Outcome::Aborted);
        self.unpriced = used && source == CostSource::Unpriced as i64;
        self
    }
}

/// Sums in the making.
#[derive(Default)]
struct Sums(HashMap<Key, Cell, BuildHasherDefault<KeyHasher>>);

/// Hashes the ledger's own small numbers; nobody outside chooses them.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_i64(byte.into());
        }
    }

    fn write_i64(&mut self, n: i64) {
        self.0 = ids::mix(self.0 ^ n.cast_unsigned());
    }
}

impl Sums {
    fn cell(&mut self, key: Key) -> &mut Cell {
        self.0.entry(key).or_default()
    }
}

/// Sums per (user, account). To be called inside a read transaction.
pub(crate) fn by_user(conn: &Connection, filter: &Narrowed) -> rusqlite::Result<Vec<(Key, Totals)>> {
    let mut sums = Sums::default();
    let folded = meta(conn, "folded")?;
    if filter.purposes.is_some() || filter.routes.is_some() {
        // The packs do not split by these.
        folded_facts(conn, filter, folded, (filter.since_us, filter.until_us), &mut sums)?;
    } else {
        packs(conn, filter, folded, &mut sums)?;
    }
    tail(conn, filter, folded, &mut sums)?;
    Ok(sums.0.iter().filter(|(_, cell)| !cell.is_empty()).map(|(&key, cell)| (key, cell.totals())).collect())
}

/// The sum of all facts, one by one.
pub(crate) fn total_of_facts(conn: &Connection) -> rusqlite::Result<Totals> {
    let mut sum = Cell::default();
    let mut statement = conn.prepare(&format!(
        "SELECT {COLUMNS}, s.by IS NULL FROM facts f LEFT JOIN superseded s ON s.seq = f.seq"
    ))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut fact = Fact::read(row)?;
        fact.counts = row.get(14)?;
        sum.add(&fact);
    }
    Ok(sum.totals())
}

/// What came after the watermark.
fn tail(conn: &Connection, filter: &Narrowed, folded: i64, sums: &mut Sums) -> rusqlite::Result<()> {
    let mut statement = conn.prepare(&format!("SELECT {COLUMNS} FROM facts f WHERE f.seq > ?1"))?;
    let mut rows = statement.query([folded])?;
    while let Some(row) = rows.next()? {
        let fact = Fact::read(row)?;
        if filter.holds(&fact) {
            sums.cell((fact.user, fact.account)).add(&fact);
        }
    }
    fold::taken_back(conn, folded, last_seq(conn)?, |fact| {
        if filter.holds(fact) {
            sums.cell((fact.user, fact.account)).take_back(fact);
        }
    })
}

/// Folded facts of a range of time, one by one.
fn folded_facts(
    conn: &Connection,
    filter: &Narrowed,
    folded: i64,
    (from_us, to_us): (i64, i64),
    sums: &mut Sums,
) -> rusqlite::Result<()> {
    let mut runs = conn
        .prepare("SELECT first_seq, last_seq FROM batches WHERE max_us >= ?1 AND min_us < ?2 ORDER BY id")?;
    let runs = runs.query_map([from_us, to_us], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut statement = conn.prepare(&format!(
        "SELECT {COLUMNS} , s.by IS NULL OR s.by > ?3 FROM facts f LEFT JOIN superseded s ON s.seq = f.seq
         WHERE f.seq >= ?1 AND f.seq <= ?2 AND f.at_us >= ?4 AND f.at_us < ?5"
    ))?;
    for run in runs {
        let (first, last): (i64, i64) = run?;
        let mut rows = statement.query([first, last, folded, from_us, to_us])?;
        while let Some(row) = rows.next()? {
            let mut fact = Fact::read(row)?;
            fact.counts = row.get(14)?;
            if filter.holds(&fact) {
                sums.cell((fact.user, fact.account)).add(&fact);
            }
        }
    }
    Ok(())
}

/// Whole days from the packs, and the broken days at both ends from their facts.
fn packs(conn: &Connection, filter: &Narrowed, folded: i64, sums: &mut Sums) -> rusqlite::Result<()> {
    let (oldest, newest): (i64, i64) = conn.query_row(
        "SELECT coalesce(min(min_us), 0), coalesce(max(max_us), 0) FROM batches",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if filter.since_us <= oldest && filter.until_us > newest {
        read_packs(conn, filter, (ALL, 0, 0), sums)?;
        return deltas(conn, filter, (i64::MIN, i64::MAX), sums);
    }
    let since = filter.since_us.max(oldest);
    let until = filter.until_us.min(newest + 1);
    if since >= until {
        return Ok(());
    }
    let (first, last) = (since.div_euclid(DAY_US), (until - 1).div_euclid(DAY_US));
    let whole = |day: i64| {
        // A day is whole if nothing of it lies outside the filter.
        filter.since_us <= (day * DAY_US).max(oldest)
            && filter.until_us >= ((day + 1) * DAY_US).min(newest + 1)
    };
    let from = if whole(first) { first } else { first + 1 };
    let to = if whole(last) { last } else { last - 1 };
    if from <= to {
        read_packs(conn, filter, (DAY, from, to), sums)?;
        deltas(conn, filter, (from, to), sums)?;
    }
    if from > first {
        folded_facts(conn, filter, folded, (since, until.min(from * DAY_US)), sums)?;
    }
    if to < last && (last > first || from == first) {
        folded_facts(conn, filter, folded, (since.max((to + 1) * DAY_US), until), sums)?;
    }
    Ok(())
}

fn read_packs(
    conn: &Connection,
    filter: &Narrowed,
    (grain, from, to): (i64, i64, i64),
    sums: &mut Sums,
) -> rusqlite::Result<()> {
    let part = filter.user.map(|user| fold::part((user, 0)));
    let mut statement = conn.prepare(
        "SELECT body FROM rollup WHERE grain = ?1 AND slot >= ?2 AND slot <= ?3 AND (?4 IS NULL OR part = ?4)",
    )?;
    let mut rows = statement.query(params![grain, from, to, part])?;
    while let Some(row) = rows.next()? {
        read_cells(row.get_ref(0)?.as_blob()?, filter, sums);
    }
    Ok(())
}

/// What was folded and is not yet in the packs.
fn deltas(
    conn: &Connection,
    filter: &Narrowed,
    (from, to): (i64, i64),
    sums: &mut Sums,
) -> rusqlite::Result<()> {
    let mut statement =
        conn.prepare("SELECT body FROM rollup WHERE grain = ?1 AND part >= ?2 AND part <= ?3")?;
    let mut rows = statement.query([DELTA, from, to])?;
    while let Some(row) = rows.next()? {
        read_cells(row.get_ref(0)?.as_blob()?, filter, sums);
    }
    Ok(())
}

fn read_cells(body: &[u8], filter: &Narrowed, sums: &mut Sums) {
    if filter.user.is_none() && sums.0.capacity() == 0 {
        // The first pack says how many there are; growing step by step would hash them all again each time.
        sums.0.reserve(body.len() / 4);
    }
    decode(body, |key, cell| {
        if filter.person(key) {
            sums.cell(key).merge(cell);
        }
    });
}
