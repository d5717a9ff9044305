//! Spend over time, split by who or what it was for.

use std::{collections::HashMap, time::SystemTime};

use rusqlite::Connection;

use crate::{
    ledger::{
        read::{
            drivers::slot,
            query::{Plan, Query},
            wide,
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
    conn: &Connection,
    query: &Query,
    bounds: &[SystemTime],
    most: usize,
) -> rusqlite::Result<Series> {
    let bounds: Vec<i64> = bounds.iter().map(|&at| micros(at)).collect();
    let slots = bounds.len().saturating_sub(1);
    let mut series = Series { parts: Vec::new(), ok: vec![0; slots], not_ok: vec![0; slots] };
    let (Some(plan), Some(&dimension)) = (Plan::of(conn, query)?, query.by.first()) else {
        return Ok(series);
    };
    let mut parts: HashMap<i64, HashMap<usize, Money>> = HashMap::new();
    wide::scan(conn, (plan.since_us, plan.until_us), |fact| {
        let Some(slot) = slot(&bounds, fact.at_us) else { return };
        if !plan.wants(fact) {
            return;
        }
        *parts.entry(dimension.of(fact)).or_default().entry(slot).or_default() += fact.money();
        if fact.counts {
            let ok = fact.outcome == crate::events::Outcome::Ok;
            let counts = if ok { &mut series.ok } else { &mut series.not_ok };
            counts[slot] += 1;
        }
    })?;
    let mut parts: Vec<(i64, Money, HashMap<usize, Money>)> =
        parts.into_iter().map(|(id, costs)| (id, costs.values().copied().sum(), costs)).collect();
    parts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let mut other = Part { costs: vec![Money::ZERO; slots], ..Part::default() };
    for (i, (id, total, costs)) in parts.into_iter().enumerate() {
        let mut fresh = Part { costs: vec![Money::ZERO; slots], ..Part::default() };
        let part = if i < most { &mut fresh } else { &mut other };
        for (slot, cost) in costs {
            part.costs[slot] += cost;
        }
        part.total += total;
        if i < most {
            fresh.name = dimension.label(conn, id)?.map_or(PartName::Nameless, PartName::Named);
            series.parts.push(fresh);
        }
    }
    if other.total != Money::ZERO {
        series.parts.push(other);
    }
    Ok(series)
}
