//! Races for the last cent, and processes that die with something in their hands.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    context::{self, Resolved},
    events::{Event, Outcome},
    ledger::{Durability, Filter, Ledger, LedgerStore},
    limits::{
        Admission, Asked, Estimate, Gate, Hold, Limit, Limits, Spent, Store, Subject,
        conformance::{event, opening, whole},
        gate::now_us,
        wait::block_on,
    },
    money::Money,
    pricing::{Cost, CostSource},
    sink::{Writer, WriterOptions, tests::Place},
    usage::{Bucket, Usage},
};

const USD: i128 = 1_000_000_000_000;
const CENT: i128 = USD / 100;
/// What a call reserves: two fit into a cent, three do not.
const CALL: i128 = CENT * 4 / 10;

/// A process that makes limited calls on a ledger.
struct Process {
    writer: Writer,
    gate: Gate,
}

impl Process {
    fn start(path: &Path) -> Self {
        let writer = Writer::start(&WriterOptions::at(path)).unwrap();
        let store = LedgerStore::new(Ledger::open_with(path, Durability::Buffered).unwrap());
        let gate = Gate::start(Arc::new(store), writer.process().into()).unwrap();
        Self { writer, gate }
    }

    /// Asks for a call; `None` if it is refused.
    fn ask(&self) -> Option<(Hold, Estimate)> {
        let who = Resolved { limit_ids: vec!["race".into()], ..Resolved::default() };
        let estimate = Estimate {
            usage: Usage::new().with(Bucket::Input, 1),
            cost: Cost { amount: Money::from_pico(CALL), source: CostSource::Estimated },
            unbounded: None,
        };
        match self.gate.admit(&Asked { who: &who, at_us: now_us(), estimate: &move || estimate }) {
            Admission::Unlimited => panic!("there is a limit"),
            Admission::Held(hold, estimate) => Some((hold, estimate)),
            Admission::Wait(waiting, estimate) => block_on(waiting).ok().map(|hold| (hold, estimate)),
            Admission::Refused(_) => None,
        }
    }

    /// Ends it, having cost `actual`.
    fn end(&self, hold: Hold, actual: i128) {
        let mut done = event("u", now_us(), actual, &["race"]);
        done.limits = hold.marks();
        let spent = Spent { outcome: Outcome::Ok, cost: done.cost, tokens: 0, free: false };
        hold.settle(&spent);
        self.writer.sink().record(done);
    }

    /// Every thread makes one call at the same moment; how many were let through.
    fn rush(self: &Arc<Self>, threads: usize, actual: i128) -> u64 {
        let (barrier, admitted) = (Arc::new(Barrier::new(threads)), Arc::new(AtomicU64::new(0)));
        let calls = (0..threads).map(|_| {
            let (process, barrier, admitted) =
                (Arc::clone(self), Arc::clone(&barrier), Arc::clone(&admitted));
            thread::spawn(move || {
                barrier.wait();
                if let Some((hold, _)) = process.ask() {
                    admitted.fetch_add(1, Relaxed);
                    thread::sleep(Duration::from_millis(2));
                    process.end(hold, actual);
                }
            })
        });
        calls.collect::<Vec<_>>().into_iter().for_each(|call| call.join().unwrap());
        self.writer.flush(Duration::from_secs(20)).unwrap();
        admitted.load(Relaxed)
    }
}

/// The parent's view of the ledger.
struct Table {
    store: Arc<LedgerStore>,
    limits: Limits,
}

impl Table {
    fn new(path: &Path) -> Self {
        let store = Arc::new(LedgerStore::new(Ledger::open(path).unwrap()));
        let limits = Limits::of(Arc::clone(&store) as Arc<dyn Store>);
        limits.create(Limit::block("race", Money::from_pico(USD)).strict()).unwrap();
        Self { store, limits }
    }

    fn standing(&self) -> (i128, i128, i128) {
        let standing = self.limits.standing("race", &Subject::default()).unwrap().unwrap();
        (standing.settled, standing.held, standing.max)
    }

    /// Nothing spent but all save a cent.
    fn last_cent(&self) {
        let begun = Instant::now();
        while self.standing().1 > 0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "something is never given back");
            thread::sleep(Duration::from_millis(1));
        }
        self.limits.reset("race", Some(SystemTime::now())).unwrap();
        block_on(self.store.settle("parent", vec![event("u", now_us() + 1, USD - CENT, &["race"])])).unwrap();
        assert_eq!(self.standing(), (USD - CENT, 0, USD));
    }
}

/// Looks at the counter all the time, and counts how often.
fn watch(path: &Path, stop: &Arc<AtomicBool>) -> thread::JoinHandle<u64> {
    let (table, stop) = (LedgerStore::new(Ledger::open(path).unwrap()), Arc::clone(stop));
    thread::spawn(move || {
        let mut looks = 0;
        while !stop.load(Relaxed) {
            let seen = block_on(table.counter(&whole("race"), now_us() + 10)).unwrap().unwrap();
            assert!(seen.settled + seen.held <= seen.max, "{seen:?}");
            looks += 1;
            thread::sleep(Duration::from_micros(200));
        }
        looks
    })
}

#[test]
fn fault_34_threads_of_several_holders_race_for_the_last_cent() {
    let dir = Place::new("fault-34");
    let table = Table::new(&dir.ledger());
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = watch(&dir.ledger(), &stop);
    let processes: Vec<_> = (0..3).map(|_| Arc::new(Process::start(&dir.ledger()))).collect();
    for _ in 0..4 {
        table.last_cent();
        let rushes = processes.iter().map(|process| {
            let process = Arc::clone(process);
            thread::spawn(move || process.rush(8, CALL))
        });
        let admitted: u64 = rushes.collect::<Vec<_>>().into_iter().map(|rush| rush.join().unwrap()).sum();
        assert_eq!(admitted, 2, "two calls fit, and two were let through");
        assert_eq!(table.standing().0, USD - CENT + 2 * CALL);
    }
    stop.store(true, Relaxed);
    assert!(watcher.join().unwrap() > 10);
}

/// What a child is told by its environment.
const LEDGER: &str = "PAYI_TEST_RACE_LEDGER";
const NAME: &str = "PAYI_TEST_RACE_NAME";
const ROUNDS: usize = 100;
const THREADS: usize = 64;

fn child(path: &Path, name: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "limits::race::at_work", "--ignored", "--nocapture", "--test-threads=1"])
        .env(LEDGER, path)
        .env(NAME, name)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// What one round costs: as much as was reserved, or a little less.
fn actual(round: usize) -> i128 {
    if round.is_multiple_of(2) { CALL } else { CALL - CALL / 16 }
}

/// A child's work; alone it does nothing.
#[test]
#[ignore = "run by others"]
fn at_work() {
    let (Some(path), Ok(name)) = (env::var_os(LEDGER).map(PathBuf::from), env::var(NAME)) else { return };
    let process = Arc::new(Process::start(&path));
    let dir = path.parent().unwrap();
    if name == "victim" {
        let (_hold, estimate) = process.ask().unwrap();
        let mut begun = opening("u", now_us(), &["race"]);
        begun.estimate = Some(Box::new((estimate.usage, estimate.cost)));
        process.writer.sink().open(begun);
        process.writer.flush(Duration::from_secs(5)).unwrap();
        fs::write(dir.join("begun"), "1").unwrap();
        thread::sleep(Duration::from_secs(120));
        return;
    }
    for round in 0..ROUNDS {
        let go = dir.join(format!("go-{round}"));
        while !go.exists() {
            thread::sleep(Duration::from_micros(500));
        }
        let admitted = process.rush(THREADS, actual(round));
        let done = dir.join(format!("done-{round}-{name}"));
        fs::write(done.with_extension("new"), admitted.to_string()).unwrap();
        fs::rename(done.with_extension("new"), done).unwrap();
    }
}

#[test]
#[ignore = "evidence"]
fn race() {
    const PROCESSES: usize = 8;
    let dir = Place::new("race");
    let table = Table::new(&dir.ledger());
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = watch(&dir.ledger(), &stop);
    let mut children: Vec<Child> = (0..PROCESSES).map(|n| child(&dir.ledger(), &n.to_string())).collect();
    let (mut admitted, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        table.last_cent();
        fs::write(dir.0.join(format!("go-{round}")), "").unwrap();
        let mut through = 0;
        for n in 0..PROCESSES {
            let done = dir.0.join(format!("done-{round}-{n}"));
            let begun = Instant::now();
            while !done.exists() {
                assert!(begun.elapsed() < Duration::from_secs(60), "round {round}: a process hangs");
                thread::sleep(Duration::from_millis(1));
            }
            through += fs::read_to_string(done).unwrap().parse::<u64>().unwrap();
        }
        let (settled, _, max) = table.standing();
        assert!(settled <= max, "round {round}: overspent by {}", settled - max);
        assert_eq!(through, 2, "round {round}: two calls fit into the last cent");
        assert_eq!(settled, USD - CENT + 2 * actual(round));
        admitted += through;
        refused += (PROCESSES * THREADS) as u64 - through;
    }
    stop.store(true, Relaxed);
    let looks = watcher.join().unwrap();
    for child in &mut children {
        let _ = child.wait();
    }
    println!(
        "evidence limits-race: {ROUNDS} rounds of {THREADS} threads x {PROCESSES} processes on the last cent: overspend 0, \
         {admitted} let through of {admitted} that fitted, {refused} refused, settled + held <= max at {looks} looks"
    );
}

/// What reports say that was spent: a correction in the place of what it corrects.
fn reported(path: &Path) -> i128 {
    Ledger::open(path).unwrap().users(&Filter::new()).unwrap().total.cost.pico()
}

#[test]
#[ignore = "evidence"]
fn faults() {
    fault_34_threads_of_several_holders_race_for_the_last_cent();
    let kills = fault_35();
    // 36 is part of the contract, which both stores keep.
    super::conformance::suite(&|| Arc::new(LedgerStore::new(Ledger::in_memory().unwrap())) as Arc<dyn Store>);
    fault_38_many_instances_find_a_counter_cold();
    let turns = super::tests::fault_39();
    println!(
        "evidence limits-faults: 34 (race), 35 ({kills} kill -9 between reserve and settle: counter = facts, the lease frees the rest, \
         a late settle is charged once), 36 (settled twice, before and after the lease: once), 38 (8 cold instances: 1 x spend), \
         39 ({turns} windows turned at their midnights, over changes of the clocks, ends of months and years): as expected"
    );
}

/// Killed between reserve and settle: charged by estimate, the rest is free, and a late end is charged once.
fn fault_35() -> usize {
    const KILLS: usize = 3;
    let dir = Place::new("fault-35");
    let table = Table::new(&dir.ledger());
    for kill in 1..=KILLS {
        let _ = fs::remove_file(dir.0.join("begun"));
        let mut victim = child(&dir.ledger(), "victim");
        let begun = Instant::now();
        while !dir.0.join("begun").exists() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the victim never began");
            thread::sleep(Duration::from_millis(5));
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
        let (settled, held, _) = table.standing();
        assert!(held >= CALL, "it is held until its lease is over");
        assert_eq!(settled, reported(&dir.ledger()));
        let begun = Instant::now();
        while table.standing().1 > 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "it is never freed");
            block_on(table.store.expire()).unwrap();
            thread::sleep(Duration::from_millis(50));
        }
        let charged = CALL * i128::try_from(kill).unwrap();
        assert_eq!(table.standing().0, charged, "charged by estimate");
        assert_eq!(reported(&dir.ledger()), charged, "in the ledger as well");
    }
    // The last one was only asleep: how it really ended takes the estimate's place, once.
    let (id, at) = abandoned(&dir.ledger());
    let mut late: Event = event("u", at, CALL / 2, &["race"]);
    (late.id, late.call_id) = (id, id);
    for _ in 0..2 {
        block_on(table.store.settle("late", vec![late.clone()])).unwrap();
    }
    let charged = CALL * i128::try_from(KILLS).unwrap() - CALL / 2;
    assert_eq!((table.standing().0, reported(&dir.ledger())), (charged, charged));
    KILLS
}

/// The newest abandoned attempt, and when it began.
fn abandoned(path: &Path) -> (uuid::Uuid, i64) {
    let ledger = Ledger::open(path).unwrap();
    let last = ledger.last_seq().unwrap();
    let stored = ledger.follow(last - 1, 1).unwrap().remove(0);
    (stored.event.id, super::micros(stored.event.started_at))
}

#[test]
fn fault_38_many_instances_find_a_counter_cold() {
    let dir = Place::new("fault-38");
    let limit = || Limit::block("race", Money::from_pico(USD)).strict();
    {
        let table = Table::new(&dir.ledger());
        block_on(table.store.settle("p", vec![event("u", now_us() + 1, CENT, &["race"])])).unwrap();
    }
    // All start at once, each with the limit in its own code.
    let starts = (0..8).map(|_| {
        let path = dir.ledger();
        thread::spawn(move || {
            let process = Process::start(&path);
            Limits::of_gate(&Arc::new(
                Gate::start(Arc::new(LedgerStore::new(Ledger::open(&path).unwrap())), "declares".into())
                    .unwrap(),
            ))
            .update(limit())
            .unwrap();
            let (hold, _) = process.ask().unwrap();
            process.end(hold, CENT / 100);
            process.writer.flush(Duration::from_secs(20)).unwrap();
        })
    });
    starts.collect::<Vec<_>>().into_iter().for_each(|start| start.join().unwrap());
    let table = Table::new(&dir.ledger());
    assert_eq!(table.standing().0, CENT + 8 * (CENT / 100), "not eight times");
    assert_eq!(reported(&dir.ledger()), table.standing().0);
}

#[test]
fn a_call_that_gives_up_waiting_leaves_nothing_behind() {
    let dir = Place::new("gives-up");
    let table = Table::new(&dir.ledger());
    let process = Process::start(&dir.ledger());
    let who = context::builder().limit_ids(["race"]).build().resolve();
    let estimate = Estimate {
        usage: Usage::new(),
        cost: Cost { amount: Money::from_pico(CALL), source: CostSource::Estimated },
        unbounded: None,
    };
    for _ in 0..20 {
        let asked = Asked { who: &who, at_us: now_us(), estimate: &move || estimate };
        match process.gate.admit(&asked) {
            Admission::Wait(waiting, _) => drop(waiting),
            Admission::Held(hold, _) => drop(hold),
            Admission::Unlimited | Admission::Refused(_) => panic!("there is room"),
        }
    }
    let begun = Instant::now();
    while table.standing().1 > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", table.standing());
        thread::sleep(Duration::from_millis(10));
    }
}
