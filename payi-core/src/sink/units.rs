//! What was used, in Pay-i's names.
//!
//! Pay-i's price lists know `text`, `text_cache_read`, `vision` and so on, each with an input and an
//! output side, and which of them a provider's events use is fixed by the official SDK: OpenAI's audio
//! tokens, for one, are part of `text`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{events::Event, usage::Bucket};

/// Counts by name.
pub(crate) type Units = BTreeMap<String, Unit>;

/// The two sides of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Unit {
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<u64>,
}

impl Unit {
    /// Both sides.
    #[cfg(feature = "reqwest")]
    pub(crate) const fn both(input: u64, output: u64) -> Self {
        Self { input: Some(input), output: Some(output) }
    }
}

/// From this many tokens read, Anthropic's prices of long contexts apply.
const ANTHROPIC_LARGE: u64 = 200_000;

/// Above this many tokens read, Gemini 2.5 Pro's prices of long contexts apply.
const GEMINI_LARGE: u64 = 200_000;

/// Searches have an output side only.
const WEB_SEARCHES: &str = "web_search_request";

/// The side that a count belongs to.
#[derive(Clone, Copy)]
enum Side {
    Input,
    Output,
}

/// How a provider's events name what was used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// Text, whatever it was; reasoning and cached apart.
    OpenAi,
    /// Text with its caches; reasoning is part of the output; long contexts by another name.
    Anthropic,
    /// Each modality by its name, and only the side that was used.
    Google,
    /// Each modality by its name.
    Other,
}

impl Dialect {
    fn of(event: &Event) -> Self {
        let text =
            matches!(&*event.operation, "chat.completions" | "responses" | "embeddings" | "completions");
        match () {
            () if is_anthropic(event) => Self::Anthropic,
            () if is_google(event) => Self::Google,
            () if text => Self::OpenAi,
            () => Self::Other,
        }
    }
}

/// Whether the answer is one of Anthropic's messages, wherever it is hosted.
pub(crate) fn is_anthropic(event: &Event) -> bool {
    let claude = || event.request_model.as_deref().is_some_and(|model| model.contains("anthropic"));
    &*event.operation == "messages" || &*event.category == "system.anthropic" || claude()
}

/// Whether the answer is one of Google's own models.
pub(crate) fn is_google(event: &Event) -> bool {
    &*event.category == "system.google.vertex" && !is_anthropic(event)
}

/// The units of an event; none if its answer says nothing about use.
pub(crate) fn of(event: &Event) -> Units {
    let usage = &event.usage;
    let dialect = Dialect::of(event);
    let mut units = Units::new();
    let guardrail = event.exchange.as_deref().and_then(|exchange| exchange.guardrail.as_ref());
    let guarded = guardrail.map_or(&[][..], |guardrail| &guardrail.units);
    if usage.is_empty() && guarded.is_empty() {
        return units;
    }
    let large = if is_large(event, dialect) { "_large_context" } else { "" };
    if matches!(dialect, Dialect::OpenAi | Dialect::Anthropic) || !guarded.is_empty() {
        // The SDK names it even where it is zero.
        units.insert(format!("text{large}"), Unit { input: Some(0), output: Some(0) });
    }
    for (bucket, count) in usage.iter() {
        let (name, side) = name(bucket, dialect);
        let suffix = if takes_suffix(bucket) { large } else { "" };
        let unit = units.entry(format!("{name}{suffix}")).or_default();
        let counted = match side {
            Side::Input => &mut unit.input,
            Side::Output => &mut unit.output,
        };
        *counted = Some(counted.unwrap_or(0).saturating_add(count));
    }
    for (name, count) in guarded {
        units.insert(name.to_string(), Unit { input: Some(*count), output: None });
    }
    for (name, unit) in &mut units {
        if dialect != Dialect::Google && name != WEB_SEARCHES {
            unit.input.get_or_insert(0);
            unit.output.get_or_insert(0);
        }
    }
    units
}

fn is_large(event: &Event, dialect: Dialect) -> bool {
    let gemini_pro =
        || event.request_model.as_deref().is_some_and(|model| model.starts_with("gemini-2.5-pro"));
    match dialect {
        Dialect::Anthropic => event.usage.input_tokens() >= ANTHROPIC_LARGE,
        Dialect::Google => gemini_pro() && event.usage.input_tokens() > GEMINI_LARGE,
        Dialect::OpenAi | Dialect::Other => false,
    }
}

/// Whether the bucket is named differently in long contexts: tokens are, searches are not.
const fn takes_suffix(bucket: Bucket) -> bool {
    bucket.is_input_token() || bucket.is_output_token()
}

const fn name(bucket: Bucket, dialect: Dialect) -> (&'static str, Side) {
    use Bucket::{
        AudioCacheRead, AudioInput, AudioMillis, AudioOutput, CacheRead, CacheWrite, CacheWrite1h,
        Characters, FileSearches, ImageCacheRead, ImageInput, ImageOutput, Images, Input, Output, Pages,
        Reasoning, SearchUnits, VideoInput, WebSearches,
    };
    let merged = matches!(dialect, Dialect::OpenAi);
    match bucket {
        Input => ("text", Side::Input),
        AudioInput | ImageInput | VideoInput if merged => ("text", Side::Input),
        Output => ("text", Side::Output),
        AudioOutput | ImageOutput if merged => ("text", Side::Output),
        Reasoning if matches!(dialect, Dialect::Anthropic) => ("text", Side::Output),
        Reasoning => ("reasoning", Side::Output),
        CacheRead => ("text_cache_read", Side::Input),
        AudioCacheRead | ImageCacheRead if merged => ("text_cache_read", Side::Input),
        CacheWrite => ("text_cache_write", Side::Input),
        CacheWrite1h => ("text_cache_write_1h", Side::Input),
        AudioInput => ("audio", Side::Input),
        AudioCacheRead => ("audio_cache_read", Side::Input),
        AudioOutput => ("audio", Side::Output),
        ImageInput => ("vision", Side::Input),
        ImageCacheRead => ("vision_cache_read", Side::Input),
        ImageOutput => ("image", Side::Output),
        VideoInput => ("video", Side::Input),
        WebSearches => (WEB_SEARCHES, Side::Output),
        FileSearches => ("file_search_request", Side::Output),
        AudioMillis => ("audio_ms", Side::Input),
        Images => ("images", Side::Output),
        Characters => ("characters", Side::Input),
        Pages => ("pages", Side::Input),
        SearchUnits => ("search_units", Side::Input),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{events::sample, usage::Usage};

    fn json(event: &Event) -> serde_json::Value {
        serde_json::json!(of(event))
    }

    #[test]
    fn openai_counts_audio_as_text_and_names_the_cache_and_reasoning() {
        let mut event = sample::chat();
        event.usage = Usage::new()
            .with(Bucket::Input, 33)
            .with(Bucket::AudioInput, 3)
            .with(Bucket::CacheRead, 64)
            .with(Bucket::Output, 28)
            .with(Bucket::AudioOutput, 2)
            .with(Bucket::Reasoning, 20);
        let expected = serde_json::json!({
            "text": {"input": 36, "output": 30},
            "text_cache_read": {"input": 64, "output": 0},
            "reasoning": {"input": 0, "output": 20},
        });
        assert_eq!(json(&event), expected);
    }

    #[test]
    fn anthropic_names_long_contexts_and_counts_thinking_as_output() {
        let mut event = sample::messages();
        event.usage = Usage::new()
            .with(Bucket::Input, 150_000)
            .with(Bucket::CacheRead, 49_999)
            .with(Bucket::CacheWrite1h, 1)
            .with(Bucket::Output, 6)
            .with(Bucket::Reasoning, 4)
            .with(Bucket::WebSearches, 2);
        let expected = serde_json::json!({
            "text_large_context": {"input": 150_000, "output": 10},
            "text_cache_read_large_context": {"input": 49_999, "output": 0},
            "text_cache_write_1h_large_context": {"input": 1, "output": 0},
            "web_search_request": {"output": 2},
        });
        assert_eq!(json(&event), expected);
        event.usage.set(Bucket::CacheWrite1h, 0);
        assert_eq!(json(&event)["text"], serde_json::json!({"input": 150_000, "output": 10}));
    }

    #[test]
    fn google_names_each_modality_and_only_the_side_used() {
        let mut event = sample::chat();
        event.category = "system.google.vertex".into();
        event.operation = "generate_content".into();
        event.usage = Usage::new()
            .with(Bucket::Input, 15)
            .with(Bucket::CacheRead, 5)
            .with(Bucket::ImageInput, 10)
            .with(Bucket::Output, 9)
            .with(Bucket::Reasoning, 4);
        let expected = serde_json::json!({
            "text_cache_read": {"input": 5}, "text": {"input": 15, "output": 9},
            "vision": {"input": 10}, "reasoning": {"output": 4},
        });
        assert_eq!(json(&event), expected);
    }

    #[test]
    fn an_answer_that_says_nothing_has_no_units() {
        assert_eq!(json(&Event { usage: Usage::new(), ..sample::chat() }), serde_json::json!({}));
    }
}
