//! Which limits a call counts against, and whose counters of them.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use crate::{
    context::Resolved,
    limits::{Counter, Definitions, Limit, Scope, Subject, sync::Mutex},
};

/// A limit in force.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) limit: Arc<Limit>,
    pub(crate) id: Arc<str>,
    pub(crate) epoch_us: i64,
    pub(crate) created_us: i64,
    /// The slot of the last call, kept because calendars take a while to ask.
    slot: Mutex<(i64, i64)>,
}

impl Rule {
    /// The slot of a time.
    pub(crate) fn slot(&self, at_us: i64) -> i64 {
        let mut known = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if !(known.0..known.1).contains(&at_us) {
            *known = self.limit.window.slot(at_us);
        }
        known.0
    }
}

/// All limits in force, at one version.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) version: u64,
    /// By id: the order in which a call reserves.
    all: Vec<Arc<Rule>>,
    by_id: HashMap<Arc<str>, usize>,
    /// Those that no call has to name.
    everywhere: Vec<usize>,
}

impl Rules {
    pub(crate) fn new(definitions: &Definitions) -> Self {
        let mut all: Vec<_> = definitions
            .limits
            .iter()
            .map(|definition| {
                Arc::new(Rule {
                    limit: Arc::clone(&definition.limit),
                    id: (*definition.limit.id).into(),
                    epoch_us: definition.epoch_us,
                    created_us: definition.created_us,
                    slot: Mutex::new((0, 0)),
                })
            })
            .collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        let by_id = all.iter().enumerate().map(|(i, rule)| (Arc::clone(&rule.id), i)).collect();
        let everywhere = all
            .iter()
            .enumerate()
            .filter(|(_, r)| r.limit.scope != Scope::Attached)
            .map(|(i, _)| i)
            .collect();
        Self { version: definitions.version, all, by_id, everywhere }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Arc<Rule>> {
        self.by_id.get(id).and_then(|&i| self.all.get(i))
    }

    /// Those of these rules that `new` has otherwise, as they are there: `None` where nothing goes on, because the
    /// limit is gone, was made anew, or counts something else.
    pub(crate) fn changed<'n>(&self, new: &'n Self) -> HashMap<Arc<str>, Option<&'n Arc<Rule>>> {
        let changed = self.all.iter().filter_map(|old| {
            let new = new.get(&old.id).filter(|new| new.created_us == old.created_us);
            let same = new.is_some_and(|new| new.epoch_us == old.epoch_us && new.limit == old.limit);
            (!same).then(|| (Arc::clone(&old.id), new))
        });
        changed.collect()
    }

    /// The limits that a call counts against, in the one order in which all calls reserve.
    pub(crate) fn of(&self, who: &Resolved) -> Vec<(Arc<Rule>, Counter)> {
        let named = who.limit_ids.iter().filter_map(|id| self.by_id.get(id.as_str()));
        let attached = named.filter(|&&i| self.all[i].limit.scope == Scope::Attached);
        let mut which: Vec<usize> = self.everywhere.iter().chain(attached).copied().collect();
        which.sort_unstable();
        which.dedup();
        which
            .into_iter()
            .map(|i| {
                let rule = Arc::clone(&self.all[i]);
                let counter =
                    Counter { limit: Arc::clone(&rule.id), subject: subject(rule.limit.scope, who) };
                (rule, counter)
            })
            .collect()
    }
}

/// Whose counter a call counts against.
pub(crate) fn subject(scope: Scope, who: &Resolved) -> Subject {
    let text = |text: &Option<_>| text.clone().unwrap_or_default();
    match scope {
        Scope::Attached | Scope::Everyone => Subject::default(),
        Scope::EachUser => Subject { name: text(&who.user_id), within: text(&who.account_name) },
        Scope::EachAccount => Subject { name: text(&who.account_name), ..Subject::default() },
        Scope::EachUseCase => {
            let name = who.use_case.as_ref().map(|case| case.name.clone());
            Subject { name: name.unwrap_or_default(), ..Subject::default() }
        }
    }
}
