//! A large ledger, made the way a busy service would make it: for benchmarks and for tests of scale.

use std::{
    collections::VecDeque,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant, SystemTime},
};

use uuid::Uuid;

use crate::{
    context::{Context, Resolved, Text, UseCase},
    error::Result,
    events::{Event, Outcome},
    ledger::{Appender, Durability, Housekeeping, Keep, Ledger},
    money::Money,
    pricing::{Cost, CostSource},
    usage::{Bucket, Usage},
};

/// What to make.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Load {
    /// How many events come in; about 5 % of them come twice.
    pub events: u64,
    /// How many users; the n-th is met about 1/n as often as the first.
    pub users: u32,
    /// The time they are spread over, up to now, in days.
    pub days: u64,
    /// How many events go into one transaction.
    pub batch: usize,
    /// What a commit survives.
    pub durability: Durability,
}

impl Default for Load {
    fn default() -> Self {
        Self { events: 100_000, users: 10_000, days: 90, batch: 512, durability: Durability::Synced }
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

/// A generator that gives the same numbers every time (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// A number below `n`, small ones more often, as 1/x.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "any number will do"
    )]
    fn skewed(&mut self, n: u64) -> u64 {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        ((n as f64).powf(unit) as u64 - 1).min(n - 1)
    }
}

/// Makes a ledger at `path`, folded, and says how that went.
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
    let mut dice = Dice(42);
    let mut appender = Appender::default();
    let mut loaded = Loaded { events: load.events, ..Loaded::default() };
    let mut recent: VecDeque<(Event, Resolved)> = VecDeque::with_capacity(5_000);
    let span_us = load.days * 86_400_000_000;
    let now = SystemTime::now();
    let start = now.checked_sub(Duration::from_micros(span_us)).unwrap_or(now);
    let mut batch = Vec::with_capacity(load.batch);
    for n in 0..load.events {
        if dice.below(20) == 0 && !recent.is_empty() {
            let again = usize::try_from(dice.below(recent.len() as u64)).unwrap_or(0);
            batch.extend(recent.get(again).cloned());
        } else {
            let late = if dice.below(100) == 0 { dice.below(21_600_000_000) } else { 0 };
            let at_us = (span_us / load.events.max(1) * n).saturating_sub(late);
            let made = make(&mut dice, start + Duration::from_micros(at_us), load.users.into());
            loaded.cost += made.0.cost.amount;
            if n % 20 == 0 {
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

const MODELS: [(&str, &str, i64); 6] = [
    ("openai", "gpt-4o-mini", 150_000),
    ("openai", "gpt-4o", 2_500_000),
    ("anthropic", "claude-sonnet-4-5", 3_000_000),
    ("anthropic", "claude-haiku-4-5", 1_000_000),
    ("openai", "gpt-4.1", 2_000_000),
    ("openai", "o4-mini", 1_100_000),
];
const USE_CASES: [&str; 8] =
    ["summarize", "answer", "classify", "translate", "extract", "draft", "review", "search"];

fn make(dice: &mut Dice, started_at: SystemTime, users: u64) -> (Event, Resolved) {
    let user = dice.skewed(users);
    let (provider, model, price) = MODELS[usize::try_from(dice.skewed(6)).unwrap_or(0)];
    let (input, output) = (dice.skewed(8_000) + 1, dice.skewed(2_000));
    let cached = if dice.below(3) == 0 { dice.below(input) } else { 0 };
    let outcome = match dice.below(100) {
        0..=2 => Outcome::Failed,
        3 => Outcome::Aborted,
        _ => Outcome::Ok,
    };
    let pico = price.saturating_mul(i64::try_from(input + 4 * output).unwrap_or(0));
    let ms = started_at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis());
    let random = u128::from(dice.next()) << 64 | u128::from(dice.next());
    let bits = (ms << 80) | (random & ((1 << 80) - 1));
    let id = Uuid::from_u128(bits & !(0xf << 76) & !(0x3 << 62) | (0x7 << 76) | (0x2 << 62));
    let event = Event {
        id,
        call_id: id,
        attempt: 1,
        context: Context::default(),
        provider: provider.into(),
        operation: "chat.completions".into(),
        category: "system.openai".into(),
        request_model: Some(model.into()),
        response_model: Some(model.into()),
        streamed: false,
        started_at,
        latency: Duration::from_millis(200 + dice.skewed(20_000)),
        time_to_first_token: None,
        outcome,
        http_status: Some(if outcome == Outcome::Failed { 429 } else { 200 }),
        error: (outcome == Outcome::Failed).then(|| "rate_limit_exceeded".into()),
        usage: Usage::new()
            .with(Bucket::Input, input - cached)
            .with(Bucket::CacheRead, cached)
            .with(Bucket::Output, output),
        usage_estimated: false,
        usage_suspect: false,
        cost: Cost { amount: Money::from_pico(pico.into()), source: CostSource::Computed },
        reported_cost: None,
        response_id: None,
        service_tier: None,
        geo: None,
        limits: Vec::new(),
        exchange: None,
    };
    let who = Resolved {
        user_id: Some(Text::from(format!("user-{user:06}"))),
        account_name: Some(Text::from(format!("account-{}", user % 50))),
        use_case: Some(UseCase {
            name: Text::literal(USE_CASES[usize::try_from(dice.below(8)).unwrap_or(0)]),
            version: Some(1),
            ..UseCase::default()
        }),
        ..Resolved::default()
    };
    (event, who)
}
