//! Which attempts a store in memory has charged, so that none is charged twice: the newest of them, for memory has an end.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use crate::limits::Counter;

/// How many attempts are remembered. What is settled twice is settled within moments.
const REMEMBERED: usize = 65_536;

/// What one attempt was charged.
#[derive(Clone, Debug)]
pub(crate) struct Charged {
    /// By estimate, because its process was given up.
    pub(crate) estimated: bool,
    pub(crate) parts: Vec<(Counter, i64, i128)>,
}

/// What each of the last attempts was charged.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    charged: HashMap<Uuid, Charged>,
    /// Oldest first.
    order: VecDeque<Uuid>,
}

impl Attempts {
    pub(crate) fn get(&self, attempt: Uuid) -> Option<&Charged> {
        self.charged.get(&attempt)
    }

    /// Notes what an attempt was charged, in place of what it was charged before.
    pub(crate) fn note(&mut self, attempt: Uuid, charged: Charged) {
        if self.charged.insert(attempt, charged).is_some() {
            return;
        }
        self.order.push_back(attempt);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.charged.remove(&oldest);
        }
    }

    /// The counters of a limit begin anew: nothing of what attempts were charged is in them.
    pub(crate) fn forget(&mut self, limit: &str) {
        for charged in self.charged.values_mut() {
            charged.parts.retain(|(counter, ..)| *counter.limit != *limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_are_remembered() {
        let mut attempts = Attempts::default();
        let ids: Vec<Uuid> = (0..REMEMBERED + 10).map(|_| Uuid::now_v7()).collect();
        for estimated in [true, false] {
            for id in &ids {
                attempts.note(*id, Charged { estimated, parts: Vec::new() });
            }
        }
        assert_eq!((attempts.charged.len(), attempts.order.len()), (REMEMBERED, REMEMBERED));
        assert!(attempts.get(ids[0]).is_none());
        assert!(attempts.get(ids[REMEMBERED + 9]).is_some_and(|charged| !charged.estimated));
    }
}
