//! Reserving, settling, releasing and leases of limits, on a scheduler that tries many interleavings.
//!
//! What runs is payi-core's own: gate, clerk, watch, desk, slices, holds and the store in memory are its source
//! files. Only what they stand on is a model: locks and threads are shuttle's, which are scheduled one step at a
//! time, at random and by priorities that change at random places; and the clock, which the test moves.
//!
//! Modelled: calls of two processes that reserve, settle for all or part of it, or are cancelled, against one or two
//! limits; parts that are asked back, swept and given back at the end; calls that are refused for one limit while
//! others wait for what they had of another; a process that dies with a call under way.
//!
//! Not modelled: SQLite, whose transactions are one step here (`limits::race` in payi-core races on real files);
//! a store that fails or hangs; limits that change meanwhile; rates and windows, which other tests hold against
//! references; a wake-up that is lost, for whoever waits here looks again whenever he is scheduled; what is counted
//! by an `Arc`, which is no step of its own; and how memory is seen by weaker processors (atomics are sequentially
//! consistent here; none of them guards an amount, all amounts are behind locks).

#![allow(
    dead_code,
    unexpected_cfgs,
    unused_macros,
    unused_imports,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "payi-core's files have more than is needed here"
)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::pedantic, clippy::nursery, reason = "a test")]

#[path = "../../../../payi-core/src/defect.rs"]
mod defect;
#[path = "../../../../payi-core/src/error.rs"]
mod error;
mod events;
mod limits;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

pub(crate) use error::{Error, Result};
use events::{Event, LimitMark, Opening, Outcome, Verdict};
use limits::{
    Admission, Answer, Ask, Asked, Change, Counter, Crossing, Definition, Definitions, Estimate, Gate, Give,
    History, LIFE, Later, Limit, MemoryStore, Spent, Standing, Store, Subject, Tally, Totals, block_on,
    micros, sync,
};
pub(crate) use payi_core::{context, money, pricing, usage};
use payi_core::{
    context::Resolved,
    money::Money,
    pricing::{Cost, CostSource},
    usage::{Bucket, Usage},
};
use shuttle::{
    rand::{Rng as _, thread_rng},
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
    thread,
};
use uuid::Uuid;

/// What a call reserves.
const NEED: i128 = 12;

static SCHEDULES: AtomicUsize = AtomicUsize::new(0);
static STEPS: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicUsize = AtomicUsize::new(0);
static RECALLS: AtomicUsize = AtomicUsize::new(0);

/// What was wrong first, wherever: threads of payi's own survive a panic, so it would not be seen otherwise.
static WRONG: Mutex<Option<String>> = Mutex::new(None);

pub(crate) fn wrong(what: String) {
    WRONG.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
}

fn begin() {
    SCHEDULES.fetch_add(1, Relaxed);
    sync::begin();
}

fn end() {
    assert_eq!(WRONG.lock().unwrap_or_else(PoisonError::into_inner).take(), None);
}

/// One process's way to the store that all share. After each step of it the invariant is looked at.
struct Shared {
    of: Arc<MemoryStore>,
    limits: Limits,
}

/// The ids of those there are.
type Limits = &'static [&'static str];

impl Shared {
    fn looked<T>(&self, done: T) -> T {
        for limit in self.limits {
            let Standing { settled, held, max, .. } = stands(&*self.of, limit);
            if settled + held > max {
                wrong(format!("{limit}: {settled} settled and {held} held of {max}"));
            }
        }
        STEPS.fetch_add(1, Relaxed);
        done
    }
}

impl Store for Shared {
    /// Others may have changed it: the store in memory tells one process only.
    fn changed(&self) -> bool {
        true
    }

    fn definitions(&self, known: u64) -> Later<'_, Option<Definitions>> {
        self.of.definitions(known)
    }

    fn definition(&self, id: &str) -> Later<'_, Option<Definition>> {
        self.of.definition(id)
    }

    fn take(&self, process: &str, asks: Vec<Ask>) -> Later<'_, Vec<Answer>> {
        let answers = self.looked(block_on(self.of.take(process, asks)));
        let asked = |answer: &&Answer| matches!(answer, Answer::Short { asked: Some(_), .. });
        RECALLS.fetch_add(answers.iter().flatten().filter(asked).count(), Relaxed);
        Box::pin(std::future::ready(answers))
    }

    fn give(&self, process: &str, gives: Vec<Give>, all_of: Vec<Counter>) -> Later<'_, ()> {
        self.looked(self.of.give(process, gives, all_of))
    }

    fn recalled(&self, process: &str) -> Later<'_, Vec<Counter>> {
        self.of.recalled(process)
    }

    fn keep(&self, process: &str, ttl: Duration) -> Later<'_, bool> {
        self.of.keep(process, ttl)
    }

    fn open(&self, process: &str, openings: Vec<Opening>) -> Later<'_, ()> {
        self.of.open(process, openings)
    }

    fn settle(&self, process: &str, events: Vec<Event>) -> Later<'_, Vec<Crossing>> {
        self.looked(self.of.settle(process, events))
    }

    fn expire(&self) -> Later<'_, u64> {
        self.looked(self.of.expire())
    }

    fn update<'a>(&'a self, id: &'a str, times: (i64, i64), change: Change<'a>) -> Later<'a, Definition> {
        self.of.update(id, times, change)
    }

    fn remove(&self, id: &str) -> Later<'_, bool> {
        self.of.remove(id)
    }

    fn reset(&self, id: &str, at_us: i64) -> Later<'_, Option<History>> {
        self.of.reset(id, at_us)
    }

    fn counters(&self, id: &str, at_us: i64, most: usize) -> Later<'_, Vec<(Subject, Standing)>> {
        self.of.counters(id, at_us, most)
    }

    fn totals(&self, id: &str, at_us: i64) -> Later<'_, Option<Totals>> {
        self.of.totals(id, at_us)
    }

    fn counter(&self, counter: &Counter, at_us: i64) -> Later<'_, Option<Standing>> {
        self.of.counter(counter, at_us)
    }

    fn tally(&self, id: &str) -> Later<'_, Tally> {
        self.of.tally(id)
    }
}

fn counter(limit: &str) -> Counter {
    Counter { limit: limit.into(), subject: Subject::default() }
}

fn now_us() -> i64 {
    micros(sync::now())
}

fn stands(store: &dyn Store, limit: &str) -> Standing {
    block_on(store.counter(&counter(limit), now_us())).unwrap().unwrap()
}

fn cost(amount: i128) -> Cost {
    Cost { amount: Money::from_pico(amount), source: CostSource::Computed }
}

fn opening(limits: Limits) -> Opening {
    let id = Uuid::now_v7();
    Opening {
        id,
        call_id: id,
        attempt: 1,
        context: context::builder().limit_ids(limits).build(),
        provider: "openai".into(),
        operation: "chat.completions".into(),
        category: "system.openai".into(),
        request_model: None,
        started_at: sync::now(),
        estimate: Some(Box::new((Usage::new(), cost(NEED)))),
    }
}

fn ended(opening: &Opening, actual: i128) -> Event {
    let mut event = Event::begun(opening);
    (event.outcome, event.cost) = (Outcome::Ok, cost(actual));
    let held = |id: &String| LimitMark { limit: id.as_str().into(), verdict: Verdict::Held };
    event.limits = event.context.resolve().limit_ids.iter().map(|id| held(&id.to_string())).collect();
    event
}

/// A process that makes calls.
struct Process {
    name: String,
    gate: Gate,
    store: Arc<Shared>,
}

/// What becomes of a call that is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It costs so much.
    Costs(i128),
    /// It is not sent after all.
    Cancelled,
}

impl Process {
    fn start(name: &str, store: &Arc<MemoryStore>, limits: Limits) -> Arc<Self> {
        let store = Arc::new(Shared { of: Arc::clone(store), limits });
        let gate = Gate::start(Arc::clone(&store) as Arc<dyn Store>, name.into()).unwrap();
        Arc::new(Self { name: name.into(), gate, store })
    }

    /// One call that may cost [`NEED`] of each of `limits`; whether it was let through.
    fn call(&self, limits: Limits, then: Then) -> bool {
        CALLS.fetch_add(1, Relaxed);
        let through = self.call_for(NEED, limits, then);
        REFUSED.fetch_add(usize::from(!through), Relaxed);
        through
    }

    fn call_for(&self, need: i128, limits: Limits, then: Then) -> bool {
        let mut who = Resolved::default();
        who.limit_ids = limits.iter().map(|&id| id.into()).collect();
        let estimate =
            Estimate { usage: Usage::new().with(Bucket::Input, 1), cost: cost(need), unbounded: None };
        let asked = Asked { who: &who, at_us: now_us(), estimate: &move || estimate };
        let hold = match self.gate.admit(&asked) {
            Admission::Held(hold, _) => hold,
            Admission::Wait(waiting, _) => match block_on(waiting) {
                Ok(hold) => hold,
                Err(_) => return false,
            },
            Admission::Unlimited | Admission::Refused(_) => {
                panic!("there is a limit, and the call has a price")
            }
        };
        thread::yield_now();
        if let Then::Costs(actual) = then {
            let event = ended(&opening(limits), actual);
            hold.settle(&Spent { outcome: Outcome::Ok, cost: event.cost, tokens: 0, free: false });
            thread::yield_now();
            block_on(self.store.settle(&self.name, vec![event])).unwrap();
        }
        true
    }

    fn stop(&self) {
        self.gate.stop(sync::Instant::now() + LIFE);
    }
}

fn store(limits: Limits, max: &[i128]) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    for (&id, &max) in limits.iter().zip(max) {
        block_on(store.put(Limit::block(id, Money::from_pico(max)).strict(), 0)).unwrap();
    }
    store
}

/// Two processes with three calls each want more than there is.
fn race() {
    begin();
    let mut random = thread_rng();
    let limits: Limits = [&["l"][..], &["l", "m"]][random.gen_range(0..2)];
    let max = [(); 2].map(|()| NEED * random.gen_range(1..=4) + random.gen_range(0..NEED));
    let fit = limits.iter().zip(max).map(|(_, max)| usize::try_from(max / NEED).unwrap()).min().unwrap();
    let store = store(limits, &max);
    let ends: Vec<Then> = (0..6)
        .map(|_| match random.gen_range(0..6) {
            0 => Then::Cancelled,
            1 => Then::Costs(NEED / 2),
            _ => Then::Costs(NEED),
        })
        .collect();
    let processes = ["a", "b"].map(|name| Process::start(name, &store, limits));
    if random.gen_range(0..2) == 0 {
        // One process begins with all of a limit in its hands, the other with all of the second, and has to be asked.
        for ((process, id), max) in processes.iter().zip(limits.chunks(1)).zip(max) {
            assert!(process.call_for(max, id, Then::Cancelled));
        }
        // So long ago that it is about to give it back by itself, an eighth of all slices at a time.
        for _ in 0..random.gen_range(0..=16) {
            sync::pass(Duration::from_millis(260));
            (0..8).for_each(|_| thread::yield_now());
        }
    }
    let calls: Vec<_> = ends
        .iter()
        .enumerate()
        .map(|(n, &then)| {
            let process = Arc::clone(&processes[n % 2]);
            thread::spawn(move || process.call(limits, then))
        })
        .collect();
    // Long enough for slices to be swept, too short for a call to have waited long enough.
    sync::pass(Duration::from_millis(300));
    let through: Vec<bool> = calls.into_iter().map(|call| call.join().unwrap()).collect();
    let admitted = through.iter().filter(|&&through| through).count();
    assert!(admitted >= fit, "{admitted} of {fit} that fit were let through");
    if ends.iter().all(|&then| then == Then::Costs(NEED)) {
        assert_eq!(admitted, fit, "and no more");
    }
    processes.iter().for_each(|process| process.stop());
    let spent = ends.iter().zip(through).map(|(then, through)| match then {
        Then::Costs(actual) if through => *actual,
        _ => 0,
    });
    let spent: i128 = spent.sum();
    for limit in limits {
        let at_end = stands(&*store, limit);
        assert_eq!((at_end.settled, at_end.held), (spent, 0), "all that was held of {limit} has come back");
    }
    end();
}

/// Calls of one process, some for a limit that there is enough of and one that there is not: whoever is refused for
/// the second leaves the first to the others.
fn mixed() {
    begin();
    let mut random = thread_rng();
    let limits: Limits = &["l", "m"];
    let fit = [random.gen_range(2..=4), 1];
    let store = store(limits, &fit.map(|fit| NEED * fit as i128));
    let process = Process::start("a", &store, limits);
    let wants: Vec<Limits> = (0..6).map(|_| &limits[..random.gen_range(1..=2)]).collect();
    let calls: Vec<_> = wants
        .iter()
        .map(|&limits| {
            let process = Arc::clone(&process);
            thread::spawn(move || process.call(limits, Then::Costs(NEED)))
        })
        .collect();
    let admitted = calls.into_iter().map(|call| call.join().unwrap()).filter(|&through| through).count();
    let of_both = wants.iter().filter(|limits| limits.len() == 2).count();
    let could = fit[0].min(wants.len() - of_both + of_both.min(fit[1]));
    assert!(admitted >= could, "{admitted} of {could} that fit were let through, of {wants:?}");
    process.stop();
    assert_eq!(stands(&*store, "l").settled, NEED * admitted as i128);
    limits
        .iter()
        .for_each(|limit| assert_eq!(stands(&*store, limit).held, 0, "all of {limit} has come back"));
    end();
}

/// A process dies in the middle of a call, and its end is told after all, while another one wants what it held.
fn lease() {
    begin();
    let limits: Limits = &["l"];
    let store = store(limits, &[NEED * 2]);
    let dead = Arc::new(Shared { of: Arc::clone(&store), limits });
    block_on(dead.keep("dead", LIFE)).unwrap();
    let ask = Ask { counter: counter("l"), need: NEED, want: NEED * 2, at_us: now_us(), recall: None };
    assert!(matches!(block_on(dead.take("dead", vec![ask])).unwrap()[0], Answer::Granted { .. }));
    let begun = opening(limits);
    block_on(dead.open("dead", vec![begun.clone()])).unwrap();
    sync::pass(LIFE / 2);
    let alive = Process::start("alive", &store, limits);
    let calls: Vec<_> = (0..2)
        .map(|_| {
            let alive = Arc::clone(&alive);
            thread::spawn(move || alive.call(limits, Then::Costs(NEED)))
        })
        .collect();
    let grave = Arc::clone(&dead);
    let expiry = thread::spawn(move || {
        sync::pass(LIFE / 2 + Duration::from_millis(1));
        block_on(grave.expire()).unwrap();
    });
    let late = thread::spawn(move || {
        for _ in 0..2 {
            block_on(dead.settle("dead", vec![ended(&begun, NEED / 2)])).unwrap();
        }
    });
    expiry.join().unwrap();
    late.join().unwrap();
    let mut admitted = calls.into_iter().map(|call| call.join().unwrap()).filter(|&through| through).count();
    // Whoever waited for the dead one may have waited for too long; now nothing is in the way.
    if admitted == 0 {
        assert!(alive.call(limits, Then::Costs(NEED)), "there is room");
        admitted = 1;
    }
    alive.stop();
    assert_eq!(admitted, 1, "a second one never fits beside what the dead one used");
    let at_end = stands(&*store, "l");
    assert_eq!(
        (at_end.settled, at_end.held),
        (NEED + NEED / 2, 0),
        "the real end counts, once; the rest is free"
    );
    end();
}

fn check(scheduler: impl Scheduler + 'static, scenario: fn()) {
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 18;
    config.silence_warnings = true;
    config.max_steps = shuttle::MaxSteps::FailAfter(200_000);
    shuttle::Runner::new(scheduler, config).run(scenario);
}

#[test]
fn limits_hold_in_every_schedule() {
    for (scenario, schedules) in [(race as fn(), 800), (mixed, 200), (lease, 400)] {
        check(RandomScheduler::new(schedules), scenario);
        check(PctScheduler::new(3, schedules / 2), scenario);
    }
    let [schedules, steps, calls, refused, recalls] =
        [&SCHEDULES, &STEPS, &CALLS, &REFUSED, &RECALLS].map(|count| count.load(Relaxed));
    assert_eq!(schedules, 2_100);
    assert!(refused > 0 && recalls > 0, "there was a race");
    println!(
        "evidence limits-model: {schedules} schedules, {calls} calls of which {refused} refused, {recalls} waits for what \
         another process held; settled + held <= max after each of {steps} steps of the store, none refused that \
         fitted, 0 held at the end, no deadlock"
    );
}
