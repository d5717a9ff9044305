//! What reports add up: the cells of the rollup that answers them with the least to read, and, one by one, the facts
//! that no cell stands for. The sum of both is exact at any moment.
//!
//! A cell is of a quarter of an hour or a day. Where a range, or a slot of one, begins or ends within it, a day is
//! read as quarters, and a quarter as facts. Once its facts are pruned, a quarter counts where it began.

use std::{
    cell::{OnceCell, RefCell},
    rc::Rc,
};

use rusqlite::{Connection, Row};

use crate::ledger::{
    append::last_seq,
    dict::meta,
    fact::{Fact, Lookup, Part},
    fold::{self, Cube, DAY_US, FOLDED_DAYS, QUARTER_US, cell::Cell, unpack::Columns},
    kinds::{How, Kinds, What},
    read::{
        Totals,
        packs::{self, Wanted, together},
        query::Plan,
        ranking::Ranked,
        sums::Sum,
    },
};

/// One moment of the ledger, with what all reports on it need. To be made inside a read transaction.
#[derive(Debug)]
pub(crate) struct Reader<'c> {
    pub(crate) conn: &'c Connection,
    pub(super) folded: i64,
    /// Whether there are sums by whole days of all that is folded.
    has_days: bool,
    kinds: OnceCell<Kinds>,
    extent: OnceCell<(i64, i64)>,
    tail: OnceCell<Vec<Late>>,
    /// Rows of reports of this moment, for those that ask for the same.
    pub(super) ranked: RefCell<Vec<Rc<Ranked>>>,
}

/// A fact after the watermark, or one of which something is taken back after it.
#[derive(Clone, Copy, Debug)]
struct Late {
    fact: Fact,
    part: Part,
}

/// As many facts after the watermark are kept for the next report of the same moment.
const KEPT: i64 = 3 * fold::FOLD;

/// A sum of facts that agree in what a report splits by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    /// When they began, or where their quarter or day does.
    pub(crate) at_us: i64,
    pub(crate) user: i64,
    pub(crate) account: i64,
    pub(crate) what: &'a What,
    pub(crate) how: &'a How,
    pub(crate) cell: &'a Cell,
}

/// What to read.
#[derive(Clone, Debug)]
pub(crate) struct Scope<'p> {
    pub(crate) plan: &'p Plan,
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
    /// Moments that no entry may span, besides the ends.
    pub(crate) cuts: Vec<i64>,
    /// Only these users, in order; all, if `None`. Others may be shown all the same.
    pub(crate) users: Option<Vec<i64>>,
    /// The coarsest rollup that has what is asked for.
    pub(crate) cube: Cube,
    /// What of the cells is needed; the rest of an entry's cell says nothing.
    pub(crate) columns: Columns,
}

impl<'c> Reader<'c> {
    pub(crate) fn new(conn: &'c Connection) -> rusqlite::Result<Self> {
        let folded = meta(conn, "folded")?;
        Ok(Self {
            conn,
            folded,
            has_days: meta(conn, FOLDED_DAYS)? == folded,
            kinds: OnceCell::new(),
            extent: OnceCell::new(),
            tail: OnceCell::new(),
            ranked: RefCell::default(),
        })
    }

    /// Whether a scan of what has no users reads little. Without [`Cube::Days`] it reads every quarter of an hour, and a
    /// long tail is read each time.
    pub(super) fn is_quick_without_users(&self) -> rusqlite::Result<bool> {
        Ok(self.has_days && self.keeps_tail()?)
    }

    /// Whether what came after the watermark is little enough to be kept for the next report.
    fn keeps_tail(&self) -> rusqlite::Result<bool> {
        Ok(last_seq(self.conn)? - self.folded <= KEPT)
    }

    /// When the first and the last folded attempt began.
    pub(crate) fn extent(&self) -> rusqlite::Result<(i64, i64)> {
        if let Some(&extent) = self.extent.get() {
            return Ok(extent);
        }
        let sql = "SELECT coalesce(min(min_us), 0), coalesce(max(max_us), -1) FROM batches";
        let extent = self.conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(*self.extent.get_or_init(|| extent))
    }

    /// When the first attempt began, if there is one.
    pub(crate) fn first_us(&self) -> rusqlite::Result<Option<i64>> {
        let (oldest, newest) = self.extent()?;
        let sql = "SELECT min(at_us) FROM facts WHERE seq > ?1";
        let late: Option<i64> = self.conn.query_row(sql, [self.folded], |row| row.get(0))?;
        Ok((oldest <= newest).then_some(oldest).into_iter().chain(late).min())
    }

    fn kinds(&self) -> rusqlite::Result<&Kinds> {
        if let Some(kinds) = self.kinds.get() {
            return Ok(kinds);
        }
        let kinds = Kinds::load(self.conn)?;
        Ok(self.kinds.get_or_init(|| kinds))
    }

    /// Shows `each` everything that the scope covers and its plan wants.
    pub(crate) fn scan(&self, scope: &Scope<'_>, mut each: impl FnMut(&Entry<'_>)) -> rusqlite::Result<()> {
        self.read(scope, &self.wanted(scope)?, &mut |_, _| false, &mut each)
    }

    fn wanted<'s>(&self, scope: &'s Scope<'_>) -> rusqlite::Result<Wanted<'s>> {
        Ok(Wanted::new(self.kinds()?, scope, self.extent()?.0))
    }

    /// Adds everything that the scope covers and its plan wants to a sum, or to two that are then joined: each is made by
    /// a thread of its own.
    pub(super) fn sum<T: Send>(
        &self,
        scope: &Scope<'_>,
        new: impl Fn() -> T + Sync,
        add: impl Fn(&mut T, &Entry<'_>) + Sync,
        join: impl FnOnce(&mut T, T),
    ) -> rusqlite::Result<T> {
        let wanted = self.wanted(scope)?;
        let (mut sum, other) = together(&wanted, new, add, |mut another, mut each| {
            self.read(scope, &wanted, &mut another, &mut each)
        })?;
        if let Some(other) = other {
            join(&mut sum, other);
        }
        Ok(sum)
    }

    fn read(
        &self,
        scope: &Scope<'_>,
        wanted: &Wanted<'_>,
        another: &mut impl FnMut((Cube, i64), &[u8]) -> bool,
        each: &mut impl FnMut(&Entry<'_>),
    ) -> rusqlite::Result<()> {
        let (oldest, newest) = self.extent()?;
        let inside = |at: &&i64| oldest < **at && **at <= newest;
        let mut cuts: Vec<i64> =
            scope.cuts.iter().chain([&scope.from_us, &scope.to_us]).filter(inside).copied().collect();
        cuts.sort_unstable();
        let from = (self.conn, wanted);
        if cuts.is_empty() && scope.from_us <= oldest && scope.to_us > newest && scope.cube == Cube::Users {
            let ever_day = meta(self.conn, "ever_day")?;
            packs::read(from, (Cube::Ever, 0, i64::MAX), None, another, each)?;
            packs::read(from, (Cube::Users, ever_day, i64::MAX), None, another, each)?;
        } else {
            let range = (scope.from_us.max(oldest), scope.to_us.min(newest.saturating_add(1)));
            if range.0 < range.1 {
                self.days((scope, wanted), range, &cuts, another, each)?;
            }
        }
        self.tail(scope, each)
    }

    /// The sum of everything, by one of the rollups.
    pub(crate) fn total(&self, cube: Cube) -> rusqlite::Result<Totals> {
        let (plan, mut sum) = (Plan::all(), Sum::default());
        self.scan(&plan.scope(cube), |entry| sum.add(entry))?;
        Ok(sum.totals())
    }

    /// The sum of all facts, one by one.
    pub(crate) fn total_of_facts(&self) -> rusqlite::Result<Totals> {
        let (plan, mut sum) = (Plan::all(), Sum::default());
        let scope = plan.scope(Cube::Full);
        let mut lookup = Lookup::new(self.conn);
        let mut statement = self.conn.prepare(
            "SELECT f.*, s.by IS NULL AS counts FROM facts f LEFT JOIN superseded s ON s.seq = f.seq",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            parts(&mut lookup, row, |fact, part| {
                offer(&scope, fact, part, &mut |entry: &Entry<'_>| sum.add(entry));
            })?;
        }
        Ok(sum.totals())
    }

    /// Days by the coarsest cells that no cut goes through.
    fn days(
        &self,
        (scope, wanted): (&Scope<'_>, &Wanted<'_>),
        (from, to): (i64, i64),
        cuts: &[i64],
        another: &mut impl FnMut((Cube, i64), &[u8]) -> bool,
        each: &mut impl FnMut(&Entry<'_>),
    ) -> rusqlite::Result<()> {
        let pruned = meta(self.conn, "pruned_before_us")?.max(meta(self.conn, "trimmed_before_us")?);
        let mut broken: Vec<i64> = cuts
            .iter()
            .filter(|&cut| cut % QUARTER_US != 0 && *cut >= pruned)
            .map(|cut| cut.div_euclid(QUARTER_US))
            .collect();
        broken.dedup();
        let mut split: Vec<i64> =
            cuts.iter().filter(|&cut| cut % DAY_US != 0).map(|cut| cut.div_euclid(DAY_US)).collect();
        split.dedup();
        let last = (to - 1).div_euclid(DAY_US);
        let cube = if scope.cube == Cube::Days && !self.has_days { scope.cube.finer() } else { scope.cube };
        let mut day = from.div_euclid(DAY_US);
        for cut_day in split.iter().copied().chain([last.saturating_add(1)]) {
            let whole = (day, cut_day.saturating_sub(1).min(last));
            if whole.0 <= whole.1 {
                packs::read((self.conn, wanted), (cube, whole.0, whole.1), None, another, each)?;
            }
            if (day..=last).contains(&cut_day) {
                let finer = (scope.cube.finer(), cut_day, cut_day);
                packs::read((self.conn, wanted), finer, Some(((from, to), &broken)), another, each)?;
            }
            day = day.max(cut_day.saturating_add(1));
        }
        for quarter in broken {
            let begins = quarter * QUARTER_US;
            self.folded_facts((from.max(begins), to.min(begins + QUARTER_US)), |fact, part| {
                offer(scope, fact, part, each);
            })?;
        }
        Ok(())
    }

    /// Numbers of the facts that may have begun in this time: those of some folds, and what came after all folds.
    pub(crate) fn ranges(&self, (from_us, to_us): (i64, i64)) -> rusqlite::Result<Vec<(i64, i64)>> {
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        let mut folds = self.conn.prepare(
            "SELECT first_seq, last_seq FROM batches WHERE max_us >= ?1 AND min_us < ?2 ORDER BY id",
        )?;
        let folds = folds.query_map([from_us, to_us], |row| Ok((row.get(0)?, row.get(1)?)))?;
        for fold in folds.chain([Ok((self.folded + 1, i64::MAX))]) {
            let (first, last) = fold?;
            match ranges.last_mut() {
                Some(range) if range.1 + 1 == first => range.1 = last,
                _ => ranges.push((first, last)),
            }
        }
        Ok(ranges)
    }

    /// Shows `each` the folded facts of a range of time, and what of them counts as far as is folded.
    fn folded_facts(
        &self,
        (from_us, to_us): (i64, i64),
        mut each: impl FnMut(&Fact, Part),
    ) -> rusqlite::Result<()> {
        if from_us >= to_us {
            return Ok(());
        }
        let mut statement = self.conn.prepare(
            "SELECT f.*, s.by IS NULL OR s.by > ?3 AS counts
             FROM facts f LEFT JOIN superseded s ON s.seq = f.seq
             WHERE f.seq >= ?1 AND f.seq <= ?2 AND f.at_us >= ?4 AND f.at_us < ?5",
        )?;
        let mut lookup = Lookup::new(self.conn);
        for (first, last) in self.ranges((from_us, to_us))? {
            let mut rows = statement.query([first, last.min(self.folded), self.folded, from_us, to_us])?;
            while let Some(row) = rows.next()? {
                parts(&mut lookup, row, &mut each)?;
            }
        }
        Ok(())
    }

    /// What came after the watermark.
    fn tail(&self, scope: &Scope<'_>, each: &mut impl FnMut(&Entry<'_>)) -> rusqlite::Result<()> {
        let show = |late: &Late| {
            let fact = &late.fact;
            if (scope.from_us..scope.to_us).contains(&fact.at_us) {
                offer(scope, fact, late.part, each);
            }
        };
        if let Some(tail) = self.tail.get() {
            tail.iter().for_each(show);
            return Ok(());
        }
        if !self.keeps_tail()? {
            return self.late(show);
        }
        let mut tail = Vec::new();
        self.late(|late| tail.push(*late))?;
        self.tail.get_or_init(|| tail).iter().for_each(show);
        Ok(())
    }

    fn late(&self, mut each: impl FnMut(&Late)) -> rusqlite::Result<()> {
        let mut lookup = Lookup::new(self.conn);
        let mut statement = self.conn.prepare("SELECT * FROM facts WHERE seq > ?1")?;
        let mut rows = statement.query([self.folded])?;
        while let Some(row) = rows.next()? {
            let fact = Fact::read(row, &mut lookup)?;
            each(&Late { fact, part: Part::All });
            if let Some(fact) = lookup.corrected(&fact)? {
                each(&Late { fact, part: Part::SumsBack });
            }
        }
        fold::taken_back(self.conn, &mut lookup, (self.folded, last_seq(self.conn)?), |fact| {
            each(&Late { fact: *fact, part: Part::CallBack });
            Ok(())
        })
    }
}

/// Shows `each` a part of a fact as a cell of its own, if it is wanted.
fn offer(scope: &Scope<'_>, fact: &Fact, part: Part, each: &mut impl FnMut(&Entry<'_>)) {
    let (plan, Fact { at_us, user, account, what, how, .. }) = (scope.plan, *fact);
    if plan.wants_what(what) && plan.wants_how(how) && plan.wants_person(user, account) {
        let entry = Entry { at_us, user, account, what: &what, how: &how, cell: &fact.cell(part) };
        if plan.finds(&entry) {
            each(&entry);
        }
    }
}

/// Shows `each` the fact of a row that says also whether it `counts` as a call, and what it takes back of another.
/// That one began at the same moment: what asks for one asks for both.
fn parts(lookup: &mut Lookup<'_>, row: &Row<'_>, mut each: impl FnMut(&Fact, Part)) -> rusqlite::Result<()> {
    let fact = Fact::read(row, lookup)?;
    each(&fact, if row.get("counts")? { Part::All } else { Part::WithoutCall });
    if let Some(old) = lookup.corrected(&fact)? {
        each(&old, Part::SumsBack);
    }
    Ok(())
}
