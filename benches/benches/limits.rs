//! Target 12: reserve and settle in process; and what the counters of a million users take.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss, missing_docs, reason = "a benchmark may panic")]

use std::{
    fs,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use payi_core::{
    context::{Resolved, Text},
    events::{Event, Sink},
    ledger::{Collector, Durability, Ledger, LedgerStore},
    limits::{Limit, Limits, MemorySink, MemoryStore, Subject, Window},
    money::Money,
    pricing::{Cost, CostSource},
    testing::Brake,
};

const USERS: u64 = 1_000_000;

/// Told to this program when it starts itself: memory is measured in a process that has done nothing else.
const CHILD: &str = "--counters-of";

fn main() {
    let args: Vec<String> = std::env::args().collect();
    // `cargo test --benches` only wants to know that it builds.
    if args.iter().any(|arg| arg == "--test") {
        return;
    }
    if let [_, flag, what, path] = args.as_slice()
        && flag == CHILD
    {
        return child(what, Path::new(path));
    }
    let (alone, sliced) = reserve_and_settle();
    let place = std::env::temp_dir().join(format!("payi-bench-limits-{}", std::process::id()));
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).unwrap();
    let (counted, bare) = (place.join("counted.db"), place.join("bare.db"));
    let (with, without) = (run("ledger", &counted), run("bare", &bare));
    let file = size(&counted) - size(&bare);
    let (more, each) = (with.megabytes - without.megabytes, (with.seconds - without.seconds) * 1e6);
    let memory = run("memory", &bare).megabytes;
    let _ = fs::remove_dir_all(&place);
    println!(
        "evidence bench-limits: reserve + settle {alone:.0} ns (target 2,000), {sliced:.0} ns with the store asked for more each \
         time a slice is used up; {USERS} users' counters: {file:.0} MB of file (target 200), the process that charges them at \
         most {more:.0} MB larger (target 200) and {:.1} us slower for each than without a limit; in a store without a file {memory:.0} MB",
        each / USERS as f64
    );
    if alone > 2_000.0 || file > 200.0 || more > 200.0 {
        std::process::exit(1);
    }
}

/// What a child has measured.
struct Measured {
    megabytes: f64,
    seconds: f64,
}

fn run(what: &str, path: &Path) -> Measured {
    let child =
        Command::new(std::env::current_exe().unwrap()).args([CHILD, what]).arg(path).output().unwrap();
    assert!(child.status.success(), "{what}: {}", String::from_utf8_lossy(&child.stderr));
    let said = String::from_utf8(child.stdout).unwrap();
    let (megabytes, seconds) = said.trim().split_once(' ').unwrap();
    Measured { megabytes: megabytes.parse().unwrap(), seconds: seconds.parse().unwrap() }
}

/// Charges a million users, in a ledger with a limit or without, or in memory; by how many megabytes this process
/// was larger than before at its largest, and the seconds it took.
fn child(what: &str, path: &Path) {
    let before = resident("VmRSS:");
    let begun = Instant::now();
    match what {
        "memory" => in_memory(),
        what => in_ledger(path, what == "ledger"),
    }
    println!("{} {}", resident("VmHWM:") - before, begun.elapsed().as_secs_f64());
}

fn who(user: u64) -> Resolved {
    let mut who = Resolved::default();
    who.user_id = Some(Text::new(&format!("user-{user}")));
    who
}

fn limit() -> Limit {
    let limit = Limit::block("per-user", "1000000".parse().unwrap()).each_user().strict();
    limit.window(Window::month("Europe/Berlin").unwrap())
}

/// Nanoseconds of one, best of the rounds: from a slice that lasts, and with slices used up.
fn reserve_and_settle() -> (f64, f64) {
    const ROUND: u32 = 20_000;
    let store = Arc::new(MemoryStore::new());
    Limits::of(Arc::clone(&store) as _).create(limit()).unwrap();
    let brake = Brake::over(store).unwrap();
    let users: Vec<Resolved> = (0..100).map(who).collect();
    let reserved: Money = "0.01".parse().unwrap();
    let round = |actual: Money| {
        let begun = Instant::now();
        for user in users.iter().cycle().take(ROUND as usize) {
            assert!(brake.reserve_and_settle(user, reserved, actual));
        }
        begun.elapsed().as_nanos() as f64 / f64::from(ROUND)
    };
    let best = |actual: Money| (0..10).map(|_| round(actual)).fold(f64::INFINITY, f64::min);
    (best(Money::ZERO), best("0.005".parse().unwrap()))
}

/// A million events of as many users.
fn events() -> impl Iterator<Item = Vec<(Event, Resolved)>> {
    let at = SystemTime::now() + Duration::from_secs(1);
    let event = move |user: u64| {
        let id =
            uuid::Uuid::from_u64_pair(0x0193_0000_0000_7000 + (user >> 32), 0x8000_0000_0000_0000 | user);
        let mut event = Event::collected(id, at, "system.openai");
        event.cost = Cost { amount: Money::from_pico(SPENT), source: CostSource::Computed };
        event
    };
    (0..USERS)
        .step_by(10_000)
        .map(move |first| (first..first + 10_000).map(|user| (event(user), who(user))).collect())
}

const SPENT: i128 = 123_456_789;

fn in_ledger(path: &Path, limited: bool) {
    let ledger = Ledger::open_with(path, Durability::Buffered).unwrap();
    let limits = Limits::of(Arc::new(LedgerStore::new(ledger.reopen().unwrap())));
    if limited {
        limits.create(limit()).unwrap();
    }
    let mut collector = Collector::new(&ledger, false).unwrap();
    for batch in events() {
        collector.place(&batch).unwrap();
    }
    if limited {
        check(&limits);
    }
}

fn in_memory() {
    let store = Arc::new(MemoryStore::new());
    let limits = Limits::of(Arc::<MemoryStore>::clone(&store));
    limits.create(limit()).unwrap();
    let sink = MemorySink::new(store, "bench");
    for (mut event, who) in events().flatten() {
        event.context = payi_core::context::builder().user_id(who.user_id.unwrap_or_default()).build();
        sink.record(event);
    }
    check(&limits);
}

fn check(limits: &Limits) {
    let of = |user: u64| limits.standing("per-user", &Subject::new(&format!("user-{user}"), "")).unwrap();
    for user in [0, 7, USERS - 1] {
        assert_eq!(of(user).unwrap().settled, SPENT);
    }
}

fn size(path: &Path) -> f64 {
    fs::metadata(path).unwrap().len() as f64 / 1e6
}

/// A line of this process's status, in megabytes.
fn resident(line: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|found| found.strip_prefix(line));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.0) / 1e3
}
