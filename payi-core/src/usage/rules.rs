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

/// A table of rules, and where in it to look for a key: an answer has more keys that no rule names than others.
#[derive(Debug)]
pub(crate) struct Rules<K: 'static> {
    all: &'static [Rule<K>],
    /// For each level and each slot of a key, the first rule; [`NONE`] where there is none.
    first: [[u8; SLOTS]; LEVELS],
    /// For each rule the next one on its level and in its slot.
    next: [u8; RULES_MAX],
}

/// How many rules a table has at most.
const RULES_MAX: usize = 64;
/// How many slots each level has.
const SLOTS: usize = 64;
/// The place of no rule.
const NONE: u8 = u8::MAX;

impl<K> Rules<K> {
    pub(crate) const fn new(rules: &'static [Rule<K>]) -> Self {
        assert!(rules.len() <= RULES_MAX, "a table of rules is too long for its index");
        let (mut first, mut next) = ([[NONE; SLOTS]; LEVELS], [NONE; RULES_MAX]);
        // Backwards, so that of two rules for one key the first is found.
        let mut at = rules.len();
        while at > 0 {
            at -= 1;
            let head = &mut first[rules[at].level as usize][slot(rules[at].key.as_bytes())];
            next[at] = *head;
            #[expect(clippy::cast_possible_truncation, reason = "there are no more than `RULES_MAX`")]
            let place = at as u8;
            *head = place;
        }
        Self { all: rules, first, next }
    }

    /// The rule for a key of an object on `level`.
    pub(crate) fn find(&self, level: u8, key: &[u8]) -> Option<&Rule<K>> {
        let mut at = self.first.get(usize::from(level))?[slot(key)];
        loop {
            let rule = self.all.get(usize::from(at))?;
            if rule.key.as_bytes() == key {
                return Some(rule);
            }
            at = *self.next.get(usize::from(at))?;
        }
    }
}

/// Its slot: a key is told from most others by its length and where it begins.
const fn slot(key: &[u8]) -> usize {
    let first = if key.is_empty() { 0 } else { key[0] as usize };
    (first ^ (key.len() << 2)) % SLOTS
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
