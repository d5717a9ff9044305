//! Made-up attempts with the shape of real use: a few heavy users and many light ones, failures, caches, retries.

use std::time::{Duration, SystemTime};

use uuid::{Builder, Uuid};

use crate::{
    context::{Resolved, Text, UseCase},
    events::{Event, Outcome},
    pricing::{Cost, CostSource, PriceBook, Priced},
    testing::Load,
    usage::{Bucket, Usage},
};

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

/// A generator that gives the same numbers every time (SplitMix64).
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    /// A number below `below`.
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % below.max(1)
    }

    /// A number below `below`, where the n-th comes about 1/n as often as the first.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "any number will do"
    )]
    fn ranked(&mut self, below: u64) -> u64 {
        let unit = (self.next(1 << 53)) as f64 / (1_u64 << 53) as f64;
        ((below as f64).powf(unit) as u64).saturating_sub(1).min(below.saturating_sub(1))
    }

    /// A number below `below`, small ones more often.
    fn skewed(&mut self, below: u64) -> u64 {
        let top = self.next(below) + 1;
        self.next(top)
    }
}

/// Attempts, one after the other.
#[derive(Debug)]
pub(super) struct Workload {
    dice: Dice,
    /// The last one, if its call goes on: sometimes with another model.
    goes_on: Option<(Event, Resolved)>,
}

impl Workload {
    pub(super) const fn new(seed: u64) -> Self {
        Self { dice: Dice(seed), goes_on: None }
    }

    /// A number below `below`.
    pub(super) fn number(&mut self, below: u64) -> u64 {
        self.dice.next(below)
    }

    /// The next attempt, begun at `at`.
    pub(super) fn next(&mut self, load: &Load, at: SystemTime) -> (Event, Resolved) {
        let mut made = attempt(load, at, &mut self.dice);
        if let Some((failed, who)) = self.goes_on.take() {
            (made.0.call_id, made.0.attempt, made.1) = (failed.call_id, failed.attempt + 1, who);
        }
        // Three of five that failed are made again.
        if made.0.outcome == Outcome::Failed && self.dice.next(5) < 3 {
            self.goes_on = Some(made.clone());
        }
        made
    }
}

fn attempt(load: &Load, at: SystemTime, dice: &mut Dice) -> (Event, Resolved) {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let named = MODELS[pick(&[48, 18, 16, 8, 8, 2], dice)];
    let more = dice.next(load.models.into());
    let model = match usize::try_from(more).ok().filter(|&more| more >= MODELS.len()) {
        Some(more) => (named.0, &*format!("model-{more:05}"), named.2),
        None => named,
    };
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
    let mut event = Event::collected(id(since, dice), at, model.2);
    event.provider = model.0.into();
    event.operation = "chat.completions".into();
    event.request_model = Some(model.1.into());
    event.response_model = (!refused).then(|| model.1.into());
    event.streamed = dice.next(3) == 0;
    event.latency = Duration::from_millis(180 + dice.skewed(9_000));
    event.outcome = outcome;
    event.http_status = match outcome {
        Outcome::Ok => Some(200),
        Outcome::Failed => Some([429, 500, 529][pick(&[6, 3, 1], dice)]),
        _ => None,
    };
    event.error = (outcome == Outcome::Failed)
        .then(|| ["rate_limit_exceeded", "server_error"][pick(&[6, 4], dice)].into());
    event.usage = usage;
    event.usage_estimated = outcome == Outcome::Aborted;
    event.cost = if usage.is_empty() { Cost { source: CostSource::Computed, ..cost } } else { cost };
    (event, who(load, dice))
}

/// An event id of this moment, the same in every run.
fn id(since: Duration, dice: &mut Dice) -> Uuid {
    let ms = u64::try_from(since.as_millis()).unwrap_or(0);
    let mut random = [0; 10];
    random[..8].copy_from_slice(&dice.next(u64::MAX).to_le_bytes());
    random[8..].copy_from_slice(&dice.next(u64::MAX).to_le_bytes()[..2]);
    Builder::from_unix_timestamp_millis(ms, &random).into_uuid()
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

fn who(load: &Load, dice: &mut Dice) -> Resolved {
    let user = if load.hot && dice.next(2) == 0 { 0 } else { dice.ranked(load.users.into()) };
    let (case, steps) = USE_CASES[pick(&[40, 30, 15, 10, 5], dice)];
    let mut use_case = UseCase { name: Text::new(case), ..UseCase::default() };
    use_case.version = Some(if dice.next(4) == 0 { 1 } else { 2 });
    use_case.step = steps.get(usize::try_from(dice.next(2)).unwrap_or(0)).map(|step| Text::new(step));
    let nobody = dice.next(200) == 0;
    Resolved {
        user_id: (!nobody).then(|| Text::from(format!("user-{user:05}"))),
        account_name: (!nobody).then(|| account(load, user)),
        use_case: Some(use_case),
        ..Resolved::default()
    }
}

fn account(load: &Load, user: u64) -> Text {
    let account = usize::try_from(user * 2_654_435_761 % u64::from(load.accounts.max(1))).unwrap_or(0);
    let named = ["acme", "globex", "initech", "umbrella"];
    named.get(account).map_or_else(|| Text::from(format!("tenant-{account:03}")), |name| Text::new(name))
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
