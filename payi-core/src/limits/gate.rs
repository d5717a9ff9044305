//! The gate before each call: reserves the most it can cost with every limit it counts against, or refuses it.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{Context as Task, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    context::Resolved,
    error::Result,
    events::{LimitMark, Verdict},
    limits::{
        Bound, Counter, Hold, Kind, Limit, LimitState, Policy, Refusal, Rule, Rules, Standing, Store,
        bound::Estimate,
        clerk::without_store,
        desk::{Desk, Ticket, Wanted},
        hold::Part,
        slice::{Not, Slice},
        sync::{
            self, Instant, Mutex, MutexGuard,
            atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
            thread::{self, JoinHandle},
        },
    },
};

const SHARDS: usize = 64;

/// The limits of one instrumentation. Dropping it gives back what this process holds.
pub(crate) struct Gate {
    pub(crate) shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What calls and the gate's thread share.
pub(crate) struct Shared {
    rules: Mutex<Arc<Rules>>,
    /// Whether there is any rule: asked by every call.
    any: AtomicBool,
    shards: [Mutex<HashMap<Counter, Arc<Slice>>>; SHARDS],
    hasher: RandomState,
    pub(crate) desk: Desk,
    /// Held while what this process holds is compared with the store: not also by whoever learns of new rules.
    turn: Mutex<()>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) process: String,
    /// Until when what this process holds is surely still its own, in microseconds since 1970.
    pub(crate) alive_until_us: AtomicI64,
}

/// What a call is to be measured by.
pub(crate) struct Asked<'a> {
    pub(crate) who: &'a Resolved,
    pub(crate) at_us: i64,
    /// Asked for only if there are limits.
    pub(crate) estimate: &'a dyn Fn() -> Estimate,
}

/// What the gate says at once.
pub(crate) enum Admission {
    /// No limit applies.
    Unlimited,
    Held(Hold, Estimate),
    Wait(Waiting, Estimate),
    Refused(Refused),
}

/// A refusal, with what every limit of the call has to do with it.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) marks: Vec<LimitMark>,
}

impl Gate {
    /// Starts the gate's threads.
    ///
    /// # Errors
    /// What the store says, if it cannot be asked which limits there are.
    pub(crate) fn start(store: Arc<dyn Store>, process: String) -> Result<Self> {
        let shared = Arc::new(Shared {
            rules: Mutex::default(),
            any: AtomicBool::new(false),
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            desk: Desk::default(),
            turn: Mutex::default(),
            store,
            process,
            alive_until_us: AtomicI64::new(0),
        });
        crate::limits::clerk::learn(&shared)?;
        let threads = crate::limits::clerk::spawn(&shared)?;
        Ok(Self { shared, threads: Mutex::new(threads) })
    }

    pub(crate) fn has_limits(&self) -> bool {
        self.shared.any.load(Relaxed)
    }

    /// Whether the limit that refused would rather have the request shortened.
    pub(crate) fn may_shorten(&self, who: &Resolved, no: &Refused) -> bool {
        let limits = self.shared.rules().of(who);
        let by = limits.iter().find(|(rule, _)| *rule.id == *no.refusal.limit_id);
        by.is_some_and(|(rule, _)| rule.limit.policy == Policy::InjectMaxTokens)
    }

    /// Asks for what a call needs.
    pub(crate) fn admit(&self, asked: &Asked<'_>) -> Admission {
        Shared::admit(&self.shared, asked)
    }

    /// Looks for changed limits now.
    pub(crate) fn refresh(&self) -> Result<()> {
        let _turn = self.shared.turn();
        crate::limits::clerk::learn(&self.shared)
    }

    /// Ends the threads, or leaves them behind at `deadline`.
    pub(crate) fn stop(&self, deadline: Instant) {
        self.shared.desk.stop();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            while !thread.is_finished() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.stop(Instant::now() + Duration::from_secs(1));
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("process", &self.process).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts other rules in force. What was given under those that have changed is promised to nobody any more: it
    /// goes back to the store, unless the counters began anew there.
    pub(crate) fn set_rules(&self, rules: Rules) {
        let rules = Arc::new(rules);
        let mut kept = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *kept, Arc::clone(&rules));
        self.any.store(!rules.is_empty(), Relaxed);
        drop(kept);
        let changed = old.changed(&rules);
        if changed.is_empty() {
            return;
        }
        for turn in 0..8 {
            self.sweep(turn, |slice| match changed.get(&slice.counter.limit) {
                None => true,
                Some(None) => {
                    slice.lose();
                    slice.take_used();
                    false
                }
                Some(Some(rule)) => {
                    let gone = slice.revise(rule.limit.max_of(&slice.counter.subject));
                    if !gone {
                        slice.scarce.store(true, Relaxed);
                        self.desk.return_soon(slice);
                    }
                    !gone
                }
            });
        }
        let lost = changed.into_iter().filter(|(_, rule)| rule.is_none());
        self.desk.todo().lost.extend(lost.map(|(id, _)| id));
    }

    fn shard(&self, at: usize) -> MutexGuard<'_, HashMap<Counter, Arc<Slice>>> {
        self.shards[at % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard_of(&self, counter: &Counter) -> usize {
        usize::try_from(self.hasher.hash_one(counter) >> 32).unwrap_or(0) % SHARDS
    }

    /// The slice of a counter, if there is one.
    pub(crate) fn find(&self, counter: &Counter) -> Option<Arc<Slice>> {
        self.shard(self.shard_of(counter)).get(counter).cloned()
    }

    /// How a counter stands, as far as this process knows without asking.
    pub(crate) fn known(&self, limit: &Limit, counter: &Counter, slot: i64) -> Standing {
        let known = self.find(counter).map(|slice| slice.known(slot)).unwrap_or_default();
        Standing { max: limit.max_of(&counter.subject), ..known }
    }

    /// The slice of a counter; `true` if it is a new one.
    pub(crate) fn slice(&self, limit: &Limit, counter: &Counter) -> (Arc<Slice>, bool) {
        let mut shard = self.shard(self.shard_of(counter));
        if let Some(slice) = shard.get(counter) {
            return (Arc::clone(slice), false);
        }
        let slice = Slice::new(counter.clone(), limit.max_of(&counter.subject));
        shard.insert(counter.clone(), Arc::clone(&slice));
        (slice, true)
    }

    /// Takes out of the map, of one eighth of it, what `keep` does not want.
    pub(crate) fn sweep(&self, turn: usize, mut keep: impl FnMut(&Arc<Slice>) -> bool) {
        for at in (turn % 8..SHARDS).step_by(8) {
            self.shard(at).retain(|_, slice| keep(slice));
        }
    }

    pub(crate) fn holds_anything(&self) -> bool {
        (0..SHARDS).any(|at| !self.shard(at).is_empty())
    }

    /// A call has let go of a part of the slice.
    pub(crate) fn ended(&self, slice: &Arc<Slice>) {
        if slice.is_due() {
            self.desk.return_soon(slice);
        }
    }

    fn alive(&self) -> bool {
        now_us() < self.alive_until_us.load(Relaxed)
    }

    pub(crate) fn admit(self: &Arc<Self>, asked: &Asked<'_>) -> Admission {
        let rules = self.rules();
        if rules.is_empty() {
            return Admission::Unlimited;
        }
        let limits = rules.of(asked.who);
        if limits.is_empty() {
            return Admission::Unlimited;
        }
        let estimate = (asked.estimate)();
        let wanted = match self.wanted(&limits, &estimate, asked.at_us) {
            Ok(wanted) => wanted,
            Err(refused) => return Admission::Refused(*refused),
        };
        if self.alive()
            && let Some(parts) = self.reserve(&wanted)
        {
            return Admission::Held(Hold::new(Arc::clone(self), parts), estimate);
        }
        let ticket = Ticket::new();
        let (gate, spare) = (Arc::clone(self), wanted.clone());
        ticket.else_say(move || without_store(&gate, &spare));
        self.desk.ask(wanted, asked.at_us, &ticket);
        Admission::Wait(Waiting(ticket), estimate)
    }

    /// What the call needs of each limit.
    fn wanted(
        &self,
        limits: &[(Arc<Rule>, Counter)],
        estimate: &Estimate,
        at_us: i64,
    ) -> Result<Vec<Wanted>, Box<Refused>> {
        let mut all = Vec::with_capacity(limits.len());
        for (rule, counter) in limits {
            let slot = rule.slot(at_us);
            let known = || self.known(&rule.limit, counter, slot);
            let amount = match (rule.limit.kind, estimate.of(&rule.limit)) {
                (Kind::Allow, _) => None,
                (Kind::Block, Ok(Bound::Exact(amount) | Bound::Upper(amount))) => Some(amount),
                (Kind::Block, Ok(Bound::Unbounded(why))) => {
                    let mut refused = out_of_hand(limits, rule, &known(), "unbounded");
                    refused.refusal.unbounded = Some(why);
                    return Err(Box::new(refused));
                }
                (Kind::Block, Err(_)) => {
                    return Err(Box::new(out_of_hand(limits, rule, &known(), "unpriced")));
                }
            };
            all.push(Wanted { rule: Arc::clone(rule), counter: counter.clone(), slot, amount });
        }
        Ok(all)
    }

    /// All of it from what this process holds, or nothing.
    fn reserve(&self, wanted: &[Wanted]) -> Option<Vec<Part>> {
        let mut parts: Vec<Part> = Vec::with_capacity(wanted.len());
        for want in wanted {
            let Some(part) = self.part(want) else {
                for part in parts {
                    if let Some(amount) = part.amount {
                        part.slice.cancel(&part.rule, part.slot, amount);
                    }
                    self.ended(&part.slice);
                }
                return None;
            };
            parts.push(part);
        }
        Some(parts)
    }

    /// One part, from what this process holds.
    pub(crate) fn part(&self, want: &Wanted) -> Option<Part> {
        loop {
            let (slice, new) = self.slice(&want.rule.limit, &want.counter);
            let part = |slice, amount| Part { rule: Arc::clone(&want.rule), slice, slot: want.slot, amount };
            let Some(amount) = want.amount else {
                if new {
                    self.desk.look(&want.counter, want.slot);
                }
                return Some(part(slice, None));
            };
            match slice.reserve(&want.rule, want.slot, amount) {
                Ok(()) => {
                    if want.rule.limit.rate().is_some() {
                        self.desk.return_soon(&slice);
                    }
                    return Some(part(slice, Some(amount)));
                }
                Err(Not::Short) => return None,
                // It is out of the map, or about to be: the next look-up finds another.
                Err(Not::Gone) => thread::yield_now(),
            }
        }
    }
}

/// Refused whatever is left of the limit.
fn out_of_hand(
    limits: &[(Arc<Rule>, Counter)],
    rule: &Rule,
    known: &Standing,
    reason: &'static str,
) -> Refused {
    let refusal = refusal(&rule.limit, known, None, Some(reason));
    let marks = marks(limits.iter().map(|(rule, _)| &rule.id), &rule.id);
    Refused { refusal, marks }
}

/// The one that refused, and those that did not.
pub(crate) fn marks<'a>(all: impl Iterator<Item = &'a Arc<str>>, by: &Arc<str>) -> Vec<LimitMark> {
    all.map(|id| LimitMark {
        limit: Arc::clone(id),
        verdict: if id == by { Verdict::Blocked } else { Verdict::BlockedExternal },
    })
    .collect()
}

pub(crate) fn refusal(
    limit: &Limit,
    standing: &Standing,
    needed: Option<i128>,
    reason: Option<&'static str>,
) -> Refusal {
    let over = standing.settled > standing.max;
    Refusal {
        limit_id: limit.id.clone(),
        limit_name: limit.name.clone(),
        state: if over { LimitState::Overrun } else { LimitState::Blocked },
        measure: limit.measure,
        spent: standing.settled,
        reserved: standing.held,
        needed,
        max: standing.max,
        frees_at: standing.frees_us.map(|us| UNIX_EPOCH + Duration::from_micros(us.max(0).cast_unsigned())),
        reason,
        unbounded: None,
    }
}

/// Waits for the store, for as long as the desk allows.
pub(crate) struct Waiting(Arc<Ticket>);

impl Future for Waiting {
    type Output = Result<Hold, Box<Refused>>;

    fn poll(self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        self.0.poll(task)
    }
}

/// Microseconds since 1970; 0 before that.
pub(crate) fn micros(at: SystemTime) -> i64 {
    i64::try_from(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()).unwrap_or(i64::MAX)
}

/// The same of now, by the machine's clock.
pub(crate) fn now_us() -> i64 {
    micros(sync::now())
}
