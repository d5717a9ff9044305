//! The book against others' programs, on their answers to random usages.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and shows its figure")]

use std::collections::BTreeMap;

use serde_json::Value;

use super::{CostSource, PriceBook, Query};
use crate::money::Money;

/// A cost of an oracle in pico-dollars; more digits than twelve are rounding noise of its own.
fn pico(answer: &Value) -> Option<i128> {
    let text = answer.get("cost")?.as_str()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = &fraction[..fraction.len().min(12)];
    format!("{whole}.{fraction}").trim_end_matches('.').parse::<Money>().ok().map(Money::pico)
}

/// Equal to 1e-9, relative, or to 1e-9 USD: how the oracles' own agreement is measured.
fn near(a: i128, b: i128) -> bool {
    (a - b).abs() <= (a.max(b) / 1_000_000_000).max(1_000)
}

/// Where the oracles differ: provider, a part of the model's name, the case; who is right, and why.
/// The first row that fits counts.
const VERDICTS: &[(&str, &str, &str, &str)] = &[
    ("anthropic", "sonnet-4-5", "", "LiteLLM: the long price ended on 2026-04-30 (before, genai-prices)"),
    ("mistral", "mistral-large-latest", "", "LiteLLM: `latest` is Large 3"),
    ("mistral", "codestral-latest", "cached", "LiteLLM: cached input costs a tenth (model-prices agrees)"),
    (
        "mistral",
        "mistral-embed",
        "",
        "not settled: embeddings write nothing, so that the price of output never counts",
    ),
    ("vertex", "gemma-4", "", "LiteLLM, or nobody: an entry without prices (genai-prices) is not free"),
    ("google", "gemini-3.5-flash", "batch", "LiteLLM: half price (model-prices agrees)"),
    ("google", "gemini-3.7-flash", "batch", "LiteLLM: half price (model-prices agrees)"),
    ("google", "gemini-robotics-er-2-preview", "batch", "LiteLLM: half price (model-prices agrees)"),
    ("x-ai", "grok-4.20", "batch", "genai-prices: 20 % off (docs.x.ai; model-prices agrees)"),
    ("x-ai", "grok-4.", "batch", "neither: 20 % off (docs.x.ai; model-prices)"),
    ("x-ai", "grok-code-fast", "", "genai-prices (model-prices agrees)"),
    ("deepseek", "deepseek-v3.2", "", "neither: 0.28 and 0.42 (model-prices)"),
    ("deepseek", "", "", "neither: the name has left the price list; its last price, as an estimate"),
    (
        "perplexity",
        "sonar",
        "",
        "neither: the request's fee is that of a low search (21 of 21 recorded answers)",
    ),
    ("openai", "gpt-4o-search-preview", "batch", "LiteLLM: half price, as all of OpenAI's batches"),
    ("openai", "ft:gpt-4o", "cached", "LiteLLM: cached input at half price"),
    ("openai", "transcribe", "audio", "genai-prices: audio has a price of its own"),
    (
        "aws",
        "eu.amazon.nova",
        "",
        "LiteLLM, as an estimate: Europe is dearer, model-prices gives another figure",
    ),
    ("aws", "apac.amazon.nova", "", "LiteLLM (model-prices agrees)"),
    ("aws", "global.", "long", "not settled: genai-prices kept (AWS price list API)"),
    ("aws", "us-gov", "", "not settled: genai-prices kept; LiteLLM adds a fifth for GovCloud"),
    (
        "aws",
        "claude",
        "",
        "genai-prices: without `global.` a model runs in its region, a tenth dearer (docs.aws.amazon.com)",
    ),
    ("azure", "", "", "genai-prices: `Global` deployments; others depend on the deployment, not the name"),
    (
        "",
        "",
        "web_search",
        "genai-prices: 10 USD for a thousand (LiteLLM's figure is for another size of search, or none)",
    ),
    (
        "",
        "",
        "batch",
        "neither: no batch price is published; the usual price, as an estimate (LiteLLM assumes half)",
    ),
    ("", "", "flex", "neither: no flex price is published; the usual price, as an estimate"),
    ("", "", "priority", "neither: no priority price is published; the usual price, as an estimate"),
];

fn verdict(provider: &str, model: &str, case: &str) -> &'static str {
    let fits = |row: &&(&str, &str, &str, &str)| {
        (row.0.is_empty() || row.0 == provider) && model.contains(row.1) && case.contains(row.2)
    };
    VERDICTS.iter().find(fits).map_or("not settled: genai-prices kept", |row| row.3)
}

/// How often, and an example.
type Row = (usize, String);

#[test]
#[ignore = "evidence"]
fn oracle() {
    let Ok(path) = std::env::var("PAYI_ORACLE") else {
        println!("PAYI_ORACLE names no file of answers: run `.ci/evidence oracle`");
        return;
    };
    let (mut agreeing, mut wrong) = (0, Vec::new());
    let mut table: BTreeMap<(&str, &str), Row> = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let query = Query::read(line).unwrap();
        let ours = query.explain(PriceBook::embedded(), &query.usage().unwrap());
        let Some((genai, litellm)) = pico(&row["genai"]).zip(pico(&row["litellm"])) else { continue };
        let cost = ours.cost.known().map(Money::pico);
        let is = |other| cost.is_some_and(|cost| near(cost, other));
        if near(genai, litellm) {
            agreeing += 1;
            if !is(genai) {
                wrong.push(format!("{line}\n{ours}"));
            }
            continue;
        }
        let who = match ours.cost.source {
            CostSource::Unpriced => "unpriced",
            _ if is(genai) => "as genai-prices",
            _ if is(litellm) => "as LiteLLM",
            _ => "as neither",
        };
        let case = row["case"].as_str().unwrap_or_default();
        let why = verdict(&query.provider, &query.model, case);
        let example = || format!("{}/{} {case}", query.provider, query.model);
        table.entry((who, why)).or_insert_with(|| (0, example())).0 += 1;
    }
    println!("{:>6}  {:<16} {:<100} for example", "usages", "we price", "right is");
    for ((who, why), (count, example)) in &table {
        println!("{count:>6}  {who:<16} {why:<100} {example}");
    }
    for line in wrong.iter().take(20) {
        println!("wrong {line}");
    }
    let differing: usize = table.values().map(|row| row.0).sum();
    println!(
        "evidence oracle: {} of {agreeing} usages on which both oracles agree cost the same here; {differing} on which they differ, in a table of {} rows",
        agreeing - wrong.len(),
        table.len()
    );
    assert!(agreeing > 10_000 && wrong.is_empty());
}
