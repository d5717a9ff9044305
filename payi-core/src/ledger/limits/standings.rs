//! All counters of a limit: what they have come to together, and which have come farthest.
//!
//! A limit for each user has as many counters as there are users. They are read in two statements, however many there
//! are, and only those that are shown are looked at one by one.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, params};

use crate::{
    ledger::limits::rows::{self, Counters, Key},
    limits::{Limit, Standing, Subject, decayed, farthest},
};

/// What the counters of a limit have come to at a time, and what of that is over their maxima.
pub(crate) fn totals(
    conn: &Connection,
    number: i64,
    limit: &Limit,
    at_us: i64,
) -> rusqlite::Result<(i128, i128)> {
    let all = standings(conn, number, limit, at_us)?;
    Ok(all.values().fold((0, 0), |(settled, overrun), standing| {
        (settled + standing.settled, overrun + (standing.settled - standing.max).max(0))
    }))
}

/// Up to `most` counters with something in them, those that have come farthest first. Of those that have come equally
/// far, the ones seen first are shown, by their names.
pub(crate) fn leading(
    conn: &Connection,
    number: i64,
    limit: &Limit,
    at_us: i64,
    most: usize,
) -> rusqlite::Result<Vec<(Subject, Standing)>> {
    let mut all: Vec<_> = standings(conn, number, limit, at_us)?.into_iter().collect();
    all.retain(|(_, standing)| standing.settled != 0 || standing.held != 0);
    if most < all.len() {
        all.select_nth_unstable_by(most, |(a, x), (b, y)| farthest(x, y).then_with(|| a.cmp(b)));
        all.truncate(most);
    }
    let mut file = Counters::new(conn);
    let shown = all.into_iter().map(|((a, b), _)| {
        let key = Key { limit: number, a, b };
        let subject = file.subject(key)?;
        let standing = rows::standing(&mut file, key, limit, (&subject, at_us))?;
        Ok((subject, standing))
    });
    let mut shown = shown.collect::<rusqlite::Result<Vec<_>>>()?;
    shown.sort_by(|(a, x), (b, y)| farthest(x, y).then_with(|| a.cmp(b)));
    Ok(shown)
}

/// How every counter stands, by the numbers of whose it is; not when it frees.
fn standings(
    conn: &Connection,
    number: i64,
    limit: &Limit,
    at_us: i64,
) -> rusqlite::Result<BTreeMap<(i64, i64), Standing>> {
    let mut others: HashMap<(i64, i64), i128> = HashMap::new();
    for (subject, max) in limit.overrides.iter().filter(|(subject, _)| limit.counts_apart(subject)) {
        others.extend(Key::find(conn, number, limit.scope, subject)?.map(|key| ((key.a, key.b), *max)));
    }
    let untouched = |whose: (i64, i64)| {
        let max = others.get(&whose).copied().unwrap_or(limit.max);
        Standing { max, ..Standing::default() }
    };
    let mut all = BTreeMap::new();
    let counted = limit.window.counted(limit.window.slot(at_us).0);
    let mut spent = conn.prepare(
        "SELECT a, b, sum(mega), sum(rest), max(at_us) FROM counters
         WHERE limit_no = ?1 AND slot BETWEEN ?2 AND ?3 GROUP BY a, b",
    )?;
    let mut found = spent.query(params![number, counted.start(), counted.end()])?;
    while let Some(row) = found.next()? {
        let whose = (row.get(0)?, row.get(1)?);
        let mut standing = untouched(whose);
        standing.settled = rows::join(row.get(2)?, row.get(3)?);
        if let Some(per_us) = limit.rate_us() {
            standing.settled = decayed(standing.settled, row.get(4)?, at_us, standing.max, per_us).0;
        }
        all.insert(whose, standing);
    }
    let mut held =
        conn.prepare("SELECT a, b, sum(mega), sum(rest) FROM holdings WHERE limit_no = ?1 GROUP BY a, b")?;
    let mut found = held.query([number])?;
    while let Some(row) = found.next()? {
        let whose = (row.get(0)?, row.get(1)?);
        all.entry(whose).or_insert_with(|| untouched(whose)).held = rows::join(row.get(2)?, row.get(3)?);
    }
    Ok(all)
}
