//! How much a model writes at most in one answer, as LiteLLM's list has it, for the models of the book.
//!
//! A layer of its own, made once all prices are known: a limit never brings a model into the book.

use std::{collections::BTreeMap, fmt::Write as _};

use payi_core::pricing::{MatchKind, PriceBook};
use serde_json::{Map, Value};

use crate::litellm::{PROVIDERS, entry_of};

/// Providers of whom LiteLLM knows limits, but no price that the book takes.
const OTHERS: [(&str, &str, &str); 3] = [
    ("openrouter", "openrouter/", "openrouter"),
    ("vertex_ai-anthropic_models", "vertex_ai/", "anthropic"),
    ("zai", "zai/", "zai"),
];

/// What is known of one model: its limit under its own name, and the largest under any other.
#[derive(Default)]
struct Limit {
    own: Option<u64>,
    largest: u64,
}

pub(crate) fn book(data: &Map<String, Value>, source: &str) -> String {
    let known = PriceBook::embedded();
    let mut all: BTreeMap<(Box<str>, Box<str>), Limit> = BTreeMap::new();
    for (key, value) in data {
        let theirs = value.get("litellm_provider").and_then(Value::as_str).unwrap_or_default();
        let Some((_, prefix, provider)) = PROVIDERS.iter().chain(&OTHERS).find(|row| row.0 == theirs) else {
            continue;
        };
        let Some(most) = value.get("max_output_tokens").and_then(Value::as_u64).filter(|most| *most > 0)
        else {
            continue;
        };
        let name = key.strip_prefix(prefix).unwrap_or(key);
        let found = entry_of(known, provider, name);
        let Some(found) = found.filter(|m| m.kind < MatchKind::Similar && *m.provider == **provider) else {
            continue;
        };
        let own = found.model.eq_ignore_ascii_case(name);
        let limit = all.entry((found.provider, found.model)).or_default();
        limit.own = if own { Some(most) } else { limit.own };
        limit.largest = limit.largest.max(most);
    }
    let mut out = format!(
        "payi prices 1\n# Made by the workspace's pricebook program: how many tokens each model writes at most.\nsource {source}\n"
    );
    let mut last: Option<Box<str>> = None;
    for ((provider, model), limit) in all {
        if last.as_ref() != Some(&provider) {
            let _ = writeln!(out, "\nprovider {provider}");
        }
        let _ = writeln!(out, "model {model}\nmost output {}", limit.own.unwrap_or(limit.largest));
        last = Some(provider);
    }
    out
}
