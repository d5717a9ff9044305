//! Cost drivers: who and what spend is made of, row by row, and a total that is the sum of the rows.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use rusqlite::Connection;

use crate::{
    ledger::read::{
        Totals,
        query::{Order, Plan, Query},
        sketch::Sketch,
        wide::{self, Wide},
    },
    money::Money,
    pricing::CostSource,
};

/// A report: the rows asked for, and the sum of all.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Drivers {
    /// The rows asked for, in order.
    pub rows: Vec<Driver>,
    /// How many rows there are, without the pinned one.
    pub count: usize,
    /// Attempts without a name in the first dimension; not among `rows`.
    pub nameless: Option<Driver>,
    /// The sum of all rows, those not asked for and the nameless one included.
    pub total: Figures,
}

/// One row.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Driver {
    /// A name for each dimension; `None` where none was given.
    pub names: Vec<Option<String>>,
    /// Its figures.
    pub figures: Figures,
    /// What only a page of rows is asked for.
    pub detail: Detail,
}

/// What is summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Calls, tokens and cost.
    pub totals: Totals,
    /// Cost by where it comes from, in the order of [`CostSource::ALL`].
    pub cost_by_source: [Money; 4],
    /// What was spent in the range before, if that was asked for.
    pub before: Option<Money>,
}

impl Figures {
    fn add_fact(&mut self, fact: &Wide) {
        fact.add_to(&mut self.totals);
        self.cost_by_source[fact.source as usize] += fact.money();
    }

    /// Adds another row's figures.
    pub fn add(&mut self, other: &Self) {
        self.totals.add(&other.totals);
        for (sum, n) in self.cost_by_source.iter_mut().zip(other.cost_by_source) {
            *sum += n;
        }
        self.before = match (self.before, other.before) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or_default() + b.unwrap_or_default()),
        };
    }

    /// What is left of these without `part`, a part of them. The times stay.
    pub fn less(&self, part: &Self) -> Self {
        let mut left = *self;
        left.totals.take(&part.totals);
        for (sum, n) in left.cost_by_source.iter_mut().zip(part.cost_by_source) {
            *sum = minus(*sum, n);
        }
        left.before = self.before.map(|before| minus(before, part.before.unwrap_or_default()));
        left
    }

    /// The cost that comes from `source`.
    pub fn from_source(&self, source: CostSource) -> Money {
        self.cost_by_source[source as usize]
    }

    /// Cost per call; zero without calls. Rounded down to a pico-dollar.
    pub fn per_call(&self) -> Money {
        let calls = i128::from(self.totals.calls.total());
        Money::from_pico(self.totals.cost.pico().checked_div(calls).unwrap_or_default())
    }
}

fn minus(a: Money, b: Money) -> Money {
    Money::from_pico(a.pico().saturating_sub(b.pico()))
}

/// Figures that are not sums.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Detail {
    /// Cost per slot of the range.
    pub trend: Vec<Money>,
    /// The use case most was spent on.
    pub top_use_case: Option<String>,
    /// The model most was spent on.
    pub top_model: Option<String>,
    /// What half of the attempts did not cost more than; within 3 %.
    pub cost_p50: Option<Money>,
    /// What 95 of 100 attempts did not cost more than; within 3 %.
    pub cost_p95: Option<Money>,
    /// What half of the answered attempts did not take longer than; within 3 %.
    pub latency_p50: Option<Duration>,
    /// What 95 of 100 answered attempts did not take longer than; within 3 %.
    pub latency_p95: Option<Duration>,
}

type Key = [i64; 4];
type Row = (Key, Figures);

/// The report; rows get their details if a `trend` of so many slots is wanted.
pub(super) fn drivers(conn: &Connection, query: &Query, bounds: &[SystemTime]) -> rusqlite::Result<Drivers> {
    let Some(plan) = Plan::of(conn, query)? else { return Ok(Drivers::default()) };
    let mut rows = sums(conn, &plan)?;
    let total = rows.values().fold(Figures::default(), |mut total, row| {
        total.add(row);
        total
    });
    let none = plan.by.first().map(|d| d.none());
    let nameless: Vec<Row> = rows
        .iter()
        .filter(|(key, row)| Some(key[0]) == none && row.totals.first_seen.is_some())
        .map(|(k, f)| (*k, *f))
        .collect();
    // Whoever was only there in the range before is no row, but his share of it is in the total.
    rows.retain(|key, row| Some(key[0]) != none && row.totals.first_seen.is_some());
    let count = rows.len();
    let rows = page(conn, query, &plan, rows)?;
    let mut details = details(conn, &plan, bounds, rows.iter().map(|row| row.0))?;
    let mut shown = Vec::with_capacity(rows.len());
    for (key, figures) in rows {
        let names = names(conn, &plan, &key)?;
        shown.push(Driver { names, figures, detail: details.remove(&key).unwrap_or_default() });
    }
    let nameless = (!nameless.is_empty()).then(|| {
        let figures = nameless.iter().fold(Figures::default(), |mut sum, row| {
            sum.add(&row.1);
            sum
        });
        Driver { names: vec![None; plan.by.len()], figures, detail: Detail::default() }
    });
    Ok(Drivers { rows: shown, count, nameless, total })
}

fn sums(conn: &Connection, plan: &Plan) -> rusqlite::Result<HashMap<Key, Figures>> {
    let mut rows: HashMap<Key, Figures> = HashMap::new();
    let compares = plan.before_us < plan.since_us;
    wide::scan(conn, (plan.before_us, plan.until_us), |fact| {
        if !plan.wants(fact) {
            return;
        }
        let row = rows.entry(plan.key(fact)).or_default();
        if compares {
            let before = row.before.get_or_insert(Money::ZERO);
            if fact.at_us < plan.since_us {
                *before += fact.money();
            }
        }
        if fact.at_us >= plan.since_us {
            row.add_fact(fact);
        }
    })?;
    Ok(rows)
}

fn page(
    conn: &Connection,
    query: &Query,
    plan: &Plan,
    rows: HashMap<Key, Figures>,
) -> rusqlite::Result<Vec<Row>> {
    let mut rows: Vec<Row> = rows.into_iter().collect();
    if query.order == Order::Name {
        let mut named = Vec::with_capacity(rows.len());
        for row in rows {
            named.push((names(conn, plan, &row.0)?, row));
        }
        named.sort_by(|a, b| a.0.cmp(&b.0));
        rows = named.into_iter().map(|(_, row)| row).collect();
    } else {
        rows.sort_by(|a, b| rank(query.order, &b.1).cmp(&rank(query.order, &a.1)).then(a.0.cmp(&b.0)));
    }
    if query.reverse {
        rows.reverse();
    }
    let limit = query.limit.unwrap_or(usize::MAX);
    Ok(rows.into_iter().skip(query.offset).take(limit).collect())
}

fn rank(order: Order, figures: &Figures) -> i128 {
    let totals = &figures.totals;
    let micros = |at: Option<SystemTime>| at.map_or(0, |at| i128::from(crate::ledger::rows::micros(at)));
    match order {
        Order::Cost | Order::Name => totals.cost.pico(),
        Order::Change => totals.cost.pico() - figures.before.unwrap_or_default().pico(),
        Order::Calls => totals.calls.total().into(),
        Order::Failed => (totals.calls.total() - totals.calls.ok).into(),
        Order::Tokens => totals.tokens.total().into(),
        Order::CostPerCall => figures.per_call().pico(),
        Order::LastSeen => micros(totals.last_seen),
        Order::FirstSeen => micros(totals.first_seen),
    }
}

fn names(conn: &Connection, plan: &Plan, key: &Key) -> rusqlite::Result<Vec<Option<String>>> {
    plan.by.iter().zip(key).map(|(dimension, &id)| dimension.label(conn, id)).collect()
}

#[derive(Default)]
struct Gathering {
    trend: Vec<Money>,
    use_cases: HashMap<i64, Money>,
    models: HashMap<i64, Money>,
    costs: Sketch,
    latencies: Sketch,
}

fn details(
    conn: &Connection,
    plan: &Plan,
    bounds: &[SystemTime],
    keys: impl Iterator<Item = Key>,
) -> rusqlite::Result<HashMap<Key, Detail>> {
    let bounds: Vec<i64> = bounds.iter().map(|&at| crate::ledger::rows::micros(at)).collect();
    let mut gathering: HashMap<Key, Gathering> = keys.map(|key| (key, Gathering::default())).collect();
    if bounds.len() < 2 || gathering.is_empty() {
        return Ok(HashMap::new());
    }
    wide::scan(conn, (plan.since_us, plan.until_us), |fact| {
        if plan.wants(fact)
            && let Some(row) = gathering.get_mut(&plan.key(fact))
        {
            row.see(fact, &bounds);
        }
    })?;
    gathering.into_iter().map(|(key, row)| Ok((key, row.finish(conn)?))).collect()
}

impl Gathering {
    fn see(&mut self, fact: &Wide, bounds: &[i64]) {
        self.trend.resize(bounds.len() - 1, Money::ZERO);
        if let Some(slot) = slot(bounds, fact.at_us) {
            self.trend[slot] += fact.money();
        }
        *self.use_cases.entry(fact.use_case).or_default() += fact.money();
        *self.models.entry(fact.model).or_default() += fact.money();
        // What was refused cost nothing, and says nothing of what a call costs.
        if fact.source != CostSource::Unpriced && (fact.cost != 0 || fact.tokens != [0; 5]) {
            self.costs.add(fact.cost);
        }
        if fact.outcome == crate::events::Outcome::Ok {
            self.latencies.add(fact.latency_us);
        }
    }

    fn finish(self, conn: &Connection) -> rusqlite::Result<Detail> {
        let top = |of: &HashMap<i64, Money>| {
            of.iter().max_by_key(|&(&id, &cost)| (cost, std::cmp::Reverse(id))).map_or(0, |(&id, _)| id)
        };
        let money = |percent| self.costs.percentile(percent).map(|pico| Money::from_pico(pico.into()));
        let time = |percent| self.latencies.percentile(percent).map(Duration::from_micros);
        Ok(Detail {
            top_use_case: super::name(conn, top(&self.use_cases))?,
            top_model: super::name(conn, top(&self.models))?,
            cost_p50: money(50),
            cost_p95: money(95),
            latency_p50: time(50),
            latency_p95: time(95),
            trend: self.trend,
        })
    }
}

/// Which slot of consecutive `bounds` a time falls into.
pub(super) fn slot(bounds: &[i64], at: i64) -> Option<usize> {
    let after = bounds.partition_point(|&bound| bound <= at);
    (after > 0 && after < bounds.len()).then(|| after - 1)
}
