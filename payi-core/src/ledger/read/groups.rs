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
    /// The row that [`Groups::get_mut`] found last: entries of few rows come in runs of one key.
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

/// Where a row that is not there would be noted.
#[derive(Clone, Copy)]
enum Place {
    /// In `heads`.
    Head(usize),
    /// After this row.
    After(u32),
    Hashed,
}

impl<T: Default> Groups<T> {
    /// The row of a key, made if there is none.
    #[inline]
    pub(super) fn at(&mut self, key: Key) -> &mut T {
        let row = match self.find(&key) {
            Ok(row) => row,
            Err(place) => self.make(key, place),
        };
        &mut self.rows[row as usize - 1].1
    }

    /// Puts the rows of another into these.
    pub(super) fn join(&mut self, other: Self, put: impl Fn(&mut T, T)) {
        for (key, value) in other.rows {
            put(self.at(key), value);
        }
    }

    #[cold]
    fn make(&mut self, key: Key, place: Place) -> u32 {
        self.rows.push((key, T::default()));
        self.next.push(0);
        let new = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        match place {
            Place::Head(place) => {
                if place >= self.heads.len() {
                    self.heads.resize(place + 1, 0);
                }
                self.heads[place] = new;
            }
            Place::After(row) => self.next[row as usize - 1] = new,
            Place::Hashed => {
                self.hashed.insert(Hashed(key), new);
            }
        }
        new
    }
}

impl<T> Groups<T> {
    /// The row of a key, if there is one.
    pub(super) fn get(&self, key: &Key) -> Option<&T> {
        let row = self.find(key).ok()?;
        self.rows.get(row as usize - 1).map(|(_, row)| row)
    }

    /// The same, to be changed.
    #[inline]
    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut T> {
        if self.rows.get(self.last).is_none_or(|(last, _)| last != key) {
            self.last = self.find(key).ok()? as usize - 1;
        }
        self.rows.get_mut(self.last).map(|(_, row)| row)
    }

    /// The number of a row, which begins with 1.
    #[inline]
    fn find(&self, key: &Key) -> Result<u32, Place> {
        let hashed = || self.hashed.get(&Hashed(*key)).copied().ok_or(Place::Hashed);
        let Some(place) = usize::try_from(key[0]).ok().filter(|&place| place < PLACES) else {
            return hashed();
        };
        let (mut row, mut before) = (self.heads.get(place).copied().unwrap_or(0), Place::Head(place));
        for _ in 0..CHAIN {
            match self.rows.get((row as usize).wrapping_sub(1)) {
                None => return Err(before),
                Some((found, _)) if found == key => return Ok(row),
                Some(_) => before = Place::After(row),
            }
            row = self.next[row as usize - 1];
        }
        hashed()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
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
    #[inline]
    pub(super) fn add(&mut self, id: i64, amount: i128) {
        let key = [id, 0, 0, 0];
        match self.0.get_mut(&key) {
            Some(sum) => *sum += amount,
            None => *self.0.at(key) = amount,
        }
    }

    pub(super) fn join(&mut self, other: Self) {
        self.0.join(other.0, |sum, amount| *sum += amount);
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
                prop_assert_eq!(groups.get(&key), Some(&sum));
            }
            prop_assert!(groups.get_mut(&[77, 0, 0, 0]).is_none());
        }
    }
}
