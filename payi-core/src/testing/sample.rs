//! A small ledger with known content, for tests of whatever reads ledgers.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use uuid::{NoContext, Timestamp, Uuid};

use crate::{
    context::{Context, Resolved, Text, UseCase},
    events::{Event, Outcome},
    ledger::{Appender, Keep, Ledger},
    money::Money,
    pricing::{Cost, CostSource},
    usage::{Bucket, Usage},
};

/// 2026-11-23 10:00:00 UTC in seconds since 1970.
const START: u64 = 1_795_428_000;

/// Makes a ledger at `path` with eleven attempts of ten calls: six users in three accounts (some with names
/// that try to be something else), a call for nobody, a retry, a model without a price.
///
/// The content is the same each time. Attempt `n` begins `n` seconds after 2026-11-23 10:00:00 UTC.
///
/// # Panics
/// If the file cannot be written; it is meant for tests.
#[expect(clippy::expect_used, reason = "for tests, which may panic")]
pub fn sample_ledger(path: impl AsRef<Path>) {
    let ledger = Ledger::open(path).expect("a ledger for a test");
    let mut events: Vec<_> = ROWS.iter().zip(0..).map(|(row, n)| (event(row, n), who(row))).collect();
    // The second attempt of the call that the first attempt began.
    let first = events[0].0.id;
    events[1].0.call_id = first;
    events[1].0.attempt = 2;
    ledger
        .with(|conn| {
            let events = events.iter().map(|(event, who)| (event, who));
            Appender::default().append(conn, events, &[], "process:sample", Keep::default())
        })
        .expect("a ledger for a test");
}

/// One attempt that went well, for nobody in particular; a new id each time.
pub fn sample_event() -> Event {
    let mut sample = event(&ROWS[1], 1);
    sample.id = Uuid::now_v7();
    sample.call_id = sample.id;
    sample.started_at = SystemTime::now();
    sample
}

/// User, account, use case, model, outcome, (input, cached, output, reasoning), pico-dollars.
type Sample = (
    Option<&'static str>,
    Option<&'static str>,
    &'static str,
    &'static str,
    Outcome,
    (u64, u64, u64, u64),
    Option<i64>,
);

const MINI: &str = "gpt-4o-mini";

const ROWS: [Sample; 11] = [
    (Some("ada"), Some("acme"), "summarize", MINI, Outcome::Failed, (0, 0, 0, 0), Some(0)),
    (Some("ada"), Some("acme"), "summarize", MINI, Outcome::Ok, (1_200, 0, 340, 0), Some(384_000_000)),
    (
        Some("ada"),
        Some("acme"),
        "answer",
        "gpt-4o",
        Outcome::Ok,
        (12_345, 2_048, 1_500, 512),
        Some(48_422_500_000),
    ),
    (Some("José ☕"), Some("acme"), "summarize", MINI, Outcome::Aborted, (900, 0, 12, 0), Some(142_200_001)),
    (
        Some("用户1"),
        Some("globex"),
        "classify",
        "claude-sonnet-4-5",
        Outcome::Ok,
        (3, 7_000, 95, 0),
        Some(3_534_000_000),
    ),
    (
        Some("=cmd()|' /C calc'!A0"),
        Some("globex"),
        "classify",
        MINI,
        Outcome::Ok,
        (5, 0, 5, 0),
        Some(3_750_000),
    ),
    (
        Some("\u{1b}[31mred\n\u{202e}evil"),
        Some("-2+3"),
        "answer",
        MINI,
        Outcome::Failed,
        (0, 0, 0, 0),
        Some(0),
    ),
    (Some("ada"), Some("globex"), "answer", MINI, Outcome::Blocked, (0, 0, 0, 0), Some(0)),
    (Some("u-\"quoted\", with comma"), None, "answer", "house-model-7b", Outcome::Ok, (100, 0, 50, 0), None),
    (None, None, "answer", MINI, Outcome::Ok, (10, 0, 1, 0), Some(2_100_000)),
    (Some("ada"), Some("acme"), "answer", MINI, Outcome::Ok, (1_000_000, 0, 1, 0), Some(150_000_600_000)),
];

fn event(&(_, _, _, model, outcome, (input, cached, output, reasoning), pico): &Sample, n: u8) -> Event {
    let id = Uuid::new_v7(Timestamp::from_unix(NoContext, START + u64::from(n), 0));
    let answered = outcome != Outcome::Blocked;
    Event {
        id,
        call_id: id,
        attempt: 1,
        context: Context::default(),
        provider: if model.starts_with("claude") { "anthropic" } else { "openai" }.into(),
        operation: "chat.completions".into(),
        category: "system.openai".into(),
        request_model: Some(model.into()),
        response_model: None,
        streamed: outcome == Outcome::Aborted,
        started_at: SystemTime::UNIX_EPOCH + Duration::from_secs(START + u64::from(n)),
        latency: Duration::from_millis(250),
        time_to_first_token: None,
        outcome,
        http_status: answered.then_some(if outcome == Outcome::Failed { 429 } else { 200 }),
        error: (outcome == Outcome::Failed).then(|| "rate_limit_exceeded".into()),
        usage: Usage::new()
            .with(Bucket::Input, input)
            .with(Bucket::CacheRead, cached)
            .with(Bucket::Output, output)
            .with(Bucket::Reasoning, reasoning),
        elsewhere: Vec::new(),
        usage_estimated: false,
        usage_suspect: false,
        free: false,
        cost: pico.map_or(Cost::UNPRICED, |pico| Cost {
            amount: Money::from_pico(pico.into()),
            source: CostSource::Computed,
        }),
        reported_cost: None,
        response_id: Some(format!("chatcmpl-{n}").into()),
        service_tier: None,
        geo: None,
        limits: Vec::new(),
        exchange: None,
    }
}

fn who(&(user, account, use_case, ..): &Sample) -> Resolved {
    Resolved {
        user_id: user.map(Text::literal),
        account_name: account.map(Text::literal),
        use_case: Some(UseCase { name: Text::literal(use_case), version: Some(1), ..UseCase::default() }),
        ..Resolved::default()
    }
}
