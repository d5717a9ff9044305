//! One counter of the store in memory: what was spent of it, what is held, and when nothing of that counts any more.

use std::collections::{BTreeMap, HashMap};

use crate::limits::{Limit, Standing, Subject, decayed, rate::falls_by, window::GRACE};

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// What was spent, by slot of the window.
    pub(crate) slots: BTreeMap<i64, i128>,
    /// Of a rate: its level, and when it was that.
    pub(crate) level: (i128, i64),
    pub(crate) held: HashMap<Box<str>, Held>,
    pub(crate) recall: u64,
    pub(crate) recalled_us: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) amount: i128,
    pub(crate) answered: u64,
}

impl Entry {
    pub(crate) fn held(&self) -> i128 {
        self.held.values().map(|held| held.amount).sum()
    }

    pub(crate) fn standing(&self, limit: &Limit, subject: &Subject, at_us: i64) -> Standing {
        let max = limit.max_of(subject);
        let held = self.held();
        if let Some(per) = limit.rate_us() {
            let (level, then) = decayed(self.level.0, self.level.1, at_us, max, per);
            let frees_us = (level > 0).then(|| falls_by(1, then, max, per)).flatten();
            return Standing { max, settled: level, held, frees_us };
        }
        let slot = limit.window.slot(at_us).0;
        let counts = || self.slots.range(limit.window.counted(slot)).filter(|(_, spent)| **spent > 0);
        let settled = counts().map(|(_, spent)| *spent).sum();
        let frees_us = counts().next().and_then(|(slot, _)| limit.window.forgotten(*slot));
        Standing { max, settled, held, frees_us }
    }

    pub(crate) fn let_go(&mut self, process: &str, amount: i128) {
        if let Some(held) = self.held.get_mut(process) {
            held.amount -= amount;
            if held.amount <= 0 {
                self.held.remove(process);
            }
        }
    }

    /// Forgets slots before `from`, which count no longer; whether anything is left to remember.
    pub(crate) fn forget(
        &mut self,
        limit: &Limit,
        subject: &Subject,
        now_us: i64,
        from: Option<i64>,
    ) -> bool {
        self.slots.retain(|slot, spent| *spent != 0 && from.is_none_or(|from| *slot >= from));
        let level = limit
            .rate_us()
            .map_or(0, |per| decayed(self.level.0, self.level.1, now_us, limit.max_of(subject), per).0);
        // Who has asked others to give back goes by the number of that call.
        let asked = self.recalled_us > now_us.saturating_sub(GRACE);
        !self.slots.is_empty() || !self.held.is_empty() || level > 0 || asked
    }
}
