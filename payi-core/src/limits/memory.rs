//! A store in memory: the model that others are compared with, and what a build without a ledger uses.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError},
    time::Duration,
};

use uuid::Uuid;

use crate::{
    error::Result,
    events::{Event, Opening, Outcome, Sink, UnderWay, Verdict},
    limits::{
        Answer, Ask, Change, Counter, Crossing, Definition, Definitions, Give, History, Later, Limit,
        LimitState, Rules, Spent, Standing, Store, Subject, Tally, Totals,
        attempts::{Attempts, Charged},
        charge, decayed,
        entry::Entry,
        gate::{micros, now_us},
        granted,
        rate::falls_from,
        sync::{
            Instant, Mutex, MutexGuard,
            atomic::{AtomicBool, Ordering::Relaxed},
        },
        wait::block_on,
    },
};

/// How long after somebody ran short nobody is given more than he needs.
pub(crate) const SCARCE: i64 = 2_000_000;

/// Counters of one process. It knows the last 65,536 attempts that were settled: what is said of an older one once more
/// is charged once more. Counters are forgotten a day after they count no longer; those over a lifetime never are.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    changed: AtomicBool,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    version: u64,
    pub(crate) limits: BTreeMap<Arc<str>, Kept>,
    /// When each process is given up.
    alive: HashMap<Box<str>, Instant>,
    /// Attempts under way, by the process they run in.
    open: HashMap<Uuid, (Box<str>, Opening)>,
    /// What each attempt was charged; by estimate if its process was given up.
    charged: Attempts,
    /// So many attempts later, counters are looked through for what counts no longer.
    tidy_after: usize,
}

/// The fewest attempts from one look through the counters to the next; with more counters, there are as many.
const TIDY: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Kept {
    definition: Definition,
    tally: Tally,
    pub(crate) counters: HashMap<Subject, Entry>,
}

impl Kept {
    fn totals(&self, at_us: i64) -> Totals {
        let mut totals = Totals { tally: self.tally, ..Totals::default() };
        for (subject, entry) in &self.counters {
            let standing = entry.standing(&self.definition.limit, subject, at_us);
            totals.settled += standing.settled;
            totals.overrun += (standing.settled - standing.max).max(0);
        }
        totals
    }
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T: Send + 'static>(&self, work: impl FnOnce(&mut State) -> T) -> Later<'_, T> {
        let value = work(&mut self.state());
        self.changed.store(true, Relaxed);
        done(value)
    }
}

fn done<'a, T: Send + 'a>(value: T) -> Later<'a, T> {
    Box::pin(std::future::ready(Ok(value)))
}

impl State {
    fn take(&mut self, process: &str, ask: &Ask) -> Answer {
        let Some(kept) = self.limits.get_mut(&ask.counter.limit) else { return Answer::Gone };
        let limit = Arc::clone(&kept.definition.limit);
        let entry = kept.counters.entry(ask.counter.subject.clone()).or_default();
        let now = now_us();
        entry.level.1 = falls_from(entry.level.1, now);
        let mut standing = entry.standing(&limit, &ask.counter.subject, ask.at_us);
        let scarce = entry.recalled_us > now - SCARCE && entry.recalled_us <= now;
        if let Some(amount) = granted(standing.room(), ask.need, ask.want, scarce) {
            entry.held.entry(process.into()).or_default().amount += amount;
            standing.held += amount;
            return Answer::Granted { amount, standing };
        }
        let others = entry.held.iter().filter(|(name, held)| &***name != process && held.amount > 0);
        let asked = match ask.recall {
            Some(number) => others.into_iter().any(|(_, held)| held.answered < number).then_some(number),
            None if others.count() > 0 => {
                (entry.recall, entry.recalled_us) = (entry.recall + 1, now);
                Some(entry.recall)
            }
            None => None,
        };
        Answer::Short { standing, asked }
    }

    fn give(&mut self, process: &str, give: &Give) {
        let Some(kept) = self.limits.get_mut(&give.counter.limit) else { return };
        let limit = Arc::clone(&kept.definition.limit);
        let Some(entry) = kept.counters.get_mut(&give.counter.subject) else { return };
        if let (Some(at_us), Some(per)) = (give.used_at_us, limit.rate_us()) {
            let max = limit.max_of(&give.counter.subject);
            let (level, then) = decayed(entry.level.0, entry.level.1, at_us, max, per);
            entry.level = (level + give.amount, then);
        }
        entry.let_go(process, give.amount);
    }

    fn settle(&mut self, process: &str, event: &Event) -> Vec<Crossing> {
        let spent = Spent::of(event);
        let estimated = event.outcome == Outcome::Abandoned;
        let before = match self.charged.get(event.id) {
            Some(before) if !before.estimated || estimated => return Vec::new(),
            before => before.cloned(),
        };
        let again = before.is_some();
        let before = before.map(|charged| charged.parts).unwrap_or_default();
        for (counter, slot, amount) in &before {
            // What is forgotten is not in there any more.
            if let Some(spent) = self.entry(counter).and_then(|entry| entry.slots.get_mut(slot)) {
                *spent -= amount;
            }
        }
        let at_us = micros(event.started_at);
        let rules = Rules::new(&self.definitions());
        let mut parts = Vec::new();
        let mut crossings = Vec::new();
        for (rule, counter) in rules.of(&event.context.resolve()) {
            let amount = charge(&rule.limit, &spent);
            let slot = rule.limit.window.slot(at_us).0;
            let Some(kept) = self.limits.get_mut(&counter.limit) else { continue };
            let entry = kept.counters.entry(counter.subject.clone()).or_default();
            let verdict =
                event.limits.iter().find(|mark| mark.limit == counter.limit).map(|mark| mark.verdict);
            let held = verdict == Some(Verdict::Held) && kept.definition.gave(at_us, now_us());
            if held && rule.limit.settles() && !again {
                entry.let_go(process, amount);
            }
            if at_us < rule.epoch_us {
                continue;
            }
            let old = entry.standing(&rule.limit, &counter.subject, at_us);
            if rule.limit.settles() {
                *entry.slots.entry(slot).or_default() += amount;
            }
            let settled = old.settled + amount;
            let was = LimitState::of(&rule.limit, old.max, old.settled);
            let is = LimitState::of(&rule.limit, old.max, settled);
            if before.iter().all(|(old, ..)| old.limit != counter.limit) {
                kept.tally.count(state_of(verdict, event.outcome, amount, is));
            }
            if is != was && amount > 0 {
                crossings.push(Crossing { counter: counter.clone(), state: is, settled, max: old.max });
            }
            parts.push((counter, slot, amount));
        }
        self.charged.note(event.id, Charged { estimated, parts });
        self.open.remove(&event.id);
        self.tidy();
        crossings
    }

    /// Forgets counters that count no longer. It takes as many attempts as there are counters for it to look again, so
    /// each attempt pays for one.
    fn tidy(&mut self) {
        if self.tidy_after > 0 {
            self.tidy_after -= 1;
            return;
        }
        let now = now_us();
        let mut left = 0;
        for kept in self.limits.values_mut() {
            let limit = &kept.definition.limit;
            let from = limit.window.kept_from(now);
            kept.counters.retain(|subject, entry| entry.forget(limit, subject, now, from));
            left += kept.counters.len();
        }
        self.tidy_after = left.max(TIDY);
    }

    fn entry(&mut self, counter: &Counter) -> Option<&mut Entry> {
        self.limits.get_mut(&counter.limit)?.counters.get_mut(&counter.subject)
    }

    fn definitions(&self) -> Definitions {
        let limits = self.limits.values().map(|kept| kept.definition.clone()).collect();
        Definitions { version: self.version, limits }
    }

    fn expire(&mut self) -> u64 {
        let now = Instant::now();
        let dead: Vec<Box<str>> =
            self.alive.iter().filter(|(_, until)| **until <= now).map(|(name, _)| name.clone()).collect();
        let mut charged = 0;
        for process in dead {
            self.alive.remove(&process);
            let open: Vec<Opening> = self
                .open
                .values()
                .filter(|(of, _)| *of == process)
                .map(|(_, opening)| opening.clone())
                .collect();
            for opening in open {
                self.settle(&process, &abandoned(&opening));
                charged += 1;
            }
            for entry in self.limits.values_mut().flat_map(|kept| kept.counters.values_mut()) {
                entry.held.remove(&process);
            }
        }
        charged
    }

    fn update(&mut self, id: &str, (at_us, since_us): (i64, i64), change: Change<'_>) -> Result<Definition> {
        let old = self.limits.get(id).map(|kept| &kept.definition);
        let limit = change(old)?.of_id(id)?;
        if let Some(same) = old.filter(|old| *old.limit == limit) {
            return Ok(same.clone());
        }
        self.version += 1;
        let old = self.limits.remove(id);
        let anew_us = if old.is_some() { at_us } else { since_us };
        let same = old.filter(|kept| comparable(&kept.definition.limit, &limit));
        if same.is_none() {
            self.charged.forget(id);
        }
        let (tally, counters, (created_us, epoch_us)) = match same {
            Some(Kept { definition: old, tally, counters }) => {
                (tally, counters, (old.created_us, old.epoch_us))
            }
            None => (Tally::default(), HashMap::new(), (at_us, anew_us)),
        };
        let definition = Definition { limit: Arc::new(limit), created_us, updated_us: at_us, epoch_us };
        self.limits.insert(id.into(), Kept { definition: definition.clone(), tally, counters });
        Ok(definition)
    }

    fn reset(&mut self, id: &str, at_us: i64) -> Option<History> {
        let kept = self.limits.get_mut(id)?;
        self.charged.forget(id);
        self.version += 1;
        let Totals { settled, overrun, tally } = kept.totals(at_us);
        let limit = Limit::clone(&kept.definition.limit);
        let history = History { limit, reset_us: at_us, settled, overrun, tally };
        for entry in kept.counters.values_mut() {
            entry.slots.clear();
            entry.level = (0, at_us);
        }
        kept.tally = Tally::default();
        kept.definition.epoch_us = at_us;
        kept.definition.updated_us = at_us;
        Some(history)
    }
}

/// The event of an attempt whose process was given up.
pub(crate) fn abandoned(opening: &Opening) -> Event {
    let mut event = Event::begun(opening);
    if let Some(estimate) = &opening.estimate {
        (event.usage, event.cost) = **estimate;
        event.usage_estimated = true;
    }
    event
}

/// How a call leaves a limit.
pub(crate) fn state_of(
    verdict: Option<Verdict>,
    outcome: Outcome,
    amount: i128,
    is: LimitState,
) -> LimitState {
    match (verdict, outcome) {
        (Some(Verdict::Blocked), Outcome::Blocked) => LimitState::Blocked,
        (_, Outcome::Blocked) => LimitState::BlockedExternal,
        (_, Outcome::Failed) if amount == 0 => LimitState::Failed,
        _ => is,
    }
}

/// Whether counters of the one still mean something for the other.
pub(crate) fn comparable(a: &Limit, b: &Limit) -> bool {
    (a.measure, a.scope, &a.window) == (b.measure, b.scope, &b.window)
}

impl Store for MemoryStore {
    fn changed(&self) -> bool {
        self.changed.swap(false, Relaxed)
    }

    fn definitions(&self, known: u64) -> Later<'_, Option<Definitions>> {
        let state = self.state();
        let definitions = (state.version != known).then(|| state.definitions());
        drop(state);
        done(definitions)
    }

    fn definition(&self, id: &str) -> Later<'_, Option<Definition>> {
        let definition = self.state().limits.get(id).map(|kept| kept.definition.clone());
        done(definition)
    }

    fn take(&self, process: &str, asks: Vec<Ask>) -> Later<'_, Vec<Answer>> {
        self.change(|state| asks.iter().map(|ask| state.take(process, ask)).collect())
    }

    fn give(&self, process: &str, gives: Vec<Give>, all_of: Vec<Counter>) -> Later<'_, ()> {
        self.change(|state| {
            for give in &gives {
                state.give(process, give);
            }
            for counter in all_of {
                if let Some(entry) = state.entry(&counter) {
                    let recall = entry.recall;
                    if let Some(held) = entry.held.get_mut(process) {
                        held.answered = recall;
                    }
                }
            }
        })
    }

    fn recalled(&self, process: &str) -> Later<'_, Vec<Counter>> {
        let state = self.state();
        let mut counters = Vec::new();
        for (id, kept) in &state.limits {
            for (subject, entry) in &kept.counters {
                if entry.held.get(process).is_some_and(|held| held.answered < entry.recall) {
                    counters.push(Counter { limit: Arc::clone(id), subject: subject.clone() });
                }
            }
        }
        drop(state);
        done(counters)
    }

    fn keep(&self, process: &str, ttl: Duration) -> Later<'_, bool> {
        let mut state = self.state();
        // Who was given up is known no more.
        let before = state.alive.insert(process.into(), Instant::now() + ttl);
        drop(state);
        done(before.is_some())
    }

    fn open(&self, process: &str, openings: Vec<Opening>) -> Later<'_, ()> {
        let mut state = self.state();
        for opening in openings {
            if state.charged.get(opening.id).is_none() {
                state.open.insert(opening.id, (process.into(), opening));
            }
        }
        drop(state);
        done(())
    }

    fn settle(&self, process: &str, events: Vec<Event>) -> Later<'_, Vec<Crossing>> {
        self.change(|state| events.iter().flat_map(|event| state.settle(process, event)).collect())
    }

    fn expire(&self) -> Later<'_, u64> {
        self.change(State::expire)
    }

    fn update<'a>(&'a self, id: &'a str, times: (i64, i64), change: Change<'a>) -> Later<'a, Definition> {
        let updated = self.state().update(id, times, change);
        self.changed.store(true, Relaxed);
        Box::pin(std::future::ready(updated))
    }

    fn remove(&self, id: &str) -> Later<'_, bool> {
        self.change(|state| {
            state.version += 1;
            state.limits.remove(id).is_some()
        })
    }

    fn reset(&self, id: &str, at_us: i64) -> Later<'_, Option<History>> {
        self.change(|state| state.reset(id, at_us))
    }

    fn counters(&self, id: &str, at_us: i64, most: usize) -> Later<'_, Vec<(Subject, Standing)>> {
        let state = self.state();
        let mut all: Vec<(Subject, Standing)> = Vec::new();
        if let Some(kept) = state.limits.get(id) {
            let limit = &kept.definition.limit;
            all.extend(kept.counters.iter().map(|(s, entry)| (s.clone(), entry.standing(limit, s, at_us))));
        }
        drop(state);
        all.retain(|(_, standing)| standing.settled != 0 || standing.held != 0);
        all.sort_by(|(a, x), (b, y)| farthest(x, y).then_with(|| a.cmp(b)));
        all.truncate(most);
        done(all)
    }

    fn totals(&self, id: &str, at_us: i64) -> Later<'_, Option<Totals>> {
        let totals = self.state().limits.get(id).map(|kept| kept.totals(at_us));
        done(totals)
    }

    fn counter(&self, counter: &Counter, at_us: i64) -> Later<'_, Option<Standing>> {
        let state = self.state();
        let standing = state.limits.get(&counter.limit).map(|kept| {
            let limit = &kept.definition.limit;
            let untouched = Entry::default();
            let entry = kept.counters.get(&counter.subject).unwrap_or(&untouched);
            entry.standing(limit, &counter.subject, at_us)
        });
        drop(state);
        done(standing)
    }

    fn tally(&self, id: &str) -> Later<'_, Tally> {
        let tally = self.state().limits.get(id).map(|kept| kept.tally).unwrap_or_default();
        done(tally)
    }
}

/// Charges events to a store in memory, where no ledger does.
#[derive(Debug)]
pub struct MemorySink {
    store: Arc<MemoryStore>,
    process: Box<str>,
}

impl MemorySink {
    /// For the process whose gate asks the same store.
    pub fn new(store: Arc<MemoryStore>, process: &str) -> Self {
        Self { store, process: process.into() }
    }
}

impl Sink for MemorySink {
    /// The store knows what was reserved.
    fn open_unread(&self, _: UnderWay) {}

    fn record(&self, event: Event) {
        for crossing in block_on(self.store.settle(&self.process, vec![event])).unwrap_or_default() {
            crossing.tell();
        }
    }
}

/// Those that have used the greatest share of their maximum first.
pub(crate) fn farthest(a: &Standing, b: &Standing) -> std::cmp::Ordering {
    let used = |s: &Standing| s.settled + s.held;
    used(b).saturating_mul(a.max.max(1)).cmp(&used(a).saturating_mul(b.max.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_nearer_to_a_maximum_comes_first_however_far_that_is() {
        let at = |settled, held, max| Standing { max, settled, held, ..Standing::default() };
        let twelve = 12_000_000_000_000;
        let mut all = [at(626_400_000, 0, twelve), at(628_500_000, 0, twelve), at(1, 1, 2), at(0, 0, 0)];
        all.sort_by(farthest);
        assert_eq!(all.map(|one| one.settled), [1, 628_500_000, 626_400_000, 0]);
    }
}
