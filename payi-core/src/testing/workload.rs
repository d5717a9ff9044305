//! A large ledger with the shape of real use, for looking at reports and for measuring them.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use uuid::{NoContext, Timestamp, Uuid};

use crate::{
    context::{Context, Resolved, Text, UseCase},
    events::{Event, Outcome},
    ledger::{Appender, Keep, Ledger},
    pricing::{Cost, CostSource, PriceBook, Priced},
    usage::{Bucket, Usage},
};

/// How much [`workload_ledger`] writes.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Attempts.
    pub events: u64,
    /// Users they are spread over, few of them heavy.
    pub users: u64,
    /// Days before `until` they are spread over.
    pub days: u64,
    /// The end of the last day.
    pub until: SystemTime,
}

/// Provider, model, category.
const MODELS: [(&str, &str, &str); 6] = [
    ("openai", "gpt-4o-mini-2024-07-18", "system.openai"),
    ("openai", "gpt-4o-2024-08-06", "system.openai"),
    ("anthropic", "claude-sonnet-4-5-20250929", "system.anthropic"),
    ("openai", "o4-mini-2025-04-16", "system.openai"),
    ("anthropic", "claude-3-5-haiku-20241022", "system.anthropic"),
    ("openai", "house-model-7b", "system.openai"),
];
const USE_CASES: [(&str, &[&str]); 5] = [
    ("summarize", &["fetch", "condense"]),
    ("support_chat", &["classify", "answer"]),
    ("extract_invoice", &["ocr", "extract"]),
    ("code_review", &["read", "comment"]),
    ("search_rerank", &[]),
];

/// Writes a ledger at `path`. The same workload gives the same figures each time.
///
/// # Panics
/// If the file cannot be written; it is meant for tests.
#[expect(clippy::expect_used, reason = "for tests, which may panic")]
pub fn workload_ledger(path: impl AsRef<Path>, workload: Workload) {
    const BATCH: u64 = 2_000;
    let ledger = Ledger::open(path).expect("a ledger for a test");
    let mut appender = Appender::default();
    let mut dice = Dice(7);
    let mut n = 0;
    while n < workload.events {
        let to = (n + BATCH).min(workload.events);
        let events: Vec<_> = (n..to).map(|n| attempt(&workload, n, &mut dice)).collect();
        let written = ledger.with(|conn| {
            let events = events.iter().map(|(event, who)| (event, who));
            appender.append(conn, events, &[], "process:workload", Keep::default())
        });
        written.expect("a ledger for a test");
        n = to;
    }
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % below.max(1)
    }

    /// Small numbers are common: the k-th of `below` about 1/k of the time.
    fn skewed(&mut self, below: u64) -> u64 {
        let top = self.next(below) + 1;
        self.next(top)
    }
}

fn attempt(workload: &Workload, n: u64, dice: &mut Dice) -> (Event, Resolved) {
    let span = workload.days * 86_400;
    let begins = workload.until - Duration::from_secs(span);
    let micros = u128::from(n) * u128::from(span) * 1_000_000 / u128::from(workload.events.max(1));
    let at = begins + Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let id = Uuid::new_v7(Timestamp::from_unix(NoContext, since.as_secs(), since.subsec_nanos()));
    let model = MODELS[pick(&[48, 18, 16, 8, 8, 2], dice)];
    let outcome =
        [Outcome::Ok, Outcome::Failed, Outcome::Aborted, Outcome::Blocked][pick(&[955, 28, 12, 5], dice)];
    let usage = usage(model.1, outcome, dice);
    let refused = matches!(outcome, Outcome::Failed | Outcome::Blocked);
    let cost = PriceBook::embedded().price(&Priced {
        provider: model.0,
        model: model.1,
        at_us: i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        service_tier: None,
        geo: None,
        usage: &usage,
    });
    let event = Event {
        id,
        call_id: id,
        attempt: 1,
        context: Context::default(),
        provider: model.0.into(),
        operation: "chat.completions".into(),
        category: model.2.into(),
        request_model: Some(model.1.into()),
        response_model: (!refused).then(|| model.1.into()),
        streamed: dice.next(3) == 0,
        started_at: at,
        latency: Duration::from_millis(180 + dice.skewed(9_000)),
        time_to_first_token: None,
        outcome,
        http_status: match outcome {
            Outcome::Ok => Some(200),
            Outcome::Failed => Some([429, 500, 529][pick(&[6, 3, 1], dice)]),
            _ => None,
        },
        error: (outcome == Outcome::Failed)
            .then(|| ["rate_limit_exceeded", "server_error"][pick(&[6, 4], dice)].into()),
        usage,
        usage_estimated: outcome == Outcome::Aborted,
        usage_suspect: false,
        cost: if usage.is_empty() { Cost { source: CostSource::Computed, ..cost } } else { cost },
        reported_cost: None,
        response_id: None,
        service_tier: None,
        geo: None,
        limits: Vec::new(),
        exchange: None,
    };
    (event, who(workload, dice))
}

fn usage(model: &str, outcome: Outcome, dice: &mut Dice) -> Usage {
    if matches!(outcome, Outcome::Failed | Outcome::Blocked) {
        return Usage::new();
    }
    let cached = if dice.next(3) == 0 { dice.skewed(6_000) } else { 0 };
    let reasoning = if model.starts_with("o4") { dice.skewed(3_000) } else { 0 };
    Usage::new()
        .with(Bucket::Input, 120 + dice.skewed(4_000))
        .with(Bucket::CacheRead, cached)
        .with(Bucket::Output, 20 + dice.skewed(1_200))
        .with(Bucket::Reasoning, reasoning)
}

fn who(workload: &Workload, dice: &mut Dice) -> Resolved {
    let user = dice.skewed(workload.users);
    let (case, steps) = USE_CASES[pick(&[40, 30, 15, 10, 5], dice)];
    let mut use_case = UseCase { name: Text::new(case), ..UseCase::default() };
    use_case.version = Some(if dice.next(4) == 0 { 1 } else { 2 });
    use_case.step = steps.get(usize::try_from(dice.next(2)).unwrap_or(0)).map(|step| Text::new(step));
    let nobody = dice.next(200) == 0;
    Resolved {
        user_id: (!nobody).then(|| Text::new(&format!("user-{user:05}"))),
        account_name: (!nobody).then(|| Text::new(["acme", "globex", "initech", "umbrella"][account(user)])),
        use_case: Some(use_case),
        ..Resolved::default()
    }
}

fn account(user: u64) -> usize {
    usize::try_from(user * 2_654_435_761 % 4).unwrap_or(0)
}

/// An index, by weight.
fn pick(weights: &[u64], dice: &mut Dice) -> usize {
    let mut left = dice.next(weights.iter().sum());
    for (i, &weight) in weights.iter().enumerate() {
        if left < weight {
            return i;
        }
        left -= weight;
    }
    0
}
