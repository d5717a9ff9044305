//! Cost drivers: who and what spend is made of, row by row, and a total that is the sum of the rows.

use std::{
    cmp::Ordering,
    ops::Range,
    time::{Duration, SystemTime},
};

use crate::{
    ledger::{
        fold::unpack::Columns,
        read::{
            Names, Totals,
            groups::{Groups, Pile},
            query::{Key, Order, Plan, Query},
            ranking::{Ranked, rank},
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

/// The figures of these rows, in their order.
pub(super) fn figures(
    reader: &Reader<'_>,
    plan: &Plan,
    ranked: &Ranked,
    keys: &[Key],
) -> rusqlite::Result<Vec<Figures>> {
    if let Some(known) = ranked.sums(keys) {
        return Ok(known.iter().map(Figures::of).collect());
    }
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let scope = Scope { users: plan.users(keys), ..plan.scope(plan.cube(&plan.by, false)) };
    let begin = || -> Groups<Sum> { keys.iter().copied().collect() };
    let add = |rows: &mut Groups<Sum>, entry: &Entry<'_>| {
        if let Some(row) = rows.get_mut(&plan.key(entry)) {
            plan.add(row, entry);
        }
    };
    let rows = reader.sum(&scope, begin, add, |rows, other| rows.join(other, |sum, part| sum.join(&part)))?;
    Ok(rows.iter().map(|(_, sum)| Figures::of(sum)).collect())
}

impl Plan {
    /// Adds an entry to the range it is of.
    pub(super) fn add(&self, sum: &mut Sum, entry: &Entry<'_>) {
        if self.before_us < self.since_us {
            sum.before.get_or_insert(0);
            if entry.at_us < self.since_us {
                return sum.add_before(entry);
            }
        }
        sum.add(entry);
    }
}

/// A report to make; its rows get their details if there are bounds of a trend.
pub(super) type Asked<'b> = (Query, &'b [SystemTime]);

/// Reports, in their order. Those that differ only in what they are split by are read together.
pub(super) fn drivers(reader: &Reader<'_>, asked: &[Asked<'_>]) -> rusqlite::Result<Vec<Drivers>> {
    let plans = asked.iter().map(|(query, _)| Plan::of(reader.conn, query));
    let plans: Vec<Option<Plan>> = plans.collect::<rusqlite::Result<_>>()?;
    let mut done: Vec<Option<Drivers>> =
        plans.iter().map(|plan| plan.is_none().then(Drivers::default)).collect();
    while let Some(first) = done.iter().position(Option::is_none) {
        let alike = |at: &usize| match (&plans[first], &plans[*at]) {
            (Some(first), Some(plan)) => first.reads_as(plan),
            _ => false,
        };
        let together: Vec<usize> = (first..asked.len()).filter(alike).collect();
        let wanted: Vec<_> =
            together.iter().filter_map(|&at| Some((plans[at].as_ref()?, asked[at].0.order))).collect();
        let ranked = rank(reader, &wanted)?;
        for ((&at, (plan, _)), ranked) in together.iter().zip(wanted).zip(ranked) {
            done[at] = Some(report(reader, &asked[at], plan, &ranked)?);
        }
    }
    Ok(done.into_iter().flatten().collect())
}

fn report(
    reader: &Reader<'_>,
    (query, bounds): &Asked<'_>,
    plan: &Plan,
    ranked: &Ranked,
) -> rusqlite::Result<Drivers> {
    let none = plan.by.first().map(|d| d.none());
    // Whoever was only there in the range before is no row, but his share of it is in the total.
    let rows = ranked.keys(|key| Some(key[0]) == none);
    let count = rows.len();
    let distinct = match plan.by.len() {
        0 | 1 => count,
        _ => rows.iter().map(|(_, key)| [key[0], 0, 0, 0]).collect::<Groups<()>>().len(),
    };
    let list = page(reader, query, plan, rows)?;
    let keys: Vec<Key> = list.iter().map(|(key, _)| *key).collect();
    let figures = figures(reader, plan, ranked, &keys)?;
    let mut details = details(reader, plan, bounds, &keys)?.into_iter();
    let rows = list.into_iter().zip(figures);
    let rows = rows.map(|((_, names), figures)| {
        let detail = details.next().unwrap_or_default();
        Driver { names, figures, detail }
    });
    let rows = rows.collect();
    let nameless = ranked.nameless().is_seen().then(|| Driver {
        names: vec![None; plan.by.len()],
        figures: Figures::of(ranked.nameless()),
        detail: Detail::default(),
    });
    Ok(Drivers { rows, count, distinct, nameless, total: Figures::of(ranked.total_sum()) })
}

/// A row: its key, and its names.
type Named = (Key, Vec<Option<String>>);

/// The rows of the page that is asked for, in order; of equal figures the names decide.
pub(super) fn page(
    reader: &Reader<'_>,
    query: &Query,
    plan: &Plan,
    mut rows: Vec<(i128, Key)>,
) -> rusqlite::Result<Vec<Named>> {
    let limit = query.limit.unwrap_or(usize::MAX);
    let directed = |order: Ordering| if query.reverse { order.reverse() } else { order };
    if query.order == Order::Name {
        let mut list = named(reader, plan, rows)?;
        list.sort_by(|(_, a), (_, b)| directed((&a.1, &a.0).cmp(&(&b.1, &b.0))));
        return Ok(list.into_iter().map(|(_, row)| row).skip(query.offset).take(limit).collect());
    }
    let order = |a: &(i128, Key), b: &(i128, Key)| directed(b.0.cmp(&a.0)).then(a.1.cmp(&b.1));
    let end = query.offset.saturating_add(limit);
    if end < rows.len() {
        rows.select_nth_unstable_by(end, order);
        rows.truncate(end);
    }
    rows.sort_unstable_by(order);
    // On one page: which rows are on it is told without reading names.
    let mut list = named(reader, plan, rows.into_iter().skip(query.offset).collect())?;
    list.sort_by(|(a, x), (b, y)| directed(b.cmp(a)).then_with(|| x.1.cmp(&y.1)));
    Ok(list.into_iter().map(|(_, row)| row).collect())
}

fn named(reader: &Reader<'_>, plan: &Plan, rows: Vec<(i128, Key)>) -> rusqlite::Result<Vec<(i128, Named)>> {
    let mut names = Names::new(reader.conn, &plan.by, rows.len())?;
    rows.into_iter().map(|(figure, key)| Ok((figure, (key, names.row(&plan.by, &key)?)))).collect()
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
    let scope = Scope {
        from_us: plan.since_us,
        cuts: bounds.clone(),
        users: plan.users(keys),
        columns: Columns { sketches: true, ..Columns::COST },
        ..plan.scope(plan.cube(&plan.by, true))
    };
    let begin = || {
        let mut rows: Groups<Gathering> = Groups::default();
        for key in keys {
            rows.at(*key).trend.resize(bounds.len() - 1, 0);
        }
        (rows, Slots::new(&bounds))
    };
    let see = |(rows, slots): &mut (Groups<Gathering>, Slots<'_>), entry: &Entry<'_>| {
        if let Some(row) = rows.get_mut(&plan.key(entry)) {
            row.see(entry, slots.find(entry.at_us));
        }
    };
    let (rows, _) =
        reader.sum(&scope, begin, see, |(rows, _), (other, _)| rows.join(other, Gathering::join))?;
    rows.iter().map(|(_, row)| row.finish(reader)).collect()
}

impl Gathering {
    fn see(&mut self, entry: &Entry<'_>, slot: Option<usize>) {
        let cell = entry.cell;
        if let Some(slot) = slot {
            self.trend[slot] += cell.cost;
        }
        self.use_cases.add(entry.what.use_case, cell.cost);
        self.models.add(entry.how.model, cell.cost);
        self.costs.add(&cell.costs);
        self.latencies.add(&cell.latencies);
    }

    fn join(&mut self, other: Self) {
        for (sum, cost) in self.trend.iter_mut().zip(other.trend) {
            *sum += cost;
        }
        self.use_cases.join(other.use_cases);
        self.models.join(other.models);
        self.costs.join(&other.costs);
        self.latencies.join(&other.latencies);
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

/// Slots between consecutive bounds. Entries of one come one after the other.
#[derive(Debug)]
pub(super) struct Slots<'b> {
    bounds: &'b [i64],
    last: Option<(Range<i64>, usize)>,
}

impl<'b> Slots<'b> {
    pub(super) const fn new(bounds: &'b [i64]) -> Self {
        Self { bounds, last: None }
    }

    /// Which slot a time falls into.
    #[inline]
    pub(super) fn find(&mut self, at: i64) -> Option<usize> {
        if let Some((slot, n)) = &self.last
            && slot.contains(&at)
        {
            return Some(*n);
        }
        let after = self.bounds.partition_point(|&bound| bound <= at);
        let n = after.checked_sub(1)?;
        self.last = Some((*self.bounds.get(n)?..*self.bounds.get(after)?, n));
        Some(n)
    }
}
