//! Spend over time, split by who or what it was for.

use std::time::SystemTime;

use crate::{
    events::Outcome,
    ledger::{
        fold::unpack::Columns,
        read::{
            drivers::Slots,
            groups::Groups,
            query::{Key, Plan, Query},
            ranking::costs,
            scan::{Entry, Reader, Scope},
        },
        rows::micros,
    },
    money::Money,
};

/// Spend over time, the largest parts first.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Series {
    /// The parts: a name each, and the cost per slot.
    pub parts: Vec<Part>,
    /// Calls per slot that ended well.
    pub ok: Vec<u64>,
    /// Calls per slot that did not.
    pub not_ok: Vec<u64>,
}

/// A part of the whole.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Part {
    /// What it is.
    pub name: PartName,
    /// Cost per slot.
    pub costs: Vec<Money>,
    /// The sum.
    pub total: Money,
}

/// What a part of a series is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartName {
    /// The part of that name.
    Named(String),
    /// Attempts without a name.
    Nameless,
    /// All smaller parts together.
    #[default]
    Other,
}

/// The `most` largest parts by the query's first dimension, and the rest as one, per slot of consecutive `bounds`.
pub(super) fn series(
    reader: &Reader<'_>,
    query: &Query,
    bounds: &[SystemTime],
    most: usize,
) -> rusqlite::Result<Series> {
    let bounds: Vec<i64> = bounds.iter().map(|&at| micros(at)).collect();
    let slots = bounds.len().saturating_sub(1);
    let mut series = Series { parts: Vec::new(), ok: vec![0; slots], not_ok: vec![0; slots] };
    let (Some(plan), Some(&dimension)) = (Plan::of(reader.conn, query)?, query.by.first()) else {
        return Ok(series);
    };
    let (Some(&first), Some(&last)) = (bounds.first(), bounds.last()) else { return Ok(series) };
    // Neither what is outside of the slots nor the range before is in the picture.
    let plan = plan.only(dimension, (first, last));
    let mut keys = costs(reader, &plan, dimension)?;
    keys.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    keys.truncate(most);
    let keys: Vec<Key> = keys.into_iter().map(|(_, key)| key).collect();
    let mut left = whole(reader, &plan, &bounds, &mut series)?;
    for (key, costs) in parts(reader, &plan, &bounds, &keys)?.iter() {
        let name = dimension.label(reader.conn, key[0])?.map_or(PartName::Nameless, PartName::Named);
        for (left, cost) in left.iter_mut().zip(costs) {
            *left -= cost;
        }
        series.parts.push(part(name, costs));
    }
    let other = part(PartName::Other, &left);
    if other.costs.iter().any(|cost| *cost != Money::ZERO) {
        series.parts.push(other);
    }
    Ok(series)
}

fn part(name: PartName, costs: &[i128]) -> Part {
    let total = Money::from_pico(costs.iter().sum());
    Part { name, costs: costs.iter().copied().map(Money::from_pico).collect(), total }
}

/// The cost of everything per slot; its calls are counted in `series`.
fn whole(
    reader: &Reader<'_>,
    plan: &Plan,
    bounds: &[i64],
    series: &mut Series,
) -> rusqlite::Result<Vec<i128>> {
    let slots = series.ok.len();
    let (mut costs, mut ok, mut not_ok) = (vec![0_i128; slots], vec![0_i64; slots], vec![0_i64; slots]);
    let columns = Columns { calls: true, ..Columns::COST };
    let mut at = Slots::new(bounds);
    let scope = Scope { cuts: bounds.to_vec(), columns, ..plan.scope(plan.cube(&[], false)) };
    reader.scan(&scope, |entry| {
        let Some(slot) = at.find(entry.at_us) else { return };
        costs[slot] += entry.cell.cost;
        let calls = if entry.how.outcome == Outcome::Ok { &mut ok } else { &mut not_ok };
        calls[slot] += entry.cell.calls;
    })?;
    let count = |calls: Vec<i64>| calls.into_iter().map(|n| n.max(0).cast_unsigned()).collect();
    (series.ok, series.not_ok) = (count(ok), count(not_ok));
    Ok(costs)
}

/// The cost of these parts per slot, in their order.
fn parts(
    reader: &Reader<'_>,
    plan: &Plan,
    bounds: &[i64],
    keys: &[Key],
) -> rusqlite::Result<Groups<Vec<i128>>> {
    let begin = || {
        let mut parts: Groups<Vec<i128>> = Groups::default();
        for key in keys {
            *parts.at(*key) = vec![0; bounds.len().saturating_sub(1)];
        }
        (parts, Slots::new(bounds))
    };
    let scope = Scope {
        cuts: bounds.to_vec(),
        users: plan.users(keys),
        columns: Columns::COST,
        ..plan.scope(plan.cube(&plan.by, false))
    };
    let add = |(parts, at): &mut (Groups<Vec<i128>>, Slots<'_>), entry: &Entry<'_>| {
        if let (Some(slot), Some(part)) = (at.find(entry.at_us), parts.get_mut(&plan.key(entry))) {
            part[slot] += entry.cell.cost;
        }
    };
    let join = |sum: &mut Vec<i128>, other: Vec<i128>| {
        for (sum, cost) in sum.iter_mut().zip(other) {
            *sum += cost;
        }
    };
    let (parts, _) = reader.sum(&scope, begin, add, |(parts, _), (other, _)| parts.join(other, join))?;
    Ok(parts)
}
