//! What an answer itself says it counted and charged, read without a line of payi's: the other side of the comparison.

use payi::money::Money;
use serde_json::{Map, Value};

/// The JSON documents of an answer: one, or those of a stream, or the messages of a session.
fn documents(recorded: &Value) -> Vec<Value> {
    let response = &recorded["response"];
    if let Some(frames) = recorded["frames"].as_array() {
        return frames.iter().filter(|f| f["direction"] != "sent").map(|f| f["event"].clone()).collect();
    }
    if let Some(events) = response["body_events"].as_array() {
        return events.clone();
    }
    if let Some(text) = response["body_text"].as_str() {
        let data = text.lines().map(|line| line.strip_prefix("data:").unwrap_or(line).trim());
        return data.filter_map(|data| serde_json::from_str(data).ok()).collect();
    }
    vec![response["body"].clone()]
}

/// Every usage in a document, those of the outermost object last.
fn usages<'v>(value: &'v Value, found: &mut Vec<&'v Map<String, Value>>) {
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                if !is_usage(key) {
                    usages(inner, found);
                }
            }
            let own = object.iter().filter(|(key, _)| is_usage(key));
            found.extend(own.filter_map(|(_, usage)| usage.as_object()).filter(|usage| !usage.is_empty()));
        }
        Value::Array(list) => list.iter().for_each(|inner| usages(inner, found)),
        _ => {}
    }
}

fn is_usage(key: &str) -> bool {
    key == "usage" || key == "usageMetadata"
}

/// How many tokens the answer says were used in all; over a session, all responses together.
pub(super) fn total(recorded: &Value) -> Option<u64> {
    let documents = documents(recorded);
    let mut all = Vec::new();
    for document in &*documents {
        usages(document, &mut all);
    }
    let named = |usage: &Map<String, Value>| {
        ["total_tokens", "totalTokenCount", "totalTokens"].iter().find_map(|key| usage.get(*key)?.as_u64())
    };
    let said = || all.iter().filter_map(|usage| named(usage));
    if recorded["frames"].is_array() {
        return said().reduce(|a, b| a + b);
    }
    said().next_back().or_else(|| anthropic(&all))
}

/// Anthropic's answers say no total: what was read afresh, from and into caches, and what was written; in a stream
/// what a later event leaves out stays. Where a list of iterations says more, those are billed.
fn anthropic(all: &[&Map<String, Value>]) -> Option<u64> {
    let mut usage = Map::new();
    for later in all {
        usage.extend(later.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())));
    }
    usage.get("cache_read_input_tokens").or(usage.get("service_tier"))?;
    let sum = |usage: &Map<String, Value>| {
        let counts =
            ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens"];
        counts.iter().filter_map(|key| usage.get(*key)?.as_u64()).sum::<u64>()
    };
    let iterations = usage.get("iterations").and_then(Value::as_array).filter(|list| !list.is_empty());
    Some(match iterations {
        Some(list) => list.iter().filter_map(Value::as_object).map(sum).sum(),
        None => sum(&usage),
    })
}

/// What the provider says it charges, in US dollars.
pub(super) fn cost(recorded: &Value) -> Option<Money> {
    let documents = documents(recorded);
    let mut all = Vec::new();
    for document in &*documents {
        usages(document, &mut all);
    }
    let mut said = all.iter().filter_map(|usage| {
        if let Some(ticks) = usage.get("cost_in_usd_ticks") {
            return Some(Money::from_pico(i128::from(ticks.as_u64()?) * 100));
        }
        let cost = usage.get("cost")?;
        let amount = if cost.is_object() { &cost["total_cost"] } else { cost };
        let text = format!("{:.12}", amount.as_f64()?);
        text.parse().ok()
    });
    said.next_back()
}
