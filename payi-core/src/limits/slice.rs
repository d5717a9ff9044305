//! The part of a counter that this process holds.

use std::sync::{Arc, PoisonError};

use crate::limits::{
    Counter, LimitState, Measure, Rule, Standing,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// One counter, as far as this process has a part in it.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) counter: Counter,
    share: Mutex<Share>,
    /// Others run short: what is over goes back at once.
    pub(crate) scarce: AtomicBool,
    /// Something was put aside, to be given back.
    aside: AtomicBool,
    /// The desk knows that something is to go to the store.
    pub(crate) noted: AtomicBool,
}

#[derive(Debug, Default)]
struct Share {
    /// Held and promised to nobody. Below zero where calls cost more than was reserved for them.
    free: i128,
    /// Given for another slot, or for the limit as it was: to be given back, and promised to nobody.
    aside: i128,
    /// Promised to calls under way.
    reserved: i128,
    calls: u32,
    /// For calls in this slot of the limit's window; in another one the store has to be asked again.
    slot: i64,
    /// Of a rate: used, and not yet told to the store.
    used: i128,
    /// Spent in this slot, as far as this process knows.
    settled: Option<i128>,
    max: i128,
    touched: bool,
    /// Out of the map: whoever still has it may only put back.
    gone: bool,
}

/// Why nothing was reserved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Not {
    /// There is too little here.
    Short,
    /// The slice is no longer in use; look it up again.
    Gone,
}

impl Slice {
    pub(crate) fn new(counter: Counter, max: i128) -> Arc<Self> {
        let share = Share { max, touched: true, ..Share::default() };
        Arc::new(Self {
            counter,
            share: Mutex::new(share),
            scarce: AtomicBool::default(),
            aside: AtomicBool::default(),
            noted: AtomicBool::default(),
        })
    }

    fn share(&self) -> MutexGuard<'_, Share> {
        self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Promises `amount` to a call in `slot`.
    pub(crate) fn reserve(&self, rule: &Rule, slot: i64, amount: i128) -> Result<(), Not> {
        let mut share = self.share();
        if share.gone {
            return Err(Not::Gone);
        }
        share.touched = true;
        if share.slot != slot || share.free < amount {
            return Err(Not::Short);
        }
        share.promise(rule, amount);
        Ok(())
    }

    /// Takes all that is free towards a promise of `amount` that is still to be made; nothing of another slot.
    pub(crate) fn collect(&self, slot: i64, amount: i128) -> i128 {
        let mut share = self.share();
        if share.gone || share.slot != slot {
            return 0;
        }
        let had = share.free.clamp(0, amount);
        share.free -= had;
        had
    }

    /// Notes what was collected or granted for calls in `slot`, over and above a promise, or in vain.
    pub(crate) fn put(&self, slot: i64, amount: i128) {
        self.leave(&mut self.share(), slot, amount);
    }

    /// Frees what is left of something given for `slot`, or puts it aside if the slice is for another one by now.
    fn leave(&self, share: &mut Share, slot: i64, amount: i128) {
        if share.gone {
            return;
        }
        if share.slot == slot || amount <= 0 {
            share.free += amount;
        } else {
            share.aside += amount;
            self.aside.store(true, Relaxed);
        }
    }

    /// Makes the promise for which enough was collected.
    pub(crate) fn promise(&self, rule: &Rule, amount: i128) {
        let mut share = self.share();
        share.free += amount;
        share.promise(rule, amount);
    }

    /// The slot it is for; in a new one, what was free in the old one is put aside.
    pub(crate) fn turn(&self, slot: i64) {
        let mut share = self.share();
        if share.slot != slot {
            (share.slot, share.settled) = (slot, None);
            self.set_aside(&mut share);
        }
    }

    /// Its limit has changed: what was given under the old one is put aside, and how the counter stands is for the
    /// store to say. `true` if nothing is left: it is out of use then.
    pub(crate) fn revise(&self, max: i128) -> bool {
        let mut share = self.share();
        (share.max, share.settled) = (max, None);
        self.set_aside(&mut share);
        share.gone |= share.calls == 0 && share.used == 0 && share.aside == 0;
        share.gone
    }

    fn set_aside(&self, share: &mut Share) {
        let free = share.free.max(0);
        share.free -= free;
        share.aside += free;
        self.aside.store(share.aside > 0, Relaxed);
    }

    /// What the store says of the counter.
    pub(crate) fn seen(&self, settled: i128, max: i128) {
        let mut share = self.share();
        // What this process has spent may not have reached the store yet.
        share.settled = Some(share.settled.unwrap_or(0).max(settled));
        share.max = max;
    }

    /// How the counter stands in `slot`, as far as this process knows: its own promises are what is held.
    pub(crate) fn known(&self, slot: i64) -> Standing {
        let share = self.share();
        let settled = share.settled.filter(|_| share.slot == slot).unwrap_or(0);
        Standing { settled, held: share.reserved, ..Standing::default() }
    }

    /// Ends a promise: `actual` was spent, the rest is free again. What the counter has come to.
    pub(crate) fn settle(&self, rule: &Rule, (slot, amount, actual): (i64, i128, i128)) -> LimitState {
        let mut share = self.share();
        self.end(&mut share, rule, (slot, amount, actual));
        if share.slot == slot
            && let Some(settled) = &mut share.settled
        {
            *settled += actual;
        }
        LimitState::of(&rule.limit, share.max, share.settled.unwrap_or(actual))
    }

    /// Notes what was spent without a promise. What the counter has come to.
    pub(crate) fn spend(&self, rule: &Rule, slot: i64, actual: i128) -> LimitState {
        let mut share = self.share();
        if share.slot == slot {
            share.settled = Some(share.settled.unwrap_or(0) + actual);
        }
        LimitState::of(&rule.limit, share.max, share.settled.unwrap_or(actual))
    }

    /// Takes a promise back before the call was sent.
    pub(crate) fn cancel(&self, rule: &Rule, slot: i64, amount: i128) {
        let mut share = self.share();
        if rule.limit.rate().is_none() {
            self.end(&mut share, rule, (slot, amount, 0));
        } else if share.used > 0 {
            share.used -= amount;
            share.free += amount;
        }
    }

    fn end(&self, share: &mut Share, rule: &Rule, (slot, amount, actual): (i64, i128, i128)) {
        if rule.limit.rate().is_some() {
            return;
        }
        share.reserved -= amount;
        share.calls = share.calls.saturating_sub(1);
        let used = if rule.limit.measure == Measure::Concurrent { 0 } else { actual };
        self.leave(share, slot, amount - used);
    }

    /// Whether there is something to give back now.
    pub(crate) fn is_due(&self) -> bool {
        self.scarce.load(Relaxed) || self.aside.load(Relaxed)
    }

    /// What is to go back now: what was put aside, and while others run short all that is free.
    pub(crate) fn over(&self) -> i128 {
        let mut share = self.share();
        if self.scarce.load(Relaxed) {
            self.set_aside(&mut share);
        }
        drop(share);
        self.take_aside()
    }

    /// What was put aside.
    pub(crate) fn take_aside(&self) -> i128 {
        let mut share = self.share();
        self.aside.store(false, Relaxed);
        std::mem::take(&mut share.aside)
    }

    /// Everything that no call holds, to be given back.
    pub(crate) fn surrender(&self) -> i128 {
        self.scarce.store(true, Relaxed);
        self.over()
    }

    /// What was used of a rate since this was last asked.
    pub(crate) fn take_used(&self) -> i128 {
        std::mem::take(&mut self.share().used)
    }

    /// Puts the slice out of use if no call has touched it since this was last asked, and none is under way.
    /// What was free is for giving back.
    pub(crate) fn retire(&self) -> Option<i128> {
        let mut share = self.share();
        let idle = !std::mem::take(&mut share.touched) && share.calls == 0 && share.used == 0;
        idle.then(|| {
            share.gone = true;
            std::mem::take(&mut share.free).max(0) + std::mem::take(&mut share.aside)
        })
    }

    /// Puts the slice out of use: what it held is no longer this process's.
    pub(crate) fn lose(&self) {
        let mut share = self.share();
        (share.gone, share.free, share.aside) = (true, 0, 0);
    }
}

impl Share {
    fn promise(&mut self, rule: &Rule, amount: i128) {
        self.free -= amount;
        if rule.limit.rate().is_some() {
            self.used += amount;
        } else {
            self.reserved += amount;
            self.calls += 1;
        }
    }
}
