//! Where in an answer the values lie that matter, of every provider: one table.

use crate::usage::pick::{Rule, Rules, Then};

/// The values that matter in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Id,
    Model,
    Tier,
    Usage,
    /// The outermost `type`: a stream's events are told apart by it.
    Type,
    Status,
    Error,
    /// Where an item of `output` begins.
    Item,
    ItemType,
    Action,
    Cost,
    Ticks,
    ByOwn,
    Upstream,
    /// Cohere's billed units, where they are not in a usage.
    Billed,
    /// Why Bedrock's models stopped.
    Stop,
    /// What one of its guardrails did, and what that took.
    Guarded,
    Trace,
    /// Bedrock's own counts of a stream, beside the model's.
    Metrics,
    /// Counts that lie about by themselves.
    FlatInput,
    FlatOutput,
    /// Seconds of sound, where nothing else is said.
    Duration,
    /// The last line of Ollama's.
    Done,
    /// An answer that was not waited for, and is fetched later.
    Background,
    /// What an AWS event carries.
    Bytes,
}

const fn keep(level: u8, key: &'static str, name: Key) -> Rule<Key> {
    Rule { level, key, then: Then::Keep(name) }
}

const fn enter(level: u8, key: &'static str, to: u8) -> Rule<Key> {
    Rule { level, key, then: Then::Enter(to) }
}

/// Level 0 is the document, 1 the answer inside an event, 2 an item of its output, 3 its action,
/// 4 an envelope around the usage, 5 Cohere's, 6 and 7 lists whose items are counted.
pub(crate) const RULES: &Rules<Key> = &Rules::new(&[
    keep(0, "id", Key::Id),
    keep(0, "model", Key::Model),
    keep(0, "usage", Key::Usage),
    keep(0, "type", Key::Type),
    keep(0, "error", Key::Error),
    keep(0, "service_tier", Key::Tier),
    keep(0, "status", Key::Status),
    keep(0, "background", Key::Background),
    enter(0, "response", 1),
    enter(0, "message", 1),
    Rule { level: 0, key: "output", then: Then::Each(2, Key::Item) },
    keep(1, "id", Key::Id),
    keep(1, "model", Key::Model),
    keep(1, "usage", Key::Usage),
    keep(1, "error", Key::Error),
    keep(1, "service_tier", Key::Tier),
    keep(1, "status", Key::Status),
    keep(1, "background", Key::Background),
    Rule { level: 1, key: "output", then: Then::Each(2, Key::Item) },
    keep(2, "type", Key::ItemType),
    enter(2, "action", 3),
    keep(3, "type", Key::Action),
    // Groq.
    enter(0, "x_groq", 4),
    keep(4, "usage", Key::Usage),
    // Gemini, and its interactions.
    keep(0, "responseId", Key::Id),
    keep(0, "modelVersion", Key::Model),
    keep(0, "usageMetadata", Key::Usage),
    keep(0, "event_type", Key::Type),
    enter(0, "interaction", 1),
    enter(0, "predictions", 7),
    enter(7, "embeddings", 7),
    enter(7, "statistics", 7),
    keep(7, "token_count", Key::FlatInput),
    // Cohere.
    enter(0, "delta", 4),
    enter(0, "meta", 5),
    enter(1, "meta", 5),
    keep(5, "billed_units", Key::Billed),
    // Bedrock: its own counts, Llama's, Titan's.
    keep(0, "amazon-bedrock-invocationMetrics", Key::Metrics),
    keep(0, "bytes", Key::Bytes),
    keep(0, "stopReason", Key::Stop),
    keep(0, "trace", Key::Trace),
    keep(0, "amazon-bedrock-trace", Key::Trace),
    keep(0, "amazon-bedrock-guardrailAction", Key::Guarded),
    keep(0, "prompt_token_count", Key::FlatInput),
    keep(0, "generation_token_count", Key::FlatOutput),
    keep(0, "inputTextTokenCount", Key::FlatInput),
    enter(0, "results", 6),
    keep(6, "tokenCount", Key::FlatOutput),
    // Transcriptions, told in full.
    keep(0, "duration", Key::Duration),
    // Ollama.
    keep(0, "prompt_eval_count", Key::FlatInput),
    keep(0, "eval_count", Key::FlatOutput),
    keep(0, "done", Key::Done),
]);

/// The cost that some hosts put into the usage.
pub(crate) const COSTS: &Rules<Key> = &Rules::new(&[
    keep(0, "cost", Key::Cost),
    keep(0, "cost_in_usd_ticks", Key::Ticks),
    // OpenRouter, with a key of the caller's own at the provider: the cost is its fee alone.
    keep(0, "is_byok", Key::ByOwn),
    enter(0, "cost_details", 1),
    keep(1, "upstream_inference_cost", Key::Upstream),
]);
