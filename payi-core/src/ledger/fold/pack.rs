//! Cells as bytes: in chunks of some hundred, column by column, each number in as few bytes as it needs.
//!
//! A chunk says for which users it is, so that a report of one user passes over the others unread. Numbers are
//! variable-length, lowest seven bits first; a column that is all zero takes one byte.

use crate::ledger::{
    fold::{
        QUARTER_MS,
        cell::{Cell, Key},
        varint::{put, zigzag},
    },
    sketch::{Sketch, bucket},
};

/// Cells in one chunk: as many as stay close to the processor while their columns are read.
pub(super) const CHUNK: usize = 128;
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
            if !cell.has_times() {
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

pub(super) fn cost_bucket(cost: i128) -> u16 {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::ledger::fold::unpack::{Chunk, Columns, cells};

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

    fn unpack(pieces: &[Piece], columns: Columns, wanted: impl Fn(i64, i64) -> bool) -> BTreeMap<Key, Cell> {
        let mut found = BTreeMap::new();
        for piece in pieces {
            let whole = cells(&piece.body, BASE, columns, &wanted, |key, cell| {
                assert!((piece.low..=piece.high).contains(&key.user), "a row says for whom it is");
                found.insert(*key, cell.clone());
            });
            assert!(whole.is_some(), "what was packed can be read");
        }
        found
    }

    /// As merging reads.
    fn by_chunks(pieces: &[Piece]) -> BTreeMap<Key, Cell> {
        let (mut found, mut chunk) = (BTreeMap::new(), Chunk::default());
        for piece in pieces {
            let mut from = &piece.body[..];
            while !from.is_empty() {
                assert!(chunk.read(&mut from, BASE).is_some(), "what was packed can be read");
                found.extend(chunk.cells().iter().cloned());
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
            prop_assert_eq!(&unpack(&pieces, Columns::ALL, |_, _| true), &cells);
            prop_assert_eq!(&by_chunks(&pieces), &cells);
            let user = user * user;
            let mut some = unpack(&pieces, Columns::ALL, |low, high| (low..=high).contains(&user));
            some.retain(|key, _| key.user == user);
            let theirs: BTreeMap<Key, Cell> = cells.into_iter().filter(|(key, _)| key.user == user).collect();
            prop_assert_eq!(some, theirs);
        }

        #[test]
        fn what_columns_are_read_for_is_the_same_without_the_others(
            cells in prop::collection::btree_map(key(), cell(), 0..400),
            (calls, sums, sketches) in any::<(bool, bool, bool)>(),
        ) {
            let mut packer = Packer::new(BASE);
            for (key, cell) in &cells {
                packer.push(*key, cell);
            }
            let columns = Columns { calls, sums, sketches };
            let said = |cell: &Cell| {
                (
                    cell.cost,
                    calls.then(|| (cell.calls, cell.attempts, cell.is_seen())),
                    sums.then_some((cell.tokens, cell.first_ms, cell.last_ms)),
                    sketches.then(|| (cell.costs.clone(), cell.latencies.clone())),
                )
            };
            let read = unpack(&packer.finish(), columns, |_, _| true);
            let read: BTreeMap<Key, _> = read.iter().map(|(key, cell)| (*key, said(cell))).collect();
            prop_assert_eq!(read, cells.iter().map(|(key, cell)| (*key, said(cell))).collect());
        }

        #[test]
        fn garbage_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let (mut from, mut chunk) = (&bytes[..], Chunk::default());
            while !from.is_empty() && chunk.read(&mut from, BASE).is_some() {}
            let _ = cells(&bytes, BASE, Columns::ALL, |_, _| true, |_, _| {});
        }
    }
}
