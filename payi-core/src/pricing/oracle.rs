//! The book against others' programs, on their answers to random usages.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and shows its figure")]

use std::collections::BTreeMap;

use serde_json::Value;

use super::{PriceBook, Query};
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

#[test]
#[ignore = "evidence"]
fn oracle() {
    let Ok(path) = std::env::var("PAYI_ORACLE") else {
        println!("PAYI_ORACLE names no file of answers: run .ci/evidence oracle");
        return;
    };
    let (mut agreeing, mut wrong, mut other) = (0, Vec::new(), BTreeMap::new());
    let mut estimated = std::collections::BTreeSet::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let query = Query::read(line).unwrap();
        let Ok(usage) = query.usage() else { continue };
        let ours = query.explain(PriceBook::embedded(), &usage);
        let (genai, litellm) = (pico(&row["genai"]), pico(&row["litellm"]));
        let Some((genai, litellm)) = genai.zip(litellm) else { continue };
        if ours.cost.source == super::CostSource::Estimated {
            estimated.insert(format!("{} {} {}", query.provider, query.model, row["case"]));
        }
        let cost = ours.cost.known().map(Money::pico);
        if near(genai, litellm) {
            agreeing += 1;
            if cost.is_none_or(|cost| !near(cost, genai)) {
                wrong.push(format!("{line}\n{ours}"));
            }
        } else {
            let who =
                match (cost, cost.is_some_and(|c| near(c, genai)), cost.is_some_and(|c| near(c, litellm))) {
                    (None, ..) => "unpriced",
                    (_, true, _) => "genai-prices",
                    (_, _, true) => "LiteLLM",
                    _ => "neither",
                };
            let case = row["case"].as_str().unwrap_or_default();
            let key = format!("{} {} {case}: {who}", query.provider, query.model);
            other
                .entry(key)
                .or_insert_with(|| format!("ours {} genai {genai} litellm {litellm}", ours.cost.amount));
        }
    }
    for (key, example) in &other {
        println!("differ {key} ({example})");
    }
    for key in estimated {
        println!("estimated {key}");
    }
    for line in wrong.iter().take(40) {
        println!("wrong {line}");
    }
    println!("evidence oracle: {agreeing} usages where both oracles agree, {} priced otherwise", wrong.len());
    assert!(agreeing > 10_000 && wrong.is_empty());
}
