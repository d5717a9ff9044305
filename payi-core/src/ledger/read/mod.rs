//! Reports: what was spent, summed exactly, at any moment.

mod drivers;
mod find;
mod groups;
mod largest;
mod packs;
mod query;
mod ranking;
mod requests;
pub(crate) mod scan;
mod series;
mod sums;
mod table;
mod view;

use std::{collections::HashMap, time::SystemTime};

pub use drivers::{Detail, Driver, Drivers, Figures};
pub use find::Found;
pub use query::{Dimension, Order, Pick, Query};
use query::{Key, Plan};
pub use requests::{Request, RequestOrder, Requests, WithAttempts};
use rusqlite::{Connection, OptionalExtension as _};
use scan::Reader;
pub use series::{Part, PartName, Series};
pub use sums::{Calls, Tokens, Totals};
pub use table::{Amounts, footnotes, group, inert, text_table, users_table};
pub use view::{Answer, Health, View, ViewError};

use crate::ledger::{
    rows,
    unattributed::{self, CallSite},
};

/// What a report covers. Everything, unless narrowed.
///
/// ```
/// use payi_core::ledger::Filter;
///
/// let filter = Filter::new().account_name("acme").model("gpt-4o-mini");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// Only attempts that began then or later.
    pub since: Option<SystemTime>,
    /// Only attempts that began before then.
    pub until: Option<SystemTime>,
    /// Only this user.
    pub user_id: Option<String>,
    /// Only this account.
    pub account_name: Option<String>,
    /// Only this use case.
    pub use_case_name: Option<String>,
    /// Only this model: the one that answered, or if none answered, the one asked for.
    pub model: Option<String>,
    /// The order of the rows.
    pub sort: Sort,
    /// At most this many rows; the total still covers all of them.
    pub limit: Option<usize>,
}

impl Filter {
    fn query(&self) -> Query {
        let picks = [
            (Dimension::User, &self.user_id),
            (Dimension::Account, &self.account_name),
            (Dimension::UseCase, &self.use_case_name),
            (Dimension::Model, &self.model),
        ];
        let picks = picks.into_iter().filter_map(|(d, name)| Some((d, Pick::Is(name.clone()?)))).collect();
        let order = match self.sort {
            Sort::Cost => Order::Cost,
            Sort::Calls => Order::Calls,
            Sort::Tokens => Order::Tokens,
            Sort::LastSeen => Order::LastSeen,
            Sort::User | Sort::Account => Order::Name,
        };
        let mut by = vec![Dimension::User, Dimension::Account];
        if self.sort == Sort::Account {
            by.reverse();
        }
        let (since, until, limit) = (self.since, self.until, self.limit);
        Query { since, until, picks, by, order, limit, ..Query::default() }
    }

    /// Whether it leaves nobody out.
    const fn is_of_all(&self) -> bool {
        self.user_id.is_none()
            && self.account_name.is_none()
            && self.use_case_name.is_none()
            && self.model.is_none()
    }
}

/// The order of a report's rows. Rows that are equal in it are ordered by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sort {
    /// Most expensive first.
    #[default]
    Cost,
    /// Most calls first.
    Calls,
    /// Most tokens first.
    Tokens,
    /// Latest first.
    LastSeen,
    /// By user id, A to Z.
    User,
    /// By account name, A to Z.
    Account,
}

impl Filter {
    /// Everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only attempts that began at `at` or later.
    pub fn since(mut self, at: SystemTime) -> Self {
        self.since = Some(at);
        self
    }

    /// Only attempts that began before `at`.
    pub fn until(mut self, at: SystemTime) -> Self {
        self.until = Some(at);
        self
    }

    /// Only this user.
    pub fn user_id(mut self, id: impl Into<String>) -> Self {
        self.user_id = Some(id.into());
        self
    }

    /// Only this account.
    pub fn account_name(mut self, name: impl Into<String>) -> Self {
        self.account_name = Some(name.into());
        self
    }

    /// Only this use case.
    pub fn use_case_name(mut self, name: impl Into<String>) -> Self {
        self.use_case_name = Some(name.into());
        self
    }

    /// Only this model: the one that answered, or if none answered, the one asked for.
    pub fn model(mut self, name: impl Into<String>) -> Self {
        self.model = Some(name.into());
        self
    }

    /// At most `n` rows, the first in the order; the total still covers all of them.
    pub fn limit(mut self, n: usize) -> Self {
        self.limit = Some(n);
        self
    }

    /// In this order.
    pub fn sort(mut self, sort: Sort) -> Self {
        self.sort = sort;
        self
    }
}

/// Who spent what. Shown (`to_string()`) as a table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsersReport {
    /// When it was made: it holds what was committed then.
    pub as_of: SystemTime,
    /// One row per user and account.
    pub rows: Vec<UserRow>,
    /// The sum of the rows.
    pub total: Totals,
    /// Lines of code that make calls without a key that is required, the busiest first; not in a report
    /// of one user, account, use case or model.
    pub call_sites: Vec<CallSite>,
}

/// One user of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserRow {
    /// The user; `None` for calls that were made for nobody in particular.
    pub user_id: Option<String>,
    /// The account; `None` where none was given.
    pub account_name: Option<String>,
    /// What they used.
    pub totals: Totals,
}

/// The report, in one read transaction: it never sees half a batch.
pub(crate) fn users(conn: &Connection, filter: &Filter) -> rusqlite::Result<UsersReport> {
    let transaction = conn.unchecked_transaction()?;
    let as_of = SystemTime::now();
    let query = filter.query();
    let Some(plan) = Plan::of(conn, &query)? else {
        // A name that the ledger has never seen: nothing matches.
        return Ok(UsersReport { as_of, rows: Vec::new(), total: Totals::default(), call_sites: Vec::new() });
    };
    let reader = Reader::new(conn)?;
    let Some(ranked) = ranking::rank(&reader, &[(&plan, query.order)])?.pop() else {
        return Ok(UsersReport { as_of, rows: Vec::new(), total: Totals::default(), call_sites: Vec::new() });
    };
    let user = plan.by.iter().position(|by| *by == Dimension::User).unwrap_or(0);
    let (known, nobody) = ranked.keys(|_| false).into_iter().partition(|(_, key)| key[user] != 0);
    // What was made for nobody comes last, as in every other report.
    let mut list = drivers::page(&reader, &query, &plan, known)?;
    list.extend(drivers::page(&reader, &query, &plan, nobody)?);
    list.truncate(filter.limit.unwrap_or(usize::MAX));
    let keys: Vec<Key> = list.iter().map(|(key, _)| *key).collect();
    let figures = drivers::figures(&reader, &plan, &ranked, &keys)?;
    let rows = list.into_iter().zip(figures).map(|((_, mut names), figures)| {
        let (user_id, account_name) = (names[user].take(), names[1 - user].take());
        UserRow { user_id, account_name, totals: figures.totals }
    });
    let rows = rows.collect();
    let call_sites = if filter.is_of_all() {
        unattributed::call_sites(conn, filter.since.map_or(i64::MIN, rows::micros))?
    } else {
        Vec::new()
    };
    transaction.finish()?;
    Ok(UsersReport { as_of, rows, total: ranked.total(), call_sites })
}

/// Names of many rows: one by one where they are few, all at once where they are many.
struct Names<'c> {
    one: rusqlite::Statement<'c>,
    met: HashMap<i64, Option<String>>,
}

impl<'c> Names<'c> {
    /// For so many rows of these dimensions.
    fn new(conn: &'c Connection, by: &[Dimension], rows: usize) -> rusqlite::Result<Self> {
        let mut met = HashMap::new();
        if rows > 500 {
            let kinds: Vec<_> = by.iter().filter(|d| d.is_text()).map(|d| d.code().to_string()).collect();
            let all = format!("SELECT id, text FROM dict WHERE kind IN ({})", kinds.join(", "));
            let mut all = conn.prepare(&all)?;
            let mut found = all.query([])?;
            while let Some(row) = found.next()? {
                met.insert(row.get(0)?, row.get(1)?);
            }
        }
        Ok(Self { one: conn.prepare("SELECT text FROM dict WHERE id = ?1")?, met })
    }

    /// The names of a row.
    fn row(&mut self, by: &[Dimension], key: &Key) -> rusqlite::Result<Vec<Option<String>>> {
        by.iter()
            .zip(key)
            .map(
                |(dimension, &id)| if dimension.is_text() { self.get(id) } else { Ok(dimension.spelled(id)) },
            )
            .collect()
    }

    fn get(&mut self, id: i64) -> rusqlite::Result<Option<String>> {
        if id == 0 {
            return Ok(None);
        }
        if !self.met.contains_key(&id) {
            let text: Option<Option<String>> = self.one.query_row([id], |row| row.get(0)).optional()?;
            self.met.insert(id, text.flatten());
        }
        Ok(Some(self.met.get(&id).cloned().flatten().unwrap_or_else(|| forgotten(id))))
    }
}

/// What stands for a person who was forgotten: a number, so that totals stay apart.
fn forgotten(id: i64) -> String {
    format!("(forgotten {id})")
}

/// The text of a dictionary id; a forgotten person keeps a number, so that totals stay apart.
fn name(conn: &Connection, id: i64) -> rusqlite::Result<Option<String>> {
    if id == 0 {
        return Ok(None);
    }
    let text: Option<Option<String>> =
        conn.prepare("SELECT text FROM dict WHERE id = ?1")?.query_row([id], |row| row.get(0)).optional()?;
    Ok(Some(text.flatten().unwrap_or_else(|| forgotten(id))))
}
