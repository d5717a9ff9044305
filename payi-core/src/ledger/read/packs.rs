//! The cells of a rollup, read for one scope: by the caller's thread alone, or, where there is much and the machine has
//! several processors, by another one besides.

use std::{panic::resume_unwind, sync::mpsc::sync_channel, thread};

use rusqlite::Connection;

use crate::ledger::{
    fold::{
        Cube, QUARTER_US,
        cell::{Cell, Key},
        unpack::{self, Columns},
    },
    kinds::{How, Kinds, What},
    read::{
        query::Plan,
        scan::{Entry, Scope},
    },
};

/// Quarters of a day that are partly asked for: those that begin in the range, without those that are read as facts.
pub(super) type Within<'b> = ((i64, i64), &'b [i64]);

/// What of a scope's cells is wanted.
#[derive(Debug)]
pub(super) struct Wanted<'r> {
    plan: &'r Plan,
    /// The wanted ones of [`Kinds`].
    whats: Vec<Option<What>>,
    hows: Vec<Option<How>>,
    /// Whether something is asked of users and accounts, or of names.
    asks: bool,
    users: Option<&'r [i64]>,
    /// A day or a quarter may begin before it, though nothing in it did.
    oldest: i64,
    columns: Columns,
}

impl<'r> Wanted<'r> {
    pub(super) fn new(kinds: &Kinds, scope: &'r Scope<'_>, oldest: i64) -> Self {
        let plan = scope.plan;
        let whats = kinds.whats.iter().map(|&what| plan.wants_what(what).then_some(what)).collect();
        let hows = kinds.hows.iter().map(|&how| plan.wants_how(how).then_some(how)).collect();
        let users = scope.users.as_deref().or_else(|| plan.user());
        Self { plan, whats, hows, asks: plan.asks(), users, oldest, columns: scope.columns }
    }

    /// Shows `each` the wanted cells of a row of the rollup.
    pub(super) fn cells(
        &self,
        (cube, slot): (Cube, i64),
        body: &[u8],
        within: Option<Within<'_>>,
        mut each: impl FnMut(&Entry<'_>),
    ) {
        let (users, base_ms) = (self.users, cube.base_ms(slot));
        let ends_us = cube.base_ms(slot.saturating_add(1)).saturating_mul(1000);
        // Of the range before only the cost is told.
        let is_before = cube != Cube::Ever && ends_us <= self.plan.since_us;
        let columns = if is_before { Columns::COST } else { self.columns };
        let wanted = |low, high| any_of(users, low, high);
        // What makes no sense, and all after it, is left out.
        let _ = unpack::cells(body, base_ms, columns, wanted, |key, cell| {
            self.cell(key, cell, base_ms * 1000, within, &mut each);
        });
    }

    #[inline]
    fn cell(
        &self,
        key: &Key,
        cell: &Cell,
        base_us: i64,
        within: Option<Within<'_>>,
        each: &mut impl FnMut(&Entry<'_>),
    ) {
        let (Some(what), Some(how)) = (at(&self.whats, key.what), at(&self.hows, key.how)) else { return };
        let begins = base_us.saturating_add(key.quarter.saturating_mul(QUARTER_US));
        let at_us = begins.max(self.oldest);
        if let Some(((from, to), broken)) = within
            && !((from..to).contains(&at_us) && broken.binary_search(&begins.div_euclid(QUARTER_US)).is_err())
        {
            return;
        }
        let (user, account) = (key.user, key.account);
        let entry = Entry { at_us, user, account, what, how, cell };
        if !self.asks || self.plan.wants_person(user, account) && self.plan.finds(&entry) {
            each(&entry);
        }
    }
}

fn at<T>(kinds: &[Option<T>], id: i64) -> Option<&T> {
    kinds.get(usize::try_from(id).ok()?)?.as_ref()
}

/// Whether one of the users, who are in order, is in the range.
fn any_of(users: Option<&[i64]>, low: i64, high: i64) -> bool {
    users.is_none_or(|users| {
        let at = users.partition_point(|&user| user < low);
        users.get(at).is_some_and(|&user| user <= high)
    })
}

/// A row of the rollup: which rollup and slot it is of, and its cells.
type Row = ((Cube, i64), Vec<u8>);

/// Shows `each` the wanted cells of days that no cut goes through, or, of a day `within` which one does, of the rest.
/// What of the former is left to `another` thread is not shown.
pub(super) fn read(
    (conn, wanted): (&Connection, &Wanted<'_>),
    (cube, first, last): (Cube, i64, i64),
    within: Option<Within<'_>>,
    another: &mut impl FnMut((Cube, i64), &[u8]) -> bool,
    each: &mut impl FnMut(&Entry<'_>),
) -> rusqlite::Result<()> {
    let (low, high) = match wanted.users.map(|users| (users.first(), users.last())) {
        None => (i64::MIN, i64::MAX),
        Some((Some(&low), Some(&high))) => (low, high),
        Some(_) => return Ok(()),
    };
    let mut statement = conn.prepare(
        "SELECT slot, low, high, body FROM rollup
         WHERE grain = ?1 AND slot >= ?2 AND slot <= ?3 AND low <= ?5 AND high >= ?4",
    )?;
    let mut rows = statement.query([cube as i64, first, last, low, high])?;
    while let Some(row) = rows.next()? {
        if any_of(wanted.users, row.get(1)?, row.get(2)?) {
            let (slot, body) = ((cube, row.get(0)?), row.get_ref(3)?.as_blob()?);
            if within.is_some() || !another(slot, body) {
                wanted.cells(slot, body, within, &mut *each);
            }
        }
    }
    Ok(())
}

/// The row from which on another thread helps: before, it is as much work as that takes to come.
const ALONE: usize = if cfg!(test) { 1 } else { 8 };
/// Rows, of some 32 kB, that wait for it.
const WAITING: usize = 16;

/// Adds up what `reading` shows and what it leaves to another thread, where the machine has several processors; each
/// thread to a sum of its own, which begins as `new`. More threads than two would each hold all rows of a report.
pub(super) fn together<T: Send>(
    wanted: &Wanted<'_>,
    new: impl Fn() -> T + Sync,
    add: impl Fn(&mut T, &Entry<'_>) + Sync,
    reading: impl FnOnce(
        &mut dyn FnMut((Cube, i64), &[u8]) -> bool,
        &mut dyn FnMut(&Entry<'_>),
    ) -> rusqlite::Result<()>,
) -> rusqlite::Result<(T, Option<T>)> {
    let (rows, waiting) = sync_channel::<Row>(WAITING);
    let (new, add) = (&new, &add);
    let mut help = Some(move || {
        let mut sum = new();
        for (slot, body) in waiting {
            wanted.cells(slot, &body, None, |entry| add(&mut sum, entry));
        }
        sum
    });
    let mut alone =
        if thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) { ALONE } else { usize::MAX };
    thread::scope(|threads| {
        let (mut own, mut helper) = (new(), None);
        let mut leave = |slot, body: &[u8]| {
            alone = alone.saturating_sub(1);
            if alone == 0
                && let Some(help) = help.take()
            {
                helper = thread::Builder::new().name("payi-report".into()).spawn_scoped(threads, help).ok();
            }
            // Where it is busy, or could not be started, the row is looked at here.
            helper.is_some() && rows.try_send((slot, body.to_vec())).is_ok()
        };
        let read = reading(&mut leave, &mut |entry| add(&mut own, entry));
        drop(rows);
        let other = helper.map(|helper| helper.join().unwrap_or_else(|panic| resume_unwind(panic)));
        read.map(|()| (own, other))
    })
}
