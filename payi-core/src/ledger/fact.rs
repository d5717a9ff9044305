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
    /// The number of the abandoned one that it corrects; it is then no attempt of its own.
    corrects: Option<i64>,
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

    /// The fact that `fact` corrects, if it corrects one that is still there.
    pub(crate) fn corrected(&mut self, fact: &Fact) -> rusqlite::Result<Option<Fact>> {
        let Some(seq) = fact.corrects else { return Ok(None) };
        let mut statement = self.conn.prepare("SELECT * FROM facts WHERE seq = ?1")?;
        statement.query_row([seq], |row| Fact::read(row, self)).optional()
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
            corrects: row.get(18)?,
            cost: row.get(15)?,
            tokens,
            latency_us: row.get(4)?,
        })
    }

    /// What lists of single attempts are ordered by: cost, latency, tokens.
    pub(crate) fn amounts(&self) -> [i64; 3] {
        [self.cost, self.latency_us, self.tokens.iter().fold(0, |sum: i64, n| sum.saturating_add(*n))]
    }

    /// What a part of it adds.
    pub(crate) fn cell(&self, part: Part) -> Cell {
        match part {
            Part::CallBack => Cell { calls: -1, ..Cell::default() },
            Part::SumsBack => {
                Cell { cost: -i128::from(self.cost), tokens: self.tokens.map(|n| -n), ..Cell::default() }
            }
            Part::All | Part::WithoutCall => Cell {
                calls: i64::from(part == Part::All),
                attempts: i64::from(self.corrects.is_none()),
                cost: self.cost.into(),
                tokens: self.tokens,
                costs: self.costs(),
                latencies: match self.how.outcome {
                    Outcome::Ok => Sketch::of(self.latency_us),
                    _ => Sketch::default(),
                },
                first_ms: self.at_us.div_euclid(1000),
                last_ms: self.at_us.div_euclid(1000),
            },
        }
    }

    /// What it says of what attempts cost: nothing, if it was refused and cost nothing, or if it was abandoned, so that
    /// its cost is what had been reserved for it.
    fn costs(&self) -> Sketch {
        let known = self.how.source != CostSource::Unpriced && self.how.outcome != Outcome::Abandoned;
        let used = self.cost != 0 || self.tokens != [0; 5];
        if known && used { Sketch::of(self.cost) } else { Sketch::default() }
    }
}

/// What of a fact a cell holds. A later fact may take back what an earlier one added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything: it is, so far, how its call ended.
    All,
    /// All but the call, which ended otherwise.
    WithoutCall,
    /// The call, taken back, because it ended otherwise.
    CallBack,
    /// Cost and tokens, taken back, because a correction says what they really were.
    SumsBack,
}
