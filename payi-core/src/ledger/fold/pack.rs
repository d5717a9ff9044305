//! Cells as bytes: in chunks of some hundred, column by column, each number in as few bytes as it needs.
//!
//! A chunk says for which users it is, so that a report of one user passes over the others unread. Numbers are
//! variable-length, lowest seven bits first; a column that is all zero takes one byte.

use crate::ledger::{
    fold::{
        QUARTER_MS,
        cell::{Cell, Key},
        varint::{int, put, uint, unzigzag, wide, zigzag},
    },
    sketch::{Sketch, bucket},
};

/// Cells in one chunk: as many as stay close to the processor while their columns are read.
const CHUNK: usize = 128;
/// A row of the table is closed when it has grown to this.
const PIECE: usize = 32 * 1024;

/// One row of `rollup`: chunks, and the users they are for.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) low: i64,
    pub(crate) high: i64,
    pub(crate) body: Vec<u8>,
}

/// Takes cells in the order of their keys and packs them; equal keys become one cell.
#[derive(Debug)]
pub(crate) struct Packer {
    base_ms: i64,
    cells: Vec<(Key, Cell)>,
    pieces: Vec<Piece>,
    column: Vec<u8>,
    body: Vec<u8>,
}

impl Packer {
    /// For a slot that begins at `base_ms`.
    pub(crate) fn new(base_ms: i64) -> Self {
        Self {
            base_ms,
            cells: Vec::with_capacity(CHUNK + 1),
            pieces: Vec::new(),
            column: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, key: Key, cell: &Cell) {
        match self.cells.last_mut() {
            Some((last, sum)) if *last == key => sum.merge(cell),
            _ => {
                if self.cells.len() >= CHUNK {
                    self.chunk();
                }
                self.cells.push((key, cell.clone()));
            }
        }
    }

    /// What was packed.
    pub(crate) fn finish(mut self) -> Vec<Piece> {
        self.chunk();
        self.pieces
    }

    fn chunk(&mut self) {
        let (Some((low, _)), Some((high, _))) = (self.cells.first(), self.cells.last()) else { return };
        let (low, high) = (low.user, high.user);
        self.body.clear();
        self.columns(low);
        let full = self.pieces.last().is_none_or(|piece| piece.body.len() >= PIECE);
        if full {
            self.pieces.push(Piece { low, high, body: Vec::with_capacity(PIECE + PIECE / 4) });
        }
        let Some(piece) = self.pieces.last_mut() else { return };
        piece.high = high;
        put(&mut piece.body, low.cast_unsigned().into());
        put(&mut piece.body, high.abs_diff(low).into());
        put(&mut piece.body, self.cells.len() as u128);
        put(&mut piece.body, self.body.len() as u128);
        piece.body.extend_from_slice(&self.body);
        self.cells.clear();
    }

    fn columns(&mut self, low: i64) {
        self.groups(low);
        self.column(|key, _, out| put(out, key.what.cast_unsigned().into()));
        self.column(|key, _, out| put(out, key.how.cast_unsigned().into()));
        self.column(|key, _, out| put(out, key.quarter.cast_unsigned().into()));
        self.column(|_, cell, out| {
            let odd = cell.calls != cell.attempts;
            put(out, zigzag(cell.attempts.into()) << 1 | u128::from(odd));
            if odd {
                put(out, zigzag(cell.calls.into()));
            }
        });
        // Prices are round, so that costs have a large common divisor.
        let unit =
            self.cells.iter().fold(0, |unit, (_, cell)| divisor(unit, cell.cost.unsigned_abs())).max(1);
        put(&mut self.body, unit);
        let signed = i128::try_from(unit).unwrap_or(1);
        self.column(|_, cell, out| put(out, zigzag(cell.cost / signed)));
        for group in 0..5 {
            self.column(|_, cell, out| put(out, cell.tokens[group].cast_unsigned().into()));
        }
        let base_ms = self.base_ms;
        self.column(|key, cell, out| {
            if !cell.is_seen() {
                return put(out, 0);
            }
            let begins = base_ms + key.quarter * QUARTER_MS;
            let several = cell.first_ms != cell.last_ms;
            put(out, (zigzag((cell.first_ms - begins).into()) << 1 | u128::from(several)) + 1);
            if several {
                put(out, cell.last_ms.abs_diff(cell.first_ms).into());
            }
        });
        self.column(|_, cell, out| {
            let implied = cell.costs.buckets() == [(cost_bucket(cell.cost), 1)];
            sketch(out, &cell.costs, implied);
        });
        self.column(|_, cell, out| sketch(out, &cell.latencies, false));
    }

    /// User and account, once for all cells of theirs.
    fn groups(&mut self, low: i64) {
        self.column.clear();
        let mut last = low;
        for group in self.cells.chunk_by(|(a, _), (b, _)| (a.user, a.account) == (b.user, b.account)) {
            let Some((key, _)) = group.first() else { continue };
            put(&mut self.column, key.user.abs_diff(last).into());
            put(&mut self.column, key.account.cast_unsigned().into());
            put(&mut self.column, group.len() as u128);
            last = key.user;
        }
        put(&mut self.body, self.column.len() as u128);
        self.body.extend_from_slice(&self.column);
    }

    fn column(&mut self, write: impl Fn(&Key, &Cell, &mut Vec<u8>)) {
        self.column.clear();
        for (key, cell) in &self.cells {
            write(key, cell, &mut self.column);
        }
        let zero = self.column.len() == self.cells.len() && self.column.iter().all(|&byte| byte == 0);
        let bytes: &[u8] = if zero { &[] } else { &self.column };
        put(&mut self.body, bytes.len() as u128);
        self.body.extend_from_slice(bytes);
    }
}

/// A sketch: nothing, what its cell's cost implies, or its buckets, each as the distance to the one before.
fn sketch(out: &mut Vec<u8>, sketch: &Sketch, implied: bool) {
    let buckets = sketch.buckets();
    if buckets.is_empty() {
        return put(out, 0);
    }
    if implied {
        return put(out, 1);
    }
    put(out, buckets.len() as u128 + 1);
    let mut last = 0;
    for &(bucket, n) in buckets {
        // One of a kind, mostly.
        put(out, u128::from(bucket - last) << 1 | u128::from(n != 1));
        if n != 1 {
            put(out, n.into());
        }
        last = bucket;
    }
}

fn cost_bucket(cost: i128) -> u16 {
    bucket(u64::try_from(cost.max(0)).unwrap_or(u64::MAX))
}

fn divisor(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = match (u64::try_from(a), u64::try_from(b)) {
            (Ok(a), Ok(b)) => (b.into(), (a % b).into()),
            _ => (b, a % b),
        };
    }
    a
}

/// Which columns are read, besides keys and costs. The others are passed over: their cells keep what an empty one has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    /// Calls and attempts.
    pub(crate) calls: bool,
    /// Tokens, and the first and last time seen.
    pub(crate) sums: bool,
    pub(crate) sketches: bool,
}

impl Columns {
    pub(crate) const ALL: Self = Self { calls: true, sums: true, sketches: true };
    /// Keys and costs alone.
    pub(crate) const COST: Self = Self { calls: false, sums: false, sketches: false };
}

/// The cells of one chunk. Made once and filled again and again.
#[derive(Debug)]
pub(crate) struct Chunk {
    cells: Vec<(Key, Cell)>,
    len: usize,
    columns: Columns,
}

impl Default for Chunk {
    fn default() -> Self {
        Self::of(Columns::ALL)
    }
}

impl Chunk {
    pub(crate) const fn of(columns: Columns) -> Self {
        Self { cells: Vec::new(), len: 0, columns }
    }

    pub(crate) fn cells(&self) -> &[(Key, Cell)] {
        self.cells.get(..self.len).unwrap_or_default()
    }

    /// Reads the next chunk of a body, unless `wanted` says that its range of users is not; then it is left empty.
    /// `None` where the bytes make no sense, which `payi ledger check` reports.
    pub(crate) fn read(
        &mut self,
        from: &mut &[u8],
        base_ms: i64,
        wanted: impl Fn(i64, i64) -> bool,
    ) -> Option<()> {
        self.len = 0;
        let low = int(from)?;
        let high = low.checked_add(int(from)?)?;
        let count = usize::try_from(uint(from)?).ok().filter(|&count| count <= CHUNK)?;
        let mut body = column(from)?;
        if !wanted(low, high) {
            return Some(());
        }
        if self.cells.len() < count {
            self.cells.resize_with(count, Default::default);
        }
        read(&mut body, self.cells.get_mut(..count)?, low, base_ms, self.columns)?;
        self.len = count;
        Some(())
    }
}

type Cells = [(Key, Cell)];

fn read(body: &mut &[u8], cells: &mut Cells, low: i64, base_ms: i64, columns: Columns) -> Option<()> {
    read_groups(column(body)?, cells, low)?;
    numbers(column(body)?, cells, |(key, _), what| key.what = what)?;
    numbers(column(body)?, cells, |(key, _), how| key.how = how)?;
    numbers(column(body)?, cells, |(key, _), quarter| key.quarter = quarter)?;
    let count = |(_, cell): &mut (Key, Cell), from: &mut &[u8]| {
        let shape = uint(from)?;
        cell.attempts = unzigzag(shape >> 1);
        cell.calls = if shape & 1 == 1 { unzigzag(uint(from)?) } else { cell.attempts };
        Some(())
    };
    let counts = column(body)?;
    if columns.calls {
        each(counts, cells, count, |(_, cell)| (cell.attempts, cell.calls) = (0, 0))?;
    }
    let unit = i128::try_from(wide(body)?).ok()?;
    let cost = |(_, cell): &mut (Key, Cell), from: &mut &[u8]| {
        let value = wide(from)?;
        let value = (value >> 1).cast_signed() ^ -(value & 1).cast_signed();
        cell.cost = value.checked_mul(unit)?;
        Some(())
    };
    each(column(body)?, cells, cost, |(_, cell)| cell.cost = 0)?;
    for group in 0..5 {
        let group_of = column(body)?;
        if columns.sums {
            numbers(group_of, cells, |(_, cell), n| cell.tokens[group] = n)?;
        }
    }
    let times = |(key, cell): &mut (Key, Cell), from: &mut &[u8]| {
        let Some(first) = uint(from)?.checked_sub(1) else {
            unseen(cell);
            return Some(());
        };
        let begins = base_ms.checked_add(key.quarter.checked_mul(QUARTER_MS)?)?;
        cell.first_ms = begins.checked_add(unzigzag(first >> 1))?;
        cell.last_ms = if first & 1 == 1 { cell.first_ms.checked_add(int(from)?)? } else { cell.first_ms };
        Some(())
    };
    let seen = column(body)?;
    if columns.sums {
        each(seen, cells, times, |(_, cell)| unseen(cell))?;
    }
    if columns.sketches {
        let costs = |(_, cell): &mut (Key, Cell), from: &mut &[u8]| {
            let implied = cost_bucket(cell.cost);
            read_sketch(from, &mut cell.costs, Some(implied))
        };
        each(column(body)?, cells, costs, |(_, cell)| cell.costs.clear())?;
        let latencies =
            |(_, cell): &mut (Key, Cell), from: &mut &[u8]| read_sketch(from, &mut cell.latencies, None);
        each(column(body)?, cells, latencies, |(_, cell)| cell.latencies.clear())?;
    }
    Some(())
}

fn unseen(cell: &mut Cell) {
    (cell.first_ms, cell.last_ms) = (i64::MAX, i64::MIN);
}

/// Shows `set` every cell with the rest of the column, or `zero` if the column is all zero.
#[inline]
fn each(
    mut column: &[u8],
    cells: &mut Cells,
    set: impl Fn(&mut (Key, Cell), &mut &[u8]) -> Option<()>,
    zero: impl Fn(&mut (Key, Cell)),
) -> Option<()> {
    if column.is_empty() {
        cells.iter_mut().for_each(zero);
        return Some(());
    }
    cells.iter_mut().try_for_each(|cell| set(cell, &mut column))
}

/// A column of numbers that are rarely negative: then they take ten bytes.
#[inline]
fn numbers(column: &[u8], cells: &mut Cells, set: impl Fn(&mut (Key, Cell), i64)) -> Option<()> {
    let next = |cell: &mut (Key, Cell), from: &mut &[u8]| {
        set(cell, uint(from)?.cast_signed());
        Some(())
    };
    each(column, cells, next, |cell| set(cell, 0))
}

fn read_groups(mut column: &[u8], cells: &mut Cells, low: i64) -> Option<()> {
    let (mut user, mut at) = (low, 0_usize);
    while at < cells.len() {
        user = user.checked_add(int(&mut column)?)?;
        let account = int(&mut column)?;
        let end = at.checked_add(usize::try_from(uint(&mut column)?).ok()?)?;
        let group = cells.get_mut(at..end).filter(|group| !group.is_empty())?;
        for (key, _) in group {
            (key.user, key.account) = (user, account);
        }
        at = end;
    }
    Some(())
}

fn read_sketch(from: &mut &[u8], sketch: &mut Sketch, implied: Option<u16>) -> Option<()> {
    sketch.clear();
    let buckets = match uint(from)? {
        0 => return Some(()),
        1 => {
            sketch.push(implied?, 1);
            return Some(());
        }
        more => more - 1,
    };
    let mut last = 0_u16;
    for _ in 0..buckets {
        let shape = uint(from)?;
        last = last.checked_add(u16::try_from(shape >> 1).ok()?)?;
        let n = if shape & 1 == 1 { uint(from)? } else { 1 };
        sketch.push(last, n);
    }
    Some(())
}

/// A piece that says how long it is.
fn column<'b>(from: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(uint(from)?).ok()?;
    let (column, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(column)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const BASE: i64 = 20_000 * 86_400_000;

    fn key() -> impl Strategy<Value = Key> {
        (0..60_i64, 0..4_i64, 0..4_i64, 0..200_i64, 0..96_i64).prop_map(
            |(user, account, what, how, quarter)| Key { user: user * user, account, what, how, quarter },
        )
    }

    fn sketches() -> impl Strategy<Value = Sketch> {
        prop::collection::vec(any::<i64>().prop_map(|n| n >> (n & 31)), 0..4).prop_map(|values| {
            values.iter().fold(Sketch::default(), |mut sum, &value| {
                sum.merge(&Sketch::of(value));
                sum
            })
        })
    }

    fn cell() -> impl Strategy<Value = Cell> {
        let cost = prop_oneof![any::<i128>().prop_map(|n| n >> 8), (0..900_i128).prop_map(|n| n * 150_000)];
        let times = proptest::option::weighted(0.9, (0..900_000_i64, prop_oneof![Just(0), 0..1_i64 << 30]));
        let tokens = prop::array::uniform5(prop_oneof![Just(0), 0..i64::MAX, any::<i64>()]);
        (-3..1000_i64, 0..1000_i64, cost, tokens, times, sketches(), sketches(), any::<bool>()).prop_map(
            |(calls, attempts, cost, tokens, times, costs, latencies, one)| {
                let (first_ms, last_ms) =
                    times.map_or((i64::MAX, i64::MIN), |(from, more)| (BASE + from, BASE + from + more));
                let costs = if one { Sketch::of(i64::try_from(cost).unwrap_or(i64::MAX)) } else { costs };
                Cell { calls, attempts, cost, tokens, first_ms, last_ms, costs, latencies }
            },
        )
    }

    fn unpack(pieces: &[Piece], wanted: impl Fn(i64, i64) -> bool) -> BTreeMap<Key, Cell> {
        let (mut found, mut chunk) = (BTreeMap::new(), Chunk::default());
        for piece in pieces {
            let mut from = &piece.body[..];
            while !from.is_empty() {
                assert!(chunk.read(&mut from, BASE, &wanted).is_some(), "what was packed can be read");
                for (key, cell) in chunk.cells() {
                    assert!((piece.low..=piece.high).contains(&key.user), "a row says for whom it is");
                    found.insert(*key, cell.clone());
                }
            }
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn what_is_packed_is_read_back(cells in prop::collection::btree_map(key(), cell(), 0..400), user in 0..60_i64) {
            let mut packer = Packer::new(BASE);
            for (key, cell) in &cells {
                packer.push(*key, cell);
            }
            let pieces = packer.finish();
            prop_assert_eq!(&unpack(&pieces, |_, _| true), &cells);
            let user = user * user;
            let mut some = unpack(&pieces, |low, high| (low..=high).contains(&user));
            some.retain(|key, _| key.user == user);
            let theirs: BTreeMap<Key, Cell> = cells.into_iter().filter(|(key, _)| key.user == user).collect();
            prop_assert_eq!(some, theirs);
        }

        #[test]
        fn garbage_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let (mut from, mut chunk) = (&bytes[..], Chunk::default());
            while !from.is_empty() && chunk.read(&mut from, BASE, |_, _| true).is_some() {}
        }
    }
}
