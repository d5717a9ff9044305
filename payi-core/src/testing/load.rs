//! A ledger of any size, made the way a busy service would make it: to look at, for benchmarks, for tests of scale.

use std::{
    collections::VecDeque,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    context::Resolved,
    error::Result,
    events::Event,
    ledger::{Appender, Durability, Housekeeping, Keep, Ledger},
    money::Money,
    testing::workload::Workload,
};

/// What to make.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Load {
    /// How many events come in.
    pub events: u64,
    /// How many of 100 events come twice.
    pub repeats: u64,
    /// How many users; the n-th is met about 1/n as often as the first.
    pub users: u32,
    /// Whether one user makes half of all calls.
    pub hot: bool,
    /// How many accounts the users belong to.
    pub accounts: u32,
    /// How many models; of more than six, all are met as often.
    pub models: u32,
    /// The time they are spread over, in days, before `until`.
    pub days: u64,
    /// The end of the last day.
    pub until: SystemTime,
    /// How many events go into one transaction.
    pub batch: usize,
    /// What a commit survives.
    pub durability: Durability,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            events: 100_000,
            repeats: 0,
            users: 10_000,
            hot: false,
            accounts: 4,
            models: 6,
            days: 90,
            until: SystemTime::now(),
            batch: 512,
            durability: Durability::Synced,
        }
    }
}

/// What was made, and how long it took.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Loaded {
    /// Events handed over.
    pub events: u64,
    /// Facts written: each event once.
    pub facts: u64,
    /// What they cost, by the generator's own sum.
    pub cost: Money,
    /// From the first event to the last commit, folding included.
    pub elapsed: Duration,
    /// Processor time of the thread that wrote them, where the system says it; without waits for the disk, and
    /// without making the events.
    pub writing: Duration,
    /// How long each transaction took.
    pub transactions: Vec<Duration>,
}

/// Makes a ledger at `path`, folded, and says how that went. The same load makes the same figures each time.
///
/// # Errors
/// If the file cannot be written.
pub fn load_ledger(path: impl AsRef<Path>, load: &Load) -> Result<Loaded> {
    let ledger = Ledger::open_with(&path, load.durability)?;
    let folder = ledger.another()?;
    let done = AtomicBool::new(false);
    let started = Instant::now();
    let mut loaded = thread::scope(|scope| {
        let folding = scope.spawn(|| {
            let house = Housekeeping::new("load".into());
            while !done.load(Relaxed) {
                if !house.fold(&folder)? {
                    thread::sleep(Duration::from_millis(5));
                }
            }
            while house.fold(&folder)? {}
            Ok(())
        });
        let loaded = append(&ledger, load);
        done.store(true, Relaxed);
        folding.join().unwrap_or(Ok(()))?;
        loaded
    })?;
    loaded.elapsed = started.elapsed();
    Ok(loaded)
}

fn append(ledger: &Ledger, load: &Load) -> Result<Loaded> {
    let mut workload = Workload::new(42);
    let mut appender = Appender::default();
    let mut loaded = Loaded { events: load.events, ..Loaded::default() };
    let mut recent: VecDeque<(Event, Resolved)> = VecDeque::with_capacity(5_000);
    let span_us = load.days * 86_400_000_000;
    let start = load.until.checked_sub(Duration::from_micros(span_us)).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut batch = Vec::with_capacity(load.batch);
    for n in 0..load.events {
        if workload.number(100) < load.repeats && !recent.is_empty() {
            let again = usize::try_from(workload.number(recent.len() as u64)).unwrap_or(0);
            batch.extend(recent.get(again).cloned());
        } else {
            // One of a hundred arrives late, by up to six hours.
            let late = if workload.number(100) == 0 { workload.number(21_600_000_000) } else { 0 };
            let at_us = (span_us / load.events.max(1) * n).saturating_sub(late);
            let made = workload.next(load, start + Duration::from_micros(at_us));
            loaded.cost += made.0.cost.amount;
            if load.repeats > 0 && n % 20 == 0 {
                recent.truncate(4_999);
                recent.push_front(made.clone());
            }
            batch.push(made);
        }
        if batch.len() >= load.batch || n + 1 == load.events {
            let (begun, worked) = (Instant::now(), on_cpu());
            let events = batch.iter().map(|(event, who)| (event, who));
            loaded.facts += ledger
                .with(|conn| appender.append(conn, events, &[], "process:load", Keep::default()))?
                .facts;
            loaded.transactions.push(begun.elapsed());
            loaded.writing += on_cpu().saturating_sub(worked);
            batch.clear();
        }
    }
    Ok(loaded)
}

/// Processor time of this thread so far; zero where the system does not say.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0))
}
