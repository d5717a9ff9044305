//! Remembers which model a name meant: a service calls few models many times.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::OnceLock,
};

use super::book::Found;

const SLOTS: usize = 512;
const TRIES: usize = 2;

/// A table of fixed size whose slots are written once: nobody waits for anybody, and names made up by
/// callers cannot make it grow. A name that finds its slots taken is searched for each time.
#[derive(Debug)]
pub(super) struct Memo(Box<[OnceLock<Entry>]>);

#[derive(Debug)]
struct Entry {
    provider: Box<str>,
    model: Box<str>,
    found: Found,
}

impl Default for Memo {
    fn default() -> Self {
        Self((0..SLOTS).map(|_| OnceLock::new()).collect())
    }
}

impl Memo {
    pub(super) fn get(
        &self,
        provider: &str,
        model: &str,
        search: impl FnOnce() -> Option<Found>,
    ) -> Option<Found> {
        let mut hasher = DefaultHasher::new();
        (provider, model).hash(&mut hasher);
        let start = usize::try_from(hasher.finish() % SLOTS as u64).unwrap_or_default();
        for slot in (start..start + TRIES).filter_map(|at| self.0.get(at % SLOTS)) {
            match slot.get() {
                Some(entry) if *entry.model == *model && *entry.provider == *provider => {
                    return Some(entry.found);
                }
                Some(_) => {}
                None => {
                    let found = search()?;
                    let _ = slot.set(Entry { provider: provider.into(), model: model.into(), found });
                    return Some(found);
                }
            }
        }
        search()
    }
}
