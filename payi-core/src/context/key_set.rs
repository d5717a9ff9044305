//! Some of the keys, in two bytes.

use std::fmt;

use crate::context::Key;

/// Some of the keys.
///
/// ```
/// # use payi_core::context::{Key, KeySet};
/// let keys: KeySet = [Key::AccountName, Key::UserId].into_iter().collect();
/// assert!(keys.contains(Key::UserId));
/// assert_eq!(keys.to_string(), "user_id, account_name");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeySet(u16);

impl KeySet {
    /// None of them.
    pub const EMPTY: Self = Self(0);

    /// Whether `key` is one of them.
    pub const fn contains(self, key: Key) -> bool {
        self.0 & (1 << key as u16) != 0
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// They, in the order of the documentation.
    pub fn iter(self) -> impl Iterator<Item = Key> {
        Key::ALL.iter().copied().filter(move |key| self.contains(*key))
    }
}

impl FromIterator<Key> for KeySet {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        Self(keys.into_iter().fold(0, |set, key| set | (1 << key as u16)))
    }
}

impl fmt::Display for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, key) in self.iter().enumerate() {
            write!(f, "{}{key}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
