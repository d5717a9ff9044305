//! Sums by key, for hundreds of thousands of keys: rows in the order in which they were met, and a quick way to them.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hash, Hasher},
};

use crate::ledger::{ids, read::query::Key};

/// Something for each key.
#[derive(Debug)]
pub(super) struct Groups<T> {
    rows: Vec<(Key, T)>,
    index: HashMap<Hashed, u32, BuildHasherDefault<Mixer>>,
    /// The row that was asked for last: entries come in runs of one key.
    last: usize,
}

impl<T> Default for Groups<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), index: HashMap::default(), last: 0 }
    }
}

impl<T: Default> Groups<T> {
    /// The row of a key, made if there is none.
    pub(super) fn at(&mut self, key: Key) -> &mut T {
        if self.rows.get(self.last).is_none_or(|(last, _)| *last != key) {
            let next = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
            let row = *self.index.entry(Hashed(key)).or_insert(next);
            if row == next {
                self.rows.push((key, T::default()));
            }
            self.last = row as usize;
        }
        &mut self.rows[self.last].1
    }
}

impl<T> Groups<T> {
    /// The row of a key, if there is one.
    pub(super) fn get(&mut self, key: Key) -> Option<&mut T> {
        if self.rows.get(self.last).is_none_or(|(last, _)| *last != key) {
            self.last = *self.index.get(&Hashed(key))? as usize;
        }
        self.rows.get_mut(self.last).map(|(_, row)| row)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &T)> {
        self.rows.iter().map(|(key, row)| (key, row))
    }
}

impl<T: Default> FromIterator<Key> for Groups<T> {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        let mut groups = Self::default();
        for key in keys {
            groups.at(key);
        }
        groups
    }
}

/// Amounts by one number.
#[derive(Debug, Default)]
pub(super) struct Pile(Groups<i128>);

impl Pile {
    pub(super) fn add(&mut self, id: i64, amount: i128) {
        *self.0.at([id, 0, 0, 0]) += amount;
    }

    /// The number with the largest amount, the first of equals; 0 if there is none.
    pub(super) fn top(&self) -> i64 {
        let largest = self.0.iter().max_by_key(|&(key, &amount)| (amount, std::cmp::Reverse(key[0])));
        largest.map_or(0, |(key, _)| key[0])
    }
}

/// A key that hashes in one step. Its numbers are the ledger's own: nobody outside chooses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hashed(Key);

impl Hash for Hashed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d] = self.0.map(i64::cast_unsigned);
        state.write_u64(a ^ b.rotate_left(20) ^ c.rotate_left(40) ^ d.rotate_left(52));
    }
}

#[derive(Default)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = ids::mix(self.0 ^ n);
    }
}
