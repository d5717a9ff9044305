//! Usage in Gemini's form: thoughts and tool use lie outside the counts of prompt and answer.

use crate::usage::{
    Bucket, Reading, Usage,
    answer::{count, is_odd, label},
    tree::{Object, Value},
};

/// Reads the `usageMetadata` of generated content.
pub(crate) fn read(usage: Object<'_>, reading: &mut Reading) {
    let (prompt, tools) = (count(usage, "promptTokenCount"), count(usage, "toolUsePromptTokenCount"));
    // A live session calls its answer a response.
    let live = usage.contains_key("responseTokenCount");
    let (said, details) = if live {
        ("responseTokenCount", "responseTokensDetails")
    } else {
        ("candidatesTokenCount", "candidatesTokensDetails")
    };
    let (answer, thoughts) = (count(usage, said), count(usage, "thoughtsTokenCount"));
    let total = count(usage, "totalTokenCount");
    let cached = count(usage, "cachedContentTokenCount").min(prompt);
    let sum = prompt.saturating_add(tools).saturating_add(answer).saturating_add(thoughts);
    let mut counted = Usage::new();
    let mut left = prompt - cached;
    let mut cached_text = cached;
    for (modality, fresh, from_cache) in [
        ("AUDIO", Bucket::AudioInput, Some(Bucket::AudioCacheRead)),
        ("IMAGE", Bucket::ImageInput, Some(Bucket::ImageCacheRead)),
        ("VIDEO", Bucket::VideoInput, None),
    ] {
        let hit = modal(usage, "cacheTokensDetails", modality).min(cached_text);
        if let Some(bucket) = from_cache {
            cached_text -= hit;
            counted.set(bucket, hit);
        }
        let n = modal(usage, "promptTokensDetails", modality).saturating_sub(hit).min(left);
        left -= n;
        counted.set(fresh, n);
    }
    counted.set(Bucket::Input, left.saturating_add(tools));
    counted.set(Bucket::CacheRead, cached_text);
    let mut written = answer;
    for (modality, bucket) in [("AUDIO", Bucket::AudioOutput), ("IMAGE", Bucket::ImageOutput)] {
        let n = modal(usage, details, modality).min(written);
        written -= n;
        counted.set(bucket, n);
    }
    counted.set(Bucket::Output, written);
    counted.set(Bucket::Reasoning, thoughts);
    // The total of a live session leaves out its thoughts.
    let whole = total == 0 || total == sum || (live && total == sum - thoughts);
    reading.inconsistent |=
        !whole || is_odd(usage, &["promptTokenCount", said, "thoughtsTokenCount", "totalTokenCount"]);
    // Vertex says it in another word, also where it is the usual one.
    let traffic = || label(usage.get("trafficType")).filter(|traffic| &**traffic != "ON_DEMAND");
    if let Some(tier) = label(usage.get("serviceTier")).or_else(traffic) {
        reading.service_tier = Some(tier);
    }
    reading.usage = Some(counted);
}

fn modal(usage: Object<'_>, list: &str, modality: &str) -> u64 {
    let is = |entry: &Object<'_>| {
        let said = entry.get("modality").and_then(Value::as_str).unwrap_or_default();
        // The pages of a document are read as pictures.
        said == modality || (said == "DOCUMENT" && modality == "IMAGE")
    };
    let entries = usage.get(list).into_iter().flat_map(Value::elements);
    entries
        .filter_map(Value::as_object)
        .filter(|entry| is(entry))
        .fold(0, |sum: u64, entry| sum.saturating_add(count(entry, "tokenCount")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, clippy::panic, reason = "tests")]

    use serde_json::json;

    use super::read;
    use crate::usage::{Bucket, Reading, tree::Tree};

    #[test]
    fn vertex_says_its_tier_as_a_kind_of_traffic() {
        let tier = |said: serde_json::Value| {
            let mut usage = json!({"promptTokenCount": 5, "candidatesTokenCount": 1, "totalTokenCount": 6});
            usage.as_object_mut().expect("an object").extend(said.as_object().expect("one more").clone());
            let (json, mut reading) = (usage.to_string(), Reading::default());
            read(Tree::read(json.as_bytes()).expect("JSON").object().expect("an object"), &mut reading);
            reading.service_tier
        };
        assert_eq!(tier(json!({"trafficType": "ON_DEMAND"})), None);
        assert_eq!(tier(json!({"trafficType": "ON_DEMAND_FLEX"})).as_deref(), Some("ON_DEMAND_FLEX"));
        assert_eq!(tier(json!({"serviceTier": "flex"})).as_deref(), Some("flex"));
    }

    #[test]
    fn thoughts_and_tool_use_are_added_and_modalities_taken_out() {
        let usage = json!({
            "promptTokenCount": 300, "cachedContentTokenCount": 100, "toolUsePromptTokenCount": 7,
            "candidatesTokenCount": 50, "thoughtsTokenCount": 20, "totalTokenCount": 377,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 42}, {"modality": "IMAGE", "tokenCount": 258}],
            "cacheTokensDetails": [{"modality": "IMAGE", "tokenCount": 90}, {"modality": "TEXT", "tokenCount": 10}],
            "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 8}],
        });
        let mut reading = Reading::default();
        let json = usage.to_string();
        let tree = Tree::read(json.as_bytes()).expect("JSON");
        read(tree.object().expect("an object"), &mut reading);
        let counted = reading.usage.expect("counted");
        assert_eq!(
            counted.iter().collect::<Vec<_>>(),
            [
                (Bucket::Input, 39),
                (Bucket::CacheRead, 10),
                (Bucket::ImageInput, 168),
                (Bucket::ImageCacheRead, 90),
                (Bucket::Output, 42),
                (Bucket::Reasoning, 20),
                (Bucket::AudioOutput, 8),
            ]
        );
        assert_eq!(counted.input_tokens() + counted.output_tokens(), 377);
        assert!(!reading.inconsistent);
    }

    #[test]
    fn a_live_session_has_names_of_its_own_and_thoughts_outside_its_total() {
        let usage = json!({
            "promptTokenCount": 1197, "responseTokenCount": 37, "totalTokenCount": 1234, "thoughtsTokenCount": 28,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1196}, {"modality": "AUDIO", "tokenCount": 1}],
            "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 37}],
        });
        let mut reading = Reading::default();
        let json = usage.to_string();
        let tree = Tree::read(json.as_bytes()).expect("JSON");
        read(tree.object().expect("an object"), &mut reading);
        assert_eq!(
            reading.usage.expect("counted").iter().collect::<Vec<_>>(),
            [
                (Bucket::Input, 1196),
                (Bucket::AudioInput, 1),
                (Bucket::Reasoning, 28),
                (Bucket::AudioOutput, 37)
            ]
        );
        assert!(!reading.inconsistent);
    }
}
