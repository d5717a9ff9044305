//! All rows of a report, by no more than what orders them; the rows of several reports in one pass over the rollup.

use std::rc::Rc;

use crate::{
    events::Outcome,
    ledger::{
        fold::unpack::Columns,
        read::{
            Totals,
            groups::Groups,
            query::{Dimension, Key, Order, Plan},
            scan::{Entry, Reader, Scope},
            sums::Sum,
        },
    },
};

/// Rows up to which their sums are made in the same pass; of more, the rows that are shown are summed afterwards.
const SUMMED: usize = 20_000;

/// What rows are ordered by, in the making.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    sum: i128,
    calls: i64,
    seen: bool,
}

impl Weight {
    #[inline]
    fn add(&mut self, order: Order, entry: &Entry<'_>, in_range: bool) {
        let cell = entry.cell;
        let cost = cell.cost;
        if !in_range {
            self.sum -= cost;
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

    /// Adds what another part of the same row weighs.
    fn join(&mut self, other: Self, order: Order) {
        self.sum = match order {
            Order::LastSeen => self.sum.max(other.sum),
            Order::FirstSeen if self.seen && other.seen => self.sum.min(other.sum),
            // The sum of a row that is not seen is zero.
            _ => self.sum + other.sum,
        };
        self.calls += other.calls;
        self.seen |= other.seen;
    }

    fn rank(&self, order: Order) -> i128 {
        match order {
            Order::CostPerCall => self.sum.checked_div(self.calls.into()).unwrap_or_default(),
            _ => self.sum,
        }
    }
}

/// All rows, by no more than what orders them; and the sums that need no rows.
#[derive(Debug)]
pub(crate) struct Ranked {
    plan: Plan,
    order: Order,
    rows: Groups<Weight>,
    /// The rows in full, where they are few.
    sums: Option<Groups<Sum>>,
    total: Sum,
    nameless: Sum,
}

/// A report to make: what of, and in which order.
type Asked<'p> = (&'p Plan, Order);

/// Reads once the rows of all of these, which differ only in what they are split by and how they are ordered.
pub(super) fn rank(reader: &Reader<'_>, asked: &[Asked<'_>]) -> rusqlite::Result<Vec<Rc<Ranked>>> {
    let Some((plan, _)) = asked.first() else { return Ok(Vec::new()) };
    let scope = plan.scope(plan.cube(&plan.by, false));
    let without_users = plan.scope(plan.cube(&[], false));
    let by_user = |(plan, _): &Asked<'_>| plan.by.first() == Some(&Dimension::User);
    let of_users = without_users.cube != scope.cube && asked.iter().all(by_user);
    let all = if of_users && reader.is_quick_without_users()? {
        apart(reader, (scope, without_users), asked)?
    } else {
        at_once(reader, &scope, asked)?
    };
    let all: Vec<Rc<Ranked>> = all.into_iter().map(Rc::new).collect();
    reader.ranked.borrow_mut().extend(all.iter().cloned());
    Ok(all)
}

/// Everything in one pass.
fn at_once(reader: &Reader<'_>, scope: &Scope<'_>, asked: &[Asked<'_>]) -> rusqlite::Result<Vec<Ranked>> {
    let add = |(total, all): &mut (Sum, Vec<Ranked>), entry: &Entry<'_>| {
        scope.plan.add(total, entry);
        for ranked in all {
            ranked.weigh(entry);
            ranked.sum_up(entry);
        }
    };
    let join = |(total, all): &mut (Sum, Vec<Ranked>), (part, parts): (Sum, Vec<Ranked>)| {
        total.join(&part);
        join(all, parts);
    };
    let (total, all) = reader.sum(scope, || (Sum::default(), begin(asked)), add, join)?;
    Ok(all.into_iter().map(|ranked| Ranked { total, ..ranked }).collect())
}

/// Of users there are many: no more is read of them than what orders them. The sum of all comes from a rollup that has
/// no users, that of nobody from what there is of nobody.
fn apart(
    reader: &Reader<'_>,
    (scope, without_users): (Scope<'_>, Scope<'_>),
    asked: &[Asked<'_>],
) -> rusqlite::Result<Vec<Ranked>> {
    let columns = asked.iter().fold(Columns::COST, |columns, (_, order)| columns.or(order.columns()));
    let nobodys = Scope { users: Some(vec![Dimension::User.none()]), ..scope.clone() };
    let looks_back = asked.iter().any(|(_, order)| *order == Order::Change);
    let from_us = if looks_back { scope.from_us } else { scope.plan.since_us };
    let weigh = |all: &mut Vec<Ranked>, entry: &Entry<'_>| {
        for ranked in all {
            ranked.weigh(entry);
        }
    };
    let scope = Scope { from_us, columns, ..scope };
    let all = reader.sum(&scope, || begin(asked), weigh, |all, parts| join(all, parts))?;
    let (mut total, mut nameless) = (Sum::default(), Sum::default());
    reader.scan(&without_users, |entry| without_users.plan.add(&mut total, entry))?;
    reader.scan(&nobodys, |entry| {
        if entry.user == Dimension::User.none() {
            nobodys.plan.add(&mut nameless, entry);
        }
    })?;
    Ok(all.into_iter().map(|ranked| Ranked { total, nameless, ..ranked }).collect())
}

fn begin(asked: &[Asked<'_>]) -> Vec<Ranked> {
    asked.iter().map(|(plan, order)| Ranked::new(plan, *order)).collect()
}

fn join(all: &mut [Ranked], parts: Vec<Ranked>) {
    for (ranked, part) in all.iter_mut().zip(parts) {
        ranked.join(part);
    }
}

impl Order {
    /// What [`Weight::add`] looks at.
    const fn columns(self) -> Columns {
        let sums = matches!(self, Self::Tokens | Self::LastSeen | Self::FirstSeen);
        Columns { calls: true, sums, sketches: false }
    }
}

impl Ranked {
    fn new(plan: &Plan, order: Order) -> Self {
        // Of users there are many.
        let few = !plan.by.contains(&Dimension::User);
        Self {
            plan: plan.clone(),
            order,
            rows: Groups::default(),
            sums: few.then(Groups::default),
            total: Sum::default(),
            nameless: Sum::default(),
        }
    }

    /// Adds an entry to the weight of its row.
    #[inline]
    fn weigh(&mut self, entry: &Entry<'_>) {
        let in_range = entry.at_us >= self.plan.since_us;
        if in_range || self.order == Order::Change {
            self.rows.at(self.plan.key(entry)).add(self.order, entry, in_range);
        }
    }

    /// What is made besides the rows' weights, where all columns are read.
    fn sum_up(&mut self, entry: &Entry<'_>) {
        let plan = &self.plan;
        let key = plan.key(entry);
        if plan.by.first().is_some_and(|first| key[0] == first.none()) {
            plan.add(&mut self.nameless, entry);
        }
        if let Some(sums) = &mut self.sums {
            plan.add(sums.at(key), entry);
            if sums.len() > SUMMED {
                self.sums = None;
            }
        }
    }

    /// Adds another part of the same report.
    fn join(&mut self, other: Self) {
        let order = self.order;
        self.rows.join(other.rows, |sum, weight| sum.join(weight, order));
        self.nameless.join(&other.nameless);
        self.sums = self.sums.take().zip(other.sums).map(|(mut sums, other)| {
            sums.join(other, |sum, part| sum.join(&part));
            sums
        });
    }

    /// The sum of all.
    pub(super) fn total(&self) -> Totals {
        self.total.totals()
    }

    pub(super) fn total_sum(&self) -> &Sum {
        &self.total
    }

    /// What has no name in the first dimension.
    pub(super) fn nameless(&self) -> &Sum {
        &self.nameless
    }

    /// Rows that are there in the range, without those that `leave` names.
    pub(super) fn keys(&self, leave: impl Fn(&Key) -> bool) -> Vec<(i128, Key)> {
        let rows = self.rows.iter().filter(|(key, weight)| weight.seen && !leave(key));
        rows.map(|(key, weight)| (weight.rank(self.order), *key)).collect()
    }

    /// The sums of these rows, in their order, if they are known.
    pub(super) fn sums(&self, keys: &[Key]) -> Option<Vec<Sum>> {
        let sums = self.sums.as_ref()?;
        Some(keys.iter().map(|key| sums.get(key).copied().unwrap_or_default()).collect())
    }

    /// What the names of `dimension` cost, if this knows it for all that `plan` asks for.
    fn costs(&self, plan: &Plan, dimension: Dimension) -> Option<Vec<(i128, Key)>> {
        let at = self.plan.by.iter().position(|by| *by == dimension)?;
        if self.order != Order::Cost || !self.plan.covers_as(plan) {
            return None;
        }
        let mut costs: Groups<i128> = Groups::default();
        for (key, weight) in self.rows.iter().filter(|(_, weight)| weight.seen) {
            *costs.at([key[at], 0, 0, 0]) += weight.sum;
        }
        Some(costs.iter().map(|(key, cost)| (*cost, *key)).collect())
    }
}

/// What each name of `dimension` cost, by the rows of an earlier report of the same moment if there is one.
pub(super) fn costs(
    reader: &Reader<'_>,
    plan: &Plan,
    dimension: Dimension,
) -> rusqlite::Result<Vec<(i128, Key)>> {
    let known = reader.ranked.borrow().iter().find_map(|ranked| ranked.costs(plan, dimension));
    if let Some(known) = known {
        return Ok(known);
    }
    let ranked = rank(reader, &[(plan, Order::Cost)])?;
    Ok(ranked.first().map(|ranked| ranked.keys(|_| false)).unwrap_or_default())
}
