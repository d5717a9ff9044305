//! The names of OpenTelemetry's semantic conventions for GenAI, as far as we use them.
//!
//! They are still changing, so they are ours, in one place, behind [`Semconv`].

use opentelemetry::KeyValue;

use crate::{
    events::Event,
    sink::{deliver::Pending, otel::pair},
    usage::Bucket,
};

/// Which version of the semantic conventions for GenAI is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Semconv {
    /// 1.37 and later: the provider is `gen_ai.provider.name`.
    #[default]
    V1_37,
    /// 1.36 and earlier: the provider is `gen_ai.system`.
    V1_36,
}

impl Semconv {
    /// The attribute that names the provider.
    pub(crate) const fn provider(self) -> &'static str {
        match self {
            Self::V1_37 => "gen_ai.provider.name",
            Self::V1_36 => "gen_ai.system",
        }
    }
}

pub(crate) const OPERATION: &str = "gen_ai.operation.name";
pub(crate) const REQUEST_MODEL: &str = "gen_ai.request.model";
pub(crate) const RESPONSE_MODEL: &str = "gen_ai.response.model";
pub(crate) const TOKEN_TYPE: &str = "gen_ai.token.type";
pub(crate) const ERROR_TYPE: &str = "error.type";
pub(crate) const USE_CASE: &str = "payi.use_case.name";

/// What is done, in the conventions' words.
pub(crate) fn operation(event: &Event) -> &str {
    match &*event.operation {
        "chat.completions" | "responses" | "messages" => "chat",
        "completions" => "text_completion",
        "embeddings" | "embed_content" => "embeddings",
        other => other,
    }
}

/// By whom, in the conventions' words.
pub(crate) fn provider(event: &Event) -> &str {
    match &*event.provider {
        "azure" => "azure.ai.openai",
        "google" => "gcp.gen_ai",
        "aws" => "aws.bedrock",
        "mistral" => "mistral_ai",
        "x-ai" => "x_ai",
        other => other,
    }
}

/// What is said in spans and metrics alike.
pub(crate) fn common(event: &Event, semconv: Semconv) -> Vec<KeyValue> {
    let mut pairs = vec![
        pair(OPERATION, operation(event).to_owned()),
        pair(semconv.provider(), provider(event).to_owned()),
    ];
    let mut some = |key, value: Option<&str>| pairs.extend(value.map(|value| pair(key, value.to_owned())));
    some(REQUEST_MODEL, event.request_model.as_deref());
    some(RESPONSE_MODEL, event.response_model.as_deref());
    some(ERROR_TYPE, event.error.as_deref());
    pairs
}

/// The attributes of a span.
pub(crate) fn attributes(pending: &Pending, semconv: Semconv) -> Vec<KeyValue> {
    let (event, who) = (&pending.event, &pending.who);
    let use_case = who.use_case.as_ref();
    let mut pairs = common(event, semconv);
    let mut text = |key, value: Option<&str>| pairs.extend(value.map(|value| pair(key, value.to_owned())));
    text("gen_ai.response.id", event.response_id.as_deref());
    text("user.id", who.user_id.as_deref());
    text("payi.account.name", who.account_name.as_deref());
    text(USE_CASE, use_case.map(|u| &*u.name));
    text("payi.use_case.id", use_case.and_then(|u| u.id.as_deref()));
    text("payi.use_case.step", use_case.and_then(|u| u.step.as_deref()));
    // Decimal, all digits: a floating-point attribute would not be the amount.
    text("payi.cost.usd", event.cost.known().map(|cost| cost.to_string()).as_deref());
    text("payi.cost.source", Some(event.cost.source.name()));
    text("payi.outcome", Some(event.outcome.name()));
    text("payi.event.id", Some(&event.id.to_string()));
    text("payi.call.id", Some(&event.call_id.to_string()));
    let mut number = |key, value: Option<i64>| pairs.extend(value.map(|value| pair(key, value)));
    number("payi.attempt", Some(event.attempt.into()));
    number("payi.use_case.version", use_case.and_then(|u| u.version).map(Into::into));
    number("http.response.status_code", event.http_status.map(Into::into));
    let usage = &event.usage;
    let count = |n: u64| (n > 0).then(|| i64::try_from(n).unwrap_or(i64::MAX));
    number("gen_ai.usage.input_tokens", count(usage.input_tokens()));
    number("gen_ai.usage.output_tokens", count(usage.output_tokens()));
    number("gen_ai.usage.cache_read.input_tokens", count(usage.get(Bucket::CacheRead)));
    let written = usage.get(Bucket::CacheWrite) + usage.get(Bucket::CacheWrite1h);
    number("gen_ai.usage.cache_creation.input_tokens", count(written));
    number("gen_ai.usage.reasoning.output_tokens", count(usage.get(Bucket::Reasoning)));
    pairs
}
