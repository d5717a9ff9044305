//! What LiteLLM's list has and the book lacks: models, prices of sound and pictures, service tiers.
//!
//! Where both have a model, the book's prices stay; LiteLLM's are taken for what is missing, and only
//! if the two agree on the price of text.

use std::{collections::BTreeMap, fmt::Write as _};

use payi_core::{
    money::Money,
    pricing::{Entry, Listed, Matched, PriceBook, Priced, Selector},
    usage::{Bucket, Usage},
};
use serde_json::{Map, Value};

use crate::decimal;

/// LiteLLM's providers, the prefix of their models' names, and ours.
pub(crate) const PROVIDERS: [(&str, &str, &str); 19] = [
    ("openai", "", "openai"),
    ("anthropic", "", "anthropic"),
    ("gemini", "gemini/", "google"),
    ("vertex_ai-language-models", "vertex_ai/", "google"),
    ("azure", "azure/", "azure"),
    ("bedrock", "bedrock/", "aws"),
    ("bedrock_converse", "bedrock/", "aws"),
    ("mistral", "mistral/", "mistral"),
    ("groq", "groq/", "groq"),
    ("xai", "xai/", "x-ai"),
    ("deepseek", "deepseek/", "deepseek"),
    ("cohere", "cohere/", "cohere"),
    ("cohere_chat", "cohere/", "cohere"),
    ("together_ai", "together_ai/", "together"),
    ("fireworks_ai", "fireworks_ai/", "fireworks"),
    ("voyage", "voyage/", "voyageai"),
    ("perplexity", "perplexity/", "perplexity"),
    ("cerebras", "cerebras/", "cerebras"),
    ("moonshot", "moonshot/", "moonshotai"),
];

/// Our keys and the beginnings of theirs, for tokens.
const TOKENS: [(&str, &str); 12] = [
    ("input", "input_cost_per_token"),
    ("cache_read", "cache_read_input_token_cost"),
    ("cache_write", "cache_creation_input_token_cost"),
    ("cache_write_1h", "cache_creation_input_token_cost_above_1hr"),
    ("audio_input", "input_cost_per_audio_token"),
    ("audio_cache_read", "cache_read_input_audio_token_cost"),
    ("image_input", "input_cost_per_image_token"),
    ("image_cache_read", "cache_read_input_image_token_cost"),
    ("video_input", "input_cost_per_video_token"),
    ("output", "output_cost_per_token"),
    ("audio_output", "output_cost_per_audio_token"),
    ("image_output", "output_cost_per_image_token"),
];

const TIERS: [(&str, &str); 3] = [("batch", "_batches"), ("flex", "_flex"), ("priority", "_priority")];
/// Entries whose price is a slip: 100 USD for a million tokens, where its sisters cost 0.1.
const SLIPS: [&str; 1] = ["embed-multilingual-light-v3.0"];

const STEPS: [u64; 5] = [100, 128, 200, 272, 512];

pub(crate) fn book(
    data: &Map<String, Value>,
    known: &PriceBook,
    source: &str,
    now_us: i64,
) -> Result<String, String> {
    let mut all: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    for (key, value) in data {
        let Some(model) = value.as_object() else { continue };
        let theirs = model.get("litellm_provider").and_then(Value::as_str).unwrap_or_default();
        let Some((_, prefix, provider)) = PROVIDERS.iter().find(|row| row.0 == theirs) else { continue };
        let mode = model.get("mode").and_then(Value::as_str).unwrap_or_default();
        let name = key.strip_prefix(prefix).unwrap_or(key);
        // Paths of regions, sizes of pictures and deployments are not names that an answer gives.
        let odd = name.contains(' ')
            || name.contains("-x-")
            || (name.contains('/') && ["aws", "azure"].contains(provider));
        // Bedrock's Claude without a prefix runs in its region, a tenth dearer than LiteLLM has it.
        let regional = *provider == "aws" && (name.starts_with("anthropic.") || name.contains('@'));
        if odd
            || regional
            || SLIPS.contains(&name)
            || !["chat", "completion", "responses", "embedding", "audio_transcription"].contains(&mode)
        {
            continue;
        }
        let lines = match find(known, provider, name) {
            Some(entry) => completed(&entry, model, provider, now_us),
            None if resold(known, provider, name) => None,
            // Azure's are old, and named after deployments.
            None if *provider == "azure" || name.starts_with("fireworks-ai-") => None,
            None => added(name, model, provider),
        };
        if let Some((id, lines)) = lines.transpose().map_err(|why| format!("{key}: {why}"))? {
            all.entry(provider).or_default().entry(id).or_insert(lines);
        }
    }
    let mut out = format!(
        "payi prices 1\n# Made by the workspace's pricebook program; corrections go into corrections.txt.\nsource {source}\n"
    );
    for (provider, models) in all {
        let _ = writeln!(out, "\nprovider {provider}");
        for (id, lines) in models {
            let _ = write!(out, "model {id}\n{lines}");
        }
    }
    Ok(out)
}

type Lines = Option<Result<(String, String), String>>;

/// The book's entry under that name in that provider's own list.
fn find<'b>(known: &'b PriceBook, provider: &str, name: &str) -> Option<Entry<'b>> {
    let matched = matched(known, provider, name)?;
    known
        .models()
        .find(|e| e.provider() == provider && *e.provider() == *matched.0 && *e.model() == *matched.1)
}

fn resold(known: &PriceBook, provider: &str, name: &str) -> bool {
    matched(known, provider, name).is_some()
}

fn matched(known: &PriceBook, provider: &str, name: &str) -> Option<(Box<str>, Box<str>)> {
    entry_of(known, provider, name).map(|m| (m.provider, m.model))
}

/// How the book finds that name.
pub(crate) fn entry_of(known: &PriceBook, provider: &str, name: &str) -> Option<Matched> {
    let usage = Usage::new().with(Bucket::Input, 1);
    let what =
        Priced { provider, model: name, at_us: i64::MAX, service_tier: None, geo: None, usage: &usage };
    known.explain(&what).matched
}

/// What LiteLLM knows of a model that the book has.
fn completed(entry: &Entry<'_>, model: &Map<String, Value>, provider: &str, now_us: i64) -> Lines {
    let prices = entry.prices();
    let in_force = |l: &&Listed| l.of.is_none() && l.from_us.is_none_or(|from| from <= now_us);
    let usual = prices.iter().rev().find(in_force)?;
    let has = |item: &str| usual.rates.iter().any(|rate| rate.item == item);
    let agrees = |(item, theirs)| {
        let ours = usual.rates.iter().find(|rate| rate.item == item).map(|rate| rate.price.usd.to_string());
        Some(ours) == number(model, theirs).map(Result::ok).or(Some(None))
    };
    if ![("input", "input_cost_per_token"), ("output", "output_cost_per_token")].into_iter().all(agrees) {
        return None;
    }
    // What costs the same as text needs no price of its own, and is right for long requests too.
    let same = |item: &str| {
        let text = if item.ends_with("output") { "output_cost_per_token" } else { "input_cost_per_token" };
        let theirs = TOKENS.iter().find(|row| row.0 == item).map(|row| row.1);
        theirs.is_some_and(|theirs| number(model, theirs) == number(model, text))
    };
    let other =
        |item: &str| ["audio", "image", "video"].iter().any(|kind| item.starts_with(kind)) && !same(item);
    let write = || -> Result<String, String> {
        let mut lines = String::new();
        let extra = rates(model, "", provider, |item| other(item) && !has(item))?;
        if !extra.is_empty() {
            let _ = writeln!(lines, "extra{extra}");
        }
        for (tier, suffix) in TIERS {
            let listed =
                |l: &Listed| l.of.as_ref().is_some_and(|(s, n)| *s == Selector::Tier && **n == *tier);
            let rates = rates(model, suffix, provider, |item| has(item) || other(item))?;
            if credible(model, suffix) && !prices.iter().any(listed) {
                let _ = writeln!(lines, "tier {tier}{rates}");
            }
        }
        Ok(lines)
    };
    match write() {
        Ok(lines) if lines.is_empty() => None,
        lines => Some(lines.map(|lines| (entry.model().to_owned(), lines))),
    }
}

/// A model that the book lacks.
fn added(name: &str, model: &Map<String, Value>, provider: &str) -> Lines {
    let write = || -> Result<String, String> {
        let mut lines = String::new();
        let mut usual = rates(model, "", provider, |_| true)?;
        if let Some(hour) = model.get("input_cost_per_second").filter(|_| !usual.contains(" audio_input=")) {
            let _ = write!(usual, " audio_ms={}", decimal::times(&decimal::number(hour)?, 3_600)?);
        }
        if usual.is_empty() {
            return Ok(lines);
        }
        let _ = writeln!(lines, "price{usual}");
        for (tier, suffix) in TIERS {
            let rates = rates(model, suffix, provider, |_| true)?;
            if credible(model, suffix) {
                let _ = writeln!(lines, "tier {tier}{rates}");
            }
        }
        Ok(lines)
    };
    match write() {
        Ok(lines) if lines.is_empty() => None,
        lines => Some(lines.map(|lines| (name.to_owned(), lines))),
    }
}

fn rates(
    model: &Map<String, Value>,
    tier: &str,
    provider: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<String, String> {
    let mut out = String::new();
    for (ours, theirs) in TOKENS.into_iter().filter(|(ours, _)| wanted(ours)) {
        let Some(base) = number(model, &format!("{theirs}{tier}")) else { continue };
        let _ = write!(out, " {ours}={}", base?);
        for step in STEPS {
            if let Some(price) = number(model, &format!("{theirs}_above_{step}k_tokens{tier}")) {
                let from = if provider == "x-ai" { ">=" } else { ">" };
                let _ = write!(out, "{from}{}:{}", step * 1_000, price?);
            }
        }
    }
    Ok(out)
}

/// A tier's prices of input and output are the usual ones by one factor; where they are not, one of the
/// two is a slip.
fn credible(model: &Map<String, Value>, tier: &str) -> bool {
    let pico = |key: &str| number(model, key).and_then(Result::ok).and_then(|usd| usd.parse::<Money>().ok());
    let pair = |name: &str| (pico(name), pico(&format!("{name}{tier}")));
    match (pair("input_cost_per_token"), pair("output_cost_per_token")) {
        ((Some(a), Some(b)), (Some(c), Some(d))) => a.pico() * d.pico() == b.pico() * c.pico(),
        ((Some(_), Some(_)), (None, None)) => true,
        _ => false,
    }
}

/// A price for a token as one for a million; none where it is nothing, which here means unknown.
fn number(model: &Map<String, Value>, key: &str) -> Option<Result<String, String>> {
    let price = model.get(key).filter(|price| price.is_number())?;
    let million = decimal::number(price).and_then(|price| decimal::times(&price, 1_000_000));
    (million != Ok("0".to_owned())).then_some(million)
}
