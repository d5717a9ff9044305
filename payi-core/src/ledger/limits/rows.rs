//! Counters and holdings as rows.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{
    ledger::{
        dict::{Dictionary, Texts},
        held::Held,
        schema::TextKind,
    },
    limits::{Limit, Scope, Standing, Subject, decayed, falls_by},
};

/// A counter by its numbers: the limit's, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) limit: i64,
    pub(crate) a: i64,
    pub(crate) b: i64,
}

impl Key {
    /// That of a text subject; whoever is not in the dictionary yet has none.
    pub(crate) fn find(
        conn: &Connection,
        limit: i64,
        scope: Scope,
        subject: &Subject,
    ) -> rusqlite::Result<Option<Self>> {
        let (name, within) = kinds(scope);
        let id = |kind: Option<TextKind>, text: &str| -> rusqlite::Result<Option<i64>> {
            let Some(kind) = kind.filter(|_| !text.is_empty()) else { return Ok(Some(0)) };
            conn.prepare("SELECT id FROM dict WHERE kind = ?1 AND text = ?2")?
                .query_row(params![kind as u8, text], |row| row.get(0))
                .optional()
        };
        let (a, b) = (id(name, &subject.name)?, id(within, &subject.within)?);
        Ok(a.zip(b).map(|(a, b)| Self { limit, a, b }))
    }

    /// The same, with the texts put into the dictionary.
    pub(crate) fn of(
        conn: &Connection,
        dictionary: &mut Dictionary,
        (limit, scope): (i64, Scope),
        subject: &Subject,
    ) -> rusqlite::Result<Self> {
        let (name, within) = kinds(scope);
        let mut texts = Texts::new(conn);
        let mut id = |kind: Option<TextKind>, text: &str| match kind {
            Some(kind) => dictionary.text(&mut texts, kind, Some(text)),
            None => Ok(0),
        };
        Ok(Self { limit, a: id(name, &subject.name)?, b: id(within, &subject.within)? })
    }
}

/// The dictionaries of a subject's two texts.
fn kinds(scope: Scope) -> (Option<TextKind>, Option<TextKind>) {
    match scope {
        Scope::Attached | Scope::Everyone => (None, None),
        Scope::EachUser => (Some(TextKind::User), Some(TextKind::Account)),
        Scope::EachAccount => (Some(TextKind::Account), None),
        Scope::EachUseCase => (Some(TextKind::UseCase), None),
    }
}

const MEGA: i128 = 1_000_000;

/// An amount as two columns whose sums do not overflow.
pub(crate) fn split(amount: i128) -> (i64, i64) {
    let mega = i64::try_from(amount.div_euclid(MEGA)).unwrap_or(if amount < 0 { i64::MIN } else { i64::MAX });
    (mega, i64::try_from(amount.rem_euclid(MEGA)).unwrap_or(0))
}

/// And back.
pub(crate) fn join(mega: i64, rest: i64) -> i128 {
    i128::from(mega) * MEGA + i128::from(rest)
}

fn pair(row: &Row<'_>) -> rusqlite::Result<i128> {
    Ok(join(row.get::<_, Option<i64>>(0)?.unwrap_or(0), row.get::<_, Option<i64>>(1)?.unwrap_or(0)))
}

/// Counters and holdings in the file, for one transaction: many of them are looked at in each.
pub(crate) struct Counters<'c> {
    pub(crate) conn: &'c Connection,
    text: Held<'c>,
    spent: Held<'c>,
    add: Held<'c>,
    held: Held<'c>,
    hold: Held<'c>,
    release: Held<'c>,
}

impl<'c> Counters<'c> {
    pub(crate) const fn new(conn: &'c Connection) -> Self {
        Self {
            conn,
            text: Held::new(conn, "SELECT text FROM dict WHERE id = ?1"),
            spent: Held::new(
                conn,
                "SELECT sum(mega), sum(rest), min(slot) FROM counters
                 WHERE limit_no = ?1 AND a = ?2 AND b = ?3 AND slot BETWEEN ?4 AND ?5 AND (mega, rest) <> (0, 0)",
            ),
            add: Held::new(
                conn,
                "INSERT INTO counters(limit_no, a, b, slot, mega, rest, at_us) VALUES(?1, ?2, ?3, ?4, ?5, ?6, 0)
                 ON CONFLICT DO UPDATE SET mega = mega + excluded.mega + (rest + excluded.rest) / 1000000,
                   rest = (rest + excluded.rest) % 1000000",
            ),
            held: Held::new(
                conn,
                "SELECT mega, rest FROM holdings WHERE limit_no = ?1 AND a = ?2 AND b = ?3 AND process = ?4",
            ),
            hold: Held::new(
                conn,
                "INSERT INTO holdings VALUES(?1, ?2, ?3, ?4, ?5, ?6, 0)
                 ON CONFLICT DO UPDATE SET mega = excluded.mega, rest = excluded.rest",
            ),
            release: Held::new(
                conn,
                "DELETE FROM holdings WHERE limit_no = ?1 AND a = ?2 AND b = ?3 AND process = ?4",
            ),
        }
    }

    /// Whose a counter is; empty texts for a person who was forgotten.
    pub(crate) fn subject(&mut self, key: Key) -> rusqlite::Result<Subject> {
        let mut text = |id: i64| -> rusqlite::Result<String> {
            let text: Option<Option<String>> =
                self.text.get()?.query_row([id], |row| row.get(0)).optional()?;
            Ok(text.flatten().unwrap_or_default())
        };
        Ok(Subject::new(&text(key.a)?, &text(key.b)?))
    }

    /// What was spent in the window of a time, and the first slot with something in it.
    pub(crate) fn spent(
        &mut self,
        key: Key,
        limit: &Limit,
        at_us: i64,
    ) -> rusqlite::Result<(i128, Option<i64>)> {
        let slot = limit.window.slot(at_us).0;
        let counted = limit.window.counted(slot);
        self.spent.get()?.query_row(params![key.limit, key.a, key.b, counted.start(), counted.end()], |row| {
            Ok((pair(row)?, row.get(2)?))
        })
    }

    /// Adds to what was spent in a slot.
    pub(crate) fn add(&mut self, key: Key, slot: i64, amount: i128) -> rusqlite::Result<()> {
        let (mega, rest) = split(amount);
        self.add.get()?.execute(params![key.limit, key.a, key.b, slot, mega, rest]).map(drop)
    }

    /// Changes what a process holds; nothing below zero, and nothing left of nothing.
    pub(crate) fn hold(&mut self, key: Key, process: i64, change: i128) -> rusqlite::Result<()> {
        let holding = [key.limit, key.a, key.b, process];
        let known: Option<i128> = self.held.get()?.query_row(holding, pair).optional()?;
        let now = known.unwrap_or(0) + change;
        let (mega, rest) = split(now);
        match (known, now > 0) {
            (None, false) => Ok(0),
            (Some(_), false) => self.release.get()?.execute(holding),
            (_, true) => self.hold.get()?.execute(params![key.limit, key.a, key.b, process, mega, rest]),
        }
        .map(drop)
    }
}

/// A rate's level, and when it was that.
pub(crate) fn level(conn: &Connection, key: Key) -> rusqlite::Result<(i128, i64)> {
    let known = conn
        .prepare(
            "SELECT mega, rest, at_us FROM counters WHERE limit_no = ?1 AND a = ?2 AND b = ?3 AND slot = 0",
        )?
        .query_row(params![key.limit, key.a, key.b], |row| Ok((pair(row)?, row.get(2)?)))
        .optional()?;
    Ok(known.unwrap_or_default())
}

pub(crate) fn set_level(conn: &Connection, key: Key, (level, at_us): (i128, i64)) -> rusqlite::Result<()> {
    let (mega, rest) = split(level);
    conn.prepare("INSERT OR REPLACE INTO counters VALUES(?1, ?2, ?3, 0, ?4, ?5, ?6)")?
        .execute(params![key.limit, key.a, key.b, mega, rest, at_us])
        .map(drop)
}

/// What all processes together hold.
pub(crate) fn held(conn: &Connection, key: Key) -> rusqlite::Result<i128> {
    conn.prepare("SELECT sum(mega), sum(rest) FROM holdings WHERE limit_no = ?1 AND a = ?2 AND b = ?3")?
        .query_row(params![key.limit, key.a, key.b], pair)
}

/// How a counter stands at a time.
pub(crate) fn standing(
    file: &mut Counters<'_>,
    key: Key,
    limit: &Limit,
    (subject, at_us): (&Subject, i64),
) -> rusqlite::Result<Standing> {
    let (max, held) = (limit.max_of(subject), held(file.conn, key)?);
    let mut standing = Standing::default();
    (standing.max, standing.held) = (max, held);
    if let Some(per_us) = limit.rate_us() {
        let (level, then) = level(file.conn, key)?;
        let (level, then) = decayed(level, then, at_us, max, per_us);
        standing.settled = level;
        standing.frees_us = (level > 0).then(|| falls_by(1, then, max, per_us)).flatten();
    } else {
        let (settled, first) = file.spent(key, limit, at_us)?;
        standing.settled = settled;
        standing.frees_us = first.and_then(|slot| limit.window.forgotten(slot));
    }
    Ok(standing)
}
