//! Usage in Anthropic's form: `input_tokens` are those that were neither read from nor written to a cache.
//!
//! With `iterations`, the totals leave out what compaction and advisors used; each iteration is
//! billed at its own model, so they are counted instead of the totals.

use crate::usage::{
    Bucket, Reading, Usage,
    answer::{count, inner, is_odd, label},
    tree::{Object, Value},
};

/// Reads the `usage` of messages.
pub(crate) fn read(usage: Object<'_>, reading: &mut Reading) {
    let thinking = inner(usage, "output_tokens_details", "thinking_tokens");
    let mut counted = Usage::new();
    let iterations = usage.get("iterations").filter(|list| list.elements().next().is_some());
    match iterations {
        None => counted += entry(usage),
        Some(list) => {
            for iteration in list.elements().filter_map(Value::as_object) {
                let model = label(iteration.get("model"));
                let elsewhere = model.filter(|model| reading.model.as_deref() != Some(&**model));
                let declined = iteration.get("type").and_then(Value::as_str) == Some("fallback_message");
                match elsewhere {
                    None => counted += entry(iteration),
                    // A model that declined and passed the request on is not billed.
                    Some(_) if declined => {}
                    Some(model) => reading.elsewhere.push((model, entry(iteration))),
                }
            }
        }
    }
    let written = counted.get(Bucket::Output);
    let reasoned = thinking.min(written);
    counted.set(Bucket::Reasoning, reasoned);
    counted.set(Bucket::Output, written - reasoned);
    counted.set(Bucket::WebSearches, inner(usage, "server_tool_use", "web_search_requests"));
    reading.inconsistent |= reasoned < thinking
        || is_odd(
            usage,
            &["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"],
        );
    if let Some(tier) = label(usage.get("service_tier")) {
        reading.service_tier = Some(tier);
    }
    if usage.get("speed").and_then(Value::as_str) == Some("fast") {
        // Billed at its own rate, whatever tier it ran in.
        reading.service_tier = Some("fast".into());
    }
    reading.geo =
        label(usage.get("inference_geo")).filter(|geo| !matches!(&**geo, "global" | "not_available"));
    reading.usage = Some(counted);
}

/// The counts of one iteration, or of the whole.
fn entry(usage: Object<'_>) -> Usage {
    let written = count(usage, "cache_creation_input_tokens");
    let split = |key| inner(usage, "cache_creation", key);
    let (hour, minutes) = (split("ephemeral_1h_input_tokens"), split("ephemeral_5m_input_tokens"));
    // Without a total, the split is the total; in streams it may be older than the total.
    let written = if usage.contains_key("cache_creation_input_tokens") { written } else { hour + minutes };
    let hour = hour.min(written);
    Usage::new()
        .with(Bucket::Input, count(usage, "input_tokens"))
        .with(Bucket::CacheRead, count(usage, "cache_read_input_tokens"))
        .with(Bucket::CacheWrite, written - hour)
        .with(Bucket::CacheWrite1h, hour)
        .with(Bucket::Output, count(usage, "output_tokens"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, clippy::panic, reason = "tests")]

    use serde_json::json;

    use super::read;
    use crate::usage::{Bucket, Reading, tree::Tree};

    fn read_json(usage: &serde_json::Value, reading: &mut Reading) {
        let json = usage.to_string();
        let tree = Tree::read(json.as_bytes()).expect("JSON");
        read(tree.object().expect("an object"), reading);
    }

    #[test]
    fn cached_tokens_are_beside_the_input_and_each_lifetime_has_its_bucket() {
        let usage = json!({
            "input_tokens": 3, "cache_read_input_tokens": null, "cache_creation_input_tokens": 4566,
            "cache_creation": {"ephemeral_1h_input_tokens": 4000, "ephemeral_5m_input_tokens": 566},
            "output_tokens": 60, "output_tokens_details": {"thinking_tokens": 20},
            "server_tool_use": {"web_search_requests": 2}, "inference_geo": "us", "service_tier": "priority",
        });
        let mut reading = Reading::default();
        read_json(&usage, &mut reading);
        assert_eq!(
            reading.usage.expect("counted").iter().collect::<Vec<_>>(),
            [
                (Bucket::Input, 3),
                (Bucket::CacheWrite, 566),
                (Bucket::CacheWrite1h, 4000),
                (Bucket::Output, 40),
                (Bucket::Reasoning, 20),
                (Bucket::WebSearches, 2),
            ]
        );
        assert_eq!((reading.geo.as_deref(), reading.service_tier.as_deref()), (Some("us"), Some("priority")));
        assert!(!reading.inconsistent);
    }

    #[test]
    fn every_iteration_counts_at_its_own_model() {
        let usage = json!({
            "input_tokens": 10, "output_tokens": 5,
            "iterations": [
                {"type": "message", "input_tokens": 4, "output_tokens": 2},
                {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 100, "output_tokens": 7},
                {"type": "fallback_message", "model": "claude-x", "input_tokens": 9, "output_tokens": 9},
                {"type": "compaction", "input_tokens": 50, "output_tokens": 1},
                {"type": "message", "model": "claude-main", "input_tokens": 6, "output_tokens": 3},
            ],
        });
        let mut reading = Reading { model: Some("claude-main".into()), ..Reading::default() };
        read_json(&usage, &mut reading);
        let counted = reading.usage.expect("counted");
        assert_eq!((counted.input_tokens(), counted.output_tokens()), (60, 6));
        let [(model, advisor)] = &reading.elsewhere[..] else { panic!("one other model") };
        assert_eq!((&**model, advisor.input_tokens(), advisor.output_tokens()), ("claude-opus-4-8", 100, 7));
    }
}
