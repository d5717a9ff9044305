//! A fact as reports count it. This is the one place that says what of an attempt counts as what.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::{
    events::Outcome,
    ledger::{
        fold::cell::Cell,
        kinds::{How, What},
        sketch::Sketch,
        stored::{outcome, source},
    },
    pricing::CostSource,
};

/// What of a fact is summed, and under what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fact {
    pub(crate) at_us: i64,
    pub(crate) user: i64,
    pub(crate) account: i64,
    pub(crate) what: What,
    pub(crate) how: How,
    /// Whether it is an attempt of its own, not the correction of one.
    original: bool,
    cost: i64,
    tokens: [i64; 5],
    latency_us: i64,
}

/// What purposes and routes stand for, as far as they were met.
#[derive(Debug)]
pub(crate) struct Lookup<'c> {
    conn: &'c Connection,
    purposes: HashMap<i64, What>,
    routes: HashMap<i64, (i64, i64)>,
}

impl<'c> Lookup<'c> {
    pub(crate) fn new(conn: &'c Connection) -> Self {
        Self { conn, purposes: HashMap::new(), routes: HashMap::new() }
    }

    fn what(&mut self, purpose: i64) -> rusqlite::Result<What> {
        if let Some(&what) = self.purposes.get(&purpose) {
            return Ok(what);
        }
        let what = self
            .conn
            .query_row("SELECT use_case, version, step FROM purposes WHERE id = ?1", [purpose], |row| {
                Ok(What { use_case: row.get(0)?, version: row.get(1)?, step: row.get(2)? })
            })
            .optional()?
            .unwrap_or(What::NONE);
        self.purposes.insert(purpose, what);
        Ok(what)
    }

    fn route(&mut self, route: i64) -> rusqlite::Result<(i64, i64)> {
        if let Some(&route) = self.routes.get(&route) {
            return Ok(route);
        }
        let sql = "SELECT provider, model FROM routes WHERE id = ?1";
        let found = self.conn.query_row(sql, [route], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let found = found.unwrap_or((0, 0));
        self.routes.insert(route, found);
        Ok(found)
    }
}

impl Fact {
    /// From a row that begins with all columns of `facts`, in their order.
    pub(crate) fn read(row: &Row<'_>, lookup: &mut Lookup<'_>) -> rusqlite::Result<Self> {
        let sum = |columns: &[usize]| -> rusqlite::Result<i64> {
            columns
                .iter()
                .try_fold(0_i64, |sum, &column| Ok(sum.saturating_add(row.get::<_, i64>(column)?.max(0))))
        };
        let tokens =
            [sum(&[19, 23, 25, 27])?, sum(&[20, 24, 26])?, sum(&[21, 22])?, sum(&[28, 30, 31])?, sum(&[29])?];
        let (provider, model) = lookup.route(row.get(13)?)?;
        let (outcome, source) = (outcome(row.get(7)?), source(row.get(16)?));
        // A refused attempt used nothing; it is not "of unknown cost".
        let used = tokens != [0; 5] || matches!(outcome, Outcome::Ok | Outcome::Aborted);
        let unpriced = used && source == CostSource::Unpriced;
        Ok(Self {
            at_us: row.get(3)?,
            user: row.get(10)?,
            account: row.get(11)?,
            what: lookup.what(row.get(12)?)?,
            how: How { provider, model, outcome, error: row.get(9)?, source, unpriced },
            original: row.get::<_, Option<i64>>(18)?.is_none(),
            cost: row.get(15)?,
            tokens,
            latency_us: row.get(4)?,
        })
    }

    /// What it adds; as a call too, if it `counts` as how its call ended.
    pub(crate) fn cell(&self, counts: bool) -> Cell {
        let mut cell = Cell {
            calls: i64::from(counts),
            attempts: i64::from(self.original),
            cost: self.cost.into(),
            tokens: self.tokens,
            first_ms: self.at_us.div_euclid(1000),
            last_ms: self.at_us.div_euclid(1000),
            ..Cell::default()
        };
        // What was refused cost nothing, and says nothing of what an attempt costs.
        if self.how.source != CostSource::Unpriced && (self.cost != 0 || self.tokens != [0; 5]) {
            cell.costs = Sketch::of(self.cost);
        }
        if self.how.outcome == Outcome::Ok {
            cell.latencies = Sketch::of(self.latency_us);
        }
        cell
    }

    /// Takes back that it counted as a call.
    pub(crate) fn taken_back() -> Cell {
        Cell { calls: -1, ..Cell::default() }
    }
}
