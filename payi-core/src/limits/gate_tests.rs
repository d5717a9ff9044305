//! The gate in front of a store: limits that change, a store that fails, and the end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::result_large_err,
    reason = "a test"
)]

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    task::{Context as Task, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use crate::{
    context::{self, Resolved},
    error::{Error, Kind, Result},
    events::{Event, Opening, Outcome},
    limits::{
        Admission, Answer, Ask, Asked, Change, Counter, Crossing, Definition, Definitions, Estimate, Gate,
        Give, History, Hold, Later, Limit, LimitState, Limits, MemoryStore, Refusal, Spent, Standing, Store,
        Subject, Tally, Totals, Window,
        conformance::{event, whole},
        desk::{Request, Ticket, Wanted},
        gate::now_us,
        rules::Rules,
        slice::Slice,
        wait::block_on,
    },
    money::Money,
    pricing::{Cost, CostSource},
    usage::Usage,
};

const USD: i128 = 1_000_000_000_000;

fn usd(usd: i128) -> Money {
    Money::from_pico(usd * USD)
}

fn start(store: &Arc<impl Store + 'static>, process: &str) -> Arc<Gate> {
    Arc::new(Gate::start(Arc::clone(store) as Arc<dyn Store>, process.into()).unwrap())
}

/// Asks for a call that costs a dollar at most.
fn ask(gate: &Gate) -> std::result::Result<Hold, Refusal> {
    ask_of(gate, &["l"])
}

/// The same of these limits.
fn ask_of(gate: &Gate, limits: &[&str]) -> std::result::Result<Hold, Refusal> {
    let who = Resolved { limit_ids: limits.iter().map(|id| (*id).into()).collect(), ..Resolved::default() };
    let cost = Cost { amount: usd(1), source: CostSource::Estimated };
    let estimate = Estimate { usage: Usage::new(), cost, unbounded: None };
    let hold = match gate.admit(&Asked { who: &who, at_us: now_us(), estimate: &move || estimate }) {
        Admission::Unlimited => panic!("there is a limit"),
        Admission::Held(hold, _) => Ok(hold),
        Admission::Refused(no) => Err(no),
        Admission::Wait(waiting, _) => {
            let (mut waiting, since) = (pin!(waiting), Instant::now());
            loop {
                if let Poll::Ready(done) = waiting.as_mut().poll(&mut Task::from_waker(Waker::noop())) {
                    break done.map_err(|no| *no);
                }
                assert!(since.elapsed() < Duration::from_secs(5), "it is never answered");
                thread::sleep(Duration::from_micros(200));
            }
        }
    };
    hold.map_err(|no| no.refusal)
}

/// Ends a call, having cost so much, in the gate and in the store.
fn end(store: &dyn Store, process: &str, hold: Hold, cost: Money) -> LimitState {
    let mut done = event("u", now_us(), cost.pico(), &["l"]);
    done.limits = hold.marks();
    let spent = Spent { outcome: Outcome::Ok, cost: done.cost, tokens: 0, free: false };
    let state = hold.settle(&spent)[0].1;
    block_on(store.settle(process, vec![done])).unwrap();
    state
}

fn standing(store: &dyn Store) -> (i128, i128) {
    let standing = block_on(store.counter(&whole("l"), now_us())).unwrap().unwrap();
    (standing.settled, standing.held)
}

/// Waits for what happens within moments.
fn until(what: &str, done: impl Fn() -> bool) {
    let since = Instant::now();
    while !done() {
        assert!(since.elapsed() < Duration::from_secs(10), "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn who_asks_after_the_end_is_told_at_once() {
    let store = Arc::new(MemoryStore::new());
    let gate = start(&store, "p");
    Limits::of_gate(&gate).create(Limit::block("l", usd(100))).unwrap();
    drop(ask(&gate).unwrap());
    gate.stop(Instant::now() + Duration::from_secs(5));
    let since = Instant::now();
    assert_eq!(ask(&gate).unwrap_err().reason, Some("store"));
    assert!(since.elapsed() < Duration::from_millis(400), "there is nobody to wait for");
    assert_eq!(standing(&*store), (0, 0), "and it gave everything back");
}

/// The watch may be the last one to have a ticket: its call went away while it looked.
#[test]
fn what_the_watch_lets_go_of_goes_back() {
    let store = Arc::new(MemoryStore::new());
    let gate = start(&store, "p");
    Limits::of_gate(&gate).create(Limit::block("l", usd(100))).unwrap();
    let hold = ask(&gate).unwrap();
    let shared = Arc::clone(&gate.shared);
    let slice = shared.find(&whole("l")).unwrap();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let ticket = Ticket::new();
        slice.scarce.store(true, Relaxed);
        ticket.answer(Ok(hold));
        let mut todo = shared.desk.todo();
        todo.tickets.push((Instant::now(), Arc::downgrade(&ticket)));
        let seen = todo.look(Instant::now());
        drop(ticket);
        let asked = seen.len();
        drop(todo);
        drop(seen);
        tell.send(asked).unwrap();
    });
    let asked = told.recv_timeout(Duration::from_secs(10));
    if asked != Ok(1) {
        // Its end would wait for the desk as well.
        std::mem::forget(gate);
        panic!("{asked:?}: it waits for itself, or has let go under the desk's lock");
    }
    until("what it held goes back", || standing(&*store) == (0, 0));
    ask(&gate).expect("and the desk is open");
}

#[test]
fn a_lowered_maximum_holds_at_once_here_and_soon_elsewhere() {
    let store = Arc::new(MemoryStore::new());
    let gate = start(&store, "p");
    let limits = Limits::of_gate(&gate);
    limits.create(Limit::block("l", usd(10_000))).unwrap();
    let hold = ask(&gate).unwrap();
    end(&*store, "p", hold, usd(1));
    assert!(standing(&*store).1 >= 10 * USD, "it has some in advance");
    limits.update(Limit::block("l", usd(2))).unwrap();
    let hold = ask(&gate).expect("one fits");
    assert_eq!(ask(&gate).unwrap_err().max, 2 * USD);
    end(&*store, "p", hold, usd(1));
    assert_eq!(standing(&*store), (2 * USD, 0));

    // By another process.
    let elsewhere = Limits::of(Arc::clone(&store) as Arc<dyn Store>);
    elsewhere.update(Limit::block("l", usd(10_000))).unwrap();
    until("the limit is raised", || ask(&gate).is_ok());
    elsewhere.update(Limit::block("l", usd(3))).unwrap();
    until("what is over goes back", || standing(&*store).1 == 0);
    let hold = ask(&gate).expect("one fits");
    ask(&gate).unwrap_err();
    end(&*store, "p", hold, usd(1));
    ask(&gate).unwrap_err();
}

#[test]
fn a_limit_made_anew_is_shared_anew() {
    let store = Arc::new(MemoryStore::new());
    let gates = [start(&store, "a"), start(&store, "b")];
    let limits = Limits::of_gate(&gates[0]);
    limits.create(Limit::block("l", usd(10_000)).strict()).unwrap();
    for gate in &gates {
        gate.refresh().unwrap();
        drop(ask(gate).unwrap());
    }
    limits.delete("l").unwrap();
    limits.create(Limit::block("l", usd(2)).strict()).unwrap();
    gates[1].refresh().unwrap();
    let held: Vec<Hold> = (0..4).flat_map(|n| ask(&gates[n % 2])).collect();
    assert_eq!(held.len(), 2, "what was free of the old one is nobody's");
    assert_eq!(standing(&*store), (0, 2 * USD));
}

/// What a call that waits for its second limit has of its first one is worth nothing once that is another one.
#[test]
fn a_limit_that_changes_while_a_call_waits_keeps_to_its_maximum() {
    type Remake = fn(&Limits);
    let remakes: [(Remake, usize); 3] = [
        (|limits| drop(limits.update(Limit::calls("a", 10)).unwrap()), 10),
        (
            |limits| {
                limits.delete("a").unwrap();
                limits.create(Limit::calls("a", 10)).unwrap();
            },
            10,
        ),
        // This one is the same one still, and the call was measured by it.
        (|limits| drop(limits.update(Limit::block("a", usd(7))).unwrap()), 7),
    ];
    for (remake, fit) in remakes {
        // A machine that is busy lets the call wait for too long.
        let (store, gate, hold) = (0..5).find_map(|_| changed_while_waiting(remake)).unwrap();
        let cost = Cost { amount: usd(0), source: CostSource::Computed };
        hold.settle(&Spent { outcome: Outcome::Ok, cost, tokens: 0, free: false });
        let calls: Vec<Hold> = (0..30).filter_map(|_| ask_of(&gate, &["a"]).ok()).collect();
        assert_eq!(calls.len(), fit);
        let left = block_on(store.counter(&whole("a"), now_us())).unwrap().unwrap();
        assert_eq!((left.room(), left.settled), (0, 0), "and the store knows of each");
    }
}

/// A call that holds some of `a`, which is remade, while it waits for `b`.
fn changed_while_waiting(remake: impl Fn(&Limits)) -> Option<(Arc<MemoryStore>, Arc<Gate>, Hold)> {
    let store = Arc::new(MemoryStore::new());
    let gate = start(&store, "p");
    let limits = Limits::of_gate(&gate);
    limits.create(Limit::block("a", usd(100))).unwrap();
    limits.create(Limit::calls("b", 1)).unwrap();
    let one = Ask { counter: whole("b"), need: 1, want: 1, at_us: now_us(), recall: None };
    block_on(store.keep("other", Duration::from_secs(60))).unwrap();
    block_on(store.take("other", vec![one])).unwrap();
    let asks = Arc::clone(&gate);
    let call = thread::spawn(move || ask_of(&asks, &["a", "b"]));
    until("it has some of the first", || {
        block_on(store.counter(&whole("a"), now_us())).unwrap().unwrap().held > 0
    });
    remake(&limits);
    let back = Give { counter: whole("b"), amount: 1, used_at_us: None };
    block_on(store.give("other", vec![back], vec![whole("b")])).unwrap();
    call.join().unwrap().ok().map(|hold| (store, gate, hold))
}

#[test]
fn a_reset_is_seen_by_a_busy_process() {
    let store = Arc::new(MemoryStore::new());
    let gate = start(&store, "p");
    let limits = Limits::of_gate(&gate);
    limits.create(Limit::block("l", usd(100)).threshold_percent(90)).unwrap();
    let call = |cost| end(&*store, "p", ask(&gate).unwrap(), cost);
    assert_eq!(call(usd(95)), LimitState::Exceeded);
    assert_eq!(call(usd(1)), LimitState::Exceeded);
    limits.reset("l", None).unwrap();
    thread::sleep(Duration::from_millis(1));
    assert_eq!(call(usd(1)), LimitState::Ok);
    assert_eq!(standing(&*store).0, USD);
}

#[test]
fn a_reset_frees_what_calls_under_way_do_not_use() {
    let store = Arc::new(MemoryStore::new());
    let gate = start(&store, "p");
    let limits = Limits::of_gate(&gate);
    limits.create(Limit::block("l", usd(1))).unwrap();
    let hold = ask(&gate).unwrap();
    let mut begun = event("u", now_us(), USD / 2, &["l"]);
    begun.limits = hold.marks();
    thread::sleep(Duration::from_millis(1));
    limits.reset("l", None).unwrap();
    hold.settle(&Spent { outcome: Outcome::Ok, cost: begun.cost, tokens: 0, free: false });
    block_on(store.settle("p", vec![begun])).unwrap();
    until("nothing stays held", || standing(&*store) == (0, 0));
    ask(&gate).expect("all of it is there again");
}

/// What is left of a call of one month is not for calls of another.
#[test]
fn leftovers_of_another_slot_go_back() {
    let store = MemoryStore::new();
    block_on(store.put(Limit::block("l", usd(10)), 0)).unwrap();
    let rules = Rules::new(&block_on(store.definitions(u64::MAX)).unwrap().unwrap());
    let rule = rules.get("l").unwrap();
    let slice = Slice::new(whole("l"), 10);
    let (january, february) = (1, 2);
    slice.turn(february);
    slice.put(february, 8);
    slice.reserve(rule, february, 8).unwrap();
    // A request of the old month waits.
    slice.turn(january);
    slice.settle(rule, (february, 8, 3));
    assert_eq!(slice.collect(january, 10), 0);
    slice.put(february, 1);
    assert!(slice.is_due());
    assert_eq!((slice.over(), slice.is_due(), slice.over()), (6, false, 0));
    slice.put(january, 4);
    slice.turn(february);
    assert_eq!((slice.collect(february, 10), slice.take_aside()), (0, 4));
}

#[test]
fn two_calls_with_a_part_each_do_not_hand_them_to_and_fro() {
    let store = MemoryStore::new();
    for id in ["a", "b"] {
        block_on(store.put(Limit::calls(id, 1), 0)).unwrap();
    }
    let rules = Rules::new(&block_on(store.definitions(u64::MAX)).unwrap().unwrap());
    let who = context::builder().limit_ids(["b", "a"]).build().resolve();
    let request = |have: [i128; 2]| {
        let wanted = rules.of(&who).into_iter().map(|(rule, counter)| Wanted {
            slot: 0,
            amount: Some(1),
            rule,
            counter,
        });
        let (wanted, have) = (wanted.collect(), have.to_vec());
        let (until, ticket) = (Instant::now(), Ticket::new());
        Request { wanted, have, recalled: vec![None; 2], at_us: 0, until, ticket }
    };
    let asked = [whole("a"), whole("b")];
    let mut has_the_first = request([1, 0]);
    assert_eq!(has_the_first.let_go(&asked), []);
    let mut has_the_second = request([0, 1]);
    assert_eq!(has_the_second.let_go(&asked), [(whole("b"), 1)]);
    assert_eq!((has_the_first.have, has_the_second.have), (vec![1, 0], vec![0, 0]));
}

/// A store of which about every n-th write or look fails, before anything has happened.
pub(crate) struct Faulty {
    pub(crate) store: MemoryStore,
    pub(crate) every: AtomicU64,
    calls: AtomicU64,
}

impl Faulty {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            store: MemoryStore::new(),
            every: AtomicU64::new(u64::MAX),
            calls: AtomicU64::new(0),
        })
    }

    fn or_fail<'a, T: Send + 'a>(&'a self, done: impl FnOnce() -> Later<'a, T>) -> Later<'a, T> {
        // Scattered, so that no order of questions always meets the same ones.
        let mix = |n: u64| (n ^ (n >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let nth = mix(mix(self.calls.fetch_add(1, Relaxed) + 1)) >> 24;
        if nth.is_multiple_of(self.every.load(Relaxed)) {
            return Box::pin(std::future::ready(Err(Error::new(Kind::Ledger, "it fails".to_owned()))));
        }
        done()
    }
}

impl Store for Faulty {
    fn changed(&self) -> bool {
        self.store.changed()
    }

    fn definitions(&self, known: u64) -> Later<'_, Option<Definitions>> {
        self.or_fail(|| self.store.definitions(known))
    }

    fn definition(&self, id: &str) -> Later<'_, Option<Definition>> {
        self.store.definition(id)
    }

    fn take(&self, process: &str, asks: Vec<Ask>) -> Later<'_, Vec<Answer>> {
        self.or_fail(|| self.store.take(process, asks))
    }

    fn give(&self, process: &str, gives: Vec<Give>, all_of: Vec<Counter>) -> Later<'_, ()> {
        self.or_fail(|| self.store.give(process, gives, all_of))
    }

    fn recalled(&self, process: &str) -> Later<'_, Vec<Counter>> {
        self.or_fail(|| self.store.recalled(process))
    }

    fn keep(&self, process: &str, ttl: Duration) -> Later<'_, bool> {
        self.or_fail(|| self.store.keep(process, ttl))
    }

    fn open(&self, process: &str, openings: Vec<Opening>) -> Later<'_, ()> {
        self.store.open(process, openings)
    }

    fn settle(&self, process: &str, events: Vec<Event>) -> Later<'_, Vec<Crossing>> {
        self.store.settle(process, events)
    }

    fn expire(&self) -> Later<'_, u64> {
        self.store.expire()
    }

    fn update<'a>(&'a self, id: &'a str, times: (i64, i64), change: Change<'a>) -> Later<'a, Definition> {
        self.store.update(id, times, change)
    }

    fn remove(&self, id: &str) -> Later<'_, bool> {
        self.store.remove(id)
    }

    fn reset(&self, id: &str, at_us: i64) -> Later<'_, Option<History>> {
        self.store.reset(id, at_us)
    }

    fn counters(&self, id: &str, at_us: i64, most: usize) -> Later<'_, Vec<(Subject, Standing)>> {
        self.store.counters(id, at_us, most)
    }

    fn totals(&self, id: &str, at_us: i64) -> Later<'_, Option<Totals>> {
        self.store.totals(id, at_us)
    }

    fn counter(&self, counter: &Counter, at_us: i64) -> Later<'_, Option<Standing>> {
        self.store.counter(counter, at_us)
    }

    fn tally(&self, id: &str) -> Later<'_, Tally> {
        self.store.tally(id)
    }
}

#[test]
fn nothing_is_lost_in_a_store_that_fails_now_and_then() {
    for (limit, used) in [
        (Limit::block("l", usd(30)), 20 * USD / 2),
        (Limit::calls("l", 30).window(Window::rate(Duration::from_secs(1_000_000))), 20),
    ] {
        for every in [2, 5] {
            let store = Faulty::new();
            block_on(store.put(limit.clone(), now_us() - 1_000)).unwrap();
            let gates = [start(&store, "a"), start(&store, "b")];
            store.every.store(every, Relaxed);
            for n in 0..20 {
                // Both want all there is, so each has to give it back for the other.
                let (gate, process) = if n % 2 == 0 { (&gates[0], "a") } else { (&gates[1], "b") };
                let hold = ask(gate).unwrap_or_else(|no| panic!("{n} of {every}: {no}"));
                end(&*store, process, hold, Money::from_pico(USD / 2));
            }
            until("everything gets there", || standing(&*store) == (used, 0));
        }
    }
}

#[test]
fn what_a_store_that_cannot_be_asked_means_is_for_the_limit_to_say() -> Result<()> {
    use crate::limits::OnStoreFailure::{Closed, Open};
    for (limit, passes) in [
        (Limit::block("l", usd(10)), false),
        (Limit::block("l", usd(10)).on_store_failure(Open), true),
        (Limit::block("l", usd(10)).on_store_failure(Closed), false),
        (Limit::allow("l", usd(10)), true),
    ] {
        let store = Faulty::new();
        block_on(store.put(limit, now_us()))?;
        let gate = start(&store, "p");
        store.every.store(1, Relaxed);
        let asked = ask(&gate);
        assert_eq!(asked.as_ref().err().map(|no| no.reason), (!passes).then_some(Some("store")));
        store.every.store(u64::MAX, Relaxed);
        drop(asked);
        ask(&gate).expect("it answers again");
    }
    Ok(())
}

#[cfg(feature = "ledger")]
#[test]
fn a_process_whose_clock_was_ahead_is_given_up_whole() {
    use crate::ledger::{Ledger, LedgerStore};
    let ledger = Ledger::in_memory().unwrap();
    let store = LedgerStore::new(ledger.clone());
    block_on(store.put(Limit::block("l", usd(10)), now_us() - 1_000)).unwrap();
    block_on(store.keep("dead", Duration::from_secs(60))).unwrap();
    let ask = Ask { counter: whole("l"), need: 8 * USD, want: 8 * USD, at_us: now_us(), recall: None };
    block_on(store.take("dead", vec![ask])).unwrap();
    let mut begun = super::conformance::opening("u", now_us(), &["l"]);
    let cost = Cost { amount: usd(8), source: CostSource::Estimated };
    begun.estimate = Some(Box::new((Usage::new(), cost)));
    block_on(store.open("dead", vec![begun])).unwrap();
    let ahead = "UPDATE leases SET expires_us = expires_us + 86400000000";
    ledger.with(|conn| conn.execute(ahead, [])).unwrap();
    assert_eq!(block_on(store.expire()).unwrap(), 1);
    assert_eq!(standing(&store), (8 * USD, 0), "charged, and not held as well");
}

#[test]
fn what_is_only_reserved_frees_with_its_day() {
    for (window, ends) in [(Window::day("UTC").unwrap(), true), (Window::Lifetime, false)] {
        let gate = start(&Arc::new(MemoryStore::new()), "p");
        let until = ends.then(|| window.slot(now_us()).1);
        Limits::of_gate(&gate).create(Limit::block("l", usd(1)).window(window)).unwrap();
        let _under_way = ask(&gate).unwrap();
        let refusal = ask(&gate).unwrap_err();
        assert_eq!((refusal.spent, refusal.reserved), (0, USD));
        assert_eq!(refusal.frees_at.map(crate::limits::gate::micros), until);
    }
}
