//! Where others' price lists disagree, and which is right: the table of the research, one row per test case.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use super::{CostSource, PriceBook, Query};

/// What is asked, the cost in USD that is right, and how sure the book is of it.
const RIGHT: &[(&str, &str, CostSource)] = &[
    // The long price of Sonnet 4.5 ended on 2026-04-30.
    (
        r#""anthropic", "model": "claude-sonnet-4-5", "at": "2026-04-29T12:00:00Z", "usage": {"input_tokens": 300000, "output_tokens": 1000}"#,
        "1.8225",
        CostSource::Computed,
    ),
    (
        r#""anthropic", "model": "claude-sonnet-4-5", "usage": {"input_tokens": 300000, "output_tokens": 1000}"#,
        "0.915",
        CostSource::Computed,
    ),
    // Bedrock: without a prefix, in the region and dearer; `global.` is the cheap one.
    (
        r#""aws", "model": "anthropic.claude-sonnet-4-5-20250929-v1:0", "usage": {"input_tokens": 1000000}"#,
        "3.3",
        CostSource::Computed,
    ),
    (
        r#""aws", "model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "usage": {"input_tokens": 1000000}"#,
        "3.3",
        CostSource::Computed,
    ),
    (
        r#""aws", "model": "global.anthropic.claude-sonnet-4-5-20250929-v1:0", "usage": {"input_tokens": 1000000}"#,
        "3",
        CostSource::Computed,
    ),
    // A deployment of Azure's that runs anywhere costs what its model costs; of others that is a guess.
    (
        r#""azure", "model": "gpt-4o-2024-11-20-global-standard", "usage": {"input_tokens": 1000000}"#,
        "2.5",
        CostSource::Computed,
    ),
    (
        r#""azure", "model": "gpt-4o-datazone-standard", "usage": {"input_tokens": 1000000}"#,
        "2.5",
        CostSource::Estimated,
    ),
    // Mistral's `latest` is Large 3.
    (
        r#""mistral", "model": "mistral-large-latest", "usage": {"input_tokens": 1000000, "output_tokens": 1000000}"#,
        "2",
        CostSource::Computed,
    ),
    (
        r#""mistral", "model": "codestral-latest", "usage": {"input_tokens": 1000000, "cache_read_tokens": 1000000}"#,
        "0.03",
        CostSource::Computed,
    ),
    // Batches: half at Gemini, 20 % off at xAI, from 200,000 tokens on the long price.
    (
        r#""google", "model": "gemini-3.5-flash", "processing": "batch", "usage": {"input_tokens": 1000000, "output_tokens": 1000000}"#,
        "5.25",
        CostSource::Computed,
    ),
    (
        r#""x-ai", "model": "grok-4.6", "processing": "batch", "usage": {"input_tokens": 100000, "output_tokens": 100000}"#,
        "0.64",
        CostSource::Computed,
    ),
    (r#""x-ai", "model": "grok-4.6", "usage": {"input_tokens": 199999}"#, "0.399998", CostSource::Computed),
    (r#""x-ai", "model": "grok-4.6", "usage": {"input_tokens": 200000}"#, "0.8", CostSource::Computed),
    // DeepSeek: by date; by the hour; nobody publishes what the old names cost today.
    (
        r#""deepseek", "model": "deepseek-chat", "at": "2025-10-15T12:00:00Z", "usage": {"input_tokens": 1000000, "output_tokens": 1000000}"#,
        "0.7",
        CostSource::Computed,
    ),
    (
        r#""deepseek", "model": "deepseek-chat", "usage": {"input_tokens": 1000000}"#,
        "0.14",
        CostSource::Estimated,
    ),
    (
        r#""deepseek", "model": "deepseek-flash", "usage": {"input_tokens": 1000000}"#,
        "0.15",
        CostSource::Computed,
    ),
    (
        r#""deepseek", "model": "deepseek-flash", "at": "2026-11-23T02:00:00Z", "usage": {"input_tokens": 1000000}"#,
        "0.3",
        CostSource::Computed,
    ),
    (
        r#""deepseek", "model": "deepseek-flash", "at": "2026-11-22T02:00:00Z", "usage": {"input_tokens": 1000000}"#,
        "0.15",
        CostSource::Computed,
    ),
    (
        r#""deepseek", "model": "deepseek-flash", "at": "2026-10-01T02:00:00Z", "usage": {"input_tokens": 1000000}"#,
        "0.15",
        CostSource::Computed,
    ),
    // Perplexity: the fee follows the size of the search, which is low where nothing is said.
    (r#""perplexity", "model": "sonar", "usage": {"input_tokens": 1000000}"#, "1.005", CostSource::Computed),
    (
        r#""perplexity", "model": "sonar", "search_context_size": "high", "usage": {"input_tokens": 1000000}"#,
        "1.012",
        CostSource::Computed,
    ),
    // Audio has its own price; a search costs a cent; retired models keep theirs; Azure is priced as `Global`.
    (
        r#""openai", "model": "gpt-4o-mini-transcribe", "usage": {"input_tokens": 1000000, "input_audio_tokens": 1000000}"#,
        "3",
        CostSource::Computed,
    ),
    (
        r#""openai", "model": "gpt-4o", "usage": {"input_tokens": 1000, "web_searches": 1}"#,
        "0.0125",
        CostSource::Computed,
    ),
    (
        r#""anthropic", "model": "claude-3-haiku-20240307", "usage": {"input_tokens": 1000000}"#,
        "0.25",
        CostSource::Computed,
    ),
    (
        r#""google", "model": "gemini-2.0-flash", "usage": {"input_tokens": 1000000}"#,
        "0.1",
        CostSource::Computed,
    ),
    (
        r#""azure", "model": "text-embedding-3-large", "usage": {"input_tokens": 1000000}"#,
        "0.13",
        CostSource::Computed,
    ),
    // Regions: eleven tenths, on tokens only.
    (
        r#""anthropic", "model": "claude-opus-4-6", "inference_geo": "us", "usage": {"input_tokens": 1000000, "web_searches": 1}"#,
        "5.51",
        CostSource::Computed,
    ),
    (
        r#""anthropic", "model": "claude-opus-4-6", "inference_geo": "global", "usage": {"input_tokens": 1000000}"#,
        "5",
        CostSource::Computed,
    ),
    (
        r#""anthropic", "model": "claude-opus-5", "speed": "fast", "usage": {"input_tokens": 1000000}"#,
        "10",
        CostSource::Computed,
    ),
    (
        r#""openai", "model": "gpt-5", "service_tier": "flex", "usage": {"input_tokens": 1000000}"#,
        "0.625",
        CostSource::Computed,
    ),
    (
        r#""openai", "model": "gpt-5", "service_tier": "priority", "usage": {"input_tokens": 1000000}"#,
        "2.5",
        CostSource::Computed,
    ),
    // Short recordings are billed as ten seconds.
    (
        r#""groq", "model": "whisper-large-v3", "usage": {"input_audio_seconds": 3}"#,
        "0.000308333333",
        CostSource::Computed,
    ),
    (
        r#""groq", "model": "whisper-large-v3", "usage": {"input_audio_seconds": 3600}"#,
        "0.111",
        CostSource::Computed,
    ),
    (
        r#""mistral", "model": "voxtral-small-2507", "usage": {"input_tokens": 386, "input_audio_tokens": 375, "cache_read_tokens": 9, "output_tokens": 15}"#,
        "0.00000629",
        CostSource::Computed,
    ),
    // What LiteLLM silently takes to be free.
    (
        r#""anthropic", "model": "claude-sonnet-4-20250514", "usage": {"input_tokens": 1000000}"#,
        "3",
        CostSource::Computed,
    ),
    (
        r#""openrouter", "model": "anthropic/claude-sonnet-4.5", "usage": {"input_tokens": 100000}"#,
        "0.3",
        CostSource::Computed,
    ),
];

#[test]
fn where_others_disagree_the_book_is_right() {
    for (asked, usd, source) in RIGHT {
        let line = format!(r#"{{"provider": {asked}}}"#);
        let mut query = Query::read(&line).unwrap();
        query.at.get_or_insert("2026-11-23T12:00:00Z".into());
        let explanation = query.explain(PriceBook::embedded(), &query.usage().unwrap());
        assert_eq!(
            (explanation.cost.amount.to_string().as_str(), explanation.cost.source),
            (*usd, *source),
            "{line}\n{explanation}"
        );
    }
}
