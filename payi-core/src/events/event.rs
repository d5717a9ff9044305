//! An attempt, settled: who it was for, what was used, what it cost, how it ended.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use crate::{
    context::{Context, Text},
    pricing::Cost,
    usage::{FunctionCall, Guardrail, Usage},
};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The provider answered and the answer was read to its end.
    Ok,
    /// The provider refused, or could not be reached, or broke off.
    Failed,
    /// The caller stopped reading (or waiting) before the end.
    Aborted,
    /// A block limit refused the call; it never left the process.
    Blocked,
    /// Found open after its process had died.
    Abandoned,
}

impl Outcome {
    /// Every outcome, in the order of its code in the ledger.
    pub const ALL: [Self; 5] = [Self::Ok, Self::Failed, Self::Aborted, Self::Blocked, Self::Abandoned];

    /// Its name in columns, JSON and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
            Self::Blocked => "blocked",
            Self::Abandoned => "abandoned",
        }
    }
}

/// The name of the reason under which events older than what has been pruned are counted as lost.
pub(crate) const TOO_LATE: &str = "too_late";

/// The id that all attempts of one call share: the event id of the first attempt.
pub type CallId = Uuid;

/// An attempt that has begun. If no [`Event`] of the same id follows, its process died in between.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The id that the attempt's event will have.
    pub id: Uuid,
    /// Shared by the attempts of one call.
    pub call_id: CallId,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// Who it is for.
    pub context: Context,
    /// The provider, by its id in the price book.
    pub provider: Cow<'static, str>,
    /// What was asked.
    pub operation: Cow<'static, str>,
    /// Pay-i's category.
    pub category: Cow<'static, str>,
    /// The model asked for, if the request names one.
    pub request_model: Option<Text>,
    /// When the attempt began.
    pub started_at: SystemTime,
    /// What it may come to, where limits have reserved that: charged should its end never be known.
    pub estimate: Option<Box<(Usage, Cost)>>,
}

/// One attempt at one provider call. Immutable once made.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a finding of its own")]
pub struct Event {
    /// Made when the attempt began (UUIDv7); the key by which everything of ours dedups.
    pub id: Uuid,
    /// Shared by the attempts of one call.
    pub call_id: CallId,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// Who it is for: the context where the call was made.
    pub context: Context,
    /// The provider, by its id in the price book (`openai`, `anthropic`; the host where unknown).
    pub provider: Cow<'static, str>,
    /// What was asked (`chat.completions`, `responses`, `messages`; the path where unknown).
    pub operation: Cow<'static, str>,
    /// Pay-i's category (`system.openai`).
    pub category: Cow<'static, str>,
    /// The model asked for, if the request names one.
    pub request_model: Option<Text>,
    /// The model that answered, if the answer names one.
    pub response_model: Option<Box<str>>,
    /// Whether the answer was a stream.
    pub streamed: bool,
    /// When the attempt began.
    pub started_at: SystemTime,
    /// From the beginning to the end of the answer, or to where it broke off.
    pub latency: Duration,
    /// From the beginning to the first piece of the answer; streams only.
    pub time_to_first_token: Option<Duration>,
    /// How it ended.
    pub outcome: Outcome,
    /// The provider's HTTP status; `None` if there was no answer.
    pub http_status: Option<u16>,
    /// What failed, by a short code (`rate_limit_exceeded`, `timeout`, `connect`); never a message.
    pub error: Option<Box<str>>,
    /// What was used; all zero if the answer does not say.
    pub usage: Usage,
    /// What of `usage` models other than the one that answered did, each at its own price (Anthropic's advisors).
    pub elsewhere: Vec<(Box<str>, Usage)>,
    /// Whether `usage` was guessed, because the answer never said it.
    pub usage_estimated: bool,
    /// The counts contradicted each other and were clamped, or the answer could not be read.
    pub usage_suspect: bool,
    /// Nothing is billed for what was asked: it lists, counts, keeps, shows again or deletes. Limits on calls leave
    /// it out.
    pub free: bool,
    /// What it cost.
    pub cost: Cost,
    /// What the provider says it cost, where it does, in addition to `cost`.
    pub reported_cost: Option<crate::money::Money>,
    /// The answer's id, as the provider gives it.
    pub response_id: Option<Box<str>>,
    /// The service tier the answer names.
    pub service_tier: Option<Box<str>>,
    /// The region the answer names, where prices depend on it.
    pub geo: Option<Box<str>>,
    /// The limits that were asked before it was sent, and what they said.
    pub limits: Vec<LimitMark>,
    /// What travels to Pay-i and nowhere else.
    pub exchange: Option<Box<Exchange>>,
}

impl Event {
    /// An event that happened elsewhere, one attempt of one call, to be filled in.
    pub fn collected(id: Uuid, at: SystemTime, category: &str) -> Self {
        let category: Cow<'static, str> = category.to_owned().into();
        Self {
            id,
            call_id: id,
            attempt: 1,
            context: Context::default(),
            provider: category.clone(),
            operation: "ingest".into(),
            category,
            request_model: None,
            response_model: None,
            streamed: false,
            started_at: at,
            latency: Duration::ZERO,
            time_to_first_token: None,
            outcome: Outcome::Ok,
            http_status: None,
            error: None,
            usage: Usage::new(),
            elsewhere: Vec::new(),
            usage_estimated: false,
            usage_suspect: false,
            free: false,
            cost: Cost::UNPRICED,
            reported_cost: None,
            response_id: None,
            service_tier: None,
            geo: None,
            limits: Vec::new(),
            exchange: None,
        }
    }
}

impl Event {
    /// What of `usage` the model did that answered.
    pub fn own_usage(&self) -> Usage {
        self.elsewhere.iter().fold(self.usage, |mut own, (_, theirs)| {
            theirs.iter().for_each(|(bucket, n)| own.set(bucket, own.get(bucket).saturating_sub(n)));
            own
        })
    }
}

/// A limit that was asked before a call was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitMark {
    /// The limit's id.
    pub limit: Arc<str>,
    /// What it said.
    pub verdict: Verdict,
}

/// What a limit said before a call was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It has reserved the most that the call can come to.
    Held,
    /// It has refused the call.
    Blocked,
    /// Another limit has refused the call.
    BlockedExternal,
}

/// The parts of an exchange that Pay-i keeps with an event, and reports do not need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exchange {
    /// The provider's base address, without credentials or query.
    pub provider_uri: Option<Box<str>>,
    /// The client library and its version (`openai/3.54.0`).
    pub instrumented_module: Option<Box<str>>,
    /// The answer's headers, without cookies and without `content-*`.
    pub response_headers: Vec<(Box<str>, Box<str>)>,
    /// The tools the answer calls.
    pub function_calls: Vec<FunctionCall>,
    /// What a guardrail of Bedrock's did.
    pub guardrail: Option<Guardrail>,
    /// The request's body; only where prompts are asked for.
    pub request_json: Option<Box<str>>,
    /// The answer's body, or its stream's events; only where prompts are asked for.
    pub response_json: Vec<Box<str>>,
}

impl Event {
    /// The event of an attempt that has begun, and of whose end nothing is known: abandoned, unpriced.
    pub(crate) fn begun(opening: &Opening) -> Self {
        Self {
            call_id: opening.call_id,
            attempt: opening.attempt,
            context: opening.context.clone(),
            provider: opening.provider.clone(),
            operation: opening.operation.clone(),
            request_model: opening.request_model.clone(),
            outcome: Outcome::Abandoned,
            ..Self::collected(opening.id, opening.started_at, &opening.category)
        }
    }
}

/// Whether the id of an event says that it tells how one really ended that had been given up: the same id as version 8
/// (RFC 9562: custom).
pub fn is_correction(id: Uuid) -> bool {
    id.get_version_num() == 8
}
