//! Tables that say which values of a document are picked: a rule for a key and where it may stand.

/// How many levels a table has at most.
const LEVELS: usize = 8;

/// What to do with the value of `key` in an object on `level`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule<K: 'static> {
    pub(crate) level: u8,
    pub(crate) key: &'static str,
    pub(crate) then: Then<K>,
}

/// A table of rules, and a filter that knows most keys which none of them names: an answer has more of those than of
/// the others.
#[derive(Debug)]
pub(crate) struct Rules<K: 'static> {
    rules: &'static [Rule<K>],
    /// For each level a bit for each key that it may know.
    known: [u64; LEVELS],
}

impl<K> Rules<K> {
    pub(crate) const fn new(rules: &'static [Rule<K>]) -> Self {
        let mut known = [0; LEVELS];
        let mut at = 0;
        while at < rules.len() {
            known[rules[at].level as usize] |= bit(rules[at].key.as_bytes());
            at += 1;
        }
        Self { rules, known }
    }

    /// The rule for a key of an object on `level`.
    pub(crate) fn find(&self, level: u8, key: &[u8]) -> Option<&Rule<K>> {
        let known = self.known.get(usize::from(level)).is_some_and(|known| known & bit(key) != 0);
        let named = |rule: &&Rule<K>| rule.level == level && rule.key.as_bytes() == key;
        if known { self.rules.iter().find(named) } else { None }
    }
}

/// Its place in a filter: a key is told from most others by its length and where it begins.
const fn bit(key: &[u8]) -> u64 {
    let first = if key.is_empty() { 0 } else { key[0] as usize };
    1 << ((first ^ (key.len() << 2)) & 63)
}

/// What becomes of a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then<K> {
    /// It is kept, as it was written, under this name.
    Keep(K),
    /// If it is an object, or an array of objects, their keys are looked up on this level.
    Enter(u8),
    /// The same, and each object leaves a mark of this name where it begins.
    Each(u8, K),
    /// It is passed over.
    Skip,
}
