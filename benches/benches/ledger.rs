//! Targets 7 to 10: the hand-over to the writer, inserts with dedup and rollups, the Users table, memory.
//!
//! `cargo bench -p payi-bench --bench ledger` makes a ledger of a million events; `PAYI_BENCH_EVENTS=10000000`
//! is what the targets say.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss, missing_docs, reason = "a benchmark may panic")]

use std::{
    fs, hint,
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant, SystemTime},
};

use payi_core::{
    events::Event,
    ledger::{Durability, Filter, Ledger},
    sink::{Writer, WriterOptions},
    testing::{Load, load_ledger, sample_event},
};

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let events = std::env::var("PAYI_BENCH_EVENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let place = std::env::temp_dir().join(format!("payi-bench-{}", std::process::id()));
    hand_over(&place);
    let mut misses = Vec::new();
    for durability in [Durability::Buffered, Durability::Synced] {
        insert(&place, events, durability, &mut misses);
    }
    for miss in &misses {
        eprintln!("missed: {miss}");
    }
    std::process::exit(i32::from(!misses.is_empty()));
}

/// Notes a figure that is above its bound.
fn within(misses: &mut Vec<String>, what: &str, figure: f64, bound: f64) {
    if figure > bound {
        misses.push(format!("{what}: {figure:.1}, not {bound}"));
    }
}

fn fresh(place: &PathBuf) -> PathBuf {
    let _ = fs::remove_dir_all(place);
    fs::create_dir_all(place).unwrap();
    place.join("payi.db")
}

const ROUND: usize = 4_000;

/// Nanoseconds per event, best of 30 rounds; `pause` lets the other side catch up.
fn best(event: &Event, mut take: impl FnMut(Event), mut pause: impl FnMut()) -> f64 {
    let mut ready = Vec::with_capacity(ROUND);
    let round = |_| {
        ready.resize_with(ROUND, || event.clone());
        let begun = Instant::now();
        ready.drain(..).for_each(&mut take);
        let took = begun.elapsed().as_nanos() as f64 / ROUND as f64;
        pause();
        took
    };
    (0..30).map(round).fold(f64::INFINITY, f64::min)
}

fn hand_over(place: &PathBuf) {
    let path = fresh(place);
    let event = sample_event();
    let writer = Writer::start(&WriterOptions::at(&path)).unwrap();
    let sink = writer.sink();
    let ours = best(&event, |event| sink.record(event), || drop(writer.flush(Duration::from_secs(20))));
    let shelf = Mutex::new(Vec::with_capacity(ROUND));
    let anchor = best(&event, |event| shelf.lock().unwrap().push(event), || shelf.lock().unwrap().clear());
    let size = size_of::<Event>();
    println!(
        "evidence bench-ledger-7: {ours:.0} ns; the same {size} bytes into a Mutex<Vec>: {anchor:.0} ns"
    );
}

fn insert(place: &PathBuf, events: u64, durability: Durability, misses: &mut Vec<String>) {
    let path = fresh(place);
    let mut load = Load::default();
    (load.events, load.users, load.accounts, load.repeats) = (events, 100_000, 50, 5);
    load.durability = durability;
    let mut loaded = load_ledger(&path, &load).unwrap();
    loaded.transactions.sort();
    let nth = |percent: usize| {
        let at = loaded.transactions.len() * percent / 100;
        loaded.transactions[at.min(loaded.transactions.len() - 1)].as_secs_f64() * 1e3
    };
    let bytes: u64 = fs::read_dir(place).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
    println!(
        "evidence bench-ledger-8: {durability:?} {:.0} k events/s of {events} ({:.0} k per second of processor time), p50 {:.2} p99 {:.1} max {:.0} ms, {:.1} B/event ({:.0} MB)",
        events as f64 / loaded.elapsed.as_secs_f64() / 1e3,
        events as f64 / loaded.writing.as_secs_f64() / 1e3,
        nth(50),
        nth(99),
        nth(100),
        bytes as f64 / loaded.facts as f64,
        bytes as f64 / 1e6,
    );
    let rate = events as f64 / loaded.elapsed.as_secs_f64() / 1e3;
    let least = if durability == Durability::Buffered { 200.0 } else { 120.0 };
    within(misses, &format!("least rate over the rate of {durability:?}"), least / rate, 1.0);
    within(misses, "p99 of transactions, ms", nth(99), 25.0);
    if events >= 10_000_000 {
        within(misses, "bytes per event", bytes as f64 / loaded.facts as f64, 150.0);
    }
    let ledger = Ledger::open_read_only(&path).unwrap();
    let total = ledger.users(&Filter::new()).unwrap().total;
    assert_eq!((total.cost, total.attempts), (loaded.cost, loaded.facts), "the report is exact");
    let day = |n: u64| SystemTime::now() - Duration::from_secs(n * 86_400);
    for (name, filter) in [
        ("all time", Filter::new().limit(50)),
        ("all time, every user", Filter::new()),
        ("30 days", Filter::new().since(day(60)).until(day(30)).limit(50)),
        ("last 30 days", Filter::new().since(day(30)).limit(50)),
        ("one user", Filter::new().user_id("user-00010")),
        ("one model", Filter::new().model("gpt-4o-mini-2024-07-18").limit(50)),
    ] {
        let mut times: Vec<_> = (0..5)
            .map(|_| {
                let begun = Instant::now();
                hint::black_box(ledger.users(&filter).unwrap());
                begun.elapsed()
            })
            .collect();
        times.sort();
        let took = times[2].as_secs_f64() * 1e3;
        println!("evidence bench-ledger-9: {name} {took:.1} ms");
        let most = match name {
            "all time" => 50.0,
            "30 days" | "last 30 days" => 150.0,
            _ => 500.0,
        };
        within(misses, name, took, most);
    }
    let _ = fs::remove_dir_all(place);
}
