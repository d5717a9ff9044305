//! Sums by key, for hundreds of thousands of keys: rows in the order in which they were met, and a quick way to them.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hash, Hasher},
};

use crate::ledger::{ids, read::query::Key};

/// Something for each key.
///
/// Cells come in the order of their users, day after day. Rows found by the number itself are thus gone through in
/// order, again and again, which a hash would scatter over the memory: that takes several times as long.
#[derive(Debug)]
pub(super) struct Groups<T> {
    rows: Vec<(Key, T)>,
    /// The first row of each first number, and for each row the next of the same first number; 0 is none, 1 the first.
    heads: Vec<u32>,
    next: Vec<u32>,
    /// Rows that are further than [`CHAIN`] from the first, or whose first number is out of bounds.
    hashed: HashMap<Hashed, u32, BuildHasherDefault<Mixer>>,
    /// The row that was asked for last: entries come in runs of one key.
    last: usize,
}

/// Rows of one first number that are looked through one by one.
const CHAIN: usize = 4;
/// First numbers that have a place of their own.
const PLACES: usize = 1 << 23;

impl<T> Default for Groups<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), heads: Vec::new(), next: Vec::new(), hashed: HashMap::default(), last: 0 }
    }
}

/// Where a key is, or where it would be noted.
enum Found {
    Row(u32),
    /// In `heads`, at this place.
    Head(usize),
    /// After this row.
    After(u32),
    Hashed,
}

impl<T: Default> Groups<T> {
    /// The row of a key, made if there is none.
    pub(super) fn at(&mut self, key: Key) -> &mut T {
        if self.rows.get(self.last).is_none_or(|(last, _)| *last != key) {
            let new = u32::try_from(self.rows.len() + 1).unwrap_or(u32::MAX);
            let row = match self.find(&key) {
                Found::Row(row) => row,
                Found::Head(place) => {
                    if place >= self.heads.len() {
                        self.heads.resize(place + 1, 0);
                    }
                    self.heads[place] = new;
                    new
                }
                Found::After(row) => {
                    self.next[row as usize - 1] = new;
                    new
                }
                Found::Hashed => {
                    self.hashed.insert(Hashed(key), new);
                    new
                }
            };
            if row == new {
                self.rows.push((key, T::default()));
                self.next.push(0);
            }
            self.last = row as usize - 1;
        }
        &mut self.rows[self.last].1
    }
}

impl<T> Groups<T> {
    /// The row of a key, if there is one.
    pub(super) fn get(&mut self, key: Key) -> Option<&mut T> {
        if self.rows.get(self.last).is_none_or(|(last, _)| *last != key) {
            let Found::Row(row) = self.find(&key) else { return None };
            self.last = row as usize - 1;
        }
        self.rows.get_mut(self.last).map(|(_, row)| row)
    }

    fn find(&self, key: &Key) -> Found {
        let hashed = || self.hashed.get(&Hashed(*key)).map_or(Found::Hashed, |&row| Found::Row(row));
        let Some(place) = usize::try_from(key[0]).ok().filter(|&place| place < PLACES) else {
            return hashed();
        };
        let (mut row, mut before) = (self.heads.get(place).copied().unwrap_or(0), Found::Head(place));
        for _ in 0..CHAIN {
            match self.rows.get((row as usize).wrapping_sub(1)) {
                None => return before,
                Some((found, _)) if found == key => return Found::Row(row),
                Some(_) => before = Found::After(row),
            }
            row = self.next[row as usize - 1];
        }
        hashed()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The row of a key, if there is one, wherever the last one was.
    pub(super) fn find_ref(&self, key: &Key) -> Option<&T> {
        let Found::Row(row) = self.find(key) else { return None };
        self.rows.get((row as usize).wrapping_sub(1)).map(|(_, row)| row)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sums_are_those_of_a_map(
            entries in prop::collection::vec(((-1..4_i64, 0..40_i64), any::<i32>()), 0..300),
            far in 0..i64::MAX,
        ) {
            let (mut groups, mut map) = (Groups::<i64>::default(), BTreeMap::new());
            for ((a, b), n) in entries {
                let key = [if a == 3 { far } else { a }, b, 0, 0];
                *groups.at(key) += i64::from(n);
                *map.entry(key).or_insert(0_i64) += i64::from(n);
            }
            prop_assert_eq!(groups.iter().map(|(key, sum)| (*key, *sum)).collect::<BTreeMap<_, _>>(), map.clone());
            for (key, sum) in map {
                prop_assert_eq!(groups.get(key).map(|sum| *sum), Some(sum));
            }
            prop_assert!(groups.get([77, 0, 0, 0]).is_none());
        }
    }
}
