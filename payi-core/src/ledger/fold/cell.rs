//! One user's sums, and the bytes in which many of them are kept.

use std::collections::BTreeMap;

use crate::{
    events::Outcome,
    ledger::{
        read::{Totals, scan::Fact},
        rows::time,
    },
    money::Money,
};

/// Who a cell is of: user, account.
pub(crate) type Key = (i64, i64);

/// The cells of one time slot, in the order of their keys.
pub(crate) type Cells = BTreeMap<Key, Cell>;

/// Sums of one user of one account. Counts may be negative in a part of the whole: a call that went on is
/// taken back where its earlier attempt was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    calls: [i64; Outcome::ALL.len()],
    attempts: i64,
    unpriced: i64,
    tokens: [i64; 5],
    cost: i128,
    first_us: i64,
    last_us: i64,
}

impl Default for Cell {
    fn default() -> Self {
        Self {
            calls: [0; 5],
            attempts: 0,
            unpriced: 0,
            tokens: [0; 5],
            cost: 0,
            first_us: i64::MAX,
            last_us: i64::MIN,
        }
    }
}

impl Cell {
    /// Adds a fact; as a call too, unless it is known not to be how its call ended.
    pub(crate) fn add(&mut self, fact: &Fact) {
        if fact.counts {
            self.count(fact, 1);
        }
        self.attempts += i64::from(fact.original);
        for (sum, n) in self.tokens.iter_mut().zip(fact.tokens) {
            *sum = sum.saturating_add(n);
        }
        self.cost += i128::from(fact.cost);
        self.first_us = self.first_us.min(fact.at_us);
        self.last_us = self.last_us.max(fact.at_us);
    }

    /// Takes back that a fact counted as a call.
    pub(crate) fn take_back(&mut self, fact: &Fact) {
        self.count(fact, -1);
    }

    fn count(&mut self, fact: &Fact, n: i64) {
        self.calls[fact.outcome as usize] += n;
        self.unpriced += if fact.unpriced { n } else { 0 };
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (sum, n) in self.calls.iter_mut().zip(other.calls) {
            *sum += n;
        }
        self.attempts += other.attempts;
        self.unpriced += other.unpriced;
        for (sum, n) in self.tokens.iter_mut().zip(other.tokens) {
            *sum = sum.saturating_add(n);
        }
        self.cost += other.cost;
        self.first_us = self.first_us.min(other.first_us);
        self.last_us = self.last_us.max(other.last_us);
    }

    /// Whether there is nothing in it: then it is no row of a report.
    pub(crate) fn is_empty(&self) -> bool {
        self.first_us > self.last_us && self.calls == [0; 5]
    }

    pub(crate) fn totals(&self) -> Totals {
        let count = |n: i64| n.max(0).cast_unsigned();
        let mut totals = Totals::default();
        for (outcome, n) in Outcome::ALL.into_iter().zip(self.calls) {
            *totals.calls.of(outcome) = count(n);
        }
        let [input, cache_read, cache_write, output, reasoning] = self.tokens.map(count);
        totals.tokens.input = input;
        totals.tokens.cache_read = cache_read;
        totals.tokens.cache_write = cache_write;
        totals.tokens.output = output;
        totals.tokens.reasoning = reasoning;
        totals.attempts = count(self.attempts);
        totals.unpriced_calls = count(self.unpriced);
        totals.cost = Money::from_pico(self.cost);
        if self.first_us <= self.last_us {
            totals.first_seen = Some(time(self.first_us));
            totals.last_seen = Some(time(self.last_us));
        }
        totals
    }
}

/// Writes cells: each field a variable-length integer, users as differences to the one before.
pub(crate) fn encode(cells: &Cells) -> Vec<u8> {
    let mut out = Vec::with_capacity(cells.len() * 32);
    let mut last_user = 0;
    for (&(user, account), cell) in cells {
        put(&mut out, i128::from(user - last_user));
        put(&mut out, account.into());
        last_user = user;
        // Most cells are of calls that went well at once: one bit says so.
        let [ok, rest @ ..] = cell.calls;
        let plain = rest == [0; 4] && cell.attempts == ok && cell.unpriced == 0;
        put(&mut out, i128::from(ok) * 2 + i128::from(!plain));
        if !plain {
            for n in rest.into_iter().chain([cell.attempts, cell.unpriced]) {
                put(&mut out, n.into());
            }
        }
        for n in cell.tokens {
            put(&mut out, n.into());
        }
        put(&mut out, cell.cost);
        put(&mut out, cell.first_us.into());
        put(&mut out, i128::from(cell.last_us) - i128::from(cell.first_us));
    }
    out
}

/// Reads cells back; stops where the bytes make no sense, which `payi ledger check` reports.
pub(crate) fn decode(bytes: &[u8], mut each: impl FnMut(Key, &Cell)) -> bool {
    let mut from = bytes;
    let mut user = 0_i64;
    while !from.is_empty() {
        let Some((key, cell)) = one(&mut from, &mut user) else { return false };
        each(key, &cell);
    }
    true
}

fn one(from: &mut &[u8], user: &mut i64) -> Option<(Key, Cell)> {
    *user = user.checked_add(int(from)?)?;
    let account = int(from)?;
    let mut cell = Cell::default();
    let ok = int(from)?;
    cell.calls[0] = ok >> 1;
    cell.attempts = cell.calls[0];
    if ok & 1 == 1 {
        for n in &mut cell.calls[1..] {
            *n = int(from)?;
        }
        cell.attempts = int(from)?;
        cell.unpriced = int(from)?;
    }
    for n in &mut cell.tokens {
        *n = int(from)?;
    }
    cell.cost = wide(from)?;
    cell.first_us = int(from)?;
    cell.last_us = i64::try_from(i128::from(cell.first_us) + wide(from)?).ok()?;
    Some(((*user, account), cell))
}

fn int(from: &mut &[u8]) -> Option<i64> {
    short(from).or_else(|| i64::try_from(take(from)?).ok())
}

fn wide(from: &mut &[u8]) -> Option<i128> {
    short(from).map(i128::from).or_else(|| take(from))
}

/// Nearly all numbers fit nine bytes, where 64-bit arithmetic is several times faster.
#[inline]
fn short(from: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for (i, &byte) in from.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *from = &from[i + 1..];
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

/// Zigzag, then seven bits a byte, lowest first.
fn put(out: &mut Vec<u8>, n: i128) {
    let mut value = ((n << 1) ^ (n >> 127)).cast_unsigned();
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or(0));
}

fn take(from: &mut &[u8]) -> Option<i128> {
    let mut value = 0_u128;
    for (i, &byte) in from.iter().enumerate().take(19) {
        value |= u128::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *from = &from[i + 1..];
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cells() -> impl Strategy<Value = Cells> {
        let cell =
            (
                prop::array::uniform5(-3_i64..1000),
                any::<i32>(),
                -2_i64..5,
                prop::array::uniform5(0..i64::MAX),
                any::<i128>().prop_map(|n| n >> 8),
                prop_oneof![
                    Just((i64::MAX, i64::MIN)),
                    (0..i64::MAX / 2, 0..i64::MAX / 2).prop_map(|(a, b)| (a, a + b))
                ],
            )
                .prop_map(|(calls, attempts, unpriced, tokens, cost, (first_us, last_us))| {
                    Cell { calls, attempts: attempts.into(), unpriced, tokens, cost, first_us, last_us }
                });
        prop::collection::btree_map((0..1_i64 << 40, 0..1_i64 << 40), cell, 0..40)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(cells in cells()) {
            let mut back = Cells::new();
            let whole = decode(&encode(&cells), |key, cell| {
                back.insert(key, *cell);
            });
            prop_assert!(whole);
            prop_assert_eq!(back, cells);
        }

        #[test]
        fn garbage_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            decode(&bytes, |_, _| {});
        }
    }
}
