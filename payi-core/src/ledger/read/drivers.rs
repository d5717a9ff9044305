//! Cost drivers: who and what spend is made of, row by row, and a total that is the sum of the rows.

use std::{
    cmp::Ordering,
    collections::HashSet,
    time::{Duration, SystemTime},
};

use crate::{
    events::Outcome,
    ledger::{
        read::{
            Names, Totals,
            groups::{Groups, Pile},
            query::{Key, Order, Plan, Query},
            scan::{Entry, Reader, Scope},
            sums::Sum,
        },
        rows,
        sketch::Histogram,
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
    /// How many different names these rows have in the first dimension: a user of two accounts is two rows.
    pub distinct: usize,
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
    fn of(sum: &Sum) -> Self {
        Self {
            totals: sum.totals(),
            cost_by_source: sum.by_source.map(Money::from_pico),
            before: sum.before.map(Money::from_pico),
        }
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
    /// What half of the attempts did not cost more than; within 3.2 %.
    pub cost_p50: Option<Money>,
    /// What 95 of 100 attempts did not cost more than; within 3.2 %.
    pub cost_p95: Option<Money>,
    /// What half of the answered attempts did not take longer than; within 3.2 %.
    pub latency_p50: Option<Duration>,
    /// What 95 of 100 answered attempts did not take longer than; within 3.2 %.
    pub latency_p95: Option<Duration>,
}

/// What rows are ordered by, in the making.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    sum: i128,
    calls: i64,
    seen: bool,
}

impl Weight {
    fn add(&mut self, order: Order, entry: &Entry<'_>, in_range: bool) {
        let cell = entry.cell;
        let cost = if in_range { cell.cost } else { -cell.cost };
        if !in_range {
            self.sum += if order == Order::Change { cost } else { 0 };
            return;
        }
        match order {
            Order::Cost | Order::Name | Order::Change => self.sum += cost,
            Order::Failed if entry.how.outcome != Outcome::Failed => {}
            Order::Calls | Order::Failed => self.sum += i128::from(cell.calls),
            Order::Tokens => self.sum += cell.tokens.iter().map(|&n| i128::from(n)).sum::<i128>(),
            Order::CostPerCall => (self.sum, self.calls) = (self.sum + cost, self.calls + cell.calls),
            Order::LastSeen if cell.is_seen() => self.sum = self.sum.max(cell.last_ms.into()),
            Order::FirstSeen if cell.is_seen() && self.seen => self.sum = self.sum.min(cell.first_ms.into()),
            Order::FirstSeen if cell.is_seen() => self.sum = cell.first_ms.into(),
            Order::LastSeen | Order::FirstSeen => {}
        }
        self.seen |= cell.is_seen();
    }

    fn rank(&self, order: Order) -> i128 {
        match order {
            Order::CostPerCall => self.sum.checked_div(self.calls.into()).unwrap_or_default(),
            _ => self.sum,
        }
    }
}

/// All rows, by no more than what orders them; and the sums that need no rows.
pub(super) struct Ranked {
    rows: Groups<Weight>,
    total: Sum,
    nameless: Sum,
}

/// Reads everything once.
pub(super) fn rank(reader: &Reader<'_>, plan: &Plan, order: Order) -> rusqlite::Result<Ranked> {
    let mut ranked = Ranked { rows: Groups::default(), total: Sum::default(), nameless: Sum::default() };
    let none = plan.by.first().map(|d| d.none());
    reader.scan(&plan.scope(plan.cube(&plan.by, false)), |entry| {
        let (key, in_range) = (plan.key(entry), entry.at_us >= plan.since_us);
        plan.add(&mut ranked.total, entry);
        if Some(key[0]) == none {
            plan.add(&mut ranked.nameless, entry);
        }
        ranked.rows.at(key).add(order, entry, in_range);
    })?;
    Ok(ranked)
}

impl Ranked {
    /// The sum of all.
    pub(super) fn total(&self) -> Totals {
        self.total.totals()
    }

    /// Rows that are there in the range, without those that `leave` names.
    pub(super) fn keys(&self, order: Order, leave: impl Fn(&Key) -> bool) -> Vec<(i128, Key)> {
        let rows = self.rows.iter().filter(|(key, weight)| weight.seen && !leave(key));
        rows.map(|(key, weight)| (weight.rank(order), *key)).collect()
    }
}

/// The figures of these rows, in their order.
pub(super) fn figures(reader: &Reader<'_>, plan: &Plan, keys: &[Key]) -> rusqlite::Result<Vec<Figures>> {
    let mut rows: Groups<Sum> = keys.iter().copied().collect();
    if !keys.is_empty() {
        let scope = Scope { users: plan.users(keys), ..plan.scope(plan.cube(&plan.by, false)) };
        reader.scan(&scope, |entry| {
            if let Some(row) = rows.get(plan.key(entry)) {
                plan.add(row, entry);
            }
        })?;
    }
    Ok(rows.iter().map(|(_, sum)| Figures::of(sum)).collect())
}

impl Plan {
    /// Adds an entry to the range it is of.
    fn add(&self, sum: &mut Sum, entry: &Entry<'_>) {
        if self.before_us < self.since_us {
            sum.before.get_or_insert(0);
            if entry.at_us < self.since_us {
                return sum.add_before(entry);
            }
        }
        sum.add(entry);
    }
}

/// The report; rows get their details if there are `bounds` of a trend.
pub(super) fn drivers(
    reader: &Reader<'_>,
    query: &Query,
    bounds: &[SystemTime],
) -> rusqlite::Result<Drivers> {
    let Some(plan) = Plan::of(reader.conn, query)? else { return Ok(Drivers::default()) };
    let ranked = rank(reader, &plan, query.order)?;
    let none = plan.by.first().map(|d| d.none());
    // Whoever was only there in the range before is no row, but his share of it is in the total.
    let rows = ranked.keys(query.order, |key| Some(key[0]) == none);
    let count = rows.len();
    let distinct = match plan.by.len() {
        0 | 1 => count,
        _ => rows.iter().map(|(_, key)| key[0]).collect::<HashSet<_>>().len(),
    };
    let keys = page(reader, query, &plan, rows)?;
    let figures = figures(reader, &plan, &keys)?;
    let mut details = details(reader, &plan, bounds, &keys)?.into_iter();
    let mut names = Names::new(reader.conn, &plan.by, keys.len())?;
    let mut rows = Vec::with_capacity(keys.len());
    for (key, figures) in keys.iter().zip(figures) {
        let names = names.row(&plan.by, key)?;
        rows.push(Driver { names, figures, detail: details.next().unwrap_or_default() });
    }
    let nameless = ranked.nameless.is_seen().then(|| Driver {
        names: vec![None; plan.by.len()],
        figures: Figures::of(&ranked.nameless),
        detail: Detail::default(),
    });
    Ok(Drivers { rows, count, distinct, nameless, total: Figures::of(&ranked.total) })
}

/// The rows of the page that is asked for, in order.
fn page(
    reader: &Reader<'_>,
    query: &Query,
    plan: &Plan,
    mut rows: Vec<(i128, Key)>,
) -> rusqlite::Result<Vec<Key>> {
    let limit = query.limit.unwrap_or(usize::MAX);
    let directed = |order: Ordering| if query.reverse { order.reverse() } else { order };
    if query.order == Order::Name {
        let mut list = named(reader, plan, rows)?;
        list.sort_by(|a, b| directed((&a.1, &a.2).cmp(&(&b.1, &b.2))));
        return Ok(list.into_iter().map(|(.., key)| key).skip(query.offset).take(limit).collect());
    }
    let order = |a: &(i128, Key), b: &(i128, Key)| directed(b.0.cmp(&a.0)).then(a.1.cmp(&b.1));
    let end = query.offset.saturating_add(limit);
    if end < rows.len() {
        rows.select_nth_unstable_by(end, order);
        rows.truncate(end);
    }
    rows.sort_unstable_by(order);
    // Of equal figures the names decide, on one page: which rows are on it is told without reading names.
    let mut list = named(reader, plan, rows.into_iter().skip(query.offset).collect())?;
    list.sort_by(|a, b| directed(b.0.cmp(&a.0)).then_with(|| a.1.cmp(&b.1)));
    Ok(list.into_iter().map(|(.., key)| key).collect())
}

/// The figure by which a row is put in its place, its names, and its key.
type Named = (i128, Vec<Option<String>>, Key);

fn named(reader: &Reader<'_>, plan: &Plan, rows: Vec<(i128, Key)>) -> rusqlite::Result<Vec<Named>> {
    let mut names = Names::new(reader.conn, &plan.by, rows.len())?;
    rows.into_iter().map(|(figure, key)| Ok((figure, names.row(&plan.by, &key)?, key))).collect()
}

/// What a detail is made of.
#[derive(Debug, Default)]
struct Gathering {
    trend: Vec<i128>,
    use_cases: Pile,
    models: Pile,
    costs: Histogram,
    latencies: Histogram,
}

/// The details of these rows, in their order; none without bounds.
fn details(
    reader: &Reader<'_>,
    plan: &Plan,
    bounds: &[SystemTime],
    keys: &[Key],
) -> rusqlite::Result<Vec<Detail>> {
    let bounds: Vec<i64> = bounds.iter().map(|&at| rows::micros(at)).collect();
    if bounds.len() < 2 || keys.is_empty() {
        return Ok(Vec::new());
    }
    let mut gathering: Groups<Gathering> = keys.iter().copied().collect();
    let scope = Scope {
        from_us: plan.since_us,
        cuts: bounds.clone(),
        users: plan.users(keys),
        sketches: true,
        ..plan.scope(plan.cube(&plan.by, true))
    };
    reader.scan(&scope, |entry| {
        if let Some(row) = gathering.get(plan.key(entry)) {
            row.see(entry, &bounds);
        }
    })?;
    gathering.iter().map(|(_, row)| row.finish(reader)).collect()
}

impl Gathering {
    fn see(&mut self, entry: &Entry<'_>, bounds: &[i64]) {
        let cell = entry.cell;
        self.trend.resize(bounds.len() - 1, 0);
        if let Some(slot) = slot(bounds, entry.at_us) {
            self.trend[slot] += cell.cost;
        }
        self.use_cases.add(entry.what.use_case, cell.cost);
        self.models.add(entry.how.model, cell.cost);
        self.costs.add(&cell.costs);
        self.latencies.add(&cell.latencies);
    }

    fn finish(&self, reader: &Reader<'_>) -> rusqlite::Result<Detail> {
        let money = |percent| self.costs.percentile(percent).map(|pico| Money::from_pico(pico.into()));
        let time = |percent| self.latencies.percentile(percent).map(Duration::from_micros);
        Ok(Detail {
            top_use_case: super::name(reader.conn, self.use_cases.top())?,
            top_model: super::name(reader.conn, self.models.top())?,
            cost_p50: money(50),
            cost_p95: money(95),
            latency_p50: time(50),
            latency_p95: time(95),
            trend: self.trend.iter().copied().map(Money::from_pico).collect(),
        })
    }
}

/// Which slot of consecutive `bounds` a time falls into.
pub(super) fn slot(bounds: &[i64], at: i64) -> Option<usize> {
    let after = bounds.partition_point(|&bound| bound <= at);
    (after > 0 && after < bounds.len()).then(|| after - 1)
}
