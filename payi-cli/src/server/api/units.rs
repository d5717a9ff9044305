//! Pay-i's units into what was used: each name to the one bucket it counts.

use payi_core::usage::{Bucket, Usage};
use serde_json::{Map, Value};

use crate::server::api::error::Refusal;

/// One unit: its name, and its two sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) name: String,
    pub(crate) input: u64,
    pub(crate) output: u64,
}

/// Reads `{"text": {"input": 1, "output": 2}}`. A bare number is an input, as one SDK sends it.
pub(crate) fn read(units: &Map<String, Value>) -> Result<Vec<Unit>, Refusal> {
    units.iter().map(|(name, unit)| one(name, unit)).collect()
}

fn one(name: &str, unit: &Value) -> Result<Unit, Refusal> {
    let refuse =
        || Refusal::bad("invalid_json", "a unit is {\"input\": n, \"output\": n}, with whole numbers from 0");
    let count = |value: Option<&Value>| match value {
        None | Some(Value::Null) => Ok(0),
        Some(value) => value.as_u64().filter(|n| i64::try_from(*n).is_ok()).ok_or_else(refuse),
    };
    let (input, output) = match unit {
        Value::Object(sides) => (count(sides.get("input"))?, count(sides.get("output"))?),
        value => (count(Some(value))?, 0),
    };
    Ok(Unit { name: name.chars().take(200).collect(), input, output })
}

use Bucket as B;

/// What a unit's two sides are counted in. Of two names for one bucket, the first is the usual one.
const BUCKETS: [(&str, Option<Bucket>, Option<Bucket>); 19] = [
    ("text", Some(B::Input), Some(B::Output)),
    ("text_cache_read", Some(B::CacheRead), None),
    ("text_cache_write", Some(B::CacheWrite), None),
    ("text_cache_write_1h", Some(B::CacheWrite1h), None),
    ("reasoning", None, Some(B::Reasoning)),
    ("vision", Some(B::ImageInput), Some(B::ImageOutput)),
    ("image", Some(B::ImageInput), Some(B::ImageOutput)),
    ("vision_cache_read", Some(B::ImageCacheRead), None),
    ("image_cache_read", Some(B::ImageCacheRead), None),
    ("audio", Some(B::AudioInput), Some(B::AudioOutput)),
    ("audio_cache_read", Some(B::AudioCacheRead), None),
    ("video", Some(B::VideoInput), None),
    ("web_search_request", None, Some(B::WebSearches)),
    ("file_search_request", None, Some(B::FileSearches)),
    ("audio_ms", Some(B::AudioMillis), None),
    ("images", None, Some(B::Images)),
    ("characters", Some(B::Characters), None),
    ("pages", Some(B::Pages), None),
    ("search_units", Some(B::SearchUnits), None),
];

fn buckets(name: &str) -> (Option<Bucket>, Option<Bucket>) {
    let name = name.strip_suffix("_large_context").unwrap_or(name);
    BUCKETS
        .iter()
        .find(|(unit, ..)| *unit == name)
        .map_or((None, None), |(_, input, output)| (*input, *output))
}

/// The unit that a bucket, or what else a line of a bill is for, is a side of, and whether that is its output.
pub(crate) fn of_item(item: &str) -> (&str, bool) {
    let is = |bucket: &Option<Bucket>| bucket.is_some_and(|bucket| bucket.name() == item);
    let unit = BUCKETS.iter().find(|(_, input, output)| is(input) || is(output));
    unit.map_or((item, false), |(name, _, output)| (*name, is(output)))
}

/// Whether a bucket, or what else a line of a bill is for, counts something that was written.
pub(crate) fn is_output(item: &str) -> bool {
    of_item(item).1
}

/// Counts by the names of buckets, as units: both sides of one together.
pub(crate) fn named<'i>(counts: impl IntoIterator<Item = (&'i str, u64)>) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    for (item, count) in counts {
        let (name, written) = of_item(item);
        let (input, output) = if written { (0, count) } else { (count, 0) };
        match units.iter_mut().find(|unit| unit.name == name) {
            Some(unit) => {
                unit.input += input;
                unit.output += output;
            }
            None => units.push(Unit { name: name.to_owned(), input, output }),
        }
    }
    units
}

/// What was used, and the units that no bucket counts.
pub(crate) fn usage(units: &[Unit]) -> (Usage, Vec<Unit>) {
    let mut usage = Usage::new();
    let mut unknown = Vec::new();
    for unit in units {
        let (input, output) = buckets(&unit.name);
        let mut left = Unit { name: unit.name.clone(), input: 0, output: 0 };
        for (count, bucket, rest) in
            [(unit.input, input, &mut left.input), (unit.output, output, &mut left.output)]
        {
            match bucket {
                Some(bucket) => usage.set(bucket, usage.get(bucket).saturating_add(count)),
                None => *rest = count,
            }
        }
        if left.input + left.output > 0 {
            unknown.push(left);
        }
    }
    (usage, unknown)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn every_unit_of_the_sdk_has_its_bucket() {
        let json = serde_json::json!({
            "text": {"input": 36, "output": 10}, "text_cache_read": {"input": 64, "output": 0},
            "reasoning": {"output": 20}, "text_cache_write_1h_large_context": {"input": 5},
            "text_cache_write": 7, "guardrail_topic": {"input": 2}, "web_search_request": {"output": 1},
        });
        let (usage, unknown) = usage(&read(json.as_object().unwrap()).unwrap());
        let expected = Usage::new()
            .with(Bucket::Input, 36)
            .with(Bucket::Output, 10)
            .with(Bucket::CacheRead, 64)
            .with(Bucket::Reasoning, 20)
            .with(Bucket::CacheWrite1h, 5)
            .with(Bucket::CacheWrite, 7)
            .with(Bucket::WebSearches, 1);
        assert_eq!(usage, expected);
        assert_eq!(unknown, [Unit { name: "guardrail_topic".into(), input: 2, output: 0 }]);
    }

    #[test]
    fn buckets_go_back_to_the_units_they_came_from() {
        let json = serde_json::json!({
            "text": {"input": 36, "output": 10}, "reasoning": {"output": 20}, "web_search_request": {"output": 1},
        });
        let units = read(json.as_object().unwrap()).unwrap();
        let (usage, _) = usage(&units);
        let mut back = named(usage.iter().map(|(bucket, count)| (bucket.name(), count)));
        back.sort_by_key(|unit| units.iter().position(|u| u.name == unit.name));
        assert_eq!(back, units);
    }

    #[test]
    fn counts_are_whole_and_not_negative() {
        for bad in [
            serde_json::json!({"text": {"input": -1}}),
            serde_json::json!({"text": {"input": 1.5}}),
            serde_json::json!({"text": "3"}),
            serde_json::json!({"text": {"input": u64::MAX}}),
        ] {
            assert!(read(bad.as_object().unwrap()).is_err(), "{bad}");
        }
    }
}
