//! Sums that do not drift, and the costs of recorded answers.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may fail, and shows its figure"
)]

use std::{collections::HashMap, path::Path};

use serde_json::Value;

use super::{PriceBook, Priced, Query, tests::NOON};
use crate::{
    money::Money,
    usage::{Bucket, Usage},
};

/// A small generator of numbers that look random (xorshift): the same ones every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

const COUNTED: [Bucket; 6] = [
    Bucket::Input,
    Bucket::CacheRead,
    Bucket::CacheWrite,
    Bucket::CacheWrite1h,
    Bucket::Output,
    Bucket::Reasoning,
];

const CALLS: u64 = 1_000_000;

/// The sum of a million costs is the cost of what was used in all: no digit is lost on the way.
#[test]
fn exact_sum() {
    let book = PriceBook::embedded();
    // Models whose price does not depend on the length of a request: for others "the cost of the sum" is another price.
    let flat = ["openai", "anthropic", "google", "mistral", "aws", "x-ai", "cohere", "groq"];
    let models: Vec<(&str, &str)> = book
        .models()
        .filter(|entry| flat.contains(&entry.provider()))
        .filter(|entry| {
            entry
                .prices()
                .iter()
                .all(|p| p.rates.iter().all(|rate| rate.steps.is_empty() && rate.item != "requests"))
        })
        .map(|entry| (entry.provider(), entry.model()))
        .collect();
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let mut used: HashMap<usize, Usage> = HashMap::new();
    let mut sum = Money::ZERO;
    let price = |model: usize, usage: &Usage| {
        let (provider, model) = models[model];
        let what = Priced { provider, model, at_us: NOON, service_tier: None, geo: None, usage };
        book.price(&what).amount
    };
    for _ in 0..CALLS {
        let model = usize::try_from(numbers.below(models.len() as u64)).unwrap();
        let mut usage = Usage::new();
        for bucket in COUNTED {
            usage.set(bucket, numbers.below(100_000));
        }
        sum += price(model, &usage);
        *used.entry(model).or_default() += usage;
    }
    let whole: Money = used.iter().map(|(&model, usage)| price(model, usage)).sum();
    assert!(models.len() > 200 && sum > Money::ZERO);
    assert_eq!(sum, whole);
    println!(
        "evidence exact-sum: {CALLS} costs over {} models sum to {sum} USD; the cost of the sum is {whole} USD",
        models.len()
    );
}

/// Where both oracles agree on a recorded answer, the book says the same, to the last digit they give.
#[test]
fn recorded_answers_cost_what_both_oracles_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/prices/corpus_expected.jsonl");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: {} is missing", path.display());
        return;
    };
    let mut compared = 0;
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        if row["agree"] != true {
            continue;
        }
        let mut query = Query::read(line).unwrap();
        query.at = Some("2026-11-23T12:00:00Z".into());
        query.usage = serde_json::from_value(row["genai"]["usage"].clone()).unwrap();
        let explanation = query.explain(PriceBook::embedded(), &query.usage().unwrap());
        let genai: Money = row["genai"]["cost"].as_str().unwrap().parse().unwrap();
        assert_eq!(explanation.cost.known(), Some(genai), "{line}\n{explanation}");
        compared += 1;
    }
    assert!(compared > 150, "{compared}");
    println!(
        "evidence corpus-prices: {compared} of {compared} answers on which both oracles agree cost the same here"
    );
}

/// Whatever is asked: no panic, nothing negative, and the lines of the explanation add up to the cost.
#[test]
fn every_explanation_adds_up_to_its_cost() {
    let book = PriceBook::embedded();
    let mut numbers = Numbers(42);
    let ends = [2, 1_000, 1_000_000, u64::MAX];
    for entry in book.models() {
        let mut usage = Usage::new();
        for bucket in Bucket::ALL {
            let end = ends[usize::try_from(numbers.below(4)).unwrap()];
            if numbers.below(3) == 0 {
                usage.set(bucket, numbers.below(end));
            }
        }
        let what = Priced {
            provider: entry.provider(),
            model: entry.model(),
            at_us: i64::try_from(numbers.below(2 * NOON.unsigned_abs())).unwrap(),
            service_tier: [None, Some("batch"), Some("PRIORITY"), Some("nonsense")]
                [usize::try_from(numbers.below(4)).unwrap()],
            geo: [None, Some("us"), Some("eu")][usize::try_from(numbers.below(3)).unwrap()],
            usage: &usage,
        };
        let (cost, explanation) = (book.price(&what), book.explain(&what));
        let lines: Money = explanation.lines.iter().filter_map(|line| line.amount).sum();
        assert!(cost.amount >= Money::ZERO, "{what:?}");
        assert_eq!((cost, cost.amount), (explanation.cost, lines), "{what:?}\n{explanation}");
    }
}
