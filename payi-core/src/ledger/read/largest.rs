//! The attempts that cost the most, took the longest or used the most tokens.
//!
//! The ledger knows of each fold the most that one of its facts has. Folds are gone through from the largest on, and no
//! further than to one that cannot hold what is looked for. Kept of what is read are a number and an amount, of no more
//! attempts than are wanted.

use std::cmp::Reverse;

use rusqlite::{params_from_iter, types::Value};

use crate::ledger::read::{
    query::Query,
    requests::{RequestOrder, Span, conditions, integer, tokens},
    scan::Reader,
};

/// What attempts are ordered by, and what a fold knows of it; `None` for time.
fn amount(order: RequestOrder) -> Option<(String, &'static str)> {
    match order {
        RequestOrder::Time => None,
        RequestOrder::Cost => Some(("f.cost".into(), "cost")),
        RequestOrder::Latency => Some(("f.latency_us".into(), "latency")),
        RequestOrder::Tokens => Some((tokens(), "tokens")),
    }
}

/// Facts that were folded together, or that are not yet folded.
struct Fold {
    first: i64,
    last: i64,
    most: i64,
}

/// The numbers of the first `wanted` attempts in an order by amount, of those that match and began in one of `spans`;
/// `None` if the order is not by amount.
pub(super) fn largest(
    reader: &Reader<'_>,
    query: &Query,
    order: RequestOrder,
    spans: &[Span],
    wanted: usize,
) -> rusqlite::Result<Option<Vec<i64>>> {
    let Some((amount, most)) = amount(order) else { return Ok(None) };
    let (from, to) =
        spans.iter().fold((i64::MAX, i64::MIN), |all, span| (all.0.min(span.0), all.1.max(span.1)));
    let (condition, values) = conditions(query);
    let (beyond, direction) = if query.reverse { ("<=", "ASC") } else { (">=", "DESC") };
    let mut statement = reader.conn.prepare(&format!(
        "SELECT f.seq, {amount} AS amount FROM facts f LEFT JOIN dict u ON u.id = f.user
         WHERE {condition} AND f.seq >= ? AND f.seq <= ? AND f.at_us >= ? AND f.at_us < ? AND amount {beyond} ?
         ORDER BY amount {direction}, f.seq {direction} LIMIT ?"
    ))?;
    let mut found: Vec<(i64, i64)> = Vec::new();
    for fold in folds(reader, spans, most)? {
        let last = found.get(wanted.saturating_sub(1)).map(|&(amount, _)| amount);
        if !query.reverse && last.is_some_and(|last| fold.most < last) {
            break;
        }
        let any = if query.reverse { i64::MAX } else { i64::MIN };
        let ends = [fold.first, fold.last, from, to, last.unwrap_or(any)].map(Value::Integer);
        let values = values.iter().cloned().chain(ends).chain([integer(wanted)]);
        for row in statement.query_map(params_from_iter(values), |row| Ok((row.get(1)?, row.get(0)?)))? {
            found.push(row?);
        }
        found.sort_unstable();
        if !query.reverse {
            found.reverse();
        }
        found.truncate(wanted);
    }
    Ok(Some(found.into_iter().map(|(_, seq)| seq).collect()))
}

/// The folds that have facts of these spans, those with the largest first; before them all, what is not folded.
fn folds(reader: &Reader<'_>, spans: &[Span], most: &str) -> rusqlite::Result<Vec<Fold>> {
    let mut folds = vec![Fold { first: reader.folded + 1, last: i64::MAX, most: i64::MAX }];
    // Of a fold of an older payi it is not known: it may have any amount.
    let mut statement = reader.conn.prepare(&format!(
        "SELECT first_seq, last_seq, coalesce(p.{most}, 9223372036854775807), min_us, max_us
         FROM batches b LEFT JOIN peaks p ON p.batch = b.id"
    ))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (min, max): (i64, i64) = (row.get(3)?, row.get(4)?);
        if spans.iter().any(|&(from, to)| max >= from && min < to) {
            folds.push(Fold { first: row.get(0)?, last: row.get(1)?, most: row.get(2)? });
        }
    }
    folds.sort_by_key(|fold| Reverse(fold.most));
    Ok(folds)
}
