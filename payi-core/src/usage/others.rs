//! Usage in the forms of Bedrock's Converse, Gemini's interactions and Cohere.

use crate::usage::{
    Bucket, Reading, Usage,
    answer::{count, is_odd},
    tree::{Object, Value},
};

/// Bedrock: what was cached lies beside the input, except at models that count it in; the total tells.
pub(crate) fn converse(usage: Object<'_>, reading: &mut Reading) {
    let either = |a: &str, b: &str| if usage.contains_key(a) { count(usage, a) } else { count(usage, b) };
    let (input, output) =
        (either("inputTokens", "inputTokenCount"), either("outputTokens", "outputTokenCount"));
    let read = either("cacheReadInputTokens", "cacheReadInputTokenCount");
    let written = either("cacheWriteInputTokens", "cacheWriteInputTokenCount");
    let total = count(usage, "totalTokens");
    let cached = read.saturating_add(written);
    let inside = cached > 0 && cached <= input && total == input.saturating_add(output);
    let fresh = if inside { input - cached } else { input };
    let hour = counted_of(usage, "cacheDetails", ("ttl", "1h"), "inputTokens").min(written);
    let sum = fresh.saturating_add(cached).saturating_add(output);
    reading.inconsistent |=
        (total > 0 && total != sum) || is_odd(usage, &["inputTokens", "outputTokens", "totalTokens"]);
    reading.usage = Some(
        Usage::new()
            .with(Bucket::Input, fresh)
            .with(Bucket::CacheRead, read)
            .with(Bucket::CacheWrite, written - hour)
            .with(Bucket::CacheWrite1h, hour)
            .with(Bucket::Output, output),
    );
}

/// Gemini's interactions: thoughts and tool use outside, as in its older form; the cached ones inside.
pub(crate) fn interactions(usage: Object<'_>, reading: &mut Reading) {
    let n = |key| count(usage, key);
    let input = n("total_input_tokens");
    let cached = n("total_cached_tokens").min(input);
    let (answer, thoughts) = (n("total_output_tokens"), n("total_thought_tokens"));
    let tools = n("total_tool_use_tokens");
    let total = n("total_tokens");
    reading.inconsistent |=
        total > 0 && total != input.saturating_add(tools).saturating_add(answer).saturating_add(thoughts);
    let mut counted = Usage::new()
        .with(Bucket::CacheRead, cached)
        .with(Bucket::Output, answer)
        .with(Bucket::Reasoning, thoughts);
    let mut left = input - cached;
    for (modality, bucket) in
        [("audio", Bucket::AudioInput), ("image", Bucket::ImageInput), ("video", Bucket::VideoInput)]
    {
        let of = ("modality", modality);
        let n = counted_of(usage, "input_tokens_by_modality", of, "tokens").min(left);
        left -= n;
        counted.set(bucket, n);
    }
    counted.set(Bucket::Input, left.saturating_add(tools));
    reading.usage = Some(counted);
}

/// Cohere bills its billed units, and not the raw tokens that it also counts.
pub(crate) fn cohere(usage: Object<'_>, reading: &mut Reading) {
    let billed = usage.get("billed_units").and_then(Value::as_object).unwrap_or(usage);
    reading.usage = Some(
        Usage::new()
            .with(Bucket::Input, count(billed, "input_tokens"))
            .with(Bucket::Output, count(billed, "output_tokens"))
            .with(Bucket::SearchUnits, count(billed, "search_units"))
            .with(Bucket::Images, count(billed, "images")),
    );
}

/// Of the entries in `list`, the counts under `name` of those in which a key has a value.
fn counted_of(usage: Object<'_>, list: &str, (key, value): (&str, &str), name: &str) -> u64 {
    let entries = usage.get(list).into_iter().flat_map(Value::elements).filter_map(Value::as_object);
    let of_them = entries.filter(|entry| entry.get(key).and_then(Value::as_str) == Some(value));
    of_them.fold(0, |sum: u64, entry| sum.saturating_add(count(entry, name)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "tests")]

    use serde_json::{Value, json};

    use super::{cohere, converse, interactions};
    use crate::usage::{
        Bucket, Reading,
        tree::{Object, Tree},
    };

    fn buckets(read: fn(Object<'_>, &mut Reading), usage: &Value) -> (Vec<(Bucket, u64)>, bool) {
        let mut reading = Reading::default();
        let json = usage.to_string();
        let tree = Tree::read(json.as_bytes()).expect("JSON");
        read(tree.object().expect("an object"), &mut reading);
        (reading.usage.expect("counted").iter().collect(), reading.inconsistent)
    }

    #[test]
    fn every_form_ends_in_buckets_that_do_not_overlap() {
        use Bucket::{CacheRead, CacheWrite, CacheWrite1h, Input, Output, Reasoning, SearchUnits};
        for (read, usage, expected, inconsistent) in [
            (
                converse as fn(Object<'_>, &mut Reading),
                json!({"inputTokens": 5, "outputTokens": 7, "cacheReadInputTokens": 100, "cacheWriteInputTokens": 30,
                       "cacheDetails": [{"ttl": "1h", "inputTokens": 10}, {"ttl": "5m", "inputTokens": 20}], "totalTokens": 142}),
                vec![(Input, 5), (CacheRead, 100), (CacheWrite, 20), (CacheWrite1h, 10), (Output, 7)],
                false,
            ),
            (
                converse,
                json!({"inputTokens": 105, "outputTokens": 7, "cacheReadInputTokens": 100, "totalTokens": 112}),
                vec![(Input, 5), (CacheRead, 100), (Output, 7)],
                false,
            ),
            (
                converse,
                json!({"inputTokens": 5, "outputTokens": 7, "totalTokens": 13}),
                vec![(Input, 5), (Output, 7)],
                true,
            ),
            (
                interactions,
                json!({"total_input_tokens": 156, "total_cached_tokens": 50, "total_output_tokens": 34,
                       "total_thought_tokens": 118, "total_tool_use_tokens": 4, "total_tokens": 312}),
                vec![(Input, 110), (CacheRead, 50), (Output, 34), (Reasoning, 118)],
                false,
            ),
            (
                cohere,
                json!({"billed_units": {"input_tokens": 6, "output_tokens": 2}, "cached_tokens": 448,
                       "tokens": {"input_tokens": 501, "output_tokens": 5}}),
                vec![(Input, 6), (Output, 2)],
                false,
            ),
            (cohere, json!({"search_units": 1}), vec![(SearchUnits, 1)], false),
        ] {
            assert_eq!(buckets(read, &usage), (expected, inconsistent), "{usage}");
        }
    }
}
