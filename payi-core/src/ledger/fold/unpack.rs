//! Cells out of the bytes that [`pack`](super::pack) made of them. Of a chunk, what all reports need is read column by
//! column, the rest cell by cell, so that whoever adds cells up keeps one of them.

use crate::ledger::{
    fold::{
        QUARTER_MS,
        cell::{Cell, Key},
        pack::{CHUNK, cost_bucket},
        varint::{int, uint, unzigzag, wide},
    },
    sketch::Sketch,
};

/// Which columns are read, besides keys and costs. The others are passed over: what a cell has there says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    /// Calls and attempts, and whether there was one ([`Cell::is_seen`]).
    pub(crate) calls: bool,
    /// Tokens, and the first and last time seen.
    pub(crate) sums: bool,
    pub(crate) sketches: bool,
}

impl Columns {
    pub(crate) const ALL: Self = Self { calls: true, sums: true, sketches: true };
    /// Keys and costs alone.
    pub(crate) const COST: Self = Self { calls: false, sums: false, sketches: false };

    /// What either of the two has.
    pub(crate) const fn or(self, other: Self) -> Self {
        Self {
            calls: self.calls || other.calls,
            sums: self.sums || other.sums,
            sketches: self.sketches || other.sketches,
        }
    }
}

/// The cells of one chunk. Made once and filled again and again.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    cells: Vec<(Key, Cell)>,
    len: usize,
}

impl Chunk {
    pub(crate) fn cells(&self) -> &[(Key, Cell)] {
        self.cells.get(..self.len).unwrap_or_default()
    }

    /// Reads the next chunk of a body. `None` where the bytes make no sense.
    pub(crate) fn read(&mut self, from: &mut &[u8], base_ms: i64) -> Option<()> {
        self.len = 0;
        let mut reading = Reading::new(base_ms);
        let count = reading.next(from, Columns::ALL, |_, _| true)?;
        if self.cells.len() < count {
            self.cells.resize_with(count, Default::default);
        }
        for (key, cell) in self.cells.get_mut(..count)? {
            reading.cell(key, cell)?;
        }
        self.len = count;
        Some(())
    }
}

/// Reads a body: shows `each` the cells of those chunks whose range of users is `wanted`, each in the place of the one
/// before. `None` where the bytes make no sense; what came before that has been shown.
pub(crate) fn cells(
    mut body: &[u8],
    base_ms: i64,
    columns: Columns,
    wanted: impl Fn(i64, i64) -> bool,
    mut each: impl FnMut(&Key, &Cell),
) -> Option<()> {
    let (mut reading, mut key, mut cell) = (Reading::new(base_ms), Key::default(), Cell::default());
    while !body.is_empty() {
        for _ in 0..reading.next(&mut body, columns, &wanted)? {
            reading.cell(&mut key, &mut cell)?;
            each(&key, &cell);
        }
    }
    Some(())
}

/// A chunk that is being read.
#[derive(Debug)]
struct Reading<'b> {
    base_ms: i64,
    columns: Columns,
    /// Which cell is next.
    at: usize,
    /// Columns that all reports need are read at once, which takes less time.
    users: [i64; CHUNK],
    accounts: [i64; CHUNK],
    whats: [i64; CHUNK],
    hows: [i64; CHUNK],
    quarters: [i64; CHUNK],
    attempts: [i64; CHUNK],
    calls: [i64; CHUNK],
    costs: [i128; CHUNK],
    /// What is left of the others.
    tokens: [Column<'b>; 5],
    times: Column<'b>,
    cost_sketches: Column<'b>,
    latency_sketches: Column<'b>,
}

impl<'b> Reading<'b> {
    fn new(base_ms: i64) -> Self {
        Self {
            base_ms,
            columns: Columns::ALL,
            at: 0,
            users: [0; CHUNK],
            accounts: [0; CHUNK],
            whats: [0; CHUNK],
            hows: [0; CHUNK],
            quarters: [0; CHUNK],
            attempts: [0; CHUNK],
            calls: [0; CHUNK],
            costs: [0; CHUNK],
            tokens: [Column::default(); 5],
            times: Column::default(),
            cost_sketches: Column::default(),
            latency_sketches: Column::default(),
        }
    }

    /// Begins the next chunk of a body; how many cells it has, or 0 if its range of users is not wanted.
    fn next(
        &mut self,
        from: &mut &'b [u8],
        columns: Columns,
        wanted: impl Fn(i64, i64) -> bool,
    ) -> Option<usize> {
        let low = int(from)?;
        let high = low.checked_add(int(from)?)?;
        let count = usize::try_from(uint(from)?).ok().filter(|&count| count <= CHUNK)?;
        let body = piece(from)?;
        if !wanted(low, high) {
            return Some(0);
        }
        self.columns(body, count, low, columns)?;
        Some(count)
    }

    fn columns(&mut self, mut body: &'b [u8], count: usize, low: i64, columns: Columns) -> Option<()> {
        let body = &mut body;
        self.at = 0;
        groups(piece(body)?, low, self.users.get_mut(..count)?, self.accounts.get_mut(..count)?)?;
        numbers(piece(body)?, self.whats.get_mut(..count)?)?;
        numbers(piece(body)?, self.hows.get_mut(..count)?)?;
        numbers(piece(body)?, self.quarters.get_mut(..count)?)?;
        let column = piece(body)?;
        if columns.calls {
            counts(column, self.attempts.get_mut(..count)?, self.calls.get_mut(..count)?)?;
        }
        let unit = i128::try_from(wide(body)?).ok()?;
        costs(piece(body)?, unit, self.costs.get_mut(..count)?)?;
        // Of a cell without attempts only its times say whether there was one, which another cell counts.
        let unsure = columns.calls && self.attempts.get(..count)?.iter().any(|&attempts| attempts <= 0);
        self.columns = Columns { sums: columns.sums || unsure, ..columns };
        for tokens in &mut self.tokens {
            *tokens = Column::next(body)?;
        }
        self.times = Column::next(body)?;
        self.cost_sketches = Column::next(body)?;
        self.latency_sketches = Column::next(body)?;
        Some(())
    }

    /// Puts the next cell in the place of another.
    #[inline]
    fn cell(&mut self, key: &mut Key, cell: &mut Cell) -> Option<()> {
        let at = self.at;
        self.at += 1;
        *key = Key {
            user: *self.users.get(at)?,
            account: *self.accounts.get(at)?,
            what: *self.whats.get(at)?,
            how: *self.hows.get(at)?,
            quarter: *self.quarters.get(at)?,
        };
        cell.cost = *self.costs.get(at)?;
        if self.columns.calls {
            (cell.attempts, cell.calls) = (*self.attempts.get(at)?, *self.calls.get(at)?);
        }
        if self.columns.sums {
            for (sum, tokens) in cell.tokens.iter_mut().zip(&mut self.tokens) {
                *sum = tokens.uint()?.cast_signed();
            }
            (cell.first_ms, cell.last_ms) = self.times(key.quarter)?;
        } else {
            (cell.first_ms, cell.last_ms) = UNSEEN;
        }
        if self.columns.sketches {
            sketch(&mut self.cost_sketches, &mut cell.costs, || Some(cost_bucket(cell.cost)))?;
            sketch(&mut self.latency_sketches, &mut cell.latencies, || None)?;
        }
        Some(())
    }

    /// When the first and the last attempt of a cell began.
    fn times(&mut self, quarter: i64) -> Option<(i64, i64)> {
        let Some(first) = self.times.uint()?.checked_sub(1) else { return Some(UNSEEN) };
        let begins = self.base_ms.checked_add(quarter.checked_mul(QUARTER_MS)?)?;
        let first_ms = begins.checked_add(unzigzag(first >> 1))?;
        let several = if first & 1 == 1 { i64::try_from(self.times.uint()?).ok()? } else { 0 };
        Some((first_ms, first_ms.checked_add(several)?))
    }
}

/// First and last time of no attempt.
const UNSEEN: (i64, i64) = (i64::MAX, i64::MIN);

/// A column that is all zero has no bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Column<'b> {
    bytes: &'b [u8],
    zero: bool,
}

impl<'b> Column<'b> {
    fn next(from: &mut &'b [u8]) -> Option<Self> {
        let bytes = piece(from)?;
        Some(Self { bytes, zero: bytes.is_empty() })
    }

    #[inline]
    fn uint(&mut self) -> Option<u64> {
        if self.zero { Some(0) } else { uint(&mut self.bytes) }
    }
}

/// A column of numbers that are rarely negative: then they take ten bytes.
fn numbers(mut column: &[u8], into: &mut [i64]) -> Option<()> {
    if column.is_empty() {
        into.fill(0);
    } else if column.len() == into.len() {
        // One byte each.
        for (number, &byte) in into.iter_mut().zip(column) {
            *number = byte.into();
        }
        return (column.iter().fold(0, |all, byte| all | byte) < 0x80).then_some(());
    } else {
        for number in into {
            *number = uint(&mut column)?.cast_signed();
        }
    }
    Some(())
}

/// A column of attempts, each with its calls where these are others.
fn counts(mut column: &[u8], attempts: &mut [i64], calls: &mut [i64]) -> Option<()> {
    if column.is_empty() {
        attempts.fill(0);
        calls.fill(0);
        return Some(());
    }
    for (attempts, calls) in attempts.iter_mut().zip(calls) {
        let shape = uint(&mut column)?;
        *attempts = unzigzag(shape >> 1);
        *calls = if shape & 1 == 1 { unzigzag(uint(&mut column)?) } else { *attempts };
    }
    Some(())
}

/// A column of costs, as multiples of a unit.
fn costs(mut column: &[u8], unit: i128, into: &mut [i128]) -> Option<()> {
    if column.is_empty() {
        into.fill(0);
        return Some(());
    }
    let small = i64::try_from(unit).ok();
    for cost in into {
        let value = wide(&mut column)?;
        // Twice the width takes several times as long, and is seldom needed.
        *cost = match (u64::try_from(value), small) {
            (Ok(value), Some(unit)) => i128::from(unzigzag(value)) * i128::from(unit),
            _ => ((value >> 1).cast_signed() ^ -(value & 1).cast_signed()).checked_mul(unit)?,
        };
    }
    Some(())
}

/// Users and accounts, which are told once for all cells of theirs.
fn groups(mut column: &[u8], low: i64, users: &mut [i64], accounts: &mut [i64]) -> Option<()> {
    let (mut user, mut at) = (low, 0_usize);
    while at < users.len() {
        user = user.checked_add(int(&mut column)?)?;
        let account = int(&mut column)?;
        for _ in 0..uint(&mut column)? {
            (*users.get_mut(at)?, *accounts.get_mut(at)?) = (user, account);
            at += 1;
        }
    }
    Some(())
}

#[inline]
fn sketch(from: &mut Column<'_>, sketch: &mut Sketch, implied: impl Fn() -> Option<u16>) -> Option<()> {
    sketch.clear();
    let buckets = match from.uint()? {
        0 => return Some(()),
        1 => {
            sketch.push(implied()?, 1);
            return Some(());
        }
        more => more - 1,
    };
    let mut last = 0_u16;
    for _ in 0..buckets {
        let shape = from.uint()?;
        last = last.checked_add(u16::try_from(shape >> 1).ok()?)?;
        let n = if shape & 1 == 1 { from.uint()? } else { 1 };
        sketch.push(last, n);
    }
    Some(())
}

/// A piece that says how long it is.
fn piece<'b>(from: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(uint(from)?).ok()?;
    let (piece, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(piece)
}
