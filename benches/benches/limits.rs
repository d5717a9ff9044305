//! Target 12: reserve and settle in process; and what the counters of a million users take.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss, missing_docs, reason = "a benchmark may panic")]

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use payi_core::{
    context::{Resolved, Text},
    events::Event,
    ledger::{Collector, Durability, Ledger, LedgerStore},
    limits::{Limit, Limits, MemoryStore, Subject, Window},
    money::Money,
    pricing::{Cost, CostSource},
    testing::Brake,
};

const USERS: u64 = 1_000_000;

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let (alone, sliced) = reserve_and_settle();
    let place = std::env::temp_dir().join(format!("payi-bench-limits-{}", std::process::id()));
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).unwrap();
    let (file, resident) = million(&place.join("payi.db"));
    let _ = fs::remove_dir_all(&place);
    println!(
        "evidence bench-limits: reserve + settle {alone:.0} ns (target 2,000), {sliced:.0} ns with the store asked for more each \
         time a slice is used up; {USERS} users' counters: {file:.0} MB of file, {resident:.0} MB resident (target 200)"
    );
    if alone > 2_000.0 || file > 200.0 || resident > 200.0 {
        std::process::exit(1);
    }
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

/// Megabytes of a ledger's counters, and of memory while they are made, for as many users.
fn million(path: &std::path::Path) -> (f64, f64) {
    let ledger = Ledger::open_with(path, Durability::Buffered).unwrap();
    let limits = Limits::of(Arc::new(LedgerStore::new(ledger.reopen().unwrap())));
    let spend = |ledger: &Ledger| {
        let mut collector = Collector::new(ledger, false).unwrap();
        let at = SystemTime::now() + Duration::from_secs(1);
        for first in (0..USERS).step_by(10_000) {
            let events: Vec<_> = (first..first + 10_000)
                .map(|user| {
                    let id = uuid::Uuid::from_u64_pair(
                        0x0193_0000_0000_7000 + (user >> 32),
                        0x8000_0000_0000_0000 | user,
                    );
                    let mut event = Event::collected(id, at, "system.openai");
                    event.cost = Cost { amount: Money::from_pico(123_456_789), source: CostSource::Computed };
                    (event, who(user))
                })
                .collect();
            collector.place(&events).unwrap();
        }
    };
    // The same events without a limit, so that only the counters are measured.
    let bare = path.with_file_name("bare.db");
    spend(&Ledger::open_with(&bare, Durability::Buffered).unwrap());
    let before = resident();
    limits.create(limit()).unwrap();
    spend(&ledger);
    let after = resident();
    assert_eq!(
        limits.standing("per-user", &Subject::new("user-7", "")).unwrap().unwrap().settled,
        123_456_789
    );
    (size(path) - size(&bare), after - before)
}

fn size(path: &std::path::Path) -> f64 {
    fs::metadata(path).unwrap().len() as f64 / 1e6
}

fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.0) / 1e3
}
